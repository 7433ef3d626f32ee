"""`ensemble`: the exact mixture of the distributions of several models, with equal weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor

from disthead.arrays import exactly_one
from disthead.distributions.base import Distribution
from disthead.distributions.censored import Censored
from disthead.distributions.independent import Independent
from disthead.distributions.rankings import Rankings
from disthead.distributions.scores import draw
from disthead.distributions.vector import Vector
from disthead.families.bernoulli import Bernoulli
from disthead.families.categorical import Categorical
from disthead.families.mixture_family import mixture
from disthead.families.ordered_categorical import OrderedCategorical
from disthead.special.probabilities import divergence, log_odds, log_probability, log_sum_exp

__all__ = [
    "BernoulliEnsemble",
    "CategoricalEnsemble",
    "IndependentEnsemble",
    "OrderedCategoricalEnsemble",
    "RankingEnsemble",
    "VectorEnsemble",
    "ensemble",
]

_SAMPLES = 128  # of each member, for expectations without a sum or an integral
_MOST_ITEMS = 6  # up to here the mode compares all rankings


def ensemble(members: Distribution) -> Distribution:
    """The mixture of the members' distributions: p(y) = mean over members of p_m(y).

    It is exact for every family and has the methods of its members: numbers and counts become a
    mixture, probabilities of classes are averaged, and the joint density of vectors is the mean of
    the members' joint densities. It also decomposes the uncertainty:

    - `aleatoric` is the mean of the members' variances: the noise in the data.
    - `epistemic` is the variance of the members' means: their disagreement. Both add up to
      `variance` (law of total variance). Classes and rankings have no variance; for them these two
      equal the next two.
    - `expected_entropy` is the mean of the members' entropies, in nats.
    - `mutual_information` is the information that an outcome gives about its member, in nats. Both
      add up to `entropy()`.

    Source: Lakshminarayanan, Pritzel and Blundell 2017 (without their normal approximation);
    Depeweg et al. 2018.

    Args:
        members: a distribution with batch_shape (members, ...).

    Returns:
        a distribution with batch_shape (...); the members are its `components`.

    Raises:
        ValueError: for a distribution without a batch dimension.

    >>> from disthead.families.normal import Normal
    >>> dist = ensemble(Normal(torch.tensor([[-1.0], [1.0]]), 0.5))
    >>> dist.aleatoric, dist.epistemic, dist.variance
    (tensor([0.2500]), tensor([1.]), tensor([1.2500]))
    """
    if not members.batch_shape:
        raise ValueError(
            f"members must have batch_shape (members, ...), got {members!r} without one."
        )
    if isinstance(members, Censored):
        return Censored(ensemble(members.base))
    last = len(members.batch_shape) - 1
    components = members.map(lambda parameter: parameter.movedim(0, last))
    if isinstance(components, Categorical):
        is_ordered = isinstance(components, OrderedCategorical)
        of_classes = OrderedCategoricalEnsemble if is_ordered else CategoricalEnsemble
        probs = components.given_probs
        return of_classes(components.logits) if probs is None else of_classes(member_probs=probs)
    if isinstance(components, Bernoulli):
        probs = components.given_probs
        return (
            BernoulliEnsemble(components.logits)
            if probs is None
            else BernoulliEnsemble(member_probs=probs)
        )
    if isinstance(components, Rankings):
        return RankingEnsemble(components)
    if isinstance(components, Independent):
        return IndependentEnsemble(components)
    if components.event_shape:
        return VectorEnsemble(components)
    return mixture(torch.zeros(components.batch_shape[-1]), components)


class _OfMembers:
    """An ensemble with its members as `components`, of batch_shape (..., members)."""

    components: Any

    @property
    def expected_entropy(self) -> Tensor:
        return self.components.entropy().mean(-1)


class _WithoutVariance(_OfMembers):
    """An ensemble of classes or rankings: the parts of the entropy replace those of a variance."""

    mutual_information: Any

    @property
    def aleatoric(self) -> Tensor:
        return self.expected_entropy

    @property
    def epistemic(self) -> Tensor:
        return self.mutual_information


class CategoricalEnsemble(_WithoutVariance, Categorical):
    """Categorical distribution with p(k) = mean over members of p_m(k), k in {0, ..., K - 1}.

    Args:
        member_logits: unnormalised log-probabilities, shape (..., members, K).
        member_probs: probabilities, of the same shape. Exactly one of both is given.

    >>> sure_opposites = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])
    >>> CategoricalEnsemble(sure_opposites).mutual_information  # log 2
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
        """The information that a class gives about its member, in nats."""
        members = self.components
        return divergence(members.probs, members._log_probs, self._log_probs.unsqueeze(-2)).mean(-1)


