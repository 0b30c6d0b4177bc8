"""What the commands that make images share: where results go, and how they are written."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel

__all__ = [
    "OutOption",
    "ParticlesOption",
    "SeedOption",
    "check_out",
    "open_images",
    "size_of",
    "write_images",
]

_SUFFIXES = (".png", ".npy")

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help=".png to look at, .npy the values.", show_default=False),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="The same seed draws the same again; random if not given.",
        min=0,
        max=2**63 - 1,
        show_default=False,
    ),
]
ParticlesOption = Annotated[
    int,
    typer.Option("--particles", metavar="P", help="Particles for each image; more are better.", min=1),
]


def check_out(out: Path | None, *, overwrite: bool, suffixes: tuple[str, ...] = _SUFFIXES) -> Path:
    """Where the result goes, checked before the work; `ChainruleError` for what cannot be written."""
    from chainrule.report import check_writable

    if out is None:
        raise ChainruleError("--out is missing: name the file to write, such as --out images.png.")
    if out.suffix.lower() not in suffixes:
        raise ChainruleError(f"{out}: images are written as {' or '.join(suffixes)}; choose one of these.")
    check_writable(out, overwrite=overwrite)
    return out


def open_images(run: str, out: Path | None = None) -> OpenedModel:
    """The model of a run of images, `(C, H, W)` or `(H, W)`; `ChainruleError` for any other.

    - `out`: where images of its kind are to go: a .png takes those of one or three channels alone.
    """
    from chainrule.cli.sources import open_model

    opened = open_model(run)
    shape = opened.model.event_shape
    if len(shape) not in (2, 3):
        raise ChainruleError(f"{run} holds a {opened.name} of examples of shape {shape}, no images.")
    is_picture = len(shape) == 2 or shape[0] in (1, 3)
    if out is not None and out.suffix.lower() == ".png" and not is_picture:
        raise ChainruleError(f"{out}: images of {shape[0]} channels cannot be shown; write .npy.")
    return opened


def size_of(text: str, option: str) -> tuple[int, int]:
    """`64x96` as (height, width); `ChainruleError` for anything else."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if match is None:
        raise ChainruleError(f"{option} {text}: expected height x width in pixels, such as {option} 64x96.")
    return int(match[1]), int(match[2])


def write_images(
    opened: OpenedModel,
    values: Tensor,
    out: Path,
    *,
    overwrite: bool,
    rows: Tensor | None = None,
    columns: int | None = None,
    caption: str = "",
    facts: dict[str, str] | None = None,
) -> None:
    """`values` into a .npy; into a .png `rows`, images in [0, 1] one behind the other, or the values."""
    import numpy as np

    from chainrule.cli.run_pictures import as_shown
    from chainrule.report import save_grid, write_file

    if out.suffix.lower() == ".png":
        shown = as_shown(opened.model, values) if rows is None else rows
        save_grid(shown, out, columns=columns, caption=caption, metadata=facts, overwrite=overwrite)
        return
    support = opened.model.conditional.support()
    array: Any = values.numpy()
    if support is not None and len(support) <= 256:
        array = array.astype(np.uint8)
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_file(out, buffer.getvalue(), overwrite=overwrite)
