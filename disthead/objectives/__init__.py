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
import functools
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from disthead.atlas import find, losses
from disthead.errors import nearest, pick, warn
from disthead.families.family import Family
from disthead.objectives.meant import meant_by_mapping, meant_by_text
from disthead.objectives.trial import untrained, why_not

__all__ = [
    "caveat",
    "check_objective",
    "get_objective",
    "name_of",
    "names",
    "specification",
    "warn_of_untrained",
]


# parameters that say where or how large targets are, which nobody knows for all rows alike
_LOCATIONS = ("loc", "mean", "rate", "logits", "probs")


@functools.cache
def _objectives() -> dict[str, Any]:
    """All objectives by their names; the files are read when somebody asks for one."""
    files = [
        importlib.import_module(f"{__name__}.{at.name}") for at in pkgutil.iter_modules(__path__)
    ]
    return {name: getattr(file, name) for file in files for name in file.__all__}


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in _objectives():
        return _objectives()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hint(name)}")


def names() -> list[str]:
    """The names of all objectives."""
    return list(_objectives())


def get_objective(objective: "str | Mapping[str, Any] | Callable", /, **options: Any) -> Callable:
    """An objective by its name, with its options.

    Args:
        objective: a name; a name with options as plain data, `{"name": ..., option: value}`; or a
            function of `(dist, y)`, which is returned as it is.
        **options: of the objective, by name.

    Raises:
        ValueError: for names and options that do not exist, with the nearest that do, for options
            of a function, and for losses of PyTorch, with their name here.

    >>> get_objective("crps").__name__
    'crps'
    >>> get_objective("crsp")
    Traceback (most recent call last):
    ValueError: unknown objective 'crsp'; did you mean 'crps'? `disthead losses` and \
disthead.objectives.names() list all names.
    """
    if isinstance(objective, Mapping):
        if "name" not in objective:
            meant = meant_by_mapping(objective, _objectives())
            raise ValueError(f"objective must have a name, such as {meant}, got {dict(objective)}.")
        options = {**objective, **options}
        objective = options.pop("name")
    if isinstance(objective, str):
        if objective not in _objectives():
            meant = meant_by_text(objective, _objectives())
            if meant:
                raise ValueError(
                    f"objective must be a name, got the text {objective!r}. With options it is "
                    f"{meant}."
                )
            raise ValueError(
                f"unknown objective {objective!r}{_hint(objective)} "
                "`disthead losses` and disthead.objectives.names() list all names."
            )
        objective = _objectives()[objective]
    _refuse_pytorchs(objective)
    if not callable(objective):
        raise ValueError(
            'objective must be a name, such as "crps" (`disthead losses` lists them), a mapping '
            f"with a name and options, or a function of (dist, y), got {objective!r}."
        )
    if isinstance(objective, type) and dataclasses.is_dataclass(objective):
        fields = {field.name: field for field in dataclasses.fields(objective)}
        for name in options:
            pick(f"option of the objective {name_of(objective)}", name, fields)
        return objective(**options)  # type: ignore[return-value]
    if options:
        got = ", ".join(options)
        raise ValueError(f"objective {name_of(objective)} takes no options, got {got}.")
    return objective


def name_of(objective: Callable) -> str:
    """The name of an objective; of another function, its own, or "objective" without one."""
    for name, listed in _objectives().items():
        if objective is listed or (isinstance(listed, type) and isinstance(objective, listed)):
            return name
    own = getattr(objective, "__name__", type(objective).__name__)
    return own if own.isidentifier() else "objective"


def specification(objective: Callable) -> "str | dict[str, Any] | None":
    """The plain data for which `get_objective` returns this objective; None for other functions.

    >>> specification(get_objective({"name": "crps"}))
    'crps'
    """
    name = name_of(objective)
    listed = _objectives().get(name)
    if objective is listed:
        return name
    if isinstance(listed, type) and isinstance(objective, listed):
        return {"name": name, **dataclasses.asdict(objective)}  # type: ignore[call-overload]
    return None


def caveat(objective: "Callable | None") -> str:
    """What to know of the probabilities of a model that was trained by an objective, if any.

    The text is empty where they are those of the data in the long run: for likelihoods and proper
    scores, for objectives that are validated by another one, and for functions of one's own.

    >>> caveat(get_objective("crps"))
    ''
    >>> print(caveat(get_objective("multiclass_hinge")))
    The model was trained by 'multiclass_hinge', whose probabilities are not those of the data. \
No calibration: nll, calibration errors and probs of such a model say nothing. See `disthead \
explain multiclass_hinge`.
    """
    loss = None if objective is None else losses().get(name_of(objective))
    is_changed = loss is not None and loss.kind in ("changed likelihood", "not a likelihood")
    if loss is None or not is_changed or hasattr(objective, "validated_by"):
        return ""
    return (
        f"The model was trained by {loss.name!r}, whose probabilities are not those of the data. "
        f"{loss.calibration} See `disthead explain {loss.name}`."
    )


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
            and the objectives that would do; for a function that does not return one number for
            each row; and for objectives of this library that are not called with `(dist, y)`.

    >>> from disthead import get_family
    >>> check_objective(get_objective("crps"), get_family("plackett_luce", event_shape=(3,)))
    Traceback (most recent call last):
    ValueError: objective 'crps' cannot train the family plackett_luce: PlackettLuce has no crps: \
