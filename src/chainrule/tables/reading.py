"""Reading tables from files: delimited text with its separator found out, and parquet; whole or in chunks."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from pandas import DataFrame

    from chainrule.tables.schema import TableSchema

__all__ = ["TABLE_FILES", "iter_table", "read_table"]

#: What `read_table` reads, for help texts.
TABLE_FILES = ".csv, .tsv, .txt or .data (also with .gz), or .parquet"

_TEXT = (".csv", ".tsv", ".txt", ".data")
_PARQUET = (".parquet", ".pq")
_SAMPLE_BYTES = 1 << 16
_SAMPLE_LINES = 50
_SPACES = r"\s+"


def read_table(path: str | PathLike[str], *, schema: TableSchema | None = None) -> DataFrame:
    """The table in a file, with its rows numbered from 0.

    - Text: the separator (comma, semicolon, tab, bar, or blanks) is found out. The first line is a header
      unless it holds a number or an empty cell; without one the columns are called x1, x2, ... A first
      column without a name, as pandas writes, is row numbers and left out. A comma may be the decimal
      point where it is not the separator. Empty cells, NA and NaN are missing values.
    - Parquet needs pyarrow: `pip install "chainrule[parquet]"`.
    - `schema`: its categorical columns of text are read as text, so that the code 007 is "007" also in a
      file, or part of one, that happens to hold nothing but digits there. Parquet brings its own types.

    Raises `ChainruleError` for files that cannot be read, two columns of one name, and rows of unequal
    lengths, naming the line.
    """
    import pandas as pd

    path = Path(path)
    if _is_parquet(path):
        frames = list(iter_table(path, 1 << 17))
        return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    with _one_line(path):
        return _tidy(pd.read_csv(path, **_layout(path).options(schema), low_memory=False))


def iter_table(
    path: str | PathLike[str], chunk_rows: int = 100_000, *, schema: TableSchema | None = None
) -> Iterator[DataFrame]:
    """The same table as `read_table`, in parts of at most `chunk_rows` rows, in constant memory.

    The rows' numbers go on from part to part. At least one part comes, if only an empty one. The types of
    columns are found part by part; with a `schema`, as of `read_table`, a row is read alike in all parts.
    """
    path = Path(path)
    chunk_rows = whole_number("chunk_rows", chunk_rows, minimum=1)
    return _parquet_chunks(path, chunk_rows) if _is_parquet(path) else _text_chunks(path, chunk_rows, schema)


def _text_chunks(path: Path, chunk_rows: int, schema: TableSchema | None) -> Iterator[DataFrame]:
    import pandas as pd

    with _one_line(path):
        # low_memory=False: the types of a chunk are found over all its rows.
        options = _layout(path).options(schema)
        reader = pd.read_csv(path, **options, low_memory=False, chunksize=chunk_rows)
    with reader:
        while True:
            with _one_line(path):
                chunk = next(reader, None)
            if chunk is None:
                return
            yield _tidy(chunk)


def _parquet_chunks(path: Path, chunk_rows: int) -> Iterator[DataFrame]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ChainruleError(
            f'{path} is a parquet file, and reading those needs pyarrow: pip install "chainrule[parquet]"'
        ) from None
    with _one_line(path, ArrowException):
        file = parquet.ParquetFile(path)
        _refuse_twice(path, list(file.schema_arrow.names))
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


def _tidy(frame: DataFrame) -> DataFrame:
    """The frame without a column of row numbers."""
    return frame.drop(columns=[name for name in frame.columns if name == _ROW_NUMBERS])


# ---------------------------------------------------------------- the layout of a text file

_ROW_NUMBERS = "\0row"


@dataclass(frozen=True)
class _Layout:
    """How a text file is laid out: the arguments of `pandas.read_csv`."""

    separator: str
    names: list[str]
    has_header: bool
    decimal: str

    def options(self, schema: TableSchema | None) -> dict[str, Any]:
        text = () if schema is None else _text_names(schema)
        return {
            "sep": self.separator,
            "names": self.names,
            "header": 0 if self.has_header else None,
            "decimal": self.decimal,
            "skipinitialspace": True,
            "encoding": "utf-8-sig",
            "dtype": {name: str for name in self.names if name in text},
        }


def _text_names(schema: TableSchema) -> set[str]:
    """The columns whose cells are labels as they are spelled."""
    return {str(c.name) for c in schema.columns if c.kind == "categorical" and c.labels == "text"}


def _layout(path: Path) -> _Layout:
    lines = _first_lines(path)
    if not lines:
        raise ChainruleError(f"{path} is empty; expected a table with a header and rows")
    separator, rows = _separated(lines)
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise ChainruleError(
                f"{path}: line {number} has {len(row)} cells; expected {width} as in most lines"
            )
    has_header = _is_header(rows[0])
    if has_header and len(rows) == 1:
        raise ChainruleError(f"{path} has a header but no rows")
    names = [name.strip() for name in rows[0]] if has_header else [f"x{i + 1}" for i in range(width)]
    if has_header and names[0] == "":
        names[0] = _ROW_NUMBERS
    _refuse_twice(path, names)
    cells = [cell.strip() for row in rows[has_header:] for cell in row]
    comma = separator != "," and any(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in cells)
    comma = comma and not any(re.fullmatch(r"[-+]?\d+\.\d+", cell) for cell in cells)
    return _Layout(separator, names, has_header, "," if comma else ".")


def _first_lines(path: Path) -> list[str]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
    if b"\0" in sample:
        raise ChainruleError(f"{path} is no text; expected {TABLE_FILES}")
    whole = len(sample) < _SAMPLE_BYTES
    text = (sample if whole else sample[: sample.rfind(b"\n") + 1]).decode("utf-8-sig")
    return [line for line in text.splitlines() if line.strip()][:_SAMPLE_LINES]


def _separated(lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """The separator that cuts the lines into equally many cells, the more the better; and the cells."""
    best: tuple[float, int] = (0.5, 1)
    chosen = (",", list(csv.reader(lines)))
    for separator in (",", ";", "\t", "|", _SPACES):
        if separator == _SPACES:
            rows = [line.split() for line in lines]
        else:
            rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        width, count = Counter(len(row) for row in rows).most_common(1)[0]
        score = (count / len(rows), width)
        if width > 1 and score > best and (separator != _SPACES or (count == len(rows) and best[1] == 1)):
            best, chosen = score, (separator, rows)
    return chosen


def _is_header(cells: Sequence[str]) -> bool:
    """Whether these are names: no number and no empty cell among them.

    What pandas writes counts too: an empty first cell over its row numbers, and 0, 1, 2 ... as names.
    """
    named = list(cells[1:] if cells[0] == "" and len(cells) > 1 else cells)
    numbered = len(named) > 1 and named == [str(i) for i in range(len(named))]
    return numbered or not any(cell.strip() == "" or _is_number(cell) for cell in named)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return bool(re.fullmatch(r"[-+]?\d+,\d+", cell.strip()))
    return True


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ChainruleError(f"{path} has two columns named {twice[0]!r}; rename one of them")


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
    except UnicodeDecodeError as error:
        raise ChainruleError(f"{path} is not UTF-8 text: byte {error.start}; save it as UTF-8") from None
    except failures as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())[:200]
        raise ChainruleError(f"{path} cannot be read: {reason or type(error).__name__}") from None
