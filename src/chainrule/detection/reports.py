"""How well scores separate anomalies from normal rows, where labels exist: figures with intervals.

Every figure takes scores (log-likelihoods: low is odd) and labels (1 an anomaly), and looks at the
order of the scores only, so infinite ones are fine. The figures: AUROC (the chance that a random
anomaly scores below a random normal row), average precision, and the false-alarm rate at the
threshold that catches 95 % of the anomalies ("FPR at TPR 95", anomalies being the positives).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import whole_number
from chainrule.detection.conformal import checked_share
from chainrule.detection.scores import Booleans, Floats, as_flags, as_scores, check_generator
from chainrule.errors import ChainruleError

__all__ = [
    "AlarmReport",
    "DetectionReport",
    "Figure",
    "alarm_report",
    "auroc",
    "average_precision",
    "detection_report",
    "false_alarms_at_recall",
    "reports_table",
]

_LABELS = "1 for an anomaly and 0 for a normal row"


@dataclass(frozen=True)
class Figure:
    """A measured share and its confidence interval; no interval where none was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class DetectionReport:
    """What `detection_report` measured: rows of either kind, and three figures."""

    normal: int
    anomalies: int
    auroc: Figure
    average_precision: Figure
    false_alarms_at_95_recall: Figure
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class AlarmReport:
    """What `alarm_report` measured; a figure is None where there are no rows to measure it on."""

    alarms: int
    false_alarm_rate: Figure | None
    detection_rate: Figure | None
    precision: Figure | None
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return asdict(self)


def detection_report(
    scores: Any,
    labels: Any,
    *,
    confidence: float = 0.95,
    generator: np.random.Generator | None = None,
    resamples: int = 1000,
) -> DetectionReport:
    """AUROC, average precision and false alarms at 95 % recall.

    AUROC has DeLong's interval (on the logit, so that it stays between 0 and 1). The other two have
    percentile intervals over `resamples` bootstrap resamples, drawn within each kind of row, if a
    `generator` is given; without one, none. The last figure hangs on the hardest twentieth of the
    anomalies, so its interval is too short where those are few (at 60 anomalies, 83 % instead of 90 %).
    Raises `ChainruleError` unless both kinds are there.
    """
    confidence = checked_share("confidence", confidence)
    checked, is_anomaly = _both_kinds(scores, labels)
    bootstrap = (
        _no_intervals()
        if generator is None
        else _bootstrap(checked, is_anomaly, confidence, generator, resamples)
    )
    return DetectionReport(
        normal=int((~is_anomaly).sum()),
        anomalies=int(is_anomaly.sum()),
        auroc=_delong(checked, is_anomaly, confidence),
        average_precision=Figure(average_precision(checked, is_anomaly), *bootstrap[0]),
        false_alarms_at_95_recall=Figure(false_alarms_at_recall(checked, is_anomaly), *bootstrap[1]),
        confidence=confidence,
    )


def auroc(scores: Any, labels: Any) -> float:
    """The chance that a random anomaly scores below a random normal row, ties counting half."""
    checked, is_anomaly = _both_kinds(scores, labels)
    below, _ = _placements(checked, is_anomaly)
    return float(below.mean())


def average_precision(scores: Any, labels: Any) -> float:
    """The mean precision over the anomalies, oddest first; rows that tie are taken together."""
    groups = _Groups(*_both_kinds(scores, labels))
    return groups.average_precision(*groups.counts())


def false_alarms_at_recall(scores: Any, labels: Any, recall: float = 0.95) -> float:
    """The share of normal rows flagged when at least this share of the anomalies is."""
    recall = checked_share("recall", recall)
    groups = _Groups(*_both_kinds(scores, labels))
    return groups.false_alarms_at(recall, *groups.counts())


def alarm_report(alarms: Any, labels: Any, *, confidence: float = 0.95) -> AlarmReport:
    """How alarms and labels agree: false-alarm rate, detection rate, precision.

    Each with the exact binomial interval of Clopper and Pearson (1934). Unlike the figures of
    `detection_report` these depend on the threshold, so they say what a user will meet.
    """
    confidence = checked_share("confidence", confidence)
    raised = as_flags(alarms, None, "alarms", "1 for an alarm and 0 for none")
    is_anomaly = as_flags(labels, len(raised), "labels", _LABELS)
    caught = int((raised & is_anomaly).sum())

    def share(successes: int, trials: int) -> Figure | None:
        return _binomial(successes, trials, confidence) if trials else None

    return AlarmReport(
        alarms=int(raised.sum()),
        false_alarm_rate=share(int(raised.sum()) - caught, int((~is_anomaly).sum())),
        detection_rate=share(caught, int(is_anomaly.sum())),
        precision=share(caught, int(raised.sum())),
        confidence=confidence,
    )


