"""`read`: a file or folder of the user's own as a uint8 tensor, or one clear line saying why not."""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.data.formats import read_raw
from chainrule.data.pictures import Form
from chainrule.data.raw import RawData
from chainrule.errors import ChainruleError

#: A value that only 8-bit levels reach.
_GREY = 17

__all__ = ["as_examples", "image_form", "levels_of", "read"]


def read(
    path: str | PathLike[str],
    *,
    event_shape: tuple[int, ...] | None = None,
    levels: int = 2,
    threshold: float | None = None,
    skip_bad: bool = False,
) -> Tensor:
    """Read examples from a file: uint8 of shape (N, *event_shape), values 0 ... levels - 1.

    - `path`: idx (`*-ubyte`, gzipped or not), `.npy`, `.npz` (its only array, the one that is named as images
      beside labels, or `FILE.npz:NAME`; bits packed with an `n_vars` member are unpacked), a grey or colour
      `.png`, a folder of PNGs of one kind and size in natural order (`img2` before `img10`; subfolders are
      classes), or a text table (`.csv`, `.data`, `.amat`; header optional);
    - `event_shape`: what one example must be; inferred when None: (N, H, W) gives (1, H, W), (N, D) gives
      (D,), (N, C, H, W) is kept, and channels that come last, (N, H, W, 3), are put first. Rows of as many
      variables are reshaped in raster order;
    - `levels`: 2 to 256. With 2, data that holds nothing but 0 and 255 is read as 0 and 1;
    - `threshold`: make binary data of grey levels, 1 where the value is greater than this;
    - `skip_bad`: leave out PNGs of a folder that are damaged or of another kind or size, with a warning.

    Raises `ChainruleError`, one line that names the file and the place, for files that cannot be read and
    for values outside the levels.
    """
    raw = read_raw(fspath(path), form=image_form(event_shape), skip_bad=skip_bad)
    return as_examples(raw, str(path), event_shape=event_shape, levels=levels, threshold=threshold)


def image_form(event_shape: tuple[int, ...] | None) -> Form | None:
    """What a PNG must be to be an example of this shape; None where that does not follow from the shape."""
    if event_shape is None or len(event_shape) != 3 or event_shape[0] not in (1, 3):
        return None
    channels, height, width = event_shape
    return channels, height, width


def levels_of(raw: RawData) -> int:
    """The levels that nobody had to say: 256 for images of grey or colour levels, else 2.

    Images of nothing but 0 and 255 are black and white. A stray 2 among 0 and 1 is no reason to think of grey
    levels, and whether whole numbers in the columns of a table are levels is for their owner to say.
    """
    values = raw.values
    if values.ndim < 3 or values.dtype.kind not in "biuf":
        return 2
    return 256 if values.max(initial=0) >= _GREY and not np.isin(values, (0, 255)).all() else 2


def as_examples(
    raw: RawData,
    label: str,
    *,
    event_shape: tuple[int, ...] | None,
    levels: int,
    threshold: float | None,
) -> Tensor:
    """Check the raw values and shape of what was read from `label`; see `read`."""
    if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= 256:
        raise ChainruleError(f"levels={levels!r}; expected a whole number from 2 to 256")
    if threshold is not None and not math.isfinite(threshold):
        raise ChainruleError(f"threshold={threshold} is no finite number; expected a grey level, such as 127")
    if threshold is not None and levels != 2:
        raise ChainruleError(
            f"threshold={threshold:g} makes binary data, but {levels} levels are expected; leave one out"
        )
    shape = _example_shape(raw.values.shape, event_shape, label)
    values = _checked_levels(raw, label, levels, threshold)
    if _channels_last(values.shape):
        values = values.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.array(values, dtype=np.uint8, order="C")).reshape(len(values), *shape)


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an array can only be images with channels last, (N, H, W, C)."""
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def _example_shape(found: tuple[int, ...], wanted: tuple[int, ...] | None, label: str) -> tuple[int, ...]:
    if len(found) not in (2, 3, 4):
        what = "a single number" if not found else f"an array of shape {found}"
        raise ChainruleError(
            f"{label} holds {what}; expected (N, D) for tables, (N, H, W) or (N, C, H, W) for images"
        )
    if found[0] == 0 or math.prod(found) == 0:
        raise ChainruleError(f"{label} holds no examples: its shape is {found}")
    if len(found) == 4 and found[3] in (2, 4) and found[1] not in (1, 3):
        raise ChainruleError(
            f"{label} has shape {found}, images with a transparency channel; leave that out: array[..., :-1]"
        )
    natural = (1, *found[1:]) if len(found) == 3 else found[1:]
    if _channels_last(found):
        natural = (found[3], found[1], found[2])
    if wanted is None:
        return natural
    flat_on_one_side = len(natural) == 1 or len(wanted) == 1
    if natural != wanted and not (flat_on_one_side and math.prod(natural) == math.prod(wanted)):
        raise ChainruleError(
            f"{label}: one example has shape {natural} ({math.prod(natural)} variables); expected "
            f"{tuple(wanted)} ({math.prod(wanted)} variables)"
        )
    return tuple(wanted)


def _checked_levels(raw: RawData, label: str, levels: int, threshold: float | None) -> NDArray[Any]:
    values = raw.values
    if values.dtype.kind not in "biuf":
        raise ChainruleError(f"{label} holds values of type {values.dtype}; expected whole numbers")
    if values.dtype.kind == "f":
        _refuse_first(raw, label, ~np.isfinite(values), "expected finite numbers: clean or drop such rows")
    if threshold is not None:
        above: NDArray[np.bool_] = values > threshold
        return above
    advice = _advice(levels)
    if values.dtype.kind == "f":
        within = " or, for intensities from 0 to 1, multiply them by 255" if _are_intensities(values) else ""
        _refuse_first(raw, label, values != np.floor(values), f"{advice}{within}")
    if levels == 2 and values.max() == 255:
        if np.isin(values, (0, 255)).all():
            inked: NDArray[np.bool_] = values == 255
            return inked
        # In a nearly black-and-white image the grey value is the one to know about, not the first white.
        _refuse_first(raw, label, ~np.isin(values, (0, 1, 255)), advice)
    _refuse_first(raw, label, (values < 0) | (values >= levels), advice)
    return values


def _are_intensities(values: NDArray[Any]) -> bool:
    return values.ndim > 2 and bool(((values >= 0) & (values <= 1)).all())


def _advice(levels: int) -> str:
    if levels > 2:
        return f"expected whole numbers from 0 to {levels - 1}"
    return (
        "expected 0 or 1 (or 0 and 255 alone). Make grey levels binary with --threshold 127 (threshold=127), "
        "or, to train, draw them anew at each use with --dynamic (dynamic=True), or say how many levels "
        "there are with --levels (levels=)"
    )


def _refuse_first(raw: RawData, label: str, bad: NDArray[np.bool_], advice: str) -> None:
    if not bad.any():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    raise ChainruleError(f"{label}: value {raw.values[index]} at {raw.place(index)}; {advice}")
