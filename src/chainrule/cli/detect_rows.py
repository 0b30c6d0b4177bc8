"""Cells for people: what an odd row holds, and what its columns usually hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

    from chainrule.tables import TableSchema

__all__ = ["OddestCells", "cell_text", "usual_values"]

_LONGEST = 40


def cell_text(value: Any) -> str:
    """A cell in a few characters.

    >>> cell_text(1379963888), cell_text(0.123456789), cell_text(None), cell_text("tcp")
    ('1,379,963,888', '0.123457', '(missing)', 'tcp')
    """
    import numpy as np
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "(missing)"
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        number = float(value)
        whole = number.is_integer() and abs(number) < 1e15
        return f"{number:,.0f}" if whole else f"{number:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def usual_values(frame: DataFrame, schema: TableSchema) -> dict[str, str]:
    """Of every column, what its cells mostly are: `0 to 520 in 90 %`, `tcp in 82 %`."""
    import numpy as np

    from chainrule.tables import IntegerColumn, NumericColumn

    described = {}
    places = {str(name): place for place, name in enumerate(frame.columns)}
    for column in schema.columns:
        cells = frame.iloc[:, places[str(column.name)]]
        present = cells[cells.notna()]
        if not len(present):
            described[str(column.name)] = "missing"
            continue
        counts = present.value_counts()
        share = float(counts.iloc[0] / len(cells))
        if isinstance(column, NumericColumn | IntegerColumn) and share < 0.9:
            numbers = column.read(present)
            low, high = np.quantile(numbers, [0.05, 0.95], method="inverted_cdf")
            text = f"{cell_text(float(low))} to {cell_text(float(high))} in 90 %"
        else:
            text = f"{cell_text(counts.index[0])} in {_percent(share)}"
        described[str(column.name)] = text
    return described


def _percent(share: float) -> str:
    shown = f"{100 * min(share, 0.999):.1f}" if share > 0.99 else f"{100 * share:.0f}"
    return "all" if share == 1 else f"{shown} %"


class OddestCells:
    """The rows of the lowest scores of a stream, with all their cells; as many as the stream keeps."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._frame: DataFrame | None = None
        self._scores: NDArray[Any] | None = None
        self._labels: NDArray[np.str_] | None = None

    def add(
        self, frame: DataFrame, scores: NDArray[Any], first: int, labels: NDArray[np.str_] | None
    ) -> None:
        """Some rows; `first` is the number of the first of them in the stream."""
        import numpy as np
        import pandas as pd

        lowest = np.argsort(scores, kind="stable")[: self._count]
        part = frame.iloc[lowest].set_axis(first + lowest, axis=0).astype(object)
        kept, known = scores[lowest], None if labels is None else labels[lowest]
        if self._frame is not None and self._scores is not None:
            part = pd.concat([self._frame, part])
            kept = np.concatenate([self._scores, kept])
            known = None if known is None or self._labels is None else np.concatenate([self._labels, known])
        order = np.argsort(kept, kind="stable")[: self._count]
        self._frame, self._scores = part.iloc[order], kept[order]
        self._labels = None if known is None else known[order]

    def row(self, row: int) -> DataFrame:
        """A kept row, as a frame of one."""
        assert self._frame is not None
        return self._frame.loc[[row]]

    def label(self, row: int) -> str | None:
        """The label of a kept row; None where it has none."""
        if self._labels is None or self._frame is None:
            return None
        return str(self._labels[self._frame.index.get_loc(row)]) or None
