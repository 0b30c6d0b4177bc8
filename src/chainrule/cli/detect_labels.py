"""Labels beside scores: which one is normal, and how well scores and alarms tell the others from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chainrule.detection import AlarmReport, DetectionReport

__all__ = ["LabelReport", "LabelTally", "label_report", "normal_label"]

#: Labels that say no and yes to something being wrong, in small letters.
_CONTRARIES = (("0", "1"), ("false", "true"), ("no", "yes"))
#: Words that mean that nothing is wrong.
_NORMAL = ("normal", "benign")
#: Intervals are drawn by resampling, which takes long for more rows than this.
_RESAMPLED = 200_000
_SHOWN_KINDS = 15


@dataclass(frozen=True)
class LabelReport:
    """Figures for labelled rows; `by_label` has (label, rows, rows in alarm) for each label."""

    normal: str
    detection: DetectionReport | None
    alarms: AlarmReport
    by_label: tuple[tuple[str, int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "normal": self.normal,
            "detection": None if self.detection is None else self.detection.as_dict(),
            "alarms": self.alarms.as_dict(),
            "by_label": [{"label": label, "rows": n, "alarms": k} for label, n, k in self.by_label],
        }

    def facts(self) -> list[tuple[str, str]]:
        """Lines for people."""
        rows = sum(n for _, n, _ in self.by_label)
        normal = sum(n for label, n, _ in self.by_label if label == self.normal)
        lines = [
            (
                "labels",
                f"{rows:,} rows: {normal:,} are {self.normal!r} (normal), {rows - normal:,} are anomalies",
            )
        ]
        if self.detection is not None:
            lines += [
                ("AUROC", f"{self.detection.auroc}   an anomaly scores below a normal row"),
                ("avg. precision", f"{self.detection.average_precision}   by chance {1 - normal / rows:.3f}"),
                (
                    "FPR at 95 %",
                    f"{self.detection.false_alarms_at_95_recall}   of the normal rows flagged where 95 % of "
                    "the anomalies are",
                ),
            ]
        for name, figure, meaning in (
            ("caught", self.alarms.detection_rate, "of the anomalies raise an alarm"),
            ("false alarms", self.alarms.false_alarm_rate, "of the normal rows raise one"),
            ("precision", self.alarms.precision, "of the alarms are anomalies"),
        ):
            if figure is not None:
                lines.append((name, f"{figure}   {meaning}"))
        return lines

    def kinds(self) -> list[tuple[str, str, str, str]]:
        """Rows for a table of labels, the largest first; none where there are two labels only."""
        if len(self.by_label) <= 2:
            return []
        shown = sorted(self.by_label, key=lambda kind: -kind[1])[:_SHOWN_KINDS]
        return [(label, f"{n:,}", f"{k:,}", f"{k / n:.1%}") for label, n, k in shown]


class LabelTally:
    """The labels, scores and alarms of a stream: 13 bytes a row."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {"": -1}
        self._rows: list[NDArray[np.int32]] = []
        self._scores: list[NDArray[Any]] = []
        self._alarms: list[NDArray[Any]] = []

    def add(self, labels: NDArray[np.str_], scores: NDArray[Any], alarms: NDArray[Any]) -> None:
        """Some rows."""
        import numpy as np

        found, places = np.unique(labels, return_inverse=True)
        codes = [self._codes.setdefault(str(label), len(self._codes) - 1) for label in found]
        self._rows.append(np.array(codes, dtype=np.int32)[places])
        self._scores.append(scores)
        self._alarms.append(alarms)

    def report(self, normal: str | None, seed: int = 0) -> LabelReport | str:
        """As `label_report`, over everything that was added."""
        import numpy as np

        if not self._rows:
            return "there are no labels"
        names = np.array(list(self._codes)[1:] or [""], dtype=np.str_)
        codes, scores, alarms = (np.concatenate(parts) for parts in (self._rows, self._scores, self._alarms))
        known = codes >= 0
        return _report(codes[known], names, scores[known], alarms[known], normal, seed)


def label_report(
    scores: NDArray[Any], alarms: NDArray[Any], labels: NDArray[np.str_], normal: str | None, seed: int = 0
) -> LabelReport | str:
    """The report on the rows that have a label, or one line that says why there is none."""
    tally = LabelTally()
    tally.add(labels, scores, alarms)
    return tally.report(normal, seed)


def normal_label(labels: Sequence[str], given: str | None) -> str | None:
    """The label of normal rows: the given one, else 0, false or no beside its contrary, or a word for it."""
    if given is not None:
        return given
    spelled = {label.lower(): label for label in labels}
    for zero, one in _CONTRARIES:
        if spelled and set(spelled) <= {zero, one}:
            return spelled.get(zero, zero)
    words = [label for label in labels if label.strip().lower() in _NORMAL]
    return words[0] if len(words) == 1 else None


def _report(
    codes: NDArray[Any],
    names: NDArray[np.str_],
    scores: NDArray[Any],
    alarms: NDArray[Any],
    given: str | None,
    seed: int,
) -> LabelReport | str:
    import numpy as np

    from chainrule.detection import alarm_report, detection_report

    present = [str(names[code]) for code in np.unique(codes)]
    normal = normal_label(present, given)
    few = ", ".join(present[:6]) + (", ..." if len(present) > 6 else "")
    if not present:
        return "no row has a label"
    if normal is None:
        return f"the labels are {few}: say which one is normal with --normal LABEL"
    if normal not in present:
        return f"no row is labelled {normal!r} (--normal); the labels are: {few}"
    anomalous = names[codes] != normal
    generator = np.random.default_rng(seed) if len(codes) <= _RESAMPLED else None
    both = bool(anomalous.any())
    return LabelReport(
        normal=normal,
        detection=detection_report(scores, anomalous, generator=generator) if both else None,
        alarms=alarm_report(alarms, anomalous),
        by_label=tuple(
            (str(names[code]), int((codes == code).sum()), int(alarms[codes == code].sum()))
            for code in np.unique(codes)
        ),
    )
