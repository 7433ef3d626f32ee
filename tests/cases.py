"""THE table: one row per configured family. The shared tests run over all rows, and nothing else
lists families.

A row says how the family is configured, raw outputs at which it is tried, of what kind its targets
are, and, where they are known, scipy's distribution with the same parameters and the truth of its
answers at 50 digits. `event_shape` gives several independent outputs, `units` an affine target loc
+ scale * y.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st
import torch
from torch import Tensor
from torch.distributions import constraints

import disthead as dh
from tests.truth import (
    JUST_ABOVE_0,
    JUST_BELOW_1,
    LOCATIONS,
    LOGITS,
    SHAPES,
    SPREADS,
    Truth,
    around,
    asymmetric_laplace_cdf,
    asymmetric_laplace_crps,
    asymmetric_laplace_log_prob,
    beta_binomial_log_prob,
    beta_cdf,
    beta_crps,
    beta_entropy,
    beta_log_prob,
    binomial_cdf,
    binomial_log_prob,
    binomial_targets,
    cauchy_crps,
    cauchy_log_prob,
    cdf_by_sum,
    continuous_bernoulli_entropy,
    continuous_bernoulli_log_mass,
    conway_maxwell_poisson_log_prob,
    counts,
    crps_over_counts,
    dirichlet_entropy,
    dirichlet_log_prob,
    dirichlet_multinomial_log_prob,
    discretised_normal_log_prob,
    entropy_over_counts,
    extreme_value_cdf,
    extreme_value_log_prob,
    gamma_cdf,
    gamma_copula_log_prob,
    gamma_crps,
    gamma_entropy,
    gamma_log_prob,
    generalized_gamma_crps,
    generalized_normal_cdf,
    generalized_normal_crps,
    generalized_normal_log_prob,
    generalized_pareto_cdf,
    generalized_pareto_crps,
    generalized_pareto_log_prob,
    generalized_poisson_log_prob,
    gumbel_crps,
    gumbel_log_prob,
    half_normal_crps,
    histogram_cdf,
    histogram_log_prob,
    huber_cdf,
    huber_crps,
    huber_entropy,
    huber_log_prob,
    hurdle_poisson_log_prob,
    hyperbolic_secant_crps,
    identity,
    inverse_gamma_crps,
    inverse_gaussian_cdf,
    inverse_gaussian_entropy,
    inverse_gaussian_log_prob,
    johnson_su_log_prob,
    kumaraswamy_crps,
    kumaraswamy_log_prob,
    laplace_cdf,
    laplace_crps,
    log_logistic_crps,
    log_normal_crps,
    log_softmax,
    mixture_cdf,
    mixture_crps,
    mixture_log_prob,
    multinomial_log_prob,
    multivariate_normal_log_prob,
    multivariate_student_t_entropy,
    multivariate_student_t_log_prob,
    negative_binomial_log_prob,
    normal_cdf,
    normal_crps,
    normal_log_prob,
    ordinal_cdf,
    ordinal_log_prob,
    plackett_luce_log_prob,
    plackett_luce_ties_log_prob,
    poisson_crps,
    poisson_log_prob,
    positive,
    projected_normal_cdf,
    projected_normal_log_prob,
    proportions,
    sigmoid,
    sinh_arcsinh_log_prob,
    sinh_arcsinh_normal,
    skew_normal_cdf,
    skew_normal_log_prob,
    skew_t_cdf,
    skew_t_log_prob,
    softplus,
    spline_log_odds,
    spline_log_prob,
    student_t_cdf,
    student_t_crps,
    student_t_entropy,
    student_t_log_prob,
    sum_over_counts,
    tensor_softplus,
    triangle,
    truncated_normal_cdf,
    truncated_normal_log_prob,
    tweedie_cdf,
    tweedie_log_prob,
    von_mises_cdf,
    von_mises_entropy,
    von_mises_fisher_entropy,
    von_mises_fisher_log_prob,
    von_mises_log_prob,
    weibull_crps,
    weibull_log_prob,
    wrapped_cauchy_cdf,
    wrapped_cauchy_crps,
    wrapped_cauchy_log_prob,
    zero_inflated_poisson_crps,
    zero_inflated_poisson_log_prob,
)

# What rows claim to answer, by their kind. For the rest they say why they have no answer.
_NUMBER = {
    *(
        "log_prob",
        "cdf",
        "log_cdf",
        "log_survival",
        "cdf_limits",
        "icdf",
        "mean",
        "median",
        "mode",
        "variance",
    ),
    *("stddev", "entropy", "sample", "interval", "highest_density", "pit", "crps", "kl_divergence"),
}
_CLASS = {"log_prob", "mode", "entropy", "sample", "brier", "expected_cost", "kl_divergence"}
_VECTOR = {"covariance", "marginals", "energy_score"}
_CLAIMS = {
    "continuous": _NUMBER | {"rsample"},
    "direction": _NUMBER | {"rsample"},
    "count": _NUMBER,
    "mixed": _NUMBER,
    "binary": _NUMBER | {"brier", "expected_cost"},
    "classes": _CLASS,
    "ordinal": (_NUMBER - {"mean", "variance", "stddev"}) | {"brier", "expected_cost"},
    "vector": {
        *(
            "log_prob",
            "mean",
            "median",
            "mode",
            "variance",
            "stddev",
            "entropy",
            "sample",
            "rsample",
            "interval",
        ),
        *("highest_density", "kl_divergence"),
    }
    | _VECTOR,
    "ranking": {"log_prob", "mode", "entropy", "sample", "top1", "pairwise", "kl_divergence"},
}
SEVERAL_PEAKS = {  # what a direction with several of them does not answer
    *(
        "cdf",
        "log_cdf",
        "log_survival",
        "cdf_limits",
        "icdf",
        "median",
        "rsample",
        "interval",
        "highest_density",
    ),
    *("pit", "crps"),
}


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        kind: of the targets: continuous, count, direction, binary, classes, ranking, vector
            or mixed.
        kind: of the targets: continuous, count, direction, binary, classes, ordinal, ranking or
            vector.
        scipy: the parameters by their names -> scipy's distribution.
        truth: the answers at 50 digits.
        outside: targets that have no probability.
        without: questions that others of its kind answer, and this row does not.
        infinite: questions whose answer is infinite for this row.
        heavy_tailed: whether far tails carry some of the variance, which sums over the support
            miss.
        moving_support: whether the support depends on the parameters, so that divergences may be
            infinite.
        has_pole: whether the density is infinite at an end of the support where numbers are too
            coarse to hold its mass.
        has_steps: whether the density jumps within the support.
        links: the parameters with their default links, in the order of the raw outputs.
    """

    name: str
    family: str
    raw: Sequence[float]
    options: dict[str, Any] = field(default_factory=dict)
    event_shape: tuple[int, ...] = ()
    units: tuple[float, float] | None = None
    kind: str = "continuous"
    scipy: Callable | None = None
    truth: Truth | None = None
    outside: Sequence[float] = ()
    without: frozenset[str] | set[str] = frozenset()
    infinite: Sequence[str] = ()
    heavy_tailed: bool = False
    has_pole: bool = False
    moving_support: bool = False
    has_steps: bool = False
    links: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of several independent outputs, () of one."""
        return self.event_shape[: len(self.event_shape) - self.make_family().event_dim]

    @property
    def claims(self) -> set[str]:
        """The questions that the row answers: those of its kind and, of several outputs, those of
        vectors.
        """
        return (_CLAIMS[self.kind] | (_VECTOR if self.outputs else set())) - self.without

    @property
    def has_breakpoints(self) -> bool:
        """Whether the density has jumps or kinks, which quadratures have to know of."""
        return hasattr(self.dist(), "breakpoints")

    @property
    def step(self) -> float:
        """The distance of one count from the next, in the row's units."""
        return self.units[1] if self.units else 1.0

    def make_family(self) -> dh.Family:
        return dh.get_family(self.family, event_shape=self.event_shape, **self.options)

    def head(self, in_features: int = 3) -> dh.DistributionHead:
        return dh.DistributionHead(
            self.family, in_features, event_shape=self.event_shape, **self.options
        )

    def from_raw(self, raw: Tensor) -> dh.Distribution:
        """The row's distribution from raw outputs (..., len(self.raw)), those of several outputs
        one after the other.
        """
        family = self.make_family()
        outputs = self.outputs
        if outputs:
            raw = raw.reshape(*raw.shape[:-1], *outputs, -1)
        dist = family.from_raw(raw).to_event(len(outputs))
        return dist.affine(*(raw.new_tensor(part) for part in self.units)) if self.units else dist

    def dist(
        self, dtype=torch.float64, batch: tuple[int, ...] = (), shift: float = 0.0
    ) -> dh.Distribution:
        """The distribution at the row's raw outputs plus `shift`, in double precision unless told
        otherwise.
        """
        raw = torch.tensor(self.raw, dtype=dtype) + shift
        return self.from_raw(raw.expand(*batch, len(self.raw)))

    def frozen(self):
        """scipy's distribution with the same parameters."""
        return self.scipy(**{name: value.numpy() for name, value in self.dist().parameters.items()})

    def targets(self, x: np.ndarray) -> np.ndarray:
        """Targets of one number in the support of the family, from any real numbers, rising with
        them.
        """
        if self.kind == "mixed":  # every third one is a value that has a probability
            values, at = np.array(self.dist().values), np.arange(len(x))
            return np.where(at % 3, self._numbers(x), values[at // 3 % len(values)])
        return self._numbers(x)

    def _numbers(self, x: np.ndarray) -> np.ndarray:
        support = self.make_family().support
        if support is constraints.unit_interval or getattr(support, "upper_bound", None) == 1:
            return 1 / (1 + np.exp(-x))
        lower = getattr(support, "lower_bound", -np.inf)
        y = lower + np.exp(x) if lower >= 0 else x
        if support.is_discrete:
            return np.floor(y).clip(
                getattr(support, "lower_bound", -np.inf), getattr(support, "upper_bound", np.inf)
            )
        return y
        return np.floor(y) if support.is_discrete else y


# scipy's distributions by the library's parameter names, in other units where these are given.


def gamma(loc: float = 0.0, unit: float = 1.0) -> Callable:
    return lambda concentration, rate: st.gamma(concentration, loc, unit / rate)


def beta(loc: float = 0.0, unit: float = 1.0) -> Callable:
    return lambda concentration1, concentration0: st.beta(concentration1, concentration0, loc, unit)


def weibull(loc: float = 0.0, unit: float = 1.0) -> Callable:
    return lambda scale, concentration: st.weibull_min(concentration, loc, unit * scale)


def log_normal(start: float = 0.0, unit: float = 1.0) -> Callable:
    return lambda loc, scale: st.lognorm(scale, start, unit * math.e**loc)


def exponential(loc: float = 0.0, unit: float = 1.0) -> Callable:
    return lambda rate: st.expon(loc, unit / rate)


def student_t(df, loc, scale):
    return st.t(df, loc, scale)


def asymmetric_laplace(loc, scale, asymmetry):
    both = (asymmetry * (1 - asymmetry)) ** 0.5
    return st.laplace_asymmetric(asymmetry / both, loc, scale / both)


def von_mises(loc, concentration):
    return st.vonmises(concentration, loc)


def bernoulli(logits):
    return st.bernoulli(1 / (1 + math.e**-logits))


def negative_binomial(total_count, logits):
    return st.nbinom(total_count, 1 / (1 + math.e**logits))


def binomial(total_count, logits):
    return st.binom(total_count, 1 / (1 + math.e**-logits))


def low_rank_normal(loc, cov_factor, cov_diag):
    return st.multivariate_normal(loc, cov_factor @ cov_factor.T + cov_diag * torch.eye(3).numpy())


CONTINUOUS = [
    Case(
        "normal",
        "normal",
        [0.3, -0.4],
        links="loc identity, scale softplus",
        scipy=lambda loc, scale: st.norm(loc, scale),
        truth=Truth(
            (identity, softplus),
            (LOCATIONS, SPREADS),
            around,
            log_prob=normal_log_prob,
            cdf=normal_cdf,
            entropy=lambda loc, scale: (1 + mp.log(2 * mp.pi)) / 2 + mp.log(scale),
            crps=normal_crps,
            peer=lambda of, raw: of.Normal(raw[..., 0], tensor_softplus(raw[..., 1])),
        ),
    ),
    Case(
        "laplace",
        "laplace",
        [0.3, -0.4],
        links="loc identity, scale softplus",
        scipy=lambda loc, scale: st.laplace(loc, scale),
        truth=Truth(
            (identity, softplus),
            (LOCATIONS, SPREADS),
            around,
            log_prob=lambda loc, scale, y: -abs(y - loc) / scale - mp.log(2 * scale),
            cdf=laplace_cdf,
            entropy=lambda loc, scale: 1 + mp.log(2 * scale),
            crps=laplace_crps,
            peer=lambda of, raw: of.Laplace(raw[..., 0], tensor_softplus(raw[..., 1])),
        ),
    ),
    Case(
        "student_t",
        "student_t",
        [1.2, 0.3, -0.4],
        links="df softplus, loc identity, scale softplus",
        heavy_tailed=True,
        scipy=student_t,
        truth=Truth(
            (lambda x: 2 + softplus(x), identity, softplus),
            (SPREADS, LOCATIONS, SPREADS),
            lambda df, loc, scale: around(loc, scale),
            log_prob=student_t_log_prob,
            cdf=student_t_cdf,
            entropy=student_t_entropy,
            crps=student_t_crps,
            peer=lambda of, raw: of.StudentT(
                2 + tensor_softplus(raw[..., 0]), raw[..., 1], tensor_softplus(raw[..., 2])
            ),
        ),
    ),
    Case(
        "student_t heavy",
        "student_t",
        [-1.0, 0.3, -0.4],
        {"min_df": 1.5},
        infinite=("variance", "stddev"),
        scipy=student_t,
    ),
    Case(
        "exponential",
        "exponential",
        [0.7],
        outside=[-1.0],
        links="rate softplus",
        scipy=exponential(),
        truth=Truth(
            (softplus,),
            (SPREADS,),
            lambda rate: [0, *positive(1 / rate)],
            log_prob=lambda rate, y: mp.log(rate) - rate * y,
            cdf=lambda rate, y: -mp.expm1(-rate * y),
            entropy=lambda rate: 1 - mp.log(rate),
            crps=lambda rate, y: y + 2 * mp.expm1(-rate * y) / rate + 1 / (2 * rate),
            peer=lambda of, raw: of.Exponential(tensor_softplus(raw[..., 0])),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "gamma",
        "gamma",
        [1.5, 0.2],
        outside=[-1.0, 0.0],
        links="concentration softplus, rate softplus",
        scipy=gamma(),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda a, rate: positive(a / rate),
            log_prob=gamma_log_prob,
            cdf=lambda a, rate, y: gamma_cdf(a, rate * y),
            entropy=gamma_entropy,
            crps=gamma_crps,
            peer=lambda of, raw: of.Gamma(
                tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])
            ),
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case("gamma falling", "gamma", [-0.2, 0.2], scipy=gamma()),
    Case(
        "gamma by mean",
        "gamma",
        [1.5, 1.2],
        {"parametrization": "mean"},
        links="mean softplus, concentration softplus",
        scipy=lambda mean, concentration: st.gamma(concentration, scale=mean / concentration),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda a, rate: positive(a / rate),
            log_prob=gamma_log_prob,
            cdf=lambda a, rate, y: gamma_cdf(a, rate * y),
            entropy=gamma_entropy,
            crps=gamma_crps,
            convert=lambda mean, a: (a, a / mean),
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "beta",
        "beta",
        [1.0, 2.0],
        outside=[-1.0, 0.0, 1.0, 2.0],
        links="concentration1 softplus, concentration0 softplus",
        scipy=beta(),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            proportions,
            log_prob=beta_log_prob,
            cdf=beta_cdf,
            entropy=beta_entropy,
            crps=beta_crps,
            peer=lambda of, raw: of.Beta(
                tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])
            ),
            limits=(JUST_ABOVE_0, JUST_BELOW_1),
        ),
    ),
    Case("beta with two ends", "beta", [0.2, -0.1], has_pole=True, scipy=beta()),
    Case(
        "beta by mean",
        "beta",
        [-0.5, 3.0],
        {"parametrization": "mean"},
        links="mean sigmoid, precision softplus",
        scipy=lambda mean, precision: st.beta(mean * precision, (1 - mean) * precision),
        truth=Truth(
            (identity, softplus),
            (LOGITS, SPREADS),
            proportions,
            log_prob=beta_log_prob,
            cdf=beta_cdf,
            entropy=beta_entropy,
            crps=beta_crps,
            convert=lambda logit, precision: (
                sigmoid(logit) * precision,
                sigmoid(-logit) * precision,
            ),
            limits=(JUST_ABOVE_0, JUST_BELOW_1),
        ),
    ),
    Case(
        "log_normal",
        "log_normal",
        [0.2, -0.6],
        outside=[-1.0, 0.0],
        links="loc identity, scale softplus",
        scipy=log_normal(),
        truth=Truth(
            (identity, softplus),
            ((-50.0, -1.0, 0.0, 0.3, 50.0), SPREADS),
            lambda loc, scale: (
                [mp.exp(loc + scale * step) for step in (0, 1e-3, 0.5, -2, 4)] + [1e-30, 1, 1e6]
            ),
            log_prob=lambda loc, scale, y: normal_log_prob(loc, scale, mp.log(y)) - mp.log(y),
            cdf=lambda loc, scale, y: normal_cdf(loc, scale, mp.log(y)),
            entropy=lambda loc, scale: (1 + mp.log(2 * mp.pi)) / 2 + mp.log(scale) + loc,
            crps=log_normal_crps,
            peer=lambda of, raw: of.LogNormal(raw[..., 0], tensor_softplus(raw[..., 1])),
            rounded=0,
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "weibull",
        "weibull",
        [0.5, 1.3],
        outside=[-1.0, 0.0],
        links="scale softplus, concentration softplus",
        scipy=weibull(),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda scale, k: positive(scale),
            log_prob=weibull_log_prob,
            cdf=lambda scale, k, y: -mp.expm1(-min((y / scale) ** k, 10**4)),
            entropy=lambda scale, k: mp.euler * (1 - 1 / k) + mp.log(scale / k) + 1,
            crps=weibull_crps,
            peer=lambda of, raw: of.Weibull(
                tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])
            ),
            rounded=0,
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case("weibull falling", "weibull", [0.5, -0.1], scipy=weibull()),
    # observed targets; tests/families/test_censored.py has the others
    Case(
        "censored",
        "censored",
        [0.5, 1.3],
        outside=[-1.0, 0.0],
        links="scale softplus, concentration softplus",
        scipy=weibull(),
    ),
    Case(
        "logistic",
        "logistic",
        [0.3, -0.4],
        scipy=lambda loc, scale: st.logistic(loc, scale),
        truth=Truth(
            (identity, softplus),
            (LOCATIONS, SPREADS),
            around,
            log_prob=lambda loc, scale, y: mp.log(
                1 / (4 * scale * mp.cosh((y - loc) / scale / 2) ** 2)
            ),
            cdf=lambda loc, scale, y: sigmoid((y - loc) / scale),
            entropy=lambda loc, scale: mp.log(scale) + 2,
            crps=lambda loc, scale, y: (
                scale * ((y - loc) / scale + 2 * softplus((loc - y) / scale) - 1)
            ),
            peer=lambda of, raw: of.Logistic(raw[..., 0], tensor_softplus(raw[..., 1])),
        ),
    ),
    Case(
        "generalized_extreme_value",
        "generalized_extreme_value",
        [0.3, -0.4, 0.15],
        moving_support=True,
        links="loc identity, scale softplus, concentration identity",
        scipy=lambda loc, scale, concentration: st.genextreme(-concentration, loc, scale),
        truth=Truth(
            (identity, softplus, identity),
            (LOCATIONS, SPREADS, SHAPES),
            lambda loc, scale, c: around(loc, scale),
            log_prob=extreme_value_log_prob,
            cdf=extreme_value_cdf,
            entropy=lambda loc, scale, c: mp.log(scale) + mp.euler * (1 + c) + 1,
        ),
    ),
    Case(
        "generalized_extreme_value with an upper limit",
        "generalized_extreme_value",
        [0.3, -0.4, -0.25],
        moving_support=True,
        scipy=lambda loc, scale, concentration: st.genextreme(-concentration, loc, scale),
    ),
    Case(
        "generalized_pareto",
        "generalized_pareto",
        [-0.4, 0.15],
        outside=[-1.0],
        moving_support=True,
        links="scale softplus, concentration identity",
        scipy=lambda scale, concentration: st.genpareto(concentration, scale=scale),
        truth=Truth(
            (softplus, identity),
            (SPREADS, SHAPES),
            lambda scale, c: [0, *positive(scale)],
            log_prob=generalized_pareto_log_prob,
            cdf=generalized_pareto_cdf,
            entropy=lambda scale, c: mp.log(scale) + c + 1,
            crps=lambda scale, c, y: generalized_pareto_crps(scale, c, y) if c < 2 else mp.inf,
            limits=(0, math.inf),
        ),
    ),
    Case(
        "generalized_pareto with an upper limit",
        "generalized_pareto",
        [-0.4, -0.25],
        moving_support=True,
        scipy=lambda scale, concentration: st.genpareto(concentration, scale=scale),
    ),
    Case(
        "half_normal",
        "half_normal",
        [-0.4],
        outside=[-1.0],
        links="scale softplus",
        scipy=lambda scale: st.chi(1, scale=scale),  # halfnorm.ppf has eight digits
        truth=Truth(
            (softplus,),
            (SPREADS,),
            lambda scale: [0, *positive(scale)],
            log_prob=lambda scale, y: normal_log_prob(0, scale, y) + mp.log(2),
            cdf=lambda scale, y: mp.erf(y / scale / mp.sqrt(2)),
            entropy=lambda scale: (1 + mp.log(mp.pi / 2)) / 2 + mp.log(scale),
            crps=half_normal_crps,
            peer=lambda of, raw: of.HalfNormal(tensor_softplus(raw[..., 0])),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "inverse_gaussian",
        "inverse_gaussian",
        [1.5, 0.9],
        outside=[-1.0, 0.0],
        links="loc softplus, concentration softplus",
        scipy=lambda loc, concentration: st.invgauss(loc / concentration, scale=concentration),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda loc, c: positive(loc),
            log_prob=inverse_gaussian_log_prob,
            cdf=inverse_gaussian_cdf,
            entropy=inverse_gaussian_entropy,
            rounded=0,
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "inverse_gaussian by mean",
        "inverse_gaussian",
        [1.5, 0.9],
        {"parametrization": "mean"},
        links="mean softplus, concentration softplus",
        scipy=lambda mean, concentration: st.invgauss(mean / concentration, scale=concentration),
    ),
    Case(
        "log_logistic",
        "log_logistic",
        [0.5, 6.0],
        outside=[-1.0, 0.0],
        links="scale softplus, concentration softplus",
        scipy=lambda scale, concentration: st.fisk(concentration, scale=scale),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda scale, k: positive(scale),
            log_prob=lambda scale, k, y: (
                mp.log(k / y) - softplus(k * mp.log(y / scale)) - softplus(-k * mp.log(y / scale))
            ),
            cdf=lambda scale, k, y: sigmoid(k * mp.log(y / scale)),
            entropy=lambda scale, k: mp.log(scale / k) + 2,
            crps=log_logistic_crps,
            rounded=0,
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "inverse_gamma",
        "inverse_gamma",
        [6.0, 0.2],
        outside=[-1.0, 0.0],
        links="concentration softplus, rate softplus",
        scipy=lambda concentration, rate: st.invgamma(concentration, scale=rate),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda a, rate: positive(rate / a),
            log_prob=lambda a, rate, y: gamma_log_prob(a, rate, 1 / y) - 2 * mp.log(y),
            cdf=lambda a, rate, y: 1 - gamma_cdf(a, rate / y),
            entropy=lambda a, rate: a + mp.log(rate) + mp.loggamma(a) - (1 + a) * mp.digamma(a),
            crps=inverse_gamma_crps,
            peer=lambda of, raw: of.InverseGamma(
                tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])
            ),
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "log_normal by mean",
        "log_normal",
        [1.2, -0.6],
        {"parametrization": "mean"},
        links="mean softplus, scale softplus",
        scipy=lambda mean, scale: st.lognorm(scale, scale=mean * math.e ** (-(scale**2) / 2)),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, (-5.0, -1.0, 0.5, 5.0)),
            lambda loc, scale: [mp.exp(loc + scale * step) for step in (0, 1e-3, 0.5, -2, 4)],
            log_prob=lambda loc, scale, y: normal_log_prob(loc, scale, mp.log(y)) - mp.log(y),
            cdf=lambda loc, scale, y: normal_cdf(loc, scale, mp.log(y)),
            entropy=lambda loc, scale: (1 + mp.log(2 * mp.pi)) / 2 + mp.log(scale) + loc,
            crps=log_normal_crps,
            convert=lambda mean, scale: (mp.log(mean) - scale**2 / 2, scale),
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "generalized_gamma",
        "generalized_gamma",
        [0.5, 1.2, 1.6],
        outside=[-1.0, 0.0],
        links="scale softplus, concentration softplus, power softplus",
        scipy=lambda scale, concentration, power: st.gengamma(concentration, power, scale=scale),
        truth=Truth(
            (softplus, softplus, softplus),
            (SPREADS, (-10.0, -1.0, 0.5, 5.0, 50.0, 1e3), (-5.0, -1.0, 0.5, 5.0, 50.0)),
            lambda scale, a, power: [
                *(scale * a ** (1 / power) * factor for factor in (1e-3, 0.5, 1, 1.001, 3)),
                *(1e-6, 1, 1e6),
            ],
            log_prob=lambda scale, a, power, y: (
                gamma_log_prob(a, 1, (y / scale) ** power)
                + mp.log(power / y * (y / scale) ** power)
                if power * mp.log(y / scale) < 60  # beyond, derivatives lose the digits
                else -mp.inf
            ),
            cdf=lambda scale, a, power, y: gamma_cdf(
                a, mp.exp(min(power * mp.log(y / scale), mp.mpf(30)))
            ),
            entropy=lambda scale, a, power: (
                mp.log(scale / power) + mp.loggamma(a) + a + (1 / power - a) * mp.digamma(a)
            ),
            crps=generalized_gamma_crps,
            rounded=0,
            limits=(JUST_ABOVE_0, math.inf),
        ),
    ),
    Case(
        "pareto",
        "pareto",
        [6.0],
        outside=[-1.0, 0.5],
        links="scale constant, alpha softplus",
        scipy=lambda scale, alpha: st.pareto(alpha, scale=scale),
        truth=Truth(
            (softplus,),
            (SPREADS,),
            lambda alpha: [1, 1.0009765625, 2, 1e3, 1e6, 1e30],
            log_prob=lambda alpha, y: mp.log(alpha) - (alpha + 1) * mp.log(y),
            cdf=lambda alpha, y: -mp.expm1(-alpha * mp.log(y)),
            entropy=lambda alpha: -mp.log(alpha) + 1 / alpha + 1,
            crps=lambda alpha, y: (
                generalized_pareto_crps(1 / alpha, 1 / alpha, y - 1)
                if alpha > mp.mpf(1) / 2
                else None
            ),
            limits=(1, math.inf),
        ),
    ),
    Case(
        "cauchy",
        "cauchy",
        [0.3, -0.4],
        without={"mean", "variance", "stddev"},
        scipy=lambda loc, scale: st.cauchy(loc, scale),
        truth=Truth(
            (identity, softplus),
            (LOCATIONS, SPREADS),
            around,
            log_prob=cauchy_log_prob,
            cdf=lambda loc, scale, y: mp.acot(-(y - loc) / scale) / mp.pi % 1,
            entropy=lambda loc, scale: mp.log(4 * mp.pi * scale),
            crps=cauchy_crps,
            peer=lambda of, raw: of.Cauchy(raw[..., 0], tensor_softplus(raw[..., 1])),
        ),
    ),
    Case(
        "gumbel",
        "gumbel",
        [0.3, -0.4],
        scipy=lambda loc, scale: st.gumbel_r(loc, scale),
        truth=Truth(
            (identity, softplus),
            # numerical derivatives of the truth need some room around the peak
            (LOCATIONS, SPREADS[1:]),
            around,
            log_prob=gumbel_log_prob,
            cdf=lambda loc, scale, y: mp.exp(-mp.exp(min((loc - y) / scale, 1000))),
            entropy=lambda loc, scale: 1 + mp.euler + mp.log(scale),
            crps=gumbel_crps,
            peer=lambda of, raw: of.Gumbel(raw[..., 0], tensor_softplus(raw[..., 1])),
        ),
    ),
    Case(
        "asymmetric_laplace",
        "asymmetric_laplace",
        [0.3, -0.4, math.log(0.65 / 0.35)],  # whose kink lies between two panels of the oracles
        links="loc identity, scale softplus, asymmetry sigmoid",
        scipy=asymmetric_laplace,
        truth=Truth(
            (identity, softplus, identity),
            (LOCATIONS, SPREADS, LOGITS),
            lambda loc, scale, logit: around(loc, scale),
            log_prob=asymmetric_laplace_log_prob,
            cdf=asymmetric_laplace_cdf,
            entropy=lambda loc, scale, logit: (
                1 + mp.log(scale) + softplus(logit) + softplus(-logit)
            ),
            crps=asymmetric_laplace_crps,
        ),
    ),
    Case("asymmetric_laplace quantile", "asymmetric_laplace", [0.3, -0.4], {"quantile": 0.9}),
    Case(
        "huber",
        "huber",
        [0.3, -0.4],
        truth=Truth(
            (identity, softplus, softplus),
            (LOCATIONS, SPREADS, SPREADS),
            lambda loc, scale, delta: around(loc, scale),
            log_prob=huber_log_prob,
            cdf=huber_cdf,
            entropy=huber_entropy,
            crps=huber_crps,
            options={"delta": None},
        ),
    ),
    Case(
        "huber with a learned threshold",
        "huber",
        [0.3, -0.4, 0.5],
        {"delta": None},
        links="loc identity, scale softplus, delta softplus",
    ),
    Case(
        "hyperbolic_secant",
        "hyperbolic_secant",
        [0.3, -0.4],
        scipy=lambda loc, scale: st.hypsecant(loc, scale),
        truth=Truth(
            (identity, softplus),
            (LOCATIONS, SPREADS),
            around,
            log_prob=lambda loc, scale, y: -mp.log(mp.pi * scale * mp.cosh((y - loc) / scale)),
            cdf=lambda loc, scale, y: 2 * mp.atan(mp.exp((y - loc) / scale)) / mp.pi,
            entropy=lambda loc, scale: mp.log(2 * mp.pi * scale),
            crps=hyperbolic_secant_crps,
        ),
    ),
    Case(
        "generalized_normal",
        "generalized_normal",
        [0.3, -0.4, 0.9],
        links="loc identity, scale softplus, power softplus",
        scipy=lambda loc, scale, power: st.gennorm(power, loc, scale),
        truth=Truth(
            (identity, softplus, softplus),
            (LOCATIONS, SPREADS, (-10.0, -1.0, 0.5, 5.0, 50.0)),
            lambda loc, scale, shape: around(loc, scale),
            log_prob=generalized_normal_log_prob,
            cdf=generalized_normal_cdf,
            entropy=lambda loc, scale, shape: (
                1 / shape + mp.log(2 * scale) + mp.loggamma(1 + 1 / shape)
            ),
            crps=generalized_normal_crps,
            rounded=1,
        ),
    ),
    Case(
        "skew_normal",
        "skew_normal",
        [0.3, -0.4, 1.5],
        scipy=lambda loc, scale, slant: st.skewnorm(slant, loc, scale),
        truth=Truth(
            (identity, softplus, identity),
            (LOCATIONS, SPREADS, (-50.0, -1.0, 0.0, 0.7, 5.0)),
            lambda loc, scale, shape: around(loc, scale),
            log_prob=skew_normal_log_prob,
            cdf=skew_normal_cdf,
        ),
    ),
    Case(
        "skew_t",
        "skew_t",
        [0.3, -0.4, 1.5, 3.0],
        links="loc identity, scale softplus, slant identity, df softplus",
        heavy_tailed=True,
        truth=Truth(
            (identity, softplus, identity, lambda x: 2 + softplus(x)),
            (LOCATIONS, SPREADS, (-50.0, -1.0, 0.0, 0.7), (-10.0, 0.5, 5.0, 50.0)),
            lambda loc, scale, shape, df: around(loc, scale),
            log_prob=skew_t_log_prob,
            cdf=skew_t_cdf,
        ),
    ),
    Case(
        "sinh_arcsinh",
        "sinh_arcsinh",
        [0.3, -0.4, 0.4, 0.8],
        links="loc identity, scale softplus, skewness identity, tailweight softplus",
        truth=Truth(
            (identity, softplus, identity, softplus),
            (LOCATIONS, SPREADS, (-3.0, 0.0, 0.7), (-1.0, 0.5, 3.0)),
            lambda loc, scale, skewness, tailweight: around(loc, scale),
            log_prob=sinh_arcsinh_log_prob,
            cdf=lambda *parameters: mp.ncdf(sinh_arcsinh_normal(*parameters)),
        ),
    ),
    Case(
        "johnson_su",
        "johnson_su",
        [0.3, -0.4, 0.4, 1.5],
        links="loc identity, scale softplus, skewness identity, tailweight softplus",
        scipy=lambda loc, scale, skewness, tailweight: st.johnsonsu(
            skewness, tailweight, loc, scale
        ),
        truth=Truth(
            (identity, softplus, identity, softplus),
            (LOCATIONS, SPREADS, (-50.0, -1.0, 0.0, 0.7), (-10.0, -1.0, 0.5, 5.0, 50.0)),
            lambda loc, scale, skewness, tailweight: around(loc, scale),
            log_prob=johnson_su_log_prob,
            cdf=lambda loc, scale, skewness, tailweight, y: mp.ncdf(
                skewness + tailweight * mp.asinh((y - loc) / scale)
            ),
            rounded=1,
        ),
    ),
    Case(
        "kumaraswamy",
        "kumaraswamy",
        [1.0, 2.0],
        outside=[-1.0, 0.0, 1.0, 2.0],
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            proportions,
            log_prob=kumaraswamy_log_prob,
            cdf=lambda a, b, y: -mp.expm1(b * mp.log1p(-(y**a))),
            entropy=lambda a, b: (
                1 - 1 / b + (1 - 1 / a) * (mp.digamma(b + 1) + mp.euler) - mp.log(a * b)
            ),
            crps=kumaraswamy_crps,
            peer=lambda of, raw: of.Kumaraswamy(
                tensor_softplus(raw[..., 0]), tensor_softplus(raw[..., 1])
            ),
            limits=(JUST_ABOVE_0, JUST_BELOW_1),
        ),
    ),
    Case(
        "continuous_bernoulli",
        "continuous_bernoulli",
        [0.4],
        outside=[-1.0, 2.0],
        links="logits sigmoid",
        truth=Truth(
            (identity,),
            (LOGITS,),
            lambda logit: [0, 1e-30, 1e-6, 0.01, 0.5, 0.999, 1 - 2.0**-24, 1],
            log_prob=lambda logit, y: logit * y - continuous_bernoulli_log_mass(logit),
            cdf=lambda logit, y: mp.expm1(logit * y) / mp.expm1(logit) if logit else y,
            entropy=continuous_bernoulli_entropy,
            peer=lambda of, raw: of.ContinuousBernoulli(logits=raw[..., 0]),
            limits=(0, 1),
        ),
    ),
    Case(
        "logit_normal",
        "logit_normal",
        [0.2, -0.6],
        outside=[-1.0, 0.0, 1.0, 2.0],
        truth=Truth(
            (identity, softplus),
            ((-50.0, -1.0, 0.0, 0.3, 12.0), SPREADS),
            lambda loc, scale: (
                [sigmoid(loc + scale * step) for step in (0, 1e-3, 0.5, -2, 4)]
                + [1e-30, 0.01, 0.5, 0.999]
            ),
            log_prob=lambda loc, scale, y: (
                normal_log_prob(loc, scale, mp.log(y) - mp.log1p(-y)) - mp.log(y) - mp.log1p(-y)
            ),
            cdf=lambda loc, scale, y: normal_cdf(loc, scale, mp.log(y) - mp.log1p(-y)),
            rounded=0,
            limits=(JUST_ABOVE_0, JUST_BELOW_1),
        ),
    ),
    Case(
        "histogram",
        "histogram",
        [-2.0, 0.3, 1.0, -0.4, -1.5, 0.2, -0.5],
        {"edges": (-1.0, -0.25, 0.5, 2.0)},
        links="logits softmax, tail_scale softplus",
        has_steps=True,
        truth=Truth(
            (identity, identity, identity, identity, softplus, softplus),
            (
                (-110.0, 0.0, 50.0),
                (-20.0, 0.3),
                (0.0, 20.0),
                (-1.0, 50.0),
                (-110.0, 0.5, 1e6),
                (-50.0, 0.0, 1e3),
            ),
            lambda *parameters: [-0.9, -0.7, 0.4, 0.7, 1.9, 3.0, -2.0, -100.0, 1e6],
            log_prob=histogram_log_prob,
            cdf=histogram_cdf,
            options={"edges": (-1.0, 0.5, 2.0)},
        ),
    ),
    Case(
        "quantile_function",
        "quantile_function",
        [0.3, -0.4, 0.2, -0.3, 0.1, -0.2, 0.4, 0.3, 0.1, 0.9, 0.6, 0.4],
        {"num_bins": 3},
        links="loc identity, scale softplus, width_logits identity, height_logits identity, slope "
        "softplus",
        truth=Truth(
            (
                *(identity, softplus, identity, identity, identity, identity),
                *[lambda x: mp.mpf(0.01) + softplus(x)] * 3,
            ),
            (
                *((-110.0, 0.3, 1e6), (-110.0, -1.0, 0.5, 1e6), (-20.0, 0.3), (0.0, 2.0)),
                *((-1.0, 20.0), (0.2,), (-50.0, 0.5), (0.0, 5.0), (-1.0, 50.0)),
            ),
            lambda loc, scale, *_: around(loc, scale),
            log_prob=spline_log_prob,
            cdf=lambda *arguments: sigmoid(spline_log_odds(*arguments)[0]),
            options={"num_bins": 2},
        ),
    ),
]
# With the kind "mixed"; `tests/families/test_tweedie.py` asks it what others are asked by all.
TWEEDIE = [
    Case(
        "tweedie",
        "tweedie",
        [0.8, -0.3],
        kind="mixed",
        outside=[-1.0],
        links="mean softplus, dispersion softplus, power constant",
        truth=Truth(
            (softplus, softplus),
            ((-10.0, -1.0, 0.5, 5.0, 50.0), (-3.0, -1.0, 0.5, 5.0)),
            lambda mean, dispersion: [0, *positive(mean)[:-3]],
            log_prob=tweedie_log_prob,
            cdf=tweedie_cdf,
            limits=(0, math.inf),
        ),
    )
]
MIXTURES = [
    Case(
        "mixture of normals",
        "mixture",
        [0.5, -0.3, -1.0, 1.5, 0.1, -0.5],
        {"num_components": 2},
        links="logits softmax, loc identity, scale softplus",
    ),
    Case(
        "normal_mixture",
        "normal_mixture",
        [0.1, -0.2, 0.3, -2, 0.0, 2.0, -1, -0.5, 0.0],
        {"num_components": 3},
        truth=Truth(
            (identity, identity, identity, identity, softplus, softplus),
            (
                (-110.0, 0.0, 50.0),
                (-20.0, 0.3),
                (-110.0, 0.0, 1e6),
                (-1.0, 50.0),
                (-110.0, -30.0, 0.5, 1e3),
                (-50.0, 0.0, 1e6),
            ),
            lambda w0, w1, loc0, loc1, scale0, scale1: around(loc0, scale0) + around(loc1, scale1),
            log_prob=mixture_log_prob,
            cdf=mixture_cdf,
            crps=mixture_crps,
            peer=lambda of, raw: of.MixtureSameFamily(
                of.Categorical(logits=raw[..., :2]),
                of.Normal(raw[..., 2:4], tensor_softplus(raw[..., 4:])),
            ),
            options={"num_components": 2},
        ),
    ),
    Case("mixture of gammas", "mixture", [0.5, -0.3, 1.5, 3.0, 1.0, 0.0], {"component": "gamma"}),
    Case(
        "mixture of student_t",
        "mixture",
        [0.4, 0, 1, 2, -2, 1.5, 0, 0.5],
        {"component": "student_t"},
        heavy_tailed=True,
    ),
    Case("mixture of one normal", "mixture", [0.5, 0.3, -0.4], {"num_components": 1}),
    Case(
        "mixture of log_normals",
        "mixture",
        [0.4, 0, -0.5, 1.5, -0.6, -1.5],
        {"component": "log_normal"},
    ),
]
CIRCULAR = [
    Case(
        "von_mises",
        "von_mises",
        [0.8, 0.5, 1.1],
        kind="direction",
        links="loc direction, concentration softplus",
        scipy=von_mises,
        truth=Truth(
            (identity, identity, softplus),
            ((-110.0, -1.0, 1e-20, 0.3, 50.0), (-50.0, 0.2, 1e-10), SPREADS),
            lambda loc, k: (
                [loc + step for step in (0, 1e-4, -1e-3, 0.5, 2, -3)] + [3.1415925, -3.1415925, 0]
            ),
            log_prob=von_mises_log_prob,
            cdf=von_mises_cdf,
            entropy=von_mises_entropy,
            peer=lambda of, raw: of.VonMises(
                torch.atan2(raw[..., 1], raw[..., 0]), tensor_softplus(raw[..., 2])
            ),
            convert=lambda cosine, sine, k: (mp.atan2(sine, cosine), k),
            limits=(-3.1415926, 3.1415926),
            circular=True,
            rounded=0,
        ),
    ),
    Case("von_mises across pi", "von_mises", [-0.9, 0.2, 2.5], kind="direction", scipy=von_mises),
    Case(
        "von_mises nearly uniform",
        "von_mises",
        [0.8, -0.5, -3.0],
        kind="direction",
        scipy=von_mises,
    ),
    Case(
        "wrapped_cauchy",
        "wrapped_cauchy",
        [0.8, 0.5, 0.4],
        kind="direction",
        links="loc direction, concentration sigmoid",
        truth=Truth(
            (identity, identity, identity),
            ((-110.0, -1.0, 0.3, 50.0), (-50.0, 0.2, 1e-10), LOGITS),
            lambda loc, logit: (
                [loc + step for step in (0, 1e-4, -1e-3, 0.5, 2, -3)] + [3.1415925, -3.1415925, 0]
            ),
            log_prob=wrapped_cauchy_log_prob,
            cdf=wrapped_cauchy_cdf,
            entropy=lambda loc, logit: mp.log(2 * mp.pi * (1 + sigmoid(logit)) * sigmoid(-logit)),
            crps=wrapped_cauchy_crps,
            convert=lambda cosine, sine, logit: (mp.atan2(sine, cosine), logit),
            limits=(-3.1415926, 3.1415926),
            circular=True,
            rounded=0,
        ),
    ),
    Case(
        "projected_normal",
        "projected_normal",
        [0.8, -1.5],
        kind="direction",
        links="concentration identity",
        truth=Truth(
            (identity, identity),
            ((-30.0, 0.3), (0.2, 1e-10)),
            lambda first, second: [
                mp.atan2(second, first) + step for step in (0, -1e-3, 0.5, 2, -3)
            ],
            log_prob=projected_normal_log_prob,
            cdf=projected_normal_cdf,
            limits=(-3.1415926, 3.1415926),
            circular=True,
        ),
    ),
]
CIRCULAR_MIXTURES = [
    Case(
        "mixture of von_mises",
        "mixture",
        [0.4, 0, 0.8, 0.5, -0.9, -0.1, 2, 1],
        {"component": "von_mises"},
        kind="direction",
        without=SEVERAL_PEAKS,
    )
]
COUNTS = [
    Case(
        "bernoulli",
        "bernoulli",
        [0.4],
        kind="binary",
        links="logits sigmoid",
        scipy=bernoulli,
        truth=Truth(
            (identity,),
            (LOGITS,),
            lambda logit: [0, 1],
            log_prob=lambda logit, y: -softplus(-logit) if y == 1 else -softplus(logit),
            cdf=lambda logit, y: mp.mpf(1) if y == 1 else sigmoid(-logit),
            entropy=lambda logit: (
                sigmoid(logit) * softplus(-logit) + sigmoid(-logit) * softplus(logit)
            ),
            crps=lambda logit, y: (y * sigmoid(-logit) - (1 - y) * sigmoid(logit)) ** 2,
            peer=lambda of, raw: of.Bernoulli(logits=raw[..., 0]),
        ),
    ),
    Case(
        "poisson",
        "poisson",
        [2.1],
        kind="count",
        outside=[-1.0, 0.5],
        links="rate softplus",
        scipy=lambda rate: st.poisson(rate),
        truth=Truth(
            (softplus,),
            (SPREADS,),
            counts,
            log_prob=poisson_log_prob,
            cdf=lambda rate, y: 1 - gamma_cdf(y + 1, rate),
            entropy=lambda rate: sum_over_counts(
                lambda k: poisson_log_prob(rate, k), rate, mp.sqrt(rate)
            ),
            crps=poisson_crps,
            peer=lambda of, raw: of.Poisson(tensor_softplus(raw[..., 0])),
            limits=(0, math.inf),
        ),
    ),
    Case("poisson rare", "poisson", [-1.5], kind="count", scipy=lambda rate: st.poisson(rate)),
    Case(
        "negative_binomial",
        "negative_binomial",
        [2.0, 0.3],
        kind="count",
        links="total_count softplus, logits identity",
        scipy=negative_binomial,
        truth=Truth(
            (softplus, identity),
            (SPREADS, LOGITS),
            lambda r, logits: counts(
                r * mp.exp(logits), mp.sqrt(r * mp.exp(logits) * (1 + mp.exp(logits)))
            ),
            log_prob=negative_binomial_log_prob,
            cdf=lambda r, logits, y: beta_cdf(r, y + 1, sigmoid(-logits)),
            entropy=lambda r, logits: sum_over_counts(
                lambda k: negative_binomial_log_prob(r, logits, k),
                r * mp.exp(logits),
                mp.sqrt(r) * mp.exp(logits) + 1,
            ),
            peer=lambda of, raw: of.NegativeBinomial(
                tensor_softplus(raw[..., 0]), logits=raw[..., 1]
            ),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "negative_binomial scattered",
        "negative_binomial",
        [-1.0, 2.0],
        kind="count",
        scipy=negative_binomial,
    ),
    Case(
        "negative_binomial by mean",
        "negative_binomial",
        [2.5, 1.2],
        {"parametrization": "mean"},
        kind="count",
        links="mean softplus, total_count softplus",
        scipy=lambda mean, total_count: st.nbinom(total_count, total_count / (total_count + mean)),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda r, logits: counts(
                r * mp.exp(logits), mp.sqrt(r * mp.exp(logits) * (1 + mp.exp(logits)))
            ),
            log_prob=negative_binomial_log_prob,
            cdf=lambda r, logits, y: beta_cdf(r, y + 1, sigmoid(-logits)),
            convert=lambda mean, r: (r, mp.log(mean / r)),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "binomial",
        "binomial",
        [0.4],
        {"total_count": 12},
        kind="count",
        outside=[-1.0, 0.5, 13.0],
        links="logits sigmoid",
        scipy=binomial,
        truth=Truth(
            (identity,),
            (LOGITS,),
            binomial_targets(12),
            log_prob=binomial_log_prob(12),
            cdf=binomial_cdf(12),
            entropy=entropy_over_counts(binomial_log_prob(12), 12),
            crps=crps_over_counts(binomial_log_prob(12), 12),
            peer=lambda of, raw: of.Binomial(12, logits=raw[..., 0]),
            limits=(0, 12),
        ),
    ),
    Case(
        "binomial of many trials",
        "binomial",
        [-3.0],
        {"total_count": 1_500},
        kind="count",
        scipy=binomial,
        truth=Truth(
            (identity,),
            (LOGITS,),
            binomial_targets(100_000),
            log_prob=binomial_log_prob(100_000),
            cdf=binomial_cdf(100_000),
            limits=(0, 100_000),
            options={"total_count": 100_000},
        ),
    ),
    Case(
        "beta_binomial",
        "beta_binomial",
        [1.2, 0.4],
        {"total_count": 12},
        kind="count",
        outside=[-1.0, 0.5, 13.0],
        links="concentration1 softplus, concentration0 softplus",
        scipy=lambda concentration1, concentration0, total_count: st.betabinom(
            total_count, concentration1, concentration0
        ),
        truth=Truth(
            (softplus, softplus),
            (SPREADS, SPREADS),
            lambda a, b: [0, 1, 4, 11, 12],
            log_prob=beta_binomial_log_prob(12),
            cdf=cdf_by_sum(beta_binomial_log_prob(12)),
            entropy=entropy_over_counts(beta_binomial_log_prob(12), 12),
            crps=crps_over_counts(beta_binomial_log_prob(12), 12),
            limits=(0, 12),
        ),
    ),
    Case(
        "beta_binomial by mean",
        "beta_binomial",
        [-2.0, 3.0],
        {"total_count": 390, "parametrization": "mean"},
        kind="count",
        links="mean sigmoid, precision softplus",
        scipy=lambda mean, precision, total_count: st.betabinom(
            total_count, mean * precision, (1 - mean) * precision
        ),
        truth=Truth(
            (identity, softplus),
            (LOGITS, SPREADS),
            lambda a, b: [0, 1, 40, 149, 150],
            log_prob=beta_binomial_log_prob(150),
            cdf=cdf_by_sum(beta_binomial_log_prob(150)),
            convert=lambda logit, precision: (
                sigmoid(logit) * precision,
                sigmoid(-logit) * precision,
            ),
            limits=(0, 150),
            options={"total_count": 150},
        ),
    ),
    Case(
        "geometric",
        "geometric",
        [-0.7],
        kind="count",
        outside=[-1.0, 0.5],
        links="logits sigmoid",
        scipy=lambda logits: st.geom(1 / (1 + math.e**-logits), -1),
        truth=Truth(
            (identity,),
            (LOGITS,),
            lambda logit: counts(mp.exp(-logit)),
            log_prob=lambda logit, y: -softplus(-logit) - y * softplus(logit),
            cdf=lambda logit, y: -mp.expm1(-(y + 1) * softplus(logit)),
            entropy=lambda logit: softplus(-logit) + mp.exp(-logit) * softplus(logit),
            crps=lambda logit, y: (
                (y - mp.exp(-logit)) * (1 - 2 * mp.exp(-(y + 1) * softplus(logit)))
                + 2 * (y + 1) * mp.exp(-(y + 1) * softplus(logit))
                - mp.exp(-logit) / (1 + sigmoid(-logit))
            ),
            peer=lambda of, raw: of.Geometric(logits=raw[..., 0]),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "generalized_poisson",
        "generalized_poisson",
        [2.5, 1.2],
        kind="count",
        outside=[-1.0, 0.5],
        links="mean softplus, dispersion softplus",
        truth=Truth(
            (softplus, lambda x: mp.mpf(1) / 4 + softplus(x)),
            ((-110.0, -10.0, -1.0, 0.5, 5.0, 50.0), (-50.0, -1.0, -0.2, 0.5, 5.0, 1e3)),
            lambda mean, dispersion: [0, 1, 2, 5, 40, mp.floor(mean), 60],
            log_prob=generalized_poisson_log_prob,
            cdf=cdf_by_sum(generalized_poisson_log_prob),
            options={"min_dispersion": 0.25},
            limits=(0, math.inf),
        ),
    ),
    Case(
        "generalized_poisson under-dispersed",
        "generalized_poisson",
        [2.5, -1.0],
        {"min_dispersion": 0.25},
        kind="count",
    ),
    Case(
        "conway_maxwell_poisson",
        "conway_maxwell_poisson",
        [1.5, 0.3],
        kind="count",
        outside=[-1.0, 0.5],
        links="rate softplus, nu softplus",
        truth=Truth(
            (softplus, lambda x: mp.mpf(0.05) + softplus(x)),
            ((-110.0, -10.0, -1.0, 0.5, 5.0), (-1.0, 0.3, 5.0, 50.0)),
            lambda rate, nu: [0, 1, 2, 5, mp.floor(rate ** (1 / nu)), 60],
            log_prob=conway_maxwell_poisson_log_prob,
            cdf=cdf_by_sum(conway_maxwell_poisson_log_prob),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "conway_maxwell_poisson by mean",
        "conway_maxwell_poisson",
        [1.5, -0.3],
        {"parametrization": "mean"},
        kind="count",
        links="mean softplus, nu softplus",
    ),
    Case(
        "mixture of poissons",
        "mixture",
        [0.5, -0.3, 0.5, 6.0],
        {"component": "poisson"},
        kind="count",
    ),
]
CLASSES = [
    Case(
        "categorical",
        "categorical",
        [0.3, -0.2, 1.0],
        {"num_classes": 3},
        kind="classes",
        links="logits softmax",
        truth=Truth(
            (identity,) * 3,
            (LOGITS, LOGITS, LOGITS),
            lambda *logits: [0, 1, 2],
            log_prob=lambda a, b, c, y: log_softmax([a, b, c])[int(y)],
            entropy=lambda *logits: -mp.fsum(mp.exp(term) * term for term in log_softmax(logits)),
            peer=lambda of, raw: of.Categorical(logits=raw),
        ),
    ),
    Case(
        "bradley_terry",
        "bradley_terry",
        [0.6, -0.3, 0.2],
        kind="classes",
        links="scores identity, ties softplus",
        truth=Truth(
            (identity, identity, softplus),
            (LOGITS, LOGITS, SPREADS),
            lambda *parameters: [0, 1, 2],
            log_prob=lambda a, b, ties, y: log_softmax([b, a, (a + b) / 2 + mp.log(ties)])[int(y)],
        ),
    ),
]
ORDINAL = [
    Case(
        "ordinal",
        "ordinal",
        [0.3, -0.8, 0.5],
        {"num_classes": 3},
        kind="ordinal",
        outside=[-1.0, 0.5, 3.0],
        links="loc identity, cutpoints ordered",
        truth=Truth(
            (identity, identity, softplus),
            (LOCATIONS, LOGITS, SPREADS),
            lambda loc, first, gap: [0, 1, 2],
            log_prob=ordinal_log_prob,
            cdf=ordinal_cdf,
            entropy=lambda loc, first, gap: (
                -mp.fsum(
                    mp.exp(term) * term
                    for term in (ordinal_log_prob(loc, first, gap, k) for k in range(3))
                )
            ),
            crps=lambda loc, first, gap, y: mp.fsum(
                (ordinal_cdf(loc, first, gap, k) - (y <= k)) ** 2 for k in range(2)
            ),
            limits=(0, 2),
        ),
    ),
    Case(
        "ordinal probit",
        "ordinal",
        [0.3, -0.8, 0.5, -1.0],
        {"num_classes": 4, "link": "probit"},
        kind="ordinal",
    ),
    Case(
        "ordinal of adjacent classes",
        "ordinal",
        [0.3, -0.8, 0.5],
        {"num_classes": 3, "form": "adjacent"},
        kind="ordinal",
    ),
    Case(
        "ordinal of continuation ratios",
        "ordinal",
        [0.3, -0.8, 0.5],
        {"num_classes": 3, "form": "continuation", "link": "cloglog"},
        kind="ordinal",
    ),
]
VECTORS = [
    Case(
        "multivariate_normal",
        "multivariate_normal",
        [0.1, -0.3, 0.5, 0.2, 0.4, -0.1, 0.3, 0.2, 0.6],
        event_shape=(3,),
        kind="vector",
        links="loc identity, scale_tril scale_tril",
        scipy=lambda loc, scale_tril: st.multivariate_normal(loc, scale_tril @ scale_tril.T),
        truth=Truth(
            (identity, identity, softplus, identity, softplus),
            ((-1.0, 50.0), (0.0, 1e6), (-110.0, -10.0, 0.5, 1e6), (-20.0, 0.3), (-50.0, 1.0, 50.0)),
            lambda loc0, loc1, a, b, c: [(-1.0, 0.0), (50.0, 1e6), (0.5, 3.0), (-100.0, 1e4)],
            log_prob=multivariate_normal_log_prob,
            peer=lambda of, raw: of.MultivariateNormal(
                raw[..., :2], scale_tril=triangle(raw[..., 2:])
            ),
            event_shape=(2,),
        ),
    ),
    Case(
        "multivariate_normal low rank",
        "multivariate_normal",
        [0.1, -0.3, 0.5, 0.7, 0.4, -0.6, 0.3, 0.2, 0.6],
        {"rank": 1},
        event_shape=(3,),
        kind="vector",
        scipy=low_rank_normal,
    ),
]
COUNT_VECTORS = [
    Case(
        "multinomial",
        "multinomial",
        [0.3, -0.2, 1.0],
        {"total_count": 6},
        event_shape=(3,),
        kind="vector",
        links="logits softmax",
        without={"rsample"},
        truth=Truth(
            (identity,) * 3,
            (LOGITS, LOGITS, LOGITS),
            lambda *logits: [(6, 0, 0), (1, 2, 3), (0, 5, 1), (0, 0, 6)],
            log_prob=multinomial_log_prob,
        ),
    ),
    Case(
        "dirichlet_multinomial",
        "dirichlet_multinomial",
        [0.3, -0.2, 1.0],
        {"total_count": 6},
        event_shape=(3,),
        kind="vector",
        links="concentration softplus",
        without={"rsample"},
        truth=Truth(
            (softplus,) * 3,
            (SPREADS, SPREADS, SPREADS),
            lambda *concentrations: [(6, 0, 0), (1, 2, 3), (0, 5, 1), (0, 0, 6)],
            log_prob=dirichlet_multinomial_log_prob,
        ),
    ),
]
# Vectors whose parts are bound to each other, so that no grid of coordinates holds them.
COMPOSITIONS = [
    Case(
        "dirichlet",
        "dirichlet",
        [1.5, 0.2, 0.9],
        event_shape=(3,),
        kind="vector",
        links="concentration softplus",
        truth=Truth(
            (softplus, softplus, softplus),
            (SPREADS, SPREADS, SPREADS),
            lambda *a: [
                (0.25, 0.25, 0.5),
                (2.0**-10, 0.5 - 2.0**-10, 0.5),
                (2.0**-20, 1 - 2.0**-19, 2.0**-20),
                (2.0**-60, 0.5, 0.5),
            ],
            log_prob=dirichlet_log_prob,
            entropy=dirichlet_entropy,
            peer=lambda of, raw: of.Dirichlet(tensor_softplus(raw)),
        ),
    ),
    Case(
        "dirichlet by mean",
        "dirichlet",
        [0.5, -0.2, 0.9, 2.0],
        {"parametrization": "mean"},
        event_shape=(3,),
        kind="vector",
        links="mean softmax, precision softplus",
        truth=Truth(
            (identity, identity, identity, softplus),
            ((-40.0, 0.0, 20.0), (-20.0, 0.3), (-1.0, 20.0), SPREADS),
            lambda *a: [(0.25, 0.25, 0.5), (2.0**-10, 0.5 - 2.0**-10, 0.5)],
            log_prob=dirichlet_log_prob,
            entropy=dirichlet_entropy,
            convert=lambda a, b, c, precision: [
                precision * mp.exp(share) for share in log_softmax([a, b, c])
            ],
        ),
    ),
]
HEAVY_VECTORS = [
    Case(
        "multivariate_student_t",
        "multivariate_student_t",
        [1.2, 0.1, -0.3, 0.5, 0.2, 0.4, -0.1, 0.3, 0.2, 0.6],
        event_shape=(3,),
        kind="vector",
        heavy_tailed=True,
        without={"kl_divergence"},
        links="df softplus, loc identity, scale_tril scale_tril",
        truth=Truth(
            (lambda x: 2 + softplus(x), identity, identity, softplus, identity, softplus),
            (
                SPREADS,
                (-1.0, 50.0),
                (0.0, 1e6),
                (-110.0, -10.0, 0.5, 1e6),
                (-20.0, 0.3),
                (-50.0, 1.0, 50.0),
            ),
            lambda df, loc0, loc1, a, b, c: [(-1.0, 0.0), (50.0, 1e6), (0.5, 3.0), (-100.0, 1e4)],
            log_prob=multivariate_student_t_log_prob,
            entropy=multivariate_student_t_entropy,
            event_shape=(2,),
        ),
    ),
]
COPULAS = [
    Case(
        "gaussian_copula",
        "gaussian_copula",
        [1.5, 0.2, 0.9, 0.2, 0.7, -0.4, 0.5, -0.3, 0.8],
        {"marginal": "gamma"},
        event_shape=(3,),
        kind="vector",
        without={"covariance", "mode", "kl_divergence"},
        links="concentration softplus, rate softplus, correlation_tril correlation_tril",
        truth=Truth(
            (softplus, softplus, softplus, softplus, identity),
            ((-1.0, 0.5, 5.0), (0.5, 3.0), (-1.0, 0.5), (0.5, 2.0), (-20.0, 0.3, 3.0)),
            lambda *parameters: [(0.5, 1.0), (2.0, 0.25), (8.0, 0.0625)],
            log_prob=gamma_copula_log_prob,
            event_shape=(2,),
        ),
    ),
]
UNIT_VECTORS = [
    Case(
        "von_mises_fisher",
        "von_mises_fisher",
        [0.8, 0.5, -0.3, 1.1],
        event_shape=(3,),
        kind="vector",
        without={"rsample", "median", "marginals", "interval", "highest_density"},
        links="loc unit_vector, concentration softplus",
        truth=Truth(
            (identity, identity, identity, identity, softplus),
            ((-50.0, 1.0, 1e-10), (-1.0, 0.3), (0.2, 50.0), (-0.5, 1e6), SPREADS),
            lambda *parameters: [
                (1.0, 0.0, 0.0, 0.0),
                (0.0, 0.0, -1.0, 0.0),
                (0.5, -0.5, 0.5, 0.5),
                (-0.5, 0.5, -0.5, 0.5),
            ],
            log_prob=von_mises_fisher_log_prob,
            entropy=von_mises_fisher_entropy,
            event_shape=(4,),
        ),
    ),
]
RANKINGS = [
    Case(
        "plackett_luce",
        "plackett_luce",
        [0.3, -0.2, 1.0, 0.1],
        event_shape=(4,),
        kind="ranking",
        links="logits softmax",
        truth=Truth(
            (identity,) * 4,
            ((-110.0, 0.0, 50.0), (-20.0, 0.3, 20.0), (-50.0, 1.0, 50.0), (0.0, -110.0)),
            lambda *scores: [(0, 1, 2, 3), (3, 1, 0, 2), (2, 0, -1, -1), (1, -1, -1, -1)],
            log_prob=plackett_luce_log_prob,
        ),
    ),
    Case(
        "plackett_luce_ties",
        "plackett_luce_ties",
        [0.3, -0.2, 1.0, 0.1, -0.4],
        event_shape=(4,),
        kind="ranking",
        links="logits softmax, ties softplus",
        truth=Truth(
            (identity,) * 4 + (softplus,),
            ((-30.0, 0.0), (-20.0, 0.3), (1.0, 30.0), (0.0,), (-2.0, 1.0)),
            lambda *parameters: [(0, 1, 2, 3), (3, 1 + 4, 0, 2), (2, 0 + 4, -1, -1), (1, 3, 0, 6)],
            log_prob=plackett_luce_ties_log_prob,
        ),
    ),
]
INDEPENDENT = [
    Case("independent normals", "normal", [0.3, -0.4, -1.0, 0.5], event_shape=(2,)),
    Case("independent gammas", "gamma", [1.5, 0.2, 0.4, -0.3], event_shape=(2,)),
    Case(
        "independent student_t",
        "student_t",
        [1.2, 0.3, -0.4, 2.0, -0.3, 0.4],
        event_shape=(2, 1),
        without={"covariance"},
    ),
    Case(
        "independent mixtures",
        "mixture",
        [0.5, -0.3, -1, 1.5, 0, -0.5, 0, 1, 2, 0, 1, 0],
        event_shape=(2,),
    ),
    Case(
        "independent von_mises",
        "von_mises",
        [0.8, 0.5, 1.1, 0.1, -0.5, 2.0],
        event_shape=(2,),
        kind="direction",
        without={"covariance", "energy_score"},
    ),
    Case("independent poissons", "poisson", [2.1, 0.3, -1.0], event_shape=(3,), kind="count"),
    Case(
        "independent classes",
        "categorical",
        [0.3, -0.2, 1.0, 0.4, 0, -2],
        {"num_classes": 3},
        event_shape=(2,),
        kind="classes",
        without=_VECTOR,
    ),
]
AFFINE = [
    Case(
        "affine normal",
        "normal",
        [0.3, -0.4],
        units=(-1.0, 3.0),
        scipy=lambda loc, scale: st.norm(loc, scale),
    ),
    Case(
        "affine student_t",
        "student_t",
        [1.2, 0.3, -0.4],
        units=(10.0, 0.3),
        heavy_tailed=True,
        scipy=student_t,
    ),
    Case(
        "affine exponential", "exponential", [0.7], units=(10.0, 0.3), scipy=exponential(10.0, 0.3)
    ),
    Case("affine gamma", "gamma", [1.5, 0.2], units=(-1.0, 3.0), scipy=gamma(-1.0, 3.0)),
    Case(
        "affine beta", "beta", [1.0, 2.0], units=(-2.0, 0.5), has_pole=True, scipy=beta(-2.0, 0.5)
    ),
    Case(
        "affine log_normal",
        "log_normal",
        [0.2, -0.6],
        units=(-1.0, 3.0),
        scipy=log_normal(-1.0, 3.0),
    ),
    Case("affine weibull", "weibull", [0.5, 1.3], units=(10.0, 0.3), scipy=weibull(10.0, 0.3)),
    Case("affine mixture", "mixture", [0.5, -0.3, -1.0, 1.5, 0.1, -0.5], units=(-1.0, 3.0)),
]
AFFINE_COUNTS = [Case("affine poisson", "poisson", [2.1], units=(-1.0, 0.3), kind="count")]

WRAPPERS = [
    Case(
        "shifted",
        "shifted",
        [0.7],
        {"base": "exponential", "loc": 2.0},
        outside=[1.0],
        links="rate softplus",
        scipy=exponential(2.0),
    ),
    Case(
        "truncated",
        "truncated",
        [0.3, -0.4],
        {"lower": 0.0},
        outside=[-0.5],
        links="loc identity, scale softplus",
        scipy=lambda loc, scale: st.truncnorm(-loc / scale, np.inf, loc, scale),
        truth=Truth(
            (identity, softplus),
            ((-50.0, -1.0, 0.0, 0.3, 50.0), (-1.0, 0.5, 5.0, 50.0)),
            lambda loc, scale: [0, 1e-3, *(abs(y) for y in around(loc, scale)[:5])],
            log_prob=truncated_normal_log_prob,
            cdf=truncated_normal_cdf,
            limits=(0, math.inf),
        ),
    ),
]
COUNT_WRAPPERS = [
    Case(
        "discretised",
        "discretised",
        [0.3, 1.4],
        kind="count",
        outside=[0.5],
        links="loc identity, scale softplus",
        truth=Truth(
            (identity, softplus),
            ((-50.0, 0.0, 0.3, 1e3), (-1.0, 0.5, 5.0, 50.0, 1e4)),
            lambda loc, scale: [mp.floor(y) for y in around(loc, scale)[:5]],
            log_prob=discretised_normal_log_prob,
            cdf=lambda loc, scale, y: normal_cdf(loc, scale, y + mp.mpf(1) / 2),
        ),
    ),
    Case(
        "truncated poisson",
        "truncated",
        [0.4],
        {"base": "poisson", "lower": 1, "upper": 6},
        kind="count",
        outside=[0.0, 7.0, 1.5],
        links="rate softplus",
    ),
    Case(
        "zero_inflated",
        "zero_inflated",
        [1.2, -0.8],
        kind="count",
        outside=[-1.0, 0.5],
        links="rate softplus, gate sigmoid",
        truth=Truth(
            (softplus, identity),
            ((-50.0, -1.0, 0.5, 5.0, 1e3), (-40.0, -5.0, -0.5, 2.0)),
            lambda rate, logit: counts(rate),
            log_prob=zero_inflated_poisson_log_prob,
            cdf=lambda rate, logit, y: (
                sigmoid(logit) + sigmoid(-logit) * (1 - gamma_cdf(y + 1, rate))
            ),
            entropy=lambda rate, logit: sum_over_counts(
                lambda k: zero_inflated_poisson_log_prob(rate, logit, k), rate, mp.sqrt(rate)
            ),
            crps=zero_inflated_poisson_crps,
            peer=lambda of, raw: of.ZeroInflatedPoisson(
                tensor_softplus(raw[..., 0]), gate_logits=raw[..., 1]
            ),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "zero_inflated negative_binomial",
        "zero_inflated",
        [2.0, 0.3, -0.8],
        {"base": "negative_binomial"},
        kind="count",
        links="total_count softplus, logits identity, gate sigmoid",
    ),
    Case(
        "hurdle",
        "hurdle",
        [0.9, -0.3],
        kind="count",
        outside=[-1.0, 0.5],
        links="rate softplus, gate sigmoid",
        truth=Truth(
            (softplus, identity),
            ((-50.0, -1.0, 0.5, 5.0, 1e3), (-40.0, -5.0, -0.5, 2.0)),
            lambda rate, logit: counts(rate),
            log_prob=hurdle_poisson_log_prob,
            limits=(0, math.inf),
        ),
    ),
    Case(
        "inflated poisson",
        "inflated",
        [2.1, -1.0],
        {"base": "poisson", "value": 4},
        kind="count",
        links="rate softplus, gate sigmoid",
    ),
]
MIXED = [
    Case(
        "hurdle gamma",
        "hurdle",
        [1.5, 0.2, -0.5],
        {"base": "gamma"},
        kind="mixed",
        outside=[-1.0],
        links="concentration softplus, rate softplus, gate sigmoid",
        truth=Truth(
            (softplus, softplus, identity),
            ((-10.0, -1.0, 0.5, 50.0), (-10.0, 0.5, 50.0), (-40.0, -0.5, 2.0)),
            lambda a, rate, logit: [0, *positive(a / rate)],
            log_prob=lambda a, rate, logit, y: (
                -softplus(-logit) if y == 0 else gamma_log_prob(a, rate, y) - softplus(logit)
            ),
            cdf=lambda a, rate, logit, y: (
                sigmoid(logit) + (sigmoid(-logit) * gamma_cdf(a, rate * y) if y > 0 else 0)
            ),
            limits=(0, math.inf),
        ),
    ),
    Case(
        "inflated",
        "inflated",
        [0.3, -0.4, -0.8],
        {"value": 0.5},
        kind="mixed",
        links="loc identity, scale softplus, gate sigmoid",
    ),
    Case(
        "zero_one_inflated",
        "zero_one_inflated",
        [1.0, 2.0, -0.5, 0.4],
        kind="mixed",
        outside=[-1.0, 2.0],
        links="concentration1 softplus, concentration0 softplus, gate sigmoid, one sigmoid",
    ),
]

ON_A_LINE = CONTINUOUS + MIXTURES + WRAPPERS + AFFINE
ALL_COUNTS = COUNTS + COUNT_WRAPPERS + AFFINE_COUNTS
ORDERED = ON_A_LINE + MIXED + CIRCULAR + ALL_COUNTS
# What a head makes, and everything.
CASES = (
    CONTINUOUS
    + MIXTURES
    + WRAPPERS
    + MIXED
    + CIRCULAR
    + CIRCULAR_MIXTURES
    + COUNTS
    + COUNT_WRAPPERS
    + CLASSES
    + ORDINAL
    + VECTORS
    + COUNT_VECTORS
    + HEAVY_VECTORS
    + COPULAS
    + COMPOSITIONS
    + UNIT_VECTORS
    + RANKINGS
    + INDEPENDENT
)
EVERYTHING = CASES + AFFINE + AFFINE_COUNTS

NAMED = {case.name: case for case in EVERYTHING}
# The plain row of each family of one number, and all truths at 50 digits.
ONE_EACH = [
    case
    for case in CONTINUOUS + MIXTURES + WRAPPERS + MIXED + CIRCULAR + COUNTS + COUNT_WRAPPERS
    if case.name == case.family
]
TRUTHS = [
    replace(
        case.truth,
        name=case.name,
        family=case.family,
        options=case.options | case.truth.options,
        event_shape=case.truth.event_shape or case.event_shape,
    )
    for case in CASES
    if case.truth
]

# The families with which compilers, transforms, reports and metrics are tried by default: those of
# the first table, and one for each kind of code beyond it. The slow tests try them with all.
SAMPLE = {
    *(
        "normal",
        "laplace",
        "student_t",
        "mixture",
        "normal_mixture",
        "exponential",
        "gamma",
        "beta",
    ),
    *("multivariate_normal", "von_mises", "bernoulli", "categorical", "poisson", "plackett_luce"),
    *("log_normal", "logistic", "negative_binomial", "weibull"),
    *("gumbel", "generalized_pareto", "binomial", "censored", "hurdle", "truncated", "ordinal"),
    *("dirichlet", "quantile_function"),
}
BEYOND_THE_SAMPLE = tuple(case.name for case in EVERYTHING if case.family not in SAMPLE)
# The same code as another row, with other numbers or slowly.
REPEATS = [
    "zero_inflated negative_binomial",
    "inflated poisson",
    "log_normal by mean",
    "inverse_gaussian by mean",
    "generalized_pareto with an upper limit",
    "generalized_extreme_value with an upper limit",
    *(
        "student_t heavy",
        "gamma falling",
        "gamma by mean",
        "beta with two ends",
        "beta by mean",
        "weibull falling",
    ),
    *("asymmetric_laplace quantile", "huber with a learned threshold"),
    *("normal_mixture", "mixture of gammas", "mixture of student_t", "mixture of log_normals"),
    "mixture of one normal",
    "dirichlet by mean",
    *("von_mises across pi", "von_mises nearly uniform"),
    *("binomial of many trials", "beta_binomial by mean"),
    *("generalized_poisson under-dispersed", "conway_maxwell_poisson by mean"),
    *("poisson rare", "negative_binomial scattered", "negative_binomial by mean"),
    *("ordinal probit", "ordinal of adjacent classes", "ordinal of continuation ratios"),
    *("independent gammas", "independent student_t", "independent mixtures"),
    *(case.name for case in AFFINE if case.family not in ("weibull", "normal")),
]


def rows(cases: Sequence[Case], slow: Sequence[str] = ()) -> list:
    """The rows for `pytest.mark.parametrize`; repeats, and what is in `slow`, are left to the slow
    tests.
    """
    names = {*REPEATS, *slow}
    return [
        pytest.param(case, marks=pytest.mark.slow if case.name in names else (), id=case.name)
        for case in cases
    ]
