"""`RawOutputs`: what a head's distribution remembers of where it comes from, and its log-likelihood in one pass from there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.likelihood.autograd import with_derivatives
from disthead.likelihood.formula import quick, takes_one_each
from disthead.likelihood.one_pass import one_pass
from disthead.links import Link
from disthead.special.eager import WITH_MEMORY, is_tracing
from disthead.special.fast import Positive

if TYPE_CHECKING:
    from disthead.families.family import Family

__all__ = ["RawOutputs"]

_SINGLE = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(eq=False)
class RawOutputs:
    """Raw outputs (..., P) with the family and the links that make a distribution of them: its `Source`.

    They are exact where parameters are rounded, so double precision starts from here (`in_double`). In single precision
    a distribution need not even have its parameters before somebody asks for them: `log_prob` goes from raw outputs to
    log-likelihoods and their derivatives in one pass over pieces of rows, by the `score` of the family.

    Attributes:
        unit: loc and scale of the change of variable loc + scale * y after the links, where there is one.
    """

    family: "Family"
    links: Mapping[str, Link]
    raw: Tensor
    unit: tuple[Tensor, Tensor] | None = None
    _is_scored_in_single: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._is_scored_in_single = self.raw.dtype in _SINGLE and self.has_scores  # every loss asks twice

    def map(self, function: Callable[[Tensor], Tensor]) -> "RawOutputs":
        unit = self.unit
        if unit is not None:
            loc, scale = (part.expand(self.raw.shape[:-1]) for part in unit)
            unit = function(loc), function(scale)
        return replace(self, raw=function(self.raw), unit=unit)

    def affine(self, loc: Tensor, scale: Tensor) -> "RawOutputs":
        """Of the distribution of loc + scale * y."""
        if self.unit is not None:
            inner_loc, inner_scale = self.unit
            loc, scale = loc + scale * inner_loc, scale * inner_scale
        return replace(self, unit=(loc, scale))

    def make(self) -> Distribution:
        """The distribution with its parameters."""
        parts = self.family.split(self.raw, self.links)
        return self._in_unit(self.family.make(**self.family.constrain(parts, self.links)))

    def in_double(self) -> Distribution:
        """The distribution with every link computed in double precision."""
        if torch.is_grad_enabled() or not self.is_quick or not takes_one_each(self.family, self.links):
            return replace(self, raw=self.raw.double()).make()
        values = {}
        columns = self.raw.double().unbind(-1)
        for (name, link), column in zip(self.links.items(), columns, strict=True):
            parameter = quick(link)(column)
            if isinstance(parameter, Positive):
                values[name], values["log_" + name] = parameter.value, parameter.log
            else:
                values["logits_" + name if link.gives_logits(name) and name != "logits" else name] = parameter
        return self._in_unit(self.family.make(**values))

    def _in_unit(self, dist: Distribution) -> Distribution:
        return dist if self.unit is None else dist.affine(*(part.to(dist.dtype) for part in self.unit))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.raw.dtype == torch.float64 else torch.float32

    @property
    def device(self) -> torch.device:
        return self.raw.device

    @property
    def requires_grad(self) -> bool:
        return self.raw.requires_grad

    @property
    def is_quick(self) -> bool:
        """Whether the one pass applies: by plain operations alone go double precision, exports, transforms and traces."""
        if is_tracing():
            compiled = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
            if not compiled or self.family.event_dim:
                return False
        return self._is_scored_in_single

    @property
    def has_scores(self) -> bool:
        """Whether `log_prob` answers; in double precision to eleven digits."""
        for link in self.links.values():
            if link.quick is None:
                return False
        return self.family.quick is not None and type(self.raw) in WITH_MEMORY and not self.raw.is_mps

    def distribution(self) -> Distribution:
        """The distribution; where the one pass applies its parameters are made when they are first asked for."""
        kind = self.family.quick
        if kind is None or not self._is_scored_in_single or is_tracing():
            return self.make()._made_of(self)
        return kind._waiting(self, self.raw.shape[:-1], self.family.event_shape)

    def log_prob(self, y: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return _Differentiable.apply(self.raw, *self.scored(self.raw, y, True))
        if not (self.raw.requires_grad and torch.is_grad_enabled()):
            return self.scored(self.raw, y, False)[0]
        return with_derivatives(self.raw, y, self.scored(self.raw, y, True), self.scored, self._formula)

    def _formula(self, raw: Tensor, y: Tensor) -> Tensor:
        return replace(self, raw=raw).make().log_prob(y)

    def scored(self, raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        """The log-likelihoods (...) and, if `wanted`, their derivatives by the raw outputs (..., P)."""
        batch, event = raw.shape[:-1], self.family.event_shape
        if raw.ndim == 2 and y.shape == batch + event:
            return one_pass(self, raw, y, wanted)
        targets = y.expand(batch + event).reshape(-1, *event)
        value, derivatives = one_pass(self, raw.reshape(-1, raw.shape[-1]), targets, wanted)
        return value.reshape(batch), None if derivatives is None else derivatives.reshape(raw.shape)

    def unit_of_rows(self) -> list[Tensor]:
        """The parts of the unit, for rows that are counted over all dimensions of the batch; none where there is no unit."""
        batch = self.raw.shape[:-1]
        return [part if part.ndim == 0 else part.expand(batch).reshape(-1) for part in self.unit or ()]


class _Differentiable(torch.autograd.Function):
    """The same in a graph, where log-likelihoods and derivatives are computed before."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, value: Tensor, derivatives: Tensor) -> Tensor:
        ctx.save_for_backward(derivatives)
        ctx.dtype = raw.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        (derivatives,) = ctx.saved_tensors
        return (derivatives * gradient.unsqueeze(-1)).to(ctx.dtype), None, None
