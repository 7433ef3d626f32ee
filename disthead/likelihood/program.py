"""Recorded formulas as lists of steps, which a small library in C runs on blocks of rows (`blocks.c`)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from disthead.likelihood.ranges import ORDINARY, Ranges
from disthead.likelihood.recording import Recorder, Value
from disthead.special import blocks

__all__ = ["STEP", "Program"]

_CACHE = 1 << 17  # bytes; more would not stay near to a core
_MOST_ROWS = 1 << 10  # of a block, which steps take some nanoseconds to turn to
_NUMBERS = {name: number for number, name in enumerate(blocks.OPERATIONS)}
_STORES = ("STORE", "STORE_TWO", "STORE_THREE")
STEP = np.dtype(
    [(name, np.int32) for name in ("operation", "out", "a", "b", "c", "d")]
    + [("k", float), ("l", float)]
)


@dataclass(frozen=True)
class Program:
    """Steps that read columns of tensors in the memory of the host and write others.

    Attributes:
        in_double: whether it computes in double precision.
        steps: what it does, as `blocks.c` reads it.
        places: how many results it holds at a time.
        block: how many rows it works on at once.
    """

    in_double: bool
    steps: bytes
    places: int
    block: int

    @property
    def length(self) -> int:
        """How many steps there are."""
        return len(self.steps) // STEP.itemsize

    def run(self, *tensors: Tensor, start: int = 0, stop: int | None = None) -> bool:
        """Work on the rows from `start` to `stop` of tensors (n,) and (n, columns).

        False where a value was outside its limits, or a tensor is none that is known; what was
        written then is of no use.

        Raises:
            ValueError: for tensors with other rows or columns than the program's.
        """
        stop = len(tensors[0]) if stop is None else stop
        return blocks.run(
            self.in_double, self.steps, self.places, self.block, start, stop, *tensors
        )

    @classmethod
    def of(cls, recorder: Recorder, results: Sequence[tuple[Value, int, int]]) -> "Program":
        """The program that stores each of these values in that column of that array, and leaves out what nobody needs."""
        asked = [check[0] for check in recorder.checks] + [result[0] for result in results]
        noted = recorder.noted
        uses = _uses(noted, asked, lambda value: value.values)
        instructions = {id(value): _fused(value, uses) for value in noted if id(value) in uses}
        noted = _with_reciprocals(noted, instructions)
        ranges = Ranges(recorder.dtype)
        schedule = _Schedule(
            _uses(noted, asked, lambda value: instructions[id(value)].operands), ranges
        )
        known = {id(value): place for place, value in enumerate(noted)}
        rows = [
            (max(row.values, key=lambda value: known[id(value)]), row) for row in _rows(results)
        ]
        checks, stores = _by_value(recorder.checks), _by_value(rows)
        for value in noted:
            ranges.find(value)
            if schedule.uses[id(value)]:
                schedule.compute(value, instructions[id(value)])
                for check in checks[id(value)]:
                    schedule.check(*check)
                for _, row in stores[id(value)]:
                    schedule.store(row)
        block = _CACHE // (schedule.places * recorder.dtype.itemsize)
        steps = np.array(schedule.steps, STEP).tobytes()
        return cls(
            recorder.in_double, steps, schedule.places, min(max(block // 32 * 32, 64), _MOST_ROWS)
        )


class _Instruction(NamedTuple):
    operation: str
    operands: tuple[Value, ...]
    numbers: tuple[float, ...] = ()


class _Row(NamedTuple):
    values: list[Value]
    array: int
    column: int  # of the first


def _by_value(actions: Sequence[tuple]) -> dict[int, list[tuple]]:
    found = defaultdict(list)
    for action in actions:
        found[id(action[0])].append(action)
    return found


def _rows(results: Sequence[tuple[Value, int, int]]) -> list[_Row]:
    """What is written together: all columns of an array that has a few of them, one after the other, of others each alone."""
    arrays: dict[int, dict[int, Value]] = defaultdict(dict)
    for value, array, column in results:
        arrays[array][column] = value
    rows = []
    for array, columns in arrays.items():
        if sorted(columns) == list(range(len(columns))) and len(columns) <= len(_STORES):
            rows.append(_Row([columns[column] for column in range(len(columns))], array, 0))
        else:
            rows += [_Row([value], array, column) for column, value in columns.items()]
    return rows


def _uses(
    noted: Sequence[Value], asked: Sequence[Value], operands: Callable[[Value], tuple[Value, ...]]
) -> Counter:
    """How often each value is needed, by identity, where these are asked for."""
    uses = Counter(map(id, asked))
    for value in reversed(noted):
        if id(value) in uses:
            uses.update(map(id, operands(value)))
    return uses


def _fused(value: Value, uses: Counter) -> _Instruction:
    """A product that nobody else needs is one instruction with the sum that it goes into."""
    alone = _Instruction(value.operation, value.values, value.numbers)
    products = [
        x
        for x in value.values
        if x.operation in ("MULTIPLY", "MULTIPLY_NUMBER") and uses[id(x)] == 1
    ]
    if not products:
        return alone
    product = products[-1]
    others = tuple(x for x in value.values if x is not product)
    if value.operation in ("ADD", "ADD_NUMBER"):
        operation = f"{product.operation}_{value.operation}"
        return _Instruction(
            operation, (*product.values, *others), (*product.numbers, *value.numbers)
        )
    if value.operation == "SUBTRACT" and product is value.values[1]:
        if product.operation == "MULTIPLY":
            return _Instruction("SUBTRACT_PRODUCT", (*product.values, *others))
        return _Instruction(
            "MULTIPLY_NUMBER_ADD", (*product.values, *others), (-product.numbers[0],)
        )
    return alone


def _with_reciprocals(noted: list[Value], instructions: dict[int, _Instruction]) -> list[Value]:
    """Values with the reciprocals of those by which several are divided: a product takes a third of a quotient's time."""
    divisors = Counter(
        id(step.operands[1]) for step in instructions.values() if step.operation == "DIVIDE"
    )
    reciprocals: dict[int, Value] = {}
    found = []
    for value in noted:
        step = instructions.get(id(value))
        if step is not None and step.operation == "DIVIDE" and divisors[id(step.operands[1])] > 1:
            above, below = step.operands
            if id(below) not in reciprocals:
                reciprocal = reciprocals[id(below)] = Value("DIVIDE_NUMBER", (below,), (1.0,))
                instructions[id(reciprocal)] = _Instruction("DIVIDE_NUMBER", (below,), (1.0,))
                found.append(reciprocal)
            instructions[id(value)] = _Instruction("MULTIPLY", (above, reciprocals[id(below)]))
        found.append(value)
    return found


