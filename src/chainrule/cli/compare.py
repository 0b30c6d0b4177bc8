"""`chainrule compare`: models side by side on one data set, each trained within the same time."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.compare_tasks import entries_of, task_of
from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import complete_dataset, complete_trainable
from chainrule.cli.options import AsJson, Overwrite, Quiet, add_command
from chainrule.cli.output import Interrupted, print_facts, print_json, print_table, say, show
from chainrule.cli.setting_values import parse_settings
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.comparing import Comparison

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        compare,
        "chainrule compare --data digits independent chow-liu fvsbn nade made",
        "chainrule compare --data digits nade made gated-pixelcnn --budget 1 --out compared",
        "chainrule compare --data wine made nade fvsbn --budget 0.2",
        "chainrule compare --data python-docs transformer rnn wavenet --budget 2",
        "chainrule compare --data digits nade runs/my-nade",
    )


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="What to compare: a model's name, NAME:PRESET (such as made:compact; NAME:default is the "
            "published size of a model that has a small preset), or a run folder.",
            autocompletion=complete_trainable,
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="D",
            help="A data set's name (see `chainrule datasets`) or a file, as `chainrule train` takes them.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ],
    budget: Annotated[
        float, typer.Option("--budget", metavar="MINUTES", help="Training time of each model, at the most.")
    ] = 0.5,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where runs and tables go; compared-DATA if not said. The same command again goes on with "
            "what is there.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of training for all models, such as epochs or seed. May be repeated.",
            show_default=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="COLUMN",
            help="A file of a time series: its column of times, or none where every row is a step.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train models within the same time and print one table: likelihood, size, speed, memory.

    Weights are selected on the validation part and the figures are of the test part. The folder then holds
    a run for each model, and the table as comparison.csv, .md and .html, with samples side by side. Stopped
    with Ctrl-C, the same command goes on; what is finished is not done again.
    """
    from chainrule import comparing

    if not 0 < budget < math.inf:
        raise ChainruleError(f"--budget must be above 0 minutes, and finite, not {budget:g}.")
    training = _training(settings or [])
    task = task_of(data, models, time)
    entries = entries_of(task, data, models, time, training)
    folder = out or Path(f"compared-{Path(data).name.split('.')[0] or 'data'}")
    try:
        with default_interrupts():
            found = comparing.compare(
                task,
                entries,
                folder,
                minutes=budget,
                overwrite=overwrite,
                # Lines for every epoch of every model are too many where no bar can stand.
                progress=not quiet and sys.stderr.isatty(),
                tell=None if quiet else say,
            )
    except KeyboardInterrupt:
        raise Interrupted("the same command goes on with what is finished.") from None
    if not found.results:
        raise ChainruleError(f"no model could be compared; {_first(found)}")
    files = comparing.write_tables(found)
    if as_json:
        print_json({**found.summary(), "files": [str(path) for path in files]})
        return
    _show(found, files)


def _first(found: Comparison) -> str:
    return "; ".join(f"{failure.name}: {failure.reason}" for failure in found.failures)


def _training(settings: list[str]) -> dict[str, Any]:
    """Settings of training; `ChainruleError` for others, and for the budget under another name."""
    from chainrule.training import training_settings

    values = parse_settings(settings)
    training_settings(values)
    if "max_minutes" in values:
        raise ChainruleError("--set max_minutes is what --budget says; leave it out.")
    return values


def _show(found: Comparison, files: list[Path]) -> None:
    from chainrule.comparing.writing import cells, columns, remarks

    print_table(
        columns(found), [cells(found, result) for result in found.results], title=f"Models of {found.data}"
    )
    for line in remarks(found):
        show(line)
    formulas = [(r.name, f"{r.formula} = {r.parameters:,}") for r in found.results if r.formula]
    if formulas:
        show("\nNumbers that are learned:")
        print_facts(formulas)
    if found.failures:
        show("\nLeft out:")
        print_facts([(failure.name, failure.reason) for failure in found.failures])
    show(f"\nFiles: {', '.join(map(str, files))}")
