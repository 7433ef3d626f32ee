"""How fast is a training step's loss? Ratios to other libraries, measured in one alternating run.

    python -m benchmarks.speed [--rows 1024 1000000] [--families normal gamma] [--seconds 2]
    [--threads 1] [--without-gradients] [--compiled] [--out FILE]

Each round runs, one after the other and on the same raw outputs and targets, the mean negative
log-likelihood, forward and backward, as often as takes a few milliseconds: of torch.distributions
with its validation on, of Pyro, of the loss in torch.nn where there is one, of classes by logsumexp
less the logit of the target, of the head in GluonTS where that is installed and has one, of
disthead without its library in C (`without C`), of a loss whose function computes nothing (autograd
alone), with `--compiled` of disthead and of torch.distributions (without validation) under
`torch.compile`, of disthead with targets in double precision that single precision holds
(`double targets`) and that it does not (`more digits`), and of disthead. A cell is the median over
rounds of the ratio of the times: 3.0 means that disthead is three times as fast. `copies` is the
time of disthead in copies of the raw outputs and targets. Times are the process's own, since the
clock of a shared machine also counts the work of others. Prints Markdown, and writes it to FILE.
"""

import argparse
import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pyro.distributions as pyro
import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import constraints
from torch.nn import functional
from torch.nn.functional import softplus

import disthead as dh
from disthead.likelihood import classes, linked, rankings
from disthead.special import blocks
from tests.cases import ONE_EACH, Case


def _mixture(d, raw: Tensor) -> td.Distribution:
    logits, loc, scale = raw.chunk(3, -1)
    return d.MixtureSameFamily(d.Categorical(logits=logits), d.Normal(loc, softplus(scale)))


def _multivariate_normal(d, raw: Tensor) -> td.Distribution:
    size = (math.isqrt(8 * raw.shape[-1] + 9) - 3) // 2
    row, column = torch.tril_indices(size, size)
    tril = raw.new_zeros((*raw.shape[:-1], size, size))
    tril[..., row, column] = raw[..., size:]
    diagonal = softplus(tril.diagonal(dim1=-2, dim2=-1))
    return d.MultivariateNormal(raw[..., :size], scale_tril=tril.tril(-1) + diagonal.diag_embed())


class _CategoricalLoop:
    """The Plackett-Luce model as people write it by hand: one Categorical for each place."""

    def __init__(self, d, raw: Tensor):
        self.categorical, self.scores = d.Categorical, raw

    def log_prob(self, y: Tensor) -> Tensor:
        left, total = torch.zeros_like(self.scores), torch.zeros(self.scores.shape[:-1])
        for place in range(y.shape[-1]):
            item = y[..., place]
            total = total + self.categorical(logits=self.scores + left).log_prob(item)
            left = left.scatter(-1, item.unsqueeze(-1), -1e9)
        return total


