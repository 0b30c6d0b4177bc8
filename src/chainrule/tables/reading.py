"""Reading tables from files: delimited text with its separator found out, and parquet; whole or in chunks."""

from __future__ import annotations

import csv
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.tables.layout import ROW_NUMBERS, Layout, RowLengths, layout_of, refuse_twice
from chainrule.tables.origin import note_origin
from chainrule.tables.text_lines import not_text
from chainrule.tables.values import MISSING_WORDS

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from chainrule.tables.schema import TableSchema

__all__ = ["TABLE_FILES", "iter_table", "read_table"]

#: What `read_table` reads, for help texts.
TABLE_FILES = ".csv, .tsv, .txt or .data (also with .gz), or .parquet"

_TEXT = (".csv", ".tsv", ".txt", ".data")
_PARQUET = (".parquet", ".pq")


def read_table(
    path: str | PathLike[str], *, schema: TableSchema | None = None, text: Collection[str] = ()
) -> DataFrame:
    """The table in a file, with its rows numbered from 0.

    - Text: the separator (comma, semicolon, tab, bar, or blanks) is found out. The first line is a header
      unless it holds a number; without one the columns are called x1, x2, ... A first column without a name,
      as pandas writes its row numbers, is left out with a warning. A comma may be the decimal point where it
      is not the separator. UTF-8, or UTF-16 with a byte-order mark.
    - Empty cells are missing values. NA, NaN, null and the like (`MISSING_WORDS`) are missing in columns of
      numbers and of true and false, and labels like any other in columns of text, where NA may be Namibia.
    - Parquet needs pyarrow: `pip install "chainrule[parquet]"`.
    - `schema`: its categorical columns of text are read as text, so that the code 007 is "007" also in a
      file, or part of one, that happens to hold nothing but digits there. Parquet brings its own types.
    - `text`: further columns to read so, such as names of rows; those that are not there do not matter.

    Raises `ChainruleError` for files that cannot be read, columns without a name or with that of another,
    and rows of unequal lengths anywhere in the file, naming the line.
    """
    import pandas as pd

    path = Path(path)
    if _is_parquet(path):
        frames = list(iter_table(path, 1 << 17))
        return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    with _one_line(path):
        layout = layout_of(path)
        frame = pd.read_csv(path, **_options(layout, schema, text, words=schema is None), low_memory=False)
        with RowLengths(path, layout) as lengths:
            _check_lengths(lengths, layout, frame, len(frame))
        if schema is None:
            _restore_labels(frame, path, layout)
        return _tidy(frame, path, layout)


def iter_table(
    path: str | PathLike[str],
    chunk_rows: int = 100_000,
    *,
    schema: TableSchema | None = None,
    text: Collection[str] = (),
) -> Iterator[DataFrame]:
    """The same table as `read_table`, in parts of at most `chunk_rows` rows, in constant memory.

    The rows' numbers go on from part to part. At least one part comes, if only an empty one. The types of
    columns are found part by part, and without a `schema` a part in which a column of numbers has an NA
    holds that column as text; what `TableSchema.encode` makes of a row is the same in all parts.
    """
    path = Path(path)
    chunk_rows = whole_number("chunk_rows", chunk_rows, minimum=1)
    if _is_parquet(path):
        return _parquet_chunks(path, chunk_rows)
    return _text_chunks(path, chunk_rows, schema, text)


def _text_chunks(
    path: Path, chunk_rows: int, schema: TableSchema | None, text: Collection[str]
) -> Iterator[DataFrame]:
    import pandas as pd

    with _one_line(path):
        layout = layout_of(path)
        # low_memory=False: the types of a chunk are found over all its rows.
        options = _options(layout, schema, text, words=False)
        reader = pd.read_csv(path, **options, low_memory=False, chunksize=chunk_rows)
    with reader, RowLengths(path, layout) as lengths:
        rows = 0
        while True:
            with _one_line(path):
                chunk = next(reader, None)
                if chunk is None:
                    return
                rows += len(chunk)
                _check_lengths(lengths, layout, chunk, rows)
                chunk = _tidy(chunk, path, layout, first=rows == len(chunk))
            yield chunk


