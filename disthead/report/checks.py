"""The table of all checks of sampled rows, each with its kinds of target."""

import torch

from disthead.report import classes, lifetimes, line, rankings, vectors
from disthead.report.findings import Findings
from disthead.report.rows import Rows

__all__ = ["CHECKS", "examine"]

CHECKS = (*line.CHECKS, *lifetimes.CHECKS, *classes.CHECKS, *rankings.CHECKS, *vectors.CHECKS)


def examine(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    """Makes the checks for this kind of target, which add verdicts, scores and numbers."""
    for check in CHECKS:
        if findings.kind in check.kinds:
            check(findings, rows, generator)
