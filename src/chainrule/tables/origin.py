"""Which file a table was read from, so that an error can name the line of a cell as an editor shows it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError
from chainrule.tables.layout import Layout, layout_of
from chainrule.tables.text_lines import cells_of, open_text, records

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["forget_origin", "line_of_cell", "note_origin"]

#: In `DataFrame.attrs`, which pandas hands on to parts of a table.
_KEY = "chainrule.file"


def note_origin(frame: DataFrame, path: Path) -> DataFrame:
    """The frame, which now knows the text file that it comes from; its rows are numbered from 0."""
    frame.attrs[_KEY] = str(path)
    return frame


def forget_origin(frame: DataFrame) -> DataFrame:
    """The frame without its origin: what is made of it may be written to another file."""
    frame.attrs.pop(_KEY, None)
    return frame


def line_of_cell(attrs: dict[Any, Any], label: object, column: Hashable, value: object) -> str:
    """` (line 9 of a.csv)`, where the row `label` is there and its cell is what was found; else nothing.

    - `value`: of the cell, None where it is missing. It is compared, because a table may have been given
      other row numbers since it was read.
    """
    path, row = attrs.get(_KEY), _as_row(label)
    if not isinstance(path, str) or row is None:
        return ""
    try:
        line = _line(Path(path), row, str(column), value)
    except (ChainruleError, OSError, ValueError, EOFError):  # the file is no longer what it was
        return ""
    return "" if line is None else f" (line {line} of {Path(path).name})"


def _as_row(label: object) -> int | None:
    if isinstance(label, bool) or not hasattr(label, "__index__"):
        return None
    number = int(label.__index__())
    return number if number >= 0 else None


def _line(path: Path, row: int, column: str, value: object) -> int | None:
    layout = layout_of(path)
    if column not in layout.names:
        return None
    with open_text(path, layout.encoding) as stream:
        wanted = row + layout.header_records
        found = next(islice(records(stream, layout.separator), wanted, None), None)
    if found is None:
        return None
    cells = cells_of(found[1], layout.separator)
    place = layout.names.index(column)
    cell = cells[place] if place < len(cells) else ""
    return found[0] if _says(cell, value, layout) else None


def _says(cell: str, value: object, layout: Layout) -> bool:
    """Whether a cell of the file is what became of it in the table."""
    if cell == str(value).strip():
        return True
    try:
        number = float(cell.replace(layout.decimal, "."))
    except ValueError:
        return value is None
    if value is None:
        return math.isnan(number)
    try:
        return math.isclose(number, float(str(value)), rel_tol=1e-9) or number == float(str(value))
    except ValueError:
        return False
