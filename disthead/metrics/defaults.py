"""`default_metrics`: the metrics that make sense for a family, as single numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from disthead.distributions.base import Kind
from disthead.families.family import Family, get_family
from disthead.metrics.calibration_error import CalibrationError
from disthead.metrics.probability_integral import Coverage
from disthead.metrics.scores import (
    CRPS,
    Accuracy,
    BrierScore,
    EnergyScore,
    KendallTau,
    MeanAbsoluteError,
    NegativeLogLikelihood,
    RankedProbabilityScore,
    RootMeanSquaredError,
    Sharpness,
    TopKHitRate,
)
from disthead.metrics.spread_skill import SpreadSkill
from disthead.metrics.state import OfRows
from disthead.metrics.survival import Concordance

__all__ = ["default_metrics"]

_POINT = "·"  # stands for the decimal point in names of modules, which must not have one


def default_metrics(
    family: "str | Family", num_outputs: int | None = None, **options: Any
) -> MetricCollection:
    """The metrics of scores, sharpness and calibration that make sense for a family.

    They are one collection with `update(dist, y)`. Each of them is a single number, so that
    `compute()` gives a flat dictionary, and a LightningModule logs the collection as it is:
    `self.log_dict(metrics)`. `coverage_0.9` is the share of targets in the central 90 % interval,
    `pit_ks` the Kolmogorov-Smirnov distance of the PIT from the uniform distribution, `pit_mean`
    and `pit_dispersion` are 1/2 and 1 if calibrated (see `Uniformity`), `spread_skill` is the
    predicted standard deviation over the root mean squared error, 1 if calibrated.

    Those of the family censored take censored targets: `concordance` is Harrell's C, and coverage
    and PIT hold a censored target's probability between its ends. Brier score and CRPS need the
    distribution of the censoring (`CensoredBrierScore`, `CensoredCRPS`).

    Args:
        family: a name or a `Family`.
        num_outputs: the number of independent outputs, if there are several. Each has its own
            numbers, `crps_0`, `crps_1` ...; a log score, an energy score and a joint PIT are of all
            outputs.
        options: of the family, such as `num_classes`.

    Raises:
        ValueError: for an unknown family, and for options that it does not take.

    >>> sorted(default_metrics("bernoulli"))
    ['accuracy', 'brier', 'calibration_error', 'nll']
    >>> sorted(default_metrics("normal"))[:4]
    ['coverage_0.5', 'coverage_0.8', 'coverage_0.9', 'coverage_0.95']
    """
    declared = (
        get_family(family, **options)
        if not isinstance(family, str) or options
        else _example(family)
    )
    if declared.kind == "vector" and num_outputs is None:
        num_outputs = declared.event_shape[0]
    proposed = {"nll": NegativeLogLikelihood()} | _METRICS[declared.kind](num_outputs)
    if declared.is_censored:
        proposed = {name: one for name, one in proposed.items() if _takes_censored(one)}
        if num_outputs is None:
            proposed["concordance"] = Concordance()
    metrics = {
        name: metric for name, metric in proposed.items() if _answers(declared, metric, num_outputs)
    }
    numbers: dict[str, Metric | MetricCollection] = {}
    for name, metric in metrics.items():
        if isinstance(metric, _Calibration):
            for key in metric.names:
                numbers[key] = _Number(metric, key)
        elif getattr(metric, "num_outputs", None):
            for output in range(num_outputs or 0):
                numbers[f"{name}_{output}"] = _Number(metric, output)
        else:
            numbers[name] = metric
    # torchmetrics would merge metrics whose sums of a first batch happen to be equal.
    named = {name.replace(".", _POINT): metric for name, metric in numbers.items()}
    return _Numbers(named, compute_groups=False)


def _takes_censored(metric: Metric) -> bool:
    return isinstance(metric, OfRows) and metric.takes_censored


def _of_classes(num_outputs: int | None) -> dict[str, Metric]:
    return {
        "brier": BrierScore(num_outputs),
        "accuracy": Accuracy(num_outputs),
        "calibration_error": CalibrationError(),
    }


def _of_ordered_classes(num_outputs: int | None) -> dict[str, Metric]:
    return _of_classes(num_outputs) | {
        "rps": RankedProbabilityScore(num_outputs),
        "mae": MeanAbsoluteError("median", num_outputs),
    }


def _of_rankings(num_outputs: int | None) -> dict[str, Metric]:
    return {"kendall_tau": KendallTau(), "top_1": TopKHitRate(1), "top_3": TopKHitRate(3)}


def _of_numbers(num_outputs: int | None) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {
        "crps": CRPS(num_outputs),
        "mae": MeanAbsoluteError("median", num_outputs),
        "rmse": RootMeanSquaredError("mean", num_outputs),
        "sharpness_0.9": Sharpness(0.9, num_outputs=num_outputs),
        "calibration": _Calibration(num_outputs=num_outputs),
        "spread_skill": _SpreadSkillRatio(),
    }
    if num_outputs is not None:
        metrics |= {"energy_score": EnergyScore(), "joint_calibration": _Calibration(joint=True)}
    return metrics


# Those that make sense beside the log score, for each kind of target.
_METRICS: dict[Kind, Callable[[int | None], dict[str, Metric]]] = {
    "continuous": _of_numbers,
    "count": _of_numbers,
    "direction": _of_numbers,
    "mixed": _of_numbers,
    "vector": _of_numbers,
    "binary": _of_classes,
    "classes": _of_classes,
    "ordinal": _of_ordered_classes,
    "ranking": _of_rankings,
    "sequence": lambda num_outputs: {},
}


def _answers(family: Family, metric: Metric, num_outputs: int | None) -> bool:
    """Whether the metric is defined for distributions of the family, found by a trial."""
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


class _Numbers(MetricCollection):
    """A collection of single numbers, whose names may have a decimal point."""

    def _set_name(self, base: str) -> str:
        return super()._set_name(base.replace(_POINT, "."))

    def __getitem__(self, key: str, copy_state: bool = True) -> Metric:
        return self._modules[{self._set_name(base): base for base in self._modules}.get(key, key)]


class _Calibration(Coverage):
    """Coverage of several levels and the uniformity of the PIT, by name and for each output."""

    def __init__(self, levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95), **options: Any):
        super().__init__(levels, **options)
        kinds = [f"coverage_{level:g}" for level in self.levels] + [
            "pit_ks",
            "pit_mean",
            "pit_dispersion",
        ]
        outputs = (
            [""]
            if self.num_outputs is None
            else [f"_{output}" for output in range(self.num_outputs)]
        )
        self.names = [
            ("joint_" if self.joint else "") + kind + output for output in outputs for kind in kinds
        ]

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        coverage = super().compute().reshape(-1, len(self.levels))
        uniformities = self._uniformities()
        shape = coverage.new_tensor(
            [[one.ks_statistic, one.mean, one.dispersion] for one in uniformities]
        )
        return dict(zip(self.names, torch.cat([coverage, shape], -1).flatten(), strict=True))


class _SpreadSkillRatio(SpreadSkill):
    """The ratio of spread and error over all rows."""

    def compute(self) -> Tensor:  # type: ignore[override]
        return self._ratio()


class _Number(Metric):
    """One of the numbers of a metric as a metric of its own, since loggers take single numbers.

    It keeps no states. All numbers of a metric are updated with the same rows: the first one that
    is updated passes them to the metric.

    Args:
        metric: a metric of several numbers, a tensor or a dictionary.
        key: the index or the name of the number.
    """

    full_state_update = False

    _forward_cache: Any
    _computed: Any

    def __init__(self, metric: Metric, key: Any):
        super().__init__()
        self.metric, self.key = metric, key

    @property
    def _is_first(self) -> bool:
        return self._update_count > self.metric._update_count

    def update(self, *arguments: Any, **options: Any) -> None:
        if self._is_first:
            self.metric.update(*arguments, **options)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        self._computed, self._update_count = None, self._update_count + 1
        if self._is_first:
            self.metric(*arguments, **options)
        self._forward_cache = self._of(self.metric._forward_cache)
        return self._forward_cache

    def compute(self) -> Tensor:
        return self._of(self.metric.compute())

    def reset(self) -> None:
        super().reset()
        self.metric.reset()

    def _of(self, value: Any) -> Any:
        return (value.reshape(-1) if isinstance(value, Tensor) else value)[self.key]

    def _filter_kwargs(self, **options: Any) -> dict[str, Any]:
        return self.metric._filter_kwargs(**options)
