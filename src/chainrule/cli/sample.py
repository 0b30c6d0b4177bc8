"""`chainrule sample`: new examples from a trained model."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.audio_runs import is_audio_run, refuse_for_audio
from chainrule.cli.contexts import Contexts, contexts_for
from chainrule.cli.options import (
    AsJson,
    Overwrite,
    RunArgument,
    TemperatureOption,
    add_command,
    chosen_seed,
)
from chainrule.cli.output import print_facts, print_json
from chainrule.cli.run_pictures import as_shown, is_image
from chainrule.cli.series_runs import is_series_run
from chainrule.cli.sources import open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.cli.text_options import (
    MaxTokensOption,
    StopOption,
    TextSampling,
    TopKOption,
    TopPOption,
)
from chainrule.cli.text_runs import refuse_for_text
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.likelihood import LikelihoodModel

__all__ = ["register"]

_SUFFIXES = (".png", ".npy", ".npz", ".csv")
_ANIMATIONS = (".gif", ".png", ".apng")
_MOST_ANIMATED = 256  # images: with more, the file is too large to look at
_METHODS = ("incremental", "naive", "fixed-point")
#: How many, where it is not said: in all, and of each of several classes.
_NUMBER, _OF_EACH = 64, 10
_NARROWEST, _WIDEST = 8, 32  # images in a row of a picture of several classes


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        sample,
        "chainrule sample runs/nade -n 64 --out samples.png",
        "chainrule sample runs/nade-by-class -n 16 --context 7 --out sevens.png",
        "chainrule sample runs/nade-by-class -n 10 --context all --out ten_of_each.png",
        "chainrule sample runs/pixels -n 16 --out samples.png --animate drawing.gif",
        "chainrule sample runs/nade -n 1000 --seed 0 --out samples.npy --overwrite",
        "chainrule sample runs/made --temperature 0.8 --method fixed-point --out sharper.png",
        "chainrule sample runs/table -n 1000 --out synthetic.csv",
        "chainrule sample runs/text --prompt 'Once upon a time' --max-tokens 500 --top-p 0.95",
        "chainrule sample runs/sound --seconds 2 --out sample.wav",
    )


def sample(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".png a grid of images; .npy, .npz, .csv the values; of a table .csv or .parquet; of sound "
            ".wav; of a text .txt, or nothing to see it come.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--number",
            help="How many; with several classes, of each. 64 if not said, and 10 of each class.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            help="A class label or name; several with commas between, a span 0..4, or all. Or a vector of "
            "numbers with decimal points: 0.0,1.0. May be repeated.",
            show_default=False,
        ),
    ] = None,
    temperature: TemperatureOption = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The same seed gives the same samples; random if not given.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="incremental, naive or fixed-point; the sample is the same.",
            autocompletion=lambda: list(_METHODS),
        ),
    ] = "incremental",
    members: Annotated[
        int, typer.Option("--members", metavar="K", help="Sample the mixture of K masks or orderings.")
    ] = 1,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", metavar="S", help="Sound: how long; 1 if not said.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="P",
            help="Texts: a text to go on from. Sound: a .wav to go on from.",
            show_default=False,
        ),
    ] = None,
    max_tokens: MaxTokensOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    stop: StopOption = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            "--animate",
            metavar="FILE.gif",
            help="Images: also show how the samples come about, pixel by pixel; .gif or an animated .png.",
            show_default=False,
        ),
    ] = None,
    like_seen: Annotated[
        bool,
        typer.Option(
            "--like-seen/--as-modelled",
            help="Tables: numbers rounded as in the table and within its range, or just as p has them.",
        ),
    ] = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw exact samples; the seed that was used is always reported.

    With several classes, the samples come class after class: `--context all -n 10` is a picture with a row
    of ten for each.
    """
    from chainrule.report import check_writable

    _check_numbers(number, temperature, seed)
    text = TextSampling(prompt, max_tokens, top_k, top_p, stop)
    if text.is_for(run):
        from chainrule.cli.text_sample import sample_text

        refuse_for_text(
            "sample",
            {
                "--context": context,
                "--method": method if method != "incremental" else None,
                "--members": members if members != 1 else None,
                "--seconds": seconds,
                "--animate": animate,
            },
        )
        sample_text(run, text, number, temperature, seed, out, overwrite=overwrite, as_json=as_json)
        return
    if is_audio_run(run):
        from chainrule.cli.audio_jobs import sample_audio

        refuse_for_audio(
            "samples",
            {
                "-n": number if number != 1 else None,
                "--method": method if method != "incremental" else None,
                "--members": members if members != 1 else None,
                "--animate": animate,
            },
        )
        if out is None:
            raise ChainruleError("--out is missing: name the file to write, such as --out sample.wav.")
        sample_audio(run, out, seconds, context or [], prompt, temperature, seed, overwrite, as_json)
        return
    if seconds is not None or prompt is not None:
        raise ChainruleError(
            "--seconds is for runs of sound, and --prompt for those of texts and sound; leave them out."
        )
    out = _checked_out(run, out, animate)
    if is_series_run(run):
        raise ChainruleError(
            f"{run} is of a time series: `chainrule forecast {run} SERIES.csv` draws what may come after one."
        )
    if not (like_seen or is_table_run(run)):
        raise ChainruleError("--as-modelled is for runs of tables; leave it out.")
    if is_table_run(run):
        from chainrule.cli.table_jobs import sample_table

        refuse_options(
            "sample",
            {
                "--context": context,
                "--method": method if method != "incremental" else None,
                "--members": members if members != 1 else None,
                "--animate": animate,
            },
        )
        assert out is not None  # --animate alone was refused
        sample_table(run, out, number or _NUMBER, temperature, like_seen, seed, overwrite, as_json)
        return
    for path in (out, animate):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    opened = open_model(run)
    model = opened.mixture(members)
    asked = _Asked.of(contexts_for(model, context or [], opened.label_names), number)
    if out is not None and out.suffix.lower() == ".png":
        _check_picture(out, asked.total, model.event_shape)
    if animate is not None:
        _check_animation(animate, asked.total, model)
    seed = chosen_seed(seed)
    began = time.perf_counter()
    values = model.sample(
        asked.total,
        asked.context,
        seed=seed,
        temperature=temperature,
        method=method,  # type: ignore[arg-type]
    )
    seconds = time.perf_counter() - began
    if out is not None:
        _write(model, values, asked, out, {"seed": str(seed), "model": opened.name, "run": run}, overwrite)
    if animate is not None:
        _animate(model, values, asked, animate, overwrite)
    content: dict[str, Any] = {
        "run": run,
        "model": opened.name,
        "members": members,
        "out": None if out is None else str(out),
        "animation": None if animate is None else str(animate),
        "number": asked.total,
        "shape": list(values.shape),
        "context": list(asked.described) or None,
        "temperature": temperature,
        "seed": seed,
        "method": method,
        "seconds": seconds,
    }
    if as_json:
        print_json(content)
        return
    print_facts(
        [
            (
                "samples",
                f"{asked.total} of {opened.name}{asked.text}, temperature {temperature:g}, {method}, "
                f"{seconds:.2f} s",
            ),
            ("seed", f"{seed}  (--seed {seed} draws them again)"),
            *([("file", str(out))] if out is not None else []),
            *([("animation", str(animate))] if animate is not None else []),
        ]
    )


