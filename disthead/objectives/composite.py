"""Sums of objectives, for models with several heads."""

import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from disthead.arrays import as_mapping, as_number, as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.independent import each_output
from disthead.errors import locate, pick
from disthead.losses import loss
from disthead.objectives.likelihood import nll
from disthead.special.eager import are_concrete, is_tracing
from disthead.weights import as_weight

__all__ = ["sum_of"]


@dataclass(eq=False)
class sum_of(nn.Module):
    """The sum of one objective for each head of a model, for each row.

    It is called with the distributions and the targets of all heads by name, `(dists, targets)`.
    The objective of head h, which has the loss L_h in a row, counts as

    - weights[h] L_h with fixed weights, and as L_h without;
    - exp(-s_h) L_h + s_h / 2 with learned ones, where s_h is the logarithm of the variance of the
      noise of head h, a parameter that starts at 0 (Kendall, Gal and Cipolla 2018). For a numeric
      target L is half the squared error, and the sum is the likelihood of a normal distribution
      with a common variance, less log(2 pi) / 2. For classes L is the cross-entropy, and the sum
      is the paper's approximation for logits that are divided by the variance. At its best s_h
      the weight of a head is 1 / (2 mean of L_h), so that each head has the same share.

    Learned weights need losses of zero or more, since nothing else bounds s_h from below. The
    negative log-likelihood of a density is refused for this reason; it needs no weight, since its
    scale is learned already.

    A row in which a target is missing, all of its numbers NaN, counts for the other heads alone.
    `disthead.training.MultitaskModule` trains by this objective.

    Args:
        objectives: the objective of each head by name, as for `get_objective`: a name, a mapping
            with name and options, or a function of `(dist, y)`.
        weights: a number of zero or more for each head by name; "learned"; or None for the plain
            sum.

    Attributes:
        functions: the objective of each head by name, each a function of `(dist, y)`.
        learned: those objectives that learn values of their own.
        log_variance: s, one for each head in their order; there only for learned weights.

    Raises:
        ValueError: for names of weights that are not those of the objectives, and for weights that
            are negative, infinite, or all zero.

    >>> import torch, disthead as dh
    >>> objective = sum_of({"price": "crps", "sold": "nll"}, weights={"price": 2.0, "sold": 1.0})
    >>> price = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> sold = dh.get_family("bernoulli").distribution(logits=torch.zeros(2))
    >>> y = {"price": torch.tensor([0.0, torch.nan]), "sold": torch.tensor([1, 0])}
    >>> objective({"price": price, "sold": sold}, y)
    tensor([1.1605, 0.6931])
    """

    objectives: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] | Literal["learned"] | None = None

    def __post_init__(self) -> None:
        from disthead.objectives import get_objective, specification

        super().__init__()
        example = '{"price": "crps", "class": "nll"}'
        objectives = as_mapping(self.objectives, "objectives of sum_of", example)
        if not objectives:
            raise ValueError(f"sum_of needs the objective of each head, such as {example}.")
        self.functions: dict[str, Callable] = {
            name: get_objective(objective) for name, objective in objectives.items()
        }
        for name, function in self.functions.items():
            if hasattr(function, "penalty"):
                raise ValueError(
                    f"the objective of head {name!r} has a penalty on the weights of a model, "
                    "which all heads share. Take the weight_decay of the optimizer in its place."
                )
        # so that options of objectives are plain data
        self.objectives = {
            name: specification(function) or function for name, function in self.functions.items()
        }
        self.learned = nn.ModuleList(
            function for function in self.functions.values() if isinstance(function, nn.Module)
        )
        if self.weights == "learned":
            self.log_variance = nn.Parameter(torch.zeros(len(objectives)))
        elif self.weights is not None:
            self.weights = self._checked_weights(self.weights)

    def forward(
        self,
        dists: Mapping[str, Distribution],
        targets: Mapping[str, Any],
        weight: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """The weighted sum of the losses of all heads, one number for each row.

        Args:
            dists: the distribution of each head by name, all with the same batch_shape (...,).
            targets: the targets of each head by name, batch_shape + event_shape.
            weight: weights of rows for heads by name, (...,), zero or more. A row of weight 0, such
                as one that is masked, is not there for that head.

        Raises:
            ValueError: for names that are not those of the objectives, for distributions of
                different numbers of rows, and for negative losses where weights are learned.
            TargetError, NotImplementedError: as the objectives.
        """
        check_names(self.functions, dists, "distributions")
        check_names(self.functions, targets, "targets")
        weight = as_mapping(weight, "weight", '{"price": mask}')
        for name in weight:
            pick("head of a weight", name, self.functions)
        shapes = {name: tuple(dists[name].batch_shape) for name in self.functions}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"the heads must have the same rows, got the batch shapes {shapes}.")
        terms = []
        for position, (name, function) in enumerate(self.functions.items()):
            dist = dists[name]
            y, row_weight = targets_and_weight(
                targets[name], weight.get(name), dist.batch_shape, name
            )
            if row_weight is not None and not is_tracing() and not bool((row_weight > 0).any()):
                # a gradient of zero for each weight, for which other processes may wait
                values = 0.0 * function(dist, dist.sample())
            else:
                values = loss(function, dist, y, weight=row_weight, reduction="none")
            if self.weights == "learned":
                self._check_sign(name, dist, values.detach())
                s = self.log_variance[position]
                terms.append(
                    (-s).exp() * values
                    + 0.5 * s * (1.0 if row_weight is None else row_weight.to(values))
                )
            else:
                terms.append(values if self.weights is None else self.weights[name] * values)
        return torch.stack(terms).sum(0)

    def at_step(self, step: int) -> "sum_of":
        """The same sum with the objectives of a step of training, where some change with it.

        Args:
            step: counted from 0.
        """
        return self._with(
            lambda function: getattr(function, "at_step", lambda step: function)(step)
        )

    @property
    def validated_by(self) -> "sum_of":
        """The same sum of the objectives by which a training is validated, where they differ."""
        return self._with(lambda function: getattr(function, "validated_by", function))

    def _with(self, change: Callable[[Callable], Callable]) -> "sum_of":
        functions = {name: change(function) for name, function in self.functions.items()}
        if all(functions[name] is function for name, function in self.functions.items()):
            return self
        new = copy.copy(self)  # with the same learned weights
        new.functions = functions
        return new

    @property
    def factors(self) -> dict[str, float]:
        """What the loss of each head is multiplied by, by name."""
        if self.weights == "learned":
            learned = (-self.log_variance.detach()).exp().tolist()
            return dict(zip(self.functions, learned, strict=True))
        return dict.fromkeys(self.functions, 1.0) if self.weights is None else dict(self.weights)

    def _checked_weights(self, weights: Any) -> dict[str, float]:
        example = ", ".join(f"{name!r}: 1.0" for name in self.functions)
        if isinstance(weights, str):
            raise ValueError(
                f"weights of sum_of must be 'learned', None or {{{example}}}, got {weights!r}."
            )
        weights = as_mapping(weights, "weights of sum_of", f"{{{example}}}")
        check_names(self.functions, weights, "weights")
        checked = {
            name: as_number(
                value,
                f"the weight of {name!r}",
                "a finite number, zero or more",
                lambda number: 0 <= number < math.inf,
            )
            for name, value in weights.items()
        }
        if not any(checked.values()):
            raise ValueError(
                "weights of sum_of must be above zero for some head, got zero for all."
            )
        return checked

    def _check_sign(self, name: str, dist: Distribution, values: Tensor) -> None:
        """Refuse losses below zero, or that can fall below, with which s has no minimum."""
        support: Any = each_output(dist).support
        if self.functions[name] is nll and (dist.kind == "mixed" or not support.is_discrete):
            got = "the likelihood of a density"
        elif are_concrete(values) and bool((values < 0).any()):
            got = f"losses below zero, {locate(values < 0, values)}"
        else:
            return
        raise ValueError(
            f"learned weights need losses of zero or more; the head {name!r} has {got}, for which "
            "exp(-s) loss + s / 2 has no minimum. Try 'crps' for this head, or fixed weights: a "
            "likelihood whose scale is learned needs no weight."
        )


