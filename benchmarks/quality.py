"""How good are the predictions? The default recipe on the UCI sets that the field compares on,
beside the published numbers.

    python -m benchmarks.quality [--sets boston concrete] [--splits 3] [--ensemble 8] [--data
    /work/shared/data] [--objectives nll beta_nll faithful crps]

Each set is split 20 times into 90 % training and 10 % test rows, the same way in every paper since
Hernandez-Lobato and Adams (2015). The Markdown table gives means over the splits with their
standard errors, in the target's own units. One setting serves all sets. `--out results.csv` appends
each split as it is done; a rerun continues there. The data do not ship: `--data` names a folder
with `uci/NAME.txt.gz` and `uci/manifest.json`.
"""

import argparse
import csv
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from disthead import DistributionRegressor

FAMILY = {"wine-red": "normal"}  # six grades: a density that may collapse onto them says nothing
DEFAULT_FAMILY = "student_t"
DRAWS = 1000  # from each row's distribution, for the CRPS
OPTIONS = {"mixture": {"component": "normal", "num_components": 3}}

# Mean test NLL over the 20 splits: Deep Ensembles (5) from Lakshminarayanan, Pritzel and Blundell
# 2017, table 1; NGBoost from Duan et al. 2020, table 1; best published of those that the data
# folder's README lists.
PUBLISHED = {
    "boston": (2.41, 2.43, 2.35),
    "concrete": (3.06, 3.04, 2.83),
    "energy": (1.38, 0.60, 0.53),
    "power": (2.79, 2.79, 2.60),
    "wine-red": (0.94, 0.91, 0.89),
}


@dataclass(frozen=True)
class Result:
    """One split: scores of the test rows in the target's units, and the processor's seconds of the
    fit (one thread).
    """

    set: str
    ensemble: int
    family: str
    split: int
    nll: float
    crps: float
    rmse: float
    coverage: float
    seconds: float
    steps: int
    objective: str = "nll"


def splits(data: Path, name: str, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Training and test rows of each split: features and target, then the same of the test rows."""
    columns = json.loads((data / "uci" / "manifest.json").read_text())[name]
    table = np.loadtxt(data / "uci" / f"{name}.txt.gz")
    features, y = (
        torch.tensor(table[:, columns["features"]]),
        torch.tensor(table[:, columns["target"][0]]),
    )
    random = np.random.RandomState(1)
    rows = round(0.9 * len(table))
    for _ in range(count):
        order = torch.tensor(random.choice(len(table), len(table), replace=False))
        train, test = order[:rows], order[rows:]
        yield features[train], y[train], features[test], y[test]


def crps(draws: Tensor, y: Tensor) -> Tensor:
    """E|Y - y| - E|Y - Y'| / 2 from draws (n, N), unbiased: a quadrature of eight mixed Student-t
    takes a second for each row.
    """
    n = len(draws)
    rank = torch.arange(1 - n, n, 2).unsqueeze(1) / (n * (n - 1))
    return (draws - y).abs().mean(0) - (rank * draws.sort(0).values).sum(0)


def measure(
    name: str,
    split: int,
    ensemble: int,
    family: str,
    objective: str,
    parts: tuple[Tensor, ...],
) -> Result:
    """Fit on the training rows of a split, score the test rows."""
    features, y, test_features, test_y = parts
    start = time.process_time()
    model = DistributionRegressor(
        family, OPTIONS.get(family), ensemble, random_state=split, objective=objective
    ).fit(features, y)
    seconds = time.process_time() - start
    dist = model.predict_dist(test_features)
    draws, pit = model.sample(test_features, DRAWS, random_state=split), dist.cdf(test_y)
    return Result(
        set=name,
        ensemble=ensemble,
        family=family,
        split=split,
        nll=-dist.log_prob(test_y).mean().item(),
        crps=crps(torch.from_numpy(draws), test_y).mean().item(),
        rmse=(dist.mean - test_y).square().mean().sqrt().item(),
        coverage=((pit - 0.5).abs() <= 0.45).double().mean().item(),
        seconds=seconds,
        steps=model.training_.stopped,
        objective=objective,
    )


def read(path: Path) -> list[Result]:
    """The splits that an earlier run has written."""
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in fields(Result)}
    with path.open(newline="") as file:
        if next(csv.reader(file)) != list(kinds):
            sys.exit(f"{path} has other columns than {', '.join(kinds)}: give another --out.")
        file.seek(0)
        return [
            Result(**{name: kinds[name](value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]  # type: ignore[operator]


def append(path: Path, result: Result) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(result)))
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(result))


def row(results: list[Result]) -> str:
    """A row of the table: means over splits with standard errors."""
    first = results[0]

    def cell(name: str, digits: int) -> str:
        values = [getattr(result, name) for result in results]
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"

    cells = [
        first.set,
        f"{first.ensemble}",
        first.family,
        first.objective,
        f"{len(results)}",
        cell("nll", 3),
        cell("crps", 3),
    ]
    cells += [
        cell("rmse", 3),
        cell("coverage", 3),
        f"{statistics.mean(result.seconds for result in results):.1f}",
    ]
    cells += [f"{value:.2f}" for value in PUBLISHED.get(first.set, (math.nan,) * 3)]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=list(PUBLISHED))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--ensemble", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--family",
        help=f"instead of {DEFAULT_FAMILY}, and normal for wine-red; mixture is of 3 normals",
    )
    parser.add_argument("--objectives", nargs="+", default=["nll"], help="that training minimises")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, help="a CSV file, one line for each split")
    given = parser.parse_args()
    if not (given.data / "uci" / "manifest.json").exists():
        sys.exit(
            f"no data at {given.data}: they do not ship. Try --data FOLDER, with "
            "uci/manifest.json in it."
        )
    torch.set_num_threads(1)
    done = read(given.out) if given.out else []
    print(
        "| set | members | family | objective | splits | NLL | CRPS | RMSE | 90 % coverage "
        "| fit, CPU s | Deep Ensembles NLL | NGBoost NLL | best published NLL |\n|" + "---|" * 13
    )
    for name in given.sets:
        family = given.family or FAMILY.get(name, DEFAULT_FAMILY)
        for ensemble, objective in itertools.product(given.ensemble, given.objectives):
            results = []
            for split, parts in enumerate(splits(given.data, name, given.splits)):
                key = (name, split, ensemble, family, objective)
                known = [
                    one
                    for one in done
                    if (one.set, one.split, one.ensemble, one.family, one.objective) == key
                ]
                result = known[0] if known else measure(*key, parts)
                results.append(result)
                if given.out and not known:
                    append(given.out, result)
            print(row(results), flush=True)


if __name__ == "__main__":
    main()
