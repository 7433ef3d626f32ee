"""The command `disthead`, a dictionary of plain functions; `disthead --help` says what they do."""

import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import disthead
from disthead import atlas, explanation
from disthead.arguments import Parser
from disthead.configurations import configuration
from disthead.errors import in_a_sentence, unknown_name
from disthead.families import families
from disthead.files import check_file, writing
from disthead.stopping import Stopped, signal_behind, stop_at_signals
from disthead.texts import quoted, shown
from disthead.usage import OVERVIEW, PAGES

__all__ = ["main"]

# What to try where memory is short, by command.
_SMALLER = {
    "fit": "Try a smaller --data.batch_size or smaller --model.hidden_sizes",
    "predict": "Try a smaller --data.batch_size, fewer --samples, or a folder for --out",
}
_REPORT = (
    "disthead: this is an error of the program, or of a class of your own that it was given. If it "
    "is not of yours, please report it, with these lines and the command."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status.

    It is 0 if the command did all that it was asked for; 2 after an error that the user can mend,
    which is said in one line; and 128 + the number of the signal that ended it: 130 for Ctrl-C, 143
    for SIGTERM, 141 where the reader of the output, such as head, went away. An error of the
    program is raised, with a note that asks for a report: Python prints its traceback, and the exit
    status is 1.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # the encoding of the terminal may lack letters of names
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with stop_at_signals():
            _run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return _ended_by(Stopped(signal.SIGINT), argv is None)
    except Stopped as stopped:
        return _ended_by(stopped, argv is None)
    except SystemExit as end:
        number = signal_behind(end)
        if number is not None:
            return _ended_by(Stopped(number), argv is None)
        if isinstance(end.code, str):  # a library has given up
            _say(f"disthead: error: {end.code}")
            return 2
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        number = signal_behind(error)
        if number is not None:  # a library has turned the signal into an error of its own
            return _ended_by(Stopped(number), argv is None)
        if _output_is_closed() and isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        sentence = in_a_sentence(error)
        if sentence is None:
            error.add_note(_REPORT)
            raise
        if sentence.startswith("out of memory"):
            sentence += f" {_SMALLER.get(arguments[0], 'Try a table of fewer rows (--data.path)')}."
        _say(f"disthead: error: {sentence}")
        return 2
    return 0


def _ended_by(stopped: Stopped, is_program: bool) -> int:
    if is_program:  # a second Ctrl-C would print a traceback of Python's shutdown
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say(f"disthead: {stopped}")
    return 128 + stopped.number


def _say(message: str) -> None:
    with suppress(OSError):  # the error stream is closed
        print("\n".join(map(shown, message.split("\n"))), file=sys.stderr)


def _output_is_closed() -> bool:
    """Whether nobody reads the output any more.

    It then goes to the null device, so that Python's last flush does not fail.
    """
    if sys.stdout is None:
        return False
    try:
        sys.stdout.flush()
        # output without a buffer has failed already, so that the flush writes nothing
        is_closed = _has_no_reader()
    except OSError:
        is_closed = True
    if is_closed:
        with suppress(OSError):  # no file, as in a notebook
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed


def _has_no_reader() -> bool:
    """Whether the output goes into a pipe whose reader went away, where the system can tell."""
    # Windows lacks poll, and the output of a notebook is no file
    with suppress(AttributeError, OSError, ValueError):
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))
    return False


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    command, *options = arguments or ["--help"]
    if command in ("-h", "--help"):
        print(OVERVIEW)
    elif command in ("-V", "--version"):
        print(f"disthead {disthead.__version__}")
    elif command.startswith("-"):
        raise ValueError(
            f"the command comes first, such as disthead fit {command}, one of: "
            f"{', '.join(COMMANDS)}."
        )
    elif command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    elif {"-h", "--help"} & set(options) or (
        "--help-all" in options and COMMANDS[command] is not _train
    ):
        print(PAGES[command])
    else:
        COMMANDS[command](arguments)


def show_families(arguments: Sequence[str]) -> None:
    """Print the table of families, or with --capabilities which of them supports which method."""
    parser = Parser("families")
    parser.add_argument("--capabilities", action="store_true")
    parser.add_argument("--surface", action="store_true")  # its name in version 0.1
    options = parser.parse_args(arguments[1:])
    if options.surface:
        _say(
            "disthead: warning: --surface is called --capabilities now; the former name goes with "
            "the next version."
        )
    if options.capabilities or options.surface:
        from disthead.capabilities import capabilities_table

        print(capabilities_table())
        return
    rows = [("family", "data type", "domain", "use", "parameters -> link", "loss")]
    for name in families():
        family = explanation.example(name)
        rows.append(
            (
                name,
                family.data_type,
                family.domain,
                family.use,
                explanation.links(family),
                family.loss,
            )
        )
    _print_table(rows)


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of cells in columns, the first of them as a heading."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    print("\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def show_losses(arguments: Sequence[str]) -> None:
    """Print the table of losses, or the page of one."""
    parser = Parser("losses")
    parser.add_argument("name", nargs="?")
    options = parser.parse_args(arguments[1:])
    if options.name is not None:
        print(explanation.explain_loss(options.name))
        return
    rows = [("loss", "kind", "assumption", "estimated", "PyTorch")]
    _print_table(
        rows
        + [
            (loss.name, loss.kind, loss.assumes, loss.estimates, loss.pytorch)
            for loss in atlas.losses().values()
        ]
    )


def explain(arguments: Sequence[str]) -> None:
    """Print what a family or a loss assumes, and when it breaks."""
    if len(arguments) != 2:
        raise ValueError(
            "disthead explain takes the name of one family or loss, such as: disthead explain "
            "student_t. A name of several words stands in quotation marks."
        )
    print(explanation.explain(arguments[1]))


def init(arguments: Sequence[str]) -> None:
    """Write a configuration that comes with disthead into a file."""
    parser = Parser("init")
    parser.add_argument("name")
    parser.add_argument("--out")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(arguments[1:])
    text = configuration(options.name).read_text("utf-8")
    out = Path(options.out or f"{Path(options.name).stem}.yaml")
    check_file(out, "the configuration", "--out")
    if out.exists() and not options.overwrite:
        raise ValueError(
            f"{out} is there already: choose another name with --out, or write over "
            "it with --overwrite."
        )
    with writing(out) as unfinished:
        unfinished.write_text(text, "utf-8")
    print(f"written: {shown(out)}")
    print(f"next: disthead fit --config {quoted(out)} --data.path my.csv --data.target y")


@contextmanager
def _short_warnings() -> Iterator[None]:
    """A block in which warnings are printed in one line, without their place in the code.

    It is entered after Lightning is imported, which sets a format of its own.
    """
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: (
        f"disthead: warning: {shown(' '.join(str(message).split()))}\n"
    )
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
    "losses": show_losses,
    "explain": explain,
    "init": init,
    "fit": _train,
    "validate": _train,
    "test": _train,
    "predict": _train,
    "evaluate": _evaluate,
    "recalibrate": _recalibrate,
}
