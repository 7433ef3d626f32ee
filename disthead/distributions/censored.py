"""`Censored`: the distribution of a number that is known exactly, or only up to an interval."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from disthead.distributions.base import Distribution, SameNumbers
from disthead.distributions.between import log_between
from disthead.distributions.clamped import Clamped
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.supports import bounds_of, in_words
from disthead.distributions.univariate import Univariate
from disthead.errors import TargetError, locate, warn
from disthead.special.eager import are_concrete

__all__ = ["Censored", "Ends", "as_pairs", "check_pairs", "is_pair", "warn_of_none"]


def is_pair(shape: Sequence[int], target_shape: Sequence[int]) -> bool:
    """Whether targets of that shape are pairs (lower, upper) in the last dimension.

    Otherwise they are numbers that are all observed. Pairs have more dimensions than the targets of
    the distribution: two dimensions (N, 2) for a batch of N rows, one dimension (2,) for a batch
    without dimensions.

    Args:
        shape: of the targets.
        target_shape: batch_shape + event_shape of the distribution, to which pairs broadcast.

    >>> is_pair((5, 2), (5,)), is_pair((5,), (5,)), is_pair((2,), ()), is_pair((3, 2), (2,))
    (True, False, True, False)
    """
    *rows, last = shape if len(shape) else (0,)
    if last != 2 or len(rows) < len(target_shape):
        return False
    trailing = zip(reversed(rows), reversed(target_shape), strict=False)
    return all(1 in (size, full) or size == full for size, full in trailing)


def as_pairs(y: Tensor, event_shape: Sequence[int] = ()) -> Tensor:
    """Targets as pairs (rows, *event_shape, 2); a number y becomes the pair (y, y).

    Args:
        y: pairs, or observed numbers (rows, *event_shape). The last dimension of a table (rows, 2)
            of one output is a pair.
        event_shape: the shape of the outputs.

    >>> as_pairs(torch.tensor([3.0, 4.0]))
    tensor([[3., 3.],
            [4., 4.]])
    """
    dims = len(event_shape)
    are_pairs = y.ndim > dims + 1 and y.shape[-1] == 2
    if are_pairs and tuple(y.shape[y.ndim - 1 - dims : -1]) == tuple(event_shape):
        return y
    return torch.stack([y, y], -1)


class Ends(NamedTuple):
    """Both ends of censored targets, lower < Y <= upper, or Y = lower = upper where observed."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, pairs: Tensor) -> "Ends":
        """The ends of pairs (..., 2)."""
        return cls(*pairs.unbind(-1))

    @property
    def is_observed(self) -> Tensor:
        """Which targets are known exactly."""
        return self.lower == self.upper

    @property
    def is_right(self) -> Tensor:
        """Which targets are right-censored, (c, inf): larger than c."""
        return (self.upper == torch.inf) & (self.lower != torch.inf)

    @property
    def is_left(self) -> Tensor:
        """Which targets are left-censored, (-inf, c): c or less."""
        return (self.lower == -torch.inf) & self.upper.isfinite()

    @property
    def points(self) -> Tensor:
        """One finite number for each target: its value, its finite end, or the middle of both."""
        lower = torch.where(self.lower.isfinite(), self.lower, self.upper)
        upper = torch.where(self.upper.isfinite(), self.upper, self.lower)
        return torch.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)


def warn_of_none(pairs: Tensor) -> None:
    """Warn where none of the pairs (..., 2) of a training is censored."""
    if bool(Ends.of(pairs).is_observed.all()):
        warn(
            f"none of the {pairs[..., 0].numel()} targets is censored: the base of the family "
            "censored alone is the same model, and takes recalibrations and all metrics. Look "
            "whether events, or the ends of censored targets, were given and are read right."
        )


