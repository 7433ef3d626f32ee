"""Relations that hold for every row of the table in `tests/cases.py`."""

import pickle

import numpy as np
import pytest
import torch

import disthead as dh
from tests.brute_force import mean_of
from tests.cases import (
    ALL_COUNTS,
    CASES,
    CIRCULAR,
    CIRCULAR_MIXTURES,
    CLASSES,
    EVERYTHING,
    ON_A_LINE,
    ORDINAL,
    RANKINGS,
    VECTORS,
    Case,
    rows,
)

each = pytest.mark.parametrize
every_case = each("case", rows(CASES))  # what a head makes
everything = each("case", rows(EVERYTHING))  # and the same in other units


def targets(case: Case, count: int = 5) -> torch.Tensor:
    """Targets that the row's distribution itself produces."""
    torch.manual_seed(7)
    return case.dist().sample((count,))


@each("case", rows(ON_A_LINE + CIRCULAR + CIRCULAR_MIXTURES + ALL_COUNTS))
def test_probabilities_sum_to_one(case):
    assert mean_of(case, torch.ones_like) == pytest.approx(1, abs=1e-9)


@each("case", rows(CLASSES + ORDINAL))
def test_class_probabilities_sum_to_one(case):
    every_class = torch.arange(case.dist().probs.shape[-1])
    assert case.dist().log_prob(every_class).exp().sum() == pytest.approx(1, abs=1e-12)


@each("case", rows(VECTORS))
def test_joint_density_integrates_to_one(case):
    dist = case.dist()
    offsets = torch.linspace(-9, 9, 81, dtype=torch.float64)
    axes = [mean + std * offsets for mean, std in zip(dist.mean, dist.stddev, strict=True)]
    grid = torch.cartesian_prod(*axes)
    cell = torch.stack([axis[1] - axis[0] for axis in axes]).prod()
    assert dist.log_prob(grid).exp().sum() * cell == pytest.approx(1, abs=1e-6)


@each("case", rows(RANKINGS))
@each("ranked", [1, 2, 4])
def test_rankings_sum_to_one(case, ranked):
    items = case.event_shape[0]
    dist = case.dist()
    if ranked == items:
        rankings = dist.enumerate_support()
    else:
        rankings = torch.unique(_beginnings(dist.enumerate_support(), ranked), dim=0)
    assert dist.log_prob(rankings).exp().sum() == pytest.approx(1, abs=1e-12)


def _beginnings(rankings: torch.Tensor, ranked: int) -> torch.Tensor:
    """Partial rankings of the items at the first places, as many as they have."""
    place = (rankings < rankings.shape[-1]).cumsum(-1)
    return torch.where(place <= ranked, rankings, -1)


def scipy_agrees(case: Case, name: str) -> None:
    y = targets(case)
    expected = getattr(case.frozen(), name)(y.numpy())
    np.testing.assert_allclose(case.dist().log_prob(y), expected, rtol=1e-11, atol=1e-12)


@each("case", rows([case for case in EVERYTHING if case.scipy and case not in ALL_COUNTS]))
def test_scipy_agrees_on_log_densities(case):
    scipy_agrees(case, "logpdf")


@each("case", rows([case for case in ALL_COUNTS if case.scipy]))
def test_scipy_agrees_on_log_probabilities_of_counts(case):
    scipy_agrees(case, "logpmf")


@everything
def test_gradients(case):
    y = targets(case, 3)
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda raw: case.from_raw(raw).log_prob(y), raw)


@everything
def test_batches_broadcast(case):
    dist, y = case.dist(batch=(2, 1)), targets(case, 4)
    assert dist.batch_shape == (2, 1)
    assert dist.event_shape == case.event_shape
    values = dist.log_prob(y)
    assert values.shape == (2, 4)
    torch.testing.assert_close(values[0], case.dist().log_prob(y))
    assert dist.expand((2, 4)).batch_shape == (2, 4)
    assert dist.sample((5,)).shape == (5, 2, 1, *case.event_shape)
    assert dist[0].batch_shape == (1,)


SIZES = (-50.0, -20.0, -1.0, 0.0, 1.0, 20.0, 50.0)


@every_case
def test_a_batch_without_rows(case):
    """As a process gets where there are more processes than rows."""
    head = case.head(2)
    value = head(torch.zeros(0, 2)).log_prob(targets(case)[:0].float())
    assert value.shape == (0,)
    value.sum().backward()
    assert not any(parameter.grad.any() for parameter in head.parameters())


