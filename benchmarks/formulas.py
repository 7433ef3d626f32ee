"""The formulas that are compiled (`special/formulas.h`), which `make tables` writes down.

Each family of single numbers says in plain torch what its log-likelihood and derivatives are
(`log_prob_and_grad`). Here that is traced and printed as a function in C, in single and in double
precision. What needs no name of its own stands in the expression that needs it.
"""

import functools
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from disthead.families.family import families, get_family
from disthead.likelihood import Formula
from disthead.likelihood.kernels import formula_name
from disthead.likelihood.ranges import is_unbounded
from disthead.likelihood.tracing import (
    Operand,
    Step,
    Trace,
    is_of_numbers,
    parameter_kinds,
    trace,
)
from disthead.links import LINKS
from disthead.special import blocks, fast
from disthead.special.fast import Direction

FILE = Path(blocks.__file__).with_name("formulas.h")
_OPTIONS = ({}, {"parametrization": "mean"})
_PRECISIONS = (torch.float32, torch.float64)


@functools.cache
def formulas() -> dict[str, Formula]:
    """Formulas of all families of single numbers by their name in C, as the families are listed."""
    result: dict[str, Formula] = {}
    for name in families():
        for options in _OPTIONS:
            try:
                family = get_family(name, **options)
            except (TypeError, ValueError):  # the family has other options
                continue
            given = {
                one: LINKS["identity"] for one in family.row_constants if family.grad_takes_exposure
            }
            if family.distribution_class is None:
                continue
            # a parameter that is fixed by default may be predicted
            own = {
                one: LINKS["softplus"] if link.is_constant else link
                for one, link in family.parameters.items()
            }
            for links in (own, own | given):
                formula = family.formula(links)
                key = formula_name(formula)
                if key is not None and formula.has_fused_loss and is_of_numbers(formula):
                    result.setdefault(key, formula)
    return result


def text() -> str:
    """What the file should hold."""
    title = (
        "/* Written by `make tables` from each family's log_prob_and_grad: the value, and the "
        "derivatives by\nthe parameters (by the logarithms of the positive ones); y_low is what "
        "single precision\nleaves of y. */"
    )
    single, double = (
        [*map(functools.partial(_function, dtype=dtype), formulas())] for dtype in _PRECISIONS
    )
    tables = [_table(dtype) for dtype in _PRECISIONS]
    parts = [title, "#if IS_SINGLE", *single, tables[0], "#else", *double, tables[1], "#endif"]
    return "\n\n".join(parts) + "\n"


def _function(name: str, dtype: torch.dtype) -> str:
    return c_function(name, trace(formulas()[name], dtype), dtype)


def _table(dtype: torch.dtype) -> str:
    """FORMULAS: name, targets, how many parameters and raw outputs, those whose logarithm is
    taken, arguments, and the family's own links.
    """
    lines = []
    for name, formula in formulas().items():
        kinds = parameter_kinds(formula)
        arguments: dict[str, str] = {}
        for place, (key, kind) in enumerate(kinds.items()):
            of_kind = ("cosine", "sine") if kind is Direction else ("", "log")
            for field, prefix in zip(("value", "log"), of_kind, strict=True):
                arguments[f"{prefix}_{key}".lstrip("_")] = f"one[{place}].{field}"
        used = [one for one in _inputs(trace(formula, dtype)) if one != "y"]
        logs = sum(1 << place for place, key in enumerate(kinds) if f"log_{key}" in used)
        support = formula.loss_support
        targets = (
            "REALS" if is_unbounded(support) else "COUNTS" if support.is_discrete else "POSITIVES"
        )
        functions: list[Any] = [link.value_and_slope for link in formula.links.values()]
        links = [_LINKS[getattr(one, "value_and_slope", one)] for one in functions]
        taken = f"({', '.join(arguments[one] for one in used)})"
        line = [name, targets, len(kinds), formula.width, logs, taken, *links]
        lines += _filled(f"X({', '.join(map(str, line))})", width=98)
    return "#undef FORMULAS\n#define FORMULAS(X) \\\n" + " \\\n".join(lines)


# value_and_slope of a link -> its kind in blocks.c
_LINKS = {
    LINKS["identity"].value_and_slope: "IDENTITY",
    fast.softplus: "SOFTPLUS",
    fast.direction: "DIRECTION",
}


def _inputs(traced: Trace) -> list[str]:
    """Those that it needs, y first."""
    needed = {x for step in traced.operations for x in step.operands}
    needed |= {traced.value, *traced.slopes}
    return [one for one in traced.inputs if one == "y" or one in needed]


def c_function(name: str, traced: Trace, dtype: torch.dtype) -> str:
    """A function in C of the numbers of one row, whose functions `special/elementary.h` has."""
    return "\n".join(_Printer(traced, dtype).lines(name))


