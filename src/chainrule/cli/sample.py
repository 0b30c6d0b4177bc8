"""`chainrule sample`: new examples from a trained model."""

from __future__ import annotations

import io
import math
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.cli.options import AsJson, Overwrite, RunArgument, add_command
from chainrule.cli.output import print_facts, print_json
from chainrule.cli.sources import context_for, open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.errors import ChainruleError

__all__ = ["register"]

_SUFFIXES = (".png", ".npy", ".npz", ".csv")
_METHODS = ("incremental", "naive", "fixed-point")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        sample,
        "chainrule sample runs/nade -n 64 --out samples.png",
        "chainrule sample runs/nade-by-class -n 16 --context 7 --out sevens.png",
        "chainrule sample runs/nade -n 1000 --seed 0 --out samples.npy --overwrite",
        "chainrule sample runs/made --temperature 0.8 --method fixed-point --out sharper.png",
        "chainrule sample runs/table -n 1000 --out synthetic.csv",
    )


def sample(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".png a grid of images; .npy, .npz, .csv the values; of a table .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    context: Annotated[
        str | None,
        typer.Option("--context", help="A class label, or numbers with commas between.", show_default=False),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Below 1 sharpens every conditional; 1 samples the model.")
    ] = 1.0,
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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw exact samples; the seed that was used is always reported."""
    from chainrule.report import check_writable

    if out is None:
        raise ChainruleError("--out is missing: name the file to write, such as --out samples.png.")
    table = is_table_run(run)
    if not table and out.suffix.lower() not in _SUFFIXES:
        raise ChainruleError(
            f"{out}: samples are written as {', '.join(_SUFFIXES)}; choose one of these endings."
        )
    if number < 1:
        raise ChainruleError(f"-n must be at least 1, not {number}.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ChainruleError(f"--temperature must be a positive number, not {temperature:g}.")
    if seed is not None and not 0 <= seed < 2**63:
        raise ChainruleError(f"--seed must be a whole number from 0 to 2^63 - 1, not {seed}.")
    if table:
        from chainrule.cli.table_jobs import sample_table

        refuse_options(
            "sample",
            {
                "--context": context,
                "--method": method if method != "incremental" else None,
                "--members": members if members != 1 else None,
            },
        )
        sample_table(run, out, number, temperature, seed, overwrite, as_json)
        return
    check_writable(out, overwrite=overwrite)
    opened = open_model(run)
    model = opened.mixture(members)
    given = context_for(model, context)
    if out.suffix.lower() == ".png":
        _check_picture(out, number, model.event_shape)
    seed = secrets.randbelow(2**31) if seed is None else seed
    began = time.perf_counter()
    values = model.sample(
        number,
        given,
        seed=seed,
        temperature=temperature,
        method=method,  # type: ignore[arg-type]
    )
    seconds = time.perf_counter() - began
    _write(values, out, {"seed": str(seed), "model": opened.name, "run": run}, overwrite)
    content: dict[str, Any] = {
        "run": run,
        "model": opened.name,
        "members": members,
        "out": str(out),
        "number": number,
        "shape": list(values.shape),
        "context": context,
        "temperature": temperature,
        "seed": seed,
        "method": method,
        "seconds": seconds,
    }
    if as_json:
        print_json(content)
        return
    condition = f" given {context}" if context is not None else ""
    print_facts(
        [
            (
                "samples",
                f"{number} of {opened.name}{condition}, temperature {temperature:g}, {method}, "
                f"{seconds:.2f} s",
            ),
            ("seed", f"{seed}  (--seed {seed} draws them again)"),
            ("file", str(out)),
        ]
    )


def _check_picture(out: Path, number: int, event_shape: tuple[int, ...]) -> None:
    """Say before sampling what cannot be drawn after it."""
    from chainrule.report import most_images

    if len(event_shape) != 3:
        raise ChainruleError(
            f"{out}: examples of shape {event_shape} are no images; write .csv, .npy or .npz."
        )
    most = most_images(*event_shape[1:])
    if number > most:
        raise ChainruleError(
            f"-n {number}: a .png shows at most {most:,} images of this size; draw fewer, or write .npy."
        )


def _write(values: Any, out: Path, facts: dict[str, str], overwrite: bool) -> None:
    """Samples in the form that the file's name asks for."""
    import numpy as np

    from chainrule.report import save_grid, write_file

    suffix = out.suffix.lower()
    if suffix == ".png":
        save_grid(values, out, metadata=facts, overwrite=overwrite)
        return
    array = values.numpy().astype(np.uint8)
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, array)
    elif suffix == ".npz":
        np.savez_compressed(buffer, samples=array)
    else:
        np.savetxt(buffer, array.reshape(len(array), -1), fmt="%d", delimiter=",")
    write_file(out, buffer.getvalue(), overwrite=overwrite)
