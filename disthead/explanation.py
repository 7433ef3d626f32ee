"""Families in words: what they assume, when they break, and what to try then."""

import inspect
import json
import re
import textwrap
from itertools import zip_longest
from typing import Any

from disthead.families.family import Family, get_family, takes_classes, takes_vectors

__all__ = ["explain"]


def explain(name: str) -> str:
    """What a family assumes, in words.

    The lines name its use, its noise, its density, its parameters with their links, its options
    with their defaults, the loss that its likelihood amounts to, when it breaks and what to try
    then.

    Raises:
        ValueError: for an unknown family, with the nearest names.

    >>> print(explain("poisson").splitlines()[0])
    poisson
    """
    family = example(name)
    parts = {
        "use": f"{family.use} ({family.data_type}; {family.domain})",
        "noise": family.noise,
        "density": family.density,
        "parameters": links(family),
        "per row": ", ".join(_row_constants(family)),
        "options": options(family),
        "loss": family.loss,
        "breaks": family.breaks,
        "then try": family.remedy,
        "at the edge": family.edge_remedy,
    }
    lines = [
        textwrap.fill(line, 100, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14)
        for name, text in parts.items()
        for label, line in zip_longest([name], text.splitlines(), fillvalue="")
        if text
    ]
    return "\n".join([family.name, *lines])


def links(family: Family) -> str:
    """The parameters of a family with their links, in the order of the raw outputs, as a text."""
    return ", ".join(f"{name} {link.name}" for name, link in family.parameters.items())


def options(family: Family) -> str:
    """The options of a family with their defaults, in YAML, and a line on the meaning of each.

    The event_shape, which comes from the targets, is left out. The text is empty where a family has
    no options.
    """
    meanings, defaults, lines = _meanings(type(family)), [], []
    for name, option in inspect.signature(type(family)).parameters.items():
        if name == "event_shape":
            continue
        label = name
        if option.kind is option.VAR_KEYWORD:
            label = "others"
        elif option.default is not option.empty:
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
