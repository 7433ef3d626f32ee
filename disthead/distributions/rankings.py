"""Rankings of items: targets, and what their distributions have in common."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.interval import Arc, Interval
from disthead.errors import TargetError, locate

__all__ = [
    "Ranking",
    "Rankings",
    "absent_items",
    "rankings_of_places",
    "rankings_of_ranks",
    "ranks",
]


class Ranking(constraints.Constraint):
    """The constraint on rankings of items: distinct item indices, best first, shape (..., K).

    A partial ranking has at least one item and ends with -1. A tensor with less than K columns
    holds partial rankings. Where not all items were there to be ranked, -2 - i after the ranked
    items says that item i was absent.

    Args:
        size: K, the number of items.
        ties: the largest number of items that may share a place; i + K says that item i shares the
            place of the item before it.
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, size: int, ties: int = 1):
        self.size, self.ties = size, ties

    def check(self, value: Tensor) -> Tensor:
        width = value.shape[-1]
        if not 1 <= width <= self.size:
            return torch.zeros(value.shape[:-1], dtype=torch.bool, device=value.device)
        if self.ties > 1:
            shares = value >= self.size
            place = torch.arange(width, device=value.device)
            length = place - torch.where(shares, 0, place).cummax(-1).values + 1
            within = ~shares[..., 0] & ((length <= self.ties) | ~shares).all(-1)
            items = torch.where(shares, value - self.size, value)
            return Ranking(self.size).check(items) & within
        ranked, named = value >= 0, value != -1
        items = (value == value.floor()) & (value < self.size) & (value > -2 - self.size)
        no_gap = (ranked[..., :-1] | ~ranked[..., 1:]).all(-1)
        item = torch.where(ranked, value, -2 - value)
        place = torch.where(named & items, item, self.size).long()
        has_place = torch.zeros(
            (*value.shape[:-1], self.size + 1), dtype=torch.bool, device=value.device
        )
        has_place = has_place.scatter(-1, place, torch.ones_like(place, dtype=torch.bool))[..., :-1]
        distinct = has_place.sum(-1) == named.sum(-1)
        return items.all(-1) & no_gap & distinct & ranked[..., 0]

    def __repr__(self) -> str:
        shares = f", i + {self.size} where item i shares a place" if self.ties > 1 else ""
        return (
            f"rankings of {self.size} items, best first, -1 after a partial one, -2 - i for an "
            f"absent item i{shares}"
        )


class Rankings(Distribution):
    """A distribution of rankings of K items, with event_shape (K,).

    Subclasses define `log_prob`, `top1` and `pairwise`. Methods that need an order among rankings,
    or numbers, raise NotImplementedError.
    """

    kind = "ranking"

    @property
    def num_items(self) -> int:
        """The number of items, K."""
        return self.event_shape[0]

    @property
    def support(self) -> Ranking:
        return Ranking(self.num_items)

    @property
    def top1(self) -> Tensor:
        """P(item i comes first), shape (..., K)."""
        raise self._unanswered("top1", "its class does not define which item comes first.")

    @property
    def pairwise(self) -> Tensor:
        """P(item i comes before item j), shape (..., K, K)."""
        raise self._unanswered("pairwise", "its class does not define how two items compare.")

    @property
    def expected_rank(self) -> Tensor:
        """The mean place of each item, shape (..., K): the expected number of items before it."""
        return self.pairwise.sum(-2) - 0.5  # less its own entry, 1/2

    @property
    def mean(self) -> Tensor:
        raise self._unanswered(
            "mean",
            "an average of item indices means nothing; expected_rank gives the mean place "
            "of each item.",
        )

    @property
    def variance(self) -> Tensor:
        raise self._unanswered(
            "variance",
            "item indices are names, not numbers; pairwise and entropy() say how "
            "uncertain the ranking is.",
        )

    @property
    def median(self) -> Tensor:
        raise self._no_order("median")

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        raise self._unanswered(
            "rsample", "rankings do not move continuously with the scores; use sample()."
        )

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        raise self._unanswered("energy_score", "item indices have no distance; use log_prob(y).")

    def crps(self, y: Tensor) -> Tensor:
        raise self._unanswered(
            "crps", "it scores one number, and item indices have no distance; use log_prob(y)."
        )

    def cdf(self, y: Tensor) -> Tensor:
        raise self._no_order("cdf")

    def log_cdf(self, y: Tensor) -> Tensor:
        raise self._no_order("log_cdf")

    def log_survival(self, y: Tensor) -> Tensor:
        raise self._no_order("log_survival")

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._no_order("cdf_limits")

    def icdf(self, q: Tensor) -> Tensor:
        raise self._no_order("icdf")

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise self._no_order("pit")

    def interval(self, level: float) -> Interval | Arc:
        raise self._no_order("interval")

    def highest_density(self, level: float) -> Interval | Arc:
        raise self._no_order("highest_density")

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise self._unanswered("affine", "item indices have no units.")

    def _no_order(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question,
            "rankings are not ordered among themselves; mode, top1, pairwise and expected_rank "
            "summarise them.",
        )


