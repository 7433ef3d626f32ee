"""Probabilities of exactly 0 and 1, and classes, components and items that are not there: answers
and gradients are numbers.
"""

import math

import pytest
import torch
from torch.distributions import kl_divergence

import disthead as dh
from disthead.families import ensemble
from disthead.families.categorical import Categorical
from disthead.likelihood.projection import Projection

each = pytest.mark.parametrize
both_precisions = each("dtype", [torch.float32, torch.float64])
NEAR = 1e-9  # a probability beside 0, where everything has its ordinary derivative


def categorical(probs):
    return dh.get_family("categorical", num_classes=3).distribution(probs=probs)


def bernoulli(probs):
    return dh.get_family("bernoulli").distribution(probs=probs)


def negative_binomial(probs):
    return dh.get_family("negative_binomial").distribution(
        total_count=probs.new_tensor(2.5), probs=probs
    )


def normals(probs):
    parameters = {
        "loc": probs.new_tensor([0.0, 1.0, 5.0]),
        "scale": probs.new_tensor([1.0, 0.5, 0.3]),
    }
    return dh.get_family("mixture", num_components=3).distribution(probs=probs, **parameters)


def poissons(probs):
    family = dh.get_family("mixture", component="poisson", num_components=3)
    return family.distribution(probs=probs, rate=probs.new_tensor([1.0, 5.0, 3.0]))


def ranking(probs):
    return dh.get_family("plackett_luce", event_shape=(4,)).distribution(probs=probs)


def gradient(ask, probs, dtype):
    probs = torch.tensor(probs, dtype=dtype, requires_grad=True)
    value = ask(probs)
    return value.detach(), torch.autograd.grad(value.sum(), probs)[0]


def at(question, y):
    return lambda dist: getattr(dist, question)(torch.tensor(y))


def of(question):
    return lambda dist: getattr(dist, question)


HALVES, ONE = [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]
OF_COUNTS = ["log_prob", "cdf", "log_cdf", "crps"]

# Where a derivative exists at the edge it is that of a probability beside the edge.
SMOOTH = [
    *((categorical, [0.0, 0.5, 0.5], at("log_prob", k)) for k in (1, 2)),
    (categorical, [1.0, 0.0, 0.0], at("log_prob", 0)),
    (categorical, [0.0, 0.5, 0.5], at("log_prob", [0.0, 0.4, 0.6])),
    (categorical, [0.0, 0.5, 0.5], at("brier", 1)),
    (categorical, [0.0, 0.5, 0.5], of("probs")),
    (categorical, [0.0, 0.5, 0.5], lambda dist: dist.expected_cost(torch.eye(3))),
    (categorical, [0.0, 0.5, 0.5],
        lambda dist: dist.log_prob_and_sum(
            torch.tensor(1), dist.logits.new_tensor([0.0, 1, 1]))[1]),
    (categorical, [0.0, 0.5, 0.5],
        lambda dist: ensemble(dist.expand((2,))).log_prob(torch.tensor(1))),
    (categorical, [0.0, 0.5, 0.5],
        lambda dist: dist.expand((2,)).to_event(1).log_prob(torch.tensor([1, 2]))),
    (categorical, [0.0, 0.5, 0.5],
        lambda dist: kl_divergence(categorical(torch.tensor([0.0, 0.3, 0.7])), dist)),
    *((bernoulli, p, at(question, p))
        for p in (0.0, 1.0) for question in ("log_prob", "cdf", "crps", "brier")),
    *((bernoulli, p, of(question)) for p in (0.0, 1.0) for question in ("mean", "variance")),
    *((bernoulli, p, lambda dist: ensemble(dist.expand((2,))).log_prob(dist.mode))
        for p in (0.0, 1.0)),
    *((negative_binomial, 0.0, at(question, 0.0)) for question in OF_COUNTS),
    *((negative_binomial, 0.0, at(question, 3.0)) for question in ("cdf", "crps")),
    *((negative_binomial, 0.0, of(question)) for question in ("mean", "variance")),
    *((make, w, at(question, 1.0))
        for make in (normals, poissons) for w in (HALVES, ONE) for question in OF_COUNTS),
    *((make, HALVES, at(question, 3.0)) for make in (normals, poissons) for question in OF_COUNTS),
    *((normals, [0.0, 0.5, 0.5], of(question))
        for question in ("mean", "variance", "aleatoric", "epistemic", "expected_entropy")),
    (normals, [0.0, 0.5, 0.5], lambda dist: dist.icdf(torch.tensor(0.3))),
    *((ranking, [0.0, 0.2, 0.3, 0.5], at("log_prob", y))
        for y in ([1, 2, 3, 0], [3, 2, 1, 0], [1, -1], [2, 3, 1, -1])),
    *((ranking, [0.0, 0.2, 0.3, 0.5], of(question))
        for question in ("top1", "pairwise", "expected_rank")),
    (ranking, [0.0, 0.2, 0.3, 0.5],
        lambda dist: ensemble(dist.expand((2,))).log_prob(torch.tensor([1, 2, 3, 0]))),
]  # fmt: skip


