"""Numbers out of range, of another kind, or none at all: errors that name them, wherever targets
are taken.
"""

import math

import numpy as np
import pytest
import torch

import disthead as dh
from disthead import DistributionRegressor
from disthead.arrays import as_tensor
from disthead.calibration import ScaleCalibration
from disthead.errors import TargetError
from disthead.metrics import CRPS
from disthead.standardisation import location_and_scale, target_units, warn_of_dominant_rows

ROWS = 60
NORMAL = dh.get_family("normal").distribution(loc=torch.zeros(ROWS), scale=1.0)
BOOLEANS, COMPLEX = torch.arange(ROWS) % 2 == 0, torch.randn(ROWS, dtype=torch.complex64)
ENTRIES = {
    "nll": lambda y: dh.nll(NORMAL, y),
    "log_prob": NORMAL.log_prob,
    "metric": lambda y: CRPS().update(NORMAL, y),
    "recalibration": lambda y: ScaleCalibration().fit(NORMAL, y),
    "head": lambda y: dh.DistributionHead("normal", 3).initialize(y),
    "marginal": lambda y: dh.marginal("normal", y),
    "estimator": lambda y: DistributionRegressor("normal", max_steps=5).fit(
        torch.randn(ROWS, 2).numpy(), y
    ),
}
every_entry = pytest.mark.parametrize("entry", ENTRIES)


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    x = source.normal(size=(ROWS, 2))
    return x, x[:, 0] + 0.5 * source.normal(size=ROWS)


def small(family: str = "student_t", **options) -> DistributionRegressor:
    return DistributionRegressor(
        family, hidden_sizes=(16,), max_steps=200, random_state=0, **options
    )


@every_entry
@pytest.mark.parametrize(
    "convert", [lambda y: y, lambda y: y.numpy(), lambda y: y.numpy().astype(object)]
)
def test_truth_values_are_no_numbers(entry, convert):
    with pytest.raises(TargetError, match="truth values"):
        ENTRIES[entry](convert(BOOLEANS))


@every_entry
def test_complex_targets_are_named(entry):
    with pytest.raises(ValueError, match=r"[Cc]omplex"):
        ENTRIES[entry](COMPLEX)


