"""`default_metrics`: what makes sense for a family."""

from typing import Any

import torch
from torchmetrics import Metric, MetricCollection

from disthead.families.family import Family, get_family
from disthead.metrics.calibration_error import CalibrationError
from disthead.metrics.probability_integral import Coverage, PITHistogram
from disthead.metrics.scores import (
    CRPS,
    Accuracy,
    BrierScore,
    EnergyScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    RootMeanSquaredError,
    Sharpness,
    TopKHitRate,
)
from disthead.metrics.spread_skill import SpreadSkill

__all__ = ["default_metrics"]


def default_metrics(family: "str | Family", num_outputs: int | None = None, **options: Any) -> MetricCollection:
    """The metrics that answer "is it sharp, and is it honest?" for a family, as one collection `update(dist, y)`.

    Args:
        family: a name or a `Family`.
        num_outputs: of several independent outputs, how many: each has its own numbers, and all of them together a log score,
            an energy score and a joint PIT.
        options: of the family, such as `num_classes`.

    >>> sorted(default_metrics("bernoulli"))
    ['accuracy', 'brier', 'calibration_error', 'nll']
    """
    made = get_family(family, **options) if not isinstance(family, str) or options else _example(family)
    metrics: dict[str, Metric | MetricCollection] = {"nll": NegativeLogLikelihood()}
    kind = made.name
    if kind == "plackett_luce":
        metrics |= {"kendall_tau": KendallTau(), "top_1": TopKHitRate(1), "top_3": TopKHitRate(3)}
    elif kind in ("bernoulli", "categorical"):
        metrics |= {"brier": BrierScore(num_outputs), "accuracy": Accuracy(num_outputs)}
        metrics |= {"calibration_error": CalibrationError()}
    else:
        if made.event_dim and num_outputs is None and made.event_shape:
            num_outputs = made.event_shape[0]
        metrics |= {
            "crps": CRPS(num_outputs),
            "mae": MeanAbsoluteError("median", num_outputs),
            "rmse": RootMeanSquaredError("mean", num_outputs),
            "sharpness_90": Sharpness(0.9, num_outputs=num_outputs),
            "coverage": Coverage([k / 20 for k in range(1, 20)], num_outputs=num_outputs),
            "pit": PITHistogram(num_outputs=num_outputs),
            "spread_skill": SpreadSkill(),
        }
        if num_outputs is not None:
            metrics |= {"energy_score": EnergyScore(), "joint_pit": PITHistogram(joint=True)}
    metrics = {name: metric for name, metric in metrics.items() if _answers(made, metric, num_outputs)}
    # Coverage and PIT share their state. Others must not: equal sums of a first batch are a coincidence.
    shared = [name for name in metrics if name in ("coverage", "pit")]
    groups = [[name] for name in metrics if name not in shared] + ([shared] if shared else [])
    return MetricCollection(metrics, compute_groups=groups)


def _answers(family: Family, metric: Any, num_outputs: int | None) -> bool:
    """Whether distributions of the family answer what the metric asks, by asking."""
    outputs = (num_outputs,) if num_outputs and not family.event_dim else ()
    dist = family.from_raw(torch.zeros(2, *outputs, family.width())).to_event(len(outputs))
    try:
        with torch.random.fork_rng([]):
            metric.clone().update(dist, dist.sample())
    except NotImplementedError:
        return False
    return True


def _example(name: str) -> Family:
    from disthead.explanation import example

    return example(name)
