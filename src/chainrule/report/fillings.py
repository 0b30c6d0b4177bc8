"""Filling in, before and after: the evidence with its hole in colour, the fillings, and the truth."""

from __future__ import annotations

import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import write_file
from chainrule.report.grid import as_images, picture_of

__all__ = ["HOLE", "as_array", "paint_holes", "save_fillings"]

#: The colour of a pixel that is not known.
HOLE = (255, 153, 51)


def save_fillings(
    evidence: Any,
    mask: Any,
    fillings: Any,
    path: str | PathLike[str],
    *,
    truth: Any = None,
    caption: str = "",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """One row for each image: what was known, every filling, and the truth where it is given.

    - `evidence`, `truth`: `(rows, H, W)` or `(rows, C, H, W)` with C 1 or 3, values in [0, 1]; the evidence
      is not read in its holes.
    - `mask`: true where a pixel is unknown, of the shape of the evidence or of one image.
    - `fillings`: `(rows, k, ...)`, k images for each row.
    - `metadata`: text kept in the PNG, such as the seed.

    Raises `ChainruleError` for shapes that do not fit, and for a file that is there already.
    """
    from PIL.PngImagePlugin import PngInfo

    known = as_array(evidence)
    holes = np.broadcast_to(as_array(mask).astype(bool), known.shape)
    filled = as_array(fillings)
    if filled.ndim != known.ndim + 1 or filled.shape[:1] + filled.shape[2:] != known.shape:
        raise ChainruleError(
            f"expected fillings of shape (rows, k, ...) for evidence {known.shape}, but got {filled.shape}."
        )
    columns = [paint_holes(as_images(np.where(holes, 0.0, known)), holes)]
    columns += [as_images(filled[:, k]) for k in range(filled.shape[1])]
    if truth is not None:
        columns.append(as_images(as_array(truth)))
    pixels = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    info = PngInfo()
    for key, value in (metadata or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    picture_of(pixels, len(columns), caption).save(buffer, format="PNG", pnginfo=info, optimize=True)
    return write_file(path, buffer.getvalue(), overwrite=overwrite)


def paint_holes(pixels: NDArray[np.uint8], holes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` with the pixels in colour of which a channel is unknown, in event layout."""
    unknown = holes if holes.ndim == 3 else holes.any(axis=1)
    return np.where(np.expand_dims(unknown, -1), np.array(HOLE, np.uint8), pixels)


def as_array(values: Any) -> NDArray[Any]:
    """A tensor on any device, or whatever NumPy reads, as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
