"""Columns of labels in which no label is known: of another type, most likely, or spelled in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.tables.columns import CategoricalColumn
from chainrule.tables.schema import TableSchema
from chainrule.tables.values import shown

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["about_strangers"]

#: Fewer rows may well be strange all together.
_FEW_ROWS = 5


def about_strangers(schema: TableSchema, frame: DataFrame) -> list[str]:
    """A line for each column of `frame` without a single label that the schema knows.

    Every such cell is the state `(other)`, which is right for one new label and unlikely to be what is meant
    for a whole column.
    """
    lines = []
    for place, column in zip(schema.places(frame), schema.columns, strict=True):
        if not isinstance(column, CategoricalColumn):
            continue
        cells = frame.iloc[:, place]
        present = cells[cells.notna()]
        if len(present) < _FEW_ROWS or not column.never_other:
            continue
        if bool(np.all(column.read(present) == column.levels - 1)):
            known = ", ".join(column.categories[:3]) + (", ..." if len(column.categories) > 3 else "")
            lines.append(
                f"column {str(column.name)!r} holds no label that the model knows, but such as "
                f"{shown(present.iloc[0])} (it knows {known}): all count as a label never seen"
            )
    return lines
