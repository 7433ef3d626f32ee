"""The inputs of an evaluation: targets, weights, groups and features, checked and aligned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.diagnostics.rows import flatten
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import each_output
from disthead.targets import check_target, observed_numbers
from disthead.weights import as_weight, present

__all__ = ["Aligned", "Batch", "aligned", "feature_columns", "row_labels", "times"]


_ONE_BY_ONE = "Evaluate each censored output by itself: dist.marginals[:, k] and y[:, k]."


class Batch(NamedTuple):
    """Some rows of a stream: a distribution and its targets, with arguments as of `evaluate`."""

    dist: Distribution
    y: Any
    features: Any = None
    group: Any = None
    baseline: Distribution | None = None
    weight: Any = None
    groups: Any = None


class Aligned(NamedTuple):
    """The rows of a batch that count, as one dimension.

    Attributes:
        dist: the forecasts, batch_shape (N,).
        y: targets, shape (N, *event_shape), or pairs (N, 2) of a censored one.
        weight: shape (N,), or None without weights.
        baseline: other forecasts, batch_shape (N,), or None.
        is_there: a mask of the rows that count, among all rows of the batch.
    """

    dist: Distribution
    y: Tensor
    weight: Tensor | None
    baseline: Distribution | None
    is_there: Tensor


def aligned(batch: Batch, classes: Sequence[Any], ignore_index: int | None) -> Aligned:
    """The rows of a batch as one dimension, checked.

    Rows of weight 0, and those of the class `ignore_index`, are left out.

    Raises:
        ValueError: for shapes that do not fit.
        TargetError: for targets that the distribution cannot have produced.
    """
    dist = batch.dist
    if ignore_index is not None and dist.kind not in CLASSES:
        raise ValueError(
            f"ignore_index leaves out rows of one class each, and the distribution is {dist!r}."
        )
    weight = as_weight(batch.weight, dist.batch_shape, may_be_empty=True)
    dist = _with_labels(dist, batch.y, classes)
    y = check_target(dist, batch.y, weight=weight, ignore_index=ignore_index)
    if dist.event_shape:
        y = observed_numbers(dist, y, "the report of several outputs", _ONE_BY_ONE)
    baseline = batch.baseline
    if baseline is not None:
        if baseline.event_shape != dist.event_shape:
            raise ValueError(
                f"baseline must have the event shape {tuple(dist.event_shape)} of the "
                f"distribution, got {tuple(baseline.event_shape)}."
            )
        if baseline.batch_shape != dist.batch_shape:
            baseline = baseline.expand(dist.batch_shape)
    if not dist.batch_shape:
        dist, y = dist.expand((1,)), y.unsqueeze(0)
        baseline = None if baseline is None else baseline.expand((1,))
        weight = None if weight is None else weight.reshape(1)
    dims = len(dist.batch_shape)
    dist, y = flatten(dist), y.reshape(-1, *y.shape[dims:])
    baseline = None if baseline is None else flatten(baseline)
    weight = None if weight is None else weight.reshape(-1)
    if ignore_index is not None:
        kept = (y != ignore_index).to(torch.get_default_dtype())
        weight = kept if weight is None else weight * kept
    is_there = torch.ones(len(y), dtype=torch.bool) if weight is None else (weight > 0).cpu()
    weight, dist, y, baseline = present(weight, dist, y, baseline)
    return Aligned(dist, y, weight, baseline, is_there)


def _with_labels(dist: Distribution, y: Any, classes: Sequence[Any]) -> Distribution:
    """The distribution with the labels of its classes, where they have any.

    Texts must be among the names.
    """
    if (
        each_output(dist).kind not in CLASSES
        or isinstance(y, Tensor)
        or dist.class_labels is not None
    ):
        return dist
    names = [name.item() if hasattr(name, "item") else name for name in classes]
    values = np.asarray(y, dtype=object).reshape(-1)
    texts = [value for value in values if isinstance(value, str)]
    if texts and not names:
        raise TypeError(
            f"y must hold class indices, got texts such as {texts[0]!r}. Name the classes in their "
            "order as the classifier knows them: evaluate(..., classes=classifier.classes_)."
        )
    return dist.with_class_labels(names or None)


def row_labels(values: Any, rows: int, name: str) -> list:
    """A label for each row, from a column, a list or a tensor; "missing" for missing ones.

    Raises:
        ValueError: for another number of labels than rows.
    """
    if isinstance(values, Tensor):
        labels = values.reshape(-1).tolist()
    else:
        labels = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(labels) != rows:
        raise ValueError(f"{name} must have one label per row, {rows}, got {len(labels)}.")
    for row, label in enumerate(labels):
        if isinstance(label, list):
            raise ValueError(f"{name} must have one label per row, got {label!r} at row {row}.")
        if label is None or label != label or str(label) in ("<NA>", "NaT"):
            labels[row] = "missing"
    return labels


def feature_columns(features: Any, rows: int) -> dict[str, Tensor | list]:
    """Columns by name, from a data frame, a mapping or a matrix.

    Numbers are tensors (rows,) in double precision, texts are lists.

    Raises:
        ValueError: for columns with another number of values than rows.
    """
    if isinstance(features, Mapping) or hasattr(features, "columns"):
        columns = {str(name): features[name] for name in features}
    else:
        name = getattr(features, "name", None)
        table = as_tensor(features, "features")
        if table.ndim and len(table) != rows and table.numel() != rows:
            raise ValueError(f"features must have one value per row, {rows}, got {len(table)}.")
        table = table.reshape(rows, -1)
        several = table.shape[1] > 1 or name is None
        columns = {
            f"feature {k}" if several else str(name): table[:, k] for k in range(table.shape[1])
        }
    by_name: dict[str, Tensor | list] = {}
    for name, column in columns.items():
        numbers = _numbers(column, name)
        values = (
            row_labels(column, len(column), f"the feature {name!r}") if numbers is None else numbers
        )
        if len(values) != rows:
            raise ValueError(
                f"features must have one value per row, {rows}, got {len(values)} for {name!r}."
            )
        by_name[name] = values
    return by_name


def times(features: Any) -> dict[str, np.dtype]:
    """The dtypes of the columns of a data frame or a mapping that are dates or durations."""
    if not (isinstance(features, Mapping) or hasattr(features, "columns")):
        return {}
    return {
        str(name): _nanoseconds(features[name]) for name in features if _is_time(features[name])
    }


def _nanoseconds(column: Any) -> np.dtype:
    return np.dtype(f"{column.dtype.kind}8[ns]")


def _is_time(column: Any) -> bool:
    return getattr(getattr(column, "dtype", None), "kind", "") in ("M", "m")


def _numbers(column: Any, name: str) -> Tensor | None:
    if _is_time(column):
        numbers = torch.from_numpy(np.asarray(column, dtype=_nanoseconds(column)).astype("int64"))
        return torch.where(numbers == torch.iinfo(torch.int64).min, math.nan, numbers.double())
    try:
        return as_tensor(column, name).reshape(-1).double().cpu()
    except TypeError:
        return None
