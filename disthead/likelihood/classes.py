"""Log-probabilities of one class out of many and their derivatives by the logits, on the CPU.

They are computed in one pass along rows. For few classes `Categorical.log_prob_and_grad`, along
columns, is quicker.
"""

from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.likelihood.chunks import CHUNK_ELEMENTS, map_chunks
from disthead.likelihood.formula import Formula
from disthead.likelihood.linked import LinkedParameters, mean_nll, with_derivatives
from disthead.likelihood.projection import Projection, are_many
from disthead.special.blocks import choose
from disthead.special.eager import is_on_host, is_tracing, materialise

__all__ = ["FEW_CLASSES", "Logits", "ManyLogits", "class_log_prob"]

FEW_CLASSES = 12


class Logits(LinkedParameters):
    """The logits of classes."""

    @classmethod
    def from_features(
        cls, formula: Formula, features: Tensor, weight: Tensor, bias: Tensor
    ) -> Distribution:
        """The distribution of logits features @ weight.T + bias; very many logits are lazy."""
        if type(weight) in (Tensor, torch.nn.Parameter) and not are_many(features, len(weight)):
            return super().from_features(formula, features, weight, bias)
        return Projection(formula.distribution_class, features, weight, bias).distribution()


class ManyLogits(Logits):
    """Logits of so many classes that one pass along rows is quicker than one along columns."""

    @property
    def uses_fused_loss(self) -> bool:
        return not is_tracing() and self._is_fused

    @property
    def has_fused_loss(self) -> bool:
        return self.raw.dtype != torch.float64 and super().has_fused_loss

    def _differentiable(self, y: Tensor, is_mean: bool) -> Tensor:
        value = class_log_prob(self.raw.float(), y, is_mean)
        if value is not None:
            return value
        dist: Any = self.make()
        value = dist._plain_log_prob(y)
        return mean_nll(value) if is_mean else value


def class_log_prob(logits: Tensor, y: Tensor, is_mean: bool = False) -> Tensor | None:
    """logits[y] - log sum_k exp(logits_k) of logits (..., K) and class indices y (...).

    With `is_mean` it is the mean of the negatives, ().

    None where plain operations have to answer: for few classes, for graphs and functional
    transforms, and where one index is not that of a class, or there is not one index a row.
    """
    if (
        logits.shape[-1] < FEW_CLASSES
        or logits.ndim < 2
        or y.shape != logits.shape[:-1]
        or is_tracing()
        or not (is_on_host(logits) and is_on_host(y))
        or logits.dtype not in (torch.float32, torch.float64)
        or y.requires_grad
    ):
        return None
    if logits.ndim > 2:
        value = class_log_prob(logits.flatten(0, -2), y.flatten(), is_mean)
        return value if value is None or is_mean else value.reshape(y.shape)
    if y.is_floating_point() and not (y == y.floor()).all():
        return None
    index = materialise(y).long()
    needs_grad = logits.requires_grad and torch.is_grad_enabled()
    result = _value_and_grad(logits, index, needs_grad)
    if result is None:
        return None
    if needs_grad:
        return with_derivatives(logits, index, *result, _value_and_grad, _plain_log_prob, is_mean)
    value, _ = result
    return mean_nll(value) if is_mean else value


def _plain_log_prob(logits: Tensor, index: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def _value_and_grad(
    logits: Tensor, index: Tensor, needs_grad: bool
) -> tuple[Tensor, Tensor | None] | None:
    """The log-probabilities (n,) and their derivatives 1{k = index} - p_k by the logits (n, K).

    None where one index is not that of a class.
    """
    rows, index = materialise(logits.detach()).contiguous(), index.contiguous()
    value, slopes = rows.new_empty(len(rows)), torch.empty_like(rows) if needs_grad else None
    results = [value] if slopes is None else [value, slopes]

    def chunk(start: int, stop: int) -> bool:
        if choose(start, stop, rows, index, *results):
            return True
        part = slice(start, stop)
        return _in_torch(rows[part], index[part], *[result[part] for result in results])

    size = max(CHUNK_ELEMENTS // rows.shape[-1], 1)
    return (value, slopes) if all(map_chunks(chunk, len(rows), size)) else None


def _in_torch(logits: Tensor, index: Tensor, value: Tensor, *slopes: Tensor) -> bool:
    """Write values (n,) and perhaps slopes (n, K) of any numbers.

    False where an index is not that of a class.
    """
    if ((index < 0) | (index >= logits.shape[-1])).any():
        return False
    chosen, probs, (top, place) = index.unsqueeze(-1), torch.softmax(logits, -1), logits.max(1)
    # What the most probable class leaves to the others has more digits than its own probability, if
    # that is almost 1.
    others = probs.scatter(1, place.unsqueeze(-1), 0.0).sum(1)
    normalizer = torch.where(others < 0.5, torch.log1p(-others), probs.amax(1).log())
    value[:] = logits.gather(1, chosen).squeeze(-1) - top + normalizer
    for slope in slopes:
        own = torch.where(index == place, others, 1 - probs.gather(1, chosen).squeeze(-1))
        slope[:] = probs.neg_().scatter_(1, chosen, own.unsqueeze(-1))
    return True
