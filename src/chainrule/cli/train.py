"""`chainrule train`: from a data set to a run folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.audio_runs import audio_plan, is_sound, refuse_for_audio
from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import complete_dataset, complete_preset, complete_trainable
from chainrule.cli.options import (
    AsJson,
    KindOption,
    Overwrite,
    Quiet,
    SkipBad,
    add_command,
)
from chainrule.cli.output import Interrupted, print_facts, print_json, say, show
from chainrule.cli.run_pictures import draw_run, is_image
from chainrule.cli.series_runs import refuse_for_series, series_plan
from chainrule.cli.setting_values import parse_settings
from chainrule.cli.table_runs import refuse_options
from chainrule.cli.table_train import TableOptions, is_table, train_table
from chainrule.cli.text_runs import refuse_for_text
from chainrule.cli.text_train import is_text, train_text
from chainrule.cli.train_plan import TrainPlan
from chainrule.cli.victims import refuse_for_victims, train_victim, wants_victim
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel
    from chainrule.training import Run

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        train,
        "chainrule train nade --data digits --out runs/nade",
        "chainrule train made --data digits --set hidden=500,500 --set epochs=30 --out runs/made",
        "chainrule train fvsbn --preset paper --out runs/fvsbn",
        "chainrule train nade --data digits --condition-on-labels --out runs/nade-by-class",
        "chainrule train gated-pixelcnn --preset small --data digits --class-conditional --out runs/pixels",
        "chainrule train pixelcnn --preset small --data folder_of_pngs --out runs/pictures",
        "chainrule train nade --data digits --set ordering=learned --out runs/nade-learned",
        "chainrule train made --data my_images.npz --threshold 127 --out runs/mine",
        "chainrule train made --data my_table.csv --set numeric=gaussian_mixture --out runs/table",
        "chainrule train rnn --data sales.csv --time date --out runs/sales",
        "chainrule train transformer --data my_text.txt --out runs/text",
        "chainrule train rnn --data names.txt --set lines=true --out runs/names",
        "chainrule train wavenet --data my.wav --out runs/sound",
        "chainrule train cnn --data mnist --out runs/victim",
        "chainrule train --resume --out runs/nade",
    )


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model's name (see `chainrule models`); not needed with --resume.",
            autocompletion=complete_trainable,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run folder to make.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="A data set's name (see `chainrule datasets`) or a path: .npz, .npy, .csv, .parquet, idx, "
            ".wav, a folder of PNGs or of .wav (subfolders are classes). A .csv of more than 0 and 1 is "
            "modelled as a table, a family for every column.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the model (`chainrule models NAME`) or of training: epochs, batch_size, "
            "learning_rate, weight_decay, adam_epsilon, warmup_steps, schedule, final_fraction, clip_norm, "
            "ema_decay, patience, validate_every, precision, device, checkpoint_minutes, seed. Of tables: "
            "numeric (the family of columns with a density: student_t, gaussian_mixture, ...), "
            "numeric_transform (standard, quantile), steps. May be repeated.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="P",
            help="A configuration that is ready to use, such as small or paper; --set still changes it.",
            autocompletion=complete_preset,
            show_default=False,
        ),
    ] = None,
    condition_on_labels: Annotated[
        bool,
        typer.Option(
            "--condition-on-labels", "--class-conditional", help="Model p(x | class label) instead of p(x)."
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", help="Own files: 1 where a value is greater than this.", show_default=False
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Own files of grey levels 0-255: draw 0 / 1 anew at each use.")
    ] = False,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels",
            help="Own files: values a variable can take; if not said 2 for 0 and 1 (or 0 and 255), and 256 "
            "for other images.",
            show_default=False,
        ),
    ] = None,
    skip_bad: SkipBad = False,
    table: Annotated[
        bool, typer.Option("--table", help="Own files: model the columns as a table, even of 0 and 1 only.")
    ] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            metavar="COLUMN",
            help="Tables: leave a column out. May be repeated.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="FILE",
            help="Tables: what the columns are, an edited schema.json.",
            show_default=False,
        ),
    ] = None,
    kind: KindOption = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Tables: accept empty cells later where there are none now."),
    ] = False,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="COLUMN",
            help="Own files: a time series, with this column of times (none: every row is a step); for rnn "
            "and transformer. --set also takes numeric, difference, length and steps.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; bit-equal to a run never stopped.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a model; the run folder then holds weights, configuration, metrics and pictures.

    The best validation epoch is kept, and the test split is not looked at. Ctrl-C or a crash loses at most
    some minutes: `chainrule train --resume --out RUN` goes on.
    """
    if out is None:
        raise ChainruleError("--out is missing: name the run folder to make, such as --out runs/nade.")
    data_options = _data_options(threshold, dynamic, levels, skip_bad)
    values = parse_settings(settings or [])
    if wants_victim(model, out, resume=resume):
        refuse_for_victims(
            "training",
            {
                "--preset": preset,
                "--condition-on-labels": condition_on_labels,
                "--table": table,
                "--drop": tuple(drop or ()),
                "--schema": schema,
                "--allow-missing": allow_missing,
                "--time": time,
            },
        )
        train_victim(
            model,
            data,
            out,
            values,
            data_options,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
        )
        return
    if time is not None or (resume and series_plan(out) is not None):
        from chainrule.cli.series_train import train_series

        refuse_for_series(
            "training",
            {
                "--preset": preset,
                "--condition-on-labels": condition_on_labels,
                "--threshold": threshold,
                "--dynamic": dynamic,
                "--levels": levels,
                "--skip-bad": skip_bad,
                "--table": table,
                "--schema": schema,
                "--kind": kind,
            },
        )
        train_series(
            model,
            data,
            out,
            time,
            tuple(drop or ()),
            values,
            allow_missing=allow_missing,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
        )
        return
    if is_sound(data) or (resume and audio_plan(out) is not None):
        from chainrule.cli.audio_train import train_audio

        refuse_for_audio(
            "training",
            {
                "--preset": preset,
                "--threshold": threshold,
                "--dynamic": dynamic,
                "--levels": levels,
                "--skip-bad": skip_bad,
                "--table": table,
                "--drop": tuple(drop or ()),
                "--schema": schema,
                "--kind": kind,
                "--allow-missing": allow_missing,
            },
        )
        train_audio(
            model,
            data,
            out,
            values,
            condition_on_labels=condition_on_labels,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            as_json=as_json,
        )
        return
    of_table = TableOptions(tuple(drop or ()), schema, allow_missing, tuple(kind or ()), values)
    is_other = table or of_table.any_given or any(v not in (None, False) for v in data_options.values())
    if is_text(model, data, out, values, resume=resume, other=is_other):
        refuse_for_text("training", {"--preset": preset, "--condition-on-labels": condition_on_labels})
        train_text(model, data, out, values, resume=resume, overwrite=overwrite, quiet=quiet, as_json=as_json)
        return
    if _is_table(data, out, table or of_table.any_given, data_options, resume):
        refuse_options("training", {"--preset": preset, "--condition-on-labels": condition_on_labels})
        train_table(
            model, data, out, of_table, resume=resume, overwrite=overwrite, quiet=quiet, as_json=as_json
        )
        return
    plan = TrainPlan(model, data, values, preset, condition_on_labels)
    plan.data_options = data_options
    plan.quiet = quiet
    if resume and (out / "config.json").exists():
        plan.continue_run(out)
    elif resume and (model is None or (data is None and preset is None)):
        raise ChainruleError(f"{out} holds no run to resume; give MODEL and --data to start one there.")
    dataset, network, training = plan.prepare()
    run, already_finished = _fit(plan, network, dataset, training, out, resume, overwrite, quiet)
    if already_finished:
        say(f"{out} is a finished run; there is nothing to resume.")
        pictures = sorted(path.name for path in out.glob("*.png"))
    else:
        pictures = draw_run(run, network, dataset, title=plan.model_name)
    _report(run, network, plan, pictures, as_json)


