"""`chainrule train` on a time series: what to fit, fitting it, and what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.output import Interrupted, print_facts, print_json, say, show
from chainrule.cli.series_runs import NO_TIME, SeriesPlan, read_series, series_plan
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

    from chainrule.series import SeriesModel

__all__ = ["train_series"]

#: Settings that are neither the model's nor of training, but of `fit_series`.
_OF_SERIES = ("numeric", "difference", "length", "steps")


def train_series(
    model: str | None,
    data: str | None,
    out: Path,
    time: str | None,
    drop: tuple[str, ...],
    values: dict[str, Any],
    *,
    allow_missing: bool,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit a series, or go on with the run in `out`; prints what came out."""
    from chainrule.series import fit_series

    plan = series_plan(out) if resume else None
    if plan is None:
        plan = _new_plan(model, data, time, drop, values, allow_missing)
    else:
        _check_same(plan, out, model, data, time, bool(drop or values or allow_missing))
    frame = read_series(plan.data)
    columns = [str(name) for name in frame.columns]
    for name in plan.drop:
        if name not in columns:
            raise unknown_name("column to drop", name, columns)
    left_out = {*plan.drop, plan.time}
    try:
        with default_interrupts():
            fitted = fit_series(
                frame,
                out,
                time=plan.time,
                columns=[name for name in columns if name not in left_out],
                model=plan.model,
                model_settings=plan.settings,
                missing=True if plan.allow_missing else "auto",
                resume=resume,
                overwrite=overwrite,
                progress=not quiet,
                notes=plan.notes(),
                **plan.options,
                **plan.training,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"`chainrule train --resume --out {out}` continues from the last checkpoint."
        ) from None
    _report(plan, fitted, frame, out, as_json)


def _new_plan(
    model: str | None,
    data: str | None,
    time: str | None,
    drop: tuple[str, ...],
    values: dict[str, Any],
    allow_missing: bool,
) -> SeriesPlan:
    from chainrule.cli.setting_values import split_settings
    from chainrule.series import SERIES_MODELS

    if model is None or model not in SERIES_MODELS:
        if model is None:
            raise ChainruleError("MODEL is missing: name what to train, rnn or transformer.")
        raise unknown_name("model of series", model, SERIES_MODELS)
    if data is None:
        raise ChainruleError("--data is missing: name the file that holds the series.")
    if time is None:
        raise ChainruleError(f"--time is missing: name the column of times, or {NO_TIME} for none.")
    model_class: Any = SERIES_MODELS[model][0]
    settings, training = split_settings(model_class, {k: v for k, v in values.items() if k not in _OF_SERIES})
    return SeriesPlan(
        data=str(Path(data).absolute()),
        time=None if time == NO_TIME else time,
        model=model,
        drop=drop,
        allow_missing=allow_missing,
        options={name: values[name] for name in _OF_SERIES if name in values},
        settings=settings,
        training=training,
    )


def _check_same(
    plan: SeriesPlan, out: Path, model: str | None, data: str | None, time: str | None, others: bool
) -> None:
    """Raise `ChainruleError` where the command line says another thing than the run to resume."""
    if model not in (None, plan.model):
        raise ChainruleError(f"{out} is a run of {plan.model}, not of {model}; choose another --out.")
    if data is not None and str(Path(data).absolute()) != plan.data:
        raise ChainruleError(f"{out} is a run on {plan.data}, not on {data}; choose another --out.")
    if others or time not in (None, plan.time or NO_TIME):
        raise ChainruleError(
            f"{out} goes on with the options that it was begun with; leave --time, --set, --drop and "
            "--allow-missing out, or choose another --out."
        )


def _report(plan: SeriesPlan, fitted: SeriesModel, frame: DataFrame, out: Path, as_json: bool) -> None:
    from chainrule import report
    from chainrule.training import Run

    metrics = Run(out).metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    schema, network, rows = fitted.schema, fitted.model, len(frame)
    values = schema.read(frame).values
    holes = int(np.isnan(values).sum())
    # A missing value has no density, so with missing values this is a little off; `evaluate` is exact.
    nll = best["validation_nll"] / network.event_shape[0] - float(schema.log_slopes.sum())
    pictures = []
    if len(metrics) > 1:
        picture = report.save_learning_curve(
            metrics,
            out / "learning_curve.png",
            title=f"{plan.model} on {Path(plan.data).name}, windows of {network.event_shape[0]} steps",
            overwrite=True,
        )
        pictures.append(picture.name)
    differenced = [column.name for column in schema.columns if column.difference]
    if as_json:
        print_json(
            {
                "run": str(out),
                "model": plan.model,
                "data": plan.data,
                "parameters": network.num_parameters,
                "rows": rows,
                "step": schema.axis.described,
                "columns": list(schema.names),
                "differenced": differenced,
                "missing": schema.missing,
                "missing_values": holes,
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_nll_per_step": nll,
                "seconds": metrics[-1]["seconds"],
                "pictures": pictures,
            }
        )
        return
    print_facts(
        [
            ("run", str(out)),
            ("model", f"{plan.model}, {network.num_parameters:,} parameters"),
            ("series", f"{rows:,} rows, a step is {schema.axis.described}"),
            ("columns", ", ".join(schema.names)),
            ("differenced", ", ".join(differenced) or "none"),
            ("missing", _of_missing(schema.missing, holes, values.size)),
            ("validation", f"about {nll:.3f} nats a step in the columns' units, epoch {best['epoch']}"),
            ("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    if 2 * rows < len(values):
        say(
            f"note: {len(values) - rows:,} of {len(values):,} steps have no row: the smallest gap of two "
            "rows is a step; resample the series if they are regular but for some"
        )
    if not differenced:
        say("the columns are modelled as they are; --set difference=true models their changes")
    show("\nNext:")
    show(f"  chainrule evaluate {out}")
    show(f"  chainrule forecast {out} {plan.data} --steps 24 --out forecast.csv --plot fan.png")


def _of_missing(known: bool, holes: int, values: int) -> str:
    if not known:
        return "none, and none may come"
    return (
        f"a state of its own; {holes:,} of {values:,} values" if holes else "a state of its own; none so far"
    )
