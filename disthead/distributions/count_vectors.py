"""`CountVector`: how a known number of trials falls into K classes."""

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.univariate import Univariate, in_double
from disthead.distributions.vector import Vector

__all__ = ["CountVector", "highest_averages", "split_trials"]


class CountVector(Vector):
    """A distribution of vectors of K counts whose sum is `total_count`, the trials of the row.

    Subclasses store `total_count`, and define `_terms(y)`, a function of each count whose sum over
    the classes is the log-probability up to a constant, that constant `_log_constant`, the expected
    shares `_shares` and the `_inflation` of the variance against that of the multinomial. The
    marginal distributions give the answers for each class.
    """

    support = constraints.independent(constraints.nonnegative_integer, 1)
    total_count: Tensor
    _in_double = Univariate._in_double

    def _terms(self, y: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _log_constant(self) -> Tensor:
        raise NotImplementedError

    @property
    def _shares(self) -> Tensor:
        raise NotImplementedError

    @property
    def _inflation(self) -> Tensor:
        return torch.ones_like(self.total_count)

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        n = self.total_count.unsqueeze(-1)
        inside = ((y >= 0) & (y == y.floor()) & (y <= n)).all(-1) & (y.sum(-1) == n.squeeze(-1))
        possible = torch.where(inside.unsqueeze(-1), y, torch.zeros_like(y))
        value = self._terms(possible).sum(-1) + self._log_constant
        return torch.where(inside, value, -torch.inf)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.total_count.unsqueeze(-1) * self._shares

    @property
    @in_double
    def variance(self) -> Tensor:
        return self.covariance.diagonal(dim1=-2, dim2=-1)

    @property
    @in_double
    def covariance(self) -> Tensor:
        """The covariance of the counts, shape (..., K, K); its rows sum to zero."""
        share = self._shares
        outer = share.unsqueeze(-1) * share.unsqueeze(-2)
        room = torch.diag_embed(share) - outer
        return (self.total_count * self._inflation)[..., None, None] * room

    @property
    def median(self) -> Tensor:
        """The median of each count."""
        return self.marginals.median

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats, by sums over the marginal distributions of the counts."""
        expected = self.marginals._expectation(lambda k: -self._terms(k))
        return expected.sum(-1) - self._log_constant


@torch.no_grad()
def highest_averages(total_count: Tensor, weights: Tensor) -> Tensor:
    """The trials dealt to classes by the method of Jefferson, counts (..., K).

    One trial after the other goes to the class with the largest weight / (count + 1). Every class
    gets at least the whole part of its proportional share.

    Args:
        total_count: the trials, shape (...,).
        weights: shape (..., K), zero or more, and not all of them zero.
    """
    shares = weights / weights.sum(-1, keepdim=True)
    y = (total_count.unsqueeze(-1) * shares).floor()
    for _ in range(shares.shape[-1]):
        left = total_count - y.sum(-1)
        best = (shares / (y + 1)).argmax(-1, keepdim=True)
        y = y.scatter_add(-1, best, (left > 0).to(y.dtype).unsqueeze(-1))
    return y


@torch.no_grad()
def split_trials(
    total_count: Tensor, logits: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """A sample of how the trials fall into classes, shape (..., K), class by class.

    Each class takes a binomial share of the trials that the classes before it have left.

    Args:
        total_count: the trials, shape (...,).
        logits: unnormalised log-probabilities of the classes, shape (..., K).
        generator: the source of random numbers; None takes torch's global one.
    """
    later = logits.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:]
    share, left, counts = (logits[..., :-1] - later).sigmoid(), total_count, []
    for k in range(share.shape[-1]):
        counts.append(torch.binomial(left, share[..., k].contiguous(), generator=generator))
        left = left - counts[-1]
    return torch.stack([*counts, left], -1)