def check_pairs(
    pairs: Tensor, support: Any, name: str = "y", counted: Tensor | None = None
) -> None:
    """Check that pairs are intervals in which a number of the support can lie.

    Observed values are checked for their order and NaN only.

    Args:
        pairs: shape (..., 2).
        support: of the latent number.
        name: what the targets are called in errors.
        counted: which pairs count, shape (...,); None for all.

    Raises:
        TargetError: for NaN, for a lower end above the upper one, for pairs that tell nothing, and
            for intervals outside of the support, with rows and values.
    """
    lower, upper = ends = Ends.of(pairs)
    support = getattr(support, "base_constraint", support)
    least, most = bounds_of(support)
    if support.is_discrete:
        is_empty = (upper < least) | (lower >= most) | (lower.floor() == upper.floor())
    else:
        is_empty = (upper <= least) | (lower >= most)
    is_empty = is_empty & ~ends.is_observed
    problems = {
        "two numbers, got NaN": lower.isnan() | upper.isnan(),
        "a lower end and an upper one that is not below it, got": lower > upper,
        "an observed number or an interval with a finite end, got pairs that tell nothing": (
            lower.isinf() & upper.isinf()
        ),
        f"an interval that holds numbers from {in_words(least)} to {in_words(most)}, got": is_empty,
    }
    remedies = (
        "Give right-censored targets as (c, inf), left-censored ones as (-inf, c); drop rows of "
        "which nothing is known.",
        "Give observed targets as (y, y), right-censored ones as (c, inf).",
        "Drop these rows, or give them the weight 0.",
        "Look for a slip in the limit, or take a base whose support is wider. The interval is "
        "lower < Y <= upper.",
    )
    for (expected, bad), remedy in zip(problems.items(), remedies, strict=True):
        bad = bad if counted is None else bad & counted
        if bool(bad.any()):
            raise TargetError(
                f"{name} must be pairs (lower, upper), each {expected} in {locate(bad, pairs)}. "
                f"{remedy}"
            )


class Censored(SameNumbers):
    """The distribution of a latent number Y, whose targets may be censored.

    A target is a pair (lower, upper) in the last dimension, or a number, which is observed. Its
    likelihood is

    - p(y) where both ends are y: observed,
    - P(Y > c) for (c, inf): right-censored, as a life that still runs at c,
    - P(Y <= c) for (-inf, c): left-censored, as an amount below a limit of detection,
    - P(lower < Y <= upper) for two finite ends: interval-censored.

    Of counts, "at least c" is therefore (c - 1, inf), and one of a, ..., b is (a - 1, b). Censoring
    must tell nothing about Y beyond the interval. All other methods are those of the latent
    distribution, which `observed` turns into that of a recorded value. Source: Klein and
    Moeschberger 2003, Survival Analysis, section 3.5; Tobin 1958.

    Args:
        base: the latent distribution, of one ordered number, batch_shape (...,).

    Shapes: pairs (..., 2), or numbers (...,), both with log_prob of shape (...,). Samples in front
    of a batch are numbers; a sample_shape of 2 in front of a batch of 2 would be read as pairs.

    >>> from disthead.families.exponential import Exponential
    >>> lifetime = Censored(Exponential(rate=torch.tensor([0.5, 0.5])))
    >>> lifetime.log_prob(torch.tensor([[2.0, 2.0], [2.0, torch.inf]]))
    tensor([-1.6931, -1.0000])
    """

    is_censored = True

    def __init__(self, base: Distribution):
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        return self.base.arg_constraints

    @property
    def support(self) -> constraints.Constraint:
        return self.base.support

    def __getattr__(self, name: str):
        # parameters, and methods that only some distributions have
        if name.startswith("__") or name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def __repr__(self) -> str:
        return f"Censored({self.base!r})"

    def map(self, function: Callable[[Tensor], Tensor]) -> "Censored":
        return Censored(self.base.map(function))

    def expand(self, batch_shape, _instance=None) -> "Censored":
        return Censored(self.base.expand(batch_shape))

    def affine(self, loc: Tensor, scale: Tensor) -> "Censored":
        """The distribution of loc + scale * y, whose targets have both ends in the new units."""
        return Censored(self.base.affine(loc, scale))

    def log_prob(self, y: Tensor) -> Tensor:
        """The log-likelihood: of a density where y is observed, of a probability elsewhere.

        Args:
            y: pairs (..., 2), or observed numbers (...,).

        Returns:
            shape (...,), with finite gradients. Pairs that tell nothing, (-inf, inf), have 0, and
            ends in the wrong order NaN.
        """
        if not is_pair(y.shape, self.batch_shape):
            return self.base.log_prob(y)
        if not y.is_floating_point():
            y = y.to(self.dtype)
        ends = Ends.of(y)
        shape = torch.broadcast_shapes(ends.lower.shape, self.batch_shape)
        base = self.base if shape == self.batch_shape else self.base.expand(shape)
        lower, upper = (end.expand(shape) for end in ends)
        ends = Ends(lower, upper)
        is_between = lower.isfinite() & upper.isfinite() & (lower < upper)
        parts = (
            (ends.is_observed, _log_density),
            (ends.is_right & lower.isfinite(), _log_above),
            (ends.is_left, _log_below),
            (is_between, _log_between),
        )
        is_free = (lower == -torch.inf) & (upper == torch.inf)
        dtype = torch.promote_types(self.dtype, y.dtype)
        value = torch.where(is_free, 0.0, torch.full_like(lower, torch.nan)).to(dtype)
        if are_concrete(y) and shape:
            for holds, log_likelihood in parts:
                if bool(holds.all()):
                    return log_likelihood(base, lower, upper).to(dtype)
                if bool(holds.any()):
                    some = log_likelihood(base[holds], lower[holds], upper[holds])
                    value = value.masked_scatter(holds, some.to(dtype))
            return value
        # no row can be left out here: others are computed at a number where gradients are finite
        harmless = _harmless(base, torch.where(is_free, 0.0, ends.points))
        for holds, log_likelihood in parts:
            inside = (torch.where(holds, end, harmless) for end in ends)
            value = torch.where(holds, log_likelihood(base, *inside).to(dtype), value)
        return value

    def observed(self, lower: Any = -torch.inf, upper: Any = torch.inf) -> Clamped:
        """The distribution of what is recorded under known limits, min(max(Y, lower), upper).

        Args:
            lower: what smaller numbers are recorded as, shape (...,), or -inf for none.
            upper: what larger numbers are recorded as, such as the end of a study.

        Raises:
            ValueError: for a latent distribution that is not continuous.
        """
        return Clamped(self.base, lower, upper)

    @property
    def has_enumerate_support(self) -> bool:
        return self.base.has_enumerate_support

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self.base.enumerate_support(expand)

    def entropy(self) -> Tensor:
        return self.base.entropy()

    def log_cdf(self, y: Tensor) -> Tensor:
        return self.base.log_cdf(y)

    def log_survival(self, y: Tensor) -> Tensor:
        return self.base.log_survival(y)

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y) of observed targets, P(Y <= lower) and P(Y <= upper) of others.

        Args:
            y: pairs (..., 2), or observed numbers (...,).
        """
        if not is_pair(y.shape, self.batch_shape):
            return self.base.cdf_limits(y)
        ends = Ends.of(y if y.is_floating_point() else y.to(self.dtype))
        points, is_observed = ends.points, ends.is_observed
        below, upto = self.base.cdf_limits(points)
        for_lower = torch.where(ends.lower.isfinite(), ends.lower, points)
        for_upper = torch.where(ends.upper.isfinite(), ends.upper, points)
        lower = torch.where(ends.lower == -torch.inf, 0.0, self.base.cdf(for_lower))
        upper = torch.where(ends.upper == torch.inf, 1.0, self.base.cdf(for_upper))
        return torch.where(is_observed, below, lower), torch.where(is_observed, upto, upper)

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The probability integral transform, drawn at random between `cdf_limits` of pairs."""
        if not is_pair(y.shape, self.batch_shape):
            return self.base.pit(y, generator)
        return Univariate.pit(self, y, generator)

    def crps(self, y: Tensor) -> Tensor:
        return self.base.crps(y)

    def interval(self, level: float) -> Interval | Arc:
        return self.base.interval(level)

    def highest_density(self, level: float) -> Interval | Arc:
        return self.base.highest_density(level)

    def _in_double(self) -> "Censored":
        return Censored(self.base._in_double())


