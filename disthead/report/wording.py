"""Numbers in sentences: percentages, standard errors, p-values, lists."""

from collections.abc import Sequence

__all__ = ["enumerated", "p_value", "percent", "plural", "standard_error", "whole_percent"]


def percent(value: float, error: float | None = None) -> str:
    """A share in percent, with as many digits as its standard error allows, or three."""
    if error is None:
        return f"{100 * value:.3g} %"
    digits = 1 if error >= 1e-3 else 2
    return f"{100 * value:.{digits}f} %"


def whole_percent(value: float) -> str:
    """A share in whole percent, or with one digit below one percent.

    >>> whole_percent(0.1234), whole_percent(0.0042), whole_percent(12.0)
    ('12 %', '0.4 %', '1,200 %')
    """
    return f"{100 * value:,.0f} %" if abs(value) >= 0.01 or value == 0 else f"{100 * value:.1g} %"


def standard_error(error: float) -> str:
    """The standard error of a share, in percent."""
    return f"{100 * error:.{1 if error >= 1e-3 else 2}f} %"


def p_value(p: float) -> str:
    """A p-value, such as "p = 0.03"."""
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def plural(count: int, one: str, several: str | None = None) -> str:
    """A count with its noun in the singular or the plural.

    >>> plural(1, "row"), plural(2, "row"), plural(2000, "class", "classes")
    ('1 row', '2 rows', '2,000 classes')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def enumerated(words: Sequence[str]) -> str:
    """The words as a list in a sentence.

    >>> enumerated(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
