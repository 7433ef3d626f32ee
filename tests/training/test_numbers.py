"""Numbers out of range in tables: refused with column and row, or named and kept from spoiling the
training of the others.
"""

import math
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from disthead.data.table import DataError
from disthead.errors import NonFiniteLoss
from disthead.training import DistributionModule, TabularDataModule

ROWS = 60
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0,
}  # fmt: skip
quiet = pytest.mark.filterwarnings("ignore")


def frame(**changes: object) -> pd.DataFrame:
    """45 rows of training and 15 of validation; `changes` are columns, or (row, value)."""
    source = np.random.default_rng(0)
    x = source.normal(size=(ROWS, 2))
    y = x[:, 0] + 0.5 * source.normal(size=ROWS)
    made = pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "y": y, "w": 1.0, "e": source.uniform(1, 2, ROWS)}
    )
    for name, change in changes.items():
        if isinstance(change, tuple):
            made.loc[change[0], name] = change[1]
        else:
            made[name] = change
    made["part"] = ["train"] * 45 + ["val"] * 15
    return made


def fit(
    table: pd.DataFrame, family: str = "normal", epochs: int = 2, **options: object
) -> dict[str, float]:
    torch.manual_seed(0)
    roles = {name: options.pop(name) for name in ("weight", "known") if name in options}
    data = TabularDataModule(
        table, target="y", features=["a", "b"], split_column="part", batch_size=16, **roles
    )
    trainer = Trainer(max_epochs=epochs, **QUIET)
    trainer.fit(DistributionModule(family, hidden_sizes=[16], **options), data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@quiet
@pytest.mark.parametrize("row", [3, 50])
@pytest.mark.parametrize(
    "column, value",
    [("y", 1e39), ("y", -1e39), ("y", 1e-200), ("w", 1e39), ("w", 1e-200), ("w", 1e30),
     ("e", 1e39), ("e", 1e-200)],
)  # fmt: skip
def test_what_single_precision_does_not_hold_is_refused_with_column_and_row(column, value, row):
    table = frame(y=np.arange(ROWS) % 5 + 1.0)
    table.loc[row, column] = value
    with pytest.raises(DataError, match=rf"column '{column}'.*at row {row}"):
        fit(table, "poisson", weight="w", known={"exposure": "e"})


@quiet
@pytest.mark.parametrize("factor", [1e-200, 1e-45, 1e38])
def test_a_feature_that_single_precision_does_not_tell_apart_is_refused(factor):
    table = frame()
    table["b"] *= factor
    with pytest.raises(
        DataError,
        match=r"column 'b' holds numbers that single precision.*does not tell apart.*at row 0",
    ):
        fit(table)


@pytest.mark.parametrize("value", [1e6, 1e20, 1e39, -1e300])
def test_a_feature_far_from_those_of_training_is_named_and_costs_little(value):
    with pytest.warns(UserWarning, match=r"column 'b': 1 rows, .* at row 50 as"):
        metrics = fit(frame(b=(50, value)))
    assert metrics["val/nll"] < metrics["val/nll_marginal"] + 2


@pytest.mark.parametrize("family", ["student_t", "mixture"])
@pytest.mark.parametrize("outlier", [1e5, 1e6, 1e20])
def test_a_robust_family_learns_the_other_rows_beside_an_outlier(family, outlier):
    options = (
        {}
        if family == "student_t"
        else {"family_options": {"component": "student_t", "num_components": 2}}
    )
    clean = fit(frame(), family, epochs=10, **options)
    spoilt = fit(frame(y=(3, outlier)), family, epochs=10, **options)
    assert spoilt["val/nll"] < clean["val/nll"] + 0.5


@pytest.mark.parametrize("row, part", [(5, "training"), (50, "validation")])
@pytest.mark.parametrize(
    "family, column, value",
    [("normal", "y", 1e20), ("poisson", "y", 1e15), ("poisson", "e", 1e30), ("gamma", "y", 1e20)],
)  # fmt: skip
def test_a_number_that_is_worth_all_others_is_named(family, column, value, row, part):
    table = frame() if family == "normal" else frame(y=np.arange(ROWS) % 5 + 1.0)
    table.loc[row, column] = value
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with suppress(NonFiniteLoss):  # of a normal distribution that was not trained on the number
            fit(table, family, known={"exposure": "e"} if family == "poisson" else None)
    said = [str(warning.message) for warning in caught if "all others" in str(warning.message)]
    assert len(said) == 1
    assert f"column '{column}' has {value:.7g} at row {row} in the {part} rows" in said[0]


def test_a_number_that_is_worth_all_others_is_named_in_streams_and_own_loaders(tmp_path):
    for part, rows in frame(y=(5, 1e20)).groupby("part"):
        rows.drop(columns="part").to_parquet(tmp_path / f"{part}.parquet")
    data = TabularDataModule(
        str(tmp_path / "train*.parquet"), val_size=0, test_size=0, target="y", features=["a", "b"],
        batch_size=16,
    )  # fmt: skip
    with pytest.warns(
        UserWarning, match=r"column 'y' has 1e\+20 in the training rows: so far from all others"
    ):
        Trainer(max_epochs=1, **QUIET).fit(DistributionModule("normal", hidden_sizes=[8]), data)
    y = torch.randn(60)
    y[5] = 1e20
    with pytest.warns(UserWarning, match=r"the target has 1e\+20: so far from all others"):
        DistributionModule("normal", in_features=2, hidden_sizes=[8]).start(torch.randn(60, 2), y)


def test_one_row_of_validation_does_not_have_all_the_weight():
    with pytest.raises(
        ValueError,
        match="at row 50: the mean over the validation rows would be that of a single row",
    ):
        fit(frame(w=(50, 1e20)), weight="w")


@pytest.mark.parametrize("weight", [0.0, 1e38, 1e-37])
@pytest.mark.parametrize("part", ["train", "val"])
def test_weights_that_are_zero_or_extreme_in_a_whole_part_are_refused(weight, part):
    table = frame()
    if weight == 1e-37:
        table["w"] = weight
    table.loc[table["part"] == part, "w"] = weight
    with pytest.raises(DataError, match="column 'w'"):
        fit(table, weight="w")


def test_constant_targets_of_training_are_refused_though_validation_varies():
    table = frame()
    table.loc[:44, "y"] = 2.0
    with pytest.raises(DataError, match="column 'y' is constant, 2 in all training rows"):
        fit(table)


def test_a_family_that_learns_logarithms_refuses_targets_that_vary_little():
    table = frame()
    table["y"] = 10 + 1e-3 * table["y"]
    with pytest.raises(ValueError, match="too little for log_normal to learn"):
        fit(table, "log_normal")


@pytest.mark.parametrize("family", ["log_normal", "weibull"])
@pytest.mark.parametrize("spread", [3e-3, 1e-2])
@pytest.mark.parametrize(
    "options", [{}, {"shared": ["scale"]}, {"fixed": {"scale": 1e-2}}, {"ensemble": 2}], ids=str
)
def test_a_family_that_learns_logarithms_starts_within_a_small_spread(family, spread, options):
    table = frame()
    table["y"] = 37 * (1 + spread * table["y"])
    if "fixed" in options and family == "weibull":
        options = {"fixed": {"scale": 37.0}}
    metrics = fit(table, family, epochs=3, **options)
    assert metrics["val/nll"] < metrics["val/nll_marginal"] + 0.15


def test_counts_that_single_precision_does_not_hold_stay_in_double_precision():
    table = frame()
    table["y"] = 2.0**24 + 1 + 2 * (2000 * table["y"]).round()
    y = (
        TabularDataModule(table, target="y", features=["a", "b"], split_column="part")
        .part("train")
        .y
    )
    assert y.tolist() == table["y"].tolist()[:45]
    assert (
        fit(table, "poisson")["val/nll"] < math.log(4096 * math.sqrt(2 * math.pi)) + 1.5
    )  # the entropy is half a nat above


class Overflowing(torch.nn.Module):
    """Finite for ordinary features, infinite for those beyond the limit."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit
        self.slope = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.where(features > self.limit, math.inf, self.slope * features)


@quiet
def test_a_loss_that_is_not_finite_names_the_extreme_column_before_the_learning_rate():
    module = DistributionModule("normal", backbone=Overflowing(4.0), backbone_features=2)
    data = TabularDataModule(
        frame(b=(3, 40.0)), target="y", features=["a", "b"], split_column="part", batch_size=16
    )
    with pytest.raises(
        NonFiniteLoss,
        match=r"at rows 3 .*most extreme number there is 40 in column 'b' at row 3.*learning rate",
    ):
        Trainer(max_epochs=1, **QUIET).fit(module, data)


@quiet
def test_a_validation_that_is_not_finite_names_its_row():
    module = DistributionModule("normal", backbone=Overflowing(2.7), backbone_features=2)
    table = frame(b=(50, 3.5))
    table.loc[:44, "b"] = table["b"].clip(-2, 2)
    data = TabularDataModule(
        table, target="y", features=["a", "b"], split_column="part", batch_size=16
    )
    with pytest.raises(
        NonFiniteLoss, match=r"1 validation row is zero or not a number in epoch 0, at row 50"
    ):
        Trainer(max_epochs=1, **QUIET).fit(module, data)


@quiet
def test_a_model_of_version_0_1_has_no_limits():
    from disthead.data.encoder import Column
    from disthead.data.values import read_values

    column = Column("x", fill=0.0)
    assert column.encode(read_values(np.array([1e30]), "x")).tolist() == [[1e30]]


@pytest.mark.parametrize("loader", ["complex", "booleans", "empty"])
@quiet
def test_own_loaders_are_named_what_is_wrong_with_their_targets(loader):
    y = {
        "complex": torch.randn(8, dtype=torch.complex64),
        "booleans": torch.ones(8).bool(),
        "empty": torch.zeros(0),
    }[loader]
    batches = DataLoader([(torch.randn(len(y), 2), y)] * 3, batch_size=None)
    with pytest.raises(
        ValueError, match={"complex": "complex", "booleans": "truth values", "empty": "row"}[loader]
    ):
        Trainer(max_epochs=1, **QUIET).fit(
            DistributionModule("normal", in_features=2, hidden_sizes=[8]), batches
        )
