"""Imputation: the holes of a table drawn given what is known of each row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.likelihood import LikelihoodModel
from chainrule.sampling import FillInfo, FillMethod
from chainrule.tables import TableSchema
from chainrule.tables.origin import forget_origin
from chainrule.tables.values import as_label

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["fill_table"]


def fill_table(
    schema: TableSchema,
    model: LikelihoodModel,
    frame: DataFrame,
    *,
    seed: int | None,
    num_particles: int,
    method: FillMethod,
) -> tuple[DataFrame, FillInfo]:
    """The table without holes, and how each row came about: see `TableModel.fill`."""
    places = schema.places(frame)
    values, slopes = schema.encode_with_log_jacobian(frame, allow_holes=True)
    drawn, info = model.fill(
        torch.from_numpy(values),
        seed=seed,
        num_particles=num_particles,
        method=method,
        present=True,
        return_info=True,
    )
    filled = drawn.double().cpu().numpy()
    complete = forget_origin(frame.copy())
    for index, column in enumerate(schema.columns):
        hole = np.isnan(values[:, index])
        if hole.any():
            drawn_cells = column.from_model(filled[hole, index])
            cells = column.write(column.like_seen(drawn_cells, in_range=False))
            complete.isetitem(places[index], _with_cells(frame.iloc[:, places[index]], hole, cells))
    # The slopes of holes are 0: the evidence is in the units of what is known.
    in_own_units = info.log_evidence.cpu() + torch.from_numpy(slopes.sum(1))
    return complete, replace(info, log_evidence=in_own_units)


def _with_cells(series: Series, hole: NDArray[np.bool_], cells: Any) -> Series:
    """The column with these cells in its holes; in its own dtype wherever that can hold them."""
    import pandas as pd

    new = pd.Series(cells)
    if hole.all():  # an empty column has no dtype worth keeping
        return pd.Series(new.array, index=series.index, name=series.name)
    if pd.api.types.infer_dtype(series[~hole]) == "string":  # also where the text spells numbers
        new = new.astype(object).map(as_label)
    filled = series.copy()
    if isinstance(series.dtype, pd.CategoricalDtype):
        new = new.astype(object)
        filled = filled.cat.add_categories(
            [label for label in new.unique() if label not in filled.cat.categories]
        )
    else:
        try:
            new = new.astype(series.dtype)
        except (TypeError, ValueError):  # 2.5 among whole numbers, "(other)" among numbers
            whole = pd.api.types.is_integer_dtype(series.dtype)
            wider = "Float64" if whole and pd.api.types.is_numeric_dtype(new.dtype) else object
            new, filled = new.astype(wider), filled.astype(wider)
    filled.iloc[np.flatnonzero(hole)] = new.array
    return filled
