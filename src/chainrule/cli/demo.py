"""`chainrule demo`: the whole library in a minute, on data that comes with it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.options import AsJson, Overwrite, add_command
from chainrule.cli.output import print_json, print_table, say, show
from chainrule.cli.run_pictures import draw_conditionals, draw_run, draw_samples
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel

__all__ = ["register"]

#: What is compared: model, its settings, training settings. Small enough for a minute on two cores.
_CONTENDERS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("independent", {}, {}),
    ("chow-liu", {}, {}),
    ("fvsbn", {}, {"epochs": 60, "learning_rate": 1e-2}),
    ("made", {"hidden": [200]}, {"epochs": 60, "learning_rate": 3e-3}),
    ("nade", {"hidden": 100}, {"epochs": 60, "learning_rate": 5e-3}),
)
_EVERY_RUN = {"batch_size": 100, "warmup_steps": 20, "ema_decay": 0.99, "patience": 10, "seed": 0}
_STAR = "nade"
_TIMED_SAMPLES = 64


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(app, demo, "chainrule demo", "chainrule demo --out my-demo", "chainrule demo --json")


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the pictures go.")] = Path(
        "chainrule-demo"
    ),
    overwrite: Overwrite = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two epochs each: a check that everything works, not a result.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, compare, score, sample and detect on 8 x 8 digits that come with scikit-learn; no downloads.

    Takes about a minute on two cores and leaves pictures in ./chainrule-demo.
    """
    from chainrule import data

    _make_folder(out, overwrite)
    began = time.perf_counter()
    digits = data.load("digits")
    contenders = [_train(name, s, t, digits, out, overwrite, quick) for name, s, t in _CONTENDERS]
    star = next(c for c in contenders if c.name == _STAR)
    say("sampling, one pass in all against one pass per variable ...")
    speed = _compare_samplers(star.model)
    say("scoring digits against what is none ...")
    anomalies = _detect(star.model, digits, out, overwrite)
    pictures = _draw(star.model, contenders, digits, out, overwrite)
    content = {
        "out": str(out),
        "data": digits.name,
        "models": [contender.summary() for contender in contenders],
        "sampling": speed,
        "anomalies": anomalies,
        "pictures": pictures,
        "seconds": time.perf_counter() - began,
    }
    _write_results(content, out)
    print_json(content) if as_json else _show(content)


@dataclass(frozen=True)
class _Contender:
    name: str
    model: LikelihoodModel
    seconds: float
    nll: float
    standard_error: float
    bits_per_dim: float

    def summary(self) -> dict[str, Any]:
        """Its row of the comparison."""
        return {
            "name": self.name,
            "parameters": self.model.num_parameters,
            "seconds": self.seconds,
            "test_nll": self.nll,
            "standard_error": self.standard_error,
            "bits_per_dim": self.bits_per_dim,
        }


