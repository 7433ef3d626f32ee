"""`PiecewiseLinearEncoding`: a number as the part of each of its column's bins that lies below it."""

from typing import Self

import torch
from torch import Tensor, nn

from disthead.weights import weighted_quantiles

__all__ = ["PiecewiseLinearEncoding"]


class PiecewiseLinearEncoding(nn.Module):
    """Numbers as coordinates along quantile bins, so that a network can bend anywhere in a column, not only about its mean.

    Bin t of a column runs from edge b_(t-1) to b_t; a number x becomes one coordinate for each bin,
    clip((x - b_(t-1)) / (b_t - b_(t-1)), 0, 1): ones for the bins below it, zeros for those above,
    and its place within its own (Gorishniy, Rubachev and Babenko 2022, "On Embeddings for Numerical
    Features in Tabular Deep Learning"; there the outermost bins go on beyond their edges, here
    nothing does: keep the number itself beside its encoding for that).

    The edges are quantiles of the training rows, found by `fit`, or all values of a column that has
    few. They are buffers: checkpoints keep them. Coordinates of bins that a column lacks (constant
    columns lack all of them) are zero.

    Args:
        in_features: number of columns.
        bins: bins of each column, at most.

    Shapes: (..., in_features) -> (..., in_features * bins).

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
        """Find the bins in training rows (N, in_features).

        Args:
            weight: one per row, above zero: the edges are weighted quantiles.

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
            start = edges[:-1][width > 0]  # edges may meet once they are rounded
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
        place = (
            torch.linspace(0, len(values) - 1, self.bins + 1, dtype=torch.float64).round().long()
        )
        return values.sort().values[place.to(values.device)].unique()

    def forward(self, features: Tensor) -> Tensor:
        return ((features.unsqueeze(-1) - self.lower) * self.rate).clamp(0, 1).flatten(-2)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, bins={self.bins}"
