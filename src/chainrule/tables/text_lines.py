"""Lines and records of a text file: its encoding found out, every record with the number of its line."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TextIO, cast

from chainrule.errors import ChainruleError

__all__ = [
    "SPACES",
    "Record",
    "cells_of",
    "encoding_of",
    "lines_of",
    "not_text",
    "open_text",
    "records",
    "width_of",
]

#: The separator of files whose columns are apart by any number of blanks, as pandas spells it.
SPACES = r"\s+"

#: A record: the text of its one line, or its cells where it has quotes and perhaps several lines.
Record = str | list[str]

_SAMPLE_BYTES = 1 << 16
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(path: Path) -> str:
    """`utf-16` where a byte-order mark says so, as Excel's "Unicode text" has one, else `utf-8-sig`.

    Raises `ChainruleError` for a file that is no text.
    """
    with _open_bytes(path) as stream:
        sample = stream.read(_SAMPLE_BYTES)
    if sample.startswith(_UTF_16):
        return "utf-16"
    if b"\0" in sample:
        raise ChainruleError(
            f"{path} is no text: it holds NUL bytes, so it is a binary file, or UTF-16 without a byte-order "
            "mark; expected a table as UTF-8 text"
        )
    return "utf-8-sig"


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """The text of a file, unpacked where its name ends in .gz; any sort of line ends become "\\n"."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding=encoding) as packed:
            yield cast(TextIO, packed)
    else:
        with path.open(encoding=encoding) as stream:
            yield stream


def _open_bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file as bytes."""
    with _open_bytes(path) as stream:
        yield from stream


def not_text(path: Path) -> ChainruleError:
    """The error for a file that is not in its encoding: which line and byte, and how to convert it."""
    for number, line in enumerate(lines_of(path), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            return ChainruleError(
                f"{path} is not UTF-8 text: byte 0x{line[error.start]:02x} in line {number}; if it is "
                f"Latin-1 or Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv"
            )
    return ChainruleError(f"{path} is not the text that its first bytes announce; save it as UTF-8")


# ---------------------------------------------------------------- records


def records(lines: Iterable[str], separator: str) -> Iterator[tuple[int, Record]]:
    """The records of lines, blank ones left out, each with the number of its first line, from 1.

    Meant to be quick: a line without quotes is a record as it stands.
    """
    rest = iter(lines)
    number = 0
    for line in rest:
        number += 1
        if line.isspace() and separator not in line:
            continue
        if separator == SPACES or '"' not in line:
            yield number, line
            continue
        reader = csv.reader(chain([line], rest), delimiter=separator, skipinitialspace=True)
        yield number, next(reader)
        number += reader.line_num - 1


def width_of(record: Record, separator: str) -> int:
    """How many cells a record has."""
    if isinstance(record, list):
        return len(record)
    return len(record.split()) if separator == SPACES else record.count(separator) + 1


def cells_of(record: Record, separator: str) -> list[str]:
    """The cells of a record, without blanks around them."""
    if isinstance(record, str):
        record = record.split() if separator == SPACES else record.split(separator)
    return [cell.strip() for cell in record]
