"""The marginal fit: one distribution for all rows, where training starts and the baseline that it has to beat."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.errors import locate
from disthead.likelihood.linked import RawOutputs
from disthead.links import Link
from disthead.weights import as_weight, present

if TYPE_CHECKING:
    from disthead.head import DistributionHead

__all__ = ["fit_biases", "rows_that_are_there"]

# Of light-tailed targets the degrees of freedom grow without end: a little pull keeps them where they still change something.
_RIDGE = 1e-6
_ROWS = 1_000_000  # as many as say where to start


def fit_biases(head: "DistributionHead", y: Any, known: Mapping[str, Any], weight: Any = None) -> dict[str, Tensor]:
    """The raw values of every parameter that the head learns, at the marginal maximum likelihood, in double precision.

    Where the likelihood has its maximum at infinity, it is that of the likelihood with a slight pull to the start; and the start
    itself where that has none either, as with constant targets.
    """
    y, known, weight = rows_that_are_there(head, y, known, weight)
    if y.is_floating_point():
        y = y.double()
    if weight is not None:
        weight = None if bool((weight == weight[0]).all()) else weight.double()

    learned = [name for name in head.links if name not in head.fixed]
    rows = y if weight is None else y[_rows_by_weight(weight)]
    unconstrained = head.family.unconstrain(head.family.start(rows), head.links)
    start = {name: unconstrained[name].double() for name in learned}

    def loss(raw: Mapping[str, Tensor]) -> Tensor:
        dist = head._distribution(raw, **known)
        source = dist._source
        if isinstance(source, RawOutputs) and source.has_scores:  # eleven digits are enough to search by
            log_prob = source.map(lambda one: one.expand(len(y), -1)).log_prob(y)
        else:
            log_prob = dist.log_prob(y)
        return -log_prob.mean() if weight is None else -(log_prob * weight).sum() / weight.sum()

    _check_start(head, start, y)
    with torch.no_grad():
        initial = float(loss(start))
    if not math.isfinite(initial):
        with torch.no_grad():
            log_prob = head._distribution(start, **known).log_prob(y)
        raise _no_start(head, f"the mean log_prob there is {-initial:g}", y, ~log_prob.isfinite())
    if not head.family.is_discrete and bool((y == y[:1]).all()):
        return start  # the likelihood of constant targets grows forever as the spread shrinks
    for ridge in (0.0, _RIDGE):
        fitted = _search(loss, start, ridge)
        with torch.no_grad():
            if float(loss(fitted)) <= initial and _is_near(fitted, start):
                return {name: _inside(raw, head.links[name]) for name, raw in fitted.items()}
    return start


def rows_that_are_there(
    head: "DistributionHead", y: Any, known: Mapping[str, Any], weight: Any = None
) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
    """Targets (N, *event_shape), known quantities (N,) and weights (N,) of the rows with a weight above zero, checked.

    Raises:
        TargetError: for targets outside the support, with rows and values.
        ValueError: for known quantities or weights that cannot be, and targets of another shape.
    """
    y, dims = as_tensor(y).detach(), len(head.event_shape)
    if y.ndim < dims or (head.family.event_dim == 0 and dims and tuple(y.shape[-dims:]) != head.event_shape):
        raise ValueError(
            f"y must have the shape (rows, {', '.join(map(str, head.event_shape))}), got {tuple(y.shape)}."
        )
    batch = y.shape[: y.ndim - dims]
    if not batch.numel():
        raise ValueError(f"y must have at least one row to start from, got none: the shape {tuple(y.shape)}.")
    weight = as_weight(weight, batch, device=y.device)
    known = {name: as_tensor(value, name).detach() for name, value in known.items()}
    if weight is not None:
        weight = weight.detach()
        known = {name: value.expand(batch) for name, value in known.items()}
    head.family.check_target(_checkable(y, weight))
    head.family.check_known({name: _checkable(value, weight) for name, value in known.items()})
    weight, y, *values = present(weight, y, *known.values())
    y, values = y.reshape(-1, *y.shape[y.ndim - dims :]), [value.reshape(-1) for value in values]
    return y, dict(zip(known, values, strict=True)), None if weight is None else weight.reshape(-1)


def _checkable(values: Tensor, weight: Tensor | None) -> Tensor:
    """The values, with one of a row that is there in the place of those that are not, so that errors count rows as they came."""
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


def _check_start(head: "DistributionHead", start: Mapping[str, Tensor], y: Tensor) -> None:
    """Refuse to start at NaN or infinity, also in single precision, in which most heads compute."""
    for name, value in start.items():
        if not bool(value.float().isfinite().all()):
            raise _no_start(head, f"the raw output of {name} would be {value.flatten()[:3].tolist()}", y)


def _no_start(head: "DistributionHead", reason: str, y: Tensor, bad: Tensor | None = None) -> ValueError:
    if bad is None:  # the extreme ones are to blame
        size = y.double().abs()
        bad = size == size.max()
    elif bad.ndim < y.ndim:
        bad = bad.reshape(bad.shape + (1,) * (y.ndim - bad.ndim)).expand(y.shape)
    return ValueError(
        f"{head.family.name} has no finite start for these targets: {reason}. Look at {locate(bad, y)}. Try other units, "
        "so that targets are neither tiny nor huge, leave such rows out, or take another family."
    )


def _rows_by_weight(weight: Tensor) -> Tensor:
    """Rows, each as often as its share of the weight says: without weights to think of, the search starts from these."""
    total, count = weight.cumsum(0), max(len(weight), min(8 * len(weight), _ROWS))
    places = (torch.arange(count, dtype=weight.dtype, device=weight.device) + 0.5) / count * total[-1]
    return torch.searchsorted(total, places).clamp(max=len(weight) - 1)


def _search(
    loss: Callable[[Mapping[str, Tensor]], Tensor], start: Mapping[str, Tensor], ridge: float
) -> dict[str, Tensor]:
    """Where `loss`, and `ridge` times the squared distance from the start, is least."""
    raw = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.LBFGS(
        list(raw.values()),
        max_iter=200,
        tolerance_grad=1e-9,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(raw)
        if ridge:
            value = value + ridge * sum((raw[name] - start[name]).square().sum() for name in raw)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return {name: value.detach() for name, value in raw.items()}


def _is_near(fitted: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> bool:
    """Whether the search ended at a maximum: the likelihood of constant targets grows forever as the spread shrinks."""
    return all(bool(((fitted[name] - start[name]).abs() <= 30 + 10 * start[name].abs()).all()) for name in start)
