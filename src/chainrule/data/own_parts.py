"""The parts of people's own files: which arrays are examples, which are labels, and of which split.

Arrays of an .npz are known by their names, as people and Keras give them: `train`, `train_images`,
`x_train`, with labels `train_labels` or `y_train`; or one pair, `images` and `labels`. Beside an idx file
of images, `*-labels-idx1-ubyte` holds their labels. Folders are `image_folders`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.data.image_folders import SPLIT_NAMES
from chainrule.data.raw import RawData, require_content
from chainrule.errors import ChainruleError

__all__ = ["checked_labels", "idx_labels_path", "npz_parts"]

_EXAMPLES = ({"x"}, {"images"}, {"image"}, {"data"}, {"inputs"})
_LABELS = ({"y"}, {"labels"}, {"label"}, {"targets"}, {"classes"})
_MOST_CLASSES = 10_000


def npz_parts(path: Path, members: Mapping[str, RawData]) -> dict[str, tuple[str, RawData]]:
    """The arrays that are named as examples, by split (`""` for no split), with their labels beside them.

    Each comes with the name under which errors report it. Empty where no array is named so, or where
    two arrays could be the same part.
    """
    examples: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in members:
        split, rest = _told(name)
        if rest in _LABELS:
            kind = labels
        elif rest in _EXAMPLES or (split and not rest):
            kind = examples
        else:
            continue
        if split in kind:
            return {}
        kind[split] = name
    names = members.get("class_names") or members.get("label_names")
    label_names = () if names is None or names.values.dtype.kind != "U" else tuple(map(str, names.values))
    parts = {}
    for split, name in examples.items():
        raw = members[name]
        if split in labels:
            given = members[labels[split]].values
            raw = replace(raw, labels=given, label_names=label_names)
        parts[split] = (f"{path}:{name}", raw)
    return parts


def _told(name: str) -> tuple[str, set[str]]:
    """What the name of an array says: the split, or an empty text, and the words that are left."""
    words = name.lower().replace("-", "_").split("_")
    splits = [word for word in words if word in SPLIT_NAMES]
    rest = {word for word in words if word not in SPLIT_NAMES}
    return (SPLIT_NAMES[splits[0]], rest) if len(splits) == 1 else ("", set(words))


def idx_labels_path(path: Path) -> Path | None:
    """The file of labels beside an idx file of images, if it is there."""
    for images, labels in (("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1")):
        if images in path.name:
            stem = path.name.replace(images, labels).removesuffix(".gz")
            for name in (stem, f"{stem}.gz"):
                if (path.parent / name).is_file():
                    require_content(path.parent / name)
                    return path.parent / name
    return None


def checked_labels(raw: RawData, label: str, count: int) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    """The labels of `count` examples as int64 `(count,)`, and what they are called; None without labels.

    Labels that are texts become the numbers 0, 1, ... in sorted order. Raises `ChainruleError` for labels of
    another number, below 0 or that are no whole numbers.
    """
    if raw.labels is None:
        return None
    given: NDArray[Any] = raw.labels
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != (count,):
        raise ChainruleError(f"{label}: its labels have shape {raw.labels.shape}; expected ({count},)")
    if given.dtype.kind == "U":
        names, codes = np.unique(given, return_inverse=True)
        return codes.astype(np.int64), tuple(map(str, names))
    odd = given
    if given.dtype.kind in "iubf":
        numbers = given.astype(np.float64)
        odd = given[~((numbers >= 0) & (numbers < _MOST_CLASSES) & (numbers == np.floor(numbers)))]
    if len(odd):
        raise ChainruleError(
            f"{label}: a label is {odd[0]}; expected whole numbers 0, 1, ... below {_MOST_CLASSES:,}, or "
            "names as an array of texts"
        )
    return given.astype(np.int64), raw.label_names
