"""`ClassLoss`: what losses of the label's log-probability have in common, and their options."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_number, as_tensor
from disthead.distributions.base import Distribution, to_double
from disthead.distributions.independent import class_count
from disthead.distributions.outputs import mean_over_outputs
from disthead.objectives.class_targets import (
    are_labels,
    as_class_targets,
    at_label,
    class_log_probs,
    class_output,
    expected_over_labels,
    infinite_without_label,
    with_logits,
)

__all__: list[str] = []  # no objective of its own


class ClassLoss:
    """A loss of the label's log-probability, for classes and two outcomes.

    A soft label counts as the expectation over labels that are drawn from it. Of several outputs it
    is the mean. Subclasses are frozen dataclasses, which define `_of` and, where they weigh
    classes, `_weights`.
    """

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The objective of each row, shape (...,)."""
        y = as_class_targets(dist, y)
        output = self._output(dist)
        weights = self._weights(output)
        if are_labels(output, y):
            values = self._of(output.log_prob(y), y)
            if weights is not None:
                values = values * at_label(weights, y, output)
            if output.kind != "binary" or not y.is_floating_point():  # which are looked at
                values = infinite_without_label(values, y, class_count(output))
        else:
            log_probs = class_log_probs(output)
            losses = self._of(log_probs, torch.arange(log_probs.shape[-1], device=y.device))
            values = expected_over_labels(
                output, y, losses if weights is None else losses * weights
            )
        return mean_over_outputs(dist, values)

    def class_posterior(self, dist: Distribution) -> Distribution:
        """The distribution of the label for which `dist` has the least expected loss.

        A model that is trained by this objective with enough rows predicts `dist` where the truth
        is the class posterior, so that this undoes what the objective does to calibration. For a
        loss phi_k(v_k) of the predicted probability v_k of the label k it has

            p_k proportional to -1 / phi_k'(v_k).

        Source: Charoenphakdee, Vongkulbhisal, Chairatanakul and Sugiyama 2021 (for the focal loss).

        Args:
            dist: a distribution of classes, batch_shape (...,).

        Raises:
            NotImplementedError: for a distribution that is not of classes.
            ValueError: where a class has the weight 0, whose probability nothing tells.
        """
        output = self._output(dist)
        weights = self._weights(output)
        if weights is not None and not bool((weights > 0).all()):
            raise ValueError(
                f"class_posterior of {type(self).__name__} needs weights of classes above 0, got "
                f"{weights.tolist()}: of a class of weight 0 the training tells nothing."
            )
        with torch.inference_mode(False), torch.enable_grad():
            log_probs = class_log_probs(output.map(to_double)).detach().clone().requires_grad_()
            losses = self._of(log_probs, torch.arange(log_probs.shape[-1], device=log_probs.device))
            (slope,) = torch.autograd.grad(losses.sum(), log_probs)  # phi'(v) v, which is negative
        slope = -slope if weights is None else -slope * weights
        # a slope of 0 stands for a probability that rounds to 1
        smallest = torch.finfo(slope.dtype).tiny
        logits = log_probs.detach() - slope.clamp(min=smallest).log()
        return with_logits(dist, logits.to(dist.dtype))

    def _output(self, dist: Distribution) -> Distribution:
        return class_output(dist, type(self).__name__)

    def _of(self, log_prob: Tensor, y: Tensor) -> Tensor:
        """The loss of the labels y with these log-probabilities, elementwise."""
        raise NotImplementedError

    def _weights(self, output: Distribution) -> Tensor | None:
        """The weight of each class, shape (K,); None weighs all alike."""
        return None


def check_number(
    objective: Any, option: str, expected: str, is_valid: Callable[[float], bool]
) -> None:
    """Check an option of an objective that is a number, and keep it as a float of Python.

    Raises:
        ValueError: for anything else, with what is expected, in words.
    """
    name = f"{option} of {type(objective).__name__}"
    number = as_number(getattr(objective, option), name, expected, is_valid)
    object.__setattr__(objective, option, number)


def numbers_of_classes(values: Any, name: str, expected: str) -> tuple[float, ...]:
    """One number for each class as plain data, at least two of them.

    Raises:
        ValueError: for anything else, with what is expected, in words.
    """
    if isinstance(values, (str, bytes, Real)) or not hasattr(values, "__iter__"):
        raise ValueError(f"{name} must be {expected}, got {values!r}.")
    numbers = as_tensor(values, name, dtype=torch.float64)
    if numbers.ndim != 1 or len(numbers) < 2:
        got = f"shape {tuple(numbers.shape)}"
        raise ValueError(f"{name} must be {expected}, got {got}.")
    return tuple(float(number) for number in numbers)


def class_weights(values: Sequence[float], name: str, expected: str) -> tuple[float, ...]:
    """Weights of classes as plain data.

    Raises:
        ValueError: unless they are finite and zero or more, and one is above zero.
    """
    weights = numbers_of_classes(values, name, expected)
    if not all(0 <= weight < torch.inf for weight in weights) or not any(weights):
        raise ValueError(
            f"{name} must be finite and zero or more, with one above zero, got {weights}."
        )
    return weights


def one_per_class(values: Sequence[float], output: Distribution, name: str) -> Tensor:
    """Numbers of classes as a tensor of shape (K,), of the distribution's dtype and device.

    Raises:
        ValueError: where the distribution has another number of classes.
    """
    count = class_count(output)
    if len(values) != count:
        raise ValueError(
            f"{name} must have one number per class, {count} for {type(output).__name__}, got "
            f"{len(values)}."
        )
    return torch.tensor(values, dtype=output.dtype, device=output.device)


def complement(log_prob: Tensor) -> Tensor:
    """1 - p from log p, with the gradient 0 at p = 0, where log p is infinite."""
    impossible = log_prob == -torch.inf
    return torch.where(impossible, 1.0, -torch.expm1(log_prob))


def power(base: Tensor, exponent: float) -> Tensor:
    """The power base ** exponent for 0 <= base <= 1 and exponent >= 0, with a finite slope at 0."""
    if exponent == 0:
        return torch.ones_like(base)
    if exponent >= 1:
        return base**exponent
    vanishes = base < torch.finfo(base.dtype).tiny
    return torch.where(vanishes, 0.0, torch.where(vanishes, 1.0, base).pow(exponent))
