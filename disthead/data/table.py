"""Reading tables: files, frames and arrays become one data frame, or an error that says what is wrong with them."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from disthead.data.parquet import damage_located, opened_parquet
from disthead.data.values import DataError, rows_of
from disthead.errors import first_line
from disthead.files import unchanged

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DataError", "as_declared", "check_names", "read_as_written", "read_table"]

_COMPRESSED: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_SEPARATORS = (",", ";", "\t", "|")
_TEXTS = (".csv", ".tsv", ".txt")
_IN_PARTS: dict[str, Callable[[], Any]] = {
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}
_SNIFFED = 1 << 16  # bytes
_SCANNED = 1 << 20  # bytes at once
_LETTERS = re.compile(rb"[\x80-\xff]+")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
_DECIMAL_COMMA_OR_WHOLE = re.compile(r"\s*[-+]?\d+(,\d+)?([eE][-+]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(,\d{3})+\s*")


def read_table(source: Any) -> "DataFrame":
    """A data frame from a CSV or Parquet file, a data frame, a mapping of columns, or a pair of arrays (features, y).

    Text files are read as UTF-8, or as UTF-16 where they begin with its mark, or else as
    Windows-1252 (Latin-1), with a warning. Values are separated by commas, or by what separates the
    names in the first line: semicolons, tabs or bars; where semicolons do, numbers may have decimal
    commas.

    Raises:
        DataError: for a missing, empty or corrupt file, or column names that occur twice.
    """
    import pandas as pd

    if isinstance(source, (str, Path)):
        frame = _read_file(Path(source))
    elif isinstance(source, pd.DataFrame):
        frame = source.reset_index(drop=True)
    elif hasattr(source, "to_pandas"):  # polars and Arrow
        frame = source.to_pandas()
    elif isinstance(source, Mapping):
        frame = pd.DataFrame(dict(source))
    elif isinstance(source, (tuple, list)) and len(source) == 2:
        frame = _from_arrays(*source)
    else:
        raise DataError(
            "data must be a path, a data frame, a mapping or (features, y), got "
            f"{type(source).__name__}."
        )
    frame.columns = [str(name) for name in frame.columns]
    check_names(list(frame.columns), "the table")
    if not len(frame):
        raise DataError(f"{_named(source)} has column names but no rows.")
    return frame


def read_as_written(source: Any, names: Sequence[str]) -> "DataFrame":
    """Some columns of a table; those of a text file as the text that is there, such as 007."""
    import pandas as pd

    if not isinstance(source, (str, Path)) or _suffix(Path(source)) not in _TEXTS:
        return read_table(source)[list(names)]
    frame = pd.read_csv(source, dtype=str, keep_default_na=False, **_layout(Path(source)))
    frame.columns = [str(name) for name in frame.columns]
    return frame[list(names)]


def _named(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the table"


def _from_arrays(features: Any, y: Any) -> "DataFrame":
    """Columns x0, x1 ... and y, or y0, y1 ... for several targets."""
    import pandas as pd

    x, y = (
        part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else rows_of(part)
        for part in (features, y)
    )
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise DataError(
            f"features must be (N, P) and y (N,) or (N, D), got the shapes {x.shape} and {y.shape}."
        )
    columns = {f"x{k}": x[:, k] for k in range(x.shape[1])}
    targets = {"y": y} if y.ndim == 1 else {f"y{k}": y[:, k] for k in range(y.shape[1])}
    return pd.DataFrame(columns | targets)


def _read_file(path: Path) -> "DataFrame":
    import pandas as pd

    if not path.exists():
        raise DataError(f"no such file: {path} (looked in {path.resolve().parent}).")
    if path.is_dir():
        raise DataError(f"{path} is a folder, a CSV or Parquet file is needed here.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty.")
    suffix = _suffix(path)
    if suffix in (".parquet", ".pq"):
        with unchanged(path), damage_located(path):
            frame = pd.read_parquet(path, engine="pyarrow", page_checksum_verification=True)
            with opened_parquet(path) as opened:
                return as_declared(frame, opened.schema_arrow.pandas_metadata)
    if suffix not in _TEXTS:
        raise DataError(f"{path} must end in .csv, .tsv or .parquet, to say how it is to be read.")
    with unchanged(path), _named_in_errors(path):
        return _read_text(path)


@contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """A block in which errors of reading a text file name it."""
    import pandas as pd

    try:
        yield
    except DataError:
        raise
    except (
        ArithmeticError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        ValueError,
        csv.Error,
        lzma.LZMAError,
        pd.errors.ParserWarning,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _unreadable(path, first_line(error)) from error


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{path} is not a readable CSV file: {why}")


def _open(path: Path, stack: ExitStack) -> IO[bytes]:
    """The file without its compression."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(
                f"the archive must hold one file, got {len(names)}: {', '.join(names[:5])}."
            )
        return stack.enter_context(archive.open(names[0]))
    return stack.enter_context(_COMPRESSED.get(path.suffix, Path.open)(path, "rb"))  # type: ignore[call-arg]


