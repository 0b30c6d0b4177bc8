"""`chainrule score`: the log-likelihood of every example of a file."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.names import SPLITS, complete_dataset
from chainrule.cli.options import AsJson, Overwrite, RunArgument, add_command
from chainrule.cli.output import counting, print_json, say, show
from chainrule.cli.run_pictures import is_image
from chainrule.cli.sources import OpenedModel, context_for, open_model
from chainrule.cli.table_runs import is_table_run, refuse_options
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from chainrule.likelihood import LikelihoodModel

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
        "chainrule score runs/table rows.csv --per-variable --out scores.csv",
    )


def score(
    run: RunArgument,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A file or folder (.npy, .npz, .csv, .png, a folder of PNGs, idx), or a data set's name.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help=".csv or .npz; CSV on stdout without it.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="For a data set's name: which split; test if not said.",
            autocompletion=lambda: list(SPLITS),
            show_default=False,
        ),
    ] = None,
    per_variable: Annotated[
        bool,
        typer.Option("--per-variable", help="Also log p of every variable (.npz), or surprise maps (.png)."),
    ] = False,
    context: Annotated[
        str | None,
        typer.Option("--context", help="A class label, or numbers with commas between.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Make grey levels binary: 1 above this.", show_default=False),
    ] = None,
    members: Annotated[
        int, typer.Option("--members", metavar="K", help="Score with the mixture of K masks or orderings.")
    ] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """The exact log p(x) of each example in nats, and bits/dim: index, log_prob, bits_per_dim.

    The rows of a table stream through in constant memory; --per-variable then adds the surprise of every
    column, -log p(column given those before it). `chainrule detect` says which rows are odd.
    """
    from chainrule.report import check_writable

    if is_table_run(run):
        from chainrule.cli.table_jobs import score_table

        refuse_options(
            "scores",
            {
                "--context": context,
                "--threshold": threshold,
                "--members": members if members != 1 else None,
            },
        )
        score_table(run, source, out, split, per_variable, overwrite, as_json)
        return
    _check_outputs(out, per_variable, members)
    if out is not None:
        check_writable(out, overwrite=overwrite)
    opened = open_model(run)
    model = opened.mixture(members)
    if per_variable and not hasattr(model, "log_prob_per_variable"):
        raise ChainruleError(
            f"{run}: a mixture has no conditionals; leave --per-variable out, or score one of its members."
        )
    if out is not None and out.suffix.lower() == ".png" and not is_image(model):
        raise ChainruleError(f"{out}: examples of shape {model.event_shape} are no pictures; write an .npz.")
    values, context_values = _read_input(opened, source, split, threshold, context)
    scores = _score(model, values, context_values, per_variable)
    per_dim = model.num_variables * math.log(2)
    if out is not None:
        _write(scores, per_dim, values, out, f"{opened.name} on {source}", overwrite)
    summary = {
        "run": run,
        "model": opened.name,
        "input": source,
        "examples": len(scores.log_prob),
        "mean_log_prob": float(scores.log_prob.mean()),
        "mean_bits_per_dim": float(-scores.log_prob.mean() / per_dim),
        "out": None if out is None else str(out),
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


def _read_input(
    opened: OpenedModel, source: str, split: str | None, threshold: float | None, context: str | None
) -> tuple[Tensor, Any]:
    """Examples as the model takes them, and one context for each (or None)."""
    from chainrule import data

    model = opened.model
    if source in data.CATALOGUE:
        if threshold is not None:
            raise ChainruleError(f"data set {source!r} takes no --threshold; write ./{source} for a file.")
        split = split or "test"
        dataset = data.load(source)
        values = dataset.evaluation_split(split)
        if model.context_size and context is None and dataset.labels:
            return values, dataset.labels[split]
        given = context_for(model, context)
    else:
        if split is not None:
            raise ChainruleError(
                f"--split {split} is for the name of a data set, but {source} is none; leave it out to score "
                "all of a file."
            )
        given = context_for(model, context)
        values = _read_file(source, model, threshold)
    return values, given if given is None else given.expand(len(values), *given.shape)


def _read_file(source: str, model: LikelihoodModel, threshold: float | None) -> Tensor:
    from chainrule import data

    if not (Path(source).exists() or "." in source or "/" in source):
        raise ChainruleError(
            f"{unknown_name('data set', source, data.CATALOGUE)} (and there is no such file)"
        )
    support = model.conditional.support()
    levels = 256 if support is None else len(support)
    return data.read(source, event_shape=model.event_shape, levels=levels, threshold=threshold)


def _score(model: Any, values: Tensor, context: Any, per_variable: bool) -> _Scores:
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
    return _Scores(torch.cat(totals).numpy(), torch.cat(maps).numpy() if maps else None)


def _rows(scores: _Scores, per_dim: float) -> list[dict[str, float]]:
    return [
        {"index": index, "log_prob": float(value), "bits_per_dim": float(-value / per_dim)}
        for index, value in enumerate(scores.log_prob)
    ]


def _csv(scores: _Scores, per_dim: float) -> str:
    lines = [f"{r['index']},{r['log_prob']:.6f},{r['bits_per_dim']:.6f}\n" for r in _rows(scores, per_dim)]
    return "index,log_prob,bits_per_dim\n" + "".join(lines)


def _write(scores: _Scores, per_dim: float, values: Tensor, out: Path, title: str, overwrite: bool) -> None:
    import numpy as np

    from chainrule import report

    suffix = out.suffix.lower()
    if suffix == ".csv":
        report.write_file(out, _csv(scores, per_dim).encode(), overwrite=overwrite)
    elif suffix == ".png":
        from chainrule.training.batches import spread_rows

        rows = spread_rows(len(values), _DRAWN)
        report.save_surprise_maps(
            values[rows],
            scores.per_variable[rows.numpy()],  # type: ignore[index]  # a .png is taken with --per-variable
            out,
            title=f"{title}: {len(rows)} of {len(values):,}",
            names=[f"example {row}" for row in rows.tolist()],
            overwrite=overwrite,
        )
    else:
        arrays: dict[str, Any] = {"index": np.arange(len(values)), "log_prob": scores.log_prob}
        arrays["bits_per_dim"] = -scores.log_prob / per_dim
        if scores.per_variable is not None:
            arrays["log_prob_per_variable"] = scores.per_variable
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        report.write_file(out, buffer.getvalue(), overwrite=overwrite)
