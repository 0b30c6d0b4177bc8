"""What is known of one column: its kind, and the maps between its cells and the numbers a model sees.

Three stages, each with its inverse: cells --read--> x, numbers in the column's own units (or codes of
labels), NaN where missing --to_model--> z, what the model sees. Kinds with `levels` have z = 0 ... levels
- 1 and a probability each; the others have a `density`, the map from x to z with its slope dz/dx.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator

from chainrule.tables.transforms import Array, Constant, Density, Transform
from chainrule.tables.values import as_labels, as_numbers, refuse_first, spell_missing
from chainrule.tables.writing import typed_cells

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["OTHER", "BooleanColumn", "CategoricalColumn", "Column", "IntegerColumn", "NumericColumn"]

#: The label of the state that all rare and all unseen categories share.
OTHER = "(other)"


class _Column(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: int | str
    dtype: str
    missing: bool = False

    def log_share(self, x: Array) -> Array:
        """log of the part of its state's probability that x has; 0 where a state counts as one value."""
        return np.zeros(x.shape)

    @property
    def density(self) -> Density | None:
        """The map of a column that has a density; None where it has probabilities."""
        return None

    def like_seen(self, x: Array, *, in_range: bool) -> Array:
        """x as it could have been seen; what was drawn of states is so already."""
        return x

    @property
    def step(self) -> float | None:
        """The width in x over which `jitter` may spread equal values; None where z is a state."""
        return None


class NumericColumn(_Column):
    """Real numbers, with a density.

    - `low`, `high`: the range seen; values outside are on the straight tails of `transform`, so their
      density is low and falls with the distance;
    - `resolution`: the smallest step between two values that were seen;
    - `decimals`: how many the values have at most, where they were rounded; None where they were not.

    With `transform` of kind `constant` there are two states instead: the value, and any other.
    """

    kind: Literal["numeric"] = "numeric"
    transform: Transform
    low: FiniteFloat
    high: FiniteFloat
    resolution: Annotated[float, Field(ge=0)] = 0.0
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None

    @property
    def levels(self) -> int | None:
        """2 for a constant column, None for a density."""
        return 2 if isinstance(self.transform, Constant) else None

    @property
    def step(self) -> float | None:
        """The resolution, where there is a density."""
        return None if self.levels else self.resolution

    @property
    def facts(self) -> str:
        """The column's facts in a few words."""
        if isinstance(self.transform, Constant):
            return f"always {self.transform.value:g}"
        return f"{self.low:g} to {self.high:g}, {self.transform.kind}"

    def read(self, series: Series) -> Array:
        """x of the cells."""
        return as_numbers(series, self.name)

    def to_model(self, x: Array) -> Array:
        """z of x."""
        return self.transform.forward(x)

    def from_model(self, z: Array) -> Array:
        """x of z."""
        return self.transform.inverse(z)

    def like_seen(self, x: Array, *, in_range: bool) -> Array:
        """x rounded as the values seen were, and within their range if `in_range`."""
        if in_range:
            x = np.clip(x, self.low, self.high)
        return x if self.decimals is None else np.asarray(np.round(x, self.decimals))

    @property
    def density(self) -> Density | None:
        """The map of a column that has a density; None where it is constant."""
        return None if isinstance(self.transform, Constant) else self.transform

    def write(self, x: Array) -> Any:
        """Cells of x, in the column's dtype."""
        return typed_cells(x, self.dtype)


