"""Lines that are texts of their own: names, molecules, commands. The end of each is a token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from chainrule.errors import ChainruleError

__all__ = ["lines_of", "padded_rows", "parted_lines", "split_at_ends"]

#: Which lines train, select and report is drawn with this seed: lists of names are often in some order.
_SEED = 0


def lines_of(pieces: Iterable[str], name: str) -> list[str]:
    """The lines that are not blank, without their line ends; `ChainruleError` where there is none.

    - `pieces`: of a text, each of whole lines.
    """
    lines = [line.rstrip("\r\n") for piece in pieces for line in piece.split("\n")]
    found = [line for line in lines if line.strip()]
    if not found:
        raise ChainruleError(f"{name} has no line that is not blank.")
    return found


def parted_lines(lines: Sequence[str], shares: tuple[float, float], name: str) -> dict[str, list[str]]:
    """The lines of a text in one piece by part, drawn at random, always in the same way.

    - `shares`: where training and validation end, as in `corpus_of`.
    """
    if len(lines) < 3:
        raise ChainruleError(
            f"{name} has {len(lines)} lines that are not blank; expected at least 3, to train, validate and "
            "test on."
        )
    order = np.random.default_rng(_SEED).permutation(len(lines))
    first = min(len(lines) - 2, max(1, int(shares[0] * len(lines))))
    last = max(first + 1, int(shares[1] * len(lines)))
    edges = {"train": (0, first), "validation": (first, last), "test": (last, len(lines))}
    return {
        part: [lines[place] for place in np.sort(order[begin:end])]
        for part, (begin, end) in edges.items()
        if end > begin
    }


def split_at_ends(tokens: Tensor, end: int) -> list[Tensor]:
    """Each line of a stream `(n,)` of lines that end with `end`, the end included."""
    lengths = torch.diff((tokens == end).nonzero()[:, 0], prepend=torch.tensor([-1]))
    return list(torch.split(tokens, lengths.tolist()))


def padded_rows(lines: Sequence[Tensor], end: int, length: int) -> Tensor:
    """Lines as rows `(N, length)`, filled up with ends, and cut where they are longer.

    After an end a model with that end is certain of ends, so how many there are changes no likelihood.
    """
    rows = torch.full((len(lines), length), end, dtype=lines[0].dtype)
    for row, line in zip(rows, lines, strict=True):
        row[: len(line)] = line[:length]
    return rows
