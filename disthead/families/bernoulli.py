"""The Bernoulli distribution: one of two outcomes."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import mse_loss

from disthead.arrays import exactly_one
from disthead.distributions.base import tensors, with_fused_loss
from disthead.distributions.closed_forms import closed_form, quantile
from disthead.distributions.interval import Interval
from disthead.distributions.success import Success
from disthead.distributions.univariate import check_level, in_double
from disthead.families.family import Family
from disthead.links import LINKS
from disthead.special.probabilities import (
    divergence,
    entropy_term,
)

__all__ = ["Bernoulli", "BernoulliFamily"]


class Bernoulli(Success):
    """Bernoulli distribution with mass probs^y (1 - probs)^(1 - y) on y in {0, 1}.

    A target may be a soft label, a probability of 1 between 0 and 1: log_prob is then minus the
    binary cross-entropy.

    Args:
        logits: the log-odds log(probs / (1 - probs)), shape (...,).
        probs: the probability of 1, shape (...,). Exactly one of logits and probs is given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> Bernoulli(logits=torch.tensor(-100.0)).log_prob(torch.tensor(1.0))
    tensor(-100.)
    """

    kind = "binary"
    arg_constraints = {"logits": constraints.real, "probs": constraints.unit_interval}
    support = constraints.boolean
    _search_steps = 2

    def __init__(self, logits=None, *, probs=None):
        exactly_one("bernoulli", logits=logits, probs=probs)
        logits, probs = tensors(logits, probs)
        self._store(**({"given_probs": probs} if logits is None else {"logits": logits}))

    @staticmethod
    def log_prob_and_grad(y: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        """log_prob and its derivative by the logits.

        The only dimension of every tensor is the row: shapes are (rows,).
        """
        if logits.dtype == torch.float64:  # infinite ones times 0 are not a number
            logits = torch.clamp(logits, -1e300, 1e300)
        size = abs(logits)
        odds = torch.exp(-size)
        probs = torch.where(logits < 0, odds, 1.0) / (1 + odds)
        return y * logits - 0.5 * (logits + size) - torch.log1p(odds), y - probs

    @with_fused_loss
    def log_prob(self, y: Tensor) -> Tensor:
        """The log-likelihood y log(probs) + (1 - y) log(1 - probs), for 0 <= y <= 1."""
        y = y.to(torch.promote_types(self.dtype, y.dtype))
        positive = torch.where(y == 0, 0.0, y * self._log_success)  # 0 times infinity
        negative = torch.where(y == 1, 0.0, (1 - y) * self._log_failure)
        return torch.where((y >= 0) & (y <= 1), positive + negative, -torch.inf)

    def _log_mass(self, x: Tensor) -> Tensor:
        return torch.where(x == 1, self._log_success, self._log_failure)

    @closed_form("bernoulli_log_cdf", "logits")
    def log_cdf(self, y: Tensor) -> Tensor:
        return super().log_cdf(y)

    @closed_form("bernoulli_log_survival", "logits")
    def log_survival(self, y: Tensor) -> Tensor:
        return super().log_survival(y)

    def _log_cdf(self, k: Tensor) -> Tensor:
        return self._log_failure  # k is 0: one is the end of the support

    def _log_survival(self, k: Tensor) -> Tensor:
        return self._log_success

    @closed_form("bernoulli_cdf", "logits")
    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y): 0 below 0, 1 - probs from 0 up to 1, 1 from there on."""
        y = y.to(torch.promote_types(self.dtype, y.dtype))
        return torch.where(
            y < 0, 0.0, torch.where(y < 1, self._failure, torch.where(y >= 1, 1.0, y))
        )

    @torch.no_grad()
    @quantile("bernoulli_icdf", "logits")
    def icdf(self, q: Tensor) -> Tensor:
        return super().icdf(q)

    def _least_by_halving(self, target: Tensor, below: Tensor, above: Tensor) -> Tensor:
        return (self._failure < target).to(target.dtype)

    _least_by_search = _least_by_halving

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * self._failure

    @property
    def _skewness(self) -> Tensor:
        return (self._failure - self.probs) / self.stddev

    @property
    def mode(self) -> Tensor:
        """The more probable outcome; 1 where both are equally probable."""
        return (self.logits >= 0).to(self.dtype)

    def highest_density(self, level: float) -> Interval:
        """The more probable outcome alone if its probability reaches the level, else both."""
        check_level(level)
        enough = self.logits.abs().sigmoid() >= level
        return Interval(torch.where(enough, self.mode, 0.0), torch.where(enough, self.mode, 1.0))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(
            self.probs.expand(self._extended_shape(sample_shape)), generator=generator
        )

    def entropy(self) -> Tensor:
        """The entropy -probs log(probs) - (1 - probs) log(1 - probs), in nats."""
        return -entropy_term(*self._both()).sum(-1)

    def brier(self, y: Tensor) -> Tensor:
        """The Brier score (y - probs)^2; lower is better."""
        y = y.to(torch.promote_types(self.dtype, y.dtype))
        probs, y = torch.broadcast_tensors(self.probs.to(y.dtype), y)
        return mse_loss(probs, y, reduction="none")

    def crps(self, y: Tensor) -> Tensor:
        """Continuous ranked probability score y (1 - probs)^2 + (1 - y) probs^2 for 0 <= y <= 1.

        It is the Brier score at y = 0 and y = 1. Outside of [0, 1] the distance of y is added.
        """
        y = y.to(torch.promote_types(self.dtype, y.dtype))
        label = y.clamp(0, 1)
        score = label * self._failure.square() + (1 - label) * self.probs.square()
        return score + (y - label).abs()

    def expected_cost(self, cost: Tensor) -> Tensor:
        """The expected cost of each action, shape (..., actions).

        Args:
            cost: the cost of each action where the outcome is 0 and where it is 1, (actions, 2).
        """
        cost = torch.as_tensor(cost, dtype=self.dtype, device=self.device)
        return self._both()[0] @ cost.mT


@register_kl(Bernoulli, Bernoulli)
@in_double
def _kl_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    """The sum over both outcomes of p log(p / q)."""
    return divergence(*p._both(), q._both()[1])


class BernoulliFamily(Family):
    """The Bernoulli family: p(1) = probs = 1 / (1 + exp(-logits)), for y in {0, 1}.

    Its parameter is `logits`, shape (...,).
    """

    name = "bernoulli"
    figure_row = 8
    parameters = {"logits": LINKS["sigmoid"]}
    support = constraints.boolean
    loss_support = constraints.unit_interval
    distribution_class = Bernoulli
    data_type = "univariate, discrete, binary"
    domain = "y in {0, 1}"
    use = "binary classification"
    loss = "binary cross-entropy"
    noise = "One of two outcomes, with odds set by the features."
    density = "p(1) = probs = 1 / (1 + exp(-logits)), p(0) = 1 - probs"
    breaks = (
        "A single wrong label on the sure side costs without bound, and networks grow too sure of "
        "themselves."
    )
    remedy = (
        "Soft labels for doubtful ones, recalibration for overconfidence, shares as soft labels "
        "weighted by the number of trials for counts of successes, categorical for more than two "
        "classes."
    )

    def make(self, **parameters: Tensor) -> Bernoulli:
        return Bernoulli(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        half = 0.5 / len(y)  # an outcome that does not occur counts as half a row
        return {"logits": y.double().mean(0).clamp(half, 1 - half).logit()}
