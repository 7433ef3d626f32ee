"""Damaged checkpoints and Parquet files are refused with the file and the part; what has no
checksum changes no number.
"""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest
import torch

from disthead.data.row_groups import find_row_groups, read_rows
from disthead.data.table import read_table
from disthead.files import unchanged
from disthead.training import DataError, DistributionModule, TabularDataModule
from disthead.training.predictor import Predictor
from disthead.training.saved import check_checkpoint, read_checkpoint
from tests.reliability.attack import run_command
from tests.reliability.mutations import mutate_entries

DATA = Path(__file__).parents[1] / "data"
OLD = DATA / "module_of_version_0_1.checkpoint"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    frame = pd.read_csv(DATA / "table.csv")
    module = DistributionModule("student_t", in_features=2, hidden_sizes=[4])
    module.start(frame[["age", "member"]].to_numpy(), frame["y"])
    contents = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    torch.save(contents | {"pytorch-lightning_version": "2.6.6"}, folder / "model.ckpt")
    return folder / "model.ckpt"


def features() -> torch.Tensor:
    return torch.linspace(-3, 50, 40).reshape(20, 2)


def means(path: Path) -> torch.Tensor:
    with torch.no_grad():
        return DistributionModule.load_from_checkpoint(path).eval()(features()).mean


def is_data(contents: bytes) -> np.ndarray:
    """Which bytes of an archive are those of its parts, or stand before them to align them."""
    marked = np.zeros(len(contents), dtype=bool)
    for part in zipfile.ZipFile(Path(OLD)).infolist():
        start = part.header_offset
        name, extra = (
            int.from_bytes(contents[start + k : start + k + 2], "little") for k in (26, 28)
        )
        marked[start + 30 + name + min(extra, 4) : start + 30 + name + extra + part.file_size] = (
            True
        )
    return marked


