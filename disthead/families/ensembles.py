"""`ensemble`: the distributions of several models as one, their exact mixture with equal weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor

from disthead.arrays import exactly_one
from disthead.distributions.base import Distribution
from disthead.distributions.independent import Independent
from disthead.distributions.scores import draw
from disthead.distributions.vector import Vector
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.mixture_family import mixture
from disthead.families.plackett_luce import PlackettLuce
from disthead.special.probabilities import divergence, log_odds, log_probability, log_sum_exp

__all__ = [
    "BernoulliEnsemble",
    "CategoricalEnsemble",
    "IndependentEnsemble",
    "RankingEnsemble",
    "VectorEnsemble",
    "ensemble",
]

_SAMPLES = 128  # of each member, for what has no sum or integral
_MOST_ITEMS = 6  # items up to which all orders are tried for the mode


def ensemble(members: Distribution) -> Distribution:
    """The mixture of the members' distributions: p(y) = mean over members of p_m(y).

    It is exact, of any family, and answers what its members answer: numbers and counts become a
    mixture, probabilities of classes are averaged, and the joint density of vectors is the mean of
    the members' joint densities. Beside that it splits its uncertainty:

    - `aleatoric`, the mean of the members' variances: noise in the data;
    - `epistemic`, the variance of the members' means: where they disagree. Both add up to
      `variance` (law of total variance). Classes and rankings have no variance: there the two are
      the next two;
    - `expected_entropy`, the mean of the members' entropies in nats;
    - `mutual_information`, what an outcome would tell about which member is right, in nats. Both
      add up to `entropy()`.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, without their normal approximation; Depeweg
    et al. 2018.

    Args:
        members: a distribution with batch_shape (members, ...).

    Returns:
        a distribution with batch_shape (...); the members are its `components`.

    Raises:
        ValueError: without a dimension of members.

    >>> from disthead.families.normal import Normal
    >>> dist = ensemble(Normal(torch.tensor([[-1.0], [1.0]]), 0.5))
    >>> dist.aleatoric, dist.epistemic, dist.variance
    (tensor([0.2500]), tensor([1.]), tensor([1.2500]))
    """
    if not members.batch_shape:
        raise ValueError(
            f"members must have batch_shape (members, ...), got {members!r} without one."
        )
    last = len(members.batch_shape) - 1
    components = members.map(lambda parameter: parameter.movedim(0, last))
    if isinstance(components, Categorical):
        probs = components.given_probs
        return (
            CategoricalEnsemble(components.logits)
            if probs is None
            else CategoricalEnsemble(member_probs=probs)
        )
    if isinstance(components, Bernoulli):
        probs = components.given_probs
        return (
            BernoulliEnsemble(components.logits)
            if probs is None
            else BernoulliEnsemble(member_probs=probs)
        )
    if isinstance(components, PlackettLuce):
        return RankingEnsemble(components)
    if isinstance(components, Independent):
        return IndependentEnsemble(components)
    if components.event_shape:
        return VectorEnsemble(components)
    return mixture(torch.zeros(components.batch_shape[-1]), components)


class _OfMembers:
    """What every ensemble here says of its `components`, the members, batch_shape (..., members)."""

    components: Any

    @property
    def expected_entropy(self) -> Tensor:
        return self.components.entropy().mean(-1)


class _WithoutVariance(_OfMembers):
    """Of classes and rankings, which have no variance: the two parts of the entropy stand for those of the variance."""

    mutual_information: Any

    @property
    def aleatoric(self) -> Tensor:
        return self.expected_entropy

    @property
    def epistemic(self) -> Tensor:
        return self.mutual_information


class CategoricalEnsemble(_WithoutVariance, Categorical):
    """Classes whose probabilities are the average over members.

    Args:
        member_logits: shape (..., members, K).
        member_probs: their probabilities, of the same shape. Exactly one of the two is given.

    >>> CategoricalEnsemble(torch.tensor([[9.0, -9.0], [-9.0, 9.0]])).mutual_information  # they disagree: log 2
    tensor(0.6931)
    """

    parameter_dims = {"member_logits": 2, "member_probs": 2}
    member_logits: Tensor | None = None
    member_probs: Tensor | None = None

    def __init__(self, member_logits: Tensor | None = None, *, member_probs: Tensor | None = None):
        self._store(**_exactly_one(member_logits=member_logits, member_probs=member_probs))

    @property
    def components(self) -> Categorical:
        """The members, batch_shape (..., members)."""
        return Categorical(logits=self.member_logits, probs=self.member_probs)

    @property
    def num_classes(self) -> int:
        return getattr(self, self._names[0]).shape[-1]

    @property
    def given_probs(self) -> Tensor | None:
        return None if self.member_probs is None else self.components.probs.mean(-2)

    @property
    def logits(self) -> Tensor:
        """The logarithms of the averaged probabilities."""
        probs = self.given_probs
        return (
            _log_mean(self.components._log_probs, -2) if probs is None else log_probability(probs)
        )

    @property
    def mutual_information(self) -> Tensor:
        members = self.components
        return divergence(members.probs, members._log_probs, self._log_probs.unsqueeze(-2)).mean(-1)


class BernoulliEnsemble(_OfMembers, Bernoulli):
    """Two outcomes, whose probabilities are the average over members.

    Args:
        member_logits: log odds, shape (..., members).
        member_probs: probabilities of 1, of the same shape. Exactly one of the two is given.

    >>> BernoulliEnsemble(torch.tensor([0.0, 2.0])).probs  # (0.5 + 0.8808) / 2
    tensor(0.6904)
    """

    parameter_dims = {"member_logits": 1, "member_probs": 1}
    member_logits: Tensor | None = None
    member_probs: Tensor | None = None

    def __init__(self, member_logits: Tensor | None = None, *, member_probs: Tensor | None = None):
        self._store(**_exactly_one(member_logits=member_logits, member_probs=member_probs))

    @property
    def components(self) -> Bernoulli:
        """The members, batch_shape (..., members)."""
        return Bernoulli(logits=self.member_logits, probs=self.member_probs)

    @property
    def given_probs(self) -> Tensor | None:
        return None if self.member_probs is None else self.member_probs.mean(-1)

    @property
    def logits(self) -> Tensor:
        """The log odds of the averaged probability."""
        probs = self.given_probs
        if probs is not None:
            return log_odds(probs)
        return _log_mean(self.components._log_success, -1) - _log_mean(
            self.components._log_failure, -1
        )

    @property
    def aleatoric(self) -> Tensor:
        return self.components.variance.mean(-1)

    @property
    def epistemic(self) -> Tensor:
        return self.components.probs.var(-1, correction=0)

    @property
    def mutual_information(self) -> Tensor:
        members = self.components
        probs, log_probs = members._both()
        return divergence(probs, log_probs, self._both()[1].unsqueeze(-2)).mean(-1)


class _Joint(_OfMembers, Distribution):
    """The mixture of joint distributions: `components` have batch_shape (..., members), and an event."""

    def __init__(self, components: Any):
        self.components = components
        Distribution.__init__(
            self, components.batch_shape[:-1], components.event_shape, validate_args=False
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.components!r})"

    @property
    def dtype(self) -> torch.dtype:
        return self.components.dtype

    @property
    def device(self) -> torch.device:
        return self.components.device

    @property
    def has_rsample(self) -> bool:
        return self.components.has_rsample

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {f"component_{name}": value for name, value in self.components.parameters.items()}

    def map(self, function: Callable[[Tensor], Tensor]):
        return type(self)(self.components.map(function))

    def expand(self, batch_shape, _instance=None):
        return type(self)(
            self.components.expand(Size(batch_shape) + self.components.batch_shape[-1:])
        )

    def affine(self, loc: Tensor, scale: Tensor):
        shape = torch.broadcast_shapes(loc.shape, scale.shape, self.batch_shape + self.event_shape)
        return type(self)(
            self.components.affine(*(self._beside(part.expand(shape)) for part in (loc, scale)))
        )

    def _in_double(self):
        return type(self)(self.components._in_double())

    def _beside(self, y: Tensor) -> Tensor:
        """Targets with a dimension for the members."""
        return y.unsqueeze(-1 - len(self.event_shape))

    def log_prob(self, y: Tensor) -> Tensor:
        return _log_mean(self.components.log_prob(self._beside(y)), -1)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._of_one(self.components.sample(Size(sample_shape), generator), generator)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients: which member they come from does not depend on anything learned."""
        return self._of_one(self.components.rsample(Size(sample_shape), generator), generator)

    def _of_one(self, drawn: Tensor, generator: torch.Generator | None) -> Tensor:
        """Of the samples of all members that of one, by chance."""
        dim = drawn.ndim - len(self.event_shape) - 1
        count = drawn.shape[dim]
        chosen = torch.randint(
            count, drawn.shape[:dim], generator=generator, device=drawn.device
        ).reshape(drawn.shape[:dim] + (1,) * (drawn.ndim - dim))
        return drawn.gather(
            dim, chosen.expand((*drawn.shape[:dim], 1, *drawn.shape[dim + 1 :]))
        ).squeeze(dim)

    @property
    @torch.no_grad()
    def mutual_information(self) -> Tensor:
        """log M - E[entropy of the members once y is known], by 128 samples of each member, always the same ones; no gradient."""
        dim, remaining = 1 + len(self.batch_shape), torch.zeros((), device=self.device)
        drawn = draw(self.components, _SAMPLES, torch.Generator().manual_seed(0))
        for y in drawn.unbind(dim):
            shares = self.components.log_prob(self._beside(y)).log_softmax(-1)
            remaining = remaining - torch.where(
                shares > -torch.inf, shares.exp() * shares, 0.0
            ).sum(-1).mean(0)
        count = drawn.shape[dim]
        return math.log(count) - remaining / count

    def entropy(self) -> Tensor:
        """E[-log p(Y)] in nats: `expected_entropy` and `mutual_information`, the latter by samples."""
        return self.expected_entropy + self.mutual_information


