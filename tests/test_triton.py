"""Kernels for a GPU (`likelihood/triton_kernels.py`), on the CPU by Triton's interpreter.

It takes one operation after the other, so there are few rows here. A block is of 32 rows, each of
which is a part of its own: none is lent the double precision of its neighbours.
"""

import copy
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

import disthead as dh
from benchmarks.accuracy import BOUNDS, log_prob_errors
from benchmarks.cost import Counter
from disthead.likelihood import Formula, fused, linked, triton_kernels
from disthead.likelihood.eager import whole_batch
from disthead.likelihood.tracing import is_of_numbers
from disthead.likelihood.triton_kernels import Kernel, kernel_of
from disthead.likelihood.triton_printer import kernel_source
from disthead.links import LINKS
from tests.cases import TRUTHS
from tests.one_pass import FUSED, example, target
from tests.test_accuracy import assert_within, truths

pytest.importorskip("triton", reason="it comes for Linux alone")


def _is_scalar(family: dh.Family) -> bool:
    return family.distribution_class is not None and is_of_numbers(family.formula())


SCALAR = [case for case in FUSED if _is_scalar(case.make_family())]
EXACT = [case for case in TRUTHS if _is_scalar(case.made)]
NAMES = [case.name for case in SCALAR]


class Calls:
    """How often kernels were launched."""

    number = 0


@pytest.fixture(autouse=True)
def calls(monkeypatch) -> Calls:
    """Tensors on the CPU take the kernels, whose blocks are small."""
    calls, call = Calls(), Kernel.__call__

    def counted(*arguments):
        calls.number += 1
        with np.errstate(all="ignore"):
            return call(*arguments)

    monkeypatch.setattr(Kernel, "__call__", counted)
    monkeypatch.setattr(fused, "_takes_triton", lambda raw: True)
    monkeypatch.setattr(triton_kernels, "ROWS_OF_BLOCK", {})
    monkeypatch.setattr(triton_kernels, "ROWS_OF_WIDE_BLOCK", 32)
    monkeypatch.setattr(triton_kernels, "ROWS_OF_PART", 1)
    return calls


def check(
    formula: Formula,
    raw: Tensor,
    y: Tensor,
    loc_scale: tuple[Tensor, ...] = (),
) -> None:
    """Against the same formula in double precision, which takes the numbers as they are."""
    kernel = kernel_of(formula)
    value, slopes = kernel(raw, y, loc_scale, True)
    exact, exact_slopes = whole_batch(formula, raw.double(), y, loc_scale, True)
    assert (value.dtype, slopes.dtype) == (
        torch.promote_types(torch.float32, y.dtype),
        torch.float32,
    )
    close = functools.partial(torch.testing.assert_close, equal_nan=True)
    close(value, exact.to(value.dtype), rtol=2e-6, atol=2e-6)
    close(slopes, exact_slopes.float(), rtol=1e-4, atol=1e-5)
    close(kernel(raw, y, loc_scale, False)[0], value, rtol=2e-6, atol=2e-6)


def test_every_family_of_single_numbers_has_a_kernel():
    assert {"normal", "beta", "von_mises", "poisson"} <= {case.family for case in SCALAR}
    assert all(kernel_of(case.make_family().formula()) for case in SCALAR)


@pytest.mark.parametrize(
    "size", [24, pytest.param(400, marks=pytest.mark.slow)], ids=["sample", "grid"]
)
@pytest.mark.parametrize("case", EXACT, ids=str)
def test_log_prob_and_gradient_are_the_truth(case, size, calls):
    value, slope = truths(case, "log_prob", size), truths(case, "gradient", size)
    errors = log_prob_errors(case.made.from_raw, value, slope, case.grid(size), torch.float32)
    for question, error in zip(("log_prob", "gradient"), errors, strict=True):
        bound = torch.full_like(error, BOUNDS[question][torch.float32])
        assert_within(error, bound, case, size)
    assert calls.number == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_is_the_formula_in_double_precision(name):
    family, raw, y = example(name, 70)  # no multiple of a block
    check(family.formula(), raw, y)


