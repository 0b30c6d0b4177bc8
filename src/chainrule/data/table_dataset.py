"""A table data set in memory: its splits as DataFrames, with labels beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from chainrule.data.entries import SPLITS, PublishedResult
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TableDataset"]


@dataclass(frozen=True, repr=False, eq=False)
class TableDataset:
    """Splits of rows, DataFrames with the same columns, numbered from 0.

    - `train`, `validation`, `test`: None where there is no such split; where none is published, `train` is
      everything, and `fold`, `shuffled_split` or `detection_split` make parts of it;
    - `labels`: int64 `(rows,)` by split; `label_names` says what 0, 1, ... mean. For anomaly detection 1
      is an anomaly. No model should see them;
    - `asides`: further columns by split that are no data either, such as the name of an attack;
    - `density_columns`: those that published densities are of.
    """

    name: str
    train: DataFrame | None
    validation: DataFrame | None = None
    test: DataFrame | None = None
    labels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    asides: Mapping[str, DataFrame] = field(default_factory=dict)
    density_columns: tuple[str, ...] = ()
    licence: str = "not stated"
    source: str = ""
    description: str = ""
    published: tuple[PublishedResult, ...] = ()

    def __post_init__(self) -> None:
        columns = None
        for split in SPLITS:
            frame = getattr(self, split)
            if frame is None:
                continue
            columns = list(frame.columns) if columns is None else columns
            if list(frame.columns) != columns:
                raise ChainruleError(f"table {self.name!r}: {split} has other columns than the split before")
            for what in (self.labels.get(split), self.asides.get(split)):
                if what is not None and len(what) != len(frame):
                    raise ChainruleError(
                        f"table {self.name!r}: {split} has {len(frame)} rows, but {len(what)} labels "
                        "or asides"
                    )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._any().columns)

    @property
    def event_shape(self) -> tuple[int]:
        """(D,), the number of columns."""
        return (len(self.columns),)

    def split(self, name: str) -> DataFrame:
        """The rows of a split; `ChainruleError` for another name, or a split that there is not."""
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        frame = getattr(self, name)
        if frame is None:
            present = ", ".join(split for split in SPLITS if getattr(self, split) is not None) or "none"
            raise ChainruleError(f"table {self.name!r} has no {name} split; it has: {present}")
        return frame

    def only(self, columns: Sequence[str]) -> Self:
        """The same rows with these columns alone, in this order."""
        for column in columns:
            if column not in self.columns:
                raise unknown_name("column", column, self.columns)
        kept = [None if (frame := getattr(self, s)) is None else frame[list(columns)] for s in SPLITS]
        return replace(self, train=kept[0], validation=kept[1], test=kept[2])

    def for_density(self) -> Self:
        """The columns that published densities are of; `ChainruleError` where none are published."""
        if not self.density_columns:
            raise ChainruleError(f"no densities are published on table {self.name!r}; use all its columns")
        return self.only(self.density_columns)

    def rows(self, **of_split: tuple[str, NDArray[np.intp]]) -> Self:
        """A table whose splits are rows of these: `rows(train=("train", places), test=("train", others))`.

        Splits that are not named are None.
        """
        frames, labels, asides = {}, {}, {}
        for split, (source, places) in of_split.items():
            frames[split] = self.split(source).iloc[places].reset_index(drop=True)
            if source in self.labels:
                labels[split] = self.labels[source][places]
            if source in self.asides:
                asides[split] = self.asides[source].iloc[places].reset_index(drop=True)
        train, validation, test = (frames.get(split) for split in SPLITS)
        return replace(self, train=train, validation=validation, test=test, labels=labels, asides=asides)

    def _any(self) -> DataFrame:
        frames = [getattr(self, split) for split in SPLITS]
        found = next((frame for frame in frames if frame is not None), None)
        if found is None:
            raise ChainruleError(f"table {self.name!r} has no rows in any split")
        return found

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{split} -" if (frame := getattr(self, split)) is None else f"{split} {len(frame):,}"
            for split in SPLITS
        )
        return f"TableDataset({self.name!r}, {len(self.columns)} columns, {sizes})"
