"""Text files as programs and people write them: separators, decimal commas, encodings, quotes, an
index.
"""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from disthead.data.table import read_table
from disthead.training import DataError, TabularDataModule

FRAME = pd.DataFrame(
    {
        "größe": [1.5, 2.25, -3.0, 40.125],
        "city": ["Köln", "Rome", "Köln", "Lima"],
        "y": [1, 2, 3, 4],
    }
)


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
    with pytest.warns(
        UserWarning, match=r"t\.csv is not written in UTF-8; it is read as Windows-1252"
    ):
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
        DataError,
        match=r"t\.csv: column 'a' holds '1,234' at row 0, where the comma may be a decimal one",
    ):
        read(tmp_path / "t.csv", "a;y\n1,234;1\n2,500;2\n")


@pytest.mark.parametrize(
    "numbers", ['"1,234.5"', '"1.234,5"', '"1,234"', '"1\u00a0234"', "1 234", "1'234"]
)
def test_separators_of_thousands_are_refused_with_row_and_remedy(tmp_path, numbers):
    rows = "".join(f"{numbers},{k % 3},{k * k}\n" for k in range(10))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    with pytest.raises(
        DataError,
        match=r"t\.csv: column 'a' holds numbers with commas, separators .* at row \d.*thousands=",
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
    of_file, of_frame = (
        TabularDataModule(source, target="y") for source in (tmp_path / "t.csv", frame)
    )
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


# Damage. A text file has no checksums: a digit that changed is another number, which nothing can
# notice.


LONG = "a,b,y\n" + "".join(f"{k}.5,x{k},{k * k}\n" for k in range(200))
DAMAGED = {
    "a short row": ("a,b,y\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 values, where the header has 3 "
                                                  "names"),
    "cut off in the last row": (LONG[:-12], "line 201 has 1 value, where the header has 3 names"),
    "a long row": ("a,b\n1,2\n3,4,5\n", "line 3 has 3 values, where the header has 2 names"),
    "only long rows": ("a,b\n1,2,3\n3,4,5\n", "line 2 has 3 values, where the header has 2 names"),
    "a short row after a quoted line break": ('a,b\n"1\n2",3\n4\n', "line 4 has 1 value, where "
                                                                    "the header has 2 names"),
    "quotes without an end": ('a,b\n1,2\n3,"4\n5,6\n', "the quoted value in line 3 has no end"),
    "cut off in quotes": ('a,b\n1,2\n3,"4', "the quoted value in line 3 has no end"),
    "a zero byte": (b"a,b\n1,2\n3\x007,4\n", "line 3 holds a zero byte"),
    "a zeroed block": (
        LONG[:900].encode() + bytes(512) + LONG[1412:].encode(),
        r"line \d+ holds a zero byte",
    ),
    "a broken letter": (
        "a,b\n1,Köln\n2,Køln\n".encode().replace(b"\xc3\xb8", b"\xc3("),
        "line 3 holds bytes that are not UTF-8",
    ),
    "a broken letter before the others": (
        "a,b\n1,Köln\n2,Køln\n".encode().replace(b"\xc3\xb6", b"\xc3("),
        "letters in line 3 are in UTF-8, and others are not",
    ),
    "cut off in a letter": ("a,b\n1,Köln\n2,Kö".encode()[:-1], "line 3 holds bytes that are not "
                                                               "UTF-8"),
    "UTF-16 cut off": (LONG.encode("utf-16")[:-3], "line 201 holds bytes that are not UTF-16"),
    "UTF-16 with a zero": (
        LONG.replace("x9,", "x\0,").encode("utf-16"),
        "line 11 holds a zero byte",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_file_and_line(tmp_path, name):
    text, message = DAMAGED[name]
    with pytest.raises(DataError, match=rf"t\.csv is not a readable CSV file: {message}"):
        read(tmp_path / "t.csv", text)


def test_missing_values_at_the_end_of_a_row_are_no_damage(tmp_path):
    frame = read(tmp_path / "t.csv", 'a,b,y\n1,2,\n\n3,"x\ny",4\n,,\n')
    assert frame["y"].isna().tolist() == [True, False, True]


def packed(ending: str, *texts: bytes) -> bytes:
    return b"".join(
        {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending](text)
        for text in texts
    )


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_compressed_file_may_have_several_parts(tmp_path, ending):
    half = LONG.index("\n", 800) + 1
    path, parts = (
        tmp_path / f"t.csv.{ending}",
        [packed(ending, text.encode()) for text in (LONG[:half], LONG[half:])],
    )
    path.write_bytes(b"".join(parts))
    assert len(read_table(path)) == 200
    # the second part of which Python's modules leave out, but for gz
    path.write_bytes(bytes(8).join(parts))
    if ending == "gz":
        assert len(read_table(path)) == 200
    else:
        with pytest.raises(
            DataError, match=rf"t\.csv\.{ending} is not a readable CSV file: after line"
        ):
            read_table(path)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("damage", ["cut off", "its first byte", "its middle", "its last bytes"])
def test_each_part_of_a_compressed_file_is_checked(tmp_path, ending, part, damage):
    """Python's own modules leave out a second part of bz2 and xz files whose first bytes are
    damaged.
    """
    parts = [
        bytearray(packed(ending, text)) for text in (LONG[:1000].encode(), LONG[1000:].encode())
    ]
    if damage == "cut off":
        del parts[part][-6 - len(parts[part]) // 2 :]
        del parts[part + 1 :]
    else:
        place = {
            "its first byte": 0,
            "its middle": len(parts[part]) // 2,
            "its last bytes": len(parts[part]) - 5,
        }[damage]
        parts[part][place] ^= 0xFF
    path = tmp_path / f"t.csv.{ending}"
    path.write_bytes(b"".join(parts))
    with pytest.raises(DataError, match=rf"t\.csv\.{ending} is not a readable CSV file: "):
        read_table(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("b.csv", "x\n2\n")
    with pytest.raises(
        DataError, match=r"t\.csv\.zip .* must hold one file, got 2: a\.csv, b\.csv"
    ):
        read_table(tmp_path / "t.csv.zip")


def test_a_damaged_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("t.csv", LONG)
    contents = bytearray((tmp_path / "t.csv.zip").read_bytes())
    contents[500] ^= 1
    (tmp_path / "t.csv.zip").write_bytes(contents)
    with pytest.raises(DataError, match=r"Bad CRC-32 for file 't\.csv'"):
        read_table(tmp_path / "t.csv.zip")
