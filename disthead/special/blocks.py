"""The library in C (`blocks.c`), built at installation where there is a compiler.

Its functions work on tensors in the memory of the host and return True. They return False where
NumPy or torch have to do the work: for tensors of a kind that they do not know, for numbers outside
their limits, and where there is no library. What they wrote then is of no use. `log_prob`, `rank`
and `choose` raise ValueError for tensors whose rows or columns do not fit together.
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
    "FORMULAS",
    "answer",
    "choose",
    "log_prob",
    "multiply_rows",
    "negative_mean",
    "rank",
]

# By this table of functions (torch has it from 2.10 on) the library sees the memory of tensors
# without arrays of NumPy, which take longer to make than its work takes.
_EXCHANGE = getattr(Tensor, "__dlpack_c_exchange_api__", None)
AVAILABLE = _blocks is not None and _blocks.understands(_EXCHANGE)


def _numbered(name: str) -> dict[str, int]:
    names = getattr(_blocks, name).split() if AVAILABLE else ()
    return {name: number for number, name in enumerate(names)}


FORMULAS, ANSWERS = _numbered("FORMULAS"), _numbered("ANSWERS")


def _function(name: str) -> Callable[..., bool]:
    return (
        functools.partial(getattr(_blocks, name), _EXCHANGE)
        if AVAILABLE
        else lambda *arguments: False
    )


# log_prob(likelihood, start, stop, raw, y, loc, scale, value, slopes): log-likelihoods (rows,) and
# derivatives by the raw outputs (rows, P), None where nobody asks for them, of rows from `start` to
# `stop`; loc and scale of the targets' unit, numbers or (rows,), may be None. The likelihood is
# what `likelihood/kernels.py` makes of a formula, one of FORMULAS.
log_prob = _function("log_prob")

# rank(start, stop, scores, orders, value, slopes): the same of whole rankings (rows, K) by scores
# (rows, K); False also for scores that are too far apart.
rank = _function("rank")

# multiply_rows(tensor, factors): each row of (rows, columns) times its factor, in place;
# multiply_rows(tensor, factor, divisor): all of them times factor () / divisor.
multiply_rows = _function("multiply_rows")

# negative_mean(values, result): less the mean of values (rows,), summed in double precision, into
# ().
negative_mean = _function("negative_mean")

# choose(start, stop, logits, index, value, slopes): log p_k (rows,) of the classes k with these
# indices (rows,) and, where slopes are given, 1{j = k} - p_j (rows, K), for logits (rows, K), all
# in one stretch of memory each; rows from `start` to `stop`.
choose = _function("choose")

# answer(number, result, *tensors): the answer of that number in ANSWERS (`answers.h`), of one to
# four tensors of single or double precision that broadcast to the result, which lies in one piece.
answer = _function("answer")
