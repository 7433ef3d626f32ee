"""Directions in degrees: the model works in radians, and what is written comes back in degrees."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from disthead import get_family
from disthead.cli import main
from disthead.data.columns import Columns
from disthead.prediction import predictions
from disthead.training import DataError, DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor


@pytest.fixture
def winds() -> pd.DataFrame:
    """Directions about 350 degrees, that is on both sides of north, and their speed."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {"speed": generator.gamma(2, size=200), "direction": generator.normal(350, 15, 200) % 360}
    )


def test_the_model_sees_radians_between_minus_pi_and_pi(winds):
    part = TabularDataModule(winds, target="direction", unit="degrees").part("train")
    radians = np.radians(winds["direction"].to_numpy()[part.rows])
    np.testing.assert_allclose(np.exp(1j * part.y.numpy()), np.exp(1j * radians), rtol=0, atol=1e-5)
    assert part.y.abs().max() <= math.pi + 1e-6
    in_radians = winds.assign(direction=np.radians(winds["direction"]))
    same = TabularDataModule(in_radians, target="direction").part("train").y
    torch.testing.assert_close(torch.exp(1j * part.y), torch.exp(1j * same), rtol=0, atol=1e-5)


def test_written_predictions_are_degrees_and_say_which_parameter_is_not(winds, trainer, tmp_path):
    module, run = DistributionModule("von_mises", hidden_sizes=[]), trainer(3)
    run.fit(module, TabularDataModule(winds, target="direction", unit="degrees"))
    run.save_checkpoint(tmp_path / "model.ckpt")
    found = Predictor(tmp_path / "model.ckpt")(winds.drop(columns="direction"))
    assert Columns.from_state(module.columns).unit == "degrees"
    np.testing.assert_allclose(found["mean"], np.degrees(found["loc_radians"]), rtol=1e-5)
    assert np.median(np.abs((found["mean"] + 180 - 350) % 360 - 180)) < 10
    assert "concentration" in found
    assert "loc" not in found


def test_answers_in_degrees_are_those_in_radians_in_another_unit():
    dist = get_family("von_mises").distribution(loc=torch.tensor([0.5, -3.0]), concentration=4.0)
    radians, degrees = predictions(dist), predictions(dist, unit="degrees")
    for name in ("mean", "median", "mode", "stddev", "quantile_0.25", "lower_90", "upper_90"):
        np.testing.assert_allclose(degrees[name], np.degrees(radians[name]), rtol=1e-6)
    np.testing.assert_array_equal(degrees["loc_radians"], radians["loc"])


def test_degrees_are_for_directions_alone(winds, trainer):
    with pytest.raises(
        DataError, match="degrees are for families of directions, such as von_mises; normal is none"
    ):
        trainer().fit(
            DistributionModule("normal"),
            TabularDataModule(winds, target="direction", unit="degrees"),
        )
    with pytest.raises(
        ValueError, match="unknown unit of the target 'degree'; did you mean 'degrees'"
    ):
        TabularDataModule(winds, target="direction", unit="degree")


@pytest.mark.filterwarnings("ignore:the model is no better")  # after two epochs
def test_the_command_line_takes_degrees_and_missing_values(winds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    winds.loc[::20, "speed"] = np.nan
    winds.to_csv("winds.csv", index=False)
    quiet = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    data = ["--data.path=winds.csv", "--data.target=direction", "--data.unit=degrees"]
    with pytest.warns(UserWarning, match="values are missing in 'speed'"):
        assert (
            main(["fit", *data, "--model.family=von_mises", "--trainer.max_epochs=2", *quiet]) == 0
        )
    [checkpoint] = tmp_path.rglob("best.ckpt")
    assert main(["predict", f"--ckpt_path={checkpoint}", "--out=p.csv", *quiet]) == 0
    capsys.readouterr()
    found = pd.read_csv("p.csv")
    np.testing.assert_allclose(found["mean"], np.degrees(found["loc_radians"]), rtol=1e-4)
