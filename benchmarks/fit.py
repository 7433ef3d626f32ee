"""What does training cost beside the arithmetic? `disthead fit` against a bare loop of PyTorch, and
against boosted trees.

    python -m benchmarks.fit [--rows 1000] [--epochs 20] [--rounds 5] [--peers]

Part one trains the same model (MLP 1x50, normal head, fused AdamW, the same steps, one validation
an epoch) in the way of `disthead fit` (data module, Lightning's trainer with checkpoints, early
stopping and a CSV log) and in a loop written by hand, alternating; the table gives the median of
the rounds' ratios and their range. Part two (`--peers`) times 400 epochs beside the defaults of
NGBoost and XGBoostLSS, where these are installed. One thread; seconds are the process's own, since
the clock of a shared machine also counts the work of others.
"""

import argparse
import contextlib
import importlib.util
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from disthead.training import DistributionModule, TabularDataModule

WIDTH, FEATURES = 50, 8
OPTIMIZER = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003}}


def table(rows: int) -> tuple[Tensor, Tensor]:
    """Features and targets whose mean and spread depend on them."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, FEATURES, generator=generator)
    noise = torch.randn(rows, generator=generator)
    return x, x[:, 0] + torch.sin(2 * x[:, 1]) + 0.3 * torch.exp(0.5 * x[:, 2]) * noise


def bare(x: Tensor, y: Tensor, batch: int, epochs: int) -> float:
    """Seconds of a loop written by hand: no checkpoints, no logs, one validation an epoch."""
    train = round(0.8 * len(x))
    x_val, y_val, x, y = x[train:], y[train:], x[:train], y[:train]
    model = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, fused=True)
    start = time.process_time()
    x_loc, x_scale, y_loc, y_scale = x.mean(0), x.std(0), y.mean(), y.std()

    def nll(x: Tensor, y: Tensor) -> Tensor:
        loc, raw = model((x - x_loc) / x_scale).unbind(-1)
        scale = nn.functional.softplus(raw)
        z = ((y - y_loc) / y_scale - loc) / scale
        return (0.5 * z * z + scale.log() + 0.9189385332).mean() + y_scale.log()

    for _ in range(epochs):
        for rows in torch.randperm(train).tensor_split(-(-train // batch)):
            loss = nll(x[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            total = sum(
                nll(*part) * len(part[0])
                for part in zip(x_val.split(batch), y_val.split(batch), strict=True)
            )
        float(total / max(len(x_val), 1))
    return time.process_time() - start


def fit(
    x: Tensor,
    y: Tensor,
    batch: int,
    epochs: int,
    family: str = "normal",
    hidden_sizes: Sequence[int] = (WIDTH,),
) -> float:
    """Seconds of `Trainer.fit` as `disthead fit` sets it up."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        data = TabularDataModule.from_arrays(x, y, batch_size=batch, test_size=0)
        data.find_columns()
        data.part("train"), data.part("val")
        module = DistributionModule(family, hidden_sizes=[*hidden_sizes], optimizer=OPTIMIZER)
        callbacks = [
            ModelCheckpoint(monitor="val/nll", filename="best", save_last="link"),
            EarlyStopping(monitor="val/nll", patience=epochs),
        ]
        trainer = lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, callbacks=callbacks,
            default_root_dir=folder, logger=CSVLogger(folder),
            enable_model_summary=False, enable_progress_bar=False,
        )  # fmt: skip
        start = time.process_time()
        trainer.fit(module, data)
        return time.process_time() - start


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def ratios(
    one: Callable[[], float], other: Callable[[], float], rounds: int
) -> tuple[float, float, list[float]]:
    """Median seconds of both, and the ratio of each round; they run alternately, after one round to
    warm up.
    """
    pairs = [(one(), other()) for _ in range(rounds + 1)][1:]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return mine, theirs, sorted(a / b for a, b in pairs)


def against_the_bare_loop(epochs: int, rounds: int, sizes: list[tuple[int, int]]) -> None:
    print(
        "| rows | batch | steps | disthead, us/step | bare loop, us/step | ratio (range) |\n|"
        + "---|" * 6
    )
    for rows, batch in sizes:
        x, y = table(rows)
        steps = epochs * -(-round(0.8 * rows) // batch)
        ours, theirs, found = ratios(
            lambda: fit(x, y, batch, epochs), lambda: bare(x, y, batch, epochs), rounds  # noqa: B023
        )  # fmt: skip
        print(
            f"| {rows:,} | {batch:,} | {steps:,} | {1e6 * ours / steps:.0f} | "
            f"{1e6 * theirs / steps:.0f} "
            f"| {statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f}) |",
            flush=True,
        )


def ngboost(x: Tensor, y: Tensor) -> float:
    from ngboost import NGBRegressor

    start = time.process_time()
    NGBRegressor(verbose=False).fit(x.numpy(), y.numpy())
    return time.process_time() - start


def xgboostlss(x: Tensor, y: Tensor) -> float:
    import xgboost
    from xgboostlss.distributions.Gaussian import Gaussian
    from xgboostlss.model import XGBoostLSS

    start = time.process_time()
    model: Any = XGBoostLSS(Gaussian())
    model.train(
        {"nthread": 1}, xgboost.DMatrix(x.numpy(), label=y.numpy(), nthread=1), num_boost_round=100
    )
    return time.process_time() - start


def against_peers(epochs: int, rounds: int, sizes: list[int]) -> None:
    peers = [peer for peer in (ngboost, xgboostlss) if importlib.util.find_spec(peer.__name__)]
    if not peers:
        print("ngboost and xgboostlss are not installed.")
        return
    print("\n| rows | peer | disthead, s | peer, s | ratio (range) |\n|" + "---|" * 5)
    for rows in sizes:
        x, y = table(rows)
        for peer in peers:
            ours, theirs, found = ratios(
                lambda: fit(x, y, 100, epochs), lambda: peer(x, y), rounds  # noqa: B023
            )  # fmt: skip
            print(
                f"| {rows:,} | {peer.__name__} | {ours:.1f} | {theirs:.1f} "
                f"| {statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f}) |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument(
        "--peers", action="store_true", help="also NGBoost and XGBoostLSS, 400 epochs"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [(rows, 100) for rows in given.rows] + [(200_000, 4096)]
    against_the_bare_loop(given.epochs, given.rounds, sizes)
    if given.peers:
        against_peers(400, 1, given.rows)


if __name__ == "__main__":
    main()