@each("case", rows(CASES))
def test_finite_for_raw_outputs_from_minus_50_to_50(case):
    """One raw output after the other goes to an extreme; targets follow, as far as they can be
    written down.
    """
    size = len(case.raw)
    raw = torch.tensor(case.raw).repeat(len(SIZES), size, 1)
    raw[:, range(size), range(size)] = torch.tensor(SIZES).unsqueeze(-1)
    raw.requires_grad_()
    dist = case.from_raw(raw)
    y = POSSIBLE_TARGETS.get(case.kind, possible_numbers)(case, raw.detach())
    loss = -dist.log_prob(y)
    loss.sum().backward()
    assert loss.isfinite().all(), raw[~loss.isfinite()]
    assert raw.grad.isfinite().all(), raw[~raw.grad.isfinite().all(-1)]


def possible_items(case, raw):
    """Items have no mean, and all of them are possible."""
    return case.from_raw(raw).mode


POSSIBLE_TARGETS = dict.fromkeys(("classes", "ordinal", "ranking"), possible_items)


def possible_numbers(case, raw):
    """For each row its mode, its mean or a small number: the first whose true loss is a number in
    single precision.
    """
    dist, exact = case.from_raw(raw), case.from_raw(raw.double())
    shape = dist.batch_shape + dist.event_shape
    guesses = [getattr(dist, name) for name in ("mode", "mean") if name in case.claims]
    guesses += [torch.tensor(0.4), torch.tensor(1e-3)]
    y = torch.stack([guess.detach().float().expand(shape) for guess in guesses])
    possible = exact.support.check(y.double()) & (
        exact.log_prob(y.double()).abs() < torch.finfo(torch.float32).max
    )
    assert possible.any(0).all()
    first = possible.long().argmax(0)
    return y.gather(
        0, first.reshape(1, *first.shape, *(1,) * len(dist.event_shape)).expand(1, *y.shape[1:])
    ).squeeze(0)


@everything
def test_pickling(case):
    y, dist = targets(case), case.dist()
    torch.testing.assert_close(pickle.loads(pickle.dumps(dist)).log_prob(y), dist.log_prob(y))
    assert repr(pickle.loads(pickle.dumps(case.make_family()))) == repr(case.make_family())


@every_case
def test_state_dict(case):
    features, y = torch.randn(5, 3), targets(case).float()
    first, second = case.head(), case.head()
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(features).log_prob(y), first(features).log_prob(y))


@every_case
def test_autocast_computes_in_single_precision(case):
    features, y, head = torch.randn(5, 3), targets(case).float(), case.head()
    expected = head(features.bfloat16().float()).log_prob(y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = head(features.bfloat16()).log_prob(y)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, expected)


# To compile takes seconds: by default one row of each kind of distribution.
COMPILED = (
    "normal",
    "gamma",
    "mixture of normals",
    "poisson",
    "categorical",
    "multivariate_normal",
    "plackett_luce",
)


# Deprecations inside torch's own compiler, which only the switch from warnings to errors makes
# visible.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch._prims_common.check:FutureWarning")
@each("case", rows(CASES, slow=[case.name for case in CASES if case.name not in COMPILED]))
def test_compiles_without_graph_breaks(case):
    torch.compiler.reset()
    features, y, head = torch.randn(5, 3), targets(case).float(), case.head()

    def loss(features, y):
        return dh.nll(head(features), y)

    expected = loss(features, y)
    got = torch.compile(loss, fullgraph=True)(features, y)
    torch.testing.assert_close(got, expected)
    got.backward()


# Numbers in formulas are inputs of such a graph, and torch's compiler has not always treated all of
# its operations well.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch._prims_common.check:FutureWarning")
@each(
    "case",
    rows(CASES, slow=[case.name for case in CASES if case.name not in ("gamma", "von_mises")]),
)
def test_one_graph_serves_any_number_of_rows(case):
    torch.compiler.reset()
    features, y, head = torch.randn(50, 3), case.dist(torch.float32, (50,)).sample(), case.head()

    def loss(features, y):
        return dh.nll(head(features), y)

    compiled = torch.compile(loss, fullgraph=True, dynamic=True)
    for part in (slice(50), slice(33)):
        value, expected = (function(features[part], y[part]) for function in (compiled, loss))
        gradients, expected_gradients = (
            torch.autograd.grad(loss_value, list(head.parameters()))
            for loss_value in (value, expected)
        )
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-6)


DISCRETE = [
    case for case in CASES if case.kind in ("binary", "count", "classes", "ordinal", "ranking")
]