class VectorEnsemble(_Joint, Vector):
    """Vectors whose joint density is the mean of the members' densities.

    Args:
        components: a distribution of vectors, batch_shape (..., members).

    >>> from disthead.families.multivariate_normal import MultivariateNormal
    >>> dist = VectorEnsemble(MultivariateNormal(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), 0.5 * torch.eye(2)))
    >>> dist.covariance  # the members disagree along the diagonal
    tensor([[1.2500, 1.0000],
            [1.0000, 1.2500]])
    """

    arg_constraints = {}

    @property
    def support(self):
        return self.components.support

    @property
    def marginals(self) -> Distribution:
        return _of_coordinates(self.components.marginals, len(self.batch_shape))

    @property
    def mean(self) -> Tensor:
        return self.marginals.mean

    @property
    def median(self) -> Tensor:
        """Of each coordinate by itself."""
        return self.marginals.median

    @property
    def variance(self) -> Tensor:
        return self.marginals.variance

    @property
    def covariance(self) -> Tensor:
        return _total_covariance(self.components, self.mean)

    @property
    def aleatoric(self) -> Tensor:
        """Of each coordinate."""
        return self.marginals.aleatoric

    @property
    def epistemic(self) -> Tensor:
        """Of each coordinate."""
        return self.marginals.epistemic

    @property
    def mode(self) -> Tensor:
        raise self._unanswered(
            "mode",
            "the highest point of several densities has no formula; components.mode are "
            "the members'.",
        )