def _is_table(data: str | None, out: Path, forced: bool, data_options: dict[str, Any], resume: bool) -> bool:
    """Whether a table is to be trained, or the run to resume is one of a table."""
    from chainrule.cli.table_plan import noted_plan

    if resume and noted_plan(out) is not None:
        return True
    if data is None:
        return False
    asked = any(value not in (None, False) for value in data_options.values())
    if forced and asked:
        raise ChainruleError(
            "a table takes no --threshold, --dynamic, --levels or --skip-bad; leave them out."
        )
    return is_table(data, forced=forced, read_as_levels=asked)


def _data_options(
    threshold: float | None, dynamic: bool, levels: int | None, skip_bad: bool
) -> dict[str, Any]:
    """How to read a person's own files; `ChainruleError` for options that exclude each other."""
    options = {"threshold": threshold, "dynamic": dynamic, "levels": levels, "skip_bad": skip_bad}
    if dynamic and (threshold is not None or levels not in (None, 2)):
        raise ChainruleError("--dynamic draws 0 / 1 from grey levels: leave --threshold and --levels out.")
    if threshold is not None and levels not in (None, 2):
        raise ChainruleError("--threshold makes binary data: leave --levels out.")
    return options


def _fit(
    plan: TrainPlan,
    network: LikelihoodModel,
    dataset: Dataset,
    training: dict[str, Any],
    out: Path,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> tuple[Run, bool]:
    """The run, and whether it had been finished before."""
    from chainrule.training import Run, fit, training_settings

    if resume and (out / "config.json").exists() and Run(out).is_finished:
        checked = training_settings(training)
        run = Run.begin(out, network, dataset, checked, resume=True, overwrite=False, notes={})
        return run, True
    try:
        with default_interrupts():
            run = fit(
                network,
                dataset,
                out,
                resume=resume,
                overwrite=overwrite,
                progress=not quiet,
                notes=plan.notes(),
                **training,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"`chainrule train --resume --out {out}` continues from the last checkpoint."
        ) from None
    return run, False


def _report(run: Run, network: LikelihoodModel, plan: TrainPlan, pictures: list[str], as_json: bool) -> None:
    metrics = run.metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    seconds = metrics[-1]["seconds"]
    bits = best["validation_nll"] / (network.num_variables * math.log(2))
    estimated = getattr(network, "order_agnostic", False)
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "model": plan.model_name,
                "data": run.data_name,
                "parameters": network.num_parameters,
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_nll": best["validation_nll"],
                "validation_bits_per_dim": bits,
                "validation_is_estimate": estimated,
                "seconds": seconds,
                "pictures": pictures,
            }
        )
        return
    kind = "estimated over orderings" if estimated else "exact"
    print_facts(
        [
            ("run", str(run.folder)),
            ("model", f"{plan.model_name}, {network.num_parameters:,} parameters"),
            (
                "validation",
                f"{best['validation_nll']:.2f} nats ({kind}), {bits:.4f} bits/dim, epoch {best['epoch']}",
            ),
            ("training", f"{metrics[-1]['epoch']} epochs in {seconds:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    members = f" --members {plan.members}" if plan.members > 1 else ""
    many = "-n 10 --context all" if network.context_size else "-n 64"
    show("\nNext:")
    show(f"  chainrule evaluate {run.folder}{members}")
    if is_image(network):
        show(f"  chainrule sample {run.folder} {many} --out samples.png")
        show(f"  chainrule fill {run.folder} {plan.data_spec} --mask lower-half --limit 8 --out filled.png")
    else:
        show(f"  chainrule sample {run.folder} {many} --out samples.csv")
