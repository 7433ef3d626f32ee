"""The Dirichlet distribution: shares of a whole, such as budgets, diets or land use."""

import torch
from torch import Size, Tensor
from torch.distributions import constraints, register_kl
from torch.nn.functional import pad

from disthead.distributions.base import HALF_LOG_TWO_PI, positive, tensors, to_double
from disthead.distributions.univariate import in_double
from disthead.distributions.vector import Vector, dimension
from disthead.errors import unknown_name
from disthead.families.beta import Beta
from disthead.families.family import Family
from disthead.families.gamma import Gamma, concentration_divergence, log_standard_gamma
from disthead.links import LINKS
from disthead.special import deviance, stirling_error
from disthead.special.digamma import digamma, digamma_error

__all__ = ["Dirichlet", "DirichletFamily", "MeanDirichlet"]

_FAINT = -30.0  # the logarithm of a gamma variable below which its cdf is y^a / Gamma(a + 1)


class _Compositions(constraints.Constraint):
    """Positive parts (..., K) with the sum one, to six decimals."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value > 0).all(-1) & ((to_double(value).sum(-1) - 1).abs() < 1e-6)


class Dirichlet(Vector):
    """Dirichlet distribution with density Gamma(A) prod_k y_k^(a_k - 1) / Gamma(a_k).

    Here y is a composition: K positive parts with the sum one. a = concentration, A = sum_k a_k;
    the density is that of the first K - 1 parts. Each part alone has a beta distribution
    (`marginals`). Source: Kotz, Balakrishnan and Johnson 2000, Continuous Multivariate
    Distributions, chapter 49.

    Args:
        concentration: a, positive, shape (..., K); the mean is a / A, and the larger A, the closer
            are compositions to it.
        log_concentration: log(a); a, log(a) or both are given.

    >>> dist = Dirichlet(torch.tensor([2.0, 3.0, 5.0]))
    >>> dist.log_prob(torch.tensor([0.2, 0.3, 0.5])), dist.mean
    (tensor(2.1407), tensor([0.2000, 0.3000, 0.5000]))
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    parameter_dims = {"concentration": 1, "log_concentration": 1, "log_mean": 1}
    support = _Compositions()
    has_rsample = True

    def __init__(self, concentration=None, *, log_concentration=None):
        concentration, log_concentration = tensors(concentration, log_concentration)
        concentration, log_concentration = positive(concentration, log_concentration)
        self._store(
            concentration.shape[-1:],
            concentration=concentration,
            log_concentration=log_concentration,
        )

    @property
    def _total(self) -> Tensor:
        return self.concentration.sum(-1)

    @property
    def _others(self) -> Tensor:
        """For each part the sum of the other concentrations, without a difference."""
        a = self.concentration
        before = pad(a.cumsum(-1)[..., :-1], (1, 0))
        after = pad(a.flip(-1).cumsum(-1)[..., :-1], (1, 0)).flip(-1)
        return before + after

    @in_double
    def log_prob(self, y: Tensor) -> Tensor:
        """The log-density, by deviances and Stirling errors, so that no large terms cancel."""
        inside = self.support.check(y)
        y = torch.where(inside.unsqueeze(-1), y, 1 / y.shape[-1])
        a, total = self.concentration, self._total
        distance = deviance(a, total.unsqueeze(-1) * y).sum(-1)
        # the textbook's formula, also where rounded parts do not add up to one
        value = total * (y.sum(-1) - 1) - distance - y.log().sum(-1)
        value = value + 0.5 * (self.log_concentration.sum(-1) - total.log())
        value = value + stirling_error(total) - stirling_error(a).sum(-1)
        value = value - (y.shape[-1] - 1) * HALF_LOG_TWO_PI
        return torch.where(inside, value, -torch.inf)

    @property
    @in_double
    def mean(self) -> Tensor:
        return self.concentration / self._total.unsqueeze(-1)

    @property
    def median(self) -> Tensor:
        """The median of each part; these do not add up to one."""
        return self.marginals.median

    @property
    @in_double
    def mode(self) -> Tensor:
        """The peak (a - 1) / (A - K) for a > 1; parts with a <= 1 are 0 there.

        Where no a is above 1 it is the vertex with the largest a, and the mean where all a are 1.
        """
        a = self.concentration
        excess = (a - 1).clamp(min=0)
        total = excess.sum(-1, keepdim=True)
        vertex = torch.nn.functional.one_hot(a.argmax(-1), a.shape[-1]).to(a.dtype)
        edge = torch.where((a == 1).all(-1, keepdim=True), 1 / a.shape[-1], vertex)
        return torch.where(total > 0, excess / torch.where(total > 0, total, 1.0), edge)

    @property
    @in_double
    def variance(self) -> Tensor:
        total = self._total.unsqueeze(-1)
        return self.concentration / total * (self._others / total) / (total + 1)

    @property
    @in_double
    def covariance(self) -> Tensor:
        """The covariance (diag(m) - m m^T) / (A + 1), shape (..., K, K), with the mean m."""
        shares, size = self.mean, (self._total + 1)[..., None, None]
        products = -shares.unsqueeze(-1) * shares.unsqueeze(-2) / size
        own = torch.eye(shares.shape[-1], dtype=torch.bool, device=shares.device)
        return torch.where(own, self.variance.unsqueeze(-1), products)

    @property
    def marginals(self) -> Beta:
        exact = self._in_double()
        return Beta(
            exact.concentration.to(self.dtype),
            exact._others.to(self.dtype),
            log_concentration1=exact.log_concentration.to(self.dtype),
            log_concentration0=exact._others.log().to(self.dtype),
        )

    @in_double
    def entropy(self) -> Tensor:
        """The entropy in nats: log B(a) + (A - K) psi(A) - sum_k (a_k - 1) psi(a_k).

        B(a) = prod_k Gamma(a_k) / Gamma(A).
        """
        a, total, size = self.concentration, self._total, self.concentration.shape[-1]
        logs = 0.5 * self.log_concentration.sum(-1) + (0.5 - size) * total.log()
        parts = (stirling_error(a) + (a - 1) * digamma_error(a)).sum(-1)
        whole = stirling_error(total) + (total - size) * digamma_error(total)
        return (size - 1) * HALF_LOG_TWO_PI + logs + parts - whole

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        """The shares of K gamma variables, with their implicit gradients (Figurnov et al. 2018)."""
        exact = self._in_double()
        a = exact.concentration.expand(self._extended_shape(sample_shape))
        with torch.no_grad():
            log_gamma = log_standard_gamma(a, generator)
            is_faint = log_gamma < _FAINT
            variable = torch.where(is_faint, 1.0, log_gamma.exp())
            faint_slope = (digamma(a + 1) - log_gamma) / a
        if a.requires_grad:
            standard = Gamma(a, torch.ones_like(a))
            by_cdf = standard._with_gradient(variable).log()
            by_power = faint_slope * (a - a.detach())
            change = torch.where(is_faint, by_power, by_cdf - by_cdf.detach())
            log_gamma = log_gamma + change
        least = torch.finfo(self.dtype).tiny
        return log_gamma.softmax(-1).to(self.dtype).clamp(min=least)

    def affine(self, loc: Tensor, scale: Tensor) -> "Dirichlet":
        raise self._unanswered("affine", "shares of a whole have no other units.")


