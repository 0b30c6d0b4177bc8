"""A look at the user's actual data: what kind it is, how much of it there is, what its values are."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.advising.situation import Situation
from chainrule.data import CATALOGUE, Dataset, DatasetEntry, load_any
from chainrule.data.formats import npz_members
from chainrule.errors import ChainruleError, unknown_name
from chainrule.tables import read_table

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Look", "look_at"]

_TABLES = (".csv", ".tsv", ".data", ".parquet", ".pq", ".csv.gz", ".tsv.gz")
_ARRAYS = (".npy", ".npz", ".png", ".jpg", ".jpeg", ".amat", "ubyte", "ubyte.gz")
_SOUNDS = (".wav", ".wave")
#: What columns of times are called.
_TIMES = ("date", "time", "datetime", "timestamp", "ds", "day", "month")
#: Rows of a table in which is looked for a column of times.
_LOOKED_AT = 2000


@dataclass(frozen=True)
class Look:
    """What was found, in the words of `Situation`; `found` says it for people.

    - `columns`: of a table.
    """

    kind: str
    rows: int | None
    length: int | None
    levels: int | None
    channels: int
    holes: bool
    time: str | None
    found: str

    def settings(self) -> dict[str, Any]:
        """The arguments of `Situation` that it decides."""
        return {name: value for name, value in vars(self).items() if name != "found"}


def look_at(source: str, *, kind: str | None = None) -> Look:
    """Look at a data set of the catalogue, a file or a folder.

    - `kind`: what the person says it is, where a look could tell it for something else (a table with a column
      of dates for a series).

    Raises `ChainruleError` for what is not there, cannot be read, or is no data of that kind.
    """
    look = _look_at(source, kind)
    # An image may be taken as a row of levels; nothing else is two things at once.
    if kind not in (None, look.kind) and (look.kind, kind) != ("image", "vector"):
        raise ChainruleError(f"{source} is not of kind {kind}, but {look.found}; leave the kind out.")
    return look


def _look_at(source: str, kind: str | None) -> Look:
    if source in CATALOGUE:
        return _of_entry(CATALOGUE[source])
    path = Path(source)
    if not path.exists():
        if "/" not in source and "." not in source:
            raise ChainruleError(f"{unknown_name('data set', source, CATALOGUE)} (and there is no such file)")
        raise ChainruleError(f"there is no file {source}.")
    name = source.lower()
    if name.endswith(_SOUNDS) or (path.is_dir() and any(path.rglob("*.[wW][aA][vV]"))):
        return _of_sound(path)
    if kind == "text" and path.is_file():
        return _of_text(path)
    if name.endswith(".npz") and "X" in npz_members(path):
        values = npz_members(path)["X"].values
        return _table(int(values.shape[0]), int(values.shape[1]), holes=False)
    if path.is_dir() or name.endswith(_ARRAYS):
        return _of_dataset(load_any(source))
    if name.endswith(_TABLES) or kind in ("table", "series"):
        return _of_frame(_read(source), kind)
    return _of_text(path)


def _of_entry(entry: DatasetEntry) -> Look:
    size = entry.splits.get("train") or sum(entry.splits.values())
    if entry.kind == "image":
        return _images(size, entry.event_shape, entry.levels)
    if entry.kind == "text":
        return Look(
            "text",
            size,
            None,
            None,
            1,
            False,
            None,
            f"a text: {entry.description.partition('. ')[0].rstrip('.')}",
        )
    if entry.kind == "audio":
        return Look("audio", size, None, None, 1, False, None, f"{size:,} recordings to train on")
    if entry.levels:
        return _vectors(size, entry.event_shape[0], entry.levels)
    return _table(size, entry.event_shape[0], holes=False)


def _of_dataset(data: Dataset) -> Look:
    rows = len(data.split("train"))
    if len(data.event_shape) == 3:
        return _images(rows, data.event_shape, data.levels)
    return _vectors(rows, data.event_shape[0], data.levels)


def _images(rows: int, shape: tuple[int, ...], levels: int | None) -> Look:
    channels, height, width = shape
    colour = "colour" if channels == 3 else "black and white" if levels == 2 else "grey"
    found = f"{rows:,} {colour} images of {height} x {width} to train on, {levels} levels"
    return Look("image", rows, channels * height * width, levels, channels, False, None, found)


def _vectors(rows: int, length: int, levels: int | None) -> Look:
    values = "real values" if levels is None else "0 and 1" if levels == 2 else f"{levels} levels"
    found = f"{rows:,} rows to train on of {length:,} variables, {values}"
    return Look("vector", rows, length, levels, 1, False, None, found)


def _table(rows: int, length: int, *, holes: bool) -> Look:
    missing = ", some cells empty" if holes else ""
    return Look(
        "table", rows, length, None, 1, holes, None, f"a table of {rows:,} rows, {length:,} columns{missing}"
    )


def _read(source: str) -> DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever is odd about it is said when it is trained on
        return read_table(source)


def _of_frame(frame: DataFrame, kind: str | None) -> Look:
    rows, length = frame.shape
    if not rows:
        raise ChainruleError("the table has no rows.")
    holes = bool(frame.isna().to_numpy().any())
    if kind is None and not holes and _only_binary(frame):
        return _vectors(rows, length, 2)
    time = _time_of(frame)
    if kind == "series" or (kind is None and time is not None):
        named = f", times in {time!r}" if time else ", every row a step"
        others = length - (time is not None)
        found = f"a time series of {rows:,} steps, {others} columns{named}"
        return Look("series", rows, rows, None, 1, holes, time, found)
    return _table(rows, length, holes=holes)


def _only_binary(frame: DataFrame) -> bool:
    from pandas.api.types import is_numeric_dtype

    return all(is_numeric_dtype(frame[name]) and frame[name].isin((0, 1)).all() for name in frame.columns)


def _time_of(frame: DataFrame) -> str | None:
    """A column of dates that only rises, or one that is called like times and rises."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    for name in frame.columns:
        column = frame[name].head(_LOOKED_AT)
        if is_bool_dtype(column) or column.isna().any():
            continue
        if is_numeric_dtype(column):
            if str(name).lower() in _TIMES and column.is_monotonic_increasing and column.is_unique:
                return str(name)
            continue
        if not is_datetime64_any_dtype(column):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                column = pd.to_datetime(column, errors="coerce")
        if column.notna().all() and column.is_monotonic_increasing and column.is_unique:
            return str(name)
    return None


def _of_sound(path: Path) -> Look:
    from chainrule.audio import DEFAULT_RATE, read_wav

    files = [path] if path.is_file() else sorted(path.rglob("*.[wW][aA][vV]"))
    first = read_wav(files[0])
    count = "a recording" if len(files) == 1 else f"{len(files):,} recordings"
    found = f"{count}, {'' if len(files) == 1 else 'the first of '}{first.seconds:.1f} s at {first.rate:,} Hz"
    # The last twentieths of a single recording select and test; a row of training must fit in.
    shortest = round(first.seconds * DEFAULT_RATE) // (20 if len(files) == 1 else 1)
    return Look("audio", len(files), max(2, shortest), None, 1, False, None, found)


def _of_text(path: Path) -> Look:
    from chainrule.text import read_text

    characters = len(read_text(path))
    return Look("text", characters, None, None, 1, False, None, f"a text of {characters:,} characters")


def situation_of(look: Look, source: str, **others: Any) -> Situation:
    """The situation that a look describes, with what it cannot know."""
    return Situation(**{**look.settings(), **others}, source=source)
