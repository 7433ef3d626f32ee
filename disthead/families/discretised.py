"""The family of discretised distributions: continuous numbers recorded in whole units or steps."""

import math
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.discretised import Discretised, Grid, limits
from disthead.errors import pick
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily

__all__ = ["DiscretisedFamily"]


class DiscretisedFamily(WrapperFamily):
    """The family of a continuous base that is recorded in whole units, or in multiples of a step.

    P(Y = y) is the probability of the numbers that are recorded as y: those between y - step / 2
    and y + step / 2 by rounding to the nearest, those between y and y + step by rounding down. The
    parameters are those of the base, in the units of y. Source: Chakraborty 2015, Generating
    discrete analogues of continuous probability distributions.

    Args:
        base: a continuous family, a name or a `Family`.
        step: the distance of neighbouring records, in the units of y, positive.
        rounding: "nearest", or "floor" for rounding down, as with ages in completed years.
        base_options: options of the base.

    Raises:
        ValueError: for a step that is not positive, or another rounding.

    >>> from disthead import get_family
    >>> height = get_family("discretised", base="normal")
    >>> height.distribution(loc=170.0, scale=7.0).log_prob(torch.tensor(170.0)).exp()
    tensor(0.0569)
    """

    name = "discretised"
    base_kinds = ("continuous",)
    data_type = "univariate, discrete"
    domain = "multiples of the step near the support of its base"
    use = "measurements recorded in whole units"
    loss = "-log of the base's probability between both ends of the record"
    noise = "The target has the base distribution, and its record is rounded to the next step."
    density = (
        "P(y) = F_base(y + step / 2) - F_base(y - step / 2); F_base(y + step) - F_base(y) by "
        "rounding down"
    )
    breaks = (
        "With a scale far below the step all rows have one record, and the scale is not identified."
    )
    remedy = (
        "the base itself where the step is far below its scale; poisson or negative_binomial where "
        "the target counts events; ordered classes where steps differ."
    )

    def __init__(
        self,
        base: "str | Family" = "normal",
        step: float = 1.0,
        rounding: str = "nearest",
        **base_options: Any,
    ):
        super().__init__(base, **base_options)
        self.step = as_number(
            step, f"step of {self.name}", "a positive number", lambda x: 0 < x < math.inf
        )
        self.rounding = pick("rounding", rounding, {"nearest": "nearest", "floor": "floor"})
        support = self.base.support
        lower = getattr(support, "lower_bound", -math.inf) / self.step
        upper = getattr(support, "upper_bound", math.inf) / self.step
        first, last = limits(lower, upper, self.rounding)
        self.support = Grid(self.step, first * self.step, last * self.step)
        self.edge_remedy = ""
        self.domain = f"multiples of {self.step:g} near the support of its base: {self.base.domain}"

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        if self.step == 1:
            return Discretised(base, self.rounding)
        zero = torch.zeros((), dtype=base.dtype, device=base.device)
        step = zero + self.step
        return Discretised(base.affine(zero, 1 / step), self.rounding).affine(zero, step)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """That of the base for the middles of the intervals that the records stand for."""
        y = y.double()
        if self.rounding == "floor":
            y = y + 0.5 * self.step
        support = self.base.support
        lower, upper = (
            getattr(support, "lower_bound", -math.inf),
            getattr(support, "upper_bound", math.inf),
        )
        # a record at an end of the support stands for numbers on its inner side
        least = lower + 0.25 * self.step
        most = upper - 0.25 * self.step
        if least >= most:
            least = most = 0.5 * (lower + upper)
        return self.base.initial_estimate(y.clamp(least, most))
