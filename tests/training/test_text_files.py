"""Text files as programs and people write them: separators, decimal commas, encodings, quotes, an index."""

import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from disthead.training import DataError, TabularDataModule
from disthead.training.table import read_table

FRAME = pd.DataFrame({"größe": [1.5, 2.25, -3.0, 40.125], "city": ["Köln", "Rome", "Köln", "Lima"], "y": [1, 2, 3, 4]})


def read(path, text: str | bytes) -> pd.DataFrame:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".tsv"])
def test_separators_and_encodings(tmp_path, separator, encoding, suffix):
    text = FRAME.to_csv(index=False, sep=separator)
    pd.testing.assert_frame_equal(read(tmp_path / f"table{suffix}", text.encode(encoding)), FRAME)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_letters_are_read_as_windows_1252_and_said(tmp_path, encoding):
    with pytest.warns(UserWarning, match=r"t\.csv is not written in UTF-8; it is read as Windows-1252"):
        frame = read(tmp_path / "t.csv", FRAME.to_csv(index=False).encode(encoding))
    pd.testing.assert_frame_equal(frame, FRAME)


def test_compressed_files_of_any_separator_and_encoding(tmp_path):
    text = FRAME.to_csv(index=False, sep=";", decimal=",").encode("utf-16")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text))
    (tmp_path / "t.csv.xz").write_bytes(lzma.compress(text))
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("t.csv", text)
    for ending in ("gz", "xz", "zip"):
        pd.testing.assert_frame_equal(read_table(tmp_path / f"t.csv.{ending}"), FRAME)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas(tmp_path, separator):
    frame = read(tmp_path / "t.csv", FRAME.to_csv(index=False, sep=separator, decimal=","))
    pd.testing.assert_frame_equal(frame, FRAME)


def test_commas_that_are_no_decimal_ones_stay_in_their_texts(tmp_path):
    frame = read(tmp_path / "t.csv", "a;b;y\n1.5;'red, blue';1\n2.5;'3,5 mm';2\n")
    assert frame["a"].tolist() == [1.5, 2.5]
    assert frame["b"].tolist() == ["'red, blue'", "'3,5 mm'"]


def test_a_comma_that_may_be_either_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"t\.csv: column 'a' holds '1,234' at row 0, where the comma may be a decimal one"
    ):
        read(tmp_path / "t.csv", "a;y\n1,234;1\n2,500;2\n")


@pytest.mark.parametrize("numbers", ['"1,234.5"', '"1.234,5"', '"1,234"', '"1\u00a0234"', "1 234", "1'234"])
def test_separators_of_thousands_are_refused_with_row_and_remedy(tmp_path, numbers):
    rows = "".join(f"{numbers},{k % 3},{k * k}\n" for k in range(10))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    with pytest.raises(
        DataError, match=r"t\.csv: column 'a' holds numbers with commas, separators .* at row \d.*thousands="
    ):
        TabularDataModule(tmp_path / "t.csv", target="y").find_columns()


def test_quoted_numbers_are_numbers(tmp_path):
    frame = read(tmp_path / "t.csv", '"a","b","y"\n"1.5","x","1"\n"2.5","1,0","2"\n')
    assert frame["a"].tolist() == [1.5, 2.5]
    assert frame["b"].tolist() == ["x", "1,0"]


def test_dates_and_missing_values_of_a_file_are_those_of_the_frame(tmp_path):
    """Also after `to_csv` with its index, which is named and not learned."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2020", periods=60).to_numpy()[generator.permutation(60)],
            "x": np.where(np.arange(60) % 7, generator.normal(size=60).round(6), np.nan),
            "is_open": np.arange(60) % 2 == 0,
            "y": generator.normal(size=60),
        }
    )
    frame.to_csv(tmp_path / "t.csv")
    of_file, of_frame = (TabularDataModule(source, target="y") for source in (tmp_path / "t.csv", frame))
    with pytest.warns(UserWarning, match="values are missing in 'x'"):
        expected = of_frame.part("train")
    with (
        pytest.warns(UserWarning, match="values are missing in 'x'"),
        pytest.warns(UserWarning, match="column 'Unnamed: 0' is left out"),
    ):
        found = of_file.part("train")
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-6)


def test_a_file_of_bytes_that_no_encoding_has_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable CSV"):
        read(tmp_path / "t.csv", bytes(range(128, 256)) * 4)
