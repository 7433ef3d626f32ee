"""Divergences between distributions of torch or Pyro and those of this library."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, distributions
from torch.distributions import kl_divergence, register_kl

from disthead.distributions.base import Distribution
from disthead.families.bernoulli import Bernoulli
from disthead.families.beta import Beta
from disthead.families.categorical import Categorical
from disthead.families.exponential import Exponential
from disthead.families.gamma import Gamma
from disthead.families.laplace import Laplace
from disthead.families.log_normal import LogNormal
from disthead.families.mixture_family import mixture
from disthead.families.multivariate_normal import LowRankMultivariateNormal, MultivariateNormal
from disthead.families.negative_binomial import NegativeBinomial
from disthead.families.normal import Normal
from disthead.families.poisson import Poisson
from disthead.families.student_t import StudentT
from disthead.families.von_mises import VonMises
from disthead.families.weibull import Weibull

__all__ = ["counterpart"]


def counterpart(dist: distributions.Distribution) -> Distribution:
    """The distribution of this library that equals one of torch or Pyro.

    Args:
        dist: a distribution of torch or Pyro; one of this library is returned as is.

    Raises:
        NotImplementedError: where there is none.
    """
    if isinstance(dist, Distribution):
        return dist
    for kind, make in _COUNTERPARTS.items():
        if isinstance(dist, kind):
            return make(dist)
    raise NotImplementedError(f"{type(dist).__name__} has no counterpart among the families.")


def _weights(dist: Any) -> dict[str, Tensor]:
    """Probabilities or logits, as the distribution stores them: torch clamps converted ones."""
    return (
        {"probs": dist.probs}
        if dist._param is dist.__dict__.get("probs")
        else {"logits": dist.logits}
    )


def _mixture(dist: distributions.MixtureSameFamily) -> Distribution:
    components = counterpart(dist.component_distribution)
    if components.event_shape:
        raise NotImplementedError("mixtures of vectors have no counterpart among the families.")
    weights: dict[str, Any] = {"logits": None} | _weights(dist.mixture_distribution)
    return mixture(components=components, **weights)


_COUNTERPARTS: dict[Any, Callable[[Any], Distribution]] = {
    distributions.Bernoulli: lambda d: Bernoulli(**_weights(d)),
    distributions.Beta: lambda d: Beta(d.concentration1, d.concentration0),
    distributions.Categorical: lambda d: Categorical(**_weights(d)),
    distributions.Exponential: lambda d: Exponential(d.rate),
    distributions.Gamma: lambda d: Gamma(d.concentration, d.rate),
    distributions.Independent: lambda d: counterpart(d.base_dist).to_event(
        d.reinterpreted_batch_ndims
    ),
    distributions.Laplace: lambda d: Laplace(d.loc, d.scale),
    distributions.LogNormal: lambda d: LogNormal(d.loc, d.scale),
    distributions.LowRankMultivariateNormal: lambda d: LowRankMultivariateNormal(
        d.loc, d.cov_factor, d.cov_diag
    ),
    distributions.MixtureSameFamily: _mixture,
    distributions.MultivariateNormal: lambda d: MultivariateNormal(d.loc, d.scale_tril),
    distributions.NegativeBinomial: lambda d: NegativeBinomial(d.total_count, **_weights(d)),
    distributions.Normal: lambda d: Normal(d.loc, d.scale),
    distributions.Poisson: lambda d: Poisson(d.rate),
    distributions.StudentT: lambda d: StudentT(d.df, d.loc, d.scale),
    distributions.VonMises: lambda d: VonMises(d.loc, d.concentration),
    distributions.Weibull: lambda d: Weibull(d.scale, d.concentration),
}


def _divergence(p: distributions.Distribution, q: distributions.Distribution) -> Tensor:
    return kl_divergence(counterpart(p), counterpart(q))


for _kind in _COUNTERPARTS:
    register_kl(Distribution, _kind)(_divergence)
    register_kl(_kind, Distribution)(_divergence)
