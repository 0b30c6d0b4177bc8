"""The gated residual blocks of PixelCNN++ walked over an image, a row or a pixel at a time.

The stream above knows whole rows and is computed a row at a time, from the row before it. In the stream along
the row, what the row above adds is computed when the row begins, and the pixel and its left neighbour when
their turn comes: so each weight is used once for each place, as in the parallel pass. What is kept is two
rows of every feature map at most, whatever the height of the image.

Rows are `(columns, batch, features)`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import elu_

from chainrule.layers.concat_elu import concat_elu_into
from chainrule.layers.conv_stepper import PixelRow
from chainrule.layers.gated_resnet import GatedResnet
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.layers.products import RepeatedProduct

__all__ = ["BatchOfCaches", "PixelBlock", "PixelMap", "RowBlock", "RowConvolution", "RowMap", "pixel_taps"]


class BatchOfCaches:
    """Something that keeps tensors of a whole batch; `batched` names them, with their batch dimension."""

    batched: ClassVar[dict[str, int]] = {}

    def select(self, rows: Tensor) -> Self:
        """The same for these rows of the batch, indices `(k,)`; a subclass adds what it keeps elsewhere."""
        chosen = copy.copy(self)
        for name, dim in self.batched.items():
            kept = getattr(self, name)
            setattr(chosen, name, None if kept is None else kept.index_select(dim, rows))
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept; a subclass adds its own."""
        kept = (getattr(self, name) for name in self.batched)
        return [tensor for tensor in kept if tensor is not None]


def pixel_taps(layer: ShiftedConv2d) -> Tensor:
    """The weights of a layer that look at the last row of its window, `(out, columns * in)`."""
    return layer.kernel()[:, :, -1].transpose(1, 2).flatten(1)


class RowConvolution:
    """A convolution of whole rows: all products of all columns at once, which are then shifted and added up.

    - `weight`: `(out, in, rows, columns)`; `first`: offset of its first column.

    Products are shifted and not what they are made of, since that is four times as wide here.
    """

    def __init__(self, weight: Tensor, first: int, bias: Tensor | None, pixels: int) -> None:
        self.out_features, _, _, columns = weight.shape
        self.offsets, self.bias = range(first, first + columns), bias
        self.product = RepeatedProduct(weight.permute(3, 0, 2, 1).flatten(0, 1).flatten(1), pixels)

    def __call__(self, window: Tensor) -> Tensor:
        """From `(columns, batch, rows * in)` to `(columns, batch, out)`."""
        width, batch_size, _ = window.shape
        flat = self.product.with_bias(window.reshape(width * batch_size, -1), None)
        parts = flat.view(width, batch_size, len(self.offsets), self.out_features).unbind(2)
        own = parts[-self.offsets.start]
        out = own.contiguous() if self.bias is None else own + self.bias
        for offset, part in zip(self.offsets, parts, strict=True):
            if offset < 0:
                out[-offset:] += part[:offset]
            elif offset > 0:
                out[:-offset] += part[offset:]
        return out


# ------------------------------------------------------------------------------ the stream above


class RowMap(BatchOfCaches):
    """A feature map at one row, raw, and its concatenated ELU there and in the row before."""

    batched: ClassVar[dict[str, int]] = {"raw": 1, "window": 1}

    def __init__(self, features: int, width: int, batch_size: int, like: Tensor) -> None:
        self.half = 2 * features
        self.raw = like.new_zeros(width, batch_size, features)
        self.window = like.new_zeros(width, batch_size, 2 * self.half)

    @property
    def active(self) -> Tensor:
        """The concatenated ELU of the row, `(columns, batch, 2 d)`: a view."""
        return self.window[..., self.half :]

    def push(self, raw: Tensor) -> None:
        """Take the next row, `(columns, batch, d)`."""
        self.raw = raw
        self.window[..., : self.half] = self.active
        concat_elu_into(raw, self.active)


