"""How much does evaluation cost? NLL, CRPS, PIT histogram and coverage at 19 levels, in times of log_prob alone.

    python -m benchmarks.evaluation [--rows 1000000] [--batch 65536] [--rounds 3]

Each round runs log_prob alone and the four metrics one after the other, over the same batches; the table gives the median of
the rounds' ratios, and the memory that the process has taken in the meantime, which does not grow with the rows.
"""

import argparse
import resource
import statistics
import time

import torch

import disthead as dh
from disthead.metrics import CRPS, Coverage, NegativeLogLikelihood, PITHistogram


def batches(family: dh.Family, rows: int, size: int):
    """Distributions with a million different parameters, as a model would give them, and their targets."""
    width = sum(torch.Size(family.raw_shape(name)).numel() for name in family.parameters)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, rows, size):
        raw = torch.randn(min(size, rows - start), width, generator=generator)
        yield family.from_raw(raw), raw


def seconds(work, family: dh.Family, rows: int, size: int, y: torch.Tensor) -> float:
    total = 0.0
    for place, (dist, _) in enumerate(batches(family, rows, size)):
        part = y[place * size : place * size + dist.batch_shape.numel()]
        start = time.perf_counter()
        work(dist, part)
        total += time.perf_counter() - start
    return total


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.rows:,} rows in batches of {given.batch:,}")
    print(
        "| family | log_prob, s | four metrics, s | ratio | nll | crps | pit and coverage | peak memory, MiB |\n|"
        + "---|" * 8
    )
    for name in ("normal", "gamma", "student_t", "poisson"):
        family = dh.get_family(name)
        torch.manual_seed(0)
        y = torch.cat([dist.sample() for dist, _ in batches(family, given.rows, given.batch)])
        levels = [k / 20 for k in range(1, 20)]
        found = []
        for _ in range(given.rounds):
            metrics = {"nll": NegativeLogLikelihood(), "crps": CRPS(), "pit": PITHistogram()}
            alone = seconds(lambda dist, part: dist.log_prob(part), family, given.rows, given.batch, y)
            times = [seconds(metric.update, family, given.rows, given.batch, y) for metric in metrics.values()]
            coverage = Coverage(levels)  # its state is that of the histogram, as in a MetricCollection
            start = time.perf_counter()
            coverage.fine, coverage.rows = metrics["pit"].fine, metrics["pit"].rows
            coverage.compute()
            found.append((alone, *times, time.perf_counter() - start))
        alone, nll, crps, pit, last = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(sum(row[1:]) / row[0] for row in found)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = [f"{alone:.2f}", f"{nll + crps + pit + last:.2f}", f"{ratio:.1f}"]
        cells += [f"{part / alone:.1f}" for part in (nll, crps, pit)] + [f"{memory:.0f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