class _Asked:
    """How many samples of which contexts, in the order in which they are drawn."""

    def __init__(self, contexts: Contexts | None, of_each: int) -> None:
        self.of_each = of_each
        self.described = () if contexts is None else contexts.described
        self.total = of_each * max(len(self.described), 1)
        #: One for each sample, or None.
        self.context: Tensor | None = None
        if contexts is not None:
            self.context = contexts.values.repeat_interleave(of_each, dim=0)

    @classmethod
    def of(cls, contexts: Contexts | None, number: int | None) -> _Asked:
        """With a default number where none was said."""
        several = contexts is not None and len(contexts.values) > 1
        return cls(contexts, number or (_OF_EACH if several else _NUMBER))

    @property
    def several(self) -> bool:
        """Whether there is more than one class or vector."""
        return len(self.described) > 1

    @property
    def columns(self) -> int | None:
        """Images in a row, so that every class begins in a row of its own; None for whatever looks good."""
        if not self.several or self.of_each == 1:
            return None
        if self.of_each <= _WIDEST:
            return self.of_each
        fitting = [d for d in range(_NARROWEST, _WIDEST + 1) if self.of_each % d == 0]
        return max(fitting, default=_WIDEST)

    @property
    def caption(self) -> str:
        """A line for a picture of several classes."""
        if not self.several:
            return ""
        return f"{self.of_each} each of {', '.join(self.described)}, one class after the other"

    @property
    def text(self) -> str:
        """What they are conditioned on, for people."""
        if not self.described:
            return ""
        return (
            f", {self.of_each} each, given {', '.join(self.described)}"
            if self.several
            else (f" given {self.described[0]}")
        )


