"""The kernels of a GPU (`likelihood/triton_kernels.py`) on one: all that a machine that has one is
needed for, in a few minutes. `tests/test_triton.py` runs the same kernels without.

    OMP_NUM_THREADS=1 python -m pytest -m gpu -s -p no:xdist tests/test_gpu_kernels.py

Tests that measure print a line for benchmarks/RESULTS.md. Other work on the same device spoils
them.
"""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import disthead as dh
from benchmarks.accuracy import BOUNDS, relative_error, tensors_of
from disthead.likelihood.eager import whole_batch
from disthead.likelihood.tracing import is_of_numbers
from disthead.likelihood.triton_kernels import kernel_of
from tests.cases import TRUTHS
from tests.one_pass import FUSED
from tests.test_accuracy import truths
from tests.test_gpu import (
    GOAL,
    ROWS,
    _empty_device,
    copy_bandwidth,
    example,
    milliseconds,
    need,
    report,
)

__all__ = ["_empty_device", "copy_bandwidth", "report"]  # fixtures

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SCALAR = [case for case in FUSED if is_of_numbers(case.make_family().formula())]
OWN_ROW = [case for case in SCALAR if case.name == case.family]
every_case = pytest.mark.parametrize("case", SCALAR, ids=str)


def test_triton_is_there():
    family = dh.get_family("normal")
    assert kernel_of(family.formula()) is not None
    kernels = kernels_of(
        lambda: family.from_raw(torch.zeros(4, 2).cuda()).log_prob(torch.zeros(4).cuda())
    )
    assert "kernel" in kernels


def kernels_of(function: Callable[[], object]) -> list[str]:
    """The names of the kernels that it launches, without copies from and to the host."""
    function()  # what is compiled or set up once
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        function()
        torch.cuda.synchronize()
    on_device = [
        event.name
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]
    return [name for name in on_device if not name.startswith(("Memcpy", "Memset"))]


@every_case
def test_launches(case, report):
    """Forward and backward of a mean loss of raw outputs that a layer gives."""
    raw, y = example(case, 4096)
    formula = case.make_family().formula()
    weight = raw.new_ones(raw.shape[1]).requires_grad_()

    def step() -> None:
        layer = raw * weight
        torch.autograd.grad(dh.nll(formula.from_raw(layer), y), layer)

    launches = len(kernels_of(step)) - 1  # the layer
    report(f"{case.name}: kernels launched by nll, forward and backward", f"{launches}")
    assert launches <= 6


@pytest.mark.parametrize(
    "case", [one for one in TRUTHS if is_of_numbers(one.made.formula())], ids=str
)
def test_accuracy(case):
    """Each row with a block of its own, and all together, which lends rows double precision."""
    rows = case.grid(60)
    value, slope = truths(case, "log_prob", 60), truths(case, "gradient", 60)
    raw, y = (part.cuda() for part in tensors_of(rows, torch.float32))
    kernel = kernel_of(case.made.formula())
    alone = [kernel(raw[k : k + 1], y[k : k + 1], (), True) for k in range(len(rows))]
    together = kernel(raw, y, (), True)
    results = [[torch.cat(parts) for parts in zip(*alone, strict=True)], together]
    for found, slopes in results:
        error = relative_error(found.cpu(), value)
        assert error.max() <= BOUNDS["log_prob"][torch.float32], rows[error.argmax()]
        error = relative_error(slopes.cpu(), slope)
        assert error.max() <= BOUNDS["gradient"][torch.float32], rows[error.amax(-1).argmax()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@every_case
def test_a_million_rows_are_those_of_double_precision(case, dtype):
    """Ordinary ones, with one row in a thousand far out; standardised too, where that can be."""
    raw, y = example(case, 1 << 20)
    far = raw[::1000]
    far += torch.tensor([30.0, -30.0, 1000.0, 0.0]).repeat(len(far))[: len(far), None].to(raw)
    raw = raw.to(dtype)
    formula = case.make_family().formula()
    units = [()]
    if not case.make_family().is_discrete and case.family not in ("beta", "von_mises"):
        units.append((raw.new_tensor(0.0).float(), raw.new_tensor(3.0).float()))
    for loc_scale in units:
        found = kernel_of(formula)(raw, y, loc_scale, True)
        exact = whole_batch(formula, raw.double(), y, loc_scale, True)
        for got, wanted, tolerance in zip(found, exact, (4e-6, 1e-4), strict=True):
            wanted = wanted.to(got.dtype)
            torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)


