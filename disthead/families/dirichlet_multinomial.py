"""The Dirichlet-multinomial distribution: how trials that resemble each other fall into classes."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl

from disthead.distributions.base import positive, tensors
from disthead.distributions.count_vectors import CountVector, highest_averages, split_trials
from disthead.distributions.univariate import in_double
from disthead.families.beta_binomial import BetaBinomial
from disthead.families.gamma import log_standard_gamma
from disthead.families.trials import VectorTrialsFamily
from disthead.links import LINKS
from disthead.special import negative_binomial_log_mass

__all__ = ["DirichletMultinomial", "DirichletMultinomialFamily"]


class DirichletMultinomial(CountVector):
    """Dirichlet-multinomial distribution: a multinomial one with Dirichlet probabilities.

    Its mass is n! Gamma(A) / Gamma(n + A) prod_k Gamma(y_k + a_k) / (Gamma(a_k) y_k!) on vectors y
    with sum n, where a = concentration and A is its sum. The covariance is that of a multinomial
    times (n + A) / (1 + A). Source: Mosimann 1962.

    Args:
        concentration: a, shape (..., K), positive.
        total_count: the number n of trials, shape (...,), a whole number, zero or more.
        log_concentration: log(a); a, log(a) or both are given.

    >>> DirichletMultinomial(torch.ones(3), 2).log_prob([1, 1, 0]).exp()
    tensor(0.1667)
    """

    arg_constraints = {
        "concentration": constraints.independent(constraints.positive, 1),
        "total_count": constraints.nonnegative_integer,
    }
    parameter_dims = {"concentration": 1, "log_concentration": 1}

    def __init__(self, concentration=None, total_count=1, *, log_concentration=None):
        inputs = tensors(concentration, total_count, log_concentration)
        concentration, total_count, log_concentration = inputs
        concentration, log_concentration = positive(concentration, log_concentration)
        self._store(
            tuple(concentration.shape[-1:]),
            concentration=concentration,
            total_count=total_count,
            log_concentration=log_concentration,
        )

    @property
    def _total(self) -> Tensor:
        return self.concentration.sum(-1)

    @property
    def _shares(self) -> Tensor:
        return self.concentration / self._total.unsqueeze(-1)

    @property
    def _inflation(self) -> Tensor:
        return (self.total_count + self._total) / (1 + self._total)

    def _probabilities(self) -> tuple[Tensor, Tensor]:
        """Those of negative binomial counts whose sum has the mean n.

        Given that sum the counts have this distribution, for any probability.
        """
        n, total = self.total_count, self._total
        return (total / (n + total)).detach(), (n / (n + total)).detach()

    def _terms(self, y: Tensor) -> Tensor:
        ends, probs = (part.unsqueeze(-1) for part in self._probabilities())
        return negative_binomial_log_mass(y, self.concentration, ends, probs)

    @property
    def _log_constant(self) -> Tensor:
        return -negative_binomial_log_mass(self.total_count, self._total, *self._probabilities())

    @property
    def marginals(self) -> BetaBinomial:
        """The count of each class, a beta-binomial distribution with batch_shape batch + (K,)."""
        size = self.concentration.shape[-1]
        itself = torch.eye(size, dtype=torch.bool, device=self.device)
        others = self.concentration.unsqueeze(-2).masked_fill(itself, 0.0).sum(-1)
        total_count = self.total_count.unsqueeze(-1).expand(others.shape)
        return BetaBinomial(
            self.concentration, others, total_count, log_concentration1=self.log_concentration
        )

    @property
    @in_double
    def mode(self) -> Tensor:
        """The most probable vector of counts.

        A trial more multiplies the mass by 1 + (a - 1) / (y + 1). So the trials are dealt to the
        classes by the highest averages of a - 1; where no a is above 1, all go to the largest one.
        """
        a = self.concentration
        weights = torch.where(a > 1, a - 1, 0.0)
        is_largest = (a == a.amax(-1, keepdim=True)).to(a.dtype)
        first = is_largest * (is_largest.cumsum(-1) == 1)
        none = (weights == 0).all(-1, keepdim=True)
        return highest_averages(self.total_count, torch.where(none, first, weights))

    @torch.no_grad()
    def sample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        exact, shape = self._in_double(), Size(sample_shape) + self.batch_shape
        concentration = exact.concentration.expand(shape + self.event_shape)
        logits = log_standard_gamma(concentration, generator)
        return split_trials(exact.total_count.expand(shape), logits, generator).to(self.dtype)


@register_kl(DirichletMultinomial, DirichletMultinomial)
@in_double
def _kl_dirichlet_multinomial(p: DirichletMultinomial, q: DirichletMultinomial) -> Tensor:
    """By sums over the marginal distributions of p; infinite where the trials differ."""
    value = p.marginals._expectation(lambda k: p._terms(k) - q._terms(k)).sum(-1)
    value = value + p._log_constant - q._log_constant
    return torch.where(p.total_count == q.total_count, value, torch.inf)


class DirichletMultinomialFamily(VectorTrialsFamily):
    """The Dirichlet-multinomial family: multinomial counts with Dirichlet probabilities.

    Its parameter is `concentration` = a, shape (..., K); the expected share of a class is a_k / A,
    where A is the sum of a. The trials n = total_count are known: those of each row are given to
    the head, or one number for all rows is an option.

    Args:
        event_shape: (K,), the number of classes.
        total_count: the trials of every row; None where each row brings its own.

    Raises:
        ValueError: for an event_shape of other than one dimension.
    """

    name = "dirichlet_multinomial"
    data_type = "multivariate, discrete, bounded"
    domain = "y in {0, 1, ..., total_count}^K with the sum total_count"
    use = "counts of K classes among trials that resemble each other"
    loss = "Dirichlet-multinomial log-likelihood"
    noise = (
        "A known number of trials that fall into K classes, with probabilities that differ from "
        "row to row in ways the features do not show."
    )
    density = (
        "p(y) = n! Gamma(A) / Gamma(n + A) prod_k Gamma(y_k + a_k) / (Gamma(a_k) y_k!), a = "
        "concentration, A = sum a, n = total_count"
    )
    breaks = (
        "One number, A, says how much all classes scatter. Counts that scatter less than a "
        "multinomial cannot be had: the concentrations grow without end."
    )
    remedy = "multinomial for less scatter, categorical for single trials."

    def __init__(self, event_shape: tuple[int, ...] = (), total_count: int | None = None):
        super().__init__(event_shape, total_count)
        self.parameters = {"concentration": LINKS["softplus"]}
        self.shapes = {"concentration": self.event_shape}

    def make(self, **parameters: Tensor) -> DirichletMultinomial:
        return DirichletMultinomial(**self.with_trials(parameters))

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        share, y = self.typical_shares(y), y.double()
        trials = y.sum(-1, keepdim=True)
        # the variance of a count is n share (1 - share) (1 + (n - 1) rho) for the correlation rho
        room = share * (1 - share)
        excess = ((y - trials * share).square() / room - trials).mean()
        correlation = excess / (trials * (trials - 1)).mean().clamp(min=1)
        return {"concentration": share * (1 / correlation.clamp(1e-3, 0.9) - 1)}
