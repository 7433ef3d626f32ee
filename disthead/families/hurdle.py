"""The hurdle family: zero or not, and how much if not, as two models in one distribution."""

import math
from typing import Any

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.distributions.inflated import WithValues, inflated
from disthead.distributions.truncated import Between, truncated
from disthead.errors import warn
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily, rows_without
from disthead.links import LINKS

__all__ = ["HurdleFamily"]


class HurdleFamily(WrapperFamily):
    """The hurdle family: P(0) = gate, and p(y) = (1 - gate) p_base(y) / P_base(Y > 0) for y > 0.

    All zeros have one origin, and the base, truncated to y > 0, describes the rest. The parameters
    are those of the base before truncation, and last `gate` = P(Y = 0), shape (...,), with the link
    sigmoid. For a continuous base Y is of kind "mixed": `log_prob` is the log-probability at 0 and
    the log-density elsewhere. R's pscl models P(Y > 0) = 1 - gate instead, which is the same model
    with the opposite signs. Source: Mullahy 1986, Specification and testing of some modified count
    data models; Cragg 1971 for amounts.

    Args:
        base: the family of y before truncation, continuous or of counts, a name or a `Family`.
        base_options: options of the base, such as parametrization="mean".

    Raises:
        ValueError: for a base of another kind.

    >>> from disthead import get_family
    >>> rain = get_family("hurdle", base="gamma")
    >>> dist = rain.distribution(concentration=2.0, rate=0.5, gate=0.75)
    >>> dist.mean, dist.cdf(torch.tensor(0.0))
    (tensor(1.), tensor(0.7500))
    """

    name = "hurdle"
    own_parameters = {"gate": LINKS["sigmoid"]}
    takes_units = False
    data_type = "univariate, of its base, bounded below"
    domain = "y = 0, and y > 0 in the support of its base"
    use = "counts and amounts that are often 0"
    loss = "binary cross-entropy of y = 0 plus that of its truncated base"
    noise = (
        "Whether the target is 0 is one event, and how large it is where it is not is another, "
        "with the base distribution given y > 0."
    )
    density = "P(0) = gate, p(y) = (1 - gate) p_base(y) / P_base(Y > 0) for y > 0"
    breaks = (
        "Counts whose base is nearly always 0 are all 1 given y > 0, and their rate is hardly "
        "identified. Without zeros gate goes to zero, and its weights without end."
    )
    remedy = (
        "zero_inflated where some zeros are counts of the base; truncated with lower=1 for counts "
        "without zeros; the base alone where zeros are not in excess."
    )

    def __init__(self, base: "str | Family" = "poisson", **base_options: Any):
        super().__init__(base, **base_options)
        support = self.base.support
        is_positive = getattr(support, "lower_bound", -math.inf) >= 0
        # whose values are above 0 already, or 0 with probability 0
        self._cuts = self.base.is_discrete or not is_positive
        if self._cuts:
            support = Between(support, 1.0 if self.base.is_discrete else 0.0, math.inf)
        self.support = WithValues(support, (0.0,))
        self.domain = f"y = 0, and y > 0 with {self.base.domain}"

    def wrap(self, base: Distribution, **own: Tensor) -> Distribution:
        if self._cuts:
            base = truncated(base, lower=1.0 if self.base.is_discrete else 0.0)
        return inflated(base, own.get("gate"), logits_gate=own.get("logits_gate"))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """The base from the targets above 0, and gate from the share of zeros.

        It warns where no target is 0, and where all are.
        """
        is_zero = y == 0
        nothing = is_zero.all(0)
        if bool(nothing.any()):
            warn(
                f"all {len(y)} targets are 0, so that nothing is known of {self.base.name} for "
                f"those above 0, which {self.name} models, too. Take bernoulli for y > 0."
            )
        self.warn_of_none(is_zero, "0")
        positive = torch.where(nothing, 1.0, rows_without(y, is_zero).double())
        of_base = self.base.initial_estimate(positive)
        share = is_zero.double().mean(0)
        return of_base | {"gate": torch.clamp(share, 0.5 / len(y), 1 - 0.5 / len(y))}
