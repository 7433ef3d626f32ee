"""`RawOutputs`: what a head's distribution remembers of where it comes from, and its log-likelihood in one pass from there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disthead.families.distribution import Distribution
from disthead.links import Link
from disthead.special.fast import Positive

if TYPE_CHECKING:
    from disthead.families.family import Family

__all__ = ["RawOutputs"]

_ROWS = 1 << 13  # what is worked on at once stays in a core's cache


@dataclass(frozen=True)
class RawOutputs:
    """Raw outputs (..., P) with the family and the links that make a distribution of them: its `Source`.

    They are exact where parameters are rounded, so double precision starts from here (`in_double`). In single precision
    a distribution need not even have its parameters before somebody asks for them: `log_prob` goes from raw outputs to
    log-likelihoods and their derivatives in one pass over pieces of rows, by the `score` of the distribution's class.
    """

    family: "Family"
    links: Mapping[str, Link]
    raw: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "RawOutputs":
        return replace(self, raw=function(self.raw))

    def make(self) -> Distribution:
        """The distribution with its parameters."""
        parts = self.family.split(self.raw, self.links)
        return self.family.make(**self.family.constrain(parts, self.links))

    def in_double(self) -> Distribution:
        """The distribution with every link computed in double precision."""
        if torch.is_grad_enabled() or not self.is_quick:
            return replace(self, raw=self.raw.double()).make()
        values = {}
        for name, parameter in zip(self.links, self._parameters(self.raw), strict=True):
            if isinstance(parameter, Positive):
                values[name], values["log_" + name] = parameter.value, parameter.log
            else:
                values[name] = parameter
        return self.family.make(**values)

    def _parameters(self, raw: Tensor) -> list[Any]:
        """The parameters in double precision, by the links' quick way."""
        links: list[Any] = [link.quick for link in self.links.values()]
        return [link(column.double()) for link, column in zip(links, raw.unbind(-1), strict=True)]

    @property
    def dtype(self) -> torch.dtype:
        return torch.promote_types(self.raw.dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        return self.raw.device

    @property
    def is_quick(self) -> bool:
        """Whether the one pass applies: by plain operations alone go double precision, graphs and functional transforms."""
        kind = self.family.quick
        return (
            kind is not None
            and self.raw.dtype in (torch.float32, torch.bfloat16, torch.float16)
            and self.raw.device.type != "mps"
            and all(link.quick is not None for link in self.links.values())
            and not torch.compiler.is_compiling()
            and not torch._C._are_functorch_transforms_active()
        )

    def distribution(self) -> Distribution:
        """The distribution; where the one pass applies its parameters are made when they are first asked for."""
        kind = self.family.quick
        if kind is None or not self.is_quick:
            return self.make()._made_of(self)
        dist = kind.__new__(kind)
        Distribution.__init__(dist, self.raw.shape[:-1], validate_args=False)
        return dist._made_of(self)

    def log_prob(self, y: Tensor) -> Tensor:
        return _LogLikelihood.apply(self.raw, y, self)

    def score(self, raw: Tensor, y: Tensor, derivatives: Tensor | None) -> Tensor:
        """The log-likelihoods; their derivatives by the raw outputs are written to `derivatives` (rows, P)."""
        kind: Any = self.family.quick
        value = torch.empty(len(y), dtype=torch.float32, device=raw.device)
        size = _ROWS if raw.device.type == "cpu" else len(y) or 1
        for start in range(0, len(y), size):
            piece = slice(start, start + size)
            parameters = self._parameters(raw[piece])
            value[piece], *slopes = kind.score(y[piece].double(), *parameters)
            if derivatives is not None:
                into = derivatives[piece].unbind(-1)
                for target, slope, parameter in zip(into, slopes, parameters, strict=True):
                    target.copy_(slope * parameter.slope if isinstance(parameter, Positive) else slope)
        return value


class _LogLikelihood(torch.autograd.Function):
    """log_prob by raw outputs, whose derivative is at hand when it is asked for."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, y: Tensor, source: RawOutputs) -> Tensor:
        flat, targets = raw.reshape(-1, raw.shape[-1]), y.expand(raw.shape[:-1]).reshape(-1)
        derivatives = torch.empty_like(flat) if ctx.needs_input_grad[0] else None
        value = source.score(flat, targets, derivatives)
        ctx.source, ctx.derivatives = source, derivatives
        ctx.save_for_backward(raw, y)
        return value.reshape(raw.shape[:-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        raw, y = ctx.saved_tensors
        source, derivatives = replace(ctx.source, raw=raw), ctx.derivatives
        if torch.is_grad_enabled():  # to be differentiated again: by the formula itself
            value = source.make().log_prob(y)
            return torch.autograd.grad(value, raw, gradient, create_graph=True)[0], None, None
        if derivatives is None:  # a second time: its memory was used for the first answer
            flat = raw.reshape(-1, raw.shape[-1])
            derivatives = torch.empty_like(flat)
            source.score(flat, y.expand(raw.shape[:-1]).reshape(-1), derivatives)
        ctx.derivatives = None
        return derivatives.reshape(raw.shape).mul_(gradient.unsqueeze(-1)), None, None
