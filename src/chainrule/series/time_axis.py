"""The time of a series: one step after another, in numbers, dates, months or working days.

A model of a series knows no clock, only the next step. So times are turned into whole numbers of steps, and
whatever does not fit, times that go back, come twice, or lie between two steps, is an error that names the
first place. A step that was left out is a row of missing values.
"""

from __future__ import annotations

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
        if not _holds_dates(column):
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
        if (self.kind != "number") != _holds_dates(column):
            wanted = "numbers" if self.kind == "number" else "dates"
            raise ChainruleError(
                f"time column {column.name!r} holds {shown(column.iloc[0])}; expected {wanted}, as the model "
                "was trained on."
            )
        if self.kind == "number":
            places = _numbers(column)
            _check_increasing(places, column)
        else:
            dates = _dates(column)
            nanoseconds = _nanoseconds(dates)
            _check_increasing(nanoseconds, column)
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

        dates = _dates(column)
        if self.kind == "date":
            offsets = np.rint(steps * self.step * _SECOND).astype(np.int64)
            return pd.DatetimeIndex(dates[0] + pd.to_timedelta(offsets, unit="ns"))
        if self.kind == "business":
            days = np.busday_offset(
                dates[:1].to_numpy().astype("datetime64[D]"), np.rint(steps * self.step).astype(np.int64)
            )
            return pd.DatetimeIndex(days)
        first, last_days = dates[0], bool(dates.is_month_end.all()) and not _same_day(dates)
        months = np.rint(steps * self.step).astype(int).tolist()
        end = pd.offsets.MonthEnd(0) if last_days or (first.is_month_end and first.day < 31) else None
        moved = [first + pd.DateOffset(months=m) for m in months]
        return pd.DatetimeIndex([m + end for m in moved] if end is not None else moved)

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


def _dates(column: Series) -> DatetimeIndex:
    """The column as dates, without a zone (UTC where there was one)."""
    import pandas as pd

    if str(column.dtype).startswith("period"):
        column = column.dt.to_timestamp()
    _refuse_missing(column.isna().to_numpy(dtype=bool), column)
    try:
        dates = pd.DatetimeIndex(pd.to_datetime(column, errors="raise"))
    except (ValueError, TypeError, OverflowError):
        parsed = pd.to_datetime(column, errors="coerce", utc=True)
        wrong = parsed.isna().to_numpy(dtype=bool)
        if not wrong.any():  # a mixture of zones
            dates = pd.DatetimeIndex(parsed)
        else:
            place = int(np.argmax(wrong))
            raise ChainruleError(
                f"time column {column.name!r}, {place_of(column, place)}: {shown(column.iloc[place])} is no "
                "date; write dates as 2024-01-31 or 2024-01-31 12:00, or numbers."
            ) from None
    return dates if dates.tz is None else dates.tz_convert("UTC").tz_localize(None)


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