@pytest.mark.parametrize("name, options", [("bernoulli", {}), ("categorical", {"num_classes": 2})])
def test_truth_values_are_two_outcomes(name, options):
    family = dh.get_family(name, **options)
    dist = family.from_raw(
        torch.randn(ROWS, family.width(), generator=torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(dh.nll(dist, BOOLEANS), dh.nll(dist, BOOLEANS.long()))
    torch.testing.assert_close(
        dh.nll(dist, BOOLEANS), dh.nll(dist, BOOLEANS.numpy().astype(object))
    )


@pytest.mark.parametrize("entry", ["nll", "recalibration", "head", "marginal"])
def test_no_rows_are_named(entry, monkeypatch):
    empty = dh.get_family("normal").distribution(loc=torch.zeros(0), scale=1.0)
    monkeypatch.setitem(globals(), "NORMAL", empty)
    with pytest.raises(ValueError, match=r"at least (one|2) rows?"):
        ENTRIES[entry](torch.zeros(0))


def test_a_sum_over_no_rows_is_zero():
    empty = dh.get_family("normal").distribution(loc=torch.zeros(0), scale=1.0)
    assert dh.nll(empty, torch.zeros(0), reduction="sum") == 0


def test_integers_beyond_64_bits_keep_their_size():
    assert as_tensor(np.array([2**63 + 2048], dtype=np.uint64)).tolist() == [2.0**63 + 2048]
    assert as_tensor(np.array([2**70, 1], dtype=object)).tolist() == [2.0**70, 1.0]
    with pytest.raises(ValueError, match="too large for it at row 1"):
        as_tensor([1, 10**400])


@pytest.mark.parametrize(
    "y", [[0, 0, 1], [0, 1, 3], [0, -1, 1], [-1, -1, -1], [0.5, 1.0, 2.0], [-2, 0, 1]], ids=str
)
@pytest.mark.parametrize("given", ["logits", "probs"])
def test_what_is_no_order_has_no_probability(y, given):
    dist = dh.get_family("plackett_luce", event_shape=(3,)).distribution(
        **{given: torch.tensor([1.0, 2.0, 0.5])}
    )
    values = dist.log_prob(torch.tensor([y, [2, 0, 1]]))
    assert values[0] == -math.inf
    assert values[1].isfinite()
    assert dh.nll(dist.expand((1,)), torch.tensor([y])) == math.inf


def test_what_is_no_order_has_no_gradient():
    raw = torch.randn(2, 3, requires_grad=True)
    dist = dh.get_family("plackett_luce", event_shape=(3,)).from_raw(raw)
    [gradient] = torch.autograd.grad(dist.log_prob(torch.tensor([[0, 0, 1], [2, 1, 0]]))[1], raw)
    assert gradient.isfinite().all()
    assert not gradient[0].any()


@pytest.mark.parametrize(
    "weight", [torch.full((3,), 1e38), [1.0, 1e38, 1.0], torch.full((3,), 1e-38)], ids=str
)
def test_weights_whose_sums_or_products_overflow_are_refused(weight):
    dist = dh.get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    with pytest.raises(ValueError, match=r"divide them by their mean.*row"):
        dh.nll(dist, torch.zeros(3), weight=weight)


def test_a_model_does_not_learn_from_a_single_row():
    x, y = table()
    weight = np.ones(ROWS)
    weight[7] = 1e9
    with pytest.raises(ValueError, match="at row 7: nothing can be learned from a single row"):
        small().fit(x, y, weight)


# Outliers.


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e20])
def test_an_outlier_does_not_squeeze_the_targets_of_a_robust_family(outlier):
    _, y = table()
    _, clean = target_units(torch.from_numpy(y), None, dh.get_family("student_t"))
    y[7] = outlier
    for units in (
        target_units(torch.from_numpy(y), None, dh.get_family("student_t")),
        location_and_scale(torch.from_numpy(y), None, torch.float32, dh.get_family("student_t")),
    ):
        assert 0.5 * clean < units[1] < 30 * clean
    assert target_units(torch.from_numpy(y), None, dh.get_family("normal"))[1] > 0.1 * outlier


@pytest.mark.parametrize("outlier", [1e6, -1e9, 1e20])
def test_an_outlier_that_is_worth_all_other_rows_is_named(outlier):
    x, y = table()
    y[7] = outlier
    with pytest.warns(
        UserWarning, match=rf"^y has {outlier:.7g} at row 7: so far.*student_t".replace("+", "[+]")
    ):
        small("normal").fit(x, y)


@pytest.mark.parametrize("family, draw", [
    ("normal", lambda source, rows: source.standard_cauchy(rows)),
    ("laplace", lambda source, rows: source.normal(size=rows) * (source.random(rows) > 0.97)),
    ("gamma", lambda source, rows: source.lognormal(sigma=2, size=rows)),
    ("log_normal", lambda source, rows: source.lognormal(sigma=3, size=rows)),
    ("poisson", lambda source, rows: source.negative_binomial(0.01, 1e-4, size=rows)),
])  # fmt: skip
@pytest.mark.parametrize("rows", [30, 1000, 100_000])
def test_heavy_tails_and_many_zeros_are_not_worth_all_other_rows(family, draw, rows):
    y = torch.from_numpy(draw(np.random.default_rng(rows), rows)).double()
    warn_of_dominant_rows(dh.get_family(family), y, None, {"exposure": y.abs() + 1}, ["y"], None)


@pytest.mark.parametrize(
    "family, others", [("normal", 0.0), ("poisson", 0.0), ("poisson", 1.0), ("gamma", 1.0)]
)
def test_a_number_beside_constant_ones_is_named(family, others):
    y = torch.full((40,), others, dtype=torch.float64)
    y[7] = 1e15
    with pytest.warns(UserWarning, match=r"y has 1e\+15 at row 7"):
        warn_of_dominant_rows(dh.get_family(family), y, None, {}, ["y"], torch.arange(40))


