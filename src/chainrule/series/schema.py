"""What the columns of a series are, and how rows of a table become steps that a network reads.

Each column may be differenced and is then standardised by its training part:

    d_t = x_t - (the last known value before t),      z_t = (d_t - centre) / scale.

Given what came before, x_t is d_t plus a number that is known, so its slope is 1, and
log p(x_t) = log p(z_t) - log scale: densities are in the columns' own units. What lies before the first known
value of a differenced column is given and has no density: these are the leading rows, mostly one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chainrule.errors import ChainruleError
from chainrule.saving import write_json
from chainrule.series.time_axis import TimeAxis
from chainrule.tables.number_columns import refuse_extremes
from chainrule.tables.transforms import Standard
from chainrule.tables.values import as_numbers

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["SERIES_NAME", "SeriesColumn", "SeriesSchema", "TimeSeries", "checked_frame", "learn_schema"]

SERIES_NAME = "series.json"

Values = NDArray[np.float64]

#: With `difference="auto"`: where first differences vary less than this part of the variance of the levels.
#: A random walk, a trend or a slow wave has far less, an AR(1) of 0.95 just as much.
_DIFFERENCE_BELOW = 0.1
#: So many times as many steps as rows, and the time column is not what it seems.
_MOST_GAPS = 10


@dataclass(frozen=True)
class TimeSeries:
    """A series on regular steps.

    - `values`: `(T, D)` float64, NaN where missing, also in steps that had no row.
    - `times`: of each step; `names`: of the columns; `rows`: the step of each row of the table it is from.
    """

    values: Values
    times: Any
    names: tuple[str, ...]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)


class SeriesColumn(BaseModel):
    """One column: whether it is differenced, and its scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    difference: bool
    transform: Standard


