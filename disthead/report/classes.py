"""Checks of sampled rows of classes, two or more."""

import math

import torch
from torch import Tensor

from disthead import diagnostics
from disthead.distributions.independent import class_probs
from disthead.report import verdicts
from disthead.report.conditional import examine_events
from disthead.report.findings import Findings
from disthead.report.line import BAND, CORP_ROWS
from disthead.report.rows import Rows
from disthead.report.verdict import Score, not_examined
from disthead.texts import distinct

__all__ = ["examine_classes"]

_CLASSES = 10  # the most frequent ones are looked at one by one
_MANY = 1000  # of more there is no confusion matrix, whose size is their square, and only the frequent ones are looked at by group


def examine_classes(found: Findings, rows: Rows, generator: torch.Generator) -> None:
    """Reliability, of each class too, confidence, what the majority and chance would do, groups and features."""
    probs, y = class_probs(rows.dist, torch.float64), rows.y.long()
    is_binary = found.kind == "binary"
    names = [found.classes[k] if k < len(found.classes) else str(k) for k in range(probs.shape[-1])]
    share = torch.zeros_like(probs[0]).index_add(0, y, rows.w.double()) / rows.w.sum()
    frequent = share.argsort(descending=True, stable=True)[:_CLASSES].tolist()
    _reliability(found, rows, probs, names, generator)
    if not is_binary:
        found.examine(("reliability of each class",), _each_class, rows, probs, names, frequent, generator)
    _confidence(found, rows, probs.max(-1).values, y == probs.argmax(-1), "The most probable class")
    _majority(found, rows, probs, names, int(share.argmax()))
    _areas(found, rows, probs, names, [1] if is_binary else frequent)
    classes = torch.arange(len(names), device=y.device)
    if len(names) <= _MANY:
        found.numbers["confusion"] = diagnostics.confusion(probs, y, rows.weight)
    else:
        classes = torch.tensor(sorted(frequent), device=y.device)
        found.verdicts.append(
            not_examined(
                "confusion of classes",
                f"{len(names):,} classes are too many for a matrix, which has at most {_MANY:,}; calibration by group and by "
                f"feature is that of the {len(frequent)} most frequent classes",
            )
        )
    if is_binary:  # the other class says the same
        classes, names = classes[1:], [*names[:1], names[1] if found.classes else "a 1"]
    happened = (y.unsqueeze(-1) == classes).double()
    examine_events(found, rows, probs[:, classes], happened, [names[k] for k in classes.tolist()])


def _reliability(found: Findings, rows: Rows, probs: Tensor, names: list[str], generator: torch.Generator) -> None:
    is_binary = found.kind == "binary"
    forecast = probs[:, 1] if is_binary else probs.max(-1).values
    outcome = (rows.y.long() == (1 if is_binary else probs.argmax(-1))).double()
    effect = rows.design_effect(outcome - forecast)
    numbers = found.numbers["reliability"] = diagnostics.reliability(
        forecast.clamp(0, 1),
        outcome,
        resamples=199,
        confidence=BAND,
        generator=generator,
        weight=rows.weight,
        design_effect=effect,
    )
    what = "the probability of the predicted class"
    if is_binary:
        what = f"the probability of {names[1] if found.classes else 'a 1'}"
    found.verdicts.append(verdicts.probabilities(numbers, what))


def _each_class(
    found: Findings, rows: Rows, probs: Tensor, names: list[str], frequent: list[int], generator: torch.Generator
) -> None:
    index = torch.randperm(len(probs), generator=generator)[:CORP_ROWS]
    some, probs = rows.take(index), probs[index]
    others = probs.shape[-1] - len(frequent)
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
    found.sampled["classes"] = len(some.y)
    found.numbers["classes"] = dict(zip(labels, parts, strict=True))
    found.verdicts.append(verdicts.classes(found.numbers["classes"], p_value, others))


def _confidence(found: Findings, rows: Rows, claimed: Tensor, hit: Tensor, what: str) -> None:
    hit = hit.double()
    whole = diagnostics.event_frequency("", "", claimed, hit, rows.weight, rows.design_effect(hit - claimed))
    found.verdicts.append(
        verdicts.confidence(whole.predicted, whole.observed, math.sqrt(whole.variance), what, whole.largest)
    )


def _majority(found: Findings, rows: Rows, probs: Tensor, names: list[str], majority: int) -> None:
    hit, of_majority = (rows.y == probs.argmax(-1)).double(), (rows.y == majority).double()
    difference = _mean(rows, hit - of_majority)
    found.scores[f"Accuracy of always naming {names[majority]}"] = _mean(rows, of_majority)
    found.verdicts.append(verdicts.majority(rows.mean(hit), rows.mean(of_majority), difference, names[majority]))


def _areas(found: Findings, rows: Rows, probs: Tensor, names: list[str], which: list[int]) -> None:
    for k in which:
        happened = (rows.y == k).double()
        area = diagnostics.discrimination(probs[:, k], happened, rows.weight)
        effect = rows.design_effect(happened - probs[:, k])
        label = "AUC" if len(names) == 2 else f"AUC of {names[k]} against the rest"
        if math.isfinite(area.auc):
            found.scores[label] = Score(area.auc, area.standard_error * effect**0.5)
        else:
            found.unanswered[label] = f"all rows or none are of {names[k]}"


def _mean(rows: Rows, values: Tensor) -> Score:
    """A weighted mean with its standard error."""
    mean, w = rows.mean(values), rows.w
    count, rest = len(values), values.double() - rows.mean(values)
    error = float((w * rest).square().sum().sqrt() / w.sum()) * math.sqrt(count / max(count - 1, 1))
    return Score(mean, error * rows.design_effect(rest) ** 0.5)
