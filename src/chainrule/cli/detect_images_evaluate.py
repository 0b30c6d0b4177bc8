"""`chainrule detect evaluate`: how well each score tells odd images from clean ones, and its false alarms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.detect_images import is_image_run, read_images
from chainrule.cli.detect_options import LevelOption
from chainrule.cli.image_output import open_images
from chainrule.cli.names import complete_dataset
from chainrule.cli.options import AsJson, Overwrite, RunArgument
from chainrule.cli.output import counting, print_json, print_table, show
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.likelihood import LikelihoodModel
    from chainrule.security import Passed

__all__ = ["evaluate"]

_LEVEL = 0.05


def evaluate(
    run: RunArgument,
    odd: Annotated[
        list[str] | None,
        typer.Option(
            "--odd",
            metavar="IMAGES",
            help="Images that should raise an alarm: a file of attacked ones, or another data set. May be "
            "repeated.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    clean: Annotated[
        str | None,
        typer.Option(
            "--clean",
            metavar="IMAGES",
            help="Images that should not: the test split of what the run was trained on, if not said.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            "--background", metavar="RUN", help="A run trained on mutated images.", show_default=False
        ),
    ] = None,
    level: LevelOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", help="At most N images of each, spread evenly.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.json", help="The report as JSON.", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """AUROC, false-alarm rate and detection rate of every score of a density of images.

    Scores are calibrated on the validation split of what the run was trained on; nothing is tuned on the odd
    images. For labelled tables, `detect score --label` gives this report.
    """
    from chainrule.report import check_writable

    if not is_image_run(run) and Path(run).is_dir():
        raise ChainruleError(
            f"{run} is no run of images; for tables, `chainrule detect score {run} TABLE --label COLUMN` "
            "reports on labels."
        )
    if not odd:
        raise ChainruleError("--odd is missing: name images that should raise an alarm, such as --odd mnist.")
    level = _LEVEL if level is None else level
    if not 0 < level < 1:
        raise ChainruleError(f"--level {level:g}: expected a number between 0 and 1, such as 0.01.")
    if out is not None:
        check_writable(out, overwrite=overwrite)
    opened = open_images(run)
    other = None if background is None else open_images(background).model
    calibration = read_images(opened, None, split="validation", limit=limit)
    fresh = read_images(opened, clean, split="test", limit=limit)
    usual = _passed(opened.model, other, calibration.values)
    passed_clean = _passed(opened.model, other, fresh.values)
    content: dict[str, Any] = {
        "run": run,
        "background": background,
        "calibrated_on": {"source": calibration.source, "images": len(calibration.values)},
        "clean": {"source": fresh.source, "images": len(fresh.values)},
        "level": level,
        "odd": [],
    }
    for source in odd:
        strange = read_images(opened, source, split="test", limit=limit)
        passed = _passed(opened.model, other, strange.values)
        content["odd"].append(
            {
                "source": strange.source,
                "images": len(strange.values),
                "scores": reports(usual, passed_clean, passed, level),
            }
        )
    if out is not None:
        from chainrule.report import write_file
        from chainrule.saving import json_bytes

        write_file(out, json_bytes(content), overwrite=overwrite)
    print_json(content) if as_json else _show(content)


def reports(calibration: Passed, clean: Passed, odd: Passed, level: float) -> list[dict[str, Any]]:
    """A report for each score that can be had: figures with their 95 % intervals."""
    import numpy as np

    from chainrule.detection import Detector, Rule, alarm_report, detection_report
    from chainrule.security import SCORES

    labels = np.r_[np.zeros(len(clean), bool), np.ones(len(odd), bool)]
    found = []
    for name, kind in SCORES.items():
        score = kind()
        if score.needs_background and clean.log_prob_background is None:
            continue
        halves = (calibration, calibration)
        if score.needs_fit:
            halves = (calibration.rows(slice(0, None, 2)), calibration.rows(slice(1, None, 2)))
        score.fit(halves[0])
        detector = Detector.fit(score.score(halves[1]), rule=Rule("conformal", level))
        scores = np.r_[score.score(clean), score.score(odd)]
        alarms = alarm_report(detector.alarms(scores), labels).as_dict()
        found.append(
            {
                "score": name,
                "auroc": detection_report(scores, labels).as_dict()["auroc"],
                "false_alarm_rate": alarms["false_alarm_rate"],
                "expected_interval": detector.false_alarm_interval(fresh_rows=len(clean)),
                "detection_rate": alarms["detection_rate"],
            }
        )
    return found


def _passed(model: LikelihoodModel, background: LikelihoodModel | None, images: Tensor) -> Passed:
    from chainrule.security import pass_over

    with counting("scoring") as on_progress:
        return pass_over(model, images, background, on_batch=on_progress)


def _show(content: dict[str, Any]) -> None:
    for part in content["odd"]:
        show(
            f"{part['source']} ({part['images']:,} images) against {content['clean']['source']} "
            f"({content['clean']['images']:,}), 95 % intervals:"
        )
        rows = [
            (
                report["score"],
                _figure(report["auroc"], "{:.3f}"),
                _figure(report["false_alarm_rate"], "{:.2%}"),
                _figure(report["detection_rate"], "{:.1%}"),
            )
            for report in part["scores"]
        ]
        columns = (f">false alarms (level {content['level']:g})", ">detected")
        print_table(("score", ">AUROC", *columns), rows)
    if content["background"] is None:
        show("likelihood-ratio: needs a run trained on mutated images (--background)")


def _figure(figure: dict[str, Any], form: str) -> str:
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    shown = form.format(value)
    return shown if low is None else f"{shown} [{form.format(low)}, {form.format(high)}]"
