"""`chainrule purify`: images moved to the most usual ones within reach, and what that did to them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.contexts import context_for
from chainrule.cli.detect_images import read_images
from chainrule.cli.image_output import open_images
from chainrule.cli.names import DATASETS
from chainrule.cli.options import (
    AsJson,
    ContextOption,
    InputArgument,
    Overwrite,
    Quiet,
    RunArgument,
    SkipBad,
    SplitOption,
    ThresholdOption,
    add_command,
)
from chainrule.cli.output import counting, print_facts, print_json
from chainrule.cli.victims import VictimRun, open_victim
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chainrule.cli.sources import OpenedModel
    from chainrule.likelihood import LikelihoodModel
    from chainrule.security import Victim

__all__ = ["register"]

_SUFFIXES = (".npy", ".npz", ".png")
_METHODS = ("greedy", "gradient")
_DRAWN = 8


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        purify,
        "chainrule purify runs/density attacked.npz --eps 16 --out purified.npz",
        "chainrule purify runs/density attacked.npz --eps 16 --adaptive --out purified.png",
        "chainrule purify runs/density attacked.npz --eps 32 --bits 3 --out purified.npy --json",
        "chainrule purify runs/density attacked.npz --eps 16 --victim runs/victim --out purified.npz",
    )


def purify(
    run: RunArgument,
    source: InputArgument,
    eps: Annotated[
        int | None,
        typer.Option(
            "--eps",
            metavar="E",
            help="How many levels a pixel may move; published: 16 on CIFAR-10, 32 on Fashion-MNIST.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".npy; .npz with the originals and their labels; .png before and after.",
            show_default=False,
        ),
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive", help="Leave usual images as they are; the run needs a guard (`detect fit`)."
        ),
    ] = False,
    bits: Annotated[
        float | None,
        typer.Option(
            "--bits",
            metavar="B",
            help="Move only pixels that cost more than B bits; published: 3.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="greedy, as published, or gradient: the lecture's gradient ascent within the box.",
            autocompletion=lambda: list(_METHODS),
        ),
    ] = "greedy",
    victim: Annotated[
        str | None,
        typer.Option(
            "--victim",
            metavar="RUN",
            help="Also say how a classifier (a run, or FILE.py:NAME of your own) reads them before and "
            "after; labels are those of the data, or of the .npz.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only N images, spread evenly.", show_default=False),
    ] = None,
    context: ContextOption = None,
    threshold: ThresholdOption = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Purify images: each pixel becomes the most probable value within --eps, given those before it.

    Takes about one pass of the model over the images. It often restores what an attack broke, certifies
    nothing, and does not withstand an attacker who knows of it.
    """
    from chainrule.report import check_writable

    if eps is None or eps < 0:
        given = "is missing" if eps is None else f"{eps} is negative"
        raise ChainruleError(f"--eps {given}: say how many levels a pixel may move, such as --eps 16.")
    if out is None or out.suffix.lower() not in _SUFFIXES:
        given = "--out is missing" if out is None else str(out)
        raise ChainruleError(f"{given}: purified images are written as {', '.join(_SUFFIXES)}.")
    if method not in _METHODS or (method == "gradient" and (adaptive or bits is not None)):
        what = f"--method {method}" if method not in _METHODS else "--adaptive and --bits with it"
        raise ChainruleError(f"{what}: choose greedy, or gradient without --adaptive and --bits.")
    check_writable(out, overwrite=overwrite)
    opened = open_images(run)
    images = read_images(
        opened, source, split=split or "test", limit=limit, threshold=threshold, skip_bad=skip_bad
    )
    given = context_for(opened.model, context, opened.label_names)
    of_rows = None if given is None else given.expand(len(images.values), *given.shape)
    least = _least_log_prob(run) if adaptive else None
    labels = _labels(opened, source, split or "test", limit, len(images.values))
    reader = None if victim is None else _classifier(victim, opened.model, images.values)
    purified = _purified(opened.model, images.values, eps, of_rows, least, bits, method, quiet)
    content = {
        "run": run,
        "input": images.source,
        "images": len(purified),
        "eps": eps,
        "method": method,
        **_what_it_did(opened.model, images.values, purified, of_rows),
        "classification": None
        if reader is None
        else {"victim": victim, **_as_read(reader, images.values, purified, labels)},
        "out": str(out),
    }
    _write(opened.model, images.values, purified, labels, out, f"{opened.name}, eps {eps}", overwrite)
    print_json(content) if as_json else _show(content)


def _least_log_prob(run: str) -> float:
    from chainrule.security.guard import PixelDefend

    return PixelDefend.load(run).least_log_prob


def _purified(
    model: LikelihoodModel,
    images: Any,
    eps: int,
    context: Any,
    least: float | None,
    bits: float | None,
    method: str,
    quiet: bool,
) -> Any:
    from chainrule.security.ascent import purify_by_gradient
    from chainrule.security.purification import purify as purify_greedily

    if method == "gradient":
        return purify_by_gradient(model, images, eps, context=context)
    with counting("purifying", enabled=not quiet) as on_progress:
        return purify_greedily(
            model, images, eps, context=context, least_log_prob=least, bits=bits, on_batch=on_progress
        )


