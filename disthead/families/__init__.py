"""The families, one file each, in the order of figure 5.11 of Prince (2023) and then those beside it."""

# In the order of the figure, as a reader of the table expects them.
# isort: off
from disthead.distributions.base import Distribution
from disthead.families.family import Family, families, get_family
from disthead.distributions.interval import Arc, Interval
from disthead.families.normal import Normal, NormalFamily
from disthead.families.laplace import Laplace, LaplaceFamily
from disthead.families.student_t import StudentT, StudentTFamily
from disthead.families.mixture import Mixture
from disthead.families.mixture_family import MixtureFamily, NormalMixtureFamily
from disthead.families.exponential import Exponential, ExponentialFamily
from disthead.families.gamma import Gamma, GammaFamily
from disthead.families.beta import Beta, BetaFamily
from disthead.families.multivariate_normal import MultivariateNormal, MultivariateNormalFamily
from disthead.families.von_mises import VonMises, VonMisesFamily
from disthead.families.bernoulli import Bernoulli, BernoulliFamily
from disthead.families.categorical import Categorical, CategoricalFamily
from disthead.families.poisson import Poisson, PoissonFamily
from disthead.families.plackett_luce import PlackettLuce, PlackettLuceFamily
from disthead.families.negative_binomial import NegativeBinomial, NegativeBinomialFamily
from disthead.families.log_normal import LogNormal, LogNormalFamily
from disthead.families.weibull import Weibull, WeibullFamily
from disthead.distributions.independent import Independent
from disthead.distributions.affine import Affine
from disthead.families.ensembles import ensemble
from disthead.families import counterparts  # divergences between these and torch's
# isort: on

__all__ = [
    "Affine",
    "Arc",
    "Bernoulli",
    "BernoulliFamily",
    "Beta",
    "BetaFamily",
    "Categorical",
    "CategoricalFamily",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "Family",
    "Gamma",
    "GammaFamily",
    "Independent",
    "Interval",
    "Laplace",
    "LaplaceFamily",
    "LogNormal",
    "LogNormalFamily",
    "Mixture",
    "MixtureFamily",
    "MultivariateNormal",
    "MultivariateNormalFamily",
    "NegativeBinomial",
    "NegativeBinomialFamily",
    "Normal",
    "NormalFamily",
    "NormalMixtureFamily",
    "PlackettLuce",
    "PlackettLuceFamily",
    "Poisson",
    "PoissonFamily",
    "StudentT",
    "StudentTFamily",
    "VonMises",
    "VonMisesFamily",
    "Weibull",
    "WeibullFamily",
    "ensemble",
    "families",
    "get_family",
]