@both_precisions
@each("make, probs, ask", SMOOTH)
def test_the_gradient_at_the_edge_is_that_beside_it(make, probs, ask, dtype):
    value, slope = gradient(lambda p: ask(make(p)), probs, dtype)
    inside = torch.tensor(probs, dtype=torch.float64) * (1 - 2 * NEAR) + NEAR
    near, expected = gradient(lambda p: ask(make(p)), inside.tolist(), torch.float64)
    torch.testing.assert_close(value.double(), near, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-3, atol=1e-4)


@each("target", [0, 1, 2])
def test_classes_have_the_gradient_that_torch_has(target):
    _, ours = gradient(
        lambda p: categorical(p).log_prob(torch.tensor(target)), [0.0, 0.5, 0.5], torch.float32
    )
    theirs = gradient(
        lambda p: torch.distributions.Categorical(p).log_prob(torch.tensor(target)),
        [0, 0.5, 0.5],
        torch.float32,
    )
    if target:
        assert ours.tolist() == theirs[1].tolist()
    assert ours.isfinite().all()


# Where the derivative is infinite, what is given in its place is a number.
STEEP = [
    (categorical, [0.0, 0.5, 0.5]),
    (bernoulli, 0.0),
    (bernoulli, 1.0),
    (negative_binomial, 0.0),
    (normals, [0.0, 0.5, 0.5]),
    (poissons, [0.0, 1.0, 0.0]),
    (ranking, [0.0, 0.2, 0.3, 0.5]),
]


@both_precisions
@each("make, probs", STEEP)
def test_entropies_and_divergences_have_gradients_that_are_numbers(make, probs, dtype):
    some = make(
        torch.tensor(0.3, dtype=dtype)
        if isinstance(probs, float)
        else torch.full((len(probs),), 1 / len(probs), dtype=dtype)
    )
    asked = {
        "entropy": lambda dist: dist.entropy(),
        "from": lambda dist: kl_divergence(dist, some),
        "to itself": lambda dist: kl_divergence(dist, dist),
        "ensemble": lambda dist: ensemble(dist.expand((2,))).entropy(),
        "mutual information": lambda dist: ensemble(dist.expand((2,))).mutual_information,
        "spread": lambda dist: dist.stddev,
    }
    for name, ask in asked.items():
        try:
            probability = torch.tensor(probs, dtype=dtype, requires_grad=True)
            value = ask(make(probability))
        except NotImplementedError:
            continue
        assert value.isfinite().all(), name
        if value.requires_grad:
            assert torch.autograd.grad(value.sum(), probability)[0].isfinite().all(), name


def test_what_cannot_be_has_no_probability():
    assert categorical([0.0, 0.5, 0.5]).log_prob(0) == -math.inf
    assert bernoulli(0.0).log_prob(1.0) == -math.inf
    assert bernoulli(1.0).log_prob(0.0) == -math.inf
    assert negative_binomial(torch.tensor(0.0)).log_prob(1.0) == -math.inf
    assert ranking([0.0, 0.2, 0.3, 0.5]).log_prob([0, 1, 2, 3]) == -math.inf
    assert kl_divergence(categorical([0.5, 0.5, 0.0]), categorical([0.0, 0.5, 0.5])) == math.inf
    assert kl_divergence(ranking([0.5, 0.2, 0.3, 0.5]), ranking([0.0, 0.2, 0.3, 0.5])) == math.inf


