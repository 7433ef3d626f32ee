"""Objectives, the functions of `(dist, y)` that training minimises, with one number for each row.

Each takes a distribution of batch_shape (...,) and its targets, and returns shape (...,); smaller
is better. Weights and means over rows are `disthead.losses.loss`. An objective without options is a
function. One with options is a frozen dataclass, whose fields are the options and which is called
with `(dist, y)`.

Every file here holds objectives of one kind and names them in `__all__`. The folder is listed to
find them.

Training asks an objective for more, where it has it:

- an `nn.Module` learns values of its own; with options it is a dataclass, too, with `eq=False`;
- `at_step(step)` returns the objective of a step, counted from 0 (`warm_up`);
- `penalty(weights, rows)` is added to the mean over rows: a number from the names and values of
  the model's parameters and the number of training rows (`map`);
- `validated_by` is the objective that chooses the best weights in place of this one (`beta_nll`).

>>> import torch, disthead as dh
>>> dist = dh.get_family("normal").distribution(loc=torch.zeros(2), scale=1.0)
>>> dh.objectives.crps(dist, torch.zeros(2))
tensor([0.2337, 0.2337])
>>> "crps" in dh.objectives.names()
True
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import torch

from disthead.errors import nearest, pick
from disthead.families.ensembles import ensemble
from disthead.families.family import Family

__all__ = ["check_objective", "get_objective", "name_of", "names", "specification"]

_FILES = [
    importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)
]
_OBJECTIVES: dict[str, Any] = {
    name: getattr(file, name) for file in _FILES for name in file.__all__
}

# What is proposed to a family in place of an objective that cannot train it.
_PROPER = [
    name
    for file in _FILES
    if file.__name__.rpartition(".")[2] in ("likelihood", "scores")
    for name in file.__all__
    if not isinstance(_OBJECTIVES[name], type)
]


def __getattr__(name: str) -> Any:
    if name in _OBJECTIVES:
        return _OBJECTIVES[name]
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}{nearest(name, _OBJECTIVES)}"
    )


def names() -> list[str]:
    """The names of all objectives."""
    return list(_OBJECTIVES)


def get_objective(objective: "str | Mapping[str, Any] | Callable", /, **options: Any) -> Callable:
    """An objective by its name, with its options.

    Args:
        objective: a name; a name with options as plain data, `{"name": ..., option: value}`; or a
            function of `(dist, y)`, which is returned as it is.
        **options: of the objective, by name.

    Raises:
        ValueError: for names and options that do not exist, with the nearest that do, and for
            options of a function.

    >>> get_objective("crps").__name__
    'crps'
    >>> get_objective("crsp")
    Traceback (most recent call last):
    ValueError: unknown objective 'crsp'; did you mean 'crps'? `disthead losses` and \
disthead.objectives.names() list all names.
    """
    if isinstance(objective, Mapping):
        if "name" not in objective:
            raise ValueError(
                f'objective must have a name, such as {{"name": "crps"}}, got {dict(objective)}.'
            )
        options = {**objective, **options}
        objective = options.pop("name")
    if isinstance(objective, str):
        if objective not in _OBJECTIVES:
            raise ValueError(
                f"unknown objective {objective!r}{nearest(objective, _OBJECTIVES)} "
                "`disthead losses` and disthead.objectives.names() list all names."
            )
        objective = _OBJECTIVES[objective]
    if not callable(objective):
        raise ValueError(
            'objective must be a name, such as "crps" (`disthead losses` lists them), a mapping '
            f"with a name and options, or a function of (dist, y), got {objective!r}."
        )
    if isinstance(objective, type) and dataclasses.is_dataclass(objective):
        known = {field.name: field for field in dataclasses.fields(objective)}
        for name in options:
            pick(f"option of the objective {name_of(objective)}", name, known)
        return objective(**options)  # type: ignore[return-value]
    if options:
        got = ", ".join(options)
        raise ValueError(f"objective {name_of(objective)} takes no options, got {got}.")
    return objective


def name_of(objective: Callable) -> str:
    """The name of an objective; of another function, its own, or "objective" without one."""
    for name, known in _OBJECTIVES.items():
        if objective is known or (isinstance(known, type) and isinstance(objective, known)):
            return name
    own = getattr(objective, "__name__", type(objective).__name__)
    return own if own.isidentifier() else "objective"


def specification(objective: Callable) -> "str | dict[str, Any] | None":
    """The plain data for which `get_objective` returns this objective; None for other functions.

    >>> specification(get_objective({"name": "crps"}))
    'crps'
    """
    name = name_of(objective)
    known = _OBJECTIVES.get(name)
    if objective is known:
        return name
    if isinstance(known, type) and isinstance(objective, known):
        return {"name": name, **dataclasses.asdict(objective)}  # type: ignore[call-overload]
    return None


def check_objective(
    objective: Callable, family: Family, event_shape: tuple[int, ...] = (), members: int = 1
) -> None:
    """Refuses an objective by which a family cannot be trained, after a trial on two rows.

    Args:
        objective: a function of `(dist, y)`; where it changes with the steps of training, that of
            the first step is tried, too.
        family: the family to be trained.
        event_shape: the shape of one target.
        members: the number of members of an ensemble, whose mixture must have the score, too.

    Raises:
        ValueError: where the family has no such score, or one without a gradient, with the reason
            and the objectives that would do; and for a function that does not return one number
            for each row.

    >>> from disthead import get_family
    >>> check_objective(get_objective("crps"), get_family("plackett_luce", event_shape=(3,)))
    Traceback (most recent call last):
    ValueError: objective 'crps' cannot train the family plackett_luce: PlackettLuce has no crps: \
it scores one number, and item indices have no distance; use log_prob(y). Try 'nll'.
    """
    at_step = getattr(objective, "at_step", None)
    tried = [objective] if at_step is None else [objective, at_step(0)]
    reasons = [_why_not(one, family, event_shape, members) for one in tried]
    reason = next(filter(None, reasons), None)
    if reason is None:
        return
    suited = [
        other
        for other in _PROPER
        if _why_not(_OBJECTIVES[other], family, event_shape, members) is None
    ]
    raise ValueError(
        f"objective {name_of(objective)!r} cannot train the family {family.name}: "
        f"{reason.rstrip('.')}. Try {' or '.join(map(repr, suited))}."
    )


def _why_not(
    objective: Callable, family: Family, event_shape: tuple[int, ...], members: int
) -> str | None:
    """The reason why a family cannot be trained by an objective; None where it can."""
    outputs = event_shape[: len(event_shape) - family.event_dim]
    with torch.device("cpu"), torch.enable_grad():
        raw = torch.zeros(2, *outputs, family.width(), requires_grad=True)
        dist = family.from_raw(raw).to_event(len(outputs))
        y = dist.sample(generator=torch.Generator().manual_seed(0))
        try:
            values = objective(dist, y)
            if members > 1:
                judge = getattr(objective, "validated_by", objective)
                judge(ensemble(dist.expand((2, 2))), y)
        except NotImplementedError as error:
            return str(error)
    if not isinstance(values, torch.Tensor) or values.shape != dist.batch_shape:
        got = tuple(values.shape) if isinstance(values, torch.Tensor) else repr(values)
        raise ValueError(
            f"objective {name_of(objective)} must return one number per row, shape "
            f"{tuple(dist.batch_shape)} for two rows, got {got}. Add up or average what it returns "
            "for the outputs of a row, and leave the mean over rows to the training."
        )
    return None if values.requires_grad else "it has no gradient by the parameters"