def _pieces(path: Path) -> Generator[bytes]:
    """All bytes of the file without its compression; the checksums of the compression are compared.

    Programs that compress in parallel write files of many parts. Python's modules bz2 and lzma
    ignore a damaged part after the first one, so the parts are read one by one here.
    """
    with ExitStack() as stack:
        if path.suffix not in _IN_PARTS:
            file = _open(path, stack)
            while piece := file.read(_SCANNED):
                yield piece
            return
        file = stack.enter_context(path.open("rb"))
        decompressor = _IN_PARTS[path.suffix]()
        while packed := file.read(_SNIFFED):
            while packed:
                if decompressor.eof:
                    decompressor = _IN_PARTS[path.suffix]()
                piece = decompressor.decompress(packed, _SCANNED)
                while piece:
                    yield piece
                    is_done = decompressor.eof or decompressor.needs_input
                    piece = b"" if is_done else decompressor.decompress(b"", _SCANNED)
                packed = decompressor.unused_data
        if not decompressor.eof:
            raise EOFError("it ends before the end of its compressed data")


def _encoding(path: Path) -> str:
    """UTF-8, UTF-16 where its mark is, or else Windows-1252, whose letters are those of Latin-1.

    Raises:
        DataError: for bytes that belong to none of these encodings, and for zero bytes, with the
            line.
    """
    pieces = _pieces(path)
    start = _next(path, pieces, 0)
    pieces.close()
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        _check_bytes(path, "utf-16")
        return "utf-16"
    try:
        _check_bytes(path, "utf-8")
    except UnicodeDecodeError:
        _check_bytes(path, "cp1252")
        return "cp1252"
    return "utf-8-sig"


def _check_bytes(path: Path, encoding: str) -> None:
    """Refuse bytes that do not belong to the encoding, and zero bytes, at which pandas ends a value.

    Raises:
        DataError: with the line.
        UnicodeDecodeError: for UTF-8 where no letter before that place is in UTF-8, so that it is
            another encoding.
    """
    decoder, lines, is_utf_8 = codecs.getincrementaldecoder(encoding)(), 0, False
    pieces = _pieces(path)
    while True:
        piece = _next(path, pieces, lines)
        try:
            text = decoder.decode(piece or b"", not piece)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            if encoding == "utf-8" and (is_utf_8 := is_utf_8 or not before.isascii()) is False:
                raise
            line = (
                lines
                + (
                    before.decode(encoding, "replace")
                    if encoding == "utf-16"
                    else before.decode("latin-1")
                ).count("\n")
                + 1
            )
            name = {"cp1252": "neither UTF-8 nor Windows-1252"}.get(
                encoding, f"not {encoding.upper()}, the encoding of the text before them"
            )
            raise _unreadable(
                path, f"line {line} holds bytes that are {name} ({error.reason})."
            ) from error
        if "\0" in text:
            line = lines + text[: text.index("\0")].count("\n") + 1
            raise _unreadable(path, f"line {line} holds a zero byte, which no text has.")
        if encoding == "cp1252":
            for letters in _LETTERS.finditer(piece):
                if _is_utf_8(letters.group()):
                    line = lines + piece[: letters.start()].count(b"\n") + 1
                    raise _unreadable(
                        path,
                        f"letters in line {line} are in UTF-8, and others are not. Write all of "
                        "it in UTF-8.",
                    )
        if not piece:
            return
        is_utf_8 |= not text.isascii()
        lines += text.count("\n")


