"""`chainrule texture`: images of any size from a model of images of one size."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from chainrule.cli.image_output import OutOption, SeedOption, check_out, open_images, size_of
from chainrule.cli.image_output import write_images as write
from chainrule.cli.options import (
    AsJson,
    ContextOption,
    Overwrite,
    RunArgument,
    TemperatureOption,
    add_command,
    chosen_seed,
)
from chainrule.cli.output import print_facts, print_json

__all__ = ["register"]

_METHODS = ("auto", "convolutional", "sliding")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        texture,
        "chainrule texture runs/bark --size 128x192 --out bark.png",
        "chainrule texture runs/pixels --size 64x64 -n 4 --seed 0 --out canvases.npy",
        "chainrule texture runs/made --size 20x20 --method sliding --out slid.png",
    )


def texture(
    run: RunArgument,
    size: Annotated[
        str,
        typer.Option("--size", metavar="HxW", help="Height x width; at least those of the run's images."),
    ],
    out: OutOption = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many.", min=1)] = 1,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="convolutional: the network over all of it, about one pass; sliding: each pixel from the "
            "window around it, any model, one pass a pixel; auto: the first where it can be.",
            autocompletion=lambda: list(_METHODS),
        ),
    ] = "auto",
    context: ContextOption = None,
    temperature: TemperatureOption = 1.0,
    seed: SeedOption = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw images of any size: textures, from a model of patches."""
    height, width = size_of(size, "--size")
    out = check_out(out, overwrite=overwrite)
    opened = open_images(run, out)

    from chainrule.cli.contexts import context_for
    from chainrule.images import synthesize_texture

    seed, began = chosen_seed(seed), time.perf_counter()
    values = synthesize_texture(
        opened.model,
        (height, width),
        number,
        context_for(opened.model, context, opened.label_names),
        method=method,  # type: ignore[arg-type]
        temperature=temperature,
        seed=seed,
    )
    seconds = time.perf_counter() - began
    write(opened, values, out, overwrite=overwrite, facts={"seed": str(seed), "model": opened.name})
    if as_json:
        print_json(
            {
                "run": run,
                "model": opened.name,
                "out": str(out),
                "shape": list(values.shape),
                "method": method,
                "temperature": temperature,
                "seed": seed,
                "seconds": seconds,
            }
        )
        return
    print_facts(
        [
            ("texture", f"{number} of {height} x {width} pixels; {opened.name}, {seconds:.2f} s"),
            ("seed", f"{seed}  (--seed {seed} draws the same again)"),
            ("file", str(out)),
        ]
    )
