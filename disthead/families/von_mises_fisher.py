"""The von Mises-Fisher distribution: directions in space of any dimension, as unit vectors."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import positive, tensors
from disthead.distributions.univariate import in_double
from disthead.distributions.vector import Vector, dimension
from disthead.errors import TargetError, locate
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.sphere import UNIT_VECTOR, normalised
from disthead.special.von_mises_fisher import (
    vmf_log_normalizer,
    vmf_mean_length,
    vmf_mean_length_complement,
)

__all__ = ["VonMisesFisher", "VonMisesFisherFamily"]

# A proposal is accepted with a probability of at least 0.65: after 40, all but 1e-18 are.
_PROPOSALS = 40


class VonMisesFisher(Vector):
    """Von Mises-Fisher distribution of unit vectors y in R^D, with density C exp(k loc . y).

    Here k = concentration and C = k^nu / ((2 pi)^(D/2) I_nu(k)) with nu = D / 2 - 1; the density
    is by the area of the unit sphere. The mean is A loc with the mean resultant length
    A = I_(nu + 1)(k) / I_nu(k). For D = 2 it is the von Mises distribution, for D = 3 the Fisher
    distribution. Source: Mardia and Jupp 2000, Directional Statistics, section 9.3.2.

    Args:
        loc: mean direction, a unit vector, shape (..., D), D >= 2.
        concentration: k, shape (...,), positive: near 0 all directions are equally probable, large
            values give a normal distribution with the variance 1 / k in each direction across.
        log_concentration: log(k); k, log(k) or both are given.

    >>> dist = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), 2.0)
    >>> dist.log_prob(torch.tensor([0.0, 0.6, 0.8]))
    tensor(-1.5262)
    """

    arg_constraints = {"loc": UNIT_VECTOR, "concentration": constraints.positive}
    parameter_dims = {"loc": 1}
    support = UNIT_VECTOR

    def __init__(self, loc, concentration=None, *, log_concentration=None):
        loc, concentration, log_concentration = tensors(loc, concentration, log_concentration)
        concentration, log_concentration = positive(concentration, log_concentration)
        self._store(
            loc.shape[-1:],
            loc=loc,
            concentration=concentration,
            log_concentration=log_concentration,
        )

    @property
    def _size(self) -> int:
        return self.loc.shape[-1]

    @property
    def _axis(self) -> Tensor:
        """The mean direction, whose length is one in double precision too."""
        return normalised(self.loc)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        """The log-density by the chord from the mean direction, so that nothing cancels.

        A target has its length divided out. It is -inf for vectors whose length is not one.
        """
        inside = self.support.check(y)
        chord = (normalised(y) - self._axis).square().sum(-1)
        k = self.concentration
        value = -0.5 * k * chord - vmf_log_normalizer(k, self._size)
        return torch.where(inside, value, -torch.inf)

    @property
    def mode(self) -> Tensor:
        """The mean direction."""
        return self.loc

    @property
    @in_double
    def mean(self) -> Tensor:
        """The mean A loc of the vectors, inside the sphere."""
        return vmf_mean_length(self.concentration, self._size).unsqueeze(-1) * self._axis

    @property
    @in_double
    def mean_resultant_length(self) -> Tensor:
        """The length A of the mean, from 0 (uniform) to 1 (a single direction)."""
        return vmf_mean_length(self.concentration, self._size)

    def _variances(self) -> tuple[Tensor, Tensor]:
        """The variances along the mean direction and in each direction across."""
        k, size = self.concentration, self._size
        across = vmf_mean_length(k, size) / k.clamp(min=1e-150)
        across = torch.where(k < 1e-8, 1 / size, across)
        rest = vmf_mean_length_complement(k, size)
        return rest * (2 - rest) - (size - 1) * across, across

    @property
    @in_double
    def variance(self) -> Tensor:
        along, across = (part.unsqueeze(-1) for part in self._variances())
        return across + (along - across) * self._axis.square()

    @property
    @in_double
    def covariance(self) -> Tensor:
        """The covariance, shape (..., D, D)."""
        along, across = (part[..., None, None] for part in self._variances())
        axis = self._axis.unsqueeze(-1)
        identity = torch.eye(self._size, dtype=axis.dtype, device=axis.device)
        return across * identity + (along - across) * (axis @ axis.mT)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy -log C - k A, in nats."""
        k, size = self.concentration, self._size
        return vmf_log_normalizer(k, size) + k * vmf_mean_length_complement(k, size)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples by rejection (Wood 1994), with a fixed number of proposals.

        The variable is one minus the cosine, so that nothing cancels at large concentrations.
        """
        exact = self._in_double()
        shape, across = self._extended_shape(sample_shape), exact._size - 1
        axis = exact._axis.expand(shape)
        k = exact.concentration.expand(shape[:-1])
        b = across / (2 * k + (4 * k * k + across * across).sqrt())
        half = torch.full_like(k, 0.5 * across)

        def log_uniform() -> Tensor:
            return -torch.empty_like(k).exponential_(generator=generator)

        fall, is_accepted = torch.zeros_like(k), torch.zeros_like(k, dtype=torch.bool)
        for _ in range(_PROPOSALS):
            first, second = (torch._standard_gamma(half, generator) for _ in range(2))
            z = first / (first + second)
            proposal = 2 * b * z / (1 - (1 - b) * z)
            log_ratio = across * torch.log((b + 0.5 * (1 - b) * proposal) * (1 + b) / (2 * b))
            log_ratio = k * (2 * b / (1 + b) - proposal) + log_ratio
            fall = torch.where(is_accepted, fall, proposal)
            is_accepted = is_accepted | (log_uniform() <= log_ratio)
        z = torch.randn(shape, generator=generator, dtype=k.dtype, device=k.device)
        aside = normalised(z - (z * axis).sum(-1, keepdim=True) * axis)
        fall = fall.clamp(0, 2).unsqueeze(-1)
        return normalised((1 - fall) * axis + (fall * (2 - fall)).sqrt() * aside).to(self.dtype)

    @property
    def median(self) -> Tensor:
        raise self._unanswered("median", "directions have no order; mode is the mean direction.")

    def affine(self, loc: Tensor, scale: Tensor) -> "VonMisesFisher":
        raise self._unanswered("affine", "unit vectors have neither an origin nor a unit.")


@register_kl(VonMisesFisher, VonMisesFisher)
@in_double
def _kl_von_mises_fisher(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """The divergence log(C_p / C_q) + A_p (k_p - k_q cos), by chords in place of the cosine."""
    k, other, size = p.concentration, q.concentration, p._size
    rest, chord = vmf_mean_length_complement(k, size), (p._axis - q._axis).square().sum(-1)
    normalizers = vmf_log_normalizer(other, size) - vmf_log_normalizer(k, size)
    return normalizers + (other - k) * rest + 0.5 * other * (1 - rest) * chord


class VonMisesFisherFamily(Family):
    """The von Mises-Fisher family of unit vectors: p(y) = C exp(k loc . y), |y| = 1, y in R^D.

    Its parameters are `loc`, a unit vector (..., D), whose raw outputs are a vector of any length
    in its direction, and `concentration` = k, shape (...,).

    Args:
        event_shape: (D,), D >= 2.

    Raises:
        ValueError: for an event_shape of other than one dimension, or D = 1.
    """

    name = "von_mises_fisher"
    kind = VonMisesFisher.kind
    parameters = {"loc": LINKS["unit_vector"], "concentration": LINKS["softplus"]}
    support = UNIT_VECTOR
    data_type = "multivariate, continuous, on a sphere"
    domain = "y in R^D with |y| = 1"
    use = "directions in space, embeddings"
    loss = "cosine error: concentration (1 - cos)"
    noise = "Directions in space that scatter symmetrically about one mean direction."
    density = (
        "p(y) = C exp(k loc . y), C = k^nu / ((2 pi)^(D/2) I_nu(k)), k = concentration, "
        "nu = D / 2 - 1"
    )
    breaks = (
        "Opposite directions, as of an axis, average to none. Directions that scatter along a "
        "great circle, or farther one way than another, do not fit one concentration."
    )
    remedy = "von_mises for angles in the plane; multivariate_normal where lengths matter."

    def __init__(self, event_shape: tuple[int, ...] = ()):
        size = dimension(event_shape, self.name, "(D,), the dimension of the space, such as (3,)")
        if size < 2:
            raise ValueError(
                f"{self.name} needs event_shape=(D,) with D >= 2, got ({size},): on a line there "
                "are two directions, take bernoulli."
            )
        self.event_shape, self.shapes = (size,), {"loc": (size,)}

    def make(self, **parameters: Tensor) -> VonMisesFisher:
        return VonMisesFisher(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean, size = y.mean(0), y.shape[-1]
        length = torch.linalg.vector_norm(mean, dim=-1)
        # the concentration of that mean length, to a few per cent (Banerjee et al. 2005)
        concentration = length * (size - length.square()) / (1 - length.square()).clamp(min=1e-6)
        return {"loc": normalised(mean), "concentration": concentration.clamp(min=1e-3)}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        outside = y.isfinite().all(-1) & ~self.support.check(y)
        if outside.any():
            raise TargetError(
                f"{column} must be vectors of length one, got {locate(outside, y)}. Divide each by "
                "its length: y / y.norm(dim=-1, keepdim=True)."
            )
        super().check_target(y, column)