class OrderedCategoricalEnsemble(CategoricalEnsemble, OrderedCategorical):
    """Distribution of ordered classes with p(k) = mean over members of p_m(k).

    Args:
        member_logits: unnormalised log-probabilities, shape (..., members, K).
        member_probs: probabilities, of the same shape. Exactly one of both is given.

    >>> dist = OrderedCategoricalEnsemble(member_probs=torch.tensor([[0.2, 0.8], [0.6, 0.4]]))
    >>> dist.cdf(torch.tensor(0))
    tensor(0.4000)
    """

    @property
    def components(self) -> OrderedCategorical:
        """The members, batch_shape (..., members)."""
        return OrderedCategorical(logits=self.member_logits, probs=self.member_probs)


class BernoulliEnsemble(_OfMembers, Bernoulli):
    """Bernoulli distribution with probs = mean over members of probs_m, y in {0, 1}.

    Args:
        member_logits: log-odds, shape (..., members).
        member_probs: probabilities of 1, of the same shape. Exactly one of both is given.

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
        """The log-odds of the averaged probability."""
        probs = self.given_probs
        if probs is not None:
            return log_odds(probs)
        return _log_mean(self.components._log_success, -1) - _log_mean(
            self.components._log_failure, -1
        )

    @property
    def aleatoric(self) -> Tensor:
        """The mean of the members' variances probs (1 - probs)."""
        return self.components.variance.mean(-1)

    @property
    def epistemic(self) -> Tensor:
        """The variance of the members' probabilities."""
        return self.components.probs.var(-1, correction=0)

    @property
    def mutual_information(self) -> Tensor:
        """The information that an outcome gives about its member, in nats."""
        members = self.components
        probs, log_probs = members._both()
        return divergence(probs, log_probs, self._both()[1].unsqueeze(-2)).mean(-1)


class _Joint(_OfMembers, Distribution):
    """A mixture of joint distributions: components of batch_shape (..., members) with an event."""

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
        """Targets with an additional dimension for the members."""
        return y.unsqueeze(-1 - len(self.event_shape))

    def log_prob(self, y: Tensor) -> Tensor:
        return _log_mean(self.components.log_prob(self._beside(y)), -1)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        return self._of_one(self.components.sample(Size(sample_shape), generator), generator)

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """Samples with gradients, each from a random member (equal weights need no gradient)."""
        return self._of_one(self.components.rsample(Size(sample_shape), generator), generator)

    def _of_one(self, drawn: Tensor, generator: torch.Generator | None) -> Tensor:
        """The samples of one member, chosen at random, from samples of all of them."""
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
        """The mutual information of y and its member, in nats: log M - E[H(member | y)].

        It is an estimate by 128 samples of each member with a fixed seed, without a gradient.
        """
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
        """The entropy in nats, expected_entropy + mutual_information, the latter by samples."""
        return self.expected_entropy + self.mutual_information


