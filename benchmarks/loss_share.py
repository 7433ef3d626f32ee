"""What share of a training step is the loss? Steps with it and with a mean of raw outputs instead.

    python -m benchmarks.loss_share [--batches 64 256] [--steps 200] [--rounds 9] [--family normal]

A step of a table of 8 features trains an MLP 2x128: in a bare loop (`head`), by the default recipe
(`recipe`, two networks at once) and by `disthead fit` (`fit`, with its validation). Each round
times short and long trainings of both kinds, one after the other; a step is the difference of the
least times of the long and the short one, by its steps, on one thread, in seconds of the process.
"""

import argparse
import contextlib
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import nn

import disthead as dh
from benchmarks.fit import FEATURES, fit, table
from disthead.likelihood import LinkedParameters
from disthead.recipe import fit_tabular

ROWS = 4096
HIDDEN = (128, 128)


def head(family: str, batch: int, steps: int) -> None:
    x, y = table(ROWS)
    first, second = HIDDEN
    layers = [nn.Linear(FEATURES, first), nn.SiLU(), nn.Linear(first, second), nn.SiLU()]
    model = nn.Sequential(*layers, dh.DistributionHead(family, second))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for step in range(steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % ROWS
        loss = dh.nll(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def recipe(family: str, batch: int, steps: int) -> None:
    options = {"batch_size": batch, "max_steps": steps, "patience": steps, "check_every": steps}
    fit_tabular(*table(ROWS), family=family, hidden_sizes=HIDDEN, **options)


def epochs(family: str, batch: int, steps: int) -> None:
    x, y = table(ROWS)
    fit(x, y, batch, max(1, round(steps * batch / (0.8 * ROWS))), family, HIDDEN)


@contextlib.contextmanager
def without_loss():
    """A mean of raw outputs in place of log-likelihoods."""
    with (
        mock.patch.object(LinkedParameters, "log_prob", lambda self, y: self.raw.mean(-1)),
        mock.patch.object(LinkedParameters, "mean_nll", lambda self, y: self.raw.mean()),
    ):
        yield


def seconds(way: Callable[[int], None], steps: int) -> float:
    start = time.process_time()
    way(steps)
    return time.process_time() - start


def steps_of(way: Callable[[int], None], steps: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step with the loss and without it."""
    settings = {"with": contextlib.nullcontext, "without": without_loss}
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for setting, make in settings.items():
            with make():
                for length in (steps, 2 * steps):
                    times.setdefault((setting, length), []).append(seconds(way, length))
    least = {key: min(values) for key, values in times.items()}
    found = [(least[one, 2 * steps] - least[one, steps]) / steps for one in settings]
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--family", default="normal")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| training | batch | us/step | without the loss | share of the loss |\n|" + "---|" * 5)
    for name, way in {"head": head, "recipe": recipe, "fit": epochs}.items():
        for batch in given.batches:
            train = partial(way, given.family, batch)
            train(2)
            with_loss, without = steps_of(train, given.steps, given.rounds)
            print(
                f"| {name} | {batch} | {1e6 * with_loss:.0f} | {1e6 * without:.0f} "
                f"| {1 - without / with_loss:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
