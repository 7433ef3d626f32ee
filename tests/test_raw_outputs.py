"""The one pass from raw outputs to log-likelihoods: the numbers of the formula, in every situation
that autograd knows.
"""

import copy
import math
import pickle
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor

import disthead as dh
from disthead.likelihood import LinkedParameters, chunks, fused, linked
from disthead.likelihood.kernels import from_text
from disthead.special.blocks import AVAILABLE
from tests.cases import NAMED
from tests.one_pass import FUSED, example, gradient, target

every_family = pytest.mark.parametrize("name", [case.name for case in FUSED])
every_continuous_family = pytest.mark.parametrize(
    "name", [case.name for case in FUSED if case.kind in ("continuous", "direction")]
)
pytestmark = pytest.mark.usefixtures("engine")


def formula(family: dh.Family, raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log_prob in double precision, which never takes the one pass."""
    return family.from_raw(raw.double()).log_prob(y.double())


@every_family
def test_values_and_gradients_are_those_of_the_formula(name):
    family, raw, y = example(name, rows=20_000)  # more than one piece
    raw.requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), formula(family, raw, y), rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(
        gradient(value, raw), gradient(formula(family, raw, y), raw), rtol=1e-4, atol=1e-5
    )


@every_family
def test_every_formula_has_a_kernel(name, engine, monkeypatch):
    """It answers for all rows: those outside the support and far from ordinary, too."""
    if engine != "C":
        pytest.skip("needs the library in C")
    family, raw, y = example(name)
    monkeypatch.setattr(fused, "of_chunk", None)
    raw[1], raw[2], y[3] = 200.0, -200.0, -1.5
    gradient(family.from_raw(raw.requires_grad_()).log_prob(y), raw)


@pytest.mark.parametrize("name", ["normal", "student_t", "mixture of normals", "poisson"])
@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_raw_outputs_that_are_no_numbers_have_no_likelihood(name, link):
    family, raw, y = example(name)
    links = family.resolve_links(
        {key: link for key, own in family.parameters.items() if own.is_positive}
    )
    raw[1], raw[4, -1] = torch.nan, torch.nan
    raw.requires_grad_()
    value = family.from_raw(raw, links).log_prob(y)
    assert value.isnan().tolist() == [False, True, False, False, True, False, False]
    assert gradient(value, raw)[1].isnan().any()


class _Looking(type(dh.get_family("normal"))):
    """Somebody's own family, whose formula looks at numbers."""

    def log_prob_and_grad(self, y, loc, scale):
        value, *slopes = super().log_prob_and_grad(y, loc, scale)
        return (value, *slopes) if (value < 1e300).all() else None


def test_a_formula_of_somebody_else_is_left_to_torch():
    _, raw, y = example("normal")
    raw.requires_grad_()
    value = _Looking().from_raw(raw).log_prob(y)
    exact = formula(dh.get_family("normal"), raw, y)
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient(value, raw), gradient(exact, raw), rtol=1e-5, atol=1e-6)


def test_units_do_not_magnify_the_rounding_of_targets():
    dist = dh.get_family("normal").from_raw(torch.tensor([[-27.845757, -9.0]]))
    loc, scale, y = (torch.tensor(number) for number in (2.3029063, 0.14935586, -1.8560214))
    exact = dist.map(torch.Tensor.double).affine(loc.double(), scale.double()).log_prob(y.double())
    torch.testing.assert_close(
        dist.affine(loc, scale).log_prob(y).double(), exact, rtol=1e-6, atol=1e-6
    )


@every_family
def test_backward_twice_and_differentiated_twice(name):
    family, raw, y = example(name)
    raw.requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    first = gradient(value, raw, retain_graph=True)
    torch.testing.assert_close(gradient(value, raw, retain_graph=True), first)
    slope = gradient(value, raw, create_graph=True)
    torch.testing.assert_close(slope, first, rtol=1e-5, atol=1e-6)
    exact = gradient(formula(family, raw, y), raw, create_graph=True)
    torch.testing.assert_close(
        gradient(slope.square(), raw), gradient(exact.square(), raw), rtol=1e-4, atol=1e-4
    )


