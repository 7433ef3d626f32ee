"""`Affine`: a distribution in other units, loc + scale * y, by the exact change of variable."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from disthead.distributions.base import Distribution, Kind, Wrapper
from disthead.distributions.continuous import Continuous, _kl_by_quadrature
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.scores import energy_score
from disthead.distributions.tails import Indices

__all__ = ["Affine", "AffineMixture"]


class Affine(Wrapper):
    """The distribution of Y = loc + scale * X, where X has a base distribution and scale > 0.

    The density is p_X((y - loc) / scale) / scale. Where the base is discrete, the mass at
    loc + scale * k is that of the base at k. The support is loc + scale * x for all x in the
    support of the base. Location-scale families need no wrapper: their `affine` gives a
    distribution of the same class.

    Args:
        base: a distribution of one number or of vectors.
        loc: the shift, in the units of y, shape batch (or batch + event for vectors).
        scale: units of y in one unit of the base, positive, of the same shape as `loc`.

    >>> from disthead.families.gamma import Gamma
    >>> Gamma(2.0, 1.0).affine(torch.tensor(10.0), torch.tensor(3.0)).mean
    tensor(16.)
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, loc: Tensor, scale: Tensor):
        dims = len(base.event_shape)
        loc, scale = (
            torch.as_tensor(part, dtype=base.dtype, device=base.device) for part in (loc, scale)
        )
        shape = torch.broadcast_shapes(loc.shape, scale.shape, base.batch_shape + base.event_shape)
        batch_shape = shape[: len(shape) - dims]
        self.base = base if base.batch_shape == batch_shape else base.expand(batch_shape)
        self.loc, self.scale = loc.expand(shape), scale.expand(shape)
        self._names: tuple[str, ...] = ()  # of parameters that would be lazy
        super().__init__(batch_shape, base.event_shape, validate_args=False)

    @property
    def kind(self) -> Kind:
        return "count" if self.base.kind == "binary" else self.base.kind  # no longer 0 or 1

    def _to_base(self, y: Tensor) -> Tensor:
        x = (y - self.loc) / self.scale
        if not self.base.support.is_discrete:
            return x
        # loc + scale * k has been rounded: targets within that rounding are the count k.
        k = x.round()
        rounding = torch.finfo(y.dtype if y.is_floating_point() else x.dtype).eps
        close = (x - k).abs() <= 2 * rounding * ((y.abs() + self.loc.abs()) / self.scale + k.abs())
        return torch.where(close, k, x)

    def _from_base(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    @property
    def _log_volume(self) -> Tensor:
        """The sum of log(scale) over an event, for densities; 0 for masses."""
        dims = len(self.event_shape)
        per_coordinate = (
            torch.zeros_like(self.scale) if self.base.support.is_discrete else self.scale.log()
        )
        return per_coordinate.sum(tuple(range(-dims, 0))) if dims else per_coordinate

    @property
    def support(self) -> constraints.Constraint:
        whole: Any = self.base.support
        return whole if whole in (constraints.real, constraints.real_vector) else _Image(self)

    def __repr__(self) -> str:
        loc, scale = list(self.loc.shape), list(self.scale.shape)
        return f"{type(self).__name__}({self.base!r}, loc={loc}, scale={scale})"

    def map(self, function) -> "Affine":
        return type(self)(self.base.map(function), function(self.loc), function(self.scale))

    def expand(self, batch_shape, _instance=None) -> "Affine":
        shape = Size(batch_shape) + self.event_shape
        return type(self)(
            self.base.expand(batch_shape), self.loc.expand(shape), self.scale.expand(shape)
        )

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        return self.base.affine(loc + scale * self.loc, scale * self.scale)

    def log_prob(self, y: Tensor) -> Tensor:
        return self.base.log_prob(self._to_base(y)) - self._log_volume

    def entropy(self) -> Tensor:
        return self.base.entropy() + self._log_volume

    @property
    def has_enumerate_support(self) -> bool:
        return self.base.has_enumerate_support

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All outcomes, shape (count,) + batch, in the units of each row."""
        return self._from_base(self.base.enumerate_support(expand))

    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._from_base(self.base.sample(sample_shape, generator))

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._from_base(self.base.rsample(sample_shape, generator))

    @property
    def mean(self) -> Tensor:
        return self._from_base(self.base.mean)

    @property
    def median(self) -> Tensor:
        return self._from_base(self.base.median)

    @property
    def mode(self) -> Tensor:
        return self._from_base(self.base.mode)

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * self.base.variance

    @property
    def stddev(self) -> Tensor:
        return self.scale * self.base.stddev

    @property
    def covariance(self) -> Tensor:
        return self.scale.unsqueeze(-1) * self.base.covariance * self.scale.unsqueeze(-2)

    @property
    def marginals(self) -> Distribution:
        return self.base.marginals.affine(self.loc, self.scale)

    def cdf(self, y: Tensor) -> Tensor:
        return self.base.cdf(self._to_base(y))

    def log_cdf(self, y: Tensor) -> Tensor:
        return self.base.log_cdf(self._to_base(y))

    def log_survival(self, y: Tensor) -> Tensor:
        return self.base.log_survival(self._to_base(y))

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.cdf_limits(self._to_base(y))

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.base.pit(self._to_base(y), generator)

    def icdf(self, q: Tensor) -> Tensor:
        return self._from_base(self.base.icdf(q))

    def interval(self, level: float) -> Interval | Arc:
        return self._ends_from_base(self.base.interval(level))

    def highest_density(self, level: float) -> Interval | Arc:
        return self._ends_from_base(self.base.highest_density(level))

    def _ends_from_base(self, ends: Interval | Arc) -> Interval | Arc:
        return type(ends)(self._from_base(ends.lower), self._from_base(ends.upper))

    def crps(self, y: Tensor) -> Tensor:
        return self.scale * self.base.crps(self._to_base(y))

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        """The energy score in the units of y, estimated by samples; see `scores.energy_score`."""
        return energy_score(self, y, samples, generator)

    # Methods that mixtures call on their components.

    def support_limits(self) -> tuple[Tensor, Tensor]:
        lower, upper = self.base.support_limits()
        return self._from_base(lower), self._from_base(upper)

    def _tail_indices(self) -> Indices:
        return self.base._tail_indices()

    def _in_double(self) -> Distribution:
        if self._linked is not None and self.dtype != torch.float64 and self.device.type != "mps":
            return self._linked.in_double()
        base = self.base._in_double()
        return type(self)(base, self.loc.to(base.dtype), self.scale.to(base.dtype))

    def _constant(self, value: float) -> Tensor:
        return self.base._constant(value)

    def _quantile(self, below: Tensor, above: Tensor) -> Tensor:
        return self._from_base(self.base._quantile(below, above))

    def _inside(self, y: Tensor) -> Tensor:
        return self._from_base(self.base._inside(self._to_base(y)))

    def _expectation(self, function) -> Tensor:
        return self.base._expectation(lambda x: function(self._from_base(x)))


class AffineMixture(Affine):
    """A mixture of counts in other units, loc + scale * k, which all its components have.

    It has the weights of its base, the mixture of the counts k themselves, and the components and
    moments in the units of y.
    """

    base: Any

    @property
    def components(self) -> Distribution:
        """The components in the units of y, batch_shape (..., K)."""
        return self.base.components.affine(self.loc.unsqueeze(-1), self.scale.unsqueeze(-1))

    @property
    def logits(self) -> Tensor:
        return self.base.logits

    @property
    def log_weights(self) -> Tensor:
        return self.base.log_weights

    @property
    def probs(self) -> Tensor:
        return self.base.probs

    def responsibilities(self, y: Tensor) -> Tensor:
        """The probability of each component given y, shape (..., K)."""
        return self.base.responsibilities(self._to_base(y))

    @property
    def aleatoric(self) -> Tensor:
        """The mean of the components' variances: in an ensemble, the noise in the data."""
        return self.scale.square() * self.base.aleatoric

    @property
    def epistemic(self) -> Tensor:
        """The variance of the components' means: in an ensemble, the disagreement."""
        return self.scale.square() * self.base.epistemic

    @property
    def expected_entropy(self) -> Tensor:
        """The mean of the components' entropies, in nats."""
        return self.base.expected_entropy

    @property
    def mutual_information(self) -> Tensor:
        """The mutual information of y and its component, in nats: entropy() - expected_entropy."""
        return self.base.mutual_information


class _Image(constraints.Constraint):
    """The support of an `Affine`: loc + scale * x for x in the support of the base."""

    def __init__(self, dist: Affine):
        self.dist = dist
        self.is_discrete, self.event_dim = (
            dist.base.support.is_discrete,
            dist.base.support.event_dim,
        )

    def __repr__(self) -> str:
        return f"loc + scale * x for x in {self.dist.base.support!r}"

    def check(self, value: Tensor) -> Tensor:
        return self.dist.base.support.check(self.dist._to_base(value))


Distribution._in_units = Affine


@register_kl(Affine, Affine)
def _kl_affine_affine(p: Affine, q: Affine) -> Tensor:
    """The divergence of the bases where the units agree, since units do not change it."""
    between_bases = kl_divergence(p.base, q.base)
    same = ((p.loc == q.loc) & (p.scale == q.scale)).expand(between_bases.shape)
    if isinstance(p.base, Continuous):
        return torch.where(same, between_bases, _kl_by_quadrature(p, q))
    if not bool(same.all()):
        raise NotImplementedError(
            f"the divergence of {p!r} from {q!r}: counts or vectors in different units take "
            "different values."
        )
    return between_bases


@register_kl(Affine, Continuous)
@register_kl(Continuous, Affine)
def _kl_affine_continuous(p: Distribution, q: Distribution) -> Tensor:
    return _kl_by_quadrature(p, q)
