"""How exact is each answer? Worst errors against mpmath at 50 digits, beside torch.distributions
and Pyro.

    python -m benchmarks.accuracy [--rows 100]

Prints a Markdown table, family x question. The truths are those of the rows of `tests/cases.py`
(`tests/truth.py` says how they are found), and `tests/test_accuracy.py` holds the library to them.

Errors are |got - truth| / max(1, |truth|), absolute for the cdf, and relative to |y| for
icdf(cdf(y)), there only where rounding the cdf does not by itself move y by a fiftieth of the
bound.
"""

import argparse
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import torch

from tests.cases import TRUTHS
from tests.truth import Truth

BOUNDS = {  # question -> worst error allowed in single and in double precision
    "log_prob": {torch.float32: 2e-6, torch.float64: 1e-12},
    "gradient": {torch.float32: 1e-4, torch.float64: 1e-9},
    "cdf": {torch.float32: 1e-6, torch.float64: 1e-12},
    "icdf": {torch.float32: 1e-5, torch.float64: 1e-10},
    "entropy": {torch.float32: 2e-6, torch.float64: 1e-12},
    "crps": {torch.float32: 2e-6, torch.float64: 1e-6},
}


# Measuring


def tensors_of(rows: Sequence[tuple], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    raw, y = zip(*rows, strict=True)
    return torch.tensor(raw, dtype=dtype), torch.tensor(y, dtype=dtype)


def numbers(truths: Iterable) -> torch.Tensor:
    """mpmath's numbers in double precision, whose rounding is far below any bound; nan for what is
    not known.
    """
    return torch.tensor(
        [math.nan if truth is None else float(truth) for truth in truths], dtype=torch.float64
    )


def representable(truth: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return truth.abs() <= torch.finfo(dtype).max


def relative_error(got: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """|got - truth| / max(1, |truth|), inf for a nan; 0 where the truth is unknown or beyond this
    precision's numbers.
    """
    error = (got.double() - truth).abs() / truth.abs().clamp(min=1)
    error = torch.where(error.isnan(), math.inf, error)
    return torch.where(representable(truth, got.dtype), error, 0.0)


def log_prob_errors(
    make, truth: torch.Tensor, slope: torch.Tensor, rows, dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of log_prob and of each of its derivatives, for a distribution `make(raw)`."""
    raw, y = tensors_of(rows, dtype)
    raw.requires_grad_()
    value = make(raw).log_prob(y)
    # A row whose truth, or any of whose slopes, is too large for the precision does not count.
    wanted = representable(truth, dtype) & representable(slope, dtype).all(-1)
    (got,) = torch.autograd.grad(value.sum(), raw)
    return relative_error(value, truth), torch.where(
        wanted.unsqueeze(-1), relative_error(got, slope), 0.0
    )


def cdf_errors(make, truth: torch.Tensor, rows, dtype, circular: bool = False) -> torch.Tensor:
    """On a circle 0 and 1 are the same place, where the cdf starts."""
    raw, y = tensors_of(rows, dtype)
    error = (make(raw).cdf(y).double() - truth).abs()
    error = torch.minimum(error, (1 - error).abs()) if circular else error
    return torch.where(error.isnan(), math.inf, error)


def round_trips(
    case: Truth, cdf: torch.Tensor, log_prob: torch.Tensor, rows, dtype
) -> torch.Tensor:
    """Whether icdf(cdf(y)) can return y: where rounding the cdf moves y by less than a fiftieth of
    the bound.

    Counts must come back exactly, so their mass must stand out of the rounding.
    """
    _, y = tensors_of(rows, torch.float64)
    limits = torch.finfo(dtype)
    inside = (cdf > limits.tiny) & (1 - cdf > limits.eps) & representable(log_prob, dtype)
    if case.made.is_discrete:
        return inside & (log_prob.exp() > 8 * limits.eps * cdf) & (1 - cdf > 8 * limits.eps)
    moved = limits.eps * cdf / log_prob.exp()
    return inside & (moved < 0.02 * BOUNDS["icdf"][dtype] * y.abs())


def round_trip_errors(
    make, possible: torch.Tensor, rows, dtype, circular: bool = False
) -> torch.Tensor:
    raw, y = tensors_of(rows, dtype)
    dist = make(raw)
    difference = (dist.icdf(dist.cdf(y)).double() - y.double()).abs()
    difference = (
        torch.minimum(difference, (2 * math.pi - difference).abs()) if circular else difference
    )
    error = torch.where(y == 0, difference, difference / y.double().abs())
    return torch.where(possible, torch.where(error.isnan(), math.inf, error), 0.0)


def questions(case: Truth, rows: Sequence[tuple], scored: Sequence[tuple]) -> dict[str, Callable]:
    """Question -> the errors of a maker of distributions in a precision, for every question whose
    truth is known.
    """
    log_prob = numbers(case.ask("log_prob", *row) for row in rows)
    slope = torch.stack([numbers(case.gradient(*row)) for row in rows])
    answers: dict[str, Callable] = {
        "log_prob": lambda make, dtype: log_prob_errors(make, log_prob, slope, rows, dtype)[0],
        "gradient": lambda make, dtype: log_prob_errors(make, log_prob, slope, rows, dtype)[1],
    }
    if case.cdf:
        cdf = numbers(case.ask("cdf", *row) for row in rows)
        answers["cdf"] = lambda make, dtype: cdf_errors(make, cdf, rows, dtype, case.circular)
        answers["icdf"] = lambda make, dtype: round_trip_errors(
            make, round_trips(case, cdf, log_prob, rows, dtype), rows, dtype, case.circular
        )
    if case.entropy:
        entropy = numbers(case.ask("entropy", raw) for raw, _ in scored)
        answers["entropy"] = lambda make, dtype: relative_error(
            make(tensors_of(scored, dtype)[0]).entropy(), entropy
        )
    if case.crps:
        crps = numbers(case.ask("crps", *row) for row in scored)

        def crps_errors(make, dtype):
            raw, y = tensors_of(scored, dtype)
            return relative_error(make(raw).crps(y), crps)

        answers["crps"] = crps_errors
    return answers


def worst(
    errors: Callable[[Callable, torch.dtype], torch.Tensor],
    make: Callable | None,
    dtype: torch.dtype,
) -> str:
    """The worst error as a cell of the table."""
    if make is None:
        return "missing"
    try:
        error = float(errors(make, dtype).detach().max())
    except (NotImplementedError, AttributeError, RuntimeError):
        return "missing"
    return "nan or inf" if math.isinf(error) else f"{error:.0e}"


def table(row_count: int) -> str:
    """The Markdown table."""
    import pyro.distributions

    libraries = {"disthead": None, "torch": torch.distributions, "Pyro": pyro.distributions}
    columns = list(itertools.product(libraries, (torch.float32, torch.float64)))
    titles = [f"{library} {str(dtype).removeprefix('torch.')}" for library, dtype in columns]
    lines = ["| family | question | " + " | ".join(titles) + " |", "|---" * (2 + len(titles)) + "|"]
    for case in TRUTHS:
        rows = case.grid(row_count)
        makers = {
            name: case.peer and functools.partial(case.peer, module)
            for name, module in libraries.items()
        }
        makers["disthead"] = case.made.from_raw
        for question, errors in questions(case, rows, rows[: max(row_count // 5, 1)]).items():
            cells = [worst(errors, makers[library], dtype) for library, dtype in columns]
            lines.append(f"| {case} | {question} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100, help="rows of the grid for each family")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.distributions.Distribution.set_default_validate_args(False)
    print(table(arguments.rows))


if __name__ == "__main__":
    main()
