"""Renews what is written down about families and losses: `make tables`.

- `README.md`: the table of families, from what each declares.
- `disthead/families/__init__.pyi`: the names of their classes, for type checkers.
- `disthead/special/formulas.h`: their log-likelihoods as functions in C, which are compiled.
- `docs/losses.md`: the page of the losses, from `disthead/atlas`.
- `benchmarks/cost.json`: what a training step's loss may cost, for each row of `tests/cases.py`.

`tests/test_tables.py` and `tests/test_cost.py` hold the files to what the families say,
`tests/test_atlas.py` the page of losses.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import disthead as dh
from benchmarks import atlas, cost, formulas
from disthead.explanation import example, links

README = Path(__file__).parent.parent / "README.md"
NAMES = Path(dh.families.__file__).with_suffix(".pyi")
_START, _END = "<!-- families -->\n", "<!-- end of families -->\n"


def readme() -> str:
    """The README with the table of families as they are."""
    before, _, rest = README.read_text("utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    lines = [
        "| family | target | parameters and links | options | use | classical loss |",
        "|---" * 6 + "|",
    ]
    lines += ["| " + " | ".join(_row(name)) + " |" for name in dh.families()]
    return before + _START + "\n".join(lines) + "\n" + _END + after


def _row(name: str) -> list[str]:
    family = example(name)
    parameters, options = links(family), inspect.signature(type(family)).parameters
    if "parametrization" in options:
        other = "natural" if name == "normal" else "mean"
        changed = dh.get_family(name, event_shape=family.event_shape, parametrization=other)
        parameters += f"; or {links(changed)}"
    named = [
        f"`{option}`"
        for option, taken in options.items()
        if option != "event_shape" and taken.kind is not taken.VAR_KEYWORD
    ]
    cells = [f"`{name}`", family.domain, parameters, ", ".join(named), family.use, family.loss]
    return [cell.replace("|", "\\|") for cell in cells]  # which would end a cell


def names() -> str:
    """The stub of `disthead.families`: the names that it gathers from its files."""
    homes: dict[str, list[str]] = {}
    for name in dh.families.__all__:
        homes.setdefault(getattr(dh.families, name).__module__, []).append(name)
    lines = ["# Written by `make tables`: the classes of the files beside this one."]
    for home, own in sorted(homes.items()):
        lines += [
            _import(home, name) for name in sorted(own, key=lambda name: (name.islower(), name))
        ]
    return "\n".join(lines) + "\n"


def _import(home: str, name: str) -> str:
    """An import of a name for others to import, wrapped as the formatter does."""
    line = f"from {home} import {name} as {name}"
    return line if len(line) <= 100 else f"from {home} import (\n    {name} as {name},\n)"


FILES: dict[Path, Callable[[], str]] = {
    README: readme,
    NAMES: names,
    atlas.PAGE: atlas.text,
    formulas.FILE: formulas.text,
    cost.TABLE: cost.text,
}


def main() -> None:
    for path, text in FILES.items():
        # the library is built anew where its files are newer
        if path.read_text("utf-8") != (renewed := text()):
            path.write_text(renewed, "utf-8")


if __name__ == "__main__":
    main()