def _checked_out(run: str, out: Path | None, animate: Path | None) -> Path | None:
    """Where the samples go; None where only an animation is asked for."""
    if animate is not None and animate.suffix.lower() not in _ANIMATIONS:
        raise ChainruleError(
            f"--animate {animate}: animations are written as {', '.join(_ANIMATIONS)}; choose one of these."
        )
    if out is None and animate is not None:
        return None
    if out is None:
        example = "synthetic.csv" if is_table_run(run) else "samples.png"
        raise ChainruleError(f"--out is missing: name the file to write, such as --out {example}.")
    if not is_table_run(run) and out.suffix.lower() not in _SUFFIXES:
        raise ChainruleError(
            f"{out}: samples are written as {', '.join(_SUFFIXES)}; choose one of these endings."
        )
    return out


def _check_numbers(number: int | None, temperature: float, seed: int | None) -> None:
    if number is not None and number < 1:
        raise ChainruleError(f"-n must be at least 1, not {number}.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ChainruleError(f"--temperature must be a positive number, not {temperature:g}.")
    if seed is not None and not 0 <= seed < 2**63:
        raise ChainruleError(f"--seed must be a whole number from 0 to 2^63 - 1, not {seed}.")


def _check_picture(out: Path, number: int, event_shape: tuple[int, ...]) -> None:
    """Say before sampling what cannot be drawn after it."""
    from chainrule.report import most_images

    if len(event_shape) != 3 or event_shape[0] not in (1, 3):
        raise ChainruleError(
            f"{out}: examples of shape {event_shape} are no images; write .csv, .npy or .npz."
        )
    most = most_images(*event_shape[1:])
    if number > most:
        raise ChainruleError(
            f"-n {number}: a .png shows at most {most:,} images of this size; draw fewer, or write .npy."
        )


def _check_animation(path: Path, number: int, model: LikelihoodModel) -> None:
    if not is_image(model):
        raise ChainruleError(f"{path}: examples of shape {model.event_shape} are no images to animate.")
    if not hasattr(model, "ordering"):
        raise ChainruleError(
            f"{path}: a mixture of orderings has no one order to animate; leave --members out."
        )
    if number > _MOST_ANIMATED:
        raise ChainruleError(f"--animate: {number} images are too many; draw at most {_MOST_ANIMATED}.")


def _animate(model: Any, values: Tensor, asked: _Asked, path: Path, overwrite: bool) -> None:
    """The samples as they came about, in the model's ordering."""
    from chainrule.report import save_sampling_animation

    save_sampling_animation(
        as_shown(model, values),
        path,
        permutation=model.ordering.permutation,
        columns=asked.columns,
        overwrite=overwrite,
    )


def _write(
    model: LikelihoodModel, values: Tensor, asked: _Asked, out: Path, facts: dict[str, str], overwrite: bool
) -> None:
    """Samples in the form that the file's name asks for."""
    import numpy as np

    from chainrule.report import save_grid, write_file

    suffix = out.suffix.lower()
    if suffix == ".png":
        save_grid(
            as_shown(model, values),
            out,
            columns=asked.columns,
            caption=asked.caption,
            metadata=facts,
            overwrite=overwrite,
        )
        return
    support = model.conditional.support()
    array = values.numpy()
    if support is not None and len(support) <= 256:
        array = array.astype(np.uint8)
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, array)
    elif suffix == ".npz":
        if asked.context is None:
            np.savez_compressed(buffer, samples=array)
        else:
            np.savez_compressed(buffer, samples=array, context=asked.context.numpy())
    else:
        form = "%d" if array.dtype == np.uint8 else "%.9g"
        np.savetxt(buffer, array.reshape(len(array), -1), fmt=form, delimiter=",")
    write_file(out, buffer.getvalue(), overwrite=overwrite)
