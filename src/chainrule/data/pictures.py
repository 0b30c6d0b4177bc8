"""PNG images, grey or colour: one file, or a list of files that must be of one kind and size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.data.raw import DAMAGE, RawData, damaged, require_content
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["Form", "read_pngs"]

#: Channels, height and width of an image.
Form = tuple[int, int, int]

# Larger than any PNG of a data set; a small file can claim to be far larger than memory.
_MOST_PIXELS = 2**26
_NAMED = 5  # files that a warning names one by one
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


@dataclass
class _Reading:
    """What is read so far: images by file, and what was wrong with the others."""

    images: dict[Path, NDArray[np.uint8]]  # (C, H, W) each
    bad: dict[Path, str]


def read_pngs(
    paths: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    form: Form | None = None,
    skip_bad: bool = False,
) -> RawData:
    """Images of one kind and size as uint8: (N, H, W) grey, or (N, 3, H, W) colour.

    - `names`: what to call the files in messages; their names if not given;
    - `form`: what every image must be; otherwise what the first one is, or with `skip_bad` what most are;
    - `skip_bad`: leave out files that cannot be read or are of another kind or size, with one warning that
      names them.

    The transparency of a single colour (tRNS) is not looked at. Raises `ChainruleError`, which names the file
    that is damaged or of another kind, an animation, or stored turned.
    """
    known_as = dict(zip(paths, names or [path.name for path in paths], strict=True))
    reading = _Reading({}, {})
    wanted = form
    for path in paths:
        try:
            image = _read_png(path, wanted)
        except ChainruleError as error:
            if not skip_bad:
                advice = "; leave such files out with --skip-bad (skip_bad=True)" if len(paths) > 1 else ""
                raise ChainruleError(f"{error}{advice}") from None
            reading.bad[path] = str(error)
            continue
        reading.images[path] = image
        if not skip_bad and wanted is None:
            wanted = _form(image)
    if skip_bad and reading.images:
        _leave_out_other_forms(reading)
    if not reading.images:
        raise ChainruleError(f"none of {len(paths):,} PNG images can be used: {reading.bad[paths[0]]}")
    if reading.bad:
        _report(reading, known_as)
    kept = tuple(known_as[path] for path in reading.images)
    pixels = np.stack(list(reading.images.values()))  # (N, C, H, W)
    if pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    return RawData(
        pixels,
        lambda index: f"{kept[index[0]]}, pixel row {index[-2]}, column {index[-1]}",
        names=kept,
    )


def _leave_out_other_forms(reading: _Reading) -> None:
    """Keep the images of the commonest form."""
    ((commonest, _),) = Counter(map(_form, reading.images.values())).most_common(1)
    for path, image in list(reading.images.items()):
        if _form(image) != commonest:
            reading.bad[path] = f"{path} is {_described(_form(image))}, most are {_described(commonest)}"
            del reading.images[path]


def _report(reading: _Reading, known_as: dict[Path, str]) -> None:
    """One warning for all files that are left out."""
    listed = [
        f"{known_as[path]} ({problem.removeprefix(str(path)).strip()})"
        for path, problem in list(reading.bad.items())[:_NAMED]
    ]
    more = f", and {len(reading.bad) - _NAMED:,} more" if len(reading.bad) > _NAMED else ""
    total = len(reading.bad) + len(reading.images)
    warnings.warn(
        f"left out {len(reading.bad):,} of {total:,} images: {', '.join(listed)}{more}", stacklevel=3
    )


def _form(image: NDArray[np.uint8]) -> Form:
    channels, height, width = image.shape
    return channels, height, width


def _described(form: Form) -> str:
    return f"{'colour' if form[0] == 3 else 'grey'}, {form[1]} x {form[2]} pixels"


def _read_png(path: Path, wanted: Form | None) -> NDArray[np.uint8]:
    """One image `(C, H, W)`, of the wanted form where there is one."""
    from PIL import Image  # imported late: most data is not PNG

    require_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                _check_png(path, image.mode, image.size, wanted)
                pixels = np.asarray(image if image.mode == "RGB" else image.convert("L"))  # 1-bit: 0 / 255
                _check_one_view(path, image)
    except ChainruleError:
        raise
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise damaged(path, "PNG file", error) from error
    channels_first: NDArray[np.uint8] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    return channels_first


_PNG_MODES = {
    "1": "1-bit",
    "L": "grey",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "P": "palette",
    "LA": "grey with transparency",
}
_USABLE = {None: ("1", "L", "RGB"), 1: ("1", "L"), 3: ("RGB",)}
_EXPECTED = {
    None: "8-bit grey (mode L), 1-bit (mode 1) or 8-bit colour (mode RGB)",
    1: "8-bit grey (mode L) or 1-bit (mode 1)",
    3: "8-bit colour (mode RGB)",
}


def _check_png(path: Path, mode: str, size: tuple[int, int], wanted: Form | None) -> None:
    channels = None if wanted is None else wanted[0]
    if _bit_depth(path) == 16:  # Pillow drops half of the bits of colour images without a word
        raise ChainruleError(
            f"{path} is a 16-bit PNG; expected {_EXPECTED[channels]}: save it with 8 bits, "
            "for example its values // 256"
        )
    if mode not in _USABLE[channels]:
        to = "RGB" if channels == 3 or (channels is None and mode not in ("LA", "I", "F")) else "L"
        raise ChainruleError(
            f"{path} is a {_PNG_MODES.get(mode, 'strange kind of')} PNG (mode {mode}); expected "
            f"{_EXPECTED[channels]}: convert it first, for example with Pillow's "
            f"Image.open(path).convert('{to}').save(path)"
        )
    if size[0] * size[1] > _MOST_PIXELS:
        raise ChainruleError(f"{path} is {size[1]} x {size[0]} pixels; expected at most {_MOST_PIXELS:,}")
    if wanted is not None and (size[1], size[0]) != wanted[1:]:
        raise ChainruleError(
            f"{path} is {size[1]} x {size[0]} pixels (height x width); expected {wanted[1]} x {wanted[2]}"
        )


def _check_one_view(path: Path, image: PillowImage) -> None:
    """Refuse what viewers show otherwise than its pixels lie: animations, and images stored turned."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ChainruleError(
            f"{path} is an animated PNG of {frames} frames; expected one image: save the frame that is meant"
        )
    # EXIF may lie behind the pixels, so it is known when these are read.
    orientation = image.getexif().get(_ORIENTATION, 1) if "exif" in image.info else 1
    if orientation not in (0, 1):
        raise ChainruleError(
            f"{path} is stored turned (EXIF orientation {orientation}); turn its pixels first, for example "
            "with Pillow's ImageOps.exif_transpose(Image.open(path)).save(path)"
        )


def _bit_depth(path: Path) -> int:
    """Bits of a sample, from the header chunk that every PNG begins with."""
    with path.open("rb") as stream:
        start = stream.read(25)
    return start[24] if len(start) == 25 else 0
