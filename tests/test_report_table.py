"""The tables of pictures and next steps: a row is drawn for its kinds, shows what is named, and
advises nothing twice.
"""

import pytest
import torch

import disthead as dh
from disthead.calibration import TemperatureScaling
from disthead.families import ensemble
from disthead.report import evaluate
from disthead.report.findings import Findings
from disthead.report.numbers import Numbers
from disthead.report.pictures import PICTURES

ROWS = 400


def family(name, **options):
    return dh.get_family(name, **options).distribution


def normal(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, generator=torch.Generator().manual_seed(seed))


def remedies(result, status=("fair", "poor")) -> str:
    return " ".join(v.remedy for v in result.verdicts if v.status in status)


def test_numbers_are_fields_and_a_mapping_of_those_that_are_there():
    numbers = evaluate(family("normal")(loc=torch.zeros(ROWS), scale=1.0), normal(0)).numbers[""]
    assert numbers["pit"] is numbers.pit
    assert "rose" not in numbers
    assert numbers.rose is None
    assert set(numbers) == {name for name, value in vars(numbers).items() if value is not None}
    with pytest.raises(KeyError, match="rose"):
        numbers["rose"]


def test_every_picture_shows_a_field_of_the_numbers():
    assert {picture.field or picture.key for picture in PICTURES} <= set(
        Numbers.__dataclass_fields__
    )
    assert len({picture.key for picture in PICTURES}) == len(PICTURES)


def test_a_misspelt_number_is_refused():
    with pytest.raises(TypeError, match="pitt"):
        Findings("", "continuous", "").show(1, pitt=3)


def test_pictures_along_a_feature_show_the_one_that_its_verdict_names():
    x, z = normal(1), normal(2)
    y = normal(0) * (0.4 + (x > 0)) + 0.6 * z.sign()  # the spread follows x and the bias follows z
    dist = family("normal")(loc=torch.zeros(ROWS), scale=float(y.std()))
    result = evaluate(dist, y, features={"x": x, "z": z})
    calibration, bias = (
        next(v.sentence for v in result.verdicts if v.aspect == f"{what} by feature")
        for what in ("calibration", "bias")
    )
    numbers = result.numbers[""]
    assert f"{numbers.feature.name} " in calibration.split("features, ")[1][:2]
    assert bias.split("features, ")[1].startswith("z ")
    assert numbers.feature.name == "x"
    assert all(worm.label.startswith("z ") for worm in numbers.worms)


def test_the_range_that_is_named_is_among_the_eight_that_are_drawn():
    names = [f"c{k:02d}" for k in torch.arange(ROWS) % 12]
    y = normal(0) + torch.tensor([3.0 * (name == "c11") for name in names])
    result = evaluate(family("normal")(loc=torch.zeros(ROWS), scale=1.0), y, features={"c": names})
    worms = result.numbers[""].worms
    assert len(worms) == 8
    assert "c c11" in [worm.label for worm in worms]


def test_worm_plots_have_a_legend():
    from matplotlib.figure import Figure

    from disthead import diagnostics, plots

    dist = family("normal")(loc=torch.zeros(ROWS), scale=0.5)
    worm = diagnostics.worm(dist, normal(0))
    labels = [
        text.get_text()
        for text in plots.worm_plot(Figure().add_subplot(), worm).get_legend().get_texts()
    ]
    assert labels == ["chance, each point (95 %)", "inside", "outside"]
    findings = Findings("", "continuous", "", numbers=Numbers(worms=[worm] * 3))
    figure = Figure(figsize=(9, 6), layout="constrained")
    next(picture for picture in PICTURES if picture.key == "worms").draw(
        figure, [worm] * 3, findings
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels
    assert len(figure.axes) == 3


@pytest.mark.parametrize("done", ["ScaleCalibration", "QuantileRecalibration"])
def test_a_recalibration_that_was_done_is_not_advised(done):
    y = 2 * normal(0).abs()
    dist = family("normal")(loc=torch.zeros(ROWS), scale=1.0)
    assert "ScaleCalibration" in remedies(evaluate(dist, y))
    after = remedies(evaluate(dist, y, about={"recalibration": done}))
    assert f"--method {done}" not in after
    assert "--method ScaleCalibration" not in after
    assert ("--method QuantileRecalibration" in after) == (done == "ScaleCalibration")


def test_forecasts_say_themselves_that_they_were_recalibrated():
    dist = family("gamma")(concentration=torch.full((ROWS,), 2.0), rate=1.0)
    recalibrated = dh.calibration.ScaleCalibration().fit(dist, normal(0).exp())(dist)
    text = remedies(evaluate(recalibrated, 5 * normal(1).exp()))
    assert "recalibrated already" in text
    assert "--method" not in text


def test_classes_that_were_scaled_are_advised_the_next_method():
    logits = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(3))
    y = torch.arange(ROWS) % 3
    dist = TemperatureScaling().fit(family("categorical", num_classes=3)(logits=logits), y)(
        family("categorical", num_classes=3)(logits=9 * logits)
    )
    text = remedies(evaluate(dist, y, about={"recalibration": "TemperatureScaling"}))
    assert "--method TemperatureScaling" not in text


def test_an_ensemble_is_not_advised_to_become_one():
    logits = torch.randn(5, ROWS, 3, generator=torch.Generator().manual_seed(4))
    y = torch.tensor([0, 1, 2]).repeat(ROWS, 1)
    one = family("plackett_luce", event_shape=(3,))
    assert "ensemble" in remedies(evaluate(one(logits=4 * logits[0]), y))
    many = remedies(evaluate(ensemble(one(logits=9 * logits)), y))
    assert many
    assert "ensemble" not in many
    assert "average several" not in many


def test_a_family_that_learns_dependence_is_not_advised_to_become_itself():
    both = normal(0).unsqueeze(-1) + 0.3 * torch.stack([normal(1), normal(2)], -1)
    joint = family("multivariate_normal", event_shape=(2,))
    text = remedies(evaluate(joint(loc=torch.zeros(ROWS, 2), scale_tril=1.04 * torch.eye(2)), both))
    assert "learns dependence already" in text
    assert "DistributionHead" not in text


def test_a_spread_that_differs_by_row_is_not_advised_to_be_predicted():
    for scale, is_constant in (
        (torch.full((ROWS,), 0.4), True),
        (0.2 + torch.rand(ROWS) / 4, False),
    ):
        result = evaluate(family("normal")(loc=torch.zeros(ROWS), scale=scale), normal(0))
        remedy = next(v.remedy for v in result.verdicts if v.aspect == "error against spread")
        assert ("without" in remedy or "not by `fixed=`" in remedy) == is_constant
