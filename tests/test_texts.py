"""Texts of users are data: in pictures, pages, terminals, commands and names of files they are
shown, and nothing else.
"""

import json
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest
import torch

import disthead as dh
from disthead import diagnostics, plots
from disthead.distributions.independent import Independent
from disthead.plots.style import literal
from disthead.report import Batch
from disthead.texts import distinct, file_names, quoted, shown

matplotlib.use("Agg")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

NASTY = [
    "price_$",
    "$\\alpha",
    "a_$b$",
    "$\\frac{$",
    "\\",
    "\\$5 \\to $6",
    "{0} %s %(name)s {",
    "two\nlines\tand a tab",
    "\x1b[31mred\x1b[0m\x07",
    "nul\x00nul",
    "\u202edesrever\u2066",
    "\udc80",
    "😀 中文 العربية",
    "é",
    "e\u0301",
    "",
    " ",
    "x" * 10_000,
    "$" * 999,
    "</script><script>alert(1)</script>",
    "\" onload='alert(1)' x=`y`",
    "<!--",
    "&lt;b&gt;",
    "../../up",
    "/etc/passwd",
    "-rf",
    "$(touch PWNED); `touch PWNED`",
    "=1+1",
]


@pytest.fixture(scope="module")
def numbers():
    """What each picture shows."""
    x = torch.rand(300, generator=torch.Generator().manual_seed(0))
    y = 3 * x + torch.randn(300, generator=torch.Generator().manual_seed(1))
    dist = dh.get_family("normal").distribution(loc=3 * x, scale=0.5 + x)
    level = torch.tensor([0.5, 0.9])
    counts = torch.poisson(5 * x, generator=torch.Generator().manual_seed(2))
    poisson, circle = dh.get_family("poisson"), dh.get_family("von_mises")
    return {
        "dist": dist,
        "y": y,
        "pit": diagnostics.pit_band(torch.full((20,), 0.05), 300),
        "coverage": diagnostics.coverage_curve(level, level, 300),
        "event": diagnostics.exceedance_reliability(dist, y, 1.0),
        "quantile": diagnostics.quantile_reliability(dist, y, 0.9, 20),
        "spread": diagnostics.spread_skill(dist.mean - y, dist.stddev),
        "dropping": diagnostics.sparsification((dist.mean - y).abs(), dist.stddev),
        "sharpness": diagnostics.sharpness(dist, y),
        "rootogram": diagnostics.rootogram(poisson.distribution(rate=5 * x), counts),
        "rose": diagnostics.rose(
            circle.distribution(loc=torch.zeros(300), concentration=1.0), y.sin()
        ),
        "confusion": diagnostics.confusion(torch.rand(300, 3), torch.zeros(300)),
    }


def drawings(numbers, text):
    """Every picture, with the text wherever one of a user's goes."""
    worm = diagnostics.worm(numbers["dist"], numbers["y"], label=text)
    frequency = diagnostics.EventFrequency(text, text, 0.5, 0.6, 0.0025, 0.01, 100.0)
    names = [text, f"{text}2", "c"]
    return {
        "pit": lambda ax: plots.pit_histogram(ax, numbers["pit"], text, text),
        "coverage": lambda ax: plots.coverage_curve(ax, numbers["coverage"], text),
        "event": lambda ax: plots.reliability_diagram(ax, numbers["event"], text, text),
        "quantile": lambda ax: plots.reliability_diagram(ax, numbers["quantile"], text, unit=text),
        "worm": lambda ax: plots.worm_plot(ax, worm),
        "worm with a title": lambda ax: plots.worm_plot(ax, worm, text),
        "rows": lambda ax: plots.interval_chart(
            ax, numbers["dist"][:40], numbers["y"][:40], title=text, unit=text
        ),
        "spread": lambda ax: plots.spread_skill(ax, numbers["spread"], text, text),
        "dropping": lambda ax: plots.sparsification(ax, numbers["dropping"], text, text),
        "sharpness": lambda ax: plots.sharpness(ax, numbers["sharpness"], text, text),
        "groups": lambda ax: plots.coverage_by_group(
            ax, {text: (0.8, 90.0), "b": (0.9, 90.0)}, 0.9, text
        ),
        "frequencies": lambda ax: plots.frequency_by_group(ax, [frequency], text),
        "rootogram": lambda ax: plots.hanging_rootogram(ax, numbers["rootogram"], text, text),
        "rose": lambda ax: plots.rose_plot(ax, numbers["rose"], text),
        "confusion": lambda ax: plots.confusion_matrix(ax, numbers["confusion"], names, text),
    }