class MeanDirichlet(Dirichlet):
    """Dirichlet distribution by its mean and its precision; see `Dirichlet` for the density.

    The concentration is mean * precision. Source: Maier 2014, DirichletReg, the alternative
    parametrisation.

    Args:
        mean: positive shares with the sum one, shape (..., K).
        precision: A, the sum of the concentrations, positive, shape (...,); a part of mean m has
            the variance m (1 - m) / (1 + A).
        log_mean: log(mean); the mean, its logarithm or both are given.
        log_precision: log(precision); the precision, its logarithm or both are given.

    >>> MeanDirichlet(torch.tensor([0.25, 0.75]), 4.0).concentration
    tensor([1., 3.])
    """

    arg_constraints = {"mean": constraints.simplex, "precision": constraints.positive}

    def __init__(self, mean=None, precision=None, *, log_mean=None, log_precision=None):
        mean, precision, log_mean, log_precision = tensors(mean, precision, log_mean, log_precision)
        precision, log_precision = positive(precision, log_precision)
        if log_mean is None:
            log_mean = to_double(mean).log()
        self._store(
            log_mean.shape[-1:], precision=precision, log_mean=log_mean, log_precision=log_precision
        )

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "precision": self.precision}

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp().to(self.dtype)

    @property
    def log_concentration(self) -> Tensor:
        """The logarithm of the concentration."""
        return self.log_mean.to(self.dtype) + self.log_precision.unsqueeze(-1)

    @property
    def concentration(self) -> Tensor:
        """The product mean * precision."""
        return self.mean * self.precision.unsqueeze(-1)

    @property
    def _total(self) -> Tensor:
        return self.precision


