"""A family's log-likelihood as a list of operations on the numbers of one row.

Printers of kernels (`benchmarks/formulas.py`, `triton_printer.py`) write these operations down.

`trace` calls `log_prob_and_grad`, which is plain torch, once on tensors without numbers, and keeps
what it did as a `Trace`:

- `inputs`, the names of what a row gives, in order: "y"; for a positive parameter "scale" and its
  logarithm "log_scale"; for a direction "cosine_loc" and "sine_loc"; for any other "loc" itself
  (logits of a probability); row constants by their name.
- `operations`, each a `Step` whose operands are inputs, results of steps before, or numbers:
  `Step("v3", "multiply", ("scale", 0.5), "real")`. None is there twice, and none is of no use.
- `value` and `slopes`, the results: log_prob and its derivatives by the parameters in their order,
  each a name or a number; of a positive parameter by its logarithm, of a direction by its angle.

Operations are add, subtract, multiply, divide, maximum, minimum, negative, absolute, sign, sqrt,
exp, log, log1p, sin, cos, sigmoid; equal, less and less_equal, which give truth values;
logical_not; where (condition, value, other); to_double and to_real, which change the precision. A
step's type is "real" (the precision of the kernel), "double", or "truth". Maximum and minimum keep
a nan.

A formula may choose its constants by the precision, so single and double precision have a trace
each.

>>> import disthead as dh
>>> from disthead.likelihood.tracing import trace
>>> print(trace(dh.get_family("exponential").formula(), torch.float32))
v1 = multiply(rate, y)
v2 = subtract(log_rate, v1)
v3 = subtract(1.0, v1)
value = v2, slopes = v3
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

from disthead.likelihood.formula import Formula
from disthead.special.fast import Direction, Positive

__all__ = [
    "NotTraced",
    "Step",
    "Trace",
    "check_of_numbers",
    "is_of_numbers",
    "parameter_kinds",
    "trace",
    "trace_function",
]

Operand = str | float
Type = Literal["real", "double", "truth"]


class NotTraced(ValueError):
    """The formula looks at numbers, mixes rows, or takes an operation that no kernel has."""


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        result: the name of its result.
        name: of the operation.
        operands: names of inputs and of results before this one, and numbers.
        type: of its result.
    """

    result: str
    name: str
    operands: tuple[Operand, ...]
    type: Type

    def __str__(self) -> str:
        operation = f"{self.name}({', '.join(map(str, self.operands))})"
        return f"{self.result} = {operation}" + (" in double" if self.type == "double" else "")


@dataclass(frozen=True)
class Trace:
    """What a family's `log_prob_and_grad` does with one row (see the head of this file)."""

    inputs: tuple[str, ...]
    operations: tuple[Step, ...]
    value: Operand
    slopes: tuple[Operand, ...]

    def __str__(self) -> str:
        slopes = ", ".join(map(str, self.slopes))
        return "\n".join([*map(str, self.operations), f"value = {self.value}, slopes = {slopes}"])


def trace(formula: Formula, dtype: torch.dtype) -> Trace:
    """The formula's log-likelihood and derivatives of one row in that precision.

    Raises:
        NotTraced: where it cannot be a list of operations on single numbers.
    """
    return trace_function(formula.log_prob_and_grad, parameter_kinds(formula), dtype)


def parameter_kinds(formula: Formula) -> dict[str, type]:
    """The class of each parameter of `log_prob_and_grad`: Positive, Direction or Tensor.

    Raises:
        NotTraced: for targets or parameters of several numbers.
    """
    check_of_numbers(formula)
    example = formula.parameters(torch.ones(formula.width, 1))
    return {name: type(one) for name, one in zip(formula.links, example, strict=True)}


def is_of_numbers(formula: Formula) -> bool:
    """Whether targets and parameters are single numbers."""
    return (
        not formula.event_shape
        and formula.component is None
        and all(
            shape == () or link.is_constant or link.name == "direction"
            for link, shape in zip(formula.links.values(), formula.shapes.values(), strict=True)
        )
    )


