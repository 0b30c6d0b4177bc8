"""How a text file of a table is laid out, found out from its first lines; and that all rows are as long."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chainrule.errors import ChainruleError
from chainrule.tables.text_lines import (
    SPACES,
    Record,
    cells_of,
    encoding_of,
    open_text,
    records,
    width_of,
)

__all__ = ["ROW_NUMBERS", "Layout", "RowLengths", "layout_of", "refuse_twice"]

#: Stands for the name of a first column that has none.
ROW_NUMBERS = "\0row"

_SEPARATORS = (",", ";", "\t", "|", SPACES)
_SAMPLE_LINES = 50


@dataclass(frozen=True)
class Layout:
    """A file's encoding, separator and decimal point, and the names of its columns.

    - `header_records`: 1 where the first record holds the names, 0 where they were made up.
    """

    encoding: str
    separator: str
    decimal: str
    names: tuple[str, ...]
    header_records: int

    @cached_property
    def has_row_numbers(self) -> bool:
        """Whether the first column has no name."""
        return self.names[0] == ROW_NUMBERS


def layout_of(path: Path) -> Layout:
    """The layout of a file; `ChainruleError` for one that has none, or not one name for every column."""
    encoding = encoding_of(path)
    lines, whole = _first_lines(path, encoding)
    if not any(line.strip() for line in lines):
        raise ChainruleError(f"{path} is empty; expected a table with a header and rows")
    separator, sample = _separated(lines, whole)
    rows = [cells_of(record, separator) for _, record in sample]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    for (number, _), row in zip(sample, rows, strict=True):
        if len(row) != width:
            raise _wrong_length(path, number, len(row), width)
    has_header = _is_header(rows[0])
    if has_header and len(rows) == 1:
        raise ChainruleError(f"{path} has a header but no rows")
    names = _names(path, rows[0], sample[0][0]) if has_header else [f"x{i + 1}" for i in range(width)]
    cells = [cell for row in rows[has_header:] for cell in row]
    comma = separator != "," and any(re.fullmatch(r"[-+]?\d+,\d+", cell) for cell in cells)
    comma = comma and not any(re.fullmatch(r"[-+]?\d+\.\d+", cell) for cell in cells)
    return Layout(encoding, separator, "," if comma else ".", tuple(names), int(has_header))


def _first_lines(path: Path, encoding: str) -> tuple[list[str], bool]:
    """The lines up to the fiftieth that is not blank, and whether those are all."""
    lines: list[str] = []
    filled = 0
    with open_text(path, encoding) as stream:
        for line in stream:
            lines.append(line)
            filled += not line.isspace()
            if filled == _SAMPLE_LINES:
                return lines, next(stream, None) is None
    return lines, True


def _separated(lines: Sequence[str], whole: bool) -> tuple[str, list[tuple[int, Record]]]:
    """The separator that cuts the lines into equally many cells, the more the better; and the records."""
    best: tuple[float, int] = (0.5, 1)
    chosen = (",", _complete(lines, ",", whole))
    for separator in _SEPARATORS:
        sample = _complete(lines, separator, whole)
        widths = Counter(width_of(record, separator) for _, record in sample)
        width, count = widths.most_common(1)[0]
        score = (count / len(sample), width)
        if width > 1 and score > best and (separator != SPACES or (count == len(sample) and best[1] == 1)):
            best, chosen = score, (separator, sample)
    return chosen


def _complete(lines: Sequence[str], separator: str, whole: bool) -> list[tuple[int, Record]]:
    """The records of the first lines, without a last one that may go on in the lines after them."""
    sample = list(records(lines, separator))
    cut_off = not whole and sum(line.count('"') for line in lines) % 2 == 1
    return sample[:-1] if cut_off and len(sample) > 1 else sample


def _is_header(cells: Sequence[str]) -> bool:
    """Whether these are names: some text, and no number among it.

    What pandas writes counts too: an empty first cell over its row numbers, and 0, 1, 2 ... as names.
    """
    named = list(cells[1:] if cells[0] == "" and len(cells) > 1 else cells)
    numbered = len(named) > 1 and named == [str(i) for i in range(len(named))]
    return numbered or (any(named) and not any(_is_number(cell) for cell in named))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return bool(re.fullmatch(r"[-+]?\d+,\d+", cell))
    return True


def _names(path: Path, cells: Sequence[str], line: int) -> list[str]:
    """The names in a header; `ChainruleError` for one that is missing, or there twice."""
    names = list(cells)
    if names[0] == "":
        names[0] = ROW_NUMBERS
    if "" in names:
        raise ChainruleError(
            f"{path}: line {line} names no column {names.index('') + 1}; write a name there (or, if that "
            "line is a row and not the header, put a line with a name for every column above it)"
        )
    refuse_twice(path, names)
    return names


def refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Raise `ChainruleError` where two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ChainruleError(f"{path} has two columns named {twice[0]!r}; rename one of them")


def _wrong_length(path: Path, line: int, found: int, expected: int) -> ChainruleError:
    cells = "1 cell" if found == 1 else f"{found} cells"
    return ChainruleError(f"{path}: line {line} has {cells}; expected {expected} as in most lines")


class RowLengths:
    """Finds rows with too few cells, which pandas fills up with missing values without a word.

    `with RowLengths(path, layout) as lengths:` and, as rows are read, `lengths.check(rows so far)`: only
    where the last cell of some row is missing, since no other row can be too short. Reads the file a
    second time, up to there, and goes on from there the next time.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._rows = -layout.header_records
        self._stack = ExitStack()

    def __enter__(self) -> RowLengths:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def _records(self) -> Iterator[tuple[int, Record]]:
        stream = self._stack.enter_context(open_text(self._path, self._layout.encoding))
        return records(stream, self._layout.separator)

    def check(self, rows: int) -> None:
        """Raise `ChainruleError` for the first of so many rows that is too short, naming its line."""
        separator, width = self._layout.separator, len(self._layout.names)
        while self._rows < rows:
            number, record = next(self._records, (0, ""))
            if number == 0:
                return
            found = width_of(record, separator)
            if found < width:
                raise _wrong_length(self._path, number, found, width)
            self._rows += 1