@register_kl(Dirichlet, Dirichlet)
@in_double
def _kl_dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    """Deviances of q's concentrations from p's mean, plus Stirling remainders."""
    expected = q._total.unsqueeze(-1) * p.mean
    parts = deviance(q.concentration, expected)
    parts = parts + concentration_divergence(p.concentration, q.concentration)
    return parts.sum(-1) - concentration_divergence(p._total, q._total)


class DirichletFamily(Family):
    """The Dirichlet family: p(y) = Gamma(A) prod_k y_k^(a_k - 1) / Gamma(a_k), A = sum_k a_k.

    Targets y are compositions: K positive parts with the sum one, shape (..., K).

    Args:
        event_shape: (K,), the number of parts.
        parametrization: "concentration" for the parameter concentration = a (..., K), "mean" for
            mean = a / A (..., K) and precision = A (...,).

    Raises:
        ValueError: for another parametrization, or an event_shape of other than one dimension.
    """

    name = "dirichlet"
    kind = Dirichlet.kind
    support = _Compositions()
    data_type = "multivariate, continuous, shares of a whole"
    domain = "y_k > 0 with sum_k y_k = 1"
    use = "compositions"
    loss = "-sum_k (a_k - 1) log y_k + log B(a)"
    noise = (
        "Shares of a whole that scatter about their mean, each with a variance that shrinks "
        "towards 0 and 1."
    )
    density = (
        "p(y) = Gamma(A) prod_k y_k^(a_k - 1) / Gamma(a_k), a = concentration = mean * precision, "
        "A = sum_k a_k"
    )
    breaks = (
        "Parts of exactly zero are impossible. Any two parts are negatively correlated, and all "
        "have one precision."
    )
    remedy = (
        "multivariate_normal on the logarithms of the ratios to one part, for positively "
        "correlated parts; beta for two parts; categorical with soft labels for parts of zero."
    )
    edge_remedy = (
        "A part of exactly 0 has the density zero or infinity. Where zeros come from rounding or "
        "a limit of detection, replace them by a stated small amount and divide by the sum "
        "(Martin-Fernandez et al. 2003); where they are outcomes of their own, model them apart."
    )

    def __init__(self, event_shape: tuple[int, ...] = (), parametrization: str = "concentration"):
        if parametrization not in ("concentration", "mean"):
            raise unknown_name("parametrization", parametrization, ["concentration", "mean"])
        parts = dimension(event_shape, "dirichlet", "(K,), the number of parts, such as (3,)")
        self.event_shape, self.parametrization = (parts,), parametrization
        softplus = LINKS["softplus"]
        if parametrization == "mean":
            self.parameters = {"mean": LINKS["softmax"], "precision": softplus}
            self.shapes = {"mean": (parts,)}
        else:
            self.parameters = {"concentration": softplus}
            self.shapes = {"concentration": (parts,)}

    def make(self, **parameters: Tensor) -> Dirichlet:
        return (MeanDirichlet if self.parametrization == "mean" else Dirichlet)(**parameters)

    def constrain(self, raw, links):
        values = super().constrain(raw, links)
        if "mean" in raw and links["mean"] is LINKS["softmax"]:
            values["log_mean"] = raw["mean"].log_softmax(-1)
        return values

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        mean, variance = y.mean(0), y.var(0, correction=0).sum(-1)
        room = (mean * (1 - mean)).sum(-1)
        precision = (room / torch.maximum(variance, 1e-8 * room) - 1).clamp(min=0.1)
        if self.parametrization == "mean":
            return {"mean": mean, "precision": precision}
        return {"concentration": mean * precision.unsqueeze(-1)}

    def _on_edge(self, values: Tensor) -> bool:
        return bool((values == 0).any(-1).all())
