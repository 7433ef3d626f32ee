"""Ordered classes: the models that the ordinal family is known by, and what their order adds."""

import itertools

import mpmath as mp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats as st
import torch

import disthead as dh
from disthead.calibration import TemperatureScaling, VectorScaling
from disthead.families import OrderedCategorical, ensemble
from disthead.metrics import MeanAbsoluteError, RankedProbabilityScore, default_metrics
from tests.test_oracles import fit

LINKS = {  # scipy's distributions with these inverse link functions
    "logit": st.logistic,
    "probit": st.norm,
    "cloglog": st.gumbel_l,
    "loglog": st.gumbel_r,
    "cauchit": st.cauchy,
}
MIRROR = {"cloglog": "loglog", "loglog": "cloglog"}
FORMS = ("cumulative", "adjacent", "continuation")
every_link = pytest.mark.parametrize("link", LINKS)
every_form = pytest.mark.parametrize("form", FORMS)

# Randall 1989: bitterness of wine from 1 to 5 in 18 judgements each, by temperature and contact.
WINE = {
    (0, 0): [4, 9, 5, 0, 0],
    (0, 1): [1, 7, 8, 2, 0],
    (1, 0): [0, 5, 8, 3, 2],
    (1, 1): [0, 1, 5, 7, 5],
}


def wine() -> tuple[torch.Tensor, torch.Tensor]:
    rows = [(*x, k) for x, counts in WINE.items() for k, n in enumerate(counts) for _ in range(n)]
    table = torch.tensor(rows, dtype=torch.float64)
    return table[:, :2], table[:, 2]


