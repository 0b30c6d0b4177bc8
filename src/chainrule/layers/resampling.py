"""Causal halving and doubling of an image: the strided and transposed shifted convolutions of PixelCNN++.

Salimans et al. 2017, section 2.3. Place (I, J) of the coarse image stands at place (2 I, 2 J) of the fine one
and sees what that place may see, so it may be heard by everything that place may be heard by, and no earlier:
by the fine places (2 I, 2 J) to (2 I + 1, 2 J + 1), and where whole rows are known, by their neighbours in
these rows as well. An image of odd size has a last coarse row or column of its own.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from chainrule.layers.conv_stepper import PixelRow, RowCache
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.layers.products import RepeatedProduct
from chainrule.layers.stream_stepper import BatchOfCaches, pixel_taps

__all__ = ["Grow", "GrowPixels", "GrowRows", "Shrink", "ShrinkPixels", "ShrinkRows", "halved"]


def halved(size: int) -> int:
    """Places of the coarse image for so many of the fine one.

    >>> [halved(size) for size in (28, 7, 1)]
    [14, 4, 1]
    """
    return (size + 1) // 2


class Shrink(ShiftedConv2d):
    """A shifted convolution at every other row and column, from the first on."""

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_features, height, width)` to `(batch, out_features, halved height, halved width)`."""
        (top, bottom), (left, right) = self.rows, self.columns
        return conv2d(pad(x, (-left, right, -top, bottom)), self.kernel(), self.bias, stride=2)


class Grow(nn.Module):
    """The way back: every coarse place writes to the 2 rows and the `columns` from its own on.

    - `columns`: 2, the fine places below the coarse one; or 3, the one to the left of them too, for features
      that know whole rows.

    `weight` is `(in_features, out_features, 2, columns)`.
    """

    def __init__(self, in_features: int, out_features: int, columns: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.columns = in_features, out_features, columns
        self.weight = nn.Parameter(
            torch.randn(in_features, out_features, 2, columns) / math.sqrt(in_features)
        )
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """`(batch, in_features, coarse rows, coarse columns)` to `(batch, out_features, *size)`."""
        height, width = size
        left = self.columns - 2
        y = conv_transpose2d(x, self.weight, self.bias, stride=2)
        return y[:, :, :height, left : left + width]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds computed for a coarse place."""
        return self.in_features * self.out_features * 2 * self.columns

    def extra_repr(self) -> str:
        """Sizes and window."""
        return f"{self.in_features}, {self.out_features}, columns={self.columns}"


# ------------------------------------------------------------------------------ a row at a time


class _EveryOtherColumn:
    """A convolution of a row and the rows above it, at its even columns.

    - `weight`: `(out, in, rows, columns)`, the first column one to the left of the place.
    - `width`: of the fine row.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, width: int, batch_size: int) -> None:
        out_features, _, _, self.columns = weight.shape
        self.width, self.bias = width, bias
        by_column = weight.permute(0, 3, 2, 1).reshape(out_features, -1)
        self.product = RepeatedProduct(by_column, halved(width) * batch_size)

    def __call__(self, window: Tensor) -> Tensor:
        """From `(columns, batch, rows * in)` to `(halved columns, batch, out)`."""
        padded = pad(window, (0, 0, 0, 0, 1, self.columns - 2))
        taps = torch.cat([padded[shift : shift + self.width : 2] for shift in range(self.columns)], dim=-1)
        return self.product.with_bias(taps.flatten(0, 1), self.bias).view(*taps.shape[:2], -1)


