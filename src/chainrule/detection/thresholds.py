"""Three rules for where odd begins. Under each, a row raises an alarm if its score is BELOW the threshold.

- `conformal`, at a level: the one with a guarantee. The threshold is the k-th smallest calibration
  score, and score < threshold is the same event as p <= level.
- `percentile`: the lecture's `np.percentile(clean, 5)`. Close to the level, without a guarantee.
- `mean-sd`: the lecture's mean - k sd. What it promises (0.13 % of clean rows for k = 3) holds for
  normally distributed log-likelihoods only, and they seldom are: expect more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.detection.conformal import alarm_rank
from chainrule.detection.scores import Floats, as_scores
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["RULES", "Rule", "conformal_threshold", "mean_sd_threshold", "percentile_threshold"]


def conformal_threshold(scores: Any, level: float) -> float:
    """The k-th smallest of n calibration scores, k = floor(level (n + 1)).

    Raises `ChainruleError`, naming the smallest level there is, where n is too small (k = 0).

    >>> conformal_threshold([-4.0, -1.0, -2.0, -3.0], 0.4)
    -3.0
    """
    calibration = _some(scores)
    rank = alarm_rank(len(calibration), level)
    return float(np.partition(calibration, rank - 1)[rank - 1])


def percentile_threshold(scores: Any, percent: float) -> float:
    """The percentile of the calibration scores, linear between neighbours (as `np.percentile`).

    Next to an infinite neighbour it is the lower of the two, since no line leads there.
    """
    calibration = np.sort(_some(scores))
    if not 0 < percent < 100:
        raise ChainruleError(f"percent is {percent}; expected a number between 0 and 100, such as 5.")
    place = percent / 100 * (len(calibration) - 1)
    low, high = calibration[math.floor(place)], calibration[math.ceil(place)]
    if low == high or not (math.isfinite(low) and math.isfinite(high)):
        return float(low)
    return float(np.percentile(calibration, percent))


def mean_sd_threshold(scores: Any, k: float) -> float:
    """mean - k sd of the calibration scores, with the sample standard deviation (n - 1).

    Raises `ChainruleError` for fewer than two scores, or if one is infinite: no mean is left then.

    >>> round(mean_sd_threshold([-85.3, -88.1, -91.2], 3), 4)  # topic 13 of the lecture
    -97.0538
    """
    calibration = _some(scores)
    if not (math.isfinite(k) and k > 0):
        raise ChainruleError(f"k is {k}; expected how many standard deviations below the mean, such as 3.")
    if len(calibration) < 2:
        raise ChainruleError("mean - k sd needs at least two calibration rows; there is one.")
    infinite = int(np.isinf(calibration).sum())
    if infinite:
        raise ChainruleError(
            f"mean - k sd needs finite scores, but {infinite:,} of {len(calibration):,} calibration "
            "scores are infinite; use the conformal rule, which only ranks them."
        )
    return float(calibration.mean() - k * calibration.std(ddof=1))


#: Every rule by its name: how calibration scores and the rule's number give a threshold.
RULES: dict[str, Callable[[Any, float], float]] = {
    "conformal": conformal_threshold,
    "percentile": percentile_threshold,
    "mean-sd": mean_sd_threshold,
}


@dataclass(frozen=True)
class Rule:
    """A rule and its number: a level (conformal), a percent, or how many standard deviations."""

    name: str = "conformal"
    value: float = 0.01

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise unknown_name("threshold rule", self.name, RULES)

    def threshold(self, scores: Any) -> float:
        """The score, in nats, below which a row raises an alarm; errors as the rule's function."""
        return RULES[self.name](scores, self.value)

    def __str__(self) -> str:
        return {
            "conformal": f"conformal at level {self.value:g}",
            "percentile": f"percentile {self.value:g}",
            "mean-sd": f"mean - {self.value:g} sd",
        }[self.name]


def _some(scores: Any) -> Floats:
    calibration = as_scores(scores, "calibration scores")
    if not len(calibration):
        raise ChainruleError("there are no rows to calibrate on; expected at least one.")
    return calibration
