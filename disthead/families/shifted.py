"""The family of shifted distributions: a base whose origin is known to be elsewhere."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.errors import TargetError, locate
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily, rows_without

__all__ = ["Shifted", "ShiftedFamily"]


class Shifted(constraints.Constraint):
    """The values loc + x for all x in a support.

    Args:
        support: of one number.
        loc: the shift; None where each row has its own, so that any number is possible.
    """

    def __init__(self, support: constraints.Constraint, loc: float | None):
        self.support, self.loc, self.is_discrete = support, loc, support.is_discrete
        if loc is None:
            return
        for name in ("lower_bound", "upper_bound"):
            bound = getattr(support, name, None)
            if bound is not None:
                setattr(self, name, bound + loc)

    def check(self, value: Tensor) -> Tensor:
        if self.loc is None:
            is_whole = value == value.round() if self.is_discrete else torch.isfinite(value)
            return is_whole & torch.isfinite(value)
        return self.support.check(value - self.loc)


class ShiftedFamily(WrapperFamily):
    """The family of Y = loc + X, where X has the base distribution and loc is known.

    The parameters are those of the base. The shift is an option for all rows, or the row constant
    `loc`, shape (...,), which replaces the option. A shift that is learned is no shift of this
    family: its likelihood has no maximum inside where the density of the base jumps at its end.

    Args:
        base: the family of X, continuous or of counts, a name or a `Family`.
        loc: the shift of all rows, in the units of y; for counts a whole number. None leaves it to
            the row constant, without which it is 0.
        base_options: options of the base.

    Raises:
        ValueError: for a shift that is not finite, or no whole number where the base is of counts.

    >>> from disthead import get_family
    >>> response_time = get_family("shifted", base="gamma", loc=0.2)
    >>> response_time.distribution(concentration=2.0, rate=4.0).mean
    tensor(0.7000)
    """

    name = "shifted"
    data_type = "univariate, of its base"
    domain = "loc + x for all x in the support of its base"
    use = "numbers above a known minimum"
    loss = "that of its base at y - loc"
    noise = "The target exceeds a known number by an amount that has the base distribution."
    density = "p(y) = p_base(y - loc)"
    breaks = "Targets at or below loc are impossible where the base is positive."
    remedy = (
        "normal or student_t, which learn their location; truncated where smaller targets were "
        "left out instead."
    )

    def __init__(
        self, base: "str | Family" = "gamma", loc: float | None = None, **base_options: Any
    ):
        super().__init__(base, **base_options)
        self.loc = loc
        if loc is not None:
            self.loc = as_number(loc, f"loc of {self.name}", "a finite number", math.isfinite)
            if self.base.is_discrete and self.loc != math.floor(self.loc):
                raise ValueError(
                    f"loc of {self.name} must be a whole number where its base, {self.base.name}, "
                    f"is of counts, got {loc}."
                )
        if "loc" not in self.parameters:  # those with a loc of their own have the option alone
            self.own_row_constants = {
                "loc": constraints.integer_interval(-(2**53), 2**53)
                if self.base.is_discrete
                else constraints.real
            }
            self.row_constants = {**self.base.row_constants, **self.own_row_constants}
        self.support = Shifted(self.base.support, self.loc)
        if self.edge_remedy:
            self.edge_remedy = (
                "A target of exactly loc has the density zero or infinity. Where it is an outcome "
                "of its own, take inflated with value=loc and this family as its base. Where it "
                "comes from rounding, take a loc that is half a step lower."
            )
        self.domain = (
            f"{'loc' if loc is None else f'{self.loc:g}'} + x, x as in: {self.base.domain}"
        )

    def check_beside(
        self, y: Tensor, constants: Mapping[str, Tensor], column: str = "the target"
    ) -> None:
        """Check that targets less the shifts of their rows lie in the support of the base."""
        if "loc" in constants:
            x = y - constants["loc"].reshape(constants["loc"].shape + (1,) * (y.ndim - 1))
            outside = ~self.base.support.check(x)
            if outside.any():
                raise TargetError(
                    f"{column} less loc must be in the support of {self.base.name} "
                    f"({self.base.domain}), got {locate(outside, x)}. Correct loc in these rows."
                )

    def _on_edge(self, values: Tensor) -> bool:
        return self.base._on_edge(values - (self.loc or 0.0))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """That of the base for y - loc; for y less its minimum where rows have their own shifts."""
        x = y - (self.loc or 0.0)
        inside = self.base.support.check(x)
        if not bool(inside.any(0).all()):  # at least one unit, or one part in a hundred, above it
            x = y - y.amin(0) + (1.0 if self.base.is_discrete else 0.01 * y.abs().mean(0) + 1e-9)
            inside = self.base.support.check(x)
        return self.base.initial_estimate(rows_without(x, ~inside))

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        loc = own.get("loc", self.loc or 0.0)
        one = torch.ones((), dtype=base.dtype, device=base.device)
        return base.affine(torch.as_tensor(loc, dtype=base.dtype, device=base.device), one)
