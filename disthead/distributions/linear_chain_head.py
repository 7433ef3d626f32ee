"""`LinearChainHead`: a layer whose output is a `LinearChain`, with learned transitions."""

from typing import Any

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer
from disthead.distributions.linear_chain import LinearChain

__all__ = ["LinearChainHead"]


class LinearChainHead(nn.Module):
    """A head of features (..., T, in_features) whose output is a `LinearChain`.

    A linear layer makes the emissions. The scores of transitions, of the first label and of the
    last one are weights of the head, which start at 0: the labels are independent then.

    Args:
        in_features: the number of features of each position.
        num_labels: K.

    >>> head = LinearChainHead(in_features=8, num_labels=3)
    >>> head(torch.zeros(2, 5, 8), lengths=[5, 3]).mode.shape
    torch.Size([2, 5])
    """

    def __init__(self, in_features: int, num_labels: int):
        super().__init__()
        num_labels = as_integer(num_labels, "num_labels")
        self.linear = nn.Linear(as_integer(in_features, "in_features"), num_labels)
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))

    def forward(self, features: Tensor, lengths: Any = None) -> LinearChain:
        """The distribution of the labels.

        Args:
            features: shape (..., T, in_features).
            lengths: the number of positions of each row, shape (...,); None for T.
        """
        return LinearChain(
            self.linear(features), self.transitions, self.start, self.end, lengths=lengths
        )