def _orders(rows: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(rows, size, generator=generator).argsort(-1)


def _classes(size: int) -> tuple[str, dict, int, Callable, str]:
    return (
        "categorical",
        {"num_classes": size},
        size,
        lambda d, r: d.Categorical(logits=r),
        f"classes {size}",
    )


CLASSES = (10, 17, 100, 1000)

# name -> (family, options of get_family and fixed parameters, raw outputs, the same of
# torch.distributions or Pyro, targets)
_Row = tuple[str, dict, int, Callable, Callable | str]


def _row_of(case: Case) -> _Row:
    """Of a row of `tests/cases.py` whose truth names its peer."""
    is_unbounded = case.kind == "direction" or case.make_family().support is constraints.real
    drawn = {"count": "classes 5", "binary": "classes 2"}.get(
        case.kind, torch.randn if is_unbounded else torch.rand
    )
    return case.family, case.options, len(case.raw), case.truth.peer, drawn


CASES: dict[str, _Row] = {
    **{case.name: _row_of(case) for case in ONE_EACH if case.truth and not case.options},
    "student_t of df 4": (
        "student_t",
        {"fixed": {"df": 4.0}},
        2,
        lambda d, r: d.StudentT(4.0, r[..., 0], softplus(r[..., 1])),
        torch.randn,
    ),
    "normal of scale 1": (
        "normal",
        {"fixed": {"scale": 1.0}},
        1,
        lambda d, r: d.Normal(r[..., 0], 1.0),
        torch.randn,
    ),
    **{f"categorical {size}": _classes(size) for size in CLASSES},
    "mixture of 5 normals": ("normal_mixture", {"num_components": 5}, 15, _mixture, torch.randn),
    "multivariate_normal 8": (
        "multivariate_normal",
        {"event_shape": (8,)},
        44,
        _multivariate_normal,
        "vector 8",
    ),
    "plackett_luce 10": (
        "plackett_luce",
        {"event_shape": (10,)},
        10,
        _CategoricalLoop,
        "orders 10",
    ),
    "plackett_luce 100": (
        "plackett_luce",
        {"event_shape": (100,)},
        100,
        _CategoricalLoop,
        "orders 100",
    ),
}


def _in_units(name: str) -> _Row:
    """With targets in a unit of their own, as `disthead fit` trains."""
    loc, scale = 3.0, 2.5

    def peer(d: Any, raw: Tensor) -> td.Distribution:
        change = d.transforms.AffineTransform(loc, scale)
        return d.TransformedDistribution(CASES[name][3](d, raw), [change])

    family, options, width, _, _ = CASES[name]
    units = options | {"units": (loc, scale)}
    return (
        family,
        units,
        width,
        peer,
        lambda *shape, generator: loc + scale * torch.randn(*shape, generator=generator),
    )


CASES |= {
    "normal of scale 20": CASES["normal"],
    "poisson to 1,000": CASES["poisson"],
    "negative_binomial to 10,000": CASES["negative_binomial"],
    "normal in units": _in_units("normal"),
    "student_t in units": _in_units("student_t"),
}


def _scale_of_20(raw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return raw + torch.tensor([0.0, 20.0]), 20 * torch.randn(len(raw), generator=generator)


def _rates_to_1000(raw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    rate = 1000 * torch.rand(raw.shape, generator=generator)
    return rate, torch.poisson(rate[:, 0], generator=generator)


def _counts_to_10000(raw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    mean = 10 ** (4 * torch.rand(len(raw), generator=generator))
    logits = mean.log() - softplus(raw[:, 0]).log()
    y = torch.poisson(mean, generator=generator).clamp(max=10_000)
    return torch.stack([raw[:, 0], logits], 1), y


# name -> raw outputs and targets that others than the usual ones are
_WIDE: dict[str, Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]] = {
    "normal of scale 20": _scale_of_20,
    "poisson to 1,000": _rates_to_1000,
    "negative_binomial to 10,000": _counts_to_10000,
}
_TURN = 0.003  # seconds


def _targets(kind, rows: int, generator: torch.Generator) -> Tensor:
    if callable(kind):
        y = kind(rows, generator=generator)
        return y.clamp(1e-3, 1 - 1e-3) if kind is torch.rand else y
    name, size = kind.split()
    if name == "classes":
        y = torch.randint(int(size), (rows,), generator=generator)
        return y.float() if size in ("2", "5") else y
    return (
        _orders(rows, int(size), generator)
        if name == "orders"
        else torch.randn(rows, int(size), generator=generator)
    )


# The losses of torch.nn: (raw outputs, targets) -> loss.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "normal": lambda r, y: functional.gaussian_nll_loss(
        r[:, 0], y, softplus(r[:, 1]).square(), full=True
    ),
    "poisson": lambda r, y: functional.poisson_nll_loss(
        softplus(r[:, 0]), y, log_input=False, full=True
    ),
    "bernoulli": lambda r, y: functional.binary_cross_entropy_with_logits(r[:, 0], y),
    **{f"categorical {size}": functional.cross_entropy for size in CLASSES},
}


def _logsumexp_less_gather(raw: Tensor, y: Tensor) -> Tensor:
    return (raw.logsumexp(-1) - raw.gather(-1, y.unsqueeze(-1)).squeeze(-1)).mean()


def _gluonts(name: str) -> Callable[[Tensor], td.Distribution] | None:
    """Raw outputs to a distribution by GluonTS's links, if it is installed and has the family."""
    try:
        from gluonts.torch import distributions as gluonts
    except ImportError:
        return None
    heads = {
        "normal": "NormalOutput",
        "laplace": "LaplaceOutput",
        "student_t": "StudentTOutput",
        "gamma": "GammaOutput",
        "beta": "BetaOutput",
        "poisson": "PoissonOutput",
        "negative_binomial": "NegativeBinomialOutput",
    }
    if name not in heads:
        return None
    head = getattr(gluonts, heads[name])()
    return lambda raw: head.distribution(head.domain_map(*raw.split(1, -1)))


class _Nothing(torch.autograd.Function):
    """What any loss with a gradient of its own costs: its values and derivatives are whatever the
    memory holds.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(raw, y)
        ctx.derivatives = torch.empty_like(raw)
        return raw.new_empty(len(raw))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return ctx.derivatives * gradient.unsqueeze(-1), None


@contextlib.contextmanager
def _without_library() -> Iterator[None]:
    with (
        mock.patch.object(blocks, "log_prob", return_value=False),
        mock.patch.object(rankings, "rank", return_value=False),
        mock.patch.object(linked, "multiply_rows", return_value=False),
        mock.patch.object(linked, "negative_mean", return_value=False),
        mock.patch.object(classes, "choose", return_value=False),
    ):
        yield


_SETTINGS = {"without C": _without_library}
_NOT_COMPARED = ("GluonTS", "autograd alone")  # links of its own, and no numbers


def _time(loss: Callable[[], Tensor], raw: Tensor, calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        raw.grad = None
        value = loss()
        if raw.requires_grad:
            value.backward()
    return (time.process_time() - start) / calls


def measure(
    name: str, rows: int, seconds: float, compiled: bool = False, gradients: bool = True
) -> dict[str, float]:
    """The speed relative to each peer, and under `copies` the time in copies of the raw outputs and
    targets.
    """
    family, options, width, peer, kind = CASES[name]
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(rows, width, generator=generator)
    y = _targets(kind, rows, generator)
    if name in _WIDE:
        raw, y = _WIDE[name](raw, generator)
    raw.requires_grad_(gradients)
    makes = {
        "torch.distributions": partial(peer, td),
        "Pyro": partial(peer, pyro),
        "GluonTS": _gluonts(name),
    }
    losses = {
        title: partial(_nll, make, raw, y) for title, make in makes.items() if _has(make, raw)
    }
    if name in LOSSES:
        losses["torch.nn"] = partial(LOSSES[name], raw, y)
    if family == "categorical":
        losses["logsumexp - gather"] = partial(_logsumexp_less_gather, raw, y)
    make = _ours(family, **options)
    ours = partial(_nll, make, raw, y)
    losses |= {"without C": ours, "autograd alone": lambda: (-_Nothing.apply(raw, y)).mean()}
    losses["double targets"] = partial(_nll, make, raw, y.double() if y.is_floating_point() else y)
    digits = 1e-12 if y.is_floating_point() and not isinstance(kind, str) else 0.0
    losses["more digits"] = partial(
        _nll, make, raw, y.double() + digits if y.is_floating_point() else y
    )
    if compiled:
        torch.compiler.reset()
        losses["compiled"] = partial(torch.compile(partial(_nll, make), fullgraph=True), raw, y)
        if "torch.distributions" in losses:
            losses["compiled torch.distributions"] = partial(
                _unchecked, torch.compile(partial(_nll, makes["torch.distributions"])), raw, y
            )
    for title, loss in losses.items():
        if title not in _NOT_COMPARED:
            # its Poisson loss has Stirling's approximation in it
            rounding = 1e-2 if title == "torch.nn" else 1e-4
            torch.testing.assert_close(
                ours(), loss(), rtol=rounding, atol=rounding, check_dtype=False
            )
    ratios: dict[str, list[float]] = {title: [] for title in [*losses, "copies"]}
    calls = max(1, round(_TURN / _time(ours, raw, 1)))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(ratios["copies"]) < 5:
        own = _time(ours, raw, calls)
        for title, loss in losses.items():
            with _SETTINGS.get(title, contextlib.nullcontext)():
                ratios[title].append(_time(loss, raw, calls) / own)
        start = time.process_time()
        for _ in range(calls):
            raw.detach().clone()
            y.clone()
        ratios["copies"].append(own * calls / (time.process_time() - start))
    return {title: statistics.median(values) for title, values in ratios.items()}


def _ours(
    name: str,
    fixed: dict[str, float] | None = None,
    units: tuple[float, float] | None = None,
    **options,
) -> Callable[[Tensor], td.Distribution]:
    family = dh.get_family(name, **options)
    if units is not None:
        loc, scale = map(torch.tensor, units)
        return lambda raw: family.from_raw(raw).affine(loc, scale)
    if fixed is None:
        return family.from_raw
    links = {
        name: link.constant(fixed[name]) if name in fixed else link
        for name, link in family.parameters.items()
    }
    return family.formula(links).from_raw


def _has(make: Callable[[Tensor], td.Distribution] | None, raw: Tensor) -> bool:
    """Whether the library has the family."""
    try:
        return make is not None and make(raw) is not None
    except AttributeError:
        return False


def _nll(make: Callable[[Tensor], td.Distribution], raw: Tensor, y: Tensor) -> Tensor:
    return (-make(raw).log_prob(y)).mean()


def _unchecked(loss: Callable[[Tensor, Tensor], Tensor], raw: Tensor, y: Tensor) -> Tensor:
    """Without the validation of torch.distributions, at which compilers break graphs."""
    td.Distribution.set_default_validate_args(False)
    try:
        return loss(raw, y)
    finally:
        td.Distribution.set_default_validate_args(True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 1_000_000])
    parser.add_argument("--families", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each cell")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without-gradients", action="store_true", help="values alone")
    parser.add_argument("--compiled", action="store_true", help="also under torch.compile")
    parser.add_argument("--out", type=Path, help="a Markdown file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    td.Distribution.set_default_validate_args(True)
    peers = [
        "torch.distributions",
        "Pyro",
        "torch.nn",
        "logsumexp - gather",
        "GluonTS",
        "without C",
        "autograd alone",
        "double targets",
        "more digits",
    ]
    peers += ["compiled", "compiled torch.distributions"] if arguments.compiled else []
    lines = [
        "| family | rows | "
        + " | ".join(f"times as fast as {peer}" for peer in peers)
        + " | copies |"
    ]
    lines.append("|---" * (len(peers) + 3) + "|")
    print(*lines, sep="\n")
    for name in arguments.families:
        for rows in arguments.rows:
            width = CASES[name][2]
            # more than the machine holds
            if rows * width * (width if "plackett" in name else 1) > 2e8:
                continue
            found = measure(
                name, rows, arguments.seconds, arguments.compiled, not arguments.without_gradients
            )
            cells = [f"{found[peer]:.1f}" if peer in found else "" for peer in peers]
            lines.append(f"| {name} | {rows:,} | {' | '.join(cells)} | {found['copies']:.0f} |")
            print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