def _next(path: Path, pieces: Iterator[bytes], lines: int) -> bytes:
    """The next piece, or no bytes at the end; an error says after which line the damage is."""
    try:
        return next(pieces, b"")
    except DataError:
        raise
    except (
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        lzma.LZMAError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        place = f"after line {lines}, " * bool(lines)
        raise _unreadable(path, f"{place}{first_line(error)}.") from error


def _is_utf_8(letters: bytes) -> bool:
    try:
        letters.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _suffix(path: Path) -> str:
    """The ending that says how a file is to be read, without that of its compression."""
    return next(
        (suffix for suffix in reversed(path.suffixes) if suffix not in (*_COMPRESSED, ".zip")), ""
    ).lower()


def _layout(path: Path) -> dict[str, Any]:
    """How a text file is to be read by pandas."""
    encoding = _encoding(path)
    with ExitStack() as stack:
        text = io.TextIOWrapper(_open(path, stack), encoding=encoding, newline="")
        lines = text.read(_SNIFFED).splitlines(keepends=True)
    separator = _separator(lines, "\t" if _suffix(path) == ".tsv" else ",")
    check_names(next(csv.reader(lines, delimiter=separator), []), str(path))
    return {"sep": separator, "encoding": encoding, "index_col": False, "low_memory": False}


def _read_text(path: Path) -> "DataFrame":
    import pandas as pd

    layout = _layout(path)
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would lose their last values.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, **layout)
            if layout["sep"] != "," and _has_decimal_commas(frame, path):
                frame = pd.read_csv(path, decimal=",", **layout)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        line = _check_rows(path, layout)
        if "EOF inside string" in str(error):
            raise _unreadable(path, f"the quoted value in line {line} has no end.") from error
        raise
    if (
        len(frame.columns) and frame.iloc[:, -1].isna().any()
    ):  # pandas fills rows that are too short with missing values
        _check_rows(path, layout)
    if layout["encoding"] == "cp1252":
        warnings.warn(
            f"{path} is not written in UTF-8; it is read as Windows-1252 (Latin-1). Check the "
            "letters beyond ASCII, or write it "
            "in UTF-8.",
            UserWarning,
            stacklevel=2,
        )
    return frame


def _check_rows(path: Path, layout: Mapping[str, Any]) -> int:
    """Refuse rows that have more or fewer values than the header has names, with the line; returns that in which the last row starts."""
    with ExitStack() as stack:
        text = io.TextIOWrapper(_open(path, stack), encoding=layout["encoding"], newline="")
        rows = csv.reader(text, delimiter=layout["sep"])
        header: list[str] = []
        start = end = 0
        for row in rows:
            start, end = end + 1, rows.line_num
            header = header or row
            if row and len(row) != len(header):
                quoted = f" (a quoted one makes it {end - start + 1} lines long)" * (end > start)
                raise _unreadable(
                    path,
                    f"line {start} has {len(row)} value{'s' * (len(row) != 1)}{quoted}, where the "
                    f"header has {len(header)} names.",
                )
    return start


def _separator(lines: list[str], usual: str) -> str:
    """What separates the names in the first line: the usual one, unless it finds a single name and another finds several."""
    count = {
        separator: len(next(csv.reader(lines[:1], delimiter=separator), []))
        for separator in _SEPARATORS
    }
    return (
        usual
        if count[usual] > 1
        else max(count, key=lambda separator: (count[separator], separator == usual))
    )


def _has_decimal_commas(frame: "DataFrame", path: Path) -> bool:
    """Whether there are columns of texts such as 1,5, and nothing else.

    Raises:
        DataError: where each of these texts could be thousands as well, such as 1,234.
    """
    found = []
    for name in frame.columns:
        values = frame[name]
        if values.dtype.kind in "biuf" or not values.notna().any():
            continue
        texts = values.dropna().astype(str)
        if (
            texts.str.fullmatch(_DECIMAL_COMMA).any()
            and texts.str.fullmatch(_DECIMAL_COMMA_OR_WHOLE).all()
        ):
            found.append((name, texts[texts.str.fullmatch(_DECIMAL_COMMA)]))
    if found and all(texts.str.fullmatch(_THOUSANDS).all() for _, texts in found):
        name, texts = found[0]
        raise DataError(
            f"{path}: column {name!r} holds {texts.iloc[0]!r} at row {texts.index[0]}, where the "
            "comma may be a decimal one or "
            "separate thousands. Write the numbers with a decimal point and without separators of "
            "thousands."
        )
    return bool(found)


def as_declared(frame: "DataFrame", pandas_metadata: Mapping[str, Any] | None) -> "DataFrame":
    """With the categories of the data frame that a Parquet file was written from: it has no such type but for texts."""
    declared = [
        column["name"]
        for column in (pandas_metadata or {}).get("columns", ())
        if column["pandas_type"] == "categorical"
    ]
    lost = [
        name for name in declared if name in frame.columns and str(frame[name].dtype) != "category"
    ]
    return frame.astype(dict.fromkeys(lost, "category")) if lost else frame


def check_names(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{where} has several columns named {', '.join(map(repr, twice))}; give each a name "
            "of its own."
        )
