"""`chainrule detect score`: every row of a table judged in a stream, the oddest shown with the reason."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.detect_images import is_image_run, refuse_for_images, score_images
from chainrule.cli.detect_options import (
    LabelOption,
    LevelOption,
    MeanSdOption,
    NormalOption,
    PercentileOption,
    chosen_rule,
    rounded_up,
)
from chainrule.cli.detect_reasons import cell_surprises, column_scores
from chainrule.cli.detect_show import report_json, show_score
from chainrule.cli.names import complete_table
from chainrule.cli.options import (
    AsJson,
    Overwrite,
    SkipBad,
    SplitOption,
)
from chainrule.cli.output import counting, print_json, say
from chainrule.cli.table_files import refuse_input
from chainrule.cli.table_rows import Rows, RowSource, row_source
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.cli.detect_labels import LabelTally
    from chainrule.cli.detect_rows import OddestCells
    from chainrule.cli.table_runs import TableRun
    from chainrule.detection import Detector, Rule, StreamSummary, Verdict

__all__ = ["score"]


def score(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="What `chainrule detect fit --out` made.", show_default=False)
    ],
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="A table with the same columns (others, and their order, do not matter), of any length; of "
            "a table of `chainrule datasets` its test part.",
            autocompletion=complete_table,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".csv, .jsonl or .parquet: row (from 0), score, p-value, alarm, odd columns of alarms.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", help="Show the N oddest rows.", min=0)] = 10,
    columns: Annotated[
        int, typer.Option("--columns", metavar="N", help="Name at most N columns of an odd row.", min=1)
    ] = 3,
    identifier: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="A column that names the rows.", show_default=False),
    ] = None,
    label: LabelOption = None,
    normal: NormalOption = None,
    level: LevelOption = None,
    percentile: PercentileOption = None,
    mean_sd: MeanSdOption = None,
    split: SplitOption = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score every row of a table, and show the oddest with the columns that made them odd.

    The table streams through in constant memory. A row's result depends on that row alone. Without a rule,
    alarms are raised as the run was fitted. Of a run of images, every image is judged, and the place shown
    that surprised most.
    """
    from chainrule.cli.detect_labels import LabelTally
    from chainrule.cli.detect_rows import OddestCells
    from chainrule.cli.table_runs import open_detector, open_table_run

    rule = chosen_rule(level, percentile, mean_sd)
    if is_image_run(run):
        refuse_for_images({"--id": identifier, "--label": label, "--normal": normal})
        score_images(
            run,
            table,
            split=split,
            rule=rule,
            out=out,
            top=top,
            skip_bad=skip_bad,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    if skip_bad:
        raise ChainruleError("--skip-bad is for runs of images; a row of a table is never left out.")
    _check_run(run)
    opened = open_table_run(run)
    detector = open_detector(opened)
    detector = detector if rule is None else _under(rule, detector, run)
    if out is not None:
        refuse_input(out, table)
        _check_result_file(out, overwrite)
    source = _source(table, split, label, identifier, detector, opened)
    if _was_fitted_on(source, detector):
        say(f"warning: {run} was fitted on rows of {source.name}; those look less odd to it than new ones")
    stream = _Stream(opened, detector, OddestCells(max(top, 1)), LabelTally(), identifier)
    summary = stream.judge(source, out, top, columns, overwrite)
    report = stream.tally.report(normal or detector.about.get("normal")) if stream.labelled else None
    content = {
        "run": run,
        "table": source.name,
        "out": None if out is None else str(out),
        "rule": {"name": detector.rule.name, "value": detector.rule.value},
        "rule_text": str(detector.rule),
        "threshold": detector.threshold,
        **summary.as_dict(),
        "report": report,
    }
    content["top"] = [_top_row(verdict, stream.oddest, detector, opened) for verdict in summary.top]
    print_json({**content, "report": report_json(report)}) if as_json else show_score(content)


def _check_run(run: str) -> None:
    if not (run.startswith("hub:") or Path(run).exists()):
        raise ChainruleError(f"{run} does not exist; name the folder that `chainrule detect fit --out` made.")


def _under(rule: Rule, detector: Detector, run: str) -> Detector:
    """The detector with another rule; `ChainruleError` for a level that its calibration rows cannot serve."""
    from chainrule.detection import rows_needed, smallest_level

    rows = len(detector.calibration)
    if rule.name == "conformal" and rows < rows_needed(rule.value):
        raise ChainruleError(
            f"--level {rule.value:g} needs at least {rows_needed(rule.value):,} calibration rows, and {run} "
            f"was calibrated on {rows:,}; choose --level {rounded_up(smallest_level(rows))} or more, or fit "
            f"again with --level {rule.value:g}, which keeps more rows back."
        )
    return detector.with_rule(rule)


def _check_result_file(out: Path, overwrite: bool) -> None:
    from chainrule.detection.writers import SUFFIXES
    from chainrule.report import check_writable

    if out.suffix.lower() not in SUFFIXES:
        raise ChainruleError(f"{out}: results are written as {', '.join(SUFFIXES)}; choose one of these.")
    check_writable(out, overwrite=overwrite)


def _source(
    table: str,
    split: str | None,
    label: str | None,
    identifier: str | None,
    detector: Detector,
    run: TableRun,
) -> RowSource:
    """The rows to score; the label column of the run is taken for one here too, if it is there."""
    from chainrule.cli.table_rows import column_names, is_catalogue_table

    if is_catalogue_table(table):
        return row_source(table, "detect", split=split or "test", label=label)
    if label is not None and label in map(str, run.table.schema.names):
        raise ChainruleError(
            f"--label {label}: {run.source} was fitted on that column, so it is no label; name another, or "
            f"fit again with --label {shlex.quote(label)}."
        )
    noted = detector.about.get("label")
    if label is None and noted is not None and noted in column_names(table):
        label = noted
    return row_source(
        table, "detect", split=split, label=label, identifier=identifier, schema=run.table.schema
    )


def _was_fitted_on(source: RowSource, detector: Detector) -> bool:
    fitted = detector.about.get("table")
    return source.name == f"{fitted} (train)" or str(Path(source.name).absolute()) == fitted


class _Stream:
    """Scores a stream once, and remembers what the report and the oddest rows need."""

    def __init__(
        self,
        run: TableRun,
        detector: Detector,
        oddest: OddestCells,
        tally: LabelTally,
        identifier: str | None,
    ) -> None:
        self._run, self._table, self._detector, self._identifier = run, run.table, detector, identifier
        self._dependence = float(detector.about.get("dependence", 1.0))
        self.oddest, self.tally = oddest, tally
        self._done = 0
        self.labelled = False

    def judge(
        self, source: RowSource, out: Path | None, top: int, columns: int, overwrite: bool
    ) -> StreamSummary:
        """The summary of `judge_stream`."""
        from chainrule.detection import judge_stream

        with counting("scoring") as on_progress:
            return judge_stream(
                source.chunks(),
                self._scores,
                self._detector,
                out=out,
                column_scores=self._column_scores,
                ids=None if self._identifier is None else self._ids,
                top=top,
                max_columns=columns,
                on_progress=on_progress,
                total_rows=source.total,
                overwrite=overwrite,
            )

    def _scores(self, rows: Rows) -> Any:
        if not self._done:
            from chainrule.cli.table_runs import warn_of_strangers

            warn_of_strangers(self._run, rows.frame)
        scores = self._table.anomaly_scores(rows.frame, dependence=self._dependence)
        self.oddest.add(rows.frame, scores, self._done, rows.labels)
        self._done += len(scores)
        if rows.labels is not None:
            self.labelled = True
            self.tally.add(rows.labels, scores, self._detector.alarms(scores))
        return scores

    def _column_scores(self, rows: Rows, places: Any) -> Any:
        return column_scores(self._table, rows.frame.iloc[places], self._dependence)

    def _ids(self, rows: Rows) -> list[str]:
        from chainrule.tables.values import as_label

        names = {str(name): name for name in rows.frame.columns}
        if self._identifier not in names:
            raise ChainruleError(f"--id: {unknown_name('column', str(self._identifier), names)}")
        cells = rows.frame[names[self._identifier]]
        return ["" if missing else as_label(cell) for cell, missing in zip(cells, cells.isna(), strict=True)]


def _top_row(verdict: Verdict, oddest: OddestCells, detector: Detector, run: TableRun) -> dict[str, Any]:
    """A row for people and for JSON: the verdict, with the cells of its odd columns."""
    from chainrule.cli.detect_rows import cell_text

    row, usual = oddest.row(verdict.row), detector.about.get("usual") or {}
    cells = cell_surprises(run.table, row)
    places = {str(name): place for place, name in enumerate(run.table.schema.names)}
    values = dict(zip(map(str, row.columns), row.iloc[0].tolist(), strict=True))
    content: dict[str, Any] = verdict.as_dict()
    content["label"] = oddest.label(verdict.row)
    for column in content["columns"]:
        name = column["column"]
        column["value"] = cell_text(values[name])
        column["usual"] = usual.get(name)
        if cells is not None:
            column["surprise_alone"] = 0.0 - float(cells.alone[0, places[name]])
            column["surprise_given_others"] = 0.0 - float(cells.given_others[0, places[name]])
    return content
