"""Result files that grow chunk by chunk, and appear under their name only when whole.

CSV, JSON lines and Parquet hold the same columns: row, id (where rows have one), score, p_value,
alarm, odd_columns (where columns are judged; filled for alarms). Infinity is `-inf` in CSV, and null
in JSON lines, since JSON has no word for it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np

from chainrule.detection.scores import Booleans, Floats
from chainrule.errors import ChainruleError

__all__ = ["SUFFIXES", "JudgedRows", "ResultFile"]

_SEPARATOR = ";"


@dataclass(frozen=True)
class JudgedRows:
    """A chunk of results; `first` is the number of its first row in the stream.

    `odd_columns` names the oddest columns of the rows in alarm, by their place in the chunk.
    """

    first: int
    scores: Floats
    p_values: Floats
    alarms: Booleans
    ids: Sequence[str] | None = None
    odd_columns: dict[int, list[str]] | None = None

    def odd_column_texts(self, write: Callable[[list[str]], str]) -> list[str]:
        """The odd columns of every row, in order, as `write` puts them; most rows have none."""
        texts = [write([])] * len(self.scores)
        for place, names in (self.odd_columns or {}).items():
            texts[place] = write(names)
        return texts


class ResultFile:
    """A file of results, in the format its suffix names: `with ResultFile(path) as file: file.write(rows)`.

    It is written beside its final name and renamed when the block ends well. If the block fails,
    nothing is left behind and what was there before is unchanged. Raises `ChainruleError` for an
    unknown suffix, an existing file (unless `overwrite`), a missing folder, or a full disk.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        with_ids: bool = False,
        with_columns: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._format = _format_for(self.path)
        self._options = (with_ids, with_columns)
        if self.path.is_dir():
            raise ChainruleError(f"{self.path} is a folder; give the name of a file to write.")
        if self.path.exists() and not overwrite:
            raise ChainruleError(
                f"{self.path} already exists; pass --overwrite (overwrite=True) or another name."
            )
        # Named as chainrule.saving names its own, so that one broom finds what a kill left behind.
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")

    def __enter__(self) -> ResultFile:
        with self._one_line_errors():
            self._file = open(self._partial, "wb")  # closed by _finish or _discard
        try:
            with self._one_line_errors():
                self._writer = self._format(self._file, *self._options)
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, rows: JudgedRows) -> None:
        """Append a chunk."""
        with self._one_line_errors():
            self._writer.write(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                with suppress(OSError):
                    self._writer.close()  # a Parquet writer holds on to the file until told
        finally:
            self._discard()

    def _finish(self) -> None:
        with self._one_line_errors():
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self.path)

    def _discard(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ChainruleError(
                f"{self.path} could not be written ({error.strerror or error}); "
                "what was there before is unchanged."
            ) from None


class _Format(Protocol):
    def __init__(self, file: BinaryIO, with_ids: bool, with_columns: bool) -> None: ...

    def write(self, rows: JudgedRows) -> None: ...

    def close(self) -> None: ...


class _Csv:
    """Numbers are written with as many digits as bring the same float64 back."""

    def __init__(self, file: BinaryIO, with_ids: bool, with_columns: bool) -> None:
        self._file, self._with_ids, self._with_columns = file, with_ids, with_columns
        file.write((",".join(_names(with_ids, with_columns)) + "\n").encode())

    def write(self, rows: JudgedRows) -> None:
        fields: list[Iterable[str]] = [map(str, range(rows.first, rows.first + len(rows.scores)))]
        if self._with_ids:
            fields.append(map(_quoted, rows.ids or ()))
        fields += [map(repr, rows.scores.tolist()), map(repr, rows.p_values.tolist())]
        fields.append(["1" if alarm else "0" for alarm in rows.alarms.tolist()])
        if self._with_columns:
            fields.append(rows.odd_column_texts(lambda names: _quoted(_SEPARATOR.join(names))))
        lines = [",".join(line) for line in zip(*fields, strict=True)]
        self._file.write("\n".join([*lines, ""]).encode())

    def close(self) -> None:
        pass


class _JsonLines:
    def __init__(self, file: BinaryIO, with_ids: bool, with_columns: bool) -> None:
        self._file, self._with_ids, self._with_columns = file, with_ids, with_columns
        # Filled in by `%`: a whole dictionary through json.dumps takes three times as long.
        names = _names(with_ids, with_columns)
        self._line = "{" + ", ".join(f'"{name}": %s' for name in names) + "}"

    def write(self, rows: JudgedRows) -> None:
        scores = map(repr, rows.scores.tolist())
        if not np.isfinite(rows.scores).all():
            scores = map(_finite_or_null, rows.scores.tolist())
        fields: list[Iterable[str]] = [map(str, range(rows.first, rows.first + len(rows.scores)))]
        if self._with_ids:
            fields.append(map(_json, rows.ids or ()))
        fields += [scores, map(repr, rows.p_values.tolist())]
        fields.append(["true" if alarm else "false" for alarm in rows.alarms.tolist()])
        if self._with_columns:
            fields.append(rows.odd_column_texts(_json))
        lines = [self._line % line for line in zip(*fields, strict=True)]
        self._file.write("\n".join([*lines, ""]).encode())

    def close(self) -> None:
        pass


class _Parquet:
    """One row group a chunk."""

    def __init__(self, file: BinaryIO, with_ids: bool, with_columns: bool) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ChainruleError(
                "writing .parquet needs pyarrow: pip install chainrule[parquet], or name a .csv or .jsonl."
            ) from None
        self._arrow = pyarrow
        types = {
            "row": pyarrow.int64(),
            "id": pyarrow.string(),
            "score": pyarrow.float64(),
            "p_value": pyarrow.float64(),
            "alarm": pyarrow.bool_(),
            "odd_columns": pyarrow.string(),
        }
        self._schema = pyarrow.schema([(name, types[name]) for name in _names(with_ids, with_columns)])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema)

    def write(self, rows: JudgedRows) -> None:
        fields = {
            "row": np.arange(rows.first, rows.first + len(rows.scores)),
            "id": list(rows.ids or ()),
            "score": rows.scores,
            "p_value": rows.p_values,
            "alarm": rows.alarms,
        }
        if "odd_columns" in self._schema.names:
            fields["odd_columns"] = rows.odd_column_texts(_SEPARATOR.join)
        kept = {name: fields[name] for name in self._schema.names}
        self._writer.write_table(self._arrow.table(kept, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_FORMATS: dict[str, type[_Format]] = {".csv": _Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
#: The formats results are written in, by suffix.
SUFFIXES = tuple(_FORMATS)


def _format_for(path: Path) -> type[_Format]:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ChainruleError(f"{path}: results are written as {', '.join(SUFFIXES)}; name such a file.")
    return kind


def _names(with_ids: bool, with_columns: bool) -> list[str]:
    return [
        "row",
        *(["id"] if with_ids else []),
        "score",
        "p_value",
        "alarm",
        *(["odd_columns"] if with_columns else []),
    ]


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _finite_or_null(value: float) -> str:
    return repr(value) if math.isfinite(value) else "null"
