"""The first rows of a user's training loader, by which a model is standardised and initialised."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.trainer.connectors.data_connector import _request_dataloader
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from disthead.data.batches import Batch, expanded_weight
from disthead.data.columns import Encoded
from disthead.data.summary import Moments, Part, Summary
from disthead.distributions.censored import as_pairs
from disthead.head import DistributionHead
from disthead.weights import present

__all__ = ["ROWS", "first_rows", "from_first_batches", "say_that_it_cannot", "summary_of"]

ROWS = 10_000  # or all where there are fewer


def first_rows(
    trainer: lightning.Trainer, module: lightning.LightningModule, head: DistributionHead
) -> Summary | None:
    """The summary of the first 10,000 rows of the training loader, or of all where there are fewer.

    It is None, with a warning, for an iterator, whose rows come only once. Otherwise the loader is
    read once more than it is trained on: the global random state and the generators of loader and
    sampler are restored. Of several processes the first one reads, and all get its rows.

    Args:
        trainer: the trainer, which has the loader.
        module: whose hooks transfer the batches.
        head: which says what one target is.

    Raises:
        ValueError: for batches and weights that cannot be used, and where the weight of all these
            rows is 0.
    """
    return from_first_batches(trainer, module, Batch.of, lambda batches: summary_of(batches, head))


def from_first_batches(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    as_batch: Callable[[Any], Any],
    summarise: Callable[[list], Any],
) -> Any:
    """What a function makes of the first batches of the training loader, the same in all processes.

    It is None, with a warning, for an iterator, and for a loader without batches.

    Args:
        trainer: the trainer, which has the loader.
        module: whose hooks transfer the batches.
        as_batch: what the loader yields -> a batch, whose `y` has its rows.
        summarise: the batches with the first 10,000 rows -> the result.
    """
    result: Any = None
    if trainer.global_rank == 0:
        try:
            batches = _read(trainer, module, as_batch)
            result = summarise(batches) if batches else None
        except Exception as error:  # raised in all processes, so that none waits for the others
            result = error
    if trainer.world_size > 1:
        result = trainer.strategy.broadcast(result)
    if isinstance(result, Exception):
        raise result
    return result


def _read(trainer: lightning.Trainer, module: Any, as_batch: Callable[[Any], Any]) -> list:
    source = trainer.fit_loop._data_source
    if not source.is_defined() or not trainer.limit_train_batches:
        return []
    loader = _request_dataloader(source)
    if not isinstance(loader, CombinedLoader):
        loader = CombinedLoader(loader, "max_size_cycle")
    parts = [part for each in loader.flattened for part in (each, getattr(each, "dataset", None))]
    if any(hasattr(part, "__next__") for part in parts):
        say_that_it_cannot("it is an iterator, whose rows come only once")
        return []
    batches, rows = [], 0
    with isolate_rng(), _restored_generators(loader):
        for number, (batch, *_) in enumerate(loader):
            if number >= _limit(trainer, loader):
                break
            batch = module._on_before_batch_transfer(batch)
            batches.append(
                as_batch(module._apply_batch_transfer_handler(batch, torch.device("cpu")))
            )
            rows += len(batches[-1].y if batches[-1].y is not None else ())
            if rows >= ROWS:
                break
        loader.reset()  # ends the worker processes
    return batches


def say_that_it_cannot(reason: str) -> None:
    """Warn that a model is not initialised from the rows of its loader, and say what to do.

    Args:
        reason: why not, for the message.
    """
    warnings.warn(
        f"the start of training cannot come from its loader, since {reason}. Inputs and targets "
        "are not standardised, and the head starts anywhere. Call module.start(features, y) with "
        "some rows before fit, or give a loader that can be read.",
        stacklevel=2,
    )


def _limit(trainer: lightning.Trainer, loader: CombinedLoader) -> float:
    """The number of batches of the loader that the trainer takes in an epoch."""
    limit = trainer.overfit_batches or trainer.limit_train_batches
    length = sized_len(loader)
    if isinstance(limit, int) or length is None:
        return limit if isinstance(limit, int) else math.inf
    return max(1, int(limit * length))


@contextmanager
def _restored_generators(loader: CombinedLoader) -> Iterator[None]:
    """A block after which the generators of loaders and samplers have their states from before."""
    holders = [
        holder for each in loader.flattened for holder in (each, getattr(each, "sampler", None))
    ]
    generators = [
        generator
        for holder in holders
        if isinstance(generator := getattr(holder, "generator", None), torch.Generator)
    ]
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def summary_of(batches: Sequence[Batch], head: DistributionHead) -> Summary:
    """The summary of some batches.

    It has features where these are a table (N, P) of floating numbers.

    Args:
        batches: with targets.
        head: which says what one target is.

    Raises:
        ValueError: for batches without targets, and where no row has a weight above zero.
    """
    if any(batch.y is None for batch in batches):
        raise ValueError("batches of training need targets, (features, y), got features alone.")
    count = sum(len(batch.y) for batch in batches)
    event_dims = len(head.event_shape)
    if head.family.is_censored:
        batches = [batch._replace(y=as_pairs(batch.y, head.event_shape)) for batch in batches]
        event_dims += 1
    batches = [batch.present() for batch in batches]
    targets = Encoded.joined([_targets(batch, event_dims) for batch in batches])
    assert targets.y is not None
    if not len(targets.y):
        raise ValueError(
            f"weights must be above zero in some row, got zero in the first {count} rows of "
            "training: none is there to start from."
        )
    features = None
    if all(
        isinstance(batch.features, Tensor)
        and batch.features.ndim == 2
        and batch.features.is_floating_point()
        for batch in batches
    ):
        features = Moments()
        for batch in batches:
            features.add(
                batch.features.detach(),
                batch.weight if batch.weight is None or batch.weight.ndim == 1 else None,
            )
        targets = targets._replace(
            features=torch.cat([batch.features.detach() for batch in batches])
        )
    return Summary(features, Moments().add(targets.y, targets.weight), Part(targets, slice(None)))


def _targets(batch: Batch, event_dims: int) -> Encoded:
    """The targets, weights and known quantities of the present rows, (N, ...), without features."""
    rows = batch.y.shape[: batch.y.ndim - event_dims]
    weight = None if batch.weight is None else expanded_weight(batch.weight, rows)
    known = [values.expand(rows) for values in batch.known.values()]
    weight, y, *known = present(weight, batch.y.detach(), *known)
    y, known = y.reshape(-1, *batch.y.shape[len(rows) :]), [values.reshape(-1) for values in known]
    weight = None if weight is None else weight.reshape(-1)
    return Encoded(torch.empty(len(y), 0), y, weight, dict(zip(batch.known, known, strict=True)))
