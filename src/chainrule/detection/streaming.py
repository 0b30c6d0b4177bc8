"""Judging more rows than memory holds: chunk by chunk, results to a file, the oddest rows kept.

What is held at any time is one chunk and its results, the calibration scores, and the `top` oddest
rows so far. A chunk may be anything (a DataFrame, a tensor): only the functions handed in look at it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import whole_number
from chainrule.detection.detector import Detector, Verdict
from chainrule.detection.scores import Booleans, Floats, as_column_scores, as_scores
from chainrule.detection.writers import JudgedRows, ResultFile
from chainrule.errors import ChainruleError

__all__ = ["StreamSummary", "judge_stream"]

Chunk = TypeVar("Chunk")
#: Called with the rows done and the rows in all, or None where nobody knows.
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class StreamSummary:
    """What came of a stream.

    - mean_score: nats, over the rows with a finite score; impossible: the rows with score -inf
    - top: the oddest rows, oddest first; the earlier of two that tie
    - clean_interval: where the alarm rate of this many clean rows lies with 99 % confidence (conformal
      rule only); a higher `alarm_rate` means anomalies, or a stream unlike the calibration rows
    """

    rows: int
    alarms: int
    impossible: int
    mean_score: float | None
    top: tuple[Verdict, ...]
    clean_interval: tuple[float, float] | None

    @property
    def alarm_rate(self) -> float:
        """The share of rows in alarm; 0 if there were no rows."""
        return self.alarms / self.rows if self.rows else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON holds it."""
        return {
            "rows": self.rows,
            "alarms": self.alarms,
            "alarm_rate": self.alarm_rate,
            "clean_interval": None if self.clean_interval is None else list(self.clean_interval),
            "impossible": self.impossible,
            "mean_score": self.mean_score,
            "top": [verdict.as_dict() for verdict in self.top],
        }


def judge_stream(
    chunks: Iterable[Chunk],
    score: Callable[[Chunk], Any],
    detector: Detector,
    *,
    out: str | PathLike[str] | None = None,
    column_scores: Callable[[Chunk, NDArray[np.intp]], Any] | None = None,
    ids: Callable[[Chunk], Sequence[Any]] | None = None,
    top: int = 10,
    max_columns: int = 3,
    on_progress: Progress | None = None,
    total_rows: int | None = None,
    overwrite: bool = False,
) -> StreamSummary:
    """Judge every row of `chunks` in turn.

    - chunks: parts of a table, in order; those with a shape (an array, a tensor, a DataFrame) have their
      rows first, and as many scores are expected
    - score: log p of each row of a chunk, nats, (rows,)
    - out: a .csv, .jsonl or .parquet file with a line a row; it appears when the stream has ended
    - column_scores: log p of each column, (len(places), columns), for these rows of a chunk; asked
      only for rows in alarm or among the oddest, so it may be dear. Needs a detector with columns.
    - ids: what the rows of a chunk are called
    - top: how many of the oddest rows to keep, with the reason
    - on_progress, total_rows: called after each chunk with (rows so far, total_rows)

    Raises `ChainruleError` if a score is NaN (naming the row's number in the whole stream), if there are
    too few or too many, or if the file cannot be written; then no file is left behind.
    """
    _check_stream(chunks, score, detector)
    top = whole_number("top", top)
    max_columns = whole_number("max_columns", max_columns, minimum=1)
    if column_scores is not None:
        detector.calibrated_columns()
    judge = _Judge(score, detector, column_scores, ids, top, max_columns)
    with ExitStack() as stack:
        file = None
        if out is not None:
            options = {"with_ids": ids is not None, "with_columns": column_scores is not None}
            file = stack.enter_context(ResultFile(out, overwrite=overwrite, **options))
        for chunk in chunks:
            judged = judge.take(chunk)
            del chunk  # else it would be held while the next one is read
            if file is not None:
                file.write(judged)
            if on_progress is not None:
                on_progress(judge.rows, total_rows)
    return judge.summary()


