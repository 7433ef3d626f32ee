"""Checks of sampled rows of classes, two or more."""

import math

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.distributions.base import CLASSES
from disthead.report import verdicts
from disthead.report.chance import BAND
from disthead.report.conditional import examine_events
from disthead.report.findings import Check, Findings
from disthead.report.rows import CORP_ROWS, Rows
from disthead.report.verdict import Score, not_examined
from disthead.texts import distinct

__all__ = ["CHECKS", "confidence"]

_EXAMINED_CLASSES = 10  # the number of most frequent classes that are examined one by one
# With more classes there is no confusion matrix, and only the frequent ones are examined by group.
_MOST_CLASSES = 1000


def _reliability(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    probs, is_binary = rows.probs, findings.kind == "binary"
    forecast = probs[:, 1] if is_binary else probs.max(-1).values
    outcome = (rows.y.long() == (1 if is_binary else probs.argmax(-1))).double()
    numbers = diagnostics.reliability(
        forecast.clamp(0, 1),
        outcome,
        resamples=199,
        confidence=BAND,
        generator=generator,
        weight=rows.weight,
        design_effect=rows.design_effect(outcome - forecast),
    )
    findings.show(len(rows.y), reliability=numbers)
    what = "the probability of the predicted class"
    if is_binary:
        what = f"the probability of {findings.classes[1] if findings.classes else 'a 1'}"
    findings.verdicts.append(verdicts.probabilities(numbers, what))


def _each_class(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    index = torch.randperm(len(rows.y), generator=generator)[:CORP_ROWS]
    some, probs = rows.take(index), rows.probs[index]
    names, frequent = _names(findings, rows), _frequent(rows)
    others = len(names) - len(frequent)
    kept = probs[:, frequent]
    if others:  # the rest as one class, so that probabilities sum to one
        kept = torch.cat([kept, (1 - kept.sum(-1, keepdim=True)).clamp(min=0)], -1)
    place = torch.full((len(names),), len(frequent), dtype=torch.long)
    place[frequent] = torch.arange(len(frequent))
    y = place[some.y.long()]
    effect = some.design_effect(torch.nn.functional.one_hot(y, kept.shape[-1]) - kept)
    parts, p_value = diagnostics.class_reliability(
        kept, y, generator=generator, weight=some.weight, design_effect=effect, confidence=BAND
    )
    labels = distinct([*(names[k] for k in frequent), *["all others"] * bool(others)])
    numbers = dict(zip(labels, parts, strict=True))
    findings.show(len(some.y), classes=numbers)
    findings.verdicts.append(verdicts.classes(numbers, p_value, others))


def _confidence(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    is_right = rows.y == rows.probs.argmax(-1)
    confidence(findings, rows, rows.probs.max(-1).values, is_right, "The most probable class")


def confidence(
    findings: Findings, rows: Rows, claimed: Tensor, is_right: Tensor, what: str
) -> None:
    """Adds the verdict on whether predictions are right as often as their probabilities say.

    Args:
        findings: to which the verdict is added.
        rows: the sampled rows.
        claimed: the probability of the prediction in each row, shape (N,).
        is_right: whether it is the target, shape (N,).
        what: the prediction in words, such as "The most probable class".
    """
    hit = is_right.double()
    whole = diagnostics.event_frequency(
        "", "", claimed, hit, rows.weight, rows.design_effect(hit - claimed)
    )
    findings.verdicts.append(
        verdicts.confidence(
            whole.predicted, whole.observed, math.sqrt(whole.variance), what, whole.largest
        )
    )


def _majority(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    majority = _frequent(rows)[0]
    name = _names(findings, rows)[majority]
    hit, of_majority = (rows.y == rows.probs.argmax(-1)).double(), (rows.y == majority).double()
    difference = _mean(rows, hit - of_majority)
    findings.scores[f"Accuracy of always naming {name}"] = _mean(rows, of_majority)
    findings.verdicts.append(
        verdicts.majority(rows.mean(hit), rows.mean(of_majority), difference, name)
    )


def _areas(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    names = _names(findings, rows)
    for k in [1] if findings.kind == "binary" else _frequent(rows):
        happened = (rows.y == k).double()
        area = diagnostics.discrimination(rows.probs[:, k], happened, rows.weight)
        effect = rows.design_effect(happened - rows.probs[:, k])
        label = "AUC" if len(names) == 2 else f"AUC of {names[k]} against the rest"
        if math.isfinite(area.auc):
            findings.scores[label] = Score(area.auc, area.standard_error * effect**0.5)
        else:
            findings.unanswered[label] = f"all rows or none are of {names[k]}"


def _confusion(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    count = rows.probs.shape[-1]
    if count <= _MOST_CLASSES:
        findings.show(
            len(rows.y), confusion=diagnostics.confusion(rows.probs, rows.y.long(), rows.weight)
        )
        return
    reason = (
        f"{count:,} classes are too many for a matrix, which has at most {_MOST_CLASSES:,}; "
        f"calibration by group and by feature is that of the {len(_frequent(rows))} most frequent "
        "classes"
    )
    findings.verdicts.append(not_examined("confusion of classes", reason))


def _conditional(findings: Findings, rows: Rows, generator: torch.Generator) -> None:
    names, y = _names(findings, rows), rows.y.long()
    which = range(len(names)) if len(names) <= _MOST_CLASSES else sorted(_frequent(rows))
    if findings.kind == "binary":  # the other class has the same information
        which, names = [1], [names[0], names[1] if findings.classes else "a 1"]
    classes = torch.tensor(which, device=y.device)
    happened = (y.unsqueeze(-1) == classes).double()
    examine_events(findings, rows, rows.probs[:, classes], happened, [names[k] for k in which])


def _names(findings: Findings, rows: Rows) -> list[str]:
    count = rows.probs.shape[-1]
    return [findings.classes[k] if k < len(findings.classes) else str(k) for k in range(count)]


def _frequent(rows: Rows) -> list[int]:
    """The classes that are examined one by one, the most frequent first."""
    share = torch.zeros_like(rows.probs[0]).index_add(0, rows.y.long(), rows.w)
    return share.argsort(descending=True, stable=True)[:_EXAMINED_CLASSES].tolist()


def _mean(rows: Rows, values: Tensor) -> Score:
    """A weighted mean with its standard error."""
    mean, w = rows.mean(values), rows.w
    count, rest = len(values), values.double() - rows.mean(values)
    error = float((w * rest).square().sum().sqrt() / w.sum()) * math.sqrt(count / max(count - 1, 1))
    return Score(mean, error * rows.design_effect(rest) ** 0.5)


CHECKS = (
    Check(("reliability of the predicted class",), _reliability, CLASSES),
    Check(("reliability of each class",), _each_class, ("classes", "ordinal")),
    Check(("confidence",), _confidence, CLASSES),
    Check(("against the majority",), _majority, CLASSES),
    Check((), _areas, CLASSES),
    Check(("confusion of classes",), _confusion, CLASSES),
    Check(("calibration by group", "calibration by feature"), _conditional, CLASSES),
)
