"""From a DataFrame's column to plain numbers or labels, or one line naming the column, row and value."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.tables.transforms import Array

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["as_label", "as_labels", "as_numbers", "looks_like_time", "refuse_first", "shown"]


def as_numbers(series: Series, name: Hashable) -> Array:
    """The column as float64 `(n,)`, NaN where a value is missing; text that spells numbers is converted.

    Raises `ChainruleError` for what is no number and for infinities.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if looks_like_time(series.dtype) or series.dtype.kind == "c":
        raise ChainruleError(
            f"column {name!r} holds {series.dtype} values; expected numbers: the schema says it is a number"
        )
    if pd.api.types.is_numeric_dtype(series.dtype):
        numbers: Array = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        numbers = _parsed(series, name)
    refuse_first(np.isinf(numbers), series, name, "expected finite numbers: replace or drop such values")
    return numbers


def _parsed(series: Series, name: Hashable) -> Array:
    import pandas as pd

    try:
        parsed = pd.to_numeric(series, errors="coerce")
        numbers: Array = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ChainruleError(f"column {name!r} cannot be read as numbers: {reason}") from None
    wrong = np.isnan(numbers) & series.notna().to_numpy(dtype=bool)
    refuse_first(wrong, series, name, "expected a number; leave the cell empty where it is missing")
    return numbers


def as_labels(series: Series, name: Hashable) -> tuple[NDArray[np.intp], list[str], list[Any]]:
    """The column as codes `(n,)` into a list of labels, -1 where a value is missing; and the raw values.

    A label is the value as text; whole numbers are written alike whether they are 3 or 3.0, because a
    column of whole numbers becomes one of floats as soon as it has a hole.
    Raises `ChainruleError` for values that are no single label, such as lists.
    """
    import pandas as pd

    try:
        codes, uniques = pd.factorize(series, use_na_sentinel=True)
    except TypeError:
        nested = series.map(lambda value: isinstance(value, list | dict | set | np.ndarray)).to_numpy(bool)
        refuse_first(nested, series, name, "expected one value a cell; drop the column or spread it out")
        raise ChainruleError(f"column {name!r} holds values that are no labels; drop it") from None
    raw = list(uniques)
    return np.asarray(codes, dtype=np.intp), [as_label(value) for value in raw], raw


def as_label(value: object) -> str:
    """A value as the text by which categories are told apart.

    >>> as_label(3.0), as_label(3), as_label("3"), as_label(True), as_label(0.5)
    ('3', '3', '3', 'True', '0.5')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def looks_like_time(dtype: Any) -> bool:
    """Whether a dtype is one of dates, times, periods or durations."""
    text = str(dtype)
    return text.startswith(("datetime", "timedelta", "period", "date", "time", "duration", "interval"))


def refuse_first(wrong: NDArray[np.bool_], series: Series, name: Hashable, advice: str) -> None:
    """Raise `ChainruleError` for the first row where `wrong`, with its value and the advice."""
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ChainruleError(
            f"column {name!r}, row {shown(series.index[place])}: {shown(series.iloc[place])}; {advice}"
        )


def shown(value: object) -> str:
    """A value as a few characters on one line.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and len(value) > 55:
        value = f"{value[:52]}..."
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
