"""Targets with repeated values, at which a density can grow without bound."""

from dataclasses import dataclass

import torch
from torch import Tensor

from disthead.families.family import families

__all__ = ["TargetCheck", "TargetWarning", "check_continuous_target"]

_LEAST_ROWS = 30  # with fewer rows a repeated value is no evidence
# as many values as grades, ages and small counts take, and rows of each on average
_FEW_VALUES, _ROWS_PER_VALUE = 50, 20
_ATOM_SHARE = 0.01  # of the rows; fewer hardly change a mean log-likelihood
_ATOMS_BY_CHANCE = 1e-5  # expected number, allowing for preferred digits of rounded values
_NEIGHBOURS = 5  # on either side
_DUPLICATES = 4  # average number of occurrences of values that were not rounded


class TargetWarning(UserWarning):
    """The target has repeated values, so that the likelihood of a continuous family says little."""


@dataclass(frozen=True)
class TargetCheck:
    """The repeated values of a target.

    Attributes:
        rows: the number of targets.
        distinct: the number of distinct values.
        atoms: values that occur far more often than those around them, with their counts, the most
            frequent first.
        messages: problems and families that fit, as texts that follow "y has"; empty if a density
            is a proper model.
    """

    rows: int
    distinct: int
    atoms: tuple[tuple[float, int], ...]
    messages: tuple[str, ...]


def check_continuous_target(y: Tensor) -> TargetCheck:
    """Check whether a density is a proper model of the targets.

    A density with a narrow peak on a value that occurs often can have any likelihood, so that its
    scale and its negative log-likelihood say nothing. The check looks for

    - few values: at most 50 distinct ones, each in 20 rows on average (grades, counts);
    - atoms: values in at least 1 % of the rows that rounding does not explain. If such a value were
      as frequent as the five values on either side are on average, its count (a Poisson variable)
      would occur by chance in fewer than one in 100,000 such targets. An atom at the least or the
      greatest value may come from a limit of the measurement;
    - duplicates: distinct values that occur 4 times on average, though they have too many digits to
      have been rounded.

    Fewer than 30 rows are never reported.

    Args:
        y: finite targets, shape (N,).

    Raises:
        ValueError: for targets of another shape.

    >>> print(check_continuous_target(torch.arange(600) % 6).messages[0])
    only 6 different values (0, 1, 2, 3, 4, 5) in 600 rows: ...
    """
    if y.ndim != 1:
        raise ValueError(
            f"y must have the shape (rows,), got {tuple(y.shape)}. "
            "Check one target after the other."
        )
    values, counts = y.detach().cpu().double().unique(return_counts=True)
    rows, distinct = len(y), len(values)
    if rows < _LEAST_ROWS:
        return TargetCheck(rows, distinct, (), ())
    if distinct <= min(_FEW_VALUES, rows // _ROWS_PER_VALUE):
        return TargetCheck(rows, distinct, (), (_few(values, rows),))
    atoms = _atoms(values, counts, rows)
    messages = [_about_atom(value, count, rows, values) for value, count in atoms[:3]]
    if rows >= _DUPLICATES * distinct and not _is_rounded(values):
        messages.append(
            f"only {distinct} different values in {rows} rows, with too many digits to have been "
            f"rounded: each occurs {rows / distinct:.1f} times. Look for rows that were copied; "
            "a density may peak on each of them."
        )
    return TargetCheck(rows, distinct, atoms, tuple(messages))


def _atoms(values: Tensor, counts: Tensor, rows: int) -> tuple[tuple[float, int], ...]:
    count = counts.double()
    near = torch.zeros_like(count)
    number = torch.zeros_like(count)
    for lag in range(1, min(_NEIGHBOURS, len(count) - 1) + 1):
        near[lag:] += count[:-lag]
        near[:-lag] += count[lag:]
        number[lag:] += 1
        number[:-lag] += 1
    # P(Poisson >= count), for all values
    by_chance = torch.special.gammainc(count, near / number) * len(count)
    is_atom = (count >= _ATOM_SHARE * rows) & (by_chance < _ATOMS_BY_CHANCE)
    values, counts = values[is_atom], counts[is_atom]
    order = counts.argsort(descending=True, stable=True)
    return tuple(zip(values[order].tolist(), counts[order].tolist(), strict=True))


def _is_rounded(values: Tensor) -> bool:
    """Whether all values are multiples of a power of ten, with at most five digits."""
    for digits in range(7):
        scaled = values * 10**digits
        if scaled.abs().max() >= 2e5:
            return False
        if bool(((scaled - scaled.round()).abs() <= 1e-6 * scaled.abs().clamp(min=1)).all()):
            return True
    return False


def _few(values: Tensor, rows: int) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8].tolist()) + (
        ", ..." if len(values) > 8 else ""
    )
    are_counts = bool(((values >= 0) & (values == values.round())).all())
    honest = _known(
        "ordinal", "categorical", *(("poisson", "negative_binomial") if are_counts else ())
    )
    if len(values) == 1:
        return (
            f"only one value, {shown}, in all {rows} rows: there is nothing to learn, and a "
            "density puts a narrow peak on it, so its likelihood says nothing."
        )
    return (
        f"only {len(values)} different values ({shown}) in {rows} rows: a density can put a "
        f"narrow peak on each, so its likelihood says nothing. Honest families here: {honest}."
    )


def _about_atom(value: float, count: int, rows: int, values: Tensor) -> str:
    edge = {float(values[0]): "smallest", float(values[-1]): "largest"}.get(value)
    place = f", the {edge} value" if edge else ""
    honest = _known(
        *(("censored",) if edge else ()), *(("zero_inflated", "hurdle") if value == 0 else ())
    )
    remedy = (
        f"Honest families here: {honest}."
        if honest
        else "No continuous family has such a mass: leave these rows out of comparisons of "
        "likelihoods, and compare crps."
    )
    return (
        f"{value:g}{place}{',' * bool(edge)} in {count} of {rows} rows, far more often than the "
        "values around it: a density can put a narrow peak there, which likelihoods reward. "
        f"{remedy}"
    )


def _known(*names: str) -> str:
    return ", ".join(name for name in names if name in families())
