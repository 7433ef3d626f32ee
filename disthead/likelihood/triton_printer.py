"""Prints a family's log-likelihood through its links as a kernel in Triton, for one launch.

`kernel_source` traces the whole way from raw outputs to the log-likelihood and its derivatives by
them (`tracing.py`) in single and in double precision, and writes a Python function for
`triton.jit`. A program of it takes one block of rows:

1. It reads raw outputs, of any precision below double and any strides, and targets.
2. A target in double precision, or in a unit of its own, becomes (y - loc) / scale in double
   precision, and then two numbers of single precision, `y` and `y_over`: a difference from the
   target, or its angle, takes both.
3. It computes in single precision, and asks of each row whether target and parameters are within
   the fast ranges (`ranges.py`) and all results are finite.
4. The parts of the block, of one row for each thread, with a row that is not are done again in
   double precision, there and then: so the numbers of double precision take few registers.

Nothing here needs Triton: the text is compiled where `triton_kernels.py` first needs it.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from disthead.likelihood.formula import Formula
from disthead.likelihood.ranges import (
    Range,
    example,
    fast_ranges,
    fast_targets,
    harmless,
    inward,
    is_unbounded,
    ranged,
    support_limits,
)
from disthead.likelihood.tracing import (
    NotTraced,
    Operand,
    Step,
    Trace,
    check_of_numbers,
    trace_function,
)
from disthead.special.fast import Direction, Positive

__all__ = ["kernel_source"]


def kernel_source(formula: Formula) -> str:
    """A function `kernel` in Triton; its globals are `tl` and the functions of `triton_functions`.

    Raises:
        NotTraced: where the likelihood is no list of operations on single numbers.
    """
    check_of_numbers(formula)
    limits = support_limits(formula.loss_support)
    if limits is None:
        raise NotTraced(f"whether targets are in {formula.loss_support}")
    single, double = (_trace(formula, dtype) for dtype in (torch.float32, torch.float64))
    return "\n".join(_Printer(formula, limits, single, double).lines()) + "\n"


def _trace(formula: Formula, dtype: torch.dtype) -> Trace:
    """From targets and raw outputs to log_prob and its derivatives by raw outputs.

    In single precision the parameters follow, each of which has a fast range.
    """
    constants = {
        name: _numbers(example(link)) if link.is_constant else None
        for name, link in formula.links.items()
    }

    def log_prob_and_grad(y: Tensor, *columns: Tensor) -> list[Tensor]:
        parameters, start = [], 0
        for name, link in formula.links.items():
            shape, constant = formula.shapes[name], constants[name]
            part = columns[start : start + math.prod(shape)]
            start += len(part)
            if constant is not None:
                parameters.append(constant(y))
            else:
                function: Any = link.value_and_slope
                parameters.append(function(torch.stack(part) if shape else part[0]))
        value, *slopes = formula.log_prob_and_grad(y, *parameters)
        results = [value]
        for slope in formula.chain_rule(parameters, slopes):
            results += slope.unbind(0) if slope.ndim > 1 else [slope]
        is_single = dtype == torch.float32
        return results + [ranged(one) for one in parameters if is_single]

    raw = {f"raw_{column}": Tensor for column in range(formula.width)}
    return trace_function(log_prob_and_grad, raw, dtype)


def _numbers(constant: Any) -> Callable[[Tensor], Any]:
    """What a constant link gives, as a function of targets: numbers that the trace knows."""

    def filled(number: Tensor) -> Callable[[Tensor], Tensor]:
        return functools.partial(torch.full_like, fill_value=float(number))

    if isinstance(constant, Positive):
        value, log = filled(constant.value), filled(constant.log)
        return lambda y: Positive(value(y), 0.0, log(y))
    if isinstance(constant, Direction):
        parts = [filled(part) for part in constant]
        return lambda y: Direction(*(part(y) for part in parts))
    return filled(constant)


class _Printer:
    def __init__(self, formula: Formula, limits: Range, single: Trace, double: Trace):
        self.formula, self.limits, self.single, self.double = formula, limits, single, double
        self.columns = range(formula.width)
        # by a short exposure the rounding of a mean is magnified
        self.may_be_single = not formula.has_row_constants

    def lines(self) -> Iterator[str]:
        yield f"def kernel({', '.join(_ARGUMENTS[:6])},"
        yield f"           {', '.join(_ARGUMENTS[6:])},"
        yield f"           {', '.join(f'{name}: tl.constexpr' for name in _CHOICES[:3])},"
        yield f"           {', '.join(f'{name}: tl.constexpr' for name in _CHOICES[3:])}):"
        yield from _indented(self._body())

    def _body(self) -> Iterator[str]:
        yield "start = tl.program_id(0).to(tl.int64) * BLOCK"
        if self.may_be_single:
            yield "rows = tl.arange(0, BLOCK)"
            yield from self._read("")
            yield from self._in_single()
        yield ""
        yield "for part in range(BLOCK // PART):"
        if self.may_be_single:
            yield "    if tl.sum(tl.where(numbers == part, parts, 0), 0) > 0:"
        else:
            yield "    if part >= 0:"
        for line in self._in_double():
            yield f"        {line}"

    def _read(self, end: str) -> Iterator[str]:
        """Rows and targets as they are given, of the block or (`_d`) of a part of it in double."""
        for line in _READ_TARGETS:
            line = re.sub(r"\b(rows|inside|target|loc|scale)\b", rf"\1{end}", line)
            yield line.replace("HARMLESS", str(harmless(self.formula)))
        names = [f"given_{column}{end}" for column in self.columns]
        yield "if IS_DENSE:"
        if len(names) == 2:  # each thread takes both numbers of a row at once
            at = f"rows{end}[:, None] * 2 + tl.arange(0, 2)[None, :]"
            yield f"    pairs{end} = start * 2 + ({at})"
            yield f"    both{end} = tl.load(raw_at + pairs{end}, inside{end}[:, None], 0.0)"
            yield f"    {', '.join(names)} = tl.split(both{end})"
        else:
            for column, name in enumerate(names):
                at = f"raw_at + start * {len(names)} + (rows{end} * {len(names)} + {column})"
                yield f"    {name} = tl.load({at}, inside{end}, 0.0)"
        yield "else:"
        yield f"    row{end} = raw_at + start * raw_row + rows{end} * raw_row"
        for column, name in enumerate(names):
            at = f"row{end} + tl.full([], {column}, tl.int64) * raw_column"
            yield f"    {name} = tl.load({at}, inside{end}, 0.0)"

    def _in_single(self) -> Iterator[str]:
        """Ends with `parts`: 1 for those for which single precision does not do."""
        yield ""
        for column in self.columns:
            yield f"raw_{column} = given_{column}.to(tl.float32)"
        yield from _TARGETS_IN_SINGLE
        ranges, support = fast_ranges(self.formula), self.formula.loss_support
        yield f"fine = {_is_within('y', *fast_targets(self.formula, self.limits))}"
        if support.is_discrete:
            yield "fine = fine & (tl.floor(y) == y)"
            yield "if IS_EXACT == 0:"
            yield "    fine = fine & (y_over == 0.0)"
        yield from _steps(self.single, "s", _EXACT)
        results = _results(self.single, "s", "[BLOCK], {}, tl.float32")
        value, slopes = results[0], results[1 : 1 + len(self.columns)]
        for name, size in zip(self.formula.links, results[1 + len(self.columns) :], strict=True):
            yield f"fine = fine & {_is_within(size, *inward(*ranges[name]))}  # {name}"
        yield f"value = {value}"
        yield "if UNITS:"
        yield "    value = value - tl.log(scale.to(tl.float32))"
        yield f"fine = fine & (tl.abs(value) <= {_GREATEST_LOG_PROB!r})"
        yield "if NEEDS_GRAD:"
        for slope in slopes:
            yield f"    fine = fine & is_finite({slope})"
        yield ""
        yield "is_wrong = ((fine == 0) & inside).to(tl.int32)"
        yield "parts = tl.max(tl.reshape(is_wrong, [BLOCK // PART, PART]), 1)"
        yield "numbers = tl.arange(0, BLOCK // PART)"
        yield "kept = inside"
        yield "if tl.max(parts, 0) > 0:"
        yield "    shape: tl.constexpr = [BLOCK // PART, PART]"
        yield "    of_part = tl.reshape(tl.broadcast_to(parts[:, None], shape), [BLOCK])"
        yield "    kept = inside & (of_part == 0)"
        yield from self._store("", "kept", value="value", slopes=slopes)

    def _in_double(self) -> Iterator[str]:
        yield "rows_d = part * PART + tl.arange(0, PART)"
        yield from self._read("_d")
        for column in self.columns:
            yield f"raw_{column}_d = given_{column}_d.to(tl.float64)"
        yield "y_d = target_d.to(tl.float64)"
        if not is_unbounded(self.formula.loss_support):
            least, greatest = (_number(limit, "double") for limit in self.limits)
            yield f"has_density = (y_d >= {least}) & (y_d <= {greatest})"
            if self.formula.loss_support.is_discrete:
                yield "has_density = has_density & (tl.floor(y_d) == y_d)"
            yield f"y_d = tl.where(has_density, y_d, {harmless(self.formula)})"
        names = {"y": "y_d"} | {f"raw_{column}": f"raw_{column}_d" for column in self.columns}
        yield from _steps(self.double, "d", {}, names)
        value, *slopes = _results(self.double, "d", "[PART], {}, tl.float64", names)
        yield f"value_d = {value}"
        yield "if UNITS:"
        yield "    value_d = value_d - tl.log(scale_d.to(tl.float64))"
        if not is_unbounded(self.formula.loss_support):
            yield 'value_d = tl.where(has_density, value_d, -float("inf"))'
            for column, slope in enumerate(slopes):
                yield f"slope_{column}_d = tl.where(has_density, {slope}, 0.0)"
            slopes = [f"slope_{column}_d" for column in self.columns]
        slopes = [f"{slope}.to(tl.float32)" for slope in slopes]
        yield from self._store("_d", "inside_d", value="value_d", slopes=slopes)

    def _store(self, end: str, mask: str, value: str, slopes: Sequence[str]) -> Iterator[str]:
        yield f"tl.store(value_at + start + rows{end}, {value}, {mask})"
        yield "if NEEDS_GRAD:"
        if len(slopes) == 2:
            at = f"start * 2 + (rows{end}[:, None] * 2 + tl.arange(0, 2)[None, :])"
            yield f"    both_slopes{end} = tl.join({', '.join(slopes)})"
            yield f"    tl.store(slopes_at + {at}, both_slopes{end}, {mask}[:, None])"
            return
        for column, slope in enumerate(slopes):
            at = f"slopes_at + start * {len(slopes)} + (rows{end} * {len(slopes)} + {column})"
            yield f"    tl.store({at}, {slope}, {mask})"


# Beyond it there are powers in the log-likelihood, which magnify rounding by their exponents.
_GREATEST_LOG_PROB = 1e6

# What a kernel takes. UNITS: 0 for none, 1 for a loc and a scale of all rows, 2 for those of each.
# IS_EXACT: whether targets, of single precision or counts, are taken as they are.
# IS_DENSE: whether raw outputs lie row after row. PART: how many rows are done at once in double
# precision.
_ARGUMENTS = (
    *("raw_at", "y_at", "loc_at", "scale_at", "value_at", "slopes_at"),
    *("total", "raw_row", "raw_column", "y_row", "loc_row", "scale_row"),
)
_CHOICES = "UNITS", "IS_EXACT", "IS_DENSE", "NEEDS_GRAD", "BLOCK", "PART"

_READ_TARGETS = """
inside = rows < total - start
target = tl.load(y_at + start * y_row + rows * y_row, inside, HARMLESS)
if UNITS == 1:
    loc = tl.load(loc_at)
    scale = tl.load(scale_at)
    target = (target.to(tl.float64) - loc.to(tl.float64)) * (1.0 / scale.to(tl.float64))