def grades(form: str = "cumulative", link: str = "logit", rows: int = 6) -> dh.Distribution:
    raw = torch.randn(rows, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return dh.get_family("ordinal", num_classes=4, form=form, link=link).from_raw(raw)


def probabilities(form: str, link: str, loc: float, cutpoints: np.ndarray) -> np.ndarray:
    """From the definitions, by scipy's distribution functions."""
    f = LINKS[link].cdf(cutpoints - loc)
    if form == "cumulative":
        return np.diff(np.concatenate([[0], f, [1]]))
    if form == "continuation":
        return np.append(f, 1) * np.append(1, np.cumprod(1 - f))
    weights = np.append(1, np.cumprod((1 - f) / f))
    return weights / weights.sum()


@every_link
@every_form
def test_probabilities_are_those_of_the_definition(form, link):
    dist = grades(form, link)
    for row in range(len(dist.loc)):
        expected = probabilities(form, link, dist.loc[row].item(), dist.cutpoints[row].numpy())
        np.testing.assert_allclose(dist[row].probs, expected, rtol=1e-10, atol=1e-15)


def response(link: str, x: mp.mpf) -> mp.mpf:
    """The distribution function or, at positive x, its complement: the one without rounding."""
    if x > 0:
        return response(MIRROR.get(link, link), -x)
    return {
        "logit": lambda: 1 / (1 + mp.exp(-x)),
        "probit": lambda: mp.erfc(-x / mp.sqrt(2)) / 2,
        "cloglog": lambda: -mp.expm1(-mp.exp(x)),
        "loglog": lambda: mp.exp(-mp.exp(-x)),
        "cauchit": lambda: mp.atan2(1, -x) / mp.pi,
    }[link]()


def difference(link: str, lower: mp.mpf, upper: mp.mpf) -> mp.mpf:
    if lower <= 0 < upper:
        return 1 - response(link, upper) - response(link, lower)
    return abs(response(link, upper) - response(link, lower))


@every_link
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_narrow_and_far_classes_keep_their_digits(link, dtype):
    """The raw output of the gap goes down to -60, a gap of 1e-26."""
    grid = [
        (loc, 0.0, gap)
        for loc, gap in itertools.product((-6.0, -0.5, 0.25, 5.0), (-60.0, -20.0, -1.0, 3.0))
    ]
    raw = torch.tensor(grid, dtype=dtype, requires_grad=True)
    value = (
        dh.get_family("ordinal", num_classes=3, link=link)
        .from_raw(raw)
        .log_prob(torch.ones(len(grid)))
    )
    with mp.workdps(400):
        truth = [
            mp.log(difference(link, mp.mpf(-loc), mp.log1p(mp.exp(gap)) - mp.mpf(loc)))
            for loc, _, gap in grid
        ]
    rounding = 1e-12 if dtype == torch.float64 else 3e-7
    np.testing.assert_allclose(value.detach(), [float(one) for one in truth], rtol=rounding)
    (slope,) = torch.autograd.grad(value.sum(), raw)
    assert slope.isfinite().all()


@every_link
@every_form
def test_gradients_are_finite_everywhere(link, form):
    sizes = torch.tensor([-80.0, -9.0, -0.5, 0.0, 9.0, 80.0])
    raw = torch.cartesian_prod(sizes, sizes, sizes).requires_grad_()
    for y in range(3):
        family = dh.get_family("ordinal", num_classes=3, link=link, form=form)
        value = family.from_raw(raw).log_prob(torch.full((len(raw),), y))
        assert not value.isnan().any()
        (slope,) = torch.autograd.grad(value[value.isfinite()].sum(), raw)
        assert slope.isfinite().all()


@every_link
def test_the_maximum_likelihood_is_that_of_a_search_by_scipy(link):
    features, y = wine()

    def loss(parameters: np.ndarray) -> float:
        slopes, cutpoints = (
            parameters[:2],
            np.cumsum(np.append(parameters[2], np.exp(parameters[3:]))),
        )
        total = 0.0
        for x, counts in WINE.items():
            log_p = np.log(1e-300 + probabilities("cumulative", link, np.dot(slopes, x), cutpoints))
            total -= np.dot(counts, log_p)
        return total

    start = np.array([1.0, 1.0, -1.0, 0.3, 0.3, 0.3])
    best = scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    head = dh.DistributionHead("ordinal", 2, num_classes=5, shared=("cutpoints",), link=link)
    assert fit(head, features, y) == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(head.linear.weight[0].detach(), best.x[:2], rtol=1e-3)


def test_proportional_odds_of_the_wine():
    """R: ordinal::clm(rating ~ temp + contact, data = wine)."""
    head = dh.DistributionHead("ordinal", 2, num_classes=5, shared=("cutpoints",))
    assert fit(head, *wine()) == pytest.approx(-86.49192, abs=1e-4)
    np.testing.assert_allclose(head.linear.weight[0].detach(), [2.5031, 1.5278], atol=1e-3)
    cutpoints = head.params(torch.zeros(1, 2, dtype=torch.float64))["cutpoints"][0]
    shifted = (cutpoints - head.linear.bias).detach()
    np.testing.assert_allclose(shifted, [-1.3444, 1.2508, 3.4669, 5.0064], atol=1e-3)


def test_two_classes_are_a_bernoulli():
    loc, cutpoint = torch.tensor([-2.0, 0.3, 40.0]), torch.tensor([[0.5]])
    two = dh.get_family("ordinal", num_classes=2)
    coin = dh.get_family("bernoulli").distribution(logits=loc - 0.5)
    for y in (0, 1):
        torch.testing.assert_close(
            two.distribution(loc=loc, cutpoints=cutpoint).log_prob(torch.full((3,), y)),
            coin.log_prob(torch.full((3,), float(y))),
        )


def test_adjacent_classes_are_a_softmax_of_scores_times_the_predictor():
    loc, cutpoints = torch.tensor([-0.7, 0.2]), torch.tensor([0.4, -0.1, 1.3])
    family = dh.get_family("ordinal", num_classes=4, form="adjacent")
    scores = torch.arange(4) * loc.unsqueeze(-1)
    logits = scores - torch.cat([torch.zeros(1), cutpoints.cumsum(0)])
    torch.testing.assert_close(
        family.distribution(loc=loc, cutpoints=cutpoints).probs, logits.softmax(-1)
    )


def test_the_grouped_proportional_hazards_model_is_cumulative_and_of_continuation_ratios():
    """Laara and Matthews 1985, of the complementary log-log link."""
    hazards = torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)
    loc = torch.tensor([-1.0, 0.6], dtype=torch.float64)
    cumulative = dh.get_family("ordinal", num_classes=4, link="cloglog")
    ratios = dh.get_family("ordinal", num_classes=4, link="cloglog", form="continuation")
    torch.testing.assert_close(
        cumulative.distribution(loc=loc, cutpoints=hazards.cumsum(0).log()).probs,
        ratios.distribution(loc=loc, cutpoints=hazards.log()).probs,
    )


