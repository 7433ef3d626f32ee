"""The Kumaraswamy distribution: proportions like those of beta, with a cdf in closed form."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.distributions.continuous import Continuous
from disthead.distributions.univariate import in_double
from disthead.families.beta import BetaFamily
from disthead.families.exponential import minus_log
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special import betainc, log_beta
from disthead.special.digamma import digamma
from disthead.special.incomplete_gamma import log1mexp
from disthead.special.stirling import EULER

__all__ = ["Kumaraswamy", "KumaraswamyFamily"]

_EARLY = -36.0  # exp(_EARLY) is below the rounding of one


class Kumaraswamy(Continuous):
    """Kumaraswamy distribution with density a b y^(a - 1) (1 - y^a)^(b - 1) for 0 < y < 1.

    The cdf is 1 - (1 - y^a)^b. Source: Jones 2009, Kumaraswamy's distribution: a beta-type
    distribution with some tractability advantages.

    Args:
        concentration1: a, shape (...,), positive; below 1 the density has a pole at 0.
        concentration0: b, shape (...,), positive; below 1 the density has a pole at 1.
        log_concentration1: log(a); a, log(a) or both are given.
        log_concentration0: log(b); b, log(b) or both are given.

    >>> Kumaraswamy(2.0, 3.0).cdf(torch.tensor(0.5))
    tensor(0.5781)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self,
        concentration1=None,
        concentration0=None,
        *,
        log_concentration1=None,
        log_concentration0=None,
    ):
        self._set_parameters(
            concentration1=concentration1,
            concentration0=concentration0,
            log_concentration1=log_concentration1,
            log_concentration0=log_concentration0,
        )

    def _logs(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log(y^a), log(1 - y^a) and log(-log(1 - y^a)), for 0 < y < 1."""
        log_power = self.concentration1 * y.log()
        early = log_power < _EARLY
        late = log1mexp(torch.where(early, -1.0, log_power))
        rest = torch.where(early, -log_power.clamp(max=0).exp(), late)
        return log_power, rest, torch.where(early, log_power, (-late).log())

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        inside = (y > 0) & (y < 1)
        y = torch.where(inside, y, 0.5)
        log_power, rest, _ = self._logs(y)
        height = self.log_concentration1 + self.log_concentration0
        value = height + log_power - y.log() + (self.concentration0 - 1) * rest
        return torch.where(inside, value, -torch.inf)

    def _log_hazard(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of -log P(Y > y) for 0 < y < 1, and that y at other y."""
        inside = (y > 0) & (y < 1)
        return inside, self.log_concentration0 + self._logs(torch.where(inside, y, 0.5))[2]

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        inside, log_hazard = self._log_hazard(y)
        early = log_hazard < _EARLY
        hazard = torch.where(early, 0.0, log_hazard).clamp(max=60).exp()  # exp(-exp(60)) is 0
        value = torch.where(early, log_hazard, log1mexp(-hazard))
        return torch.where(inside, value, torch.where(y > 0, 0.0, -torch.inf))

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        inside, log_hazard = self._log_hazard(y)
        return torch.where(inside, -log_hazard.exp(), torch.where(y > 0, -torch.inf, 0.0))

    def _inverse(self, below: Tensor, above: Tensor) -> Tensor:
        log_hazard = minus_log(below, above).log() - self.log_concentration0
        early = log_hazard < _EARLY
        late = log1mexp(-torch.where(early, 0.0, log_hazard).exp())
        return torch.exp(torch.where(early, log_hazard, late) / self.concentration1)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, strictly between 0 and 1 where they round to an end."""
        limits = torch.finfo(self.dtype)
        y = super().rsample(sample_shape, generator)
        return y.clamp(limits.tiny, 1 - 0.5 * limits.eps)

    @property
    @in_double
    def mean(self) -> Tensor:
        return _mean(self.concentration1, self.concentration0)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The peak ((a - 1) / (a b - 1))^(1 / a) for a, b > 1, else the end that is higher.

        It is 1/2 for the uniform distribution.
        """
        a, b = self.concentration1, self.concentration0
        peaked = (a > 1) & (b > 1)
        safe_a = torch.where(peaked, a, 2.0)
        ratio = (safe_a - 1) / (safe_a * torch.where(peaked, b, 2.0) - 1)
        edge = torch.where(a < b, 0.0, torch.where(a > b, 1.0, torch.where(a == 1, 0.5, 0.0)))
        return torch.where(peaked, ratio ** (1 / safe_a), edge)

    @in_double
    def entropy(self) -> Tensor:
        """The entropy 1 - 1 / b + (1 - 1 / a) (psi(b + 1) + gamma) - log(a b), in nats.

        Here gamma is Euler's constant.
        """
        a, b = self.concentration1, self.concentration0
        harmonic = digamma(b + 1) + EULER
        height = self.log_concentration1 + self.log_concentration0
        return 1 - 1 / b + (1 - 1 / a) * harmonic - height

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score E|Y - y| - E|Y - Y'| / 2, in the units of y.

        y (2 F(y) - 1) - 2 m(b) I + m(2 b), where m(b) is the mean, I the regularised incomplete
        beta function of (1 + 1 / a, b) at y^a; min(Y, Y') has the same distribution with 2 b.
        """
        a, b = self.concentration1, self.concentration0
        inside = (y > 0) & (y < 1)
        log_power, rest, _ = self._logs(torch.where(inside, y, 0.5))
        taken = betainc(1 + 1 / a, b, log_power.exp(), rest.exp())
        taken = torch.where(inside, taken, torch.where(y > 0, 1.0, 0.0))
        balance = 2 * self.cdf(y) - 1
        return y * balance - 2 * _mean(a, b) * taken + _mean(a, 2 * b)


def _mean(a: Tensor, b: Tensor) -> Tensor:
    """The mean b B(1 + 1 / a, b)."""
    return torch.exp(b.log() + log_beta(1 + 1 / a, b))


class KumaraswamyFamily(Family):
    """The Kumaraswamy family: p(y) = a b y^(a - 1) (1 - y^a)^(b - 1) for 0 < y < 1.

    Its parameters are `concentration1` = a and `concentration0` = b, shape (...,).
    """

    name = "kumaraswamy"
    parameters = {"concentration1": LINKS["softplus"], "concentration0": LINKS["softplus"]}
    support = BetaFamily.support
    data_type = "univariate, continuous, bounded"
    domain = "0 < y < 1"
    use = "proportions"
    loss = "-(a - 1) log y - (b - 1) log(1 - y^a)"
    noise = (
        "Proportions strictly between 0 and 1, of the shapes that beta has, with quantiles and "
        "samples in closed form."
    )
    density = "p(y) = a b y^(a - 1) (1 - y^a)^(b - 1), a = concentration1, b = concentration0"
    breaks = (
        "Exact zeros and ones are impossible. Its parameters have no simple relation to mean and "
        "variance, and y and 1 - y are not treated alike."
    )
    remedy = (
        "beta for a mean of its own and for symmetry, logit_normal for lighter ends; "
        "zero_one_inflated for exact ends: see at the edge."
    )
    edge_remedy = BetaFamily.edge_remedy

    def make(self, **parameters: Tensor) -> Kumaraswamy:
        return Kumaraswamy(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        # For a given a the likelihood is greatest at 1 / b = -mean log(1 - y^a): the best of a few.
        trials = torch.logspace(-1.5, 1.5, 25, dtype=y.dtype, device=y.device)
        trials = trials.reshape(-1, *(1,) * (y.ndim - 1)).expand(-1, *y.shape[1:])
        limits = torch.finfo(y.dtype)
        logs = y.log().mean(0)
        scores, rates = [], []
        for a in trials:
            rest = torch.log(-torch.expm1(a * y.log()).clamp(max=-limits.eps)).mean(0)
            b = (-1 / rest).clamp(1e-3, 1e3)
            scores.append((a * b).log() + (a - 1) * logs + (b - 1) * rest)
            rates.append(b)
        best = torch.stack(scores).argmax(0, keepdim=True)
        return {
            "concentration1": trials.gather(0, best)[0],
            "concentration0": torch.stack(rates).gather(0, best)[0],
        }
