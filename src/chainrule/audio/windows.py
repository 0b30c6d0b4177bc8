"""Recordings as rows of one length, which is what `fit` trains on.

A row is a stretch of one recording and never crosses into another. Rows begin every `length` samples; the
last one is moved back so that it ends where the recording does. With an end symbol that symbol is the
last value of a recording, and a recording that is shorter than a row is filled up with it: after the end
there is nothing but the end, with certainty, so that what is filled up costs exactly 0 nats. Without one,
shorter recordings are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.audio.codes import SampleCode
from chainrule.audio.collection import AudioCollection, AudioPart
from chainrule.data import Dataset
from chainrule.errors import ChainruleError

__all__ = ["rows_of", "windows"]


def rows_of(codes: NDArray[np.int64], length: int, end: int | None) -> NDArray[np.int64]:
    """The rows `(N, length)` of one recording's codes `(T,)`; none where it is too short.

    >>> rows_of(np.arange(5), 3, None).tolist()
    [[0, 1, 2], [2, 3, 4]]
    >>> rows_of(np.arange(5), 4, 9).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 9]]
    >>> rows_of(np.arange(2), 4, 9).tolist()
    [[0, 1, 9, 9]]
    """
    if end is not None:
        codes = np.append(codes, [end] * max(1, length - len(codes)))
    if len(codes) < length:
        return np.empty((0, length), np.int64)
    starts = list(range(0, len(codes) - length + 1, length))
    if starts[-1] + length < len(codes):
        starts.append(len(codes) - length)
    return np.stack([codes[start : start + length] for start in starts])


def windows(
    collection: AudioCollection, code: SampleCode, length: int, *, end: int | None, with_labels: bool
) -> tuple[Dataset, int]:
    """The parts to train and to select on, as rows of `length` codes; and how many recordings were too short.

    Raises `ChainruleError` where all of a part are.
    """
    levels = code.levels + (end is not None)
    dtype = torch.uint8 if levels <= 256 else torch.int32
    values, labels, left_out = {}, {}, 0
    for split in ("train", "validation"):
        part = collection.part(split)
        rows = [rows_of(code.encode(recording.samples), length, end) for recording in part.recordings]
        left_out += sum(not len(own) for own in rows)
        values[split] = torch.from_numpy(_joined(rows, part, split, collection, length)).to(dtype)
        if with_labels:
            labels[split] = torch.tensor(part.labels).repeat_interleave(torch.tensor([len(r) for r in rows]))
    data = Dataset(
        name=collection.name,
        train=values["train"],
        validation=values["validation"],
        test=None,
        event_shape=(length,),
        kind="audio",
        levels=levels,
        labels=labels,
        description=f"sound in rows of {length} samples ({code.name}, {collection.rate:,} Hz)",
        label_names=collection.label_names if with_labels else (),
    )
    return data, left_out


def _joined(
    rows: list[NDArray[np.int64]], part: AudioPart, split: str, collection: AudioCollection, length: int
) -> NDArray[np.int64]:
    if not sum(map(len, rows)):
        longest = max(len(recording.samples) for recording in part.recordings)
        raise ChainruleError(
            f"the {split} part of {collection.name} has no recording of {length:,} samples, the longest has "
            f"{longest:,}; choose a length of at most that, or give longer recordings."
        )
    return np.concatenate(rows)
