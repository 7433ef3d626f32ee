"""`RawOutputs`: what a head's distribution remembers of where it comes from, and its log-likelihood in one pass from there."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.distribution import Distribution
from disthead.families.pieces import NUMBERS, all_inside, lies_within, transposed, weighted, write
from disthead.links import Link
from disthead.special.fast import Direction, Positive

if TYPE_CHECKING:
    from disthead.families.family import Family

__all__ = ["RawOutputs"]


@dataclass(frozen=True)
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
        one_each = self.raw.shape[-1] == len(self.links) and not self.family.shapes
        if torch.is_grad_enabled() or not self.is_quick or not one_each:
            return replace(self, raw=self.raw.double()).make()
        values = {}
        columns = self.raw.double().unbind(-1)
        for (name, link), column in zip(self.links.items(), columns, strict=True):
            parameter = _quick(link)(column)
            if isinstance(parameter, Positive):
                values[name], values["log_" + name] = parameter.value, parameter.log
            else:
                values["logits_" + name if _are_logits(name, link) and name != "logits" else name] = parameter
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
    def is_quick(self) -> bool:
        """Whether the one pass applies: by plain operations alone go double precision, graphs and functional transforms."""
        return (
            not torch.compiler.is_compiling()  # first, since a compiler cannot look into a cached property
            and self.has_scores
            and self.raw.dtype in (torch.float32, torch.bfloat16, torch.float16)
            and not torch._C._are_functorch_transforms_active()
        )

    @functools.cached_property
    def has_scores(self) -> bool:
        """Whether `log_prob` answers; in double precision to eleven digits."""
        return (
            self.family.quick is not None
            and self.raw.device.type != "mps"
            and all(link.quick is not None for link in self.links.values())
        )

    def distribution(self) -> Distribution:
        """The distribution; where the one pass applies its parameters are made when they are first asked for."""
        kind = self.family.quick
        if kind is None or not self.is_quick:
            return self.make()._made_of(self)
        dist = kind.__new__(kind)
        Distribution.__init__(dist, self.raw.shape[:-1], self.family.event_shape, validate_args=False)
        return dist._made_of(self)

    def log_prob(self, y: Tensor) -> Tensor:
        return _LogLikelihood.apply(self.raw, y, self)

    def score(self, raw: Tensor, y: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        """The log-likelihoods (rows,) and, if `wanted`, their derivatives by the raw outputs (rows, P).

        Derivatives lie parameter after parameter, except for a leaf of many rows, whose gradient is kept in its own order.
        """
        rows, width = raw.shape
        least = 1 << 9 if self.family.event_dim else 1 << 12
        size = max(NUMBERS // width, least) if raw.device.type == "cpu" else max(rows, 1)
        if rows <= size:
            value, columns = self._score_piece(raw, y, slice(None), wanted)
            return value, None if columns is None else columns.to(raw.dtype).t()
        value, derivatives = torch.empty(rows, dtype=self.dtype, device=raw.device), None
        if wanted:
            derivatives = torch.empty_like(raw) if raw.is_leaf else raw.new_empty(width, rows).t()
        for start in range(0, rows, size):
            piece = slice(start, start + size)
            value[piece], columns = self._score_piece(raw[piece], y[piece], piece, wanted)
            if derivatives is not None and columns is not None:
                write(columns, derivatives[piece].t())
        return value, derivatives

    def _score_piece(self, raw: Tensor, y: Tensor, piece: slice, wanted: bool) -> tuple[Tensor, Tensor | None]:
        """The same for rows that fit into the cache, the derivatives (P, rows)."""
        outside = self._outside(y)
        target, parameters = self._single(raw, y, piece) if outside is None else (None, [])
        if target is None:
            target, parameters = self._standardised(y.double(), piece), self._parameters(raw, torch.float64)
        if outside is not None:
            target = target.masked_fill(outside, 1.0 if self.family.is_discrete else 0.5)
        value, *slopes = self.family.score(target, *parameters)
        columns = _by_raw(slopes, parameters) if wanted else None
        if self.unit is not None:
            value = value - self._of_rows(self.unit[1], piece).log()
        if outside is not None:
            value = value.masked_fill(outside, -torch.inf)
            columns = None if columns is None else columns.masked_fill(outside, 0.0)
        return value.to(self.dtype), columns

    def _outside(self, y: Tensor) -> Tensor | None:
        """Which targets have no likelihood; None where a look, for which no device has to be waited, says that all have."""
        scored = self.family.scored or self.family.support
        if scored in (constraints.real, constraints.real_vector):
            return None
        if y.device.type == "cpu" and all_inside(scored, y):
            return None
        return ~(scored.check(y) | y.isnan())

    def _single(self, raw: Tensor, y: Tensor, piece: slice) -> tuple[Tensor | None, list[Any]]:
        """Targets and parameters in single precision, where rounding is not magnified: by parameters of ordinary size.

        They are neither great nor tiny. To find out takes a look, as above.
        """
        if raw.device.type != "cpu" or raw.dtype == torch.float64 or self.family.event_dim:  # a solve magnifies
            return None, []
        target, parameters = self._standardised(y.float(), piece), self._parameters(raw, torch.float32)
        for (name, link), parameter in zip(self.links.items(), parameters, strict=True):
            if isinstance(parameter, Positive):
                ordinary = lies_within(parameter.value, 1e-6, 16.0)
            elif isinstance(parameter, Direction):
                ordinary = lies_within(parameter.length, 1e-6, 1e6)
            else:
                largest = 15.0 if _are_logits(name, link) else 1e6
                ordinary = lies_within(parameter, -largest, largest)
            if not ordinary:
                return None, []
        return (target if lies_within(target, -1e6, 1e6) else None), parameters

    def _parameters(self, raw: Tensor, dtype: torch.dtype) -> list[Any]:
        """The parameters of the rows `raw` (n, P) by the links' quick way, whose rows come last: (n,) each, or (K, n)."""
        shapes = [self.family.raw_shape(name, link) for name, link in self.links.items()]
        columns = transposed(raw, dtype)
        if any(shapes):
            parts = columns.split([math.prod(shape) for shape in shapes])
            parts = [part.view(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]
        else:
            parts = columns.unbind()
        return [_quick(link)(part) for link, part in zip(self.links.values(), parts, strict=True)]

    def _standardised(self, y: Tensor, piece: slice) -> Tensor:
        if self.unit is None:
            return y
        loc, scale = (self._of_rows(part, piece).to(y.dtype) for part in self.unit)
        return (y - loc) / scale

    def _of_rows(self, part: Tensor, piece: slice) -> Tensor:
        """A part of the unit for these rows, which are counted over all dimensions of the batch."""
        return part if part.ndim == 0 else part.expand(self.raw.shape[:-1]).reshape(-1)[piece]


def _by_raw(slopes: list[Tensor], parameters: list[Any]) -> Tensor:
    """The derivatives by the raw outputs, one after the other (P, n), from those by the parameters."""
    parts = [
        slope if isinstance(parameter, Tensor) else parameter.by_raw(slope)
        for slope, parameter in zip(slopes, parameters, strict=True)
    ]
    if all(part.ndim == 1 for part in parts):
        return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _quick(link: Link) -> Callable[[Tensor], Any]:
    assert link.quick is not None
    return link.quick


def _are_logits(name: str, link: Link) -> bool:
    """Whether what the quick way gives are logits, of a parameter of that name or of a probability."""
    return name == "logits" or link.codomain is constraints.unit_interval


class _LogLikelihood(torch.autograd.Function):
    """log_prob by raw outputs, whose derivative is at hand when it is asked for."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, y: Tensor, source: RawOutputs) -> Tensor:
        value, ctx.derivatives = _scored(raw, y, source, ctx.needs_input_grad[0])
        ctx.source = source
        ctx.save_for_backward(raw, y)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        raw, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: by the formula itself
            value = replace(ctx.source, raw=raw).make().log_prob(y)
            return torch.autograd.grad(value, raw, gradient, create_graph=True)[0], None, None
        derivatives, ctx.derivatives = ctx.derivatives, None
        if derivatives is None:  # a second time: its memory was used for the first answer
            derivatives = _scored(raw, y, ctx.source, True)[1]
        return weighted(derivatives, gradient), None, None


def _scored(raw: Tensor, y: Tensor, source: RawOutputs, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (...) and their derivatives (..., P)."""
    batch = raw.shape[:-1]
    event = source.family.event_shape
    targets = y if y.shape == batch and y.ndim == 1 else y.expand(batch + event).reshape(-1, *event)
    if raw.ndim == 2:
        return source.score(raw, targets, wanted)
    value, derivatives = source.score(raw.reshape(-1, raw.shape[-1]), targets, wanted)
    return value.reshape(batch), None if derivatives is None else derivatives.reshape(raw.shape)
