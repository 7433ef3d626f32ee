"""`LabelSequence`: what distributions over sequences of labels have in common."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from disthead.arrays import as_tensor
from disthead.distributions.base import Distribution
from disthead.distributions.interval import Arc, Interval
from disthead.errors import TargetError, locate
from disthead.special.eager import are_concrete

__all__ = ["LabelSequence", "LabelSequences"]


class LabelSequences(constraints.Constraint):
    """The constraint on sequences of labels 0, ..., K - 1, padded at the end with -1.

    Args:
        num_labels: K.
        fits: whether sequences (..., S) have a length that their inputs allow, shape (...,).
        blank: a number below K that is no label; None for none.
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, num_labels: int, fits: Callable[[Tensor], Tensor], blank: int | None = None):
        self.num_labels, self.fits, self.blank = num_labels, fits, blank

    def is_label(self, value: Tensor) -> Tensor:
        """Which numbers are labels."""
        inside = (value >= 0) & (value < self.num_labels) & (value == value.floor())
        return inside if self.blank is None else inside & (value != self.blank)

    def is_padding(self, value: Tensor) -> Tensor:
        """Which numbers are -1; the 255 of unsigned numbers, which equals it for torch, is not."""
        return (value < 0) & (value == -1)

    def has_no_gap(self, value: Tensor) -> Tensor:
        """Which sequences have no label after a number that is none."""
        is_label = self.is_label(value)
        return (is_label[..., :-1] | ~is_label[..., 1:]).all(-1)

    def check(self, value: Tensor) -> Tensor:
        are_valid = (self.is_label(value) | self.is_padding(value)).all(-1)
        return are_valid & self.has_no_gap(value) & self.fits(value)

    def __repr__(self) -> str:
        without = "" if self.blank is None else f" without the blank {self.blank}"
        return f"sequences of labels 0, ..., {self.num_labels - 1}{without}, padded with -1"


