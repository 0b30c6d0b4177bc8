"""`infer_schema`: look at a table once, and say what each of its columns is."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError, unknown_name
from chainrule.tables.columns import OTHER, BooleanColumn, CategoricalColumn, Column
from chainrule.tables.inference_options import KINDS, Kind, Options
from chainrule.tables.number_columns import are_whole, column_of_numbers, refuse_extremes
from chainrule.tables.schema import TableSchema
from chainrule.tables.text_columns import Finding, about_formatted, formatted_number, look_at_text
from chainrule.tables.values import (
    MISSING_WORDS,
    as_labels,
    as_numbers,
    looks_like_time,
    shown,
    spell_missing,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["KINDS", "infer_schema"]

_FEW_ROWS = 20
_TRANSFORMS = ("quantile", "standard")
_MISSING = ("auto", "always")


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
    other text is categorical, but dates, free text and identifiers are an error that says what to do, as
    are many numbers spelled like "$496.00" (few of them are categories, with a notice). Empty cells, None
    and NaN are holes; the texts NA, null and the like are holes among numbers and truth values, and
    categories like any other, with a notice, among text.
    Whole numbers are integer, also where they are stored as floats (as columns with holes are); codes of
    few, far apart values (200, 404, 500) are categorical. A constant column is kept with two states, its
    value and anything else, so that it costs nothing until a row differs. A column without any value is
    left out with a notice. Any number of rows from 1 will do; below 20 there is a notice.

    Raises `ChainruleError` for what cannot be modelled, naming the column, the row and the value.
    """
    options = _checked_options(numeric_transform, max_categories, max_levels, grids, missing)
    names = _checked_names(frame)
    kinds, drop = _checked_kinds(kinds, names), _checked_drop(drop)
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


def _checked_options(transform: str, categories: int, levels: int, grids: bool, missing: str) -> Options:
    if transform not in _TRANSFORMS:
        raise unknown_name("numeric_transform", transform, _TRANSFORMS)
    if missing not in _MISSING:
        raise unknown_name("missing", missing, _MISSING)
    categories = whole_number("max_categories", categories, minimum=1, maximum=100_000)
    return Options(transform, categories, whole_number("max_levels", levels, minimum=1), bool(grids), missing)


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


def _checked_kinds(kinds: Mapping[str, Kind] | None, names: Sequence[str]) -> dict[str, Kind]:
    if not isinstance(kinds, Mapping | None):
        raise ChainruleError(
            f"kinds={shown(kinds)}; expected kinds by name, such as {{'zip': 'categorical'}}"
        )
    for name, kind in (kinds or {}).items():
        if name not in names:
            raise unknown_name("column", name, names)
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)
    return dict(kinds or {})


def _checked_drop(drop: Sequence[str]) -> Sequence[str]:
    if isinstance(drop, str) or not isinstance(drop, Iterable):
        raise ChainruleError(f"drop={shown(drop)}; expected a list of names, such as ['id']")
    return list(drop)


# ---------------------------------------------------------------- one column


def _column(series: Series, name: Hashable, kind: Kind | None, options: Options) -> Column | None:
    present = series[series.notna()]
    words = _spells_missing(present, name)
    if len(present) == 0 or (words.all() and kind != "categorical"):
        return None
    found = kind or _kind(present[~words], name, options)
    if found != "categorical":
        present = present[~words]
    holes = len(present) < len(series) or options.missing == "always"
    facts: dict[str, Any] = {
        "name": name if isinstance(name, int | str) and not isinstance(name, bool) else str(name),
        "dtype": str(series.dtype),
        "missing": holes,
    }
    if found == "boolean":
        column = BooleanColumn(**facts)
        column.read(present)  # says what is neither true nor false
        return column
    if found == "categorical":
        return _categorical(present, name, facts, options)
    if not _is_number(present.dtype):
        facts["dtype"] = ""  # text: the numbers decide, below
    numbers = as_numbers(present, name)
    refuse_extremes(numbers, present, name)
    facts["dtype"] = facts["dtype"] or ("float64" if holes or not are_whole(numbers) else "int64")
    if found == "integer" and not are_whole(numbers):
        raise ChainruleError(f"column {name!r} is to be integer, but holds fractions; make it numeric")
    return column_of_numbers(numbers, name, facts, kind, options)


def _spells_missing(present: Series, name: Hashable) -> np.ndarray:
    """Which cells are texts such as NA, that mean a hole if the others are numbers, `(n,)`."""
    import pandas as pd

    if present.dtype.kind not in "OTU" or isinstance(present.dtype, pd.CategoricalDtype):
        return np.zeros(len(present), dtype=bool)
    codes, labels, _ = as_labels(present, name)
    return spell_missing(labels)[codes]


def _kind(present: Series, name: Hashable, options: Options) -> Kind | Literal["number"]:
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
        f"column {name!r} holds dates or times ({shown(str(value))}); drop it "
        f"(--drop {shlex.quote(str(name))}), or turn it into numbers that mean something, such as the hour, "
        "the weekday, or days since the event before"
    )


# ---------------------------------------------------------------- labels


def _categorical(
    present: Series, name: Hashable, facts: dict[str, Any], options: Options
) -> CategoricalColumn:
    codes, labels, raw = as_labels(present, name)
    counts: dict[str, int] = {}
    for label, count in zip(labels, np.bincount(codes, minlength=len(labels)).tolist(), strict=True):
        if count:
            counts[label] = counts.get(label, 0) + count
    ranked = sorted((label for label in counts if label != OTHER), key=lambda label: (-counts[label], label))
    _note_odd_labels(name, counts, options)
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


def _note_odd_labels(name: Hashable, counts: Mapping[str, int], options: Options) -> None:
    """Notices for categories that may have been meant for something else."""
    for word in MISSING_WORDS:
        if word in counts:
            cells = "1 cell" if counts[word] == 1 else f"{counts[word]:,} cells"
            options.notices.append(
                f"column {name!r} holds the text {word!r} in {cells}: a category like any other; "
                "empty the cells if it means that the value is missing"
            )
    labels = [label for label in counts if not spell_missing([label])[0]]
    example = formatted_number(labels) if labels else None
    if example is not None:
        options.notices.append(about_formatted(name, example, len(labels)))


def _label_type(raw: Sequence[object]) -> Literal["text", "number", "integer", "boolean"]:
    values = [value.item() if isinstance(value, np.generic) else value for value in raw]
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number")):
        if all(type(value) is kind for value in values):
            return cast(Literal["integer"], name)
    return "text"