class _Printer:
    def __init__(self, traced: Trace, dtype: torch.dtype):
        self.traced, self.is_single = traced, dtype == torch.float32
        self.real = "float" if self.is_single else "double"
        results = [traced.value, *traced.slopes]
        operands = [x for step in traced.operations for x in step.operands]
        self.uses = Counter(operands) + Counter(results)
        self.chosen = {
            x for step in traced.operations if step.name == "where" for x in step.operands
        }
        self.divisors = Counter(
            step.operands[1] for step in traced.operations if step.name == "divide"
        )
        # expressions that stand where they are needed, with their rank
        self.text: dict[Operand, tuple[str, int]] = {}
        self.types = {step.result: step.type for step in traced.operations}

    def lines(self, name: str) -> Iterator[str]:
        inputs = _inputs(self.traced)
        named = [*inputs[:1], *(["y_low"] if self.is_single else []), *inputs[1:]]
        real, bits = self.real, "uint32_t" if self.is_single else "uint64_t"
        arguments = ", ".join(
            [*(f"{real} {one}" for one in named), f"{real} *slopes", f"{bits} *beyond"]
        )
        yield from _filled(f"INLINE {real} {name}_{real}({arguments}) {{", "", "    ")
        yield "    " + " ".join(
            f"(void){one};" for one in ["beyond", *named[: 2 if self.is_single else 1]]
        )
        for step in self.traced.operations:
            if step.name == "divide" and self.divisors[step.operands[1]] > 1:
                yield from self._reciprocal(step.operands[1])
            expression = self._expression(step)
            # a choice is between numbers that are there: compilers make no vectors of branches
            is_choice = step.result in self.chosen
            if self.uses[step.result] == 1 and len(expression[0]) < 60 and not is_choice:
                self.text[step.result] = expression
            else:
                kind = {"truth": "int", "double": "double", "real": real}[step.type]
                yield from _filled(f"const {kind} {step.result} = {expression[0]};")
        for index, slope in enumerate(self.traced.slopes):
            yield from _filled(f"slopes[{index}] = {self._operand(slope, 0)};")
        yield from _filled(f"return {self._operand(self.traced.value, 0)};")
        yield "}"

    def _reciprocal(self, divisor: Operand) -> Iterator[str]:
        """A product takes a third of a quotient's time."""
        name = f"one_by_{divisor}"
        if name not in self.text and isinstance(divisor, str):
            self.text[name] = (name, 3)
            kind = "double" if self.types.get(divisor) == "double" else self.real
            yield from _filled(f"const {kind} {name} = 1 / {self._operand(divisor, 3)};")

    def _operand(self, x: Operand, rank: int) -> str:
        """As part of an expression whose operator has this rank.

        The ranks are 0 for nothing, 1 for sums, 2 for products, 3 for signs.
        """
        if isinstance(x, float):
            number = _number(x, self.is_single)
            return number if x >= 0 or rank == 0 else f"({number})"
        expression, own = self.text.get(x, (x, 3))
        return expression if own >= rank else f"({expression})"

    def _expression(self, step: Step) -> tuple[str, int]:
        name, operands = step.name, step.operands
        if name == "divide" and f"one_by_{operands[1]}" in self.text:
            if operands[0] == 1.0:
                return f"one_by_{operands[1]}", 3
            return f"{self._operand(operands[0], 2)} * one_by_{operands[1]}", 2
        if self.is_single and "y" in operands and name in _EXACT:
            return _EXACT[name](*(self._operand(x, 2) for x in operands))
        if name == "add" and isinstance(operands[1], float) and operands[1] < 0:
            return f"{self._operand(operands[0], 1)} - {_number(-operands[1], self.is_single)}", 1
        if name in _OPERATORS:
            sign, rank = _OPERATORS[name]
            first, last = self._operand(operands[0], rank), self._operand(operands[1], rank + 1)
            return f"{first} {sign} {last}", rank
        if name in ("to_double", "to_real"):
            real = "double" if name == "to_double" else self.real
            return f"({real}){self._operand(operands[0], 3)}", 3
        if name == "negative":
            return f"-{self._operand(operands[0], 3)}", 2
        if name == "logical_not":
            return f"!{self._operand(operands[0], 3)}", 2
        if name == "where":
            condition, value, other = (self._operand(x, 1) for x in operands)
            return f"({condition} ? {value} : {other})", 3
        if name in ("sin", "cos"):
            angle = self._operand(operands[0], 0)
            return f"turned_{self._real_of(step)}({angle}, {int(name == 'cos')})", 3
        parts = ", ".join(self._operand(x, 0) for x in operands)
        if name in ("exp", "log", "log1p"):
            # in double precision within single precision any number is right
            is_widened = self.is_single and step.type == "double"
            return f"{f'{name}__double' if is_widened else name.upper()}({parts})", 3
        if name == "sigmoid":
            return f"1 / (1 + EXP(-{self._operand(operands[0], 3)}))", 2
        if name in ("absolute", "sqrt"):
            function = "fabs" if name == "absolute" else "sqrt"
            return f"{function}{'f' if self._real_of(step) == 'float' else ''}({parts})", 3
        return f"{name}__{self._real_of(step)}({parts})", 3  # maximum, minimum, sign

    def _real_of(self, step: Step) -> str:
        return "double" if step.type == "double" else self.real


_OPERATORS = {
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
    "equal": ("==", 0),
    "less": ("<", 0),
    "less_equal": ("<=", 0),
}
# Targets in double precision are two numbers of single precision, wherever a difference or an angle
# would magnify the rounding to one.
_EXACT: dict[str, Callable[..., tuple[str, int]]] = {
    "subtract": lambda x, y: (f"({x} - y - y_low)" if y == "y" else f"(y - {y} + y_low)", 3),
    "to_double": lambda y: ("((double)y + y_low)", 3),
    "sin": lambda y: ("turned_float((double)y + y_low, 0)", 3),
    "cos": lambda y: ("turned_float((double)y + y_low, 1)", 3),
}


def _number(x: float, is_single: bool) -> str:
    if x in (float("inf"), float("-inf")):
        return f"{'-' if x < 0 else ''}INFINITY"
    return f"{x:.0f}" if x.is_integer() and abs(x) < 1e6 else repr(x) + "f" * is_single


def _filled(text: str, first: str = "    ", rest: str = "        ", width: int = 100) -> list[str]:
    unbroken = {"break_on_hyphens": False, "break_long_words": False}
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, **unbroken)
