"""THE table: one row per configured family. The shared tests of `test_families.py` run over all rows.

A row says how the family is configured, raw outputs at which it is tried, and scipy's distribution with the same
parameters where scipy has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import scipy.stats as st
import torch

import disthead as dh


@dataclass(frozen=True)
class Case:
    name: str
    family: str
    raw: Sequence[float]
    options: dict[str, Any] = field(default_factory=dict)
    event_shape: tuple[int, ...] = ()
    scipy: Callable | None = None

    def __str__(self) -> str:
        return self.name

    def make_family(self) -> dh.Family:
        return dh.get_family(self.family, event_shape=self.event_shape, **self.options)

    def head(self, in_features: int = 3) -> dh.DistributionHead:
        return dh.DistributionHead(self.family, in_features, event_shape=self.event_shape, **self.options)

    def dist(self, dtype=torch.float64, batch: tuple[int, ...] = ()) -> dh.Distribution:
        """The distribution at the row's raw outputs, in double precision unless told otherwise."""
        raw = torch.tensor(self.raw, dtype=dtype)
        return self.make_family().from_raw(raw.expand(*batch, len(self.raw)))

    def frozen(self):
        """scipy's distribution with the same parameters."""
        return self.scipy(**{name: value.numpy() for name, value in self.dist().parameters.items()})


CONTINUOUS = [
    Case("normal", "normal", [0.3, -0.4], scipy=lambda loc, scale: st.norm(loc, scale)),
    Case("laplace", "laplace", [0.3, -0.4], scipy=lambda loc, scale: st.laplace(loc, scale)),
    Case("student_t", "student_t", [1.2, 0.3, -0.4], scipy=lambda df, loc, scale: st.t(df, loc, scale)),
    Case(
        "student_t heavy",
        "student_t",
        [1.0, 0.3, -0.4],
        {"min_df": 1.5},
        scipy=lambda df, loc, scale: st.t(df, loc, scale),
    ),
    Case("exponential", "exponential", [0.7], scipy=lambda rate: st.expon(scale=1 / rate)),
    Case("gamma", "gamma", [1.5, 0.2], scipy=lambda concentration, rate: st.gamma(concentration, scale=1 / rate)),
    Case(
        "gamma by mean",
        "gamma",
        [1.5, 1.2],
        {"parametrization": "mean"},
        scipy=lambda mean, concentration: st.gamma(concentration, scale=mean / concentration),
    ),
    Case(
        "beta", "beta", [1.0, 2.0], scipy=lambda concentration1, concentration0: st.beta(concentration1, concentration0)
    ),
    Case(
        "beta by mean",
        "beta",
        [-0.5, 3.0],
        {"parametrization": "mean"},
        scipy=lambda mean, precision: st.beta(mean * precision, (1 - mean) * precision),
    ),
    Case("log_normal", "log_normal", [0.2, -0.6], scipy=lambda loc, scale: st.lognorm(scale, scale=torch.e**loc)),
    Case(
        "weibull", "weibull", [0.5, 1.3], scipy=lambda scale, concentration: st.weibull_min(concentration, scale=scale)
    ),
    Case("mixture of normals", "mixture", [0.5, -0.3, -1.0, 1.5, 0.1, -0.5], {"num_components": 2}),
    Case("normal_mixture", "normal_mixture", [0.1, -0.2, 0.3, -2, 0.0, 2.0, -1, -0.5, 0.0], {"num_components": 3}),
    Case("mixture of gammas", "mixture", [0.5, -0.3, 1.5, 3.0, 1.0, 0.0], {"component": "gamma", "num_components": 2}),
]
CIRCULAR = [
    Case("von_mises", "von_mises", [0.8, 0.5, 1.1], scipy=lambda loc, concentration: st.vonmises(concentration, loc))
]
COUNTS = [
    Case("bernoulli", "bernoulli", [0.4], scipy=lambda logits: st.bernoulli(1 / (1 + torch.e**-logits))),
    Case("poisson", "poisson", [2.1], scipy=lambda rate: st.poisson(rate)),
    Case(
        "negative_binomial",
        "negative_binomial",
        [2.0, 0.3],
        scipy=lambda total_count, logits: st.nbinom(total_count, 1 / (1 + torch.e**logits)),
    ),
    Case(
        "negative_binomial by mean",
        "negative_binomial",
        [2.5, 1.2],
        {"parametrization": "mean"},
        scipy=lambda mean, total_count: st.nbinom(total_count, total_count / (total_count + mean)),
    ),
    Case("mixture of poissons", "mixture", [0.5, -0.3, 0.5, 6.0], {"component": "poisson", "num_components": 2}),
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
        scipy=lambda loc, cov_factor, cov_diag: st.multivariate_normal(
            loc, cov_factor @ cov_factor.T + cov_diag * torch.eye(3).numpy()
        ),
    ),
]
RANKINGS = [Case("plackett_luce", "plackett_luce", [0.3, -0.2, 1.0, 0.1], event_shape=(4,))]

CASES = CONTINUOUS + CIRCULAR + COUNTS + CLASSES + VECTORS + RANKINGS
ORDERED = CONTINUOUS + CIRCULAR + COUNTS
