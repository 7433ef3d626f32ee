"""Checks of sampled rows of several outputs together; each by itself is examined as what it is."""

import torch

from disthead import diagnostics
from disthead.diagnostics.dependence import normal_residuals
from disthead.report import verdicts
from disthead.report.chance import BAND
from disthead.report.conditional import examine_intervals
from disthead.report.findings import Check, Findings
from disthead.report.pit import PIT
from disthead.report.rows import CORP_ROWS, Rows
from disthead.report.verdict import not_examined

__all__ = ["CHECKS"]


def _dependence(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    if rows.dist.event_shape.numel() == 1:
        found.verdicts.append(
            not_examined("dependence between outputs", "there is only one output")
        )
        return
    observed = diagnostics.error_correlation(rows.dist, rows.y, generator, rows.weight)
    predicted = diagnostics.predicted_correlation(rows.dist, generator, rows.weight)
    effect = 1.0
    if rows.cluster is not None:
        residual = normal_residuals(rows.dist, rows.y, generator)
        first, second = torch.triu_indices(residual.shape[1], residual.shape[1], 1)
        effect = rows.design_effect(
            residual[:, first] * residual[:, second] - predicted[first, second]
        )
    found.verdicts.append(
        verdicts.dependence(observed, predicted, rows.count() / effect, found.outputs)
    )


def _joint(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    rows = rows.some(CORP_ROWS, generator)
    pit = PIT(joint=True)
    pit.update(rows.dist, rows.y, rows.weight)
    u, _ = pit.last
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    effect = rows.design_effect((u.unsqueeze(-1) <= levels).double() - levels)
    pit.design_effect = effect
    count = pit.effective_count()
    found.show(len(rows.y), joint=diagnostics.pit_band(pit.compute(), count, BAND))
    found.verdicts.append(verdicts.together(pit.uniformity(), count))
    examine_intervals(found, rows, u, has_bias=False)


_VECTOR = ("vector",)
CHECKS = (
    Check(("dependence between outputs",), _dependence, _VECTOR),
    Check(
        ("all outputs together", "calibration by group", "calibration by feature"), _joint, _VECTOR
    ),
)