# Bandwidth.


@pytest.mark.parametrize("rare", [0, 1000], ids=["ordinary rows", "one in a thousand far out"])
@pytest.mark.parametrize("case", OWN_ROW, ids=str)
def test_the_kernel_moves_data_as_fast_as_a_copy(case, rare, copy_bandwidth, report):
    """Raw outputs and targets read, log-likelihoods and derivatives written, at 64 million rows."""
    need(8)
    raw, y = example(case, 1 << 20, ROWS >> 20)
    if rare:
        raw[::rare] += 100.0
    kernel = kernel_of(case.make_family().formula())
    moved = 2 * raw.nbytes + 2 * y.nbytes
    reached = moved / milliseconds(lambda: kernel(raw, y, (), True)) / copy_bandwidth
    which = f", a row in {rare} in double precision" if rare else ""
    report(
        f"{case.name}: kernel, 64 Mi rows{which}", f"{100 * reached:.0f} % of the copy bandwidth"
    )
    if not rare:
        assert reached >= GOAL.get(case.name, 0.7)


@pytest.mark.parametrize("name", ["normal", "student_t"])
def test_standardised_rows_are_not_much_slower(name, report):
    need(8)
    family = dh.get_family(name)
    raw = torch.randn(1 << 24, family.width(), device="cuda")
    y = torch.randn(1 << 24, device="cuda")
    kernel = kernel_of(family.formula())
    units = torch.tensor(1.0, device="cuda"), torch.tensor(2.0, device="cuda")
    plain = milliseconds(lambda: kernel(raw, y, (), True))
    ratio = milliseconds(lambda: kernel(raw, y, units, True)) / plain
    report(f"{name}: standardised, 16 Mi rows", f"{ratio:.2f} x the time of targets as they are")


# Few rows: what a call costs.


def seconds(function: Callable[[], object], calls: int = 200) -> float:
    """Of a call, host and device together; the median of five rounds."""
    rounds = []
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds[1:])


def gaussian_nll(raw: Tensor, y: Tensor) -> Tensor:
    mean, scale = raw.unbind(-1)
    return nn.GaussianNLLLoss(full=True)(mean, y, functional.softplus(scale).square())


def poisson_nll(raw: Tensor, y: Tensor) -> Tensor:
    return nn.PoissonNLLLoss(log_input=False)(functional.softplus(raw[:, 0]), y)


def bernoulli_nll(raw: Tensor, y: Tensor) -> Tensor:
    return nn.BCEWithLogitsLoss()(raw[:, 0], y)


@pytest.mark.parametrize(
    "name, theirs",
    [("normal", gaussian_nll), ("poisson", poisson_nll), ("bernoulli", bernoulli_nll)],
)
def test_few_rows_take_no_longer_than_torch(name, theirs, report):
    """1,024 rows, forward and backward."""
    case = next(case for case in SCALAR if case.name == name)
    raw, y = example(case, 1024)
    raw, y = raw.requires_grad_(), y.float()
    formula = case.make_family().formula()

    def step(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(raw, y), raw)

    ours = step(lambda raw, y: dh.nll(formula.from_raw(raw), y))
    ratios = [seconds(ours) / seconds(step(theirs)) for _ in range(3)]
    report(
        f"{name}: 1,024 rows, against {theirs.__name__} of torch.nn",
        f"{min(ratios):.2f} x the time",
    )
    assert min(ratios) <= 1.2


# Graphs.


@pytest.mark.parametrize("case", OWN_ROW, ids=str)
def test_a_compiled_loss_is_that_of_the_kernel(case):
    raw, y = example(case, 4096)
    raw.requires_grad_()
    formula = case.make_family().formula()
    loss = torch.compile(lambda raw, y: dh.nll(formula.from_raw(raw), y), fullgraph=True)
    value, wanted = loss(raw, y), dh.nll(formula.from_raw(raw), y)
    torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)
    slopes = [torch.autograd.grad(one, raw)[0] for one in (value, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-8)
    launched = kernels_of(lambda: torch.autograd.grad(loss(raw, y), raw))
    assert len(launched) <= 6