class RowBlock(BatchOfCaches):
    """A block of the stream above, with its weights made ready."""

    batched: ClassVar[dict[str, int]] = {"shift": 0}

    def __init__(
        self, block: GatedResnet, width: int, batch_size: int, like: Tensor, context: Tensor | None
    ) -> None:
        pixels = width * batch_size
        self.conv_in, self.conv_out = (
            RowConvolution(layer.kernel(), layer.columns[0], layer.bias, pixels)
            for layer in (block.conv_in, block.conv_out)
        )
        self.shortcuts = [RepeatedProduct(pixel_taps(layer), pixels) for layer in block.shortcuts]
        self.shift = block.shift(context)
        self.middle = RowMap(block.features, width, batch_size, like)

    def row(self, below: RowMap, others: Sequence[RowMap], above: RowMap) -> None:
        """The next row of the map above the block, from that of the map below it."""
        z = self.conv_in(below.window)
        for product, other in zip(self.shortcuts, others, strict=True):
            product.add_to(z.flatten(0, 1), other.active.flatten(0, 1), z.flatten(0, 1))
        self.middle.push(z)
        z = self.conv_out(self.middle.window)
        if self.shift is not None:
            z += self.shift
        a, b = z.chunk(2, dim=2)
        above.push(torch.addcmul(below.raw, a, b.sigmoid_()))

    def select(self, rows: Tensor) -> Self:
        """The block of these rows of the batch."""
        chosen = super().select(rows)
        chosen.middle = self.middle.select(rows)
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from row to row."""
        return [*super().tensors(), *self.middle.tensors()]


# ------------------------------------------------------------------------------ the stream along the row


class _Places(NamedTuple):
    """Where the concatenated ELU of one pixel lies, and of the pixel with its left neighbour."""

    positive: Tensor
    negative: Tensor
    active: Tensor
    taps: Tensor


class PixelMap(BatchOfCaches):
    """A feature map at one pixel, raw, and its concatenated ELU in the row so far."""

    batched: ClassVar[dict[str, int]] = {"raw": 0}

    def __init__(self, features: int, width: int, batch_size: int, like: Tensor) -> None:
        self.features = features
        self.raw = like.new_zeros(batch_size, features)
        self.row = PixelRow(like, width, batch_size, 2 * features, reach=1)
        self._places: list[_Places | None] = [None] * width

    def places(self, column: int) -> _Places:
        """Views, the same in every row."""
        found = self._places[column]
        if found is None:
            active = self.row.at(column, 0, 2 * self.features)
            positive, negative = active.chunk(2, dim=1)
            found = _Places(positive, negative, active, self.row.taps(column, 2 * self.features))
            self._places[column] = found
        return found

    def activate(self, column: int) -> None:
        """Take `raw` as the features of this pixel."""
        positive, negative, active, _ = self.places(column)
        positive.copy_(self.raw)
        torch.neg(self.raw, out=negative)
        elu_(active)

    def select(self, rows: Tensor) -> Self:
        """The map of these rows of the batch."""
        chosen = super().select(rows)
        chosen.row = self.row.select(rows)
        chosen._places = [None] * len(self._places)
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [*super().tensors(), *self.row.tensors()]


class PixelBlock(BatchOfCaches):
    """A block of the stream along the row; its first shortcut comes from the stream above."""

    batched: ClassVar[dict[str, int]] = {"shift": 0, "z": 0, "start_in": 1, "start_out": 1}

    def __init__(
        self, block: GatedResnet, width: int, batch_size: int, like: Tensor, context: Tensor | None
    ) -> None:
        pixels, features = width * batch_size, block.features
        convolutions = (block.conv_in, block.conv_out)
        self.above_in, self.above_out = (
            RowConvolution(layer.kernel()[:, :, :-1], layer.columns[0], layer.bias, pixels)
            for layer in convolutions
        )
        self.along_in, self.along_out = (
            RepeatedProduct(pixel_taps(layer), batch_size) for layer in convolutions
        )
        from_above, *shortcuts = (pixel_taps(layer) for layer in block.shortcuts)
        self.from_above = RepeatedProduct(from_above, pixels)
        self.shortcuts = [RepeatedProduct(weight, batch_size) for weight in shortcuts]
        self.shift = block.shift(context)
        self.middle = PixelMap(features, width, batch_size, like)
        self.z = like.new_zeros(batch_size, 2 * features)
        self.start_in = like.new_zeros(width, batch_size, features)
        self.start_out = like.new_zeros(width, batch_size, 2 * features)
        self._name_views()

    def begin_row(self, below: PixelMap, from_above: RowMap) -> None:
        """What the row before this one adds to each pixel, and what the stream above does."""
        self.start_in = self.above_in(below.row.as_row())
        flat = self.start_in.flatten(0, 1)
        self.from_above.add_to(flat, from_above.active.flatten(0, 1), flat)
        self.start_out = self.above_out(self.middle.row.as_row())
        if self.shift is not None:
            self.start_out += self.shift
        self._name_views()

    def pixel(self, column: int, below: PixelMap, others: Sequence[PixelMap], above: PixelMap) -> None:
        """The features of the map above the block at a pixel, from those of the map below it."""
        positive, negative, active, taps = self.middle.places(column)
        self.along_in.add_to(self._starts_in[column], below.places(column).taps, positive)
        for product, other in zip(self.shortcuts, others, strict=True):
            product.add_to(positive, other.places(column).active, positive)
        torch.neg(positive, out=negative)
        elu_(active)
        self.along_out.add_to(self._starts_out[column], taps, self.z)
        self._b.sigmoid_()
        torch.addcmul(below.raw, self._a, self._b, out=above.raw)

    def select(self, rows: Tensor) -> Self:
        """The block of these rows of the batch."""
        chosen = super().select(rows)
        chosen.middle = self.middle.select(rows)
        chosen._name_views()
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [*super().tensors(), *self.middle.tensors()]

    def _name_views(self) -> None:
        """What `pixel` reads, taken apart once for a row."""
        self._a, self._b = self.z.chunk(2, dim=1)
        self._starts_in, self._starts_out = self.start_in.unbind(0), self.start_out.unbind(0)
