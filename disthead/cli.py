"""The command `disthead`: a dictionary of plain functions.

disthead families [--surface]         the table of families, or which of them answers which question
disthead explain NAME                 what a family assumes, when it breaks, what to try then
disthead fit --config FILE            train; any key of the configuration can be overridden
disthead validate|test --ckpt_path FILE [--data.path FILE]
disthead predict --ckpt_path FILE --data.path FILE --out predictions.parquet
disthead evaluate --ckpt FILE --data.path FILE --out report      verdicts, scores and pictures
disthead recalibrate --ckpt FILE --method NAME --out FILE        a checkpoint with honest intervals
"""

import os
import sys
from collections.abc import Callable, Sequence

from disthead import explanation
from disthead.errors import unknown_name
from disthead.families import families

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it worked, 2 after an error of the user's, which is printed without a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    try:
        if arguments[0] not in COMMANDS:
            raise unknown_name("command", arguments[0], COMMANDS)
        COMMANDS[arguments[0]](arguments)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"disthead: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def show_families(arguments: Sequence[str]) -> None:
    """Print the table of families, or with --surface which of them answers which question."""
    if list(arguments[1:]) == ["--surface"]:
        from disthead.surface import matrix

        print(matrix())
        return
    if len(arguments) > 1:
        raise ValueError(f"disthead families takes no arguments but --surface, got {' '.join(arguments[1:])}.")
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


def _train(arguments: Sequence[str]) -> None:
    from disthead.training.commands import run

    run(arguments)


def _evaluate(arguments: Sequence[str]) -> None:
    from disthead.training.checkpoints import run_evaluate

    run_evaluate(arguments)


def _recalibrate(arguments: Sequence[str]) -> None:
    from disthead.training.checkpoints import run_recalibrate

    run_recalibrate(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "families": show_families,
    "explain": explain,
    "fit": _train,
    "validate": _train,
    "test": _train,
    "predict": _train,
    "evaluate": _evaluate,
    "recalibrate": _recalibrate,
}
