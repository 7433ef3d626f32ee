"""Log-likelihoods and their derivatives by raw outputs in one pass over chunks of rows.

On the CPU kernels in C work on a chunk (`kernels.py`), and torch where there is none
(`eager.py`). On other devices, where a look at numbers would have to be waited for, and in graphs
without kernels torch works on all rows at once, in double precision.
"""

import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor

from disthead.likelihood.chunks import CHUNK_ELEMENTS, map_chunks
from disthead.likelihood.eager import of_chunk, whole_batch
from disthead.likelihood.formula import Formula
from disthead.likelihood.kernels import from_text
from disthead.special import blocks
from disthead.special.eager import materialise

__all__ = ["fused_log_prob"]

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def fused_log_prob(
    formula: Formula, raw: Tensor, y: Tensor, loc_scale: list[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """The log-likelihoods (rows,) and their derivatives by the raw outputs (rows, P), or None.

    Args:
        formula: of the family through its links.
        raw: shape (rows, P).
        y: targets of shape (rows, *event_shape).
        loc_scale: both parts of the change of variable loc + scale * y, numbers or (rows,), or
            nothing.
        needs_grad: whether the derivatives are computed.
    """
    if _takes_triton(raw):
        from disthead.likelihood.triton_kernels import kernel_log_prob  # which imports Triton

        answer = kernel_log_prob(formula, raw, y, loc_scale, needs_grad)
        if answer is not None:
            return answer
    if (
        torch.compiler.is_compiling()
        and raw.is_cpu
        and blocks.AVAILABLE
        and formula.made.get("text")
    ):
        loc, scale = loc_scale or (None, None)
        return torch.ops.disthead.log_prob(raw.detach(), y, loc, scale, formula.made["text"])
    if not raw.is_cpu or torch.compiler.is_compiling():
        return whole_batch(formula, raw.detach(), y, loc_scale, needs_grad)
    value, slopes, inputs = _tensors(raw, y, loc_scale, needs_grad)
    kernel = None if formula.event_shape and loc_scale else formula.made.get("kernel")

    def chunk(start: int, stop: int) -> None:
        if kernel is None or not blocks.log_prob(kernel, start, stop, *inputs, value, slopes):
            of_chunk(formula, slice(start, stop), inputs[0], inputs[1], loc_scale, value, slopes)

    if 0 < raw.numel() <= CHUNK_ELEMENTS:
        chunk(0, len(raw))
    else:
        size = max(CHUNK_ELEMENTS // raw.shape[1], 1 << 9 if formula.event_shape else 1 << 12)
        map_chunks(chunk, len(raw), size)
    return value, slopes


def _takes_triton(raw: Tensor) -> bool:
    return raw.is_cuda and _HAS_TRITON


def _tensors(
    raw: Tensor, y: Tensor, loc_scale: Sequence[Tensor], needs_grad: bool
) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
    """Memory for values and slopes, and what kernels take."""
    dtype = torch.float64 if raw.dtype == torch.float64 else torch.float32
    in_double = y.dtype == torch.float64
    value = raw.new_empty(len(raw), dtype=torch.float64 if in_double else dtype)
    slopes = torch.empty_like(raw, dtype=dtype) if needs_grad else None
    if not (y.is_floating_point() or y.dtype == torch.int64):
        y = y.long()
    loc, scale = map(materialise, loc_scale) if loc_scale else (None, None)
    return value, slopes, (materialise(raw), materialise(y), loc, scale)


# In a graph the kernel is one operator, with derivatives.
_LIBRARY = torch.library.Library("disthead", "FRAGMENT")
_LIBRARY.define(
    "log_prob(Tensor raw, Tensor y, Tensor? loc, Tensor? scale, str kernel) -> (Tensor, Tensor)"
)


def _in_graph(
    raw: Tensor, y: Tensor, loc: Tensor | None, scale: Tensor | None, kernel: str
) -> tuple[Tensor, Tensor]:
    loc_scale = [] if loc is None or scale is None else [loc, scale]
    value, slopes, inputs = _tensors(raw, y, loc_scale, True)
    likelihood = from_text(kernel)

    def chunk(start: int, stop: int) -> bool:
        return blocks.log_prob(likelihood, start, stop, *inputs, value, slopes)

    size = max(CHUNK_ELEMENTS // raw.shape[1], 1 << 12)
    if not all(map_chunks(chunk, len(raw), size)) or slopes is None:
        raise RuntimeError(f"no kernel for tensors of {raw.dtype} and {y.dtype}.")
    return value, slopes


def _shapes(
    raw: Tensor, y: Tensor, loc: Tensor | None, scale: Tensor | None, kernel: str
) -> tuple[Tensor, Tensor]:
    value, slopes, _ = _tensors(raw, y, [], True)
    return value, torch.empty_like(raw) if slopes is None else slopes


_LIBRARY.impl("log_prob", _in_graph, "CPU")
_LIBRARY.impl("log_prob", _shapes, "Meta")