@every_link
def test_only_the_distance_of_predictor_and_cutpoints_counts(link):
    dist = grades(link=link)
    moved = dh.get_family("ordinal", num_classes=4, link=link).distribution(
        loc=dist.loc + 3, cutpoints=dist.cutpoints + 3
    )
    torch.testing.assert_close(moved.probs, dist.probs)


@every_link
@pytest.mark.parametrize("form", ["cumulative", "adjacent"])
def test_the_order_from_above_is_the_same_model(link, form):
    dist = grades(form, link)
    reverse = dh.get_family("ordinal", num_classes=4, link=MIRROR.get(link, link), form=form)
    reversed_dist = reverse.distribution(loc=-dist.loc, cutpoints=-dist.cutpoints.flip(-1))
    torch.testing.assert_close(reversed_dist.probs, dist.probs.flip(-1))


@every_form
def test_a_greater_predictor_makes_higher_classes_more_probable(form):
    dist = grades(form)
    higher = dh.get_family("ordinal", num_classes=4, form=form).distribution(
        loc=dist.loc + 0.5, cutpoints=dist.cutpoints
    )
    y = torch.arange(3).unsqueeze(-1)
    assert (higher.cdf(y) < dist.cdf(y)).all()


@every_form
def test_the_start_has_the_shares_of_the_classes(form):
    y = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])
    for link in LINKS:
        head = dh.DistributionHead("ordinal", 2, num_classes=4, form=form, link=link)
        dist = head.double().initialize(y)(torch.zeros(1, 2, dtype=torch.float64))
        torch.testing.assert_close(dist.probs[0], torch.bincount(y) / 8, check_dtype=False)
        torch.testing.assert_close(dist.loc, torch.zeros(1, dtype=torch.float64))


def test_a_class_without_rows_is_improbable_at_the_start_and_the_start_is_finite():
    y = torch.tensor([0] * 50 + [2] * 50)
    head = dh.DistributionHead("ordinal", 1, num_classes=4).double().initialize(y)
    probs = head(torch.zeros(1, 1, dtype=torch.float64)).probs[0]
    assert probs.isfinite().all()
    assert (probs[[1, 3]] < 0.02).all()


# What the order adds, of any probabilities.

PROBS = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.0, 0.7, 0.0, 0.3], [1, 0, 0, 0]]).double()


def both() -> list:
    return [OrderedCategorical(probs=PROBS), grades(rows=3), grades("adjacent", rows=3)]


@pytest.mark.parametrize("which", range(3))
def test_quantiles_intervals_and_scores_are_those_of_the_definition(which):
    dist = both()[which]
    through = dist.probs.cumsum(-1)
    y = torch.arange(4).unsqueeze(-1).expand(4, 3)
    torch.testing.assert_close(dist.cdf(y), through.T)
    torch.testing.assert_close(dist.cdf(y + 0.5), through.T)
    torch.testing.assert_close(dist.log_survival(y).exp(), (1 - through).clamp(min=0).T)
    assert torch.equal(
        dist.cdf(torch.tensor([-1.0, -0.5, 4.0])), torch.tensor([0.0, 0, 1]).double()
    )
    for q in (0.01, 0.3, 0.5, 0.95):
        least = (through >= q - 1e-12).double().argmax(-1)
        assert torch.equal(dist.icdf(torch.full((3,), q).double()), least.double())
    assert torch.equal(dist.icdf(torch.ones(3)), torch.full((3,), 3.0).double())
    assert dist.icdf(torch.tensor(1.5)).isnan().all()
    happened = (y.unsqueeze(-1) <= torch.arange(4)).double()
    torch.testing.assert_close(dist.crps(y), (through - happened).square().sum(-1))
    torch.testing.assert_close(RankedProbabilityScore()(dist, y[1]), dist.crps(y[1]).mean().float())
    below, at = dist.cdf_limits(y)
    torch.testing.assert_close(at - below, dist.probs.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_quantiles_of_the_cdf_are_the_classes(dtype):
    dist = grades(rows=2000).map(lambda parameter: parameter.to(dtype))
    for k in range(3):
        y = torch.full((2000,), float(k), dtype=dtype)
        assert torch.equal(dist.icdf(dist.cdf(y)), y)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.7, 0.95])
