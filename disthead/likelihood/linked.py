"""`LinkedParameters`: raw outputs behind a head's distribution, with the fused log-likelihood."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from disthead.distributions.base import Distribution
from disthead.likelihood.chunks import CHUNK_ELEMENTS
from disthead.likelihood.formula import Formula
from disthead.likelihood.fused import fused_log_prob
from disthead.special.blocks import multiply_rows, negative_mean
from disthead.special.eager import WITH_MEMORY, is_tracing, materialise
from disthead.special.fast import Positive

__all__ = ["LinkedParameters", "mean_nll", "with_derivatives"]

_SINGLE = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(eq=False)
class LinkedParameters:
    """Raw outputs (..., P) with the formula that makes a distribution of them: its lazy parameters.

    Raw outputs are exact where parameters are rounded, so double precision starts from here
    (`in_double`). In single precision the parameters are made when somebody asks for them:
    `log_prob` goes from raw outputs to log-likelihoods and their derivatives in one pass.

    Attributes:
        loc_scale: of the change of variable loc + scale * y after the links, where there is one.
    """

    formula: Formula
    raw: Tensor
    loc_scale: tuple[Tensor, Tensor] | None = None
    _is_fused: bool = field(init=False, repr=False)  # in single precision

    def __post_init__(self) -> None:
        self._is_fused = self.raw.dtype in _SINGLE and self.has_fused_loss

    @classmethod
    def from_features(
        cls, formula: Formula, features: Tensor, weight: Tensor, bias: Tensor
    ) -> Distribution:
        """The distribution of raw outputs features @ weight.T + bias (..., d -> P)."""
        return cls(formula, functional.linear(features, weight, bias)).distribution()

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        loc_scale = self.loc_scale
        if loc_scale is not None:
            loc, scale = (part.expand(self.raw.shape[:-1]) for part in loc_scale)
            loc_scale = function(loc), function(scale)
        return replace(self, raw=function(self.raw), loc_scale=loc_scale)

    def affine(self, loc: Tensor, scale: Tensor) -> Self:
        """Of the distribution of loc + scale * y."""
        if self.loc_scale is not None:
            inner_loc, inner_scale = self.loc_scale
            loc, scale = loc + scale * inner_loc, scale * inner_scale
        return replace(self, loc_scale=(loc, scale))

    def make(self) -> Distribution:
        """The distribution with its parameters."""
        return self._transformed(
            self.formula.make(**self.formula.constrain(self.formula.split(self.raw)))
        )

    def parameter(self, name: str) -> Tensor | None:
        """One parameter of numbers, without the others; None where all have to be made."""
        links, formula = self.formula.links, self.formula
        is_plain = self.loc_scale is None and formula.is_scalar and not formula.has_row_constants
        if name not in links or not is_plain or self.raw.dtype != self.dtype:
            return None
        column = self.raw.select(-1, list(links).index(name))
        if torch.compiler.is_compiling():  # loops of graphs take no tensors that share memory
            column = column.clone()
        return links[name].logits(column) if name == "logits" else links[name].forward(column)

    def in_double(self) -> Distribution:
        """The distribution with every link computed in double precision."""
        formula = self.formula
        if torch.is_grad_enabled() or not self.uses_fused_loss or not formula.is_scalar:
            return replace(self, raw=self.raw.double()).make()
        values = {}
        parameters = formula.parameters(self.raw.double().unbind(-1))
        for (name, link), parameter in zip(formula.links.items(), parameters, strict=True):
            if isinstance(parameter, Positive):
                values[name], values["log_" + name] = parameter.value, parameter.log
            else:
                prefix = "logits_" if link.gives_logits(name) and name != "logits" else ""
                values[prefix + name] = parameter
        return self._transformed(formula.make(**values))

    def _transformed(self, dist: Distribution) -> Distribution:
        if self.loc_scale is None:
            return dist
        return dist.affine(*(part.to(dist.dtype) for part in self.loc_scale))

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
    def uses_fused_loss(self) -> bool:
        """Whether the fused loss applies.

        Double precision, exports, transforms and traces take torch's own operations alone.
        """
        if is_tracing():
            compiled = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
            if not compiled or self.formula.event_shape:
                return False
        return self._is_fused

    @property
    def has_fused_loss(self) -> bool:
        """Whether `log_prob` answers; in double precision to eleven digits."""
        return self.formula.has_fused_loss and type(self.raw) in WITH_MEMORY and not self.raw.is_mps

    def distribution(self) -> Distribution:
        """The distribution, with lazy parameters where the fused loss applies."""
        if not (self.uses_fused_loss if is_tracing() else self._is_fused):
            return self.make()._linked_to(self)
        return self.formula.distribution_class._lazy(
            self, self.raw.shape[:-1], self.formula.event_shape
        )

    def log_prob(self, y: Tensor) -> Tensor:
        """The log-likelihoods (...) of targets, differentiable by the raw outputs.

        Targets can be expanded to shape (..., *event_shape).
        """
        return self._differentiable(y, False)

    def mean_nll(self, y: Tensor) -> Tensor:
        """The mean of -log_prob(y) over at least one row, a single operation for autograd."""
        return self._differentiable(y, True)

    def _differentiable(self, y: Tensor, is_mean: bool) -> Tensor:
        raw = self.raw
        if torch.compiler.is_compiling():
            value = _Computed.apply(raw, *self.value_and_grad(raw, y, True))
        elif raw.requires_grad and torch.is_grad_enabled():
            result = self.value_and_grad(raw, y, True)
            functions = self.value_and_grad, self._plain_log_prob
            return with_derivatives(raw, y, *result, *functions, is_mean)
        else:
            value, _ = self.value_and_grad(raw, y, False)
        return mean_nll(value) if is_mean else value

    def _plain_log_prob(self, raw: Tensor, y: Tensor) -> Tensor:
        return replace(self, raw=raw).make().log_prob(y)

    def value_and_grad(
        self, raw: Tensor, y: Tensor, needs_grad: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The log-likelihoods (...) and their derivatives by the raw outputs (..., P), or None."""
        batch, event = raw.shape[:-1], self.formula.event_shape
        loc_scale = [] if self.loc_scale is None else self._loc_scale_of_rows(self.loc_scale)
        if raw.ndim == 2 and y.shape == batch + event:
            return fused_log_prob(self.formula, raw, y, loc_scale, needs_grad)
        rows, targets = raw.reshape(-1, raw.shape[-1]), y.expand(batch + event).reshape(-1, *event)
        value, derivatives = fused_log_prob(self.formula, rows, targets, loc_scale, needs_grad)
        return value.reshape(batch), None if derivatives is None else derivatives.reshape(raw.shape)

    def _loc_scale_of_rows(self, loc_scale: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Both, for rows that are counted over all dimensions of the batch."""
        batch = self.raw.shape[:-1]
        return [part if part.ndim == 0 else part.expand(batch).reshape(-1) for part in loc_scale]


def with_derivatives(
    raw: Tensor,
    y: Tensor,
    value: Tensor,
    derivatives: Tensor | None,
    value_and_grad: Callable[[Tensor, Tensor, bool], tuple | None],
    log_prob: Callable[[Tensor, Tensor], Tensor],
    is_mean: bool = False,
) -> Tensor:
    """Log-likelihoods for autograd, whose derivatives are known; not for traces.

    Args:
        raw: raw outputs, shape (..., P).
        y: targets.
        value: the log-likelihoods, shape (...).
        derivatives: by the raw outputs, shape (..., P); the gradient may take their memory.
        value_and_grad: computes both again from `raw` and `y`, for a second gradient; its last
            argument is `needs_grad`.
        log_prob: log-likelihoods by operations that can be differentiated again.
        is_mean: whether the answer is the mean of the negative log-likelihoods, ().
    """
    # What `Function.apply` asks for functional transforms would be asked in vain. Each argument of
    # it takes time.
    known = (y, value, derivatives, (value_and_grad, log_prob), is_mean)
    return super(torch.autograd.Function, _WithDerivatives).apply(raw, known)


class _WithDerivatives(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, known: tuple) -> Tensor:
        y, value, ctx.derivatives, ctx.functions, is_mean = known
        ctx.save_for_backward(raw, y.clone() if y.is_inference() else y)
        ctx.divisor = -value.numel() if is_mean else None
        if is_mean:
            return mean_nll(value)
        return value.clone() if value._is_view() else value  # which nobody could change in place

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        value_and_grad, log_prob = ctx.functions
        again = torch.is_grad_enabled()  # to be differentiated again
        if again or (ctx.derivatives is None and is_tracing()):
            raw, y = ctx.saved_tensors
            with torch.enable_grad():
                value = log_prob(raw, y)
            if ctx.divisor is not None:
                gradient = (gradient / ctx.divisor).expand(value.shape)
            return torch.autograd.grad(value, raw, gradient, create_graph=again)[0], None
        derivatives, ctx.derivatives = ctx.derivatives, None
        if derivatives is None:  # a second time: its memory was used for the first answer
            derivatives = value_and_grad(*ctx.saved_tensors, True)[1]
        # which autograd casts, if raw outputs are in half precision
        return _weighted(derivatives, gradient, ctx.divisor), None


class _Computed(torch.autograd.Function):
    """The same in a graph."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, value: Tensor, derivatives: Tensor) -> Tensor:
        ctx.save_for_backward(derivatives)
        ctx.dtype = raw.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        (derivatives,) = ctx.saved_tensors
        return (derivatives * gradient.unsqueeze(-1)).to(ctx.dtype), None, None


def mean_nll(value: Tensor) -> Tensor:
    """The mean () of the negatives of at least one value."""
    if not is_tracing() and value.is_cpu and value.numel() <= CHUNK_ELEMENTS:
        mean = torch.empty((), dtype=value.dtype)
        if negative_mean(value, mean):
            return mean
    return value.sum() / -value.numel()


def _weighted(derivatives: Tensor, gradient: Tensor, divisor: int | None = None) -> Tensor:
    """Each row of the derivatives (..., P) times its incoming gradient.

    There is one gradient for each row, (...), or with a divisor one for all, (), which is divided
    by it. The product takes the memory of the derivatives where it can.
    """
    in_place = type(gradient) is Tensor and not is_tracing()  # subclasses have numbers of their own
    if in_place:
        if gradient.dtype != derivatives.dtype:  # of targets in double precision
            gradient = gradient.to(derivatives.dtype)
        if divisor is None:
            fits = multiply_rows(derivatives, materialise(gradient))
        else:  # torch has more threads for many
            few = derivatives.numel() <= CHUNK_ELEMENTS
            fits = few and multiply_rows(derivatives, materialise(gradient), divisor)
        if fits:
            return derivatives
    factor = gradient.unsqueeze(-1) if divisor is None else gradient / divisor
    if in_place:
        with contextlib.suppress(RuntimeError):  # a batch of gradients does not fit there
            return derivatives.mul_(factor)
    return derivatives * factor
