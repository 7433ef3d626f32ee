"""Likelihoods under their classical names: each is that of a family whose other parameters are
fixed, and PyTorch's or scikit-learn's function.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

import disthead as dh
from disthead import objectives
from disthead.objectives import get_objective

GENERATOR = torch.Generator().manual_seed(0)
ROWS = 50
RAW = torch.randn(ROWS, generator=GENERATOR, dtype=torch.float64)
NUMBERS = RAW + torch.randn(ROWS, generator=GENERATOR, dtype=torch.float64)
AMOUNTS = NUMBERS.exp()
COUNTS = torch.poisson(RAW.exp(), generator=GENERATOR)
LEVEL = 0.8


def family(name, **options):
    return lambda **values: dh.get_family(name, **options).distribution(**values)


# the objective, the distribution of the raw numbers, the likelihood's factor, and targets
EQUIVALENCES = {
    "mse": ("mse", lambda x: family("normal")(loc=x, scale=1.0), 2.0, NUMBERS),
    "mae": ("mae", lambda x: family("laplace")(loc=x, scale=1.0), 1.0, NUMBERS),
    "huber": (
        {"name": "huber", "delta": 1.345},
        lambda x: family("huber")(loc=x, scale=1.0, delta=1.345),
        1.0,
        NUMBERS,
    ),
    "log_cosh": (
        "log_cosh",
        lambda x: family("hyperbolic_secant")(loc=x, scale=1.0),
        1.0,
        NUMBERS,
    ),
    "quantile": (
        {"name": "quantile", "level": LEVEL},
        lambda x: family("asymmetric_laplace")(loc=x, scale=1.0, asymmetry=LEVEL),
        1.0,
        NUMBERS,
    ),
    "poisson_deviance": (
        "poisson_deviance",
        lambda x: family("poisson")(rate=x.exp()),
        2.0,
        COUNTS,
    ),
    "gamma_deviance": (
        "gamma_deviance",
        lambda x: family("gamma", parametrization="mean")(mean=x.exp(), concentration=1.0),
        2.0,
        AMOUNTS,
    ),
    "tweedie_deviance": (
        "tweedie_deviance",
        lambda x: family("tweedie")(mean=x.exp(), dispersion=1.0, power=1.5),
        2.0,
        torch.where(COUNTS == 0, 0.0, AMOUNTS),
    ),
    "bce": (
        "bce",
        lambda x: family("bernoulli")(logits=x),
        1.0,
        (NUMBERS > 0).double(),
    ),
    "cross_entropy": (
        "cross_entropy",
        lambda x: family("categorical", num_classes=2)(
            logits=torch.stack([torch.zeros_like(x), x], -1)
        ),
        1.0,
        (NUMBERS > 0).long(),
    ),
    "ordinal": (
        "ordinal",
        lambda x: family("ordinal", num_classes=3)(loc=x, cutpoints=torch.tensor([-1.0, 1.0])),
        1.0,
        COUNTS.clamp(max=2).long(),
    ),
}


@pytest.mark.parametrize("objective, make, factor, y", EQUIVALENCES.values(), ids=EQUIVALENCES)
def test_it_is_a_likelihood_up_to_a_factor_and_what_does_not_depend_on_the_prediction(
    objective, make, factor, y
):
    """The differences between two predictions are those of the likelihood, and so are gradients."""
    raw = RAW.clone().requires_grad_()
    losses = get_objective(objective)(make(raw), y)
    likelihood = -factor * make(raw).log_prob(y)
    other = get_objective(objective)(make(raw + 0.5), y)
    other_likelihood = -factor * make(raw + 0.5).log_prob(y)
    torch.testing.assert_close(losses - other, likelihood - other_likelihood)
    torch.testing.assert_close(
        *(torch.autograd.grad(one.sum(), raw)[0] for one in (losses, likelihood))
    )


def test_deviances_are_zero_at_the_target_and_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    mean = RAW.exp()
    dist = family("poisson")(rate=mean)
    positive = COUNTS + 1
    for power, objective, y in [
        (1, "poisson_deviance", COUNTS),
        (2, "gamma_deviance", positive),
        *((power, {"name": "tweedie_deviance", "power": power}, COUNTS) for power in (1, 1.5, 1.9)),
        *((power, {"name": "tweedie_deviance", "power": power}, positive) for power in (2, 3, 3.5)),
    ]:
        expected = metrics.mean_tweedie_deviance(y.numpy(), mean.numpy(), power=power)
        losses = get_objective(objective)(dist, y)
        assert float(losses.mean()) == pytest.approx(expected, rel=1e-10)
        at_target = get_objective(objective)(family("poisson")(rate=positive), positive)
        assert at_target.eq(0).all()


def test_deviances_keep_their_digits_near_the_target():
    """Where y and the mean agree in four digits, terms of the textbook's formula cancel."""
    mean = torch.tensor([1.0, 30.0, 1e4])
    y = mean * (1 + 1e-4)
    for name in ("poisson_deviance", "gamma_deviance", "tweedie_deviance"):
        exact = get_objective(name)(family("exponential")(rate=1 / mean.double()), y.double())
        single = get_objective(name)(family("exponential")(rate=1 / mean), y)
        torch.testing.assert_close(single.double(), exact, rtol=1e-2, atol=0)


