"""`TableSchema`: what each column of a table is, and the way from a DataFrame to a model and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chainrule.conditionals import Conditional, Mixed
from chainrule.errors import ChainruleError
from chainrule.tables.columns import CategoricalColumn, Column
from chainrule.tables.families import FEW_LEVELS, mixed_conditional, modelled_as
from chainrule.tables.transforms import Array
from chainrule.tables.values import refuse_first

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

__all__ = ["FILE_NAME", "TableSchema"]

#: What a schema is called in a run folder.
FILE_NAME = "schema.json"


class TableSchema(BaseModel):
    """The columns of a table in order; `infer_schema` makes one, and people may edit its JSON.

    - `columns`: a numeric, integer, categorical or boolean column each;
    - `rows`: of the table that it was inferred from;
    - `notices`: what was decided on the way and should be known: columns left out, categories joined.

    A table with these columns, found by name (their order and other columns do not matter), becomes an
    array `(rows, D)` of what a model sees by `encode`, and `decode` makes a table of such an array.
    With `log_jacobian`, densities are in the table's own units:

        log p(row) = log p_model(encode(row)) + log_jacobian(row).sum()

    A missing value is NaN in both. What values mean that were not in the table the schema comes from:
    a number out of range lies on a straight tail (low density); a whole number below or above the range
    is in the state "below" or "above"; a label that is not listed is in the state "(other)"; a value
    between the points of a grid counts as the nearest; infinities, text that is no number, and holes
    in a column with `missing: false` raise a `ChainruleError` that names column, row and value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    rows: Annotated[int, Field(ge=1)]
    notices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [str(column.name) for column in self.columns]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"column {twice!r} is listed twice")
        return self

    # ---------------------------------------------------------------- tables and arrays

    @property
    def names(self) -> tuple[str | int, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def event_shape(self) -> tuple[int]:
        """The shape of one row for a model: (D,)."""
        return (len(self.columns),)

    def encode(
        self,
        frame: DataFrame,
        *,
        dtype: DTypeLike = np.float64,
        jitter: np.random.Generator | None = None,
        allow_holes: bool = False,
    ) -> Array:
        """What a model sees of a table, `(rows, D)`, NaN where a value is missing.

        - `dtype`: float64 or float32;
        - `jitter`: spread equal values of columns that have a density evenly over one step of their
          resolution (whole numbers: over width 1), for training on numbers that were rounded;
        - `allow_holes`: NaN also in columns that the schema says have no holes, for filling them in.

        Raises `ChainruleError` for columns that are not there and values that cannot be.
        """
        return self._encode(frame, dtype, jitter, with_slopes=False, allow_holes=allow_holes)[0]

    def encode_with_log_jacobian(
        self,
        frame: DataFrame,
        *,
        dtype: DTypeLike = np.float64,
        jitter: np.random.Generator | None = None,
        allow_holes: bool = False,
    ) -> tuple[Array, Array]:
        """`encode` and `log_jacobian` in one go, `(rows, D)` each: what scoring a large table needs."""
        return self._encode(frame, dtype, jitter, with_slopes=True, allow_holes=allow_holes)

    def _encode(
        self,
        frame: DataFrame,
        dtype: DTypeLike,
        jitter: np.random.Generator | None,
        *,
        with_slopes: bool,
        allow_holes: bool,
    ) -> tuple[Array, Array]:
        where = self.places(frame)
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ChainruleError(f"dtype={dtype!r}; expected float32 or float64")
        values: Array = np.empty((len(frame), len(self.columns)), dtype=dtype)
        slopes = np.zeros_like(values) if with_slopes else values[:0]
        for place, column in enumerate(self.columns):
            series = frame.iloc[:, where[place]]
            x = column.read(series)
            if not (column.missing or allow_holes):
                _refuse_holes(x, series, column.name)
            if jitter is not None and column.step:
                x = x + (jitter.random(len(x)) - 0.5) * column.step
            if with_slopes and column.density is not None:
                values[:, place], slope = column.density.forward_with_log_slope(x)
                slopes[:, place] = np.where(np.isnan(x), 0, slope) if column.missing or allow_holes else slope
            else:
                values[:, place] = column.to_model(x)
                if with_slopes:
                    slopes[:, place] = np.where(np.isnan(x), 0, column.log_share(x))
        return values, slopes

    def places(self, frame: DataFrame) -> list[int]:
        """The place of each of the schema's columns in a table, by name.

        Raises `ChainruleError` for columns that are not there, or there twice.
        """
        found = getattr(frame, "columns", None)
        if found is None:
            raise ChainruleError(f"expected a pandas DataFrame, not {type(frame).__name__}")
        places: dict[str, list[int]] = {}
        for place, name in enumerate(found):
            places.setdefault(str(name), []).append(place)
        absent = [str(name) for name in self.names if str(name) not in places]
        if absent:
            raise ChainruleError(_absent(absent, [n for n in places if n not in set(map(str, self.names))]))
        for name in self.names:
            if len(places[str(name)]) > 1:
                raise ChainruleError(
                    f"the table has {len(places[str(name)])} columns named {str(name)!r}; "
                    "rename or drop all but one"
                )
        return [places[str(name)][0] for name in self.names]

    def typical_log_slopes(self) -> Array:
        """log dz/dx of each column `(D,)` in nats, as it is on the whole: minus the log of its spread.

        0 for columns with probabilities. In other units of a column it changes as its densities do.
        """
        return np.array([0.0 if c.density is None else c.density.typical_log_slope for c in self.columns])

    def tensor(self, frame: DataFrame, *, jitter: np.random.Generator | None = None) -> Tensor:
        """`encode` as a float32 tensor, `(rows, D)`."""
        import torch

        return torch.from_numpy(self.encode(frame, dtype=np.float32, jitter=jitter))

    def decode(self, values: NDArray[Any] | Tensor, *, like_seen: bool = False) -> DataFrame:
        """The table that `values` `(rows, D)` stand for, with the original dtypes and order of columns.

        - `like_seen`: round real numbers to the decimals of the values that the schema was inferred from,
          and keep them within their range, as whole numbers always are, and write the most frequent category
          for one that was never seen: for synthetic tables.

        Whole numbers are rounded into their range; the state `(other)` becomes the label "(other)";
        numbers that were text stay numbers. `decode(encode(frame))` is `frame`, up to rounding errors,
        for values that were known when the schema was inferred.

        Raises `ChainruleError` for another shape, or infinities.
        """
        import pandas as pd

        by_column = np.array(self._checked_values(values).T, dtype=np.float64, order="C")
        cells = {
            column.name: column.write(_cells(column, z, like_seen))
            for column, z in zip(self.columns, by_column, strict=True)
        }
        return pd.DataFrame(cells, columns=list(self.names), index=pd.RangeIndex(by_column.shape[1]))

    def never_seen(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which rows of `values` `(rows, D)` hold a category that no row of the schema's table had.

        A model leaves a little probability to such categories, of which nobody knows what they are.
        """
        found = np.zeros(len(values), dtype=bool)
        for place, column in enumerate(self.columns):
            if isinstance(column, CategoricalColumn) and column.never_other:
                found |= values[:, place] == column.levels - 1
        return found

    def log_jacobian(self, table: DataFrame | NDArray[Any] | Tensor) -> Array:
        """log |dz/dx| of every cell, `(rows, D)`, in nats: add it to the log-density of the model.

        - `table`: a DataFrame, or what `encode` made of one.

        0 for columns with probabilities, and where a value is missing.
        """
        if hasattr(table, "columns"):
            return self.encode_with_log_jacobian(table)[1]
        array = self._checked_values(table)
        slopes = np.zeros_like(array)
        for place, column in enumerate(self.columns):
            if column.density is not None:
                z = array[:, place]
                slopes[:, place] = np.where(np.isnan(z), 0, column.density.log_slope_at(z))
        return slopes

    # ---------------------------------------------------------------- models

    def conditional(
        self,
        *,
        numeric: str | Mapping[str, object] | Conditional = "gaussian_mixture",
        components: int = 10,
        few_levels: int = FEW_LEVELS,
        families: Mapping[str, str | Mapping[str, object] | Conditional] | None = None,
    ) -> Mixed:
        """The conditionals of a model for this table: a family per column.

        - `numeric`: the family of columns with a density: a name, a name with settings, or itself;
        - `components`: of the mixtures;
        - `few_levels`: ordinal columns of more states get a discretised mixture of logistics, others a
          free probability for each state, as categories do;
        - `families`: families for single columns, by name.

        Booleans are Bernoulli. Columns with holes have them as one more state.
        """
        return mixed_conditional(
            self.columns, numeric=numeric, components=components, few_levels=few_levels, families=families
        )

    def describe(self) -> DataFrame:
        """A line per column: name, kind, values, what it is modelled as, and whether it has holes."""
        import pandas as pd

        return pd.DataFrame(
            [
                (str(c.name), c.kind, c.facts, modelled_as(c), "yes" if c.missing else "no")
                for c in self.columns
            ],
            columns=["column", "kind", "values", "modelled as", "holes"],
        )

    # ---------------------------------------------------------------- JSON

    def to_json(self) -> str:
        """The schema as JSON text; every number is stored exactly."""
        columns = ",\n    ".join(
            json.dumps(c.model_dump(mode="json"), ensure_ascii=False) for c in self.columns
        )
        rest = {"format": self.format, "rows": self.rows, "notices": list(self.notices)}
        head = json.dumps(rest, ensure_ascii=False)[1:-1]
        return f'{{\n  {head},\n  "columns": [\n    {columns}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The schema of `to_json`; `ChainruleError` names the column and fact that is wrong."""
        _check_document(text)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ChainruleError(f"the schema cannot be used: {_first_problem(error, text)}") from None

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write `schema.json` into a folder, or to the path itself if it ends in .json; returns the path."""
        path = _schema_path(folder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise ChainruleError(f"cannot write {path}: {error.strerror or error}") from None
        return path

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """The schema of a folder or of a .json file; `ChainruleError` where there is none."""
        path = _schema_path(folder)
        if path.parent.is_file():
            raise ChainruleError(
                f"{path.parent} is no schema; expected a .json file, or a folder with a {FILE_NAME}, as "
                "TableSchema.save and fit_table leave them"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ChainruleError(f"no schema can be read from {path}: {reason}") from None
        try:
            return cls.from_json(text)
        except ChainruleError as error:
            raise ChainruleError(f"{path}: {error}") from None

    # ---------------------------------------------------------------- checks

    def _checked_values(self, values: Any) -> Array:
        array = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
        if array.ndim != 2 or array.shape[1] != len(self.columns) or array.dtype.kind not in "biuf":
            raise ChainruleError(
                f"values of type {array.dtype} and shape {array.shape}; expected numbers of shape "
                f"(rows, {len(self.columns)}), a column for each of the schema's"
            )
        if array.dtype.kind != "f":
            array = array.astype(np.float64)
        infinite = np.isinf(array)
        if infinite.any():
            row, place = (int(i) for i in np.argwhere(infinite)[0])
            raise ChainruleError(f"value {array[row, place]} in row {row}, column {self.names[place]!r}")
        return array


def _cells(column: Column, z: Array, like_seen: bool) -> Array:
    x = column.from_model(z)
    return column.like_seen(x, in_range=True) if like_seen else x


def _refuse_holes(x: Array, series: Any, name: str | int) -> None:
    refuse_first(
        np.isnan(x),
        series,
        name,
        "missing, but the schema has no holes there (missing: false): fill it in, drop the row, or infer "
        "the schema with missing='always' (--allow-missing)",
    )


def _absent(absent: list[str], strangers: list[str]) -> str:
    described = []
    for name in absent[:5]:
        near = difflib.get_close_matches(name, strangers, n=1, cutoff=0.6) or [
            other for other in strangers if other.strip().lower() == name.strip().lower()
        ]
        described.append(f"{name!r} (renamed to {near[0]!r}?)" if near else repr(name))
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    listed = ", ".join(map(repr, strangers[:10])) or "none"
    return (
        f"the table lacks the column{'s' if len(absent) > 1 else ''} {', '.join(described)}{more}, which the "
        f"schema needs; columns that it does not know: {listed}{', ...' if len(strangers) > 10 else ''}"
    )


def _schema_path(folder: str | PathLike[str]) -> Path:
    if not isinstance(folder, str | PathLike):
        raise ChainruleError(f"a schema's place is a path, such as 'runs/table', not {folder!r}")
    path = Path(folder)
    return path if path.suffix == ".json" else path / FILE_NAME


def _check_document(text: str) -> None:
    """Say of JSON that is something else altogether that it is; other problems are found later."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ChainruleError(f"the schema cannot be used: it is no JSON ({error})") from None
    if not isinstance(document, dict) or "columns" not in document:
        found = (
            f"with {', '.join(map(repr, document)) or 'nothing'}"
            if isinstance(document, dict)
            else "of another sort"
        )
        raise ChainruleError(
            f"this is JSON {found}, no schema of a table: expected an object with 'columns' and 'rows', as "
            "TableSchema.save writes it"
        )


def _first_problem(error: ValidationError, text: str) -> str:
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"]]
    if len(place) > 1 and place[0] == "columns" and place[1].isdigit():
        try:
            name = json.loads(text)["columns"][int(place[1])]["name"]
            place[:2] = [f"column {name!r}"]
        except (ValueError, LookupError, TypeError):
            place[:2] = [f"column number {int(place[1]) + 1}"]
    message = " ".join(str(problem["msg"]).removeprefix("Value error, ").split())
    message = "missing" if problem["type"] == "missing" else message
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{': '.join([*place, message])}{more}"
