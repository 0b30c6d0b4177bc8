"""`infer_schema`: look at a table once, and say what each of its columns is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError, unknown_name
from chainrule.tables.columns import (
    OTHER,
    BooleanColumn,
    CategoricalColumn,
    Column,
    IntegerColumn,
    NumericColumn,
)
from chainrule.tables.schema import TableSchema
from chainrule.tables.text_columns import Finding, look_at_text
from chainrule.tables.transforms import Array, Constant, Quantile, Standard
from chainrule.tables.values import as_label, as_labels, as_numbers, looks_like_time, shown

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["KINDS", "infer_schema"]

Kind = Literal["numeric", "integer", "categorical", "boolean"]
KINDS = ("numeric", "integer", "categorical", "boolean")

_TRANSFORMS: dict[str, type[Quantile] | type[Standard]] = {"quantile": Quantile, "standard": Standard}
_MISSING = ("auto", "always")

_FEW_ROWS = 20
_FEW_CODES = 20
_EXACT = 2.0**53  # whole numbers beyond this are not all float64
_TOO_LARGE, _TOO_SMALL = 1e100, 1e-88


@dataclass
class _Options:
    numeric_transform: str
    max_categories: int
    max_levels: int
    grids: bool
    missing: str
    notices: list[str] = field(default_factory=list)


def infer_schema(
    frame: DataFrame,
    *,
    numeric_transform: Literal["quantile", "standard"] = "quantile",
    max_categories: int = 100,
    max_levels: int = 256,
    grids: bool = True,
    missing: Literal["auto", "always"] = "auto",
    kinds: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
) -> TableSchema:
    """What the columns of a table are: see `TableSchema`, and the kinds in `chainrule.tables.columns`.

    - `numeric_transform`: of numbers with a density: `quantile` (about normal whatever their
      distribution, from 64 segments at most) or `standard` (mean 0, standard deviation 1);
    - `max_categories`: of a text column; the rarer ones share the state `(other)`;
    - `max_levels`: whole numbers of a wider range, and finer grids, get a density;
    - `grids`: whether numbers on an even grid such as 0.00, 0.01, ..., 1.00 get a probability per point.
      With False, floats always get a density, and are comparable with densities published elsewhere;
    - `missing`: `auto` models holes in the columns that have any, `always` in every column;
    - `kinds`: the kinds of single columns, by name, instead of what would be inferred;
    - `drop`: columns to leave out.

    What it decides: bools and the words true / false are boolean; text that spells numbers is numbers;
    other text is categorical, but dates, free text and identifiers are an error that says what to do.
    Whole numbers are integer, also where they are stored as floats (as columns with holes are); codes of
    few, far apart values (200, 404, 500) are categorical. A constant column is kept with two states, its
    value and anything else, so that it costs nothing until a row differs. A column without any value is
    left out with a notice. Any number of rows from 1 will do; below 20 there is a notice.

    Raises `ChainruleError` for what cannot be modelled, naming the column, the row and the value.
    """
    options = _checked_options(numeric_transform, max_categories, max_levels, grids, missing)
    names = _checked_names(frame)
    kinds = dict(kinds or {})
    _check_kinds(kinds, names)
    for name in drop:
        if str(name) not in names:
            raise unknown_name("column", name, names)
    if len(frame) < _FEW_ROWS:
        rows = "1 row" if len(frame) == 1 else f"{len(frame)} rows"
        options.notices.append(f"only {rows}: whatever is learned from so few is a guess")
    left_out = {str(name) for name in drop}
    columns = []
    for place, name in enumerate(names):
        if name in left_out:
            continue
        column = _column(frame.iloc[:, place], frame.columns[place], kinds.get(name), options)
        if column is None:
            options.notices.append(f"column {name!r} holds no value at all and is left out")
        else:
            columns.append(column)
    if not columns:
        raise ChainruleError("no column is left to model: all are dropped or without any value")
    return TableSchema(columns=tuple(columns), rows=len(frame), notices=tuple(options.notices))


# ---------------------------------------------------------------- arguments


def _checked_options(transform: str, categories: int, levels: int, grids: bool, missing: str) -> _Options:
    if transform not in _TRANSFORMS:
        raise unknown_name("numeric_transform", transform, _TRANSFORMS)
    if missing not in _MISSING:
        raise unknown_name("missing", missing, _MISSING)
    categories = whole_number("max_categories", categories, minimum=1, maximum=100_000)
    return _Options(
        transform, categories, whole_number("max_levels", levels, minimum=1), bool(grids), missing
    )


def _checked_names(frame: DataFrame) -> list[str]:
    columns = getattr(frame, "columns", None)
    if columns is None:
        raise ChainruleError(f"expected a pandas DataFrame, not {type(frame).__name__}")
    if getattr(columns, "nlevels", 1) > 1:
        raise ChainruleError("the columns have names of several levels; flatten them to one name each")
    if len(columns) == 0 or len(frame) == 0:
        raise ChainruleError(
            f"the table has {len(frame)} rows and {len(columns)} columns; expected at least one of each"
        )
    names = [str(name) for name in columns]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ChainruleError(f"two columns are named {name!r}; rename or drop one of them")
        seen.add(name)
    return names


def _check_kinds(kinds: Mapping[str, str], names: Sequence[str]) -> None:
    for name, kind in kinds.items():
        if name not in names:
            raise unknown_name("column", name, names)
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)


# ---------------------------------------------------------------- one column


def _column(series: Series, name: Hashable, kind: Kind | None, options: _Options) -> Column | None:
    present = series[series.notna()]
    if len(present) == 0:
        return None
    holes = len(present) < len(series) or options.missing == "always"
    facts: dict[str, Any] = {
        "name": name if isinstance(name, int | str) and not isinstance(name, bool) else str(name),
        "dtype": str(series.dtype),
        "missing": holes,
    }
    found = kind or _kind(present, name, options)
    if found == "boolean":
        column = BooleanColumn(**facts)
        column.read(present)  # says what is neither true nor false
        return column
    if found == "categorical":
        return _categorical(present, name, facts, options)
    if not _is_number(present.dtype):
        facts["dtype"] = ""  # text: the numbers decide, below
    numbers = as_numbers(present, name)
    _refuse_extremes(numbers, present, name)
    facts["dtype"] = facts["dtype"] or ("float64" if holes or not _whole(numbers) else "int64")
    if found == "integer" and not _whole(numbers):
        raise ChainruleError(f"column {name!r} is to be integer, but holds fractions; make it numeric")
    return _of_numbers(numbers, name, facts, kind, options)


def _kind(present: Series, name: Hashable, options: _Options) -> Kind | Literal["number"]:
    """The kind as far as the type of the cells tells it."""
    import pandas as pd

    dtype = present.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "categorical"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if looks_like_time(dtype):
        raise ChainruleError(_about_dates(name, present.iloc[0]))
    if _is_number(dtype):
        if dtype.kind == "c":
            raise ChainruleError(f"column {name!r} holds complex numbers; split it into real and imaginary")
        return "number"
    finding = look_at_text(present, name, options.max_categories)
    if finding is Finding.NUMBERS:
        options.notices.append(f"column {name!r} holds numbers written as text; they are read as numbers")
        return "number"
    if finding is Finding.DATES:
        raise ChainruleError(_about_dates(name, present.iloc[0]))
    return "boolean" if finding is Finding.TRUTH else "categorical"


def _is_number(dtype: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(dtype)) and not pd.api.types.is_bool_dtype(dtype)


def _about_dates(name: Hashable, value: object) -> str:
    return (
        f"column {name!r} holds dates or times ({shown(str(value))}); drop it (--drop {name}), or turn it "
        "into numbers that mean something, such as the hour, the weekday, or days since the event before"
    )


def _refuse_extremes(numbers: Array, present: Series, name: Hashable) -> None:
    """An error for numbers too large to compute with, and for ones that float64 cannot tell apart."""
    largest = float(np.abs(numbers).max())
    if largest > _TOO_LARGE:
        row = present.index[int(np.abs(numbers).argmax())]
        raise ChainruleError(
            f"column {name!r}, row {shown(row)}: {largest:g} is too large to compute with; rescale the "
            "column, or drop such values"
        )
    blurred = largest > _EXACT or 0 < largest < _TOO_SMALL
    if blurred and float(np.ptp(numbers)) <= _noise(numbers) and present.nunique() > 1:
        raise ChainruleError(
            f"column {name!r} holds different values that are too close to tell apart around {largest:g}; "
            f"subtract an offset or rescale it, or drop it (--drop {name}) if it holds identifiers"
        )


def _noise(numbers: Array) -> float:
    """Differences that rounding makes."""
    return max(1e-12 * float(np.abs(numbers).max()), 1 / _TOO_LARGE)


# ---------------------------------------------------------------- numbers


def _whole(x: Array) -> bool:
    return bool((x == np.rint(x)).all()) and bool((np.abs(x) <= _EXACT).all())


def _of_numbers(
    x: Array, name: Hashable, facts: dict[str, Any], kind: Kind | None, options: _Options
) -> Column:
    distinct = np.unique(x)
    low, high = float(distinct[0]), float(distinct[-1])
    as_integers = kind == "integer" or (kind is None and _whole(x) and _counts(facts["dtype"], options))
    if as_integers:
        if high - low < options.max_levels:
            return IntegerColumn(**facts, low=low, high=high)
        if kind is None and options.grids:
            spacing = _grid(distinct, len(x), options)
            filled = spacing is not None and (high - low) / spacing < 2 * len(distinct)
            if not filled and len(distinct) <= min(_FEW_CODES, len(x) // 10):
                return _codes(x, facts)
            if spacing is not None:
                return IntegerColumn(**facts, low=low, high=high, spacing=spacing)
        if len(distinct) == len(x) >= _FEW_ROWS and high - low == len(x) - 1:
            options.notices.append(f"column {name!r} looks like row numbers; --drop {name} to leave it out")
        transform = _TRANSFORMS[options.numeric_transform].fit(x)
        return IntegerColumn(**facts, low=low, high=high, transform=transform)
    if high - low <= _noise(distinct):
        constant = Constant(value=low, tolerance=max(high - low, 1e-9 * abs(low)))
        return NumericColumn(**facts, low=low, high=high, transform=constant)
    spacing = _grid(distinct, len(x), options) if kind is None and options.grids else None
    if spacing is not None:
        return IntegerColumn(**facts, low=low, high=high, spacing=spacing)
    transform = _TRANSFORMS[options.numeric_transform].fit(x)
    return NumericColumn(
        **facts, low=low, high=high, transform=transform, resolution=float(np.diff(distinct).min())
    )


def _counts(dtype: str, options: _Options) -> bool:
    """Whether whole numbers of this dtype are taken for counts: floats only where grids are looked for."""
    return options.grids or "float" not in dtype.lower()


def _codes(x: Array, facts: dict[str, Any]) -> CategoricalColumn:
    values, counts = np.unique(x, return_counts=True)
    ranked = sorted(zip(-counts, values, strict=True))
    labels: Literal["number", "integer"] = "number" if "float" in facts["dtype"].lower() else "integer"
    return CategoricalColumn(
        **facts, categories=tuple(as_label(float(value)) for _, value in ranked), labels=labels
    )


def _grid(distinct: Array, rows: int, options: _Options) -> float | None:
    """The spacing of an even grid that all values are on, if it has few points and values repeat; or None.

    The start and the spacing are any numbers: whole numbers that were standardised are on a grid too.
    """
    if len(distinct) > rows / 2:
        return None
    span = float(distinct[-1] - distinct[0])
    steps = round(span / float(np.diff(distinct).min()))
    if steps >= options.max_levels:
        return None
    spacing = span / steps
    places = (distinct - distinct[0]) / spacing
    if np.abs(places - np.rint(places)).max() > 1e-3:
        return None
    tidy = round(spacing, 10)  # 0.01, not 0.010000000000000002
    return tidy if tidy > 0 and abs(tidy - spacing) * steps < 1e-9 * span else spacing


# ---------------------------------------------------------------- labels


def _categorical(
    present: Series, name: Hashable, facts: dict[str, Any], options: _Options
) -> CategoricalColumn:
    codes, labels, raw = as_labels(present, name)
    counts: dict[str, int] = {}
    for label, count in zip(labels, np.bincount(codes, minlength=len(labels)).tolist(), strict=True):
        if count:
            counts[label] = counts.get(label, 0) + count
    ranked = sorted((label for label in counts if label != OTHER), key=lambda label: (-counts[label], label))
    kept = ranked[: options.max_categories] or [OTHER]
    shared = len(present) - sum(counts[label] for label in kept)
    if len(ranked) > len(kept):
        options.notices.append(
            f"column {name!r} has {len(ranked):,} categories; the {len(kept):,} most frequent are kept, "
            f"the other {len(ranked) - len(kept):,} ({shared / len(present):.1%} of the rows) share the "
            f"state {OTHER}"
        )
    return CategoricalColumn(
        **facts, categories=tuple(kept), labels=_label_type(raw), other_share=shared / len(present)
    )


def _label_type(raw: Sequence[object]) -> Literal["text", "number", "integer", "boolean"]:
    values = [value.item() if isinstance(value, np.generic) else value for value in raw]
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number")):
        if all(type(value) is kind for value in values):
            return cast(Literal["integer"], name)
    return "text"
