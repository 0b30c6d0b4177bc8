"""A detector: calibration scores and a rule. It judges scores of any model, and knows none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from chainrule.detection.columns import ColumnCalibration, ColumnSurprise
from chainrule.detection.conformal import false_alarm_interval, ranked_p_values
from chainrule.detection.scores import Booleans, Floats, as_scores
from chainrule.detection.thresholds import Rule
from chainrule.errors import ChainruleError

__all__ = ["Detector", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What a detector says about one row, and why.

    - score: log p in nats; p_value: its conformal p-value; columns: the oddest ones, oddest first
    - id: what the caller calls the row, if anything
    """

    row: int
    score: float
    p_value: float
    alarm: bool
    reason: str
    columns: tuple[ColumnSurprise, ...] = ()
    id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON holds it; an infinite score becomes None."""
        return {
            "row": self.row,
            **({} if self.id is None else {"id": self.id}),
            "score": self.score if math.isfinite(self.score) else None,
            "p_value": self.p_value,
            "alarm": self.alarm,
            "reason": self.reason,
            "columns": [column.as_dict() for column in self.columns],
        }


class Detector:
    """Tells odd rows by their log-likelihood, held against rows known (or taken) to be clean.

        detector = Detector.fit(model_scores_of_clean_rows, rule=Rule("conformal", 0.01))
        detector.alarms(scores)        # (rows,), True for odd
        detector.p_values(scores)      # (rows,), small for odd
        detector.save("runs/nade")     # detector.json and detector.safetensors

    The calibration rows must not have trained the model: it likes its training rows better than
    others, and fresh rows would look odd beside them. Attributes: `rule`, `threshold` (nats; below
    it is an alarm), `calibration` ((n,), smallest first), `columns` (a `ColumnCalibration` or None), and
    `about` (what the maker noted, such as the model's name; kept in the file).
    """

    def __init__(
        self,
        ordered: Floats,
        rule: Rule,
        columns: ColumnCalibration | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(rule, Rule):
            raise ChainruleError(
                f'rule is of type {type(rule).__name__}; expected a Rule, such as Rule("conformal", 0.01).'
            )
        self.calibration = ordered
        self.rule = rule
        self.columns = columns
        self.about = dict(about or {})
        self.threshold = rule.threshold(ordered)

    @classmethod
    def fit(
        cls,
        scores: Any,
        *,
        rule: Rule | None = None,
        column_scores: Any = None,
        column_names: Any = None,
        about: Mapping[str, Any] | None = None,
    ) -> Detector:
        """Calibrate on clean rows.

        - scores: (n,), log p in nats
        - rule: where odd begins; conformal at level 0.01 by default, which needs 99 rows
        - column_scores: (n, columns), log p of each column, to say later which column was odd
        - about: anything JSON holds, saved along

        Raises `ChainruleError` for NaN, for too few rows, or for a rule they cannot serve.
        """
        checked = as_scores(scores, "calibration scores")
        columns = None
        if column_scores is not None:
            columns = ColumnCalibration.fit(column_scores, column_names, len(checked))
        return cls(np.sort(checked), Rule() if rule is None else rule, columns, about)

    def with_rule(self, rule: Rule) -> Detector:
        """The same calibration under another rule or level."""
        return Detector(self.calibration, rule, self.columns, self.about)

    def p_values(self, scores: Any, *, generator: np.random.Generator | None = None) -> Floats:
        """Conformal p-values, (rows,), whatever the rule; smoothed with a `generator`."""
        return ranked_p_values(as_scores(scores), self.calibration, generator)

    def alarms(self, scores: Any) -> Booleans:
        """Which rows lie below the threshold, (rows,); under the conformal rule, p <= level."""
        alarms: Booleans = as_scores(scores) < self.threshold
        return alarms

    def false_alarm_interval(
        self, *, confidence: float = 0.99, fresh_rows: int | None = None
    ) -> tuple[float, float] | None:
        """Where the share of alarms among clean rows lies; None unless the rule is conformal.

        A measured share above it says that the rows are not clean, or no longer like those of
        the calibration.
        """
        if self.rule.name != "conformal":
            return None
        return false_alarm_interval(
            len(self.calibration), self.rule.value, confidence=confidence, fresh_rows=fresh_rows
        )

    def judge(
        self,
        scores: Any,
        column_scores: Any = None,
        *,
        first_row: int = 0,
        max_columns: int = 3,
        ids: Sequence[str] | None = None,
    ) -> list[Verdict]:
        """A `Verdict` for each row, with its oddest columns if the detector was calibrated on columns.

        Meant for rows worth reading: it makes an object a row. Rows are numbered from `first_row`.
        """
        checked = as_scores(scores, first_row=first_row)
        oddest: list[tuple[ColumnSurprise, ...]] = [()] * len(checked)
        if column_scores is not None:
            oddest = self.calibrated_columns().oddest(column_scores, max_columns)
            if len(oddest) != len(checked):
                raise ChainruleError(
                    f"there are {len(checked)} scores, but column scores of {len(oddest)} rows; "
                    "expected as many."
                )
        if ids is not None and len(ids) != len(checked):
            raise ChainruleError(f"there are {len(ids)} ids for {len(checked)} scores; expected as many.")
        described = zip(checked, self.p_values(checked), self.alarms(checked), oddest, strict=True)
        return [
            Verdict(
                row=first_row + i,
                score=float(score),
                p_value=float(p),
                alarm=bool(alarm),
                reason=self._reason(score, columns),
                columns=columns,
                id=None if ids is None else ids[i],
            )
            for i, (score, p, alarm, columns) in enumerate(described)
        ]

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write `detector.json` and `detector.safetensors` into a folder, both or neither.

        Other files there, such as those of the model, stay. Raises `ChainruleError` for a detector that
        is there already (unless `overwrite`), for notes that are not JSON, and for a full disk.
        """
        from chainrule.detection.files import write_detector

        write_detector(self, folder, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Detector:
        """The detector saved in a folder; `ChainruleError` if there is none, or it is damaged."""
        from chainrule.detection.files import read_detector

        return read_detector(folder)

    def __repr__(self) -> str:
        columns = "" if self.columns is None else f", {len(self.columns.names)} columns"
        return (
            f"Detector({self.rule}; log p < {self.threshold:.3f} nats; "
            f"{len(self.calibration):,} calibration rows{columns})"
        )

    def calibrated_columns(self) -> ColumnCalibration:
        """The columns' calibration; `ChainruleError` if the detector was fitted without."""
        if self.columns is None:
            raise ChainruleError(
                "this detector was calibrated without columns, so it cannot say which was odd; "
                "fit it with column_scores=...."
            )
        return self.columns

    def _reason(self, score: Any, columns: tuple[ColumnSurprise, ...]) -> str:
        as_low = int(np.searchsorted(self.calibration, score, side="right"))
        rows = f"{len(self.calibration):,} calibration rows"
        rank = f"lower than all {rows}" if as_low == 0 else f"{as_low:,} of {rows} as low"
        what = "the model calls it impossible" if score == -math.inf else f"log p {score:.2f} nats"
        named = f"; oddest: {', '.join(map(str, columns))}" if columns else ""
        return f"{what}, {rank}{named}"
