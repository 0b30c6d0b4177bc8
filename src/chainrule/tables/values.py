"""From a DataFrame's column to plain numbers or labels, or one line naming the column, row and value."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.tables.origin import line_of_cell
from chainrule.tables.transforms import Array

if TYPE_CHECKING:
    from pandas import Series

__all__ = [
    "MISSING_WORDS",
    "as_label",
    "as_labels",
    "as_numbers",
    "looks_like_time",
    "place_of",
    "refuse_first",
    "shown",
    "spell_missing",
]

#: Texts that stand for a missing value among numbers and truth values, as in `pandas.read_csv`. In a column
#: of text they may as well be Namibia's code, or a name: there they are labels like any other.
MISSING_WORDS = (
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
_MISSING = frozenset(("", *MISSING_WORDS))


def spell_missing(labels: Iterable[str]) -> NDArray[np.bool_]:
    """Which texts say, among numbers, that there is none: those of `MISSING_WORDS`, and blanks."""
    return np.array([label.strip() in _MISSING for label in labels], dtype=bool)


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
    if wrong.any():
        wrong[wrong] = ~spell_missing(map(str, series[wrong]))
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
            f"column {name!r}, {place_of(series, place)}: {shown(series.iloc[place])}; {advice}"
        )


def place_of(series: Series, place: int) -> str:
    """Where a cell is, for people: `row 7`, by its index label, and the line of the file it came from.

    - `place`: the cell's place in the series, from 0.
    """
    label, value = series.index[place], series.iloc[place]
    line = line_of_cell(series.attrs, label, series.name, None if series.isna().iloc[place] else value)
    return f"row {shown(label)}{line}"


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
