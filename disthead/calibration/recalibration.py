"""`Recalibration`: a map of predicted distributions, learned on held-out rows."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from disthead.arrays import as_tensor
from disthead.data.entries import COUNT, MAPPING, TEXT, check_entries, list_of
from disthead.distributions.affine import Affine
from disthead.distributions.base import Distribution
from disthead.distributions.independent import Independent, each_output
from disthead.errors import TargetError, locate, pick
from disthead.targets import check_target, observed_numbers
from disthead.weights import as_weight, present

__all__ = ["NothingLearned", "Recalibration", "effective_rows", "mean_over_rows", "rebuild"]


class NothingLearned(Exception):
    """Raised by a recalibration that cannot learn from its rows, with the reason and the rows.

    Args:
        reason: the part of the message between the name of the recalibration and the rows.
        bad: a mask of the rows, of the shape of the targets or of their first dimensions.
        remedy: what to try.
    """

    def __init__(self, reason: str, bad: Tensor, remedy: str):
        super().__init__(reason)
        self.reason, self.bad, self.remedy = reason, bad, remedy


class Recalibration(nn.Module, ABC):
    """A map from distributions to distributions, learned on held-out rows.

    `r.fit(dist, y)` learns it, `r(dist)` is the recalibrated distribution. What was learned are
    buffers and a name, so that `state_dict` holds all of it, and loading accepts buffers of any
    size. `config`, plain data, rebuilds the object; so both fit into a checkpoint that loads with
    `weights_only=True`. Several independent outputs have a map each. Gradients flow through
    `r(dist)` into the model, but never from `fit`.

    Subclasses keep their constructor's arguments under the same names, call `_learned` for each
    buffer, and define `_learn` and `_recalibrate`.
    """

    least_rows = 2
    _takes_soft_labels = False
    _maximises_likelihood = True

    def __init__(self):
        super().__init__()
        self._fitted_on: dict[str, Any] = {}

    def fit(self, dist: Distribution, y: Any, weight: Any = None) -> Self:
        """Learns the map from rows that the model was not trained on, and returns itself.

        Args:
            dist: predicted distributions of the rows, of any batch_shape.
            y: observed targets, of shape batch_shape + event_shape: a tensor, an array, a column of
                a table or a list.
            weight: the weight of each row, of shape batch_shape, zero or more; only their ratios
                matter. A row of weight 0 is left out, whatever its target is. A row of weight 2
                counts as two equal rows. Where the number of rows matters for the uncertainty, it
                is the effective number (sum w)^2 / sum w^2 (Kish 1965).

        Raises:
            TargetError: for targets that are missing, infinite, outside the support, or to which
                `dist` gives no probability, with their rows and what to try.
            ValueError: for too few rows, another shape, a kind of distribution that this map is not
                for, and for weights that are negative, NaN, infinite or zero in all rows.
        """
        return self._fit(dist, y, weight)

    def forward(self, dist: Distribution) -> Distribution:
        """The recalibrated distribution, of the same batch_shape and event_shape.

        Raises:
            ValueError: before `fit`, or for another family or event_shape than at `fit`.
        """
        return self._forward(dist)

    def _fit(
        self,
        dist: Distribution,
        y: Any,
        weight: Any = None,
        *,
        ignore_index: Any = None,
        **row_values: Tensor | None,
    ) -> Self:
        """As `fit`; `row_values` are further tensors of shape batch_shape."""
        self._check_kind(each_output(dist))
        # Validation may run in inference mode, from whose tensors nothing can be learned unless
        # they are copied.
        with torch.inference_mode(False), torch.enable_grad():
            weight = self._weight(dist, weight)
            y = check_target(
                dist,
                y,
                weight=weight,
                soft_labels=self._takes_soft_labels,
                ignore_index=ignore_index,
            )
            y = observed_numbers(
                dist,
                y,
                type(self).__name__,
                "No recalibration learns from censored ones. PITHistogram of disthead.metrics says "
                "how far the forecasts are calibrated.",
            )
            batch = len(dist.batch_shape)

            def rows(part: Tensor) -> Tensor:
                part = part.detach().clone()
                return part.flatten(0, batch - 1) if batch else part.unsqueeze(0)

            kind, shape, dist, y = _kind(dist), dist.batch_shape, dist.map(rows), rows(y)
            parts = {
                name: None if part is None else rows(part).to(y.device)
                for name, part in row_values.items()
            }
            weight = None if weight is None else rows(weight)
            row = torch.arange(len(y), device=y.device)
            if ignore_index is not None:  # of several outputs some may count
                ignored = y == ignore_index
                y = torch.where(ignored, 0, y)
                counted = ~ignored.reshape(len(y), -1).all(1)
                weight = counted.double() if weight is None else weight * counted
            weight, dist, y, row, *others = present(weight, dist, y, row, *parts.values())
            if len(y) < self.least_rows:
                raise ValueError(
                    f"{type(self).__name__} needs at least {self.least_rows} rows to "
                    f"fit, got {len(y)}."
                )
            base = each_output(dist)

            def where(bad: Tensor, values: Tensor) -> str:
                """As `locate`, by the rows that `fit` was called with, before any were left out."""
                all_rows = [
                    part.new_zeros(shape.numel(), *part.shape[1:]).index_copy(0, row, part)
                    for part in (bad, values)
                ]
                mask, named = (part.reshape(*shape, *part.shape[1:]) for part in all_rows)
                return locate(mask, named)

            _check_probability(dist, y, where)
            weight = _of_outputs(weight, base, None if ignore_index is None else ignored[row])
            self._fitted_on = {}  # until all went well
            try:
                numbers = y if base.kind in ("classes", "ordinal", "ranking") else y.double()
                self._learn(base, numbers, weight, **dict(zip(parts, others, strict=True)))
            except NothingLearned as error:
                raise TargetError(
                    f"{type(self).__name__} {error.reason} {where(error.bad, y)}. {error.remedy}"
                ) from None
        for name, buffer in self.named_buffers():
            if not buffer.isfinite().all():
                raise ValueError(
                    f"{type(self).__name__} found no finite {name}: {buffer.tolist()}. Try more "
                    "rows, or rows that are not all predicted perfectly."
                )
        if self._maximises_likelihood:
            self._check_result(base, y, where)
        self._fitted_on = kind
        return self

    def _check_result(
        self, dist: Distribution, y: Tensor, where: Callable[[Tensor, Tensor], str]
    ) -> None:
        with torch.no_grad():
            bad = self._recalibrate(dist).log_prob(y).isnan()
        if bad.any():
            learned = {name: value.tolist() for name, value in self.named_buffers()}
            raise ValueError(
                f"{type(self).__name__} found {learned}, by which log_prob is NaN for y in "
                f"{where(bad, y)}. Try more rows, or another family."
            )

    @staticmethod
    def _weight(dist: Distribution, weight: Any) -> Tensor | None:
        """The weights, checked on every device: `fit` is not a step of training."""
        checked = (
            None
            if weight is None
            else as_weight(as_tensor(weight, "weight").detach().cpu(), dist.batch_shape)
        )
        return None if checked is None else checked.to(dist.device, torch.float64)

    def _forward(self, dist: Distribution, **row_values: Tensor | None) -> Distribution:
        if not self._fitted_on:
            raise ValueError(
                f"{type(self).__name__} has learned nothing yet: call fit(dist, y) on held-out "
                "rows first."
            )
        kind = _kind(dist)
        if kind != self._fitted_on:
            raise ValueError(
                f"{type(self).__name__} was fitted on {_say(self._fitted_on)}, got {_say(kind)}."
            )
        recalibrated = self._recalibrate(each_output(dist), **row_values)
        if isinstance(dist, Independent):
            recalibrated = Independent(recalibrated, dist.count)
        recalibrated.class_labels = dist.class_labels
        return recalibrated

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has succeeded, or a fitted state was loaded."""
        return bool(self._fitted_on)

    @property
    def config(self) -> dict[str, Any]:
        """The class and its arguments as plain data, from which `rebuild` makes the object."""
        arguments = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {"name": type(self).__name__, "arguments": arguments}

    @abstractmethod
    def _learn(self, dist: Distribution, y: Tensor, weight: Tensor | None) -> None:
        """Sets the buffers.

        `dist` has batch_shape (rows, *outputs), and `weight`, if any, has that shape.
        """

    @abstractmethod
    def _recalibrate(self, dist: Distribution) -> Distribution:
        """The recalibrated distribution for one of batch_shape (..., *outputs)."""

    def suits(self, dist: Distribution) -> bool:
        """Whether this map is for distributions of this kind.

        >>> from disthead.calibration import ScaleCalibration
        >>> from disthead.families import Bernoulli, Normal
        >>> ScaleCalibration().suits(Normal(0.0, 1.0)), ScaleCalibration().suits(Bernoulli(0.5))
        (True, False)
        """
        try:
            self._check_kind(each_output(dist))
        except ValueError:
            return False
        return True

    def _check_kind(self, dist: Distribution) -> None:
        """Raises ValueError for a kind of distribution that this map is not for."""

    def _learned(self, *names: str) -> None:
        for name in names:
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def get_extra_state(self) -> dict[str, Any]:
        """The family and event_shape at `fit`, for `state_dict`; empty before `fit`."""
        return self._fitted_on

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_extra_state` returned.

        Raises:
            ValueError: for entries other than those.
        """
        if state != {}:  # before `fit`
            check_entries(
                state, {"family": TEXT, "event_shape": list_of(COUNT)}, "recalibration.fitted_on"
            )
        self._fitted_on = dict(state)

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        for name, buffer in self._buffers.items():
            value = state_dict.get(prefix + name)
            if buffer is not None and value is not None:
                setattr(
                    self, name, torch.empty(value.shape, dtype=buffer.dtype, device=buffer.device)
                )
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def rebuild(config: Mapping[str, Any]) -> Recalibration:
    """The recalibration with this `config`, not fitted; `load_state_dict` restores its buffers.

    Raises:
        ValueError: for an unknown name, with the nearest names, and for arguments that it does not
            take.

    >>> from disthead.calibration import ScaleCalibration
    >>> rebuild(ScaleCalibration().config)
    ScaleCalibration()
    """
    check_entries(
        config, {"name": TEXT, "arguments": MAPPING, "fitted_on?": MAPPING}, "recalibration"
    )
    recalibration = pick("recalibration", config["name"], _classes())
    try:
        return recalibration(**config["arguments"])
    except TypeError as error:
        raise ValueError(f"entry recalibration.arguments of {config['name']}: {error}.") from error


def _classes() -> dict[str, type[Recalibration]]:
    classes: dict[str, type[Recalibration]] = {}
    parents: list[type[Recalibration]] = [Recalibration]
    while parents:
        children = parents.pop().__subclasses__()
        classes |= {child.__name__: child for child in children if not inspect.isabstract(child)}
        parents += children
    return classes


def _kind(dist: Distribution) -> dict[str, Any]:
    """The family and the shape of a target, as plain data."""
    inner = dist
    while isinstance(inner, (Independent, Affine)):
        inner = inner.base
    return {"family": type(inner).__name__, "event_shape": list(dist.event_shape)}


def _say(kind: Mapping[str, Any]) -> str:
    shape = kind["event_shape"]
    return kind["family"] + (f" with event_shape {tuple(shape)}" if shape else "")


def _of_outputs(weight: Tensor | None, dist: Distribution, ignored: Tensor | None) -> Tensor | None:
    """The weight of each output in each row, of dist's batch_shape; None where all are equal."""
    if weight is not None:
        weight = weight.reshape(weight.shape + (1,) * (len(dist.batch_shape) - 1)).expand(
            dist.batch_shape
        )
    if ignored is not None and bool(ignored.any()):
        weight = torch.where(
            ignored,
            0.0,
            torch.ones_like(ignored, dtype=torch.float64) if weight is None else weight,
        )
    return None if weight is None or bool((weight == weight.reshape(-1)[0]).all()) else weight


def mean_over_rows(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over the first dimension, with weights of the shape of `values`, if any."""
    return values.mean(0) if weight is None else (weight * values).sum(0) / weight.sum(0)


def effective_rows(weight: Tensor | None, rows: int) -> float | Tensor:
    """The effective number of rows, (sum w)^2 / sum w^2 over the first dimension.

    It is `rows` without weights. Source: Kish 1965.
    """
    return rows if weight is None else weight.sum(0).square() / weight.square().sum(0)


def _check_probability(
    dist: Distribution, y: Tensor, where: Callable[[Tensor, Tensor], str]
) -> None:
    """Raises for parameters that are not finite, and for targets whose log-probability is not."""
    log_prob = dist.log_prob(y).detach()
    if log_prob.isnan().any():
        raise ValueError(
            "dist must have finite parameters, its log_prob is NaN in "
            f"{where(log_prob.isnan(), log_prob)}."
        )
    for sign, what, remedy in (
        (
            -1,
            "where dist has probability",
            "No recalibration keeps the support and mends that; try another family.",
        ),
        (1, "where the density of dist is finite", "Drop such rows, or try another family."),
    ):
        bad = log_prob == sign * torch.inf
        if bad.any():
            bad = bad.reshape(bad.shape + (1,) * (y.ndim - bad.ndim)).expand(y.shape)
            raise TargetError(
                f"y must be {what}, log_prob is {'-' if sign < 0 else ''}inf in {where(bad, y)}. "
                f"{remedy}"
            )
