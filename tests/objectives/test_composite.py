"""The sum of objectives over heads: rows without a target, fixed and learned weights, errors."""

import copy
import math

import pytest
import torch

import disthead as dh
from disthead import losses
from disthead.losses import loss
from disthead.objectives import get_objective, specification, sum_of

NAN = math.nan
Y = {"price": torch.tensor([0.5, NAN, 3.0, 1.0]), "class": torch.tensor([0.0, 2.0, NAN, 1.0])}


@pytest.fixture
def dists(generator):
    loc = torch.randn(4, generator=generator).requires_grad_()
    logits = torch.randn(4, 3, generator=generator).requires_grad_()
    return {
        "price": dh.get_family("normal").distribution(loc=loc, scale=0.3),
        "class": dh.get_family("categorical", num_classes=3).distribution(logits=logits),
    }


def by_hand(dists, price=1.0, label=1.0):
    """The sum of both heads over the targets that are there."""
    crps = dists["price"].crps(Y["price"].nan_to_num()) * ~Y["price"].isnan()
    nll = -dists["class"].log_prob(Y["class"].nan_to_num().long()) * ~Y["class"].isnan()
    return price * crps + label * nll


def test_the_sum_over_the_targets_that_are_there(dists):
    objective = sum_of({"price": "crps", "class": "nll"})
    values = objective(dists, Y)
    torch.testing.assert_close(values, by_hand(dists))
    gradients = torch.autograd.grad(values.sum(), [dists["price"].loc, dists["class"].logits])
    assert gradients[0][1] == 0
    assert gradients[1][2].eq(0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert objective.factors == {"price": 1.0, "class": 1.0}


def test_fixed_weights_multiply_and_masks_leave_rows_out(dists):
    objective = sum_of({"price": "crps", "class": "nll"}, weights={"price": 2, "class": 0.5})
    torch.testing.assert_close(objective(dists, Y), by_hand(dists, 2.0, 0.5))
    mask = torch.tensor([True, False, False, True])
    masked = objective(dists, Y, {"class": mask})
    torch.testing.assert_close(masked, by_hand(dists, 2.0, 0.5 * mask))
    doubled = objective(dists, Y, {"price": [2.0] * 4, "class": [2.0] * 4})
    torch.testing.assert_close(doubled, 2 * objective(dists, Y))


def test_without_numbers_in_sight_the_sum_is_the_same(dists):
    """Compilers and transforms may not look whether targets are missing."""
    objective = sum_of({"price": "crps", "class": "nll"})

    def of_loc(loc):
        moved = dists["price"].map(lambda value: value + 0 * loc.sum())
        return objective({**dists, "price": moved}, Y).sum()

    loc = torch.zeros(4)
    torch.testing.assert_close(
        torch.func.vmap(of_loc)(loc.expand(2, 4))[0], objective(dists, Y).sum()
    )


@pytest.mark.parametrize("label", ["nll", "multiclass_hinge"])
def test_a_head_without_any_target_has_a_gradient_of_zero(dists, label, monkeypatch):
    """Also where numbers are on a device that should not wait for the host."""
    objective = sum_of({"price": "crps", "class": label})
    for are_concrete in (losses.are_concrete, lambda *values: False):
        monkeypatch.setattr(losses, "are_concrete", are_concrete)
        values = objective(dists, {**Y, "class": torch.full((4,), NAN)})
        torch.testing.assert_close(values, by_hand(dists, 1.0, 0.0))
        gradients = torch.autograd.grad(values.sum(), [dists["price"].loc, dists["class"].logits])
        assert gradients[0][[0, 2, 3]].ne(0).all()
        assert gradients[0][1] == 0
        assert gradients[1].eq(0).all()


@pytest.mark.parametrize("s", [-1.0, 0.0, 0.7])
def test_learned_weights_of_half_the_squared_error_are_a_likelihood(s):
    """Kendall's sum for a number is the likelihood of a normal distribution whose variance exp(s)
    all rows share.
    """

    def half_squared_error(dist, y):
        return 0.5 * (y - dist.mean).square()

    loc, y = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0.5, -1.0, 4.0])
    normal = dh.get_family("normal").distribution
    objective = sum_of({"price": half_squared_error}, weights="learned")
    with torch.no_grad():
        objective.log_variance.fill_(s)
    values = objective({"price": normal(loc=loc, scale=1.0)}, {"price": y})
    expected = -normal(loc=loc, scale=math.exp(s / 2)).log_prob(y) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(values, expected)


