"""Logarithms of probabilities that may be exactly 0 or 1, whose gradients are numbers there too."""

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
    """log(p), -inf at p = 0, where the gradient is 0 instead of infinite.

    >>> log_probability(torch.tensor([0.0, 1.0]))
    tensor([-inf, 0.])
    """
    impossible = p == 0
    return torch.where(impossible, -torch.inf, torch.where(impossible, 1.0, p).log())


def log_complement(p: Tensor) -> Tensor:
    """log(1 - p), -inf at p = 1, where the gradient is 0 instead of infinite."""
    certain = p == 1
    return torch.where(certain, -torch.inf, torch.log1p(-torch.where(certain, 0.0, p)))


def log_odds(p: Tensor) -> Tensor:
    """log(p / (1 - p)), infinite at 0 and 1, where the gradient is 0 instead of infinite."""
    extreme = (p == 0) | (p == 1)
    infinite = torch.where(p == 0, -torch.inf, torch.inf).to(p.dtype)
    return torch.where(extreme, infinite, torch.logit(torch.where(extreme, 0.5, p)))


def expected(p: Tensor, values: Tensor) -> Tensor:
    """The sum of p * values over the last dimension, in which outcomes of probability 0 do not count, whatever their value.

    >>> expected(torch.tensor([0.0, 1.0]), torch.tensor([-torch.inf, 2.0]))
    tensor(2.)
    """
    return (p * torch.where(p == 0, 0.0, values)).sum(-1)


def entropy_term(p: Tensor, log_p: Tensor) -> Tensor:
    """p log(p), 0 at p = 0. Its gradient by p, -inf there, is the logarithm of the smallest normal number."""
    return p * log_p.clamp(min=math.log(torch.finfo(log_p.dtype).tiny))


def divergence(p: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """The sum of p log(p / q) over the last dimension; inf where q is 0 and p is not."""
    smallest = math.log(torch.finfo(log_p.dtype).tiny)
    neither = (p == 0) & (log_q == -torch.inf)
    log_q = torch.where(p == 0, log_q.clamp(min=smallest), log_q)
    return (p * torch.where(neither, 0.0, log_p.clamp(min=smallest) - log_q)).sum(-1)


def log_sum_exp(terms: Tensor) -> Tensor:
    """log of the sum of exp(terms) over the last dimension; where all are -inf the gradient is 0, not nan."""
    top = terms.detach().amax(-1)
    finite = top.isfinite()
    shift = torch.where(finite, top, 0.0)
    total = torch.exp(torch.where(finite.unsqueeze(-1), terms - shift.unsqueeze(-1), 0.0)).sum(-1)
    return torch.where(finite, total.log() + shift, top)
