"""`load_table`: the tables of the catalogue as DataFrames."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from chainrule.data.catalogue import CATALOGUE
from chainrule.data.files import check_sha256, locate
from chainrule.data.table_dataset import TableDataset
from chainrule.data.table_entry import TableEntry
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["load_table"]

_Parts = dict[str, "DataFrame"]  # by split: the data, the labels as a column `label`, and the asides

_LABEL = "label"
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zlib.error, BadZipFile)


def load_table(name: str, *, root: str | PathLike[str] | None = None) -> TableDataset:
    """A table of the catalogue, with its published split, or all its rows in `train`.

    `wine` and `breast-cancer` come with scikit-learn; the others' files are looked for as `load` does.
    Raises `ChainruleError` for an unknown name, a data set that is no such table, and missing or damaged
    files.

    >>> load_table("wine")
    TableDataset('wine', 13 columns, train 108, validation 35, test 35)
    """
    known = CATALOGUE.get(name)
    tables = [entry.name for entry in CATALOGUE.values() if isinstance(entry, TableEntry)]
    if known is None:
        raise unknown_name("table", name, tables)
    if not isinstance(known, TableEntry):
        raise ChainruleError(
            f"data set {name!r} is a {known.kind} of {known.levels} levels; load it with "
            f"data.load({name!r}). Tables are: {', '.join(tables)}"
        )
    parts = _embedded(known) if known.form == "embedded" else _from_files(known, root)
    frames = {split: frame[list(known.columns)] for split, frame in parts.items()}
    return TableDataset(
        name=known.name,
        train=frames["train"],
        validation=frames.get("validation"),
        test=frames.get("test"),
        labels={s: frame[_LABEL].to_numpy(np.int64) for s, frame in parts.items() if known.label_names},
        label_names=known.label_names,
        asides={s: frame[list(known.asides)] for s, frame in parts.items() if known.asides},
        density_columns=known.density_columns,
        licence=known.licence,
        source=known.source,
        description=known.description,
        published=known.published,
    )


def _embedded(known: TableEntry) -> _Parts:
    """scikit-learn's copy: of every five rows three are train, then one validation and one test."""
    from sklearn import datasets

    loaders = {"wine": datasets.load_wine, "breast-cancer": datasets.load_breast_cancer}
    bunch = loaders[known.name](as_frame=True)
    frame = bunch.data.set_axis(list(known.columns), axis=1).assign(**{_LABEL: bunch.target})
    turn = np.arange(len(frame)) % 5
    chosen = {"train": turn < 3, "validation": turn == 3, "test": turn == 4}
    return {split: frame[rows].reset_index(drop=True) for split, rows in chosen.items()}


def _from_files(known: TableEntry, root: str | PathLike[str] | None) -> _Parts:
    paths, files = locate(known.name, known.files, known.alternative_files, root)
    read = _from_rows if known.form == "rows" else _from_csv
    try:
        parts = read(known, paths)
        found = {split: len(frame) for split, frame in parts.items()}
        if found != dict(known.splits):
            raise ValueError(f"{found} rows; expected {dict(known.splits)}")
    except _DAMAGE as error:
        for file, path in zip(files, paths, strict=True):
            check_sha256(known.name, file, path)  # "damaged" says more than what the damage made of it
        reason = " ".join(str(error).split())[:200]
        raise ChainruleError(f"table {known.name!r}: {paths[0]} cannot be read ({reason})") from None
    return parts


def _from_rows(known: TableEntry, paths: Sequence[Path]) -> _Parts:
    """An .npz of X `(rows, D)` and y `(rows,)`."""
    import pandas as pd

    with np.load(paths[0], allow_pickle=False) as arrays:
        frame = pd.DataFrame(arrays["X"], columns=list(known.columns))
        return {"train": frame.assign(**{_LABEL: arrays["y"]})}


def _from_csv(known: TableEntry, paths: Sequence[Path]) -> _Parts:
    """A text file per split."""
    import pandas as pd

    names = None if known.header else [*known.columns, *known.asides]
    parts = {}
    for split, path in zip(known.splits, paths, strict=True):
        frame = pd.read_csv(path, sep=known.separator, header=0 if known.header else None, names=names)
        missing = set(known.columns) - set(frame.columns)
        if missing:
            raise ValueError(f"no column {sorted(missing)[0]!r}")
        if known.label_names:
            frame = frame.assign(
                **{_LABEL: (frame[known.asides[0]] != known.label_names[0]).astype(np.int64)}
            )
        parts[split] = frame
    return parts