def test_the_shortest_run_of_classes_holds_the_level(level):
    for dist in both():
        lower, upper = dist.highest_density(level)
        for row, probs in enumerate(dist.probs):
            runs = [
                (b - a, -probs[a : b + 1].sum().item(), a)
                for a in range(4)
                for b in range(a, 4)
                if probs[a : b + 1].sum() >= level - 1e-12
            ]
            length, _, first = min(runs)
            assert (lower[row].item(), upper[row].item()) == (first, first + length)


def test_the_median_has_the_least_expected_distance():
    cost = (torch.arange(4).unsqueeze(-1) - torch.arange(4)).abs()
    for dist in both():
        assert torch.equal(dh.decide(dist, cost=cost).double(), dist.median)


def test_classes_have_no_mean_without_scores():
    with pytest.raises(NotImplementedError, match="probs @ scores"):
        _ = grades().mean


def test_soft_labels_weigh_the_log_probabilities():
    dist, soft = grades(), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).expand(6, 4)
    torch.testing.assert_close(dist.log_prob(soft), (dist.probs.log() * soft).sum(-1))
    torch.testing.assert_close(dh.nll(dist, soft, reduction="none"), -dist.log_prob(soft))


def test_labels_of_the_classes_are_targets():
    dist = grades(rows=2).with_class_labels(["poor", "fair", "good", "best"])
    torch.testing.assert_close(dist.log_prob(["good", "poor"]), dist.log_prob(torch.tensor([2, 0])))


def test_an_ensemble_averages_the_probabilities_of_ordered_classes():
    members = grades(rows=6).map(lambda parameter: parameter.reshape(3, 2, *parameter.shape[1:]))
    dist, y = ensemble(members), torch.arange(3).unsqueeze(-1)
    torch.testing.assert_close(dist.cdf(y), members.cdf(y.unsqueeze(-1)).mean(1))
    assert dist.kind == dist.components.kind == "ordinal"
    assert (dist.mutual_information > 0).all()


@pytest.mark.parametrize("recalibration", [TemperatureScaling, VectorScaling])
def test_recalibrated_classes_keep_their_order(recalibration, generator):
    dist = grades(rows=400)
    y = dist.sample(generator=generator)
    sharp = OrderedCategorical(logits=3 * dist.logits)
    better = recalibration().fit(sharp, y)(sharp)
    assert better.kind == "ordinal"
    assert dh.nll(better, y) < dh.nll(sharp, y)
    assert better.crps(y).mean() < sharp.crps(y).mean()
    if recalibration is TemperatureScaling:
        assert torch.equal(better.mode, sharp.mode)


def test_metrics_count_the_classes_between_forecast_and_target():
    dist, y = OrderedCategorical(probs=PROBS), torch.tensor([0, 1, 3])
    assert MeanAbsoluteError()(dist, y) == pytest.approx(5 / 3)  # medians 2, 1 and 0
    assert {"rps", "mae", "accuracy", "brier"} <= set(default_metrics("ordinal", num_classes=4))


def test_the_loss_of_ranked_probabilities_trains():
    features, y = wine()
    head = dh.DistributionHead("ordinal", 2, num_classes=5, shared=("cutpoints",)).double()
    head.initialize(y)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = head(features).crps(y).mean()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert head(features).crps(y).mean() < 0.85 * first


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "num_classes"),
        ({"num_classes": 3, "link": "logits"}, "logit"),
        ({"num_classes": 3, "form": "cumulated"}, "cumulative"),
    ],
)
def test_options_that_are_wrong_name_those_that_are_right(options, message):
    with pytest.raises(ValueError, match=message):
        dh.get_family("ordinal", **options)


def test_cutpoints_of_a_cumulative_model_increase():
    with pytest.raises(ValueError, match="strictly increasing"):
        dh.get_family("ordinal", num_classes=3).distribution(loc=0.0, cutpoints=[1.0, 0.5])
    with pytest.raises(ValueError, match="one less than num_classes"):
        dh.get_family("ordinal", num_classes=4).distribution(loc=0.0, cutpoints=[0.5, 1.0])
    unordered = dh.get_family("ordinal", num_classes=3, form="adjacent")
    assert unordered.distribution(loc=0.0, cutpoints=[1.0, 0.5]).probs.sum() == pytest.approx(1)
