"""The von Mises distribution: the normal distribution's counterpart on the circle."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import with_fused_loss
from disthead.distributions.circular import Circular, Directions, check_directions
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import (
    bessel_ratio,
    bessel_ratio_complement,
    von_mises_cdf,
    von_mises_excess,
    von_mises_icdf,
    von_mises_log_cdf,
    von_mises_log_normalizer,
    von_mises_mean_distance,
)
from disthead.special.fast import Direction, Positive, von_mises_terms

__all__ = ["VonMises", "VonMisesFamily"]

# A proposal is accepted with a probability of at least 0.65: after 40, all but 1e-18 are.
_PROPOSALS = 40


class VonMises(Circular):
    """Von Mises distribution of directions, with density exp(k cos(y - loc)) / (2 pi I0(k)).

    Here k = concentration; the support is -pi <= y <= pi, in radians. Angles that differ by 2 pi
    are the same direction. The cdf starts opposite the mean direction, at loc - pi, so that the
    median is the mean direction; quantiles are wrapped to (-pi, pi]. `mean` is the mean direction,
    `variance` the circular variance 1 - R with the mean resultant length R = I1(k) / I0(k), and
    `stddev` the circular standard deviation sqrt(-2 log R), in radians, which is not the square
    root of the variance. Source: Mardia and Jupp 2000.

    Args:
        loc: mean direction in radians, shape (...,).
        concentration: k, shape (...,), positive: near 0 all directions are equally probable, large
            values give a normal distribution with the variance 1 / k.
        log_concentration: log(k); k, log(k) or both are given.

    >>> VonMises(0.0, 1e5).log_prob(torch.tensor(0.01))
    tensor(-0.1624)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}

    def __init__(self, loc, concentration=None, *, log_concentration=None):
        self._set_parameters(
            loc=loc, concentration=concentration, log_concentration=log_concentration
        )

    @staticmethod
    def log_prob_and_grad(y: Tensor, loc: Direction, concentration: Positive) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and log(concentration).

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        cosine, sine, k = torch.cos(y), torch.sin(y), concentration.value
        # 1 - torch.cos(y - loc) by the chord
        fall = 0.5 * ((cosine - loc.cosine) ** 2 + (sine - loc.sine) ** 2)
        normalizer, complement = von_mises_terms(k)
        return (
            -k * fall - normalizer,
            k * (sine * loc.cosine - cosine * loc.sine),
            k * (complement - fall),
        )

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        k = self.concentration
        return -2 * k * torch.sin((y - self.loc) / 2).square() - von_mises_log_normalizer(k)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return von_mises_cdf(self.concentration, self._angle(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return von_mises_log_cdf(self.concentration, self._angle(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return von_mises_log_cdf(self.concentration, -self._angle(y))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above
        angle = von_mises_icdf(self.concentration, torch.where(left, below, above))
        return self.loc + torch.where(left, angle, -angle)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The circular variance 1 - I1 / I0, from 0 (a single direction) to 1 (uniform)."""
        return bessel_ratio_complement(self.concentration)

    @property
    @in_double
    def stddev(self) -> Tensor:
        """The circular standard deviation sqrt(-2 log(I1 / I0)), in radians."""
        length, complement = (
            bessel_ratio(self.concentration),
            bessel_ratio_complement(self.concentration),
        )
        near = complement < 0.5
        log_length = torch.where(
            near, torch.log1p(-torch.where(near, complement, 0.0)), length.log()
        )
        return (-2 * log_length).sqrt()

    @in_double
    def entropy(self) -> Tensor:
        """The entropy log(2 pi I0) - concentration I1 / I0, in nats."""
        k = self.concentration
        return von_mises_log_normalizer(k) + k * bessel_ratio_complement(k)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact = self._in_double()
        return exact._inside(exact._draw(sample_shape, generator)).to(self.dtype)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients by implicit reparametrisation (Figurnov et al. 2018)."""
        exact = self._in_double()
        y = exact._with_gradient(exact._inside(exact._draw(sample_shape, generator)))
        return y.to(self.dtype)

    @torch.no_grad()
    def _draw(self, sample_shape: Size, generator: torch.Generator | None) -> Tensor:
        """Samples by rejection from a wrapped Cauchy distribution (Best and Fisher 1979).

        The number of proposals is fixed. The variable is the squared sine of half the angle, so
        that nothing cancels at large concentrations.
        """
        k = self.concentration.expand(self._extended_shape(sample_shape))
        root = (1 + 4 * k * k).sqrt()
        # s - 1 for the s = (1 + root) / (2 k) of the best envelope
        excess = (1 + 1 / (root + 2 * k)) / (2 * k)

        def uniform() -> Tensor:
            return torch.rand(k.shape, generator=generator, dtype=k.dtype, device=k.device)

        square, is_accepted = torch.zeros_like(k), torch.zeros_like(k, dtype=torch.bool)
        for _ in range(_PROPOSALS):
            half_turn = math.pi / 2 * uniform()
            sine, cosine = half_turn.sin().square(), half_turn.cos().square()
            proposal = excess * sine / (excess + 2 * cosine)
            c = k * (excess + 2 * proposal)
            square = torch.where(is_accepted, square, proposal)
            is_accepted = is_accepted | (uniform() <= c * torch.exp(1 - c))
        angle = 2 * square.sqrt().clamp(max=1).asin()
        return self.loc + torch.where(uniform() < 0.5, -angle, angle)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """The circular CRPS E d(Y, y) - E d(Y, Y') / 2 for the angular distance d, in radians.

        Lower is better. Source: Grimit, Gneiting, Berrocal and Johnson 2006.
        """
        k, distance = self.concentration, self._angle(y).abs()
        excess = von_mises_excess(k, distance) - von_mises_excess(k, math.pi - distance)
        return distance + 2 * excess - 0.5 * von_mises_mean_distance(k)

    def widened(self, scale: Tensor) -> "VonMises":
        """The distribution with the concentration divided by scale^2."""
        log_concentration = self.log_concentration - 2 * scale.log().to(self.dtype)
        return VonMises(self.loc, log_concentration=log_concentration)


@register_kl(VonMises, VonMises)
@in_double
def _kl_von_mises(p: VonMises, q: VonMises) -> Tensor:
    """The divergence log(I0(kq) / I0(kp)) + R (kp - kq cos(p.loc - q.loc)), R = I1(kp) / I0(kp)."""
    k, other = p.concentration, q.concentration
    turn = 2 * torch.sin((p.loc - q.loc) / 2).square()
    normalizers = von_mises_log_normalizer(other) - von_mises_log_normalizer(k)
    return normalizers + (other - k) * bessel_ratio_complement(k) + other * bessel_ratio(k) * turn


class VonMisesFamily(Family):
    """The von Mises family of directions: p(y) = exp(k cos(y - loc)) / (2 pi I0(k)).

    The support is -pi <= y <= pi, in radians. Its parameters are `loc` and `concentration` = k,
    shape (...,).
    """

    name = "von_mises"
    figure_row = 7
    parameters = {"loc": LINKS["direction"], "concentration": LINKS["softplus"]}
    support = Directions()
    loss_support = constraints.real  # angles beyond pi are directions, too
    distribution_class = VonMises
    data_type = "univariate, continuous, circular"
    domain = "-pi <= y <= pi, radians"
    use = "direction"
    loss = "1 - cos error"
    noise = "Directions, or times of a cycle, that scatter symmetrically about one mean direction."
    density = "p(y) = exp(concentration cos(y - loc)) / (2 pi I0(concentration))"
    breaks = (
        "Two opposite directions, as of an axis, average to none. Outliers pull the mean direction."
    )
    remedy = "mixture for several directions; double the angles of an axis."

    def make(self, **parameters: Tensor) -> VonMises:
        return VonMises(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        cosine, sine = y.cos().mean(0), y.sin().mean(0)
        length = torch.hypot(cosine, sine)
        # the concentration whose mean resultant length this is, to a few per cent (Banerjee et al.
        # 2005)
        concentration = length * (2 - length.square()) / (1 - length.square()).clamp(min=1e-6)
        return {"loc": torch.atan2(sine, cosine), "concentration": concentration.clamp(min=1e-3)}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        check_directions(y, column)
        super().check_target(y, column)
