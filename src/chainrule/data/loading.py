"""`load` a data set by name, `from_files` from one's own files, `load_any` from either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath, sep
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.data.catalogue import CATALOGUE
from chainrule.data.dataset import Dataset
from chainrule.data.entries import SPLITS, DatasetEntry
from chainrule.data.files import DataFile, check_sha256, locate
from chainrule.data.formats import READABLE, idx_array, npz_members, read_raw
from chainrule.data.raw import RawData
from chainrule.data.readers import as_examples
from chainrule.data.table_entry import TableEntry
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["describe", "entry", "from_files", "listing", "load", "load_any", "verify"]

_Path = str | PathLike[str]
_Parts = tuple[dict[str, Tensor], dict[str, Tensor]]  # examples by split, labels by split

DIGITS_THRESHOLD = 7  # of 16: a pixel is on when more than 7 of its 16 sub-pixels are inked

_NPZ_NAMES = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


def entry(name: str) -> DatasetEntry:
    """The catalogue's entry, or a `ChainruleError` that lists the nearest names."""
    if name not in CATALOGUE:
        raise unknown_name("data set", name, CATALOGUE)
    return CATALOGUE[name]


def listing(root: _Path | None = None) -> list[dict[str, object]]:
    """Every entry's `summary`, in the catalogue's order; nothing is loaded or downloaded."""
    return [known.summary(root) for known in CATALOGUE.values()]


def describe(name: str, root: _Path | None = None) -> str:
    """A page of plain text about a data set: shape, splits, files, licence, published results."""
    return entry(name).describe(root)


def load(name: str, *, root: _Path | None = None) -> Dataset:
    """Load a named data set with its published splits.

    Files are looked for in `root`, else in the folder that CHAINRULE_DATA names, else in the user's cache,
    and only into the cache is anything downloaded (with its SHA-256 checked). `digits` needs no file.

    Raises `ChainruleError` for an unknown name, a missing or damaged file, and a failed download.

    >>> load("digits")
    Dataset('digits', image (1, 8, 8), 2 levels, train 1,197, validation 300, test 300)
    """
    known = entry(name)
    if isinstance(known, TableEntry):
        raise ChainruleError(
            f"data set {name!r} is a table with columns of different kinds, not an array of levels; load it "
            f"with data.load_table({name!r})"
        )
    if known.form == "embedded":
        examples, labels = _digits()
    else:
        paths, files = locate(known.name, known.files, known.alternative_files, root)
        try:
            examples, labels = _from_idx(paths) if known.form == "idx" else _from_bits(known, paths)
            _check_sizes(known, examples, paths)
        except ChainruleError:
            _verify_files(known, files, paths)  # "damaged" says more than what the damage made of the file
            raise
    return Dataset(
        name=known.name,
        train=examples.get("train"),
        validation=examples.get("validation"),
        test=examples.get("test"),
        event_shape=known.event_shape,
        kind=known.kind,
        levels=known.levels,
        labels=labels,
        dynamic=known.dynamic,
        licence=known.licence,
        source=known.source,
        description=known.description,
        published=known.published,
    )


def verify(name: str, *, root: _Path | None = None) -> None:
    """Check the SHA-256 of a data set's files in full; `ChainruleError` names the first that differs."""
    known = entry(name)
    paths, files = locate(known.name, known.files, known.alternative_files, root)
    _verify_files(known, files, paths)


def from_files(
    train: _Path,
    validation: _Path | None = None,
    test: _Path | None = None,
    *,
    name: str | None = None,
    event_shape: tuple[int, ...] | None = None,
    levels: int = 2,
    dynamic: bool = False,
    threshold: float | None = None,
    seed: int = 0,
) -> Dataset:
    """A data set from one's own files, in any format that `read` knows.

    - one path: if it is an .npz with an array `train` and one of `valid` / `validation` / `test`, those are
      the splits; otherwise its rows are shuffled with `seed` and split 80 / 10 / 10, always in the same way;
    - two or three paths: the splits are what was named, and a split that was not named is None;
    - `dynamic`: the files hold grey levels 0 ... 255 and every use draws x ~ Bernoulli(g / 255).

    The other options are those of `read`; the event shape is inferred from `train`.
    Raises `ChainruleError` as `read` does, and when the splits do not have one event shape.
    """
    if dynamic and (levels != 2 or threshold is not None):
        raise ChainruleError(
            "dynamic=True draws 0 / 1 from grey levels; leave levels at 2 and give no threshold"
        )
    sources = _npz_splits(train) if validation is None and test is None else {}
    if "train" not in sources or len(sources) == 1:
        named = {"train": train, "validation": validation, "test": test}
        sources = {
            split: (str(path), read_raw(fspath(path))) for split, path in named.items() if path is not None
        }
    examples: dict[str, Tensor] = {}
    for split, (label, raw) in sources.items():
        examples[split] = as_examples(
            raw, label, event_shape=event_shape, levels=256 if dynamic else levels, threshold=threshold
        )
        event_shape = tuple(examples[split].shape[1:])
    description = "read from the user's own files"
    if len(examples) == 1:
        examples = _shuffled_split(examples["train"], str(train), seed)
        description = f"the rows of one file, shuffled with seed {seed} and split 80 / 10 / 10"
    shape = tuple(examples["train"].shape[1:])
    if dynamic and int(examples["train"].max()) < 2:
        raise ChainruleError(
            f"{train}: --dynamic (dynamic=True) needs grey levels 0 to 255, but no value is above 1; "
            "leave dynamic off"
        )
    return Dataset(
        name=name or Path(train).name.split(".")[0] or str(train),
        train=examples["train"],
        validation=examples.get("validation"),
        test=examples.get("test"),
        event_shape=shape,
        kind="image" if len(shape) == 3 else "table",
        levels=levels,
        dynamic=dynamic,
        source=", ".join(str(path) for path in (train, validation, test) if path is not None),
        description=description,
    )