# Classes, components and items whose logits are -inf are as if they had never been there.


def without(logits: torch.Tensor) -> torch.Tensor:
    return logits[..., 1:]


def absent(*shape: int, dtype=torch.float32) -> torch.Tensor:
    logits = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    logits[..., 0] = -torch.inf
    return logits.requires_grad_()


@both_precisions
@each("classes", [3, 20])
@each("ask", ["log_prob", "soft", "entropy", "brier", "kl", "ensemble"])
def test_absent_classes_change_nothing(classes, ask, dtype):
    raw = absent(7, classes, dtype=dtype)
    y = torch.arange(7) % (classes - 1)

    def answer(logits, y):
        dist = dh.get_family("categorical", num_classes=logits.shape[-1]).from_raw(logits)
        soft = torch.nn.functional.one_hot(y, logits.shape[-1]).to(dtype)
        return {
            "log_prob": lambda: dist.log_prob(y),
            "soft": lambda: dist.log_prob(soft),
            "entropy": dist.entropy,
            "brier": lambda: dist.brier(y),
            "kl": lambda: kl_divergence(dist, dist),
            "ensemble": lambda: ensemble(dist.expand((2, 7))).log_prob(y),
        }[ask]()

    value, expected = answer(raw, y + 1), answer(without(raw), y)
    torch.testing.assert_close(value, expected)
    slope = torch.autograd.grad(value.sum(), raw, retain_graph=True)[0]
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), raw)[0])


@both_precisions
def test_absent_items_change_nothing(dtype):
    raw = absent(7, 5, dtype=dtype)
    order = torch.rand(7, 4, generator=torch.Generator().manual_seed(1)).argsort(-1)
    last = torch.cat([order + 1, torch.zeros(7, 1, dtype=torch.long)], -1)
    dist, other = (
        dh.get_family("plackett_luce", event_shape=(size,)).from_raw(logits)
        for size, logits in ((5, raw), (4, without(raw)))
    )
    for value, expected in (
        (dist.log_prob(last), other.log_prob(order)),
        (dist.log_prob(order[:, :2] + 1), other.log_prob(order[:, :2])),
        (dist.entropy(), other.entropy()),
        (dist.top1[:, 1:], other.top1),
        (dist.pairwise[:, 1:, 1:], other.pairwise),
        (dist.expected_rank[:, 1:], other.expected_rank),
        (ensemble(dist.expand((2, 7))).log_prob(last), other.log_prob(order)),
    ):
        torch.testing.assert_close(value, expected)
        slope = torch.autograd.grad(value.square().sum(), raw, retain_graph=True)[0]
        torch.testing.assert_close(
            slope, torch.autograd.grad(expected.square().sum(), raw, retain_graph=True)[0]
        )
    assert (dist.mode[:, -1] == 0).all()
    assert (dist.sample((100,), generator=torch.Generator().manual_seed(0))[..., -1] == 0).all()
    assert (dist.log_prob(torch.tensor([0, 1, 2, 3, 4]).expand(7, 5)) == -torch.inf).all()


