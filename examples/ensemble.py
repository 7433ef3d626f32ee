"""What a model does not know: an ensemble on one-dimensional data with a gap.

    python -m examples.ensemble --out docs/images/ensemble.png

Eight networks learn sin(1.5 x) with a noise that grows with x, from rows that leave out 2 < x < 5.
Between the data, and beyond them, the members draw different curves: the epistemic band opens. The
aleatoric band shows the noise in the data.

`--bins 16` adds the encoding of the default recipe. It is constant outside the training rows and
linear within a gap, and so are all members: they predict no worse among the data, and say less
about where there are none.
"""

import argparse
from pathlib import Path

import torch

from disthead.families import Distribution
from disthead.files import writing
from disthead.recipe import fit_tabular


def data(rows: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(rows, 1, generator=generator) * 5
    x = torch.where(x > 2, x + 3, x)
    noise = 0.05 + 0.025 * x[:, 0]
    return x, torch.sin(1.5 * x[:, 0]) + noise * torch.randn(rows, generator=generator)


@torch.no_grad()
def predict(x: torch.Tensor, y: torch.Tensor, at: torch.Tensor, **options) -> Distribution:
    with torch.enable_grad():
        model, _ = fit_tabular(x, y, family="normal", ensemble=8, **options)
    return model(at)


def draw(x: torch.Tensor, y: torch.Tensor, at: torch.Tensor, dist: Distribution, path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained"
    )
    line, mean = at[:, 0], dist.mean
    left.plot(line, dist.components.mean, color="tab:orange", linewidth=0.8)
    left.set_title("the means of eight members")
    total, noise = 2 * dist.stddev, 2 * dist.aleatoric.sqrt()
    right.fill_between(
        line, mean - total, mean + total, color="#fdbe85", linewidth=0, label="epistemic beside it"
    )
    right.fill_between(
        line, mean - noise, mean + noise, color="#9ecae1", linewidth=0, label="aleatoric"
    )
    right.plot(line, mean, color="black", linewidth=1.2, label="mean of the mixture")
    right.set_title("two standard deviations of the mixture")
    for axes in (left, right):
        axes.scatter(x[:, 0], y, s=5, color="0.3", alpha=0.6, linewidth=0, zorder=3)
        axes.set_xlabel("x")
    right.legend(loc="lower center", frameon=False, ncols=3, fontsize="small")
    left.set_ylabel("y")
    left.set_ylim(-2.5, 2.5)
    with writing(path) as unfinished:
        figure.savefig(unfinished, format=Path(path).suffix[1:], dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> Distribution:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="ensemble.png", help="the picture")
    parser.add_argument(
        "--bins", type=int, default=0, help="of the piecewise-linear encoding of x; 0 leaves it out"
    )
    parser.add_argument("--max-steps", type=int, help="of training; as in the recipe unless given")
    options = parser.parse_args(arguments)
    x, y = data()
    at = torch.linspace(-1, 10, 221).unsqueeze(1)
    dist = predict(x, y, at, bins=options.bins, max_steps=options.max_steps)
    draw(x, y, at, dist, options.out)
    for name, place in {
        "among the data (x = 1)": 40,
        "in the gap (x = 3.5)": 90,
        "beyond them (x = 10)": 220,
    }.items():
        print(
            f"{name}: noise {dist.aleatoric[place].sqrt():.2f}, disagreement "
            f"{dist.epistemic[place].sqrt():.2f}"
        )
    return dist


if __name__ == "__main__":
    main()
