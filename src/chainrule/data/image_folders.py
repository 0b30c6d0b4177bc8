"""Folders of PNG images: flat, or a subfolder for every class, or train / validation / test above either.

Class folders are those of torchvision's `ImageFolder`: the names of the subfolders, sorted, are the
classes 0, 1, ..., and images may lie at any depth below.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from chainrule.data.pictures import Form, read_pngs
from chainrule.data.raw import RawData, damaged
from chainrule.errors import ChainruleError

__all__ = ["OTHER_FORMATS", "SPLIT_NAMES", "read_image_folder", "split_folders"]

#: How people call the splits.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
#: Images that are not read, by the ends of their names.
OTHER_FORMATS = {".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

_NAMED = 5  # subfolders that a warning names one by one


def read_image_folder(folder: Path, *, form: Form | None = None, skip_bad: bool = False) -> RawData:
    """The .png files in the folder, else those in its subfolders, labelled by them; in natural order.

    Arguments and errors are those of `read_pngs`; a folder without .png files is an error too, and so is
    a class without any. Images that are passed over, because of their format or because they lie in a
    subfolder beside .png files, are told of in one warning; other files are nobody's business.
    """
    inside = _listed(folder)
    direct = _pngs(inside, folder)
    classes = [path for path in inside if path.is_dir()]
    if direct:
        _warn_of_others(folder, inside, [path for path in classes if any(_pngs(path.rglob("*"), path))])
        return read_pngs(direct, form=form, skip_bad=skip_bad)
    below = [list(path.rglob("*")) for path in classes]
    found = [_pngs(paths, path) for paths, path in zip(below, classes, strict=True)]
    if not any(found):
        raise ChainruleError(
            f"the folder {folder} holds no .png file{_hint([folder, *classes])}; expected PNG images "
            "directly in it, or in a subfolder for every class"
        )
    for subfolder, paths in zip(classes, found, strict=True):
        if not paths:
            raise ChainruleError(
                f"the class folder {subfolder} holds no .png file{_hint([subfolder])}; put its images there, "
                "or move it away"
            )
    _warn_of_others(folder, [*inside, *chain.from_iterable(below)], [])
    code_of = {path: code for code, paths in enumerate(found) for path in paths}
    names = [str(path.relative_to(folder)) for path in code_of]
    raw = read_pngs(list(code_of), names=names, form=form, skip_bad=skip_bad)
    label_of = dict(zip(names, code_of.values(), strict=True))
    labels = np.array([label_of[name] for name in raw.names], np.int64)
    return replace(raw, labels=labels, label_names=tuple(path.name for path in classes))


def split_folders(folder: Path) -> dict[str, Path]:
    """The subfolders that are named as splits; empty unless they are `train` and others, and no more."""
    inside = _listed(folder)
    subfolders = [path for path in inside if path.is_dir()]
    if _pngs(inside, folder) or any(path.name.lower() not in SPLIT_NAMES for path in subfolders):
        return {}
    found = {SPLIT_NAMES[path.name.lower()]: path for path in subfolders}
    return found if "train" in found and len(found) == len(subfolders) > 1 else {}


def _listed(folder: Path) -> list[Path]:
    """What is in the folder, by name; without hidden files and what archives leave behind."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise damaged(folder, "folder", error) from error


def _pngs(paths: Iterable[Path], folder: Path) -> list[Path]:
    """The .png files among the paths, in natural order."""
    found = [p for p in paths if p.suffix.lower() == ".png" and not p.name.startswith(".") and not p.is_dir()]
    return sorted(found, key=lambda path: _natural_order(str(path.relative_to(folder))))


def _natural_order(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `img2` before `img10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)]


def _hint(folders: Iterable[Path]) -> str:
    """What to do where the images are there, but of another format."""
    suffixes = {path.suffix.lower() for folder in folders for path in _listed(folder)}
    other = sorted(suffixes & OTHER_FORMATS)
    return f" (but {', '.join(other)}, which are to be converted to PNG)" if other else ""


def _warn_of_others(folder: Path, paths: Iterable[Path], subfolders: list[Path]) -> None:
    """One warning for images that are passed over: of other formats, and in subfolders beside images."""
    other = [path.suffix.lower() for path in paths if path.suffix.lower() in OTHER_FORMATS]
    said = []
    if other:
        said.append(f"{len(other):,} of other formats ({', '.join(sorted(set(other)))}): convert them to PNG")
    if subfolders:
        names = ", ".join(path.name for path in subfolders[:_NAMED]) + (", ..." * (len(subfolders) > _NAMED))
        said.append(f"those in the subfolders {names}: beside .png files these are no classes")
    if said:
        warnings.warn(f"{folder}: images that were passed over: {'; '.join(said)}", stacklevel=3)
