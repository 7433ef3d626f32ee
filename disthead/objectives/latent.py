"""Bounds of the likelihood of models with latent variables."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from disthead.arrays import as_number
from disthead.losses import as_targets

__all__ = ["elbo", "iwae"]


@dataclass(frozen=True)
class elbo:
    """The negative evidence lower bound of each row, in nats.

        -(E_q[log p(y | z)] - beta KL(q(z | y), p(z)))

    q is the posterior that an encoder predicts, and p(y | z) the distribution of a decoder's head,
    of any family. For beta = 1 it is at least -log p(y), with equality where q is the exact
    posterior. Another beta is no bound: above 1 it presses latents towards the prior (beta-VAE).
    The expectation is a mean over samples of z in front of the batch; one sample is usual. Sources:
    Kingma and Welling 2014; Higgins and others 2017 (beta).

    It takes more than (dist, y): call it in a training step of your own.

    Args:
        beta: the weight of the divergence, 0 or more.

    Raises:
        ValueError: for a negative beta.

    >>> import torch, disthead as dh
    >>> normal = dh.get_family("normal").distribution
    >>> posterior = normal(loc=torch.zeros(3, 2), scale=0.5).to_event(1)
    >>> prior = normal(loc=torch.zeros(2), scale=1.0).to_event(1)
    >>> z = posterior.rsample()
    >>> decoder = dh.DistributionHead("poisson", in_features=2)
    >>> elbo(beta=1.0)(decoder(z), torch.tensor([0, 2, 1]), posterior, prior).shape
    torch.Size([3])
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        as_number(self.beta, "beta", "a number of 0 or more", lambda value: 0 <= value < math.inf)

    def __call__(
        self,
        dist: Any,
        y: Any,
        posterior: Distribution | None = None,
        prior: Distribution | None = None,
    ) -> Tensor:
        """The loss of each row, shape (...,).

        Args:
            dist: the decoder's distribution of y for samples of z, of batch_shape (...,), or
                samples + (...,).
            y: targets, shape (...,) + event_shape.
            posterior: q(z | y), of batch_shape (...,), such as of a head or of torch.distributions.
            prior: p(z), of batch_shape () or (...,).

        Raises:
            NotImplementedError: without a posterior or a prior, and where their divergence has no
                closed form; `iwae` takes none.
            ValueError: for shapes that do not fit.
        """
        posterior, prior = _both("elbo", dist, posterior, prior)
        _check_arguments(dist, posterior, prior)
        try:
            divergence = kl_divergence(posterior, prior)
        except NotImplementedError:
            raise NotImplementedError(
                f"{type(posterior).__name__} and {type(prior).__name__} have no divergence in "
                "closed form. Take both from disthead or both from torch.distributions, or iwae, "
                "which needs their densities alone."
            ) from None
        if divergence.shape != posterior.batch_shape:
            raise _shape_error("the divergence of posterior and prior", divergence.shape, posterior)
        log_prob = _log_likelihood(dist, y, posterior)
        return self.beta * divergence - log_prob.mean(0)