class VectorEnsemble(_Joint, Vector):
    """Distribution of vectors with the density p(y) = mean over members of p_m(y).

    Args:
        components: a distribution of vectors with batch_shape (..., members); its event_shape is
            (D,).

    >>> from disthead.families.multivariate_normal import MultivariateNormal
    >>> means = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    >>> dist = VectorEnsemble(MultivariateNormal(means, 0.5 * torch.eye(2)))
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
        return self.components.mean.mean(len(self.batch_shape))

    @property
    def median(self) -> Tensor:
        """The median of each coordinate."""
        return self.marginals.median

    @property
    def variance(self) -> Tensor:
        return self.aleatoric + self.epistemic

    @property
    def covariance(self) -> Tensor:
        """The mean of the members' covariances plus the covariance of their means, (..., D, D)."""
        return _total_covariance(self.components, self.mean)

    @property
    def aleatoric(self) -> Tensor:
        """The mean of the members' variances of each coordinate."""
        return self.components.variance.mean(len(self.batch_shape))

    @property
    def epistemic(self) -> Tensor:
        """The variance of the members' means of each coordinate."""
        return self.components.mean.var(len(self.batch_shape), correction=0)

    @property
    def mode(self) -> Tensor:
        raise self._unanswered(
            "mode",
            "the highest point of several densities has no formula; components.mode are "
            "the members'.",
        )


class IndependentEnsemble(_Joint, Independent):
    """Several outputs that are independent within each member, and dependent in the ensemble.

    The joint density is p(y) = mean over members of prod_i p_m(y_i). Methods for a single number
    (cdf, mode, crps, aleatoric ...) answer for each output, as in `Independent`.

    Args:
        components: an `Independent` with batch_shape (..., members).

    >>> from disthead.families.normal import Normal
    >>> means = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    >>> dist = IndependentEnsemble(Normal(means, 0.5).to_event(1))
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
            return super().covariance  # raises and says why
        return _total_covariance(self.components, self.mean)


class RankingEnsemble(_WithoutVariance, _Joint, Rankings):
    """Distribution of rankings with P(ranking) = mean over members of P_m(ranking).

    Args:
        components: a distribution of rankings with batch_shape (..., members); its event_shape is
            (K,).

    >>> from disthead.families.plackett_luce import PlackettLuce
    >>> RankingEnsemble(PlackettLuce(torch.tensor([[9.0, 0.0], [-9.0, 0.0]]))).top1
    tensor([0.5000, 0.5000])
    """

    @property
    def logits(self) -> Tensor:
        raise self._unanswered(
            "logits", "members score the items differently; components.logits are their scores."
        )

    @property
    def support(self) -> Any:
        return self.components.support

    @property
    def top1(self) -> Tensor:
        return self.components.top1.mean(-2)

    @property
    def pairwise(self) -> Tensor:
        return self.components.pairwise.mean(-3)

    @property
    def mode(self) -> Tensor:
        """The most probable ranking, shape (..., K).

        It is exact for up to 6 items, and the most probable of the members' modes for more.
        """
        if self.num_items <= _MOST_ITEMS:
            rankings = self.components.enumerate_support(expand=False).squeeze(-2)
            rankings = rankings.expand(rankings.shape[:1] + self.batch_shape + self.event_shape)
        else:
            rankings = self.components.mode.movedim(-2, 0)
        best = self.log_prob(rankings).argmax(0, keepdim=True).unsqueeze(-1)
        return rankings.gather(0, best.expand(best.shape[:-1] + self.event_shape)).squeeze(0)


def _exactly_one(**parameters: Tensor | None) -> dict[str, Tensor]:
    """The parameter that is not None, by name."""
    exactly_one("the ensemble", **parameters)
    return {name: value for name, value in parameters.items() if value is not None}


def _log_mean(values: Tensor, dim: int) -> Tensor:
    return log_sum_exp(values.movedim(dim, -1)) - math.log(values.shape[dim])


def _of_coordinates(marginals: Distribution, dims: int) -> Distribution:
    """The ensemble of single numbers whose members are in dimension `dims`."""
    return ensemble(marginals.map(lambda parameter: parameter.movedim(dims, 0)))


def _total_covariance(components: Distribution, mean: Tensor) -> Tensor:
    """The mean of the members' covariances plus the covariance of their means."""
    between = components.mean - mean.unsqueeze(-2)
    return components.covariance.mean(-3) + (between.unsqueeze(-1) * between.unsqueeze(-2)).mean(-3)
