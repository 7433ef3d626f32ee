"""Relations that hold for every row of the table in `tests/cases.py`."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import disthead as dh
from tests.cases import CASES, CIRCULAR, CLASSES, CONTINUOUS, COUNTS, RANKINGS, VECTORS, Case

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def targets(case: Case, count: int = 5) -> torch.Tensor:
    """Targets that the row's distribution itself produces."""
    torch.manual_seed(7)
    return case.dist().sample((count,))


def limits(dist) -> tuple[float, float]:
    lower, upper = dist.support_limits()
    return float(lower), float(upper)


@pytest.mark.parametrize("case", CONTINUOUS + CIRCULAR, ids=str)
def test_density_integrates_to_one(case):
    dist = case.dist()
    # Pieces between quantiles, so that the integrator meets every peak.
    cuts = [
        float(dist.icdf(torch.tensor(q, dtype=torch.float64))) for q in (1e-9, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)
    ]
    cuts = [limits(dist)[0], *cuts, limits(dist)[1]]
    if case in CIRCULAR:
        cuts = np.linspace(-np.pi, np.pi, 9)

    def density(y):
        return float(dist.log_prob(torch.tensor(y, dtype=torch.float64)).exp())

    total = sum(quad(density, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(cuts) if a < b)
    assert total == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("case", COUNTS + CLASSES, ids=str)
def test_mass_sums_to_one(case):
    support = case.make_family().support
    values = torch.arange(0, getattr(support, "upper_bound", 2000) + 1)
    assert case.dist().log_prob(values).exp().sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("case", VECTORS, ids=str)
def test_joint_density_integrates_to_one(case):
    dist = case.dist()
    offsets = torch.linspace(-9, 9, 81, dtype=torch.float64)
    axes = [mean + spread * offsets for mean, spread in zip(dist.mean, dist.stddev, strict=True)]
    grid = torch.cartesian_prod(*axes)
    cell = torch.stack([axis[1] - axis[0] for axis in axes]).prod()
    assert dist.log_prob(grid).exp().sum() * cell == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("case", RANKINGS, ids=str)
@pytest.mark.parametrize("ranked", [1, 2, 4])
def test_rankings_sum_to_one(case, ranked):
    items = case.event_shape[0]
    orders = [order + (-1,) * (items - ranked) for order in itertools.permutations(range(items), ranked)]
    assert case.dist().log_prob(torch.tensor(orders)).exp().sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case.scipy], ids=str)
def test_scipy_agrees_on_log_prob(case):
    y = targets(case)
    other = case.frozen()
    expected = getattr(other, "logpdf", None) or other.logpmf
    expected = other.logpmf if case in COUNTS else expected
    np.testing.assert_allclose(case.dist().log_prob(y), expected(y.numpy()), rtol=1e-11, atol=1e-12)


@every_case
def test_gradients(case):
    y, family = targets(case, 3), case.make_family()
    raw = torch.tensor(case.raw, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda raw: family.from_raw(raw).log_prob(y), raw)


@every_case
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


def candidates(dist):
    yield dist.mode.detach()
    yield dist.mean.detach()
    yield torch.full(dist.event_shape, 0.4)
    yield torch.full(dist.event_shape, 1e-3)


def representable(family, raw, y) -> bool:
    """Whether y is a target of the family whose true loss is a number in single precision."""
    if not bool(family.support.check(y).all()):
        return False
    value = family.from_raw(raw.detach().double()).log_prob(y.double())
    return bool((value.abs() < torch.finfo(torch.float32).max).all())


@every_case
@pytest.mark.parametrize("size", [-50.0, -20.0, -1.0, 0.0, 1.0, 20.0, 50.0])
def test_finite_for_raw_outputs_from_minus_50_to_50(case, size):
    """One raw output after the other goes to an extreme; targets follow, as far as they can be written down."""
    family = case.make_family()
    for k in range(len(case.raw)):
        raw = torch.tensor(case.raw)
        raw[k] = size
        raw.requires_grad_()
        dist = family.from_raw(raw)
        y = next(y for y in candidates(dist) if representable(family, raw, y))
        loss = -dist.log_prob(y).sum()
        loss.backward()
        assert loss.isfinite(), (k, y)
        assert raw.grad.isfinite().all(), (k, y, raw.grad)


@every_case
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


# Deprecations inside torch's own compiler, which only the switch from warnings to errors makes visible.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch._prims_common.check:FutureWarning")
@every_case
def test_compiles_without_graph_breaks(case):
    torch.compiler.reset()
    features, y, head = torch.randn(5, 3), targets(case).float(), case.head()

    def loss(features, y):
        return dh.nll(head(features), y)

    expected = loss(features, y)
    got = torch.compile(loss, fullgraph=True)(features, y)
    torch.testing.assert_close(got, expected)
    got.backward()


@every_case
def test_log_prob_of_a_target_needs_no_floating_dtype(case):
    if case in COUNTS + CLASSES + RANKINGS:
        y = targets(case)
        torch.testing.assert_close(case.dist().log_prob(y.long()), case.dist().log_prob(y))
    else:
        y = targets(case)
        torch.testing.assert_close(
            case.dist(torch.float32).log_prob(y.float()).double(), case.dist().log_prob(y), rtol=1e-5, atol=1e-5
        )


@every_case
def test_marginal_fit_is_a_maximum(case):
    """No small step of any raw output improves the likelihood of the fit."""
    torch.manual_seed(3)
    y = case.dist().sample((400,))
    head = dh.DistributionHead(case.family, 1, event_shape=case.event_shape, shared="all", **case.options).double()
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
    assert sum(np.prod(family.raw_shape(name), dtype=int) for name in family.parameters) == len(case.raw)
    with pytest.raises(ValueError, match="raw outputs"):
        family.from_raw(torch.zeros(len(case.raw) + 1))


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
    torch.testing.assert_close(dist.mask(mask).log_prob(y), torch.where(mask, dist.log_prob(y), 0.0))
    torch.testing.assert_close(dist.to_event(1).log_prob(y), dist.log_prob(y).sum())
