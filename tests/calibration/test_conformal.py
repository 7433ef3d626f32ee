"""Conformal recalibration covers as promised, in finite samples, however wrong the model is."""

import math

import numpy as np
import pytest
import torch

from disthead.calibration import ConformalPredictive, ConformalQuantiles, rebuild
from disthead.families import Gamma, Normal, Poisson, StudentT

SETS = 4000


def wrong_model(rows: int, generator: torch.Generator):
    """SETS calibration sets side by side as outputs, in each `rows` targets and one fresh one, and
    a model wrong in shape and spread.
    """
    shape = (rows + 1, SETS)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    y = x + (0.2 + x) * torch.randn(shape, generator=generator, dtype=torch.float64).exp()
    model = Normal(x + 0.5, 0.3 + 0.1 * x)
    return model[:rows].to_event(1), y[:rows], model[rows:].to_event(1), y[rows:]


@pytest.mark.parametrize("rows", [19, 40, 101])
@pytest.mark.parametrize("level", [0.5, 0.9])
@pytest.mark.parametrize(
    "make",
    [
        ConformalQuantiles,
        lambda level: ConformalQuantiles(level, normalised=True),
        lambda level: ConformalPredictive(),
    ],
    ids=["quantiles", "normalised", "predictive"],
)
def test_coverage_over_many_small_sets(make, level, rows, generator):
    model, y, fresh_model, fresh = wrong_model(rows, generator)
    lower, upper = make(level).fit(model, y)(fresh_model).interval(level)
    covered = ((lower <= fresh) & (fresh <= upper)).double().mean().item()
    error = 4 * math.sqrt(level * (1 - level) / SETS)
    assert level - error <= covered <= level + 1 / (rows + 1) + error


def test_counts_are_covered_at_least(generator):
    rate = 5 * torch.rand(40, 400, generator=generator, dtype=torch.float64)
    y = torch.poisson(3 * rate, generator=generator)
    model = Poisson(2 * rate)
    for r in (ConformalQuantiles(0.8), ConformalPredictive()):
        lower, upper = r.fit(model[:39].to_event(1), y[:39])(model[39:].to_event(1)).interval(0.8)
        covered = ((lower <= y[39:]) & (y[39:] <= upper)).double().mean().item()
        assert covered >= 0.8 - 4 * math.sqrt(0.16 / 400)
        assert (lower == lower.round()).all()


def test_every_group_is_covered(generator):
    n = 4000
    group = torch.randint(3, (n,), generator=generator)
    spread = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)[group]
    y = spread * torch.randn(n, generator=generator, dtype=torch.float64)
    model = Normal(torch.zeros(n).double(), 1.0)
    half = n // 2
    r = ConformalQuantiles(0.9).fit(model[:half], y[:half], group=group[:half])
    lower, upper = r(model[half:], group=group[half:]).interval(0.9)
    inside = (lower <= y[half:]) & (y[half:] <= upper)
    for label in range(3):
        of_group = group[half:] == label
        assert abs(inside[of_group].double().mean().item() - 0.9) < 4 * math.sqrt(
            0.09 * 2 / of_group.sum().item()
        )
    with pytest.raises(ValueError, match="3 groups"):
        r(model)
    with pytest.raises(ValueError, match="below 3"):
        r(model, group=group + 1)


