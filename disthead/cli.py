"""The command `disthead`: a dictionary of plain functions. `disthead --help` says what they do."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import disthead
from disthead import explanation
from disthead.arguments import Parser
from disthead.configurations import configuration
from disthead.errors import unknown_name
from disthead.families import families
from disthead.files import check_file, writing
from disthead.usage import OVERVIEW, PAGES

__all__ = ["main"]

# What installs the packages that disthead does without until they are needed.
_EXTRAS = {"pandas": "data", "pyarrow": "data", "matplotlib": "plots", "sklearn": "demo", "statsmodels": "demo"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it worked, 2 after an error of the user's, which is printed without a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _run(arguments)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        print(f"disthead: error: {error}. Try: pip install 'disthead[{_EXTRAS[error.name]}]'", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"disthead: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:  # of a parser that has printed what was asked of it
        return end.code if isinstance(end.code, int) else 0
    return 0


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    command, *options = arguments or ["--help"]
    if command in ("-h", "--help"):
        print(OVERVIEW)
    elif command in ("-V", "--version"):
        print(f"disthead {disthead.__version__}")
    elif command.startswith("-"):
        raise ValueError(f"the command comes first, such as disthead fit {command}, one of: {', '.join(COMMANDS)}.")
    elif command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    elif {"-h", "--help"} & set(options) or ("--help-all" in options and COMMANDS[command] is not _train):
        print(PAGES[command])
    else:
        COMMANDS[command](arguments)


def show_families(arguments: Sequence[str]) -> None:
    """Print the table of families, or with --surface which of them answers which question."""
    parser = Parser("families")
    parser.add_argument("--surface", action="store_true")
    if parser.parse_args(arguments[1:]).surface:
        from disthead.surface import matrix

        print(matrix())
        return
    rows = [("family", "data type", "domain", "use", "parameters -> link", "loss")]
    for name in families():
        family = explanation.example(name)
        rows.append((name, family.data_type, family.domain, family.use, explanation.links(family), family.loss))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    print("\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def explain(arguments: Sequence[str]) -> None:
    """Print what a family assumes, for people."""
    if len(arguments) != 2:
        raise ValueError("disthead explain takes the name of one family, such as: disthead explain student_t.")
    print(explanation.explain(arguments[1]))


def init(arguments: Sequence[str]) -> None:
    """Write a configuration that comes with disthead into a file."""
    parser = Parser("init")
    parser.add_argument("name")
    parser.add_argument("--out")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args(arguments[1:])
    text, out = configuration(given.name).read_text("utf-8"), Path(given.out or f"{Path(given.name).stem}.yaml")
    if out.exists() and not given.overwrite:
        raise ValueError(f"{out} is there already: choose another name with --out, or write over it with --overwrite.")
    check_file(out, "the configuration", "--out")
    with writing(out) as unfinished:
        unfinished.write_text(text, "utf-8")
    print(f"written: {out}")
    print(f"next: disthead fit --config {out} --data.path my.csv --data.target y")


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings are printed in one line, without the place in the code; those who record them still do.

    To be entered after Lightning is imported, which sets a format of its own.
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"disthead: warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _train(arguments: Sequence[str]) -> None:
    from disthead.training.commands import run

    with _short_warnings():
        run(arguments)


def _evaluate(arguments: Sequence[str]) -> None:
    from disthead.training.checkpoints import run_evaluate

    with _short_warnings():
        run_evaluate(arguments)


def _recalibrate(arguments: Sequence[str]) -> None:
    from disthead.training.checkpoints import run_recalibrate

    with _short_warnings():
        run_recalibrate(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "families": show_families,
    "explain": explain,
    "init": init,
    "fit": _train,
    "validate": _train,
    "test": _train,
    "predict": _train,
    "evaluate": _evaluate,
    "recalibrate": _recalibrate,
}