if UNITS == 2:
    loc = tl.load(loc_at + start * loc_row + rows * loc_row, inside, 0.0)
    scale = tl.load(scale_at + start * scale_row + rows * scale_row, inside, 1.0)
    target = (target.to(tl.float64) - loc.to(tl.float64)) / scale.to(tl.float64)
""".strip().splitlines()

# y_over: by how much the target, as single precision has it, is too large
_TARGETS_IN_SINGLE = """
y = target.to(tl.float32)
if IS_EXACT:
    y_over = 0.0
else:
    y_over = (y.to(tl.float64) - target).to(tl.float32)
""".strip().splitlines()

# A difference from the target, or its angle, would magnify what rounding takes from it.
_EXACT: dict[str, Callable[..., str]] = {
    "subtract": lambda x, y: f"{x} - y + y_over" if y == "y" else f"y - {y} - y_over",
    "to_double": lambda y: "y.to(tl.float64) - y_over",
    "sin": lambda y: "tl.sin(y) - y_over * tl.cos(y)",
    "cos": lambda y: "tl.cos(y) + y_over * tl.sin(y)",
}


def _steps(
    traced: Trace,
    prefix: str,
    of_target: Mapping[str, Callable[..., str]],
    names: Mapping[str, str] = {},
) -> Iterator[str]:
    """Operations in Triton; their results are called prefix + number, inputs as `names` says."""
    for step in traced.operations:
        operands = [_operand(x, step, prefix, names) for x in step.operands]
        if "y" in step.operands and step.name in of_target:
            expression = of_target[step.name](*operands)
        else:
            expression = _OPERATIONS[step.name].format(*operands)
        yield f"{_named(step.result, prefix, names)} = {expression}"


def _results(traced: Trace, prefix: str, filled: str, names: Mapping[str, str] = {}) -> list[str]:
    """Value and slopes; those that are numbers fill a block."""
    return [
        f"tl.full({filled.format(_number(x, ''))})"
        if isinstance(x, float)
        else _named(x, prefix, names)
        for x in (traced.value, *traced.slopes)
    ]


def _operand(x: Operand, step: Step, prefix: str, names: Mapping[str, str]) -> str:
    if isinstance(x, str):
        return _named(x, prefix, names)
    # these functions would round a number to single precision
    is_rounded = step.name in ("where", "maximum", "minimum")
    in_double = step.type == "double" or (prefix == "d" and step.type == "real")
    return _number(x, "double" if is_rounded and in_double else "")


def _named(x: str, prefix: str, names: Mapping[str, str]) -> str:
    return names.get(x, prefix + x[1:] if re.fullmatch(r"v\d+", x) else x)


def _number(x: float, kind: str) -> str:
    text = repr(x) if math.isfinite(x) else f'float("{x}")'
    if kind == "double":
        return f"tl.full([PART], {text}, tl.float64)"
    return f"({text})" if text.startswith("-") else text


_OPERATIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "negative": "-{0}",
    "absolute": "tl.abs({0})",
    "sign": "sign({0})",
    "sqrt": "tl.sqrt({0})",
    "exp": "exp({0})",
    "log": "tl.log({0})",
    "log1p": "log1p({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "sigmoid": "sigmoid({0})",
    "equal": "{0} == {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_not": "{0} == 0",
    "where": "tl.where({0}, {1}, {2})",
    "to_double": "{0}.to(tl.float64)",
    "to_real": "{0}.to(tl.float32)",
}


def _is_within(name: str, least: float, greatest: float) -> str:
    return f"({name} >= {least!r}) & ({name} <= {greatest!r})"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" if line else line for line in lines)
