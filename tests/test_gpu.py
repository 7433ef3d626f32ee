"""What only a CUDA device can show. `make test-gpu`; each test that measures prints a line for
benchmarks/RESULTS.md.

    OMP_NUM_THREADS=1 python -m pytest -m gpu -s -p no:xdist tests/test_gpu.py

Other work on the same device spoils bandwidths: run one process at a time.
"""

import datetime
import gc
import statistics
import warnings
from collections.abc import Callable, Iterator

import lightning
import pytest
import torch
from torch import Tensor, nn

import disthead as dh
from disthead import special
from disthead.training import DistributionModule, TabularDataModule
from tests.cases import CASES, CIRCULAR, CONTINUOUS, COUNTS, MIXTURES, Case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

COMMAND = "pytest -m gpu -s tests/test_gpu.py"
ROWS = 64 << 20
# One row of the table for each family of single numbers.
SCALAR = [case for case in CONTINUOUS + CIRCULAR + COUNTS + MIXTURES if case.name == case.family]
GOAL = {"normal": 0.85, "laplace": 0.85}  # the others: 0.7


@pytest.fixture
def report(capsys) -> Callable[[str, str], None]:
    """A function that prints one row of the table in benchmarks/RESULTS.md."""

    def line(what: str, figure: str) -> None:
        device, today = torch.cuda.get_device_name(), datetime.date.today()
        with capsys.disabled():
            print(f"\n| {device} | {what} | {figure} | {today} | `{COMMAND}` |")

    return line


@pytest.fixture(autouse=True)
def _empty_device() -> Iterator[None]:
    """Each test starts without the tensors and graphs of the one before."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.compiler.reset()
    yield
    torch.cuda.set_sync_debug_mode("default")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def compiler() -> Iterator[Callable]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler about itself
        yield lambda function, **options: torch.compile(
            function, fullgraph=True, dynamic=False, **options
        )


def milliseconds(function: Callable[[], object], repeats: int = 20) -> float:
    """The median time on the device, after five calls that warm up."""
    times = []
    for k in range(repeats + 5):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        end.record()
        end.synchronize()
        if k >= 5:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def peak_bytes(function: Callable[[], object]) -> int:
    """Memory on top of what is there before the call."""
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def need(gibibytes: float) -> None:
    free, _ = torch.cuda.mem_get_info()
    if free < gibibytes * 2**30:
        pytest.skip(f"needs {gibibytes} GiB of device memory, {free / 2**30:.0f} are free")


def example(case: Case, rows: int, repeats: int = 1) -> tuple[Tensor, Tensor]:
    """Raw outputs and targets on the device, the same at each call."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.tensor(case.raw) + 0.3 * torch.randn(rows, len(case.raw), generator=generator)
    torch.manual_seed(0)
    y = case.from_raw(raw).sample()
    raw, y = raw.cuda(), y.cuda()
    return raw.repeat(repeats, 1), y.repeat(repeats, *[1] * (y.ndim - 1))


# Bandwidth.


@pytest.fixture(scope="module")
def copy_bandwidth() -> float:
    """Bytes per millisecond, read and written, of a copy of a gibibyte."""
    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(lambda: target.copy_(source))


@pytest.mark.parametrize("case", SCALAR, ids=str)
def test_the_fused_loss_moves_data_as_fast_as_a_copy(case, copy_bandwidth, compiler, report):
    """Forward and backward of the mean nll at 64 million rows.

    Counted is what two passes cannot avoid that keep the derivatives between them: raw outputs and
    targets read, log-likelihoods and derivatives written, both read, the gradient written.
    """
    need(24)
    raw, y = example(case, 1 << 20, ROWS >> 20)
    raw.requires_grad_()
    # outside of the graph: a name is looked up, and a formula made, by what compilers do not follow
    family = case.make_family()
    family.formula()
    loss = compiler(lambda raw, y: dh.nll(family.from_raw(raw), y))

    def step() -> None:
        raw.grad = None
        loss(raw, y).backward()

    reached = (4 * raw.nbytes + 3 * y.nbytes) / milliseconds(step) / copy_bandwidth
    report(
        f"{case.name}: nll, forward and backward, 64 Mi rows",
        f"{100 * reached:.0f} % of the copy bandwidth",
    )
    assert reached >= GOAL.get(case.name, 0.7)


# The step.


