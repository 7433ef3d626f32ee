"""`RowMean` and `Score`: means over rows with their standard errors."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.metrics.checks import Rows, weight_of_rows
from disthead.metrics.state import OfRows, keep_apart, over_processes

__all__ = ["RowMean", "Score"]


class RowMean(Metric):
    """The weighted mean of values over rows, with its standard error.

    The mean is sum w v / sum w, for batches of any size, empty ones among them, and over any number
    of processes. Sums are in double precision. Before any row, `compute()` is NaN.

    Args:
        shape: the shape of one row's value: () gives a number, (D,) a mean for each of D columns.

    >>> mean = RowMean()
    >>> mean.update(torch.tensor([1.0, 2.0, 6.0]))
    >>> mean.compute(), mean.standard_error()
    (tensor(3.), tensor(1.5275))
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, shape: tuple[int, ...] = (), **options: Any):
        super().__init__(**options)
        self.shape = tuple(shape)
        # rows, w, w v, w^2, w^2 v, w^2 v^2
        self.add_state(
            "sums", torch.zeros(6, *self.shape, dtype=torch.float64), dist_reduce_fx="sum"
        )
        keep_apart(self)

    def update(self, values: Any, weight: Any = None) -> None:
        """Adds rows of values.

        Args:
            values: of shape (N, *shape).
            weight: of shape (N,), 1 by default; rows of weight 0 are left out.

        Raises:
            ValueError: for weights of another shape, or that are negative, NaN or infinite.
        """
        values = as_tensor(values, "values")
        self._add(
            values,
            weight_of_rows(
                weight, tuple(values.shape[: values.ndim - len(self.shape)]), values.device
            ),
        )

    def _add(self, values: Tensor, weight: Tensor | None) -> None:
        values = values.detach().to(self.sums.dtype).reshape(-1, *self.shape)
        if weight is None:
            rows, total = torch.full_like(self.sums[0], len(values)), values.sum(0)
            parts = [rows, rows, total, rows, total, values.square().sum(0)]
        else:
            w = weight.detach().to(values).reshape(-1, *(1,) * len(self.shape)).expand_as(values)
            # rows of weight 0 are left out, whatever their value
            some, v = w > 0, torch.where(w > 0, values, 0.0)
            parts = [
                part.sum(0) for part in (some.to(w), w, w * v, w * w, w * w * v, (w * v).square())
            ]
        self.sums = self.sums + torch.stack(parts)

    def compute(self) -> Tensor:
        """The mean, of the metric's shape."""
        return self._mean().float()

    @over_processes
    def standard_error(self) -> Tensor:
        """The standard error of the mean, of the metric's shape; NaN for fewer than two rows."""
        return self._standard_error().float()

    def _mean(self) -> Tensor:
        return self.sums[2] / self.sums[1]

    def _standard_error(self) -> Tensor:
        rows, total, _, w2, w2v, w2v2 = self.sums
        mean = self._mean()
        squares = (w2v2 - 2 * mean * w2v + mean.square() * w2).clamp(min=0)
        return (squares * rows / (rows - 1)).sqrt() / total

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws the mean with a bar of two standard errors to each side; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(3, 3)).add_subplot() if ax is None else ax
        means = torch.as_tensor(self.compute() if val is None else val).reshape(-1).cpu()
        errors = (
            2 * self.standard_error().reshape(-1).cpu() if val is None else torch.zeros_like(means)
        )
        places = list(range(len(means)))
        ax.errorbar(
            places,
            means.tolist(),
            errors.nan_to_num(0.0).tolist(),
            fmt="o",
            color="#0072B2",
            capsize=4,
        )
        ax.set_xticks(places if len(places) > 1 else [])
        ax.set_ylabel(type(self).__name__)
        return ax.figure, ax


class Score(OfRows, RowMean):  # type: ignore[misc]  # update takes forecasts in place of values
    """The mean of a score over rows; subclasses define the score of a row.

    Args:
        num_outputs: None gives one number, the mean over outputs if there are several; D gives one
            for each of D outputs.
        each: the shape of the score of one output, () for a number.
        ignore_index: of classes, the target of rows that do not count, such as -100.
    """

    def __init__(
        self,
        num_outputs: int | None = None,
        *,
        each: tuple[int, ...] = (),
        ignore_index: int | None = None,
        **options: Any,
    ):
        super().__init__((() if num_outputs is None else (num_outputs,)) + each, **options)
        self.num_outputs, self.each, self.ignore_index = num_outputs, each, ignore_index

    def score(self, dist: Distribution, y: Tensor) -> Tensor:
        """The score of each row, shape (N,), or (N, *event_shape) for one of each output."""
        raise NotImplementedError(f"{type(self).__name__} must define score.")

    def _add_rows(self, rows: Rows) -> None:
        self._add(self.scores(rows.dist, rows.y), rows.weight)

    def scores(self, dist: Distribution, y: Tensor) -> Tensor:
        """The scores of rows whose targets have been checked, shape (N, *shape).

        Raises:
            ValueError: for another number of outputs than `num_outputs`.
        """
        rows = dist.batch_shape.numel()
        if not rows:
            return torch.zeros(0, *self.shape, dtype=self.sums.dtype, device=self.sums.device)
        values = self.score(dist, y).reshape(rows, -1, *self.each)
        if self.num_outputs is None:
            return values.mean(1)
        if values.shape[1] != self.num_outputs:
            raise ValueError(
                f"{type(self).__name__} was made for num_outputs={self.num_outputs}, "
                f"the distribution has {values.shape[1]}."
            )
        return values
