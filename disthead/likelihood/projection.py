"""`Projection`: logits of very many classes, kept as features, weight and bias.

Its log-probabilities are computed a few classes at a time, so that the logits never all exist.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from disthead.distributions.base import Distribution
from disthead.special.eager import is_tracing

__all__ = ["Projection", "are_many"]

_CHUNK_ROWS = {"cpu": 1 << 12}  # 2^16 elsewhere
# Logits of a chunk, which stay in a core's cache then; 2^26 elsewhere.
_CHUNK_LOGITS = {"cpu": 1 << 19}
# Fewer logits, or logits of fewer classes, are made at once: plain operations are as quick there.
_LEAST_LOGITS = 1 << 20
_LEAST_CLASSES = 64


def are_many(features: Tensor, num_classes: int) -> bool:
    """Whether the logits are better not made all at once."""
    rows = features.shape[:-1].numel()
    return num_classes >= _LEAST_CLASSES and rows * num_classes >= _LEAST_LOGITS


@dataclass(frozen=True, eq=False)
class Projection:
    """The lazy logits features @ weight.T + bias of a categorical distribution.

    The weight may be a DTensor whose classes are sharded over processes that all see the same
    features.

    Args:
        kind: the class of the distribution, made from `logits`.
        features: shape (..., d).
        weight, bias: shapes (K, d) and (K,).
    """

    kind: Any
    features: Tensor
    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "_made_at", self._versions())

    def _versions(self) -> list[int]:
        if torch.compiler.is_compiling():  # the logits are made at once
            return []
        parts = (self.features, self.weight, self.bias)
        return [0 if part.is_inference() else part._version for part in parts]

    def check_unchanged(self) -> None:
        """Raise an error where an optimizer has changed the weights since then.

        Raises:
            RuntimeError: for features or weights changed in place since this was made.
        """
        if self._versions() != self.__dict__["_made_at"]:
            raise RuntimeError(
                "the head's features or weights have changed in place since this distribution of "
                f"{self.num_classes} classes was made, which keeps them in place of its logits. "
                "Ask it before optimizer.step(), or call the head again."
            )

    @property
    def num_classes(self) -> int:
        return self.weight.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.features.dtype

    @property
    def device(self) -> torch.device:
        return self.features.device

    @property
    def is_sharded(self) -> bool:
        return hasattr(self.weight, "device_mesh")

    @property
    def uses_fused_loss(self) -> bool:
        """Whether `log_prob` applies: not for graphs, functional transforms and few logits."""
        return not is_tracing() and (self.is_sharded or are_many(self.features, self.num_classes))

    def distribution(self) -> Distribution:
        """The distribution; many logits are made when they are first asked for."""
        if not self.uses_fused_loss:
            return self.make()
        linked = self if torch.is_grad_enabled() else self.map(torch.detach)
        return self.kind._lazy(linked, self.features.shape[:-1])

    def parameter(self, name: str) -> None:
        """None: the logits are all that there is."""

    def make(self) -> Distribution:
        """The distribution with its logits, gathered from all processes."""
        with torch.enable_grad() if self.requires_grad else torch.no_grad():
            return self.kind(logits=self._logits(self.features))

    @property
    def requires_grad(self) -> bool:
        return any(part.requires_grad for part in (self.features, self.weight, self.bias))

    def _logits(self, features: Tensor) -> Tensor:
        self.check_unchanged()
        if not self.is_sharded:
            return functional.linear(features, self.weight, self.bias)
        return functional.linear(self._replicated(features), self.weight, self.bias).full_tensor()

    def _replicated(self, value: Tensor) -> Any:
        """A tensor that all processes hold alike, as the sharded weight takes it."""
        from torch.distributed.tensor import DTensor, Replicate  # takes a second to import

        weight: Any = self.weight
        return DTensor.from_local(value, weight.device_mesh, [Replicate()], run_check=False)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Projection":
        """For functions that mean the same for features as for weights, such as `torch.detach`."""
        return Projection(
            self.kind, function(self.features), function(self.weight), function(self.bias)
        )

    def __getitem__(self, index: tuple) -> "Projection":
        return Projection(self.kind, self.features[*index, ..., :], self.weight, self.bias)

    def in_double(self) -> Distribution:
        return self.map(Tensor.double).make()

    def chunks(self) -> Iterator[Distribution]:
        """The distributions of a few rows at a time, with their logits."""
        flat = self.features.reshape(-1, self.features.shape[-1])
        for rows in flat.split(max(_chunk_logits(flat) // self.num_classes, 1)):
            yield self.kind(logits=self._logits(rows))

    def log_prob(self, y: Tensor) -> Tensor:
        return self.log_prob_and_normalizer(y)[0]

    def mean_nll(self, y: Tensor) -> Tensor:
        """The mean of -log_prob(y) over at least one row."""
        value = self.log_prob(y)
        return value.sum() / -value.numel()

    def log_prob_and_normalizer(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of each class index, and logsumexp of the logits, both (...)."""
        self.check_unchanged()
        weight: Any = self.weight
        bias: Any = self.bias
        shard = _Shard()
        if self.is_sharded:
            mesh = weight.device_mesh
            first = mesh.get_local_rank() * -(-len(weight) // mesh.size())
            weight, bias = weight.to_local(), bias.to_local()
            shard = _Shard(first, mesh.get_group())
        batch_shape = self.features.shape[:-1]
        y = y.expand(batch_shape).reshape(-1)
        inside = (y >= 0) & (y < self.num_classes) & (y == y.floor())
        index = torch.where(inside, y, 0).long()
        features = self.features.reshape(-1, self.features.shape[-1])
        size = _CHUNK_ROWS.get(features.device.type, 1 << 16)
        chunks = zip(features.split(size), index.split(size), strict=True)
        results = [_LogProb.apply(rows, weight, bias, chosen, shard) for rows, chosen in chunks]
        value, normalizer = (torch.cat(part) for part in zip(*results, strict=True))
        value = torch.where(inside, value, -torch.inf)
        return value.reshape(batch_shape), normalizer.reshape(batch_shape)

    def log_prob_and_sum(self, y: Tensor, class_weight: Tensor) -> tuple[Tensor, Tensor]:
        """Both log_prob and sum_k class_weight_k log p_k, by one projection of the features."""
        value, normalizer = self.log_prob_and_normalizer(y)
        if self.is_sharded:
            placed = self._replicated(class_weight)
            weight = (placed.unsqueeze(0) @ self.weight).full_tensor().squeeze(0)
            bias = (placed * self.bias).sum().full_tensor()
        else:
            weight, bias = class_weight @ self.weight, class_weight @ self.bias
        return value, self.features @ weight + bias - class_weight.sum() * normalizer


@dataclass(frozen=True)
class _Shard:
    """The classes of this process, from `first` on; the processes of `group` hold the others."""

    first: int = 0
    group: Any = None

    def reduce(self, value: Tensor, operation: str = "SUM") -> Tensor:
        if self.group is not None:
            kind = getattr(torch.distributed.ReduceOp, operation)
            torch.distributed.all_reduce(value, kind, group=self.group)
        return value


def _chunk_logits(features: Tensor) -> int:
    return _CHUNK_LOGITS.get(features.device.type, 1 << 26)


def _chunks(features: Tensor, classes: int) -> list[slice]:
    size = max(_chunk_logits(features) // max(len(features), 1), 16)
    return [slice(start, start + size) for start in range(0, classes, size)]


class _LogProb(torch.autograd.Function):
    """log_prob and logsumexp of the logits, a few classes at a time.

    The logits are computed again for the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, index: Tensor, shard: _Shard
    ) -> tuple[Tensor, Tensor]:
        # Not -inf: the first classes may all be absent.
        largest = features.new_full(features.shape[:1], torch.finfo(features.dtype).min)
        total, chosen = torch.zeros_like(largest), torch.zeros_like(largest)
        own = index - shard.first
        for chunk in _chunks(features, len(weight)):
            logits = torch.addmm(bias[chunk], features, weight[chunk].mT)
            chosen += _at(logits, own - chunk.start)
            before, largest = largest, torch.maximum(largest, logits.amax(-1))
            total *= (before - largest).exp_()
            total += logits.sub_(largest.unsqueeze(-1)).exp_().sum(-1)
        overall = shard.reduce(largest.clone(), "MAX")
        total = shard.reduce(total * (largest - overall).exp_())
        chosen = shard.reduce(chosen)
        log_total = total.log()
        ctx.shard = shard
        ctx.save_for_backward(features, weight, bias, index, overall, total)
        return (chosen - overall) - log_total, overall + log_total

    @staticmethod
    def backward(ctx: Any, by_value: Tensor, by_normalizer: Tensor) -> tuple:
        features, weight, bias, index, largest, total = ctx.saved_tensors
        shard: _Shard = ctx.shard
        if torch.is_grad_enabled():
            again = _differentiable(features, weight, bias, index, shard, by_value, by_normalizer)
            return *again, None, None
        needs_features, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        to_features = torch.zeros_like(features) if needs_features else None
        to_weight = torch.empty_like(weight) if needs_weight else None
        to_bias = torch.empty_like(bias) if needs_bias else None
        factor = ((by_normalizer - by_value) / total).unsqueeze(-1)
        own = index - shard.first
        for chunk in _chunks(features, len(weight)):
            slope = torch.addmm(bias[chunk], features, weight[chunk].mT)
            slope.sub_(largest.unsqueeze(-1)).exp_().mul_(factor)
            _add_at(slope, own - chunk.start, by_value)
            if to_features is not None:
                to_features.addmm_(slope, weight[chunk])
            if to_weight is not None:
                torch.mm(slope.mT, features, out=to_weight[chunk])
            if to_bias is not None:
                torch.sum(slope, 0, out=to_bias[chunk])
        if to_features is not None:
            to_features = shard.reduce(to_features)
        return to_features, to_weight, to_bias, None, None


def _at(logits: Tensor, index: Tensor) -> Tensor:
    """The logits at `index`, 0 where another chunk holds them."""
    inside = (index >= 0) & (index < logits.shape[-1])
    place = torch.where(inside, index, 0).unsqueeze(-1)
    return torch.where(inside, logits.gather(-1, place).squeeze(-1), 0.0)


def _add_at(slope: Tensor, index: Tensor, value: Tensor) -> None:
    inside = (index >= 0) & (index < slope.shape[-1])
    place = torch.where(inside, index, 0).unsqueeze(-1)
    slope.scatter_add_(-1, place, torch.where(inside, value, 0.0).unsqueeze(-1))


def _differentiable(features, weight, bias, index, shard: _Shard, by_value, by_normalizer) -> tuple:
    """The gradient by plain operations on all logits, to be differentiated again."""
    if shard.group is not None:
        raise NotImplementedError(
            "log_prob of classes sharded over processes is differentiable once; take second "
            "derivatives in one process."
        )
    logits = functional.linear(features, weight, bias)
    normalizer = logits.logsumexp(-1)
    value = logits.gather(-1, index.unsqueeze(-1)).squeeze(-1) - normalizer
    inputs = [part for part in (features, weight, bias) if part.requires_grad]
    weights = (by_value, by_normalizer)
    grads = iter(torch.autograd.grad((value, normalizer), inputs, weights, create_graph=True))
    return tuple(next(grads) if part.requires_grad else None for part in (features, weight, bias))
