"""`chainrule train` on sound: what to fit, fitting it, and what came out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.audio_runs import AudioPlan, audio_plan
from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import AUDIO, AUDIO_MODELS
from chainrule.cli.output import Interrupted, print_facts, print_json, say, show
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.audio import AudioModel

__all__ = ["train_audio"]

#: Settings that are neither the model's nor of training, but of `fit_audio`.
_OF_AUDIO = ("rate", "code", "length", "ends")


def train_audio(
    model: str | None,
    data: str | None,
    out: Path,
    values: dict[str, Any],
    *,
    condition_on_labels: bool,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit recordings, or go on with the run in `out`; prints what came out."""
    from chainrule.audio import fit_audio

    plan = audio_plan(out) if resume else None
    if plan is None:
        plan = _new_plan(model, data, values, condition_on_labels)
    else:
        _check_same(plan, out, model, data, bool(values or condition_on_labels))
    try:
        with default_interrupts():
            fitted = fit_audio(
                plan.data,
                out,
                model=plan.model,
                condition_on_labels=plan.condition_on_labels,
                model_settings=plan.settings,
                resume=resume,
                overwrite=overwrite,
                progress=not quiet,
                notes=plan.notes(),
                on_remark=None if quiet else say,
                **plan.options,
                **plan.training,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"`chainrule train --resume --out {out}` continues from the last checkpoint."
        ) from None
    _report(plan, fitted, out, as_json)


def _new_plan(
    model: str | None, data: str | None, values: dict[str, Any], condition_on_labels: bool
) -> AudioPlan:
    from chainrule.audio import AUDIO_MODELS as BUILDERS
    from chainrule.cli.setting_values import split_settings

    if model is None:
        raise ChainruleError(f"MODEL is missing: name what to train, {' or '.join(AUDIO_MODELS)}.")
    if model not in BUILDERS:
        raise unknown_name("model of sound", model, BUILDERS)
    if data is None:
        raise ChainruleError("--data is missing: name a .wav, a folder of them, or a data set of sound.")
    model_class: Any = BUILDERS[model][0]
    others = {name: value for name, value in values.items() if name not in _OF_AUDIO}
    settings, training = split_settings(model_class, others)
    options = {name: values[name] for name in _OF_AUDIO if name in values}
    if not isinstance(options.get("code", ""), str) or options.get("ends") not in (None, True, False):
        raise ChainruleError("--set code is mu-law or pcm16, and --set ends is true or false.")
    return AudioPlan(_as_noted(data), model, condition_on_labels, options, settings, training)


def _as_noted(data: str) -> str:
    """A path is kept absolute, so that the run finds it again from anywhere."""
    return data if data in AUDIO else str(Path(data).absolute())


def _check_same(plan: AudioPlan, out: Path, model: str | None, data: str | None, others: bool) -> None:
    """Raise `ChainruleError` where the command line says another thing than the run to resume."""
    if model not in (None, plan.model):
        raise ChainruleError(f"{out} is a run of {plan.model}, not of {model}; choose another --out.")
    if data is not None and _as_noted(data) != plan.data:
        raise ChainruleError(f"{out} is a run on {plan.data}, not on {data}; choose another --out.")
    if others:
        raise ChainruleError(
            f"{out} goes on with the options that it was begun with; leave --set and --condition-on-labels "
            "out, or choose another --out."
        )


def _report(plan: AudioPlan, fitted: AudioModel, out: Path, as_json: bool) -> None:
    from chainrule import report
    from chainrule.training import Run

    run, network = Run(out), fitted.model
    metrics = run.metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    length = network.event_shape[0]
    bits = best["validation_nll"] / (length * math.log(2))
    pictures = []
    if len(metrics) > 1:
        title = f"{plan.model} on {run.data_name}, rows of {length:,} samples"
        picture = report.save_learning_curve(
            metrics, out / "learning_curve.png", title=title, num_variables=length, overwrite=True
        )
        pictures.append(picture.name)
    if as_json:
        print_json(
            {
                "run": str(out),
                "model": plan.model,
                "data": plan.data,
                "parameters": network.num_parameters,
                **fitted.spec(),
                "ends": network.end is not None,
                "remarks": run.config["notes"]["recordings"],
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_bits_per_value_of_rows": bits,
                "seconds": metrics[-1]["seconds"],
                "pictures": pictures,
            }
        )
        return
    print_facts(
        [
            ("run", str(out)),
            ("model", f"{plan.model}, {network.num_parameters:,} parameters"),
            ("sound", f"{fitted.rate:,} samples a second, {fitted.code.name}{_end(fitted)}"),
            *([("classes", ", ".join(fitted.label_names))] if fitted.label_names else []),
            ("validation", f"{bits:.3f} bits a value of rows of {length:,}, epoch {best['epoch']}"),
            ("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    of_class = f" --context {fitted.label_names[0]}" if fitted.label_names else ""
    show("\nNext:")
    show(f"  chainrule evaluate {out}")
    show(f"  chainrule sample {out} --seconds 1{of_class} --out sample.wav")


def _end(fitted: AudioModel) -> str:
    return ", and where a recording ends" if fitted.model.end is not None else ""
