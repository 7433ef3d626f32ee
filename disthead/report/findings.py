"""What is found out about one output: its kind, its scores, verdicts and the numbers that pictures show."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from disthead.distributions.base import CLASSES, Distribution
from disthead.report.numbers import Numbers
from disthead.report.rows import Rows
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["EVENTS", "LINE", "ORDERED", "Check", "Findings", "families_of"]

ORDERED = ("continuous", "count", "mixed")  # numbers on a line
LINE = (*ORDERED, "direction")  # what has a PIT
EVENTS = (*CLASSES, "ranking")  # what has events with probabilities


def families_of(dist: Distribution) -> frozenset[str]:
    """Names of the families that it is of, with those of what it is made of.

    >>> from disthead import get_family
    >>> sorted(families_of(get_family("student_t").distribution(df=3.0, loc=0.0, scale=1.0)) & {"student_t", "mixture"})
    ['student_t']
    """
    names = set()
    for cls in type(dist).__mro__:
        # DiscreteMixture is of the family mixture
        words = re.findall("[A-Z][a-z0-9]*", cls.__name__)
        names |= {"_".join(words).lower(), words[-1].lower()} if words else set()
    for part in ("base", "components"):
        inner = getattr(dist, part, None)
        if isinstance(inner, Distribution):
            names |= families_of(inner)
    weights = getattr(dist, "logits", None) if "mixture" in names else None
    if weights is not None and bool((weights == weights[..., :1]).all()):
        names.add("ensemble")  # of equal weights in every row
    return frozenset(names)


@dataclass
class Findings:
    """The figures, verdicts and numbers of one output.

    Attributes:
        name: of the output, "" for all of them together and where there is one.
        kind: of its target, `Distribution.kind`.
        unit: of the target.
        level: of the intervals that verdicts are about.
        classes: names of the classes.
        outputs: names of the parts of a vector.
        families: names of the families that the forecasts are of.
        scores: name -> mean with its standard error.
        verdicts: one for every check, whether it was made or not.
        numbers: what the pictures show.
        unanswered: question -> why the distribution has no answer to it.
        rows: the number of rows.
        counted: of how many rows each of the numbers is made.
    """

    name: str
    kind: str
    unit: str
    level: float = 0.9
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    families: frozenset[str] = frozenset()
    scores: dict[str, Score] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    numbers: Numbers = field(default_factory=Numbers)
    unanswered: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def is_too_wide(self) -> bool:
        """Whether too many outcomes are near the middle of their forecasts: heavier tails would be no remedy."""
        uniformity = self.numbers.uniformity
        return uniformity is not None and uniformity.dispersion < 0.95

    @property
    def is_ensemble(self) -> bool:
        return "ensemble" in self.families

    @property
    def has_one_spread(self) -> bool:
        """Whether the intervals of all rows are equally wide."""
        if self.numbers.sharpness is None:
            return False
        width = self.numbers.sharpness.width
        return float(width.max() - width.min()) <= 1e-6 * float(width.max())

    def show(self, count: int, **numbers: Any) -> None:
        """Add fields of `Numbers` that are made of so many rows."""
        self.numbers = replace(self.numbers, **numbers)
        self.counted |= dict.fromkeys(numbers, count)

    def examine(self, aspects: Sequence[str], check: Callable[..., None], *arguments: Any) -> None:
        """Make a check that gives verdicts on these aspects; where the distribution has no answer, say that and why."""
        before = len(self.verdicts)
        try:
            check(self, *arguments)
        except NotImplementedError as error:
            del self.verdicts[before:]
            for aspect in aspects:
                self.unanswered[aspect] = str(error)
                self.verdicts.append(not_examined(aspect, str(error)))


@dataclass(frozen=True)
class Check:
    """A row of the table of checks that need rows.

    Attributes:
        aspects: what its verdicts are about; `{quantile:g}` stands for the upper end of the
            intervals in percent.
        examine: adds verdicts, scores and numbers to the findings, from the sampled rows; draws
            come from the generator.
        kinds: of targets that it is for.
    """

    aspects: tuple[str, ...]
    examine: Callable[[Findings, Rows, torch.Generator], None]
    kinds: tuple[str, ...]

    def __call__(self, found: Findings, rows: Rows, generator: torch.Generator) -> None:
        aspects = [aspect.format(quantile=50 + 50 * found.level) for aspect in self.aspects]
        found.examine(aspects, self.examine, rows, generator)
