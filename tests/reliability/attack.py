"""Attacks on files, processes and numbers, and what they come to: a clear error, no harm, a silent
change, a traceback.
"""

import contextlib
import importlib
import io
import pkgutil
import resource
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from disthead.cli import main

__all__ = [
    "Attack",
    "Outcome",
    "attacks",
    "count",
    "no_file_larger_than",
    "run_command",
    "said_by_command",
    "said_by_error",
]


class Outcome(Enum):
    """What an attack comes to; the last two are defects."""

    CLEAR_ERROR = "clear error"
    HARMLESS = "harmless"
    SILENT = "silent"
    TRACEBACK = "traceback"


@dataclass(frozen=True)
class Attack:
    """A kind of attack: its trial number k, made in an empty folder, comes to an outcome.

    Args:
        name: a row of the table in docs/reliability.md.
        trials: how many there are.
        sample: how many of them CI makes, spread evenly; the rest are slow tests.
        trial: the number of the trial, from which all that is random is drawn, and the folder ->
            the outcome.
    """

    name: str
    trials: int
    sample: int
    trial: Callable[[int, Path], Outcome]

    @property
    def in_ci(self) -> list[int]:
        return sorted({k * self.trials // self.sample for k in range(self.sample)})


def attacks() -> list[Attack]:
    """The `ATTACKS` of all modules beside this one."""
    names = [
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if not module.name.startswith("_")
    ]
    modules = [
        importlib.import_module(f"tests.reliability.{name}")
        for name in names
        if not name.startswith("test_")
    ]
    return [attack for module in modules for attack in getattr(module, "ATTACKS", ())]


def count(
    attack: Attack, numbers: "list[int] | range", folder: Path
) -> tuple[Counter[Outcome], list[int]]:
    """The outcomes of some trials, and the numbers of those that are defects."""
    outcomes, defects = Counter[Outcome](), []
    for k in numbers:
        place = folder / f"{k}"
        place.mkdir()
        outcome = attack.trial(k, place)
        outcomes[outcome] += 1
        if outcome in (Outcome.SILENT, Outcome.TRACEBACK):
            defects.append(k)
    return outcomes, defects


def run_command(*arguments: str) -> tuple[int, str]:
    """A command of `disthead` in this process: its exit status, and all that it printed; a
    traceback has the status 1.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status = main(list(arguments))
        except BaseException:
            status = 1
            printed.write(traceback.format_exc())
    return status, printed.getvalue()


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A limit of the size of files stands for a full disk: writing beyond it fails in the middle of
    a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def said_by_command(status: int, printed: str, *names: str) -> Outcome:
    """Of a command that failed: a clear error is one line that names all of `names`, with the exit
    status 2.
    """
    lines = [line for line in printed.splitlines() if line.startswith("disthead: error: ")]
    is_clear = (
        status == 2
        and len(lines) == 1
        and "Traceback" not in printed
        and all(name in lines[0] for name in names)
    )
    return Outcome.CLEAR_ERROR if is_clear else Outcome.TRACEBACK


def said_by_error(error: BaseException, *names: str) -> Outcome:
    """Of a call that failed: a clear error is a ValueError, an OSError or an ImportError that names
    all of `names`.
    """
    is_clear = isinstance(error, (ValueError, OSError, ImportError)) and all(
        name in str(error) for name in names
    )
    return Outcome.CLEAR_ERROR if is_clear else Outcome.TRACEBACK
