"""People's file formats read into numpy arrays, each with a way to say where in the file a value stands.

Nothing here judges the values; `readers` does. Whatever is wrong with a file becomes a `ChainruleError`.
"""

from __future__ import annotations

import gzip
import math
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.data.image_folders import OTHER_FORMATS, read_image_folder
from chainrule.data.own_parts import idx_labels_path, npz_parts
from chainrule.data.pictures import Form, read_pngs
from chainrule.data.raw import DAMAGE, RawData, damaged, require_content
from chainrule.data.text_table import read_text_table
from chainrule.errors import ChainruleError

__all__ = ["READABLE", "idx_array", "npz_members", "read_raw"]

READABLE = (
    ".npy, .npz (one array, images and labels, or FILE.npz:NAME), .png or a folder of them, .csv of 0 / 1, "
    "idx (*-ubyte, .gz)"
)


def read_raw(spec: str, *, form: Form | None = None, skip_bad: bool = False) -> RawData:
    """Read the file or folder that `spec` names, `FILE.npz:NAME` included; the suffix decides how.

    `form` and `skip_bad` are about PNG images: see `pictures.read_pngs`. Raises `ChainruleError` for a path
    that does not exist, an empty or damaged file, an unknown format.
    """
    path, member = _split_member(spec)
    if path.is_dir():
        return read_image_folder(path, form=form, skip_bad=skip_bad)
    require_content(path)
    name = path.name.lower()
    if name.endswith(".npz"):
        return _read_npz(path, member)
    if name.endswith(".npy"):
        return _at_index(_numpy_array(path))
    if name.endswith(".png"):
        return read_pngs([path], form=form)
    if name.endswith((".csv", ".data", ".amat")):
        return read_text_table(path)
    if name.removesuffix(".gz").endswith(("ubyte", ".idx")):
        labels = idx_labels_path(path)
        return replace(_at_index(idx_array(path)), labels=None if labels is None else idx_array(labels))
    if path.suffix.lower() in OTHER_FORMATS:
        to = "L" if form is not None and form[0] == 1 else "RGB"
        raise ChainruleError(
            f"{path}: images are read from PNG files; convert it first, for example with Pillow's "
            f"ImageOps.exif_transpose(Image.open(path)).convert('{to}').save('{path.stem}.png')"
        )
    raise ChainruleError(f"{path}: the name does not end in a known format; expected {READABLE}")


def idx_array(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped or not (the format of the MNIST files).

    Magic number 00 00 08 ndim, then ndim big-endian uint32 sizes, then the bytes.
    """
    require_content(path)
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":  # gzip's own magic number: names lie, contents do not
        try:
            content = gzip.decompress(content)
        except DAMAGE as error:
            raise damaged(path, "gzip file", error) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise ChainruleError(
            f"{path} is not an idx file: it starts with bytes {content[:4].hex(' ') or '(none)'}; "
            "expected 00 00 08 and the number of dimensions"
        )
    if content[2] != 8:
        raise ChainruleError(
            f"{path}: idx values of type 0x{content[2]:02x}; expected 0x08, unsigned bytes: save it as those"
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ChainruleError(f"{path} is truncated: its idx header announces {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape) or dimensions > 32:
        raise ChainruleError(
            f"{path}: its idx header announces {' x '.join(map(str, shape))} = {math.prod(shape):,} bytes "
            f"but {len(content) - start:,} follow; it is truncated or damaged"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def npz_members(path: Path) -> dict[str, RawData]:
    """The arrays of an .npz by name; bits packed beside an `n_vars` member are unpacked.

    Never unpickles. Raises `ChainruleError` for a damaged file and for arrays of Python objects.
    """
    require_content(path)
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ChainruleError(f"{path} is not a readable .npz file: it holds one array; name it .npy")
        with archive:
            members = {name: archive[name] for name in archive.files}
    except ChainruleError:
        raise
    except DAMAGE as error:
        raise damaged(path, ".npz file", error) from error
    if not all(isinstance(member, np.ndarray) for member in members.values()):
        raise ChainruleError(f"{path} is not a readable .npz file: some members are not .npy arrays")
    if "n_vars" not in members:
        return {name: _at_index(member) for name, member in members.items()}
    count = members.pop("n_vars")
    if count.shape != () or count.dtype.kind not in "iu" or count < 1:
        raise ChainruleError(f"{path}: n_vars is {count.dtype} {count.shape}; expected one integer above 0")
    return {name: _at_index(_unpacked(path, name, packed, int(count))) for name, packed in members.items()}


def _unpacked(path: Path, name: str, packed: NDArray[Any], count: int) -> NDArray[np.uint8]:
    width = -(-count // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        raise ChainruleError(
            f"{path}: array {name!r} is {packed.dtype} {packed.shape}; with n_vars = {count} expected packed "
            f"bits, uint8 (N, {width})"
        )
    return np.unpackbits(packed, axis=1, count=count)


def _split_member(spec: str) -> tuple[Path, str | None]:
    head, colon, member = spec.rpartition(":")
    if colon and head.lower().endswith(".npz"):
        return Path(head), member
    return Path(spec), None


def _numpy_array(path: Path) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns about odd headers; a damaged one still raises
            values = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise damaged(path, ".npy file", error) from error
    if not isinstance(values, np.ndarray):
        raise ChainruleError(f"{path} is not a readable .npy file: it holds a zip archive; name it .npz")
    return values


def _read_npz(path: Path, member: str | None) -> RawData:
    members = npz_members(path)
    names = ", ".join(members)
    if member is None and len(members) > 1:
        parts = npz_parts(path, members)
        if set(parts) == {""}:
            return parts[""][1]
    if not members:
        raise ChainruleError(f"{path} holds no arrays; expected images, and labels where there are classes")
    if member is None and len(members) != 1:
        raise ChainruleError(
            f"{path} holds {len(members)} arrays ({names}); say which one, as in {path.name}:NAME"
        )
    if member is not None and member not in members:
        raise ChainruleError(f"{path} has no array {member!r}; it holds: {names}")
    return next(iter(members.values())) if member is None else members[member]


def _at_index(values: NDArray[Any]) -> RawData:
    return RawData(values, lambda index: f"index [{', '.join(map(str, index))}]")
