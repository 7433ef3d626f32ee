"""`Numbers`: the numbers that the pictures of one output show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from torch import Tensor

from disthead import diagnostics
from disthead.diagnostics.outliers import Outliers
from disthead.distributions.base import Distribution
from disthead.metrics import Uniformity

__all__ = ["FeatureCoverage", "Numbers"]


class FeatureCoverage(NamedTuple):
    """Coverage along one feature.

    Attributes:
        name: of the feature.
        coverage: for each range of its values, (share of targets inside the intervals, number of
            independent rows).
    """

    name: str
    coverage: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Numbers(Mapping[str, Any]):
    """The numbers of one output; a field is None where the output does not have it.

    As a mapping it holds the other fields, by name: `numbers["pit"]`, `"pit" in numbers`.

    Attributes:
        pit: the histogram of the PIT.
        joint: the histogram of the ranks of the joint density of all outputs.
        coverage: of central intervals, by level.
        uniformity: distances of the PIT from a uniform distribution.
        outliers: rows whose target is next to impossible.
        rows: a few forecasts and their targets.
        exceedance: reliability of the probability to exceed `threshold`.
        quantile: reliability of the upper quantile of the intervals.
        reliability: of a probability: of the event, of the predicted class, or of the best item.
        classes: the reliability of each class's probability, by its name.
        groups: for each label, (share of targets inside the intervals, number of independent rows).
        worms: worm plots of the ranges of one feature.
        features: values of the sampled rows, shape (N,), by name.
    """

    pit: diagnostics.PITBand | None = None
    coverage: diagnostics.CoverageCurve | None = None
    uniformity: Uniformity | None = None
    outliers: Outliers | None = None
    rows: tuple[Distribution, Tensor] | None = None
    joint: diagnostics.PITBand | None = None
    exceedance: diagnostics.Reliability | None = None
    threshold: float | None = None
    quantile: diagnostics.Reliability | None = None
    reliability: diagnostics.Reliability | None = None
    classes: dict[str, diagnostics.Reliability] | None = None
    confusion: diagnostics.Confusion | None = None
    rootogram: diagnostics.Rootogram | None = None
    rose: diagnostics.Rose | None = None
    spread_skill: diagnostics.SpreadSkill | None = None
    sharpness: diagnostics.Sharpness | None = None
    sparsification: diagnostics.Sparsification | None = None
    worm: diagnostics.Worm | None = None
    worms: list[diagnostics.Worm] | None = None
    groups: dict[str, tuple[float, float]] | None = None
    feature: FeatureCoverage | None = None
    group_frequencies: list[diagnostics.EventFrequency] | None = None
    feature_frequencies: list[diagnostics.EventFrequency] | None = None
    features: dict[str, Tensor] | None = None

    def __getitem__(self, name: str) -> Any:
        value = vars(self).get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (part.name for part in fields(self) if getattr(self, part.name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
