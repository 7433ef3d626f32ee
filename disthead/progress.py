"""`Progress`: a line in the terminal for whoever waits for a long call."""

import math
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Progress"]

_PATIENCE = 2.0  # seconds before the line is shown
_PAUSE = 0.2  # seconds from one update to the next


class Progress:
    """A context manager that shows on stderr how far a call has come.

    The line appears where the call takes more than two seconds and stderr is a terminal. It is
    erased at the end of the block, also after an error or Ctrl-C.

    Args:
        doing: what the call does, such as "evaluating".
        total: how many rows there are; None if that is not known.

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._width:
            self._write("")
            print(end="\r", file=sys.stderr, flush=True)

    def advance(self, rows: int) -> None:
        """Count more rows as done."""
        self.done += rows
        now = time.monotonic()
        if self._is_seen and now - self._start > _PATIENCE and now - self._last > _PAUSE:
            self._last = now
            self._write(self._line(now - self._start))

    def begin(self, doing: str) -> None:
        """Show another activity from now on, whose rows are not counted."""
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
        # noted first, since Ctrl-C may come before the line is printed
        self._width = max(self._width, len(line))
        print(f"\r{line:<{self._width}}", end="", file=sys.stderr, flush=True)
