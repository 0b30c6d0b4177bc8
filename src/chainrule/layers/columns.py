"""Where the numbers of each variable lie in a flat row of numbers.

A variable may be read and described by several numbers: a category by its one-hot code and its logits,
a real value by itself and the parameters of a mixture. Layers work on the flat row; conditionals on the
padded table, a row of `width` numbers for every variable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Columns"]


class Columns:
    """Variable i owns `sizes[i]` neighbouring numbers, those from `starts[i]` to `starts[i + 1]`.

    - `width`: the most numbers a variable has; the padded layout is `(..., n, width)`, zeros at the end.
    - `total`: all numbers together; the flat layout is `(..., total)`.

    >>> Columns([1, 3]).starts
    [0, 1, 4]
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.starts = [0, *itertools.accumulate(self.sizes)]
        self.total, self.width = self.starts[-1], max(self.sizes)
        self.are_alike = min(self.sizes) == self.width

    @cached_property
    def owner(self) -> Tensor:
        """`(total,)`, the variable each number belongs to."""
        return torch.tensor([i for i, size in enumerate(self.sizes) for _ in range(size)], dtype=torch.long)

    @cached_property
    def _cells(self) -> Tensor:
        """Cells of the padded table that hold a number, row by row."""
        cells = [i * self.width + k for i, size in enumerate(self.sizes) for k in range(size)]
        return torch.tensor(cells, dtype=torch.long)

    def pick(self, variables: Sequence[int]) -> Columns:
        """The columns of these variables alone, in this order."""
        return Columns([self.sizes[i] for i in variables])

    def numbers_of(self, variables: Sequence[int]) -> Tensor:
        """Indices of all numbers of these variables, one variable after another."""
        chosen = torch.tensor(variables)
        starts, sizes = torch.tensor(self.starts)[chosen], torch.tensor(self.sizes)[chosen]
        ends = sizes.cumsum(0)
        return torch.arange(int(ends[-1])) + (starts - ends + sizes).repeat_interleave(sizes)

    def pack(self, padded: Tensor) -> Tensor:
        """From `(..., n, width)` to `(..., total)`."""
        flat = padded.flatten(-2)
        return flat if self.are_alike else flat.index_select(-1, self._cells.to(flat.device))

    def unpack(self, flat: Tensor) -> Tensor:
        """From `(..., total)` to `(..., n, width)`, zeros in the padding."""
        shape = (*flat.shape[:-1], len(self.sizes), self.width)
        if self.are_alike:
            return flat.reshape(shape)
        padded = flat.new_zeros(*flat.shape[:-1], len(self.sizes) * self.width)
        return padded.index_copy(-1, self._cells.to(flat.device), flat).view(shape)

    def widen(self, numbers: Tensor) -> Tensor:
        """The numbers of one variable, `(..., size)`, as a row of the padded table, `(..., width)`."""
        return (
            pad(numbers, (0, self.width - numbers.shape[-1])) if numbers.shape[-1] < self.width else numbers
        )
