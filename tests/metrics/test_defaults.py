"""`default_metrics`: single numbers for every family, in a collection and in a LightningModule."""

import pickle

import lightning as L
import pytest
import torch
import torchmetrics
from torch.utils.data import DataLoader, TensorDataset

import disthead as dh
from disthead import metrics as m
from tests.metrics.tester import dist_of

# the family, its options, and how many independent outputs
KINDS = [
    *(
        (family, {}, None)
        for family in ("normal", "student_t", "gamma", "von_mises", "poisson", "bernoulli")
    ),
    ("categorical", {"num_classes": 3}, None),
    ("mixture", {"component": "von_mises"}, None),
    ("plackett_luce", {"event_shape": (4,)}, None),
    ("multivariate_normal", {"event_shape": (2,)}, None),
    ("multivariate_normal", {"event_shape": (3,), "rank": 1}, None),
    *((family, {}, 2) for family in ("normal", "poisson", "von_mises", "bernoulli")),
    ("normal", {}, 1),
    ("categorical", {"num_classes": 3}, 2),
]
every_kind = pytest.mark.parametrize("family, options, outputs", KINDS)


class Forecast(L.LightningModule):
    """Validates rows of raw outputs and targets."""

    def __init__(self, family, metrics, outputs):
        super().__init__()
        self.family, self.outputs, self.metrics = family, outputs, metrics

    def validation_step(self, batch, index):
        raw, y = batch
        self.metrics.update(self.family.from_raw(raw).to_event(1 if self.outputs else 0), y)
        self.log_dict(self.metrics)


def validated(module, raw, y, times=1):
    options = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(accelerator="cpu", logger=False, **options)
    for _ in range(times):
        trainer.validate(module, DataLoader(TensorDataset(raw, y), batch_size=16), verbose=False)
    return trainer.callback_metrics


@every_kind
def test_every_number_is_logged_by_name_in_a_lightning_module(family, options, outputs):
    made = dh.get_family(family, **options)
    shape = ((outputs,) if outputs else ()) + (made.width(),)
    raw = torch.randn(40, *shape, generator=torch.Generator().manual_seed(1))
    dist = made.from_raw(raw).to_event(1 if outputs else 0)
    torch.manual_seed(0)
    y = dist.sample()
    metrics = m.default_metrics(family, outputs, **options)
    # what the first time counted is forgotten
    logged = validated(Forecast(made, metrics, outputs), raw, y, times=2)
    whole = m.default_metrics(family, outputs, **options)
    whole.update(dist, y)
    expected = whole.compute()
    assert set(logged) == set(expected) == set(whole) == set(whole.keys())
    for name, value in expected.items():
        assert value.shape == (), name
        if "energy" not in name and "joint" not in name:  # by samples, other ones in other batches
            torch.testing.assert_close(logged[name], value, msg=name)
        assert logged[name].isfinite(), name


def test_the_numbers_have_the_names_and_values_of_their_metrics():
    dist, y = dist_of("normal")
    metrics = m.default_metrics("normal")
    metrics.update(dist[:20], y[:20])
    metrics.update(dist[20:], y[20:])
    result, pit, spread = metrics.compute(), m.PITHistogram(), m.SpreadSkill()
    for metric in (pit, spread):
        metric.update(dist, y)
    uniformity = pit.uniformity()
    reference = {f"coverage_{level}": m.Coverage(level)(dist, y) for level in (0.5, 0.8, 0.9, 0.95)}
    reference |= {
        "nll": m.NegativeLogLikelihood()(dist, y),
        "crps": m.CRPS()(dist, y),
        "mae": m.MeanAbsoluteError()(dist, y),
    }
    reference |= {
        "rmse": m.RootMeanSquaredError()(dist, y),
        "sharpness_0.9": m.Sharpness(0.9)(dist, y),
    }
    reference |= {
        "pit_ks": torch.tensor(uniformity.ks_statistic),
        "pit_mean": torch.tensor(uniformity.mean),
    }
    reference |= {
        "pit_dispersion": torch.tensor(uniformity.dispersion),
        "spread_skill": spread.ratio(),
    }
    assert set(result) == set(reference)
    for name, value in reference.items():
        torch.testing.assert_close(result[name], value, msg=name)
        torch.testing.assert_close(metrics[name].compute(), value, msg=name)
    expected = (dist.variance.mean() / (y - dist.mean).square().mean()).sqrt()
    torch.testing.assert_close(result["spread_skill"], expected)


def test_outputs_have_numbers_of_their_own():
    dist, y = dist_of("normal", outputs=2)
    metrics = m.default_metrics("normal", num_outputs=2)
    metrics.update(dist, y)
    result = metrics.compute()
    for name, metric in (("crps", m.CRPS(2)), ("rmse", m.RootMeanSquaredError(num_outputs=2))):
        for output, value in enumerate(metric(dist, y)):
            torch.testing.assert_close(result[f"{name}_{output}"], value)
    for output, value in enumerate(m.Coverage(0.9, num_outputs=2)(dist, y)):
        torch.testing.assert_close(result[f"coverage_0.9_{output}"], value.squeeze(-1))
    assert "energy_score" in result
    assert "joint_pit_ks" in result


@pytest.mark.parametrize(
    "make",
    [lambda: m.default_metrics("normal"), lambda: m.default_metrics("normal", num_outputs=2)],
)
def test_weights_resets_copies_and_values_of_batches(make):
    dist, y = dist_of("normal", outputs=2) if "crps_0" in make() else dist_of("normal")
    weight = torch.arange(len(y)) % 3
    metrics, expected = make(), make()
    metrics.update(dist, y, weight=weight)
    kept = weight > 0
    expected.update(dist[kept], y[kept], weight=weight[kept])
    assert_same(metrics.compute(), expected.compute())
    metrics.reset()
    expected = make()
    expected.update(dist[:30], y[:30])
    assert_same(metrics(dist[:30], y[:30]), expected.compute())  # of the batch
    metrics(dist[30:], y[30:])
    expected.update(dist[30:], y[30:])
    for copy in (metrics, pickle.loads(pickle.dumps(metrics)), metrics.clone()):
        assert_same(copy.compute(), expected.compute())
    prefixed = metrics.clone(prefix="val/")
    assert_same(
        {name.removeprefix("val/"): value for name, value in prefixed.compute().items()},
        expected.compute(),
    )
    torch.testing.assert_close(prefixed["val/nll"].compute(), metrics["nll"].compute())


def assert_same(result, expected):
    assert set(result) == set(expected)
    for name, value in expected.items():
        if "joint" not in name:  # by samples, other ones after a reset
            torch.testing.assert_close(result[name], value, msg=name)


def test_numbers_in_a_collection_of_others_count_their_rows_once():
    dist, y = dist_of("normal", outputs=2)
    inner = m.default_metrics("normal", num_outputs=2)
    names = [name for name in inner if "." not in name]
    collection = torchmetrics.MetricCollection(
        {f"mine_{name}": inner[name] for name in names} | {"own": m.CRPS()}
    )
    for _ in range(2):
        collection.update(dist, y)
    result = collection.compute()
    torch.testing.assert_close(result["mine_crps_1"], m.CRPS(2)(dist, y)[1])
    assert inner["pit_ks_0"].metric.count() == 2 * len(y)
