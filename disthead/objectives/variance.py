"""Cures of the collapsing variance, for distributions that predict a mean and its uncertainty.

The likelihood weighs the error of each row by one over its predicted variance. Rows that are hard
to learn at first get a large variance, count little from then on, and stay badly predicted (Seitzer
and others 2022). The objectives here break that circle in three ways.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from disthead.arrays import as_integer, as_number
from disthead.distributions.base import Distribution, Wrapper
from disthead.distributions.independent import each_output
from disthead.families.inverse_gaussian import InverseGaussian
from disthead.families.student_t import StudentT
from disthead.losses import as_targets
from disthead.objectives.likelihood import nll
from disthead.targets import observed_numbers

__all__ = ["beta_nll", "faithful", "warm_up"]


@dataclass(frozen=True)
class beta_nll:
    """The negative log-likelihood of each row times variance^beta, a constant for gradients.

    Of a normal distribution it is stop_gradient(scale^(2 beta)) (-log p(y)). With beta = 1 the mean
    learns as by the squared error, with beta = 0 it is the likelihood. Source: Seitzer, Tavakoli,
    Antic and Martius 2022.

    The variance of families with a location and a scale is taken to be scale^2: that is a constant
    times the variance where there is one, and finite where the tails are heavy; of log_normal and
    logit_normal it is the variance of log y and logit y. Others take the variance of y, and rows
    where it is infinite have an infinite objective. Several outputs add up, as in the likelihood.

    Early stopping and the best checkpoint go by the likelihood, since the weight would favour large
    or small variances.

    Args:
        beta: from 0 to 1.

    Raises:
        ValueError: for another beta.
        NotImplementedError: for distributions without a variance, and for joint densities of
            vectors.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=4.0)
    >>> beta_nll(0.5)(dist, torch.zeros(2)) / dh.objectives.nll(dist, torch.zeros(2))
    tensor([4., 4.])
    """

    beta: float = 0.5
    validated_by = staticmethod(nll)

    def __post_init__(self) -> None:
        as_number(self.beta, "beta", "a number from 0 to 1", lambda beta: 0 <= beta <= 1)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        y, one = as_targets(dist, y), each_output(dist)
        if one.event_shape:
            raise _refusal(
                "beta_nll",
                one,
                "a vector has a variance for each coordinate, and one density. Take independent "
                "outputs, or nll",
            )
        try:
            variance = _variance(one).detach()
        except NotImplementedError as error:
            raise _refusal("beta_nll", one, f"it has no variance ({error}) Take nll") from error
        return _sum_of_outputs(variance**self.beta * -one.log_prob(y), dist)


def faithful(dist: Distribution, y: Any) -> Tensor:
    """Half the squared error of the mean, plus -log p(y), which trains all but the mean.

    (y - mean)^2 / 2 - log p(y | stop_gradient(mean), other parameters). The gradient of the mean is
    that of the squared error, so that uncertain rows count as much as others, and the gradient of
    the scale and of shapes is that of the likelihood. Source: Stirn and others 2023.

    Their third step is left out, since an objective does not see the network: there the gradient of
    the scale does not reach the layers that mean and scale have in common. It is for distributions
    whose mean is a parameter: normal, laplace, logistic, student_t, huber, hyperbolic_secant,
    generalized_normal and inverse_gaussian, and families by their mean. Several outputs add up.

    Early stopping and the best checkpoint go by the likelihood, since nats and squared units do not
    add up to a score.

    Args:
        dist: a distribution of batch_shape (...,), of one number or of independent ones.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: where the mean is no parameter beside others, and for censored targets.
        TargetError, ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> loc = torch.zeros(2, requires_grad=True)
    >>> dist = dh.get_family("normal").distribution(loc=loc, scale=0.1)
    >>> torch.autograd.grad(faithful(dist, torch.tensor([1.0, 2.0])).sum(), loc)[0]
    tensor([-1., -2.])
    """
    one = each_output(dist)
    name = _mean_parameter(one)
    y = observed_numbers(dist, as_targets(dist, y), "the objective 'faithful'", "Train by 'nll'.")
    error = y - getattr(one, name)
    return _sum_of_outputs(0.5 * error.square() - _with_constant(one, name).log_prob(y), dist)


faithful.validated_by = nll  # type: ignore[attr-defined]


@dataclass(frozen=True)
class warm_up:
    """Half the squared error of the mean in the first steps of training, then another objective.

    The mean is learned as if all rows were equally uncertain, before the scale may follow it.
    Called with `(dist, y)` it is the other objective, which is also what validation and the logs
    go by. Sources: Nix and Weigend 1994; Detlefsen, Jørgensen and Hauberg 2019.

    In `DistributionModule` and the estimators the squared error is that of the standardised target
    where the family is standardised: the likelihood of a normal distribution whose scale is fixed
    at that of all targets. Training warns where it ends within these steps. Patience counts from
    their end in estimators; in Lightning let `early_stopping.patience` be longer than they take.

    The first gradients of the scale are new to Adam, whose steps are then three times as long as
    usual. Let these steps end while the learning rate still rises, as in the first fifth of the
    default recipe: a change at the full rate may make the training diverge.

    Args:
        steps: the number of steps that learn the mean; the default recipe makes 2,400 or more.
        objective: the one after them, by its name, or by a mapping with its name and options.

    Raises:
        ValueError: for a number of steps below 1, an objective that does not exist, and one that
            learns or changes itself.
        NotImplementedError: in training, for distributions without a mean and for directions.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> objective, y = warm_up(steps=100), torch.tensor([0.0, 2.0])
    >>> objective.at_step(0)(dist, y)
    tensor([0., 2.])
    >>> objective.at_step(100)(dist, y)
    tensor([0.9189, 2.9189])
    """

    steps: int = 200
    objective: str | Mapping[str, Any] = "nll"

    def __post_init__(self) -> None:
        as_integer(self.steps, "steps")
        if not isinstance(self.objective, (str, Mapping)):
            raise ValueError(
                "objective of warm_up must be a name, such as 'nll', or a mapping with a name and "
                f"options, got {self.objective!r}."
            )
        if isinstance(self._later, nn.Module) or hasattr(self._later, "at_step"):
            raise ValueError(
                "objective of warm_up must neither learn values nor change with the steps, got "
                f"{self.objective!r}: give that one by itself."
            )

    @functools.cached_property
    def _later(self) -> Callable[..., Any]:
        from disthead.objectives import get_objective  # which imports this file

        return get_objective(self.objective)

    @property
    def validated_by(self) -> Callable[..., Any]:
        """What early stopping goes by."""
        return getattr(self._later, "validated_by", self._later)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        return self._later(dist, y)

    def at_step(self, step: int) -> Callable[..., Any]:
        """The objective of a step, counted from 0."""
        return _half_squared_error if step < self.steps else self._later


def _half_squared_error(dist: Distribution, y: Any) -> Tensor:
    """Half the squared distance of y from the mean, added up over outputs."""
    one = each_output(dist)
    if one.kind == "direction":
        raise _refusal("warm_up", one, "the distance of directions is not squared. Take nll")
    y = observed_numbers(dist, as_targets(dist, y), "the objective 'warm_up'", "Train by 'nll'.")
    try:
        mean = one.loc if isinstance(one, StudentT) else one.mean  # its mean is nan for df below 1
    except NotImplementedError as error:
        raise _refusal("warm_up", one, f"it has no mean ({error}) Take nll") from error
    y = y.to(mean.dtype) if y.dtype == torch.bool else y  # which torch does not subtract
    return _sum_of_outputs(0.5 * (y - mean).square(), dist)


def _variance(dist: Distribution) -> Tensor:
    """The squared scale of families with a location and a scale, of others the variance."""
    parameters = {} if isinstance(dist, Wrapper) else dist.parameters
    scale = parameters.get("scale")
    # mixtures have a scale for each component
    is_own = scale is not None and "loc" in parameters and scale.shape == dist.batch_shape
    return scale.square() if is_own else dist.variance  # type: ignore[union-attr]


def _mean_parameter(dist: Distribution) -> str:
    """The name of the parameter that is the mean."""
    if not dist.event_shape and dist.kind in ("continuous", "count"):
        parameters = {} if isinstance(dist, Wrapper) else dist.parameters
        if len(parameters) > 1 and "mean" in parameters:
            return "mean"
        with contextlib.suppress(NotImplementedError):  # where there is no mean
            is_mean = isinstance(dist, (StudentT, InverseGaussian))
            if "loc" in parameters and (is_mean or parameters["loc"] is dist.mean):
                return "loc"
    raise _refusal(
        "faithful",
        dist,
        "its mean is no parameter beside others, so that it cannot be learned without them. Take "
        "beta_nll; or a family by its mean (parametrization='mean'), normal, laplace or student_t",
    )


def _with_constant(dist: Distribution, name: str) -> Distribution:
    """The distribution in which one parameter is a constant for gradients."""
    known = inspect.signature(type(dist).__init__).parameters
    values = {}
    for stored in dist._names:  # parameters, and logarithms or logits of some
        # a `mean` that is a method of torch's is stored as `expected`
        argument = stored.replace("expected", "mean")
        if argument in known:
            value = getattr(dist, stored)
            is_it = argument in (name, f"log_{name}", f"logits_{name}")
            values[argument] = value.detach() if is_it else value
    return type(dist)(**values)


def _sum_of_outputs(values: Tensor, dist: Distribution) -> Tensor:
    return values.flatten(len(dist.batch_shape)).sum(-1) if dist.event_shape else values


def _refusal(objective: str, dist: Distribution, reason: str) -> NotImplementedError:
    return NotImplementedError(f"{type(dist).__name__} has no {objective}: {reason}.")