def test_learned_weights_end_at_one_over_twice_the_mean_loss(dists):
    objective = sum_of({"price": "crps", "class": "nll"}, weights="learned")
    fixed = {name: dist.map(torch.detach) for name, dist in dists.items()}
    optimizer = torch.optim.LBFGS(objective.parameters(), line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        value = objective(fixed, Y).sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(step)
    for name, function in objective.functions.items():
        weight = (~Y[name].isnan()).float()
        mean = loss(function, fixed[name], Y[name], weight=weight)
        assert objective.factors[name] == pytest.approx(0.5 / mean.item(), rel=1e-3)


def test_gradients_in_double_precision_are_right(generator):
    objective = sum_of({"price": "crps", "class": "nll"}, weights="learned").double()
    loc = torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def of(loc, logits, s):
        objective.log_variance.data.copy_(s)
        dists = {
            "price": dh.get_family("normal").distribution(loc=loc, scale=1.0),
            "class": dh.get_family("categorical", num_classes=3).distribution(logits=logits),
        }
        return torch.func.functional_call(objective, {"log_variance": s}, (dists, Y))

    s = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(of, (loc, logits, s))


def test_options_are_plain_data():
    parts = {"price": {"name": "crps"}, "class": dh.objectives.nll}
    objective = get_objective("sum_of", objectives=parts, weights="learned")
    expected = {
        "name": "sum_of",
        "objectives": {"price": "crps", "class": "nll"},
        "weights": "learned",
    }
    assert specification(objective) == expected
    assert specification(get_objective(expected)) == expected
    copied = copy.deepcopy(objective)
    assert [name for name, _ in copied.named_parameters()] == ["log_variance"]


NLL = {"price": "nll", "class": "nll"}


@pytest.mark.parametrize(
    "objectives, weights, message",
    [
        ({}, None, "needs the objective of each head"),
        ("nll", None, "objectives of sum_of must be a mapping"),
        ({"price": "nlll"}, None, "unknown objective 'nlll'; did you mean 'nll'"),
        (NLL, {"price": 1.0}, "names of weights must be those of the heads, 'price', 'class'"),
        (NLL, {"price": 1.0, "clas": 1.0}, "got 'price', 'clas'"),
        (NLL, {"price": 1.0, "class": -1.0}, "weight of 'class' must be a finite number, zero or"),
        (NLL, {"price": 1.0, "class": NAN}, "weight of 'class' must be a finite number"),
        (NLL, {"price": 0.0, "class": 0.0}, "above zero for some head"),
        (NLL, "learnt", "must be 'learned', None or .*got 'learnt'"),
    ],
)
def test_options_that_cannot_be(objectives, weights, message):
    with pytest.raises(ValueError, match=message):
        sum_of(objectives, weights)


def test_heads_and_targets_that_do_not_match(dists):
    objective = sum_of({"price": "crps", "class": "nll"})
    with pytest.raises(ValueError, match=r"names of targets must be those of the heads.*got 'pric"):
        objective(dists, {"price": Y["price"]})
    with pytest.raises(ValueError, match=r"distributions must be a mapping .*got Normal"):
        objective(dists["price"], Y)
    with pytest.raises(ValueError, match="same rows, got the batch shapes"):
        objective({**dists, "price": dists["price"][:2]}, Y)
    with pytest.raises(ValueError, match=r"y must have the shape \(4,\).*squeeze"):
        objective(dists, {**Y, "price": Y["price"].unsqueeze(-1)})
    with pytest.raises(ValueError, match="unknown head of a weight 'prize'; did you mean 'price'"):
        objective(dists, Y, {"prize": torch.ones(4)})
    with pytest.raises(ValueError, match="weight of 'price' must be finite and zero or more"):
        objective(dists, Y, {"price": torch.tensor([1.0, -1.0, 1.0, 1.0])})


def test_learned_weights_refuse_losses_that_may_be_negative(dists):
    with pytest.raises(ValueError, match=r"'price' has the likelihood of a density.*Try 'crps'"):
        sum_of({"price": "nll", "class": "nll"}, weights="learned")(dists, Y)
    own = sum_of({"price": lambda dist, y: y - dist.mean, "class": "nll"}, weights="learned")
    with pytest.raises(ValueError, match=r"'price' has losses below zero, .* at row"):
        own(dists, {**Y, "price": torch.full((4,), -9.0)})


def test_a_single_family_is_not_trained_by_a_sum():
    with pytest.raises(
        ValueError, match=r"'sum_of' cannot train a family: it takes \(dists, targets\), not \(dis"
    ):
        dh.objectives.check_objective(sum_of({"y": "nll"}), dh.get_family("normal"))


class Doubled:
    """The mean squared error at first, twice the crps from step 10 on, validated by the crps."""

    validated_by = staticmethod(dh.objectives.crps)

    def __call__(self, dist, y):
        return 2 * dh.objectives.crps(dist, y)

    def at_step(self, step):
        return self if step >= 10 else lambda dist, y: (y - dist.mean).square()


def test_objectives_that_change_with_the_steps_and_are_validated_by_others(dists):
    objective = sum_of({"price": Doubled(), "class": "nll"}, weights="learned")
    crps = sum_of({"price": "crps", "class": "nll"}, weights="learned")
    with torch.no_grad():
        objective.log_variance.copy_(torch.tensor([0.5, -0.5]))
        crps.log_variance.copy_(objective.log_variance)
    torch.testing.assert_close(objective.validated_by(dists, Y), crps(dists, Y))
    assert objective.at_step(10) is objective
    first = objective.at_step(0)
    squares = (Y["price"] - dists["price"].mean).square().nan_to_num()
    expected = crps(dists, Y) + math.exp(-0.5) * (squares - by_hand(dists, 1.0, 0.0))
    torch.testing.assert_close(first(dists, Y), expected)
    first(dists, Y).sum().backward()
    assert objective.log_variance.grad is not None
    assert [name for name, _ in objective.named_parameters()] == ["log_variance"]
    plain = sum_of({"price": "crps"})
    assert plain.validated_by is plain is plain.at_step(3)


def test_a_penalty_on_weights_is_not_that_of_one_head():
    def decayed(dist, y):
        return dh.objectives.nll(dist, y)

    decayed.penalty = lambda weights, rows: 0.0
    with pytest.raises(ValueError, match=r"objective of head 'price' has a penalty .*weight_decay"):
        sum_of({"price": decayed, "class": "nll"})
