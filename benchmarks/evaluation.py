"""How much does evaluation cost? NLL, CRPS, PIT histogram and coverage at 19 levels, in times of
log_prob alone.

    python -m benchmarks.evaluation [--rows 1000000] [--batch 65536] [--rounds 3]
    [--from-parameters]

Each round runs log_prob alone and the four metrics one after the other, over the same batches; the
table gives the median of the rounds' ratios, and the memory that the process has taken in the
meantime, which does not grow with the rows. Times are the process's own, on one thread.

The distributions are as a head makes them, whose log_prob takes one pass over its raw outputs: of
gamma that is ten times as fast as from parameters, which the ratio shows. `--from-parameters` makes
them of parameters.
"""

import argparse
import resource
import statistics
import time
import warnings

import torch

import disthead as dh
from disthead.metrics import CRPS, Coverage, NegativeLogLikelihood, PITHistogram


def batches(family: dh.Family, rows: int, size: int, from_parameters: bool):
    """Distributions with different parameters for each row, as a model would give them, and their
    targets.
    """
    torch.manual_seed(0)
    for start in range(0, rows, size):
        dist = family.from_raw(torch.randn(min(size, rows - start), family.width()))
        if from_parameters:
            dist = family.distribution(**{name: getattr(dist, name) for name in family.parameters})
        yield dist, _inside(dist, dist.sample())


def _inside(dist: dh.Distribution, y: torch.Tensor) -> torch.Tensor:
    """Without draws that single precision has rounded to an end of the support, which evaluation
    refuses.
    """
    if dist.support.is_discrete:
        return y
    numbers, lower = torch.finfo(y.dtype), getattr(dist.support, "lower_bound", None)
    upper = getattr(dist.support, "upper_bound", None)
    return y.clamp(
        numbers.min if lower is None else numbers.tiny,
        numbers.max if upper is None else 1 - numbers.eps,
    )


def seconds(work, dist: dh.Distribution, y: torch.Tensor) -> float:
    start = time.process_time()
    work(dist, y)
    return time.process_time() - start


@torch.no_grad()
def measure(family: dh.Family, rows: int, size: int, from_parameters: bool) -> tuple[float, ...]:
    """Seconds of log_prob alone and of each metric, batch after batch."""
    nll, crps, pit, coverage = (
        NegativeLogLikelihood(),
        CRPS(),
        PITHistogram(),
        Coverage([k / 20 for k in range(1, 20)]),
    )
    total = [0.0] * 4
    for dist, y in batches(family, rows, size, from_parameters):
        # each on a distribution of its own, whose parameters nobody has asked for before
        total[0] += seconds(lambda one, y: one.log_prob(y), dist[:], y)
        for place, metric in enumerate((nll, crps, pit), start=1):
            total[place] += seconds(metric.update, dist[:], y)
    start = time.process_time()
    # the state that the two share in a MetricCollection
    coverage.fine, coverage.rows = pit.fine, pit.rows
    with warnings.catch_warnings(action="ignore"):  # that nothing was added
        coverage.compute()
    total[3] += time.process_time() - start
    return tuple(total)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--families", nargs="+", default=["normal", "gamma"])
    parser.add_argument("--from-parameters", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.rows:,} rows in batches of {given.batch:,}")
    print(
        "| family | log_prob, s | four metrics, s | ratio | nll | crps | pit and coverage | peak "
        "memory, MiB |\n|" + "---|" * 8
    )
    for name in given.families:
        options = (dh.get_family(name), given.rows, given.batch, given.from_parameters)
        found = [measure(*options) for _ in range(given.rounds)]
        alone, *parts = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(sum(row[1:]) / row[0] for row in found)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = [f"{alone:.2f}", f"{sum(parts):.2f}", f"{ratio:.1f}"]
        cells += [f"{part / alone:.1f}" for part in parts] + [f"{memory:.0f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