class IndependentEnsemble(_Joint, Independent):
    """Several outputs, independent within each member, and so dependent over all: members are wrong about them together.

    What is about one number (cdf, mode, crps, aleatoric ...) is answered for each output by itself,
    as `Independent` does.

    Args:
        components: an `Independent`, batch_shape (..., members).

    >>> from disthead.families.normal import Normal
    >>> dist = IndependentEnsemble(Normal(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), 0.5).to_event(1))
    >>> dist.covariance
    tensor([[1.2500, 1.0000],
            [1.0000, 1.2500]])
    """

    def __init__(self, components: Independent):
        self.components = components
        dims = len(components.batch_shape) - 1
        Independent.__init__(self, _of_coordinates(components.base, dims), components.count)

    @property
    def covariance(self) -> Tensor:
        if len(self.event_shape) != 1:
            return super().covariance  # says why there is none
        return _total_covariance(self.components, self.mean)


class RankingEnsemble(_WithoutVariance, _Joint, PlackettLuce):
    """Orders of items, each with the mean of its probabilities over the members.

    Args:
        components: a `PlackettLuce`, batch_shape (..., members).

    >>> RankingEnsemble(PlackettLuce(torch.tensor([[9.0, 0.0], [-9.0, 0.0]]))).top1
    tensor([0.5000, 0.5000])
    """

    @property
    def logits(self) -> Tensor:
        raise self._unanswered(
            "logits", "members score the items differently; components.logits are their scores."
        )

    @property
    def num_items(self) -> int:
        return self.event_shape[0]

    @property
    def top1(self) -> Tensor:
        return self.components.top1.mean(-2)

    @property
    def pairwise(self) -> Tensor:
        return self.components.pairwise.mean(-3)

    @property
    def mode(self) -> Tensor:
        """The most probable of all orders for up to 6 items; of more the most probable among the members' own modes."""
        if self.num_items <= _MOST_ITEMS:
            items = torch.arange(self.num_items, device=self.device)
            rankings = torch.cartesian_prod(*[items] * self.num_items).reshape(-1, self.num_items)
            rankings = rankings[(rankings.sort(-1).values == items).all(-1)]
            rankings = rankings.reshape((-1,) + (1,) * len(self.batch_shape) + self.event_shape)
            rankings = rankings.expand(rankings.shape[:1] + self.batch_shape + self.event_shape)
        else:
            rankings = self.components.mode.movedim(-2, 0)
        best = self.log_prob(rankings).argmax(0, keepdim=True).unsqueeze(-1)
        return rankings.gather(0, best.expand(best.shape[:-1] + self.event_shape)).squeeze(0)


def _exactly_one(**parameters: Tensor | None) -> dict[str, Tensor]:
    """The one that is given."""
    exactly_one("the ensemble", **parameters)
    return {name: value for name, value in parameters.items() if value is not None}


def _log_mean(values: Tensor, dim: int) -> Tensor:
    return log_sum_exp(values.movedim(dim, -1)) - math.log(values.shape[dim])


def _of_coordinates(marginals: Distribution, dims: int) -> Distribution:
    """The ensemble of single numbers, from members in dimension `dims`."""
    return ensemble(marginals.map(lambda parameter: parameter.movedim(dims, 0)))


def _total_covariance(components: Distribution, mean: Tensor) -> Tensor:
    """Law of total covariance: the mean of the members' covariances and the covariance of their means."""
    between = components.mean - mean.unsqueeze(-2)
    return components.covariance.mean(-3) + (between.unsqueeze(-1) * between.unsqueeze(-2)).mean(-3)
