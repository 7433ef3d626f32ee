"""The table of all checks of sampled rows, each with the kinds of target that it is for."""

import torch

from disthead.report import classes, line, rankings, vectors
from disthead.report.findings import Findings
from disthead.report.rows import Rows

__all__ = ["CHECKS", "examine"]

CHECKS = (*line.CHECKS, *classes.CHECKS, *rankings.CHECKS, *vectors.CHECKS)


def examine(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    """Make the checks of this kind of target, and add what they found."""
    for check in CHECKS:
        if found.kind in check.kinds:
            check(found, rows, generator)
