"""Which column made a row odd: surprise, set against what that column does on clean rows.

The surprise of a column is -log p(its value | the columns before it), in nats. Its raw size does not
compare between columns: a wide continuous column costs 8 nats on every row, and a flag that is
nearly always 0 costs 0.001. So each is held against its own calibration rows, first by rank (a
conformal p-value of the column), then, beyond the last calibration row, by distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import whole_number
from chainrule.detection.scores import Floats, as_column_scores
from chainrule.errors import ChainruleError

__all__ = ["ColumnCalibration", "ColumnSurprise"]

#: Calibration rows kept for the columns: enough for p-values down to 0.00005.
KEPT_ROWS = 20_000
#: Surprise rounds at about this relative size in float32; less than that is no difference.
_ROUNDING = 1e-6
#: A column whose surprise hardly varies is measured in whole nats, not in its own tiny spread.
_LEAST_SPREAD = 1.0
#: p-values of columns up to this, or up to the rank of the tenth-oddest calibration row, count as equal:
#: which of them is the smallest hangs on single rows.
_RARE, _FEW_ROWS = 0.01, 10
#: A column is named as a reason if its own p-value is at most the first and it lies at least the second
#: (standardised) above its mean: a rank alone can be high by a hair. The oddest one always is.
_ODD, _FAR = 0.05, 0.5


@dataclass(frozen=True)
class ColumnSurprise:
    """How odd one column of one row is.

    - surprise: -log p(value | columns before it), nats; typical: its median over the calibration rows
    - standardised: (surprise - mean) / max(sd, 1 nat) over the calibration rows
    - p_value: the share of calibration rows at least as surprised, as a conformal p-value
    """

    column: str
    surprise: float
    typical: float
    standardised: float
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON holds them; infinite ones become None."""
        return {
            name: value if isinstance(value, str) or math.isfinite(value) else None
            for name, value in vars(self).items()
        }

    def __str__(self) -> str:
        return (
            f"{self.column} (surprise {self.surprise:.1f} nats, typically {self.typical:.1f}, "
            f"p = {self.p_value:.2g})"
        )


class ColumnCalibration:
    """The surprise of every column over the calibration rows.

    - names: (columns,); ordered: (columns, rows), each column's log p in nats, smallest first
    """

    def __init__(self, names: tuple[str, ...], ordered: Floats) -> None:
        self.names = names
        self.ordered = ordered
        self._mean, self._spread = np.empty(len(names)), np.empty(len(names))
        for i, column in enumerate(ordered):
            finite = column[np.isfinite(column)]
            self._mean[i] = finite.mean() if len(finite) else 0.0
            self._spread[i] = max(_LEAST_SPREAD, finite.std() if len(finite) else 0.0)

    @classmethod
    def fit(cls, column_scores: Any, names: Any, rows: int) -> ColumnCalibration:
        """Calibrate on (rows, columns) log p; of many rows, an evenly spaced part is kept.

        Which rows are kept depends on their place alone, so the p-values stay valid.
        """
        labels = None if names is None else tuple(str(name) for name in names)
        scores = as_column_scores(column_scores, rows, labels)
        labels = labels or tuple(f"column {i}" for i in range(scores.shape[1]))
        twice = next((name for i, name in enumerate(labels) if name in labels[:i]), None)
        if twice is not None:
            raise ChainruleError(f"column name {twice!r} appears twice; expected a name for each column.")
        kept = scores[:: -(-rows // KEPT_ROWS)]
        return cls(labels, np.ascontiguousarray(np.sort(kept, axis=0).T))

    def p_values(self, column_scores: Any) -> Floats:
        """The conformal p-value of each column of each row, (rows, columns).

        Each is valid for its column alone: the smallest of many is small by itself.
        """
        scores = as_column_scores(column_scores, None, self.names)
        with np.errstate(invalid="ignore"):
            raised = np.where(np.isfinite(scores), scores + _ROUNDING * (1 + np.abs(scores)), scores)
        as_low = np.empty(scores.shape)
        for i, column in enumerate(self.ordered):
            as_low[:, i] = np.searchsorted(column, raised[:, i], side="right")
        p: Floats = (1.0 + as_low) / (self.ordered.shape[1] + 1)
        return p

    def standardised(self, column_scores: Any) -> Floats:
        """The standardised surprise of each column of each row, (rows, columns): high is odd."""
        scores = as_column_scores(column_scores, None, self.names)
        distance: Floats = (self._mean - scores) / self._spread
        return distance

    def oddest(self, column_scores: Any, count: int = 3) -> list[tuple[ColumnSurprise, ...]]:
        """For each row its oddest columns, oddest first: at least one, at most `count`.

        Ordered by p-value, and by standardised surprise where those tie, as all up to 0.01 do, and all
        that are beaten by fewer than ten calibration rows: out there a rank says little, and the distance
        how much. Columns after the first are named only if their p-value is at most 0.05, and their
        standardised surprise at least 0.5.
        """
        scores = as_column_scores(column_scores, None, self.names)
        p, distance = self.p_values(scores), self.standardised(scores)
        order, is_odd = self._ranked(p, distance, count)
        return [
            tuple(self._describe(scores[row], p[row], distance[row], column) for column in columns)
            for row, columns in enumerate(_kept(order, is_odd))
        ]

    def oddest_names(self, column_scores: Any, count: int = 3) -> list[list[str]]:
        """The names alone of what `oddest` gives; quick, for many rows."""
        ranked = self._ranked(self.p_values(column_scores), self.standardised(column_scores), count)
        return [[self.names[column] for column in columns] for columns in _kept(*ranked)]

    def _ranked(self, p: Floats, distance: Floats, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        count = whole_number("count", count, minimum=1)
        # Along the last axis; ties in column order.
        rare = max(_RARE, _FEW_ROWS / (self.ordered.shape[1] + 1))
        order = np.lexsort((-distance, np.maximum(p, rare)))[:, :count]
        is_odd = np.take_along_axis((p <= _ODD) & (distance >= _FAR), order, axis=1)
        is_odd[:, 0] = True
        return order, is_odd

    def _describe(self, scores: Floats, p: Floats, distance: Floats, index: int) -> ColumnSurprise:
        return ColumnSurprise(
            column=self.names[index],
            surprise=0.0 - float(scores[index]),
            typical=0.0 - float(self.ordered[index, self.ordered.shape[1] // 2]),
            standardised=float(distance[index]),
            p_value=float(p[index]),
        )


def _kept(order: NDArray[Any], is_odd: NDArray[Any]) -> list[list[int]]:
    return [
        [column for column, odd in zip(columns, flags, strict=True) if odd]
        for columns, flags in zip(order.tolist(), is_odd.tolist(), strict=True)
    ]