@pytest.mark.parametrize("name", NAMES)
def test_raw_outputs_and_targets_may_lie_anywhere(name):
    family, raw, y = example(name, 20)
    formula, width = family.formula(), raw.shape[1]
    check(formula, raw.t().contiguous().t(), y)
    check(formula, torch.cat([raw, raw], 1)[:, :width], y.repeat_interleave(2)[::2])
    check(formula, raw[3:], y[3:])
    check(formula, raw[::2], y[0].expand(10))
    check(formula, raw[:1], y[:1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_raw_outputs_in_half_precision(name, dtype):
    family, raw, y = example(name, 20)
    check(family.formula(), raw.to(dtype), y)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("name", ["normal", "poisson", "bernoulli", "von_mises"])
def test_targets_of_any_type(name, dtype):
    family, raw, y = example(name, 20)
    check(family.formula(), raw, y.to(dtype))


@pytest.mark.parametrize("name", ["normal", "student_t", "gamma", "log_normal", "beta"])
def test_no_rows(name):
    family, raw, y = example(name, 0)
    value, slopes = kernel_of(family.formula())(raw, y, (), True)
    assert (value.shape, slopes.shape) == ((0,), raw.shape)


OF_UNITS = [
    name
    for name in NAMES
    if not example(name)[0].is_discrete and name not in ("beta", "beta by mean", "von_mises")
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OF_UNITS)
def test_standardised_targets(name, dtype):
    """A loc of a million units is taken off in double precision; one for all rows, or of each."""
    family, raw, y = example(name, 20)
    loc, scale = torch.tensor(1e6 if family.support is constraints.real else 0.0), 0.3
    y = (loc + scale * y).to(dtype)
    scale = torch.tensor(scale)
    check(family.formula(), raw, y, (loc, scale))
    check(family.formula(), raw, y, (loc.expand(20).clone(), scale * torch.ones(20)))


def test_a_narrow_density_sees_every_digit_of_a_target():
    """In its own unit and in double precision: a loc of 0.7, a scale of 1e-4."""
    raw = torch.tensor([[0.7, -9.2]]).expand(20, 2)
    y = 0.7 + 1e-4 * torch.linspace(-3, 3, 20, dtype=torch.float64)
    for name in ("normal", "laplace", "logistic"):
        check(dh.get_family(name).formula(), raw, y)
        units = torch.tensor(5.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
        check(dh.get_family(name).formula(), raw, 5 + 3 * y, units)


@pytest.mark.parametrize("name", NAMES)
def test_rows_far_out(name):
    """Parameters of 20, a million and tiny ones; counts of ten thousand, targets in the tails."""
    family, raw, y = example(name, 24)
    raw = raw + torch.tensor([0.0, 20.0, 1e6, -60.0, -300.0, 95.0]).repeat(4).unsqueeze(-1)
    far = torch.tensor([1.0, 1e4, 1e-30, 1e20]).repeat_interleave(6)
    if family.support is constraints.nonnegative_integer:
        y = (y * far.clamp(1, 1e4)).floor()
    elif family.support in (constraints.real, constraints.positive, constraints.nonnegative):
        y = y * far
    check(family.formula(), raw, y)


@pytest.mark.parametrize("case", [case for case in SCALAR if case.outside], ids=str)
def test_targets_without_a_probability(case, calls):
    raw = torch.tensor(case.raw).expand(len(case.outside), -1)
    for dtype in (torch.float32, torch.float64):
        value, slopes = kernel_of(case.make_family().formula())(
            raw, torch.tensor(case.outside, dtype=dtype), (), True
        )
        assert (value == -torch.inf).all()
        assert (slopes == 0).all()


def test_what_is_no_number_has_no_likelihood():
    raw, nan = torch.zeros(4, 2), torch.nan
    raw[1, 0], raw[2, 1] = nan, nan
    value, _ = kernel_of(dh.get_family("normal").formula())(
        raw, torch.tensor([0.0, 0.0, 0.0, nan]), (), True
    )
    assert value.isnan().tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "name, links",
    [
        ("normal", {"scale": LINKS["softplus"].constant(0.5)}),
        ("normal", {"loc": LINKS["identity"].constant(0.25)}),
        ("normal", {"scale": LINKS["exp"]}),
        ("normal", {"scale": LINKS["exp"].shifted(0.01)}),
        ("student_t", {"df": LINKS["softplus"].constant(4.0)}),
        ("student_t", {"scale": LINKS["softplus"].as_given}),
        ("gamma", {"concentration": LINKS["softplus"].constant(2.0)}),
        ("beta", {"concentration1": LINKS["exp"], "concentration0": LINKS["softplus"].shifted(1)}),
        ("von_mises", {"loc": LINKS["direction"].constant(0.5)}),
        ("von_mises", {"concentration": LINKS["softplus"].constant(3.0)}),
        ("negative_binomial", {"total_count": LINKS["softplus"].constant(5.0)}),
        ("weibull", {"concentration": LINKS["softplus"].constant(1.5)}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_other_links_and_fixed_parameters(name, links):
    family = dh.get_family(name)
    formula = family.formula(family.parameters | links)
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(40, formula.width, generator=generator) + 0.2
    check(formula, raw, target(family, torch.rand(40, generator=generator)))


def test_row_constants():
    """Expected counts of short exposures, in double precision."""
    head = dh.DistributionHead("poisson", 2)
    features, y = torch.randn(40, 2), torch.arange(40.0) % 5
    exposure = torch.logspace(-6, 2, 40)
    value = head(features, exposure=exposure).log_prob(y)
    exact = head.double()(features.double(), exposure=exposure.double()).log_prob(y.double())
    torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=2e-6)


def test_a_formula_that_asks_for_numbers_has_no_kernel():
    assert kernel_of(dh.get_family("mixture", num_components=2).formula()) is None
    assert kernel_of(dh.get_family("multivariate_normal", event_shape=(2,)).formula()) is None
    assert kernel_of(dh.get_family("categorical", num_classes=3).formula()) is None


# The whole loss.


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_and_its_gradient_launch_six_kernels(name, calls, monkeypatch):
    """One is the log-likelihood, two are its mean, three the gradient: ones, mean, products."""

    def launch(self, raw, y, loc_scale, needs_grad):
        calls.number += 1
        with torch.utils._python_dispatch._disable_current_modes():
            return torch.zeros(len(raw)), torch.zeros(raw.shape)

    monkeypatch.setattr(Kernel, "__call__", launch)
    monkeypatch.setattr(linked, "multiply_rows", lambda *arguments: False)  # which is for a CPU
    monkeypatch.setattr(linked, "CHUNK_ELEMENTS", 0)  # up to which it takes the mean, too
    family, raw, y = example(name, 8)
    raw.requires_grad_()
    formula = family.formula()
    dh.nll(formula.from_raw(raw), y).backward()
    raw.grad = None
    with Counter() as counter:
        dh.nll(formula.from_raw(raw), y).backward()
    assert calls.number == 2
    assert 1 + counter.launches == 6


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)], ids=str)
def test_batches_of_any_shape(shape, calls):
    raw = torch.randn(*shape, 2, requires_grad=True)
    y = torch.rand(shape) + 0.1
    value = dh.get_family("gamma").from_raw(raw).log_prob(y)
    exact = dh.get_family("gamma").from_raw(raw.double()).log_prob(y.double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5)
    (slope,) = torch.autograd.grad(value.sum(), raw, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), raw)[0], slope)
    assert calls.number == 2  # a second backward pass computes them again


