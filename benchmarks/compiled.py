"""The programs that are compiled as they are (`special/programs.h`), which `make tables` writes
down.

They are those of families with their own links in single precision. Where a formula has changed
since, its steps are worked on one by one.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from disthead.explanation import example
from disthead.families.family import families, get_family
from disthead.likelihood.program import STEP, Program
from disthead.likelihood.programs import recorded
from disthead.special import blocks

_MACROS = (
    "PROGRAM",
    "READ",
    "WRITE",
    "WRITE_TWO",
    "WRITE_THREE",
    "WITHIN",
    "WHOLE",
    "BOUNDED",
    "STEP_OF",
)
FILE = Path(blocks.__file__).with_name("programs.h")


def program_of(name: str) -> Program:
    """The program of a family with its own links that gives derivatives, too."""
    formula = get_family(name).formula()
    return recorded(
        formula, is_double=False, has_loc_scale=False, needs_grad=True, is_rounded=False
    )[0]


def _is_compiled(name: str) -> bool:
    """Whether the family is of single numbers, has a fused formula, and that formula suffices in
    single precision.
    """
    family = example(name)
    return (
        family.distribution_class is not None
        and not any(family.shapes.values())
        and not program_of(name).in_double
    )


FAMILIES = [name for name in families() if _is_compiled(name)]


def text() -> str:
    """What the file should hold."""
    title = (
        "/* Written by `make tables`: steps of programs in single precision, whose numbers "
        "have places. */"
    )
    forgotten = "\n".join(f"#undef {name}" for name in _MACROS)
    return "\n\n".join([title, *map(_paragraph, FAMILIES), forgotten]) + "\n"


def _paragraph(name: str) -> str:
    program = program_of(name)
    steps = textwrap.fill(
        " ".join(_steps(program)),
        136,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    return f"PROGRAM({name}, {get_family(name).width()}, {program.places},\n{steps})"


def _steps(program: Program) -> Iterator[str]:
    """Each without a space, so that no line ends within."""
    for number, out, a, b, c, d, *constants in np.frombuffer(program.steps, STEP).tolist():
        operation = blocks.OPERATIONS[number]
        match operation:
            case "LOAD":
                yield f"READ({out},{a},{b})"
            case "STORE":
                yield f"WRITE({c},{d},{out})"
            case "STORE_TWO":
                yield f"WRITE_TWO({c},{d},{out},{a})"
            case "STORE_THREE":
                yield f"WRITE_THREE({c},{d},{out},{a},{b})"
            case "CHECK":
                yield f"WITHIN({a},{constants[0]},{constants[1]})"
            case "CHECK_WHOLE":
                yield f"WHOLE({a})"
            case "EXP" | "LOG" | "LOG1P":
                yield f"BOUNDED({operation},{out},{a})"
            case _:
                numbers = [out, a, b, c, *constants]
                while len(numbers) > 2 and numbers[-1] == 0:
                    numbers.pop()
                yield f"STEP({operation},{','.join(map(str, numbers))})"
