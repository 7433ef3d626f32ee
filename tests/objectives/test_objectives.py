"""Objectives: one number per row, gradients by every parameter, a mean over rows with weights, and
clear refusals.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import disthead as dh
from disthead.losses import loss
from disthead.objectives import check_objective, get_objective, name_of, names, specification
from tests.cases import NAMED, Case, rows
from tests.objectives.table import OBJECTIVES, Row


def pairs(cases_of, units: bool = True) -> list:
    """The pairs of a row and a case, for `pytest.mark.parametrize`."""
    return [
        pytest.param(row, *parameter.values, marks=parameter.marks, id=f"{row}-{parameter.id}")
        for row in OBJECTIVES
        for parameter in rows(cases_of(row))
        if units or parameter.values[0].units is None
    ]


# each derivative by itself
PLAIN = ("normal", "student_t", "gamma", "poisson", "mixture of normals")


def draw(row: Row, case: Case, count: int = 2) -> tuple[Tensor, Tensor]:
    """Raw outputs beside those of the case, with gradients, and targets of its distribution."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.tensor(case.raw, dtype=torch.float64).expand(count, -1)
    raw = raw + 0.1 * torch.randn(raw.shape, generator=generator, dtype=torch.float64)
    y = case.from_raw(raw.detach()).sample(generator=generator)
    return raw.requires_grad_(), y if row.targets is None else row.targets(y)


def test_every_objective_has_a_row():
    assert {row.name for row in OBJECTIVES} == set(names())


@pytest.mark.parametrize("row, case", pairs(Row.scored))
def test_one_number_per_row_whose_gradient_by_all_parameters_is_right(row, case):
    objective, (raw, y) = row.make(), draw(row, case)
    values = objective(case.from_raw(raw), y)
    assert values.shape == (2,)
    if not case.event_shape or row.cases is not None:
        torch.testing.assert_close(values, row.reference(case.from_raw(raw), y))
    gradient = torch.autograd.grad(values.sum(), raw)[0]
    assert gradient.isfinite().all()
    if not row.is_differentiated:
        return
    near = {"eps": 1e-5, "atol": 1e-6, "rtol": 1e-5, "fast_mode": case.name not in PLAIN}
    assert torch.autograd.gradcheck(lambda raw: objective(case.from_raw(raw), y), raw, **near)


@pytest.mark.parametrize("row, case", pairs(Row.scored, units=False))
def test_a_family_with_the_score_can_be_trained(row, case):
    check_objective(row.make(), case.make_family(), case.event_shape)


@pytest.mark.parametrize("row, case", pairs(Row.refused))
def test_a_distribution_without_the_score_says_so(row, case):
    raw, y = draw(row, case)
    with pytest.raises(NotImplementedError, match=r"\w+ has no "):
        row.make()(case.from_raw(raw), y)


@pytest.mark.parametrize("row, case", pairs(Row.refused, units=False))
def test_a_family_without_the_score_is_refused_with_the_reason_and_what_would_do(row, case):
    with pytest.raises(
        ValueError,
        match=rf"objective '{row.name}' cannot train .*has no .*Try 'nll'( or '\w+')*\.$",
    ):
        check_objective(row.make(), case.make_family(), case.event_shape)


def test_an_ensemble_needs_the_score_of_its_mixture():
    family = dh.get_family("von_mises")
    check_objective(dh.objectives.crps, family)
    with pytest.raises(ValueError, match="a circle with several peaks"):
        check_objective(dh.objectives.crps, family, members=3)
    check_objective(dh.objectives.nll, family, members=3)


def test_the_crps_of_several_outputs_is_their_mean():
    normal = dh.get_family("normal", event_shape=(3,))
    loc, y = torch.zeros(2, 3), torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    dist = normal.distribution(loc=loc, scale=1.0).to_event(1)
    torch.testing.assert_close(dh.objectives.crps(dist, y), dist.marginals.crps(y).mean(1))


# Those that score normal distributions.
OF_NORMALS = [row for row in OBJECTIVES if NAMED["normal"] in row.scored()]


@pytest.mark.parametrize("row", OF_NORMALS, ids=str)
def test_weights_count_like_repeated_rows_and_a_weight_of_zero_is_no_row(row):
    loc = torch.tensor([0.0, 1.0, 2.0, 3.0], requires_grad=True)
    dist = dh.get_family("normal").distribution(loc=loc, scale=2.0)
    y, weight = torch.tensor([1.0, 5.0, 0.0, math.nan]), torch.tensor([1.0, 2.0, 1.0, 0.0])
    mean = loss(row.make(), dist, y, weight=weight)
    repeated = row.make()(dist, y)[[0, 1, 1, 2]].mean()
    torch.testing.assert_close(mean, repeated)
    gradient = torch.autograd.grad(mean, loc)[0]
    assert gradient[3] == 0
    assert gradient[:3].ne(0).all()
    torch.testing.assert_close(loss(row.make(), dist, y, weight=weight, reduction="sum"), 4 * mean)
    assert loss(row.make(), dist, y, weight=weight, reduction="none").shape == (4,)