def test_every_plot_function_is_drawn_here(numbers):
    functions = {
        name for name in vars(plots) if callable(getattr(plots, name)) and not name.startswith("_")
    }
    without_texts = {"loss_curve", "prediction_band", "worm_reach"}
    code = Path(__file__).read_text("utf-8")
    assert all(f"plots.{name}(" in code for name in functions - without_texts)


def draw_all(numbers, text):
    for name, draw in drawings(numbers, text).items():
        figure = Figure(figsize=(5.6, 4.2), layout="constrained", dpi=50)
        FigureCanvasAgg(figure)
        ax = draw(figure.add_subplot(projection="polar" if name == "rose" else None))
        figure.canvas.draw()  # warnings, such as those of glyphs that are missing, are errors
        if text.strip():
            start = literal(text.split("\n")[0])[:3]
            own = [artist for artist in ax.findobj(Text) if start in artist.get_text()]
            assert own, name
            assert not any(artist.get_parse_math() or artist.get_usetex() for artist in own), name


@pytest.mark.parametrize(
    "text", ["$\\frac{$ \\$5 \\to $6 \n\t 😀 中文 العربية\udc80\x00", "W" * 10_000]
)
def test_a_picture_shows_a_users_text_and_no_mathematics(numbers, text):
    draw_all(numbers, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", NASTY)
def test_a_picture_shows_every_text(numbers, text):
    draw_all(numbers, text)


def test_mathematics_of_a_user_would_be_seen_by_this_test(numbers):
    """The same text without `literal` is refused by matplotlib, or drawn as something else."""
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.add_subplot().set_title("$\\frac{$")
    with pytest.raises(ValueError, match="frac"):
        figure.canvas.draw()


def test_a_font_that_has_the_characters_draws_them():
    assert literal("Größe π ±") == "Größe π ±"
    assert literal("中") == "\\u4e2d"
    assert literal("a\nb") == "a\\nb"


class Structure(HTMLParser):
    """Tags and names of attributes, and the values of those that do not hold texts."""

    def __init__(self, page: str):
        super().__init__()
        self.seen, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append(
            (tag, tuple((name, value if name == "class" else "") for name, value in attrs))
        )

    def handle_endtag(self, tag):
        self.seen.append(("/", tag))

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        self.seen.append(("comment", data))


def vector_report(names, out):
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(240, 2, generator=generator)
    dist = Independent(dh.get_family("normal").distribution(loc=torch.zeros(240, 2), scale=1.0), 1)
    features = {
        names[2]: torch.rand(240, generator=generator),
        names[3]: [names[4], names[5]] * 120,
    }
    group = [names[6]] * 80 + [names[7]] * 80 + [names[8]] * 80
    batch = dh.evaluate(
        [Batch(dist, y, features, group)],
        out=out,
        title=names[9],
        about={names[10]: names[11], "checkpoint": names[12]},
        outputs=names[:2],
        unit=names[13],
        baseline_name=names[14],
    )
    return batch


def class_report(names, out):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 3, generator=generator)
    dist = dh.get_family("categorical", num_classes=3).distribution(logits=logits)
    y = (logits + torch.rand(400, 3, generator=generator)).argmax(-1)
    group = [names[3], names[4]] * 200
    return dh.evaluate(dist, y, group=group, classes=names[:3], out=out, title=names[5])


TAME = [f"name{k}" for k in range(15)]


@pytest.fixture(scope="module")
def tame(tmp_path_factory):
    """Reports on tame names: their structure, their lines, their pictures."""
    found = {}
    for report in (vector_report, class_report):
        folder = tmp_path_factory.mktemp("tame")
        text = str(report(TAME, folder))
        page = Structure((folder / "report.html").read_text("utf-8")).seen
        found[report] = page, len(text.split("\n")), len(list(folder.glob("*.png")))
    return found


