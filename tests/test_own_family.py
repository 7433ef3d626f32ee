"""Families of one's own: found by name, by path and by entry point, and tried by `check_family`."""

import importlib
import importlib.metadata

import numpy as np
import pytest
import scipy.stats as st
import torch
from torch.distributions import constraints

import disthead as dh
from disthead.cli import main
from disthead.distributions import Discrete
from disthead.families import family as discovery
from disthead.families.logistic import Logistic, LogisticFamily
from disthead.testing import check_family

PATH = "examples.own_family.GompertzFamily"


def gompertz():
    return importlib.import_module("examples.own_family")


def broken_family():
    return importlib.import_module("tests.broken_family")


def test_the_example_is_scipys_distribution_and_learns():
    dist = gompertz().GompertzFamily().distribution(scale=2.0, concentration=0.5)
    frozen = st.gompertz(0.5, scale=2.0)
    y = torch.linspace(0.0, 8.0, 9, dtype=torch.float64)
    np.testing.assert_allclose(dist.log_prob(y), frozen.logpdf(y), rtol=1e-6)
    np.testing.assert_allclose(dist.cdf(y), frozen.cdf(y), rtol=1e-6)
    assert dist.mean.item() == pytest.approx(frozen.mean(), rel=1e-6)
    assert gompertz().main() == pytest.approx(np.e, rel=0.05)


@pytest.mark.slow
def test_the_example_compiles():
    check_family(PATH)


def test_the_example_passes_every_other_check():
    check_family(gompertz().GompertzFamily, compile=False)


def shifted(name):
    """The answer, too great by a tenth."""

    def answer(self, *arguments):
        return getattr(super(broken_family().Broken, self), name)(*arguments) + 0.1

    return answer


