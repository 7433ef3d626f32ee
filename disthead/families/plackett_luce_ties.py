"""The Plackett-Luce model with ties: rankings in which items share places."""

import itertools
import math

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import as_integer
from disthead.distributions.base import MOST_OUTCOMES, to_double
from disthead.distributions.rankings import (
    Ranking,
    Rankings,
    absent_items,
    rankings_of_places,
    ranks,
)
from disthead.distributions.vector import dimension
from disthead.errors import TargetError, locate
from disthead.families.family import Family
from disthead.links import LINKS

__all__ = ["PlackettLuceTies", "PlackettLuceTiesFamily"]

_EXACT_ITEMS = 8  # up to here all sets of items are enumerated
_MOST_SETS = 1 << 12  # of items that may be chosen together, of which one is drawn


class PlackettLuceTies(Rankings):
    """Plackett-Luce distribution with ties: sets of items are chosen one after the other.

    P(y) = prod_j f(C_j) / sum over sets S of the items left of f(S), where C_j are the items that
    share the place j, f(S) = ties_n exp(mean of the scores in S) for n = |S| items, ties_1 = 1, and
    a set has at most D items. y is a ranking as of `PlackettLuce`: item indices, best first, where
    i + K says that item i shares the place of the item before it, -1 ends a partial ranking, and
    -2 - i says that item i was absent; `disthead.distributions.rankings.rankings_of_ranks` makes
    them of tables of ranks. For two items it is Davidson's model, the family bradley_terry. Source:
    Turner, van Etten, Firth and Kosmidis 2020, Modelling rankings in R: the PlackettLuce package.

    Args:
        logits: the scores of the items, shape (..., K); only their differences matter.
        ties: positive, shape (..., D - 1): the odds of a tie of n = 2, ..., D equal items against
            one of them alone; near 0 there are none.
        log_ties: log(ties); ties, log(ties) or both are given.

    >>> dist = PlackettLuceTies(torch.zeros(2), torch.tensor([0.5]))
    >>> dist.log_prob(torch.tensor([[0, 1], [1, 0], [0, 1 + 2]])).exp()
    tensor([0.4000, 0.4000, 0.2000])
    """

    arg_constraints = {
        "logits": constraints.real_vector,
        "ties": constraints.independent(constraints.positive, 1),
    }
    parameter_dims = {"logits": 1, "ties": 1, "log_ties": 1}

    def __init__(self, logits, ties=None, *, log_ties=None):
        self._set_parameters(logits=logits, ties=ties, log_ties=log_ties)

    def _store(self, event_shape: tuple[int, ...] = (), **parameters: Tensor) -> None:
        super()._store(tuple(parameters["logits"].shape[-1:]), **parameters)

    @property
    def largest_tie(self) -> int:
        """D, the largest number of items that may share a place."""
        return self.ties.shape[-1] + 1

    @property
    def support(self) -> Ranking:
        return Ranking(self.num_items, self.largest_tie)

    def log_prob(self, y: Tensor) -> Tensor:
        """The logarithm of P(y), in O(K D^2) for each row; -inf for what is no ranking."""
        inside = self.support.check(y)
        some = torch.arange(y.shape[-1], device=y.device).clamp(max=self.num_items - 1)
        value = self._log_prob(torch.where(inside.unsqueeze(-1), y, some).long())
        return torch.where(inside, value, -torch.inf).to(self.dtype)

    def _log_prob(self, y: Tensor) -> Tensor:
        size, scores, log_ties = self.num_items, to_double(self.logits), to_double(self.log_ties)
        scores = scores - scores.detach().amax(-1, keepdim=True)  # only differences matter
        shape = torch.broadcast_shapes(scores.shape[:-1], y.shape[:-1])
        y, scores = y.expand(*shape, -1), scores.expand(*shape, -1)
        rank, absent = ranks(y, size), absent_items(y, size)
        # absent items come last and have no worth
        order = torch.where(absent, size + 1, rank).argsort(dim=-1, stable=True)
        scores, rank, absent = (part.gather(-1, order) for part in (scores, rank, absent))
        ranked = rank < size
        begins = ranked & (torch.diff(rank, dim=-1, prepend=rank.new_full((*shape, 1), -1)) > 0)
        count = torch.zeros(*shape, size + 1, dtype=torch.long, device=y.device)
        count = count.scatter_add(-1, rank, torch.ones_like(rank)).gather(-1, rank)
        bonus = self._log_bonus(log_ties).expand(*shape, -1)
        bonus = bonus.gather(-1, (count - 1).clamp(max=self.largest_tie - 1))
        chosen = torch.where(ranked, scores / count, 0.0) + torch.where(begins, bonus, 0.0)
        left = self._log_worth_of_rest(scores, absent, log_ties)
        return (chosen - torch.where(begins, left, 0.0)).sum(-1)

    @staticmethod
    def _log_bonus(log_ties: Tensor) -> Tensor:
        """The logarithms of ties_n for n = 1, ..., D."""
        return torch.cat([torch.zeros_like(log_ties[..., :1]), log_ties], -1)

    def _log_worth_of_rest(self, scores: Tensor, absent: Tensor, log_ties: Tensor) -> Tensor:
        """Log sum of f(S) over the sets S of the items from each place on, shape (..., K).

        The sums over sets of n items are elementary symmetric polynomials of exp(score / n), to
        which one item after the other is added, from the last.
        """
        nothing = scores.detach().amin(-1) - 1e4  # finite, so that gradients are 0, not NaN
        sums = [[nothing] * n for n in range(1, self.largest_tie + 1)]
        left = []
        for place in reversed(range(scores.shape[-1])):
            for n, row in enumerate(sums, 1):
                item = torch.where(absent[..., place], nothing, scores[..., place] / n)
                smaller = [torch.zeros_like(item), *row[:-1]]  # sums over sets of one item less
                row[:] = [
                    torch.logaddexp(without_item, item + rest)
                    for without_item, rest in zip(row, smaller, strict=True)
                ]
            terms = [row[-1] for row in sums]
            worth = [terms[0], *(term + log_ties[..., n] for n, term in enumerate(terms[1:]))]
            left.append(torch.logsumexp(torch.stack(worth, -1), -1))
        return torch.stack(left[::-1], -1)

    def _sets(self, question: str) -> Tensor:
        """The sets of items that may share a place, booleans (sets, K), to answer a question."""
        size = self.num_items
        if sum(math.comb(size, n) for n in range(1, self.largest_tie + 1)) > _MOST_SETS:
            raise self._unanswered(
                question,
                f"more than {_MOST_SETS} sets of items may share a place. Take a smaller "
                "largest_tie.",
            )
        sets = torch.zeros(0, size, dtype=torch.bool)
        for n in range(1, min(self.largest_tie, size) + 1):
            items = torch.tensor(list(itertools.combinations(range(size), n)))
            sets = torch.cat([sets, torch.zeros(len(items), size).scatter(-1, items, 1.0).bool()])
        return sets.to(self.device)

    def _log_worth(self, sets: Tensor) -> Tensor:
        """Log f(S) of each set, shape (..., sets)."""
        count = sets.sum(-1)
        share = sets.to(torch.float64) / count.unsqueeze(-1)
        bonus = self._log_bonus(to_double(self.log_ties))[..., count - 1]
        return to_double(self.logits) @ share.mT + bonus

    @property
    def top1(self) -> Tensor:
        """P(item i comes first), shape (..., K), an equal share where items tie."""
        sets = self._sets("top1")
        share = sets.to(torch.float64) / sets.sum(-1, keepdim=True)
        return (self._log_worth(sets).softmax(-1) @ share).to(self.dtype)

    @property
    def pairwise(self) -> Tensor:
        """P(item i comes before item j), and half of the probability that they share a place."""
        outcomes, p = self._all("pairwise")
        rank = ranks(outcomes, self.num_items)
        before = 0.5 - 0.5 * torch.sign(rank.unsqueeze(-1) - rank.unsqueeze(-2)).to(p.dtype)
        return torch.einsum("n...,nij->...ij", p, before).to(self.dtype)

    def _all(self, question: str) -> tuple[Tensor, Tensor]:
        """All rankings (n, K), and the probability of each, (n, ...), to answer a question."""
        outcomes = self._outcomes()
        if outcomes is None:
            raise self._unanswered(
                question, f"there are more than {MOST_OUTCOMES} rankings; draw samples instead."
            )
        shape = (len(outcomes),) + (1,) * len(self.batch_shape) + (self.num_items,)
        return outcomes, self._log_prob(outcomes.reshape(shape)).exp()

    @property
    def mode(self) -> Tensor:
        """The most probable ranking: of all of them for few items, else choice by choice."""
        outcomes = self._outcomes()
        if outcomes is not None:
            return outcomes[self._all("mode")[1].argmax(0)]
        return self._chosen("mode", lambda log_p: log_p.argmax(-1))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Exact samples, set by set. Items that share a place are in random order."""
        shape = self._extended_shape(sample_shape)[:-1]

        def choice(log_p: Tensor) -> Tensor:
            race = torch.empty_like(log_p).exponential_(generator=generator)
            return (log_p - race.log()).argmax(-1)

        order = torch.rand(*shape, self.num_items, generator=generator, device=self.device)
        return self._chosen("sample", choice, shape, order)

    def _chosen(
        self, question: str, choice, shape: Size | None = None, order: Tensor | None = None
    ) -> Tensor:
        """The ranking of one choice after the other, by log-probabilities of sets (..., sets)."""
        size, sets = self.num_items, self._sets(question)
        shape = self.batch_shape if shape is None else shape
        log_p = self._log_worth(sets).expand(*shape, -1)
        rank = torch.full((*shape, size), size, device=self.device)
        for place in range(size):
            gone = (rank < size).unsqueeze(-2)
            possible = torch.where((gone & sets).any(-1), -torch.inf, log_p)
            is_done = (rank < size).all(-1, keepdim=True)
            taken = sets[choice(torch.where(is_done, 0.0, possible))] & ~is_done
            rank = torch.where(taken, place, rank)
        return rankings_of_places(rank, order)

    def _outcomes(self) -> Tensor | None:
        if self.num_items > _EXACT_ITEMS:
            return None
        # one item after the other, each before, between or beside those that are there
        rankings: list[list[tuple[int, ...]]] = [[]]
        for item in range(self.num_items):
            rankings = [longer for groups in rankings for longer in self._with(groups, item)]
            if len(rankings) > MOST_OUTCOMES:
                return None
        targets = [
            [item + self.num_items * (i > 0) for group in groups for i, item in enumerate(group)]
            for groups in rankings
        ]
        return torch.tensor(targets, device=self.device)

    def _with(self, groups: list[tuple[int, ...]], item: int) -> list[list[tuple[int, ...]]]:
        """The rankings with one more item."""
        alone = [[*groups[:at], (item,), *groups[at:]] for at in range(len(groups) + 1)]
        beside = [
            [*groups[:at], (*groups[at], item), *groups[at + 1 :]]
            for at in range(len(groups))
            if len(groups[at]) < self.largest_tie
        ]
        return alone + beside

    def entropy(self) -> Tensor:
        """The entropy in nats, by a sum over all rankings.

        Raises:
            NotImplementedError: for so many items that there are too many rankings.
        """
        _, p = self._all("entropy")
        return -(p * torch.where(p > 0, p, 1.0).log()).sum(0).to(self.dtype)


@register_kl(PlackettLuceTies, PlackettLuceTies)
def _kl_plackett_luce_ties(p: PlackettLuceTies, q: PlackettLuceTies) -> Tensor:
    """The divergence, by a sum over all rankings."""
    outcomes, probability = p._all("divergence")
    shape = (len(outcomes),) + (1,) * len(q.batch_shape) + (p.num_items,)
    log_q = q._log_prob(outcomes.reshape(shape))
    if p.largest_tie > q.largest_tie:
        log_q = torch.where(q.support.check(outcomes.reshape(shape)), log_q, -torch.inf)
    terms = probability * (torch.where(probability > 0, probability, 1.0).log() - log_q)
    return torch.where(probability > 0, terms, 0.0).sum(0).to(p.dtype)


class PlackettLuceTiesFamily(Family):
    """The Plackett-Luce family of rankings with ties: sets of items are chosen one by one.

    Its parameters are `logits`, the scores of the items, shape (..., K), and `ties`, shape
    (..., D - 1), the odds of a tie of 2, ..., D equal items. Targets are rankings, item indices,
    best first, shape (..., K), with i + K for an item i that shares the place of the item before
    it: `disthead.distributions.rankings.rankings_of_ranks` makes them of ranks.

    Args:
        event_shape: (K,), the number of items.
        largest_tie: D, the largest number of items that may share a place.

    Raises:
        ValueError: for an event_shape of other than one dimension, and a largest_tie that is not
            from 2 to K.
    """

    name = "plackett_luce_ties"
    kind = PlackettLuceTies.kind
    parameters = {"logits": LINKS["softmax"], "ties": LINKS["softplus"]}
    data_type = "multivariate, discrete, permutation"
    domain = "rankings of 0, ..., K - 1 in which items may share places"
    use = "ranking with ties, as of judges and races"
    loss = "listwise softmax over sets of items"
    noise = (
        "Sets of items are chosen one after the other, each with a probability proportional to the "
        "geometric mean of its items' worths, and to how common ties of so many items are."
    )
    density = (
        "P(y) = prod_j f(C_j) / sum_{S left} f(S), f(S) = ties_n exp(mean of logits in S), n = |S|"
    )
    breaks = (
        "The odds of two items do not depend on which others are there. Ties are as common among "
        "items far apart in score as the geometric mean says. An item that wins or loses against "
        "all others has a score without bound."
    )
    remedy = (
        "plackett_luce where ties only mean that nobody looked, as a partial ranking; "
        "bradley_terry for pairs; weight decay for few rankings."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), largest_tie: int = 2):
        items = dimension(event_shape, self.name, "(K,), the number of items, such as (4,)")
        self.largest_tie = as_integer(largest_tie, "largest_tie")
        if not 2 <= self.largest_tie <= items:
            raise ValueError(
                f"largest_tie must be from 2 to the number of items, {items}, got {largest_tie}. "
                "plackett_luce has no ties."
            )
        self.event_shape = (items,)
        self.shapes = {"logits": (items,), "ties": (self.largest_tie - 1,)}
        self.support = Ranking(items, self.largest_tie)

    def make(self, **parameters: Tensor) -> PlackettLuceTies:
        return PlackettLuceTies(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """Scores by mean places, and the shares of ties."""
        size = self.event_shape[0]
        rank = ranks(y, size).double()
        there = ~absent_items(y, size)
        mean = (rank * there).sum(0) / there.sum(0).clamp(min=1)
        scores = -2 * (mean - mean.mean()) / max(1, size - 1)
        count = torch.stack([(rank == place).sum(-1) for place in range(size)])
        shares = [
            ((count == n).sum().double() + 0.5)
            / ((count == 1).sum() + 0.5)
            / math.comb(size - 1, n - 1)
            for n in range(2, self.largest_tie + 1)
        ]
        return {"logits": scores, "ties": torch.stack(shares)}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        wrong = y.isfinite().all(-1) & ~self.support.check(y)
        if wrong.any():
            size = self.event_shape[0]
            raise TargetError(
                f"{column} must be rankings of the items 0 to {size - 1}, best first, with "
                f"i + {size} where item i shares the place of the one before it, at most "
                f"{self.largest_tie} at a place, got {locate(wrong, y)}. "
                "disthead.distributions.rankings.rankings_of_ranks makes them of the rank of each "
                "item; largest_tie allows larger ties."
            )
        super().check_target(y, column)
