"""Objectives of pairs of embeddings, each a choice among the candidates of a batch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.families.categorical import Categorical
from disthead.losses import nll
from disthead.special.eager import are_concrete

__all__ = ["info_nce"]


@dataclass(frozen=True)
class info_nce:
    """InfoNCE: the negative log-likelihood of the right key among the candidates of the batch.

        -log(exp(s[i, i] / temperature) / sum_j exp(s[i, j] / temperature))

    where s[i, j] is the cosine of query i and key j. It is the cross-entropy of a categorical
    distribution whose logits are the similarities, and the right class of row i is i. With
    `symmetric` it is the mean of this and of the same with queries and keys exchanged, as in CLIP.
    Where it is least, s / temperature is log p(key | query) - log p(key) up to a constant of each
    query. Sources: van den Oord and others 2018; Radford and others 2021 (CLIP).

    It has no distribution among its arguments: call it in a training step of your own.

    Args:
        temperature: by which similarities are divided, above 0. A learned one is given to the call.
        symmetric: whether queries are chosen by keys, too.
        gather: whether the candidates are those of all processes, where torch.distributed is
            initialised. Each process returns the rows of its own queries, and the gradient, which
            DistributedDataParallel averages, is that of the mean over all rows in one process.

    Raises:
        ValueError: for a temperature that is not above 0.

    >>> import torch
    >>> info_nce(temperature=1.0)(torch.eye(2), torch.eye(2))
    tensor([0.3133, 0.3133])
    """

    temperature: float = 0.07
    symmetric: bool = True
    gather: bool = True

    def __post_init__(self) -> None:
        as_number(self.temperature, "temperature", "a number above 0", lambda value: value > 0)

    def __call__(
        self, queries: Any, keys: Any, ids: Any = None, temperature: Tensor | None = None
    ) -> Tensor:
        """The loss of each query, shape (N,).

        Args:
            queries: embeddings (N, D), such as of texts; they are scaled to length 1 here.
            keys: embeddings (M, D), such as of images; key i belongs to query i. Where M > N, which
                needs symmetric=False, the others are further negatives.
            ids: integers (M,), the same for keys that are the same item; those of the first N are
                of the queries, too. The target is then uniform over all keys of the query's item
                (Yang and others 2022). None takes all items as different.
            temperature: a tensor of one number above 0, such as a learned one, in place of the
                option: `log_temperature.exp()`. Its value is checked on the CPU only.

        Raises:
            NotImplementedError: for a distribution in place of embeddings.
            ValueError: for shapes and dtypes that do not fit, for another temperature, for no
                pairs, and for batches whose sizes differ between processes.
        """
        if isinstance(queries, Distribution):
            raise NotImplementedError(
                f"{type(queries).__name__} has no info_nce: it takes embeddings of pairs, "
                "info_nce()(queries, keys); call it in a training step of your own."
            )
        _check_shapes(queries, keys, ids, self.symmetric)
        queries, keys = functional.normalize(queries, dim=-1), functional.normalize(keys, dim=-1)
        inverse = 1 / (self.temperature if temperature is None else _checked(temperature))
        gather = self.gather and _process_count() > 1
        first, all_keys, all_ids = 0, keys, ids
        if gather:
            _check_sizes(queries, keys)
            first, all_keys = distributed.get_rank() * len(keys), _gathered(keys)
            all_ids = None if ids is None else _gathered(ids)
        own_ids = None if ids is None else ids[: len(queries)]
        values = _of_choices(inverse * queries, all_keys, first, own_ids, all_ids)
        if not self.symmetric:
            return values
        all_queries = _gathered(queries) if gather else queries
        return (values + _of_choices(inverse * keys, all_queries, first, ids, all_ids)) / 2


def _of_choices(
    embeddings: Tensor, candidates: Tensor, first: int, ids: Tensor | None, all_ids: Tensor | None
) -> Tensor:
    """The cross-entropy of each row's choice; the right candidate of row 0 is `first`."""
    dist = Categorical(logits=embeddings @ candidates.mT)
    if ids is None or all_ids is None:
        labels = torch.arange(first, first + len(embeddings), device=embeddings.device)
        return nll(dist, labels, reduction="none")
    is_right = (ids.unsqueeze(-1) == all_ids).to(embeddings.dtype)
    return nll(dist, is_right / is_right.sum(-1, keepdim=True), reduction="none")


def _check_shapes(queries: Any, keys: Any, ids: Any, symmetric: bool) -> None:
    for name, value in (("queries", queries), ("keys", keys)):
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim != 2:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must be floating embeddings of shape (rows, features), got {got}. Of a "
                "matrix of similarities the loss is torch.nn.functional.cross_entropy."
            )
    if not len(queries):
        raise ValueError("info_nce needs at least one pair, got an empty batch: leave it out.")
    if queries.shape[1] != keys.shape[1]:
        raise ValueError(
            "queries and keys must have embeddings of one length, got "
            f"{tuple(queries.shape)} and {tuple(keys.shape)}. Project them by a linear layer each."
        )
    if queries.dtype != keys.dtype:
        raise ValueError(
            f"queries and keys must have one dtype, got {queries.dtype} and {keys.dtype}. Try "
            "keys.to(queries.dtype)."
        )
    if len(keys) != len(queries) and (symmetric or len(keys) < len(queries)):
        raise ValueError(
            f"keys must be as many as queries, key i that of query i, got {len(keys)} for "
            f"{len(queries)}. With symmetric=False further keys may follow, as negatives."
        )
    if ids is not None and (not isinstance(ids, Tensor) or ids.shape != keys.shape[:1]):
        raise ValueError(
            f"ids must be a tensor with one integer per key, shape {(len(keys),)}, got "
            f"{tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__}."
        )


def _checked(temperature: Any) -> "Tensor | float":
    expected = "a number above 0, such as log_temperature.exp()"
    if not isinstance(temperature, Tensor):
        return as_number(temperature, "temperature", expected, lambda value: value > 0)
    if temperature.numel() != 1:
        raise ValueError(
            f"temperature must be a tensor of one number, got shape {tuple(temperature.shape)}."
        )
    if are_concrete(temperature) and not bool(temperature > 0):
        raise ValueError(f"temperature must be {expected}, got {temperature.item()}.")
    return temperature.reshape(())


def _process_count() -> int:
    is_there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_there else 1


def _check_sizes(queries: Tensor, keys: Tensor) -> None:
    own = torch.tensor([len(queries), len(keys)], device=queries.device)
    sizes = _gathered(own).reshape(-1, 2).tolist()
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            "all processes must have batches of one size, got [queries, keys] = "
            f"{', '.join(map(str, sizes))}. Set drop_last=True in the loader."
        )


def _gathered(values: Tensor) -> Tensor:
    """The rows of all processes, in the order of their ranks, with gradients."""
    return _AllGather.apply(values)


class _AllGather(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is summed over the losses of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(_process_count())]
        distributed.all_gather(parts, values.contiguous())
        first = distributed.get_rank() * len(values)
        ctx.rows = slice(first, first + len(values))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[ctx.rows]
