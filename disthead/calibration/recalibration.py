"""`Recalibration`: learned on held-out rows, then distribution in, honest distribution out."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from disthead.errors import TargetError, locate, pick
from disthead.families.affine import Affine
from disthead.families.distribution import Distribution
from disthead.families.independent import Independent

__all__ = ["Recalibration", "minimise", "rebuild"]


class Recalibration(nn.Module, ABC):
    """A map from distributions to distributions, learned on held-out rows: `fit(dist, y)`, then `recalibrated = r(dist)`.

    What was learned are buffers and a name, so that `state_dict` holds all of it, and loading accepts buffers of any size.
    `config`, plain data, rebuilds the object; so both fit into a checkpoint that loads with `weights_only=True`. Several
    independent outputs have a map each. Gradients flow through `r(dist)` into the model, but never from `fit`.

    Subclasses keep their constructor's arguments under the same names, call `_learned` for each buffer, and give
    `_learn` and `_recalibrate`.
    """

    least_rows = 2

    def __init__(self):
        super().__init__()
        self._fitted_on: dict[str, Any] = {}

    def fit(self, dist: Distribution, y: Tensor) -> Self:
        """Learn from rows that the model was not trained on.

        Args:
            dist: what the model says about them, of any batch_shape.
            y: what was observed, of shape batch_shape + event_shape.

        Raises:
            TargetError: for NaN, or a value to which `dist` gives no probability.
            ValueError: for too few rows, another shape, or a kind of distribution that this map is not for.
        """
        return self._fit(dist, y)

    def forward(self, dist: Distribution) -> Distribution:
        """The recalibrated distribution, of the same batch_shape and event_shape.

        Raises:
            ValueError: before `fit`, or for another family or event_shape than at `fit`.
        """
        return self._forward(dist)

    def _fit(self, dist: Distribution, y: Tensor, **known: Tensor | None) -> Self:
        # Validation may run in inference mode, from whose tensors nothing can be learned unless they are copied.
        with torch.inference_mode(False), torch.enable_grad():
            batch = len(dist.batch_shape)
            _check_target(dist, y)
            count = dist.batch_shape.numel()
            if count < self.least_rows:
                raise ValueError(f"{type(self).__name__} needs at least {self.least_rows} rows to fit, got {count}.")

            def rows(part: Tensor) -> Tensor:
                part = part.detach().clone()
                return part.flatten(0, batch - 1) if batch else part.unsqueeze(0)

            dist, y = dist.map(rows), rows(y)
            given = {name: None if value is None else rows(value) for name, value in known.items()}
            base = dist.base if isinstance(dist, Independent) else dist
            self._check_kind(base)
            self._learn(base, y if _is_label(base) else y.double(), **given)
        for name, buffer in self.named_buffers():
            if not buffer.isfinite().all():
                raise ValueError(
                    f"{type(self).__name__} found no finite {name}: {buffer.tolist()}. Try more rows, or rows that "
                    "are not all predicted perfectly."
                )
        self._fitted_on = _kind(dist)
        return self

    def _forward(self, dist: Distribution, **known: Tensor | None) -> Distribution:
        if not self._fitted_on:
            raise ValueError(
                f"{type(self).__name__} has learned nothing yet: call fit(dist, y) on held-out rows first."
            )
        given = _kind(dist)
        if given != self._fitted_on:
            raise ValueError(f"{type(self).__name__} was fitted on {_say(self._fitted_on)}, got {_say(given)}.")
        if isinstance(dist, Independent):
            return Independent(self._recalibrate(dist.base, **known), dist.count)
        return self._recalibrate(dist, **known)

    @property
    def is_fitted(self) -> bool:
        return bool(self._fitted_on)

    @property
    def config(self) -> dict[str, Any]:
        """The class and its arguments as plain data, for `rebuild`."""
        arguments = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {"name": type(self).__name__, "arguments": arguments}

    @abstractmethod
    def _learn(self, dist: Distribution, y: Tensor) -> None:
        """Set the buffers, from a distribution with batch_shape (rows, *outputs)."""

    @abstractmethod
    def _recalibrate(self, dist: Distribution) -> Distribution:
        """The recalibrated distribution for one of batch_shape (..., *outputs)."""

    def _check_kind(self, dist: Distribution) -> None:
        """Refuse a kind of distribution that this map is not for."""

    def _learned(self, *names: str) -> None:
        for name in names:
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def get_extra_state(self) -> dict[str, Any]:
        return self._fitted_on

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._fitted_on = dict(state)

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        for name, buffer in self._buffers.items():
            value = state_dict.get(prefix + name)
            if buffer is not None and value is not None:
                setattr(self, name, torch.empty(value.shape, dtype=buffer.dtype, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def rebuild(config: Mapping[str, Any]) -> Recalibration:
    """The recalibration, not fitted, of that `config`; its `state_dict` brings what was learned.

    Raises:
        ValueError: for an unknown name, with the nearest names.

    >>> from disthead.calibration import ScaleCalibration
    >>> rebuild(ScaleCalibration().config)
    ScaleCalibration()
    """
    return pick("recalibration", config["name"], _classes())(**config["arguments"])


def _classes() -> dict[str, type[Recalibration]]:
    found: dict[str, type[Recalibration]] = {}
    waiting: list[type[Recalibration]] = [Recalibration]
    while waiting:
        children = waiting.pop().__subclasses__()
        found |= {child.__name__: child for child in children if not inspect.isabstract(child)}
        waiting += children
    return found


def minimise(loss: Callable[..., Tensor], *starts: Tensor) -> list[Tensor]:
    """The arguments with the least loss, a smooth function, near `starts`: by L-BFGS in double precision."""
    arguments = [start.detach().double().clone().requires_grad_() for start in starts]
    optimizer = torch.optim.LBFGS(
        arguments,
        max_iter=300,
        history_size=20,
        tolerance_grad=1e-9,
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(*arguments)
        value.backward()
        return value

    optimizer.step(closure)
    return [argument.detach() for argument in arguments]


def _kind(dist: Distribution) -> dict[str, Any]:
    """The family and the shape of a target, as plain data."""
    inner = dist
    while isinstance(inner, (Independent, Affine)):
        inner = inner.base
    return {"family": type(inner).__name__, "event_shape": list(dist.event_shape)}


def _say(kind: Mapping[str, Any]) -> str:
    shape = kind["event_shape"]
    return kind["family"] + (f" with event_shape {tuple(shape)}" if shape else "")


def _is_label(dist: Distribution) -> bool:
    return hasattr(dist, "num_classes") or hasattr(dist, "num_items")


def _check_target(dist: Distribution, y: Tensor) -> None:
    expected = dist.batch_shape + dist.event_shape
    soft = (*expected, getattr(dist, "num_classes", -1))
    if y.shape != expected and not (y.is_floating_point() and y.shape == soft):
        hint = " Try y.squeeze(-1)." if y.shape == (*expected, 1) else ""
        raise ValueError(f"y must have the shape {tuple(expected)} of the distribution, got {tuple(y.shape)}.{hint}")
    if y.is_floating_point() and not y.isfinite().all():
        raise TargetError(f"y must be finite, got NaN or infinity in {locate(~y.isfinite(), y)}.")
    log_prob = dist.log_prob(y).detach()
    if log_prob.isnan().any():
        raise ValueError(
            f"dist must have finite parameters, its log_prob is NaN in {locate(log_prob.isnan(), log_prob)}."
        )
    impossible = log_prob == -torch.inf
    if impossible.any():
        trailing = y.ndim - impossible.ndim
        bad = impossible.reshape(impossible.shape + (1,) * trailing).expand(y.shape)
        raise TargetError(
            f"y must be where dist has probability, log_prob is -inf in {locate(bad, y)}. No recalibration keeps "
            "the support and mends that; try another family."
        )
