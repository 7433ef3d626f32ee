"""The Tweedie distribution: sums of a random number of amounts, zero where there is none."""

from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import as_number
from disthead.distributions.base import Distribution, Kind, positive, root, stored, tensors
from disthead.distributions.continuous import Continuous
from disthead.distributions.interval import Arc, Interval
from disthead.distributions.univariate import Univariate, check_level, in_double
from disthead.families.family import Family
from disthead.families.gamma import Gamma, log_standard_gamma
from disthead.links import LINKS
from disthead.special import gammaincinv, tanh_sinh
from disthead.special.compound_gamma import (
    compound_log_density,
    compound_log_tails,
    compound_mean_difference,
    compound_sums,
)
from disthead.special.eager import are_plain_numbers
from disthead.special.incomplete_gamma import log1mexp

__all__ = ["Tweedie", "TweedieFamily"]

_TINY = 1e-300
_STEPS = 40  # of a search; seven suffice in most cases


class _PositiveSum(Continuous):
    """The sum of a Poisson number of gamma variables of scale 1, given that there is one.

    Args:
        rate: mean of the Poisson number, shape (...,), positive.
        shape: concentration of one gamma variable, shape (...,), positive.
    """

    support = constraints.positive

    def __init__(self, rate: Tensor, shape: Tensor):
        self._store(rate=rate, shape=shape)

    def _log_some(self) -> Tensor:
        """The logarithm of the probability that there is one."""
        return log1mexp(-self.rate)

    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < torch.inf)
        y = torch.where(inside, y, 1.0)
        value = compound_log_density(y, self.rate, self.shape) - self._log_some() - y.log()
        return torch.where(inside, value, -torch.inf)

    def _log_tails(self, y: Tensor) -> tuple[Tensor, Tensor]:
        upper = y > self.mean
        tail = compound_log_tails(y, self.rate, self.shape, upper) - self._log_some()
        tail = tail.clamp(max=-_TINY)
        other = log1mexp(tail)
        return torch.where(upper, other, tail), torch.where(upper, tail, other)

    def log_cdf(self, y: Tensor) -> Tensor:
        return self._tail(0, y, y <= 0, y == torch.inf)

    def log_survival(self, y: Tensor) -> Tensor:
        return self._tail(1, y, y == torch.inf, y <= 0)

    def _tail(self, side: int, y: Tensor, empty: Tensor, full: Tensor) -> Tensor:
        tail = self._log_tails(torch.where(empty | full, 1.0, y))[side]
        return torch.where(full, 0.0, torch.where(empty, -torch.inf, tail))

    @property
    def mean(self) -> Tensor:
        return self.rate * self.shape / -torch.expm1(-self.rate)

    @property
    def variance(self) -> Tensor:
        """With m the mean, m (1 + shape) less what the certainty of one variable takes."""
        return self.mean * (1 + self.shape - self.mean * torch.exp(-self.rate))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        below, above, _ = torch.broadcast_tensors(below, above, self._constant(0.0))
        log_below, log_above = below.log(), above.log()
        left = (below <= above).detach()

        def residual(v: Tensor) -> tuple[Tensor, Tensor]:
            log_cdf, log_survival = self._log_tails(v.exp())
            value = torch.where(left, log_cdf - log_below, log_above - log_survival)
            log_density = compound_log_density(v.exp(), self.rate, self.shape) - self._log_some()
            return value, torch.exp(log_density - torch.where(left, log_cdf, log_survival))

        with torch.no_grad():
            # one variable is smaller than the sum, and Cantelli's inequality bounds both ends
            mean, std = self.mean, self.variance.sqrt()
            least = torch.maximum(
                gammaincinv(self.shape, below, above), mean - std * (above / below).sqrt()
            )
            most = mean + std * (below / above).sqrt()
            start = self._alike._quantile(below, above)
            least, most, start = (part.clamp(min=_TINY).log() for part in (least, most, start))
            v = _root(residual, least - 1e-9, most + 1e-9, start)
        return self._with_gradient(v.exp(), log_below, log_above)

    @property
    def _alike(self) -> Gamma:
        """The gamma distribution with the same mean and variance."""
        scale = self.variance / self.mean
        return Gamma(self.mean / scale, 1 / scale)

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E[function(Y)], by quadrature over the quantiles of a gamma distribution alike.

        Args:
            function: of points, shape (..., nodes), after which parameters need a new dimension.
        """
        t, complement, weights = tanh_sinh(161, self.rate)
        with torch.no_grad():
            alike = self._alike.map(lambda part: part.unsqueeze(-1))
            y = alike._quantile(t, complement).clamp(min=_TINY)
            weights = weights * torch.exp(-alike.log_prob(y))
        column = self.map(lambda part: part.unsqueeze(-1))
        return (weights * column.log_prob(y).exp() * function(y)).sum(-1)


class Tweedie(Univariate):
    """Tweedie distribution with 1 < power < 2: 0 with a probability, and a density for y > 0.

    It is the sum of N gamma variables, for a Poisson number N with the mean mean^(2 - power) /
    (dispersion (2 - power)), each with the concentration (2 - power) / (power - 1) and the scale
    dispersion (power - 1) mean^(power - 1). P(Y = 0) = exp(-E[N]), and the variance is dispersion
    mean^power. `log_prob` is the log-probability at 0 and the log-density elsewhere, by the exact
    series of Dunn and Smyth 2005, Series evaluation of Tweedie exponential dispersion model
    densities. Quantiles and the cdf are exact for powers from 1.05 on; nearer to 1 the amounts are
    so nearly equal that the distribution has many peaks.

    Args:
        mean: shape (...,), positive, in the units of y.
        dispersion: shape (...,), positive, in the units of y to the power 2 - power.
        power: shape (...,), between 1 and 2, without a unit.
        log_mean, log_dispersion: their logarithms; of both parameters the value, its logarithm or
            both are given.
        log_power: is not used.

    >>> Tweedie(2.0, 1.0, 1.5).log_prob(torch.tensor([0.0, 2.0]))  # -2 sqrt(2) at 0
    tensor([-2.8284, -1.5122])
    """

    arg_constraints = {
        "mean": constraints.positive,
        "dispersion": constraints.positive,
        "power": constraints.interval(1, 2),
    }
    support = constraints.nonnegative
    kind: Kind = "mixed"
    values = (0.0,)
    mean = stored()

    def __init__(
        self,
        mean=None,
        dispersion=None,
        power=1.5,
        *,
        log_mean=None,
        log_dispersion=None,
        log_power=None,
    ):
        mean, dispersion, power, log_mean, log_dispersion = tensors(
            mean, dispersion, power, log_mean, log_dispersion
        )
        mean, log_mean = positive(mean, log_mean)
        dispersion, log_dispersion = positive(dispersion, log_dispersion)
        self._store(
            mean=mean,
            dispersion=dispersion,
            power=power,
            log_mean=log_mean,
            log_dispersion=log_dispersion,
        )

    @property
    def _rate(self) -> Tensor:
        """The mean number of amounts, minus the logarithm of P(Y = 0)."""
        left = 2 - self.power
        return torch.exp(left * self.log_mean - self.log_dispersion) / left

    @property
    def _unit(self) -> Tensor:
        """The scale of one amount."""
        more = self.power - 1
        return more * torch.exp(self.log_dispersion + more * self.log_mean)

    @property
    def _amounts(self) -> _PositiveSum:
        """The distribution of y / unit, given that it is positive."""
        return _PositiveSum(self._rate, (2 - self.power) / (self.power - 1))

    @property
    def base(self) -> Distribution:
        """The distribution of y given that it is positive."""
        unit = self._unit
        return self._amounts.affine(torch.zeros_like(unit), unit)

    def _log_weights(self) -> tuple[Tensor, Tensor]:
        """The log-probabilities of a positive number and of 0."""
        return self._amounts._log_some(), -self._rate

    def support_limits(self) -> tuple[Tensor, Tensor]:
        return self._constant(0.0), self._constant(torch.inf)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        some = (y > 0) & (y < torch.inf)
        positive = torch.where(some, y, self.mean.detach())
        amounts, unit = self._amounts, self._unit
        density = compound_log_density(positive / unit, amounts.rate, amounts.shape)
        nothing = torch.where(y == 0, -amounts.rate, -torch.inf)
        return torch.where(some, density - positive.log(), nothing)

    def _log_tails(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithms of P(Y <= y) and P(Y > y)."""
        some, beyond = y > 0, y == torch.inf
        positive = torch.where(some & ~beyond, y, self.mean.detach())
        amounts = self._amounts
        upper = positive > self.mean
        tail = compound_log_tails(positive / self._unit, amounts.rate, amounts.shape, upper)
        lower = torch.where(upper, tail, torch.logaddexp(-amounts.rate, tail)).clamp(max=-_TINY)
        other = log1mexp(lower)
        log_cdf, log_survival = torch.where(upper, other, lower), torch.where(upper, lower, other)
        log_cdf = torch.where(some, log_cdf, torch.where(y == 0, -amounts.rate, -torch.inf))
        rest = torch.where(y == 0, amounts._log_some(), 0.0)
        return (
            torch.where(beyond, 0.0, log_cdf),
            torch.where(beyond, -torch.inf, torch.where(some, log_survival, rest)),
        )

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        return self._log_tails(y)[0].exp()

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._log_tails(y)[0]

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        return self._log_tails(y)[1]

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), which differ at 0."""
        through = self.cdf(y)
        return torch.where(y == 0, 0.0, through), through

    def icdf(self, q: Tensor) -> Tensor:
        """The quantile: the smallest y with cdf(y) >= q, which is 0 up to P(Y = 0).

        It is differentiable in q and in the parameters, once (by the implicit function theorem).
        """
        exact = self._in_double()
        q = torch.as_tensor(q, device=self.device).to(exact.dtype)
        return exact._quantile(q, 1 - q).to(self.dtype)

    def _quantile(self, below: Tensor, above: Tensor) -> Tensor:
        amounts = self._amounts
        some = -torch.expm1(-amounts.rate)
        share = (below - torch.exp(-amounts.rate)) / some
        is_zero = share <= 0
        y = amounts._quantile(
            torch.where(is_zero, 0.5, share), torch.where(is_zero, 0.5, above / some)
        )
        return torch.where(is_zero, 0.0, self._unit * y)

    def highest_density(self, level: float) -> Interval | Arc:
        """The shortest interval with the probability `level`; not differentiable.

        It starts at 0, or lies where the density is highest.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        exact = self._in_double()
        with torch.no_grad():
            upper = exact._quantile(self._constant(level), self._constant(1 - level))
            some = -torch.expm1(-exact._rate)
            share = (level / some).clamp(max=1 - 1e-12)
            first, last = _shortest(exact._amounts, share)
            unit = exact._unit
            inside = (level < some) & (unit * (last - first) < upper)
            lower = torch.where(inside, unit * first, 0.0)
            upper = torch.where(inside, unit * last, upper)
        return Interval(lower.to(self.dtype), upper.to(self.dtype))

    @property
    @in_double
    def variance(self) -> Tensor:
        return torch.exp(self.log_dispersion + self.power * self.log_mean)

    @property
    @in_double
    def stddev(self) -> Tensor:
        return root(self.variance)

    @property
    def mode(self) -> Tensor:
        """The most probable value, 0: every other number has probability 0."""
        return torch.zeros_like(self.mean)

    @in_double
    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats, of the probability of 0 and of the density for y > 0."""
        amounts = self._amounts
        column = amounts.map(lambda part: part.unsqueeze(-1))
        nothing, log_some = torch.exp(-amounts.rate), amounts._log_some()
        inner = amounts.expectation(lambda y: -column.log_prob(y)) + self._unit.log() - log_some
        return nothing * amounts.rate + log_some.exp() * inner

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y."""
        amounts, unit, some = self._amounts, self._unit, y > 0
        positive = torch.where(some, y, self.mean.detach())
        below, partial = compound_sums(positive / unit, amounts.rate, amounts.shape)
        balance = 2 * (below + torch.exp(-amounts.rate)) - 1
        distance = torch.where(
            some, positive * balance + self.mean - 2 * unit * partial, self.mean - y
        )
        return distance - 0.5 * unit * compound_mean_difference(amounts.rate, amounts.shape)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact = self._in_double()
        amounts, shape = exact._amounts, self._extended_shape(sample_shape)
        count = torch.poisson(amounts.rate.expand(shape), generator)
        some = count > 0
        total = log_standard_gamma(torch.where(some, count, 1.0) * amounts.shape, generator)
        y = torch.where(some, exact._unit * total.exp(), 0.0).to(self.dtype)
        return torch.where(some, y.clamp(min=torch.finfo(self.dtype).tiny), y)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        raise self._unanswered(
            "rsample",
            "a sample of 0 does not move with the parameters. Use sample(), and log_prob for a "
            "score-function gradient.",
        )