def check_of_numbers(formula: Formula) -> None:
    """Refuse a formula that is not of single numbers.

    Raises:
        NotTraced: for targets or parameters of several numbers.
    """
    if not is_of_numbers(formula):
        raise NotTraced(f"{formula.name} has targets or parameters of several numbers")


def trace_function(
    log_prob_and_grad: Callable[..., Sequence[Any]], kinds: Mapping[str, type], dtype: torch.dtype
) -> Trace:
    """The trace of a function (y, *parameters) -> (value, *slopes), by its parameters' classes."""
    inputs = ["y"]
    for name, kind in kinds.items():
        inputs += {
            Positive: [name, f"log_{name}"],
            Direction: [f"cosine_{name}", f"sine_{name}"],
        }.get(kind, [name])

    def flat(*values: Tensor) -> list[Any]:
        named = dict(zip(inputs, values, strict=True))
        return list(log_prob_and_grad(named["y"], *_parameters(named, kinds)))

    rows = [torch.ones(2, dtype=dtype) for _ in inputs]
    try:
        graph = make_fx(flat, tracing_mode="fake")(*rows).graph
    except Exception as error:  # whatever else a formula of somebody's does
        raise NotTraced(f"torch cannot trace it: {error}") from error
    return _Recorder(dtype).trace(inputs, graph.nodes)


def _parameters(named: Mapping[str, Tensor], kinds: Mapping[str, type]) -> list[Any]:
    parameters: list[Any] = []
    for name, kind in kinds.items():
        if kind is Positive:
            parameters.append(Positive(named[name], 0.0, named[f"log_{name}"]))
        elif kind is Direction:
            cosine = named[f"cosine_{name}"]
            parameters.append(Direction(cosine, named[f"sine_{name}"], torch.ones_like(cosine)))
        else:
            parameters.append(named[name])
    return parameters


