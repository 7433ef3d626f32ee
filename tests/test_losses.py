"""With the right family and fixed parameters the negative log-likelihood is the classical loss."""

import math

import pytest
import torch
from torch.nn import functional

import disthead as dh


@pytest.fixture
def outputs(generator):
    return torch.randn(20, 5, generator=generator, dtype=torch.float64)


def dist(family, event_shape=(), **parameters):
    options = {"num_classes": 5} if family == "categorical" else {}
    return dh.get_family(family, event_shape=event_shape, **options).distribution(**parameters)


def test_normal_with_fixed_scale_is_mean_squared_error(outputs):
    loc, y = outputs[:, 0], outputs[:, 1]
    loss = dh.nll(dist("normal", loc=loc, scale=math.sqrt(0.5)), y)
    torch.testing.assert_close(loss - 0.5 * math.log(math.pi), functional.mse_loss(loc, y))


def test_laplace_with_fixed_scale_is_mean_absolute_error(outputs):
    loc, y = outputs[:, 0], outputs[:, 1]
    torch.testing.assert_close(
        dh.nll(dist("laplace", loc=loc, scale=1.0), y) - math.log(2), functional.l1_loss(loc, y)
    )


def test_bernoulli_is_binary_cross_entropy(outputs):
    logits, y = 30 * outputs[:, 0], (outputs[:, 1] > 0).double()
    expected = functional.binary_cross_entropy_with_logits(logits, y)
    torch.testing.assert_close(dh.nll(dist("bernoulli", logits=logits), y), expected)


def test_categorical_is_cross_entropy_in_every_form(outputs, generator):
    classes = torch.randint(5, (20,), generator=generator)
    expected = functional.cross_entropy(outputs, classes)
    head = dist("categorical", logits=outputs)
    torch.testing.assert_close(dh.nll(head, classes), expected)
    torch.testing.assert_close(dh.nll(head, functional.one_hot(classes, 5).double()), expected)
    torch.testing.assert_close(
        dh.nll(dist("categorical", probs=outputs.softmax(-1)), classes), expected
    )
    soft = torch.rand(20, 5, generator=generator, dtype=torch.float64).softmax(-1)
    torch.testing.assert_close(dh.nll(head, soft), functional.cross_entropy(outputs, soft))


def test_poisson_is_poisson_deviance(outputs, generator):
    rate, y = outputs[:, 0].exp(), torch.poisson(5 * outputs[:, 1].exp(), generator=generator)
    saturated = dh.nll(dist("poisson", rate=y.clamp(min=1e-300)), y)
    deviance = 2 * (torch.special.xlogy(y, y / rate) - (y - rate)).mean()
    torch.testing.assert_close(2 * (dh.nll(dist("poisson", rate=rate), y) - saturated), deviance)


def test_exponential_is_ratio_plus_log(outputs):
    mean, y = outputs[:, 0].exp(), outputs[:, 1].exp()
    torch.testing.assert_close(
        dh.nll(dist("exponential", rate=1 / mean), y), (y / mean + mean.log()).mean()
    )


def test_plackett_luce_is_listmle(outputs, generator):
    order = torch.stack([torch.randperm(5, generator=generator) for _ in range(20)])
    ordered = outputs.gather(-1, order)
    listmle = sum(ordered[:, k:].logsumexp(-1) - ordered[:, k] for k in range(5)).mean()
    torch.testing.assert_close(dh.nll(dist("plackett_luce", (5,), logits=outputs), order), listmle)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_uniform_prediction_scores_log_of_the_number_of_classes(classes):
    uniform = dh.get_family("categorical", num_classes=classes).from_raw(torch.zeros(3, classes))
    assert float(dh.nll(uniform, torch.tensor([0, 1, classes - 1]))) == pytest.approx(
        math.log(classes), rel=1e-6
    )


def test_reductions_and_weights(outputs):
    loc, y, weight = outputs[:, 0], outputs[:, 1], outputs[:, 2].exp()
    normal = dist("normal", loc=loc, scale=1.0)
    rows = dh.nll(normal, y, reduction="none")
    torch.testing.assert_close(rows, -normal.log_prob(y))
    torch.testing.assert_close(dh.nll(normal, y), rows.mean())
    torch.testing.assert_close(dh.nll(normal, y, reduction="sum"), rows.sum())
    torch.testing.assert_close(
        dh.nll(normal, y, weight=weight), (weight * rows).sum() / weight.sum()
    )
    torch.testing.assert_close(
        dh.nll(normal, y, weight=torch.ones(20, dtype=torch.float64)), rows.mean()
    )