def model(case: Case) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.SiLU(), case.head(16)).cuda()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_small_model_is_one_graph(case, compiler):
    """Reduce-overhead, which replays a CUDA graph, gives the numbers without compilation."""
    from torch._dynamo.utils import counters

    net, (_, y) = model(case), example(case, 256)
    features = torch.randn(256, 3, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    wanted = dh.nll(net(features), y)
    gradients = torch.autograd.grad(wanted, list(net.parameters()))
    counters.clear()
    loss = compiler(lambda features, y: dh.nll(net(features), y), mode="reduce-overhead")
    for _ in range(4):  # warm-up, recording, two replays
        torch.compiler.cudagraph_mark_step_begin()
        net.zero_grad(set_to_none=True)
        found = loss(features, y)
        found.backward()
        value, slopes = found.item(), [parameter.grad.clone() for parameter in net.parameters()]
    assert counters["inductor"]["cudagraph_skips"] == 0
    assert value == pytest.approx(wanted.item(), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(slopes, list(gradients), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_does_not_wait_for_the_device(case):
    net, (_, y) = model(case), example(case, 256)
    features = torch.randn(256, 3, device="cuda")
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        dh.nll(net(features), y).backward()
        optimizer.step()

    step()  # what is set up once may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    step()


def test_waiting_is_noticed():
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device="cuda").item()


@pytest.mark.parametrize(
    "strategy, precision",
    # not fsdp in bf16: that rounds buffers, the units of features and targets among them
    # (docs/many_machines.md)
    [
        ("auto", "32-true"),
        ("auto", "bf16-mixed"),
        ("ddp", "32-true"),
        ("ddp", "bf16-mixed"),
        ("fsdp", "32-true"),
    ],
)
def test_lightning_trains_on_the_device(strategy, precision, tmp_path):
    """Strategies on one device give what the CPU gives, and a checkpoint that loads without one."""

    def fit(folder: str, **options) -> DistributionModule:
        torch.manual_seed(0)
        data = TabularDataModule(dataset="sklearn.diabetes", batch_size=100)
        optimizer = {"class_path": "SGD", "init_args": {"lr": 0.05}}
        module = DistributionModule("student_t", hidden_sizes=[8], optimizer=optimizer)
        trainer = lightning.Trainer(
            max_epochs=2,
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            **options,
        )
        trainer.fit(module, data)
        trainer.save_checkpoint(tmp_path / folder)
        return DistributionModule.load_from_checkpoint(tmp_path / folder)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning about a single device
        on_cpu = fit("cpu.ckpt", accelerator="cpu")
        on_device = fit("cuda.ckpt", accelerator="cuda", strategy=strategy, precision=precision)
    atol = 1e-4 if precision == "32-true" else 2e-2
    for name, value in on_cpu.state_dict().items():
        torch.testing.assert_close(
            on_device.state_dict()[name], value, rtol=atol, atol=atol, msg=name
        )


# Many classes.


def test_many_classes_in_a_tenth_of_the_memory(report):
    """128,000 classes, 16,384 rows: forward and backward, against a linear layer with
    cross_entropy.
    """
    need(40)
    classes, rows, width = 128_000, 16_384, 512
    torch.manual_seed(0)
    head = dh.DistributionHead("categorical", width, num_classes=classes).cuda()
    features = torch.randn(rows, width, device="cuda", requires_grad=True)
    y = torch.randint(classes, (rows,), device="cuda")
    assert head.linear is not None

    def ours() -> Tensor:
        return dh.nll(head(features), y)

    def theirs() -> Tensor:
        return nn.functional.cross_entropy(head.linear(features), y)

    memory, time, losses = {}, {}, {}
    for name, loss in (("ours", ours), ("theirs", theirs)):

        def step(loss: Callable[[], Tensor] = loss) -> Tensor:
            head.zero_grad(set_to_none=True)
            features.grad = None
            value = loss()
            value.backward()
            return value.detach()

        losses[name] = step()
        slopes = head.linear.weight.grad.clone()
        if name == "ours":
            wanted = slopes
        head.zero_grad(set_to_none=True)
        features.grad = None
        memory[name], time[name] = peak_bytes(step), milliseconds(step, repeats=5)
    share, longer = memory["ours"] / memory["theirs"], time["ours"] / time["theirs"]
    what = (
        f"categorical, {classes} classes x {rows} rows x {width} features, against Linear + "
        "cross_entropy"
    )
    report(what, f"{100 * share:.1f} % of the memory, {longer:.2f} x the time")
    torch.testing.assert_close(losses["ours"], losses["theirs"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(wanted, slopes, rtol=1e-2, atol=1e-6)
    assert share <= 0.1


# The same numbers as on the CPU.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_log_prob_and_gradient_are_those_of_the_cpu(case, dtype):
    raw, y = (
        tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in example(case, 64)
    )
    found = []
    for device in ("cpu", "cuda"):
        leaf = raw.to(device).detach().requires_grad_()
        value = case.from_raw(leaf).log_prob(y.to(device))
        found.append((value.detach().cpu(), torch.autograd.grad(value.sum(), leaf)[0].cpu()))
    rtol = 1e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(found[1][0], found[0][0], rtol=rtol, atol=rtol)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=10 * rtol, atol=10 * rtol)


UNIT, POSITIVE, REAL = (0.02, 0.98), (0.05, 40.0), (-3.0, 3.0)
FUNCTIONS = {  # name -> the ranges of its arguments, all of them functions of single numbers
    "betainc": (POSITIVE, POSITIVE, UNIT),
    "betaincc": (POSITIVE, POSITIVE, UNIT),
    "log_betainc": (POSITIVE, POSITIVE, UNIT),
    "log_betaincc": (POSITIVE, POSITIVE, UNIT),
    "betaincinv": (POSITIVE, POSITIVE, UNIT),
    "gammainc": (POSITIVE, POSITIVE),
    "gammaincc": (POSITIVE, POSITIVE),
    "log_gammainc": (POSITIVE, POSITIVE),
    "log_gammaincc": (POSITIVE, POSITIVE),
    "gammaincinv": (POSITIVE, UNIT),
    "gammainccinv": (POSITIVE, UNIT),
    "log_ndtr": (REAL,),
    "stirling_error": (POSITIVE,),
    "log_beta": (POSITIVE, POSITIVE),
    "student_t_cdf": (POSITIVE, REAL),
    "student_t_log_cdf": (POSITIVE, REAL),
    "bessel_ratio": (POSITIVE,),
    "von_mises_cdf": (POSITIVE, REAL),
    "von_mises_log_normalizer": (POSITIVE,),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_functions_are_those_of_the_cpu(name, generator):
    """Values and gradients, in double precision."""
    function, found = getattr(special, name), []
    arguments = [
        low + (high - low) * torch.rand(500, generator=generator, dtype=torch.float64)
        for low, high in FUNCTIONS[name]
    ]
    for device in ("cpu", "cuda"):
        leaves = [argument.to(device, copy=True).requires_grad_() for argument in arguments]
        value = function(*leaves)
        slopes = torch.autograd.grad(value.sum(), leaves)
        found.append([tensor.detach().cpu() for tensor in (value, *slopes)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)
