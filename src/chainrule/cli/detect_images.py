"""`chainrule detect fit` and `score` for runs of images: a guard beside the density, every image judged."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.detect_options import rounded_up
from chainrule.cli.example_files import read_examples, saying_warnings
from chainrule.cli.image_output import open_images
from chainrule.cli.names import DATASETS
from chainrule.cli.output import counting, print_facts, print_json, print_table, show
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel
    from chainrule.detection import Rule
    from chainrule.security import Decision, Passed, PixelDefend

__all__ = [
    "Images",
    "fit_images",
    "guard_of",
    "is_image_run",
    "judged",
    "read_images",
    "refuse_for_images",
    "score_images",
]

_SUFFIXES = (".csv", ".jsonl")
_SIDE_FILES = ("schema.json", "tokenizer.json", "series.json", "audio.json")


def is_image_run(source: str) -> bool:
    """Whether `source` is the folder of a model of images: said without loading anything."""
    folder = Path(source)
    if any((folder / name).exists() for name in _SIDE_FILES):
        return False
    try:
        shape = json.loads((folder / "config.json").read_bytes())["settings"]["event_shape"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(shape, list) and len(shape) in (2, 3)


@dataclass(frozen=True)
class Images:
    """Images of levels `(N, *event_shape)`, where they come from, and what files they were."""

    values: Tensor
    source: str
    names: tuple[str, ...] = ()


def read_images(
    opened: OpenedModel,
    source: str | None,
    *,
    split: str,
    limit: int | None,
    threshold: float | None = None,
    skip_bad: bool = False,
) -> Images:
    """The images of a data set's split, of a file, or of what the run was trained on; some, spread evenly."""
    from chainrule.training.batches import spread_rows

    if limit is not None and limit < 1:
        raise ChainruleError(f"--limit {limit}: expected 1 or more.")
    if source is None or source in DATASETS:
        choice = opened.data(source)
        images = Images(choice.load().evaluation_split(split), f"{choice.spec} ({split})")
    else:
        read = read_examples(opened, source, threshold=threshold, skip_bad=skip_bad)
        images = Images(read.values, source, read.names)
    if limit is None or limit >= len(images.values):
        return images
    rows = spread_rows(len(images.values), limit)
    names = tuple(images.names[row] for row in rows.tolist()) if images.names else ()
    return Images(images.values[rows], images.source, names)


def judged(guard: PixelDefend, images: Tensor, *, quiet: bool = False) -> Passed:
    """The passes over the images, with progress."""
    from chainrule.security import pass_over

    with counting("scoring", enabled=not quiet) as on_progress:
        return pass_over(guard.density, images, guard.background, on_batch=on_progress)


