"""The time of a series: one step after another, in numbers, dates, months or working days.

A model of a series knows no clock, only the next step. So times are turned into whole numbers of steps, and
whatever does not fit, times that go back, come twice, or lie between two steps, is an error that names the
first place. A step that was left out is a row of missing values.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveFloat

from chainrule.errors import ChainruleError
from chainrule.tables.values import as_numbers, looks_like_time, place_of, shown

if TYPE_CHECKING:
    from pandas import DatetimeIndex, Series

__all__ = ["TimeAxis"]

Kind = Literal["rows", "number", "date", "month", "business"]
Steps = NDArray[np.int64]

#: A time may be off its step by this part of one, which is what rounded clocks do.
_TOLERANCE = 1e-3
_SECOND = 10**9  # nanoseconds
_DAY = 86_400  # seconds
#: Dates that are written as whole numbers, and where these lie.
_COMPACT = (("%Y%m%d", 19000101, 21001231), ("%Y%m", 190001, 210012))
#: What a time ends with that says its zone.
_ZONE = r"(?<=:\d\d)((?:\.\d+)?) ?(?:Z|[+-]\d\d:?(?:\d\d)?)$"


class TimeAxis(BaseModel):
    """Where steps are.

    - `kind`: `"rows"` (no times: one row a step), `"number"`, `"date"` (a fixed number of seconds), `"month"`
      (the same day of every month, or its last), `"business"` (Monday to Friday).
    - `step`: one step, in units of the column, seconds, months or working days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    step: PositiveFloat = 1.0
    origin: FiniteFloat = 0.0

    @classmethod
    def learn(cls, column: Series) -> TimeAxis:
        """The axis of a column of times, the smallest step between two rows being the step of all.

        Raises `ChainruleError` for times that are none, missing, unsorted, duplicated or irregular.
        """
        if not (_holds_dates(column) or _are_compact(column)):
            numbers = _numbers(column)
            _check_increasing(numbers, column)
            return cls._checked("number", numbers, column)
        dates = _dates(column)
        nanoseconds = _nanoseconds(dates)
        _check_increasing(nanoseconds, column)
        if _are_monthly(dates):
            return cls._checked("month", _months(dates).astype(np.float64), column)
        if _are_business(dates):
            return cls._checked("business", _business_days(dates).astype(np.float64), column)
        seconds = (nanoseconds - nanoseconds[0]) / _SECOND
        axis = cls._checked("date", seconds, column)
        return axis.model_copy(update={"origin": nanoseconds[0] / _SECOND})

    @classmethod
    def _checked(cls, kind: Kind, places: NDArray[np.float64], column: Series) -> TimeAxis:
        """The axis of places `(n,)` that increase, or the error that names the first irregular gap."""
        gaps = np.diff(places)
        step = float(gaps.min()) if len(gaps) else 1.0
        _check_whole(gaps / step, column, f"a step is {step:g} {_unit(kind)} somewhere else")
        # The mean over all steps is known better than the smallest of them.
        total = float(np.rint(gaps / step).sum())
        step = float(places[-1] - places[0]) / total if total and kind in ("number", "date") else step
        return cls(kind=kind, step=step, origin=float(places[0]))

    def steps_of(self, column: Series | None, rows: int) -> Steps:
        """How many steps each row lies behind the first one, `(rows,)`, from 0 and increasing.

        Raises `ChainruleError` as `learn` does, and for times of another kind or step.
        """
        if self.kind == "rows" or column is None:
            return np.arange(rows)
        holds_dates = _holds_dates(column) or (self.kind != "number" and _are_compact(column))
        if (self.kind != "number") != holds_dates:
            wanted = "numbers" if self.kind == "number" else "dates"
            raise ChainruleError(
                f"time column {column.name!r} holds {shown(column.iloc[0])}; expected {wanted}, as the model "
                "was trained on."
            )
        if self.kind == "number":
            places = _numbers(column)
            _check_increasing(places, column)
        else:
            dates = _dates(column, clocks=self._is_of_days)
            nanoseconds = _nanoseconds(dates)
            _check_increasing(nanoseconds, column)
            if self.kind == "business":
                _refuse_weekends(dates, column)
            places = self._places(dates, nanoseconds)
        steps = (places - places[0]) / self.step
        _check_whole(np.diff(steps), column, f"the model's step is {self.described}")
        return np.asarray(np.rint(steps), dtype=np.int64)

    def _places(self, dates: DatetimeIndex, nanoseconds: Steps) -> NDArray[np.float64]:
        if self.kind == "month":
            return _months(dates).astype(np.float64)
        if self.kind == "business":
            return _business_days(dates).astype(np.float64)
        return np.asarray((nanoseconds - nanoseconds[0]) / _SECOND)

    def times(self, column: Series | None, steps: Steps) -> Any:
        """The times that lie so many steps after the first of `column`, as a pandas index or an array."""
        if self.kind == "rows" or column is None:
            return steps
        if self.kind == "number":
            first = float(column.iloc[0])
            numbers = first + steps * self.step
            whole = (np.rint(numbers) == numbers).all() and float(self.step).is_integer()
            return numbers.astype(np.int64) if whole else numbers
        import pandas as pd

        dates = _dates(column, clocks=self._is_of_days)
        if self.kind == "date":
            offsets = np.rint(steps * self.step * _SECOND).astype(np.int64)
            return pd.DatetimeIndex(dates[0] + pd.to_timedelta(offsets, unit="ns"))
        if self.kind == "business":
            days = np.busday_offset(
                dates[:1].to_numpy().astype("datetime64[D]"), np.rint(steps * self.step).astype(np.int64)
            )
            return pd.DatetimeIndex(days)
        months = np.rint(steps * self.step).astype(int).tolist()
        moved = pd.DatetimeIndex([dates[0] + pd.DateOffset(months=m) for m in months])
        return moved + pd.offsets.MonthEnd(0) if bool(dates.is_month_end.all()) else moved

    @property
    def _is_of_days(self) -> bool:
        """Whether a step is a day or several."""
        return self.kind in ("month", "business") or (self.kind == "date" and self.step % _DAY == 0)

    @property
    def described(self) -> str:
        """The step in words."""
        if self.kind == "rows":
            return "one row"
        if self.kind == "date":
            import pandas as pd

            return str(pd.Timedelta(self.step, unit="s")).removesuffix(" 00:00:00").replace("0 days ", "")
        return f"{self.step:g} {_unit(self.kind)}"