class SeriesSchema(BaseModel):
    """What a series is made of; the part of a `SeriesModel` that knows units.

    - `columns`: in the order in which the model reads them within a step.
    - `time`: the name of the time column, or None where every row is a step; `axis`: its steps.
    - `missing`: whether missing values are a state that the model knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    columns: tuple[SeriesColumn, ...] = Field(min_length=1)
    time: str | None
    axis: TimeAxis
    missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    @property
    def log_slopes(self) -> Values:
        """log dz/dx of each column, nats, `(D,)`."""
        return np.array([column.transform.typical_log_slope for column in self.columns])

    def read(self, frame: DataFrame) -> TimeSeries:
        """The rows of a table as regular steps; steps without a row are missing.

        Raises `ChainruleError` for columns that are not there, times that are not in order or not on the
        steps, values that are no finite numbers, and a table without a row.
        """
        frame = checked_frame(frame)
        for name in (*self.names, *(() if self.time is None else (self.time,))):
            if name not in frame.columns:
                raise ChainruleError(
                    f"there is no column {name!r}; the columns are {', '.join(map(repr, frame.columns))}."
                )
        return _read(frame, self.time, self.names, self.axis)

    def check_missing(self, series: TimeSeries) -> None:
        """Raise `ChainruleError` for a value that is missing where the model knows no such state."""
        holes = np.isnan(series.values)
        if self.missing or not holes.any():
            return
        step, column = np.argwhere(holes)[0]
        raise ChainruleError(
            f"column {self.names[column]!r} is missing at {series.times[step]}, but the model was trained on "
            "a series without gaps; train with missing=True (--allow-missing), or fill the gap."
        )

    def encode(self, series: TimeSeries) -> tuple[Values, int]:
        """z of every step but the leading ones, `(T - lead, D)` float64, and how many lead."""
        lead = self.lead(series.values)
        z = np.empty_like(series.values)
        for place, column in enumerate(self.columns):
            x = series.values[:, place]
            change = x - _last_before(x) if column.difference else x
            z[:, place] = column.transform.forward(change)
        return z[lead:], lead

    def lead(self, values: Values) -> int:
        """How many leading steps are given: up to that by which all differenced columns have had a value."""
        firsts = [0]
        for place, column in enumerate(self.columns):
            if column.difference:
                present = np.flatnonzero(~np.isnan(values[:, place]))
                if not len(present):
                    raise ChainruleError(
                        f"column {column.name!r} has no value at all; expected at least one."
                    )
                firsts.append(int(present[0]) + 1)
        return max(firsts)

    def decode(self, z: Values, last: Values) -> Values:
        """Values `(..., T, D)` of z, which go on from the last known values `(..., D)`."""
        x = np.empty_like(z)
        for place, column in enumerate(self.columns):
            change = column.transform.inverse(z[..., place])
            start = last[..., None, place] if column.difference else 0.0
            x[..., place] = start + np.cumsum(change, -1) if column.difference else change
        return x

    def save(self, folder: Path) -> None:
        """Write `series.json` into a folder."""
        write_json(folder / SERIES_NAME, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The schema in a folder; `ChainruleError` where there is none, or a damaged one."""
        file = folder / SERIES_NAME
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ChainruleError(f"{folder} holds no model of a series: it has no {SERIES_NAME}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ChainruleError(f"{file} is damaged ({where}: {first['msg'].lower()}).") from None
        except (OSError, ValueError) as error:
            raise ChainruleError(f"{file} is damaged ({error}).") from None


def learn_schema(
    frame: DataFrame,
    time: str | None,
    *,
    columns: Sequence[str] | None = None,
    train_share: float = 0.8,
    difference: bool | Literal["auto"] = "auto",
    missing: bool | Literal["auto"] = "auto",
) -> tuple[SeriesSchema, TimeSeries]:
    """What the columns of a table are, by its first rows, and the series that it holds.

    - `time`: the time column, or None: every row is a step.
    - `columns`: which to model, in the order in which they are read; None for all others.
    - `difference`: for each column whether first differences vary less than a tenth as much as it does
      (`"auto"`), or the same for all.
    - `missing`: `"auto"`: a state where any value is missing, or a step has no row.

    Raises `ChainruleError` for a table that is no series, saying where and why.
    """
    frame = checked_frame(frame)
    names = _checked_columns(frame, time, columns)
    for option, value in (("difference", difference), ("missing", missing)):
        if value not in (True, False, "auto"):
            raise ChainruleError(f'{option}={value!r}: expected True, False or "auto".')
    if len(frame) < 2:
        raise ChainruleError(f"a series needs at least two rows to learn from, not {len(frame)}.")
    axis = TimeAxis(kind="rows") if time is None else TimeAxis.learn(frame[time])
    series = _read(frame, time, names, axis)
    train = series.values[: max(2, int(train_share * len(series)))]
    of_columns = []
    for place, name in enumerate(names):
        x = train[:, place]
        of_columns.append(_column(frame[name].dropna(), name, x, difference))
    known = bool(np.isnan(series.values).any()) if missing == "auto" else missing
    schema = SeriesSchema(columns=tuple(of_columns), time=time, axis=axis, missing=known)
    schema.check_missing(series)
    return schema, series


def checked_frame(frame: DataFrame) -> DataFrame:
    """The table with names of columns that are texts; `ChainruleError` for no table, or one name twice."""
    if not hasattr(frame, "columns"):
        raise ChainruleError(f"expected a pandas DataFrame, not {type(frame).__name__}.")
    names = [str(name) for name in frame.columns]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ChainruleError(f"the table has two columns named {name!r}; rename one of them.")
    return frame if names == list(frame.columns) else frame.set_axis(names, axis=1)


def _checked_columns(frame: DataFrame, time: str | None, columns: Sequence[str] | None) -> tuple[str, ...]:
    names = list(frame.columns)
    if time is not None and time not in names:
        raise ChainruleError(f"there is no time column {time!r}; the columns are {', '.join(names)}.")
    if isinstance(columns, str):
        columns = [columns]
    wanted = [name for name in names if name != time] if columns is None else list(columns)
    if not wanted:
        raise ChainruleError("there is no column to model beside the time.")
    for name in wanted:
        if name not in names or name == time or wanted.count(name) > 1:
            raise ChainruleError(
                f"{name!r} is no column to model, or twice; the columns are {', '.join(names)}."
            )
    return tuple(wanted)


def _read(frame: DataFrame, time: str | None, names: Sequence[str], axis: TimeAxis) -> TimeSeries:
    if not len(frame):
        raise ChainruleError("the series has no row.")
    column = None if time is None else frame[time]
    rows = axis.steps_of(column, len(frame))
    count = int(rows[-1]) + 1
    if count > _MOST_GAPS * len(frame):
        raise ChainruleError(
            f"time column {time!r}: {len(frame)} rows stretch over {count:,} steps of {axis.described}, so "
            "nearly all would be missing; resample the series to regular times."
        )
    values = np.full((count, len(names)), np.nan)
    for place, name in enumerate(names):
        values[rows, place] = as_numbers(frame[name], name)
    return TimeSeries(values, axis.times(column, np.arange(count)), tuple(names), rows)


def _column(cells: Series, name: str, x: Values, difference: bool | Literal["auto"]) -> SeriesColumn:
    """How a column `(T,)` of the training part, read from these cells, is brought to scale."""
    present = x[~np.isnan(x)]
    if len(present) < 3:
        raise ChainruleError(
            f"column {name!r} has {len(present)} values in the training part; expected at least 3."
        )
    refuse_extremes(present, cells, name)
    spread = float(np.ptp(present))
    if spread <= 1e-12 * float(np.abs(present).max()):
        raise ChainruleError(
            f"column {name!r} is constant ({present[0]:g}) in the training part, so it has no density and "
            f"nothing to forecast; leave it out (--drop {name})."
        )
    changes = np.diff(present)
    vary = float(np.ptp(changes)) > 1e-12 * spread
    if difference is True and not vary:
        raise ChainruleError(
            f"column {name!r} is a straight line in the training part, so its differences are constant; "
            "leave it out, or train with difference=False."
        )
    small = float(changes.var()) < _DIFFERENCE_BELOW * float(present.var())
    as_changes = vary and (small if difference == "auto" else bool(difference))
    return SeriesColumn(
        name=name, difference=as_changes, transform=Standard.fit(changes if as_changes else present)
    )


def _last_before(x: Values) -> Values:
    """The last known value before each step, `(T,)`; NaN where there is none yet."""
    places = np.where(np.isnan(x), -1, np.arange(len(x)))
    places = np.concatenate([[-1], np.maximum.accumulate(places)[:-1]])
    return np.where(places < 0, np.nan, x[np.maximum(places, 0)])
