"""Texts of users, such as names of columns and files, made safe for terminals, pages and shells."""

import shlex
import unicodedata
from collections.abc import Iterable

__all__ = ["distinct", "file_names", "quoted", "shortened", "shown"]

# Unicode's categories of controls, surrogates, and separators of lines and paragraphs.
_ACTED_ON = {"Cc", "Cs", "Zl", "Zp"}
_LONGEST_NAME = 200  # bytes; file systems take some 250
# Unicode's classes of the marks that turn the direction of writing.
_TURNING = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))


def shown(text: object, all_of_it: bool = False) -> str:
    r"""The text in one line, with escapes such as \x1b for control characters.

    These are the characters that a terminal or a page would act on, and not show.

    Args:
        text: the text, or an object with one.
        all_of_it: whether every character is escaped.

    >>> print(shown("red\x1b[31m\nalert"))
    red\x1b[31m\nalert
    """
    return "".join(
        _escape(letter) if all_of_it or _is_acted_on(letter) else letter for letter in str(text)
    )


def quoted(argument: object) -> str:
    r"""An argument of a command, as it is to be copied into a shell.

    >>> print(quoted("model.ckpt"), quoted("my model.ckpt"), quoted("two\nlines"))
    model.ckpt 'my model.ckpt' $'two\nlines'
    """
    text = str(argument)
    escapes = {"\\": r"\\", "'": r"\'", "`": r"\x60"}  # backticks end what a page shows as code
    if "`" not in text and not any(map(_is_acted_on, text)):
        return shlex.quote(text)
    return f"$'{''.join(escapes.get(letter) or _of_shell(letter) for letter in text)}'"


def shortened(text: str, limit: int) -> str:
    """The text without its middle where it is longer than `limit`.

    >>> shortened("abcdefghij", 7)
    'ab...ij'
    """
    half = (limit - 3) // 2
    return (
        text if len(text) <= limit else f"{text[: limit - 3 - half]}...{text[len(text) - half :]}"
    )


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number behind those that are there already.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    result: dict[str, None] = {}
    for name in names:
        numbered, number = name, 1
        while numbered in result:
            number += 1
            numbered = f"{name} ({number})"
        result[numbered] = None
    return list(result)


def file_names(names: Iterable[str]) -> list[str]:
    """A file name for each of the names, without an ending.

    File names have letters, digits, "-", "_" and "." only; no two of them are the same to a file
    system that ignores capitals.

    >>> file_names(["../price", ".._price", "Price", "price"])
    ['_price', '_price_2', 'Price', 'price_2']
    """
    result: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = (
            "".join(
                letter if letter.isalnum() or letter in "-_." else "_" for letter in name
            ).lstrip(".")
            or "_"
        )
        while len(plain.encode("utf-8", "replace")) > _LONGEST_NAME:
            # the end stays, in which the names of pictures of one output differ
            plain = plain[len(plain) // 8 + 1 :]
        numbered, number = plain, 1
        while _folded(numbered) in taken:
            number += 1
            numbered = f"{plain}_{number}"
        taken.add(_folded(numbered))
        result.append(numbered)
    return result


def _folded(name: str) -> str:
    """The name without capitals, with one encoding of each letter, as file systems compare it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_acted_on(letter: str) -> bool:
    return (
        unicodedata.category(letter) in _ACTED_ON or unicodedata.bidirectional(letter) in _TURNING
    )


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _of_shell(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # stands for a byte in the name of a file that is not text
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return _escape(letter) if _is_acted_on(letter) else letter
