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

from chainrule.arguments import real_number
from chainrule.detection.conformal import alarm_rank, calibration_scores, checked_share
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["RULES", "Rule", "conformal_threshold", "mean_sd_threshold", "percentile_threshold"]


def conformal_threshold(scores: Any, level: float) -> float:
    """The k-th smallest of n calibration scores, k = floor(level (n + 1)).

    Raises `ChainruleError`, naming the smallest level there is, where n is too small (k = 0).

    >>> conformal_threshold([-4.0, -1.0, -2.0, -3.0], 0.4)
    -3.0
    """
    calibration = calibration_scores(scores)
    rank = alarm_rank(len(calibration), level)
    return float(np.partition(calibration, rank - 1)[rank - 1])


def percentile_threshold(scores: Any, percent: float) -> float:
    """The percentile of the calibration scores, linear between neighbours (as `np.percentile`).

    Next to an infinite neighbour it is the lower of the two, since no line leads there.
    """
    percent, calibration = _checked_percent(percent), np.sort(calibration_scores(scores))
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
    k, calibration = _checked_factor(k), calibration_scores(scores)
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


def _checked_level(value: object) -> float:
    return checked_share("level", value)


def _checked_percent(value: object) -> float:
    return real_number("percent", value, above=0.0, below=100.0)


def _checked_factor(value: object) -> float:
    return real_number("k (how many standard deviations below the mean)", value, above=0.0)


_NUMBERS: dict[str, Callable[[object], float]] = {
    "conformal": _checked_level,
    "percentile": _checked_percent,
    "mean-sd": _checked_factor,
}


@dataclass(frozen=True)
class Rule:
    """A rule and its number: a level (conformal), a percent, or how many standard deviations.

    Raises `ChainruleError` for an unknown name, and for a number that the rule cannot have.
    """

    name: str = "conformal"
    value: float = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in RULES:
            raise unknown_name("threshold rule", self.name, RULES)
        object.__setattr__(self, "value", _NUMBERS[self.name](self.value))

    def threshold(self, scores: Any) -> float:
        """The score, in nats, below which a row raises an alarm; errors as the rule's function."""
        return RULES[self.name](scores, self.value)

    def __str__(self) -> str:
        return {
            "conformal": f"conformal at level {self.value:g}",
            "percentile": f"percentile {self.value:g}",
            "mean-sd": f"mean - {self.value:g} sd",
        }[self.name]
