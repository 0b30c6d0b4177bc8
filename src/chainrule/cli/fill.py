"""`chainrule fill`: the unknown part of examples drawn given the known part."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.fill_files import BEFORE_AFTER, image_names, is_folder, read_given, write_filled
from chainrule.cli.masks import MASK_NAMES
from chainrule.cli.options import (
    AsJson,
    ContextOption,
    InputArgument,
    Overwrite,
    RunArgument,
    SkipBad,
    SplitOption,
    TemperatureOption,
    ThresholdOption,
    add_command,
    chosen_seed,
)
from chainrule.cli.output import print_facts, print_json, say
from chainrule.cli.sources import open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.sampling import FillInfo

__all__ = ["register"]

_SUFFIXES = (".png", ".npy", ".npz", ".csv")
_METHODS = ("auto", "exact", "particles", "importance", "left-to-right")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        fill,
        "chainrule fill runs/nade digits --mask lower-half --limit 8 -n 5 --out filled.png",
        "chainrule fill runs/nade folder_of_pngs --mask mask.png --out filled_images",
        "chainrule fill runs/nade my_images.npy --mask mask.png --particles 500 --out filled.npy",
        "chainrule fill runs/nade with_nan.npy --seed 0 --out filled.npz --json",
        "chainrule fill runs/nade digits --mask upper-half --method left-to-right --out quick.png",
        "chainrule fill runs/table with_holes.csv --seed 0 --out filled.csv",
    )


def fill(
    run: RunArgument,
    source: InputArgument,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="MASK",
            help="What to fill in: a .npy, .npz or .png, 1 or white at the holes, for all examples or one "
            "for each; or lower-half, upper-half, left-half, right-half, centre, random:0.5. Without it, NaN "
            "marks the holes.",
            autocompletion=lambda: list(MASK_NAMES),
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".png before and after; a folder: that and every filled image; .npy, .csv the filled "
            "examples; .npz also mask and log p(known).",
            show_default=False,
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many fillings of each example.")] = 1,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="auto: exact where it can be, else particles; importance; left-to-right: quick, ignores "
            "what is known after a hole.",
            autocompletion=lambda: list(_METHODS),
        ),
    ] = "auto",
    particles: Annotated[
        int, typer.Option("--particles", metavar="P", help="Particles for each example; more are better.")
    ] = 128,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N examples, spread evenly.", show_default=False),
    ] = None,
    split: SplitOption = None,
    context: ContextOption = None,
    threshold: ThresholdOption = None,
    skip_bad: SkipBad = False,
    temperature: TemperatureOption = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The same seed gives the same fillings; random if not given.",
            min=0,
            max=2**63 - 1,
            show_default=False,
        ),
    ] = None,
    members: Annotated[
        int, typer.Option("--members", metavar="K", help="Fill with the mixture of K masks or orderings.")
    ] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fill in the unknown part of examples, drawn from p(unknown given known): inpainting, imputation.

    Exact where nothing known comes after a hole in the model's ordering, and for deep-nade; otherwise by
    particles, whose effective number says how far to trust the result.
    """
    from chainrule.report import check_writable

    table = is_table_run(run)
    counts = {"-n": number, "--particles": particles, "--limit": 1 if limit is None else limit}
    _check_options(out, counts, table=table)
    assert out is not None
    if table:
        from chainrule.cli.table_jobs import fill_table

        refuse_options(
            "filling",
            {
                "--mask": mask,
                "-n": number if number != 1 else None,
                "--limit": limit,
                "--context": context,
                "--threshold": threshold,
                "--skip-bad": skip_bad,
                "--temperature": temperature if temperature != 1 else None,
                "--members": members if members != 1 else None,
            },
        )
        fill_table(run, source, out, split, method, particles, seed, overwrite, as_json)
        return
    if is_folder(out):
        _make_folder(out, source, overwrite)
    else:
        check_writable(out, overwrite=overwrite)
    opened = open_model(run)
    model = opened.mixture(members)
    seed = chosen_seed(seed)
    given = read_given(
        opened, source, mask, context, split=split, threshold=threshold, skip_bad=skip_bad, seed=seed
    ).limited(limit)
    if is_folder(out):
        image_names(given, number)
    if out.suffix.lower() in (".png", ""):
        _check_picture(out, len(given.values) * (number + 2), model.event_shape)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, in a line of our own
        filled, info = model.fill(
            given.values,
            given.holes,
            given.context,
            seed=seed,
            method=method,  # type: ignore[arg-type]
            num_particles=particles,
            num_samples=number,
            temperature=temperature,
            return_info=True,
        )
    seconds = time.perf_counter() - began
    write_filled(
        model, given, filled, info, out, {"seed": str(seed), "model": opened.name, "run": run}, overwrite
    )
    content = {
        "run": run,
        "model": opened.name,
        "members": members,
        "input": source,
        "mask": mask,
        "out": str(out),
        "examples": len(filled),
        "number": number,
        "shape": list(filled.shape),
        "unknown_per_example": float(given.holes.flatten(1).sum(1).double().mean()),
        "temperature": temperature,
        "seed": seed,
        "method": method,
        "particles": particles,
        "seconds": seconds,
        "rows": _rows(info),
    }
    _report(content, info, particles, as_json)


