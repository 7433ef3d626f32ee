"""Each picture of a report in health and in each illness, as docs/reading_the_report.md shows them.

    python -m examples.reading_the_report --out docs/images/report

The truth is known here, since the outcomes are drawn from it; each forecast but the first is wrong
in one known way.
"""

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import disthead as dh

ROWS = 2000
Forecasts = dict[str, tuple[dh.Distribution, Tensor, dict]]


def family(name: str, **options) -> Callable[..., dh.Distribution]:
    return dh.get_family(name, **options).distribution


def drawn(truth: dh.Distribution) -> Tensor:
    """Outcomes of the truth, the same in each run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return truth.sample()


def numbers() -> Forecasts:
    """Outcomes whose spread grows with a feature."""
    x = torch.linspace(0, 1, ROWS)
    loc, scale, normal = 3 * x, 0.3 + x, family("normal")
    y = drawn(normal(loc=loc, scale=scale))
    known = {
        "features": {"x": x},
        "group": [("low", "middle", "high")[min(int(3 * value), 2)] for value in x.tolist()],
    }
    return {
        "in health": (normal(loc=loc, scale=scale), y, known),
        "spread too small": (normal(loc=loc, scale=scale / 1.6), y, known),
        "spread too large": (normal(loc=loc, scale=scale * 1.6), y, known),
        "too low": (normal(loc=loc - 0.4 * scale, scale=scale), y, known),
        "one spread for all": (normal(loc=loc, scale=0.86), y, known),
        "spread upside down": (normal(loc=loc, scale=scale.flip(0)), y, known),
        "tails too light": (
            normal(loc=loc, scale=1.25 * scale),
            drawn(family("student_t")(df=3.0, loc=loc, scale=scale)),
            known,
        ),
    }


def counts() -> Forecasts:
    mean = torch.linspace(1, 12, ROWS)
    scattered = family("negative_binomial", parametrization="mean")
    y = drawn(scattered(mean=mean, total_count=4.0))
    return {
        "in health": (scattered(mean=mean, total_count=4.0), y, {}),
        "scatter too small (poisson)": (family("poisson")(rate=mean), y, {}),
        "scatter too large": (scattered(mean=mean, total_count=1.2), y, {}),
    }


def directions() -> Forecasts:
    loc, von_mises = torch.linspace(-0.8, 0.8, ROWS), family("von_mises")
    y = drawn(von_mises(loc=loc, concentration=3.0))
    return {
        "in health": (von_mises(loc=loc, concentration=3.0), y, {}),
        "turned": (von_mises(loc=loc + 0.6, concentration=3.0), y, {}),
        "too sure": (von_mises(loc=loc, concentration=12.0), y, {}),
    }


def events() -> Forecasts:
    """Events of two groups, one of them far more frequent than the other."""
    probs, bernoulli = torch.tensor([0.8, 0.3]).repeat(ROWS // 2), family("bernoulli")
    y, known = drawn(bernoulli(probs=probs)), {"group": ["north", "south"] * (ROWS // 2)}
    return {
        "in health": (bernoulli(probs=probs), y, known),
        "one probability for all": (bernoulli(probs=torch.full((ROWS,), 0.55)), y, known),
    }


def classes() -> Forecasts:
    logits = 1.5 * torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1))
    categorical = family("categorical", num_classes=3)
    y = drawn(categorical(logits=logits))
    return {
        "in health": (categorical(logits=logits), y, {}),
        "overconfident": (categorical(logits=2.5 * logits), y, {}),
        "underconfident": (categorical(logits=0.4 * logits), y, {}),
        "one class too probable": (
            categorical(logits=logits + torch.tensor([0.0, 0.0, 0.8])),
            y,
            {},
        ),
    }


def vectors() -> Forecasts:
    def normal(correlation: float, scale: float = 1.0) -> dh.Distribution:
        tril = torch.tensor([[1.0, 0.0], [correlation, math.sqrt(1 - correlation**2)]]) * scale
        return family("multivariate_normal", event_shape=(2,))(
            loc=torch.zeros(ROWS, 2), scale_tril=tril
        )

    y = drawn(normal(0.8))
    return {
        "in health": (normal(0.8), y, {}),
        "dependence left out": (normal(0.0), y, {}),
        "spread too small": (normal(0.8, 1 / 1.6), y, {}),
    }


SURENESS = ["in health", "overconfident", "underconfident"]
# What the outcomes are, and which forecasts each picture shows; None shows all.
SHOWN: list[tuple[Callable, dict[str, list[str] | None]]] = [
    (
        numbers,
        {
            "rows": ["in health", "spread too small", "too low"],
            "pit": ["in health", "spread too small", "spread too large", "too low"],
            "coverage": ["in health", "spread too small", "spread too large", "one spread for all"],
            "worm": ["in health", "spread too small", "too low", "tails too light"],
            "worms": ["in health", "one spread for all"],
            "feature": ["in health", "one spread for all"],
            "groups": ["in health", "one spread for all"],
            "spread_skill": ["in health", "spread too small", "spread upside down"],
            "sharpness": ["in health", "one spread for all"],
            "sparsification": ["in health", "spread upside down"],
            "exceedance": ["in health", "spread too small", "too low"],
            "quantile": ["in health", "spread too small", "too low"],
        },
    ),
    (counts, {"rootogram": None}),
    (directions, {"rose": None}),
    (events, {"group_frequencies": None}),
    (
        classes,
        {
            "reliability": SURENESS,
            "classes": ["in health", "one class too probable"],
            "confusion": SURENESS,
        },
    ),
    (vectors, {"joint": None}),
]


def main(arguments: list[str] | None = None) -> list[Path]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="report-pictures", help="folder of the pictures")
    out = Path(parser.parse_args(arguments).out)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for make, shown in SHOWN:
        panels: dict[str, dict[str, Path]] = {key: {} for key in shown}
        with tempfile.TemporaryDirectory() as folder:
            for name, (dist, y, known) in make().items():
                wanted = [key for key, names in shown.items() if names is None or name in names]
                if wanted:
                    dh.evaluate(dist, y, out=Path(folder, name), **known)
                for key in wanted:
                    panels[key][name] = Path(folder, name, f"{key}.png")
            written += [side_by_side(parts, out / f"{key}.png") for key, parts in panels.items()]
    print(f"{len(written)} pictures in {out}")
    return written


def side_by_side(parts: dict[str, Path], path: Path) -> Path:
    """Pictures with their names above them, as one."""
    from PIL import Image, ImageDraw, ImageFont

    images = {name: Image.open(part).convert("RGB") for name, part in parts.items()}
    width, height = (
        min(sizes) for sizes in zip(*(image.size for image in images.values()), strict=True)
    )
    columns, strip = 1 if width > 2 * height else 2 if len(images) == 4 else len(images), 34
    lines = -(-len(images) // columns)
    joined, font = (
        Image.new("RGB", (columns * width, lines * (height + strip)), "white"),
        ImageFont.load_default(20),
    )
    pen = ImageDraw.Draw(joined)
    for place, (name, image) in enumerate(images.items()):
        left, top = place % columns * width, place // columns * (height + strip)
        joined.paste(image.resize((width, height)), (left, top + strip))
        pen.text((left + 12, top + 6), name, "#0072B2" if name == "in health" else "#B8400B", font)
    joined.quantize(64).save(path, optimize=True)
    return path


if __name__ == "__main__":
    main()