def test_weights_count_like_repeated_rows(outputs):
    y = outputs[:3, 0]
    repeated = dh.nll(dist("normal", loc=torch.zeros(4).double(), scale=1.0), y[[0, 1, 1, 2]])
    weighted = dh.nll(
        dist("normal", loc=torch.zeros(3).double(), scale=1.0),
        y,
        weight=torch.tensor([1.0, 2.0, 1.0]),
    )
    torch.testing.assert_close(weighted, repeated)


def test_shapes_that_would_broadcast_are_refused(outputs):
    normal = dist("normal", loc=outputs[:, 0], scale=1.0)
    with pytest.raises(ValueError, match=r"y must have the shape \(20,\).*got \(20, 1\).*squeeze"):
        dh.nll(normal, outputs[:, :1])
    with pytest.raises(ValueError, match="weight must have one value per row"):
        dh.nll(normal, outputs[:, 0], weight=torch.ones(1))
    with pytest.raises(ValueError, match="reduction must be"):
        dh.nll(normal, outputs[:, 0], reduction="average")


OF_HEADS = [
    ("normal", {}, torch.randn),
    ("poisson", {}, lambda *shape: torch.randint(4, shape).float()),
    ("categorical", {"num_classes": 5}, lambda *shape: torch.randint(5, shape)),
    ("categorical", {"num_classes": 20}, lambda *shape: torch.randint(20, shape)),
    ("normal_mixture", {"num_components": 3}, torch.randn),
]


@pytest.mark.parametrize("batch_shape", [(7,), (2, 3)])
@pytest.mark.parametrize("family, options, targets", OF_HEADS)
def test_the_mean_of_a_fused_loss_is_that_of_its_rows(family, options, targets, batch_shape):
    torch.manual_seed(0)
    family = dh.get_family(family, **options)
    raw, y = torch.randn(*batch_shape, family.width(), requires_grad=True), targets(*batch_shape)

    def of_rows():
        return -family.from_raw(raw).log_prob(y).mean()

    def of_all():
        return dh.nll(family.from_raw(raw), y)

    torch.testing.assert_close(of_all(), of_rows())
    with torch.no_grad():
        torch.testing.assert_close(of_all(), of_rows())
    loss, (expected,) = of_all(), torch.autograd.grad(3 * of_rows(), raw)
    for _ in range(2):  # the second time its memory has served
        (gradient,) = torch.autograd.grad(3 * loss, raw, retain_graph=True)
        torch.testing.assert_close(gradient, expected)
    double = raw.detach().double().requires_grad_()
    answers = []
    for values, mean in ((raw, of_all()), (double, -family.from_raw(double).log_prob(y).mean())):
        (first,) = torch.autograd.grad(mean, values, create_graph=True)
        answers.append(torch.autograd.grad(first.square().sum(), values)[0].double())
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-6)


def test_a_family_with_a_log_likelihood_of_its_own_keeps_it():
    class Halved(type(dh.get_family("normal").from_raw(torch.zeros(1, 2)))):
        def log_prob(self, y):
            return 0.5 * super().log_prob(y)

    raw, y = torch.randn(4, 2), torch.randn(4)
    normal = dh.get_family("normal").from_raw(raw)
    halved = Halved._lazy(normal._linked, normal.batch_shape)
    torch.testing.assert_close(dh.nll(halved, y), 0.5 * dh.nll(normal, y))


def test_the_loss_of_a_distribution_of_torch():
    normal, y = torch.distributions.Normal(torch.zeros(3), 1.0), torch.ones(3)
    torch.testing.assert_close(dh.nll(normal, y), -normal.log_prob(y).mean())


@pytest.mark.parametrize(
    "name", ["nll", "focal", "mse", "crps", "brier", "bce", "hinge", "quantile"]
)
def test_raw_outputs_in_place_of_a_distribution(name):
    """The error says how to make a distribution of them."""
    objective = dh.objectives.get_objective(name)
    logits, y = torch.zeros(2, 3), torch.tensor([0, 1])
    for weight in (None, [1.0, 2.0]):
        with pytest.raises(
            TypeError,
            match=r"must be a distribution, got a tensor of shape \(2, 3\).*from_raw\(raw\)",
        ):
            dh.losses.loss(objective, logits, y, weight=weight)
    for function in (objective, dh.nll, dh.losses.cross_entropy):
        with pytest.raises(TypeError, match="must be a distribution"):
            function(logits, y)
    with pytest.raises(TypeError, match=r"must be a distribution, got \[0\.5"):
        objective([0.5, 0.5], y)
