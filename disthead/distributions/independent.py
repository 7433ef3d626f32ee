"""`Independent`: several independent outputs as one event."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from disthead.distributions.base import (
    CLASSES,
    MOST_OUTCOMES,
    Distribution,
    Kind,
    SameNumbers,
    check_distribution,
)
from disthead.distributions.scores import energy_score

__all__ = ["Independent", "class_count", "class_probs", "each_output"]


class Independent(SameNumbers):
    """Several independent outputs as one event: p(y) is the product of the outputs' p(y_i).

    log_prob and entropy are sums over the event, of shape batch. Methods for a single number (cdf,
    icdf, crps, pit, interval ...) answer for each output, with shape batch + event; `energy_score`
    scores the whole event.

    Args:
        base: the distribution of each output, with batch_shape batch + event.
        count: how many of the last batch dimensions of the base form the event.

    Raises:
        ValueError: for a count that exceeds the batch dimensions of the base.

    >>> from disthead.families.normal import Normal
    >>> Independent(Normal(torch.zeros(5, 2), 1.0), 1).log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, count: int):
        if not 0 <= count <= len(base.batch_shape):
            raise ValueError(
                f"count must be from 0 to {len(base.batch_shape)}, the batch dimensions of the "
                f"base, got {count}."
            )
        self.base, self.count = base, count
        cut = len(base.batch_shape) - count
        event_shape = base.batch_shape[cut:] + base.event_shape
        super().__init__(base.batch_shape[:cut], event_shape, validate_args=False)

    @property
    def kind(self) -> Kind:
        return "vector" if self.count else self.base.kind

    @property
    def marginals(self) -> Distribution:
        """The distribution of each single number, with batch_shape batch + event."""
        return self.base.marginals if self.base.event_shape else self.base

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.base.support, self.count)

    def __getattr__(self, name: str):
        # Parameters and methods that only some families have (loc, num_classes, brier ...), for
        # each output.
        if name.startswith("_") or name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def __repr__(self) -> str:
        return f"Independent({self.base!r}, {self.count})"

    def map(self, function) -> "Independent":
        return Independent(self.base.map(function), self.count)

    def expand(self, batch_shape, _instance=None) -> "Independent":
        cut = len(self.base.batch_shape) - self.count
        return Independent(
            self.base.expand(Size(batch_shape) + self.base.batch_shape[cut:]), self.count
        )

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> "Independent":
        count = (
            len(self.batch_shape)
            if reinterpreted_batch_ndims is None
            else reinterpreted_batch_ndims
        )
        return Independent(self.base, self.count + count) if count else self

    def affine(self, loc: Tensor, scale: Tensor) -> "Independent":
        """The distribution of loc + scale * y, with a loc and scale for each output or for all."""
        return Independent(self.base.affine(loc, scale), self.count)

    def _in_double(self) -> "Independent":
        return Independent(self.base._in_double(), self.count)

    def _add_up(self, values: Tensor) -> Tensor:
        return values.sum(tuple(range(-self.count, 0))) if self.count else values

    def log_prob(self, y: Tensor) -> Tensor:
        return self._add_up(self.base.log_prob(y))

    def entropy(self) -> Tensor:
        return self._add_up(self.base.entropy())

    def _outcomes(self) -> Tensor | None:
        """Every combination of the outcomes of all outputs."""
        outcomes = self.base._outcomes()
        size = self.base.batch_shape[len(self.base.batch_shape) - self.count :].numel()
        if outcomes is None or len(outcomes) ** size > MOST_OUTCOMES:
            return None
        index = torch.arange(len(outcomes) ** size, device=self.device).unsqueeze(-1)
        powers = len(outcomes) ** torch.arange(size - 1, -1, -1, device=self.device)
        digits = index // powers % len(outcomes)
        return outcomes[digits].reshape(-1, *self.event_shape)

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        """The energy score of the whole event, estimated by samples; see `scores.energy_score`.

        Raises:
            NotImplementedError: for several directions.
        """
        if self.event_shape.numel() > 1:
            self._need_a_line("energy_score", "crps(y) of each one")
        return energy_score(self, y, samples, generator)

    def _need_a_line(self, question: str, remedy: str) -> None:
        """Raise for directions, between which there is no straight distance."""
        if self.base.kind == "direction":
            reason = (
                "directions that differ by a turn are the same, so no straight distance "
                f"counts; ask the {remedy}."
            )
            raise self._unanswered(question, reason)

    @property
    def covariance(self) -> Tensor:
        """The covariance of outputs in one dimension: a diagonal matrix of their variances."""
        if len(self.event_shape) != 1:
            raise self._unanswered(
                "covariance",
                f"its outputs have shape {tuple(self.event_shape)}, not one dimension.",
            )
        self._need_a_line("covariance", "variance of each one")
        return self.variance.diag_embed()


Distribution._independent = Independent


def each_output(dist: Distribution) -> Distribution:
    """The distribution of each output of an `Independent`; other distributions are returned as is.

    Returns:
        a distribution with batch_shape batch + outputs.

    Raises:
        TypeError: for what is no distribution.

    >>> from disthead.families.normal import Normal
    >>> each_output(Normal(torch.zeros(5, 2), 1.0).to_event(1)).kind
    'continuous'
    """
    check_distribution(dist)
    return dist.base if isinstance(dist, Independent) else dist


def class_count(dist: Distribution) -> int:
    """The number of classes of each output; 0 for a target that is no class.

    >>> from disthead import get_family
    >>> class_count(get_family("bernoulli").distribution(probs=0.25))
    2
    """
    one = each_output(dist)
    if one.kind not in CLASSES:
        return 0
    return 2 if one.kind == "binary" else one.num_classes


def class_probs(dist: Distribution, dtype: torch.dtype | None = None) -> Tensor:
    """The probability of each class, shape (..., K).

    Args:
        dist: a distribution of classes, or of several independent ones.
        dtype: the dtype of the result; None takes that of the distribution.

    >>> from disthead import get_family
    >>> class_probs(get_family("bernoulli").distribution(probs=0.25))
    tensor([0.7500, 0.2500])
    """
    probs: Tensor = dist.probs if dtype is None else dist.probs.to(dtype)
    return torch.stack([1 - probs, probs], -1) if each_output(dist).kind == "binary" else probs


@register_kl(Independent, Independent)
def _kl_independent_independent(p: Independent, q: Independent) -> Tensor:
    if p.count != q.count:
        raise NotImplementedError(f"the events of {p!r} and {q!r} have different dimensions.")
    return p._add_up(kl_divergence(p.base, q.base))
