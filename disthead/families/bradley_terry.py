"""The Bradley-Terry model with ties: the outcome of a comparison of two items."""

import torch
from torch import Tensor
from torch.distributions import constraints

from disthead.distributions.base import Distribution
from disthead.errors import TargetError, locate
from disthead.families.categorical import Categorical
from disthead.families.family import Family
from disthead.links import LINKS

__all__ = ["BradleyTerry", "BradleyTerryFamily"]


class BradleyTerry(Categorical):
    """Davidson's model of a comparison: the first item loses (0), wins (1), or there is a tie (2).

    P(1) = exp(s_1) / N, P(0) = exp(s_2) / N and P(2) = ties exp((s_1 + s_2) / 2) / N, where N makes
    them add up to one. Only the difference of the scores s matters: it is the logarithm of the odds
    of a win against a loss. `probs` holds the three probabilities in the order of the outcomes.
    Sources: Bradley and Terry 1952; Davidson 1970, On extending the Bradley-Terry model to
    accommodate ties in paired comparison experiments.

    Args:
        scores: s, of both items, shape (..., 2).
        ties: shape (...,), positive: the odds of a tie against a win between equal items; near 0
            there are none.
        log_ties: log(ties); ties, log(ties) or both are given.

    >>> BradleyTerry(torch.zeros(2), 0.5).probs
    tensor([0.4000, 0.4000, 0.2000])
    """

    arg_constraints = {
        "scores": constraints.independent(constraints.real, 1),
        "ties": constraints.positive,
    }
    parameter_dims = {"scores": 1}

    def __init__(self, scores, ties=None, *, log_ties=None):
        self._set_parameters(scores=scores, ties=ties, log_ties=log_ties)

    @property
    def logits(self) -> Tensor:
        """Unnormalised log-probabilities of the outcomes, shape (..., 3)."""
        half = 0.5 * (self.scores[..., 0] - self.scores[..., 1])
        return torch.stack([-half, half, self.log_ties], -1)

    def __repr__(self) -> str:
        return Distribution.__repr__(self)


class BradleyTerryFamily(Family):
    """The Bradley-Terry family of comparisons, with ties as of Davidson (1970).

    A target is the outcome for the first of two items: 0 where it loses, 1 where it wins, 2 for a
    tie. The parameters are `scores` of both items (..., 2) and `ties` (...,). The advantage of the
    item that comes first, as of a team at home, is the constant part of its score.
    """

    name = "bradley_terry"
    kind = BradleyTerry.kind
    parameters = {"scores": LINKS["identity"], "ties": LINKS["softplus"]}
    shapes = {"scores": (2,)}
    support = constraints.integer_interval(0, 2)
    data_type = "univariate, discrete, bounded"
    domain = "y in {0, 1, 2}: the first item loses, wins, or there is a tie"
    use = "paired comparisons"
    loss = "cross-entropy of loss, win and tie"
    noise = "Two items meet, and the odds of a win are the ratio of their worths exp(score)."
    density = (
        "p(1) = exp(s_1) / N, p(0) = exp(s_2) / N, p(2) = ties exp((s_1 + s_2) / 2) / N, s = "
        "scores, N the sum of the three numerators"
    )
    breaks = (
        "Worths lie on one line: that A beats B, B beats C and C beats A cannot be told. An item "
        "that wins or loses against all others has a score without bound."
    )
    remedy = (
        "plackett_luce for rankings of more items; categorical where ties do not depend on both "
        "scores alike; one value of ties for all rows, and weight decay, for few comparisons."
    )

    def make(self, **parameters: Tensor) -> BradleyTerry:
        return BradleyTerry(**parameters)

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """Those of the shares of the outcomes; one that does not occur counts as half a row."""
        losses, wins, ties = (
            ((y == outcome).double().sum(0)).clamp(min=0.5) for outcome in range(3)
        )
        half = 0.5 * (wins / losses).log()
        return {"scores": torch.stack([half, -half], -1), "ties": ties / (wins * losses).sqrt()}

    def check_target(self, y: Tensor, column: str = "the target") -> None:
        wrong = y.isfinite() & ~self.support.check(y)
        if wrong.any():
            raise TargetError(
                f"{column} must be 0 (the first item loses), 1 (it wins) or 2 (a tie), got "
                f"{locate(wrong, y)}."
            )
        super().check_target(y, column)