def _harmless(base: Distribution, points: Tensor) -> Tensor:
    """The mean of the base where it is a number inside the support, else these points."""
    mean = base.mean.detach().to(points.dtype)
    mean = mean.floor() if base.support.is_discrete else mean
    support = getattr(base.support, "base_constraint", base.support)
    lower, upper = (getattr(support, f"{end}_bound", None) for end in ("lower", "upper"))
    inside = mean.isfinite()
    if not base.support.is_discrete:
        inside = inside if lower is None else inside & (mean > lower)
        inside = inside if upper is None else inside & (mean < upper)
    return torch.where(inside, mean, points)


def _log_density(base: Distribution, lower: Tensor, upper: Tensor) -> Tensor:
    return base.log_prob(lower)


def _log_above(base: Distribution, lower: Tensor, upper: Tensor) -> Tensor:
    return base.log_survival(lower)


def _log_below(base: Distribution, lower: Tensor, upper: Tensor) -> Tensor:
    return base.log_cdf(upper)


def _log_between(base: Distribution, lower: Tensor, upper: Tensor) -> Tensor:
    base = base._in_double()
    return log_between(base, lower.to(base.dtype), upper.to(base.dtype))


@register_kl(Censored, Censored)
def _kl_of_latent(p: Censored, q: Censored) -> Tensor:
    return kl_divergence(p.base, q.base)


@register_kl(Censored, Distribution)
def _kl_from_latent(p: Censored, q: Distribution) -> Tensor:
    return kl_divergence(p.base, q)


@register_kl(Distribution, Censored)
def _kl_to_latent(p: Distribution, q: Censored) -> Tensor:
    return kl_divergence(p, q.base)
