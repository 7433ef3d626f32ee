"""`Stopped`: the end of a command by a signal, which its exit status names."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stopped", "is_ours", "kept_handlers", "signal_behind", "stop_at_signals"]

_NAMES = ("SIGTERM", "SIGHUP")  # Ctrl-C is Python's KeyboardInterrupt


class Stopped(SystemExit):
    """The end of a command by a signal; its `code` is 128 + the number of the signal, as in shells.

    It is raised where the command is at that moment, so that unfinished files are removed, as after
    an error.

    Args:
        number: the number of the signal.
        advice: how to go on, in a sentence.

    >>> stopped = Stopped(signal.SIGTERM)
    >>> print(stopped.code, stopped)
    143 stopped by SIGTERM.
    """

    def __init__(self, number: int, advice: str = ""):
        super().__init__(128 + number)
        self.number, self.advice = number, advice

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        how = " (Ctrl-C)" if self.number == signal.SIGINT else ""
        return f"stopped by {name}{how}.{' ' * bool(self.advice)}{self.advice}"


def signal_behind(error: BaseException) -> int | None:
    """The signal behind an error, or None.

    It is that of a `Stopped` or of Ctrl-C, as the error itself or in its context.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, Stopped):
            return behind.number
        if isinstance(behind, KeyboardInterrupt):
            return signal.SIGINT
        behind = behind.__context__
    return None


def _stop(number: int, frame: Any) -> None:
    raise Stopped(number)


def is_ours(number: int) -> bool:
    """Whether the signal ends the command at once, by `Stopped`."""
    return signal.getsignal(number) is _stop


@contextmanager
def stop_at_signals() -> Iterator[None]:
    """A block in which SIGTERM and SIGHUP raise `Stopped`.

    Signals that the program around it handles or ignores are left alone.
    """
    with kept_handlers():
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _stop)
        yield


@contextmanager
def kept_handlers() -> Iterator[None]:
    """A block after which the handlers of signals are those from before it."""
    numbers = [getattr(signal, name) for name in (*_NAMES, "SIGINT") if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:  # as it is for a handler that Python did not set
                    signal.signal(number, handler)
