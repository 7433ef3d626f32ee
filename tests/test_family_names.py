"""Names, options and declarations: what `families()` and `get_family` promise."""

import pytest

import disthead as dh

FIGURE = [
    "normal",
    "laplace",
    "student_t",
    "mixture",
    "normal_mixture",
    "exponential",
    "gamma",
    "beta",
    "multivariate_normal",
    "von_mises",
    "bernoulli",
    "categorical",
    "poisson",
    "plackett_luce",
]


def test_figure_comes_first():
    assert dh.families()[: len(FIGURE)] == FIGURE
    assert {"negative_binomial", "log_normal", "weibull"} <= set(dh.families())


@pytest.mark.parametrize(
    "name, options, links",
    [
        ("normal", {}, {"loc": "identity", "scale": "softplus"}),
        ("student_t", {}, {"df": "softplus", "loc": "identity", "scale": "softplus"}),
        ("mixture", {}, {"logits": "softmax", "loc": "identity", "scale": "softplus"}),
        ("exponential", {}, {"rate": "softplus"}),
        ("gamma", {}, {"concentration": "softplus", "rate": "softplus"}),
        ("gamma", {"parametrization": "mean"}, {"mean": "softplus", "concentration": "softplus"}),
        ("beta", {}, {"concentration1": "softplus", "concentration0": "softplus"}),
        ("beta", {"parametrization": "mean"}, {"mean": "sigmoid", "precision": "softplus"}),
        (
            "multivariate_normal",
            {"event_shape": (2,)},
            {"loc": "identity", "scale_tril": "scale_tril"},
        ),
        ("von_mises", {}, {"loc": "direction", "concentration": "softplus"}),
        ("bernoulli", {}, {"logits": "sigmoid"}),
        ("categorical", {"num_classes": 3}, {"logits": "softmax"}),
        ("poisson", {}, {"rate": "softplus"}),
        ("plackett_luce", {"event_shape": (3,)}, {"logits": "softmax"}),
        ("negative_binomial", {}, {"total_count": "softplus", "logits": "identity"}),
        (
            "negative_binomial",
            {"parametrization": "mean"},
            {"mean": "softplus", "total_count": "softplus"},
        ),
        ("log_normal", {}, {"loc": "identity", "scale": "softplus"}),
        ("weibull", {}, {"scale": "softplus", "concentration": "softplus"}),
    ],
)
def test_parameters_and_default_links_in_the_order_of_the_table(name, options, links):
    family = dh.get_family(name, **options)
    assert list(family.parameters) == list(links)
    assert {parameter: link.name for parameter, link in family.parameters.items()} == links


def test_student_t_has_a_finite_variance_unless_told_otherwise():
    import torch

    raw = torch.tensor([-30.0, 0.0, 0.0], dtype=torch.float64)
    assert float(dh.get_family("student_t").from_raw(raw).df) > 2
    assert float(dh.get_family("student_t", min_df=0).from_raw(raw).df) == pytest.approx(
        0, abs=1e-12
    )


def test_a_family_passes_through():
    family = dh.get_family("gamma", parametrization="mean")
    assert dh.get_family(family) is family
    with pytest.raises(
        ValueError, match="options parametrization belong to a family given by name"
    ):
        dh.get_family(family, parametrization="rate")