def test_two_absent_items_come_last_in_any_order():
    """Probabilities of all orders sum to one, and samples have them."""
    dist = dh.get_family("plackett_luce", event_shape=(4,)).distribution(
        logits=[-math.inf, 0.3, -math.inf, 1.0]
    )
    orders = dist.enumerate_support()
    probs = dist.log_prob(orders).exp()
    torch.testing.assert_close(probs.sum(), torch.tensor(1.0))
    assert (probs > 0).sum() == 4
    torch.testing.assert_close(dist.entropy(), -(probs[probs > 0] * probs[probs > 0].log()).sum())
    drawn = dist.sample((4000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        (drawn[:, 2] == 0).double().mean(), torch.tensor(0.5).double(), rtol=0, atol=0.04
    )
    by_worth = ranking([0.0, math.exp(0.3), 0.0, math.e])
    torch.testing.assert_close(by_worth.log_prob(orders), dist.log_prob(orders))


@both_precisions
@each("component, width", [("normal", 2), ("gamma", 2), ("poisson", 1), ("von_mises", 3)])
def test_absent_components_change_nothing(component, width, dtype):
    raw = absent(5, 3 + 3 * width, dtype=dtype)
    family = dh.get_family("mixture", component=component, num_components=3)
    dist = family.from_raw(raw)
    y = dist.sample(generator=torch.Generator().manual_seed(0))
    logits = dist.logits[..., 1:]
    pair = type(dist)(logits, dist.components[..., 1:])
    for question in ("log_prob", "entropy", "mean", "variance"):
        value, expected = (getattr(one, question) for one in (dist, pair))
        value, expected = (value(y), expected(y)) if question == "log_prob" else (value, expected)
        value, expected = (one() if callable(one) else one for one in (value, expected))
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        slope = torch.autograd.grad(value.sum(), raw, retain_graph=True)[0]
        assert slope.isfinite().all()
        assert (slope[:, 0] == 0).all()


def test_absent_classes_under_vmap():
    raw, y = absent(7, 3), torch.tensor([1, 2, 1, 2, 1, 2, 1])
    family = dh.get_family("categorical", num_classes=3)
    slopes = torch.func.vmap(
        torch.func.grad(lambda row, target: family.from_raw(row).log_prob(target))
    )(raw.detach(), y)
    torch.testing.assert_close(
        slopes, torch.autograd.grad(family.from_raw(raw).log_prob(y).sum(), raw)[0]
    )


def test_a_whole_block_of_absent_classes():
    """A projection goes over blocks of classes, of which the first may hold none that can be."""
    features = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0))
    weight, bias = torch.zeros(64, 2), torch.zeros(64)
    weight[32:] = torch.randn(32, 2, generator=torch.Generator().manual_seed(1))
    bias[:32] = -torch.inf
    weight.requires_grad_()
    dist = Projection(Categorical, features, weight, bias).distribution()
    y = torch.arange(40_000) % 32 + 32
    value = dist.log_prob(y)
    torch.testing.assert_close(value, Categorical(logits=features @ weight.mT + bias).log_prob(y))
    assert torch.autograd.grad(value.sum(), weight)[0].isfinite().all()


def test_probabilities_in_half_precision_sum_to_one_but_for_their_rounding():
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    family = dh.get_family("categorical", num_classes=30)
    for dtype, rounding in ((torch.float16, 1e-3), (torch.bfloat16, 1e-2)):
        probs = logits.softmax(-1).to(dtype)
        assert ((probs.float().sum(-1) - 1).abs() > 1e-6).any()
        dist = family.distribution(probs=probs)
        assert dist.dtype == torch.float32
        torch.testing.assert_close(dist.probs.sum(-1), torch.ones(50))
        torch.testing.assert_close(dist.probs, logits.softmax(-1), rtol=rounding, atol=1e-6)
        family.check_target(probs)  # soft labels
        weights = probs[0, :2] / probs[0, :2].sum()
        dh.get_family("mixture", component="poisson").distribution(
            probs=weights, rate=torch.ones(2)
        )
        with pytest.raises(ValueError, match="sum to one"):
            family.distribution(probs=1.1 * probs)
    with pytest.raises(ValueError, match="sum to one"):
        family.distribution(probs=logits.softmax(-1).half().float())


def test_parameters_have_their_gradients_whoever_asks_first():
    for case in ("normal", "categorical", "mixture"):
        family = dh.explanation.example(case)
        raw = torch.randn(
            5, family.width(), generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        dist = family.from_raw(raw)
        dist.sample()  # without gradients
        assert all(parameter.requires_grad for parameter in dist.parameters.values())


def test_worths_of_items_are_zero_or_more():
    with pytest.raises(ValueError, match="zero or more"):
        ranking([-0.1, 0.2, 0.3, 0.5])
