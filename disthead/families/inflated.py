"""The families of numbers with an inflated value: zero-inflated counts, and others."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number
from disthead.distributions.base import Distribution
from disthead.distributions.inflated import WithValues, inflated, is_value
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily, rows_without
from disthead.links import LINKS, Link

__all__ = ["InflatedFamily", "ZeroInflatedFamily"]

_LEAST_GATE = 0.01  # at the start of training


class InflatedFamily(WrapperFamily):
    """The family of a base with an inflated value, whose probability is raised by `gate`.

    With probability gate Y is the value, and otherwise a draw from the base, which for counts may
    be the value, too. The parameters are those of the base, and last `gate`, shape (...,), with the
    link sigmoid. For a continuous base Y is of kind "mixed": `log_prob` is the log-probability at
    the value and the log-density of the base plus log(1 - gate) elsewhere.

    Args:
        base: the family without inflation, continuous or of counts, a name or a `Family`.
        value: the inflated value; for counts a whole number.
        base_options: options of the base.

    Raises:
        ValueError: for a value that is not finite, or no whole number where the base is of counts.

    >>> from disthead import get_family
    >>> heaped = get_family("inflated", base="poisson", value=10)
    >>> heaped.distribution(rate=8.0, gate=0.3).log_prob(torch.tensor(10.0)).exp()
    tensor(0.3695)
    """

    name = "inflated"
    own_parameters = {"gate": LINKS["sigmoid"]}
    takes_units = False
    data_type = "univariate, of its base"
    domain = "that of its base, and the value"
    use = "one value much more frequent than its neighbours"
    loss = "-log(gate + (1 - gate) p_base(value)) at the value, that of its base elsewhere"
    noise = (
        "Some rows have the value for a reason of its own, and the others follow the base "
        "distribution."
    )
    density = (
        "P(y = value) = gate + (1 - gate) p_base(value), where p_base(value) is 0 for a continuous "
        "base; p(y) = (1 - gate) p_base(y) elsewhere"
    )
    breaks = (
        "Without an excess of the value gate goes to zero, and its weights without end. Rows just "
        "beside the value tell counts of both origins apart, and little else does."
    )
    remedy = (
        "the base alone where the value is not in excess; hurdle where all zeros have one origin; "
        "zero_one_inflated for proportions with exact zeros and ones."
    )

    def __init__(self, base: "str | Family" = "normal", value: float = 0.0, **base_options: Any):
        super().__init__(base, **base_options)
        self.value = as_number(value, f"value of {self.name}", "a finite number", math.isfinite)
        if self.base.is_discrete and self.value != math.floor(self.value):
            raise ValueError(
                f"value of {self.name} must be a whole number where its base, {self.base.name}, is "
                f"of counts, got {value}."
            )
        self._add_value()

    def _add_value(self) -> None:
        values = torch.tensor(self.value, dtype=torch.float64)
        if not bool(self.base.support.check(values)) or not self.base.is_discrete:
            self.support = WithValues(self.base.support, (self.value,))
            self.domain = f"{self.base.domain}, and y = {self.value:g}"

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        return inflated(base, own.get("gate"), value=self.value, logits_gate=own.get("logits_gate"))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """The base from the other targets, and gate from the share of the value beyond the base's.

        It warns where no target is the value.
        """
        at_value = is_value(y, self.value)
        self.warn_of_none(at_value, f"{self.value:g}")
        of_base = self.base.initial_estimate(rows_without(y, at_value))
        share = at_value.double().mean(0)
        if self.base.is_discrete:
            expected = self._base_share(of_base, y)
            share = (share - expected) / (1 - expected).clamp(min=1e-3)
        return of_base | {"gate": share.clamp(0.02, 0.98)}

    def away_from_ends(
        self, raw: Mapping[str, Tensor], links: Mapping[str, Link]
    ) -> Mapping[str, Tensor]:
        """As for any family; a gate that vanishes without features may still depend on them."""
        if "gate" not in raw or not self.base.is_discrete:
            return raw
        gate = links["gate"].forward(raw["gate"])
        start = links["gate"].inverse(torch.full_like(gate, _LEAST_GATE))
        return {**raw, "gate": torch.where(gate < _LEAST_GATE, start, raw["gate"])}

    def _base_share(self, of_base: Mapping[str, Tensor], y: Tensor) -> Tensor:
        """The probability of the value in the base."""
        base = self.base.make(**of_base, **self.base.typical_constants(y))
        return base.log_prob(torch.full(base.batch_shape, self.value, dtype=torch.float64)).exp()


class ZeroInflatedFamily(InflatedFamily):
    """The family of counts with extra zeros: P(0) = gate + (1 - gate) p_base(0).

    With probability gate a row is a structural zero, and otherwise a count of the base, which may
    be 0, too. The parameters are those of the base, and last `gate`, shape (...,), with the link
    sigmoid. Source: Lambert 1992, Zero-inflated Poisson regression, with an application to defects
    in manufacturing.

    Args:
        base: a family of counts, a name or a `Family`.
        base_options: options of the base, such as parametrization="mean".

    Raises:
        ValueError: for a base that is not of counts from 0 on.

    >>> from disthead import get_family
    >>> papers = get_family("zero_inflated", base="poisson").distribution(rate=2.0, gate=0.25)
    >>> papers.log_prob(torch.tensor(0.0)).exp(), papers.mean
    (tensor(0.3515), tensor(1.5000))
    """

    name = "zero_inflated"
    base_kinds = ("count",)
    domain = "that of its base, with extra zeros"
    use = "counts with more zeros than their base has"
    loss = "-log(gate + (1 - gate) p_base(0)) at 0, that of its base elsewhere"
    noise = (
        "Some rows cannot have an event, and their count is 0. The others have counts of the base "
        "distribution, some of which are 0 by chance."
    )
    density = "P(0) = gate + (1 - gate) p_base(0), p(y) = (1 - gate) p_base(y) for y > 0"
    breaks = (
        "Without an excess of zeros gate goes to zero, and its weights without end. The two "
        "origins of zeros are told apart by the form of the base alone."
    )
    remedy = (
        "the base alone, or negative_binomial, where zeros are not in excess; hurdle where all "
        "zeros have one origin."
    )

    def __init__(self, base: "str | Family" = "poisson", **base_options: Any):
        super().__init__(base, 0.0, **base_options)

    def _wrong_base(self, name: str, reason: str) -> ValueError:
        return ValueError(
            f"base of {self.name} must be a family of counts, got {name!r}, {reason}. Try "
            "base='poisson' or 'negative_binomial'; for amounts that are often 0 take hurdle, with "
            "base='gamma' or 'log_normal'."
        )
