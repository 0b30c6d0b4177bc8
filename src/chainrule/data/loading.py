"""`load` a data set by name, `from_files` from one's own files, `load_any` from either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath, sep
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from chainrule.data.audio_entry import AudioEntry
from chainrule.data.catalogue import CATALOGUE
from chainrule.data.dataset import Dataset
from chainrule.data.entries import SPLITS, DatasetEntry
from chainrule.data.files import DataFile, check_sha256, locate
from chainrule.data.formats import READABLE, npz_members, read_raw
from chainrule.data.image_folders import read_image_folder, split_folders
from chainrule.data.named_parts import read_named
from chainrule.data.own_parts import checked_labels, npz_parts
from chainrule.data.pictures import Form
from chainrule.data.raw import RawData
from chainrule.data.readers import as_examples, image_form, levels_of
from chainrule.data.table_entry import TableEntry
from chainrule.data.text_entry import TextEntry
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["describe", "entry", "from_files", "listing", "load", "load_any", "verify"]

_Path = str | PathLike[str]
_Part = TypeVar("_Part")
_Sources = dict[str, tuple[str, RawData]]  # by split: the name for messages, and what was read


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
    if isinstance(known, TextEntry):
        raise ChainruleError(
            f"data set {name!r} is a text, not an array of levels; load it with data.load_text({name!r})"
        )
    if isinstance(known, AudioEntry):
        raise ChainruleError(
            f"data set {name!r} holds recordings of different lengths; load it with data.load_audio({name!r})"
        )
    if known.form == "embedded":
        examples, labels = read_named(known, [])
    else:
        paths, files = locate(known.name, known.files, known.alternative_files, root)
        try:
            examples, labels = read_named(known, paths)
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
        label_names=known.classes,
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
    levels: int | None = None,
    dynamic: bool = False,
    threshold: float | None = None,
    skip_bad: bool = False,
    seed: int = 0,
) -> Dataset:
    """A data set from one's own files, in any format that `read` knows.

    - one path: if it is an .npz with an array `train` (or `train_images`, `x_train`) and one of `valid` /
      `validation` / `test`, or a folder with such subfolders of PNGs, those are the splits; otherwise its
      rows are shuffled with `seed` and split 80 / 10 / 10, always in the same way;
    - two or three paths: the splits are what was named, and a split that was not named is None;
    - `levels`: None is 256 for images of grey or colour levels, and else 2;
    - `dynamic`: the files hold grey levels 0 ... 255 and every use draws x ~ Bernoulli(g / 255).

    Class labels are taken from arrays beside the images (`labels`, `train_labels`, `y_train`), from the idx
    file of labels beside one of images, and from the names of subfolders. The other options are those of
    `read`; the event shape is inferred from `train`.
    Raises `ChainruleError` as `read` does, and when the splits do not have one event shape.
    """
    if dynamic and (levels not in (None, 2) or threshold is not None):
        raise ChainruleError(
            "dynamic=True draws 0 / 1 from grey levels; leave levels at 2 and give no threshold"
        )
    form = image_form(event_shape)
    sources = _own_splits(train, form, skip_bad) if validation is None and test is None else {}
    if not sources:
        named = {"train": train, "validation": validation, "test": test}
        sources = {
            split: (str(path), read_raw(fspath(path), form=form, skip_bad=skip_bad))
            for split, path in named.items()
            if path is not None
        }
    if levels is None:
        levels = 2 if dynamic or threshold is not None else levels_of(sources["train"][1])
    examples: dict[str, Tensor] = {}
    for split, (label, raw) in sources.items():
        examples[split] = as_examples(
            raw, label, event_shape=event_shape, levels=256 if dynamic else levels, threshold=threshold
        )
        event_shape = tuple(examples[split].shape[1:])
    labels, label_names = _own_labels(sources, examples)
    description = "read from the user's own files"
    if len(examples) == 1:
        rows = _shuffled_split(len(examples["train"]), str(train), seed)
        examples, labels = (
            {split: part["train"][chosen] for split, chosen in rows.items()} if part else {}
            for part in (examples, labels)
        )
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
        labels=labels,
        dynamic=dynamic,
        source=", ".join(str(path) for path in (train, validation, test) if path is not None),
        description=description,
        label_names=label_names,
    )


def load_any(
    spec: _Path,
    *,
    root: _Path | None = None,
    event_shape: tuple[int, ...] | None = None,
    levels: int | None = None,
    dynamic: bool | None = None,
    threshold: float | None = None,
    skip_bad: bool = False,
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
            "skip_bad": skip_bad or None,
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
        levels=levels,
        dynamic=bool(dynamic),
        threshold=threshold,
        skip_bad=skip_bad,
        seed=0 if seed is None else seed,
    )


def _looks_like_path(text: str) -> bool:
    return Path(text).exists() or sep in text or "/" in text or "." in text or text.endswith("ubyte")


def _own_splits(path: _Path, form: Form | None, skip_bad: bool) -> _Sources:
    """The splits of an .npz or a folder that names them; empty where `train` is not there beside another."""
    if Path(path).is_dir():
        return {
            split: (str(folder), read_image_folder(folder, form=form, skip_bad=skip_bad))
            for split, folder in _train_first(split_folders(Path(path))).items()
        }
    if not (fspath(path).lower().endswith(".npz") and Path(path).is_file()):
        return {}
    parts = npz_parts(Path(path), npz_members(Path(path)))
    named = {split: part for split, part in parts.items() if split}
    return _train_first(named) if "train" in named and len(named) > 1 else {}


def _train_first(parts: Mapping[str, _Part]) -> dict[str, _Part]:
    """In the order of the splits: the first one sets the shape and the classes."""
    return {split: parts[split] for split in SPLITS if split in parts}


def _own_labels(
    sources: _Sources, examples: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The labels of the splits that have them, and the names of the classes, which are those of `train`."""
    labels: dict[str, Tensor] = {}
    names: tuple[str, ...] = ()
    for split, (label, raw) in sources.items():
        checked = checked_labels(raw, label, len(examples[split]))
        if checked is None:
            continue
        codes, own = torch.from_numpy(checked[0]), checked[1]
        if split != "train" and own != names:
            unknown = [name for name in own if name not in names]
            if unknown:
                raise ChainruleError(
                    f"{label} has the class {unknown[0]!r}, which the training examples do not have"
                )
            codes = torch.tensor([names.index(name) for name in own])[codes]
        else:
            names = own
        labels[split] = codes
    return labels, names


def _shuffled_split(count: int, label: str, seed: int) -> dict[str, Tensor]:
    """Row numbers by split: 80 / 10 / 10, shuffled."""
    held_out = max(1, count // 10)
    if count < 3:
        raise ChainruleError(
            f"{label} holds {count} example{'s' if count != 1 else ''}; expected at least 3 to split into "
            "train, validation and test"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    validation, test, train = order[:held_out], order[held_out : 2 * held_out], order[2 * held_out :]
    return {"train": train, "validation": validation, "test": test}


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
