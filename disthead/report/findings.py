"""The findings about one output: scores, verdicts, and the numbers that pictures show."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from disthead.distributions.base import CLASSES, Distribution
from disthead.report.numbers import Numbers
from disthead.report.rows import Rows
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["CENSORED", "EVENTS", "LINE", "ORDERED", "Check", "Findings", "families_of"]

ORDERED = ("continuous", "count", "mixed")  # numbers on a line
LINE = (*ORDERED, "direction")  # kinds with a PIT
CENSORED = "censored"  # the kind of targets that are pairs, of which some are no numbers
EVENTS = (*CLASSES, "ranking")  # kinds whose events have probabilities


def families_of(dist: Distribution) -> frozenset[str]:
    """Names of the families of a distribution, with those of its base and its components.

    >>> from disthead import get_family
    >>> dist = get_family("student_t").distribution(df=3.0, loc=0.0, scale=1.0)
    >>> sorted(families_of(dist) & {"student_t", "mixture"})
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
        names.add("ensemble")  # equal weights in every row
    return frozenset(names)


@dataclass
class Findings:
    """The scores, verdicts and numbers of one output.

    Attributes:
        name: of the output; "" for whole vectors, and where there is one output.
        kind: of its target, `Distribution.kind`; `CENSORED` for pairs (lower, upper).
        unit: of the target.
        level: the probability of the intervals that verdicts are about.
        classes: names of the classes.
        outputs: names of the coordinates of a vector.
        families: names of the families of the forecasts.
        scores: means with their standard errors, by name.
        verdicts: one for every check, whether it was made or not.
        numbers: the numbers that pictures show.
        unanswered: by method, the reason why the distribution does not have it.
        rows: the number of rows.
        counted: by field of `numbers`, the number of rows that it is from.
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
        """Whether forecasts are too wide, so that heavier tails would be no remedy."""
        uniformity = self.numbers.uniformity
        return uniformity is not None and uniformity.dispersion < 0.95

    @property
    def is_ensemble(self) -> bool:
        """Whether forecasts are mixtures of equal weights."""
        return "ensemble" in self.families

    @property
    def has_one_spread(self) -> bool:
        """Whether the intervals of all rows are equally wide."""
        if self.numbers.sharpness is None:
            return False
        width = self.numbers.sharpness.width
        return float(width.max() - width.min()) <= 1e-6 * float(width.max())

    def show(self, count: int, **numbers: Any) -> None:
        """Sets fields of `numbers`, which are from `count` rows."""
        self.numbers = replace(self.numbers, **numbers)
        self.counted |= dict.fromkeys(numbers, count)

    def examine(self, aspects: Sequence[str], check: Callable[..., None], *arguments: Any) -> None:
        """Calls `check(self, *arguments)`, which gives verdicts on these aspects.

        If the distribution lacks a method, the aspects are not examined, for this reason.
        """
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
        aspects: the aspects of its verdicts; `{quantile:g}` stands for the upper end of the
            intervals in percent.
        examine: the function that adds verdicts, scores and numbers of sampled rows to the
            findings, with random numbers from the generator.
        kinds: the kinds of target that it is for.
    """

    aspects: tuple[str, ...]
    examine: Callable[[Findings, Rows, torch.Generator], None]
    kinds: tuple[str, ...]

    def __call__(self, findings: Findings, rows: Rows, generator: torch.Generator) -> None:
        """Makes the check."""
        aspects = [aspect.format(quantile=50 + 50 * findings.level) for aspect in self.aspects]
        findings.examine(aspects, self.examine, rows, generator)
