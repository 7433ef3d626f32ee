"""Log-likelihoods on a GPU in one launch, by kernels that Triton compiles when they are needed.

`triton_printer.py` prints the kernel of a formula, `kernel_of` keeps it. Graphs of torch.compile
and torch.export have it as the operator `disthead::log_prob_and_grad`, one node, and no tensor of
theirs is in double precision. Only tensors on a GPU lead here (`fused.py`), so that nobody else
imports Triton; with `TRITON_INTERPRET=1` it runs the same kernels on a CPU, one operation after the
other, which is for tests.
"""

import contextlib
import functools
import hashlib
import linecache
import os
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from disthead.errors import warn
from disthead.likelihood.eager import whole_batch
from disthead.likelihood.formula import Formula, formula_of
from disthead.likelihood.tracing import NotTraced, is_of_numbers
from disthead.likelihood.triton_printer import kernel_source

__all__ = ["Kernel", "kernel_log_prob", "kernel_of", "log_prob_and_grad"]

# Of a block, by the number of raw outputs: as many as leave registers for about half of the threads
# that a GPU can hold. Of a part, in double precision, each thread takes one.
ROWS_OF_BLOCK = {1: 512, 2: 512}
ROWS_OF_WIDE_BLOCK, ROWS_OF_PART, WARPS = 256, 128, 4
_SINGLE = (torch.float32, torch.bfloat16, torch.float16)
_EXACT = (*_SINGLE, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_kernels: WeakKeyDictionary[Formula, "Kernel | None"] = WeakKeyDictionary()


class Kernel:
    """A printed kernel, compiled for the types and strides that it meets.

    Args:
        source: what `triton_printer.kernel_source` gives.
    """

    def __init__(self, source: str):
        self.source = source
        self._function: Any = _compiled(source)

    def __call__(
        self, raw: Tensor, y: Tensor, loc_scale: Sequence[Tensor], needs_grad: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Log-likelihoods (rows,) and, if `needs_grad`, derivatives by raw outputs, both (rows, P).

        Targets are (rows,); loc and scale, where there are any, numbers or (rows,).
        """
        rows, width = raw.shape
        value = raw.new_empty(rows, dtype=_value_dtype(y))
        slopes = raw.new_empty((rows, width), dtype=torch.float32) if needs_grad else None
        if not rows:
            return value, slopes
        if y.dtype == torch.bool:
            y = y.view(torch.uint8)
        elif y.dtype not in _EXACT:
            y = y.double()
        units = 0
        if loc_scale:
            units = 1 if not any(part.ndim for part in loc_scale) else 2
        loc, scale = loc_scale or (value, value)
        block = ROWS_OF_BLOCK.get(width, ROWS_OF_WIDE_BLOCK)
        grid = (-(-rows // block),)
        with _on_device_of(raw):
            self._function[grid](
                *(raw, y, loc, scale, value, value if slopes is None else slopes),
                *(rows, *raw.stride(), *y.stride(), *map(_stride, (loc, scale))),
                UNITS=units,
                IS_EXACT=not units and y.dtype in _EXACT,
                IS_DENSE=raw.is_contiguous(),
                NEEDS_GRAD=needs_grad,
                BLOCK=block,
                PART=ROWS_OF_PART,
                num_warps=WARPS,
                enable_fp_fusion=True,
            )
        return value, slopes


def kernel_of(formula: Formula) -> Kernel | None:
    """The kernel of a formula, None where there is none; made once."""
    if formula not in _kernels:
        try:
            _kernels[formula] = Kernel(kernel_source(formula))
        except NotTraced:
            _kernels[formula] = None
    return _kernels[formula]


def kernel_log_prob(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: Sequence[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None] | None:
    """As `fused.fused_log_prob`; None where there is no kernel for it.

    In graphs it is one node, if the formula has a name to be found by.
    """
    if raw.dtype not in _SINGLE or not is_of_numbers(formula):
        return None
    if torch.compiler.is_compiling():
        if not formula.key:
            return None
        loc, scale = loc_scale or (None, None)
        value, slopes = log_prob_and_grad(raw.detach(), y, loc, scale, formula.key)
        return value, slopes if needs_grad else None
    kernel = kernel_of(formula) if _works_on(raw.device) else None
    if kernel is None:
        return None
    return kernel(raw.detach(), y.detach(), [part.detach() for part in loc_scale], needs_grad)


@torch.library.custom_op("disthead::log_prob_and_grad", mutates_args=())
def log_prob_and_grad(
    raw: Tensor, y: Tensor, loc: Tensor | None, scale: Tensor | None, formula: str
) -> tuple[Tensor, Tensor]:
    """Log-likelihoods (rows,) and their derivatives by the raw outputs, both (rows, P).

    Args:
        raw: of half or single precision.
        y: targets (rows,).
        loc: of the change of variable loc + scale * y, a number or (rows,), where there is one.
        scale: of the same.
        formula: `Formula.key` of one that is alive in this process.
    """
    known = formula_of(formula)
    loc_scale = [] if loc is None or scale is None else [loc, scale]
    kernel = kernel_of(known) if _works_on(raw.device) else None
    value, slopes = (
        whole_batch(known, raw, y, loc_scale, True)
        if kernel is None
        else kernel(raw, y, loc_scale, True)
    )
    assert slopes is not None
    return value.contiguous(), slopes.contiguous()


@log_prob_and_grad.register_fake
def _(raw, y, loc, scale, formula):
    value = raw.new_empty(raw.shape[0], dtype=_value_dtype(y))
    return value, raw.new_empty(raw.shape, dtype=torch.float32)


def _keep_slopes(ctx, inputs, output):
    ctx.save_for_backward(output[1])
    ctx.dtype = inputs[0].dtype
    ctx.mark_non_differentiable(output[1])


def _weigh_slopes(ctx, gradient, _):
    (slopes,) = ctx.saved_tensors
    by_raw = slopes * gradient.unsqueeze(-1).to(slopes.dtype)
    return by_raw.to(ctx.dtype), None, None, None, None


log_prob_and_grad.register_autograd(_weigh_slopes, setup_context=_keep_slopes)


def _value_dtype(y: Tensor) -> torch.dtype:
    return torch.promote_types(torch.float32, y.dtype)


def _stride(part: Tensor) -> int:
    return part.stride(0) if part.ndim else 0


def _on_device_of(raw: Tensor) -> Any:
    return torch.cuda.device(raw.device) if raw.is_cuda else contextlib.nullcontext()


@functools.cache
def _works_on(device: torch.device) -> bool:
    """Whether kernels run there; Triton needs a C compiler, and a GPU that is not too old."""
    try:
        import triton  # noqa: F401  # here, since nobody without a GPU needs it
    except ImportError:
        return False
    if device.type == "cpu":
        return os.environ.get("TRITON_INTERPRET") == "1"
    try:
        from disthead.likelihood.triton_functions import copy_one

        with torch.cuda.device(device):
            copy_one[(1,)](torch.zeros(1, device=device))
    except Exception as error:  # whatever a compiler says that is not there
        warn(
            f"Triton cannot compile a kernel for {torch.cuda.get_device_name(device)} ({error}), "
            "so losses take torch's own operations, which are several times slower. Install a C "
            "compiler (gcc), and the version of triton that torch asks for.",
            RuntimeWarning,
        )
        return False
    return True


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Any:
    """The function of that text for Triton, which looks the text up in the file of a function."""
    import triton
    import triton.language as tl

    from disthead.likelihood.triton_functions import FUNCTIONS

    name = f"<kernel {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    names: dict[str, Any] = {"tl": tl, "__name__": __name__, **FUNCTIONS}
    exec(compile(source, name, "exec"), names)
    return triton.jit(names["kernel"])