class _Schedule:
    """Steps, and places of results that are free again when nobody needs them any more."""

    def __init__(self, uses: Counter, ranges: Ranges):
        self.uses, self.ranges, self.places = uses, ranges, 0
        self.steps: list[tuple] = []
        self._place: dict[int, int] = {}
        self._free: list[int] = []

    def compute(self, value: Value, instruction: _Instruction) -> None:
        if value.operation == "LOAD":  # when it is first needed
            return
        places = [self._of(operand) for operand in instruction.operands]
        operation = instruction.operation
        if operation in ORDINARY and self.ranges.is_within(value.values[0], *ORDINARY[operation]):
            operation = f"ORDINARY_{operation}"
        self._step(operation, self._taken(value), places, instruction.numbers)
        self._release(instruction.operands)

    def check(self, value: Value, limits: tuple[float, ...]) -> None:
        place = self._of(value)
        if not limits:
            self._step("CHECK_WHOLE", 0, [place])
        elif not self.ranges.is_within(value, *limits):
            self._step("CHECK", 0, [place], limits)
            self.ranges.narrow(value, *limits)
        self._release([value])

    def store(self, row: _Row) -> None:
        places = [self._of(value) for value in row.values]
        out, a, b = [*places, 0, 0][:3]
        self._step(_STORES[len(places) - 1], out, [a, b, row.array, row.column])
        self._release(row.values)

    def _of(self, value: Value) -> int:
        if id(value) not in self._place:
            self._step("LOAD", self._taken(value), value.place)
        return self._place[id(value)]

    def _taken(self, value: Value) -> int:
        if not self._free:
            self._free.append(self.places)
            self.places += 1
        self._place[id(value)] = self._free.pop()
        return self._place[id(value)]

    def _release(self, values: Sequence[Value]) -> None:
        self.uses.subtract(map(id, values))
        for key in dict.fromkeys(map(id, values)):  # in an order that is always the same
            if not self.uses[key]:
                self._free.append(self._place.pop(key))

    def _step(
        self, operation: str, out: int, places: Sequence[int], numbers: Sequence[float] = ()
    ) -> None:
        places, numbers = [*places, 0, 0, 0, 0][:4], [*numbers, 0.0, 0.0][:2]
        self.steps.append((_NUMBERS[operation], out, *places, *numbers))