class ShrinkRows(BatchOfCaches):
    """`Shrink` for features that know whole rows, row after row of the fine image."""

    def __init__(self, layer: Shrink, width: int, batch_size: int, like: Tensor) -> None:
        self.product = _EveryOtherColumn(layer.kernel(), layer.bias, width, batch_size)
        self.fine = RowCache(2, like, width, batch_size, layer.in_features)

    def push(self, row: Tensor) -> None:
        """Take the next fine row, `(columns, batch, in)`."""
        self.fine.push(row)

    def row(self) -> Tensor:
        """The coarse row that stands at the fine row at hand, `(halved columns, batch, out)`."""
        return self.product(self.fine.window)

    def select(self, rows: Tensor) -> Self:
        """The same for these rows of the batch."""
        chosen = super().select(rows)
        chosen.fine = self.fine.select(rows)
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept."""
        return self.fine.tensors()


class GrowRows(BatchOfCaches):
    """`Grow` for features that know whole rows: a coarse row becomes two fine ones."""

    batched: ClassVar[dict[str, int]] = {"fine": 2}

    def __init__(self, layer: Grow, width: int, batch_size: int, like: Tensor) -> None:
        self.width, self.features, self.bias = width, layer.out_features, layer.bias
        weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_features)
        self.product = RepeatedProduct(weight, halved(width) * batch_size)
        self.fine = like.new_zeros(2, width, batch_size, self.features)

    def take(self, coarse: Tensor) -> None:
        """The next coarse row, `(halved columns, batch, in)`; `fine` is then what it adds to its two rows."""
        columns, batch_size, _ = coarse.shape
        parts = self.product.with_bias(coarse.flatten(0, 1), None)
        left, own, right = parts.view(columns, batch_size, 2, 3, -1).permute(2, 3, 0, 1, 4).unbind(1)
        right[:, :-1] += left[:, 1:]
        both = torch.stack([own, right], dim=2).flatten(1, 2)  # even columns and odd ones in turn
        self.fine = both[:, : self.width] + self.bias


# ------------------------------------------------------------------------------ a pixel at a time


class ShrinkPixels(BatchOfCaches):
    """`Shrink` for features that know the pixels to the left: the row above at once, the rest in its turn."""

    batched: ClassVar[dict[str, int]] = {"start_row": 1}

    def __init__(self, layer: Shrink, width: int, batch_size: int, like: Tensor) -> None:
        self.features = layer.in_features
        self.above = _EveryOtherColumn(layer.kernel()[:, :, :1], layer.bias, width, batch_size)
        self.along = RepeatedProduct(pixel_taps(layer), batch_size)
        self.row = PixelRow(like, width, batch_size, self.features, reach=1)
        self.start_row = like.new_zeros(halved(width), batch_size, layer.out_features)

    def begin_row(self) -> None:
        """What the fine row above adds to each place of the coarse row that begins."""
        self.start_row = self.above(self.row.as_row())

    def keep(self, column: int, fine: Tensor) -> None:
        """Take the features of a fine pixel, `(batch, in)`."""
        self.row.at(column, 0, self.features).copy_(fine)

    def pixel(self, column: int) -> Tensor:
        """The features of the coarse place that stands at a fine column, `(batch, out)`."""
        out = torch.empty_like(self.start_row[column // 2])
        self.along.add_to(self.start_row[column // 2], self.row.taps(column, self.features), out)
        return out

    def select(self, rows: Tensor) -> Self:
        """The same for these rows of the batch."""
        chosen = super().select(rows)
        chosen.row = self.row.select(rows)
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept."""
        return [*super().tensors(), *self.row.tensors()]


class GrowPixels(BatchOfCaches):
    """`Grow` for features that know the pixels to the left: a coarse place becomes four fine ones."""

    batched: ClassVar[dict[str, int]] = {"fine": 1}

    def __init__(self, layer: Grow, width: int, batch_size: int, like: Tensor) -> None:
        self.features, self.bias = layer.out_features, layer.bias.repeat(4)
        weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_features)
        self.product = RepeatedProduct(weight, batch_size)
        self.fine = like.new_zeros(halved(width), batch_size, 4 * self.features)

    def take(self, column: int, coarse: Tensor) -> None:
        """The features of a coarse place, `(batch, in)`."""
        self.product.add_to(self.bias, coarse, self.fine[column])

    def at(self, row: int, column: int) -> Tensor:
        """What was made of them for a fine pixel, `(batch, out)`: a view."""
        first = (row % 2 * 2 + column % 2) * self.features
        return self.fine[column // 2][:, first : first + self.features]
