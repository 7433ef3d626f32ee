"""Objectives of a posterior: the likelihood by a power, and with a prior on the weights."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.distributions.base import HALF_LOG_TWO_PI, Distribution
from disthead.errors import unknown_name
from disthead.objectives.likelihood import nll

__all__ = ["map", "tempered"]

_NEAR_ZERO = 1e-6  # in scales of the horseshoe, whose density is infinite at 0
Prior = Literal["normal", "laplace", "horseshoe"]


@dataclass(frozen=True)
class tempered:
    """The negative log-likelihood of each row times a power: -power * log p(y), in nats.

    It is the likelihood p(y)^power, and the same as a weight of `power` for each row. Alone it has
    the optimum of the likelihood. Beside a prior on the weights (`map`, or weight decay) a power
    above 1 counts each row several times: a cold posterior, of temperature 1 / power, which often
    predicts better than the posterior at temperature 1. Source: Wenzel and others 2020.

    Args:
        power: above 0.

    Raises:
        ValueError: for another power.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> tempered(power=2.0)(dist, torch.tensor([0, 0]))
    tensor([2., 4.])
    """

    power: float = 1.0
    validated_by = staticmethod(nll)

    def __post_init__(self) -> None:
        as_number(
            self.power, "power", "a finite number above 0", lambda power: 0 < power < math.inf
        )

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        return self.power * nll(dist, y)


@dataclass(frozen=True)
class map:
    """The negative log-likelihood, to which training adds a prior on the weights of the network.

    The mean over rows of -log p(y), minus log prior(weights) / rows, has its optimum at the maximum
    a posteriori (MAP; MacKay 1992). The priors have mean 0 and are independent from weight to
    weight:

    - "normal": N(0, scale^2). Its gradient is that of weight decay (an L2 penalty) by
      1 / (rows scale^2).
    - "laplace": exp(-|w| / scale) / (2 scale), an L1 penalty by 1 / (rows scale).
    - "horseshoe" (Carvalho, Polson and Scott 2010), for few large weights among many small ones: a
      normal distribution whose scale is half-Cauchy. Its density has no elementary form; this is
      the lower bound of their theorem 1, log(1 + 4 / u^2) / ((2 pi)^(3/2) scale) with
      u = w / scale, which is at most 2 times too small and exact for large u. At 0, where the
      density is infinite, u^2 + 1e-12 takes the place of u^2.

    Called with `(dist, y)` it is the likelihood alone, which logs and validation go by. The prior
    is that of the model's matrices: parameters of two or more dimensions, without biases, the
    scales of normalising layers and parameters that are `shared`. AdamW's own weight decay comes on
    top of it: set `weight_decay` to 0 in the optimizer of a `DistributionModule`.

    Args:
        prior: "normal", "laplace" or "horseshoe".
        scale: of the prior, above 0, in the units of the weights.

    Raises:
        ValueError: for another prior or scale.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([[0.0, 2.0]]))
    >>> penalty = map(scale=0.5).penalty([("weight", weight)], rows=10)
    >>> torch.autograd.grad(penalty, weight)[0]  # w / (rows scale^2)
    tensor([[0.0000, 0.8000]])
    """

    prior: Prior = "normal"
    scale: float = 1.0
    validated_by = staticmethod(nll)

    def __post_init__(self) -> None:
        if self.prior not in get_args(Prior):
            raise unknown_name("prior", self.prior, get_args(Prior))
        as_number(
            self.scale, "scale", "a finite number above 0", lambda scale: 0 < scale < math.inf
        )

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        return nll(dist, y)

    def penalty(self, weights: Iterable[tuple[str, Tensor]], rows: int) -> Tensor:
        """Minus the log density of the weights under the prior, divided by the number of rows.

        Args:
            weights: the names and values of a model's parameters, `model.named_parameters()`.
            rows: the number of rows of training.

        Raises:
            ValueError: for a model without matrices.
        """
        chosen = [value for name, value in weights if _is_matrix(name, value)]
        if not chosen:
            raise ValueError(
                "map needs a model with weights, parameters of two or more dimensions, got none. "
                "Try the objective nll."
            )
        return torch.stack([self._minus_log_prior(value) for value in chosen]).sum() / rows

    def _minus_log_prior(self, values: Tensor) -> Tensor:
        """Of all values together, in nats."""
        normalised = values / self.scale
        log_scale = math.log(self.scale)
        if self.prior == "normal":
            sum_of_squares = normalised.square().sum()
            return 0.5 * sum_of_squares + values.numel() * (log_scale + HALF_LOG_TWO_PI)
        if self.prior == "laplace":
            return normalised.abs().sum() + values.numel() * (log_scale + math.log(2))
        density = torch.log1p(4 / (normalised.square() + _NEAR_ZERO**2))
        return values.numel() * (log_scale + 3 * HALF_LOG_TWO_PI) - density.log().sum()


def _is_matrix(name: str, value: Tensor) -> bool:
    parts = name.split(".")
    return value.ndim > 1 and "shared" not in parts and "bias" not in parts[-1]