def _parquet_chunks(path: Path, chunk_rows: int) -> Iterator[DataFrame]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ChainruleError(
            f'{path} is a parquet file, and reading those needs pyarrow: pip install "chainrule[parquet]"'
        ) from None
    with _one_line(path, ArrowException):
        file = parquet.ParquetFile(path)
        refuse_twice(path, list(file.schema_arrow.names))
    with file:
        batches = file.iter_batches(batch_size=chunk_rows)
        start = 0
        while True:
            with _one_line(path, ArrowException):
                batch = next(batches, None)
                if batch is None and start:
                    return
                frame = (file.schema_arrow.empty_table() if batch is None else batch).to_pandas()
            yield _numbered(frame, start)
            if batch is None:
                return
            start += len(frame)


def _numbered(frame: DataFrame, start: int) -> DataFrame:
    import pandas as pd

    return frame.set_axis(pd.RangeIndex(start, start + len(frame)), axis=0)


# ---------------------------------------------------------------- text by way of pandas


def _options(
    layout: Layout, schema: TableSchema | None, text: Collection[str] = (), *, words: bool
) -> dict[str, Any]:
    """The arguments of `pandas.read_csv`; `words`: whether `MISSING_WORDS` are missing where none knows."""
    labels = {str(c.name) for c in schema.columns if _holds_texts(c)} if schema else set()
    labels |= set(text)
    others = {str(c.name) for c in schema.columns} - labels if schema else set()
    missing = {
        name: ["", *MISSING_WORDS] if name in others or (words and name not in labels) else [""]
        for name in layout.names
    }
    return {
        "sep": layout.separator,
        "names": list(layout.names),
        "header": 0 if layout.header_records else None,
        "decimal": layout.decimal,
        "skipinitialspace": True,
        "encoding": layout.encoding,
        "dtype": {name: str for name in layout.names if name in labels},
        "na_values": missing,
        "keep_default_na": False,
    }


def _holds_texts(column: Any) -> bool:
    """Whether the cells of a schema's column are labels as they are spelled."""
    return bool(column.kind == "categorical" and column.labels == "text")


def _check_lengths(lengths: RowLengths, layout: Layout, frame: DataFrame, rows: int) -> None:
    if len(layout.names) > 1 and bool(frame[layout.names[-1]].isna().any()):
        lengths.check(rows)


def _restore_labels(frame: DataFrame, path: Path, layout: Layout) -> None:
    """Read columns that turned out to be text once more: there, NA and the like are labels."""
    import pandas as pd

    texts = [name for name in layout.names if _is_text_with_holes(frame[name])]
    if texts:
        options = _options(layout, None, words=False)
        again = pd.read_csv(path, **{**options, "dtype": str}, usecols=texts, low_memory=False)
        for name in texts:
            frame[name] = again[name]


def _is_text_with_holes(series: Series) -> bool:
    if series.dtype.kind in "biuf" or not bool(series.isna().any()):
        return False
    present = series.first_valid_index()
    return present is not None and isinstance(series.loc[present], str)


def _tidy(frame: DataFrame, path: Path, layout: Layout, *, first: bool = True) -> DataFrame:
    """The frame without a column of row numbers, and with the file it comes from."""
    if layout.has_row_numbers:
        frame = frame.drop(columns=ROW_NUMBERS)
        if first:
            warnings.warn(
                f"{path}: the first column has no name, so it is taken for row numbers and left out; write a "
                "name for it into the first line to keep it",
                stacklevel=3,
            )
    return note_origin(frame, path)


# ---------------------------------------------------------------- what can go wrong


def _is_parquet(path: Path) -> bool:
    """Whether it is parquet and not text; `ChainruleError` for what is neither, or is not there."""
    if not path.is_file():
        raise ChainruleError(f"{path} is not a file; expected a table: {TABLE_FILES}")
    suffix = Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if suffix in _PARQUET and path.suffix != ".gz":
        return True
    if suffix not in _TEXT:
        raise ChainruleError(f"{path} has the ending {path.suffix or '(none)'}; expected {TABLE_FILES}")
    return False


@contextmanager
def _one_line(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Failures of the readers as one line that names the file."""
    failures: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, zlib.error, csv.Error, *more)
    try:
        yield
    except ChainruleError:
        raise
    except UnicodeError:
        raise not_text(path) from None
    except failures as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())[:200]
        raise ChainruleError(f"{path} cannot be read: {reason or type(error).__name__}") from None