@each("case", rows(DISCRETE))
def test_log_prob_of_a_discrete_target_needs_no_floating_dtype(case):
    y = targets(case)
    torch.testing.assert_close(case.dist().log_prob(y.long()), case.dist().log_prob(y))


@each("case", rows([case for case in CASES if case not in DISCRETE]))
def test_log_prob_of_a_target_in_single_precision(case):
    y = targets(case)
    torch.testing.assert_close(
        case.dist(torch.float32).log_prob(y.float()).double(),
        case.dist().log_prob(y),
        rtol=1e-5,
        atol=1e-5,
    )


# Of Student's t in a mixture the likelihood of these draws rises as df grows without end. That of a
# spline has a kink wherever a target lies at a knot (`tests/families/test_free_forms.py`).
WITHOUT_SMOOTH_MAXIMUM = ("mixture of student_t", "quantile_function")


@each("case", rows([case for case in CASES if case.name not in WITHOUT_SMOOTH_MAXIMUM]))
def test_marginal_fit_is_a_maximum(case):
    """No small step of any raw output improves the likelihood of the fit."""
    torch.manual_seed(3)
    y = case.dist().sample((400,))
    head = dh.DistributionHead(
        case.family, 1, event_shape=case.event_shape, shared="all", **case.options
    ).double()
    head.initialize(y)
    features = torch.zeros(400, 1, dtype=torch.float64)
    with torch.no_grad():
        best = dh.nll(head(features), y)
        for parameter in head.parameters():
            for entry in range(parameter.numel()):
                for step in (-1e-3, 1e-3):
                    parameter.view(-1)[entry] += step
                    assert dh.nll(head(features), y) > best - 1e-10
                    parameter.view(-1)[entry] -= step


@every_case
def test_describes_itself(case):
    family = case.make_family()
    for text in (
        family.data_type,
        family.domain,
        family.use,
        family.loss,
        family.noise,
        family.density,
        family.breaks,
        family.remedy,
    ):
        assert text.strip() == text
        assert text
    outputs = np.prod(case.outputs, dtype=int)
    size = sum(np.prod(family.raw_shape(name), dtype=int) for name in family.parameters)
    assert size * outputs == len(case.raw)
    with pytest.raises(ValueError, match="raw outputs"):
        family.from_raw(torch.zeros(size + 1))


@each("case", [case for case in CASES if case.links], ids=str)
def test_parameters_and_default_links_in_declared_order(case):
    assert dh.explanation.links(case.make_family()) == case.links


def test_student_t_has_a_finite_variance_unless_told_otherwise():
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


@each("number", [np.int64, np.uint8, torch.tensor], ids=["int64", "uint8", "tensor"])
def test_counts_of_numpy_and_torch_are_counts(number):
    classes = dh.get_family("categorical", num_classes=number(3))
    assert type(classes.num_classes) is int
    assert dh.DistributionHead("categorical", 2, num_classes=number(3))(
        torch.zeros(4, 2)
    ).probs.shape == (4, 3)
    assert dh.get_family("mixture", num_components=number(4)).num_components == 4
    assert dh.get_family("multivariate_normal", event_shape=(number(3),), rank=number(2)).rank == 2
    assert dh.get_family("plackett_luce", event_shape=(number(3),)).event_shape == (3,)
    if number is not torch.tensor:
        assert dh.DistributionHead("normal", 2, event_shape=(number(3),))(
            torch.zeros(4, 2)
        ).event_shape == (3,)


@each("wrong", [2.0, "3", np.float64(3), None, 0, np.int64(0), torch.tensor([3, 3])])
def test_what_is_no_count_is_refused(wrong):
    for name, options in (
        ("categorical", {"num_classes": wrong}),
        ("mixture", {"num_components": wrong}),
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            dh.get_family(name, **options)


@every_case
def test_pyro_protocol(case):
    import pyro

    head, features, y = case.head(), torch.randn(5, 3), targets(case).float()

    def model(y=None):
        with pyro.plate("rows", 5):
            return pyro.sample("y", head(features), obs=y)

    trace = pyro.poutine.trace(model).get_trace(y)
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["y"]["log_prob"], head(features).log_prob(y))
    assert pyro.poutine.trace(model).get_trace().nodes["y"]["value"].shape == y.shape
    dist = head(features)
    mask = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(
        dist.mask(mask).log_prob(y), torch.where(mask, dist.log_prob(y), 0.0)
    )
    torch.testing.assert_close(dist.to_event(1).log_prob(y), dist.log_prob(y).sum())