@every_family
def test_incoming_gradients_weigh_rows(name):
    family, raw, y = example(name)
    raw.requires_grad_()
    weight = torch.linspace(-1, 2, len(y))
    ours = gradient(weight * family.from_raw(raw).log_prob(y), raw)
    torch.testing.assert_close(
        ours, gradient(weight * formula(family, raw, y), raw), rtol=1e-5, atol=1e-5
    )


@every_family
def test_targets_broadcast(name):
    family, raw, y = example(name)
    dist = family.from_raw(raw)
    torch.testing.assert_close(dist.log_prob(y[0]), dist.log_prob(y[:1].expand(7)))
    both = torch.stack([y, y.flip(0)])
    torch.testing.assert_close(
        dist.log_prob(both), torch.stack([dist.log_prob(y), dist.log_prob(y.flip(0))])
    )
    for one in (dist[:1], dist[0]):  # and so do distributions
        torch.testing.assert_close(one.log_prob(y), dist[:1].expand(y.shape).log_prob(y))
    with pytest.raises(RuntimeError, match=r"size|broadcast"):
        dist.log_prob(y[:2])


@every_family
def test_targets_in_double_precision_have_likelihoods_in_double_precision(name):
    """The precision of indices of classes says nothing."""
    family, raw, y = example(name)
    expected = torch.float32 if NAMED[name].kind == "classes" else torch.float64
    assert family.from_raw(raw).log_prob(y.double()).dtype == expected


@every_continuous_family
def test_targets_have_gradients_of_their_own(name):
    family, raw, y = example(name)
    y.requires_grad_()
    by_target = torch.autograd.grad(family.from_raw(raw).log_prob(y).sum(), y)[0]
    exact = torch.autograd.grad(formula(family, raw, y).sum(), y)[0]
    torch.testing.assert_close(by_target, exact, rtol=1e-4, atol=1e-5)


@every_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_single(name, dtype):
    family, raw, y = example(name)
    raw = raw.to(dtype).requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), formula(family, raw, y), rtol=2e-6, atol=2e-6)
    assert gradient(value, raw).dtype == dtype


@every_family
def test_parameters_come_when_asked_for_and_the_same_through_copies(name):
    family, raw, y = example(name)
    dist, question = (
        family.from_raw(raw),
        next(known for known in ("mean", "mode") if known in NAMED[name].claims),
    )
    assert dist.batch_shape == (7,)
    assert dist.dtype == torch.float32
    assert dist._is_lazy
    waiting = dist[2:5].expand((4, 3))
    assert waiting._is_lazy
    for other in (copy.deepcopy(dist), pickle.loads(pickle.dumps(dist)), dist.map(torch.detach)):
        torch.testing.assert_close(other.log_prob(y), dist.log_prob(y))
        torch.testing.assert_close(getattr(other, question), getattr(dist, question))
    assert set(dist.parameters) >= set(family.parameters)
    assert not dist._is_lazy
    torch.testing.assert_close(
        getattr(waiting, question), torch.stack(4 * [getattr(dist, question)[2:5]])
    )
    parameters = {name: dist.parameters[name] for name in family.parameters}
    torch.testing.assert_close(
        dist.log_prob(y), family.distribution(**parameters).log_prob(y), rtol=1e-5, atol=1e-5
    )


@every_family
def test_several_outputs_and_pixels_take_the_one_pass(name):
    torch.manual_seed(0)
    head = dh.DistributionHead(NAMED[name].make_family(), 3, event_shape=(2,), feature_dim=1)
    features, y = torch.randn(5, 3, 4), target(head.family, torch.rand(5, 4, 2))
    dist = head(features)
    assert dist.base._is_lazy
    exact = head.double()(features.double()).log_prob(y.double())
    torch.testing.assert_close(dist.log_prob(y).double(), exact, rtol=1e-5, atol=1e-5)


