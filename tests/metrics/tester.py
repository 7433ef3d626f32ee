"""Every metric with rows to feed it, and what it takes to run them in two processes."""

import dataclasses

import torch
from torch import distributed

import disthead as dh
from disthead import metrics as m

ROWS = 60


def dist_of(family: str, rows: int = ROWS, outputs: int | None = None, **options):
    """Distributions of a family with different parameters, and targets that they could have
    produced.
    """
    made = dh.get_family(family, **options)
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(rows, *((outputs,) if outputs else ()), made.width(), generator=generator)
    dist = made.from_raw(raw).to_event(1 if outputs else 0)
    torch.manual_seed(2)
    return dist, dist.sample()


CENSORING = m.KaplanMeier.of_censoring(torch.tensor([[0.3, torch.inf], [2.0, 2.0]]))
# name -> (metric, family, options of the family)
METRICS = {
    "nll": (m.NegativeLogLikelihood, "normal", {}),
    "nll of outputs": (lambda: m.NegativeLogLikelihood(3), "normal", {"outputs": 3}),
    "crps": (m.CRPS, "gamma", {}),
    "crps pooled": (m.CRPS, "normal", {"outputs": 3}),
    "crps of outputs": (lambda: m.CRPS(3), "normal", {"outputs": 3}),
    "brier": (m.BrierScore, "categorical", {"num_classes": 3}),
    "ranked probability": (m.RankedProbabilityScore, "categorical", {"num_classes": 4}),
    "ranked probability of counts": (m.RankedProbabilityScore, "poisson", {}),
    "pinball": (lambda: m.PinballLoss([0.1, 0.5, 0.9]), "laplace", {}),
    "pinball of outputs": (
        lambda: m.PinballLoss([0.1, 0.9], num_outputs=2),
        "normal",
        {"outputs": 2},
    ),
    "interval": (m.IntervalScore, "normal", {}),
    "interval of directions": (m.IntervalScore, "von_mises", {}),
    "sharpness": (m.Sharpness, "student_t", {}),
    "mae": (m.MeanAbsoluteError, "von_mises", {}),
    "rmse": (m.RootMeanSquaredError, "normal", {"outputs": 2}),
    "accuracy": (m.Accuracy, "bernoulli", {}),
    "hits": (lambda: m.TopKHitRate(2), "plackett_luce", {"event_shape": (4,)}),
    "tau": (m.KendallTau, "plackett_luce", {"event_shape": (4,)}),
    "pit": (m.PITHistogram, "normal", {}),
    "pit of counts": (lambda: m.PITHistogram(10), "poisson", {}),
    "pit of outputs": (lambda: m.PITHistogram(num_outputs=2), "normal", {"outputs": 2}),
    "coverage": (m.Coverage, "exponential", {}),
    "coverage pooled": (
        lambda: m.Coverage([0.123, 0.9]),
        "multivariate_normal",
        {"event_shape": (2,)},
    ),
    "calibration error": (m.CalibrationError, "categorical", {"num_classes": 3}),
    "classwise": (
        lambda: m.CalibrationError(
            "classwise", num_classes=3, adaptive=True, norm=2, debiased=True
        ),
        "categorical",
        {"num_classes": 3},
    ),
    "spread-skill": (m.SpreadSkill, "normal", {}),
    "concordance": (m.Concordance, "censored", {}),
    "brier of lifetimes": (lambda: m.CensoredBrierScore([0.5, 1.0], CENSORING), "censored", {}),
    "crps of lifetimes": (lambda: m.CensoredCRPS(1.0, CENSORING), "censored", {}),
    "skill": (lambda: m.Skill(m.CRPS(), marginal("normal")), "normal", {}),
    "weights": (lambda: Weighted(m.CRPS()), "normal", {}),
    "weights of pit": (lambda: Weighted(m.PITHistogram()), "poisson", {}),
    "weights of classes": (lambda: Weighted(m.CalibrationError(norm=2)), "bernoulli", {}),
    "weights of spreads": (lambda: Weighted(m.SpreadSkill(2)), "normal", {}),
    "difference": (lambda: Compared(m.PairedDifference(m.CRPS())), "normal", {}),
    "groups": (lambda: ByRow(m.Grouped(m.CRPS(), groups=[0, 1, 2, "nobody"])), "normal", {}),
    "weights of coverage": (lambda: Weighted(m.Coverage([0.5, 0.9])), "gamma", {}),
    "default numbers": (lambda: m.default_metrics("normal"), "normal", {}),
    "default numbers of outputs": (
        lambda: m.default_metrics("normal", 2)["coverage_0.9_1"],
        "normal",
        {"outputs": 2},
    ),
    "groups of coverage": (
        lambda: ByRow(m.Grouped(m.Coverage([0.5, 0.9]), bins=[0.5])),
        "gamma",
        {},
    ),
}


class Asked:
    """A metric whose update takes more than (dist, y), made from these."""

    def __init__(self, metric):
        self.metric = metric

    def __getattr__(self, name):
        if name.startswith("__") or name == "metric":
            raise AttributeError(name)
        return getattr(self.metric, name)


class Weighted(Asked):
    def update(self, dist, y):
        self.metric.update(dist, y, 1.0 + (y.abs() < 0.7).float())


class Compared(Asked):
    def update(self, dist, y):
        self.metric.update(dist, dist.affine(torch.tensor(0.3), torch.tensor(1.5)), y)


class ByRow(Asked):
    """Groups by the value of y, so that some batches and some processes lack groups."""

    def update(self, dist, y):
        self.metric.update(
            dist, y, y if self.metric.edges is not None else (y.abs().clamp(max=2.5)).long()
        )


def marginal(family: str) -> dh.Distribution:
    return dh.get_family(family).from_raw(torch.zeros(2))


def run(name: str, batches: list[slice]):
    """The metric after these batches of its rows."""
    make, family, options = METRICS[name]
    dist, y = dist_of(family, **options)
    metric = make()
    for rows in batches:
        metric.update(dist[rows], y[rows])
    return metric


def answers(metric) -> torch.Tensor:
    """All that a metric has to say, as one tensor: its value, its standard error and its tests."""
    parts = [metric.compute()]
    parts += [
        getattr(metric, name)()
        for name in ("standard_error", "uniformity", "curve")
        if _has(metric, name)
    ]
    return torch.cat([flat(part) for part in parts])


def _has(metric, name: str) -> bool:
    if name == "curve" and getattr(metric, "kind", "top") == "classwise":
        return False
    inner = getattr(metric, "metric", metric)
    inner = inner.metric if isinstance(inner, m.Grouped) else inner
    return hasattr(metric, name) and hasattr(inner, name)


def flat(result) -> torch.Tensor:
    """A result as one tensor."""
    if isinstance(result, m.Uniformity):
        result = tuple(dataclasses.astuple(result))
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return (
            torch.cat([flat(part) for part in result])
            if result
            else torch.zeros(0, dtype=torch.float64)
        )
    return torch.as_tensor(result, dtype=torch.float64).reshape(-1)


def process(rank: int, path: str, splits: dict[str, list[list[slice]]]) -> None:
    """One of two processes: every metric over its own batches, then the answers of all, which each
    writes down.
    """
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{path}/start", rank=rank, world_size=2
    )
    results = {
        (split, name): answers(run(name, batches_of[rank]))
        for split, batches_of in splits.items()
        for name in METRICS
    }
    torch.save(results, f"{path}/{rank}")
    distributed.destroy_process_group()
