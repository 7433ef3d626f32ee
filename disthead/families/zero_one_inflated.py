"""The zero-one-inflated family: proportions with exact zeros and ones."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.distributions.inflated import Mixed, probability
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily, rows_without
from disthead.links import LINKS

__all__ = ["ZeroOneInflated", "ZeroOneInflatedFamily"]


class ZeroOneInflated(Mixed):
    """A proportion that is exactly 0 or 1 with probability `gate`, and else drawn from its base.

    P(Y = 1) = gate one, P(Y = 0) = gate (1 - one), and the density between is (1 - gate) p(y), with
    p that of the base. Source: Ospina and Ferrari 2010, Inflated beta distributions.

    Args:
        base: a continuous distribution on (0, 1).
        gate: P(Y is 0 or 1), shape (...,).
        one: P(Y = 1 given that Y is 0 or 1), shape (...,).
        logits_gate: log(gate / (1 - gate)); the gate, its logits or both are given.
        logits_one: log(one / (1 - one)), likewise.
    """

    def __init__(
        self,
        base: Distribution,
        gate: Tensor | None = None,
        one: Tensor | None = None,
        *,
        logits_gate: Tensor | None = None,
        logits_one: Tensor | None = None,
    ):
        self.values = (0.0, 1.0)
        self._wrap(
            base, **probability("gate", gate, logits_gate), **probability("one", one, logits_one)
        )

    @property
    def one(self) -> Tensor:
        """The probability of 1 where the target is 0 or 1, shape (...,)."""
        return self._share("one")

    @property
    def own_parameters(self) -> dict[str, Tensor]:
        return {"gate": self.gate, "one": self.one}

    def _log_weights(self) -> tuple[Tensor, ...]:
        log_gate, log_rest = self._log_shares("gate")
        log_one, log_zero = self._log_shares("one")
        return log_rest, log_gate + log_zero, log_gate + log_one


class ZeroOneInflatedFamily(WrapperFamily):
    """The family of proportions with exact zeros and ones, by two logistic models and a base.

    P(0) = gate (1 - one), P(1) = gate one, and p(y) = (1 - gate) p_base(y) for 0 < y < 1. The
    parameters are those of the base, and last `gate`, the probability of an exact end, and `one`,
    the probability of 1 among the ends; both have shape (...,) and the link sigmoid. The three
    parts of the log-likelihood share no parameter, so that each fits as if alone. Source: Ospina
    and Ferrari 2010, Inflated beta distributions; R's brms calls `gate` zoi and `one` coi.

    Args:
        base: a continuous family on (0, 1), a name or a `Family`.
        base_options: options of the base, such as parametrization="mean".

    Raises:
        ValueError: for a base that is not bounded by 0 and 1.

    >>> from disthead import get_family
    >>> share = get_family("zero_one_inflated", parametrization="mean")
    >>> share.distribution(mean=0.5, precision=4.0, gate=0.4, one=0.75).mean
    tensor(0.6000)
    """

    name = "zero_one_inflated"
    base_kinds = ("continuous",)
    own_parameters = {"gate": LINKS["sigmoid"], "one": LINKS["sigmoid"]}
    data_type = "univariate, continuous with two masses, bounded"
    domain = "0 <= y <= 1"
    use = "proportions with exact zeros and ones"
    loss = "binary cross-entropy of both ends plus that of its base"
    noise = (
        "Whether a proportion is exactly 0 or 1 is an event of its own, which end it is another, "
        "and the proportions between follow the base distribution."
    )
    density = "P(0) = gate (1 - one), P(1) = gate one, p(y) = (1 - gate) p_base(y) for 0 < y < 1"
    breaks = (
        "Zeros and ones that come from rounding are no events of their own, and two of the three "
        "models fit noise. Without ends gate goes to zero, and its weights without end."
    )
    remedy = (
        "beta for proportions without exact ends; bernoulli with soft labels, weighted by the "
        "number of trials, for counted shares."
    )

    def __init__(self, base: "str | Family" = "beta", **base_options: Any):
        super().__init__(base, **base_options)
        self.support = constraints.unit_interval
        self.domain = "0 <= y <= 1"
        self.edge_remedy = ""

    def _check_base(self) -> None:
        super()._check_base()
        ends = torch.tensor([-1e-9, 1 + 1e-9], dtype=torch.float64)
        if bool(self.base.support.check(ends).any()):
            raise self._wrong_base(self.base.name, f"which is not bounded: {self.base.domain}")

    def _wrong_base(self, name: str, reason: str) -> ValueError:
        return ValueError(
            f"base of {self.name} must be a continuous family on (0, 1), got {name!r}, {reason}. "
            "Try base='beta', or inflated for one value of another family."
        )

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        return ZeroOneInflated(base, **own)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        is_zero, is_one = y == 0, y == 1
        is_end = is_zero | is_one
        self.warn_of_none(is_end, "0 or 1")
        between = torch.where(is_end.all(0), 0.5, rows_without(y, is_end))
        least = 0.5 / len(y)
        ends = is_end.double().sum(0)
        one = (is_one.double().sum(0) + 0.5) / (ends + 1)
        gate = (ends / len(y)).clamp(least, 1 - least)
        return self.base.initial_estimate(between) | {"gate": gate, "one": one}
