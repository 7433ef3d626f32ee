"""Checks of sampled rows of whole vectors; their outputs are also examined one by one."""

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


def _dependence(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    if rows.dist.event_shape.numel() == 1:
        findings.verdicts.append(
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
    findings.verdicts.append(
        verdicts.dependence(observed, predicted, rows.count() / effect, findings.outputs)
    )


def _joint(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    rows = rows.some(CORP_ROWS, generator)
    pit = PIT(joint=True)
    pit.update(rows.dist, rows.y, rows.weight)
    u, _ = pit.last
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    effect = rows.design_effect((u.unsqueeze(-1) <= levels).double() - levels)
    pit.design_effect = effect
    count = pit.effective_count()
    findings.show(len(rows.y), joint=diagnostics.pit_band(pit.compute(), count, BAND))
    findings.verdicts.append(verdicts.joint_density(pit.uniformity(), count))
    examine_intervals(findings, rows, u, has_bias=False)


_VECTOR = ("vector",)
CHECKS = (
    Check(("dependence between outputs",), _dependence, _VECTOR),
    Check(
        ("all outputs together", "calibration by group", "calibration by feature"), _joint, _VECTOR
    ),
)
