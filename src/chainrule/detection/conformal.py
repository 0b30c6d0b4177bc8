"""Conformal p-values: a false-alarm rate that is promised for any model and any sample size.

If a fresh clean row and the n calibration rows are exchangeable (for instance drawn independently
from one distribution, and none of them used to fit the model), the rank of its score among theirs
is as likely to be any of 1 .. n + 1. So p = (1 + #{calibration <= score}) / (n + 1) satisfies
P(p <= a) <= a, exactly, whatever the model is worth. A bad model costs detections, not false alarms.

Vovk, Gammerman and Shafer (2005), "Algorithmic Learning in a Random World"; for outliers Bates,
Candès, Lei, Romano and Sesia (2023), "Testing for outliers with conformal p-values", Annals of
Statistics 51(1).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.arguments import real_number, whole_number
from chainrule.detection.scores import Booleans, Floats, as_p_values, as_scores, check_generator
from chainrule.errors import ChainruleError

__all__ = [
    "alarm_rank",
    "benjamini_hochberg",
    "calibration_scores",
    "checked_share",
    "conformal_p_values",
    "false_alarm_interval",
    "ranked_p_values",
    "rows_needed",
    "smallest_level",
]


def conformal_p_values(
    scores: Any, calibration: Any, *, generator: np.random.Generator | None = None
) -> Floats:
    """How odd each row is among the calibration rows: (1 + #{calibration <= score}) / (n + 1).

    - scores: (rows,), log-likelihoods in nats of the rows to judge
    - calibration: (n,), those of clean rows that the model was not fitted on
    - generator: with one, the smoothed p-value (#{calibration < score} + U (1 + #{calibration =
      score})) / (n + 1), U uniform on (0, 1]: exactly uniform for a clean row even with ties,
      but a matter of chance. One number is drawn for each row, in order.

    Returns (rows,). Ties count against the alarm. A row's p-value depends on its own score only
    (smoothed: and on its own U), never on the rows beside it.

    >>> conformal_p_values([-9.0, -2.0, -1.5], [-1.0, -2.0, -3.0])
    array([0.25, 0.75, 0.75])
    """
    return ranked_p_values(as_scores(scores), np.sort(calibration_scores(calibration)), generator)


def ranked_p_values(scores: Floats, ordered: Floats, generator: np.random.Generator | None = None) -> Floats:
    """`conformal_p_values` for scores already checked and calibration scores already in order."""
    as_low = np.searchsorted(ordered, scores, side="right")  # (rows,): #{calibration <= score}
    if generator is None:
        return (1.0 + as_low) / (len(ordered) + 1)
    check_generator(generator)
    lower = np.searchsorted(ordered, scores, side="left")
    uniform = 1.0 - generator.random(len(scores))  # never 0, so that no p-value is
    return (lower + uniform * (1 + as_low - lower)) / (len(ordered) + 1)


def smallest_level(rows: int) -> float:
    """The smallest level at which n calibration rows can raise any alarm: 1 / (n + 1)."""
    return 1.0 / (_counted("rows", rows) + 1)


def rows_needed(level: float) -> int:
    """How many calibration rows a level needs before any row can raise an alarm.

    >>> rows_needed(0.01), rows_needed(0.05), rows_needed(1 / 3)
    (99, 19, 2)
    """
    level = checked_share("level", level)
    rows = max(1, math.ceil(1.0 / level) - 2)  # at most the answer, in spite of rounding
    while smallest_level(rows) > level:
        rows += 1
    return rows


def alarm_rank(rows: int, level: float) -> int:
    """k, the number of p-values k/(n + 1) that are at most `level`, for n calibration rows.

    An alarm, p <= level, is the same as a score below the k-th smallest calibration score.
    Raises `ChainruleError` where k would be 0: no row could ever raise an alarm.
    """
    level, rows = checked_share("level", level), _counted("rows", rows)
    # Compared as the p-values themselves are, so that 0.29 of 100 is 29 in both places.
    rank = math.floor(level * (rows + 1))
    while (rank + 1) / (rows + 1) <= level:
        rank += 1
    while rank / (rows + 1) > level:
        rank -= 1
    if rank == 0:
        raise ChainruleError(
            f"level {level:g} needs at least {rows_needed(level):,} calibration rows; with {rows:,} the "
            f"smallest possible level is {smallest_level(rows):.3g}. Calibrate on more rows, or raise it."
        )
    return rank


def false_alarm_interval(
    rows: int, level: float, *, confidence: float = 0.99, fresh_rows: int | None = None
) -> tuple[float, float]:
    """Where the false-alarm rate of ONE calibration set of n rows lies, with this confidence.

    The guarantee is an average over calibration sets. Given one, with scores that do not tie, the
    rate over infinitely many clean rows follows Beta(k, n + 1 - k) with k = `alarm_rank` (Vovk
    2012, "Conditional validity of inductive conformal predictors", prop. 2a); the rate measured on
    `fresh_rows` of them follows the beta-binomial of the same k. Equal tails. With ties the rate is
    lower still.

    >>> low, high = false_alarm_interval(999, 0.01)
    >>> round(low, 4), round(high, 4)
    (0.0037, 0.0199)
    """
    from scipy import stats

    confidence = checked_share("confidence", confidence)
    rows, rank = _counted("rows", rows), alarm_rank(rows, level)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    if fresh_rows is None:
        low, high = (float(stats.beta.ppf(tail, rank, rows + 1 - rank)) for tail in tails)
    else:
        fresh_rows = _counted("fresh_rows", fresh_rows)
        counts = (_alarm_count_quantile(rows, rank, fresh_rows, tail) for tail in tails)
        low, high = (count / fresh_rows for count in counts)
    return low, high


def _alarm_count_quantile(rows: int, rank: int, fresh_rows: int, tail: float) -> int:
    """The smallest j with P(at most j of the fresh rows below the k-th calibration score) >= tail."""
    from scipy import stats

    # At most j are below it just if the lowest k + j of all rows hold at least k calibration rows.
    # SciPy's beta-binomial is the same law, but adds up its terms: slow for millions of rows.
    low, high = 0, fresh_rows
    while low < high:
        middle = (low + high) // 2
        if stats.hypergeom.sf(rank - 1, rows + fresh_rows, rows, rank + middle) >= tail:
            high = middle
        else:
            low = middle + 1
    return low


def benjamini_hochberg(p_values: Any, false_discovery_rate: float) -> Booleans:
    """Alarms over a whole batch, of which at most this share is false in the mean.

    - p_values: (rows,), from `conformal_p_values` with one calibration set
    - returns (rows,): the rows with p <= q * i / rows for the largest such i among the ordered p

    Conformal p-values that share a calibration set are positively dependent, so the procedure of
    Benjamini and Hochberg (1995) holds for them (Bates et al. 2023, theorem 2). This one does look
    at the whole batch: whether a row is flagged depends on the others. Flagging i of m rows needs
    at least m / (q i) - 1 calibration rows.
    """
    false_discovery_rate = checked_share("false_discovery_rate", false_discovery_rate)
    p = as_p_values(p_values)
    ordered = np.sort(p)
    allowed = ordered <= false_discovery_rate * np.arange(1, len(p) + 1) / max(len(p), 1)
    return np.zeros(len(p), dtype=np.bool_) if not allowed.any() else p <= ordered[allowed].max()


def checked_share(name: str, value: object) -> float:
    """`value` as a float; `ChainruleError` unless it lies strictly between 0 and 1."""
    return real_number(name, value, above=0.0, below=1.0)


def calibration_scores(values: Any) -> Floats:
    """The scores of rows to calibrate on, (n,), as they come; `ChainruleError` where there are none."""
    scores = as_scores(values, "calibration scores")
    if not len(scores):
        raise ChainruleError("there are no rows to calibrate on; expected at least one.")
    return scores


def _counted(name: str, rows: object) -> int:
    return whole_number(name, rows, minimum=1, maximum=None)
