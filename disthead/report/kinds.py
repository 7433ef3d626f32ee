"""Which checks of sampled rows belong to which kind of target."""

from collections.abc import Sequence

import torch

from disthead.report.classes import examine_classes
from disthead.report.findings import Findings
from disthead.report.line import examine_line
from disthead.report.rankings import examine_rankings
from disthead.report.rows import Rows
from disthead.report.vectors import examine_vectors

__all__ = ["examine"]


def examine(found: Findings, rows: Rows, generator: torch.Generator, outputs: Sequence[str]) -> None:
    """Make all checks that need rows, and add what they found."""
    if found.kind in ("classes", "binary"):
        examine_classes(found, rows, generator)
    elif found.kind == "ranking":
        examine_rankings(found, rows, generator)
    elif found.kind == "vector":
        examine_vectors(found, rows, generator, outputs)
    else:
        examine_line(found, rows, generator)
