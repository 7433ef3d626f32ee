"""Families in words: what they assume, when they break, and what to try then."""

import textwrap
from typing import Any

from disthead.families.family import Family, get_family, takes_classes, takes_vectors

__all__ = ["explain"]


def explain(name: str) -> str:
    """What a family assumes, in words.

    The lines name its use, its noise, its density, its parameters with their links, the loss that
    its likelihood amounts to, when it breaks and what to try then.

    Raises:
        ValueError: for an unknown family, with the nearest names.

    >>> print(explain("poisson").splitlines()[0])
    poisson
    """
    family = example(name)
    known = f"Per row, by name: {', '.join(family.row_constants)}." if family.row_constants else ""
    parts = {
        "use": f"{family.use} ({family.data_type}; {family.domain})",
        "noise": family.noise,
        "density": family.density,
        "parameters": links(family),
        "known": known,
        "loss": family.loss,
        "breaks": family.breaks,
        "then try": family.remedy,
        "at the edge": family.edge_remedy,
    }
    lines = [
        textwrap.fill(text, 100, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14)
        for label, text in parts.items()
        if text
    ]
    return "\n".join([family.name, *lines])


def links(family: Family) -> str:
    """The parameters of a family with their links, in the order of the raw outputs, as a text."""
    return ", ".join(f"{name} {link.name}" for name, link in family.parameters.items())


def example(name: str) -> Family:
    """The family of that name, with example values for the options that it needs."""
    options: dict[str, Any] = {"num_classes": 3} if takes_classes(name) else {}
    return get_family(name, event_shape=(3,) if takes_vectors(name) else (), **options)
