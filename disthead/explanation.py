"""Families and losses in words: what they assume, when they break, and what to try then."""

import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from itertools import zip_longest
from types import NoneType
from typing import Any

from disthead import atlas, objectives
from disthead.errors import nearest
from disthead.families.family import (
    Family,
    families,
    get_family,
    takes_classes,
    takes_vectors,
)

__all__ = ["explain", "explain_loss"]


def explain(name: str) -> str:
    """What a family or a loss assumes, in words; both, one after the other, where both exist.

    The lines of a family name its use, its noise, its density, its parameters with their links, its
    options with their defaults, the loss that its likelihood amounts to, when it breaks and what to
    try then. Those of a loss are `explain_loss`.

    Args:
        name: of a family, the path of one, such as my_package.my_module.MyFamily, or the name of a
            loss or one of its synonyms, such as "mean squared error".

    Raises:
        ValueError: for an unknown name, with the nearest names of both.

    >>> print(explain("poisson").splitlines()[0])
    poisson
    >>> print(explain("log score").splitlines()[0])
    nll (loss)
    """
    loss = atlas.find(name) if isinstance(name, str) else None
    is_family = isinstance(name, str) and ("." in name or name in families())
    if loss is None and not is_family:
        known = dict.fromkeys([*families(), *_names_of_losses()])
        raise ValueError(
            f"unknown family or loss {name!r}{nearest(name, known)} `disthead families` and "
            "`disthead losses` list all names. A family of your own is known by its name once its "
            "module is imported, and always by its path, such as my_package.my_module.MyFamily."
        )
    pages = [_page_of_family(example(name))] if is_family else []
    return "\n\n".join([*pages, *([] if loss is None else [_page_of_loss(loss)])])


def explain_loss(name: str) -> str:
    """What a loss assumes, in words.

    The lines name its kind, its synonyms, its assumption, its formula, its options with their
    defaults, the family whose likelihood it is, what a model trained by it estimates, its gradient,
    its robustness, what becomes of calibration, when it breaks, what to try then, PyTorch's call
    and the source.

    Raises:
        ValueError: for an unknown name, with the nearest ones.

    >>> print(explain_loss("crps").splitlines()[1])
      kind        proper score
    """
    loss = atlas.find(name)
    if loss is None:
        raise ValueError(
            f"unknown loss {name!r}{nearest(name, _names_of_losses())} `disthead losses` lists all "
            "names."
        )
    return _page_of_loss(loss)


def _names_of_losses() -> list[str]:
    return [name for loss in atlas.losses().values() for name in (loss.name, *loss.synonyms)]


def _page_of_family(family: Family) -> str:
    parts = {
        "use": f"{family.use} ({family.data_type}; {family.domain})",
        "noise": family.noise,
        "density": family.density,
        "parameters": links(family),
        "per row": ", ".join(_row_constants(family)),
        "options": options(type(family)),
        "loss": family.loss,
        "breaks": family.breaks,
        "then try": family.remedy,
        "at the edge": family.edge_remedy,
    }
    return _page(family.name, parts)


def _page_of_loss(loss: atlas.Loss) -> str:
    return _page(f"{loss.name} (loss)", texts_of_loss(loss))


def texts_of_loss(loss: atlas.Loss) -> dict[str, str]:
    """What the page of a loss says, by labels: the atlas's texts, and the objective's options."""
    texts: dict[str, str] = {}
    for label, text in loss.texts().items():
        texts[label] = text
        if label == "formula" and loss.name in objectives.names():
            objective = getattr(objectives, loss.name)
            texts["options"] = options(objective) if isinstance(objective, type) else ""
    return {label: text for label, text in texts.items() if text}


def _page(title: str, parts: Mapping[str, str]) -> str:
    lines = [
        textwrap.fill(
            line,
            100,
            initial_indent=f"  {label:<12}",
            subsequent_indent=" " * 14,
            break_on_hyphens=False,
        )
        for name, text in parts.items()
        for label, line in zip_longest([name], text.splitlines(), fillvalue="")
        if text
    ]
    return "\n".join([title, *lines])


def links(family: Family) -> str:
    """The parameters of a family with their links, in the order of the raw outputs, as a text."""
    return ", ".join(f"{name} {link.name}" for name, link in family.parameters.items())


def options(cls: type) -> str:
    """The options of a family or an objective with their defaults, in YAML, and their meanings.

    Each has a line that says what it means. The event_shape, which comes from the targets, is left
    out. The text is empty where there are no options.
    """
    meanings, defaults, lines = _meanings(cls), [], []
    for name, option in inspect.signature(cls).parameters.items():
        if name == "event_shape":
            continue
        label = name
        if option.kind is option.VAR_KEYWORD:
            label = "others"
        elif isinstance(option.default, (NoneType, bool, int, float, str, list, tuple, dict)):
            defaults.append(f"{name}: {_in_yaml(option.default)}")
        lines.append(f"{label}: {meanings.get(name, '')}".rstrip(": "))
    return "\n".join([f"{{{', '.join(defaults)}}}", *lines]) if lines else ""


def _in_yaml(value: Any) -> str:
    """A default value as YAML has it; a text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _meanings(cls: type) -> dict[str, str]:
    """What the docstring of a class says of each of its arguments, in one line each."""
    arguments = (inspect.getdoc(cls) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.split(r"\n(?= {4}\S)", arguments)
    pairs = (" ".join(entry.split()).partition(": ") for entry in entries)
    # YAML, in which the defaults are written, has null for None
    return {name: re.sub(r"\bNone\b", "null", text).replace("`", "") for name, _, text in pairs}


def _row_constants(family: Family) -> list[str]:
    """The quantities that a family takes for each row, with the other name of an exposure."""
    return [
        "exposure (or offset, its logarithm)" if name == "exposure" else name
        for name in family.row_constants
    ]


def example(name: str) -> Family:
    """The family of that name, with example values for the options that it needs."""
    options: dict[str, Any] = {"num_classes": 3} if takes_classes(name) else {}
    return get_family(name, event_shape=(3,) if takes_vectors(name) else (), **options)
