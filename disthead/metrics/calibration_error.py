"""`CalibrationError`: the distance between class probabilities and observed frequencies."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import class_probs, each_output
from disthead.metrics.checks import Rows
from disthead.metrics.state import OfRows, keep_apart, over_processes

__all__ = ["CalibrationError"]


class CalibrationError(OfRows):
    """The distance between confidence and accuracy over bins of confidence, for classes.

    It is (sum_b share_b |confidence_b - accuracy_b|^norm)^(1 / norm), the expected calibration
    error for norm 1. `compute()` gives a tensor of shape (), NaN before any row. The metric keeps a
    histogram of confidences, so that its memory does not grow.

    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017.

    Args:
        kind: "top" compares the probability of the most probable class with how often that class is
            the target; "classwise" does so for the probability of each class, and averages over
            classes (Kull et al. 2019). Of binary targets it takes the probability of 1.
        bins: the number of bins, of equal width unless `adaptive`.
        norm: 1, 2, or "max" for the largest distance.
        adaptive: bins of equal weight, or of equal numbers of rows without weights (Nguyen and
            O'Connor 2015), to a thousandth of confidence.
        debiased: norm 2 less the bias from the finite number of rows in each bin (Kumar, Liang and
            Ma 2019).
        num_classes: for "classwise", the number of classes; 2 for binary targets.
        ignore_index: the target of rows that do not count, such as -100.

    Several outputs are pooled. A target may be a soft label, a probability for each class (of 1 for
    binary targets), which counts as that fraction of a hit.

    Raises:
        ValueError: for options that do not go together, and by `update` for another number of
            classes; see also `OfRows.update`.
        NotImplementedError: by `update`, for distributions without class probabilities.

    >>> from disthead import get_family
    >>> dist = get_family("bernoulli").distribution(probs=torch.full((4,), 0.75))
    >>> CalibrationError()(dist, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    tensor(0.2500)
    """

    full_state_update = False
    takes_soft_labels = True
    sums: Tensor

    def __init__(
        self,
        kind: Literal["top", "classwise"] = "top",
        bins: int = 15,
        norm: "int | Literal['max']" = 1,
        adaptive: bool = False,
        debiased: bool = False,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        if kind not in ("top", "classwise"):
            raise ValueError(f"kind must be 'top' or 'classwise', got {kind!r}.")
        if norm not in (1, 2, "max"):
            raise ValueError(f"norm must be 1, 2 or 'max', got {norm!r}.")
        if debiased and norm != 2:
            raise ValueError(
                "debiased takes norm=2: the bias of a square is known, that of others is not."
            )
        if kind == "classwise" and num_classes is None:
            raise ValueError(
                "kind='classwise' needs num_classes, such as num_classes=10, or 2 for an event."
            )
        self.kind, self.bins, self.norm, self.adaptive, self.debiased = (
            kind,
            bins,
            norm,
            adaptive,
            debiased,
        )
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._fine = bins * math.ceil(1000 / bins)
        curves = 1 if kind == "top" or num_classes == 2 else num_classes
        # rows, and sums over them of w, w confidence, w hit, w^2 for the weight w
        self.add_state(
            "sums",
            torch.zeros(curves or 1, self._fine, 5, dtype=torch.float64),
            dist_reduce_fx="sum",
        )
        keep_apart(self)

    def _add_rows(self, rows: Rows) -> None:
        dist = rows.dist
        if each_output(dist).kind not in CLASSES:
            raise NotImplementedError(
                f"{type(dist).__name__} has no probabilities of classes; Coverage and PITHistogram "
                "say whether numbers are calibrated."
            )
        if not rows.count:
            return
        probs, happened = self._happened(dist, rows.y)
        if self.kind == "top":
            probs, best = probs.max(-1, keepdim=True)
            happened = happened.gather(-1, best)
        curves = len(self.sums)
        if probs.shape[-1] != curves:
            raise ValueError(
                f"CalibrationError was made for num_classes={self.num_classes}, the distribution "
                f"has {probs.shape[-1]}."
            )
        rows.refuse_nan(probs, "the probability")
        p, hit, w = probs.detach().double(), happened.double(), rows.weights_like(probs)
        place = (p * self._fine).long().clamp(max=self._fine - 1)
        place = place + torch.arange(curves, device=p.device) * self._fine
        parts = torch.stack([torch.ones_like(w), w, w * p, w * hit, w.square()], -1)
        sums = self.sums.reshape(-1, 5).index_add(0, place.reshape(-1), parts.reshape(-1, 5))
        self.sums = sums.reshape_as(self.sums)

    def _happened(self, dist: Distribution, y: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities to compare, and whether their events happened, each (..., events)."""
        probs = class_probs(dist)
        if each_output(dist).kind == "binary":
            y = y.to(probs.dtype)
            both = probs, torch.stack([1 - y, y], -1)
        elif y.ndim == probs.ndim:  # soft labels
            both = probs, y.to(probs.dtype)
        else:
            both = (
                probs,
                (y.unsqueeze(-1) == torch.arange(probs.shape[-1], device=y.device)).to(probs.dtype),
            )
        if self.kind == "classwise" and both[0].shape[-1] == 2:
            return both[0][..., 1:], both[1][..., 1:]
        return both

    def compute(self) -> Tensor:
        """The calibration error, of shape ()."""
        return self._error(self.sums).mean().float()

    @over_processes
    def curve(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean confidence, accuracy and number of rows of each bin that has any, each (bins,).

        These are the points of a reliability diagram, for "top" or binary targets.

        Raises:
            ValueError: for "classwise" with more than one curve.
        """
        if len(self.sums) > 1:
            raise ValueError(
                f"one curve shows one class, classwise there are {len(self.sums)}. Try kind='top'."
            )
        rows, weight, confidence, hits, _ = self._binned(self.sums)[0].unbind(-1)
        some = weight > 0
        return (
            (confidence / weight)[some].float(),
            (hits / weight)[some].float(),
            rows[some].float(),
        )

    @over_processes
    def band(
        self, level: float = 0.95, resamples: int = 1000, generator: torch.Generator | None = None
    ) -> float:
        """The error that a calibrated forecast with these confidences exceeds with 1 - `level`.

        It is found by resampling: hits are drawn with the confidences as probabilities (Bröcker and
        Smith 2007), in cells of 0.001 of confidence. A cell counts with its effective number of
        rows.

        Args:
            level: a probability.
            resamples: the number of draws.
            generator: of the draws; one with seed 0 by default.
        """
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        rows, weight, confidence, _, squares = self.sums.cpu().unbind(-1)
        share = (confidence / weight.clamp(min=torch.finfo(weight.dtype).tiny)).clamp(0, 1)
        draws = _effective(weight, squares).round()
        drawn = []
        for _ in range(resamples):
            hits = torch.binomial(draws, share, generator=generator) * weight / draws.clamp(min=1)
            drawn.append(
                self._error(torch.stack([rows, weight, confidence, hits, squares], -1)).mean()
            )
        return float(torch.stack(drawn).quantile(level))

    def _binned(self, sums: Tensor) -> Tensor:
        """The sums of each bin, (curves, bins, 5)."""
        if not self.adaptive:
            return sums.reshape(len(sums), self.bins, -1, 5).sum(2)
        weight = sums[..., 1]
        total = weight.sum(-1, keepdim=True)
        share = (weight.cumsum(-1) - weight / 2) / torch.where(total > 0, total, 1.0)
        place = (share * self.bins).long().clamp(max=self.bins - 1)
        binned = sums.new_zeros(len(sums), self.bins, 5)
        return binned.scatter_add(1, place.unsqueeze(-1).expand_as(sums), sums)

    def _error(self, sums: Tensor) -> Tensor:
        _, weight, confidence, hits, squares = self._binned(sums).unbind(-1)
        total, per = weight.sum(-1), weight.clamp(min=torch.finfo(weight.dtype).tiny)
        rate = hits / per
        gap = confidence / per - rate
        share = weight / total.unsqueeze(-1)
        if self.norm == "max":
            return torch.where(total > 0, gap.abs().amax(-1), math.nan)
        if self.norm == 1:
            return (share * gap.abs()).sum(-1)
        square = gap.square()
        if self.debiased:
            rows = _effective(weight, squares)
            more_than_one = rows > 1 + 1e-9
            chance = rate * (1 - rate) / torch.where(more_than_one, rows - 1, 1.0)
            square = torch.where(more_than_one, square - chance, 0.0)
        return (share * square).sum(-1).clamp(min=0).sqrt()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draws accuracy against confidence and returns (figure, ax).

        The size of a point is the number of its rows.
        """
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(4, 4)).add_subplot() if ax is None else ax
        confidence, accuracy, rows = (part.cpu() for part in self.curve())
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        ax.scatter(confidence, accuracy, s=4 + 120 * rows / rows.max(), color="#0072B2", alpha=0.8)
        ax.set(xlabel="confidence", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1))
        return ax.figure, ax


def _effective(weight: Tensor, squares: Tensor) -> Tensor:
    """The effective number of rows (Kish 1965), from the sums of weights and of their squares."""
    return torch.where(squares > 0, weight.square() / torch.where(squares > 0, squares, 1.0), 0.0)