class _Judge(Generic[Chunk]):
    """Scores, judges and counts one chunk after the other."""

    def __init__(
        self,
        score: Callable[[Chunk], Any],
        detector: Detector,
        column_scores: Callable[[Chunk, NDArray[np.intp]], Any] | None,
        ids: Callable[[Chunk], Sequence[Any]] | None,
        top: int,
        max_columns: int,
    ) -> None:
        self._score, self._detector = score, detector
        self._column_scores, self._ids = column_scores, ids
        self._top, self._max_columns = top, max_columns
        # The least odd of the kept rows lies in front: (-score, -row) is smallest there.
        self._heap: list[tuple[float, int, Verdict]] = []
        self.rows = 0
        self._alarms = self._impossible = self._finite = 0
        self._sum = 0.0

    def take(self, chunk: Chunk) -> JudgedRows:
        """Judge a chunk."""
        scores = as_scores(self._score(chunk), first_row=self.rows)
        _check_count(chunk, len(scores), self.rows)
        p_values, alarms = self._detector.p_values(scores), self._detector.alarms(scores)
        names = None if self._ids is None else _as_ids(self._ids(chunk), len(scores))
        entering = self._entering(scores)
        described, odd_columns = self._columns(chunk, entering, alarms)
        self._keep(entering, scores, described, names)
        judged = JudgedRows(self.rows, scores, p_values, alarms, names, odd_columns)
        self._count(scores, alarms)
        return judged

    def summary(self) -> StreamSummary:
        """What was counted so far."""
        oddest_first = sorted(self._heap, reverse=True)
        return StreamSummary(
            rows=self.rows,
            alarms=self._alarms,
            impossible=self._impossible,
            mean_score=self._sum / self._finite if self._finite else None,
            top=tuple(verdict for _, _, verdict in oddest_first),
            clean_interval=self._detector.false_alarm_interval(fresh_rows=self.rows) if self.rows else None,
        )

    def _count(self, scores: Floats, alarms: Booleans) -> None:
        finite = scores[np.isfinite(scores)]
        self.rows += len(scores)
        self._alarms += int(alarms.sum())
        self._impossible += int((scores == -math.inf).sum())
        self._finite += len(finite)
        self._sum += float(finite.sum())

    def _entering(self, scores: Floats) -> NDArray[np.intp]:
        """The places of the rows of this chunk that belong among the oddest so far, in order."""
        room = min(self._top, len(scores))
        if not room:
            return np.empty(0, dtype=np.intp)
        bound = np.partition(scores, room - 1)[room - 1]
        lower = np.flatnonzero(scores < bound)
        level = np.flatnonzero(scores == bound)[: room - len(lower)]
        places = np.sort(np.concatenate([lower, level]))
        if len(self._heap) == self._top:
            places = places[scores[places] < -self._heap[0][0]]
        return places

    def _columns(
        self, chunk: Chunk, entering: NDArray[np.intp], alarms: Booleans
    ) -> tuple[Floats | None, dict[int, list[str]] | None]:
        """Column scores of the entering rows, and the odd columns of the rows in alarm, if asked for."""
        if self._column_scores is None:
            return None, None
        columns = self._detector.calibrated_columns()
        in_alarm = np.flatnonzero(alarms)
        places = np.union1d(entering, in_alarm)
        if not len(places):
            return np.empty((0, len(columns.names))), {}
        asked = as_column_scores(
            self._column_scores(chunk, places), len(places), columns.names, first_row=self.rows
        )
        names = columns.oddest_names(asked[np.isin(places, in_alarm)], self._max_columns)
        return asked[np.isin(places, entering)], dict(zip(in_alarm.tolist(), names, strict=True))

    def _keep(
        self,
        entering: NDArray[np.intp],
        scores: Floats,
        described: Floats | None,
        names: Sequence[str] | None,
    ) -> None:
        for i, place in enumerate(entering.tolist()):
            (verdict,) = self._detector.judge(
                scores[place : place + 1],
                None if described is None else described[i : i + 1],
                first_row=self.rows + place,
                max_columns=self._max_columns,
                ids=None if names is None else [names[place]],
            )
            entry = (-verdict.score, -verdict.row, verdict)
            if len(self._heap) < self._top:
                heapq.heappush(self._heap, entry)
            else:
                heapq.heappushpop(self._heap, entry)


def _check_stream(chunks: object, score: object, detector: object) -> None:
    shape = getattr(chunks, "shape", None)
    if shape is not None and len(shape) <= 2:
        raise ChainruleError(
            f"chunks is one table of shape {tuple(shape)}; expected its parts, one after the other: put it "
            "into a list, [table], to judge it in one go."
        )
    if isinstance(chunks, str | bytes) or not isinstance(chunks, Iterable):
        raise ChainruleError(
            f"chunks is of type {type(chunks).__name__}; expected the parts of a table, such as a list of "
            "arrays."
        )
    if not callable(score):
        raise ChainruleError(
            f"score is of type {type(score).__name__}; expected a function that gives the scores of a chunk."
        )
    if not isinstance(detector, Detector):
        raise ChainruleError(
            f"detector is of type {type(detector).__name__}; expected a Detector, as Detector.fit or "
            "Detector.load make it."
        )


def _check_count(chunk: object, scores: int, first_row: int) -> None:
    """Rows that were not scored would shift the number of every row after them."""
    shape = getattr(chunk, "shape", None)
    if shape is not None and len(shape) >= 2 and shape[0] != scores:
        raise ChainruleError(
            f"score gave {scores} scores for the {shape[0]} rows of the chunk that begins at row "
            f"{first_row}; expected one for each."
        )


def _as_ids(ids: Sequence[Any], rows: int) -> list[str]:
    if len(ids) != rows:
        raise ChainruleError(f"there are {len(ids)} ids for {rows} rows of a chunk; expected one for each.")
    return [str(name) for name in ids]