class _Recorder:
    """Turns the nodes of torch's graph into steps; a stack of tensors is an array of names."""

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self._steps: dict[tuple, Step] = {}
        self._types: dict[str, Type] = {}

    def trace(self, inputs: Sequence[str], nodes: Any) -> Trace:
        known: dict[Node, Any] = {}
        names = iter(inputs)
        for node in nodes:
            if node.op == "placeholder":
                known[node] = next(names)
                self._types[known[node]] = "real"
            elif node.op == "call_function":
                arguments = [self._known(argument, known) for argument in node.args]
                known[node] = self._result(node, arguments)
            elif node.op == "output":
                results = [self._scalar(self._known(one, known)) for one in node.args[0]]
            else:
                raise NotTraced(f"a tensor of its own, {node.target}")
        return self._renumbered(tuple(inputs), results)

    def _known(self, argument: Any, known: Mapping[Node, Any]) -> Any:
        if isinstance(argument, Node):
            return known[argument]
        if isinstance(argument, list | tuple):
            return [self._known(one, known) for one in argument]
        return argument

    def _scalar(self, result: Any) -> Operand:
        if isinstance(result, np.ndarray):
            raise NotTraced("a result of several numbers for each row")
        return result

    def _result(self, node: Node, arguments: list[Any]) -> Any:
        if not callable(node.target) or isinstance(node.target, str):
            raise NotTraced(f"{node.target}")
        name = getattr(node.target, "__name__", "").split(".")[0].removesuffix("_")
        if name in _OF_ARRAYS:
            return _OF_ARRAYS[name](*arguments, **node.kwargs)
        if name in _CONVERSIONS:
            return self._elementwise(
                functools.partial(self._converted, node.meta["val"].dtype), arguments[0]
            )
        if name not in _OPERATIONS:
            raise NotTraced(f"the operation {node.target}")
        options = {
            key: value
            for key, value in node.kwargs.items()
            if key in ("alpha", "value", "min", "max")
        }
        return self._elementwise(functools.partial(_OPERATIONS[name], self, **options), *arguments)

    def _elementwise(self, function: Callable[..., Operand], *arguments: Any) -> Any:
        if not any(isinstance(argument, np.ndarray) for argument in arguments):
            return function(*arguments)
        return np.frompyfunc(function, len(arguments), 1)(*arguments)

    def _converted(self, dtype: torch.dtype, x: Operand) -> Operand:
        wanted: Type = "double" if dtype == torch.float64 and self.dtype != dtype else "real"
        if isinstance(x, float | int) or self._types[x] == wanted:
            return x
        if not dtype.is_floating_point:
            raise NotTraced(f"numbers of {dtype}")
        if self._types[x] == "truth":
            return self.step("where", x, 1.0, 0.0)
        return self.step("to_double" if wanted == "double" else "to_real", x)

    def step(self, name: str, *operands: Operand) -> Operand:
        """The result of an operation: a name, or a number where all operands are."""
        operands = tuple(float(x) if isinstance(x, int | float) else x for x in operands)
        numbers = [x for x in operands if isinstance(x, float)]
        if len(numbers) == len(operands):
            return _of_numbers(name, *numbers)
        if name == "where" and isinstance(operands[0], float):  # a truth of constants
            return operands[1] if operands[0] else operands[2]
        if (name == "add" and operands[1] == 0.0) or (
            name in ("multiply", "divide") and operands[1] == 1.0
        ):
            return operands[0]
        if name == "multiply" and operands[0] == 1.0:
            return operands[1]
        if name in ("add", "multiply") and isinstance(operands[0], float):
            operands = operands[::-1]
        known = self._steps.get((name, operands))
        if known is None:
            known = Step(f"v{len(self._steps) + 1}", name, operands, self._type(name, operands))
            self._steps[name, operands] = known
            self._types[known.result] = known.type
        return known.result

    def _type(self, name: str, operands: tuple[Operand, ...]) -> Type:
        if name in _TRUTHS:
            return "truth"
        if name in ("to_double", "to_real"):
            return "double" if name == "to_double" else "real"
        of_numbers = operands[1:] if name == "where" else operands
        types = {self._types[x] for x in of_numbers if isinstance(x, str)}
        if "truth" in types:
            raise NotTraced(f"arithmetic of truth values, {name}")
        return "double" if "double" in types else "real"

    def _renumbered(self, inputs: tuple[str, ...], results: Sequence[Operand]) -> Trace:
        """Without the steps that lead to no result."""
        needed = {x for x in results if isinstance(x, str)}
        for step in reversed(self._steps.values()):
            if step.result in needed:
                needed.update(x for x in step.operands if isinstance(x, str))
        names: dict[Operand, str] = {}
        steps: list[Step] = []
        for step in self._steps.values():
            if step.result in needed:
                operands = tuple(names.get(x, x) for x in step.operands)
                names[step.result] = f"v{len(steps) + 1}"
                steps.append(Step(names[step.result], step.name, operands, step.type))
        value, *slopes = (names.get(x, x) for x in results)
        return Trace(inputs, tuple(steps), value, tuple(slopes))


_TRUTHS = ("equal", "less", "less_equal", "logical_not")
_CONVERSIONS = ("_to_copy", "convert_element_type", "to")


def _one_step(name: str) -> Callable[..., Operand]:
    return lambda recorder, *operands: recorder.step(name, *operands)


def _swapped(name: str) -> Callable[..., Operand]:
    return lambda recorder, x, y: recorder.step(name, y, x)


def _add(recorder: _Recorder, x: Operand, y: Operand, alpha: float = 1) -> Operand:
    return recorder.step("add", x, recorder.step("multiply", y, alpha))


def _subtract(recorder: _Recorder, x: Operand, y: Operand, alpha: float = 1) -> Operand:
    if isinstance(y, int | float):
        return recorder.step("add", x, -y * alpha)
    return recorder.step("subtract", x, recorder.step("multiply", y, alpha))


def _addcmul(recorder: _Recorder, x: Operand, y: Operand, z: Operand, value: float = 1) -> Operand:
    product = recorder.step("multiply", y, z)
    return recorder.step("add", x, recorder.step("multiply", product, value))


