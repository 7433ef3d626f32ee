"""`CalibrationError`: how far class probabilities are from the frequencies of what happened."""

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from disthead.families.distribution import Distribution

__all__ = ["CalibrationError"]


class CalibrationError(Metric):
    """The distance between confidence and accuracy over bins of confidence, of `bernoulli` and `categorical`.

    (sum_b share_b |confidence_b - accuracy_b|^norm)^(1 / norm), the expected calibration error for norm 1 (Naeini, Cooper
    and Hauskrecht 2015; Guo et al. 2017). A histogram of confidences is kept, so memory does not grow.

    Args:
        kind: "top": the confidence is the probability of the most probable class, and it is a hit if it happens;
            "classwise": the probability of each class, and whether it happens, averaged over classes (Kull et al. 2019), of
            an event the probability of 1.
        bins: of equal width, or of equal numbers of rows.
        norm: 1, 2, or "max" for the largest distance.
        adaptive: bins of equal numbers of rows (Nguyen and O'Connor 2015), to a thousandth of confidence.
        debiased: of norm 2, less what chance adds in bins of finitely many rows (Kumar, Liang and Ma 2019).
        num_classes: for "classwise", how many classes there are; 2 for an event.

    >>> from disthead import get_family
    >>> dist = get_family("bernoulli").distribution(probs=torch.full((4,), 0.75))
    >>> CalibrationError()(dist, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    tensor(0.2500)
    """

    full_state_update = False
    sums: Tensor

    def __init__(
        self,
        kind: Literal["top", "classwise"] = "top",
        bins: int = 15,
        norm: "int | Literal['max']" = 1,
        adaptive: bool = False,
        debiased: bool = False,
        num_classes: int | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        if kind not in ("top", "classwise"):
            raise ValueError(f"kind must be 'top' or 'classwise', got {kind!r}.")
        if norm not in (1, 2, "max"):
            raise ValueError(f"norm must be 1, 2 or 'max', got {norm!r}.")
        if debiased and norm != 2:
            raise ValueError("debiased takes norm=2: the bias of a square is known, that of others is not.")
        if kind == "classwise" and num_classes is None:
            raise ValueError("kind='classwise' needs num_classes, such as num_classes=10, or 2 for an event.")
        self.kind, self.bins, self.norm, self.adaptive, self.debiased = kind, bins, norm, adaptive, debiased
        self.num_classes = num_classes
        self._fine = bins * math.ceil(1000 / bins)
        curves = 1 if kind == "top" or num_classes == 2 else num_classes
        # rows, confidence, hits
        self.add_state("sums", torch.zeros(curves or 1, self._fine, 3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, dist: Distribution, y: Tensor) -> None:
        """Add rows: a distribution of classes, targets y of its batch_shape."""
        if not hasattr(dist, "expected_cost"):
            raise NotImplementedError(
                f"{type(dist).__name__} has no probabilities of classes; Coverage and PITHistogram say "
                "whether numbers are calibrated."
            )
        probs = dist.probs
        if not hasattr(dist, "num_classes"):
            probs = torch.stack([1 - probs, probs], -1) if self.kind == "top" else probs.unsqueeze(-1)
            happened = y.unsqueeze(-1) == (torch.arange(2, device=y.device) if self.kind == "top" else 1)
        else:
            happened = y.unsqueeze(-1) == torch.arange(probs.shape[-1], device=y.device)
            if self.kind == "classwise" and self.num_classes == 2:
                probs, happened = probs[..., 1:], happened[..., 1:]
        if self.kind == "top":
            probs, best = probs.max(-1, keepdim=True)
            happened = happened.gather(-1, best)
        probs, happened = probs.reshape(-1, probs.shape[-1]), happened.reshape(-1, probs.shape[-1])
        if probs.shape[1] != len(self.sums):
            raise ValueError(
                f"CalibrationError was made for num_classes={self.num_classes}, the distribution has {probs.shape[1]}."
            )
        p = probs.detach().double()
        place = (p * self._fine).long().clamp(max=self._fine - 1)
        place = place + torch.arange(len(self.sums), device=p.device) * self._fine
        rows = torch.stack([torch.ones_like(p), p, happened.double()], -1)
        self.sums = self.sums.reshape(-1, 3).index_add(0, place.reshape(-1), rows.reshape(-1, 3)).reshape_as(self.sums)

    def compute(self) -> Tensor:
        return self._error(self.sums).mean().float()

    def curve(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean confidence, accuracy and rows of each bin that has any, for "top" or an event: a reliability diagram."""
        rows, confidence, hits = self._binned(self.sums[:1])[0].unbind(-1)
        some = rows > 0
        return (confidence / rows)[some].float(), (hits / rows)[some].float(), rows[some].float()

    def band(self, level: float = 0.95, resamples: int = 1000, generator: torch.Generator | None = None) -> float:
        """The error that a calibrated forecast with these confidences stays below with probability `level`.

        By resampling: hits are drawn as often as the confidences say (Bröcker and Smith 2007).
        """
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        sums = self.sums.cpu()
        rows, confidence = sums[..., 0], sums[..., 1] / sums[..., 0].clamp(min=1)
        drawn = []
        for _ in range(resamples):
            hits = torch.binomial(rows, confidence.clamp(0, 1), generator=generator)
            drawn.append(self._error(torch.stack([rows, sums[..., 1], hits], -1)).mean())
        return float(torch.stack(drawn).quantile(level))

    def _binned(self, sums: Tensor) -> Tensor:
        """The sums of each bin, (curves, bins, 3)."""
        if not self.adaptive:
            return sums.reshape(len(sums), self.bins, -1, 3).sum(2)
        rows = sums[..., 0]
        share = (rows.cumsum(-1) - rows / 2) / rows.sum(-1, keepdim=True).clamp(min=1)
        place = (share * self.bins).long().clamp(max=self.bins - 1)
        binned = sums.new_zeros(len(sums), self.bins, 3)
        return binned.scatter_add(1, place.unsqueeze(-1).expand_as(sums), sums)

    def _error(self, sums: Tensor) -> Tensor:
        rows, confidence, hits = self._binned(sums).unbind(-1)
        total = rows.sum(-1)
        rate = hits / rows.clamp(min=1)
        gap = confidence / rows.clamp(min=1) - rate
        share = rows / total.unsqueeze(-1)
        if self.norm == "max":
            return torch.where(total > 0, gap.abs().amax(-1), math.nan)
        if self.norm == 1:
            return (share * gap.abs()).sum(-1)
        square = gap.square()
        if self.debiased:
            square = torch.where(rows > 1, square - rate * (1 - rate) / (rows - 1).clamp(min=1), 0.0)
        return (share * square).sum(-1).clamp(min=0).sqrt()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Accuracy against confidence, with the number of rows as the size of the points; returns (figure, ax)."""
        import matplotlib.pyplot as plt

        ax = plt.figure(figsize=(4, 4)).add_subplot() if ax is None else ax
        confidence, accuracy, rows = (part.cpu() for part in self.curve())
        ax.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        ax.scatter(confidence, accuracy, s=4 + 120 * rows / rows.max(), color="#0072B2", alpha=0.8)
        ax.set(xlabel="confidence", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1))
        return ax.figure, ax
