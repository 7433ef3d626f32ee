"""`Formula`: the likelihood of a family through its links, in plain parts."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.links import Link
from disthead.special.fast import Direction, Positive

__all__ = ["Formula", "formula_of"]

_numbers = itertools.count(1)
_alive: WeakValueDictionary[str, "Formula"] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Formula:
    """How raw outputs become a distribution and its log-likelihood, for one family and its links.

    Attributes:
        name: the family's, for messages.
        links: parameter name -> link, in the order of the raw outputs; row constants come last,
            where there are any.
        shapes: the shape of each parameter's raw outputs, of one distribution.
        event_shape: the shape of one target.
        is_discrete: whether targets are counts or classes.
        loss_support: the targets that have a log-likelihood.
        constrain: raw outputs by parameter -> what `make` takes.
        make: parameter values by name -> the distribution.
        log_prob_and_grad: targets and parameters -> log_prob and its derivatives, as
            `Family.log_prob_and_grad`.
        distribution_class: the class of the distribution, where its log-likelihood and gradient
            come in one pass; or None.
        linked_class: the class of `LinkedParameters` that keeps raw outputs.
        has_row_constants: whether there are links of row constants.
        fast_range: by parameter ("y" for targets), between which numbers single precision keeps six
            digits of the log-likelihood, where that is not as usual (`kernels.fast_ranges`).
        component: of a mixture, the formula of one component, whose links come behind the logits;
            None for any other.
        width: how many raw outputs one distribution takes.
        is_scalar: whether each parameter is one number that has one raw output.
        has_fused_loss: whether the log-likelihood and its gradient come in one pass.
        made: what was made of the formula to compute with, by the name of what made it.
        key: by which `formula_of` finds it, for operators of graphs, which take no other objects;
            "" of one that was made while a graph was.
    """

    name: str
    links: Mapping[str, Link]
    shapes: Mapping[str, tuple[int, ...]]
    event_shape: tuple[int, ...]
    is_discrete: bool
    loss_support: constraints.Constraint
    constrain: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    make: Callable[..., Distribution]
    log_prob_and_grad: Callable[..., tuple]
    distribution_class: Any
    linked_class: Any
    has_row_constants: bool
    fast_range: Mapping[str, tuple[float, float]]
    component: "Formula | None" = None
    width: int = field(init=False)
    is_scalar: bool = field(init=False)
    has_fused_loss: bool = field(init=False)
    made: dict[str, Any] = field(init=False, repr=False)
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        has_slopes = all(link.value_and_slope is not None for link in self.links.values())
        object.__setattr__(self, "width", sum(map(math.prod, self.shapes.values())))
        object.__setattr__(self, "is_scalar", not any(self.shapes.values()))
        object.__setattr__(
            self, "has_fused_loss", has_slopes and self.distribution_class is not None
        )
        object.__setattr__(self, "made", {})
        object.__setattr__(self, "key", "")
        if not torch.compiler.is_compiling():
            self._take_key()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take_key()

    def _take_key(self) -> None:
        object.__setattr__(self, "key", f"{self.name} {next(_numbers)}")
        _alive[self.key] = self

    def from_raw(self, raw: Tensor) -> Distribution:
        """The distribution of raw outputs (..., P).

        Raises:
            ValueError: for another number of raw outputs.
        """
        if raw.shape[-1] != self.width:
            sizes = ", ".join(f"{name}: {math.prod(shape)}" for name, shape in self.shapes.items())
            raise ValueError(
                f"{self.name} takes {self.width} raw outputs in the last dimension ({sizes}), "
                f"got a tensor of shape {tuple(raw.shape)}."
            )
        return self.linked_class(self, raw).distribution()

    def from_features(self, features: Tensor, weight: Tensor, bias: Tensor) -> Distribution:
        """The distribution of raw outputs features @ weight.T + bias (..., d -> P)."""
        return self.linked_class.from_features(self, features, weight, bias)

    def split(self, raw: Tensor) -> dict[str, Tensor]:
        """The raw outputs of each parameter, in the shape its link takes, of all (..., P)."""
        shapes = list(self.shapes.values())
        # two operations less for each call and its gradient
        if len(shapes) == 1 and raw.shape[-1:] == shapes[0]:
            return dict.fromkeys(self.links, raw)
        parts = raw.split([math.prod(shape) for shape in shapes], -1)
        if torch.compiler.is_compiling():  # loops of graphs take no tensors that share memory
            parts = tuple(part.clone() for part in parts)
        return {
            name: part.reshape(raw.shape[:-1] + shape)
            for name, part, shape in zip(self.links, parts, shapes, strict=True)
        }

    def parameters(self, columns: Tensor) -> list[Any]:
        """The parameters, (rows,) each or (K, rows), of raw outputs (P, rows).

        `log_prob_and_grad` takes them in this form.
        """
        functions: list[Any] = [link.value_and_slope for link in self.links.values()]
        if self.is_scalar:
            return [function(column) for function, column in zip(functions, columns, strict=True)]
        result, start = [], 0
        for function, shape in zip(functions, self.shapes.values(), strict=True):
            part = columns[start : start + math.prod(shape)]
            result.append(function(part.reshape(*shape, part.shape[-1]) if shape else part[0]))
            start += len(part)
        return result

    def chain_rule(self, parameters: Sequence[Any], slopes: Sequence[Tensor]) -> list[Tensor]:
        """The derivatives by the raw outputs, from those by the parameters.

        Constant parameters, which have no raw outputs, are left out.
        """
        return [
            parameter.by_raw(slope) if isinstance(parameter, (Positive, Direction)) else slope
            for link, parameter, slope in zip(self.links.values(), parameters, slopes, strict=True)
            if not link.is_constant
        ]


def formula_of(key: str) -> Formula:
    """The formula of that key.

    Raises:
        RuntimeError: where this process has none, or no longer.
    """
    formula = _alive.get(key)
    if formula is None:
        raise RuntimeError(
            f"the graph needs the formula {key!r}, which is not alive in this process: keep the "
            "head for as long as the graph, and compile graphs anew in each process."
        )
    return formula
