"""`--mask`: which variables are to be filled in, by a name, or by a .npy, .npz or .png file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MASK_NAMES", "check_holes", "read_mask"]

#: Masks of images that need no file; `random:P` hides each pixel with probability P.
MASK_NAMES = (
    *("lower-half", "upper-half", "left-half", "right-half", "centre", "random:0.5"),
    *("bottom", "top", "left", "right"),
)
_SAME = {"bottom": "lower-half", "top": "upper-half", "left": "left-half", "right": "right-half"}
_SAME |= {"center": "centre"}
#: So that a random mask and the fillings under one seed are not made of the same numbers.
_MASK_STREAM = 0x6D61736B


def read_mask(spec: str, event_shape: tuple[int, ...], count: int, seed: int) -> Tensor:
    """The holes of all examples, bool, `(count, *event_shape)` or `(1, *event_shape)`.

    - `seed`: of `random:P`, which draws another mask for each example.

    A mask of an image may leave out the channels, and a mask for all examples the dimension for them. Raises
    `ChainruleError` for a mask of another shape or number, and for values that are not 0 and 1 (or 255).
    """
    name = _SAME.get(spec, spec)
    if name.startswith("random:"):
        return _random(name, event_shape, count, seed)
    if name in MASK_NAMES:
        return _named(name, event_shape)
    if "." not in spec and "/" not in spec and not Path(spec).exists():
        raise ChainruleError(f"{unknown_name('mask', spec, MASK_NAMES)}, or a .npy, .npz or .png file")
    return _from_file(spec, event_shape, count)


def check_holes(holes: Tensor, source: str, mask: str | None) -> None:
    """Raise `ChainruleError` where there is nothing to fill in, or nothing known to fill it in from."""
    what = source if mask is None else f"--mask {mask}"
    if not bool(holes.any()):
        raise ChainruleError(
            f"{what} hides nothing, so there is nothing to fill in; a mask is 1 or white where something is "
            "to be filled in."
        )
    if bool(holes.all()):
        raise ChainruleError(
            f"{what} hides everything, so nothing is known to fill in from; draw whole examples with "
            "`chainrule sample`, or check that the mask is 0 or black where values are known."
        )


def _from_file(spec: str, event_shape: tuple[int, ...], count: int) -> Tensor:
    import numpy as np

    from chainrule.data.formats import read_raw
    from chainrule.data.readers import as_examples

    raw = read_raw(spec)
    if not (np.isin(raw.values, (0, 1)).all() or np.isin(raw.values, (0, 255)).all()):
        odd = raw.values[~np.isin(raw.values, (0, 1, 255))].ravel()
        raise ChainruleError(
            f"{spec} holds {odd[0] if odd.size else '1 and 255'}; a mask is 1 (or white, 255) where "
            "something is to be filled in, and 0 elsewhere."
        )
    if len(event_shape) == 3 and event_shape[0] != 3 and raw.values.ndim == 4 and raw.values.shape[1] == 3:
        grey = raw.values[:, 0]  # black and white, saved by a painting program as colour
        if (raw.values == grey[:, None]).all():
            raw = replace(raw, values=grey)
    shape, wanted = raw.values.shape, event_shape
    if shape in (event_shape, event_shape[1:]) and raw.values.ndim < 4:
        place = raw.place
        raw = replace(raw, values=raw.values[None], place=lambda index: place(index[1:]))
    if len(event_shape) == 3 and raw.values.shape[1:] in (event_shape[1:], (1, *event_shape[1:])):
        wanted = (1, *event_shape[1:])  # of pixels, which hides all their channels
    try:
        masks = as_examples(raw, spec, event_shape=wanted, levels=2, threshold=None).bool()
    except ChainruleError:
        raise ChainruleError(
            f"{spec} is a mask of shape {shape}, but an example has shape {event_shape}; expected "
            f"{' or '.join(map(str, dict.fromkeys([event_shape[-2:], event_shape])))}, or one mask for each "
            "example."
        ) from None
    if len(masks) not in (1, count):
        raise ChainruleError(
            f"{spec} holds {len(masks)} masks for {count} examples; expected one for all, or one for each."
        )
    return masks.expand(len(masks), *event_shape)


def _named(name: str, event_shape: tuple[int, ...]) -> Tensor:
    import torch

    height, width = _size(name, event_shape)
    rows, columns = slice(None), slice(None)
    if name == "centre":
        rows, columns = (slice(side // 4, side - side // 4) for side in (height, width))
    elif name in ("upper-half", "lower-half"):
        rows = slice(height // 2) if name == "upper-half" else slice(height // 2, None)
    else:
        columns = slice(width // 2) if name == "left-half" else slice(width // 2, None)
    holes = torch.zeros(1, *event_shape, dtype=torch.bool)
    holes[:, :, rows, columns] = True
    return holes


def _random(name: str, event_shape: tuple[int, ...], count: int, seed: int) -> Tensor:
    import torch

    text = name.partition(":")[2]
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ChainruleError(
            f"--mask {name}: expected random:P with P, the share of the pixels to hide, between 0 and 1, "
            "such as random:0.5."
        )
    generator = torch.Generator().manual_seed((seed ^ _MASK_STREAM) % 2**63)
    # The channels of a pixel are hidden together.
    shape = (1, *event_shape[1:]) if len(event_shape) == 3 else event_shape
    return (torch.rand(count, *shape, generator=generator) < share).expand(count, *event_shape)


def _size(name: str, event_shape: tuple[int, ...]) -> tuple[int, int]:
    if len(event_shape) != 3:
        raise ChainruleError(f"--mask {name} is for images, but an example has shape {event_shape}.")
    return event_shape[1], event_shape[2]
