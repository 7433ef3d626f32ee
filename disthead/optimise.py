"""Minimisation of smooth functions, and the unconditional fit, which has no features."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.distributions.censored import as_pairs
from disthead.errors import locate
from disthead.families.family import Family
from disthead.links import Link
from disthead.weights import as_weight, present

__all__ = ["checked_rows", "minimise", "unconditional_fit"]

# With light-tailed targets the degrees of freedom grow without end: a small penalty keeps them
# where they still have an effect.
_RIDGE = 1e-6
_ROWS = 1_000_000  # of the initial estimate, at most


def minimise(
    loss: Callable[..., Tensor],
    *starts: Tensor,
    max_iter: int = 300,
    history_size: int = 20,
    tolerance_change: float = 1e-13,
) -> list[Tensor]:
    """The arguments of a local minimum of a smooth function, by L-BFGS in double precision.

    Args:
        loss: a function of tensors of the shapes of `starts` that returns one number.
        starts: where the search begins.
        max_iter: as for `torch.optim.LBFGS`.
        history_size: as for `torch.optim.LBFGS`.
        tolerance_change: as for `torch.optim.LBFGS`.

    Source: Liu and Nocedal 1989, On the limited memory BFGS method.

    >>> minimise(lambda x: (x - 2).square().sum(), torch.zeros(1))
    [tensor([2.], dtype=torch.float64)]
    """
    arguments = [start.detach().double().clone().requires_grad_() for start in starts]
    optimizer = torch.optim.LBFGS(
        arguments,
        max_iter=max_iter,
        history_size=history_size,
        tolerance_grad=1e-9,
        tolerance_change=tolerance_change,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(*arguments)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return [argument.detach() for argument in arguments]


def unconditional_fit(
    family: Family,
    links: Mapping[str, Link],
    initial_estimate: Callable[[Tensor], Mapping[str, Tensor]],
    log_prob: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    y: Tensor,
    weight: Tensor | None,
) -> dict[str, Tensor]:
    """The raw outputs of the maximum likelihood of all rows, by parameter, in double precision.

    Where the likelihood has its maximum at infinity, a small penalty on the squared distance from
    the start is added; where that has no maximum near the start either, as with constant targets,
    the result is the start itself.

    Args:
        family: the family that is fitted.
        links: those of the learned parameters, by name.
        initial_estimate: targets (rows, ...) -> raw outputs of the learned parameters by name:
            where the search starts.
        log_prob: raw outputs by name and targets (N, ...) -> log-likelihoods (N,).
        y: targets, shape (N, ...).
        weight: of the rows, shape (N,), above zero; None weighs all rows alike.

    Raises:
        ValueError: for targets that have no finite start.
    """
    if y.is_floating_point():
        y = y.double()
    if weight is not None:
        weight = None if bool((weight == weight[0]).all()) else weight.double()
    rows = y if weight is None else y[_rows_by_weight(weight)]
    start = {name: value.double() for name, value in initial_estimate(rows).items()}

    def mean(values: Tensor) -> Tensor:
        return values.mean() if weight is None else (values * weight).sum() / weight.sum()

    def loss(raw: Mapping[str, Tensor]) -> Tensor:
        return -mean(log_prob(raw, y))

    _check_start(family, start, y)
    with torch.no_grad():
        values = log_prob(start, y)
        initial = -float(mean(values))
    if not math.isfinite(initial):
        raise _no_start(family, f"the mean log_prob there is {-initial:g}", y, ~values.isfinite())
    if not family.is_discrete and bool((y == y[:1]).all()):
        return start  # the likelihood of constant targets grows without bound as the scale shrinks
    for ridge in (0.0, _RIDGE):
        fitted = _search(loss, start, ridge)
        with torch.no_grad():
            if float(loss(fitted)) <= initial and _is_near(fitted, start):
                inside = {name: _inside(raw, links[name]) for name, raw in fitted.items()}
                return dict(family.away_from_ends(inside, links))
    return start


def checked_rows(
    family: Family,
    event_shape: tuple[int, ...],
    y: Any,
    known: Mapping[str, Any],
    weight: Any = None,
) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
    """The checked targets, known quantities and weights of the rows with a weight above zero.

    Args:
        family: what says which targets and quantities are possible.
        event_shape: the shape of one target.
        y: targets, shape (..., *event_shape), or pairs (..., *event_shape, 2) of a censored family.
        known: quantities per row, each of shape (...,) or broadcast to it.
        weight: of the rows, shape (...,), zero or more; None weighs all rows alike.

    Returns:
        Targets (N, *event_shape), those of a censored family as pairs (N, *event_shape, 2); known
        quantities (N,) by name, and weights (N,) or None.

    Raises:
        TargetError: for targets outside the support, with rows and values.
        ValueError: for known quantities or weights that cannot be, and targets of another shape.
    """
    y, dims = as_tensor(y).detach(), len(event_shape)
    if family.is_censored:
        y, event_shape, dims = as_pairs(y, event_shape), (*event_shape, 2), dims + 1
    if y.ndim < dims or (family.event_dim == 0 and dims and tuple(y.shape[-dims:]) != event_shape):
        raise ValueError(
            f"y must have the shape (rows, {', '.join(map(str, event_shape))}), got "
            f"{tuple(y.shape)}."
        )
    batch = y.shape[: y.ndim - dims]
    if not batch.numel():
        raise ValueError(
            f"y must have at least one row to start from, got none: the shape {tuple(y.shape)}."
        )
    weight = as_weight(weight, batch, device=y.device)
    known = {name: as_tensor(value, name).detach() for name, value in known.items()}
    if weight is not None:
        weight = weight.detach()
        known = {name: value.expand(batch) for name, value in known.items()}
    checkable = _checkable(y, weight)
    family.check_target(checkable)
    constants = {name: _checkable(value, weight) for name, value in known.items()}
    family.check_row_constants(constants)
    family.check_beside(checkable, constants)
    weight, y, *values = present(weight, y, *known.values())
    y, values = y.reshape(-1, *y.shape[y.ndim - dims :]), [value.reshape(-1) for value in values]
    rows = dict(zip(known, values, strict=True))
    return y, rows, None if weight is None else weight.reshape(-1)


def _checkable(values: Tensor, weight: Tensor | None) -> Tensor:
    """The values, in which rows of weight 0 get the value of another row.

    Errors then count the rows as they were given.
    """
    if weight is None or bool((weight > 0).all()):
        return values
    is_there = weight > 0
    mask = is_there.reshape(is_there.shape + (1,) * (values.ndim - is_there.ndim))
    return torch.where(mask, values, values[is_there][0])


def _inside(raw: Tensor, link: Link) -> Tensor:
    """Raw outputs that do not end at the link's lower bound, where no gradient leads on."""
    if not getattr(link.codomain, "lower_bound", 0) and not hasattr(link.inverse, "lower"):
        return raw
    values = link.forward(raw)
    inside = link.inside(values)
    return raw if torch.equal(inside, values) else link.inverse(inside)


