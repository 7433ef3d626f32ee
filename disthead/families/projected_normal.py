"""The projected normal distribution: the direction of a normal vector in the plane."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.base import tensors
from disthead.distributions.circular import Circular, Directions, check_directions
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.projected_normal import (
    log_mean_length,
    projected_normal_complement,
    projected_normal_crps,
    projected_normal_entropy,
    projected_normal_log_tail,
    projected_normal_quantile,
)

__all__ = ["ProjectedNormal", "ProjectedNormalFamily"]


class ProjectedNormal(Circular):
    """Projected normal distribution: the direction of a normal vector around `concentration`.

    With the unit vector e of the direction y and c = concentration, the density is
    exp(-|c|^2 / 2) (1 + u Phi(u) / phi(u)) / (2 pi), u = c . e, where phi and Phi are the standard
    normal density and distribution function. The support is -pi <= y <= pi, in radians. See
    `Circular` for what a cdf and moments of directions are. Sources: Presnell, Morrison and Littell
    1998, Projected multivariate linear models for directional data; Wang and Gelfand 2013.

    Args:
        concentration: the mean of the vector in units of its standard deviation, shape (..., 2). It
            points in the mean direction; at length 0 all directions are equally probable, and at
            large lengths the direction is normal with the standard deviation 1 / length.

    >>> ProjectedNormal(torch.tensor([0.0, 3.0])).log_prob(torch.tensor(math.pi / 2))
    tensor(0.1798)
    """

    arg_constraints = {"concentration": constraints.real_vector}
    parameter_dims = {"concentration": 1}

    def __init__(self, concentration):
        (concentration,) = tensors(concentration)
        self._store(concentration=concentration)

    @property
    def loc(self) -> Tensor:
        """The mean direction; 0 where the concentration is 0."""
        x, y = self.concentration.unbind(-1)
        return torch.atan2(y, torch.where((x == 0) & (y == 0), 1.0, x))

    @property
    def _length(self) -> Tensor:
        squared = self.concentration.square().sum(-1)
        # the root has no gradient at 0, where all directions are alike
        return torch.where(squared == 0, 1.0, squared).sqrt() * (squared != 0)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        first, second = self.concentration.unbind(-1)
        cosine, sine = torch.cos(y), torch.sin(y)
        along, across = first * cosine + second * sine, second * cosine - first * sine
        return log_mean_length(along) - 0.5 * across.square() - math.log(2 * math.pi)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_tail(self._angle(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_tail(-self._angle(y))

    def _log_tail(self, angle: Tensor) -> Tensor:
        """The logarithm of the probability from the start of the cdf to the angle."""
        distance = torch.where(angle > 0, angle, -angle)  # abs has no gradient at 0
        tail = projected_normal_log_tail(self._length, math.pi - distance)
        return torch.where(angle > 0, torch.log1p(-tail.exp()), tail)

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        left = below <= above
        with torch.no_grad():
            behind = projected_normal_quantile(self._length, torch.where(left, below, above))
        angle = math.pi - behind
        y = self.loc + torch.where(left, -angle, angle)
        return self._with_gradient(y, below.log(), above.log())

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats, by quadrature over the angle."""
        return projected_normal_entropy(self._length)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self.rsample(sample_shape, generator)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact = self._in_double()
        shape = (2, *self._extended_shape(sample_shape))
        along, across = torch.randn(
            shape, generator=generator, dtype=exact.dtype, device=self.device
        )
        angle = torch.atan2(across, exact._length + along)  # from the mean direction
        return self._inside(exact.loc + angle).to(self.dtype)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The circular variance 1 - R, from 0 (a single direction) to 1 (uniform)."""
        return projected_normal_complement(self._length)

    @property
    @in_double
    def stddev(self) -> Tensor:
        """The circular standard deviation sqrt(-2 log R), in radians."""
        return (-2 * torch.log1p(-projected_normal_complement(self._length))).sqrt()

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """The circular CRPS E d(Y, y) - E d(Y, Y') / 2 for the angular distance d, in radians.

        Lower is better. Source: Grimit, Gneiting, Berrocal and Johnson 2006.
        """
        return projected_normal_crps(self._length, self._angle(y).abs())

    def widened(self, scale: Tensor) -> "ProjectedNormal":
        """The direction of a vector whose standard deviation is `scale` times as large."""
        return ProjectedNormal(self.concentration / scale.to(self.dtype).unsqueeze(-1))


class ProjectedNormalFamily(Family):
    """The projected normal family: y is the direction of a normal vector around `concentration`.

    The support is -pi <= y <= pi, in radians. The one parameter `concentration`, shape (..., 2), is
    a vector that points in the mean direction, the farther the narrower. The raw outputs of a
    network are its two coordinates: a mean direction is a ratio of what a line predicts.
    """

    name = "projected_normal"
    parameters = {"concentration": LINKS["identity"]}
    shapes = {"concentration": (2,)}
    support = Directions()
    loss_support = constraints.real  # angles beyond pi are directions, too
    data_type = "univariate, continuous, circular"
    domain = "-pi <= y <= pi, radians"
    use = "directions by the coordinates of a vector, as of wind"
    loss = "-log(1 + u Phi(u) / phi(u)) + |concentration|^2 / 2, u = concentration . (cos y, sin y)"
    noise = (
        "The direction of a vector whose two coordinates have normal noise of the same size, as of "
        "a wind or a velocity whose strength is not told."
    )
    density = (
        "p(y) = exp(-|c|^2 / 2) (1 + u Phi(u) / phi(u)) / (2 pi), u = c . (cos y, sin y), "
        "c = concentration"
    )
    breaks = (
        "Two opposite directions, as of an axis, average to none. The noise is the same in both "
        "coordinates, so the density has one symmetric peak."
    )
    remedy = (
        "wrapped_cauchy for outliers; mixture for several directions; von_mises_fisher for unit "
        "vectors in space; double the angles of an axis."
    )

    def make(self, **parameters: Tensor) -> ProjectedNormal:
        return ProjectedNormal(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean = torch.stack([y.cos().mean(0), y.sin().mean(0)], -1)
        # right to a few per cent for the mean resultant length of narrow directions
        rest = (1 - mean.square().sum(-1, keepdim=True)).clamp(min=1e-6)
        return {"concentration": mean / rest.sqrt()}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        check_directions(y, column)
        super().check_target(y, column)