def test_transforms_take_plain_operations(calls):
    raw, y = torch.randn(5, 2), torch.randn(5)

    def loss(raw: Tensor, y: Tensor) -> Tensor:
        return dh.get_family("normal").from_raw(raw).log_prob(y)

    torch.testing.assert_close(torch.func.vmap(loss)(raw, y), loss(raw, y))
    assert calls.number == 1  # not by vmap


# Graphs.


def _graphs(function, *arguments) -> tuple[Tensor, list[torch.fx.GraphModule]]:
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    graphs: list[torch.fx.GraphModule] = []

    def keep(graph, _):
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    compiled = torch.compile(function, backend=aot_autograd(fw_compiler=keep), fullgraph=True)
    return compiled(*arguments), graphs


def _tensors(graph: torch.fx.GraphModule) -> list[Tensor]:
    values = [torch.utils._pytree.tree_leaves(node.meta.get("val")) for node in graph.graph.nodes]
    return [one for some in values for one in some if isinstance(one, Tensor)]


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("family", ["normal", "von_mises"])
def test_a_compiled_step_is_one_graph_without_double_precision(family, standardised):
    torch.compiler.reset()
    head = dh.DistributionHead(family, 3)
    features, y = torch.randn(20, 3), torch.rand(20)
    units = torch.tensor(0.1), torch.tensor(2.0)
    standardised &= family == "normal"

    def loss(features: Tensor, y: Tensor) -> Tensor:
        dist = head(features)
        return dh.nll(dist.affine(*units) if standardised else dist, y)

    expected = loss(features, y)
    slopes = torch.autograd.grad(expected, list(head.parameters()))
    value, graphs = _graphs(loss, features, y)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, list(head.parameters())), slopes)
    assert len(graphs) == 2
    names = [str(node.target) for node in graphs[0].graph.nodes]
    assert names.count("disthead.log_prob_and_grad.default") == 1
    assert not any(one.dtype == torch.float64 for graph in graphs for one in _tensors(graph))


