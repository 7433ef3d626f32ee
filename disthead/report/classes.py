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

_CLASSES = 10  # the most frequent ones are looked at one by one
# of more there is no confusion matrix, whose size is their square, and only the frequent ones are
# looked at by group
_MANY = 1000


def _reliability(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    probs, is_binary = rows.probs, found.kind == "binary"
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
    found.show(len(rows.y), reliability=numbers)
    what = "the probability of the predicted class"
    if is_binary:
        what = f"the probability of {found.classes[1] if found.classes else 'a 1'}"
    found.verdicts.append(verdicts.probabilities(numbers, what))


def _each_class(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    index = torch.randperm(len(rows.y), generator=generator)[:CORP_ROWS]
    some, probs = rows.take(index), rows.probs[index]
    names, frequent = _names(found, rows), _frequent(rows)
    others = len(names) - len(frequent)
    kept = probs[:, frequent]
    if others:  # the rest together, so that draws are of one of them
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
    found.show(len(some.y), classes=numbers)
    found.verdicts.append(verdicts.classes(numbers, p_value, others))


def _sure(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    right = rows.y == rows.probs.argmax(-1)
    confidence(found, rows, rows.probs.max(-1).values, right, "The most probable class")


def confidence(found: Findings, rows: Rows, claimed: Tensor, right: Tensor, what: str) -> None:
    """Whether the most probable answer is right as often as was claimed."""
    hit = right.double()
    whole = diagnostics.event_frequency(
        "", "", claimed, hit, rows.weight, rows.design_effect(hit - claimed)
    )
    found.verdicts.append(
        verdicts.confidence(
            whole.predicted, whole.observed, math.sqrt(whole.variance), what, whole.largest
        )
    )


def _majority(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    majority = _frequent(rows)[0]
    name = _names(found, rows)[majority]
    hit, of_majority = (rows.y == rows.probs.argmax(-1)).double(), (rows.y == majority).double()
    difference = _mean(rows, hit - of_majority)
    found.scores[f"Accuracy of always naming {name}"] = _mean(rows, of_majority)
    found.verdicts.append(
        verdicts.majority(rows.mean(hit), rows.mean(of_majority), difference, name)
    )


def _areas(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    names = _names(found, rows)
    for k in [1] if found.kind == "binary" else _frequent(rows):
        happened = (rows.y == k).double()
        area = diagnostics.discrimination(rows.probs[:, k], happened, rows.weight)
        effect = rows.design_effect(happened - rows.probs[:, k])
        label = "AUC" if len(names) == 2 else f"AUC of {names[k]} against the rest"
        if math.isfinite(area.auc):
            found.scores[label] = Score(area.auc, area.standard_error * effect**0.5)
        else:
            found.unanswered[label] = f"all rows or none are of {names[k]}"


def _confusion(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    count = rows.probs.shape[-1]
    if count <= _MANY:
        found.show(
            len(rows.y), confusion=diagnostics.confusion(rows.probs, rows.y.long(), rows.weight)
        )
        return
    reason = (
        f"{count:,} classes are too many for a matrix, which has at most {_MANY:,}; calibration "
        "by group and by "
        f"feature is that of the {len(_frequent(rows))} most frequent classes"
    )
    found.verdicts.append(not_examined("confusion of classes", reason))


def _conditional(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    names, y = _names(found, rows), rows.y.long()
    which = range(len(names)) if len(names) <= _MANY else sorted(_frequent(rows))
    if found.kind == "binary":  # the other class says the same
        which, names = [1], [names[0], names[1] if found.classes else "a 1"]
    classes = torch.tensor(which, device=y.device)
    happened = (y.unsqueeze(-1) == classes).double()
    examine_events(found, rows, rows.probs[:, classes], happened, [names[k] for k in which])


def _names(found: Findings, rows: Rows) -> list[str]:
    count = rows.probs.shape[-1]
    return [found.classes[k] if k < len(found.classes) else str(k) for k in range(count)]


def _frequent(rows: Rows) -> list[int]:
    """The classes that are looked at one by one, the most frequent first."""
    share = torch.zeros_like(rows.probs[0]).index_add(0, rows.y.long(), rows.w)
    return share.argsort(descending=True, stable=True)[:_CLASSES].tolist()


def _mean(rows: Rows, values: Tensor) -> Score:
    """A weighted mean with its standard error."""
    mean, w = rows.mean(values), rows.w
    count, rest = len(values), values.double() - rows.mean(values)
    error = float((w * rest).square().sum().sqrt() / w.sum()) * math.sqrt(count / max(count - 1, 1))
    return Score(mean, error * rows.design_effect(rest) ** 0.5)


CHECKS = (
    Check(("reliability of the predicted class",), _reliability, CLASSES),
    Check(("reliability of each class",), _each_class, ("classes", "ordinal")),
    Check(("confidence",), _sure, CLASSES),
    Check(("against the majority",), _majority, CLASSES),
    Check((), _areas, CLASSES),
    Check(("confusion of classes",), _confusion, CLASSES),
    Check(("calibration by group", "calibration by feature"), _conditional, CLASSES),
)