def _root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    lower: Tensor,
    upper: Tensor,
    start: Tensor,
) -> Tensor:
    """The root in [lower, upper] of an increasing function, by safeguarded Newton steps.

    For concrete numbers it ends when all elements have converged.
    """
    x = torch.minimum(torch.maximum(start, lower), upper)
    for _ in range(_STEPS):
        value, slope = function(x)
        lower, upper = torch.where(value < 0, x, lower), torch.where(value > 0, x, upper)
        newton = x - value / slope
        accepted = (newton >= lower) & (newton <= upper)
        x, before = torch.where(accepted, newton, 0.5 * (lower + upper)), x
        if are_plain_numbers(x) and not ((x - before).abs() > 1e-13 * (1 + x.abs())).any():
            break
    return x


def _shortest(amounts: _PositiveSum, level: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the shortest interval with that probability, by golden section.

    `shortest_interval` would take the pole at 0 for the only peak, where a higher one follows.
    """
    ratio = 0.5 * (5**0.5 - 1)
    low, high = torch.zeros_like(level), 1 - level

    def ends(below: Tensor) -> tuple[Tensor, Tensor]:
        return amounts._quantile(below, 1 - below), amounts._quantile(
            below + level, 1 - level - below
        )

    def width(below: Tensor) -> Tensor:
        lower, upper = ends(below)
        return upper - lower

    first, second = high - ratio * (high - low), low + ratio * (high - low)
    of_first, of_second = width(first), width(second)
    for _ in range(40):
        is_left = of_first < of_second
        low, high = torch.where(is_left, low, first), torch.where(is_left, second, high)
        known = torch.where(is_left, first, second), torch.where(is_left, of_first, of_second)
        new = torch.where(is_left, high - ratio * (high - low), low + ratio * (high - low))
        of_new = width(new)
        first, second = torch.where(is_left, new, known[0]), torch.where(is_left, known[0], new)
        of_first, of_second = (
            torch.where(is_left, of_new, known[1]),
            torch.where(is_left, known[1], of_new),
        )
    return ends(0.5 * (low + high))


@register_kl(Tweedie, Tweedie)
@in_double
def _kl_tweedie(p: Tweedie, q: Tweedie) -> Tensor:
    """E[log p(Y) - log q(Y)] in nats, of the probability of 0 and of the density for y > 0."""
    p = p.expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))
    column, other = (dist.map(lambda part: part.unsqueeze(-1)) for dist in (p, q))

    def surprise(y: Tensor) -> Tensor:
        y = column._unit * y
        return column.log_prob(y) - other.log_prob(y)

    nothing = torch.exp(-p._rate)
    return nothing * (q._rate - p._rate) - torch.expm1(-p._rate) * p._amounts.expectation(surprise)


class TweedieFamily(Family):
    """The Tweedie family with 1 < power < 2: zeros with a probability, and a density for y > 0.

    Its parameters are `mean`, `dispersion` and `power`, shape (...,); the variance is dispersion
    mean^power.

    Args:
        power: a number between 1 and 2 that is fixed, or None for a power that is learned.

    Raises:
        ValueError: for a power that is not between 1 and 2.
    """

    name = "tweedie"
    support = constraints.nonnegative
    data_type = "univariate, mixed, bounded below"
    domain = "y >= 0"
    use = "amounts that are often zero"
    loss = "Tweedie deviance"
    noise = (
        "The total of a random number of amounts, such as claims of a policy or rain of a day: "
        "exactly zero where there is none, right-skewed otherwise. One mean governs how many "
        "amounts there are and how large they are."
    )
    density = (
        "y is the sum of N gamma numbers of concentration (2 - power) / (power - 1) and mean "
        "dispersion (2 - power) mean^(power - 1); N is of a Poisson distribution of rate "
        "mean^(2 - power) / (dispersion (2 - power)), and P(0) = exp(-rate)"
    )
    breaks = (
        "The probability of zero follows from mean, dispersion and power: it cannot vary by "
        "itself. Totals of many amounts have no zeros left, and heavy tails are underestimated."
    )
    remedy = (
        "gamma where there are no zeros; hurdle with the base gamma or log_normal where zeros have "
        "causes of their own."
    )

    def __init__(self, power: float | None = 1.5):
        expected = (
            "between 1 and 2, such as 1.5, or None to learn it (gamma has the power 2, "
            "inverse_gaussian 3)"
        )
        self.power = (
            None
            if power is None
            else as_number(power, "power of tweedie", expected, lambda x: 1 < x < 2)
        )
        link = LINKS["sigmoid"].shifted(1.0)
        self.parameters = {
            "mean": LINKS["softplus"],
            "dispersion": LINKS["softplus"],
            "power": link if self.power is None else link.constant(self.power),
        }

    def make(self, **parameters: Tensor) -> Tweedie:
        return Tweedie(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # by moments, where no amount in any row counts as half a one
        least = torch.where((y > 0).any(0), y.amax(0), 1.0) * (0.5 / len(y))
        mean = torch.maximum(y.mean(0), least)
        power = 1.5 if self.power is None else self.power
        variance = torch.maximum(y.var(0, correction=0), 1e-4 * mean.square())
        return {
            "mean": mean,
            "dispersion": variance / mean**power,
            "power": torch.full_like(mean, power),
        }
