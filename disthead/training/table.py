"""Reading tables: files, frames and arrays become one data frame, or an error that says what is wrong with them."""

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["DataError", "check_complete", "check_names", "is_text", "numbers", "read_table"]


class DataError(ValueError):
    """A table that cannot be used as it is: what is wrong with it, in which column and row."""


def read_table(source: Any) -> "DataFrame":
    """A data frame from a CSV or Parquet file, a data frame, a mapping of columns, or a pair of arrays (features, y).

    Raises:
        DataError: for a missing, empty or corrupt file, or column names that occur twice.
    """
    import pandas as pd

    if isinstance(source, (str, Path)):
        frame = _read_file(Path(source))
    elif isinstance(source, pd.DataFrame):
        frame = source.reset_index(drop=True)
    elif isinstance(source, Mapping):
        frame = pd.DataFrame(dict(source))
    elif isinstance(source, (tuple, list)) and len(source) == 2:
        frame = _from_arrays(*source)
    else:
        raise DataError(f"data must be a path, a data frame, a mapping or (features, y), got {type(source).__name__}.")
    frame.columns = [str(name) for name in frame.columns]
    check_names(list(frame.columns), "the table")
    if not len(frame):
        raise DataError(f"{_named(source)} has column names but no rows.")
    return frame


def _named(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the table"


def _from_arrays(features: Any, y: Any) -> "DataFrame":
    """Columns x0, x1 ... and y, or y0, y1 ... for several targets."""
    import pandas as pd

    x, y = (
        part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part) for part in (features, y)
    )
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise DataError(f"features must be (N, P) and y (N,) or (N, D), got the shapes {x.shape} and {y.shape}.")
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
    suffix = next((s for s in reversed(path.suffixes) if s not in (".gz", ".bz2", ".xz", ".zip")), "").lower()
    if suffix in (".parquet", ".pq"):
        try:
            return pd.read_parquet(path)
        except (ValueError, OSError) as error:
            raise DataError(f"{path} is not a readable Parquet file: {_first_line(error)}") from error
    if suffix not in (".csv", ".tsv", ".txt"):
        raise DataError(f"{path} must end in .csv, .tsv or .parquet, to say how it is to be read.")
    separator = "\t" if suffix == ".tsv" else ","
    try:
        check_names(_header(path, separator), str(path))
        with warnings.catch_warnings():
            # Rows longer than the header would lose their last values.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, sep=separator, index_col=False, low_memory=False)
    except DataError:
        raise
    except (ValueError, OSError, EOFError, pd.errors.ParserWarning, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file: {_first_line(error)}") from error


def _header(path: Path, separator: str) -> list[str]:
    """The column names as they are written: pandas would rename those that occur twice."""
    if path.suffix in (".gz", ".bz2", ".xz", ".zip"):
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file, delimiter=separator), [])


def check_names(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{where} has several columns named {', '.join(map(repr, twice))}; give each a name of its own."
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def is_text(column: "Series") -> bool:
    """Whether a column holds categories. A column of numbers with a few texts in it is not one, but a mistake."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(column.dtype) or is_numeric_dtype(column.dtype):
        return False
    if isinstance(column.dtype, type) or str(column.dtype) == "category":
        return True
    return bool(_as_numbers(column).notna().sum() <= 0.5 * len(column))


def numbers(column: "Series") -> np.ndarray:
    """The column in double precision.

    Raises:
        DataError: for text, with its row and value; for missing or infinite values; for dates.
    """
    from pandas.api.types import is_datetime64_any_dtype

    name = column.name
    if is_datetime64_any_dtype(column.dtype):
        raise DataError(f"column {name!r} holds dates; turn them into numbers, such as days since the first one.")
    values = _as_numbers(column)
    text = values.isna() & column.notna()
    if text.any():
        row = int(np.argmax(text.to_numpy()))
        raise DataError(
            f"column {name!r} must hold numbers, got text in {int(text.sum())} of {len(column)} rows: "
            f"{column.iloc[row]!r} at row {row}. List it in `categorical` if its values are categories."
        )
    array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    check_complete(str(name), ~np.isfinite(array))
    return array if array.flags.writeable else array.copy()


def check_complete(name: str, missing: np.ndarray) -> None:
    """Refuse a column with missing or infinite values, or with nothing else."""
    if missing.all():
        raise DataError(f"column {name!r} is empty: all {len(missing)} values are missing or infinite.")
    if missing.any():
        raise DataError(
            f"column {name!r} has {int(missing.sum())} missing (NaN) or infinite values in {len(missing)} rows, "
            f"the first at row {int(np.argmax(missing))}. Drop or impute these rows; nothing is dropped silently."
        )


def _as_numbers(column: "Series") -> "Series":
    import pandas as pd

    return pd.to_numeric(column, errors="coerce")