def _make_folder(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ChainruleError(f"{out} is a file; name a folder with --out.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ChainruleError(
            f"{out} already exists; pass --overwrite to do the demo again there, or another --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ChainruleError(f"{out} lies below a file; name another --out.") from None


def _train(
    name: str,
    settings: dict[str, Any],
    training: dict[str, Any],
    digits: Dataset,
    out: Path,
    overwrite: bool,
    quick: bool,
) -> _Contender:
    from chainrule.cli.setting_values import build_model
    from chainrule.models import MODELS
    from chainrule.training import evaluate, fit

    chosen = {**_EVERY_RUN, **training, **({"epochs": 2} if quick else {})}
    model = build_model(MODELS[name], digits.event_shape, settings, seed=0)
    say(f"training {name} ...")
    folder = out / "runs" / name
    notes = {"preset": None, "data": {"spec": "digits", "options": {}}}
    run = fit(model, digits, folder, overwrite=overwrite, progress=False, notes=notes, **chosen)
    seconds = run.metrics()[-1]["seconds"]
    draw_run(run, model, digits, title=name)
    result = evaluate(model, digits, "test")
    return _Contender(name, model, seconds, result.nll, result.standard_error, result.bits_per_dim)


def _compare_samplers(model: LikelihoodModel) -> dict[str, Any]:
    """Both samplers on the same noise: time of each (the better of three), and whether the samples agree."""
    import torch

    fast, fast_seconds = _best_of_three(lambda: model.sample(_TIMED_SAMPLES, seed=1))
    slow, slow_seconds = _best_of_three(lambda: model.sample(_TIMED_SAMPLES, seed=1, method="naive"))
    return {
        "number": _TIMED_SAMPLES,
        "incremental_seconds": fast_seconds,
        "naive_seconds": slow_seconds,
        "speed_up": slow_seconds / fast_seconds,
        "equal": torch.equal(fast, slow),
    }


def _best_of_three(draw: Any) -> tuple[Tensor, float]:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        values = draw()
        times.append(time.perf_counter() - began)
    return values, min(times)


def _detect(model: LikelihoodModel, digits: Dataset, out: Path, overwrite: bool) -> dict[str, Any]:
    """log p(x) of digits and of what is none; the threshold lets 99% of the validation digits pass."""
    import torch

    from chainrule import report

    test = digits.split("test").float()
    density = test.mean().item()
    generator = torch.Generator().manual_seed(0)
    noise = (torch.rand(test.shape, generator=generator) < density).float()
    with torch.no_grad():
        threshold = model.log_prob(digits.split("validation").float()).quantile(0.01).item()
        groups = {
            "test digits": model.log_prob(test),
            "inverted digits": model.log_prob(1 - test),
            "noise, as much ink": model.log_prob(noise),
        }
    report.save_histograms(
        groups,
        out / "anomalies.png",
        threshold=threshold,
        title="An exact likelihood tells digits from what is none",
        overwrite=overwrite,
    )
    return {
        "threshold": threshold,
        "groups": {
            name: {"mean_log_prob": v.mean().item(), "flagged": (v < threshold).float().mean().item()}
            for name, v in groups.items()
        },
    }


def _draw(
    star: LikelihoodModel, contenders: list[_Contender], digits: Dataset, out: Path, overwrite: bool
) -> dict[str, str]:
    """The pictures beside anomalies.png, each with what it shows."""
    from chainrule import report

    draw_samples(star, out / "samples.png", title="NADE on 8 x 8 digits", seed=0)
    draw_conditionals(star, digits, out / "conditionals.png", title="NADE on 8 x 8 digits")
    report.save_comparison(
        [(c.name, c.nll, c.standard_error) for c in contenders],
        out / "comparison.png",
        title="Five models of 8 x 8 digits",
        overwrite=overwrite,
    )
    return {
        "comparison.png": "test NLL of the five models",
        "samples.png": "64 new digits drawn by NADE",
        "conditionals.png": "what NADE expected at each pixel, and what surprised it",
        "anomalies.png": "log p(x) of digits, inverted digits and noise",
    }


def _write_results(content: dict[str, Any], out: Path) -> None:
    from chainrule.report import write_file

    write_file(out / "results.json", (json.dumps(content, indent=2) + "\n").encode(), overwrite=True)


def _show(content: dict[str, Any]) -> None:
    print_table(
        ("model", ">parameters", ">training, s", ">test NLL, nats", ">± s.e.", ">bits/dim"),
        [
            (
                m["name"],
                f"{m['parameters']:,}",
                f"{m['seconds']:.1f}",
                f"{m['test_nll']:.2f}",
                f"{m['standard_error']:.2f}",
                f"{m['bits_per_dim']:.4f}",
            )
            for m in content["models"]
        ],
        title="Exact likelihood of 300 test digits of 64 binary pixels",
    )
    s = content["sampling"]
    same = "the samples are equal" if s["equal"] else "the samples DIFFER"
    show(
        f"Sampling {s['number']} digits: {1e3 * s['incremental_seconds']:.0f} ms step by step, "
        f"{1e3 * s['naive_seconds']:.0f} ms with a pass per variable: "
        f"{s['speed_up']:.1f} times faster, and {same}.\n"
    )
    print_table(
        ("what NADE was shown", ">mean log p(x), nats", ">below the threshold"),
        [
            (name, f"{group['mean_log_prob']:.1f}", f"{group['flagged']:.1%}")
            for name, group in content["anomalies"]["groups"].items()
        ],
        title=f"Detection at {content['anomalies']['threshold']:.1f} nats; 1% of validation digits are below",
    )
    out = content["out"]
    show(f"Done in {content['seconds']:.0f} s. Look at:")
    for name, what in content["pictures"].items():
        show(f"  {out}/{name:<18} {what}")
    show("\nNext:")
    show(f"  chainrule evaluate {out}/runs/nade")
    show(f"  chainrule sample {out}/runs/nade -n 100 --out digits.png")
    show("  chainrule models              what else there is")
    show("  chainrule train nade --data binarized-mnist --preset paper --out runs/nade")
