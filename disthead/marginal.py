"""The marginal fit: one distribution for all rows, where training starts and the baseline that it has to beat."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disthead.families.raw_outputs import RawOutputs

if TYPE_CHECKING:
    from disthead.head import DistributionHead

__all__ = ["fit_biases"]


def fit_biases(head: "DistributionHead", y: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The raw values of every parameter that the head learns, at the marginal maximum likelihood, in double precision."""
    dims = len(head.event_shape)
    if y.ndim < dims or (head.family.event_dim == 0 and dims and tuple(y.shape[-dims:]) != head.event_shape):
        raise ValueError(
            f"y must have the shape (rows, {', '.join(map(str, head.event_shape))}), got {tuple(y.shape)}."
        )
    y = y.detach().reshape(-1, *y.shape[y.ndim - dims :])
    head.family.check_target(y)
    known = {name: value.detach().reshape(-1) for name, value in known.items()}
    if y.is_floating_point():
        y = y.double()

    learned = [name for name in head.links if name not in head.fixed]
    start = head.family.unconstrain(head.family.start(y), head.links)
    raw = {name: start[name].double().clone().requires_grad_() for name in learned}

    def loss() -> Tensor:
        dist = head._distribution(raw, **known)
        source = dist._source
        if isinstance(source, RawOutputs) and source.has_scores:  # eleven digits are enough to search by
            return -source.map(lambda one: one.expand(len(y), -1)).log_prob(y).mean()
        return -dist.log_prob(y).mean()

    before = {name: value.detach().clone() for name, value in raw.items()}
    with torch.enable_grad():
        initial = float(loss().detach())
        optimizer = torch.optim.LBFGS(
            list(raw.values()),
            max_iter=200,
            tolerance_grad=1e-9,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(closure)
        final = float(loss().detach())
    fitted = {name: value.detach() for name, value in raw.items()}
    return fitted if final <= initial and all(_near(fitted[name], before[name]) for name in learned) else before


def _near(fitted: Tensor, start: Tensor) -> bool:
    """Whether the search ended at a maximum: the likelihood of constant targets grows forever as the spread shrinks."""
    return bool(((fitted - start).abs() <= 30 + 10 * start.abs()).all())
