"""`Parser` reads the arguments of a command; a mistake becomes a sentence with the nearest name."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from disthead.errors import nearest

__all__ = ["Parser", "check_not_empty"]


def check_not_empty(arguments: Sequence[str]) -> None:
    """Refuse options with an empty value, which a variable of the shell that is not set leaves.

    Raises:
        ValueError: with the option.

    >>> check_not_empty(["--out", "report"])
    """
    for k, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        is_empty = bool(equals) and not value.strip() and option.startswith("--")
        if is_empty or (not argument.strip() and k and arguments[k - 1].startswith("--")):
            raise ValueError(
                f"{option if is_empty else arguments[k - 1]} has an empty value: give one, or "
                "leave it out."
            )


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises a `ValueError` in place of ending the program.

    The error for an unknown option names the nearest options.

    Args:
        command: of disthead, whose page is shown by `disthead COMMAND --help`.
    """

    def __init__(self, command: str):
        super().__init__(f"disthead {command}", add_help=False, allow_abbrev=False)

    def parse_args(self, arguments: Any) -> Any:  # type: ignore[override]
        """The values of the options, as a namespace.

        Raises:
            ValueError: for unknown options, empty values, and values of the wrong type.
        """
        options, rest = self.parse_known_args(arguments)
        if rest:
            option = rest[0].partition("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            kind = "option" if option.startswith("-") else "argument"
            raise ValueError(
                f"unknown {kind} {option!r}{nearest(option, known)} All of them: {self.prog} --help"
            )
        check_not_empty(arguments)
        return options

    def error(self, message: str) -> NoReturn:
        """Raise the message of `argparse` as a `ValueError`, with the command that helps."""
        raise ValueError(f"{message}. See: {self.prog} --help")
