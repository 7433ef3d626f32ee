"""The marginal fit: one distribution for all rows, where training starts and the baseline that it has to beat."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disthead.families.raw_outputs import RawOutputs

if TYPE_CHECKING:
    from disthead.head import DistributionHead

__all__ = ["fit_biases"]

# Of light-tailed targets the degrees of freedom grow without end: a little pull keeps them where they still change something.
_RIDGE = 1e-6


def fit_biases(head: "DistributionHead", y: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The raw values of every parameter that the head learns, at the marginal maximum likelihood, in double precision.

    Where the likelihood has its maximum at infinity, it is that of the likelihood with a slight pull to the start; and the start
    itself where that has none either, as with constant targets.
    """
    dims = len(head.event_shape)
    if y.ndim < dims or (head.family.event_dim == 0 and dims and tuple(y.shape[-dims:]) != head.event_shape):
        raise ValueError(
            f"y must have the shape (rows, {', '.join(map(str, head.event_shape))}), got {tuple(y.shape)}."
        )
    y = y.detach().reshape(-1, *y.shape[y.ndim - dims :])
    head.family.check_target(y)
    known = {name: value.detach().reshape(-1) for name, value in known.items()}
    head.family.check_known(known)
    if y.is_floating_point():
        y = y.double()

    learned = [name for name in head.links if name not in head.fixed]
    unconstrained = head.family.unconstrain(head.family.start(y), head.links)
    start = {name: unconstrained[name].double() for name in learned}

    def loss(raw: Mapping[str, Tensor]) -> Tensor:
        dist = head._distribution(raw, **known)
        source = dist._source
        if isinstance(source, RawOutputs) and source.has_scores:  # eleven digits are enough to search by
            return -source.map(lambda one: one.expand(len(y), -1)).log_prob(y).mean()
        return -dist.log_prob(y).mean()

    with torch.no_grad():
        initial = float(loss(start))
    for ridge in (0.0, _RIDGE):
        fitted = _search(loss, start, ridge)
        with torch.no_grad():
            if float(loss(fitted)) <= initial and _is_near(fitted, start):
                return fitted
    return start


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
