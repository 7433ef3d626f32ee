"""Classes that have an order, with any probabilities: what every distribution of them answers."""

import torch
from torch import Tensor
from torch.distributions import register_kl

from disthead.distributions.base import Distribution, Kind
from disthead.distributions.interval import Interval
from disthead.distributions.univariate import Univariate, check_level, in_double
from disthead.families.categorical import Categorical
from disthead.special.probabilities import divergence, log_probability

__all__ = ["OrderedCategorical"]

_NO_DISTANCES = (
    "an order of classes says nothing of the distances between them. Where each class has a "
    "score, take probs @ scores; median, mode and interval need the order alone"
)
_ROUNDING = 1e-12  # of sums of probabilities


class OrderedCategorical(Univariate, Categorical):
    """Categorical distribution of ordered classes: p(k) = exp(logits_k) / sum_j exp(logits_j).

    The probabilities may be any. It has all that `Categorical` has, and what the order adds: cdf,
    quantiles, intervals, the probability integral transform, and as `crps` the ranked probability
    score. Its quantiles are class indices, of the dtype of the parameters.

    Args:
        logits: unnormalised log-probabilities, shape (..., K).
        probs: probabilities, shape (..., K), which are normalised. Exactly one of logits and probs
            is given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> dist = OrderedCategorical(probs=torch.tensor([0.2, 0.5, 0.3]))
    >>> dist.cdf(torch.tensor([0, 1, 2])), dist.median
    (tensor([0.2000, 0.7000, 1.0000]), tensor(1.))
    """

    kind: Kind = "ordinal"

    @property
    def _log_cdfs(self) -> Tensor:
        """The logarithms of P(Y <= k) for k = 0, ..., K - 2, shape (..., K - 1)."""
        if self.given_probs is not None:
            return log_probability(self.given_probs[..., :-1].cumsum(-1).clamp(max=1))
        return self._log_probs[..., :-1].logcumsumexp(-1).clamp(max=0)

    @property
    def _log_survivals(self) -> Tensor:
        """The logarithms of P(Y > k) for k = 0, ..., K - 2, shape (..., K - 1)."""
        if self.given_probs is not None:
            return log_probability(self.given_probs.flip(-1)[..., :-1].cumsum(-1).flip(-1))
        return self._log_probs.flip(-1)[..., :-1].logcumsumexp(-1).flip(-1).clamp(max=0)

    def _step(self, table: Tensor, before: float, beyond: float, y: Tensor) -> Tensor:
        """The step function that is `before` below 0, table_k from k on, `beyond` from K - 1 on."""
        end = table.new_ones((*table.shape[:-1], 1))
        steps = torch.cat([before * end, table, beyond * end], -1)
        place = (y.floor() + 1).clamp(0, self.num_classes)
        shape = torch.broadcast_shapes(y.shape, self.batch_shape)
        index = torch.where(y.isnan(), 0, place).long().expand(shape).unsqueeze(-1)
        value = steps.expand(shape + steps.shape[-1:]).gather(-1, index).squeeze(-1)
        return torch.where(y.isnan(), torch.nan, value)

    @in_double
    def cdf(self, y: Tensor) -> Tensor:
        """P(Y <= y), a step function of real y."""
        return self._step(self._log_cdfs.exp(), 0.0, 1.0, y)

    @in_double
    def log_cdf(self, y: Tensor) -> Tensor:
        return self._step(self._log_cdfs, -torch.inf, 0.0, y)

    @in_double
    def log_survival(self, y: Tensor) -> Tensor:
        """The logarithm of P(Y > y)."""
        return self._step(self._log_survivals, 0.0, -torch.inf, y)

    @torch.no_grad()
    def icdf(self, q: Tensor) -> Tensor:
        """The quantile: the smallest class k with cdf(k) >= q; not differentiable.

        Both are compared in the precision of q, so that icdf(cdf(k)) is k.
        """
        cdfs = self._in_double()._log_cdfs.exp() * (1 + 1e-15)
        k = (cdfs.to(q.dtype) < q.unsqueeze(-1)).sum(-1)
        k = torch.where(q == 1, self.num_classes - 1, k)
        return torch.where((q >= 0) & (q <= 1), k, torch.nan).to(self.dtype)

    @torch.no_grad()
    def highest_density(self, level: float) -> Interval:
        """The shortest run of classes with at least the probability `level`; not differentiable.

        The interval holds its first and its last class. Of several runs of one length it is the
        most probable one.

        Raises:
            ValueError: unless 0 < level < 1.
        """
        check_level(level)
        count, probs = self.num_classes, self._in_double().probs
        through = probs.cumsum(-1)
        held = through.unsqueeze(-2) - (through - probs).unsqueeze(-1)  # by first and last class
        place = torch.arange(count, device=self.device)
        length = place - place.unsqueeze(-1)
        is_run = (length >= 0) & ((held >= level - _ROUNDING) | (length == count - 1))
        best = torch.where(is_run, held - length, -torch.inf).flatten(-2).argmax(-1)
        return Interval((best // count).to(self.dtype), (best % count).to(self.dtype))

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """P(Y < y) and P(Y <= y), for the non-randomised probability integral transform.

        Source: Czado, Gneiting and Held 2009.
        """
        return self.cdf(y.ceil() - 1), self.cdf(y)

    @in_double
    def crps(self, y: Tensor) -> Tensor:
        """Ranked probability score sum_k (P(Y <= k) - 1{y <= k})^2 over k < K - 1.

        Lower is better. It is 0 for a sure and right forecast, and K - 1 for the worst; of two
        classes it is half the Brier score. Source: Epstein 1969.
        """
        happened = y.unsqueeze(-1) <= torch.arange(self.num_classes - 1, device=y.device)
        return (2 * torch.where(happened, self._log_survivals, self._log_cdfs)).exp().sum(-1)

    @property
    def mean(self) -> Tensor:
        raise self._unanswered("mean", _NO_DISTANCES)

    @property
    def variance(self) -> Tensor:
        raise self._unanswered("variance", _NO_DISTANCES)

    @property
    def stddev(self) -> Tensor:
        raise self._unanswered("stddev", _NO_DISTANCES)

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise self._unanswered("affine", _NO_DISTANCES)

    def __repr__(self) -> str:
        return Distribution.__repr__(self)


@register_kl(OrderedCategorical, OrderedCategorical)
def _kl_ordered(p: OrderedCategorical, q: OrderedCategorical) -> Tensor:
    """sum_k p_k log(p_k / q_k), in nats."""
    return divergence(p.probs, p._log_probs, q._log_probs)
