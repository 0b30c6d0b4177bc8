"""Runs of tables: told from other runs, opened with schema, plan and detector, or one clear line."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.output import say
from chainrule.cli.sources import OpenedModel, open_model
from chainrule.cli.table_plan import TablePlan, table_note
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from pandas import DataFrame

    from chainrule.detection import Detector
    from chainrule.tabular import TableModel

__all__ = [
    "TableRun",
    "is_table_run",
    "open_detector",
    "open_table_run",
    "refuse_options",
    "resuming",
    "warn_of_strangers",
    "weights_digest",
]

_HUB = "hub:"


@dataclass(frozen=True)
class TableRun:
    """A model of a table; `plan` is None where it was not fitted from the command line."""

    source: str
    folder: Path
    table: TableModel
    opened: OpenedModel
    plan: TablePlan | None

    @property
    def name(self) -> str:
        """What the command line calls the model's class."""
        return self.opened.name


def is_table_run(source: str) -> bool:
    """Whether `source` is a run of a table: a schema lies in it, or its training began with one."""
    folder = _folder(source)
    if folder is None:
        return False
    from chainrule.tables.schema import FILE_NAME

    return (folder / FILE_NAME).is_file() or _noted(folder) is not None


def open_table_run(source: str) -> TableRun:
    """The model of a table in a run folder; `ChainruleError` where there is none, or it is of no table."""
    from chainrule.tables.schema import FILE_NAME
    from chainrule.tabular import TableModel

    opened = open_model(source)
    folder = _folder(source)
    assert folder is not None
    if not (folder / FILE_NAME).is_file():
        plan = _noted(folder)
        if plan is not None:
            raise ChainruleError(
                f"{source} is not trained to its end yet: resume it with {resuming(plan, source)}."
            )
        raise ChainruleError(
            f"{source} holds a {opened.name}, but of no table (it has no {FILE_NAME}); fit one with "
            "`chainrule detect fit TABLE --out RUN`."
        )
    plan = table_note(opened.config)
    if "training" in opened.config and not opened.config.get("finished"):
        go_on = "" if plan is None else f"; {resuming(plan, source)} goes on with it"
        say(
            f"warning: {source} is not trained to its end (stopped, or still running): its best so far{go_on}"
        )
    return TableRun(source, folder, TableModel.load(folder), opened, plan)


def open_detector(run: TableRun) -> Detector:
    """The detector beside the model; `ChainruleError` where there is none, or it is of another model."""
    from chainrule.detection import Detector
    from chainrule.detection.files import CONFIG_NAME

    if not (run.folder / CONFIG_NAME).is_file():
        if run.plan is not None and run.plan.purpose == "detect":
            raise ChainruleError(
                f"{run.source} has no detector yet: finish it with {resuming(run.plan, run.source)}."
            )
        raise ChainruleError(
            f"{run.source} holds a model of a table, but no detector ({CONFIG_NAME}): make one with "
            "`chainrule detect fit TABLE --out RUN`, which keeps rows back to calibrate it on."
        )
    detector = Detector.load(run.folder)
    if detector.about.get("weights_sha256", weights_digest(run.folder)) != weights_digest(run.folder):
        raise ChainruleError(
            f"{run.source}: the detector was calibrated for other weights than those beside it; fit it again."
        )
    if detector.columns is None or detector.columns.names != tuple(map(str, run.table.schema.names)):
        raise ChainruleError(f"{run.source}: the detector is of other columns than the schema; fit it again.")
    return detector


def warn_of_strangers(run: TableRun, frame: DataFrame) -> None:
    """Say of columns that none of their labels is known: the first part of a file tells for all of it."""
    from chainrule.tables.strangers import about_strangers

    for line in about_strangers(run.table.schema, frame):
        say(f"warning: {line}")


def resuming(plan: TablePlan, out: object) -> str:
    """The command that goes on with a run."""
    command = "detect fit" if plan.purpose == "detect" else "train"
    return f"`chainrule {command} --resume --out {shlex.quote(str(out))}`"


def weights_digest(folder: Path) -> str:
    """SHA-256 of the model's weights: what a detector's calibration belongs to."""
    from chainrule.saving import WEIGHTS_NAME

    return hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()


def refuse_options(what: str, options: dict[str, Any]) -> None:
    """`ChainruleError` for options that were given but are not for tables."""
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise ChainruleError(f"{', '.join(given)}: not for the {what} of a table; leave it out.")


def _folder(source: str) -> Path | None:
    if source.startswith(_HUB):
        from chainrule.saving import locate

        return locate(source.removeprefix(_HUB))
    return Path(source) if Path(source).is_dir() else None


def _noted(folder: Path) -> TablePlan | None:
    """The plan that a configuration notes; None where there is none, or no configuration to read."""
    from chainrule.saving import read_config

    try:
        config = read_config(folder)
    except ChainruleError:
        return None
    return table_note(config)
