"""Tables written part by part, as .csv or .parquet; they appear under their name when they are whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TABLE_SUFFIXES", "TableFile", "check_table_file", "refuse_input"]

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def refuse_input(path: Path, source: str) -> None:
    """Raise `ChainruleError` where the result would replace the very table that it is of."""
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise ChainruleError(f"{path} is the table to be read; name another file with --out.")


def check_table_file(path: Path, source: str | None = None, *, overwrite: bool) -> None:
    """Say before long work what cannot be written; `ChainruleError` as of `check_writable`."""
    from chainrule.report import check_writable

    if source is not None:
        refuse_input(path, source)
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise ChainruleError(
            f"{path}: tables are written as {', '.join(TABLE_SUFFIXES)}; choose one of these."
        )
    if path.suffix.lower() == ".parquet":
        _pyarrow()
    check_writable(path, overwrite=overwrite)


class TableFile:
    """`with TableFile(path, overwrite=False) as file: file.write(frame)`; all frames have the same columns.

    Raises `ChainruleError` for a full disk or a file that cannot be made; then none is left behind.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        check_table_file(path, overwrite=overwrite)
        self.path = path
        # Named as chainrule.saving names its own, so that one broom finds what a kill left behind.
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._parquet: Any = None
        self._begun = False

    def __enter__(self) -> TableFile:
        return self

    def write(self, frame: DataFrame) -> None:
        """Append rows."""
        try:
            if self.path.suffix.lower() == ".parquet":
                self._write_parquet(frame)
            else:
                frame.to_csv(
                    self._partial,
                    mode="a" if self._begun else "w",
                    header=not self._begun,
                    index=False,
                    compression="gzip" if self.path.suffix.lower() == ".gz" else None,
                )
        except OSError as error:
            raise self._failed(error) from None
        self._begun = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._parquet is not None:
                self._parquet.close()
            if kind is None and self._begun:
                os.replace(self._partial, self.path)
        except OSError as failure:
            raise self._failed(failure) from None
        finally:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)

    def _write_parquet(self, frame: DataFrame) -> None:
        pyarrow = _pyarrow()
        from pyarrow import parquet

        if self._parquet is None:
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            self._parquet = parquet.ParquetWriter(self._partial, table.schema)
        else:
            table = pyarrow.Table.from_pandas(frame, schema=self._parquet.schema, preserve_index=False)
        self._parquet.write_table(table)

    def _failed(self, error: OSError) -> ChainruleError:
        return ChainruleError(
            f"{self.path} could not be written ({error.strerror or error}); what was there before is "
            "unchanged."
        )


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ChainruleError(
            'writing .parquet needs pyarrow: pip install "chainrule[parquet]", or name a .csv.'
        ) from None
    return pyarrow
