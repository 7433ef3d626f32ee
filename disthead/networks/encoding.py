"""`PiecewiseLinearEncoding`: numbers as coordinates in the bins of their columns."""

from typing import Self

import torch
from torch import Tensor, nn

from disthead.weights import weighted_quantiles

__all__ = ["PiecewiseLinearEncoding"]


class PiecewiseLinearEncoding(nn.Module):
    """The piecewise-linear encoding of numbers, by which a network fits functions of any shape.

    Bin t of a column runs from edge b_(t-1) to b_t. A number x becomes one coordinate for each bin,
    clip((x - b_(t-1)) / (b_t - b_(t-1)), 0, 1): ones for the bins below it, zeros for those above,
    and the position within its own bin (Gorishniy, Rubachev and Babenko 2022, "On Embeddings for
    Numerical Features in Tabular Deep Learning"). In the paper the outermost bins extend beyond
    their edges. Here they do not: the number itself goes into the network beside its encoding.

    The edges are quantiles of the training rows, learned by `fit`, or all values of a column that
    has few. They are buffers, which checkpoints keep. Coordinates of bins that a column lacks are
    zero; constant columns lack all of them.

    Args:
        in_features: the number of columns.
        bins: the largest number of bins of a column.

    Shapes: (..., in_features) -> (..., in_features * bins).

    Raises:
        ValueError: for less than one bin.

    >>> encoding = PiecewiseLinearEncoding(1, bins=2).fit(torch.tensor([[0.0], [1.0], [3.0]]))
    >>> encoding(torch.tensor([[-1.0], [0.5], [2.0], [9.0]]))
    tensor([[0.0000, 0.0000],
            [0.5000, 0.0000],
            [1.0000, 0.5000],
            [1.0000, 1.0000]])
    """

    lower: Tensor
    rate: Tensor

    def __init__(self, in_features: int, bins: int = 16):
        super().__init__()
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}.")
        self.in_features, self.bins = in_features, bins
        self.out_features = in_features * bins
        self.register_buffer("lower", torch.zeros(in_features, bins))
        self.register_buffer("rate", torch.zeros(in_features, bins))

    @torch.no_grad()
    def fit(self, features: Tensor, weight: Tensor | None = None) -> Self:
        """Learn the bins from training rows.

        Args:
            features: (N, in_features), finite.
            weight: (N,), positive, for weighted quantiles; None where all rows count the same.

        Raises:
            ValueError: for another shape, no rows, or NaN and infinity, with the columns.
        """
        if features.ndim != 2 or features.shape[1] != self.in_features or not len(features):
            raise ValueError(
                f"features must have the shape (rows, {self.in_features}), got "
                f"{tuple(features.shape)}."
            )
        bad = (~features.isfinite()).any(0).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"features must be finite, got NaN or infinity in the columns {bad[:5]}. Impute "
                "them first."
            )
        self.lower.zero_()
        self.rate.zero_()
        for column, values in enumerate(features.double().unbind(1)):
            edges = self._edges(values, weight).to(self.lower)
            width = edges.diff()
            start = edges[:-1][width > 0]  # rounding may have made edges equal
            self.lower[column, : len(start)] = start
            self.rate[column, : len(start)] = 1 / width[width > 0]
        return self

    def _edges(self, values: Tensor, weight: Tensor | None) -> Tensor:
        distinct = values.unique()
        if len(distinct) <= self.bins + 1:
            return distinct
        if weight is not None:
            levels = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64, device=values.device)
            return weighted_quantiles(values, levels, weight).unique()
        ranks = torch.linspace(0, len(values) - 1, self.bins + 1, dtype=torch.float64).round()
        return values.sort().values[ranks.long().to(values.device)].unique()

    def forward(self, features: Tensor) -> Tensor:
        return ((features.unsqueeze(-1) - self.lower) * self.rate).clamp(0, 1).flatten(-2)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, bins={self.bins}"