def _check_options(out: Path | None, counts: dict[str, int], *, table: bool) -> None:
    if out is None:
        example = "filled.csv" if table else "filled.png"
        raise ChainruleError(f"--out is missing: name the file to write, such as --out {example}.")
    if not table and not is_folder(out) and out.suffix.lower() not in _SUFFIXES:
        raise ChainruleError(
            f"{out}: fillings are written as {', '.join(_SUFFIXES)}; choose one of these endings, or none "
            "for a folder of images."
        )
    for option, value in counts.items():
        if value < 1:
            raise ChainruleError(f"{option} must be at least 1, not {value}.")


def _make_folder(out: Path, source: str, overwrite: bool) -> None:
    """Make the folder before the work, or say why it cannot be had."""
    if out.is_dir() and out.resolve() == Path(source).resolve():
        raise ChainruleError(f"--out {out} is the folder of the images to fill in; choose another.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ChainruleError(f"{out} already exists and is not empty; --overwrite writes into it.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChainruleError(
            f"{out} cannot be made a folder ({error.strerror}); name a folder for the images, or a file with "
            "an ending."
        ) from None


def _check_picture(out: Path, number: int, event_shape: tuple[int, ...]) -> None:
    """Say before the work what cannot be drawn after it."""
    from chainrule.report import most_images

    if len(event_shape) != 3 or event_shape[0] not in (1, 3):
        raise ChainruleError(
            f"{out}: examples of shape {event_shape} are no images; write .csv, .npy or .npz."
        )
    if number > most_images(*event_shape[1:]):
        raise ChainruleError(f"{out}: {number:,} images are too many for one picture; use --limit, or .npy.")


def _rows(info: FillInfo) -> list[dict[str, Any]]:
    columns = zip(info.method, info.log_evidence.tolist(), info.effective_sample_size.tolist(), strict=True)
    return [
        {"index": index, "method": method, "log_evidence": log_evidence, "effective_sample_size": size}
        for index, (method, log_evidence, size) in enumerate(columns)
    ]


def _report(content: dict[str, Any], info: FillInfo, particles: int, as_json: bool) -> None:
    from chainrule.sampling import warning_of

    warning = warning_of(info, particles)
    if warning is not None:
        say(f"chainrule: warning: {warning}")
    if as_json:
        print_json(content)
        return
    ways = ", ".join(f"{count} {method}" for method, count in Counter(info.method).items())
    times = "once" if content["number"] == 1 else f"{content['number']} times"
    size = info.effective_sample_size
    approximate = size[size.isfinite()]
    facts = [
        (
            "filled",
            f"{content['examples']} examples, {content['unknown_per_example']:.4g} unknown variables each, "
            f"{times}; {content['model']}, {content['seconds']:.2f} s",
        ),
        ("method", ways),
    ]
    if len(approximate):
        facts.append(
            (
                "particles",
                f"{particles}; effective: median {float(approximate.median()):.1f}, least "
                f"{float(approximate.min()):.1f}",
            )
        )
    if bool(info.log_evidence.isfinite().all()):
        facts.append(("log p(known)", f"mean {float(info.log_evidence.mean()):.3f} nats"))
    facts.append(("seed", f"{content['seed']}  (--seed {content['seed']} fills the same again)"))
    out = Path(content["out"])
    facts.append(
        ("files", f"{out / BEFORE_AFTER}, and each filled image beside it")
        if is_folder(out)
        else ("file", str(out))
    )
    print_facts(facts)