def _unit(kind: Kind) -> str:
    named = {"date": "seconds", "month": "months", "business": "working days", "rows": "rows"}
    return named.get(kind, "in units of the time column")


# ---------------------------------------------------------------- reading times


def _holds_dates(column: Series) -> bool:
    import pandas as pd

    return looks_like_time(column.dtype) or not (
        pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    )


def _numbers(column: Series) -> NDArray[np.float64]:
    numbers = as_numbers(column, column.name)
    _refuse_missing(np.isnan(numbers), column)
    return np.asarray(numbers, dtype=np.float64)


def _are_compact(column: Series) -> bool:
    """Whether these are numbers that are dates, such as 20240131 or 202401."""
    return _compact_format(column) is not None


def _compact_format(column: Series) -> str | None:
    """How dates are written as whole numbers here; None where the column is no such numbers."""
    import pandas as pd

    if not len(column) or column.dtype.kind not in "iuf" or bool(column.isna().any()):
        return None
    for form, first, last in _COMPACT:
        if bool(((column >= first) & (column <= last) & (column % 1 == 0)).all()):
            texts = column.astype("int64").astype(str)
            if bool(pd.to_datetime(texts, format=form, errors="coerce").notna().all()):
                return form
    return None


def _dates(column: Series, *, clocks: bool = True) -> DatetimeIndex:
    """The column as dates without a zone.

    - `clocks`: of times with a zone take what clocks there show, where these are always the same time of
      day, so that a day is a day when they change; otherwise UTC.
    """
    import pandas as pd

    if str(column.dtype).startswith("period"):
        column = column.dt.to_timestamp()
    _refuse_missing(column.isna().to_numpy(dtype=bool), column)
    if (form := _compact_format(column)) is not None:
        return pd.DatetimeIndex(pd.to_datetime(column.astype("int64").astype(str), format=form))
    dates, shown_there = _read_dates(column)
    if shown_there is None or not clocks:
        return dates
    of_day = shown_there - shown_there.normalize()
    return shown_there if bool((of_day == of_day[0]).all()) else dates


