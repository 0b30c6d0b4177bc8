"""Columns of numbers: whole or not, on a grid, few codes, or a density; and numbers too extreme for any."""

from __future__ import annotations

import shlex
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.tables.columns import CategoricalColumn, Column, IntegerColumn, NumericColumn
from chainrule.tables.inference_options import Kind, Options
from chainrule.tables.transforms import Array, Constant, Quantile, Standard
from chainrule.tables.values import as_label, place_of

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["are_whole", "column_of_numbers", "refuse_extremes"]

_TRANSFORMS: dict[str, type[Quantile] | type[Standard]] = {"quantile": Quantile, "standard": Standard}

_FEW_ROWS = 20
_FEW_CODES = 20
_MOST_DECIMALS = 12
_EXACT = 2.0**53  # whole numbers beyond this are not all float64
_TOO_LARGE, _TOO_SMALL = 1e100, 1e-88


def refuse_extremes(numbers: Array, present: Series, name: Hashable) -> None:
    """An error for numbers too large to compute with, and for ones that float64 cannot tell apart."""
    largest = float(np.abs(numbers).max())
    if largest > _TOO_LARGE:
        where = place_of(present, int(np.abs(numbers).argmax()))
        raise ChainruleError(
            f"column {name!r}, {where}: {largest:g} is too large to compute with; rescale the column, or "
            "drop such values"
        )
    blurred = largest > _EXACT or 0 < largest < _TOO_SMALL
    if blurred and float(np.ptp(numbers)) <= _noise(numbers) and present.nunique() > 1:
        raise ChainruleError(
            f"column {name!r} holds different values that are too close to tell apart around {largest:g}; "
            f"subtract an offset or rescale it, or drop it (--drop {shlex.quote(str(name))}) if it holds "
            "identifiers"
        )


def _noise(numbers: Array) -> float:
    """Differences that rounding makes."""
    return max(1e-12 * float(np.abs(numbers).max()), 1 / _TOO_LARGE)


def are_whole(x: Array) -> bool:
    """Whether all are whole numbers that float64 tells from their neighbours."""
    return bool((x == np.rint(x)).all()) and bool((np.abs(x) <= _EXACT).all())


def column_of_numbers(
    x: Array, name: Hashable, facts: dict[str, Any], kind: Kind | None, options: Options
) -> Column:
    """The column of numbers x `(n,)`, none of them missing; `kind`: what it is to be, or None."""
    distinct = np.unique(x)
    low, high = float(distinct[0]), float(distinct[-1])
    as_integers = kind == "integer" or (kind is None and are_whole(x) and _counts(facts["dtype"], options))
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
        if _are_row_numbers(x, distinct):
            options.notices.append(
                f"column {name!r} looks like row numbers; --drop {shlex.quote(str(name))} to leave it out"
            )
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
        **facts,
        low=low,
        high=high,
        transform=transform,
        resolution=float(np.diff(distinct).min()),
        decimals=_decimals(distinct, facts["dtype"]),
    )


def _are_row_numbers(x: Array, distinct: Array) -> bool:
    """Whether each number comes once, without gaps; or ascending with few, as where rows are kept back."""
    if len(distinct) < len(x) or len(x) < _FEW_ROWS:
        return False
    span = float(distinct[-1] - distinct[0]) + 1
    return span == len(x) or (span <= 2 * len(x) and bool((np.diff(x) > 0).all()))


def _decimals(distinct: Array, dtype: str) -> int | None:
    """How many decimals numbers have at most; None where they were not rounded to so many.

    A number of the column's type is off its decimals by a rounding error, which is far less than one of them.
    """
    narrow = np.float32 if "32" in dtype else np.float16 if "16" in dtype else np.float64
    error = 2 * float(np.spacing(np.abs(distinct).max().astype(narrow)))
    for decimals in range(_MOST_DECIMALS + 1):
        unit = 10.0**-decimals
        if error > 0.01 * unit:
            break
        if np.abs(distinct - np.round(distinct, decimals)).max() <= error:
            return decimals
    return None


def _counts(dtype: str, options: Options) -> bool:
    """Whether whole numbers of this dtype are taken for counts: floats only where grids are looked for."""
    return options.grids or "float" not in dtype.lower()


def _codes(x: Array, facts: dict[str, Any]) -> CategoricalColumn:
    values, counts = np.unique(x, return_counts=True)
    ranked = sorted(zip(-counts, values, strict=True))
    labels: Literal["number", "integer"] = "number" if "float" in facts["dtype"].lower() else "integer"
    return CategoricalColumn(
        **facts, categories=tuple(as_label(float(value)) for _, value in ranked), labels=labels
    )


def _grid(distinct: Array, rows: int, options: Options) -> float | None:
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
