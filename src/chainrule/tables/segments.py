"""Which of many intervals a number falls in: `numpy.searchsorted`, several times faster on long columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Segments"]

_CELLS = 1024
_WORTHWHILE = 256  # below so many numbers the plain search is as fast


class Segments:
    """How many of the increasing `bounds` `(K,)` are at most x.

    The middle of their range is cut into even cells, each of which knows the bounds below it. A number
    finds its cell by arithmetic, and its place by one comparison with the only bound in the cell; in the
    few cells with several bounds, and beyond the middle, it is searched for.
    """

    def __init__(self, bounds: NDArray[np.floating[Any]]) -> None:
        self.bounds = np.asarray(bounds, dtype=np.float64)
        self._plain = len(self.bounds) < 2
        if self._plain:
            return
        margin = len(self.bounds) // 10
        self._first = self.bounds[margin]
        span = self.bounds[-1 - margin] - self._first
        self._per_unit = _CELLS / span if span > 0 else 0.0
        # The same arithmetic for bounds as for numbers: it never decreases, so a bound in a lower cell is
        # smaller than the number, whatever the rounding.
        counts = np.bincount(self._cell(self.bounds), minlength=_CELLS)
        self._below = (np.cumsum(counts) - counts).astype(np.intp)
        self._crowded = counts > 1
        self._next = np.append(self.bounds, np.inf)

    def find(self, x: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """The number of bounds at most x, for each x `(n,)`; any of 0..K for NaN."""
        if self._plain or len(x) < _WORTHWHILE:
            return np.searchsorted(self.bounds, x, side="right")
        cell = self._cell(x)
        place = self._below[cell]
        place += x >= self._next[place]
        crowded = self._crowded[cell]
        if crowded.any():
            place[crowded] = np.searchsorted(self.bounds, x[crowded], side="right")
        return place

    def _cell(self, x: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (x - self._first) * self._per_unit
        inside: NDArray[np.floating[Any]] = np.fmin(np.fmax(scaled, 0.0), _CELLS - 1.0)  # NaN becomes 0
        return inside.astype(np.int32)