def _read_dates(column: Series) -> tuple[DatetimeIndex, DatetimeIndex | None]:
    """Dates, in UTC where they have a zone; then also what clocks in that zone show."""
    import pandas as pd

    with warnings.catch_warnings():  # pandas tells of formats that it guesses; what is wrong is said below
        warnings.simplefilter("ignore", UserWarning)
        for form in (None, "ISO8601"):
            try:
                dates = pd.DatetimeIndex(pd.to_datetime(column, errors="raise", format=form))
            except (ValueError, TypeError, OverflowError):
                continue
            if dates.tz is None:
                return dates, None
            return dates.tz_convert("UTC").tz_localize(None), dates.tz_localize(None)
        texts = column.astype(str)
        readings = {f: pd.to_datetime(texts, errors="coerce", utc=True, format=f) for f in ("ISO8601", None)}
        form = min(readings, key=lambda f: int(readings[f].isna().sum()))
        wrong = readings[form].isna().to_numpy(dtype=bool)
        # Offsets that differ, as those of summer and winter do, are left once the rest is read.
        rest = pd.to_datetime(texts.str.replace(_ZONE, r"\1", regex=True), errors="coerce", format=form)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ChainruleError(
            f"time column {column.name!r}, {place_of(column, place)}: {shown(column.iloc[place])} is no "
            "date; write dates with the year first, as 2024-01-31 or 2024-01-31 12:00, or numbers."
        )
    has_clocks = rest.notna().all() and getattr(rest.dtype, "tz", None) is None
    return pd.DatetimeIndex(readings[form]).tz_localize(None), pd.DatetimeIndex(rest) if has_clocks else None


def _nanoseconds(dates: DatetimeIndex) -> Steps:
    return np.asarray(dates.to_numpy().astype("datetime64[ns]").astype(np.int64))


def _months(dates: DatetimeIndex) -> Steps:
    return np.asarray(dates.year * 12 + dates.month, dtype=np.int64)


def _business_days(dates: DatetimeIndex) -> Steps:
    days = dates.to_numpy().astype("datetime64[D]")
    return np.asarray(np.busday_count(days[0], days), dtype=np.int64)


def _same_day(dates: DatetimeIndex) -> bool:
    return bool((dates.day == dates.day[0]).all())


def _are_monthly(dates: DatetimeIndex) -> bool:
    """Whether all are the same day of some month, or its last one, and at least a month apart."""
    if len(dates) < 3 or not (_same_day(dates) or bool(dates.is_month_end.all())):
        return False
    return bool((dates == dates.normalize()).all()) and bool((np.diff(_months(dates)) > 0).all())


def _are_business(dates: DatetimeIndex) -> bool:
    """Whether these are days from Monday to Friday, and every weekend among them is left out."""
    if len(dates) < 10 or not bool((dates == dates.normalize()).all()) or bool((dates.day_of_week > 4).any()):
        return False
    gaps = np.diff(_business_days(dates))
    return bool((gaps > 0).all()) and float(np.mean(gaps == 1)) > 0.5


# ---------------------------------------------------------------- what can go wrong


def _refuse_missing(missing: NDArray[np.bool_], column: Series) -> None:
    if missing.any():
        place = int(np.argmax(missing))
        raise ChainruleError(
            f"time column {column.name!r}, {place_of(column, place)}: there is no time; every row needs one."
        )


def _refuse_weekends(dates: DatetimeIndex, column: Series) -> None:
    weekend = np.asarray(dates.day_of_week > 4)
    if weekend.any():
        place = int(np.argmax(weekend))
        raise ChainruleError(
            f"time column {column.name!r}, {place_of(column, place)}: {shown(column.iloc[place])} is a "
            f"{dates[place].day_name()}, but the model was trained on working days; leave such rows out."
        )


def _check_increasing(places: NDArray[Any], column: Series) -> None:
    gaps = np.diff(places)
    if (gaps > 0).all():
        return
    place = int(np.argmax(gaps <= 0)) + 1
    this, before = shown(column.iloc[place]), shown(column.iloc[place - 1])
    if gaps[place - 1] == 0:
        raise ChainruleError(
            f"time column {column.name!r}, {place_of(column, place)}: {this} is there twice; keep one row "
            "for each time (drop or average the others)."
        )
    raise ChainruleError(
        f"time column {column.name!r}, {place_of(column, place)}: {this} comes after {before}; sort the rows "
        "by time, the oldest first."
    )


def _check_whole(steps: NDArray[np.float64], column: Series, known: str) -> None:
    """Raise `ChainruleError` where a gap is no whole number of steps."""
    off = (np.abs(steps - np.rint(steps)) > _TOLERANCE * np.maximum(1.0, np.abs(steps))) | (
        np.rint(steps) < 1
    )
    if not off.any():
        return
    place = int(np.argmax(off)) + 1
    raise ChainruleError(
        f"time column {column.name!r}, {place_of(column, place)}: {shown(column.iloc[place])} is "
        f"{steps[place - 1]:.4g} steps after the row before ({known}); resample the series to regular times."
    )
