"""`Progress`: a line in the terminal for whoever waits for a long call."""

import math
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Progress"]

_PATIENCE = 2.0  # seconds, before which nobody waits
_PAUSE = 0.2  # from one line to the next


class Progress:
    """A line that says how far a long call is, on stderr where that is a terminal; elsewhere, and of quick calls, nothing.

    The line is there while the block runs, and is wiped out at its end, also after an error or Ctrl-C.

    Args:
        doing: what is done, in a word such as "evaluating".
        total: how many rows there are, None where nobody knows.

    >>> with Progress("evaluating", 100) as progress:
    ...     progress.advance(50)
    """

    def __init__(self, doing: str, total: int | None = None):
        self.doing, self.total, self.done = doing, total, 0
        self._is_seen = sys.stderr is not None and sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._width:
            self._write("")
            print(end="\r", file=sys.stderr, flush=True)

    def advance(self, rows: int) -> None:
        """Note that so many more rows are done."""
        self.done += rows
        now = time.monotonic()
        if self._is_seen and now - self._start > _PATIENCE and now - self._last > _PAUSE:
            self._last = now
            self._write(self._line(now - self._start))

    def begin(self, doing: str) -> None:
        """Note that something else is done now, of which nobody counts rows."""
        self.doing, self.done = doing, 0
        self.advance(0)

    def _line(self, seconds: float) -> str:
        if not self.done:
            return self.doing
        if self.total is None or self.done > self.total:
            return f"{self.doing}: {self.done:,} rows"
        left = math.ceil(seconds * (self.total - self.done) / self.done)
        return f"{self.doing}: {self.done:,} of {self.total:,} rows, {left:,} s left"

    def _write(self, line: str) -> None:
        self._width = max(self._width, len(line))  # before it is there, since Ctrl-C may come in between
        print(f"\r{line:<{self._width}}", end="", file=sys.stderr, flush=True)
