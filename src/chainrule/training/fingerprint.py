"""A checksum of what a run was trained on, so that data changed under it is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from chainrule.data import Dataset

__all__ = ["changed_splits", "data_sha256"]

#: What a run may look at; the test split is none of its business.
_SPLITS = ("train", "validation")


def data_sha256(data: Dataset) -> dict[str, str]:
    """SHA-256 of the values, labels and contexts of the training and validation splits, by split."""
    return {split: _digest(data, split) for split in _SPLITS if getattr(data, split) is not None}


def changed_splits(config: Mapping[str, Any], data: Dataset) -> list[str]:
    """The splits of `data` that are not what the run with this `config.json` was trained on.

    Nothing is compared, and the list is empty, where the run was trained on data of another name, or
    was made before checksums were kept.
    """
    recorded = config.get("data_sha256")
    if not isinstance(recorded, Mapping) or config.get("data") != data.name:
        return []
    return [
        split
        for split, digest in recorded.items()
        if split in _SPLITS and getattr(data, split) is not None and _digest(data, split) != digest
    ]


def _digest(data: Dataset, split: str) -> str:
    # A data set drawn anew from grey levels is another one than its grey levels.
    digest = hashlib.sha256(f"dynamic={data.dynamic}".encode())
    _add(digest, data.split(split))
    for given in (data.labels, data.contexts):
        if split in given:
            _add(digest, given[split])
    return digest.hexdigest()


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().numpy())
