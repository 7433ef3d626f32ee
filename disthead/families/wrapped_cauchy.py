"""The wrapped Cauchy distribution: directions with a sharp peak and many far away from it."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import logsigmoid

from disthead.distributions.base import tensors, to_double, with_fused_loss
from disthead.distributions.circular import Circular, Directions, check_directions
from disthead.distributions.univariate import in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.fast import Direction, sigmoids
from disthead.special.wrapped_cauchy import wrapped_cauchy_distance

__all__ = ["WrappedCauchy", "WrappedCauchyFamily"]


class WrappedCauchy(Circular):
    """Wrapped Cauchy distribution, density (1 - c^2) / (2 pi (1 + c^2 - 2 c cos(y - loc))).

    Here c = concentration; the support is -pi <= y <= pi, in radians. It is the angle of a Cauchy
    number with the scale -log c, wound around the circle; c is the mean resultant length, which is
    often called rho, and the c of SciPy's wrapcauchy. See `Circular` for what a cdf and moments of
    directions are. Source: Mardia and Jupp 2000, Directional Statistics, section 3.5.7.

    Args:
        loc: mean direction in radians, shape (...,).
        concentration: c, shape (...,), between 0 (all directions are equally probable) and 1 (one
            direction).
        logits_concentration: log(c / (1 - c)), which is exact where c rounds to 1; c, its logits
            or both are given.

    >>> WrappedCauchy(0.0, 0.5).log_prob(torch.tensor(0.0))
    tensor(-0.7393)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.unit_interval}

    def __init__(self, loc, concentration=None, *, logits_concentration=None):
        loc, concentration, logits = tensors(loc, concentration, logits_concentration)
        if logits is None:
            logits = torch.logit(to_double(concentration))
        self._store(loc=loc, logits_concentration=logits)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"loc": self.loc, "concentration": self.concentration}

    @property
    def concentration(self) -> Tensor:
        """The mean resultant length c."""
        return self.logits_concentration.sigmoid().to(self.dtype)

    @property
    def _complement(self) -> Tensor:
        """The complement 1 - c, with all its digits."""
        return torch.sigmoid(-self.logits_concentration)

    @property
    def _log_length(self) -> Tensor:
        return logsigmoid(self.logits_concentration)

    @property
    def _log_complement(self) -> Tensor:
        """The logarithm of 1 - c^2."""
        return logsigmoid(-self.logits_concentration) + torch.log1p(self.concentration)

    @staticmethod
    def log_prob_and_grad(
        y: Tensor, loc: Direction, logits_concentration: Tensor
    ) -> tuple[Tensor, ...]:
        """log_prob and its derivatives by loc and the logits of the concentration.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        cosine, sine = torch.cos(y), torch.sin(y)
        c, rest = sigmoids(logits_concentration)
        # the squared chord between both directions, 2 - 2 cos(y - loc)
        chord = (cosine - loc.cosine) ** 2 + (sine - loc.sine) ** 2
        squared = rest * rest + c * chord
        value = torch.log(rest * (1 + c) / squared) - math.log(2 * math.pi)
        by_loc = 2 * c * (sine * loc.cosine - cosine * loc.sine) / squared
        by_logits = c * rest * ((2 * rest - chord) / squared + 1 / (1 + c)) - c
        return value, by_loc, by_logits

    @with_fused_loss
    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        chord = 2 * torch.sin((y - self.loc) / 2)
        squared = self._complement.square() + self.concentration * chord.square()
        return self._log_complement - squared.log() - math.log(2 * math.pi)

    def _tail(self, angle: Tensor) -> Tensor:
        """The probability from the start of the cdf to the angle from the mean direction."""
        near, far = torch.sin(angle / 2), torch.cos(angle / 2)
        return torch.atan2(self._complement * far, -(1 + self.concentration) * near) / math.pi

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return self._tail(self._angle(y))

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_tail(self._angle(y))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_tail(-self._angle(y))

    def _log_tail(self, angle: Tensor) -> Tensor:
        tail = self._tail(torch.where(angle > 0, -angle, angle))
        return torch.where(angle > 0, torch.log1p(-tail), tail.log())

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        left = below <= above
        tail = torch.where(left, below, above)
        half = torch.atan2(
            self._complement * torch.sin(math.pi * (0.5 - tail)),
            (1 + self.concentration) * torch.sin(math.pi * tail),
        )
        return self.loc + 2 * torch.where(left, -half, half)

    @property
    @in_double
    def variance(self) -> Tensor:
        """The circular variance 1 - c, from 0 (a single direction) to 1 (uniform)."""
        return self._complement

    @property
    @in_double
    def stddev(self) -> Tensor:
        """The circular standard deviation sqrt(-2 log c), in radians."""
        return (-2 * self._log_length).sqrt()

    @in_double
    def entropy(self) -> Tensor:
        """The entropy log(2 pi (1 - c^2)), in nats."""
        return math.log(2 * math.pi) + self._log_complement

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """The circular CRPS E d(Y, y) - E d(Y, Y') / 2 for the angular distance d, in radians.

        Lower is better. The difference of two such angles has the concentration c^2.
        Source: Grimit, Gneiting, Berrocal and Johnson 2006.
        """
        length = self._log_length
        between = wrapped_cauchy_distance(2 * length, torch.zeros_like(length))
        return wrapped_cauchy_distance(length, self._angle(y).abs()) - 0.5 * between

    def widened(self, scale: Tensor) -> "WrappedCauchy":
        """The distribution with the concentration c^scale: the Cauchy scale is `scale` times it."""
        exact = self._in_double()
        log_length = scale.to(exact.dtype) * exact._log_length
        logits = log_length - torch.log(-torch.expm1(log_length))
        return WrappedCauchy(self.loc, logits_concentration=logits.to(self.dtype))


@register_kl(WrappedCauchy, WrappedCauchy)
@in_double
def _kl_wrapped_cauchy(p: WrappedCauchy, q: WrappedCauchy) -> Tensor:
    """The divergence log(1 + |a - b|^2 / ((1 - |a|^2) (1 - |b|^2))), a and b the mean vectors."""
    a, b = p.concentration, q.concentration
    chord = 2 * torch.sin((p.loc - q.loc) / 2)
    squared = (q._complement - p._complement).square() + a * b * chord.square()
    return torch.log1p(squared * torch.exp(-p._log_complement - q._log_complement))


class WrappedCauchyFamily(Family):
    """The wrapped Cauchy family: p(y) = (1 - c^2) / (2 pi (1 + c^2 - 2 c cos(y - loc))).

    The support is -pi <= y <= pi, in radians. Its parameters are `loc` and `concentration` = c,
    between 0 and 1, shape (...,).
    """

    name = "wrapped_cauchy"
    parameters = {"loc": LINKS["direction"], "concentration": LINKS["sigmoid"]}
    support = Directions()
    loss_support = constraints.real  # angles beyond pi are directions, too
    # above it the squared chord has lost digits in single precision
    fast_range = {"concentration": (-20.0, 1.0)}
    distribution_class = WrappedCauchy
    data_type = "univariate, continuous, circular"
    domain = "-pi <= y <= pi, radians"
    use = "directions with outliers"
    loss = "log(1 + 2 c (1 - cos error) / (1 - c)^2)"
    noise = (
        "Directions that scatter symmetrically about one mean direction, most of them close to it "
        "and some anywhere."
    )
    density = "p(y) = (1 - c^2) / (2 pi (1 + c^2 - 2 c cos(y - loc))), c = concentration in (0, 1)"
    breaks = (
        "Two opposite directions, as of an axis, average to none. Where no direction is far away, "
        "the heavy tails are too heavy."
    )
    remedy = (
        "von_mises when nothing is far away; mixture for several directions; double the angles of "
        "an axis."
    )

    def make(self, **parameters: Tensor) -> WrappedCauchy:
        return WrappedCauchy(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        cosine, sine = y.cos().mean(0), y.sin().mean(0)
        length = torch.hypot(cosine, sine)  # the concentration, by moments
        return {"loc": torch.atan2(sine, cosine), "concentration": length.clamp(0.01, 1 - 1e-6)}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        check_directions(y, column)
        super().check_target(y, column)