def _check_start(family: Family, start: Mapping[str, Tensor], y: Tensor) -> None:
    """Refuse a start that is NaN or infinite in single precision, in which most heads compute."""
    for name, value in start.items():
        if not bool(value.float().isfinite().all()):
            raise _no_start(
                family, f"the raw output of {name} would be {value.flatten()[:3].tolist()}", y
            )


def _no_start(family: Family, reason: str, y: Tensor, bad: Tensor | None = None) -> ValueError:
    if bad is None:  # the largest targets are the likely cause
        size = y.double().abs()
        bad = size == size.max()
    elif bad.ndim < y.ndim:
        bad = bad.reshape(bad.shape + (1,) * (y.ndim - bad.ndim)).expand(y.shape)
    return ValueError(
        f"{family.name} has no finite start for these targets: {reason}. Look at {locate(bad, y)}. "
        "Try other units, so that targets are neither tiny nor huge, leave such rows out, or take "
        "another family."
    )


def _rows_by_weight(weight: Tensor) -> Tensor:
    """Row numbers, each as often as its share of the weight: a sample that needs no weights."""
    total, count = weight.cumsum(0), max(len(weight), min(8 * len(weight), _ROWS))
    places = (
        (torch.arange(count, dtype=weight.dtype, device=weight.device) + 0.5) / count * total[-1]
    )
    return torch.searchsorted(total, places).clamp(max=len(weight) - 1)


def _search(
    loss: Callable[[Mapping[str, Tensor]], Tensor], start: Mapping[str, Tensor], ridge: float
) -> dict[str, Tensor]:
    """Where `loss`, and `ridge` times the squared distance from the start, is least."""

    def penalised(*values: Tensor) -> Tensor:
        value = loss(dict(zip(start, values, strict=True)))
        if not ridge:
            return value
        return value + ridge * sum(
            (value - start[name]).square().sum() for name, value in zip(start, values, strict=True)
        )

    values = minimise(
        penalised, *start.values(), max_iter=200, history_size=100, tolerance_change=1e-10
    )
    return dict(zip(start, values, strict=True))


def _is_near(fitted: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> bool:
    """Whether the search ended at a maximum, and not on its way to infinity."""
    return all(
        bool(((fitted[name] - start[name]).abs() <= 30 + 10 * start[name].abs()).all())
        for name in start
    )
