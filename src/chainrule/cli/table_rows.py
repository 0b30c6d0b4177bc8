"""Where the rows of a table come from: files in parts, .npz of X and y, tables of the catalogue."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from chainrule.cli.example_files import saying_warnings
from chainrule.cli.names import DATASETS, SPLITS
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from chainrule.data import TableDataset
    from chainrule.tables import TableSchema

__all__ = [
    "CHUNK_ROWS",
    "Purpose",
    "RowSource",
    "Rows",
    "column_names",
    "is_catalogue_table",
    "row_source",
    "spread_places",
    "without",
]

#: Rows that are read, scored and forgotten together.
CHUNK_ROWS = 20_000

#: What the rows are for; it decides how a catalogue table without a published split is parted.
Purpose = Literal["detect", "train"]

_BLOCK = 1 << 20
#: Of the words for a missing value the one that labels use for "nothing is wrong".
_NO_ATTACK = "None"


@dataclass(frozen=True)
class Rows:
    """Some rows: their columns, and what they are labelled, `(rows,)`, "" where a row has no label."""

    frame: DataFrame
    labels: NDArray[np.str_] | None = None


class RowSource(Protocol):
    """A table that is read whole or in parts; rows are numbered from 0 throughout."""

    name: str

    @property
    def total(self) -> int | None:
        """Rows, or None where only reading all of them would tell."""

    def read(self) -> Rows:
        """All rows."""

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[Rows]:
        """The same in parts of at most so many rows."""


def row_source(
    spec: str,
    purpose: Purpose,
    *,
    split: str | None = None,
    label: str | None = None,
    identifier: str | None = None,
    schema: TableSchema | None = None,
) -> RowSource:
    """The table that `spec` names: a catalogue table, an .npz of X and y, or a text or parquet file.

    - `split`: of a catalogue table; "train" is all that is not "test".
    - `label`: a column of labels, which is then no column of the table.
    - `identifier`: a column that names the rows. In text files both are read as they are spelled, so that
      007 is no 7 in a part that holds nothing but digits there.
    - `schema`: of the run that the rows are for, so that files are read as it was fitted.

    Raises `ChainruleError` for what is no table, and options that do not go with it.
    """
    if is_catalogue_table(spec):
        if label is not None:
            raise ChainruleError(f"table {spec!r} brings its labels; leave --label out.")
        return _of_catalogue(spec, purpose, split or "train")
    if split is not None:
        raise ChainruleError(
            f"--split {split} is for tables of the catalogue, but {spec} is none; leave it out."
        )
    if spec in DATASETS:
        raise ChainruleError(
            f"data set {spec!r} is no table of columns: chainrule train, evaluate and score are for it "
            f"(write ./{spec} for a file)."
        )
    if not (Path(spec).exists() or "." in spec or "/" in spec):
        raise ChainruleError(f"{unknown_name('table', spec, DATASETS)} (and there is no such file)")
    if spec.lower().endswith(".npz"):
        return _of_arrays(spec, label)
    known = () if schema is None else map(str, schema.names)
    # What a model sees is read by its schema.
    spelled = {name for name in (label, identifier) if name is not None} - set(known)
    return _File(spec, label, schema, spelled)


def is_catalogue_table(spec: str) -> bool:
    """Whether a name is that of a table with columns of different kinds."""
    if spec not in DATASETS:
        return False
    from chainrule.data import CATALOGUE, TableEntry

    return isinstance(CATALOGUE[spec], TableEntry)


def column_names(spec: str) -> list[str]:
    """The names of a file's columns, without those of an .npz; reads its beginning alone."""
    if spec in DATASETS or spec.lower().endswith(".npz") or not Path(spec).is_file():
        return []
    from chainrule.tables import iter_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said when the rows are read
        return [str(name) for name in next(iter_table(spec, 1)).columns]


def spread_places(rows: int, most: int) -> NDArray[np.intp]:
    """At most so many places of so many rows, evenly spread, in order."""
    import numpy as np

    return np.linspace(0, rows - 1, min(most, rows)).astype(np.intp)


def without(frame: DataFrame, drop: tuple[str, ...]) -> DataFrame:
    """The frame without these columns; `ChainruleError` for one that it does not have."""
    names = [str(name) for name in frame.columns]
    for name in drop:
        if name not in names:
            raise ChainruleError(f"--drop {name}: {unknown_name('column', name, names)}")
    return frame[[column for column in frame.columns if str(column) not in drop]] if drop else frame


# ---------------------------------------------------------------- files


