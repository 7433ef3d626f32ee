"""Proper scores as objectives, which have their least expectation at the true distribution."""

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disthead.arrays import as_integer
from disthead.distributions.base import CLASSES, Distribution
from disthead.distributions.independent import each_output
from disthead.distributions.outputs import mean_over_outputs
from disthead.losses import as_labels, as_numbers, check_raw_outputs

__all__ = ["brier", "crps", "energy", "rps"]


def crps(dist: Distribution, y: Any) -> Tensor:
    """The continuous ranked probability score, the integral of (F(x) - 1{y <= x})^2, for each row.

    It is in the units of y, and the mean over outputs if there are several independent ones. It
    grows with the distance of an outlier only linearly, so that a few outliers move the fit less
    than by the likelihood of a normal distribution. Every family of one number has it, in closed
    form or by quadrature; directions have the score on the circle, in radians. Source: Gneiting and
    Raftery 2007.

    Args:
        dist: a distribution of batch_shape (...,), of one number or of independent ones.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for targets that are censored, and where there is no such score, that
            is for classes, rankings, vectors with a joint density, and mixtures on a circle. It is
            infinite for student_t with a df of 1/2 or less.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
    >>> crps(dist, torch.tensor([0.0, 10.0]))
    tensor([0.2337, 9.4358])
    """
    y = as_numbers(dist, y, "crps")
    return mean_over_outputs(dist, dist.crps(y))


def rps(dist: Distribution, y: Any) -> Tensor:
    """The ranked probability score, the sum over k of (P(Y <= k) - 1{y <= k})^2, for each row.

    It is the crps of counts and of ordered classes, where a near miss costs less than a far one,
    and the mean over outputs if there are several. It is not divided by the number of classes.
    Source: Epstein 1969.

    Args:
        dist: a distribution of counts, of ordered classes or of two outcomes.
        y: targets, batch_shape + event_shape.

    Raises:
        NotImplementedError: for other distributions, such as of classes without an order.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> rps(dist, torch.tensor([0, 2]))
    tensor([0.4762, 0.3112])
    """
    kind = each_output(dist).kind
    if kind not in ("count", "ordinal", "binary"):
        raise each_output(dist)._unanswered(
            "rps",
            "classes without an order have no ranks; brier scores them, and the family ordinal "
            "has an order."
            if kind == "classes"
            else "it sums over counts or ordered classes; crps scores other numbers, and energy "
            "vectors.",
        )
    return mean_over_outputs(dist, dist.crps(as_numbers(dist, y, "rps")))


def brier(dist: Distribution, y: Any) -> Tensor:
    """The Brier score, the squared error of the predicted probabilities, for each row.

    It is (y - p)^2 of two outcomes, with the probability p of 1, and the sum over all classes k of
    (p_k - 1{y = k})^2, which for two classes is twice as much. Of several outputs it is the mean.
    Soft labels take the place of 1{y = k}. Source: Brier 1950.

    Args:
        dist: a distribution of two outcomes, of classes, or of several independent ones of these.
        y: targets, batch_shape + event_shape, or class probabilities.

    Raises:
        NotImplementedError: for distributions of anything but classes.
        TargetError: for values on the CPU that are no class and no probability.
        ValueError: as `disthead.nll`.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("bernoulli").distribution(probs=torch.tensor([0.75, 0.75]))
    >>> brier(dist, torch.tensor([1, 0]))
    tensor([0.0625, 0.5625])
    """
    output = each_output(dist)
    if output.kind not in CLASSES:
        raise output._unanswered(
            "brier", "it scores probabilities of classes; crps scores numbers, and energy vectors."
        )
    check_raw_outputs(output)
    return mean_over_outputs(dist, dist.brier(as_labels(dist, y)))


@dataclass(frozen=True)
class energy:
    """The energy score E||Y - y|| - E||Y - Y'|| / 2 of each row, with Euclidean distances.

    It scores whole vectors, and is in the units of y. Of a single number it is the crps, in closed
    form or by quadrature; of vectors it is estimated without bias by samples of the distribution,
    through which gradients go to the parameters. It is nearly blind to wrong correlations; see
    `variogram`. Source: Gneiting and Raftery 2007.

    Args:
        samples: the number of samples of each row, at least 2.
        seed: of the samples, from 0 on. Equal targets have equal samples.

    Raises:
        NotImplementedError: when it is called, for classes, rankings and vectors of directions, and
            for vectors of counts, whose samples do not move with the parameters.
        TargetError: as `disthead.nll`.
        ValueError: as `disthead.nll`, and for options that are not such numbers.

    >>> import torch, disthead as dh
    >>> dist = dh.get_family("normal").distribution(loc=torch.zeros(1, 2), scale=1e-6).to_event(1)
    >>> energy(samples=8)(dist, torch.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """

    samples: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        as_integer(self.samples, "samples", 2)
        as_integer(self.seed, "seed", 0)

    def __call__(self, dist: Distribution, y: Any) -> Tensor:
        """The score of each row, shape (...,); `y` has the shape batch_shape + event_shape."""
        kind = each_output(dist).kind
        if kind in (*CLASSES, "ranking"):
            instead = "nll" if kind == "ranking" else "rps" if kind == "ordinal" else "brier"
            reason = f"it scores distances, and class indices are names; {instead} scores them."
            raise each_output(dist)._unanswered("energy", reason)
        y = as_numbers(dist, y, "energy")
        if dist.event_shape.numel() > 1 and not dist.has_rsample:
            raise each_output(dist)._unanswered(
                "energy",
                "the samples of its vectors do not move with the parameters, so that the score has "
                "no gradient; nll has one.",
            )
        return energy_score(dist, y, self.samples, self.seed)


def energy_score(dist: Distribution, y: Tensor, samples: int, seed: int) -> Tensor:
    """The energy score of each row, shape (...,), by seeded samples; exact of single numbers.

    Args:
        dist: a distribution of numbers or of vectors.
        y: targets, batch_shape + event_shape.
        samples: the number of samples of each row.
        seed: of the samples. Equal targets have equal samples, so that the difference of two
            forecasts is less random.
    """
    if not dist.event_shape:
        return dist.crps(y)
    return dist.energy_score(y, samples, generator_of(y, seed))


def generator_of(y: Tensor, seed: int) -> torch.Generator:
    """A source of random numbers that depends on the targets, so that each batch has others.

    One seed for all batches would repeat the same error, which would not average out.
    """
    seed = zlib.crc32(y.detach().cpu().contiguous().numpy().tobytes(), seed % 2**32)
    return torch.Generator().manual_seed(seed)
