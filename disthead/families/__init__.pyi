# Written by `make tables`: the classes of the files beside this one.
from disthead.distributions.affine import Affine as Affine
from disthead.distributions.base import Distribution as Distribution
from disthead.distributions.independent import Independent as Independent
from disthead.distributions.interval import Arc as Arc
from disthead.distributions.interval import Interval as Interval
from disthead.families.asymmetric_laplace import AsymmetricLaplace as AsymmetricLaplace
from disthead.families.asymmetric_laplace import AsymmetricLaplaceFamily as AsymmetricLaplaceFamily
from disthead.families.bernoulli import Bernoulli as Bernoulli
from disthead.families.bernoulli import BernoulliFamily as BernoulliFamily
from disthead.families.beta import Beta as Beta
from disthead.families.beta import BetaFamily as BetaFamily
from disthead.families.beta import MeanBeta as MeanBeta
from disthead.families.beta_binomial import BetaBinomial as BetaBinomial
from disthead.families.beta_binomial import BetaBinomialFamily as BetaBinomialFamily
from disthead.families.beta_binomial import MeanBetaBinomial as MeanBetaBinomial
from disthead.families.binomial import Binomial as Binomial
from disthead.families.binomial import BinomialFamily as BinomialFamily
from disthead.families.bradley_terry import BradleyTerry as BradleyTerry
from disthead.families.bradley_terry import BradleyTerryFamily as BradleyTerryFamily
from disthead.families.categorical import Categorical as Categorical
from disthead.families.categorical import CategoricalFamily as CategoricalFamily
from disthead.families.categorical import ClassFamily as ClassFamily
from disthead.families.cauchy import Cauchy as Cauchy
from disthead.families.cauchy import CauchyFamily as CauchyFamily
from disthead.families.censored import CensoredFamily as CensoredFamily
from disthead.families.circular_mixture import CircularMixture as CircularMixture
from disthead.families.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from disthead.families.continuous_bernoulli import (
    ContinuousBernoulliFamily as ContinuousBernoulliFamily,
)
from disthead.families.conway_maxwell_poisson import ConwayMaxwellPoisson as ConwayMaxwellPoisson
from disthead.families.conway_maxwell_poisson import (
    ConwayMaxwellPoissonFamily as ConwayMaxwellPoissonFamily,
)
from disthead.families.conway_maxwell_poisson import (
    MeanConwayMaxwellPoisson as MeanConwayMaxwellPoisson,
)
from disthead.families.dirichlet import Dirichlet as Dirichlet
from disthead.families.dirichlet import DirichletFamily as DirichletFamily
from disthead.families.dirichlet import MeanDirichlet as MeanDirichlet
from disthead.families.dirichlet_multinomial import DirichletMultinomial as DirichletMultinomial
from disthead.families.dirichlet_multinomial import (
    DirichletMultinomialFamily as DirichletMultinomialFamily,
)
from disthead.families.discrete_mixture import DiscreteMixture as DiscreteMixture
from disthead.families.discretised import DiscretisedFamily as DiscretisedFamily
from disthead.families.ensembles import BernoulliEnsemble as BernoulliEnsemble
from disthead.families.ensembles import CategoricalEnsemble as CategoricalEnsemble
from disthead.families.ensembles import IndependentEnsemble as IndependentEnsemble
from disthead.families.ensembles import OrderedCategoricalEnsemble as OrderedCategoricalEnsemble
from disthead.families.ensembles import RankingEnsemble as RankingEnsemble
from disthead.families.ensembles import VectorEnsemble as VectorEnsemble
from disthead.families.ensembles import ensemble as ensemble
from disthead.families.exponential import Exponential as Exponential
from disthead.families.exponential import ExponentialFamily as ExponentialFamily
from disthead.families.family import Family as Family
from disthead.families.family import families as families
from disthead.families.family import get_family as get_family
from disthead.families.gamma import Gamma as Gamma
from disthead.families.gamma import GammaFamily as GammaFamily
from disthead.families.gamma import MeanGamma as MeanGamma
from disthead.families.gaussian import Gaussian as Gaussian
from disthead.families.gaussian_copula import GaussianCopula as GaussianCopula
from disthead.families.gaussian_copula import GaussianCopulaFamily as GaussianCopulaFamily
from disthead.families.generalized_extreme_value import (
    GeneralizedExtremeValue as GeneralizedExtremeValue,
)
from disthead.families.generalized_extreme_value import (
    GeneralizedExtremeValueFamily as GeneralizedExtremeValueFamily,
)
from disthead.families.generalized_gamma import GeneralizedGamma as GeneralizedGamma
from disthead.families.generalized_gamma import GeneralizedGammaFamily as GeneralizedGammaFamily
from disthead.families.generalized_normal import GeneralizedNormal as GeneralizedNormal
from disthead.families.generalized_normal import GeneralizedNormalFamily as GeneralizedNormalFamily
from disthead.families.generalized_pareto import GeneralizedPareto as GeneralizedPareto
from disthead.families.generalized_pareto import GeneralizedParetoFamily as GeneralizedParetoFamily
from disthead.families.generalized_poisson import GeneralizedPoisson as GeneralizedPoisson
from disthead.families.generalized_poisson import (
    GeneralizedPoissonFamily as GeneralizedPoissonFamily,
)
from disthead.families.geometric import Geometric as Geometric
from disthead.families.geometric import GeometricFamily as GeometricFamily
from disthead.families.gumbel import Gumbel as Gumbel
from disthead.families.gumbel import GumbelFamily as GumbelFamily
from disthead.families.half_normal import HalfNormal as HalfNormal
from disthead.families.half_normal import HalfNormalFamily as HalfNormalFamily
from disthead.families.histogram import Histogram as Histogram
from disthead.families.histogram import HistogramFamily as HistogramFamily
from disthead.families.huber import Huber as Huber
from disthead.families.huber import HuberFamily as HuberFamily
from disthead.families.hurdle import HurdleFamily as HurdleFamily
from disthead.families.hyperbolic_secant import HyperbolicSecant as HyperbolicSecant
from disthead.families.hyperbolic_secant import HyperbolicSecantFamily as HyperbolicSecantFamily
from disthead.families.inflated import InflatedFamily as InflatedFamily
from disthead.families.inflated import ZeroInflatedFamily as ZeroInflatedFamily
from disthead.families.inverse_gamma import InverseGamma as InverseGamma
from disthead.families.inverse_gamma import InverseGammaFamily as InverseGammaFamily
from disthead.families.inverse_gaussian import InverseGaussian as InverseGaussian
from disthead.families.inverse_gaussian import InverseGaussianFamily as InverseGaussianFamily
from disthead.families.inverse_gaussian import MeanInverseGaussian as MeanInverseGaussian
from disthead.families.johnson_su import JohnsonSU as JohnsonSU
from disthead.families.johnson_su import JohnsonSUFamily as JohnsonSUFamily
from disthead.families.kumaraswamy import Kumaraswamy as Kumaraswamy
from disthead.families.kumaraswamy import KumaraswamyFamily as KumaraswamyFamily
from disthead.families.laplace import Laplace as Laplace
from disthead.families.laplace import LaplaceFamily as LaplaceFamily
from disthead.families.log_logistic import LogLogistic as LogLogistic
from disthead.families.log_logistic import LogLogisticFamily as LogLogisticFamily
from disthead.families.log_normal import LogNormal as LogNormal
from disthead.families.log_normal import LogNormalFamily as LogNormalFamily
from disthead.families.log_normal import MeanLogNormal as MeanLogNormal
from disthead.families.logistic import Logistic as Logistic
from disthead.families.logistic import LogisticFamily as LogisticFamily
from disthead.families.logit_normal import LogitNormal as LogitNormal
from disthead.families.logit_normal import LogitNormalFamily as LogitNormalFamily
from disthead.families.low_rank_normal import LowRankMultivariateNormal as LowRankMultivariateNormal
from disthead.families.mixed_mixture import MixedMixture as MixedMixture
from disthead.families.mixture import Mixture as Mixture
from disthead.families.mixture_family import MixtureFamily as MixtureFamily
from disthead.families.mixture_family import NormalMixtureFamily as NormalMixtureFamily
from disthead.families.multinomial import Multinomial as Multinomial
from disthead.families.multinomial import MultinomialFamily as MultinomialFamily
from disthead.families.multivariate_normal import MultivariateNormal as MultivariateNormal
from disthead.families.multivariate_normal import (
    MultivariateNormalFamily as MultivariateNormalFamily,
)
from disthead.families.multivariate_student_t import MultivariateStudentT as MultivariateStudentT
from disthead.families.multivariate_student_t import (
    MultivariateStudentTFamily as MultivariateStudentTFamily,
)
from disthead.families.negative_binomial import MeanNegativeBinomial as MeanNegativeBinomial
from disthead.families.negative_binomial import NegativeBinomial as NegativeBinomial
from disthead.families.negative_binomial import NegativeBinomialFamily as NegativeBinomialFamily
from disthead.families.normal import Normal as Normal
from disthead.families.normal import NormalFamily as NormalFamily
from disthead.families.ordered_categorical import OrderedCategorical as OrderedCategorical
from disthead.families.ordinal import Ordinal as Ordinal
from disthead.families.ordinal import OrdinalFamily as OrdinalFamily
from disthead.families.pareto import Pareto as Pareto
from disthead.families.pareto import ParetoFamily as ParetoFamily
from disthead.families.plackett_luce import PlackettLuce as PlackettLuce
from disthead.families.plackett_luce import PlackettLuceFamily as PlackettLuceFamily
from disthead.families.plackett_luce_ties import PlackettLuceTies as PlackettLuceTies
from disthead.families.plackett_luce_ties import PlackettLuceTiesFamily as PlackettLuceTiesFamily
from disthead.families.poisson import Poisson as Poisson
from disthead.families.poisson import PoissonFamily as PoissonFamily
from disthead.families.projected_normal import ProjectedNormal as ProjectedNormal
from disthead.families.projected_normal import ProjectedNormalFamily as ProjectedNormalFamily
from disthead.families.quantile_function import QuantileFunction as QuantileFunction
from disthead.families.quantile_function import QuantileFunctionFamily as QuantileFunctionFamily
from disthead.families.shifted import ShiftedFamily as ShiftedFamily
from disthead.families.sinh_arcsinh import SinhArcsinh as SinhArcsinh
from disthead.families.sinh_arcsinh import SinhArcsinhFamily as SinhArcsinhFamily
from disthead.families.skew_normal import SkewNormal as SkewNormal
from disthead.families.skew_normal import SkewNormalFamily as SkewNormalFamily
from disthead.families.skew_t import SkewT as SkewT
from disthead.families.skew_t import SkewTFamily as SkewTFamily
from disthead.families.student_t import StudentT as StudentT
from disthead.families.student_t import StudentTFamily as StudentTFamily
from disthead.families.trials import TrialsFamily as TrialsFamily
from disthead.families.trials import VectorTrialsFamily as VectorTrialsFamily
from disthead.families.truncated import TruncatedFamily as TruncatedFamily
from disthead.families.tweedie import Tweedie as Tweedie
from disthead.families.tweedie import TweedieFamily as TweedieFamily
from disthead.families.von_mises import VonMises as VonMises
from disthead.families.von_mises import VonMisesFamily as VonMisesFamily
from disthead.families.von_mises_fisher import VonMisesFisher as VonMisesFisher
from disthead.families.von_mises_fisher import VonMisesFisherFamily as VonMisesFisherFamily
from disthead.families.weibull import Weibull as Weibull
from disthead.families.weibull import WeibullFamily as WeibullFamily
from disthead.families.wrapped_cauchy import WrappedCauchy as WrappedCauchy
from disthead.families.wrapped_cauchy import WrappedCauchyFamily as WrappedCauchyFamily
from disthead.families.wrapper_family import WrapperFamily as WrapperFamily
from disthead.families.zero_one_inflated import ZeroOneInflated as ZeroOneInflated
from disthead.families.zero_one_inflated import ZeroOneInflatedFamily as ZeroOneInflatedFamily
