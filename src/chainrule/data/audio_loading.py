"""`load_audio`: the recordings of the catalogue."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chainrule.data.audio_entry import AudioEntry
from chainrule.data.catalogue import CATALOGUE
from chainrule.data.files import check_sha256, locate
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["AudioDataset", "load_audio"]

_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
#: Recordings of each digit and speaker below these numbers are for the test, then for validation.
_TEST_BELOW, _VALIDATION_BELOW = 5, 6


@dataclass(frozen=True, eq=False)
class AudioDataset:
    """Recordings by split.

    - `recordings`: 16-bit samples, `(T,)` each; `labels`: the class of each, int64 `(N,)`.
    - `label_names`: what the classes are called; `rate`: samples a second.
    """

    name: str
    rate: int
    recordings: Mapping[str, tuple[NDArray[np.int16], ...]]
    labels: Mapping[str, NDArray[np.int64]]
    label_names: tuple[str, ...]
    licence: str = ""
    description: str = ""


def load_audio(name: str, *, root: str | PathLike[str] | None = None) -> AudioDataset:
    """Recordings of the catalogue in their published splits; files are looked for as in `load`.

    Raises `ChainruleError` for an unknown name, and for a missing or damaged file.
    """
    known = CATALOGUE.get(name)
    if not isinstance(known, AudioEntry):
        sounds = [entry.name for entry in CATALOGUE.values() if isinstance(entry, AudioEntry)]
        if known is not None:
            raise ChainruleError(f"data set {name!r} holds no sound; what does: {', '.join(sounds)}.")
        raise unknown_name("data set of sound", name, sounds)
    paths, files = locate(known.name, known.files, known.alternative_files, root)
    try:
        recordings, labels = _read(paths[0])
        found = {split: len(parts) for split, parts in recordings.items()}
        if found != dict(known.splits):
            raise ValueError(f"{found} recordings; expected {dict(known.splits)}")
    except _DAMAGE as error:
        check_sha256(known.name, files[0], paths[0])  # "damaged" says more than what the damage made of it
        reason = " ".join(str(error).split())[:200]
        raise ChainruleError(f"data set {name!r}: {paths[0]} cannot be read ({reason})") from None
    return AudioDataset(
        known.name, known.rate, recordings, labels, known.classes, known.licence, known.description
    )


def _read(path: Path) -> tuple[dict[str, tuple[NDArray[np.int16], ...]], dict[str, NDArray[np.int64]]]:
    with np.load(path, allow_pickle=False) as arrays:
        audio, offsets = arrays["audio"], arrays["offsets"]
        digit, index = arrays["digit"].astype(np.int64), arrays["index"]
    chosen = {
        "train": index >= _VALIDATION_BELOW,
        "validation": (index >= _TEST_BELOW) & (index < _VALIDATION_BELOW),
        "test": index < _TEST_BELOW,
    }
    recordings = {
        split: tuple(audio[offsets[i] : offsets[i + 1]] for i in np.flatnonzero(rows))
        for split, rows in chosen.items()
    }
    return recordings, {split: digit[rows] for split, rows in chosen.items()}