@every_family
def test_single_and_double_precision_agree_on_rows_of_ordinary_size(name):
    """More than a few rows are computed in single precision, unless one of them is far from
    ordinary.
    """
    family, raw, y = example(name, rows=10_000)
    raw.requires_grad_()
    single = family.from_raw(raw).log_prob(y)
    with torch.no_grad():
        wild = torch.cat([raw, torch.full_like(raw[:1], 60.0)])
    wild.requires_grad_()
    double = family.from_raw(wild).log_prob(torch.cat([y, y[:1]]))[:-1]
    torch.testing.assert_close(single, double, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(
        gradient(single, raw), gradient(double, wild)[:-1], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ["normal", "laplace", "student_t", "normal_mixture"])
@pytest.mark.parametrize("rows", [7, 10_000])
def test_other_units_keep_the_one_pass(name, rows):
    family, raw, y = example(name, rows)
    raw.requires_grad_()
    loc, scale = torch.tensor(3.0), torch.linspace(0.5, 20, rows)
    dist = family.from_raw(raw).affine(loc, scale)
    assert dist._is_lazy
    value = dist.log_prob(loc + scale * y)
    assert dist._is_lazy
    # the target is what was rounded, when it was put into that unit
    given = (loc + scale * y).double()
    exact = family.from_raw(raw.double()).affine(loc.double(), scale.double()).log_prob(given)
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        gradient(value, raw), gradient(exact, raw, retain_graph=True), rtol=1e-4, atol=1e-4
    )
    twice = gradient(dist.log_prob(loc + scale * y), raw, create_graph=True)
    torch.testing.assert_close(twice, gradient(exact, raw), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dist.mean, loc + scale * family.from_raw(raw).mean)
    part = family.from_raw(raw).affine(loc, scale)[2:5]
    assert part._is_lazy
    torch.testing.assert_close(
        part.log_prob((loc + scale * y)[2:5]), value[2:5], rtol=1e-5, atol=1e-5
    )
    again = dist.affine(torch.tensor(-1.0), torch.tensor(2.0))
    torch.testing.assert_close(again.median, 2 * dist.median - 1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["normal", "student_t", "poisson", "normal_mixture"])
