"""`chainrule detect fit`: a model of a table, and an alarm threshold from rows that it never saw."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.arguments import checked_seed
from chainrule.cli.detect_images import fit_images, is_image_run, refuse_for_images
from chainrule.cli.detect_options import (
    BackgroundOption,
    CleanOption,
    EpsOption,
    ImageLimitOption,
    LabelOption,
    LevelOption,
    MeanSdOption,
    NormalOption,
    PercentileOption,
    ScoreOption,
    TableArgument,
    chosen_rule,
    rounded_up,
)
from chainrule.cli.detect_show import report_json, show_fit
from chainrule.cli.names import TABLE_MODELS, complete_table_model
from chainrule.cli.options import (
    AsJson,
    KindOption,
    Overwrite,
    Quiet,
    SplitOption,
)
from chainrule.cli.output import print_json, say
from chainrule.cli.setting_values import parse_settings
from chainrule.cli.table_rows import spread_places
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.cli.detect_labels import LabelReport
    from chainrule.cli.table_plan import Parts, TablePlan
    from chainrule.detection import Detector, Rule
    from chainrule.tables import TableSchema
    from chainrule.tabular import TableModel

__all__ = ["fit"]

#: Anomalies left out of fitting that are scored for the report, spread evenly over all of them.
_REPORTED = 20_000
#: Rows that the surprise of single columns is calibrated on.
_CALIBRATED_COLUMNS = 20_000
#: A greater level is no advice to anybody.
_SENSIBLE_LEVEL = 0.2


def fit(
    table: TableArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run folder to make.", show_default=False)
    ] = None,
    label: LabelOption = None,
    normal: NormalOption = None,
    normal_only: Annotated[
        str | None,
        typer.Option(
            "--normal-only",
            metavar="LABEL",
            help="Fit and calibrate on the rows with this label alone; else on all rows as they are.",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="COLUMN", help="Leave a column out. May be repeated.", show_default=False
        ),
    ] = None,
    level: LevelOption = None,
    percentile: PercentileOption = None,
    mean_sd: MeanSdOption = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help=f"Which model: {', '.join(TABLE_MODELS)}.",
            autocompletion=complete_table_model,
        ),
    ] = "made",
    dependence: Annotated[
        float | None,
        typer.Option(
            "--dependence",
            help="How much of the dependence between columns a score counts, 0 to 1; 1 is log p(row). 0.5 if "
            "not said.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Updates of training; 1500 if not said.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the model or of training, as for `chainrule train`. May be repeated.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        float | None,
        typer.Option(
            "--calibration",
            metavar="SHARE",
            help="Share of the rows kept back to calibrate on; 0.2 or what the level needs, if not said.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="FILE",
            help="What the columns are: an edited copy of the schema.json of a run. Found out if not said.",
            show_default=False,
        ),
    ] = None,
    kind: KindOption = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Accept empty cells when scoring, in columns that have none now; how odd one looks depends "
            "on the column.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; it knows its table and options.")
    ] = False,
    clean: CleanOption = None,
    split: SplitOption = None,
    image_score: ScoreOption = None,
    background: BackgroundOption = None,
    eps: EpsOption = None,
    limit: ImageLimitOption = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fit a model to a table and calibrate a threshold on rows that it never saw.

    Given the run of a model of images instead of a table, calibrate a guard on clean images that the model
    was not trained on, and leave it in the run (or in --out).

    An alarm is raised as --level 0.01 has it, unless --level, --percentile or --mean-sd say otherwise. The
    run folder then holds the model, schema.json (what every column is; edit a copy and pass it with
    --schema), and the detector. With labels, a report on the rows that were kept back is printed.
    """
    from chainrule.cli.table_plan import (
        check_folder,
        fit_plan,
        noted_plan,
        parsed_kinds,
        parts_of,
        planned,
        schema_of,
    )

    if table is not None and is_image_run(table):
        refuse_for_images(
            {
                "--label": label,
                "--normal": normal,
                "--normal-only": normal_only,
                "--drop": drop,
                "--dependence": dependence,
                "--steps": steps,
                "--set": settings,
                "--calibration": calibration,
                "--schema": schema,
                "--kind": kind,
                "--allow-missing": allow_missing,
                "--resume": resume,
            }
        )
        fit_images(
            table,
            data=clean,
            split=split,
            score=image_score or "log-likelihood",
            background=background,
            eps=eps,
            limit=limit,
            rule=chosen_rule(level, percentile, mean_sd),
            out=out,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    of_images = {"--data": clean, "--split": split, "--score": image_score, "--background": background}
    _refuse_for_tables({**of_images, "--eps": eps, "--limit": limit})
    if out is None:
        raise ChainruleError("--out is missing: name the run folder to make, such as --out runs/fraud.")
    if label is not None and label in (drop or ()):
        raise ChainruleError(
            f"--drop {shlex.quote(label)} is the column of --label, which no model sees; leave --drop out."
        )
    check_folder(out, overwrite=overwrite, resume=resume)
    rule = chosen_rule(level, percentile, mean_sd)
    plan = noted_plan(out) if resume else None
    if plan is None:
        if table is None:
            raise ChainruleError(
                f"{out} holds no run to resume; give TABLE to start one there."
                if resume
                else "TABLE is missing: name the file or the catalogue table to fit."
            )
        plan = planned(
            table,
            "detect",
            model=model,
            values=parse_settings(settings or []),
            steps=steps,
            label=label,
            normal=normal_only if normal is None else normal,
            normal_only=normal_only,
            drop=tuple(drop or ()),
            held_out=_share(calibration),
            seed=checked_seed(seed, "--seed"),
            schema=None if schema is None else str(Path(schema).absolute()),
            allow_missing=allow_missing,
            kinds=parsed_kinds(kind or ()),
            rule=("conformal", 0.01) if rule is None else (rule.name, rule.value),
            dependence=_checked_dependence(dependence),
        )
    else:
        plan = _resumed(plan, out, table, rule)
    parts = parts_of(plan)
    _check_calibration(plan, parts)
    columns = schema_of(plan, parts)
    if not quiet:
        for notice in columns.notices:
            say(f"note: {notice}")
        say(f"fitting {plan.model} to {len(parts.fit.frame):,} rows of {len(columns.columns)} columns")
    fitted = fit_plan(
        plan,
        parts,
        columns,
        out,
        overwrite=overwrite,
        resume=resume,
        quiet=quiet,
        again=f"chainrule detect fit --resume --out {shlex.quote(str(out))}",
    )
    content = _calibrate(plan, parts, fitted, out, quiet)
    if as_json:
        print_json({**content, "report": report_json(content["report"])})
    else:
        show_fit(content, fitted.schema, notices=quiet)


def _refuse_for_tables(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ChainruleError(
            f"{', '.join(given)}: not for tables, but for the run of a model of images; leave it out."
        )


def _share(calibration: float | None) -> float | None:
    if calibration is not None and not 0 < calibration < 1:
        raise ChainruleError(f"--calibration {calibration:g}: expected a share between 0 and 1, such as 0.2.")
    return calibration


def _checked_dependence(dependence: float | None) -> float:
    from chainrule.tabular import DEPENDENCE

    if dependence is None:
        return DEPENDENCE
    if not 0 <= dependence <= 1:
        raise ChainruleError(f"--dependence {dependence:g}: expected a number from 0 to 1.")
    return dependence


def _resumed(plan: TablePlan, out: Path, table: str | None, rule: Rule | None) -> TablePlan:
    """The plan of the run, with another rule if one is given now."""
    from chainrule.cli.table_runs import resuming

    if plan.purpose != "detect":
        raise ChainruleError(f"{out} was begun by `chainrule train`; resume it with {resuming(plan, out)}.")
    if table is not None and table != plan.spec and str(Path(table).absolute()) != plan.spec:
        raise ChainruleError(
            f"{out} is a run on {plan.spec}, not on {table}; leave TABLE out, or change --out."
        )
    return plan if rule is None else replace(plan, rule=(rule.name, rule.value))


def _check_calibration(plan: TablePlan, parts: Parts) -> None:
    """Say before training that the rows are too few for the rule."""
    import numpy as np

    from chainrule.detection import Rule, rows_needed

    assert plan.rule is not None
    if not len(parts.held.frame):
        rows = len(parts.fit.frame)
        raise ChainruleError(
            f"{plan.spec} has {rows} row{'' if rows == 1 else 's'} to use, too few to keep some back for "
            "calibration; give more rows."
        )
    rule, rows = Rule(*plan.rule), len(parts.held.frame)
    if rule.name == "conformal" and rows < rows_needed(rule.value):
        raise ChainruleError(_too_few(plan, rule, rows, len(parts.fit.frame) + rows))
    rule.threshold(np.arange(rows, dtype=np.float64))


def _too_few(plan: TablePlan, rule: Rule, held: int, rows: int) -> str:
    """What a level takes that these rows do not give, counted in rows of the table; and what to do."""
    from chainrule.detection import rows_needed, smallest_level

    needed = rows_needed(rule.value)
    which = "" if plan.normal_only is None else f" labelled {plan.normal_only!r}"
    smallest = smallest_level(held)
    ways = [f"--level {rounded_up(smallest)} or more"] if smallest <= _SENSIBLE_LEVEL else []
    if plan.held_out is None:
        table = f"a table of at least {2 * needed:,} rows{which}, half of which fit the model"
    else:
        table = (
            f"at least {math.ceil(needed / plan.held_out):,} rows{which} at --calibration {plan.held_out:g}"
        )
        if needed <= rows / 2:
            ways.append(f"--calibration {rounded_up(needed / rows)} or more")
    otherwise = f"; or choose {', or '.join(ways)}" if ways else ""
    return (
        f"level {rule.value:g} needs at least {needed:,} calibration rows, but of these {rows:,} rows{which} "
        f"only {held:,} {'is' if held == 1 else 'are'} kept back for that. Give {table}{otherwise}."
    )


def _calibrate(plan: TablePlan, parts: Parts, fitted: TableModel, out: Path, quiet: bool) -> dict[str, Any]:
    """Fit the detector, save it beside the model, and say everything that came out."""
    from chainrule.cli.detect_reasons import column_scores
    from chainrule.cli.detect_rows import usual_values
    from chainrule.cli.table_runs import weights_digest
    from chainrule.detection import ColumnCalibration, Detector, Rule

    assert plan.rule is not None
    assert plan.dependence is not None
    held = parts.held
    if not quiet:
        say(f"calibrating on {len(held.frame):,} other rows")
    scores = fitted.anomaly_scores(held.frame, dependence=plan.dependence)
    about = {
        "table": plan.spec,
        "dependence": plan.dependence,
        "label": plan.label,
        "normal": plan.normal,
        "weights_sha256": weights_digest(out),
        "usual": usual_values(held.frame, fitted.schema),
    }
    detector = Detector.fit(scores, rule=Rule(*plan.rule))
    rows = spread_places(len(held.frame), _CALIBRATED_COLUMNS)
    cells = column_scores(fitted, held.frame.iloc[rows], plan.dependence)
    names = [str(name) for name in fitted.schema.names]
    columns = ColumnCalibration.fit(cells, names, len(rows))
    detector = Detector(detector.calibration, detector.rule, columns, about)
    detector.save(out, overwrite=True)  # another rule for a run that is resumed
    return {
        "run": str(out),
        "table": plan.spec,
        "rows": parts.rows,
        "fitted_on": len(parts.fit.frame),
        "calibrated_on": len(held.frame),
        "normal_only": plan.normal_only,
        "left_out": 0 if parts.others is None else len(parts.others.frame),
        "model": plan.model,
        "parameters": fitted.model.num_parameters,
        "dependence": plan.dependence,
        "columns": _columns(fitted.schema),
        "notices": list(fitted.schema.notices),
        "rule": {"name": detector.rule.name, "value": detector.rule.value},
        "rule_text": str(detector.rule),
        "threshold": detector.threshold,
        "clean_interval": detector.false_alarm_interval(),
        "report": _fit_report(plan, parts, fitted, scores, detector),
    }


def _columns(schema: TableSchema) -> list[dict[str, str]]:
    described = schema.describe().itertuples(index=False, name=None)
    return [dict(zip(("name", "kind", "values", "as", "holes"), line, strict=True)) for line in described]


def _fit_report(
    plan: TablePlan, parts: Parts, fitted: TableModel, scores: Any, detector: Detector
) -> LabelReport | str | None:
    """The report on rows that trained nothing, those left out with them; a line where there is none."""
    import numpy as np

    from chainrule.cli.detect_labels import label_report

    assert plan.dependence is not None
    held, others = parts.held, parts.others
    if held.labels is None:
        return None
    labels = held.labels
    if others is not None and others.labels is not None and len(others.frame):
        places = spread_places(len(others.frame), _REPORTED)
        more = fitted.anomaly_scores(others.frame.iloc[places], dependence=plan.dependence)
        scores, labels = np.concatenate([scores, more]), np.concatenate([labels, others.labels[places]])
    return label_report(scores, detector.alarms(scores), labels, plan.normal, plan.seed)
