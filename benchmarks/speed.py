"""How fast is a training step's loss? Ratios to torch.distributions, measured in one alternating run.

    python -m benchmarks.speed [--rows 1024 1000000] [--families normal gamma] [--seconds 2] [--threads 1]

Each round runs, one after the other and on the same raw outputs and targets: the mean negative log-likelihood of
torch.distributions with its validation on, forward and backward, and that of disthead. A cell is the median over rounds
of the ratio of the two times: 3.0 means that disthead is three times as fast. `copies` is the time of disthead in copies
of the raw outputs. Prints Markdown.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import softplus

import disthead as dh


def _von_mises(raw: Tensor) -> td.Distribution:
    return td.VonMises(torch.atan2(raw[..., 1], raw[..., 0]), softplus(raw[..., 2]))


def _mixture(raw: Tensor) -> td.Distribution:
    logits, loc, scale = raw.chunk(3, -1)
    return td.MixtureSameFamily(td.Categorical(logits=logits), td.Normal(loc, softplus(scale)))


def _multivariate_normal(raw: Tensor) -> td.Distribution:
    size = (math.isqrt(8 * raw.shape[-1] + 9) - 3) // 2
    row, column = torch.tril_indices(size, size)
    tril = raw.new_zeros((*raw.shape[:-1], size, size))
    tril[..., row, column] = raw[..., size:]
    diagonal = softplus(tril.diagonal(dim1=-2, dim2=-1))
    return td.MultivariateNormal(raw[..., :size], scale_tril=tril.tril(-1) + diagonal.diag_embed())


class _CategoricalLoop:
    """The Plackett-Luce model as people write it by hand: one Categorical for each place."""

    def __init__(self, raw: Tensor):
        self.scores = raw

    def log_prob(self, y: Tensor) -> Tensor:
        left, total = torch.zeros_like(self.scores), torch.zeros(self.scores.shape[:-1])
        for place in range(y.shape[-1]):
            item = y[..., place]
            total = total + td.Categorical(logits=self.scores + left).log_prob(item)
            left = left.scatter(-1, item.unsqueeze(-1), -1e9)
        return total


def _orders(rows: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(rows, size, generator=generator).argsort(-1)


# name -> (family, options of get_family, raw outputs, the same of torch.distributions, targets)
CASES: dict[str, tuple[str, dict, int, Callable, Callable]] = {
    "normal": ("normal", {}, 2, lambda r: td.Normal(r[..., 0], softplus(r[..., 1])), torch.randn),
    "laplace": ("laplace", {}, 2, lambda r: td.Laplace(r[..., 0], softplus(r[..., 1])), torch.randn),
    "student_t": (
        "student_t",
        {},
        3,
        lambda r: td.StudentT(2 + softplus(r[..., 0]), r[..., 1], softplus(r[..., 2])),
        torch.randn,
    ),
    "exponential": ("exponential", {}, 1, lambda r: td.Exponential(softplus(r[..., 0])), torch.rand),
    "gamma": ("gamma", {}, 2, lambda r: td.Gamma(softplus(r[..., 0]), softplus(r[..., 1])), torch.rand),
    "beta": ("beta", {}, 2, lambda r: td.Beta(softplus(r[..., 0]), softplus(r[..., 1])), torch.rand),
    "log_normal": ("log_normal", {}, 2, lambda r: td.LogNormal(r[..., 0], softplus(r[..., 1])), torch.rand),
    "weibull": ("weibull", {}, 2, lambda r: td.Weibull(softplus(r[..., 0]), softplus(r[..., 1])), torch.rand),
    "von_mises": ("von_mises", {}, 3, _von_mises, torch.randn),
    "bernoulli": ("bernoulli", {}, 1, lambda r: td.Bernoulli(logits=r[..., 0]), "classes 2"),
    "categorical 10": ("categorical", {"num_classes": 10}, 10, lambda r: td.Categorical(logits=r), "classes 10"),
    "categorical 1000": (
        "categorical",
        {"num_classes": 1000},
        1000,
        lambda r: td.Categorical(logits=r),
        "classes 1000",
    ),
    "poisson": ("poisson", {}, 1, lambda r: td.Poisson(softplus(r[..., 0])), "classes 5"),
    "negative_binomial": (
        "negative_binomial",
        {},
        2,
        lambda r: td.NegativeBinomial(softplus(r[..., 0]), logits=r[..., 1]),
        "classes 5",
    ),
    "mixture of 5 normals": ("normal_mixture", {"num_components": 5}, 15, _mixture, torch.randn),
    "multivariate_normal 8": ("multivariate_normal", {"event_shape": (8,)}, 44, _multivariate_normal, "vector 8"),
    "plackett_luce 10": ("plackett_luce", {"event_shape": (10,)}, 10, _CategoricalLoop, "orders 10"),
    "plackett_luce 100": ("plackett_luce", {"event_shape": (100,)}, 100, _CategoricalLoop, "orders 100"),
}


def _targets(kind, rows: int, generator: torch.Generator) -> Tensor:
    if callable(kind):
        y = kind(rows, generator=generator)
        return y.clamp(1e-3, 1 - 1e-3) if kind is torch.rand else y
    name, size = kind.split()
    if name == "classes":
        y = torch.randint(int(size), (rows,), generator=generator)
        return y.float() if size in ("2", "5") else y
    return (
        _orders(rows, int(size), generator) if name == "orders" else torch.randn(rows, int(size), generator=generator)
    )


def _step(make: Callable[[Tensor], td.Distribution], raw: Tensor, y: Tensor) -> float:
    raw.grad = None
    start = time.perf_counter()
    (-make(raw).log_prob(y)).mean().backward()
    return time.perf_counter() - start


def measure(name: str, rows: int, seconds: float) -> tuple[float, float]:
    """The speed relative to torch.distributions, and the time in copies of the raw outputs."""
    family, options, width, peer, kind = CASES[name]
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(rows, width, generator=generator).requires_grad_()
    y = _targets(kind, rows, generator)
    ours = dh.get_family(family, **options).from_raw
    ratios, copies = [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(ratios) < 5:
        theirs, own = _step(peer, raw, y), _step(ours, raw, y)
        start = time.perf_counter()
        raw.detach().clone()
        copy = time.perf_counter() - start
        ratios.append(theirs / own)
        copies.append(own / copy)
    return statistics.median(ratios), statistics.median(copies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 1_000_000])
    parser.add_argument("--families", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each cell")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    td.Distribution.set_default_validate_args(True)
    titles = [f"{rows} rows: times as fast | copies" for rows in arguments.rows]
    print("| family | " + " | ".join(titles) + " |")
    print("|---" * (1 + 2 * len(titles)) + "|")
    for name in arguments.families:
        cells = []
        for rows in arguments.rows:
            width = CASES[name][2]
            if rows * width > 2e8:
                cells += ["", ""]
                continue
            ratio, copies = measure(name, rows, arguments.seconds)
            cells += [f"{ratio:.1f}", f"{copies:.0f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
