"""The family of truncated distributions: numbers that are seen only between two bounds."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.truncated import Between, truncated
from disthead.errors import TargetError, locate
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily

__all__ = ["TruncatedFamily"]


class TruncatedFamily(WrapperFamily):
    """The family of Y given lower <= Y <= upper: p(y) = p_base(y) / P(lower <= Y <= upper).

    The parameters are those of the base. The bounds are known: options for all rows, or the row
    constants `lower` and `upper`, shape (...,), which replace the options. Both are included, so
    that counts above zero have lower=1. Rows beyond a bound are missing altogether; where they
    are recorded at the bound they are censored, not truncated.

    Args:
        base: the family without bounds, continuous or of counts, a name or a `Family`.
        lower: the lower bound of all rows; None is none.
        upper: the upper bound of all rows; None is none.
        base_options: options of the base.

    Raises:
        ValueError: for bounds that are crossed, or between which the base has no values.

    >>> from disthead import get_family
    >>> income = get_family("truncated", base="normal", lower=0.0)
    >>> income.distribution(loc=0.0, scale=1.0).mean
    tensor(0.7979)
    """

    name = "truncated"
    own_row_constants = {"lower": constraints.real, "upper": constraints.real}
    takes_units = False
    data_type = "univariate, of its base"
    domain = "that of its base between the bounds"
    use = "numbers seen only between known bounds"
    loss = "that of its base plus log P(lower <= y <= upper)"
    noise = (
        "The target follows the base distribution, and rows beyond the bounds never entered the "
        "data."
    )
    density = "p(y) = p_base(y) / P(lower <= Y <= upper) for lower <= y <= upper"
    breaks = (
        "Rows that are recorded at a bound, instead of left out, bend the fit. With the bulk of "
        "the base beyond a bound, location and scale are hardly told apart."
    )
    remedy = (
        "censored where values beyond a bound are recorded at it; inflated or hurdle where a bound "
        "is itself a frequent value; the base alone where no row was left out; a shared scale "
        "where the fit is unstable."
    )

    def __init__(
        self,
        base: "str | Family" = "normal",
        lower: float | None = None,
        upper: float | None = None,
        **base_options: Any,
    ):
        super().__init__(base, **base_options)
        self.lower, self.upper = (
            end
            if end is None
            else as_number(end, f"{name} of {self.name}", "a finite number", math.isfinite)
            for name, end in (("lower", lower), ("upper", upper))
        )
        first = -math.inf if self.lower is None else self.lower
        last = math.inf if self.upper is None else self.upper
        if self.base.is_discrete:
            first = math.ceil(first) if self.lower is not None else first
            last = math.floor(last) if self.upper is not None else last
        crossed = last < first if self.base.is_discrete else last <= first
        if crossed:
            raise ValueError(
                f"lower of {self.name} must be below upper, got lower={lower} and upper={upper}."
            )
        # without options, too: rows have bounds in units of their own
        self.support = Between(self.base.support, float(first), float(last))
        if self.lower is None and self.upper is None:
            return
        least, most = (
            getattr(self.support, "lower_bound", -math.inf),
            getattr(self.support, "upper_bound", math.inf),
        )
        if most < least or (most == least and not self.base.is_discrete):
            raise ValueError(
                f"{self.base.name} ({self.base.domain}) has no values between lower={lower} and "
                f"upper={upper}: take bounds within its support."
            )
        bounds = [f"y >= {self.lower:g}"] if self.lower is not None else []
        bounds += [f"y <= {self.upper:g}"] if self.upper is not None else []
        self.domain = f"{self.base.domain}, {' and '.join(bounds)}"

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        lower, upper = own.get("lower", self.lower), own.get("upper", self.upper)
        return base if lower is None and upper is None else truncated(base, lower, upper)

    def check_row_constants(self, constants: Any, columns: Any = None) -> None:
        """As for any family; and the lower bound must be below the upper one.

        A row without one of the bounds has -inf for `lower`, or inf for `upper`.
        """
        bounded = dict(constants)
        for name, none in (("lower", -math.inf), ("upper", math.inf)):
            if name in bounded:
                bounded[name] = torch.where(bounded[name] == none, 0.0, bounded[name])
        super().check_row_constants(bounded, columns)
        lower, upper = constants.get("lower", self.lower), constants.get("upper", self.upper)
        if lower is None or upper is None or not {"lower", "upper"} & set(constants):
            return
        lower, upper = torch.broadcast_tensors(torch.as_tensor(lower), torch.as_tensor(upper))
        crossed = lower.ceil() > upper.floor() if self.base.is_discrete else lower >= upper
        if crossed.any():
            raise ValueError(
                f"lower of {self.name} must be below upper in each row, got lower with "
                f"{locate(crossed, lower)}. Exchange or correct the bounds of these rows."
            )

    def check_beside(
        self, y: Tensor, constants: Mapping[str, Tensor], column: str = "the target"
    ) -> None:
        """Check that targets lie between the bounds of their rows."""
        super().check_beside(y, constants, column)
        for name in ("lower", "upper"):
            if name not in constants:
                continue
            bound = constants[name].reshape(constants[name].shape + (1,) * (y.ndim - 1))
            outside = y < bound if name == "lower" else y > bound
            if outside.any():
                least = "at least" if name == "lower" else "at most"
                raise TargetError(
                    f"{column} of {self.name} must be {least} {name} in each row, got "
                    f"{locate(outside, y)}. Rows beyond a bound are censored or not in the data: "
                    "leave them out, or correct their bounds."
                )