def test_the_loss_of_the_likelihood_is_nll():
    dist, y = dh.get_family("poisson").distribution(rate=torch.tensor([1.0, 2.0])), [0, 3]
    for options in ({}, {"weight": [1.0, 3.0]}, {"reduction": "sum"}):
        torch.testing.assert_close(
            loss(dh.objectives.nll, dist, y, **options), dh.nll(dist, y, **options)
        )


@pytest.mark.parametrize("row", OF_NORMALS, ids=str)
def test_shapes_that_would_broadcast_are_refused(row):
    dist = dh.get_family("normal").distribution(loc=torch.zeros(3), scale=1.0)
    with pytest.raises(ValueError, match=r"y must have the shape \(3,\).*squeeze"):
        row.make()(dist, torch.zeros(3, 1))


@dataclass(frozen=True)
class Tempered:
    power: float = 1.0

    def __call__(self, dist, y):
        return -self.power * dist.log_prob(y)


@pytest.fixture
def tempered(monkeypatch):
    """An objective with an option, as a file of the folder would have it."""
    monkeypatch.setitem(dh.objectives._objectives(), "tempered", Tempered)


def test_options_are_plain_data(tempered):
    expected = Tempered(0.5)
    assert (
        get_objective("tempered", power=0.5)
        == get_objective({"name": "tempered", "power": 0.5})
        == expected
    )
    assert get_objective(dh.objectives.tempered(power=0.5)) == expected
    assert get_objective(Tempered) == Tempered()
    assert name_of(expected) == "tempered"
    assert specification(expected) == {"name": "tempered", "power": 0.5}
    assert get_objective(specification(expected)) == expected
    with pytest.raises(
        ValueError, match=r"unknown option of the objective tempered 'powr'; did you mean 'power'\?"
    ):
        get_objective("tempered", powr=2)


def test_names_and_options_that_do_not_exist():
    with pytest.raises(
        ValueError, match=r"unknown objective 'crsp'; did you mean 'crps'\? .disthead losses"
    ):
        get_objective("crsp")
    for name in ("kl_div", "kl", "KLDivLoss"):
        with pytest.raises(
            ValueError,
            match=r"is a divergence between two .*: disthead\.divergence\('kl', p, q\)\.",
        ):
            get_objective(name)
    with pytest.raises(ValueError, match="objective crps takes no options, got gamma"):
        get_objective("crps", gamma=2)
    with pytest.raises(
        ValueError, match=r'must have a name, such as \{"name": "crps"\}, got .*gamma'
    ):
        get_objective({"gamma": 2})
    with pytest.raises(ValueError, match=r"must be a name, such as .*got 3"):
        get_objective(3)
    with pytest.raises(AttributeError, match=r"'crsp'; did you mean 'crps'\?"):
        _ = dh.objectives.crsp


@pytest.mark.parametrize(
    "given",
    [
        {"focal": {"gamma": 3.0}},
        "focal(gamma=3.0)",
        "focal(3.0)",
        "disthead.objectives.focal(gamma=3.0)",
    ],
)
def test_options_given_in_another_way_are_shown_as_they_have_to_be(given):
    with pytest.raises(ValueError, match=r'\{"name": "focal", "gamma": 3.0\}'):
        get_objective(given)
    for text in ("focal(gamma=x)", "focal(", "fokal(gamma=2)"):
        with pytest.raises(ValueError, match="unknown objective"):
            get_objective(text)


@pytest.mark.parametrize(
    "given, name, ours",
    [
        (torch.nn.MSELoss(), "MSELoss", "called 'mse' here"),
        (torch.nn.MSELoss, "MSELoss", "called 'mse' here"),
        (torch.nn.functional.mse_loss, "mse_loss", "called 'mse' here"),
        (torch.nn.CrossEntropyLoss(), "CrossEntropyLoss", "called 'cross_entropy' here"),
        (torch.nn.KLDivLoss(), "KLDivLoss", r"disthead\.divergence\('kl', p, q\)"),
        (torch.nn.MarginRankingLoss(), "MarginRankingLoss", "which takes predictions. .disthead"),
    ],
)
def test_losses_of_pytorch_are_no_objectives(given, name, ours):
    for refuse in (get_objective, lambda given: check_objective(given, dh.get_family("normal"))):
        with pytest.raises(ValueError, match=rf"of \(dist, y\) .* PyTorch's {name}, .*{ours}"):
            refuse(given)


def absolute_error(dist, y):
    return (dist.mean - y).abs()


def test_a_function_of_ones_own_is_an_objective():
    assert get_objective(absolute_error) is absolute_error
    assert name_of(absolute_error) == "absolute_error"
    assert name_of(lambda dist, y: y) == "objective"
    assert specification(absolute_error) is None
    check_objective(absolute_error, dh.get_family("normal"))


@pytest.mark.parametrize(
    "function, message",
    [
        (
            lambda dist, y: dist.log_prob(y).mean(),
            r"must return one number per row, shape \(2,\) for two rows, got \(\)",
        ),
        (
            lambda dist, y: 3.0,
            r"must return one number per row, shape \(2,\) for two rows, got 3.0",
        ),
        (lambda dist, y: dist.log_prob(y).detach(), "it has no gradient by the parameters"),
    ],
)
def test_a_function_that_cannot_be_an_objective_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        check_objective(function, dh.get_family("normal"))
