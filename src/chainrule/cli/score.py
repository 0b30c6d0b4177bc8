"""`chainrule score`: the log-likelihood of every example of a file."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.audio_runs import is_audio_run, refuse_for_audio
from chainrule.cli.contexts import context_for
from chainrule.cli.example_files import Examples, read_examples
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
)
from chainrule.cli.output import counting, print_json, say, show
from chainrule.cli.run_pictures import as_shown, is_image
from chainrule.cli.series_runs import is_series_run, refuse_for_series
from chainrule.cli.sources import open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.cli.text_runs import is_text_run, refuse_for_text
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["register"]

_SUFFIXES = (".csv", ".npz", ".png")
_DRAWN = 8
_BATCH = 500


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        score,
        "chainrule score runs/nade my_images.npy --out scores.csv",
        "chainrule score runs/nade digits --split test --json",
        "chainrule score runs/nade digits --per-variable --out surprise.npz",
        "chainrule score runs/nade digits --per-variable --out surprise.png",
        "chainrule score runs/nade folder_of_pngs --threshold 127",
        "chainrule score runs/pixels digits --overlay surprise.png --out scores.csv",
        "chainrule score runs/table rows.csv --per-variable --out scores.csv",
        "chainrule score runs/sound my.wav --per-variable --out surprise.npz",
        "chainrule score runs/sales sales.csv --per-variable --out scores.csv",
        "chainrule score runs/text my_text.txt --out surprise.html",
    )


def score(
    run: RunArgument,
    source: InputArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help=".csv or .npz; CSV on stdout without it.", show_default=False
        ),
    ] = None,
    split: SplitOption = None,
    per_variable: Annotated[
        bool,
        typer.Option("--per-variable", help="Also log p of every variable (.npz), or surprise maps (.png)."),
    ] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            metavar="FILE.png",
            help="Images: also draw eight of them under their surprise, in bits.",
            show_default=False,
        ),
    ] = None,
    context: ContextOption = None,
    threshold: ThresholdOption = None,
    skip_bad: SkipBad = False,
    members: Annotated[
        int, typer.Option("--members", metavar="K", help="Score with the mixture of K masks or orderings.")
    ] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """The exact log p(x) of each example in nats, and bits/dim: index, log_prob, bits_per_dim; of a folder of
    images also the name of each file.

    The rows of a table stream through in constant memory; --per-variable then adds the surprise of every
    column, -log p(column given those before it). `chainrule detect` says which rows are odd.

    Of a text: nats, bits per character, perplexity, and the most surprising words; --out FILE.html colours
    the text, FILE.csv has the surprise of every token.

    Of a time series every step gets its anomaly score, -log p(step given all before it).

    Of sound, a .wav or a folder of them, every recording gets its log p; with --per-variable every sample.
    """
    from chainrule.report import check_writable

    if is_audio_run(run):
        from chainrule.cli.audio_jobs import score_audio

        refuse_for_audio(
            "scores",
            {
                "--split": split,
                "--threshold": threshold,
                "--skip-bad": skip_bad,
                "--overlay": overlay,
                "--members": members if members != 1 else None,
            },
        )
        score_audio(run, source, out, per_variable, context, overwrite, as_json)
        return
    if is_series_run(run):
        from chainrule.cli.series_jobs import score_series

        refuse_for_series(
            "scores",
            {
                "--split": split,
                "--context": context,
                "--threshold": threshold,
                "--skip-bad": skip_bad,
                "--overlay": overlay,
                "--members": members if members != 1 else None,
            },
        )
        score_series(run, source, out, per_variable, overwrite, as_json)
        return
    if is_text_run(run):
        from chainrule.cli.text_score import score_text

        refuse_for_text(
            "scores",
            {
                "--context": context,
                "--threshold": threshold,
                "--skip-bad": skip_bad,
                "--overlay": overlay,
                "--members": members if members != 1 else None,
            },
        )
        score_text(run, source, out, split, per_variable, overwrite, as_json)
        return
    if is_table_run(run):
        from chainrule.cli.table_jobs import score_table

        refuse_options(
            "scores",
            {
                "--context": context,
                "--threshold": threshold,
                "--skip-bad": skip_bad,
                "--overlay": overlay,
                "--members": members if members != 1 else None,
            },
        )
        score_table(run, source, out, split, per_variable, overwrite, as_json)
        return
    _check_outputs(out, per_variable, members)
    for path in (out, overlay):
        if path is not None:
            check_writable(path, overwrite=overwrite)
    if overlay is not None and overlay.suffix.lower() != ".png":
        raise ChainruleError(f"--overlay {overlay}: the picture is written as .png; choose that ending.")
    opened = open_model(run)
    model = opened.mixture(members)
    if (per_variable or overlay is not None) and not hasattr(model, "log_prob_per_variable"):
        option = "--per-variable" if per_variable else "--overlay"
        raise ChainruleError(
            f"{run}: a mixture has no conditionals; leave {option} out, or score one of its members."
        )
    for path in (out, overlay):
        if path is not None and path.suffix.lower() == ".png" and not is_image(model):
            raise ChainruleError(
                f"{path}: examples of shape {model.event_shape} are no pictures; write an .npz."
            )
    read = read_examples(opened, source, split=split, threshold=threshold, skip_bad=skip_bad)
    _check_known(read, source)
    values, context_values = read.values, read.labels
    if context_values is None or context is not None:
        given = context_for(model, context, opened.label_names)
        context_values = None if given is None else given.expand(len(values), *given.shape)
    scores = _score(model, values, context_values, per_variable, read.names)
    per_dim = model.num_variables * math.log(2)
    if out is not None:
        _write(model, scores, per_dim, values, out, f"{opened.name} on {source}", overwrite)
    if overlay is not None:
        _draw_overlay(model, read, context_values, overlay, f"{opened.name} on {source}", overwrite)
    summary = {
        "run": run,
        "model": opened.name,
        "input": source,
        "examples": len(scores.log_prob),
        "mean_log_prob": float(scores.log_prob.mean()),
        "mean_bits_per_dim": float(-scores.log_prob.mean() / per_dim),
        "out": None if out is None else str(out),
        "overlay": None if overlay is None else str(overlay),
    }
    if as_json:
        print_json(summary | ({"scores": _rows(scores, per_dim)} if out is None else {}))
        return
    if out is None:
        show(_csv(scores, per_dim).rstrip("\n"))
    line = (
        f"{summary['examples']:,} examples: mean log p(x) {summary['mean_log_prob']:.3f} nats, "
        f"{summary['mean_bits_per_dim']:.4f} bits/dim"
    )
    say(line) if out is None else show(f"{line}; written to {out}")


@dataclass(frozen=True)
class _Scores:
    log_prob: NDArray[Any]  # (N,), nats
    per_variable: NDArray[Any] | None  # (N, *event_shape), nats
    names: tuple[str, ...]  # of the files, or empty


def _check_outputs(out: Path | None, per_variable: bool, members: int) -> None:
    suffix = "" if out is None else out.suffix.lower()
    if out is not None and suffix not in _SUFFIXES:
        raise ChainruleError(f"{out}: scores are written as .csv or .npz, surprise maps as .npz or .png.")
    if per_variable and suffix not in (".npz", ".png"):
        raise ChainruleError("--per-variable needs --out FILE.npz for the numbers or FILE.png for the maps.")
    if suffix == ".png" and not per_variable:
        raise ChainruleError(f"{out}: a .png holds surprise maps; add --per-variable, or write .csv or .npz.")
    if per_variable and members > 1:
        raise ChainruleError("a mixture has no conditionals, so --per-variable does not go with --members.")


def _check_known(read: Examples, source: str) -> None:
    """Raise `ChainruleError` for a hole: what is not known has no likelihood."""
    if bool(read.holes.any()):
        where = read.holes.nonzero()[0].tolist()
        raise ChainruleError(
            f"{source}: value nan at index {where}; expected finite numbers: clean or drop such rows, or "
            "fill them in with `chainrule fill`."
        )


def _score(model: Any, values: Tensor, context: Any, per_variable: bool, names: tuple[str, ...]) -> _Scores:
    import torch

    totals, maps = [], []
    with counting("scoring") as on_progress, torch.no_grad():
        for rows in torch.split(torch.arange(len(values)), _BATCH):
            own = None if context is None else context[rows]
            if per_variable:
                each = model.log_prob_per_variable(values[rows], own)
                maps.append(each)
                totals.append(each.double().flatten(1).sum(1))
            else:
                totals.append(model.log_prob(values[rows], own).double())
            on_progress(int(rows[-1]) + 1, len(values))
    return _Scores(torch.cat(totals).numpy(), torch.cat(maps).numpy() if maps else None, names)


def _rows(scores: _Scores, per_dim: float) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            **({"file": scores.names[index]} if scores.names else {}),
            "log_prob": float(value),
            "bits_per_dim": float(-value / per_dim),
        }
        for index, value in enumerate(scores.log_prob)
    ]


def _csv(scores: _Scores, per_dim: float) -> str:
    buffer = io.StringIO()
    rows = _rows(scores, per_dim)
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        numbers = {key: f"{row[key]:.6f}" for key in ("log_prob", "bits_per_dim")}
        writer.writerow({**row, **numbers})
    return buffer.getvalue()


def _draw_overlay(model: Any, read: Examples, context: Any, path: Path, title: str, overwrite: bool) -> None:
    """Some of the images under their surprise."""
    from chainrule import report
    from chainrule.images import surprise_bits
    from chainrule.training.batches import spread_rows

    rows = spread_rows(len(read.values), _DRAWN)
    bits = surprise_bits(model, read.values[rows], None if context is None else context[rows])
    report.save_surprise_overlays(
        as_shown(model, read.values[rows]),
        bits,
        path,
        title=f"{title}: {len(rows)} of {len(read.values):,}",
        names=[_name(read.names, row) for row in rows.tolist()],
        columns=4,
        overwrite=overwrite,
    )


def _name(names: tuple[str, ...], row: int) -> str:
    return names[row] if names else f"example {row}"


def _write(
    model: Any, scores: _Scores, per_dim: float, values: Tensor, out: Path, title: str, overwrite: bool
) -> None:
    import numpy as np

    from chainrule import report

    suffix = out.suffix.lower()
    if suffix == ".csv":
        report.write_file(out, _csv(scores, per_dim).encode(), overwrite=overwrite)
    elif suffix == ".png":
        from chainrule.training.batches import spread_rows

        rows = spread_rows(len(values), _DRAWN)
        assert scores.per_variable is not None  # a .png is taken with --per-variable
        report.save_surprise_maps(
            as_shown(model, values[rows]).mean(1),
            scores.per_variable[rows.numpy()].sum(1),
            out,
            title=f"{title}: {len(rows)} of {len(values):,}",
            names=[_name(scores.names, row) for row in rows.tolist()],
            overwrite=overwrite,
        )
    else:
        arrays: dict[str, Any] = {"index": np.arange(len(values)), "log_prob": scores.log_prob}
        arrays["bits_per_dim"] = -scores.log_prob / per_dim
        if scores.names:
            arrays["files"] = np.array(scores.names)  # an argument of `savez` is called file
        if scores.per_variable is not None:
            arrays["log_prob_per_variable"] = scores.per_variable
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        report.write_file(out, buffer.getvalue(), overwrite=overwrite)
