"""The trial of an objective with a family, before any data are read; no objective is here."""

from collections.abc import Callable

import torch
from torch import Tensor

from disthead.errors import TargetError
from disthead.families.ensembles import ensemble
from disthead.families.family import Family
from disthead.objectives.likelihood import nll

__all__: list[str] = []

# levels of the targets of a trial, so that quantiles in both tails are tried, too
_LEVELS = (1e-6, 1e-3, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.999, 1 - 1e-6)
_PLACES = 4  # random raw outputs: at some of them a quantile may be a value that does not move


def why_not(
    objective: Callable, name: str, family: Family, event_shape: tuple[int, ...], members: int = 1
) -> str | None:
    """The reason why a family cannot be trained by an objective; None where it can.

    Args:
        objective: a function of `(dist, y)`.
        name: of the objective, for the message.
        family: the family to be trained.
        event_shape: the shape of one target.
        members: the number of members of an ensemble, whose mixture must have the score, too.

    Raises:
        ValueError: for a function that does not return one number for each row.
    """
    outputs = event_shape[: len(event_shape) - family.event_dim]
    with torch.device("cpu"), torch.enable_grad():
        raw = torch.zeros(2, *outputs, family.width(), requires_grad=True)
        dist = family.from_raw(raw).to_event(len(outputs))
        y = dist.sample(generator=torch.Generator().manual_seed(0))
        try:
            values = objective(dist, y)
            if members > 1:
                validated_by = getattr(objective, "validated_by", objective)
                validated_by(ensemble(dist.expand((2, 2))), y)
        except NotImplementedError as error:
            return str(error)
        except TargetError:  # of targets that the data may not have, such as a count of 0
            return None
    if not isinstance(values, Tensor) or values.shape != dist.batch_shape:
        got = tuple(values.shape) if isinstance(values, Tensor) else repr(values)
        raise ValueError(
            f"objective {name} must return one number per row, shape "
            f"{tuple(dist.batch_shape)} for two rows, got {got}. Add up or average what it returns "
            "for the outputs of a row, and leave the mean over rows to the training."
        )
    return None if values.requires_grad else "it has no gradient by the parameters"


def untrained(
    objective: Callable, family: Family, event_shape: tuple[int, ...] = ()
) -> tuple[list[str], list[str]]:
    """The parameters that an objective does not move, and those that it does not tell apart.

    Both are judged by the gradients at targets far and near, beside those of the likelihood. The
    mean squared error of a gamma distribution moves both parameters, but in one direction only:
    different pairs of them have the same mean.

    Args:
        objective: a function of `(dist, y)`.
        family: the family to be trained.
        event_shape: the shape of one target.

    Returns:
        the names of parameters whose gradient is zero, and of the others, where they have fewer
        directions of the gradient than by the likelihood.
    """
    outputs = event_shape[: len(event_shape) - family.event_dim]
    with torch.device("cpu"), torch.enable_grad():
        generator = torch.Generator().manual_seed(0)
        raw = torch.randn(_PLACES, family.width(), generator=generator, dtype=torch.float64)
        raw = raw.repeat_interleave(len(_LEVELS), 0).reshape(-1, *(1,) * len(outputs), raw.shape[1])
        raw = raw.expand(-1, *outputs, -1)
        levels = torch.tensor(_LEVELS, dtype=torch.float64).repeat(_PLACES)
        try:
            y = family.from_raw(raw).icdf(levels.reshape(-1, *(1,) * len(outputs)))
        except NotImplementedError:
            y = family.from_raw(raw).sample(generator=generator)
        try:
            own, full = (_gradient(one, family, raw, y) for one in (objective, nll))
        except Exception:  # such as of single precision alone: a warning must not end a training
            return [], []
    if not all(part.isfinite().all() for part in (*own.values(), *full.values())):
        return [], []
    learned, moved = _moved(full), _moved(own)
    still = [name for name in learned if name not in moved]
    others = [name for name in learned if name in moved]
    if not others:  # values that do not move, wherever this trial looked
        return [], learned
    ranks = (_rank(torch.cat([parts[name] for name in others], -1)) for parts in (own, full))
    return still, others if bool(torch.lt(*ranks).all()) else []


def _gradient(objective: Callable, family: Family, raw: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The gradient by the first output's raw outputs, (places, targets, raw outputs) by parameter.

    Args:
        objective: a function of `(dist, y)`.
        family: the family to be trained.
        raw: raw outputs, (places * targets, *outputs, P).
        y: targets.
    """
    raw = raw.detach().clone().requires_grad_()
    values = objective(family.from_raw(raw).to_event(raw.ndim - 2), y)
    gradient = torch.autograd.grad(values.sum(), raw)[0].reshape(len(raw), -1, raw.shape[-1])
    by_name = family.formula().split(gradient[:, 0])
    return {name: part.reshape(_PLACES, len(_LEVELS), -1) for name, part in by_name.items()}


def _moved(gradients: dict[str, Tensor]) -> list[str]:
    return [name for name, part in gradients.items() if bool((part != 0).any())]


def _rank(gradients: Tensor) -> Tensor:
    """The number of directions in which the targets move the raw outputs, at each random place."""
    return torch.linalg.matrix_rank(gradients, rtol=1e-9)
