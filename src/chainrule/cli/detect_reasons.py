"""Which columns to name as what made a row odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

    from chainrule.tabular import TableModel

__all__ = ["CellSurprises", "cell_surprises", "column_scores"]

#: How much the columns before it may add to the surprise of a cell, in nats. A network that has met one
#: value far from all it knows can be surprised without bound by every ordinary value that follows; the
#: blame would fall on those.
_MOST_FROM_OTHERS = 10.0


@dataclass(frozen=True)
class CellSurprises:
    """log p of cells, nats, `(rows, D)` each: by themselves, and given the columns before them."""

    alone: NDArray[Any]
    given_others: NDArray[Any]

    def weighed(self, dependence: float) -> NDArray[Any]:
        """What counts for the blame: the first, and a bounded part of what the second adds."""
        import numpy as np

        added = np.clip(self.given_others - self.alone, -_MOST_FROM_OTHERS, _MOST_FROM_OTHERS)
        return np.asarray(self.alone + dependence * added)


def cell_surprises(table: TableModel, frame: DataFrame) -> CellSurprises | None:
    """Both of them; None where the model has no marginals."""
    if table.marginals is None:
        return None
    alone = table.anomaly_scores(frame, dependence=0.0, per_column=True)
    return CellSurprises(alone, table.log_prob_per_column(frame))


def column_scores(table: TableModel, frame: DataFrame, dependence: float) -> NDArray[Any]:
    """What a detector's columns are calibrated on and judged by, nats, `(rows, D)`: low is odd."""
    cells = cell_surprises(table, frame)
    return table.log_prob_per_column(frame) if cells is None else cells.weighed(dependence)