def fit_images(
    run: str,
    *,
    data: str | None,
    split: str | None,
    score: str,
    background: str | None,
    eps: int | None,
    limit: int | None,
    rule: Rule | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Calibrate a guard on clean images, and leave it beside the density, or in `out`."""
    from chainrule.detection import Rule
    from chainrule.security import PixelDefend
    from chainrule.security.guard_files import GUARD_NAME

    folder = Path(run) if out is None else out
    if (folder / GUARD_NAME).exists() and not overwrite:
        raise ChainruleError(f"{folder} already holds a guard; pass --overwrite, or choose another --out.")
    opened = open_images(run)
    split = split or "validation"
    clean = read_images(opened, data, split=split, limit=limit)
    rule = Rule() if rule is None else rule
    with saying_warnings():
        guard = PixelDefend.fit(
            run,
            clean.values,
            score=score,
            background=background,
            rule=rule,
            eps=eps,
            reference="training" if split == "train" else "calibration",
            about={"clean": clean.source},
        )
    guard.save(folder, overwrite=overwrite)
    content = {
        "run": run,
        "guard": str(folder),
        "clean": clean.source,
        "images": len(clean.values),
        "reference": guard.reference,
        "reference_images": len(guard.detector.calibration),
        "score": guard.score.name,
        "rule": {"name": rule.name, "value": rule.value},
        "rule_text": str(rule),
        "threshold": guard.detector.threshold,
        "clean_interval": guard.detector.false_alarm_interval(),
        "eps": guard.eps,
        "least_log_prob": guard.least_log_prob,
    }
    print_json(content) if as_json else _show_fit(content)


def guard_of(run: str, rule: Rule | None) -> PixelDefend:
    """The guard in a folder, under another rule if one is given."""
    from chainrule.detection import rows_needed, smallest_level
    from chainrule.security import PixelDefend

    guard = PixelDefend.load(run)
    if rule is None:
        return guard
    rows = len(guard.detector.calibration)
    if rule.name == "conformal" and rows < rows_needed(rule.value):
        raise ChainruleError(
            f"--level {rule.value:g} needs at least {rows_needed(rule.value):,} images, and {run} was "
            f"calibrated on {rows:,}; choose --level {rounded_up(smallest_level(rows))} or more."
        )
    return guard.with_rule(rule)


def score_images(
    run: str,
    source: str,
    *,
    split: str | None,
    rule: Rule | None,
    out: Path | None,
    top: int,
    skip_bad: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Judge every image, and show the oddest with the place that made them odd."""
    from chainrule.report import check_writable

    if out is not None:
        if out.suffix.lower() not in _SUFFIXES:
            raise ChainruleError(f"{out}: decisions about images are written as {' or '.join(_SUFFIXES)}.")
        check_writable(out, overwrite=overwrite)
    guard = guard_of(run, rule)
    images = read_images(open_images(run), source, split=split or "test", limit=None, skip_bad=skip_bad)
    decisions = guard.check(judged(guard, images.values))
    if out is not None:
        _write(decisions, images.names, out, overwrite)
    alarms = sum(not decision.accepted for decision in decisions)
    oddest = sorted(decisions, key=lambda decision: decision.score)[:top]
    content: dict[str, Any] = {
        "run": run,
        "input": images.source,
        "images": len(decisions),
        "score": guard.score.name,
        "rule_text": str(guard.detector.rule),
        "threshold": guard.detector.threshold,
        "alarms": alarms,
        "alarm_rate": alarms / len(decisions),
        "clean_interval": guard.detector.false_alarm_interval(fresh_rows=len(decisions)),
        "out": None if out is None else str(out),
        "top": [_as_row(decision, images.names) for decision in oddest],
    }
    print_json(content) if as_json else _show_score(content)


def _as_row(decision: Decision, names: tuple[str, ...]) -> dict[str, Any]:
    row = decision.as_dict()
    return {**row, "file": names[decision.image]} if names else row


def _write(decisions: list[Decision], names: tuple[str, ...], out: Path, overwrite: bool) -> None:
    from chainrule.report import write_file

    rows = [_as_row(decision, names) for decision in decisions]
    buffer = io.StringIO()
    if out.suffix.lower() == ".jsonl":
        buffer.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        flat = [{**row, **{f"place_{key}": value for key, value in row.pop("place").items()}} for row in rows]
        writer = csv.DictWriter(buffer, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    write_file(out, buffer.getvalue().encode(), overwrite=overwrite)


def _show_fit(content: dict[str, Any]) -> None:
    label = ", as published: its p-values are not valid" if content["reference"] == "training" else ""
    facts = [
        ("guard", content["guard"]),
        ("clean images", f"{content['images']:,} of {content['clean']}"),
        ("ranked among", f"{content['reference_images']:,} {content['reference']} images{label}"),
        ("score", content["score"]),
        ("alarm", f"score below {content['threshold']:.3f} ({content['rule_text']})"),
    ]
    if content["clean_interval"] is not None:
        low, high = content["clean_interval"]
        facts.append(("", f"{low:.2%} to {high:.2%} of images like these will raise one (99 % sure)"))
    facts.append(("purification", f"eps {content['eps']}; log p of {content['least_log_prob']:.1f} is usual"))
    print_facts(facts)
    show(f"\nNext:\n  chainrule detect score {content['guard']} IMAGES --out decisions.csv")


def _show_score(content: dict[str, Any]) -> None:
    rows = [
        (
            str(row.get("file", row["image"])),
            row["decision"],
            f"{row['p_value']:.2g}",
            f"{row['score']:.2f}" if row["score"] is not None else "-inf",
            f"row {row['place']['row']}, column {row['place']['column']}",
        )
        for row in content["top"]
    ]
    if rows:
        print_table(("image", "decision", ">p", ">score", "most surprising around"), rows)
    facts = [
        ("images", f"{content['images']:,} of {content['input']}"),
        ("alarm", f"{content['score']} below {content['threshold']:.3f} ({content['rule_text']})"),
        ("alarms", f"{content['alarms']:,} images, {content['alarm_rate']:.2%}"),
    ]
    if content["clean_interval"] is not None:
        low, high = content["clean_interval"]
        more = content["alarm_rate"] > high
        among = f"{low:.2%} to {high:.2%} would be expected of images like the clean ones"
        facts.append(("", among + ("; these hold odd ones, or are of another kind" if more else "")))
    if content["out"] is not None:
        facts.append(("file", content["out"]))
    print_facts(facts)


def refuse_for_images(options: dict[str, Any]) -> None:
    """`ChainruleError` for options that were given but are for tables alone."""
    given = [name for name, value in options.items() if value not in (None, False, [])]
    if given:
        raise ChainruleError(f"{', '.join(given)}: not for runs of images; leave it out.")
