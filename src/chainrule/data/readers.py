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
from chainrule.data.raw import RawData
from chainrule.errors import ChainruleError

__all__ = ["as_examples", "read"]


def read(
    path: str | PathLike[str],
    *,
    event_shape: tuple[int, ...] | None = None,
    levels: int = 2,
    threshold: float | None = None,
) -> Tensor:
    """Read examples from a file: uint8 of shape (N, *event_shape), values 0 ... levels - 1.

    - `path`: idx (`*-ubyte`, gzipped or not), `.npy`, `.npz` (its only array, or `FILE.npz:NAME`; bits packed
      with an `n_vars` member are unpacked), a grey `.png`, a folder of grey PNGs of one size in natural order
      (`img2` before `img10`), or a text table (`.csv`, `.data`, `.amat`; header optional);
    - `event_shape`: what one example must be; inferred when None: (N, H, W) gives (1, H, W), (N, D) gives
      (D,), and (N, C, H, W) is kept. Rows of as many variables are reshaped in raster order;
    - `levels`: 2 to 256. With 2, data that holds nothing but 0 and 255 is read as 0 and 1;
    - `threshold`: make binary data of grey levels, 1 where the value is greater than this.

    Raises `ChainruleError`, one line that names the file and the place, for files that cannot be read and
    for values outside the levels.
    """
    return as_examples(
        read_raw(fspath(path)), str(path), event_shape=event_shape, levels=levels, threshold=threshold
    )


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
    return torch.from_numpy(np.array(values, dtype=np.uint8, order="C")).reshape(len(values), *shape)


def _example_shape(found: tuple[int, ...], wanted: tuple[int, ...] | None, label: str) -> tuple[int, ...]:
    if len(found) not in (2, 3, 4):
        what = "a single number" if not found else f"an array of shape {found}"
        raise ChainruleError(
            f"{label} holds {what}; expected (N, D) for tables, (N, H, W) or (N, C, H, W) for images"
        )
    if found[0] == 0 or math.prod(found) == 0:
        raise ChainruleError(f"{label} holds no examples: its shape is {found}")
    if len(found) == 4 and found[3] in (1, 3) and found[1] not in (1, 3):
        raise ChainruleError(
            f"{label} has shape {found}, channels last; expected channels first, (N, C, H, W): "
            "use array.transpose(0, 3, 1, 2)"
        )
    natural = (1, *found[1:]) if len(found) == 3 else found[1:]
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
        _refuse_first(raw, label, values != np.floor(values), advice)
    if levels == 2 and values.max() == 255:
        if np.isin(values, (0, 255)).all():
            inked: NDArray[np.bool_] = values == 255
            return inked
        # In a nearly black-and-white image the grey value is the one to know about, not the first white.
        _refuse_first(raw, label, ~np.isin(values, (0, 1, 255)), advice)
    _refuse_first(raw, label, (values < 0) | (values >= levels), advice)
    return values


def _advice(levels: int) -> str:
    if levels > 2:
        return f"expected whole numbers from 0 to {levels - 1}"
    return (
        "expected 0 or 1 (or 0 and 255 alone). Make grey levels binary with --threshold 127 (threshold=127), "
        "or, to train, draw them anew at each use with --dynamic (dynamic=True)"
    )


def _refuse_first(raw: RawData, label: str, bad: NDArray[np.bool_], advice: str) -> None:
    if not bad.any():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    raise ChainruleError(f"{label}: value {raw.values[index]} at {raw.place(index)}; {advice}")
