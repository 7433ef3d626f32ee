"""What the families of counts promise: their trials, their limits, and what they become there."""

import itertools

import numpy as np
import pytest
import scipy.stats as st
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.distributions.summed import log_sum_over_integers
from disthead.errors import TargetError


def fitted(head: dh.DistributionHead, features, y, **row_constants) -> float:
    """The total log-likelihood after L-BFGS."""
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=500,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
    )

    def closure():
        optimizer.zero_grad()
        loss = dh.nll(head(features, **row_constants), y, reduction="sum")
        loss.backward()
        return loss

    optimizer.step(closure)
    value = closure()
    return -value.item()


@pytest.fixture
def trials():
    """Features, trials and successes of 80 rows; some rows have no trials."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 2))
    total_count = generator.integers(0, 20, 80)
    share = 1 / (1 + np.exp(-(features @ [0.5, -1.0] + 0.3)))
    y = generator.binomial(total_count, share)
    return torch.tensor(features), torch.tensor(total_count), torch.tensor(y)


def test_binomial_regression_reaches_the_maximum_of_a_generalised_linear_model(trials):
    sm = pytest.importorskip("statsmodels.api")
    features, total_count, y = trials
    some = total_count.numpy() > 0
    both = torch.stack([y, total_count - y], -1).numpy()[some]
    model = sm.GLM(both, sm.add_constant(features.numpy()[some]), family=sm.families.Binomial())
    head = dh.DistributionHead("binomial", 2).double().initialize(y, total_count=total_count)
    reached = fitted(head, features, y, total_count=total_count)
    assert reached == pytest.approx(model.fit().llf, abs=1e-6)


def test_initialize_gives_the_share_of_all_trials(trials):
    features, total_count, y = trials
    head = dh.DistributionHead("binomial", 2, shared="all").double()
    head.initialize(y, total_count=total_count)
    share = y.sum() / total_count.sum()
    torch.testing.assert_close(
        head(features, total_count=total_count).probs[0], share.double(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("name", ["binomial", "beta_binomial"])
def test_without_trials_a_head_starts_with_a_warning_and_predicts_nothing(trials, name):
    features, total_count, y = trials
    head = dh.DistributionHead(name, 2).double()
    with pytest.warns(UserWarning, match="without total_count"):
        head.initialize(y)
    assert head(features, total_count=total_count).log_prob(y).isfinite().all()
    with pytest.raises(ValueError, match=r"needs the number of trials.*total_count=n"):
        head(features)


@pytest.mark.parametrize("name", ["binomial", "beta_binomial"])
def test_counts_above_their_trials_are_refused(trials, name):
    features, total_count, y = trials
    y = y.clone()
    y[3] = total_count[3] + 2
    message = rf"at most total_count.*1 of 80 values: {y[3]} at row 3, where total_count is "
    with pytest.raises(TargetError, match=message + rf"{total_count[3]}\..*poisson"):
        dh.DistributionHead(name, 2).initialize(y, total_count=total_count)
    with pytest.raises(TargetError, match="1 of 3 values: 6 at row 2, where total_count is 5"):
        dh.DistributionHead(name, 2, total_count=5).initialize([0, 3, 6])
    dist = dh.DistributionHead(name, 2).double()(features, total_count=total_count)
    assert dist.log_prob(y)[3] == -torch.inf
    with pytest.raises(TargetError, match="a whole number from 0 to the trials of its row"):
        dh.evaluate(dist, y)


def test_trials_are_a_column_of_a_table(trials, tmp_path):
    pd = pytest.importorskip("pandas")
    import lightning

    from disthead.training import DistributionModule, TabularDataModule

    features, total_count, y = trials
    table = pd.DataFrame({"x": features[:, 0], "n": total_count, "y": y})
    known = {"total_count": "n"}
    trainer = lightning.Trainer(max_epochs=1, default_root_dir=tmp_path, logger=False,
                      enable_progress_bar=False, enable_checkpointing=False)  # fmt: skip
    module = DistributionModule("binomial", hidden_sizes=[4])
    trainer.fit(module, TabularDataModule(table, target="y", known=known))
    table.loc[5, "y"] = 100
    module = DistributionModule("binomial", hidden_sizes=[4])
    with pytest.raises(TargetError, match="column 'y' must be at most total_count"):
        trainer.fit(module, TabularDataModule(table, target="y", known=known))


def test_rows_have_trials_of_their_own():
    total_count = torch.tensor([0.0, 1.0, 40.0]).double()
    for dist in (
        dh.get_family("binomial").distribution(total_count=total_count, probs=0.3),
        dh.get_family("beta_binomial").distribution(
            total_count=total_count, concentration1=0.5, concentration0=2.0
        ),
    ):
        assert dist.support_limits()[1].tolist() == [0, 1, 40]
        assert dist.icdf(torch.tensor(1.0).double()).tolist() == [0, 1, 40]
        assert dist.cdf(torch.tensor(1.0).double())[:2].tolist() == [1, 1]
        assert dist.entropy()[0] == 0
        y = torch.arange(41.0).double()[:, None]
        torch.testing.assert_close(dist.log_prob(y).exp().sum(0), torch.ones(3).double())


def test_a_sure_binomial():
    dist = dh.get_family("binomial").distribution(total_count=4, probs=torch.tensor([0.0, 1.0]))
    assert dist.log_prob(torch.tensor([0, 4])).tolist() == [0, 0]
    assert dist.log_prob(torch.tensor([1, 3])).tolist() == [-torch.inf, -torch.inf]
    assert dist.entropy().tolist() == [0, 0]


def test_a_precise_beta_binomial_is_binomial():
    y = torch.arange(11.0).double()
    sure = dh.get_family("beta_binomial", parametrization="mean").distribution(
        mean=torch.tensor(0.3).double(), precision=1e9, total_count=10
    )
    binomial = dh.get_family("binomial").distribution(
        probs=torch.tensor(0.3).double(), total_count=10
    )
    torch.testing.assert_close(sure.log_prob(y), binomial.log_prob(y), rtol=0, atol=1e-6)
    assert sure.mean == pytest.approx(3)


@pytest.mark.parametrize("mean", [3.0, 400.0, 1e6])
def test_sums_over_many_integers(mean):
    """Tails of a Poisson distribution, which SciPy knows in closed form."""
    poisson = dh.get_family("poisson").distribution(rate=torch.tensor(mean).double())
    k = torch.tensor([mean + step * mean**0.5 // 1 for step in (-15, -1, 3)]).clamp(min=0).double()
    last = k + 60 * mean**0.5 + 60
    below = log_sum_over_integers(poisson._log_mass, torch.zeros(3).double(), k)
    above = log_sum_over_integers(poisson._log_mass, k + 1, last)
    np.testing.assert_allclose(below[:2], st.poisson(mean).logcdf(k[:2]), rtol=1e-9)
    np.testing.assert_allclose(above[2], st.poisson(mean).logsf(k[2]), rtol=1e-9)


def vectors(total: int, classes: int = 3) -> torch.Tensor:
    """All vectors of counts with this sum."""
    some = itertools.product(range(total + 1), repeat=classes)
    return torch.tensor([y for y in some if sum(y) == total]).double()


@pytest.mark.parametrize("raw", [[0.3, -0.2, 1.0], [4.0, 2.0, 3.5], [-2.0, -1.5, -3.0]])
@pytest.mark.parametrize("name", ["multinomial", "dirichlet_multinomial"])
def test_vectors_of_counts_by_all_outcomes(name, raw):
    family = dh.get_family(name, event_shape=(3,), total_count=7)
    dist, y = family.from_raw(torch.tensor(raw).double()), vectors(7)
    probability = dist.log_prob(y).exp()
    torch.testing.assert_close(probability.sum(), torch.ones(()).double())
    mean = probability @ y
    torch.testing.assert_close(dist.mean, mean)
    torch.testing.assert_close(
        dist.covariance, ((y - mean).mT * probability) @ (y - mean), atol=1e-12, rtol=1e-9
    )
    torch.testing.assert_close(dist.entropy(), -(probability * probability.log()).sum())
    assert dist.log_prob(dist.mode) == dist.log_prob(y).max()
    for k in range(3):
        ones = [probability[y[:, k] == count].sum() for count in range(8)]
        marginal = dist.marginals.log_prob(torch.arange(8.0).double()[:, None])[:, k].exp()
        torch.testing.assert_close(marginal, torch.stack(ones))
    other = family.from_raw(torch.tensor(raw).double().flip(0))
    expected = (probability * (dist.log_prob(y) - other.log_prob(y))).sum()
    torch.testing.assert_close(kl_divergence(dist, other), expected)
    assert dist.log_prob(torch.tensor([3.0, 3.0, 3.0])) == -torch.inf


@pytest.mark.parametrize("name", ["multinomial", "dirichlet_multinomial"])
def test_sampled_vectors_of_counts_have_the_mean_and_the_covariance(name):
    torch.manual_seed(0)
    family = dh.get_family(name, event_shape=(3,), total_count=20)
    dist = family.from_raw(torch.tensor([0.5, -0.5, 1.5]).double())
    y = dist.sample((20_000,))
    assert (y.sum(-1) == 20).all()
    error = (dist.variance / len(y)).sqrt()
    assert ((y.mean(0) - dist.mean).abs() < 4 * error).all()
    torch.testing.assert_close(torch.cov(y.mT), dist.covariance, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("name", ["multinomial", "dirichlet_multinomial"])
def test_vectors_bring_their_trials_with_them(name):
    torch.manual_seed(0)
    y = torch.tensor([[3, 1, 0], [0, 0, 0], [5, 5, 2], [1, 0, 0]])
    head = dh.DistributionHead(name, 2, event_shape=(3,)).double()
    features = torch.zeros(4, 2, dtype=torch.float64)
    dist = head.initialize(y)(features, total_count=y.sum(-1))
    assert dist.log_prob(y).isfinite().all()
    torch.testing.assert_close(dist.mean.sum(-1), y.sum(-1).double())
    if name == "multinomial":
        torch.testing.assert_close(dist.probs[0], y.sum(0).double() / y.sum(), rtol=1e-4, atol=1e-4)
    message = r"add up to total_count.*1 of 4 values: .*at row 2, where total_count is 11"
    with pytest.raises(TargetError, match=message):
        head.initialize(y, total_count=torch.tensor([4, 0, 11, 1]))


def test_two_classes_are_successes_and_failures():
    raw, y = torch.tensor([0.3, -0.4]).double(), torch.arange(9.0).double()
    both = torch.stack([y, 8 - y], -1)
    of_two = dh.get_family("multinomial", event_shape=(2,), total_count=8).from_raw(raw)
    of_one = dh.get_family("binomial").distribution(logits=raw[0] - raw[1], total_count=8)
    torch.testing.assert_close(of_two.log_prob(both), of_one.log_prob(y))
    of_two = dh.get_family("dirichlet_multinomial", event_shape=(2,), total_count=8).from_raw(raw)
    of_one = dh.get_family("beta_binomial", total_count=8).from_raw(raw)
    torch.testing.assert_close(of_two.log_prob(both), of_one.log_prob(y))


@pytest.mark.parametrize(
    "dist",
    [
        dh.get_family("generalized_poisson").distribution(
            mean=torch.tensor(4.5).double(), dispersion=1.0
        ),
        dh.get_family("conway_maxwell_poisson").distribution(
            rate=torch.tensor(4.5).double(), nu=1.0
        ),
        dh.get_family("conway_maxwell_poisson", parametrization="mean").distribution(
            mean=torch.tensor(4.5).double(), nu=1.0
        ),
    ],
    ids=["generalized_poisson", "rate", "mean"],
)
def test_without_more_or_less_scatter_they_are_poisson(dist):
    y = torch.arange(20.0).double()
    poisson = dh.get_family("poisson").distribution(rate=torch.tensor(4.5).double())
    for answer in ("log_prob", "log_cdf", "log_survival", "crps"):
        torch.testing.assert_close(getattr(dist, answer)(y), getattr(poisson, answer)(y))
    assert dist.variance == pytest.approx(4.5)


def test_a_slow_decay_is_geometric():
    y = torch.arange(20.0).double()
    slow = dh.get_family("conway_maxwell_poisson").distribution(
        rate=torch.tensor(0.7).double(), nu=1e-12
    )
    geometric = dh.get_family("geometric").distribution(probs=torch.tensor(0.3).double())
    torch.testing.assert_close(slow.log_prob(y), geometric.log_prob(y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mean", [0.05, 1.0, 30.0, 2000.0])
@pytest.mark.parametrize("nu", [1e-3, 0.3, 1.0, 4.0])
def test_the_rate_that_is_solved_for_gives_the_mean(mean, nu):
    family = dh.get_family("conway_maxwell_poisson", parametrization="mean")
    dist = family.distribution(mean=torch.tensor(mean).double(), nu=torch.tensor(nu).double())
    same = dh.get_family("conway_maxwell_poisson").distribution(rate=dist.rate, nu=dist.nu)
    torch.testing.assert_close(same.mean, dist.mean, rtol=1e-9, atol=0)


def test_a_geometric_distribution_is_negative_binomial_with_one_success():
    y = torch.arange(20.0).double()
    geometric = dh.get_family("geometric").distribution(logits=torch.tensor(-0.8).double())
    one = dh.get_family("negative_binomial").distribution(
        total_count=1.0, logits=torch.tensor(0.8).double()
    )
    torch.testing.assert_close(geometric.log_prob(y), one.log_prob(y))


def test_a_generalised_poisson_regression_reaches_the_maximum_of_statsmodels(trials):
    discrete = pytest.importorskip("statsmodels.discrete.discrete_model")
    features, _, _ = trials
    generator = np.random.default_rng(1)
    mean = np.exp(0.8 + features.numpy() @ [0.4, -0.3])
    y = generator.negative_binomial(2.0, 2.0 / (2.0 + mean))
    design = np.column_stack([np.ones(len(y)), features.numpy()])
    model = discrete.GeneralizedPoisson(y, design, p=1).fit(disp=0, maxiter=500)
    head = dh.DistributionHead(
        "generalized_poisson", 2, links={"mean": "exp"}, shared=("dispersion",)
    ).double()
    targets = torch.tensor(y)
    reached = fitted(head.initialize(targets), features, targets)
    assert reached == pytest.approx(model.llf, abs=1e-3)


def test_many_quantiles_of_a_mixture_of_geometric_counts():
    family = dh.get_family("mixture", component="geometric")
    raw = torch.randn(3, family.width(), generator=torch.Generator().manual_seed(0)).double()
    dist, levels = family.from_raw(raw), torch.linspace(0.1, 0.9, 7, dtype=torch.float64)[:, None]
    quantile = dist.icdf(levels)
    assert torch.equal(quantile, torch.cat([dist.icdf(level[None]) for level in levels]))
    assert ((dist.cdf(quantile) >= levels) & (dist.cdf(quantile - 1) < levels)).all()
