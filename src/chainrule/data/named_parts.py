"""The splits of the catalogue's data sets, read from their files: a function for each form of entry."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.data.entries import SPLITS, DatasetEntry
from chainrule.data.formats import idx_array, npz_members, read_raw
from chainrule.data.own_parts import checked_labels, npz_parts
from chainrule.data.raw import DAMAGE, RawData, damaged
from chainrule.data.readers import as_examples
from chainrule.errors import ChainruleError

__all__ = ["DIGITS_THRESHOLD", "Parts", "read_named"]

#: Examples by split, labels by split.
Parts = tuple[dict[str, Tensor], dict[str, Tensor]]

DIGITS_THRESHOLD = 7  # of 16: a pixel is on when more than 7 of its 16 sub-pixels are inked

_CIFAR_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue plane
_CIFAR_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def read_named(known: DatasetEntry, paths: Sequence[Path]) -> Parts:
    """The splits of a data set of the catalogue; `ChainruleError` where its files hold something else."""
    if known.form == "embedded":
        return _digits()
    if known.form == "idx":
        return _from_idx(paths)
    if known.form == "images":
        return _from_images(known, paths[0])
    if known.form == "cifar":
        return _from_cifar(known, paths[0])
    return _from_bits(known, paths)


def _digits() -> Parts:
    """The 1,797 digits of scikit-learn, cut to 0 / 1, split in file order: nobody's random numbers decide."""
    from sklearn.datasets import load_digits  # imported late: it takes a second

    bundle = load_digits()
    bits = (bundle.images > DIGITS_THRESHOLD).astype(np.uint8)
    images = torch.from_numpy(bits).unsqueeze(1)  # (N, 1, 8, 8)
    targets = torch.from_numpy(bundle.target.astype(np.int64))
    bounds = {"train": slice(0, 1197), "validation": slice(1197, 1497), "test": slice(1497, 1797)}
    return (
        {split: images[rows] for split, rows in bounds.items()},
        {split: targets[rows] for split, rows in bounds.items()},
    )


def _from_idx(paths: Sequence[Path]) -> Parts:
    """Train images and labels, test images and labels; the last 10,000 of train are the validation split."""
    images, labels, test_images, test_labels = (torch.from_numpy(idx_array(path).copy()) for path in paths)
    images, test_images = images.unsqueeze(1), test_images.unsqueeze(1)  # (N, 1, 28, 28)
    labels, test_labels = labels.long(), test_labels.long()
    return (
        {"train": images[:-10_000], "validation": images[-10_000:], "test": test_images},
        {"train": labels[:-10_000], "validation": labels[-10_000:], "test": test_labels},
    )


def _from_images(known: DatasetEntry, path: Path) -> Parts:
    """An .npz of images and perhaps labels; splits that the file lacks are cut off behind its train part."""
    examples: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    for split, (label, raw) in npz_parts(path, npz_members(path)).items():
        values = as_examples(raw, label, event_shape=known.event_shape, levels=known.levels, threshold=None)
        examples[split or "train"] = values
        checked = checked_labels(raw, label, len(values))
        if checked is not None:
            labels[split or "train"] = torch.from_numpy(checked[0])
    if "train" not in examples:
        raise ChainruleError(f"{path} holds no arrays named images, or train_images and test_images")
    absent = [split for split in SPLITS if split in known.splits and split not in examples]
    return tuple(_cut(parts, absent, known) if parts else {} for parts in (examples, labels))  # type: ignore[return-value]


def _cut(parts: dict[str, Tensor], absent: Sequence[str], known: DatasetEntry) -> dict[str, Tensor]:
    """The absent splits taken from the end of the train part, in their order."""
    sizes = [known.splits[split] for split in absent]
    rest = len(parts["train"]) - sum(sizes)
    if rest < 1:
        return parts  # the sizes are checked by whoever asked
    train, *others = torch.split(parts["train"], [rest, *sizes])
    return parts | {"train": train} | dict(zip(absent, others, strict=True))


def _from_cifar(known: DatasetEntry, path: Path) -> Parts:
    """The archive of five training batches and a test batch, each of records of a label and three planes."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            files = {Path(member.name).name: member for member in archive if member.isfile()}
            batches = [_cifar_records(archive.extractfile(files[name]).read()) for name in _CIFAR_BATCHES]  # type: ignore[union-attr]
    except (*DAMAGE, tarfile.TarError) as error:
        raise damaged(path, "archive of CIFAR-10's binary version", error) from error
    train, test = torch.cat(batches[:-1]), batches[-1]
    kept = len(train) - known.splits["validation"]
    parts = {"train": train[:kept], "validation": train[kept:], "test": test}
    return (
        {split: records[:, 1:].reshape(-1, *known.event_shape) for split, records in parts.items()},
        {split: records[:, 0].long() for split, records in parts.items()},
    )


def _cifar_records(content: bytes) -> Tensor:
    values = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)  # ValueError where it is cut off
    return torch.from_numpy(values.copy())


def _from_bits(known: DatasetEntry, paths: Sequence[Path]) -> Parts:
    """One .npz with the splits by name, or one text file for each of train, valid and test."""
    sources: dict[str, tuple[str, RawData]]
    if len(paths) == 1:
        sources = {s: part for s, part in npz_parts(paths[0], npz_members(paths[0])).items() if s}
        if not sources:
            raise ChainruleError(f"{paths[0]} holds no arrays named train, valid or test")
        sources = {split: sources[split] for split in SPLITS if split in sources}
    else:
        sources = {s: (str(path), read_raw(str(path))) for s, path in zip(SPLITS, paths, strict=True)}
    return {
        split: as_examples(raw, label, event_shape=known.event_shape, levels=known.levels, threshold=None)
        for split, (label, raw) in sources.items()
    }, {}