def load_any(
    spec: _Path,
    *,
    root: _Path | None = None,
    event_shape: tuple[int, ...] | None = None,
    levels: int | None = None,
    dynamic: bool | None = None,
    threshold: float | None = None,
    seed: int | None = None,
) -> Dataset:
    """A data set by its catalogue name, or `from_files` of a path; a name wins (write `./digits` for a path).

    The options after `root` are those of `from_files`; a catalogue name has its own and takes none of them.
    Raises `ChainruleError` as `load` and `from_files` do; for what is neither, with the nearest names.
    """
    text = fspath(spec)
    if text in CATALOGUE:
        options = {
            "event_shape": event_shape,
            "levels": levels,
            "dynamic": dynamic,
            "threshold": threshold,
            "seed": seed,
        }
        given = [option for option, value in options.items() if value is not None]
        if given:
            raise ChainruleError(
                f"data set {text!r} is in the catalogue and takes no {', '.join(given)}; leave that out, or "
                f"write ./{text} for a file of this name"
            )
        return load(text, root=root)
    if not _looks_like_path(text):
        error = unknown_name("data set", text, CATALOGUE)
        raise ChainruleError(f"{error} (and no file {text!r} exists; files can be {READABLE})")
    return from_files(
        text,
        event_shape=event_shape,
        levels=2 if levels is None else levels,
        dynamic=bool(dynamic),
        threshold=threshold,
        seed=0 if seed is None else seed,
    )


def _looks_like_path(text: str) -> bool:
    return Path(text).exists() or sep in text or "/" in text or "." in text or text.endswith("ubyte")


def _digits() -> _Parts:
    """The 1,797 digits of scikit-learn, cut to 0 / 1, split in file order: nobody's random numbers decide."""
    from sklearn.datasets import load_digits  # imported late: it takes a second

    bundle = load_digits()
    images = torch.from_numpy((bundle.images > DIGITS_THRESHOLD).astype(np.uint8)).unsqueeze(
        1
    )  # (N, 1, 8, 8)
    targets = torch.from_numpy(bundle.target.astype(np.int64))
    bounds = {"train": slice(0, 1197), "validation": slice(1197, 1497), "test": slice(1497, 1797)}
    return (
        {split: images[rows] for split, rows in bounds.items()},
        {split: targets[rows] for split, rows in bounds.items()},
    )


def _from_idx(paths: Sequence[Path]) -> _Parts:
    """Train images and labels, test images and labels; the last 10,000 of train are the validation split."""
    images, labels, test_images, test_labels = (torch.from_numpy(idx_array(path).copy()) for path in paths)
    images, test_images = images.unsqueeze(1), test_images.unsqueeze(1)  # (N, 1, 28, 28)
    labels, test_labels = labels.long(), test_labels.long()
    return (
        {"train": images[:-10_000], "validation": images[-10_000:], "test": test_images},
        {"train": labels[:-10_000], "validation": labels[-10_000:], "test": test_labels},
    )


def _from_bits(known: DatasetEntry, paths: Sequence[Path]) -> _Parts:
    """One .npz with the splits by name, or one text file for each of train, valid and test."""
    if len(paths) == 1:
        sources = _npz_splits(paths[0])
        if not sources:
            raise ChainruleError(f"{paths[0]} holds no arrays named train, valid or test")
    else:
        sources = {s: (str(path), read_raw(str(path))) for s, path in zip(SPLITS, paths, strict=True)}
    return {
        split: as_examples(raw, label, event_shape=known.event_shape, levels=known.levels, threshold=None)
        for split, (label, raw) in sources.items()
    }, {}


def _npz_splits(path: _Path) -> dict[str, tuple[str, RawData]]:
    """The arrays of an .npz that are named as splits, each with the name under which errors report it."""
    if not (fspath(path).lower().endswith(".npz") and Path(path).is_file()):
        return {}
    members = npz_members(Path(path))
    splits = {
        _NPZ_NAMES[name]: (f"{path}:{name}", raw) for name, raw in members.items() if name in _NPZ_NAMES
    }
    return {split: splits[split] for split in SPLITS if split in splits}  # train first: it sets the shape


def _shuffled_split(examples: Tensor, label: str, seed: int) -> dict[str, Tensor]:
    held_out = max(1, len(examples) // 10)
    if len(examples) < 3:
        raise ChainruleError(
            f"{label} holds {len(examples)} examples; expected at least 3 to split "
            "into train, validation and test"
        )
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    validation, test, train = order[:held_out], order[held_out : 2 * held_out], order[2 * held_out :]
    return {"train": examples[train], "validation": examples[validation], "test": examples[test]}


def _check_sizes(known: DatasetEntry, examples: Mapping[str, Tensor], paths: Sequence[Path]) -> None:
    found = {split: len(values) for split, values in examples.items()}
    if found != dict(known.splits):
        listed = "; expected ".join(
            ", ".join(f"{split} {rows:,}" for split, rows in sizes.items()) for sizes in (found, known.splits)
        )
        raise ChainruleError(f"data set {known.name!r}: {paths[0]} has {listed} rows")


def _verify_files(known: DatasetEntry, files: Sequence[DataFile], paths: Sequence[Path]) -> None:
    for file, path in zip(files, paths, strict=True):
        check_sha256(known.name, file, path)
