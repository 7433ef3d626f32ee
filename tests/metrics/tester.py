"""Every metric with rows to feed it, and what it takes to run them in two processes."""

import torch
from torch import distributed

import disthead as dh
from disthead import metrics as m

ROWS = 60


def dist_of(family: str, rows: int = ROWS, outputs: int | None = None, **options):
    """Distributions of a family with different parameters, and targets that they could have produced."""
    made = dh.get_family(family, **options)
    generator = torch.Generator().manual_seed(1)
    width = sum(torch.Size(made.raw_shape(name)).numel() for name in made.parameters)
    raw = torch.randn(rows, *((outputs,) if outputs else ()), width, generator=generator)
    dist = made.from_raw(raw).to_event(1 if outputs else 0)
    torch.manual_seed(2)
    return dist, dist.sample()


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
    "pinball of outputs": (lambda: m.PinballLoss([0.1, 0.9], num_outputs=2), "normal", {"outputs": 2}),
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
    "coverage pooled": (lambda: m.Coverage([0.123, 0.9]), "multivariate_normal", {"event_shape": (2,)}),
    "calibration error": (m.CalibrationError, "categorical", {"num_classes": 3}),
    "classwise": (
        lambda: m.CalibrationError("classwise", num_classes=3, adaptive=True, norm=2, debiased=True),
        "categorical",
        {"num_classes": 3},
    ),
    "spread-skill": (m.SpreadSkill, "normal", {}),
    "skill": (lambda: m.Skill(m.CRPS(), marginal("normal")), "normal", {}),
}


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


def flat(result) -> torch.Tensor:
    """A result as one tensor."""
    parts = result.values() if isinstance(result, dict) else [result]
    return torch.cat([part.double().reshape(-1) for part in parts])


def process(rank: int, path: str, batches_of: list[list[slice]]) -> None:
    """One of two processes: every metric over its own batches, then the results of all, which the first writes down."""
    distributed.init_process_group("gloo", init_method=f"file://{path}/start", rank=rank, world_size=2)
    results = {name: flat(run(name, batches_of[rank]).compute()) for name in METRICS}
    if rank == 0:
        torch.save(results, f"{path}/results")
    distributed.destroy_process_group()