def _what_it_did(model: LikelihoodModel, before: Any, after: Any, context: Any) -> dict[str, float]:
    import torch

    rows = torch.split(torch.arange(len(before)), 100)

    def mean(images: Any) -> float:
        with torch.no_grad():
            parts = [
                model.log_prob(images[at], None if context is None else context[at]).double() for at in rows
            ]
        return float(torch.cat(parts).mean())

    moved = after != before
    return {
        "mean_log_prob_before": mean(before),
        "mean_log_prob_after": mean(after),
        "images_changed": int(moved.flatten(1).any(1).sum()),
        "share_of_pixels_changed": float(moved.double().mean()),
    }


def _labels(
    opened: OpenedModel, source: str, split: str, limit: int | None, count: int
) -> NDArray[Any] | None:
    """The right labels of the images that were taken, of a data set or of an .npz as `attack` writes it."""
    import numpy as np

    from chainrule.training.batches import spread_rows

    if source in DATASETS:
        found = opened.data(source).load().labels.get(split)
        labels = None if found is None else found.numpy()
    elif Path(source).suffix.lower() == ".npz" and Path(source).is_file():
        with np.load(source) as arrays:
            labels = arrays.get("labels")
    else:
        labels = None
    if labels is not None and limit is not None and limit < len(labels):
        labels = labels[spread_rows(len(labels), limit).numpy()]
    return None if labels is None or len(labels) != count else labels


def _classifier(run: str, model: LikelihoodModel, images: Any) -> Victim:
    """The classifier, if it reads images like these."""
    from chainrule.inputs import check_shape
    from chainrule.security.attack_victims import as_victim
    from chainrule.security.passes import checked_levels

    opened = open_victim(run)
    victim = as_victim(opened.model, images.float())
    check_shape(images, victim.event_shape)
    if isinstance(opened, VictimRun):
        opened.model.check_levels(checked_levels(model), "the input")
    return victim


def _as_read(
    classifier: Victim, before: Any, after: Any, labels: NDArray[Any] | None
) -> dict[str, float | None]:
    """How often the images are read rightly before and after, and how often otherwise than before."""
    import torch

    from chainrule.contrasts.accuracy import logits_of

    first, second = (logits_of(classifier, images).argmax(1) for images in (before, after))
    changed = float((first != second).double().mean())
    if labels is None:
        return {"accuracy_before": None, "accuracy_after": None, "labels_changed": changed}
    right = torch.as_tensor(labels)
    rates = {
        name: float((read == right).double().mean())
        for name, read in (("accuracy_before", first), ("accuracy_after", second))
    }
    return {**rates, "labels_changed": changed}


def _write(
    model: LikelihoodModel,
    before: Any,
    after: Any,
    labels: NDArray[Any] | None,
    out: Path,
    title: str,
    overwrite: bool,
) -> None:
    import numpy as np

    from chainrule.report import write_file

    if out.suffix.lower() == ".png":
        _draw(model, before, after, out, title, overwrite)
        return
    arrays: list[NDArray[Any]] = [images.numpy().astype(np.uint8) for images in (after, before)]
    buffer = io.BytesIO()
    if out.suffix.lower() == ".npy":
        np.save(buffer, arrays[0])
    else:
        named: dict[str, Any] = {"images": arrays[0], "original": arrays[1]}
        if labels is not None:
            named["labels"] = labels
        np.savez_compressed(buffer, **named)
    write_file(out, buffer.getvalue(), overwrite=overwrite)


def _draw(model: LikelihoodModel, before: Any, after: Any, out: Path, title: str, overwrite: bool) -> None:
    """Some images before (above) and after (below)."""
    import torch

    from chainrule.cli.run_pictures import as_shown
    from chainrule.report import save_grid
    from chainrule.training.batches import spread_rows

    rows = spread_rows(len(before), _DRAWN)
    pictures = torch.as_tensor(as_shown(model, torch.cat([before[rows], after[rows]])))
    save_grid(pictures, out, columns=len(rows), caption=f"before and after: {title}", overwrite=overwrite)


def _show(content: dict[str, Any]) -> None:
    facts = [
        ("images", f"{content['images']:,} of {content['input']}"),
        ("purified", f"{content['method']}, eps {content['eps']}"),
        ("mean log p before", f"{content['mean_log_prob_before']:.2f} nats"),
        ("mean log p after", f"{content['mean_log_prob_after']:.2f} nats"),
        (
            "changed",
            f"{content['images_changed']:,} images, {content['share_of_pixels_changed']:.1%} of pixels",
        ),
    ]
    read = content["classification"]
    if read is not None and read["accuracy_before"] is None:
        facts.append(("read otherwise", f"{read['labels_changed']:.1%} by {read['victim']}; no labels known"))
    elif read is not None:
        facts.append(("right before", f"{read['accuracy_before']:.1%}, by {read['victim']}"))
        facts.append(("right after", f"{read['accuracy_after']:.1%}"))
    print_facts([*facts, ("file", content["out"])])