def absent_items(y: Tensor, size: int) -> Tensor:
    """Which items were not there to be ranked, booleans (..., K).

    Args:
        y: rankings, shape (..., columns), with -2 - i for an absent item i.
        size: K, the number of items.

    >>> absent_items(torch.tensor([2, 0, -3]), 3)
    tensor([False,  True, False])
    """
    place = torch.where(y < -1, -2 - y, size).long()
    is_absent = torch.zeros((*y.shape[:-1], size + 1), dtype=torch.bool, device=y.device)
    return is_absent.scatter(-1, place, torch.ones_like(place, dtype=torch.bool))[..., :-1]


def ranks(y: Tensor, size: int) -> Tensor:
    """The place of each item, from 0, shape (..., K); K for items that were not ranked.

    Args:
        y: rankings, shape (..., columns), item indices, best first; i + K for an item i that shares
            the place of the item before it.
        size: K, the number of items.

    >>> ranks(torch.tensor([[2, 0, 1], [2, 3, 1], [1, -1, -1]]), 3)
    tensor([[1, 2, 0],
            [0, 1, 0],
            [3, 0, 3]])
    """
    place = (y < size).cumsum(-1) - 1
    item = torch.where(y < 0, size, y % size).long()  # one more column, for what is not ranked
    rank = torch.full((*y.shape[:-1], size + 1), size, device=y.device)
    return rank.scatter(-1, item, place)[..., :size]


def rankings_of_places(rank: Tensor, order: Tensor | None = None) -> Tensor:
    """Rankings of the places of all items, the inverse of `ranks`.

    Args:
        rank: the place of each item, shape (..., K), equal where items share one; K for those that
            are not ranked.
        order: numbers between 0 and 1, shape (..., K), by which items that share a place are
            listed; by default by their indices.
    """
    size = rank.shape[-1]
    key = rank.double() if order is None else rank + order.double() * (1 - 1e-9)
    items = key.argsort(dim=-1, stable=True)
    sorted_rank = rank.gather(-1, items)
    shares = torch.diff(sorted_rank, dim=-1, prepend=torch.full_like(sorted_rank[..., :1], -1)) == 0
    return torch.where(sorted_rank < size, items + size * shares, -1)


def rankings_of_ranks(ranks: Tensor, absent: Tensor | None = None) -> Tensor:
    """Targets of plackett_luce_ties from the rank of each item, as tables hold them.

    Args:
        ranks: the rank of each item, shape (..., K), the smallest is the best; equal ranks are
            ties, and only their order counts.
        absent: which items were not there to be ranked, booleans (..., K), or none.

    Raises:
        TargetError: for ranks that are not finite, with their rows, and for rows without items.
        ValueError: for an `absent` of another shape.

    >>> rankings_of_ranks(torch.tensor([[2, 1, 2], [1, 3, 2]]))
    tensor([[1, 0, 5],
            [0, 2, 1]])
    """
    ranks = as_tensor(ranks, "ranks")
    if absent is None:
        absent = torch.zeros_like(ranks, dtype=torch.bool)
    absent = as_tensor(absent, "absent", device=ranks.device)
    if absent.shape != ranks.shape or absent.dtype != torch.bool:
        raise ValueError(
            f"absent must be truth values of the shape of ranks, {tuple(ranks.shape)}, got "
            f"{absent.dtype} of shape {tuple(absent.shape)}. Try absent=ranks.isnan()."
        )
    nobody = absent.all(-1)
    if nobody.any():
        raise TargetError(
            "ranks must have an item that was there in each row, got all absent in "
            f"{locate(nobody, absent.sum(-1))}. Leave these rows out."
        )
    wrong = ~ranks.isfinite() & ~absent
    if wrong.any():
        raise TargetError(
            f"ranks must be finite, got {locate(wrong, ranks)}. Say which items were absent: "
            "rankings_of_ranks(ranks, absent=ranks.isnan())."
        )
    size = ranks.shape[-1]
    values = torch.where(absent, torch.inf, ranks.double())
    below = (values.unsqueeze(-1) > values.unsqueeze(-2)).sum(-1)  # how many are better
    order = rankings_of_places(torch.where(absent, size, below))
    missing = torch.where(absent, torch.arange(size, device=ranks.device), size)
    names = -2 - missing.sort(-1).values  # of absent items, first
    count = absent.sum(-1, keepdim=True)
    place = torch.arange(size, device=ranks.device) - (size - count)
    return torch.where(place < 0, order, names.gather(-1, place.clamp(min=0)))
