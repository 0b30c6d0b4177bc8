"""`chainrule upscale`: images of the run's size that shrink to exactly the small images given."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.image_output import (
    OutOption,
    ParticlesOption,
    SeedOption,
    check_out,
    open_images,
    write_images,
)
from chainrule.cli.options import (
    AsJson,
    ContextOption,
    InputArgument,
    Overwrite,
    RunArgument,
    SkipBad,
    SplitOption,
    ThresholdOption,
    add_command,
    chosen_seed,
)
from chainrule.cli.output import print_facts, print_json, say
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        upscale,
        "chainrule upscale runs/pixels small.png -n 4 --out large.png",
        "chainrule upscale runs/pixels folder_of_small_pngs --seed 0 --out large.npy",
        "chainrule upscale runs/pixels digits --shrink 2 --limit 6 -n 4 --out again.png",
    )


@dataclass(frozen=True)
class _Small:
    """Small images `(N, C, h, w)`, the factor, their statistic, what they were made of, and classes."""

    low: Tensor
    factor: int
    statistic: str
    truth: Tensor | None
    labels: Tensor | None = None


def upscale(
    run: RunArgument,
    source: InputArgument,
    out: OutOption = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many of each.", min=1)] = 1,
    shrink: Annotated[
        int | None,
        typer.Option(
            "--shrink",
            metavar="F",
            help="INPUT holds images of the run's size: shrink them F times first, to see what comes back.",
            min=2,
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N images, spread evenly.", min=1, show_default=False),
    ] = None,
    particles: ParticlesOption = 128,
    context: ContextOption = None,
    split: SplitOption = None,
    threshold: ThresholdOption = None,
    skip_bad: SkipBad = False,
    seed: SeedOption = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Super-resolution: draw images whose blocks have exactly the means that the small image says.

    A small image holds grey levels: of each block the mean, rounded to a level; for a run of black and white
    images the share of white, as a grey from 0 to 255.
    """
    out = check_out(out, overwrite=overwrite)
    opened = open_images(run, out)

    from chainrule.cli.contexts import context_for
    from chainrule.cli.run_pictures import as_shown
    from chainrule.images import downsample, super_resolve

    small = _read(opened, source, shrink, split, threshold, skip_bad)
    small = _limited(small, limit)
    seed, began = chosen_seed(seed), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, in a line of our own
        values, draws = super_resolve(
            opened.model,
            small.low,
            statistic=small.statistic,
            context=small.labels
            if small.labels is not None and context is None
            else context_for(opened.model, context, opened.label_names),
            num_samples=number,
            num_particles=particles,
            seed=seed,
            return_info=True,
        )
    seconds = time.perf_counter() - began
    found = downsample(values.flatten(0, 1), small.factor, small.statistic)
    exact = bool((found - small.low.repeat_interleave(number, 0)).abs().max() < 1e-4)
    effective = draws.effective_sample_size
    if float(effective.min()) < particles / 20:
        say(
            f"chainrule: warning: of {particles} particles only {float(effective.min()):.1f} were effective "
            "at the worst place; more --particles would do better."
        )
    large = small.low.repeat_interleave(small.factor, -1).repeat_interleave(small.factor, -2)
    columns = [large[:, None], values, *([] if small.truth is None else [small.truth[:, None]])]
    import torch

    shown = torch.cat([as_shown(opened.model, part) for part in columns], dim=1)
    written = values[:, 0] if number == 1 else values
    write_images(
        opened,
        written,
        out,
        overwrite=overwrite,
        rows=shown.flatten(0, 1),
        columns=shown.shape[1],
        caption=f"given, {number} drawn{'' if small.truth is None else ', the original'}: {opened.name}",
        facts={"seed": str(seed), "model": opened.name},
    )
    if as_json:
        print_json(
            {
                "run": run,
                "model": opened.name,
                "input": source,
                "out": str(out),
                "shape": list(written.shape),
                "factor": small.factor,
                "statistic": small.statistic,
                "exact": exact,
                "particles": particles,
                "effective_sample_size": effective.tolist(),
                "seed": seed,
                "seconds": seconds,
            }
        )
        return
    print_facts(
        [
            ("upscaled", f"{len(values)} images {small.factor} times, {number} of each; {seconds:.2f} s"),
            ("shrunk again", "exactly what was given" if exact else "NOT what was given"),
            ("particles", f"{particles}; effective: least {float(effective.min()):.1f}"),
            ("seed", f"{seed}  (--seed {seed} draws the same again)"),
            ("file", str(out)),
        ]
    )


def _read(
    opened: OpenedModel,
    source: str,
    shrink: int | None,
    split: str | None,
    threshold: float | None,
    skip_bad: bool,
) -> _Small:
    """The small images of a file, or those that images of the run's size are shrunk to."""
    from chainrule.cli.example_files import read_examples, saying_warnings
    from chainrule.images import downsample

    model = opened.model
    support = model.conditional.support()
    levels = 256 if support is None else len(support)
    statistic = "mean" if levels == 2 else "rounded-mean"
    if shrink is not None:
        read_in = read_examples(opened, source, split=split, threshold=threshold, skip_bad=skip_bad)
        truth = read_in.values.float()
        return _Small(downsample(truth, shrink, statistic), shrink, statistic, truth, read_in.labels)
    if split is not None or threshold is not None:
        raise ChainruleError("--split and --threshold are for images of the run's size, with --shrink F.")

    from chainrule.data.readers import read

    with saying_warnings():
        low = read(source, levels=256, skip_bad=skip_bad).float()
    if len(model.event_shape) == 2 and low.ndim == 4 and low.shape[1] == 1:
        low = low[:, 0]
    factor = _factor(low, opened, source)
    if statistic == "mean":  # to the nearest share of white that a block can have
        low = (low / max(float(low.max()), 255.0 if float(low.max()) > 1 else 1.0) * factor**2).round()
        low = low / factor**2
    return _Small(low, factor, statistic, None)


def _factor(low: Tensor, opened: OpenedModel, source: str) -> int:
    """How many times the small images are to be enlarged; `ChainruleError` where they cannot be."""
    found, wanted = tuple(low.shape[1:]), opened.model.event_shape
    if len(found) == len(wanted) and found[:-2] != wanted[:-2]:
        raise ChainruleError(
            f"{source} holds images of {found[0]} {'channels' if found[0] > 1 else 'channel (grey)'}, but "
            f"{opened.source} is a run of images of {wanted[0]}; convert them first."
        )
    if found == wanted:
        raise ChainruleError(
            f"{source} holds images of the run's own size, {wanted[-2]} x {wanted[-1]}, and nothing to "
            "enlarge; to shrink them first and see what comes back, --shrink 2."
        )
    factor = wanted[-1] // found[-1]
    if len(found) != len(wanted) or (found[-2] * factor, found[-1] * factor) != wanted[-2:]:
        raise ChainruleError(
            f"{source} holds images of shape {found}, of which no whole number of times makes "
            f"the {wanted} of {opened.source}; to shrink images of that size first, --shrink 2."
        )
    return factor


def _limited(small: _Small, limit: int | None) -> _Small:
    if limit is None or limit >= len(small.low):
        return small
    from chainrule.training.batches import spread_rows

    rows = spread_rows(len(small.low), limit)
    truth = None if small.truth is None else small.truth[rows]
    labels = None if small.labels is None else small.labels[rows]
    return _Small(small.low[rows], small.factor, small.statistic, truth, labels)
