"""What is found out about one output: its kind, its scores, verdicts and the numbers that pictures show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from disthead.families.distribution import Distribution
from disthead.report.verdict import Score, Verdict, not_examined

__all__ = ["Findings", "kind_of"]


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


@dataclass
class Findings:
    """The figures, verdicts and numbers of one output.

    Attributes:
        name: of the output, "" for all of them together and where there is one.
        kind: see `kind_of`.
        unit: of the target.
        level: of the intervals that verdicts are about.
        classes: names of the classes.
        scores: name -> mean with its standard error.
        verdicts: one for every check, whether it was made or not.
        numbers: what the pictures show, by the key of the picture (`Verdict.picture`).
        unanswered: question -> why the distribution has no answer to it.
    """

    name: str
    kind: str
    unit: str
    level: float = 0.9
    classes: tuple[str, ...] = ()
    scores: dict[str, Score] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)

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
