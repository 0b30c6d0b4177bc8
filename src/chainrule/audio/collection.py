"""Recordings to train on, at one rate and in parts: a .wav, a folder of them, or a data set by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from chainrule.arguments import some_path, whole_number
from chainrule.audio.recording import LARGEST_RATE, Recording
from chainrule.audio.wav import read_wav
from chainrule.data import CATALOGUE, SPLITS, AudioEntry, load_audio
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["AudioCollection", "AudioPart", "collection_of"]

#: Where the parts of a single recording end, in time.
_EDGES = (0.9, 0.95)
_FEWEST = 3  # recordings that can be dealt out to three parts


@dataclass(frozen=True)
class AudioPart:
    """Recordings, and the class of each; no labels where there are no classes."""

    recordings: tuple[Recording, ...]
    labels: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """How long they are together."""
        return sum(recording.seconds for recording in self.recordings)


@dataclass(frozen=True)
class AudioCollection:
    """Recordings at one rate, in up to three parts.

    - `parts`: by name: train, validation, test. `label_names`: what the classes are called, or empty.
    - `is_single`: whether the parts are stretches of one recording.
    - `remarks`: what was done to the recordings, in words.
    """

    name: str
    rate: int
    parts: dict[str, AudioPart]
    label_names: tuple[str, ...] = ()
    is_single: bool = False
    remarks: tuple[str, ...] = ()

    def part(self, name: str) -> AudioPart:
        """The recordings of a part; `ChainruleError` where there are none."""
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        if name not in self.parts:
            raise ChainruleError(f"{self.name} has no {name} part; it has: {', '.join(self.parts)}.")
        return self.parts[name]


def collection_of(
    source: str | Path | AudioCollection, rate: int = 8000, *, seed: int = 0
) -> AudioCollection:
    """Read recordings and bring them to `rate` samples a second.

    - `source`: the name of a data set of sound; a .wav, whose first 90 % train, the next 5 % select and the
      last 5 % test; or a folder. In a folder, subfolders are classes. Subfolders `train`, `validation` and
      `test`, each like such a folder, are the parts; else the recordings are shuffled with `seed` and dealt
      out 80 / 10 / 10.

    Raises `ChainruleError` for what `read_wav` cannot read, and for a folder with too few recordings.
    """
    whole_number("rate", rate, minimum=1, maximum=LARGEST_RATE)
    if isinstance(source, AudioCollection):
        return source
    if isinstance(CATALOGUE.get(str(source)), AudioEntry):
        return _from_catalogue(str(source), rate)
    path = some_path("the recordings", source)
    if path.is_dir():
        return _from_folder(path, rate, seed)
    recording = read_wav(path).at_rate(rate)
    edges = [0, *(int(share * len(recording.samples)) for share in _EDGES), len(recording.samples)]
    parts = {
        split: AudioPart((recording.part(first, last),))
        for split, first, last in zip(SPLITS, edges, edges[1:], strict=False)
        if last > first
    }
    if len(parts) < len(SPLITS):
        raise ChainruleError(
            f"{path} has {len(recording.samples)} samples at {rate:,} Hz, too few to be cut into "
            "training, validation and test; give a longer recording, or a folder of several."
        )
    return AudioCollection(path.name, rate, parts, (), True, _remarks([recording]))


def _from_catalogue(name: str, rate: int) -> AudioCollection:
    data = load_audio(name)
    parts = {
        split: AudioPart(
            tuple(
                Recording(samples / 2.0**15, data.rate, f"{split} {number}").at_rate(rate)
                for number, samples in enumerate(recordings)
            ),
            tuple(data.labels[split].tolist()),
        )
        for split, recordings in data.recordings.items()
    }
    every = [recording for part in parts.values() for recording in part.recordings]
    return AudioCollection(name, rate, parts, data.label_names, False, _remarks(every))


def _from_folder(folder: Path, rate: int, seed: int) -> AudioCollection:
    named = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
    is_split = {"train", "validation"} <= named.keys()
    roots = named if is_split else {"train": folder}
    classes = tuple(sorted({name for root in roots.values() for name in _classes(root)}))
    parts = {split: _part(root, classes, rate) for split, root in roots.items()}
    if not is_split:
        parts = _dealt(parts["train"], folder, seed)
    every = [recording for part in parts.values() for recording in part.recordings]
    return AudioCollection(folder.name, rate, parts, classes, False, _remarks(every))


def _classes(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir() and _wavs(path)]


def _wavs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".wav", ".wave") and p.is_file())


def _part(root: Path, classes: Sequence[str], rate: int) -> AudioPart:
    """The recordings of a folder; `ChainruleError` where some lie in classes and others in none."""
    loose = _wavs(root)
    found = [
        (path, label)
        for label, name in enumerate(classes)
        if (root / name).is_dir()
        for path in _wavs(root / name)
    ]
    if loose and found:
        raise ChainruleError(
            f"{root} has recordings in subfolders, which are classes, and {loose[0].name} in none; put it "
            "into one, or elsewhere."
        )
    if not loose and not found:
        raise ChainruleError(f"{root} has no .wav files.")
    recordings = tuple(read_wav(path).at_rate(rate) for path in (loose or [path for path, _ in found]))
    return AudioPart(recordings, tuple(label for _, label in found))


def _dealt(part: AudioPart, folder: Path, seed: int) -> dict[str, AudioPart]:
    """80 / 10 / 10, shuffled."""
    count = len(part.recordings)
    if count < _FEWEST:
        raise ChainruleError(
            f"{folder} has {count} recordings; expected at least {_FEWEST}, to train, select and test on, or "
            "one .wav by its own name, which is cut in time."
        )
    held_out = max(1, count // 10)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    rows = {
        "train": sorted(order[2 * held_out :]),
        "validation": sorted(order[:held_out]),
        "test": sorted(order[held_out : 2 * held_out]),
    }
    return {
        split: AudioPart(
            tuple(part.recordings[row] for row in chosen),
            tuple(part.labels[row] for row in chosen) if part.labels else (),
        )
        for split, chosen in rows.items()
    }


def _remarks(recordings: Iterable[Recording]) -> tuple[str, ...]:
    """What was done, and to how many."""
    every = list(recordings)
    counts = Counter(remark for recording in every for remark in recording.remarks)
    counts["samples beyond full scale cut off"] = sum(recording.clipped > 0 for recording in every)
    many = len(every) > 1
    return tuple(
        remark + (f" ({count:,} of {len(every):,} recordings)" if many else "")
        for remark, count in counts.items()
        if count
    )
