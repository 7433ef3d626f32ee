"""The Plackett-Luce distribution of rankings.

Items are chosen one after the other, each with a probability proportional to its worth among the
items that are left.
"""

import itertools
import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import exactly_one
from disthead.distributions.base import MOST_OUTCOMES, tensors, to_double
from disthead.distributions.rankings import Ranking, Rankings, absent_items
from disthead.distributions.scores import draw
from disthead.distributions.vector import dimension
from disthead.families.family import Family
from disthead.likelihood import (
    ABSENT_GAP,
    finite_scores,
    ranking_log_prob,
    ranking_log_prob_by_worth,
)
from disthead.links import LINKS
from disthead.special.eager import are_concrete
from disthead.special.probabilities import log_probability

__all__ = ["PlackettLuce", "PlackettLuceFamily"]

EXACT_ITEMS = 10  # up to here entropy and divergence are sums over all 2^K sets of items
SAMPLED_RANKINGS = 1024  # samples for more items
_BITS = 62  # of a non-negative integer, one for each item


class PlackettLuce(Rankings):
    """Plackett-Luce distribution: P(y) = prod_i exp(s[y_i]) / sum_{j >= i} exp(s[y_j]).

    y is a ranking: item indices, best first, shape (..., K). A partial ranking (top-k) is padded
    with -1 or has fewer than K columns; its probability is that of all rankings that start with it.
    Where sets of items differ from row to row, -2 - i after the ranked items says that item i was
    absent, and the sums over j leave it out: y = (2, 0, -3) is a full ranking of the items 0 and 2.
    Only differences of the scores s matter. Source: Luce 1959, Plackett 1975; the negative
    log-likelihood is the listwise loss ListMLE (Xia et al. 2008).

    Args:
        logits: the scores s of the items, shape (..., K); -inf for an absent item, which comes
            after all others.
        probs: worths exp(s), shape (..., K), up to a factor. Exactly one of logits and probs is
            given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> dist = PlackettLuce(torch.tensor([2.0, 0.0, 1.0]))
    >>> dist.mode, dist.log_prob(torch.tensor([0, 2, 1])).exp()
    (tensor([0, 2, 1]), tensor(0.4863))
    """

    arg_constraints = {
        "logits": constraints.real_vector,
        "probs": constraints.independent(constraints.nonnegative, 1),
    }
    parameter_dims = {"logits": 1, "given_probs": 1}
    given_probs: Tensor | None = None  # worths, kept since a score of -inf has no gradient

    def __init__(self, logits=None, *, probs=None):
        exactly_one("plackett_luce", logits=logits, probs=probs)
        logits, probs = tensors(logits, probs)
        scores = {"given_probs": probs} if logits is None else {"logits": logits}
        self._store(tuple(next(iter(scores.values())).shape[-1:]), **scores)

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        super()._store(event_shape, **parameters)
        if "given_probs" in parameters:
            self.logits = log_probability(parameters["given_probs"])

    def _finite_logits(self) -> Tensor:
        """Finite scores: those of absent items are so low that they come last, in any order.

        They are in double precision where worths are given, whose gradients are exact also at 0.
        """
        if self.given_probs is None:
            return finite_scores(self.logits)
        worth = to_double(self.given_probs)
        least = torch.where(worth > 0, worth, torch.inf).detach().amin(-1, keepdim=True)
        return (worth + torch.where(worth == 0, least * math.exp(-ABSENT_GAP), 0.0)).log()

    def log_prob(self, y: Tensor) -> Tensor:
        """The logarithm of P(y), in O(K) for each row, by cumulative sums from the last place.

        It is -inf for a target that is no ranking: for repeated items, numbers that are no item,
        and gaps.
        """
        looks = are_concrete(y)
        if looks and _are_full_rankings(y, self.num_items):
            return self._log_prob(y, may_lack_items=False)
        inside = self.support.check(y)
        if looks and bool(inside.all()):
            return self._log_prob(y.long())
        some_ranking = torch.arange(y.shape[-1], device=y.device).clamp(max=self.num_items - 1)
        value = self._log_prob(torch.where(inside.unsqueeze(-1), y, some_ranking).long())
        return torch.where(inside, value, -torch.inf)

    def _log_prob(self, y: Tensor, may_lack_items: bool = True) -> Tensor:
        logits = self.logits
        if logits.shape[:-1] != y.shape[:-1]:
            shape = torch.broadcast_shapes(logits.shape[:-1], y.shape[:-1])
            logits, y = logits.expand(*shape, -1), y.expand(*shape, -1)
        worth = self.given_probs
        if may_lack_items and (not are_concrete(y) or bool((y < -1).any())):
            absent, y = absent_items(y, self.num_items), y.clamp(min=-1)
            logits = torch.where(absent, -torch.inf, logits)
            worth = None if worth is None else torch.where(absent, 0.0, worth)
        if worth is not None:
            return ranking_log_prob_by_worth(worth.expand(logits.shape), y)
        return ranking_log_prob(logits, y)

    @property
    def mode(self) -> Tensor:
        """The most probable ranking: items by decreasing score."""
        return self.logits.argsort(dim=-1, descending=True, stable=True)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Exact samples: items sorted by their scores plus Gumbel noise (Yellott 1977)."""
        shape = self._extended_shape(sample_shape)
        race = torch.empty(shape, dtype=self.dtype, device=self.device).exponential_(
            generator=generator
        )
        return (self._finite_logits() - race.log()).argsort(-1, descending=True)

    def _outcomes(self) -> Tensor | None:
        if math.factorial(self.num_items) > MOST_OUTCOMES:
            return None
        return torch.tensor(list(itertools.permutations(range(self.num_items))), device=self.device)

    @property
    def top1(self) -> Tensor:
        """P(item i comes first), shape (..., K)."""
        return self._finite_logits().softmax(-1).to(self.dtype)

    @property
    def pairwise(self) -> Tensor:
        """P(item i comes before item j) = sigmoid(s_i - s_j), shape (..., K, K)."""
        scores = self._finite_logits()
        return torch.sigmoid(scores.unsqueeze(-1) - scores.unsqueeze(-2)).to(self.dtype)

    def entropy(self) -> Tensor:
        """The entropy in nats: exact for up to 10 items, else estimated by 1024 samples.

        The samples themselves have no gradient.
        """
        return self._mean_of_choices(lambda log_p: -(log_p.exp() * log_p)).to(self.dtype)

    def _mean_of_choices(self, function, *others: Tensor) -> Tensor:
        """E[sum over choices of sum_i function(log P(item i is chosen next))_i].

        Expectations over rankings reduce to this: a choice depends on the set of items before it,
        not on their order. For few items all sets are enumerated.

        Args:
            function: takes the log-probabilities (..., K) of a choice by these scores, and by each
                of `others`.
            others: further scores, shape (..., K).
        """
        size, scores = self.num_items, [to_double(self._finite_logits()), *others]

        def of_choices(taken: Tensor) -> tuple[Tensor, list[Tensor]]:
            log_ps = []
            for s in scores:
                nothing = s.detach().amin(-1, keepdim=True) - ABSENT_GAP
                log_p = torch.where(taken, nothing, s)
                log_ps.append(torch.where(taken, 0.0, log_p - log_p.logsumexp(-1, keepdim=True)))
            return torch.where(taken, 0.0, function(*log_ps)).sum(-1), log_ps

        if size > EXACT_ITEMS:
            rankings = draw(self, SAMPLED_RANKINGS)
            places = rankings.argsort(-1).unsqueeze(-2)
            stages = torch.arange(size, device=self.device).unsqueeze(-1)
            scores = [s.unsqueeze(-2) for s in scores]
            return of_choices(places < stages)[0].sum(-1).mean(0)

        items = torch.arange(size, device=self.device)
        sets = torch.arange(2**size, device=self.device)
        taken = (sets.unsqueeze(-1) >> items) % 2 == 1
        count = taken.sum(-1)
        scores = [s.unsqueeze(-2) for s in scores]
        values, (log_p, *_) = of_choices(taken)
        # P(the first k items are this set), from the sets without one of its items
        reached = (sets == 0).to(log_p.dtype).expand(log_p.shape[:-1])
        before = (sets.unsqueeze(-1) - (1 << items)).clamp(min=0)
        step = torch.where(taken, log_p.exp()[..., before, items], 0.0)
        for stage in range(1, size):
            through = (reached[..., before] * step).sum(-1)
            reached = torch.where(count == stage, through, reached)
        return torch.where(count < size, reached * values, 0.0).sum(-1)


def _are_full_rankings(y: Tensor, size: int) -> bool:
    """Whether all rows rank all items: a faster `Ranking.check`; False where it cannot tell.

    K powers of two below 2^K add up to 2^K - 1 only if they are distinct.
    """
    if y.dtype != torch.int64 or y.shape[-1] != size or size > _BITS or not y.numel():
        return False
    rankings = y.numpy()
    return bool(
        rankings.min() >= 0
        and rankings.max() < size
        and ((1 << rankings).sum(-1) == 2**size - 1).all()
    )


@register_kl(PlackettLuce, PlackettLuce)
def _kl_plackett_luce(p: PlackettLuce, q: PlackettLuce) -> Tensor:
    """The divergence: exact for up to 10 items, else estimated by 1024 samples of p."""
    shape = torch.broadcast_shapes(p.logits.shape, q.logits.shape)
    dtype = torch.promote_types(p.dtype, q.dtype)
    impossible = ((q.logits == -torch.inf) & (p.logits > -torch.inf)).any(-1)
    p, other = p.expand(shape[:-1]), to_double(q._finite_logits()).expand(shape)
    value = p._mean_of_choices(lambda log_p, log_q: log_p.exp() * (log_p - log_q), other).to(dtype)
    return torch.where(impossible, torch.inf, value)


class PlackettLuceFamily(Family):
    """The Plackett-Luce family of rankings: P(y) = prod_i exp(s[y_i]) / sum_{j >= i} exp(s[y_j]).

    Its parameter is `logits`, the scores s, shape (..., K). Targets are rankings, item indices 0,
    ..., K - 1, best first, shape (..., K).

    Args:
        event_shape: (K,), the number of items.

    Raises:
        ValueError: for an event_shape of other than one dimension.
    """

    name = "plackett_luce"
    figure_row = 11
    kind = PlackettLuce.kind
    parameters = {"logits": LINKS["softmax"]}
    data_type = "multivariate, discrete, permutation"
    domain = "a permutation of 0, ..., K - 1"
    use = "ranking"
    loss = "listwise softmax (ListMLE)"
    noise = (
        "Items are chosen one after the other, each with a probability proportional to its worth "
        "among those that are left."
    )
    density = "P(y) = prod_i exp(s_{y_i}) / sum_{j >= i} exp(s_{y_j}), s = logits"
    breaks = (
        "The odds of two items do not depend on which others are there, which fails for near "
        "duplicates. An item that wins or loses against all others has a score without bound."
    )
    remedy = "Weight decay for few rankings; categorical if only the winner is of interest."

    def __init__(self, event_shape: tuple[int, ...] = ()):
        items = dimension(event_shape, "plackett_luce", "(K,), the number of items, such as (4,)")
        self.event_shape = (items,)
        self.shapes = {"logits": (items,)}
        self.support = Ranking(items)

    def make(self, logits: Tensor | None = None, probs: Tensor | None = None) -> PlackettLuce:
        if (logits is None) == (probs is None):
            raise TypeError("give one of logits and probs.")
        return PlackettLuce(logits, probs=probs)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """The log of the share of its choices that each item wins, with half a choice added."""
        ranked, there = y >= 0, ~absent_items(y, *self.event_shape)
        chosen = torch.nn.functional.one_hot(
            torch.where(ranked, y, 0).long(), *self.event_shape
        ) * ranked.unsqueeze(-1)
        present = (1 - (chosen.cumsum(-2) - chosen)) * ranked.unsqueeze(-1) * there.unsqueeze(-2)
        wins, tries = (part.double().sum((0, 1)) + 0.5 for part in (chosen, present))
        share = (wins / tries).log()
        return {"logits": share - share.mean()}