def test_cross_entropies_one_hot_sparse_soft_and_of_logits_are_one_thing():
    logits = torch.randn(ROWS, 4, generator=GENERATOR, dtype=torch.float64)
    y = torch.randint(4, (ROWS,), generator=GENERATOR)
    one_hot = functional.one_hot(y, 4).double()
    objective, categorical = objectives.cross_entropy(), family("categorical", num_classes=4)
    expected = functional.cross_entropy(logits, y, reduction="none")
    for dist in (categorical(logits=logits), categorical(probs=logits.softmax(-1))):
        for target in (y, one_hot):
            torch.testing.assert_close(objective(dist, target), expected)
            torch.testing.assert_close(objectives.nll(dist, target), expected)
    soft = one_hot.roll(1, 0) * 0.3 + one_hot * 0.7
    torch.testing.assert_close(
        objective(categorical(logits=logits), soft),
        functional.cross_entropy(logits, soft, reduction="none"),
    )
    ignored = torch.where(y == 2, -100, y)
    torch.testing.assert_close(
        objectives.cross_entropy(ignore_index=-100)(categorical(logits=logits), ignored),
        functional.cross_entropy(logits, ignored, reduction="none", ignore_index=-100),
    )
    several = categorical(logits=logits.reshape(-1, 2, 4)).to_event(1)
    torch.testing.assert_close(
        objective(several, y.reshape(-1, 2)), expected.reshape(-1, 2).mean(1)
    )


def test_binary_cross_entropy_is_that_of_two_classes_for_soft_labels_too():
    logits, share = RAW, NUMBERS.sigmoid()
    expected = functional.binary_cross_entropy_with_logits(logits, share, reduction="none")
    torch.testing.assert_close(objectives.bce(family("bernoulli")(logits=logits), share), expected)
    two = torch.stack([torch.zeros_like(logits), logits], -1)
    classes = dh.get_family("categorical", num_classes=2).distribution(logits=two)
    torch.testing.assert_close(objectives.bce(classes, share), expected)
    classes = family("categorical", num_classes=2)(
        logits=torch.stack([torch.zeros_like(logits), logits], -1)
    )
    both = torch.stack([1 - share, share], -1)
    torch.testing.assert_close(objectives.cross_entropy()(classes, both), expected)


@pytest.mark.parametrize("weight", [None, 3.0, (1.0, 2.0, 0.5)])
def test_cross_entropy_of_several_labels_is_that_of_pytorch(weight):
    logits = torch.randn(ROWS, 3, generator=GENERATOR, dtype=torch.float64).requires_grad_()
    y = torch.randint(2, (ROWS, 3), generator=GENERATOR).double()
    dist = family("bernoulli")(logits=logits).to_event(1)
    losses = objectives.multilabel_bce(positive_weight=weight)(dist, y)
    expected = functional.binary_cross_entropy_with_logits(
        logits,
        y,
        reduction="none",
        pos_weight=None if weight is None else torch.tensor(weight, dtype=torch.float64),
    ).mean(1)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(one.sum(), logits)[0] for one in (losses, expected))
    )
    if weight is None:
        margin = functional.multilabel_soft_margin_loss(logits, y, reduction="none")
        torch.testing.assert_close(losses, margin)
        torch.testing.assert_close(losses, objectives.nll(dist, y) / 3)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_losses_of_classes_are_finite_with_right_gradients_at_extreme_logits(size):
    raw = torch.tensor([size, -size, 0.5 * size], requires_grad=True)
    y = torch.tensor([1, 0, 2])
    categorical = family("categorical", num_classes=3)
    cases = {
        "bce": (family("bernoulli")(logits=raw), torch.tensor([1, 0, 1])),
        "multilabel_bce": (family("bernoulli")(logits=raw).to_event(1), torch.tensor([1, 0, 1])),
        "cross_entropy": (categorical(logits=raw.expand(3, 3)), y),
        "brier": (categorical(logits=raw.expand(3, 3)), y),
        "list_mle": (dh.get_family("plackett_luce", event_shape=(3,)).from_raw(raw), y),
    }
    for name, (dist, target) in cases.items():
        losses = get_objective(name)(dist, target)
        gradient = torch.autograd.grad(losses.sum(), raw, retain_graph=True)[0]
        assert losses.isfinite().all(), name
        assert gradient.isfinite().all(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_batch_dimensions_whose_inputs_stay_as_they_are(dtype):
    loc = torch.zeros(2, 1, 3, dtype=dtype)
    for name in ("mse", "mae", "huber", "log_cosh", "quantile", "pinball", "interval", "energy"):
        y = torch.ones(2, 1, 3, dtype=dtype)
        losses = get_objective(name)(family("normal")(loc=loc, scale=1.0), y)
        assert (losses.shape, losses.dtype) == ((2, 1, 3), dtype), name
        assert y.eq(1).all()
    classes = family("categorical", num_classes=3)(logits=loc)
    for name in ("cross_entropy", "brier"):
        losses = get_objective(name)(classes, torch.ones(2, 1, dtype=torch.long))
        assert (losses.shape, losses.dtype) == ((2, 1), dtype), name


# Wrong input.


def test_another_name_of_the_field_is_answered_by_ours():
    for word, name in [
        ("l2", "mse"),
        ("Mean Squared Error", "mse"),
        ("smooth_l1", "huber"),
        ("pinball_loss", "quantile"),
        ("poisson", "poisson_deviance"),
        ("tweedie", "tweedie_deviance"),
        ("bce_with_logits", "bce"),
    ]:
        with pytest.raises(
            ValueError, match=f"unknown objective '{word}'; it is called '{name}' here"
        ):
            get_objective(word)
    with pytest.raises(AttributeError, match="'l1'; it is called 'mae' here"):
        _ = objectives.l1


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(objectives.huber, delta=0), "delta of huber must be a positive number.*got 0"),
        (partial(objectives.quantile, level=1), "level of quantile must be .*between 0 and 1"),
        (partial(objectives.quantile, level="a"), "level of quantile must be .*got 'a'"),
        (
            partial(objectives.tweedie_deviance, power=0.5),
            "power of tweedie_deviance must be a number of at least 1.*mse, got 0.5",
        ),
        (
            partial(objectives.multilabel_bce, positive_weight=(1.0, -1.0)),
            "positive_weight of multilabel_bce must be a positive number",
        ),
        (
            partial(objectives.cross_entropy, class_weight=(0.0, 0.0)),
            "class_weight of cross_entropy must be numbers.*not all 0",
        ),
        (
            partial(objectives.cross_entropy, label_smoothing=2),
            "label_smoothing of cross_entropy must be a number from 0 to 1.*got 2",
        ),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