class _File:
    """Text or parquet, read by `chainrule.tables`."""

    def __init__(
        self, path: str, label: str | None, schema: TableSchema | None, spelled: Collection[str]
    ) -> None:
        self.name = path
        self._label, self._schema, self._spelled = label, schema, spelled

    @property
    def total(self) -> int | None:
        return _rows_in_file(Path(self.name))

    def read(self) -> Rows:
        from chainrule.tables import read_table

        with saying_warnings():
            frame = read_table(self.name, schema=self._schema, text=self._spelled)
        return _labelled(frame, self._label)

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[Rows]:
        from chainrule.tables import iter_table

        frames = iter_table(self.name, rows, schema=self._schema, text=self._spelled)
        while True:
            with saying_warnings():
                frame = next(frames, None)
            if frame is None:
                return
            yield _labelled(frame, self._label)


def _labelled(frame: DataFrame, label: str | None) -> Rows:
    """The label column taken out of the frame."""
    if label is None:
        return Rows(frame)
    import numpy as np

    from chainrule.tables.values import as_labels, spell_missing

    names = {str(name): name for name in frame.columns}
    if label not in names:
        raise ChainruleError(f"--label {label}: {unknown_name('column', label, names)}")
    codes, texts, _ = as_labels(frame[names[label]], label)
    spelled = np.array([*map(_label, texts), ""], dtype=np.str_)
    spelled[spell_missing(spelled) & (spelled != _NO_ATTACK)] = ""
    return Rows(frame.drop(columns=names[label]), spelled[codes])


def _label(text: str) -> str:
    """A label as it is compared: 1.0 is 1, as a column of 0 and 1 is written once it has a hole.

    >>> _label("1.0"), _label("007"), _label(" normal")
    ('1', '007', 'normal')
    """
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text.strip())


def _rows_in_file(path: Path) -> int | None:
    """How many rows to expect, for a bar: lines of a text file, which may be a few more."""
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            from pyarrow import parquet

            return int(parquet.ParquetFile(path).metadata.num_rows)
        except (ImportError, OSError, ValueError):  # reading it will say what is wrong
            return None
    if path.suffix.lower() == ".gz" or not path.is_file():
        return None
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK), b""))


# ---------------------------------------------------------------- tables in memory


class _Frame:
    """A table that is in memory already."""

    def __init__(self, name: str, rows: Rows) -> None:
        self.name, self._rows = name, rows

    @property
    def total(self) -> int | None:
        return len(self._rows.frame)

    def read(self) -> Rows:
        return self._rows

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[Rows]:
        frame, labels = self._rows.frame, self._rows.labels
        for start in range(0, max(len(frame), 1), rows):
            part = slice(start, start + rows)
            yield Rows(frame.iloc[part], None if labels is None else labels[part])


def _of_arrays(path: str, label: str | None) -> _Frame:
    """ADBench's form: X `(rows, D)`, and perhaps y `(rows,)`, its labels."""
    import pandas as pd

    from chainrule.data.formats import npz_members

    members = {name: raw.values for name, raw in npz_members(Path(path)).items()}
    values = members.get("X")
    if values is None or values.ndim != 2 or values.dtype.kind not in "biuf":
        held = ", ".join(f"{name} {array.shape}" for name, array in members.items()) or "nothing"
        raise ChainruleError(f"{path} holds {held}; expected an array X (rows, columns) of numbers, and y.")
    if label not in (None, "y"):
        raise ChainruleError(f"--label {label}: the labels of an .npz are its array y; leave --label out.")
    frame = pd.DataFrame(values, columns=[f"x{i + 1}" for i in range(values.shape[1])])
    labels = members.get("y")
    if labels is None:
        if label is not None:
            raise ChainruleError(f"{path} has no array y; leave --label out, or add it.")
        return _Frame(path, Rows(frame))
    if labels.shape != (len(values),):
        raise ChainruleError(
            f"{path}: y has shape {labels.shape}; expected ({len(values)},), one for each row."
        )
    return _Frame(path, _labelled(frame.assign(y=labels), "y"))


def _of_catalogue(name: str, purpose: Purpose, split: str) -> _Frame:
    import numpy as np
    import pandas as pd

    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    table = _parted(name, purpose)
    parts = ("train", "validation") if split == "train" and table.validation is not None else (split,)
    frames = [table.split(part) for part in parts]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    if not table.labels:
        return _Frame(f"{name} ({split})", Rows(frame))
    names = np.array(table.label_names, dtype=np.str_)
    labels = np.concatenate([names[table.labels[part]] for part in parts])
    return _Frame(f"{name} ({split})", Rows(frame, labels))


def _parted(name: str, purpose: Purpose) -> TableDataset:
    """The published split; without one, halves for detection, and 80 / 10 / 10 for densities."""
    from chainrule.data import detection_split, load_table, shuffled_split

    table = load_table(name)
    if table.test is not None:
        return table
    if purpose == "detect" and table.label_names[:1] == ("normal",):
        return detection_split(table, seed=0)
    return shuffled_split(table, seed=0)
