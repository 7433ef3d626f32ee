"""Logarithms of probabilities that may be exactly 0 or 1, with finite gradients there.

All functions keep the dtype of their arguments and raise nothing of their own.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "divergence",
    "entropy_term",
    "expected",
    "log_complement",
    "log_odds",
    "log_probability",
    "log_sum_exp",
]


def log_probability(p: Tensor) -> Tensor:
    """log(p), elementwise: -inf at p = 0, where the gradient is 0 instead of infinite.

    >>> log_probability(torch.tensor([0.0, 1.0]))
    tensor([-inf, 0.])
    """
    impossible = p == 0
    return torch.where(impossible, -torch.inf, torch.where(impossible, 1.0, p).log())


def log_complement(p: Tensor) -> Tensor:
    """log(1 - p), elementwise: -inf at p = 1, where the gradient is 0 instead of infinite."""
    certain = p == 1
    return torch.where(certain, -torch.inf, torch.log1p(-torch.where(certain, 0.0, p)))


def log_odds(p: Tensor) -> Tensor:
    """log(p / (1 - p)), elementwise: infinite at 0 and 1, where the gradient is 0."""
    extreme = (p == 0) | (p == 1)
    infinite = torch.where(p == 0, -torch.inf, torch.inf).to(p.dtype)
    return torch.where(extreme, infinite, torch.logit(torch.where(extreme, 0.5, p)))


def expected(p: Tensor, values: Tensor) -> Tensor:
    """The expectation of `values` under the probabilities p, a sum over the last dimension.

    Both have shape (..., k) and broadcast; the result has shape (...). Outcomes of probability 0 do
    not count, even where their value is infinite or nan.

    >>> expected(torch.tensor([0.0, 1.0]), torch.tensor([-torch.inf, 2.0]))
    tensor(2.)
    """
    return (p * torch.where((p == 0) & ~values.isfinite(), 0.0, values)).sum(-1)


def entropy_term(p: Tensor, log_p: Tensor) -> Tensor:
    """The entropy's term p log(p), elementwise, for p and log_p = log(p); 0 at p = 0.

    The gradient in p is finite at p = 0: the logarithm of the smallest normal number of the dtype
    stands for -inf.
    """
    return p * log_p.clamp(min=math.log(torch.finfo(log_p.dtype).tiny))


def divergence(p: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """The Kullback-Leibler divergence sum p log(p / q) over the last dimension.

    p, log_p = log(p) and log_q = log(q) have shape (..., k) and broadcast; the result has shape
    (...). It is infinite where q is 0 and p is not. Source: Kullback and Leibler (1951).
    """
    smallest = math.log(torch.finfo(log_p.dtype).tiny)
    neither = (p == 0) & (log_q == -torch.inf)
    log_q = torch.where(p == 0, log_q.clamp(min=smallest), log_q)
    return (p * torch.where(neither, 0.0, log_p.clamp(min=smallest) - log_q)).sum(-1)


def log_sum_exp(terms: Tensor) -> Tensor:
    """log(sum(exp(terms))) over the last dimension, from shape (..., k) to shape (...).

    Where all terms are -inf, the result is -inf and the gradient 0 instead of nan.
    """
    top = terms.detach().amax(-1)
    finite = top.isfinite()
    shift = torch.where(finite, top, 0.0)
    total = torch.exp(torch.where(finite.unsqueeze(-1), terms - shift.unsqueeze(-1), 0.0)).sum(-1)
    return torch.where(finite, total.log() + shift, top)
