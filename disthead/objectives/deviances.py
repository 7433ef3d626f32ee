"""Deviances of the predicted mean as objectives, of non-negative targets.

A deviance is 2 (log p(y; y) - log p(y; mean)): how much less likely the target is at the predicted
mean than at itself, where the dispersion is fixed.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import mean_over_outputs
from disthead.errors import TargetError, locate
from disthead.losses import as_numbers
from disthead.special.eager import is_tracing
from disthead.standardisation import is_real

__all__ = ["gamma_deviance", "poisson_deviance", "tweedie_deviance"]


def poisson_deviance(dist: Distribution, y: Any) -> Tensor:
    """The Poisson deviance 2 (y log(y / mean) - y + mean) of each row, for y >= 0.

    Of several outputs it is the mean. It is twice the negative log-likelihood of the family
    poisson, less that of the rate y. Source: Nelder and Wedderburn 1972.

    Args:
        dist: a distribution of batch_shape (...,) with a positive mean.
        y: targets, batch_shape + event_shape, zero or more; they need not be whole numbers.

    Raises:
        NotImplementedError: for distributions whose mean may be negative, and for classes.
        TargetError: for negative targets on the CPU; otherwise as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> poisson_deviance(dist, torch.tensor([0, 2]))
    tensor([2., 0.])
    """
    return _deviance(dist, y, 1.0, "poisson_deviance")


def gamma_deviance(dist: Distribution, y: Any) -> Tensor:
    """The gamma deviance 2 (y / mean - 1 - log(y / mean)) of each row, for y > 0.

    Of several outputs it is the mean. It is twice the negative log-likelihood of the family gamma
    with the concentration fixed at 1, less that of the mean y. It depends on y / mean alone: errors
    count in proportion to the mean. Source: Nelder and Wedderburn 1972.

    Args:
        dist: a distribution of batch_shape (...,) with a positive mean.
        y: positive targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for distributions whose mean may be negative, and for classes.
        TargetError: for targets on the CPU that are not positive; otherwise as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("gamma").distribution(concentration=2.0, rate=torch.tensor([1.0, 2.0]))
    >>> gamma_deviance(dist, torch.tensor([2.0, 2.0]))
    tensor([0.0000, 0.6137])
    """
    return _deviance(dist, y, 2.0, "gamma_deviance")


@dataclass(frozen=True)
class tweedie_deviance:
    """The deviance of Tweedie's distributions, whose variance is mean^power, of each row.

    It is 2 (y^(2 - p) / ((1 - p) (2 - p)) - y mean^(1 - p) / (1 - p) + mean^(2 - p) / (2 - p)) with
    the power p, `poisson_deviance` for p = 1, `gamma_deviance` for p = 2, that of the inverse
    Gaussian for p = 3. It is twice the negative log-likelihood of the family tweedie with the
    dispersion fixed at 1, less that of the mean y. Of several outputs it is the mean. Source:
    Jorgensen 1987, Exponential dispersion models.

    Args:
        power: 1 or more. Between 1 and 2 targets are zero or positive, from 2 on positive.

    Raises:
        NotImplementedError: when it is called, for distributions whose mean may be negative, and
            for classes.
        TargetError: for targets on the CPU that are negative, or 0 where the power is 2 or more;
            otherwise as `disthead.nll`.
        ValueError: as `disthead.nll`, and for a power below 1.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("exponential").distribution(rate=torch.tensor([1.0, 1.0]))
    >>> tweedie_deviance(power=1.5)(dist, torch.tensor([0.0, 4.0]))
    tensor([4., 4.])
    """

    power: float = 1.5

    def __post_init__(self) -> None:
        expected = "a number of at least 1, such as 1.5; of power 0 it is mse"
        as_number(self.power, "power of tweedie_deviance", expected, lambda x: 1 <= x < math.inf)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The deviance of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        return _deviance(dist, y, float(self.power), "tweedie_deviance")


def _deviance(dist: Distribution, y: Any, power: float, objective: str) -> Tensor:
    output = each_output(dist)
    support: Any = output.support
    if output.kind not in ("count", "continuous", "mixed") or is_real(support):
        reason = "it is for counts and amounts, whose mean is positive; mse and nll score others."
        raise output._unanswered(objective, reason)
    y = as_numbers(dist, y, objective)
    _check_amounts(y, power, objective)
    mean = dist.mean
    # With u = log(mean / y) it is a difference of two functions of u that are both u near 0, so
    # that only its square cancels, and not the size of y.
    is_zero = (y == 0).to(mean.dtype)
    log_ratio = (mean / (y + is_zero)).log()
    first, second = (
        torch.expm1(left * log_ratio) / left if left else log_ratio
        for left in (2 - power, 1 - power)
    )
    deviance = y ** (2 - power) * (first - second)
    if power < 2:
        deviance = deviance + is_zero * mean ** (2 - power) / (2 - power)
    return mean_over_outputs(dist, 2 * deviance)


def _check_amounts(y: Tensor, power: float, objective: str) -> None:
    """Refuse targets that no such distribution can have produced; only on the CPU."""
    if not y.is_cpu or is_tracing():
        return
    bad = y < 0 if power < 2 else y <= 0
    if bool(bad.any()):
        raise TargetError(
            f"y must be {'zero or more' if power < 2 else 'positive'} for {objective}, got "
            f"{locate(bad, y)}. Take mse for targets of any sign"
            + ("." if power < 2 else ", or tweedie_deviance(power=1.5) where some are 0.")
        )
