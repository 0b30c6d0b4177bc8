"""`chainrule denoise`: clean images given degraded ones; the model says what clean ones are like."""

from __future__ import annotations

import time
import warnings
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
    add_command,
    chosen_seed,
)
from chainrule.cli.output import print_facts, print_json, say
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel
    from chainrule.images import BitFlips, GaussianChannel

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        denoise,
        "chainrule denoise runs/pixels scans.npy --flip 0.1 --out clean.png",
        "chainrule denoise runs/pixels grey_page.png --from-grey --dark-ink --out ink.png",
        "chainrule denoise runs/pixels digits --flip 0.1 --degrade --limit 8 --out before_after.png",
    )


def denoise(
    run: RunArgument,
    source: InputArgument,
    out: OutOption = None,
    flip: Annotated[
        float | None,
        typer.Option(
            "--flip", metavar="P", help="Each bit was flipped with this probability.", show_default=False
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            "--noise",
            metavar="S",
            help="Normal noise of this standard deviation, in levels, was added.",
            show_default=False,
        ),
    ] = None,
    from_grey: Annotated[
        bool,
        typer.Option(
            "--from-grey",
            help="Grey levels of a scan: make them black and white; what paper and ink look like is "
            "estimated from them.",
        ),
    ] = False,
    dark_ink: Annotated[
        bool, typer.Option("--dark-ink/--light-ink", help="With --from-grey: which of the two is 1.")
    ] = True,
    degrade: Annotated[
        bool, typer.Option("--degrade", help="INPUT is clean: degrade it first, to see what comes back.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N images, spread evenly.", min=1, show_default=False),
    ] = None,
    particles: ParticlesOption = 128,
    context: ContextOption = None,
    split: SplitOption = None,
    skip_bad: SkipBad = False,
    seed: SeedOption = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Restore degraded images: of each pixel the value with the fewest expected errors.

    Say how they were degraded: --flip, --noise or --from-grey. A .npy holds the estimates; a .png also what
    was given and the probability, or mean, of each pixel.
    """
    if sum((flip is not None, noise is not None, from_grey)) != 1:
        raise ChainruleError("say how the images were degraded: one of --flip P, --noise S and --from-grey.")
    if degrade and from_grey:
        raise ChainruleError("--degrade goes with --flip P or --noise S, not with --from-grey.")
    out = check_out(out, overwrite=overwrite)
    opened = open_images(run, out)

    import torch

    from chainrule.cli.contexts import context_for
    from chainrule.cli.run_pictures import as_shown
    from chainrule.images import BitFlips, GaussianChannel
    from chainrule.images import denoise as restore
    from chainrule.images.guiding import number_of_levels

    channel: BitFlips | GaussianChannel | None = None
    if not from_grey:
        channel = BitFlips(flip) if flip is not None else GaussianChannel(noise or 0.0)
    levels = number_of_levels(opened.model)
    if from_grey and levels != 2:
        raise ChainruleError(
            f"--from-grey makes pages black and white, but {run} is a run of images of {levels} levels; say "
            "--noise S, or train on black and white ones (`chainrule train ... --threshold 127`)."
        )
    given, labels = _read(opened, source, split, skip_bad, grey=not degrade and flip is None)
    if limit is not None and limit < len(given):
        from chainrule.training.batches import spread_rows

        rows = spread_rows(len(given), limit)
        given, labels = given[rows], None if labels is None else labels[rows]
    if channel is None:
        channel = GaussianChannel.from_grey(given, ink_is_dark=dark_ink)
    seed = chosen_seed(seed)
    clean = given if degrade else None
    degraded = channel.degrade(given, seed=seed) if degrade else given
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, in a line of our own
        restored = restore(
            opened.model,
            degraded,
            channel,
            context=labels
            if labels is not None and context is None
            else context_for(opened.model, context, opened.label_names),
            num_particles=particles,
            seed=seed,
        )
    seconds, effective = time.perf_counter() - began, restored.effective_sample_size
    if float(effective.min()) < particles / 20:
        say(
            f"chainrule: warning: of {particles} particles only {float(effective.min()):.1f} were effective "
            "at the worst place; more --particles would do better."
        )
    seen = degraded / 255 if from_grey else as_shown(opened.model, degraded)
    parts = [seen.clamp(0, 1), *(as_shown(opened.model, part) for part in (restored.mean, restored.estimate))]
    parts += [] if clean is None else [as_shown(opened.model, clean)]
    write_images(
        opened,
        restored.estimate,
        out,
        overwrite=overwrite,
        rows=torch.stack(parts, dim=1).flatten(0, 1),
        columns=len(parts),
        caption=f"degraded, mean, estimate{'' if clean is None else ', the original'}: {opened.name}",
        facts={"seed": str(seed), "model": opened.name},
    )
    wrong = _wrong(degraded, clean), _wrong(restored.estimate, clean)
    rms = _root_mean_square(degraded, clean), _root_mean_square(restored.estimate, clean)
    if as_json:
        print_json(
            {
                "run": run,
                "model": opened.name,
                "input": source,
                "out": str(out),
                "shape": list(restored.estimate.shape),
                "channel": repr(channel),
                "particles": particles,
                "effective_sample_size": effective.tolist(),
                "log_evidence": restored.log_evidence.tolist(),
                "wrong_before": wrong[0],
                "wrong_after": wrong[1],
                "rms_error_before": rms[0],
                "rms_error_after": rms[1],
                "seed": seed,
                "seconds": seconds,
            }
        )
        return
    facts = [("restored", f"{len(given)} images of {opened.name}'s kind; {channel}, {seconds:.2f} s")]
    if clean is not None and levels == 2:
        facts.append(("wrong pixels", f"{wrong[0]:.2%} before, {wrong[1]:.2%} after"))
    elif clean is not None:  # of many levels hardly any pixel is hit exactly
        facts.append(("RMS error", f"{rms[0]:.1f} levels before, {rms[1]:.1f} after"))
    facts += [
        ("particles", f"{particles}; effective: least {float(effective.min()):.1f}"),
        ("seed", f"{seed}  (--seed {seed} draws the same again)"),
        ("file", str(out)),
    ]
    print_facts(facts)


def _read(
    opened: OpenedModel, source: str, split: str | None, skip_bad: bool, *, grey: bool
) -> tuple[Tensor, Tensor | None]:
    """What was observed, of the shape of the run's images, and their classes where these are known."""
    from chainrule.cli.example_files import read_examples, saying_warnings
    from chainrule.cli.names import DATASETS

    if source in DATASETS or not grey:
        read_in = read_examples(opened, source, split=split, skip_bad=skip_bad)
        return read_in.values.float(), read_in.labels
    from chainrule.data.readers import read

    with saying_warnings():
        observed = read(source, event_shape=opened.model.event_shape, levels=256, skip_bad=skip_bad)
    return observed.float(), None


def _wrong(images: Tensor, clean: Tensor | None) -> float | None:
    """Share of pixels that are not what they were."""
    return None if clean is None else float((images != clean).double().mean())


def _root_mean_square(images: Tensor, clean: Tensor | None) -> float | None:
    """How far pixels are from what they were, in levels."""
    return None if clean is None else float((images - clean).double().square().mean().sqrt())
