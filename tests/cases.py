"""THE table: one row per configured family. The shared tests run over all rows.

A row says how the family is configured, raw outputs at which it is tried, and scipy's distribution with the same
parameters where scipy has it. `event_shape` gives several independent outputs, `units` an affine target loc + scale * y.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import scipy.stats as st
import torch
from torch import Tensor

import disthead as dh


@dataclass(frozen=True)
class Case:
    name: str
    family: str
    raw: Sequence[float]
    options: dict[str, Any] = field(default_factory=dict)
    event_shape: tuple[int, ...] = ()
    units: tuple[float, float] | None = None
    scipy: Callable | None = None

    def __str__(self) -> str:
        return self.name

    def make_family(self) -> dh.Family:
        return dh.get_family(self.family, event_shape=self.event_shape, **self.options)

    def head(self, in_features: int = 3) -> dh.DistributionHead:
        return dh.DistributionHead(self.family, in_features, event_shape=self.event_shape, **self.options)

    def from_raw(self, raw: Tensor) -> dh.Distribution:
        """The row's distribution from raw outputs (..., len(self.raw)), those of several outputs one after the other."""
        family = self.make_family()
        outputs = self.event_shape[: len(self.event_shape) - family.event_dim]
        if outputs:
            raw = raw.reshape(*raw.shape[:-1], *outputs, -1)
        dist = family.from_raw(raw).to_event(len(outputs))
        return dist.affine(*(raw.new_tensor(part) for part in self.units)) if self.units else dist

    def dist(self, dtype=torch.float64, batch: tuple[int, ...] = (), shift: float = 0.0) -> dh.Distribution:
        """The distribution at the row's raw outputs plus `shift`, in double precision unless told otherwise."""
        raw = torch.tensor(self.raw, dtype=dtype) + shift
        return self.from_raw(raw.expand(*batch, len(self.raw)))

    def frozen(self):
        """scipy's distribution with the same parameters."""
        return self.scipy(**{name: value.numpy() for name, value in self.dist().parameters.items()})


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


def von_mises(loc, concentration):
    return st.vonmises(concentration, loc)


def bernoulli(logits):
    return st.bernoulli(1 / (1 + math.e**-logits))


def negative_binomial(total_count, logits):
    return st.nbinom(total_count, 1 / (1 + math.e**logits))


def low_rank_normal(loc, cov_factor, cov_diag):
    return st.multivariate_normal(loc, cov_factor @ cov_factor.T + cov_diag * torch.eye(3).numpy())