@pytest.mark.parametrize(
    "report, first",
    [
        (vector_report, 14),
        (class_report, 0),
        pytest.param(vector_report, 0, marks=pytest.mark.slow),
        pytest.param(vector_report, 7, marks=pytest.mark.slow),
        *[
            pytest.param(class_report, first, marks=pytest.mark.slow)
            for first in range(6, len(NASTY), 6)
        ],
    ],
)
def test_a_report_is_the_same_page_whatever_the_names_are(report, first, tame, tmp_path):
    names, (structure, lines, pictures) = (NASTY * 2)[first : first + 15], tame[report]
    found = report(names, tmp_path / "report")
    page = Structure((tmp_path / "report" / "report.html").read_text("utf-8"))
    assert page.seen == structure
    assert not any(letter in "".join(page.text) for letter in "\x00\x1b\u202e\udc80")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert len(list((tmp_path / "report").glob("*.png"))) == pictures
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text("utf-8"))
    assert list(metrics["outputs"]) == list(found.outputs)
    assert metrics["title"] == (names[9] if report is vector_report else names[5])
    printed = str(found).split("\n")
    assert len(printed) == lines
    assert list(map(shown, printed)) == printed


def test_names_that_are_written_alike_stay_apart():
    """Groups 1 and "1", outputs of one name, and ranges of a feature whose ends have the same three
    digits.
    """
    y = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    dist = Independent(dh.get_family("normal").distribution(loc=torch.zeros(400, 2), scale=1.0), 1)
    features = {
        "a": torch.linspace(1000.1, 1000.9, 400),
        "b c": ["d"] * 200 + ["e"] * 200,
        "b": ["c d"] * 400,
    }
    batch = Batch(dist, y, features, [1, "1"] * 200)
    found = dh.evaluate([batch], outputs=["same", "same"])
    assert found.outputs == ("", "same", "same (2)")
    assert sum(rows for _, rows in found.numbers["same"]["groups"].values()) == 400
    assert list(found.numbers["same"]["groups"]) == ["1", "1 (2)"]
    _, ranges = found.numbers["same"]["feature"]
    assert sum(rows for _, rows in ranges.values()) == 400


def test_names_of_files_are_short_apart_and_within_their_folder(tmp_path):
    names = [
        *NASTY,
        "A/b",
        "a_b",
        "A_B",
        "a\\b",
        "CON",
        "..",
        ".",
        *(f"{'y' * 400}_{key}" for key in ("pit", "rose")),
    ]
    files = file_names(names)
    assert len(set(map(str.casefold, files))) == len(names)
    for name in files:
        path = tmp_path / f"{name}.png"
        path.write_bytes(b"")
        assert path.resolve().parent == tmp_path.resolve()
        assert not name.startswith(".")
    assert len(list(tmp_path.iterdir())) == len(names)
    assert file_names(["price_pit", "price_rose", "pit"]) == ["price_pit", "price_rose", "pit"]
    assert [name[-4:] for name in files[-2:]] == ["_pit", "rose"]


@pytest.mark.parametrize("text", [text for text in NASTY if "\0" not in text])
def test_a_shell_takes_a_quoted_argument_as_it_was(text):
    argument = quoted(text)
    assert "\n" not in argument
    assert "\x1b" not in argument
    run = subprocess.run(
        ["bash", "-c", f"printf %s {argument}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert run.stdout == text.encode("utf-8", "surrogateescape")


def test_what_is_shown_stays_what_it_was_where_nothing_acts_on_it():
    for text in ("Größe", "中文", "👩\u200d🔬", "a\u00a0b", "naïve $x$ \\n"):
        assert shown(text) == text
    assert shown("\r\n\x9b\u2028\ud800") == "\\r\\n\\x9b\\u2028\\ud800"


def test_distinct_names_keep_their_order():
    assert distinct(["a", "a (2)", "a", "b", "a"]) == ["a", "a (2)", "a (3)", "b", "a (4)"]


def test_warnings_and_errors_of_the_command_line_are_shown_in_one_line(
    capsys, tmp_path, monkeypatch
):
    from disthead.cli import _short_warnings, main

    with _short_warnings():
        assert "\x1b" not in warnings.formatwarning("\x1b[2Jgone", UserWarning, "", 0)
    monkeypatch.chdir(tmp_path)
    name = "taken\x1b[31m\x07.yaml"
    Path(name).touch()
    assert main(["init", "regression", "--out", name]) == 2
    assert capsys.readouterr().err.startswith(
        "disthead: error: taken\\x1b[31m\\x07.yaml is there already"
    )
    assert main(["init", "regression", "--out", "my 'own'\n.yaml"]) == 0
    written, after = capsys.readouterr().out.splitlines()
    assert written == "written: my 'own'\\n.yaml"
    assert after == (
        "next: disthead fit --config $'my \\'own\\'\\n.yaml' --data.path my.csv --data.target y"
    )
