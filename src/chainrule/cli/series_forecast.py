"""`chainrule forecast`: what may come after a series, with quantiles and a fan chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.options import AsJson, Overwrite, RunArgument, add_command, chosen_seed
from chainrule.cli.output import print_facts, print_json, print_table
from chainrule.cli.series_runs import open_series, read_series
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

    from chainrule.series import Forecast, SeriesModel

__all__ = ["register"]

#: How much history a chart shows unless told otherwise: so many times the forecast.
_SHOWN = 4
_MOST_ROWS = 12


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        forecast,
        "chainrule forecast runs/sales sales.csv --steps 24 --out forecast.csv --plot fan.png",
        "chainrule forecast runs/sales sales.csv --steps 24 --hold-out --plot fan.png",
        "chainrule forecast runs/sales sales.csv --steps 12 --paths 2000 --paths-out paths.csv --seed 0",
    )


def forecast(
    run: RunArgument,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="The series so far: a table with the columns that the model was trained on.",
            show_default=False,
        ),
    ],
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="How many steps ahead.")] = 24,
    paths: Annotated[int, typer.Option("--paths", metavar="M", help="How many futures to draw.")] = 500,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Mean and quantiles of every step, .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    paths_out: Annotated[
        Path | None,
        typer.Option(
            "--paths-out",
            metavar="FILE",
            help="All futures themselves, .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.png",
            help="A fan chart: history, median, and the central 50, 80 and 95 %.",
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        bool,
        typer.Option(
            "--hold-out", help="Forecast the last --steps steps from those before, and show what came."
        ),
    ] = False,
    shown: Annotated[
        int | None,
        typer.Option(
            "--history", metavar="N", help="Steps of history in the chart; 4 times --steps if not said."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed gives the same futures.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw futures of a series that `chainrule train MODEL --time COLUMN` was trained on the like of.

    Every future is a sample of p(what comes | all that was), whole and with its columns together, so any
    question can be put to them; quantiles are read off them.
    """
    _check_files(source, out, paths_out, plot, overwrite)
    for name, number in (
        ("--steps", steps),
        ("--paths", paths),
        ("--history", 1 if shown is None else shown),
    ):
        if number < 1 + (name == "--paths"):
            raise ChainruleError(f"{name} must be at least {1 + (name == '--paths')}, not {number}.")
    model = open_series(run)
    frame = read_series(source)
    history = frame
    if hold_out:
        history = _without_the_last(model, frame, steps)
    seed = chosen_seed(seed)
    found = model.forecast(history, steps, num_paths=paths, seed=seed)
    truth = model.schema.read(frame).values[-steps:] if hold_out else None
    _write(found, out, paths_out, overwrite)
    if plot is not None:
        _draw(model, history, found, truth, plot, shown or _SHOWN * steps, Path(source).name, overwrite)
    facts = {
        "run": run,
        "input": source,
        "steps": steps,
        "paths": paths,
        "seed": seed,
        "out": None if out is None else str(out),
        "paths_out": None if paths_out is None else str(paths_out),
        "plot": None if plot is None else str(plot),
    }
    scores = {} if truth is None else _scores(found, truth)
    table = found.to_frame()
    if as_json:
        rows = table.astype({found.time_name: str}).to_dict("records")
        print_json(facts | ({"held_out": scores} if scores else {}) | {"forecast": rows})
        return
    _show(found, table)
    for name, value in scores.items():
        facts[name] = f"{value:.4g}"
    print_facts([(name, str(value)) for name, value in facts.items() if value is not None])


def _check_files(
    source: str, out: Path | None, paths_out: Path | None, plot: Path | None, overwrite: bool
) -> None:
    from chainrule.cli.table_files import check_table_file
    from chainrule.report import check_writable

    for path in (out, paths_out):
        if path is not None:
            check_table_file(path, source, overwrite=overwrite)
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise ChainruleError(f"--plot {plot}: the picture is written as .png; choose that ending.")
        check_writable(plot, overwrite=overwrite)


def _without_the_last(model: SeriesModel, frame: DataFrame, steps: int) -> DataFrame:
    """The rows that lie before the last steps."""
    series = model.schema.read(frame)
    before = series.rows < len(series) - steps
    if not before.any():
        raise ChainruleError(
            f"--hold-out: the series has {len(series)} steps, so {steps} leave none to go on from."
        )
    return frame[before]


def _scores(found: Forecast, truth: NDArray) -> dict[str, float]:  # type: ignore[type-arg]
    """CRPS by column, and how much of what came lies in the central 90 %."""
    import numpy as np

    from chainrule.series import covered, crps

    each = crps(found.paths, truth)
    scores = {f"CRPS of {name}": float(np.nanmean(each[:, i])) for i, name in enumerate(found.names)}
    return scores | {"in central 90 %": float(np.nanmean(covered(found.paths, truth, 0.9)))}


def _write(found: Forecast, out: Path | None, paths_out: Path | None, overwrite: bool) -> None:
    from chainrule.cli.table_files import TableFile

    for path, make in ((out, found.to_frame), (paths_out, found.paths_frame)):
        if path is not None:
            with TableFile(path, overwrite=overwrite) as file:
                file.write(make())


def _draw(
    model: SeriesModel,
    history: DataFrame,
    found: Forecast,
    truth: NDArray | None,  # type: ignore[type-arg]
    path: Path,
    shown: int,
    title: str,
    overwrite: bool,
) -> None:
    from chainrule import report

    series = model.schema.read(history)
    report.save_fan_chart(
        series.values[-shown:],
        found.paths,
        path,
        names=found.names,
        times=series.times[-shown:],
        future_times=found.times,
        truth=truth,
        title=title,
        time_name=found.time_name,
        overwrite=overwrite,
    )


def _show(found: Forecast, table: DataFrame) -> None:
    """The first steps: median and the central 80 % of each column."""
    head = [found.time_name, *(f">{name} (80 %)" for name in found.names)]
    rows = []
    for _, row in table.head(_MOST_ROWS).iterrows():
        cells = [
            f"{row[f'{n}_q0.5']:.5g} [{row[f'{n}_q0.1']:.5g}, {row[f'{n}_q0.9']:.5g}]" for n in found.names
        ]
        rows.append([str(row[found.time_name]), *cells])
    title = "" if len(table) <= _MOST_ROWS else f"The first {_MOST_ROWS} of {len(table)} steps"
    print_table(head, rows, title=title)
