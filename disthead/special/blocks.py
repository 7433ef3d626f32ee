"""The library in C (`blocks.c`), built at installation where there is a compiler; without it NumPy and torch do the work.

Its functions work on tensors in the memory of the host and say True, or False where others have to:
for tensors that are of no kind they know, numbers outside their limits, and where there is no
library. What they wrote then is of no use. `run` and `choose` raise ValueError for tensors whose
rows or columns do not fit together.
"""

import functools
from collections.abc import Callable

from torch import Tensor

try:
    import disthead.special._blocks as _blocks
except ImportError:
    _blocks = None  # type: ignore[assignment]

__all__ = [
    "ANSWERS",
    "AVAILABLE",
    "OPERATIONS",
    "answer",
    "choose",
    "is_compiled",
    "multiply_rows",
    "run",
]

# By this table of functions (torch has it from 2.10 on) the library sees the memory of tensors
# without arrays of NumPy, which take longer to make than its work takes.
_EXCHANGE = getattr(Tensor, "__dlpack_c_exchange_api__", None)
AVAILABLE = _blocks is not None and _blocks.understands(_EXCHANGE)
OPERATIONS: list[str] = _blocks.OPERATIONS.split() if AVAILABLE else []
ANSWERS: dict[str, int] = (
    {name: number for number, name in enumerate(_blocks.ANSWERS.split())} if AVAILABLE else {}
)


def _function(name: str) -> Callable[..., bool]:
    return (
        functools.partial(getattr(_blocks, name), _EXCHANGE)
        if AVAILABLE
        else lambda *arguments: False
    )


# run(in_double, steps, places, block, start, stop, *tensors): the steps of a `Program` on rows from
# `start` to `stop`.
run = _function("run")


def is_compiled(steps: bytes) -> bool:
    """Whether a program of these steps in single precision is one loop, where its tensors lie in one piece (`compiled.h`)."""
    return AVAILABLE and _blocks.is_compiled(steps)


# multiply_rows(tensor, factors): each row of (rows, columns) times its factor, in place.
multiply_rows = _function("multiply_rows")

# choose(start, stop, logits, index, value, slopes): log p_k (rows,) of the classes k with these
# indices (rows,) and, where slopes are given, 1{j = k} - p_j (rows, K), for logits (rows, K), all
# in one stretch of memory each; rows from `start` to `stop`.
choose = _function("choose")

# answer(number, result, *tensors): the answer of that number in ANSWERS (`answers.h`), of one to
# four tensors of single or double precision that broadcast to the result, which lies in one piece.
answer = _function("answer")
