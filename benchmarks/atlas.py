"""`docs/losses.md`, the atlas of losses as a page, and its pictures.

`make tables` writes the page, `python -m benchmarks.atlas` the pictures: they are renewed where an
objective that has one changes, and come with a new entry that names an axis.
"""

import itertools
from pathlib import Path

from benchmarks.same_loss import GROUPS
from disthead.atlas import Loss, losses
from disthead.explanation import texts_of_loss
from disthead.objectives import get_objective
from disthead.plots import loss_curve

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "losses.md"
PICTURES = ROOT / "docs" / "images" / "losses"

_START = """\
<!-- Written by `make tables` from disthead/atlas and benchmarks/same_loss.py. -->

# The atlas of losses

A loss is an assumption about noise. This page says which, for every loss that `disthead` knows by
name: what a model trained by it estimates, what outliers do to it, whether its probabilities can be
believed, when it breaks and what to try then. `disthead losses` prints the table, and `disthead
explain NAME` one page, also by a synonym. [Objectives](objectives.md) says how to train by one, and
[Divergences](divergences.md) how to compare two distributions.

- A **likelihood** under its classical name is -log p(y) of a family, some of whose parameters are
  held fixed.
- A **changed likelihood** is weighted, bounded or corrected on purpose, and its probabilities with
  it.
- A **proper score** is least in expectation for the true distribution, as the likelihood is.
- A **divergence** compares two distributions.
- The others are **not likelihoods**: no density belongs to them.

In the pictures the loss and its gradient are blue. The likelihood's are grey: of a normal
distribution of scale 1 over the residual, moved to the same least value, and of two classes over
the margin.

## All losses

"""
_TITLES = {
    "likelihood": "Likelihoods",
    "changed likelihood": "Changed likelihoods",
    "proper score": "Proper scores",
    "divergence": "Divergences",
    "not a likelihood": "Not likelihoods",
}
_CODE = ("formula", "options", "PyTorch")


def text() -> str:
    """The page."""
    described = list(losses().values())
    titles = ("loss", "kind", "assumes", "estimates", "PyTorch")
    lines = [*_START.splitlines(), *_table(titles, map(_row, described))]
    lines += ["", "## One loss, several names", "", *_same_losses()]
    for kind, group in itertools.groupby(described, key=lambda loss: loss.kind):
        lines += ["", f"## {_TITLES[kind]}"]
        for loss in group:
            lines += ["", *_section(loss)]
    return "\n".join(lines) + "\n"


def _row(loss: Loss) -> tuple[str, ...]:
    return (
        f"[`{loss.name}`](#{loss.name})",
        loss.kind,
        _escaped(loss.assumes),
        _escaped(loss.estimates),
        _code(loss.pytorch),
    )


def _section(loss: Loss) -> list[str]:
    lines = [f"### {loss.name}", ""]
    for label, said in texts_of_loss(loss).items():
        first, *rest = said.splitlines()
        lines.append(f"- **{label}**: {_code(first) if label in _CODE else _escaped(first)}")
        lines += [f"  - {_escaped(line)}" for line in rest]
    if loss.axis:
        lines += ["", f"![{_drawn(loss)} and its gradient](images/losses/{loss.name}.svg)"]
    return lines


def _same_losses() -> list[str]:
    lines = [
        "People write one loss in several ways, and PyTorch has a function for each. All calls of",
        "a table return the same number, which a test checks.",
        "",
        "```python",
        "import math",
        "",
        "import torch",
        "from torch.nn import functional",
        "",
        "import disthead as dh",
        "from disthead.losses import loss",
    ]
    for group in GROUPS:
        lines += ["", *group.setup.splitlines()]
    lines.append("```")
    for group in GROUPS:
        cells = ((row.form, f"`{row.ours}`", f"`{row.pytorch}`") for row in group.rows)
        lines += ["", f"**{group.title}** {group.remark}", ""]
        lines += _table(("written as", "here", "in PyTorch"), cells)
    return lines


def _table(titles, rows) -> list[str]:
    cells = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (titles, *rows)]
    lines = [f"| {line} |" for line in cells]
    return [lines[0], "|---" * len(titles) + "|", *lines[1:]]


def _code(said: str) -> str:
    return f"`{said}`" if said else ""


def _escaped(said: str) -> str:
    """Prose in which Markdown finds no emphasis and no tags, but for names in backticks."""
    parts = said.split("`")
    parts[::2] = [part.replace("*", "\\*").replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def _drawn(loss: Loss) -> str:
    """What the picture of a loss shows: its name, with the options that are not its defaults."""
    return " ".join([loss.name, *(f"{name} {value}" for name, value in loss.drawn_with.items())])


def picture(loss: Loss, path: Path) -> None:
    """The loss and its gradient side by side; as an SVG it is the same on every run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {
        "font.size": 8,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": loss.name,
    }
    with plt.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2.4), layout="constrained")
        objective = get_objective(loss.name, **loss.drawn_with)
        loss_curve(left, objective, loss.axis)
        loss_curve(right, objective, loss.axis, gradient=True)
        fixed = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
        left.lines[0].set_label(_drawn(loss))
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.savefig(path, format=path.suffix[1:], dpi=144, **fixed)
        plt.close(figure)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    drawn = {loss.name: loss for loss in losses().values() if loss.axis}
    for path in PICTURES.glob("*.svg"):
        if path.stem not in drawn:
            path.unlink()
    for name, loss in drawn.items():
        picture(loss, PICTURES / f"{name}.svg")
        print(PICTURES / f"{name}.svg")


if __name__ == "__main__":
    main()
