"""Pictures, checked without pixels."""

import matplotlib
import pytest
import torch

import disthead as dh
from disthead import diagnostics, plots
from disthead.plots import prediction_band

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def test_prediction_band_draws_the_quantiles_in_the_order_of_x():
    x = torch.tensor([2.0, 0.0, 1.0])
    dist = dh.get_family("normal").distribution(loc=x, scale=torch.tensor([3.0, 1.0, 2.0]))
    figure = plt.figure()
    ax = prediction_band(figure.add_subplot(), x, dist, y=torch.zeros(3), levels=(0.5, 0.9))
    median = ax.lines[0]
    assert median.get_xdata().tolist() == [0.0, 1.0, 2.0]
    assert median.get_ydata().tolist() == [0.0, 1.0, 2.0]
    labels = [artist.get_label() for artist in ax.collections]
    assert labels == ["90 % interval", "50 % interval", "observed"]
    band = ax.collections[0].get_paths()[0].vertices
    lower, upper = dist.interval(0.9)
    assert abs(band[:, 1].min() - float(lower.min())) < 1e-5
    assert abs(band[:, 1].max() - float(upper.max())) < 1e-5
    plt.close(figure)


def test_every_picture_has_labels_and_no_text_outside_the_figure(tmp_path):
    x = torch.rand(300, generator=torch.Generator().manual_seed(0))
    y = 3 * x + torch.randn(300, generator=torch.Generator().manual_seed(1))
    dist = dh.get_family("normal").distribution(loc=3 * x, scale=0.5 + x)
    counts = torch.poisson(5 * x, generator=torch.Generator().manual_seed(2))
    level = torch.tensor([0.5, 0.9])
    drawings = {
        "pit": lambda ax: plots.pit_histogram(
            ax, diagnostics.pit_band(torch.full((20,), 0.05), 300)
        ),
        "coverage": lambda ax: plots.coverage_curve(
            ax, diagnostics.coverage_curve(level, level, 300)
        ),
        "reliability": lambda ax: plots.reliability_diagram(
            ax, diagnostics.exceedance_reliability(dist, y, 1.0)
        ),
        "quantile": lambda ax: plots.reliability_diagram(
            ax, diagnostics.quantile_reliability(dist, y, 0.9, 20)
        ),
        "worm": lambda ax: plots.worm_plot(ax, diagnostics.worm(dist, y)),
        "rows": lambda ax: plots.interval_chart(ax, dist[:40], y[:40], unit="km"),
        "spread": lambda ax: plots.spread_skill(
            ax, diagnostics.spread_skill(dist.mean - y, dist.stddev)
        ),
        "dropping": lambda ax: plots.sparsification(
            ax, diagnostics.sparsification((dist.mean - y).abs(), dist.stddev)
        ),
        "sharpness": lambda ax: plots.sharpness(ax, diagnostics.sharpness(dist, y)),
        "groups": lambda ax: plots.coverage_by_group(
            ax, {"a very long name of a group": (0.8, 90.0)}, 0.9
        ),
        "rootogram": lambda ax: plots.hanging_rootogram(
            ax, diagnostics.rootogram(dh.get_family("poisson").distribution(rate=5 * x), counts)
        ),
        "confusion": lambda ax: plots.confusion_matrix(
            ax,
            diagnostics.confusion(torch.rand(300, 3), torch.zeros(300)),
            ["short", "a longer name", "z"],
        ),
    }
    for name, draw in drawings.items():
        figure = plt.figure(figsize=(5.6, 4.2), layout="constrained")
        ax = draw(figure.add_subplot())
        figure.savefig(tmp_path / f"{name}.png")
        assert ax.get_xlabel(), name
        assert ax.get_title(loc="left"), name
        renderer = figure.canvas.get_renderer()
        for text in (ax.xaxis.label, ax.yaxis.label, *ax.texts):
            if not text.get_text():
                continue
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, (name, text)
            assert box.x1 <= figure.bbox.width + 1, (name, text)
        plt.close(figure)