def iwae(
    dist: Any,
    y: Any,
    posterior: Distribution | None = None,
    prior: Distribution | None = None,
    latents: Tensor | None = None,
) -> Tensor:
    """The negative importance-weighted bound of each row, in nats.

        -log(mean over samples z_s of q of p(y | z_s) p(z_s) / q(z_s | y))

    It is at least -log p(y) on average, falls towards it with more samples, and needs densities of
    posterior and prior alone. With one sample it estimates `elbo` without the closed form of the
    divergence. Source: Burda and others 2016.

    It takes more than (dist, y): call it in a training step of your own.

    Args:
        dist: the decoder's distribution of y for each sample, of batch_shape (S, ...).
        y: targets, shape (...,) + event_shape.
        posterior: q(z | y), of batch_shape (...,).
        prior: p(z), of batch_shape () or (...,).
        latents: the samples z, shape (S, ...) + the event_shape of the posterior.

    Raises:
        NotImplementedError: without a posterior, a prior or latents.
        ValueError: for shapes that do not fit.

    >>> import torch, disthead as dh
    >>> normal = dh.get_family("normal").distribution
    >>> posterior = normal(loc=torch.zeros(3, 2), scale=0.5).to_event(1)
    >>> prior = normal(loc=torch.zeros(2), scale=1.0).to_event(1)
    >>> z = posterior.rsample((10,))
    >>> decoder = dh.DistributionHead("poisson", in_features=2)
    >>> iwae(decoder(z), torch.tensor([0, 2, 1]), posterior, prior, z).shape
    torch.Size([3])
    """
    posterior, prior = _both("iwae", dist, posterior, prior)
    _check_arguments(dist, posterior, prior)
    if latents is None:
        raise NotImplementedError(
            f"{type(dist).__name__} has no iwae without the samples of the latents: call "
            "iwae(dist, y, posterior, prior, latents)."
        )
    expected = (*dist.batch_shape, *posterior.event_shape)
    if tuple(latents.shape) != expected:
        raise ValueError(
            f"latents must have the shape {expected}, the batch_shape of dist and the event_shape "
            f"of posterior, got {tuple(latents.shape)}."
        )
    log_prob = _log_likelihood(dist, y, posterior)
    log_ratio = prior.log_prob(latents) - posterior.log_prob(latents)
    if log_ratio.shape != dist.batch_shape:
        raise _shape_error("log_prob of the prior", log_ratio.shape, posterior)
    log_weights = log_prob + log_ratio.reshape(log_prob.shape)
    return math.log(len(log_weights)) - log_weights.logsumexp(0)


def _both(
    name: str, dist: Any, posterior: Distribution | None, prior: Distribution | None
) -> tuple[Distribution, Distribution]:
    if posterior is None or prior is None:
        raise NotImplementedError(
            f"{type(dist).__name__} has no {name} without a posterior and a prior of latents: give "
            f"{name} both after (dist, y), in a training step of your own."
        )
    return posterior, prior


def _check_arguments(dist: Any, posterior: Any, prior: Any) -> None:
    """Refuse what is no distribution, and a posterior and a prior over different events."""
    for name, value in (("dist", dist), ("posterior", posterior), ("prior", prior)):
        if not isinstance(value, Distribution):
            raise ValueError(
                f"{name} must be a distribution, such as a head returns, got "
                f"{type(value).__name__}."
            )
    if posterior.event_shape != prior.event_shape:
        raise ValueError(
            "posterior and prior must have the same event_shape, got "
            f"{tuple(posterior.event_shape)} and {tuple(prior.event_shape)}. A row's latents are "
            "one event: posterior.to_event(1) and prior.to_event(1) of independent ones."
        )


def _log_likelihood(dist: Any, y: Any, posterior: Distribution) -> Tensor:
    """Log p(y | z) for all samples, shape (S, ...); S is 1 where there are no sample dimensions."""
    batch = posterior.batch_shape
    samples = len(dist.batch_shape) - len(batch)
    if samples < 0 or dist.batch_shape[samples:] != batch:
        raise _shape_error("dist, after dimensions of samples,", dist.batch_shape, posterior)
    y = as_targets(dist[(0,) * samples], y)
    log_prob = dist.log_prob(y.expand(*dist.batch_shape, *y.shape[len(batch) :]))
    return log_prob.reshape(dist.batch_shape[:samples].numel(), *batch)


def _shape_error(what: str, got: torch.Size, posterior: Distribution) -> ValueError:
    return ValueError(
        f"{what} must have the batch_shape {tuple(posterior.batch_shape)} of the posterior, got "
        f"{tuple(got)}. A row's latents are one event: posterior.to_event(1) and prior.to_event(1) "
        "of independent ones."
    )
