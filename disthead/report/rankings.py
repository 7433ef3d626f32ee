"""Checks of sampled rows of rankings."""

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.distributions.scores import draw
from disthead.report import verdicts
from disthead.report.chance import BAND
from disthead.report.classes import confidence
from disthead.report.conditional import examine_events
from disthead.report.findings import Check, Findings
from disthead.report.rows import CORP_ROWS, Rows

__all__ = ["CHECKS"]

_DRAWS = 64  # random rankings of each row, for the expected log score


def _first_place(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    items = rows.dist.event_shape[0]
    some = rows.some(max(1, CORP_ROWS // items), generator)
    top, happened = some.dist.top1.double(), _first(some.y, items)
    drawn = draw(some.dist, 199, generator)[..., 0]
    effect = some.design_effect(happened - top)
    numbers = diagnostics.reliability(
        top.reshape(-1).clamp(0, 1),
        happened.reshape(-1),
        simulated=(drawn.unsqueeze(-1) == torch.arange(items)).double().flatten(1),
        confidence=BAND,
        weight=None if some.weight is None else some.weight.repeat_interleave(items),
        design_effect=effect,
    )
    findings.show(len(some.y), reliability=numbers)
    findings.verdicts.append(verdicts.probabilities(numbers, "the probability to come first"))
    top = rows.dist.top1.double()
    confidence(
        findings, rows, top.max(-1).values, rows.y[..., 0] == top.argmax(-1), "The favourite"
    )


def _surprise(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    some = rows.some(CORP_ROWS, generator)
    expected, square = torch.zeros(2, len(some.y), dtype=torch.float64)
    for ranking in draw(some.dist, _DRAWS, generator):
        # with as many ranks as the row's own ranking
        nll = -some.dist.log_prob(
            torch.where(some.y < 0, -1, ranking[..., : some.y.shape[-1]])
        ).double()
        expected, square = expected + nll / _DRAWS, square + nll.square() / _DRAWS
    variance = (square - expected.square()).clamp(min=0) * (1 + 1 / _DRAWS)
    own = -some.dist.log_prob(some.y).double()
    effect = some.design_effect(torch.where(own.isfinite(), own - expected, 0.0))
    error = float((some.w.square() * variance).sum().sqrt() / some.w.sum()) * effect**0.5
    findings.verdicts.append(
        verdicts.surprise(some.mean(own), some.mean(expected), error, some.count() / effect)
    )


def _conditional(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    items = rows.dist.event_shape[0]
    names = [f"item {k} first" for k in range(items)]
    examine_events(findings, rows, rows.dist.top1.double(), _first(rows.y, items), names)


def _first(y: Tensor, items: int) -> Tensor:
    """1 for the best item and 0 for the others, shape (N, items)."""
    return torch.nn.functional.one_hot(y[..., 0].long(), items).double()


_RANKING = ("ranking",)
CHECKS = (
    Check(("reliability of the probability to come first", "confidence"), _first_place, _RANKING),
    Check(("surprise",), _surprise, _RANKING),
    Check(("calibration by group", "calibration by feature"), _conditional, _RANKING),
)
