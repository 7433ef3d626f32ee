"""Predictions as columns: what a distribution says about each row, with names, for a table or a file."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from disthead.calibration.recalibrated import Recalibrated
from disthead.families.affine import Affine
from disthead.families.distribution import Distribution

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["check_options", "predictions", "seed_of", "write_predictions"]

_QUANTILES = (0.1, 0.25, 0.75, 0.9)

Columns = dict[str, np.ndarray]


@torch.no_grad()
def predictions(
    dist: Distribution,
    targets: Sequence[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
    quantiles: Sequence[float] | None = None,
    level: float | None = None,
    samples: int = 0,
    seed: int = 0,
    unit: str | None = None,
) -> Columns:
    """Columns of predictions, one entry per row: parameters, mean, median, mode, stddev, quantiles and the central interval.

    What a distribution does not have (the mean of classes, the quantile of a ranking) is left out, unless it is asked for.
    Classes get a probability each, by name. Several outputs get the name of their target as a suffix; a ranking has one
    mode per place. Parameters describe the distribution itself: one whose probabilities a recalibration has mapped has
    none, since those of the family are those before recalibration.

    Args:
        dist: a distribution with batch_shape (N,).
        targets: the names of the outputs.
        classes: target -> names of its classes.
        quantiles: levels of the quantiles, named `quantile_0.1`; 0.1, 0.25, 0.75 and 0.9 unless given.
        level: probability of the central interval, named `lower_90` and `upper_90`; 0.9 unless given.
        samples: draws for each row, named `sample_0`, `sample_1` ...
        seed: of the draws, which leave the global random state alone.
        unit: "degrees" for angles in degrees: all answers are; parameters stay those of the family, and a location is
            named `loc_radians`.

    Raises:
        ValueError: for levels that are not between 0 and 1, or quantiles asked of what has none.

    >>> from disthead import get_family
    >>> dist = get_family("exponential").distribution(rate=torch.tensor([1.0, 2.0]))
    >>> list(predictions(dist, quantiles=[0.5]))
    ['rate', 'mean', 'median', 'mode', 'stddev', 'quantile_0.5', 'lower_90', 'upper_90']
    """
    check_options(quantiles, level, samples)
    names = _Names(dist, list(targets), dict(classes or {}), 180 / math.pi if unit == "degrees" else 1.0)
    draws, is_asked = _draws(dist, samples, seed), quantiles is not None or level is not None
    if hasattr(dist, "expected_cost"):
        if is_asked:
            raise ValueError("classes have no quantiles and no interval: leave out `quantiles` and `level`.")
        return names.classes() | names.class_samples(draws)
    columns: Columns = {}
    if not isinstance(dist, (Affine, Recalibrated)):
        for name, value in dist.parameters.items():
            is_angle = unit == "degrees" and "loc" in name
            columns |= names.parameter(f"{name}_radians" if is_angle else name, value)
    for name in ("mean", "median", "mode", "stddev"):
        columns |= names.of_outputs(name, partial(getattr, dist, name))
    quantiles, level = _QUANTILES if quantiles is None else quantiles, 0.9 if level is None else level
    ends = {f"lower_{100 * level:g}": (1 - level) / 2, f"upper_{100 * level:g}": (1 + level) / 2}
    shape = dist.batch_shape + dist.event_shape
    each = dist.marginals if hasattr(dist, "marginals") else dist
    for name, q in ({f"quantile_{q:g}": q for q in quantiles} | ends).items():
        found = names.of_outputs(name, partial(each.icdf, torch.full(shape, q, device=dist.device)))
        if is_asked and not found:
            raise ValueError(
                f"{type(dist).__name__} has no quantiles and no interval: leave out `quantiles` and `level`."
            )
        columns |= found
    for k, draw in enumerate(draws):
        columns |= names.outputs(f"sample_{k}", draw)
    return columns


def check_options(quantiles: Sequence[float] | None, level: float | None, samples: int) -> None:
    """Refuse levels outside (0, 1) and negative numbers of draws."""
    for q in quantiles or ():
        if not 0 < q < 1:
            raise ValueError(f"quantiles must be between 0 and 1, such as 0.1, 0.5 and 0.9, got {q!r}.")
    if level is not None and not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.9, got {level!r}.")
    if samples < 0:
        raise ValueError(f"samples must be a number of draws, 0 or more, got {samples!r}.")


def _draws(dist: Distribution, samples: int, seed: int) -> Tensor:
    """Draws (samples, N, ...)."""
    if not samples:
        return torch.empty(0)
    return dist.sample(torch.Size((samples,)), torch.Generator(dist.device).manual_seed(seed))


def seed_of(seed: int, place: object) -> int:
    """The seed of the draws for some rows of a table, which have a place there: others for each place."""
    digest = hashlib.sha256(repr((seed, place)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


class _Names:
    """Splits tensors of shape (N, ...) into named columns."""

    def __init__(self, dist: Distribution, targets: list[str], classes: dict[str, Sequence[str]], scale: float = 1.0):
        self.dist, self.targets, self.class_names, self.scale = dist, targets, classes, scale
        self.event_shape = tuple(dist.event_shape)

    def of_outputs(self, name: str, ask: Callable[[], Tensor]) -> Columns:
        """The answer to a question, one column per output; nothing where there is none."""
        try:
            return self.outputs(name, ask())
        except (NotImplementedError, AttributeError):
            return {}

    def outputs(self, name: str, value: Tensor) -> Columns:
        """Values of the outputs (N, ...) in their unit, one column per output."""
        return self._split(name, value if self.scale == 1 else value * self.scale, len(self.event_shape))

    def parameter(self, name: str, value: Tensor) -> Columns:
        trailing = tuple(value.shape[len(self.dist.batch_shape) :])
        per_output = trailing[: len(self.event_shape)] == self.event_shape and not self._is_ranking
        return self._split(name, value, len(self.event_shape) if per_output else 0)

    def classes(self) -> Columns:
        """The probability of each class and the most probable one, for each output."""
        probs = self.dist.probs
        columns: Columns = {}
        mode = self.dist.mode
        if probs.shape == mode.shape:
            probs = torch.stack([1 - probs, probs], -1)
        count = probs.shape[-1]
        for output, suffix in self._outputs(len(self.event_shape)):
            names = self._names_of(suffix) or [str(k) for k in range(count)]
            names = [*names, *(str(k) for k in range(len(names), count))]
            end = f"_{suffix}" if suffix else ""
            for k in range(count):
                columns[f"probability_{names[k]}{end}"] = _array(probs[(slice(None), *output, k)])
            chosen = mode[(slice(None), *output)].long().tolist()
            columns[f"mode{end}"] = np.array([names[k] for k in chosen] if self._names_of(suffix) else chosen)
        return columns

    def _names_of(self, suffix: str) -> Sequence[str]:
        """Of the classes of an output; none where they are numbers."""
        return self.class_names.get(suffix or (self.targets[0] if self.targets else ""), ())

    def class_samples(self, draws: Tensor) -> Columns:
        """Drawn classes by name, draws (samples, N, ...)."""
        columns: Columns = {}
        for k, draw in enumerate(draws):
            for output, suffix in self._outputs(len(self.event_shape)):
                chosen, names = draw[(slice(None), *output)].long().tolist(), self._names_of(suffix)
                end = f"_{suffix}" if suffix else ""
                columns[f"sample_{k}{end}"] = np.array([names[index] for index in chosen] if names else chosen)
        return columns

    @property
    def _is_ranking(self) -> bool:
        """Targets that are vectors of integers whose outputs are places, while the parameters belong to items."""
        support = self.dist.support
        return bool(support.is_discrete) and support.event_dim == 1 and not hasattr(self.dist, "count")

    def _outputs(self, dims: int) -> list[tuple[tuple[int, ...], str]]:
        """The index and the name of each output."""
        shape = self.event_shape[:dims]
        found = []
        for flat, index in enumerate(np.ndindex(*shape)):
            if not shape:
                name = ""
            elif flat < len(self.targets):
                name = self.targets[flat]
            else:
                name = "_".join(map(str, index))
            found.append((index, name))
        return found

    def _split(self, name: str, value: Tensor, dims: int) -> Columns:
        """Columns of a tensor (N, outputs ..., rest ...): outputs by name, the rest by index."""
        columns: Columns = {}
        for output, suffix in self._outputs(dims):
            part = value[(slice(None), *output)]
            for rest in np.ndindex(*part.shape[1:]):
                label = "_".join([name, *map(str, rest), *([suffix] if suffix else [])])
                columns[label] = _array(part[(slice(None), *rest)])
        return columns


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def write_predictions(columns: "Mapping[str, Any] | DataFrame", path: str) -> None:
    """Write columns to a .csv or .parquet file.

    Raises:
        ValueError: for another ending.
    """
    import pandas as pd

    frame = pd.DataFrame(columns)
    if path.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif path.endswith((".parquet", ".pq")):
        frame.to_parquet(path, index=False)
    else:
        raise ValueError(f"predictions can be written to .csv and .parquet files, got {path!r}.")