class LabelSequence(Distribution):
    """A distribution over sequences of labels 0, ..., K - 1, with event_shape (T,).

    A target is a row of labels, padded with -1 at its end; a tensor of targets may have fewer than
    T columns. Rows of a batch may have inputs of different length, which `lengths` holds, shape
    (...,), from 1 to T. What an input holds beyond its length does not count.

    Subclasses have parameters, the first of them of shape (..., T, K), and a parameter `lengths`.
    """

    kind = "sequence"
    lengths: Tensor
    blank: int | None = None

    @property
    def num_labels(self) -> int:
        """K, the number of labels, a blank included."""
        return getattr(self, self._names[0]).shape[-1]

    @property
    def _is_inside(self) -> Tensor:
        """Which positions are within the lengths, shape (..., T)."""
        return torch.arange(self.event_shape[0], device=self.device) < self.lengths.unsqueeze(-1)

    @property
    def support(self) -> LabelSequences:
        return LabelSequences(self.num_labels, self._fits, self.blank)

    def check_target(self, y: Tensor, name: str = "y") -> None:
        """Refuse targets that have no probability whatever the parameters are.

        Numbers on a GPU, or in a graph, are not looked at; their log_prob is -inf.

        Args:
            y: targets, shape (..., S).
            name: what they are called in errors.

        Raises:
            TargetError: with the rows, and what to try.
        """
        if not are_concrete(y):
            return
        support = self.support
        wrong = ~(support.is_label(y) | support.is_padding(y))
        if bool(wrong.any()):
            raise TargetError(
                f"{name} must hold {support!r}, got {locate(wrong, y)}. "
                f"{self._advice(y, wrong, name)}"
            )
        has_gap = ~support.has_no_gap(y)
        if bool(has_gap.any()):
            raise TargetError(
                f"{name} must have all labels of a row before its padding, got a label after -1 in "
                f"{locate(has_gap, y)}. Move the labels to the front."
            )
        misfits = ~self._fits(y)
        if bool(misfits.any()):
            raise TargetError(self._misfit(y, misfits, name))

    def _advice(self, y: Tensor, wrong: Tensor, name: str) -> str:
        if y.dtype == torch.uint8 and bool((y[wrong] == 255).all()):
            return "In unsigned numbers -1 becomes 255: pad signed ones, such as y.long()."
        if bool((y[wrong] < -1).all()):
            return f"Pad with -1: try torch.where({name} < 0, -1, {name})."
        return f"Number the labels from 0 to {self.num_labels - 1}."

    def _fits(self, y: Tensor) -> Tensor:
        """Whether sequences have a length that their inputs allow, shape (...,)."""
        raise NotImplementedError

    def _misfit(self, y: Tensor, misfits: Tensor, name: str) -> str:
        """The message about sequences that do not fit."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        raise self._no_numbers("mean")

    @property
    def variance(self) -> Tensor:
        raise self._no_numbers("variance")

    @property
    def median(self) -> Tensor:
        raise self._no_numbers("median")

    def rsample(self, sample_shape=Size(), generator: torch.Generator | None = None) -> Tensor:
        raise self._unanswered(
            "rsample", "labels do not move continuously with the parameters; use sample()."
        )

    def crps(self, y: Tensor) -> Tensor:
        raise self._no_numbers("crps")

    def energy_score(
        self, y: Tensor, samples: int = 512, generator: torch.Generator | None = None
    ) -> Tensor:
        raise self._no_numbers("energy_score")

    def cdf(self, y: Tensor) -> Tensor:
        raise self._no_numbers("cdf")

    def log_cdf(self, y: Tensor) -> Tensor:
        raise self._no_numbers("log_cdf")

    def log_survival(self, y: Tensor) -> Tensor:
        raise self._no_numbers("log_survival")

    def cdf_limits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise self._no_numbers("cdf_limits")

    def icdf(self, q: Tensor) -> Tensor:
        raise self._no_numbers("icdf")

    def pit(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise self._no_numbers("pit")

    def interval(self, level: float) -> Interval | Arc:
        raise self._no_numbers("interval")

    def highest_density(self, level: float) -> Interval | Arc:
        raise self._no_numbers("highest_density")

    def affine(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise self._no_numbers("affine")

    def _no_numbers(self, question: str) -> NotImplementedError:
        return self._unanswered(
            question, "labels are names, not numbers; log_prob(y) scores a sequence of them."
        )


def as_lengths(lengths: Any, scores: Tensor, name: str) -> Tensor:
    """The lengths of the inputs, int64 of shape batch, after a check.

    Args:
        lengths: integers of shape batch; None for the full length of all rows.
        scores: shape batch + (T, K).
        name: of the scores, for errors.

    Raises:
        ValueError: for scores without a dimension of positions, and for lengths of another shape,
            that are not whole, or outside 1, ..., T.
    """
    if scores.ndim < 2 or 0 in scores.shape[-2:]:
        raise ValueError(
            f"{name} must have the shape (..., T, K), of T positions and K labels, at least one "
            f"each, got {tuple(scores.shape)}."
        )
    *batch, positions, _ = scores.shape
    if lengths is None:
        return torch.full(batch, positions, device=scores.device)
    lengths = as_tensor(lengths, "lengths", device=scores.device).to(scores.device)
    if lengths.shape != torch.Size(batch):
        raise ValueError(
            f"lengths must have one number per row, shape {tuple(batch)}, got "
            f"{tuple(lengths.shape)}."
        )
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths must be integers, got {lengths.dtype}. Try lengths.long().")
    if are_concrete(lengths):
        wrong = (lengths < 1) | (lengths > positions)
        if bool(wrong.any()):
            raise ValueError(
                f"lengths must be from 1 to {positions}, the positions of {name}, got "
                f"{locate(wrong, lengths)}. They count positions of {name}: divide the lengths of "
                "the inputs as the network does, and leave out empty inputs."
            )
    return lengths.long()