def _power(recorder: _Recorder, x: Operand, exponent: Operand) -> Operand:
    if exponent == 0.5:
        return recorder.step("sqrt", x)
    if exponent not in (2, 3):
        raise NotTraced(f"a power with exponent {exponent}")
    square = recorder.step("multiply", x, x)
    return square if exponent == 2 else recorder.step("multiply", square, x)


def _clamp(recorder: _Recorder, x: Operand, min: Any = None, max: Any = None) -> Operand:
    x = x if min is None else recorder.step("maximum", x, min)
    return x if max is None else recorder.step("minimum", x, max)


def _not_equal(recorder: _Recorder, x: Operand, y: Operand) -> Operand:
    return recorder.step("logical_not", recorder.step("equal", x, y))


_SAME_NAMES = (
    *("sqrt", "exp", "log", "log1p", "sin", "cos", "sigmoid", "sign"),
    *("logical_not", "maximum", "minimum", "where"),
)
# torch's operations -> steps
_OPERATIONS: dict[str, Callable[..., Operand]] = {
    **{name: _one_step(name) for name in _SAME_NAMES},
    "abs": _one_step("absolute"),
    "neg": _one_step("negative"),
    "sgn": _one_step("sign"),
    "mul": _one_step("multiply"),
    "div": _one_step("divide"),
    "eq": _one_step("equal"),
    "lt": _one_step("less"),
    "le": _one_step("less_equal"),
    "gt": _swapped("less"),
    "ge": _swapped("less_equal"),
    "ne": _not_equal,
    "masked_fill": lambda recorder, x, condition, y: recorder.step("where", condition, y, x),
    "add": _add,
    "sub": _subtract,
    "rsub": lambda recorder, x, y, alpha=1: _subtract(recorder, y, x, alpha),
    "addcmul": _addcmul,
    "square": lambda recorder, x: recorder.step("multiply", x, x),
    "reciprocal": lambda recorder, x: recorder.step("divide", 1.0, x),
    "pow": _power,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda recorder, x, most: recorder.step("minimum", x, most),
    "detach": lambda recorder, x: x,
    "clone": lambda recorder, x: x,
    "alias": lambda recorder, x: x,
}


def _stack(parts: list[Operand], dim: int = 0) -> np.ndarray:
    of_numbers = not any(isinstance(part, np.ndarray) for part in parts)
    if dim and not (of_numbers and dim == -2):  # before the rows
        raise NotTraced(f"a stack along dimension {dim}")
    return np.array(parts, object)


def _select(array: Any, dim: int, index: int) -> Any:
    return _unbind(array, dim)[index]


def _unbind(array: Any, dim: int = 0) -> list[Any]:
    if dim or not isinstance(array, np.ndarray):
        raise NotTraced("a single row out of many")
    return list(array)


# torch's operations on arrays in whose last dimension rows are counted
_OF_ARRAYS: dict[str, Callable[..., Any]] = {
    "stack": _stack,
    "select": _select,
    "unbind": _unbind,
    "getitem": lambda parts, index: parts[index],
    "scalar_tensor": lambda number, **_: float(number),
    "full_like": lambda like, number, **_: float(number),
    "zeros_like": lambda like, **_: 0.0,
    "ones_like": lambda like, **_: 1.0,
}


def _of_numbers(name: str, *numbers: float) -> float:
    functions: dict[str, Callable[..., Any]] = {
        "add": lambda x, y: x + y,
        "subtract": lambda x, y: x - y,
        "multiply": lambda x, y: x * y,
        "divide": lambda x, y: x / y,
        "negative": lambda x: -x,
        "absolute": abs,
        "log": math.log,
        "exp": math.exp,
        "log1p": math.log1p,
        "sqrt": math.sqrt,
        "less": operator.lt,
        "less_equal": operator.le,
        "equal": operator.eq,
        "logical_not": operator.not_,
        "where": lambda truth, x, y: x if truth else y,
    }
    if name not in functions:
        raise NotTraced(f"{name} of numbers alone")
    return float(functions[name](*numbers))
