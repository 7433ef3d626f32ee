"""Engel's data, two models: a spread that follows income against a constant one, and what that does
to coverage.

    python -m examples.demo --out demo-output

Ernst Engel's budget survey of 235 Belgian households (1857): yearly income and expenditure on food,
in francs, inside statsmodels. Both models predict the mean from income; one predicts the spread
too, the other has one spread for all, which makes its loss the mean squared error. Writes
metrics.json, predictions.parquet, predictions.csv, engel.png, and a report for each model that says
in sentences what is right and wrong with it.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import lightning
import torch

import disthead as dh
from disthead.files import writing
from disthead.plots import prediction_band
from disthead.prediction import predictions, write_predictions
from disthead.training import DistributionModule, TabularDataModule

MODELS = {"spread follows income": {}, "constant spread": {"shared": ["scale"]}}
LEVELS = (0.5, 0.9)
THIRDS = ("low", "middle", "high")


def train(options: dict, data: TabularDataModule, out: Path) -> DistributionModule:
    lightning.seed_everything(0, verbose=False)
    module = DistributionModule(
        "normal",
        hidden_sizes=[],  # linear: the marginal picture of the data asks for no more
        optimizer={"class_path": "torch.optim.Adam", "init_args": {"lr": 0.05}},
        **options,
    )
    trainer = lightning.Trainer(
        max_epochs=200,
        accelerator="cpu",
        default_root_dir=out,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return module.eval()


@torch.no_grad()
def evaluate(dist: dh.Distribution, y: torch.Tensor, third: torch.Tensor) -> dict:
    """Scores in francs and nats, and how much of the data the intervals hold: overall and by third
    of income.
    """
    scores = {
        "nll": dh.nll(dist, y).item(),
        "crps": dist.crps(y).mean().item(),
        "rmse": (dist.mean - y).square().mean().sqrt().item(),
    }
    for level in LEVELS:
        lower, upper = dist.interval(level)
        inside = ((y >= lower) & (y <= upper)).float()
        scores[f"coverage_{100 * level:g}"] = inside.mean().item()
        for k, name in enumerate(THIRDS):
            scores[f"coverage_{100 * level:g}_{name}_income"] = inside[third == k].mean().item()
    return scores


def table(metrics: dict[str, dict]) -> str:
    columns = {
        "nll": ("NLL (nats)", "{:.3f}"),
        "crps": ("CRPS (francs)", "{:.1f}"),
        "rmse": ("RMSE (francs)", "{:.1f}"),
        "coverage_50": ("in 50 %", "{:.0%}"),
        "coverage_90": ("in 90 %", "{:.0%}"),
        "coverage_90_low_income": ("low third", "{:.0%}"),
        "coverage_90_middle_income": ("middle", "{:.0%}"),
        "coverage_90_high_income": ("high third", "{:.0%}"),
    }
    rows = [["model", *(label for label, _ in columns.values())]]
    for name, scores in metrics.items():
        rows.append([name, *(form.format(scores[key]) for key, (_, form) in columns.items())])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


@torch.no_grad()
def draw(
    models: dict[str, DistributionModule], metrics: dict, data: TabularDataModule, out: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    income, food = data.part("predict").features[:, 0], torch.as_tensor(data.part("train").table.y)
    grid = torch.linspace(income.min(), 2700, 200)
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 4.8), sharex=True, sharey=True, layout="constrained"
    )
    colors = {"spread follows income": "#0072B2", "constant spread": "#D55E00"}
    for ax, (name, module) in zip(axes, models.items(), strict=True):
        prediction_band(ax, grid, module(grid[:, None]), food, income, LEVELS, colors[name])
        scores = metrics[name]
        ax.set_title(f"{name[0].upper()}{name[1:]}", loc="left", fontweight="bold")
        ax.text(
            0.97,
            0.05,
            f"90 % interval holds {scores['coverage_90_low_income']:.0%} of the poorest third,\n"
            f"{scores['coverage_90_high_income']:.0%} of the richest (held-out rows)\nNLL "
            f"{scores['nll']:.2f} nats",
            transform=ax.transAxes,
            ha="right",
            va="bottom",
        )
        ax.set_xlabel("household income (Belgian francs a year)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(loc="upper left", frameon=False)
    axes[0].set_ylabel("expenditure on food (francs a year)")
    axes[0].set_xlim(300, 2700)  # two households above 2700 francs are outside the picture
    axes[0].set_ylim(0, 1900)
    with writing(out / "engel.png") as unfinished:
        figure.savefig(unfinished, format="png", dpi=140)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Two models of Engel's data, and what their intervals hold."
    )
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's, about torch's pytree
    # households of equal income and expenditure, not copies
    warnings.filterwarnings("ignore", "3 of 235 rows repeat")

    # Of 94 households a third is 31: in six of the first eight splits the constant spread holds too
    # few of the rich.
    data = TabularDataModule(
        dataset="statsmodels.engel",
        target="foodexp",
        val_size=0.0,
        test_size=0.4,
        batch_size=141,
        split_seed=1,
    )
    models = {name: train(options, data, out) for name, options in MODELS.items()}

    held_out = data.part("test")
    features, y = held_out.features, held_out.y
    thirds = torch.quantile(features[:, 0], torch.tensor([1 / 3, 2 / 3]))
    third = torch.bucketize(features[:, 0], thirds)
    first = next(iter(models.values()))
    metrics = {name: evaluate(module(features), y, third) for name, module in models.items()}
    metrics["no features (marginal)"] = evaluate(first.marginal(len(y)), y, third)
    with writing(out / "metrics.json") as unfinished:
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n")

    everything = data.part("predict").features
    columns = predictions(first(everything), ["foodexp"], quantiles=(0.05, 0.25, 0.75, 0.95))
    write(out, everything[:, 0], data.part("train").table.y, columns)
    draw(models, metrics, data, out)

    print(
        f"{len(y)} held-out households of {len(everything)}; the two columns after 'in 90 %' are "
        "by third of income\n"
    )
    print(table(metrics))
    for name, module in models.items():
        folder = out / ("report of " + name).replace(" ", "-")
        report(name, module, features, y, [THIRDS[k] for k in third.tolist()], folder)
    print(
        f"\nwritten: {', '.join(str(out / name) for name in sorted(p.name for p in out.iterdir()))}"
    )


@torch.no_grad()
def report(
    name: str,
    module: DistributionModule,
    features: torch.Tensor,
    y: torch.Tensor,
    group: list,
    out: Path,
) -> None:
    """What is right and wrong with a model, in sentences and pictures."""
    found = dh.evaluate(
        module(features),
        y,
        features={"income": features[:, 0]},
        group=[f"{third} income" for third in group],
        baseline=module.marginal(len(y)),
        baseline_name="the fit without features",
        unit="francs",
        title=name.capitalize(),
        out=out,
    )
    print(f"\n{found.title}: {found.summary} {out / 'report.html'}")
    for verdict in found.verdicts:
        if verdict.status in ("poor", "fair"):
            print(f"  {verdict.sentence}")


def write(out: Path, income: torch.Tensor, food: torch.Tensor, columns: dict) -> None:
    table = {"income": income.numpy(), "foodexp": food.numpy()} | columns
    write_predictions(table, out / "predictions.parquet")
    write_predictions(table, out / "predictions.csv")


if __name__ == "__main__":
    main()