@pytest.mark.parametrize("outlier", [1e5, 1e6, 1e9, 1e20])
def test_an_outlier_of_a_target_costs_the_default_estimator_little(outlier):
    x, y = table()
    of_others = np.arange(ROWS) != 7
    clean = small().fit(x, y).score(x[of_others], y[of_others])
    y[7] = outlier
    assert small().fit(x, y).score(x[of_others], y[of_others]) > clean - 0.75


@pytest.mark.parametrize("number", [1e6, 1e20, 1e300, -1e300])
def test_an_outlier_of_a_feature_is_read_as_where_numbers_are_far_and_named(number):
    x, y = table()
    model = small().fit(x, y)
    far = x.copy()
    far[3, 1] = number
    with pytest.warns(
        UserWarning, match=rf"column 'x1': 1 rows, {number:g} at row 3 as".replace("+", "[+]")
    ):
        dist = model.predict_dist(far)
    assert dist.mean.isfinite().all()
    assert dist.variance.isfinite().all()
    others = np.arange(ROWS) != 3
    assert torch.equal(dist.mean[others], model.predict_dist(x).mean[others])
    with pytest.warns(UserWarning, match="at row 3 as"):
        refitted = small().fit(far, y)
    assert refitted.score(x, y) > model.score(x, y) - 1


def test_ordinary_numbers_are_within_the_limits_of_their_column():
    x, y = table()
    model = small().fit(x, y)
    for column, values in zip(model.encoder_.columns, x.T, strict=True):
        low, high = column.limits
        assert low <= values.min() - 0.99 * np.ptp(values)
        assert high >= values.max() + 0.99 * np.ptp(values)


@pytest.mark.filterwarnings("ignore:y has only one value")
@pytest.mark.parametrize("family", ["log_normal", "weibull"])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3])
def test_targets_that_vary_little_beside_their_size_are_refused_with_the_remedy(family, spread):
    x, noise = table()
    with pytest.raises(
        TargetError, match=r"too little for .* to learn.*Take a family of real numbers"
    ):
        small(family).fit(x, 2 + 2 * spread * noise)


@pytest.mark.parametrize(
    "family, spread", [("log_normal", 5e-3), ("weibull", 5e-3), ("gamma", 1e-5)]
)
def test_targets_that_vary_enough_beside_their_size_are_learned(family, spread):
    x, noise = table()
    y = 10 + 10 * spread * noise
    baseline = float(dh.marginal(family, torch.from_numpy(y)).log_prob(torch.from_numpy(y)).mean())
    assert small(family).fit(x, y).score(x, y) > baseline - 0.1


def test_constant_counts_start_and_stay_where_they_are():
    x, _ = table()
    y = np.full(ROWS, 2.0**24 + 1)
    dist = small("poisson").fit(x, y).predict_dist(x)
    truth = dh.get_family("poisson").distribution(
        rate=torch.tensor(2.0**24 + 1, dtype=torch.float64)
    )
    assert (
        dist.log_prob(torch.from_numpy(y)).mean() > truth.log_prob(torch.tensor(2.0**24 + 1)) - 0.1
    )


@pytest.mark.parametrize("factor", [1e-200, 1e200, 1e-30, 1e30])
def test_units_of_a_feature_do_not_matter_to_an_estimator(factor):
    x, y = table()
    model = small().fit(x, y)
    assert small().fit(factor * x, y).score(factor * x, y) == pytest.approx(
        model.score(x, y), abs=0.05
    )


def test_a_positive_target_that_single_precision_turns_into_zero_is_named():
    x, y = table()
    y = np.exp(y)
    y[5] = 1e-200
    with pytest.raises(TargetError, match=r"single precision.*1e-200 at row 5"):
        small("gamma").fit(x, y)