# what is broken -> how -> what is found
FAULTS = {
    "log_prob": (shifted("log_prob"), "integral of the density"),
    "cdf": (shifted("cdf"), "log_cdf: expected"),
    "log_survival": (shifted("log_survival"), "log_survival: expected"),
    "_inverse": (shifted("_inverse"), "icdf: the quantile at"),
    "mean": (property(lambda self: self.loc + 1.0), "mean: expected"),
    "variance": (property(lambda self: self.scale), "variance: expected"),
    "median": (property(lambda self: self.loc + 1.0), "median, against icdf"),
    "mode": (property(lambda self: self.loc + 1.0), "mode: "),
    "entropy": (lambda self: self.log_scale, "entropy: expected"),
    "crps": (shifted("crps"), "crps: expected"),
    "sample": (
        lambda self, shape=(), generator=None: torch.zeros((*shape, *self.batch_shape)),
        "pit: that of samples",
    ),
    "pit": (lambda self, y, generator=None: self.cdf(y).square(), "pit: that of samples"),
    "interval": (lambda self, level: (self.mean, self.mean), "lower end of interval"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_answer_is_found(name, monkeypatch):
    fault, found = FAULTS[name]
    Broken, BrokenFamily = broken_family().Broken, broken_family().BrokenFamily
    monkeypatch.setattr(Broken, name, fault, raising=False)
    monkeypatch.setattr(BrokenFamily, "distribution_class", None)
    with pytest.raises(AssertionError, match=found) as error:
        check_family(BrokenFamily, compile=False)
    assert "broken fails" in str(error.value)
    assert "at loc=" in str(error.value)


def wrong_gradient(y, loc, scale):
    value, by_loc, by_scale = Logistic.log_prob_and_grad(y, loc, scale)
    return value, 2 * by_loc, by_scale


def test_wrong_derivatives_texts_starts_and_constants_are_found(monkeypatch):
    BrokenFamily = broken_family().BrokenFamily
    for name, fault, found in (
        ("noise", "", "text 'noise' is missing"),
        ("initial_estimate", lambda self, y: {"loc": y.mean(0)}, "fit: raised KeyError"),
        ("make", lambda self, loc, scale, **logs: Logistic(loc, 2 * scale), "of raw outputs"),
        ("support", torch.distributions.constraints.positive, "samples: outside the support"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(BrokenFamily, name, fault)
            if name == "make":  # the distribution by values is another one than by raw outputs
                patch.setattr(BrokenFamily, "distribution", LogisticFamily().distribution)
            patch.setattr(BrokenFamily, "distribution_class", None)
            found = found.replace("of raw outputs", "in place of raw outputs")
            with pytest.raises(AssertionError, match=found):
                check_family(BrokenFamily, compile=False)


def test_an_answer_that_is_missing_with_a_reason_is_left_out(monkeypatch):
    def without(self):
        raise NotImplementedError("Broken has no entropy: nobody knows it.")

    monkeypatch.setattr(broken_family().Broken, "entropy", without)
    check_family(broken_family().BrokenFamily, compile=False)


def test_wrong_derivatives_of_the_fused_loss_are_found():
    class Wrong(Logistic):
        log_prob_and_grad = staticmethod(wrong_gradient)

    class WrongFamily(LogisticFamily):
        name = "wrong_gradient"
        distribution_class = Wrong

        def make(self, **parameters):
            return Wrong(**parameters)

    with pytest.raises(AssertionError, match="raw output 0 in single precision"):
        check_family(WrongFamily, compile=False)


def test_a_family_goes_by_its_path():
    assert dh.get_family(PATH).name == "gompertz"
    assert dh.DistributionHead(PATH, 2)(torch.zeros(3, 2)).batch_shape == (3,)
    assert dh.explain(PATH).startswith("gompertz")
    with pytest.raises(ValueError, match=r"cannot be imported.*PYTHONPATH"):
        dh.get_family("no_such_module.MyFamily")
    with pytest.raises(ValueError, match="has no 'GompertsFamily'"):
        dh.get_family("examples.own_family.GompertsFamily")
    with pytest.raises(ValueError, match=r"must be a subclass of disthead\.Family"):
        dh.get_family("torch.nn.Linear")
    with pytest.raises(ValueError, match="by its path, such as my_package"):
        dh.get_family("gompertzz")


@pytest.fixture
def installed(monkeypatch):
    """Entry points as if packages that declare them were installed."""

    def install(*points):
        found = [importlib.metadata.EntryPoint(*point, discovery.ENTRY_POINTS) for point in points]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found)
        discovery._import_installed.cache_clear()

    yield install
    monkeypatch.undo()
    discovery._import_installed.cache_clear()


def test_a_family_of_an_installed_package_is_in_the_table(installed):
    installed(("gompertz", "examples.own_family:GompertzFamily"))
    assert "gompertz" in dh.families()


def test_a_broken_package_is_named_and_left_out(installed):
    installed(("frechet", "no_such_package:FrechetFamily"))
    with pytest.warns(UserWarning, match="'frechet' of the entry point 'no_such_package:Frechet"):
        assert "normal" in dh.families()


def test_the_name_of_a_family_of_the_library_is_taken():
    with pytest.raises(ValueError, match="has the name 'normal', which is that of disthead"):

        class MyNormal(LogisticFamily):
            name = "normal"


@pytest.fixture
def lifetimes(tmp_path):
    table = tmp_path / "lifetimes.csv"
    ages = st.gompertz(0.5, scale=2.0).ppf(np.random.default_rng(0).random(200))
    table.write_text("x,y\n" + "\n".join(f"{k % 7},{age:.6f}" for k, age in enumerate(ages)))
    return table


def test_the_command_line_trains_it_and_loads_it_where_it_is_trusted(lifetimes, tmp_path, capsys):
    folder = tmp_path / "run"
    fit = ["fit", "--data.path", str(lifetimes), "--data.target", "y", "--model.family", PATH]
    assert main([*fit, "--trainer.max_epochs", "1", "--trainer.default_root_dir", str(folder)]) in (
        0,
        None,
    )
    (checkpoint,) = list(folder.rglob("best.ckpt")) or list(folder.rglob("*.ckpt"))[:1]
    predict = ["predict", "--ckpt", str(checkpoint), "--data.predict_path", str(lifetimes)]
    out = tmp_path / "predictions.csv"
    assert main([*predict, "--out", str(out)]) != 0
    assert "--trust" in capsys.readouterr().err
    assert main([*predict, "--out", str(out), "--trust", "examples"]) in (0, None)
    assert out.exists()


def test_an_estimator_learns_it_by_name():
    x = np.arange(100.0)[:, None]
    y = st.gompertz(0.5, scale=2.0).ppf((np.arange(100) + 0.5) / 100)
    gompertz()
    model = dh.DistributionRegressor(family="gompertz", max_steps=5).fit(x, y)
    assert np.isfinite(model.predict(x)).all()


class DiscreteLindley(Discrete):
    """P(Y > k) = (1 + r (k + 1) / (1 + r)) exp(-r (k + 1)), for k = 0, 1, 2, ..."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative_integer

    def __init__(self, rate):
        self._set_parameters(rate=rate)

    def _log_survival(self, k):
        r = self.rate
        return torch.log1p(r * (k + 1) / (1 + r)) - r * (k + 1)

    def _log_cdf(self, k):
        return torch.log(-torch.expm1(self._log_survival(k)))

    def _log_mass(self, k):
        above, through = self._log_survival(k), self._log_survival(k - 1)
        return through + torch.log(-torch.expm1(above - through))

    @property
    def mode(self):
        k = torch.arange(50.0, dtype=torch.float64).reshape(-1, *(1,) * self.rate.ndim)
        return self._log_mass(k).argmax(0).to(self.dtype)


def test_a_count_of_ones_own_answers_by_sums_and_quantiles():
    rate = torch.tensor([0.7, 2.0], dtype=torch.float64)
    dist = DiscreteLindley(rate)
    k = torch.arange(200, dtype=torch.float64)[:, None]
    mass = dist.log_prob(k).exp()
    torch.testing.assert_close(mass.sum(0), torch.ones(2, dtype=torch.float64))
    mean = (mass * k).sum(0)
    torch.testing.assert_close(dist.mean, mean, rtol=1e-9, atol=0)
    second = (mass * (k - mean).square()).sum(0)
    torch.testing.assert_close(dist.variance, second, rtol=1e-9, atol=0)
    y = dist.sample((20_000,), torch.Generator().manual_seed(0))
    assert ((y.mean(0) - mean).abs() < 5 * (second / 20_000).sqrt()).all()
    assert dist.crps(y[:5]).isfinite().all()


def test_a_family_that_takes_no_logarithms_is_told_so():
    class WithoutLogarithms(LogisticFamily):  # without a name, so that no other test meets it
        def make(self, loc, scale):
            return Logistic(loc, scale)

    words = r"WithoutLogarithms\.make must take log_scale.*make\(self, loc, scale, \*\*logarithms\)"
    with pytest.raises(AssertionError, match=words):
        check_family(WithoutLogarithms, compile=False)
    with pytest.raises(TypeError, match=words):
        dh.DistributionHead(WithoutLogarithms(), 2)(torch.zeros(3, 2))