def read_or_refused(read, path: Path):
    """What is read, or None for an error that names the file."""
    try:
        return read(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError("the file must be named") from error
        return None


def test_each_part_that_is_damaged_is_named_with_its_weights(checkpoint, tmp_path):
    contents = checkpoint.read_bytes()
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    damaged, named = tmp_path / "damaged.ckpt", set()
    for part in zipfile.ZipFile(checkpoint).infolist():
        start = part.header_offset
        name, extra = (
            int.from_bytes(contents[start + k : start + k + 2], "little") for k in (26, 28)
        )
        changed = bytearray(contents)
        changed[start + 30 + name + extra + part.file_size // 2] ^= 1
        damaged.write_bytes(changed)
        short = part.filename.partition("/")[2]
        with pytest.raises(
            ValueError, match=rf"damaged\.ckpt is damaged: {re.escape(short)}"
        ) as caught:
            read_checkpoint(damaged)
        named |= {name for name in state if f"{short}, {name!r}," in str(caught.value)}
    assert len(named) > len(state) / 2  # others share their bytes


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bit_that_no_checksum_covers_changes_no_number(tmp_path, step):
    contents, damaged = OLD.read_bytes(), tmp_path / "damaged.ckpt"
    module = DistributionModule.load_from_checkpoint(OLD)
    weights = module.state_dict()
    bits = [
        (place, bit) for place in np.flatnonzero(~is_data(contents)).tolist() for bit in range(8)
    ]
    refused = 0
    for place, bit in bits[::step]:
        changed = bytearray(contents)
        changed[place] ^= 1 << bit
        damaged.write_bytes(changed)
        found = read_or_refused(read_checkpoint, damaged)
        refused += found is None
        for name, value in weights.items() if found else ():
            loaded = found["state_dict"].get(name)
            assert (
                loaded is None or not isinstance(value, torch.Tensor) or torch.equal(loaded, value)
            )
    assert refused > len(bits[::step]) / 3


@pytest.mark.parametrize(
    "change", [lambda c: c + b"\0", lambda c: b"x" + c, lambda c: c + c, lambda c: c[:-1]]
)
def test_what_stands_before_or_after_the_archive_is_refused(checkpoint, tmp_path, change):
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(change(checkpoint.read_bytes()))
    with pytest.raises(ValueError, match=r"damaged\.ckpt is not a checkpoint, or it is corrupt"):
        check_checkpoint(damaged)


def flip_weights(path: Path) -> Path:
    """Damage the last weights of a checkpoint, which torch loads nevertheless."""
    contents = bytearray(path.read_bytes())
    part = [part for part in zipfile.ZipFile(path).infolist() if "/data/" in part.filename][-1]
    name, extra = (
        int.from_bytes(contents[part.header_offset + k :][:2], "little") for k in (26, 28)
    )
    contents[part.header_offset + 30 + name + extra + part.file_size - 1] ^= 1
    path.write_bytes(contents)
    torch.load(path, weights_only=True)
    return path


def test_lightning_refuses_a_damaged_checkpoint(frame, trainer, tmp_path):
    data = TabularDataModule(frame, target="y")
    module = DistributionModule(hidden_sizes=[4])
    first = trainer(1)
    first.fit(module, data)
    first.save_checkpoint(tmp_path / "model.ckpt")
    damaged = flip_weights(tmp_path / "model.ckpt")
    for run in ("fit", "validate", "predict"):
        with pytest.raises(ValueError, match=r"model\.ckpt is damaged: data/\d+"):
            getattr(trainer(2), run)(module, datamodule=data, ckpt_path=damaged)
    with pytest.raises(ValueError, match=r"model\.ckpt is damaged: data/\d+"):
        Predictor(damaged)


@pytest.mark.parametrize(
    "command", ["fit", "validate", "test", "predict", "evaluate", "recalibrate"]
)
def test_commands_refuse_a_damaged_checkpoint_in_one_line(
    checkpoint, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    Path("model.ckpt").write_bytes(checkpoint.read_bytes())
    flip_weights(Path("model.ckpt"))
    table = ["--data.path", str(DATA / "table.csv")]
    more = {
        "fit": ["--data.target", "y"],
        "recalibrate": ["--out", "new.ckpt"],
        "predict": ["--out", "new.csv"],
    }
    status, printed = run_command(command, "--ckpt", "model.ckpt", *table, *more.get(command, []))
    assert status == 2
    assert re.search(r"^disthead: error: model\.ckpt is damaged: data/\d+", printed, re.MULTILINE)
    assert "Traceback" not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt"]


def rewritten(checkpoint: Path, tmp_path: Path, change) -> Path:
    contents = torch.load(checkpoint, weights_only=True)
    change(contents)
    torch.save(contents, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


CHANGES = {
    "no weights": (lambda c: c.pop("state_dict"), "without state_dict"),
    "weights are a list": (lambda c: c.update(state_dict=[1]), "without state_dict"),
    "weights are missing": (
        lambda c: c["state_dict"].pop("head.linear.weight"),
        r"head\.linear\.weight",
    ),
    "shape": (
        lambda c: c["state_dict"].update({"head.linear.weight": torch.zeros(2)}),
        r"head\.linear\.weight",
    ),
    "no tensor": (
        lambda c: c["state_dict"].update({"head.linear.weight": "x"}),
        r"head\.linear\.weight",
    ),
    "no options": (lambda c: c.pop("hyper_parameters"), "not a checkpoint of a DistributionModule"),
    "options are a list": (
        lambda c: c.update(hyper_parameters=[1]),
        "not a checkpoint of a DistributionModule",
    ),
    "family": (lambda c: c["hyper_parameters"].update(family="norml"), "did you mean 'normal'"),
    "another family": (
        lambda c: c["hyper_parameters"].update(family="normal"),
        "not those of one model",
    ),
    "size": (
        lambda c: c["hyper_parameters"].update(hidden_sizes=[10**9, 10**9]),
        r"\[1000000000, 2\].*numbers",
    ),
    "sizes": (lambda c: c["hyper_parameters"].update(hidden_sizes=[4, 10**12]), "numbers"),
    "ensemble": (lambda c: c["hyper_parameters"].update(ensemble=10**9), "numbers"),
    "columns": (
        lambda c: c["hyper_parameters"].update(columns={"features": [{}]}),
        r"columns\.features\[0\]\.name is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_options_and_weights_that_do_not_fit_are_refused_with_the_file(checkpoint, tmp_path, name):
    change, message = CHANGES[name]
    with pytest.raises(ValueError, match=rf"changed\.ckpt.*{message}"):
        DistributionModule.load_from_checkpoint(rewritten(checkpoint, tmp_path, change))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("k", range(30))
def test_any_option_that_was_changed_is_read_or_refused_with_the_file(tmp_path, k):
    def change(contents):
        contents["hyper_parameters"] = mutate_entries(
            contents["hyper_parameters"], np.random.default_rng(k)
        )

    path = rewritten(OLD, tmp_path, change)
    read_or_refused(DistributionModule.load_from_checkpoint, path)


def test_fixed_values_do_not_stand_in_the_way(tmp_path):
    module = DistributionModule("normal", in_features=2, hidden_sizes=[4], fixed={"scale": 2.0})
    torch.save(
        {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)},
        tmp_path / "model.ckpt",
    )
    assert DistributionModule.load_from_checkpoint(tmp_path / "model.ckpt")(
        features()
    ).stddev.unique().tolist() == [2.0]


def test_a_checkpoint_of_the_first_version_is_whole():
    check_checkpoint(OLD)
    assert means_of_old().isfinite().all()


def means_of_old() -> torch.Tensor:
    frame = pd.read_csv(DATA / "table.csv")
    return torch.from_numpy(Predictor(OLD)(frame)["mean"])


# Files that change while they are read.


@pytest.mark.parametrize("change", ["write", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, change):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,2\n")

    def read():
        with unchanged(path):
            if change == "write":
                path.write_text("x,y\n1,2\n3,4\n")
            elif change == "replace":
                (tmp_path / "other").write_text("x,y\n1,3\n")
                os.utime(tmp_path / "other", ns=(0, 0))
                os.replace(tmp_path / "other", path)
            else:
                path.unlink()
                path.read_text()

    with pytest.raises(ValueError, match=r"t\.csv has changed while it was read"):
        read()


def test_a_table_that_changes_while_pandas_reads_it_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,2\n")
    read_csv = pd.read_csv

    def slow(*arguments, **options):
        path.write_text("x,y\n1,2\n3,4\n")
        return read_csv(*arguments, **options)

    monkeypatch.setattr(pd, "read_csv", slow)
    with pytest.raises(ValueError, match="has changed while it was read"):
        read_table(path)


# Parquet.


def write_rows(path: Path, **options) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": generator.normal(size=90), "city": generator.choice(["Lima", "Oslo"], 90)}
    )
    frame.to_parquet(path, index=False, row_group_size=30, **options)
    return frame


def flip_page(path: Path, group: int, column: int) -> None:
    """Change the last byte of a column of a row group, which without checksums is another number or
    another text.
    """
    contents = bytearray(path.read_bytes())
    chunk = parquet.ParquetFile(path).metadata.row_group(group).column(column)
    start = (
        chunk.data_page_offset
        if chunk.dictionary_page_offset is None
        else chunk.dictionary_page_offset
    )
    contents[start + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(contents)


@pytest.mark.parametrize("compression", ["snappy", None])
@pytest.mark.parametrize("group, column", [(0, 0), (2, 0), (1, 1)])
def test_a_damaged_page_is_named_with_row_group_and_column(tmp_path, compression, group, column):
    path = tmp_path / "rows.parquet"
    write_rows(path, write_page_checksum=True, compression=compression)
    flip_page(path, group, column)
    name = ["x", "city"][column]
    place = rf"rows\.parquet: row group {group} is corrupt or truncated in column '{name}'"
    with pytest.raises(DataError, match=place):
        read_table(path)
    with pytest.raises(DataError, match=place):
        list(read_rows(find_row_groups([path])[group], None, 10))
    names = ["city", "x"][column : column + 1]
    [(_, whole)] = read_rows(find_row_groups([path])[group], names, 100)
    assert whole.shape == (30, 1)


def test_predictions_that_were_written_have_checksums(checkpoint, tmp_path):
    from disthead.prediction import write_predictions

    path = tmp_path / "predictions.parquet"
    write_predictions({"mean": np.linspace(0, 1, 500)}, path)
    flip_page(path, 0, 0)
    with pytest.raises(DataError, match="row group 0 is corrupt or truncated in column 'mean'"):
        read_table(path)


@pytest.mark.parametrize("keep", [0, 3, 4, 11, 200, -1, -4, -8, -9])
def test_a_truncated_parquet_file_is_named(tmp_path, keep):
    path = tmp_path / "rows.parquet"
    write_rows(path)
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_table, lambda path: find_row_groups([path])):
        with pytest.raises(
            DataError, match=r"rows\.parquet is (not a readable Parquet file|empty)"
        ):
            read(path)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda weights: weights.fill_(torch.nan), "are NaN or infinite"),
        (lambda weights: weights * torch.inf, "are NaN or infinite"),
        (lambda weights: weights.to(torch.int64), "are torch.int64"),
        (lambda weights: weights.to(torch.complex64), "are torch.complex64"),
    ],
)
def test_weights_that_no_model_has_are_refused_with_their_name(checkpoint, tmp_path, change, said):
    contents, path = torch.load(checkpoint, weights_only=True), tmp_path / "changed.ckpt"
    name = next(name for name in contents["state_dict"] if name.endswith("linear.weight"))
    contents["state_dict"][name] = change(contents["state_dict"][name].clone())
    torch.save(contents, path)
    with pytest.raises(ValueError, match=rf"changed\.ckpt: .*{re.escape(name)}.*{said}"):
        DistributionModule.load_from_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_loaded(checkpoint, tmp_path, dtype):
    contents = torch.load(checkpoint, weights_only=True)
    contents["state_dict"] = {
        name: value.to(dtype) for name, value in contents["state_dict"].items()
    }
    torch.save(contents, tmp_path / "other.ckpt")
    predicted = means(tmp_path / "other.ckpt")
    assert predicted.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(predicted.float(), means(checkpoint), rtol=0.2, atol=0.2)