class IntegerColumn(_Column):
    """Whole numbers, or the points low, low + spacing, ..., high of another grid.

    Few points (no `transform`): state 0 stands for everything below `low`, the last state for everything
    above `high`, and those between for the points; a value between two points counts as the nearer one.
    The members of an outer state share its probability by their distance k = 1, 2, ... from the range,
    1 / (k (k + 1)) each, which sums to 1: a number far out is odd. They decode to `low` and to `high`.

    Many whole numbers (with `transform`): a density, which over cells of width 1 is about a probability;
    values outside low ... high are as for numeric columns, and decode to `low` and `high`.
    """

    kind: Literal["integer"] = "integer"
    low: FiniteFloat
    high: FiniteFloat
    spacing: PositiveFloat = 1.0
    transform: Density | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high={self.high:g} is below low={self.low:g}")
        if self.transform is not None and self.spacing != 1:
            raise ValueError("a column with a transform has spacing 1")
        return self

    @property
    def points(self) -> int:
        """How many values there are from low to high."""
        return round((self.high - self.low) / self.spacing) + 1

    @property
    def levels(self) -> int | None:
        """The points, one state below and one above them; None with a transform."""
        return self.points + 2 if self.transform is None else None

    @property
    def step(self) -> float | None:
        """1 where there is a density."""
        return None if self.transform is None else 1.0

    @property
    def facts(self) -> str:
        """The column's facts in a few words."""
        steps = "" if self.spacing == 1 else f" by {self.spacing:g}"
        how = f", {self.points:,} levels" if self.transform is None else f", {self.transform.kind}"
        return f"{self.low:.15g} to {self.high:.15g}{steps}{how}"

    def read(self, series: Series) -> Array:
        """x of the cells."""
        return as_numbers(series, self.name)

    def to_model(self, x: Array) -> Array:
        """z of x."""
        if self.transform is not None:
            return self.transform.forward(x)
        with np.errstate(over="ignore"):
            return np.asarray(np.clip(np.rint((x - self.low) / self.spacing), -1, self.points) + 1)

    def log_share(self, x: Array) -> Array:
        """log of the part of its state's probability that x has: below 0 only outside low ... high."""
        beyond = np.maximum(self.low - x, x - self.high) / self.spacing
        steps = np.maximum(np.rint(beyond), 0)
        return np.where(steps > 0, -np.log(np.maximum(steps, 1)) - np.log1p(steps), 0.0)

    def from_model(self, z: Array) -> Array:
        """x of z."""
        if self.transform is not None:
            whole: Array = np.rint(self.transform.inverse(z))
            return np.asarray(np.clip(whole, self.low, self.high))
        x = self.low + np.clip(np.rint(z) - 1, 0, self.points - 1) * self.spacing
        # 0.1 * 3 is 0.30000000000000004: 15 digits of the largest value are all that is known.
        decimals = 15 - math.ceil(math.log10(max(abs(self.low), abs(self.high), self.spacing)))
        return np.asarray(x if self.spacing == 1 else np.round(x, decimals))

    @property
    def density(self) -> Density | None:
        """The map of a column that has a density; None without a transform."""
        return self.transform

    def write(self, x: Array) -> Any:
        """Cells of x, in the column's dtype."""
        return typed_cells(x, self.dtype)