CONTINUOUS = [
    Case("normal", "normal", [0.3, -0.4], scipy=lambda loc, scale: st.norm(loc, scale)),
    Case("laplace", "laplace", [0.3, -0.4], scipy=lambda loc, scale: st.laplace(loc, scale)),
    Case("student_t", "student_t", [1.2, 0.3, -0.4], scipy=student_t),
    Case("student_t heavy", "student_t", [-1.0, 0.3, -0.4], {"min_df": 1.5}, scipy=student_t),
    Case("exponential", "exponential", [0.7], scipy=exponential()),
    Case("gamma", "gamma", [1.5, 0.2], scipy=gamma()),
    Case("gamma falling", "gamma", [-0.2, 0.2], scipy=gamma()),
    Case(
        "gamma by mean",
        "gamma",
        [1.5, 1.2],
        {"parametrization": "mean"},
        scipy=lambda mean, concentration: st.gamma(concentration, scale=mean / concentration),
    ),
    Case("beta", "beta", [1.0, 2.0], scipy=beta()),
    Case("beta with two ends", "beta", [0.2, -0.1], scipy=beta()),
    Case(
        "beta by mean",
        "beta",
        [-0.5, 3.0],
        {"parametrization": "mean"},
        scipy=lambda mean, precision: st.beta(mean * precision, (1 - mean) * precision),
    ),
    Case("log_normal", "log_normal", [0.2, -0.6], scipy=log_normal()),
    Case("weibull", "weibull", [0.5, 1.3], scipy=weibull()),
    Case("weibull falling", "weibull", [0.5, -0.1], scipy=weibull()),
    Case("logistic", "logistic", [0.3, -0.4], scipy=lambda loc, scale: st.logistic(loc, scale)),
]
MIXTURES = [
    Case("mixture of normals", "mixture", [0.5, -0.3, -1.0, 1.5, 0.1, -0.5], {"num_components": 2}),
    Case("normal_mixture", "normal_mixture", [0.1, -0.2, 0.3, -2, 0.0, 2.0, -1, -0.5, 0.0], {"num_components": 3}),
    Case("mixture of gammas", "mixture", [0.5, -0.3, 1.5, 3.0, 1.0, 0.0], {"component": "gamma"}),
    Case("mixture of student_t", "mixture", [0.4, 0, 1, 2, -2, 1.5, 0, 0.5], {"component": "student_t"}),
    Case("mixture of log_normals", "mixture", [0.4, 0, -0.5, 1.5, -0.6, -1.5], {"component": "log_normal"}),
]
CIRCULAR = [
    Case("von_mises", "von_mises", [0.8, 0.5, 1.1], scipy=von_mises),
    Case("von_mises across pi", "von_mises", [-0.9, 0.2, 2.5], scipy=von_mises),
    Case("von_mises nearly uniform", "von_mises", [0.8, -0.5, -3.0], scipy=von_mises),
]
CIRCULAR_MIXTURES = [
    Case("mixture of von_mises", "mixture", [0.4, 0, 0.8, 0.5, -0.9, -0.1, 2, 1], {"component": "von_mises"})
]
COUNTS = [
    Case("bernoulli", "bernoulli", [0.4], scipy=bernoulli),
    Case("poisson", "poisson", [2.1], scipy=lambda rate: st.poisson(rate)),
    Case("poisson rare", "poisson", [-1.5], scipy=lambda rate: st.poisson(rate)),
    Case("negative_binomial", "negative_binomial", [2.0, 0.3], scipy=negative_binomial),
    Case("negative_binomial scattered", "negative_binomial", [-1.0, 2.0], scipy=negative_binomial),
    Case(
        "negative_binomial by mean",
        "negative_binomial",
        [2.5, 1.2],
        {"parametrization": "mean"},
        scipy=lambda mean, total_count: st.nbinom(total_count, total_count / (total_count + mean)),
    ),
    Case("mixture of poissons", "mixture", [0.5, -0.3, 0.5, 6.0], {"component": "poisson"}),
]
CLASSES = [Case("categorical", "categorical", [0.3, -0.2, 1.0], {"num_classes": 3})]
VECTORS = [
    Case(
        "multivariate_normal",
        "multivariate_normal",
        [0.1, -0.3, 0.5, 0.2, 0.4, -0.1, 0.3, 0.2, 0.6],
        event_shape=(3,),
        scipy=lambda loc, scale_tril: st.multivariate_normal(loc, scale_tril @ scale_tril.T),
    ),
    Case(
        "multivariate_normal low rank",
        "multivariate_normal",
        [0.1, -0.3, 0.5, 0.7, 0.4, -0.6, 0.3, 0.2, 0.6],
        {"rank": 1},
        event_shape=(3,),
        scipy=low_rank_normal,
    ),
]
RANKINGS = [Case("plackett_luce", "plackett_luce", [0.3, -0.2, 1.0, 0.1], event_shape=(4,))]
INDEPENDENT = [
    Case("independent normals", "normal", [0.3, -0.4, -1.0, 0.5], event_shape=(2,)),
    Case("independent gammas", "gamma", [1.5, 0.2, 0.4, -0.3], event_shape=(2,)),
    Case("independent student_t", "student_t", [1.2, 0.3, -0.4, 2.0, -0.3, 0.4], event_shape=(2, 1)),
    Case("independent mixtures", "mixture", [0.5, -0.3, -1, 1.5, 0, -0.5, 0, 1, 2, 0, 1, 0], event_shape=(2,)),
    Case("independent von_mises", "von_mises", [0.8, 0.5, 1.1, 0.1, -0.5, 2.0], event_shape=(2,)),
    Case("independent poissons", "poisson", [2.1, 0.3, -1.0], event_shape=(3,)),
    Case("independent classes", "categorical", [0.3, -0.2, 1.0, 0.4, 0, -2], {"num_classes": 3}, event_shape=(2,)),
]
AFFINE = [
    Case("affine normal", "normal", [0.3, -0.4], units=(-1.0, 3.0), scipy=lambda loc, scale: st.norm(loc, scale)),
    Case("affine student_t", "student_t", [1.2, 0.3, -0.4], units=(10.0, 0.3), scipy=student_t),
    Case("affine exponential", "exponential", [0.7], units=(10.0, 0.3), scipy=exponential(10.0, 0.3)),
    Case("affine gamma", "gamma", [1.5, 0.2], units=(-1.0, 3.0), scipy=gamma(-1.0, 3.0)),
    Case("affine beta", "beta", [1.0, 2.0], units=(-2.0, 0.5), scipy=beta(-2.0, 0.5)),
    Case("affine log_normal", "log_normal", [0.2, -0.6], units=(-1.0, 3.0), scipy=log_normal(-1.0, 3.0)),
    Case("affine weibull", "weibull", [0.5, 1.3], units=(10.0, 0.3), scipy=weibull(10.0, 0.3)),
    Case("affine mixture", "mixture", [0.5, -0.3, -1.0, 1.5, 0.1, -0.5], units=(-1.0, 3.0)),
]
AFFINE_COUNTS = [Case("affine poisson", "poisson", [2.1], units=(-1.0, 0.3))]

ON_A_LINE = CONTINUOUS + MIXTURES + AFFINE
ALL_COUNTS = COUNTS + AFFINE_COUNTS
ORDERED = ON_A_LINE + CIRCULAR + ALL_COUNTS
# What a head makes, and everything.
CASES = CONTINUOUS + MIXTURES + CIRCULAR + CIRCULAR_MIXTURES + COUNTS + CLASSES + VECTORS + RANKINGS + INDEPENDENT
EVERYTHING = CASES + AFFINE + AFFINE_COUNTS


# The same code as another row, with other numbers or slowly.
REPEATS = [
    *("student_t heavy", "gamma falling", "gamma by mean", "beta with two ends", "beta by mean", "weibull falling"),
    *("normal_mixture", "mixture of gammas", "mixture of student_t", "mixture of log_normals"),
    *("von_mises across pi", "von_mises nearly uniform"),
    *("poisson rare", "negative_binomial scattered", "negative_binomial by mean"),
    *("independent gammas", "independent student_t", "independent mixtures"),
    *(case.name for case in AFFINE if case.family not in ("weibull", "normal")),
]


def rows(cases: Sequence[Case], slow: Sequence[str] = ()) -> list:
    """The rows for `pytest.mark.parametrize`; repeats, and what is in `slow`, are left to the slow tests."""
    names = {*REPEATS, *slow}
    return [pytest.param(case, marks=pytest.mark.slow if case.name in names else (), id=case.name) for case in cases]
