"""The multinomial distribution: how independent trials fall into K classes."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.arrays import exactly_one
from disthead.distributions.base import tensors
from disthead.distributions.count_vectors import CountVector, highest_averages, split_trials
from disthead.distributions.univariate import in_double
from disthead.families.binomial import Binomial
from disthead.families.trials import VectorTrialsFamily
from disthead.links import LINKS
from disthead.special import poisson_log_mass
from disthead.special.probabilities import divergence, log_probability

__all__ = ["Multinomial", "MultinomialFamily"]


class Multinomial(CountVector):
    """Multinomial distribution with mass n! prod_k probs_k^y_k / y_k! on vectors y with sum n.

    Masses are computed as those of independent Poisson counts given their sum, from Stirling errors
    and deviances (Loader 2000), so that nothing cancels at large counts. Source: Johnson, Kotz and
    Balakrishnan 1997, Discrete Multivariate Distributions, chapter 35.

    Args:
        total_count: the number n of trials, shape (...,), a whole number, zero or more.
        logits: unnormalised log-probabilities of the classes, shape (..., K).
        probs: probabilities of the classes, shape (..., K). Exactly one of logits and probs is
            given.

    Raises:
        ValueError: unless exactly one of logits and probs is given.

    >>> Multinomial(3, probs=torch.tensor([0.5, 0.25, 0.25])).log_prob([1, 1, 1]).exp()
    tensor(0.1875)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "logits": constraints.real_vector,
        "probs": constraints.simplex,
    }
    parameter_dims = {"logits": 1}

    def __init__(self, total_count=1, logits=None, *, probs=None):
        exactly_one("multinomial", logits=logits, probs=probs)
        total_count, logits, probs = tensors(total_count, logits, probs)
        logits = log_probability(probs) if logits is None else logits
        self._store(tuple(logits.shape[-1:]), total_count=total_count, logits=logits)

    @property
    def probs(self) -> Tensor:
        """The probabilities of the classes, shape (..., K)."""
        return self.logits.softmax(-1)

    _shares = probs

    @property
    def _expected(self) -> Tensor:
        return self.total_count.unsqueeze(-1) * self.probs

    def _terms(self, y: Tensor) -> Tensor:
        return poisson_log_mass(y, self._expected)

    @property
    def _log_constant(self) -> Tensor:
        return -poisson_log_mass(self.total_count, self.total_count)

    @property
    def marginals(self) -> Binomial:
        """The count of each class, a binomial distribution with batch_shape batch + (K,)."""
        size = self.logits.shape[-1]
        itself = torch.eye(size, dtype=torch.bool, device=self.device)
        others = self.logits.unsqueeze(-2).masked_fill(itself, -torch.inf).logsumexp(-1)
        return Binomial(self.total_count.unsqueeze(-1).expand(others.shape), self.logits - others)

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable vector, the trials dealt by highest averages (Finucan 1964)."""
        return highest_averages(self.total_count, self.probs)

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), Size(sample_shape) + self.batch_shape
        logits = exact.logits.expand(shape + self.event_shape)
        return split_trials(exact.total_count.expand(shape), logits, generator).to(self.dtype)


@register_kl(Multinomial, Multinomial)
@in_double
def _kl_multinomial(p: Multinomial, q: Multinomial) -> Tensor:
    """The trials times the divergence of one trial; infinite where the trials differ."""
    value = divergence(p.probs, p.logits.log_softmax(-1), q.logits.log_softmax(-1))
    return torch.where(p.total_count == q.total_count, p.total_count * value, torch.inf)


class MultinomialFamily(VectorTrialsFamily):
    """The multinomial family: p(y) = n! prod_k probs_k^y_k / y_k!, vectors y of K counts, sum n.

    Its parameter is `logits`, shape (..., K), with probs = softmax(logits). The trials n =
    total_count are known: those of each row are given to the head, or one number is an option.

    Args:
        event_shape: (K,), the number of classes.
        total_count: the trials of every row; None where each row brings its own.

    Raises:
        ValueError: for an event_shape of other than one dimension.
    """

    name = "multinomial"
    data_type = "multivariate, discrete, bounded"
    domain = "y in {0, 1, ..., total_count}^K with the sum total_count"
    use = "counts of K classes among trials"
    loss = "cross-entropy of all trials of a row"
    noise = (
        "A known number of trials, which are independent and fall into K classes with the same "
        "probabilities within a row."
    )
    density = "p(y) = n! prod_k probs_k^y_k / y_k!, probs = softmax(logits), n = total_count"
    breaks = (
        "Trials of one row that resemble each other (votes of a town, words of a text) scatter "
        "more than a multinomial."
    )
    remedy = (
        "dirichlet_multinomial for trials that resemble each other, categorical for single trials."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), total_count: int | None = None):
        super().__init__(event_shape, total_count)
        self.parameters, self.shapes = {"logits": LINKS["softmax"]}, {"logits": self.event_shape}

    def make(self, **parameters: Tensor) -> Multinomial:
        return Multinomial(**self.with_trials(parameters))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        return {"logits": self.typical_shares(y).log()}