class CategoricalColumn(_Column):
    """One of a list of labels, the most frequent first, or another one.

    The last state, `(other)`, stands for every label that is not in the list: rare ones that were left
    out (`other_share` of the rows) and ones that were never seen. Its probability is that of *some* such
    label, so all of them share it; where no row had one, it is the little that the model leaves to what
    it has never seen. It decodes to the label "(other)".
    """

    kind: Literal["categorical"] = "categorical"
    categories: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: Literal["text", "number", "integer", "boolean"] = "text"
    other_share: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.categories)) != len(self.categories):
            twice = next(c for c in self.categories if self.categories.count(c) > 1)
            raise ValueError(f"category {twice!r} is listed twice")
        return self

    @property
    def levels(self) -> int:
        """The categories and `(other)`."""
        return len(self.categories) + 1

    @property
    def facts(self) -> str:
        """The column's facts in a few words."""
        few = ", ".join(c if len(c) <= 20 else f"{c[:17]}..." for c in self.categories[:4])
        more = f", ... {len(self.categories) - 4:,} more" if len(self.categories) > 4 else ""
        shared = f"; {self.other_share:.1%} other" if self.other_share else ""
        return f"{few}{more}{shared}"

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {category: code for code, category in enumerate(self.categories)}

    @cached_property
    def _values(self) -> Any:
        kinds: dict[str, Callable[[str], object]]
        kinds = {"text": str, "number": float, "integer": int, "boolean": "True".__eq__}
        values = np.empty(self.levels, dtype=object)
        values[:-1] = [kinds[self.labels](category) for category in self.categories]
        values[-1] = OTHER
        return values

    @cached_property
    def _codes_by_number(self) -> dict[float, int]:
        """The categories that spell a number, without those that spell the same one."""
        numbers = [_spelled_number(category) for category in self.categories]
        spellings = Counter(numbers)
        return {
            number: code
            for code, number in enumerate(numbers)
            if number is not None and spellings[number] == 1
        }

    @cached_property
    def _codes_by_truth(self) -> dict[float, int]:
        """The two categories, where one is a word for false and the other one for true; else none."""
        truths = [_TRUTH.get(category.strip().lower(), -1.0) for category in self.categories]
        found = {truth: code for code, truth in enumerate(truths)}
        return found if len(self.categories) == 2 and set(found) == {0.0, 1.0} else {}

    @property
    def never_other(self) -> bool:
        """Whether no row that the schema was inferred from had a label outside the list."""
        return self.other_share == 0 and OTHER not in self.categories

    def like_seen(self, x: Array, *, in_range: bool) -> Array:
        """x with the most frequent category for a label that no row had, if `in_range`."""
        if not (in_range and self.never_other):
            return x
        return np.where(x == self.levels - 1, 0, x)

    def _state(self, label: str, by_number: bool) -> int:
        code = self._codes.get(label)
        if code is None and by_number:
            number = _spelled_number(label)
            code = None if number is None else self._codes_by_number.get(number)
        if code is None and self._codes_by_truth:
            code = self._codes_by_truth.get(_TRUTH.get(label.strip().lower(), -1.0))
        return self.levels - 1 if code is None else code

    def read(self, series: Series) -> Array:
        """The state of each cell.

        A number matches the one category that spells it, as 7 does "007". Where the categories are a yes
        and a no, other words for these match too, and bools. A text such as "NA" is missing among numbers
        and a label among texts.
        """
        codes, labels, _ = as_labels(series, self.name)
        # Where the cells or the categories are numbers, 007 and 7.0 are one; as texts they are two.
        by_number = self.labels in ("number", "integer") or series.dtype.kind in "iuf"
        states = np.array([*(self._state(label, by_number) for label in labels), np.nan])
        if self.labels != "text":
            states[:-1][spell_missing(labels)] = np.nan
        return np.asarray(states[codes])  # code -1, missing, is the last one

    def to_model(self, x: Array) -> Array:
        """The states as they are."""
        return x

    def from_model(self, z: Array) -> Array:
        """The nearest state."""
        return np.clip(np.rint(z), 0, self.levels - 1)

    def write(self, x: Array) -> Any:
        """The labels, in the column's dtype; as objects where some row is `(other)` among numbers.

        A pandas categorical gets its categories sorted, as pandas makes them, with `(other)` last.
        """
        import pandas as pd

        hole = np.isnan(x)
        states = np.where(hole, 0, x).astype(np.intp)
        if self.dtype == "category":
            known = self._values[:-1]
            unknown = [OTHER] if bool((states[~hole] == self.levels - 1).any()) else []
            return pd.Categorical(np.where(hole, None, self._values[states]), [*sorted(known), *unknown])
        cells = self._values[states]
        cells[hole] = None
        if self.labels != "text" and bool((states[~hole] == self.levels - 1).any()):
            return pd.Series(cells, dtype=object)
        return typed_cells(cells, self.dtype, hole)


class BooleanColumn(_Column):
    """True or false: bools, 0 and 1, or the words true, false, yes, no, t, f, y and n."""

    kind: Literal["boolean"] = "boolean"

    @property
    def levels(self) -> int:
        """False and true."""
        return 2

    @property
    def facts(self) -> str:
        """The column's facts in a few words."""
        return "False, True"

    def read(self, series: Series) -> Array:
        """0 for false, 1 for true; `ChainruleError` for anything else."""
        codes, labels, _ = as_labels(series, self.name)
        states = np.array([*(_TRUTH.get(label.strip().lower(), -1.0) for label in labels), np.nan])
        states[:-1][spell_missing(labels)] = np.nan
        x: Array = states[codes]
        refuse_first(x < 0, series, self.name, "expected true or false (or yes or no, 1 or 0)")
        return x

    def to_model(self, x: Array) -> Array:
        """0 and 1 as they are."""
        return x

    def from_model(self, z: Array) -> Array:
        """The nearer of 0 and 1."""
        return np.clip(np.rint(z), 0, 1)

    def write(self, x: Array) -> Any:
        """Bools, in the column's dtype."""
        hole = np.isnan(x)
        cells = np.empty(len(x), dtype=object)
        cells[:] = [None if missing else value for missing, value in zip(hole, x == 1, strict=True)]
        return typed_cells(cells, self.dtype, hole)


def _spelled_number(text: str) -> float | None:
    """The number that a text spells; None where there is none that float64 tells from its neighbours."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 2**53 and "_" not in text else None


_TRUTH = {
    **dict.fromkeys(("false", "f", "no", "n", "0"), 0.0),
    **dict.fromkeys(("true", "t", "yes", "y", "1"), 1.0),
}

Column = Annotated[
    NumericColumn | IntegerColumn | CategoricalColumn | BooleanColumn, Field(discriminator="kind")
]
