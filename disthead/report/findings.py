"""What is found out about one output: its kind, its scores, verdicts and the numbers that pictures show."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from disthead.distributions.base import Distribution
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["Findings", "families_of", "kind_of"]


def kind_of(dist: Distribution) -> str:
    """What its target is: "ranking", "binary", "classes", "vector", "direction", "count" or "number"."""
    if hasattr(dist, "pairwise"):
        return "ranking"
    if dist.event_shape:
        return "vector"
    if hasattr(dist, "expected_cost"):
        return "classes" if hasattr(dist, "num_classes") else "binary"
    support: Any = dist.support
    if getattr(support, "is_circular", False):
        return "direction"
    return "count" if support.is_discrete else "number"


def families_of(dist: Distribution) -> frozenset[str]:
    """Names of the families that it is of, with those of what it is made of.

    >>> from disthead import get_family
    >>> sorted(families_of(get_family("student_t").distribution(df=3.0, loc=0.0, scale=1.0)) & {"student_t", "mixture"})
    ['student_t']
    """
    names = set()
    for cls in type(dist).__mro__:
        words = re.findall("[A-Z][a-z0-9]*", cls.__name__)  # DiscreteMixture is of the family mixture
        names |= {"_".join(words).lower(), words[-1].lower()} if words else set()
    for part in ("base", "components"):
        inner = getattr(dist, part, None)
        if isinstance(inner, Distribution):
            names |= families_of(inner)
    return frozenset(names)


@dataclass
class Findings:
    """The figures, verdicts and numbers of one output.

    Attributes:
        name: of the output, "" for all of them together and where there is one.
        kind: see `kind_of`.
        unit: of the target.
        level: of the intervals that verdicts are about.
        classes: names of the classes.
        families: names of the families that the forecasts are of.
        scores: name -> mean with its standard error.
        verdicts: one for every check, whether it was made or not.
        numbers: what the pictures show, by the key of the picture (`Verdict.picture`).
        unanswered: question -> why the distribution has no answer to it.
        rows: the number of rows.
        sampled: the number of rows in a picture, by its key, where that is not made of all rows.
    """

    name: str
    kind: str
    unit: str
    level: float = 0.9
    classes: tuple[str, ...] = ()
    families: frozenset[str] = frozenset()
    scores: dict[str, Score] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    sampled: dict[str, int] = field(default_factory=dict)

    @property
    def is_too_wide(self) -> bool:
        """Whether too many outcomes are near the middle of their forecasts: heavier tails would be no remedy."""
        uniformity = self.numbers.get("uniformity")
        return uniformity is not None and uniformity.dispersion < 0.95

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