def test_pieces_may_be_worked_on_by_several_threads(name, engine):
    family, raw, y = example(name, rows=100_000)
    raw.requires_grad_()
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            value = family.from_raw(raw).log_prob(y)
            found.append((value, gradient(value, raw)))
    finally:
        torch.set_num_threads(threads)
    rounding = 0 if engine == "C" else 1e-6
    torch.testing.assert_close(*found, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("name", ["gamma", "von_mises", "poisson", "normal_mixture"])
@pytest.mark.parametrize("has_kernel", [True, False])
def test_a_graph_has_the_kernel_or_the_same_formula(name, has_kernel, engine, monkeypatch):
    """One operator, or torch's own in double precision, which can be fused.

    Also for raw outputs far from ordinary, and targets outside the support.
    """
    if engine != ("C" if AVAILABLE else "torch") or (has_kernel and not AVAILABLE):
        pytest.skip("once, and with a kernel only where there is the library in C")
    family, raw, y = example(name)
    raw[0], raw[1], y[2] = 60.0, -60.0, -1.5
    operators = set()
    if not has_kernel:
        monkeypatch.setitem(family.formula().made, "text", "")

    def look(graph, given):
        operators.update(str(node.target) for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    def log_prob(raw):
        return family.from_raw(raw).log_prob(y)

    torch.compiler.reset()
    raw.requires_grad_()
    expected = log_prob(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # dynamo's own
        value = torch.compile(log_prob, fullgraph=True, backend=aot_autograd(fw_compiler=look))(raw)
    assert any("disthead" in operator for operator in operators) == has_kernel
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient(value, raw), gradient(expected, raw), rtol=1e-6, atol=1e-6)


def test_a_graph_asks_for_its_formula_by_name():
    """A graph may outlive the process and the version that compiled it."""
    if not AVAILABLE:
        pytest.skip("needs the library in C")
    text = dh.get_family("normal").formula().made["text"]
    assert from_text(text) == dh.get_family("normal").formula().made["kernel"]
    with pytest.raises(RuntimeError, match="needs the formula 'Nobody'"):
        from_text(text.replace("Normal", "Nobody"))


@every_family
def test_no_rows(name):
    family, raw, y = example(name)
    raw = raw[:0].requires_grad_()
    value = family.from_raw(raw).log_prob(y[:0])
    assert value.shape == (0,)
    assert gradient(value, raw).shape == raw.shape
    several = family.from_raw(raw.detach().reshape(0, 1, raw.shape[-1]).expand(0, 3, -1))
    assert several.log_prob(y[:0].reshape(0, 1).expand(0, 3)).shape == (0, 3)
    elsewhere = raw.detach().to("meta").requires_grad_()
    value = family.from_raw(elsewhere).log_prob(y[:0].to("meta"))
    assert torch.autograd.grad(value.sum(), elsewhere)[0].shape == raw.shape


@every_family
def test_tensors_without_memory_have_shapes(name):
    family, raw, y = example(name)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert family.from_raw(mode.from_tensor(raw)).log_prob(mode.from_tensor(y)).shape == (7,)


@pytest.mark.parametrize("case", [case for case in FUSED if case.outside], ids=str)
def test_targets_outside_the_support_have_no_probability_and_no_gradient(case):
    family, y = case.make_family(), torch.tensor(case.outside)
    raw = torch.zeros(len(y), family.width(), requires_grad=True)
    value = family.from_raw(raw).log_prob(y)
    assert value.isneginf().all()
    assert not torch.autograd.grad(value, raw, torch.ones_like(value))[0].any()


@pytest.mark.parametrize("name", ["von_mises", "mixture of von_mises"])
def test_a_direction_may_be_written_with_any_number_of_turns(name):
    family, raw, y = example(name)
    raw.requires_grad_()
    dist = family.from_raw(raw)
    turned = dist.log_prob(y + 4 * math.pi)
    torch.testing.assert_close(turned, dist.log_prob(y), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradient(turned, raw), gradient(dist.log_prob(y), raw), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("length", [1e-30, 1e-8, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("raw_concentration", [-30.0, 1.0, 15.0, 1e4])
def test_a_raw_direction_of_any_length(length, raw_concentration):
    """Short and long vectors, and concentrations far from ordinary, are computed in double
    precision.
    """
    family, raw, y = example("von_mises")
    raw = torch.cat(
        [length * raw[:, :2], torch.full((7, 1), raw_concentration)], 1
    ).requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    exact = formula(family, raw, y)
    torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(gradient(value, raw), gradient(exact, raw), rtol=1e-4, atol=1e-5)


def test_a_raw_direction_of_zero_is_the_angle_0_and_has_no_gradient():
    family, y = dh.get_family("von_mises"), torch.tensor([0.3])
    raw = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    value = family.from_raw(raw).log_prob(y)
    torch.testing.assert_close(value, family.from_raw(torch.tensor([[1.0, 0.0, 1.0]])).log_prob(y))
    slope = gradient(value, raw)
    assert slope[0, :2].tolist() == [0.0, 0.0]
    assert slope[0, 2] != 0


BOUNDED = ["exponential", "gamma", "beta", "log_normal", "weibull"]


@pytest.mark.parametrize("component", BOUNDED)
@pytest.mark.parametrize("loc", [-5.0, 0.0, 5.0])
def test_the_support_of_a_mixture_moves_with_its_unit(component, loc):
    family, scale = dh.get_family("mixture", component=component, num_components=2), 10.0
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(7, family.width(), generator=generator).requires_grad_()
    y = loc + scale * torch.tensor([-1.0, -0.3, 0.2, 0.4, 0.6, 0.8, 1.2])
    value = family.from_raw(raw).affine(torch.tensor(loc), torch.tensor(scale)).log_prob(y)
    exact = formula(family, raw, (y - loc).double() / scale) - math.log(scale)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient(value, raw), gradient(exact, raw), rtol=1e-4, atol=1e-5)


@every_family
def test_a_missing_target_has_no_likelihood(name):
    family, raw, _ = example(name)
    value = family.from_raw(raw).log_prob(torch.full((7,), torch.nan))
    assert not (value > -torch.inf).any()


def test_shares_of_a_mixture_sum_to_one_however_unlikely_the_target():
    family = dh.get_family("mixture", component="normal", num_components=2)
    for raw, y in (
        ([0, 0, 0, 0, -4, -4], 5.0),
        ([0, 0, 0, 0, -6, -6], 3.0),
        (6 * [-10], 1e-30),
        (6 * [-20], 0.0),
    ):
        raw = torch.tensor([raw], dtype=torch.float32, requires_grad=True)
        y = torch.tensor([y])
        ours = gradient(family.from_raw(raw).log_prob(y), raw)
        torch.testing.assert_close(
            ours, gradient(formula(family, raw, y), raw), rtol=1e-5, atol=1e-7
        )


def test_a_hopeless_component_has_no_part_in_the_gradient():
    family, y = (
        dh.get_family("mixture", component="weibull", num_components=2),
        torch.tensor([100.0]),
    )
    raw = torch.tensor([[0.0, 0.0, -4.6, 4.0, 10.0, 1.0]], requires_grad=True)
    exact = formula(family, raw, y)
    slope = gradient(exact, raw, retain_graph=True)
    for hopeless in (10.0, 500.0):  # whose hazard overflows in single, and in double precision
        worse = raw.detach().index_fill(1, torch.tensor([4]), hopeless).requires_grad_()
        value = family.from_raw(worse).log_prob(y)
        torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(gradient(value, worse), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["normal_mixture", "mixture of normals"])
def test_an_infinite_target_has_no_likelihood(name):
    family, raw, _ = example(name)
    assert family.from_raw(raw).log_prob(torch.full((7,), torch.inf)).isneginf().all()


@every_family
def test_traces_hold_operations_and_not_their_results(name):
    family, raw, y = example(name)

    def log_prob(raw):
        return family.from_raw(raw).log_prob(y)

    other = raw + 1
    torch.testing.assert_close(make_fx(log_prob)(raw)(other), log_prob(other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["normal", "categorical", "exponential"])
def test_forward_mode(name):
    family, raw, y = example(name)
    direction = torch.ones_like(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch about itself
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(raw, direction)
            tangent = forward_ad.unpack_dual(family.from_raw(dual).log_prob(y)).tangent
    slopes = gradient(formula(family, raw.requires_grad_(), y), raw)
    torch.testing.assert_close(tangent, slopes.sum(-1), rtol=1e-5, atol=1e-5)


def test_certain_outcomes():
    family = dh.get_family("bernoulli")
    raw, y = (
        torch.tensor([[-torch.inf], [-torch.inf], [torch.inf], [torch.inf]]),
        torch.tensor([0.0, 1.0, 0.0, 1.0]),
    )
    assert family.from_raw(raw).log_prob(y).tolist() == [0.0, -torch.inf, -torch.inf, 0.0]
    mixture = dh.get_family("mixture", component="bernoulli", num_components=2)
    raw = torch.tensor([[0.0, 0.0, -torch.inf, 1.0]])
    torch.testing.assert_close(
        mixture.from_raw(raw).log_prob(torch.ones(1)).exp(), 0.5 * torch.tensor([1.0]).sigmoid()
    )


def test_when_threads_have_gone_the_caller_does_the_work(monkeypatch):
    family, raw, y = example("normal", rows=100_000)
    workers = ThreadPoolExecutor(2)
    workers.shutdown()
    monkeypatch.setattr(chunks, "_workers", lambda threads: workers)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    torch.testing.assert_close(
        family.from_raw(raw).log_prob(y).double(), formula(family, raw, y), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "name, raw, y",
    [
        ("negative_binomial", [10.0, 10.0], [50.0, 1e3, 1e4, 1e6]),
        ("gamma", [-10.0, -10.0], [1e-42, 1e-38, 1e-30]),
        ("beta", [-10.0, -10.0], [1e-42, 1e-38, 1e-30]),
        ("exponential", [-10.0], [0.0, 1e-42]),
    ],
)
def test_great_counts_and_tiny_targets(name, raw, y):
    family, y = dh.get_family(name), torch.tensor(y)
    for k in range(len(y)):  # one decides for all of a piece
        raws = torch.tensor([raw], requires_grad=True)
        value, exact = (
            family.from_raw(raws).log_prob(y[k : k + 1]),
            formula(family, raws, y[k : k + 1]),
        )
        torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=2e-6)
        torch.testing.assert_close(
            gradient(value, raws), gradient(exact, raws), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("factor, y, raw", [(1e-9, 1.0, -12.0), (65536.0, 1e-9, 0.0)])
def test_gradients_of_half_precision_are_scaled_before_they_are_rounded(factor, y, raw):
    family = dh.get_family("normal")
    raw = torch.tensor([[0.0, raw]], dtype=torch.float16, requires_grad=True)
    y = torch.tensor([y])
    ours = gradient(factor * family.from_raw(raw).log_prob(y), raw)
    torch.testing.assert_close(
        ours, gradient(factor * formula(family, raw, y), raw).half(), rtol=1e-2, atol=1e-7
    )


@every_family
def test_targets_of_inference_mode(name):
    family, raw, y = example(name)
    with torch.inference_mode():
        inferred = y.clone()
    raw.requires_grad_()
    value = family.from_raw(raw).log_prob(inferred)
    torch.testing.assert_close(
        gradient(value, raw), gradient(family.from_raw(raw).log_prob(y), raw)
    )


@every_family
def test_several_gradients_at_once(name):
    family, raw, y = example(name)
    raw.requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    rows = torch.eye(7)
    by_row = torch.autograd.grad(value, raw, rows, is_grads_batched=True)[0]
    whole = gradient(family.from_raw(raw).log_prob(y), raw)
    torch.testing.assert_close(by_row.sum(0), whole)
    torch.testing.assert_close(by_row.diagonal().mT, whole)


@every_family
def test_results_lie_where_the_raw_outputs_do(name):
    family, raw, y = example(name)
    raw.requires_grad_()
    expected = family.from_raw(raw).log_prob(y)
    with torch.device("meta"):  # where nothing else asks for a place
        value = family.from_raw(raw).log_prob(y)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient(value, raw), gradient(expected, raw))


def test_numbers_whose_sign_waits_to_be_turned():
    """Parts of conjugated complex numbers lie in memory with the other sign."""
    family, raw, y = example("normal")
    turned = torch.complex(torch.zeros_like(raw), -raw).conj().imag.requires_grad_()
    target = torch.complex(torch.zeros_like(y), -y).conj().imag
    assert turned.is_neg()
    value = family.from_raw(turned).log_prob(target)
    torch.testing.assert_close(value, family.from_raw(raw).log_prob(y))
    torch.testing.assert_close(
        linked._weighted(torch.ones_like(raw), target), y.unsqueeze(-1).expand_as(raw)
    )


@pytest.mark.parametrize(
    "name, options",
    [
        ("normal", {}),
        ("poisson", {}),
        ("categorical", {"num_classes": 20}),
        ("plackett_luce", {"event_shape": (4,)}),
    ],
    ids=["normal", "poisson", "categorical of many", "orders"],
)
def test_incoming_gradients_that_are_no_plain_tensors(name, options):
    """Each way of finding derivatives weighs them by what such gradients hold, and leaves its own
    as they are.
    """
    generator = torch.Generator().manual_seed(0)
    family = dh.get_family(name, **options)
    raw = torch.randn(7, family.width(), generator=generator)
    y = family.from_raw(raw).sample(generator=generator)
    raw.requires_grad_()
    value = family.from_raw(raw).log_prob(y)
    weight = torch.full_like(value, 2.0)
    pair = torch.autograd.grad(value, raw, TwoTensor(weight, weight), retain_graph=True)[0]
    ours = gradient(2 * family.from_raw(raw).log_prob(y), raw)
    torch.testing.assert_close(pair.a, ours)
    torch.testing.assert_close(pair.b, ours)
    value = family.from_raw(raw).log_prob(y)
    once = torch.autograd.grad(value, raw, weight, retain_graph=True)[0]
    traced = make_fx(lambda weight: torch.autograd.grad(value, raw, weight, retain_graph=True)[0])(
        weight
    )
    torch.testing.assert_close(once, ours)
    torch.testing.assert_close(traced(3 * weight), 3 * ours, rtol=1e-4, atol=1e-5)


@every_family
def test_log_likelihoods_are_changed_in_place(name):
    family, raw, y = example(name)
    for shape in ((), (1,)):
        value = family.from_raw(raw.reshape(*shape, *raw.shape).requires_grad_()).log_prob(
            y.reshape(*shape, *y.shape)
        )
        expected = value.detach() + 1
        value += 1
        torch.testing.assert_close(value, expected)


def test_an_angle_has_two_raw_outputs():
    with pytest.raises(
        ValueError,
        match=r"von_mises takes 3 raw outputs .*loc: 2, concentration: 1.*shape \(4, 2\)",
    ):
        dh.get_family("von_mises").from_raw(torch.zeros(4, 2))


@pytest.mark.parametrize(
    "name, fixed, width",
    [("student_t", "df", 3), ("von_mises", "concentration", 3), ("normal", "scale", 2)],
)
def test_constants_have_no_raw_outputs(name, fixed, width):
    family = dh.get_family(name)
    links = {**family.parameters, fixed: family.parameters[fixed].constant(4.0)}
    with pytest.raises(
        ValueError,
        match=rf"{name} takes {width - 1} raw outputs .*{fixed}: 0.*shape \(4, {width}\)",
    ):
        family.from_raw(torch.zeros(4, width), links)


# Targets in double precision, as `torch.from_numpy(y)` gives them.


def beyond_single(family: dh.Family, y: torch.Tensor) -> torch.Tensor:
    """Targets with digits that single precision does not have, where there are such targets."""
    return y.double() if family.is_discrete else y.double() * (1 + 1e-9)


@every_family
def test_targets_in_double_precision_take_the_one_pass_too(name, monkeypatch):
    family, raw, y = example(name)
    raw.requires_grad_()
    expected = gradient(family.from_raw(raw).log_prob(y), raw)
    for targets in (y.double(), beyond_single(family, y)):
        exact = family.from_raw(raw.double()).log_prob(targets).detach()
        with monkeypatch.context() as patch:
            # without parameters there are no plain operations
            patch.setattr(LinkedParameters, "make", None)
            value = family.from_raw(raw).log_prob(targets)
        torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=2e-6)
        torch.testing.assert_close(gradient(value, raw), expected, rtol=1e-4, atol=1e-5)


@every_continuous_family
def test_digits_of_targets_that_matter_are_not_lost(name):
    """A sharp density sees the digits beyond single precision: the answer is that of double
    precision.
    """
    family, raw, y = example(name)
    raw = 6 * raw  # narrow densities, and far targets
    targets = beyond_single(family, y) * (1 if hasattr(family.support, "upper_bound") else 1000)
    value = family.from_raw(raw).log_prob(targets)
    assert value.dtype == torch.float64
    torch.testing.assert_close(
        value, family.from_raw(raw.double()).log_prob(targets), rtol=2e-6, atol=2e-6
    )


def test_a_thousandth_at_a_million():
    dist = dh.get_family("normal").from_raw(torch.tensor([[1e6, math.log(math.expm1(1e-3))]]))
    value = dist.log_prob(torch.tensor([1e6 + 0.001], dtype=torch.float64))
    scale = float(dist.scale)
    assert float(value) == pytest.approx(
        -0.5 * (0.001 / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi), rel=1e-6
    )


def test_targets_in_double_precision_with_weights_and_units():
    family, raw, y = example("student_t")
    raw.requires_grad_()
    loc, scale = torch.tensor(100.0), torch.tensor(7.0)
    weight = torch.linspace(0.1, 1, len(y)).double()
    targets = 100 + 7 * beyond_single(family, y)
    ours = dh.nll(family.from_raw(raw).affine(loc, scale), targets, weight=weight)
    exact = dh.nll(
        family.from_raw(raw.double()).affine(loc.double(), scale.double()), targets, weight=weight
    )
    torch.testing.assert_close(ours, exact)
    torch.testing.assert_close(gradient(ours, raw), gradient(exact, raw), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["student_t", "gamma", "poisson", "categorical"])
def test_targets_in_double_precision_are_as_quick_as_single(name):
    """A few times as quick as plain operations, whose hundredfold time is what the bound is for."""
    family, raw, y = example(name, rows=16_384)

    def seconds(targets: torch.Tensor) -> float:
        times = []
        for _ in range(5):
            start = time.process_time()
            family.from_raw(raw).log_prob(targets)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(y.double()) < 10 * seconds(y)
    assert seconds(beyond_single(family, y)) < 10 * seconds(y)
