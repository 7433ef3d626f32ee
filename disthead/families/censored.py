"""The family of censored numbers: lifetimes that still run, amounts below a limit of detection."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.censored import Censored, Ends, as_pairs, check_pairs
from disthead.errors import TargetError
from disthead.families.family import Family
from disthead.families.wrapper_family import WrapperFamily
from disthead.likelihood import LinkedParameters

__all__ = ["CensoredFamily"]


@dataclass(eq=False)
class _CensoredParameters(LinkedParameters):
    """The raw outputs of the latent distribution, whose own parameters stay lazy."""

    def distribution(self) -> Distribution:
        return Censored(LinkedParameters(self.formula, self.raw, self.loc_scale).distribution())


class CensoredFamily(WrapperFamily):
    """The family of numbers that are known exactly, or only up to an interval.

    A target is a pair (lower, upper) in the last dimension: equal ends are an observed number,
    (c, inf) is right-censored, (-inf, c) is left-censored, and two finite ends hold the number
    between them, lower < Y <= upper. A target without that dimension is an observed number. The
    parameters, links and support are those of the base family, and so are all answers but log_prob,
    which are about the latent number. Source: Klein and Moeschberger 2003, Survival Analysis.

    Args:
        base: the family of the latent number, a name or a `Family` of one ordered number.
        base_options: options of the base family.

    Raises:
        ValueError: for a base of vectors, classes, rankings or directions, or a censored one.

    >>> lifetime = CensoredFamily("exponential").distribution(rate=torch.tensor(0.5))
    >>> lifetime.log_prob(torch.tensor([3.0, torch.inf]))
    tensor(-1.5000)
    """

    name = "censored"
    is_censored = True
    base_kinds = ("continuous", "count", "mixed")
    data_type = "univariate, known exactly or up to an interval"
    domain = "that of its base, for weibull y > 0; or (lower, upper) around it"
    use = "lifetimes that still run, amounts below a limit of detection"
    loss = "-log p(y) where observed, -log P(lower < Y <= upper) elsewhere"
    noise = (
        "That of the base family; beyond it, a number may be hidden in an interval, for reasons "
        "that tell nothing more about it."
    )
    density = (
        "p(y) of the base where y is observed; P(Y > c) for (c, inf), P(Y <= c) for (-inf, c), "
        "P(lower < Y <= upper) between two finite ends"
    )
    breaks = (
        "Censoring that depends on the number itself, as where patients leave a study because they "
        "are worse. Where nearly all targets are censored on one side, the tail beyond them is "
        "that of the base family, and no data check it."
    )
    remedy = (
        "Features that explain why rows are censored; another base, such as log_normal in place of "
        "weibull, to see how much the answers depend on it."
    )

    def __init__(self, base: "str | Family" = "weibull", **base_options):
        super().__init__(base, **base_options)
        self.loss_support = self.base.loss_support
        self.grad_takes_exposure = self.base.grad_takes_exposure
        self.least_log_std = self.base.least_log_std  # type: ignore[misc]
        self.domain = f"{self.base.domain}; or (lower, upper) around it"
        if self.edge_remedy:
            self.edge_remedy = (
                "An observed number exactly at an end of the support, such as 0, has the density "
                "zero or infinity. Where it stands for 'too small to measure', give the pair "
                "(-inf, limit of detection)."
            )

    def _check_base(self) -> None:
        super()._check_base()
        if self.base.is_censored:
            raise self._wrong_base(self.base.name, "which is censored already")

    def wrap(self, base: Distribution, **own: Tensor) -> Censored:
        return Censored(base)

    def _formula(self, links):
        return replace(self.base.formula(links), linked_class=_CensoredParameters)

    def event_shape_of(self, y: Tensor) -> tuple[int, ...]:
        """The shape of one target, from pairs (N, ..., 2) or observed numbers (N, ...)."""
        return tuple(y.shape[1:-1] if _are_pairs(y) else y.shape[1:])

    def observed_rows(self, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Targets of which all outputs are observed, with their weights.

        Where these are less than two different ones, all targets are taken, with one of their ends.
        """
        if not _are_pairs(y):
            return y, weight
        ends = Ends.of(y)
        rows = ends.is_observed.reshape(len(y), -1).all(1)
        observed = ends.lower[rows]
        if not bool((observed != observed[:1]).any()):
            return ends.points, weight
        return observed, None if weight is None else weight[rows]

    def points_of(self, y: Tensor) -> Tensor:
        return Ends.of(y).points if _are_pairs(y) else y

    def check_target(self, y: Any, column: str = "the target") -> None:
        """Check pairs (..., 2) for their order, and their ends by the support of the base.

        Targets of one dimension are observed numbers.

        Args:
            y: pairs, shape (N, ..., 2), or observed numbers, shape (N,).
            column: what errors call them.

        Raises:
            TargetError: for NaN, a lower end above the upper one, pairs that tell nothing, and
                numbers or intervals outside the support, naming rows and values.
        """
        y = as_tensor(y, column)
        if not _are_pairs(y):
            self.base.check_target(y, column)
            return
        pairs = y if y.is_floating_point() else y.double()
        check_pairs(pairs, self.support, column)
        ends = Ends.of(pairs)
        if bool(ends.is_observed.any()):
            # others get a value that is observed, so that errors count all rows
            first = ends.lower[ends.is_observed][0]
            self.base.check_target(torch.where(ends.is_observed, ends.lower, first), column)

    def check_beside(self, y: Tensor, constants: Any, column: str = "the target") -> None:
        """Nothing: quantities of a row say nothing of the ends of its interval."""

    def initial_estimate(self, y: Tensor) -> dict[str, Tensor]:
        """That of the base for one point of each target: its value, end or middle.

        Args:
            y: pairs, shape (N, ..., 2), or observed numbers, shape (N,).

        Raises:
            TargetError: where all targets of an output are censored on the same side, so that
                nothing says how far beyond they lie.
        """
        ends = Ends.of(y if _are_pairs(y) else as_pairs(y))
        for side, is_there in {"right": ends.is_right, "left": ends.is_left}.items():
            if bool(is_there.all(0).any()):
                raise TargetError(
                    f"all {len(y)} targets are {side}-censored: the likelihood grows the farther "
                    "the distribution lies beyond them, and has no maximum. Observe some rows, or "
                    "bound them on the other side, as in (lower, upper)."
                )
        points = ends.points
        inside = self.support.check(points) & ~ends.lower.isnan()
        fallback = points[inside].median() if bool(inside.any()) else points.new_ones(())
        return self.base.initial_estimate(torch.where(inside, points, fallback))


def _are_pairs(y: Tensor) -> bool:
    return y.ndim > 1 and y.shape[-1] == 2
