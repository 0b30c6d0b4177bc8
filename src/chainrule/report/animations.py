"""An image being sampled, pixel by pixel, as an animated GIF or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arguments import real_number, whole_number
from chainrule.errors import ChainruleError
from chainrule.report.files import check_writable, write_file
from chainrule.report.fillings import as_array, paint_holes
from chainrule.report.grid import as_images, picture_of

__all__ = ["save_sampling_animation"]

_FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}


def save_sampling_animation(
    images: Any,
    path: str | PathLike[str],
    *,
    permutation: Sequence[int],
    frames: int = 49,
    seconds: float = 4.0,
    hold: float = 1.5,
    columns: int | None = None,
    caption: str = "",
    overwrite: bool = False,
) -> Path:
    """Finished samples shown as they came about: variable after variable, what is not yet drawn in colour.

    - `images`: `(N, H, W)`, `(N, 1, H, W)` or `(N, 3, H, W)`, values in [0, 1].
    - `path`: `.gif`, or `.png` or `.apng` for an animated PNG. A GIF has 256 colours; of more, the nearest
      ones are shown.
    - `permutation`: the variables in the order they were drawn, `model.ordering.permutation`.
    - `frames`: pictures, from the empty one to the finished one; `seconds`: for all of them; `hold`: how
      long the finished one stays. It is then played again.

    The same arguments give the same bytes. Raises `ChainruleError` for shapes that do not fit, another
    ending, and a file that is there already.
    """
    path = check_writable(path, overwrite=overwrite)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ChainruleError(f"an animation is written to .gif, .png or .apng, not to {path.name}.")
    values, order = as_array(images), np.asarray(permutation)
    pixels = as_images(values)
    size = math.prod(values.shape[1:])
    if sorted(order.tolist()) != list(range(size)):
        raise ChainruleError(
            f"the permutation must hold each of the {size} variables of an image once, as "
            "model.ordering.permutation does."
        )
    frames = whole_number("frames", frames, minimum=2)
    pause = real_number("seconds", seconds, above=0.0) / (frames - 1)
    wide = columns or math.ceil(math.sqrt(len(pixels)))
    drawn_at = np.empty(size, dtype=np.int64)
    drawn_at[order] = np.arange(size)
    pictures = []
    for count in np.linspace(0, size, frames).round().astype(int):
        holes = np.broadcast_to((drawn_at >= count).reshape(values.shape[1:]), values.shape)
        pictures.append(picture_of(paint_holes(pixels, holes), wide, caption))
    # GIF knows hundredths of a second, and viewers slow down what is faster than two of them.
    durations = [max(20, round(100 * pause) * 10)] * (frames - 1)
    durations.append(durations[0] + round(100 * real_number("hold", hold, minimum=0.0)) * 10)
    if kind == "GIF":
        pictures = _in_one_palette(pictures)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format=kind, save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
    return write_file(path, buffer.getvalue(), overwrite=overwrite)


def _in_one_palette(pictures: list[Any]) -> list[Any]:
    """All pictures in the 256 colours that suit the half-finished one: it has every kind of pixel."""
    from PIL import Image

    both = Image.new("RGB", (pictures[0].width, 2 * pictures[0].height))
    both.paste(pictures[-1], (0, 0))
    both.paste(pictures[len(pictures) // 2], (0, pictures[0].height))
    palette = both.quantize(256, dither=Image.Dither.NONE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