CLASSES = family("categorical", num_classes=3)(logits=torch.zeros(4, 3))
LABELS = family("bernoulli")(logits=torch.zeros(4, 3)).to_event(1)
OUTCOME = family("bernoulli")(logits=torch.zeros(4))
AMOUNT = family("gamma")(concentration=1.0, rate=torch.ones(4))


@pytest.mark.parametrize(
    "objective, dist, y, message",
    [
        ("bce", OUTCOME, [0, 1, 2, 1], r"0 or 1, or a probability.*2 at row 2"),
        ("bce", OUTCOME, [-1, 1, 1, -1], r"Try \(y \+ 1\) / 2"),
        ("bce", OUTCOME, [0.0, 1.5, 1.0, 0.0], "1.5 at row 1.*continuous family"),
        ("bce", OUTCOME, [[0], [1], [1], [0]], r"must have the shape \(4,\).*squeeze"),
        ("multilabel_bce", LABELS, [0, 2, 1, 1], r"\(4, 3\).*got \(4,\).*one_hot\(y, 3\)"),
        ("cross_entropy", CLASSES, torch.eye(4, 3).long(), r"Try y.argmax\(-1\)"),
        ("cross_entropy", CLASSES, [0.2, 0.3, 0.9, 1.0], r"0.2 at row 0.*shape \(4, 3\)"),
        ("cross_entropy", CLASSES, [0, 1, 3, 1], "3 at row 2.*Number the classes from 0"),
        ("brier", CLASSES, [0, 1, 3, 1], "3 at row 2"),
        ("poisson_deviance", AMOUNT, [0.0, -1.0, 1.0, 2.0], "zero or more.*-1 at row 1.*mse"),
        ("gamma_deviance", AMOUNT, [0.0, 1.0, 1.0, 2.0], r"positive.*0 at row 0.*power=1\.5"),
    ],
)
def test_targets_of_a_wrong_form_say_what_would_do(objective, dist, y, message):
    with pytest.raises(ValueError, match=message):
        get_objective(objective)(dist, torch.as_tensor(y))


def test_weights_of_another_number_of_labels_or_classes():
    with pytest.raises(ValueError, match=r"one for each of the \(3,\) labels, got \(2,\)"):
        objectives.multilabel_bce(positive_weight=(1.0, 2.0))(LABELS, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"one value per class, shape \(3,\), got \(2,\)"):
        objectives.cross_entropy(class_weight=(1.0, 2.0))(CLASSES, torch.zeros(4).long())


def test_a_softmax_too_many_is_said():
    probs = torch.from_numpy(np.random.default_rng(0).dirichlet([1, 1, 1], 20))
    y = probs.argmax(-1)
    chosen = dh.get_family("categorical", num_classes=3)
    for dist in (chosen.from_raw(probs), chosen.distribution(logits=probs)):
        with pytest.raises(ValueError, match=r"all 20 rows .* sum to one.*softmax.*Leave it out"):
            objectives.cross_entropy()(dist, y)
    for dist in (chosen.distribution(probs=probs), chosen.from_raw(probs.log())):
        assert objectives.cross_entropy()(dist, y).isfinite().all()
    few, one_else = probs[:7], torch.cat([probs, torch.zeros(1, 3)])
    objectives.cross_entropy()(chosen.from_raw(few), y[:7])
    objectives.cross_entropy()(chosen.from_raw(one_else), torch.cat([y, y[:1]]))
