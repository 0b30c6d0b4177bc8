"""A grid of small images as one PNG, every pixel an honest square."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, PAPER, write_file

__all__ = ["as_images", "most_images", "picture_of", "save_grid"]

_CELL = 56  # pixels that an image should be wide and high, at least
_MOST_PIXELS = 60_000_000  # of one picture: beyond that, viewers refuse it or need gigabytes
_GAP = 4
_LINE = (203, 208, 216)


def save_grid(
    images: Any,
    path: str | PathLike[str],
    *,
    columns: int | None = None,
    caption: str = "",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Save images side by side, row by row, enlarged without smoothing to a legible size.

    - `images`: `(N, H, W)`, `(N, 1, H, W)` or `(N, 3, H, W)`, values in [0, 1]; 1 is white.
    - `columns`: images in a row; about the square root of N when None.
    - `caption`: a line below the grid; `metadata`: text kept in the PNG, such as the seed.

    Raises `ChainruleError` for other shapes or values, for more than `most_images`, and for a file that is
    there already.
    """
    from PIL.PngImagePlugin import PngInfo

    pixels = as_images(images)
    picture = picture_of(pixels, columns or math.ceil(math.sqrt(len(pixels))), caption)
    info = PngInfo()
    for key, value in (metadata or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=info, optimize=True)
    return write_file(path, buffer.getvalue(), overwrite=overwrite)


def picture_of(pixels: NDArray[np.uint8], columns: int, caption: str = "") -> Any:
    """Images `(N, H, W, 3)` side by side as one `PIL.Image`; `ChainruleError` for more than `most_images`."""
    from PIL import Image

    height, width = pixels.shape[1:3]
    if len(pixels) > most_images(height, width):
        raise ChainruleError(
            f"{len(pixels):,} images are too many for one picture: at most {most_images(height, width):,} of "
            f"{height} x {width}."
        )
    picture = Image.fromarray(_mosaic(pixels, columns, _scale(height, width)))
    return _with_caption(picture, caption) if caption else picture


def most_images(height: int, width: int) -> int:
    """How many images of this size one picture takes; it would be too large to open with more."""
    scale = _scale(height, width)
    return max(1, _MOST_PIXELS // ((scale * height + _GAP) * (scale * width + _GAP)))


def _scale(height: int, width: int) -> int:
    """How many times images of this size are enlarged, to be legible."""
    return max(1, math.ceil(_CELL / max(height, width)))


def as_images(images: Any) -> NDArray[np.uint8]:
    """Images as bytes, `(N, H, W, 3)`; `ChainruleError` for what is no batch of images in [0, 1]."""
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.size == 0:
        raise ChainruleError(
            f"expected images of shape (N, H, W), (N, 1, H, W) or (N, 3, H, W), but got {array.shape}."
        )
    array = array.astype(np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise ChainruleError("images must have values in [0, 1]; scale them, and leave no NaN.")
    colours = np.repeat(array, 3, axis=1) if array.shape[1] == 1 else array
    return np.round(colours * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def _mosaic(pixels: NDArray[np.uint8], columns: int, scale: int) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` side by side, enlarged, with lines between them."""
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    big = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = big.shape[1:3]
    canvas = np.empty((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), np.uint8)
    canvas[:] = _LINE
    for index, image in enumerate(big):
        top = _GAP + index // columns * (height + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def _with_caption(picture: Any, caption: str) -> Any:
    """The picture on paper with a line of text below it, shrunk to fit if the line is long."""
    from PIL import Image, ImageDraw, ImageFont

    margin, size = 14, 18
    font = ImageFont.load_default(size)
    width = font.getbbox(caption)[2]
    while width > picture.width and size > 9:
        size -= 1
        font = ImageFont.load_default(size)
        width = font.getbbox(caption)[2]
    paper_width = max(picture.width, math.ceil(width)) + 2 * margin
    paper = Image.new("RGB", (paper_width, picture.height + 3 * margin + size), PAPER)
    paper.paste(picture, ((paper_width - picture.width) // 2, margin))
    position = (paper_width / 2, picture.height + 2 * margin + size / 2)
    ImageDraw.Draw(paper).text(position, caption, fill=INK, font=font, anchor="mm")
    return paper