def check_names(names: Collection[str], entries: Any, what: str) -> None:
    """Refuse anything but a mapping from the names of the heads.

    Args:
        names: of the heads.
        entries: of the heads by name.
        what: the entries are, for the message.

    Raises:
        ValueError: with the names that were expected.
    """
    if not isinstance(entries, Mapping):
        example = ", ".join(f"{name!r}: ..." for name in names)
        raise ValueError(
            f"{what} must be a mapping from the names of the heads, {{{example}}}, got "
            f"{type(entries).__name__}."
        )
    if set(entries) != set(names):
        raise ValueError(
            f"the names of {what} must be those of the heads, {', '.join(map(repr, names))}, got "
            f"{', '.join(map(repr, entries)) or 'none'}."
        )


def targets_and_weight(
    y: Any, weight: Any, batch_shape: "tuple[int, ...] | torch.Size", name: str
) -> tuple[Tensor, Tensor | None]:
    """Targets as a tensor, and the weights of their rows, which are 0 where the target is missing.

    Args:
        y: targets, batch_shape + event_shape; a target is missing where all of its numbers are NaN.
        weight: (...,), zero or more, or None.
        batch_shape: of the rows.
        name: of the head, for errors.

    Raises:
        ValueError: for weights of another shape, or that are negative, NaN or infinite.
    """
    y = as_tensor(y, f"target {name!r}")
    weight = as_weight(
        weight, batch_shape, name=f"weight of {name!r}", device=y.device, may_be_empty=True
    )
    dims = len(batch_shape)
    if not y.is_floating_point() or y.shape[:dims] != tuple(batch_shape):
        return y, weight
    missing = y.detach().isnan()
    if missing.ndim > dims:
        missing = missing.flatten(dims).all(-1)
    if are_concrete(y) and not bool(missing.any()):
        return y, weight
    return y, torch.where(
        missing, 0.0, torch.ones_like(missing, dtype=y.dtype) if weight is None else weight
    )