def reports_table(reports: Mapping[str, DetectionReport], *, name: str = "data") -> str:
    """The reports, a row each, as a Markdown table."""
    header = (name, "normal", "anomalies", "AUROC", "average precision", "false alarms at 95 % recall")
    lines = [header, ("---", *["---:"] * (len(header) - 1))]
    lines += [
        (
            key,
            f"{report.normal:,}",
            f"{report.anomalies:,}",
            str(report.auroc),
            str(report.average_precision),
            str(report.false_alarms_at_95_recall),
        )
        for key, report in reports.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ------------------------------------------------------------------------------------ arithmetic


class _Groups:
    """Rows in order of oddness, those that tie in one group; a resample is a new count a row."""

    def __init__(self, scores: Floats, is_anomaly: Booleans) -> None:
        order = np.argsort(scores, kind="stable")
        self.ordered = scores[order]
        self.is_anomaly = is_anomaly[order]
        self.starts = np.flatnonzero(np.r_[True, self.ordered[1:] != self.ordered[:-1]])

    def counts(self, times: NDArray[Any] | None = None) -> tuple[Floats, Floats]:
        """Anomalies and normal rows up to each group's end, with row i counted `times[i]` times."""
        taken = np.ones(len(self.ordered)) if times is None else times.astype(np.float64)
        caught = np.add.reduceat(np.where(self.is_anomaly, taken, 0.0), self.starts)
        false = np.add.reduceat(np.where(self.is_anomaly, 0.0, taken), self.starts)
        return np.cumsum(caught), np.cumsum(false)

    @staticmethod
    def average_precision(caught: Floats, false: Floats) -> float:
        flagged = np.maximum(caught + false, 1.0)  # leading groups may be empty in a resample
        return float((np.diff(caught, prepend=0.0) * caught / flagged).sum() / caught[-1])

    @staticmethod
    def false_alarms_at(recall: float, caught: Floats, false: Floats) -> float:
        # A ratio of counts is compared with `recall` as it is printed: 19 of 20 is 0.95.
        group = int(np.argmax(caught / caught[-1] >= recall))
        return float(false[group] / false[-1])


_Interval = tuple[float | None, float | None]


def _no_intervals() -> list[_Interval]:
    return [(None, None), (None, None)]


def _bootstrap(
    scores: Floats, is_anomaly: Booleans, confidence: float, generator: np.random.Generator, resamples: int
) -> list[_Interval]:
    check_generator(generator)
    resamples = whole_number("resamples", resamples, minimum=1)
    groups = _Groups(scores, is_anomaly)
    kinds = [np.flatnonzero(groups.is_anomaly), np.flatnonzero(~groups.is_anomaly)]
    drawn = np.empty((resamples, 2))
    for resample in drawn:
        times = np.zeros(len(scores), dtype=np.int64)
        for rows in kinds:
            times[rows] = np.bincount(generator.integers(len(rows), size=len(rows)), minlength=len(rows))
        counts = groups.counts(times)
        resample[:] = groups.average_precision(*counts), groups.false_alarms_at(0.95, *counts)
    ends = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def _placements(scores: Floats, is_anomaly: Booleans) -> tuple[Floats, Floats]:
    """For each anomaly the share of normal rows above it; for each normal row, of anomalies below it."""
    anomalies, normal = np.sort(scores[is_anomaly]), np.sort(scores[~is_anomaly])
    at_most, below = (np.searchsorted(normal, anomalies, side=side) for side in ("right", "left"))
    above = 1.0 - (at_most + below) / (2 * len(normal))
    at_most, below = (np.searchsorted(anomalies, normal, side=side) for side in ("right", "left"))
    return above, (at_most + below) / (2 * len(anomalies))


def _delong(scores: Floats, is_anomaly: Booleans, confidence: float) -> Figure:
    """AUROC and the interval of DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44, on the logit.

    Scores that separate perfectly have no variance to go by. Then the interval ends where the exact
    binomial one does for m pairs without a fault, m the smaller kind: pairs that share no row are
    independent.
    """
    above, below = _placements(scores, is_anomaly)
    area = float(above.mean())
    smaller = min(len(above), len(below))
    if area in (0.0, 1.0):
        end = ((1 - confidence) / 2) ** (1 / smaller)
        return Figure(area, end, 1.0) if area == 1.0 else Figure(area, 0.0, 1.0 - end)
    if smaller < 2:
        return Figure(area)
    error = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error / (area * (1 - area))
    logit = math.log(area / (1 - area))
    low, high = (0.5 * (1 + math.tanh((logit + way * reach) / 2)) for way in (-1, 1))
    return Figure(area, low, high)


def _binomial(successes: int, trials: int, confidence: float) -> Figure:
    from scipy import stats

    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.isf(tail, successes + 1, trials - successes))
    return Figure(successes / trials, low, high)


def _both_kinds(scores: Any, labels: Any) -> tuple[Floats, Booleans]:
    checked = as_scores(scores)
    is_anomaly = as_flags(labels, len(checked), "labels", _LABELS)
    if is_anomaly.all() or not is_anomaly.any():
        there = "no anomalies (1)" if not is_anomaly.any() else "no normal rows (0)"
        raise ChainruleError(f"the {len(checked):,} labels hold {there}; expected rows of both kinds.")
    return checked, is_anomaly
