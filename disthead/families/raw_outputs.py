"""`RawOutputs`: what a head's distribution remembers of where it comes from, and its log-likelihood in one pass from there."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.families.distribution import Distribution
from disthead.links import Link
from disthead.special.fast import Positive

if TYPE_CHECKING:
    from disthead.families.family import Family

__all__ = ["RawOutputs"]

_NUMBERS = 1 << 17  # raw outputs worked on at once: with what is made of them they stay in a core's cache


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
        if torch.is_grad_enabled() or not self.is_quick or self.family.shapes:
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
        return torch.promote_types(self.raw.dtype, torch.float32)

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

    def score(self, raw: Tensor, y: Tensor, derivatives: Tensor | None) -> Tensor:
        """The log-likelihoods (rows,); their derivatives by the raw outputs are written to `derivatives` (rows, P)."""
        rows = len(y)
        least = 1 << 9 if self.family.event_dim else 1 << 12
        size = max(_NUMBERS // raw.shape[-1], least) if raw.device.type == "cpu" else max(rows, 1)
        if rows <= size:
            return self._score_piece(raw, y, slice(None), derivatives)
        value = torch.empty(rows, dtype=self.dtype, device=raw.device)
        for start in range(0, rows, size):
            piece = slice(start, start + size)
            value[piece] = self._score_piece(
                raw[piece], y[piece], piece, None if derivatives is None else derivatives[piece]
            )
        return value

    def _score_piece(self, raw: Tensor, y: Tensor, piece: slice, derivatives: Tensor | None) -> Tensor:
        """The same for rows that fit into the cache."""
        outside = self._outside(y)
        target, parameters = self._single(raw, y, piece) if outside is None else (None, [])
        if target is None:
            target, parameters = self._standardised(y.double(), piece), self._parameters(raw, torch.float64)
        if outside is not None:
            target = target.masked_fill(outside, 1.0 if self.family.is_discrete else 0.5)
        value, *slopes = self.family.score(target, *parameters)
        if derivatives is not None:
            self._write(slopes, parameters, outside, derivatives)
        if self.unit is not None:
            value = value - self._of_rows(self.unit[1], piece).log()
        if outside is not None:
            value = value.masked_fill(outside, -torch.inf)
        return value.to(self.dtype)

    def _outside(self, y: Tensor) -> Tensor | None:
        """Which targets have no likelihood; None where a look, for which no device has to be waited, says that all have."""
        scored = self.family.scored or self.family.support
        if scored in (constraints.real, constraints.real_vector):
            return None
        if y.device.type == "cpu" and _is_inside(scored, y):
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
                ordinary = _lies_within(parameter.value, 1e-6, 16.0)
            else:
                largest = 15.0 if _are_logits(name, link) else 1e6
                ordinary = _lies_within(parameter, -largest, largest)
            if not ordinary:
                return None, []
        return (target if _lies_within(target, -1e6, 1e6) else None), parameters

    def _write(self, slopes: list[Tensor], parameters: list[Any], outside: Tensor | None, derivatives: Tensor) -> None:
        if self.family.event_dim:
            derivatives.t().copy_(torch.cat(slopes))
            return
        columns = iter(derivatives.unbind(-1))
        for slope, parameter in zip(slopes, parameters, strict=True):
            if isinstance(parameter, Positive):
                slope = slope * parameter.slope
            if outside is not None:
                slope = slope.masked_fill(outside, 0.0)
            for row in slope if slope.ndim > 1 else (slope,):
                next(columns).copy_(row)

    def _parameters(self, raw: Tensor, dtype: torch.dtype) -> list[Any]:
        """The parameters of the rows `raw` (n, P) by the links' quick way: (n,) each, or (K, n) of K components."""
        sizes = [math.prod(self.family.raw_shape(name, link)) for name, link in self.links.items()]
        if self.family.event_dim:
            parts = list(raw.t().to(dtype).contiguous().split(sizes))
        else:
            parts = [column.to(dtype).contiguous() for column in raw.unbind(-1)]
            if len(parts) > len(sizes):
                columns = iter(parts)
                parts = [torch.stack([next(columns) for _ in range(size)]) for size in sizes]
        return [_quick(link)(part) for link, part in zip(self.links.values(), parts, strict=True)]

    def _standardised(self, y: Tensor, piece: slice) -> Tensor:
        if self.unit is None:
            return y
        loc, scale = (self._of_rows(part, piece).to(y.dtype) for part in self.unit)
        return (y - loc) / scale

    def _of_rows(self, part: Tensor, piece: slice) -> Tensor:
        """A part of the unit for these rows, which are counted over all dimensions of the batch."""
        return part if part.ndim == 0 else part.expand(self.raw.shape[:-1]).reshape(-1)[piece]


def _quick(link: Link) -> Callable[[Tensor], Any]:
    assert link.quick is not None
    return link.quick


def _are_logits(name: str, link: Link) -> bool:
    """Whether what the quick way gives are logits, of a parameter of that name or of a probability."""
    return name == "logits" or link.codomain is constraints.unit_interval


def _lies_within(values: Tensor, lower: float, upper: float) -> bool:
    array = values.numpy()
    return array.size == 0 or (bool(array.min() >= lower) and bool(array.max() <= upper))


def _is_inside(constraint: constraints.Constraint, y: Tensor) -> bool:
    """Whether all of them are: the ends tell, of an interval."""
    array = (y.float() if y.dtype == torch.bfloat16 else y).numpy()
    if array.size == 0:
        return True
    if constraint.is_discrete and y.is_floating_point() and not (array == np.floor(array)).all():
        return False
    return bool(constraint.check(torch.tensor([array.min(), array.max()])).all().numpy())


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
        if ctx.source.family.event_dim:
            return derivatives.mul_(gradient.unsqueeze(-1)), None, None
        for column in derivatives.unbind(-1):
            column.mul_(gradient)
        return derivatives, None, None


def _scored(raw: Tensor, y: Tensor, source: RawOutputs, with_derivatives: bool) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (...) and their derivatives (..., P).

    Derivatives lie parameter after parameter, except for a leaf, whose gradient is kept in the leaf's own order.
    """
    batch, width = raw.shape[:-1], raw.shape[-1]
    flat = raw if raw.ndim == 2 else raw.reshape(-1, width)
    event = source.family.event_shape
    targets = y if y.shape == batch and y.ndim == 1 else y.expand(batch + event).reshape(-1, *event)
    derivatives = None
    if with_derivatives:
        derivatives = torch.empty_like(flat) if raw.is_leaf else flat.new_empty(width, len(flat)).t()
    value = source.score(flat, targets, derivatives)
    if raw.ndim == 2:
        return value, derivatives
    return value.reshape(batch), None if derivatives is None else derivatives.reshape(raw.shape)