def test_the_operator_keeps_the_rules_of_torch_library():
    _, raw, y = example("gamma", 5)
    formula = dh.get_family("gamma").formula()
    operator = triton_kernels.log_prob_and_grad
    torch.library.opcheck(operator, (raw.requires_grad_(), y, None, None, formula.key))
    units = torch.tensor(0.0), torch.tensor(2.0)
    torch.library.opcheck(operator, (raw, y, *units, formula.key))


def test_the_operator_can_be_exported():
    _, raw, y = example("gamma", 5)
    formula = dh.get_family("gamma").formula()

    class LogProb(torch.nn.Module):
        def forward(self, raw: Tensor, y: Tensor) -> Tensor:
            return triton_kernels.log_prob_and_grad(raw, y, None, None, formula.key)[0]

    exported = torch.export.export(LogProb(), (raw, y)).module()
    torch.testing.assert_close(exported(raw, y), formula.from_raw(raw).log_prob(y))


def test_copies_of_a_formula_have_keys_of_their_own():
    formula = dh.get_family("gamma").formula()
    copies = [copy.deepcopy(formula), pickle.loads(pickle.dumps(formula))]
    assert len({formula.key, *(one.key for one in copies)}) == 3
    assert kernel_source(copies[0]) == kernel_source(formula)


# Without a GPU one can still see that its compiler takes every kernel.

COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import disthead as dh
from disthead.likelihood.triton_kernels import _compiled
from disthead.likelihood.triton_printer import kernel_source

POINTERS = ("loc_at", "scale_at", "value_at", "slopes_at")
NUMBERS = ("total", "raw_row", "raw_column", "y_row", "loc_row", "scale_row")
for name in sys.argv[1:]:
    function = _compiled(kernel_source(dh.get_family(name).formula()))
    for units, raw, y in (
        (0, "*fp32", "*fp32"), (0, "*fp16", "*i64"), (1, "*bf16", "*u8"), (2, "*fp32", "*fp64"),
    ):
        choices = dict(UNITS=units, IS_EXACT=units == 0, IS_DENSE=units < 2)
        choices |= dict(NEEDS_GRAD=units != 1, BLOCK=512, PART=128)
        signature = {"raw_at": raw, "y_at": y} | dict.fromkeys(POINTERS, "*fp32")
        signature |= dict.fromkeys(NUMBERS, "i32") | dict.fromkeys(choices, "constexpr")
        source = ASTSource(function, signature=signature, constexprs=choices)
        options = {"num_warps": 4, "enable_fp_fusion": True}
        kernel = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        assert "st.global" in kernel.asm["ptx"]
"""


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("normal",), id="normal"),
        pytest.param(
            sorted({case.family for case in SCALAR} - {"normal"}),
            marks=pytest.mark.slow,
            id="all others",
        ),
    ],
)
def test_kernels_compile_for_a_device_that_is_not_there(names, tmp_path):
    environment = {key: text for key, text in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(dh.__file__).parents[1]), *sys.path])
    command = [sys.executable, "-c", COMPILE, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nobody_without_a_gpu_imports_triton():
    program = (
        "import sys, torch, disthead as dh\n"
        "raw = torch.zeros(3, 2, requires_grad=True)\n"
        "dh.nll(dh.get_family('normal').from_raw(raw), torch.zeros(3)).backward()\n"
        "assert 'triton' not in sys.modules\n"
        "assert 'disthead.likelihood.triton_kernels' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
