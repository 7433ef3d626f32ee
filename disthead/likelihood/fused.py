"""Log-likelihoods and their derivatives by raw outputs in one pass over chunks of rows.

On the CPU kernels in C work on a chunk (`kernels.py`), and torch where there is none
(`eager.py`). On other devices, where a look at numbers would have to be waited for, and in graphs
torch works on all rows at once, in double precision.
"""

import importlib.util

import torch
from torch import Tensor

from disthead.likelihood.chunks import CHUNK_ELEMENTS, map_chunks
from disthead.likelihood.eager import of_chunk, whole_batch
from disthead.likelihood.formula import Formula
from disthead.likelihood.kernels import kernel as kernel_of
from disthead.special import blocks
from disthead.special.eager import materialise

__all__ = ["fused_log_prob"]

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def fused_log_prob(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: list[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and, if `needs_grad`, their derivatives by the raw outputs (rows, P).

    Args:
        raw: shape (rows, P).
        y: targets of shape (rows, *event_shape).
        loc_scale: both parts of the change of variable loc + scale * y, numbers or (rows,), or
            nothing.
    """
    if _takes_triton(raw):
        from disthead.likelihood.triton_kernels import kernel_log_prob  # which imports Triton

        answer = kernel_log_prob(formula, raw, y, loc_scale, needs_grad)
        if answer is not None:
            return answer
    if not raw.is_cpu or torch.compiler.is_compiling():
        return whole_batch(formula, raw.detach(), y, loc_scale, needs_grad)
    rows, width = raw.shape
    dtype = torch.float64 if raw.dtype == torch.float64 else torch.float32
    value = raw.new_empty(rows, dtype=torch.float64 if y.dtype == torch.float64 else dtype)
    slopes = torch.empty_like(raw, dtype=dtype) if needs_grad else None
    if not (y.is_floating_point() or y.dtype == torch.int64):
        y = y.long()
    raw, y = materialise(raw), materialise(y)
    loc, scale = map(materialise, loc_scale) if loc_scale else (None, None)
    kernel = None if formula.event_shape and loc_scale else _kernel(formula)

    def chunk(start: int, stop: int) -> None:
        if kernel is None or not blocks.log_prob(
            kernel, start, stop, raw, y, loc, scale, value, slopes
        ):
            of_chunk(formula, slice(start, stop), raw, y, loc_scale, value, slopes)

    if 0 < rows * width <= CHUNK_ELEMENTS:
        chunk(0, rows)
    else:
        map_chunks(
            chunk, rows, max(CHUNK_ELEMENTS // width, 1 << 9 if formula.event_shape else 1 << 12)
        )
    return value, slopes


def _kernel(formula: Formula) -> bytes | None:
    if "kernel" not in formula.made:
        formula.made["kernel"] = kernel_of(formula)
    return formula.made["kernel"]


def _takes_triton(raw: Tensor) -> bool:
    return raw.is_cuda and _HAS_TRITON