def test_the_interval_is_that_of_the_formula_and_the_quantiles_agree_with_it(generator):
    y = 2 * torch.randn(99, generator=generator, dtype=torch.float64)
    model = Normal(
        torch.zeros(99).double(), torch.rand(99, generator=generator, dtype=torch.float64) + 0.5
    )
    dist = ConformalQuantiles([0.5, 0.9]).fit(model, y)(model)
    for level in (0.5, 0.9):
        lower, upper = model.interval(level)
        excess = torch.maximum(lower - y, y - upper).sort().values[math.ceil(100 * level) - 1]
        torch.testing.assert_close(
            dist.interval(level), (lower - excess, upper + excess), rtol=1e-7, atol=1e-7
        )
        tail = torch.full((99,), (1 - level) / 2, dtype=torch.float64)
        torch.testing.assert_close(dist.icdf(tail), lower - excess, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(dist.cdf(upper + excess), 1 - tail)
    inner, outer = dist.interval(0.5), dist.interval(0.9)
    assert (outer[0] < inner[0]).all()
    assert (inner[1] < outer[1]).all()
    points = dist.icdf(torch.linspace(0.01, 0.99, 99).double())
    assert dist.log_prob(points).isfinite().all()


def test_weights_follow_the_predicted_spread(generator):
    scale = torch.rand(200, generator=generator, dtype=torch.float64) + 0.1
    model = Normal(torch.zeros(200).double(), scale)
    y = 3 * scale * torch.randn(200, generator=generator, dtype=torch.float64)
    lower, upper = ConformalQuantiles(0.9, normalised=True).fit(model, y)(model).interval(0.9)
    ratio = (upper - lower) / scale
    torch.testing.assert_close(ratio, ratio[:1].expand(200), rtol=1e-7, atol=0)


def test_intervals_stay_inside_the_support(generator):
    model = Gamma(torch.full((100,), 2.0).double(), 1.0)
    torch.manual_seed(1)
    y = 5 * model.sample()
    for dist in (
        ConformalQuantiles(0.9).fit(model, y)(model),
        ConformalPredictive().fit(model, y)(model),
    ):
        lower, upper = dist.interval(0.9)
        assert (lower >= 0).all()
        assert ((lower <= y) & (y <= upper)).double().mean() >= 0.9


def test_intervals_that_would_cross_are_points(generator):
    model = Normal(torch.zeros(100).double(), torch.linspace(0.01, 5, 100).double())
    dist = ConformalQuantiles(0.8).fit(model, torch.zeros(100).double())(model)
    lower, upper = dist.interval(0.8)
    assert (lower <= upper).all()
    assert dist.cdf(upper).isfinite().all()


def test_predictive_probabilities_are_ranks(generator):
    model = StudentT(3.0, torch.zeros(49).double(), 0.2)
    y = torch.randn(49, generator=generator, dtype=torch.float64)
    r = ConformalPredictive().fit(model, y)
    dist = r(model[:1])
    ordered = y.sort().values
    torch.testing.assert_close(dist.cdf(ordered), torch.arange(1, 50).double() / 50)
    torch.testing.assert_close(dist.icdf(torch.arange(1, 50).double() / 50), ordered)
    lower, upper = dist.interval(0.8)
    assert (lower.item(), upper.item()) == pytest.approx((ordered[4].item(), ordered[44].item()))
    torch.manual_seed(1)
    inside = (dist.sample((4000,)) <= ordered[24]).double().mean().item()
    assert abs(inside - 0.5) < 0.04
    t = torch.linspace(-8, 8, 8001).double()
    target = torch.tensor([0.3], dtype=torch.float64)
    expected = torch.trapezoid((dist.cdf(t) - (t >= target).double()).square(), t)
    torch.testing.assert_close(dist.crps(target), expected.reshape(1), rtol=0.02, atol=0)


def test_ranks_have_no_density():
    model = Normal(torch.zeros(9), 1.0)
    dist = ConformalPredictive().fit(model, torch.linspace(-1, 1, 9))(model)
    for ask in (
        lambda: dist.log_prob(torch.zeros(9)),
        dist.entropy,
        lambda: dist.mode,
        lambda: dist.highest_density(0.5),
    ):
        with pytest.raises(NotImplementedError, match="no density"):
            ask()


def test_too_few_rows_say_how_many_are_needed():
    model = Normal(torch.zeros(8), 1.0)
    with pytest.raises(ValueError, match=r"level 0\.9 needs at least 9 rows to fit, got 8"):
        ConformalQuantiles(0.9).fit(model, torch.zeros(8))
    nine = Normal(torch.zeros(9), 1.0)
    ConformalQuantiles(0.9).fit(nine, torch.zeros(9))
    with pytest.raises(ValueError, match="needs at least 9 rows to fit, got 4 in group 1"):
        ConformalQuantiles(0.9).fit(
            Normal(torch.zeros(16), 1.0), torch.zeros(16), group=torch.tensor([0] * 12 + [1] * 4)
        )
    few = ConformalPredictive().fit(model, torch.linspace(-1, 1, 8))(model)
    with pytest.raises(ValueError, match="at least 19 rows"):
        few.interval(0.9)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ConformalQuantiles(90)


def weighted_quantile(values, weight, level):
    """The least value up to which there is `level` of the probability, with the mass of a new row
    at infinity.
    """
    new = weight.square().sum() / weight.sum()
    order = values.argsort()
    share = weight[order].cumsum(0) / (weight.sum() + new)
    return values[order][int((share < level - 1e-12).sum())]


def test_with_weights_the_offset_is_the_weighted_quantile_of_tibshirani(generator):
    y = 2 * torch.randn(80, generator=generator, dtype=torch.float64)
    model = Normal(
        torch.zeros(80).double(), torch.rand(80, generator=generator, dtype=torch.float64) + 0.5
    )
    weight = torch.rand(80, generator=generator, dtype=torch.float64)
    r = ConformalQuantiles([0.5, 0.8]).fit(model, y, weight)
    for place, level in enumerate((0.5, 0.8)):
        lower, upper = model.interval(level)
        expected = weighted_quantile(torch.maximum(lower - y, y - upper), weight, level)
        torch.testing.assert_close(r.offsets[0, place], expected)


@pytest.mark.parametrize(
    "make",
    [lambda: ConformalQuantiles(0.8), lambda: ConformalPredictive()],
    ids=["quantiles", "predictive"],
)
def test_weighted_coverage_holds_for_new_rows_drawn_by_the_weights(make, generator):
    """Errors grow with x; held-out x are uniform, those of new rows have the density 2 x, which is
    the weight.
    """
    rows, sets, level = 60, 150, 0.8
    covered = {"weighted": 0, "plain": 0}
    for _ in range(sets):
        x = torch.rand(rows, generator=generator, dtype=torch.float64)
        fresh_x = torch.rand(1, generator=generator, dtype=torch.float64).sqrt()
        noise = torch.randn(rows + 1, generator=generator, dtype=torch.float64)
        model = Normal(torch.zeros(rows).double(), 0.3)
        for name, weight in (("weighted", 2 * x), ("plain", None)):
            r = make().fit(model, x.pow(2) * noise[:rows], weight)
            covered[name] += (
                r(model[:1]).interval(level).contains(fresh_x.pow(2) * noise[rows:]).item()
            )
    error = 4 * math.sqrt(level * (1 - level) / sets)
    assert level - error < covered["weighted"] / sets < level + 2 / rows + error
    assert covered["plain"] < covered["weighted"]


@pytest.mark.parametrize(
    "make",
    [lambda: ConformalQuantiles(0.8), lambda: ConformalPredictive()],
    ids=["quantiles", "predictive"],
)
def test_rows_of_one_panel_count_once_together(make, generator):
    """Copies of a row in its own group change nothing: neither its weight nor how many rows there
    are.
    """
    y = torch.randn(19, generator=generator, dtype=torch.float64)
    copies = torch.arange(19).repeat_interleave(torch.arange(19) % 4 + 1)
    model = Normal(torch.zeros(len(copies)).double(), 0.5)
    names = [f"person {number}" for number in copies.tolist()]
    once = make().fit(model[:19], y)(model).interval(0.8)
    for labels in (copies, copies.numpy(), names, copies.double()):
        joint = make().fit(model, y[copies], groups=labels)(model).interval(0.8)
        torch.testing.assert_close(tuple(joint), tuple(once))
    weight = torch.where(copies % 2 == 0, 3.0, 1.0)
    shared = make().fit(model, y[copies], weight, groups=names)(model).interval(0.8)
    torch.testing.assert_close(tuple(shared), tuple(once))


def test_a_row_of_a_new_group_is_covered_and_independent_rows_are_not_believed(generator):
    """30 persons have 20 rows each with a common error: 600 rows tell as much as 30."""
    covered = {"groups": 0, "rows": 0}
    sets, persons, size, level = 150, 10, 20, 0.8
    for _ in range(sets):
        own = torch.randn(persons + 1, 1, generator=generator, dtype=torch.float64)
        y = (
            own + 0.1 * torch.randn(persons + 1, size, generator=generator, dtype=torch.float64)
        ).flatten()
        model = Normal(torch.zeros(len(y)).double(), 0.3)
        held_out = persons * size
        labels = torch.arange(persons).repeat_interleave(size)
        for name, groups in (("groups", labels), ("rows", None)):
            r = ConformalQuantiles(level).fit(model[:held_out], y[:held_out], groups=groups)
            covered[name] += (
                r(model[:1]).interval(level).contains(y[held_out : held_out + 1]).item()
            )
    error = 4 * math.sqrt(level * (1 - level) / sets)
    assert level - error < covered["groups"] / sets < level + 1 / (persons + 1) + error
    assert covered["rows"] < covered["groups"]


def test_groups_that_cannot_be_are_refused():
    model = Normal(torch.zeros(12), 1.0)
    y = torch.linspace(-1, 1, 12)
    with pytest.raises(ValueError, match="at least 9 groups to fit, got 4"):
        ConformalQuantiles(0.9).fit(model, y, groups=torch.arange(12) // 3)
    with pytest.raises(ValueError, match="at least 19 rows at fit, there were 4"):
        ConformalPredictive().fit(model, y, groups=torch.arange(12) // 3)(model).interval(0.9)
    with pytest.raises(ValueError, match="first at row 2"):
        ConformalQuantiles(0.5).fit(model, y, groups=["a", "b", None, *"abcabcabc"])
    ConformalQuantiles(0.5).fit(model, y, [1, 1, 0] * 4, groups=["a", "b", None] * 4)
    with pytest.raises(ValueError, match="one value per row"):
        ConformalQuantiles(0.5).fit(model, y, groups=["a", "b"])
    for wrong in (torch.arange(12) - 1, torch.arange(12).double(), torch.arange(11)):
        with pytest.raises(ValueError, match="group must"):
            ConformalQuantiles(0.5).fit(model, y, group=wrong)
    with pytest.raises(ValueError, match=r"got 4 by weights, \(sum w\)\^2 / sum w\^2"):
        ConformalQuantiles(0.9).fit(model, y, [1.0] * 4 + [1e-9] * 8)


def test_group_is_taken_from_arrays_and_lists(generator):
    n = 60
    group = torch.arange(n) % 3
    y = (group + 1) * torch.randn(n, generator=generator, dtype=torch.float64)
    model = Normal(torch.zeros(n).double(), 1.0)
    expected = ConformalQuantiles(0.8).fit(model, y, group=group)(model, group=group).interval(0.8)
    for inputs in (group.numpy(), group.tolist(), group.to(torch.uint8)):
        result = (
            ConformalQuantiles(0.8).fit(model, y, group=inputs)(model, group=inputs).interval(0.8)
        )
        torch.testing.assert_close(tuple(result), tuple(expected), rtol=0, atol=0)


def test_levels_are_numbers_of_any_kind():
    for level in (
        np.float64(0.8),
        torch.tensor(0.8, dtype=torch.float64),
        np.array([0.5, 0.8]),
        (0.8, 0.5),
    ):
        r = ConformalQuantiles(level)
        assert r._levels[-1] == 0.8
        assert rebuild(r.config)._levels == r._levels
    assert ConformalPredictive(np.int64(3)).config["arguments"] == {"seed": 3}


def test_ranks_written_before_rows_had_weights_are_read():
    model = Normal(torch.zeros(30), 1.0)
    r = ConformalPredictive().fit(model, torch.linspace(-1, 2, 30))
    state = {name: value for name, value in r.state_dict().items() if name != "masses"}
    again = ConformalPredictive()
    again.load_state_dict(state)
    torch.testing.assert_close(tuple(again(model).interval(0.8)), tuple(r(model).interval(0.8)))


def test_predictive_probabilities_lie_between_the_bounds_of_their_weights(generator):
    y = torch.randn(50, generator=generator, dtype=torch.float64)
    weight = torch.rand(50, generator=generator, dtype=torch.float64) + 0.1
    model = Normal(torch.zeros(50).double(), 0.7)
    dist = ConformalPredictive().fit(model, y, weight)(model[:1])
    ordered, order = y.sort()
    new = weight.square().sum() / weight.sum()
    through = weight[order].cumsum(0) / (weight.sum() + new)
    below = through + (new - weight[order]) / (weight.sum() + new)
    share = dist.cdf(ordered)
    torch.testing.assert_close(share, 0.5 * (through + below))
    lower, upper = dist.interval(0.7)
    first, last = (int((ordered - end).abs().argmin()) for end in (lower, upper))
    assert through[last] - below[first] >= 0.7
    assert below[first] <= 0.15 < below[first + 1]
    assert through[last - 1] - below[first] < 0.7
