"""Learning `Columns` from training rows that are read at once or in chunks."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch

from disthead.data.columns import (
    Columns,
    check_spread,
    exact_numbers,
    number_targets,
    others_filled,
    values_of,
)
from disthead.data.encoder import (
    FEW_ROWS,
    Finder,
    Found,
    Levels,
    check_complete,
    counts_rows,
    index_warning,
    is_index_name,
    listed,
    text_warning,
)
from disthead.data.values import DataError, Values, label
from disthead.errors import nearest, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Roles", "Search", "find_columns"]


class Roles(NamedTuple):
    """The roles of the columns of a table.

    Attributes:
        features: names of the features.
        target: names of the targets.
        categorical: names of columns of numbers that are categories; of targets, classes.
        known: quantity per row -> name of its column.
        weight: name of the column of weights, or None.
        unit: of the target, "degrees" or None.
        is_given: whether the user named the features.
        event: name of the column that says which targets are observed, or None.
        has_ends: whether the two targets are the ends of one number.
        order: the classes of the target from the lowest to the highest; None where they are in the
            order that they have by themselves.
    """

    features: list[str]
    target: list[str]
    categorical: frozenset[str]
    known: dict[str, str]
    weight: str | None
    unit: str | None
    is_given: bool
    event: str | None = None
    has_ends: bool = False
    order: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        target: Sequence[str],
        features: Sequence[str] | None = None,
        categorical: Sequence[str] = (),
        known: Mapping[str, str] | None = None,
        weight: str | None = None,
        unit: str | None = None,
        ignore: Sequence[str] = (),
        event: str | None = None,
        is_censored: bool = False,
        order: Sequence[Any] | None = None,
    ) -> Self:
        """The roles of the columns of a table.

        Args:
            names: all columns of the table.
            target: names of the targets.
            features: names of the features; all columns without another role unless given.
            categorical: columns of numbers that are categories.
            known: quantity per row -> name of its column.
            weight: column of the weights of the rows.
            unit: of the target.
            ignore: further columns that are not features.
            event: column that says which targets are observed.
            is_censored: whether the family takes pairs, so that two targets are the ends of one
                number.
            order: the classes of the target from the lowest to the highest.

        Raises:
            DataError: for columns that the table does not have, where no feature is left, and for
                several targets beside an event or an order.
        """
        known = dict(known or {})
        if event and len(target) != 1:
            raise DataError(
                f"the event {event!r} says whether one target is observed, got the targets "
                f"{', '.join(map(repr, target))}. Name one, or give both its ends without an event."
            )
        if order is not None and len(target) != 1:
            raise DataError(
                f"order names the classes of one target, got the targets "
                f"{', '.join(map(repr, target))}. Name one target."
            )
        others = [name for name in (weight, event) if name]
        taken = [*target, *known.values(), *others, *ignore]
        for name in [*taken, *(features or ()), *categorical]:
            if name not in names and name == "target" and list(target) == ["target"]:
                raise DataError(
                    "no column is called 'target', the one to be predicted where --data.target "
                    f"(`target` in Python) was not given. Columns: {', '.join(names)}."
                )
            if name not in names:
                raise DataError(str(unknown_name("column", name, list(names))))
        chosen = list(features) if features else [name for name in names if name not in taken]
        overlap = [name for name in chosen if name in target]
        if overlap:
            raise DataError(f"{', '.join(map(repr, overlap))} cannot be both feature and target.")
        if not chosen:
            raise DataError(f"no feature columns are left beside {', '.join(map(repr, taken))}.")
        return cls(
            chosen,
            list(target),
            frozenset(categorical),
            known,
            weight,
            unit,
            bool(features),
            event,
            is_censored and len(target) == 2,
            None if order is None else tuple(map(label, order)),
        )


class Search:
    """Learns the columns from training rows, and from the targets of all rows.

    Args:
        roles: of the columns.
    """

    def __init__(self, roles: Roles):
        self.roles = roles
        self.finders = {name: Finder(name, name in roles.categorical) for name in roles.features}
        self._targets: dict[str, Levels | None] = {}
        self._are_texts: set[str] = set()
        self._counts: dict[str, int | None] = {}
        # features that vary outside of the training rows: a constant there is no mistake
        self.varying: set[str] = set()

    @property
    def named_targets(self) -> list[str]:
        """The targets that are texts, categories or truth values in the rows so far."""
        return [name for name, levels in self._targets.items() if levels is not None]

    def named_levels(self, name: str) -> int:
        """The number of different texts of a target so far."""
        return len((self._targets[name] or Levels(name)).counts)

    def add_feature(
        self, name: str, values: Values, sample: Any = slice(None), where: str = ""
    ) -> None:
        """Add training rows of a feature.

        Args:
            name: of the feature.
            values: of the rows.
            sample: which of these rows count for the median.
            where: where they are, for messages.
        """
        self.finders[name].add(values, sample, where)

    def add_places(self, name: str, values: Values, start: int = 0) -> None:
        """Note whether a feature counts the rows of the table.

        Args:
            name: of the feature.
            values: of consecutive rows.
            start: the number of the first of them in the table.
        """
        if self.roles.is_given or name in self.roles.categorical:
            return
        count = counts_rows(values, start)
        self._counts[name] = count if self._counts.get(name, count) == count else None

    def add_target(self, name: str, values: Values, where: str = "") -> None:
        """Add targets of rows with a weight above zero; messages name the place `where`."""
        if name not in self._targets:
            is_class = (
                values.is_named
                or values.kind == "truth"
                or name in self.roles.categorical
                or self.roles.order is not None
            )
            self._targets[name] = Levels(name) if is_class else None
            if values.kind == "text":
                self._are_texts.add(name)
        levels = self._targets[name]
        if levels is not None:
            check_complete(values)
            numbers = values.numbers if values.kind == "number" else None
            if numbers is not None and (numbers % 1 != 0).any():
                raise DataError(
                    f"column {name!r} must hold classes, as texts or whole numbers, got numbers "
                    f"with decimals{f' in {where}' * bool(where)}. Families of numbers take them."
                )
            if self.roles.order is not None:
                _check_in_order(values.as_category(), self.roles.order, where)
            levels.add(values.as_category(), where)

    def columns(self, rows: int) -> Columns:
        """The columns, after all rows were added; warnings say how unusual ones are encoded.

        Args:
            rows: the number of training rows with a weight above zero.

        Raises:
            DataError: for empty columns, and texts that name the rows.
        """
        if self.roles.weight is not None and not rows:
            raise DataError(
                f"weights must be above zero in some row, column {self.roles.weight!r} has zero "
                "in all rows of training: "
                "no row is there."
            )
        left_out = self._left_out(rows)
        finders = [finder for name, finder in self.finders.items() if name not in left_out]
        if not finders:
            raise DataError(f"there is nothing to learn from: {index_warning(left_out)}")
        empty = [finder.name for finder in finders if finder.is_empty]
        if empty:
            are = f"column {empty[0]!r} is" if len(empty) == 1 else f"columns {listed(empty)} are"
            raise DataError(
                f"{are} empty: all {rows} values of the training rows are missing. Leave them out."
            )
        learned = {finder.name: finder.found() for finder in finders}
        classes = {name: self._names(name) for name in self.named_targets if self._is_class(name)}
        self._warn(list(learned.values()), left_out)
        roles, features = self.roles, {name: entry.column for name, entry in learned.items()}
        return Columns(
            features,
            roles.target,
            classes,
            roles.known,
            roles.weight,
            roles.unit,
            roles.event,
            roles.has_ends,
            roles.order is not None,
        )

    def _is_class(self, name: str) -> bool:
        levels = self._targets[name]
        assert levels is not None
        if self.roles.order is not None:
            return True
        kind = levels.judge(is_target=True) if name in self._are_texts else "category"
        if kind in ("date", "duration"):
            number_targets(Values(name, kind, levels.numbers(kind)))  # refuses them
        return kind == "category"

    def _names(self, name: str) -> list[str]:
        levels = self._targets[name]
        assert levels is not None
        if len(levels.counts) == 1:
            only = next(iter(levels.counts))
            raise DataError(
                f"column {name!r} is constant, {only!r} in all rows: there is nothing to learn."
            )
        order = self.roles.order
        if order is None:
            return levels.names()
        absent = sorted(set(order) - set(map(label, levels.counts)), key=order.index)
        if absent:
            raise DataError(
                f"column {name!r} must have rows of each class of order, got none of "
                f"{listed(absent)}: nothing says how probable they are. Leave them out of order, "
                "or join each with the class next to it."
            )
        return list(order)

    def _left_out(self, rows: int) -> list[str]:
        """Columns that number the rows; where no other is left, only those named as an index."""
        if self.roles.is_given:
            return []
        by_name = [n for n in self.finders if is_index_name(n) and n not in self.roles.categorical]
        names = by_name + [
            n
            for n, count in self._counts.items()
            if count is not None and n not in by_name and rows >= FEW_ROWS
        ]
        return names if len(names) < len(self.finders) else by_name

    def _warn(self, learned: Sequence[Found], left_out: Sequence[str]) -> None:
        missing = [column.name for column, _, _ in learned if column.has_missing]
        if missing:
            _say(
                f"values are missing in {listed(missing, 20)}: missing numbers are read as the "
                "median of the training rows, missing texts are a category of their own, and an "
                "indicator says where."
            )
        constant = [
            f"{column.name!r} ({only})"
            for column, only, _ in learned
            if only is not None and column.name not in self.varying
        ]
        if constant:
            _say(
                f"all rows have one value, which tells nothing, in {', '.join(constant)}. Leave "
                "such columns out."
            )
        texts = [column.name for column, _, was_text in learned if was_text]
        if texts:
            _say(text_warning(texts))
        if left_out:
            _say(
                f"{index_warning(left_out)} Name all features in `features` to learn from it all "
                "the same."
            )


def _check_in_order(values: Values, order: Sequence[str], where: str) -> None:
    """Refuse classes that the order does not name, with their rows."""
    unknown = [label(level) not in order for level in values.levels]
    if not any(unknown):
        return
    bad = np.array([*unknown, False])[values.codes]  # -1 where missing
    if not bad.any():
        return
    first = label(values.levels[int(values.codes[np.argmax(bad)])])  # type: ignore[index]
    raise DataError(
        f"column {values.name!r} must hold classes of order, {listed(list(order), 20)}, got others "
        f"in {values.first(bad)}{f' in {where}' * bool(where)}{nearest(first, order)} Name all "
        "classes in their order, from the lowest to the highest."
    )


def _say(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=2)


def find_columns(frame: "DataFrame", train: np.ndarray, **roles: Any) -> Columns:
    """The columns of a table in memory, learned from its training rows.

    Args:
        frame: all rows.
        train: the numbers of the training rows, which give categories, medians and first dates.
        roles: as for `Roles.of`.

    Raises:
        DataError: for columns that cannot be used.
    """
    search = Search(Roles.of(list(frame.columns), **roles))
    present = np.ones(len(frame), dtype=bool)
    if search.roles.weight is not None:
        present = exact_numbers(frame, search.roles.weight) > 0
    train = train[present[train]]
    for name in search.finders:
        values = values_of(frame, name)
        search.add_places(name, values)
        search.add_feature(name, values[train])
        if values.varies:
            search.varying.add(name)
    targets = {name: others_filled(values_of(frame, name), present) for name in search.roles.target}
    for name, values in targets.items():
        search.add_target(name, values)
    columns = search.columns(len(train))
    for name, values in targets.items():
        if name not in columns.classes and not columns.has_ends:
            _check_varies(values[train])
    return columns


def _check_varies(values: Values) -> None:
    numbers = torch.from_numpy(number_targets(values))
    if len(numbers) > 1 and bool((numbers == numbers[0]).all()):
        raise DataError(
            f"column {values.name!r} is constant, {numbers[0]:g} in all training rows: there is "
            "nothing to learn."
        )
    check_spread(
        numbers.std(0, correction=0).reshape(1), numbers.abs().max().reshape(1), [values.name]
    )
