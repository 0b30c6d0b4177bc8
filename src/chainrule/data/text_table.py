"""Text tables of whole numbers, one example a row: .csv, and the .data and .amat files of the literature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chainrule.data.raw import Index, RawData
from chainrule.errors import ChainruleError

__all__ = ["read_text_table"]


def read_text_table(path: Path) -> RawData:
    """A text table with an optional header row; row numbers are line numbers, from 1."""
    content = path.read_bytes()
    tidy = _tidy_digits(content)
    if tidy is not None:
        return RawData(tidy, lambda index: f"row {index[0] + 1}, column {index[1] + 1}")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ChainruleError(f"{path} is not a text table: byte {error.start} is not UTF-8") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ChainruleError(f"{path} has no rows")
    separator = next((mark for mark in ",;\t" if mark in numbered[0][1]), None)
    header = _header(_cells(numbered[0][1], separator))
    if header:
        numbered = numbered[1:]
    if not numbered:
        raise ChainruleError(f"{path} has a header but no rows")
    width = len(header or _cells(numbered[0][1], separator))
    rows = [_row(path, number, _cells(line, separator), width) for number, line in numbered]

    def place(index: Index) -> str:
        named = f" ({header[index[1]]})" if header else ""
        return f"row {numbered[index[0]][0]}, column {index[1] + 1}{named}"

    return RawData(np.stack(rows), place)


def _tidy_digits(content: bytes) -> NDArray[np.uint8] | None:
    """The fast way for what programs write: digits, one separator, equal lines; else None.

    The published binarized MNIST text is 78 MB in this form, minutes when read cell by cell.
    """
    line = content.find(b"\n") + 1
    if line < 2 or line % 2 or len(content) % line:
        return None
    table = np.frombuffer(content, np.uint8).reshape(-1, line)  # (N, 2 D): digit, separator, digit, ...
    digits, marks = table[:, ::2], table[:, 1::2]
    separators = marks[:, :-1]
    separator_is_one = separators.size == 0 or (
        chr(separators[0, 0]) in ",;\t " and bool((separators == separators[0, 0]).all())
    )
    if not separator_is_one or (marks[:, -1] != ord("\n")).any():
        return None
    values = digits - np.uint8(ord("0"))  # wraps round below "0", so one comparison finds every non-digit
    # A first row 0,1,2 is a header of column numbers, which the patient way knows about.
    return None if (values > 9).any() or _header([str(v) for v in values[0]]) else values


def _cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _header(cells: list[str]) -> list[str] | None:
    """The cells if they are column names: all words, or the column numbers 0, 1, 2 ... that pandas writes."""
    numbered = len(cells) > 2 and cells == [str(i) for i in range(len(cells))]
    return cells if numbered or not any(_is_number(cell) or cell == "" for cell in cells) else None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(path: Path, number: int, cells: list[str], width: int) -> NDArray[np.float64]:
    if len(cells) != width:
        raise ChainruleError(f"{path}: row {number} has {len(cells)} columns; expected {width} as above it")
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        column = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        found = repr(cells[column][:40]) if cells[column] else "an empty cell"
        raise ChainruleError(
            f"{path}: {found} at row {number}, column {column + 1}; expected a whole number"
        ) from None
