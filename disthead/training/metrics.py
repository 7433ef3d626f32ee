"""Averages over rows for Lightning's log."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["RowMean"]


class RowMean(Metric):
    """The weighted mean over rows, right for batches of any size, none among them, and over processes."""

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, values: Tensor, weight: Tensor | None = None) -> None:
        values = values.detach().to(self.total.dtype)
        weight = torch.ones_like(values) if weight is None else weight.to(self.total.dtype)
        self.total += (values * weight).sum()
        self.weight += weight.sum()

    def compute(self) -> Tensor:
        return (self.total / self.weight).float()
