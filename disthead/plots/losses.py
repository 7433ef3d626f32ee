"""Objectives over the residual of a number, or over the margin of two classes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from disthead.distributions.base import Distribution
from disthead.errors import pick
from disthead.families.family import get_family
from disthead.objectives import get_objective, name_of, nll
from disthead.plots.style import BLUE, GREY, frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["loss_curve"]


def loss_curve(
    ax: "Axes",
    objective: "str | Mapping[str, Any] | Callable",
    axis: Literal["residual", "margin"] = "residual",
    gradient: bool = False,
) -> "Axes":
    """An objective, or its gradient, over the residual or the margin, beside the likelihood's.

    The residual is y - mean under a normal distribution of scale 1, and the margin is the logit of
    the right one of two classes. The likelihood's curve is grey; over residuals it is moved up or
    down until it has the same least value, since only differences matter. The gradient is that by
    the residual or by the margin, by autograd.

    Args:
        ax: the axes to draw on.
        objective: as `disthead.objectives.get_objective` takes it.
        axis: "residual" or "margin".
        gradient: whether the gradient is drawn in place of the loss.

    Raises:
        NotImplementedError: where neither a normal distribution nor two classes have the objective,
            with the reason.
        ValueError: for an unknown objective or axis.

    >>> import matplotlib.pyplot as plt
    >>> ax = loss_curve(plt.figure().add_subplot(), "crps")
    >>> [line.get_label() for line in ax.lines]
    ['crps', 'nll']
    """
    reach, label, candidates = pick("axis", axis, _AXES)
    objective = get_objective(objective)
    points = torch.linspace(-reach, reach, 400)  # not 0, where a gradient may jump
    values, slope = _curve(objective, candidates, points)
    nll_values, nll_slope = _curve(nll, candidates, points)
    if axis == "residual":
        nll_values = nll_values + values.min() - nll_values.min()
    curve, nll_curve = (slope, nll_slope) if gradient else (values, nll_values)
    ax.plot(points, curve, color=BLUE, linewidth=1.5, label=name_of(objective), zorder=3)
    # wide, so that it is seen below an equal curve
    ax.plot(points, nll_curve, color=GREY, linewidth=4, alpha=0.6, label=name_of(nll))
    ax.set_xticks(torch.arange(-reach, reach + 1, 2).tolist())
    _bound(ax, curve, nll_curve)
    what = f"gradient by the {axis}" if gradient else "loss"
    return frame(ax, what, label, "")


def _curve(
    objective: Callable,
    candidates: "tuple[Callable[[Tensor], tuple[Distribution, Tensor]], ...]",
    points: Tensor,
) -> tuple[Tensor, Tensor]:
    """The objective and its gradient at each point, of the first distribution that has it."""
    points = points.clone().requires_grad_()
    for k, make in enumerate(candidates):
        try:
            values = objective(*make(points))
            break
        except NotImplementedError:
            if k == len(candidates) - 1:
                raise
    (slope,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), slope


def _bound(ax: "Axes", curve: Tensor, nll_curve: Tensor) -> None:
    """Limits that hold the objective's curve, and of the likelihood's what is not far above it."""
    low, high = curve.min().item(), curve.max().item()
    room = high - low
    low, high = (
        max(low - room, min(low, nll_curve.min().item())),
        min(high + room, max(high, nll_curve.max().item())),
    )
    ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _of_residuals(residual: Tensor) -> tuple[Distribution, Tensor]:
    dist = get_family("normal").distribution(loc=-residual, scale=1.0)
    return dist, torch.zeros_like(residual)


def _of_two_outcomes(margin: Tensor) -> tuple[Distribution, Tensor]:
    return get_family("bernoulli").distribution(logits=margin), torch.ones_like(margin)


def _of_two_classes(margin: Tensor) -> tuple[Distribution, Tensor]:
    logits = torch.stack([margin, torch.zeros_like(margin)], -1)
    dist = get_family("categorical", num_classes=2).distribution(logits=logits)
    return dist, torch.zeros(margin.shape, dtype=torch.long)


_AXES: dict[str, tuple[float, str, tuple[Callable, ...]]] = {
    "residual": (4.0, "residual, y − mean", (_of_residuals,)),
    "margin": (6.0, "margin: logit of the right class", (_of_two_outcomes, _of_two_classes)),
}