it scores one number, and item indices have no distance; use log_prob(y). Try 'nll'.
    """
    _refuse_pytorchs(objective)
    name, arguments = name_of(objective), _arguments(objective)
    if arguments != ["dist", "y"]:
        raise ValueError(
            f"objective {name!r} cannot train a family: it takes ({', '.join(arguments)}), not "
            f"(dist, y). Call it in a training step of your own, as disthead.objectives.{name} "
            "says."
        )
    at_step = getattr(objective, "at_step", None)
    tried = [objective] if at_step is None else [objective, at_step(0)]
    reasons = (why_not(one, name, family, event_shape, members) for one in tried)
    reason = next(filter(None, reasons), None)
    if reason is not None:
        raise ValueError(
            f"objective {name!r} cannot train the family {family.name}: {reason.rstrip('.')}. Try "
            f"{' or '.join(map(repr, _suited(family, event_shape, members)))}."
        )


def warn_of_untrained(
    objective: Callable,
    family: Family,
    event_shape: tuple[int, ...] = (),
    members: int = 1,
    fixed: Iterable[str] | None = None,
) -> list[str]:
    """Warn of the parameters that an objective does not train, before a training by it.

    Args:
        objective: a function of `(dist, y)`.
        family: the family to be trained.
        event_shape: the shape of one target.
        members: the number of members of an ensemble.
        fixed: the parameters that are fixed, and need no training; None where no option can fix
            one, so that the warning does not advise it.

    Returns:
        the names of the parameters whose gradient is zero, which should be the same for all rows.

    >>> from disthead import get_family
    >>> warn_of_untrained(get_objective("crps"), get_family("normal"))
    []
    """
    without_gradient, undetermined = (
        [name for name in names if name not in (fixed or ())]
        for names in untrained(objective, family, event_shape)
    )
    proper = " or ".join(map(repr, _suited(family, event_shape, members)))
    remedy = f"Train by {proper} for a whole distribution"
    fixable = [name for name in without_gradient or undetermined if name not in _LOCATIONS]
    fixable = fixable if without_gradient else fixable[:1]
    values = ", ".join(f"{name!r}: ..." for name in fixable)
    is_fixable = fixed is not None and bool(fixable)
    if without_gradient:
        advice = f", or say what you know: fixed={{{values}}}" if is_fixable else ""
        warn(
            f"objective {name_of(objective)!r} does not train {' and '.join(without_gradient)} of "
            f"{family.name}: the same value serves all rows. {remedy}{advice}."
        )
    elif len(undetermined) > 1:
        advice = f", or fix one of them: fixed={{{values}}}" if is_fixable else ""
        warn(
            f"objective {name_of(objective)!r} does not determine {' and '.join(undetermined)} of "
            f"{family.name} each: other values have the same loss, so that all but what it scores "
            f"is arbitrary. {remedy}{advice}."
        )
    return without_gradient


def _refuse_pytorchs(objective: object) -> None:
    """Refuse the losses of torch.nn and torch.nn.functional, which take no distributions."""
    kind = objective if isinstance(objective, type) else type(objective)
    if kind.__module__ == "torch.nn.modules.loss":
        name = kind.__name__
    elif getattr(objective, "__module__", None) == "torch.nn.functional":
        name = objective.__name__  # type: ignore[attr-defined]
    else:
        return
    hint = _hint(name) if find(name) else "."
    raise ValueError(
        f"objective must be a function of (dist, y) with one number per row, got PyTorch's {name}, "
        f"which takes predictions{hint} `disthead losses` lists all names."
    )


def _arguments(objective: Callable) -> list[str]:
    """What an objective of this library must be called with; (dist, y) for other functions."""
    if name_of(objective) not in _objectives():
        return ["dist", "y"]
    called = objective.forward if isinstance(objective, torch.nn.Module) else objective
    parameters = inspect.signature(called).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]


def _suited(family: Family, event_shape: tuple[int, ...], members: int) -> list[str]:
    """The likelihood, and the first other strictly proper score that can train a family, if any."""
    others = (
        name
        for name in ("crps", "brier", "energy")
        if why_not(get_objective(name), name, family, event_shape, members) is None
    )
    return ["nll", *itertools.islice(others, 1)]


def _hint(name: object) -> str:
    """The end of a sentence about an unknown objective: what it is called here, or the nearest."""
    loss = find(str(name))
    if loss is not None and loss.kind == "divergence":
        return (
            "; it is a divergence between two distributions: "
            f"disthead.divergence({loss.name!r}, p, q)."
        )
    if loss is not None and loss.name in _objectives():
        return f"; it is called {loss.name!r} here."
    return nearest(name, _objectives())
