"""Maps between a number in its own units, x, and the number a model sees, z = T(x).

All are increasing and invertible, and know their slope: a density in the units of x is
p(x) = p(z) dz/dx, so log p(x) = log p(z) + log dz/dx, column by column.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator

from chainrule.tables.segments import Segments

__all__ = ["LARGEST", "Array", "Constant", "Density", "Quantile", "Standard", "Transform"]

Array = NDArray[np.floating[Any]]

#: No z is larger in size: its square and its exponent still fit in float32.
LARGEST = 1e12

_MOST_SEGMENTS = 64
_ROWS_PER_SEGMENT = 20
_ROWS_IN_A_TAIL = 4


class _Map(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Standard(_Map):
    """z = (x - centre) / scale."""

    kind: Literal["standard"] = "standard"
    centre: FiniteFloat
    scale: PositiveFloat

    @classmethod
    def fit(cls, values: Array) -> Self:
        """Mean and standard deviation of `values` `(n,)`, at least two of which differ."""
        return cls(centre=float(np.mean(values)), scale=float(np.std(values)))

    def forward(self, x: Array) -> Array:
        """z of x, of the same shape; NaN stays NaN."""
        return _bounded((x - self.centre) / self.scale)

    def forward_with_log_slope(self, x: Array) -> tuple[Array, Array]:
        """z of x, and log dz/dx at x in nats."""
        z = self.forward(x)
        return z, self.log_slope_at(z)

    def inverse(self, z: Array) -> Array:
        """x of z."""
        return np.asarray(z * self.scale + self.centre)

    def log_slope_at(self, z: Array) -> Array:
        """log dz/dx in nats, at the x that z stands for."""
        return np.full(z.shape, -np.log(self.scale))

    @property
    def typical_log_slope(self) -> float:
        """log dz/dx in nats, which is the same everywhere."""
        return -float(np.log(self.scale))


class Quantile(_Map):
    """A piecewise linear map that makes the column about normally distributed.

    - `knots`: values of x, increasing; `scores`: what they become, increasing. Outside the knots the
      outermost segments go on as straight lines, so every number has a finite z and a finite slope.

    A knot's score is the normal quantile of its mid-rank (#smaller + #equal / 2) / n. At a knot the slope
    is that of the segment to its right, at the last knot that to its left.
    """

    kind: Literal["quantile"] = "quantile"
    knots: Annotated[tuple[FiniteFloat, ...], Field(min_length=2)]
    scores: Annotated[tuple[FiniteFloat, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.knots) != len(self.scores):
            raise ValueError(f"{len(self.knots)} knots but {len(self.scores)} scores; expected as many")
        for name, values in (("knots", self.knots), ("scores", self.scores)):
            if any(after <= before for before, after in pairwise(values)):
                raise ValueError(f"{name} must increase from each to the next")
        return self

    @classmethod
    def fit(cls, values: Array) -> Self:
        """Knots for `values` `(n,)`, at least two of which differ.

        Each segment holds at least 20 rows or so, except towards the ends, where the segments halve down
        to 4 rows: the slopes are a density estimate, and few rows make a noisy one.
        """
        x = np.sort(values)
        n = len(x)
        segments = int(np.clip(n // _ROWS_PER_SEGMENT, 2, _MOST_SEGMENTS))
        ends = 0.5 ** np.arange(1, 64) / segments
        ends = ends[ends >= _ROWS_IN_A_TAIL / n]
        shares = np.concatenate([[0.0], ends[::-1], np.arange(1, segments) / segments, 1 - ends, [1.0]])
        knots = _spread(np.unique(x[np.clip(np.ceil(shares * n).astype(int) - 1, 0, n - 1)]))
        ranks = (np.searchsorted(x, knots, "left") + np.searchsorted(x, knots, "right")) / (2 * n)
        normal = NormalDist()
        return cls(knots=tuple(knots.tolist()), scores=tuple(normal.inv_cdf(rank) for rank in ranks.tolist()))

    def forward(self, x: Array) -> Array:
        """z of x, of the same shape; NaN stays NaN."""
        return self._forward(x, self._segments.find(x))

    def forward_with_log_slope(self, x: Array) -> tuple[Array, Array]:
        """z of x, and log dz/dx at x in nats."""
        segment = self._segments.find(x)
        return self._forward(x, segment), np.log(self._slopes)[segment]

    def inverse(self, z: Array) -> Array:
        """x of z."""
        segment = self._score_segments.find(z)
        return np.asarray(self._knots[segment] + (z - self._scores[segment]) / self._slopes[segment])

    def log_slope_at(self, z: Array) -> Array:
        """log dz/dx in nats, at the x that z stands for."""
        # A z that was rounded to float32 meets knots that are rounded alike, else it could fall on the
        # other side of its own knot, and columns with many equal values lie on knots.
        bounds = self._scores[1:-1].astype(z.dtype)
        return np.asarray(np.log(self._slopes)[np.searchsorted(bounds, z, side="right")])

    @cached_property
    def typical_log_slope(self) -> float:
        """log dz/dx in nats of the straight line through the two quartiles of what is modelled."""
        quartile = NormalDist().inv_cdf(0.75)
        low, high = self.inverse(np.array([-quartile, quartile])).tolist()
        return float(np.log(2 * quartile) - np.log(high - low))

    @cached_property
    def _knots(self) -> Array:
        return np.array(self.knots)

    @cached_property
    def _scores(self) -> Array:
        return np.array(self.scores)

    @cached_property
    def _slopes(self) -> Array:
        return np.asarray(np.diff(self._scores) / np.diff(self._knots))

    @cached_property
    def _segments(self) -> Segments:
        return Segments(self._knots[1:-1])

    @cached_property
    def _score_segments(self) -> Segments:
        return Segments(self._scores[1:-1])

    def _forward(self, x: Array, segment: NDArray[np.intp]) -> Array:
        with np.errstate(over="ignore"):  # far outside: bounded
            return _bounded(self._scores[segment] + self._slopes[segment] * (x - self._knots[segment]))


class Constant(_Map):
    """A column that never varied: 0 for its value, 1 for any other number; a probability, no density."""

    kind: Literal["constant"] = "constant"
    value: FiniteFloat
    tolerance: Annotated[float, Field(ge=0)] = 0.0

    def forward(self, x: Array) -> Array:
        """0 where x is the value, 1 where it is another, NaN where it is missing."""
        different = (np.abs(x - self.value) > self.tolerance).astype(np.float64)
        return np.where(np.isnan(x), np.nan, different)

    def inverse(self, z: Array) -> Array:
        """The value, whatever z is: nothing is known of the others."""
        return np.where(np.isnan(z), np.nan, self.value)


Density = Annotated[Standard | Quantile, Field(discriminator="kind")]
Transform = Annotated[Standard | Quantile | Constant, Field(discriminator="kind")]


def _spread(knots: Array) -> Array:
    """The knots without those that crowd another: the span in 10^9 parts is fine enough."""
    gap = (knots[-1] - knots[0]) * 1e-9
    kept = [float(knots[0])]
    for knot in knots[1:-1].tolist():
        if knot - kept[-1] > gap and knots[-1] - knot > gap:
            kept.append(knot)
    return np.array([*kept, float(knots[-1])])


def _bounded(z: Array) -> Array:
    return np.asarray(np.clip(z, -LARGEST, LARGEST))
