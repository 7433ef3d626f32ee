"""What training does with the parameters that an objective does not train: a warning, and one value
for all rows.
"""

import warnings

import pytest
import torch

import disthead as dh
from disthead import objectives
from disthead.objectives import get_objective, warn_of_untrained
from disthead.recipe import fit_tabular
from disthead.training import DistributionModule, TabularDataModule
from tests.training.test_objective import SMALL, table


def trained(objective, name="normal"):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=generator)
    y = 2 * x[:, 0] + 0.3 * torch.randn(300, generator=generator)
    y = y if name == "normal" else y.exp()
    model, _ = fit_tabular(x, y, family=name, objective=objective, max_steps=300)
    with torch.no_grad():
        return model.predictive(x), y


def test_the_mean_squared_error_leaves_one_scale_for_all_rows_fitted_on_rows_held_out():
    # the recipe has no option that fixes a parameter
    with pytest.warns(UserWarning, match=r"'mse' does not train scale of normal.*distribution\.$"):
        dist, y = trained("mse")
    error = (dist.mean - y).square().mean().sqrt()
    assert float(dist.scale.max() - dist.scale.min()) < 1e-4
    assert 0.6 * error < dist.scale[0] < 2 * error < 0.5 * y.std()


def test_a_score_of_the_mean_does_not_determine_two_parameters_of_it():
    with pytest.warns(UserWarning, match="'mse' does not determine concentration and rate of gam"):
        trained("mse", "gamma")


@pytest.mark.parametrize(
    "name, options, objective, fixed, expected",
    [
        ("normal", {}, "mae", (), ["scale"]),
        ("normal", {}, "mae", ("scale",), []),
        ("student_t", {}, "huber", (), ["df", "scale"]),
        ("gamma", {"parametrization": "mean"}, "gamma_deviance", (), ["concentration"]),
        ("normal", {}, "interval", (), []),
        ("normal", {}, "pinball", (), []),
        ("mixture", {}, "crps", (), []),
        ("categorical", {"num_classes": 3}, "brier", (), []),
        ("poisson", {}, "mse", (), []),
    ],
)
def test_which_parameters_an_objective_does_not_train(name, options, objective, fixed, expected):
    chosen = dh.get_family(name, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert warn_of_untrained(get_objective(objective), chosen, fixed=fixed) == expected
    assert len(caught) == bool(expected)


@pytest.mark.parametrize(
    "name, objective, advice",
    [
        ("normal", objectives.mse, r", or say what you know: fixed=\{'scale': \.\.\.\}\.$"),
        ("normal", objectives.quantile(0.9), r", or fix one of them: fixed=\{'scale': \.\.\.\}\.$"),
        ("gamma", objectives.mse, r"fixed=\{'concentration': \.\.\.\}\.$"),
        ("normal", lambda dist, y: dist.scale, r"'crps' for a whole distribution\.$"),
    ],
)
def test_the_advice_fixes_no_location(name, objective, advice):
    with pytest.warns(UserWarning, match=advice):
        warn_of_untrained(objective, dh.get_family(name), fixed=())


def test_an_interval_does_not_determine_three_parameters():
    with pytest.warns(UserWarning, match="does not determine df and loc and scale of student_t"):
        assert warn_of_untrained(objectives.interval(), dh.get_family("student_t")) == []


def test_several_outputs_and_functions_of_ones_own():
    def first_error(dist, y):
        return (dist.mean - y)[:, 0].square()

    normal = dh.get_family("normal")
    with pytest.warns(UserWarning, match="'first_error' does not train scale of normal"):
        assert warn_of_untrained(first_error, normal, (3,)) == ["scale"]
    assert warn_of_untrained(objectives.crps, normal, (3,)) == []
    single = torch.ones(1)  # which a trial in double precision does not suit
    assert warn_of_untrained(lambda dist, y: (dist.mean - y) @ single, normal, (1,)) == []
    family = dh.get_family("multivariate_normal", event_shape=(3,))
    with pytest.warns(UserWarning, match="does not train scale_tril of multivariate_normal"):
        assert warn_of_untrained(objectives.mse, family, (3,)) == ["scale_tril"]


def test_a_module_keeps_what_is_not_trained_the_same_for_all_rows(trainer):
    frame = table("normal")
    module = DistributionModule(family="normal", objective="mse", **SMALL)
    data = TabularDataModule(frame, target="y", batch_size=20)
    with pytest.warns(UserWarning, match="does not train scale of normal"):
        trainer(3).fit(module, data)
    with torch.no_grad():
        scale = module.eval()(data.part("val").features).scale
    assert float(scale.std() / scale.mean()) < 1e-5
    assert 0.8 < float(scale.mean()) / frame["y"].std() < 1.2
    fixed = DistributionModule(family="normal", objective="mse", fixed={"scale": 30.0}, **SMALL)
    trainer(1).fit(fixed, TabularDataModule(frame, target="y", batch_size=20))
