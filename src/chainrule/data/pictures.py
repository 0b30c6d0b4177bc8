"""Grey PNG images: one file, or a folder of files of one size."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chainrule.data.raw import DAMAGE, RawData, damaged, require_content
from chainrule.errors import ChainruleError

__all__ = ["read_png_folder", "read_pngs"]

# Larger than any PNG of a data set; a small file can claim to be far larger than memory.
_MOST_PIXELS = 2**26


def read_png_folder(folder: Path) -> RawData:
    """The .png files directly in the folder, in natural order of their names: uint8 (N, H, W)."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and path.is_file()]
    except OSError as error:
        raise damaged(folder, "folder", error) from error
    paths = sorted(found, key=lambda path: _natural_order(path.name))
    if not paths:
        raise ChainruleError(
            f"the folder {folder} holds no .png file; expected grey PNG images directly in it"
        )
    return read_pngs(paths)


def _natural_order(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `img2` before `img10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)]


def read_pngs(paths: list[Path]) -> RawData:
    """Grey images of one size as uint8 (N, H, W); `ChainruleError` names the file that is of another kind."""
    first = _read_png(paths[0])
    images = np.empty((len(paths), *first.shape), np.uint8)  # (N, H, W)
    for i, path in enumerate(paths):
        image = _read_png(path)
        if image.shape != first.shape:
            raise ChainruleError(
                f"{path} is {image.shape[0]} x {image.shape[1]} pixels but {paths[0].name} is "
                f"{first.shape[0]} x {first.shape[1]}; all images must have one size"
            )
        images[i] = image
    return RawData(images, lambda index: f"{paths[index[0]].name}, pixel row {index[1]}, column {index[2]}")


def _read_png(path: Path) -> NDArray[np.uint8]:
    from PIL import Image  # imported late: most data is not PNG

    require_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                _check_png(path, image.mode, image.size)
                return np.asarray(image.convert("L"))  # 1-bit images become 0 / 255
    except ChainruleError:
        raise
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise damaged(path, "PNG file", error) from error


_PNG_MODES = {
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "P": "palette",
    "LA": "grey with transparency",
}


def _check_png(path: Path, mode: str, size: tuple[int, int]) -> None:
    if mode not in ("1", "L"):
        kind = _PNG_MODES.get(mode, "16-bit or another kind of")
        raise ChainruleError(
            f"{path} is a {kind} PNG (mode {mode}); expected 8-bit grey (mode L) or 1-bit (mode 1): "
            "convert it first, for example with Pillow's Image.open(path).convert('L').save(path)"
        )
    if size[0] * size[1] > _MOST_PIXELS:
        raise ChainruleError(f"{path} is {size[1]} x {size[0]} pixels; expected at most {_MOST_PIXELS:,}")