def test_the_chance_of_a_small_group_ends_at_all_of_it():
    ax = plots.coverage_by_group(
        plt.figure().add_subplot(), {"few": (1.0, 5), "many": (0.9, 5000)}, 0.9
    )
    few, many = ax.patches
    assert few.get_x() + few.get_width() == 1
    assert many.get_x() + many.get_width() == pytest.approx(
        0.9 + 1.96 * (0.9 * 0.1 / 5000) ** 0.5, abs=2e-4
    )
    plt.close()


def test_colours_are_those_that_any_eye_tells_apart():
    okabe_ito = {
        "#000000",
        "#E69F00",
        "#56B4E9",
        "#009E73",
        "#F0E442",
        "#0072B2",
        "#D55E00",
        "#CC79A7",
    }
    from disthead.plots import style

    used = {
        value for value in vars(style).values() if isinstance(value, str) and value.startswith("#")
    }
    used -= {style.GREY}
    assert used <= okabe_ito


def test_reliability_draws_the_isotonic_fit():
    forecast = torch.tensor([0.1, 0.1, 0.4, 0.9])
    numbers = diagnostics.reliability(forecast, torch.tensor([0, 1, 0, 1]), resamples=20)
    ax = plots.reliability_diagram(plt.figure().add_subplot(), numbers)
    drawn = next(line for line in ax.lines if line.get_label() == "what happened")
    assert drawn.get_ydata().tolist() == numbers.recalibrated.tolist()
    plt.close("all")


def test_rose_needs_a_polar_axis():
    dist = dh.get_family("von_mises").distribution(loc=torch.zeros(8), concentration=1.0)
    with pytest.raises(ValueError, match="projection='polar'"):
        plots.rose_plot(plt.figure().add_subplot(), diagnostics.rose(dist, torch.zeros(8)))
    plt.close("all")


@pytest.mark.parametrize("shares", [(0.9, 0.88), (0.7, 0.99)])
def test_bars_of_chance_end_inside_the_frame(shares):
    groups = {f"{share}": (share, 500.0) for share in shares}
    events = [
        diagnostics.EventFrequency(f"{share}", "a 1", 0.9, share, 0.0002, 0.002, 500.0)
        for share in shares
    ]
    drawn = (
        plots.coverage_by_group(plt.figure().add_subplot(), groups, 0.9, confidence=0.99, looks=2),
        plots.frequency_by_group(plt.figure().add_subplot(), events, confidence=0.99, looks=2),
    )
    for ax in drawn:
        left, right = ax.get_xlim()
        assert all(
            left < bar.get_x() and bar.get_x() + bar.get_width() < right for bar in ax.patches
        )
    plt.close("all")


def test_no_legend_covers_a_point():
    """For scales that are right, too small, too large or reversed, and for worms of any shape."""
    std = torch.linspace(0.2, 1.0, 1000, dtype=torch.float64)
    for error in (std, 2 * std, std / 2, 1.2 - std):
        figure = plt.figure(figsize=(5.6, 4.2), layout="constrained")
        numbers = diagnostics.spread_skill(error, std, 10)
        ax = plots.spread_skill(figure.add_subplot(), numbers, confidence=0.99, looks=10)
        assert not any(_covered(ax, numbers.spread, numbers.error))
    normal = dh.get_family("normal").distribution(loc=torch.zeros(1000), scale=1.0)
    residual = normal.icdf(torch.linspace(0.001, 0.999, 1000))
    for y in (3 * residual, residual + 1, residual**3, -residual.abs()):
        figure = plt.figure(figsize=(5.6, 4.2), layout="constrained")
        worm = diagnostics.worm(normal, y)
        assert not any(
            _covered(plots.worm_plot(figure.add_subplot(), worm), worm.normal, worm.deviation)
        )
    plt.close("all")


def _covered(ax, x, y) -> list[bool]:
    """Whether the legend lies over each of the points that are inside the frame."""
    ax.figure.canvas.draw()
    box, frame = ax.get_legend().get_window_extent(), ax.get_window_extent()
    pixels = ax.transData.transform(torch.stack([x, y], -1).numpy()).tolist()
    return [bool(box.contains(*point)) for point in pixels if frame.contains(*point)]
