"""A Gated PixelCNN walked over an image: a row at a time above, and a pixel at a time along the row.

The vertical stack looks at rows above alone, so all of a row is computed when the row begins, from the last
rows of each layer. The horizontal stack takes the pixels, and their colours, one after another. Every weight
is used once for every place, as in a parallel pass, and what is kept grows with the width of the image and
with the number of layers, but not with the height; only attention keeps something of every earlier pixel.
"""

from __future__ import annotations

import copy
import itertools
from functools import partial
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from chainrule.layers.conv_stepper import (
    ImageStepper,
    PixelProduct,
    PixelRow,
    RowCache,
    RowProduct,
    pixel_weights,
)
from chainrule.layers.masked_conv import colour_bounds
from chainrule.layers.pixel_attention import PixelAttention, PixelAttentionStepper
from chainrule.layers.pixel_head import HeadStepper
from chainrule.layers.products import Call

if TYPE_CHECKING:
    from chainrule.models.gated_pixelcnn import GatedLayer, GatedPixelCNN

__all__ = ["GatedStepper"]


class _LayerStepper:
    """A layer with its weights made ready, and its caches.

    tanh(a) sigmoid(b) is (2 sigmoid(2 a) - 1) sigmoid(b). The 2 of 2 a is put into the weights here,
    which is exact, and the gates are kept with the opposite sign, s_b - 2 s_a s_b, so that one call makes
    them; the weights that read them have theirs turned. In the horizontal stack the two halves of each
    colour lie side by side.
    """

    def __init__(self, layer: GatedLayer, stepper: ImageStepper, context: Tensor | None) -> None:
        batch_size, width, like = stepper.batch_size, stepper.width, stepper.like
        channels = stepper.channels
        features = layer.out.out_features
        self.is_first, self.is_last = layer.is_first, layer.is_last
        self.order, self.sizes = _by_colour(features, channels, like.device)
        self.bounds = colour_bounds(features, channels)
        #: 2 for what enters a tanh, 1 for what enters a sigmoid.
        scale = torch.cat([like.new_full((features,), 2.0), like.new_ones(features)])
        sign = 1.0 if layer.is_first else -1.0  # of the gates below
        vertical, down = layer.vertical, layer.down
        self.vertical = RowProduct(
            sign * scale[:, None, None, None] * vertical.kernel(),
            -vertical.columns[0],
            None if vertical.bias is None else scale * vertical.bias,
            width * batch_size,
        )
        weight = scale[:, None, None, None] * down.kernel() / scale[:, None, None]
        assert down.bias is not None
        self.down = RowProduct(weight[self.order], 0, (scale * down.bias)[self.order], width * batch_size)
        self.shift_above = None if layer.context_above is None else layer.context_above(context) * scale
        self.shift_along: Tensor | None = None
        if layer.context_along is not None:
            self.shift_along = (layer.context_along(context) * scale)[:, self.order]
        scales = torch.split(scale[self.order, None], self.sizes)
        taps = pixel_weights(layer.horizontal)
        self.horizontal = PixelProduct((w * by for w, by in zip(taps, scales, strict=True)), batch_size)
        self.out = PixelProduct((-weight for weight in pixel_weights(layer.out)), batch_size)
        self.rows = None
        if not layer.is_first:
            self.rows = RowCache(1 - vertical.rows[0], like, width, batch_size, features)
        self.y = like.new_empty(batch_size, features)
        self.no_bias = like.new_zeros(features)
        #: What the rows above add to each pixel of this one, `(columns, batch, 2 features)`, then its gates.
        self.start_row = like.new_zeros(width, batch_size, 2 * features)
        self.start = self._places()

    def begin_row(self, above: Tensor) -> Tensor | None:
        """Take the row of the vertical stack below, or the image's rows above; returns this layer's row."""
        window = above
        if self.rows is not None:
            self.rows.push(above)
            window = self.rows.window
        z = self.vertical(window)
        start = self.down(z)
        self.start_row.copy_(start if self.shift_along is None else start + self.shift_along)
        if self.is_last:
            return None
        if self.shift_above is not None:
            z = z + self.shift_above
        s_a, s_b = z.sigmoid_().chunk(2, dim=2)
        return torch.addcmul(s_b, s_a, s_b, value=-2)

    def calls(self, below: PixelRow, above: PixelRow, column: int, colour: int) -> list[Call]:
        """What computes the features of one colour of one pixel, the same in every row."""
        start, end = self.own(colour)
        z = self.start[colour][column]
        s_a, s_b = z.chunk(2, dim=1)
        heard = colour_bounds(below.features, len(self.sizes))[colour if self.is_first else colour + 1]
        added_to = None if self.is_first else below.at(column, start, end)
        return [
            self.horizontal.bound(z, below.taps(column, heard), colour, z),
            z.sigmoid_,
            partial(torch.addcmul, s_b, s_a, s_b, value=-2, out=self.y[:, start:end]),
            self.out.bound(added_to, self.y[:, :end], colour, above.at(column, start, end)),
        ]

    def pixels(self, below: PixelRow, above: PixelRow, first: int, last: int) -> None:
        """The features of several pixels of a single colour; what `calls` does, but `start_row` is kept."""
        end = 0 if self.is_first else below.features
        start = self.start_row[first:last].transpose(0, 1)
        s_a, s_b = (
            self.horizontal.of_pixels(below.windows(first, last, end), start).sigmoid_().chunk(2, dim=2)
        )
        y = torch.addcmul(s_b, s_a, s_b, value=-2)
        added_to = self.no_bias if self.is_first else below.pixels(first, last)
        above.pixels(first, last).copy_(self.out.of_pixels(y, added_to))

    def own(self, colour: int) -> tuple[int, int]:
        """Where the features of a colour begin and end."""
        return self.bounds[colour], self.bounds[colour + 1]

    def select(self, rows: Tensor) -> _LayerStepper:
        """The layer of these rows of the batch."""
        chosen = copy.copy(self)
        chosen.rows = None if self.rows is None else self.rows.select(rows)
        chosen.shift_above = None if self.shift_above is None else self.shift_above[rows]
        chosen.shift_along = None if self.shift_along is None else self.shift_along[rows]
        chosen.y, chosen.start_row = self.y[rows], self.start_row[:, rows]
        chosen.start = chosen._places()
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [self.start_row, self.y, *([] if self.rows is None else self.rows.tensors())]

    def _places(self) -> list[tuple[Tensor, ...]]:
        """Views of `start_row` by colour and column."""
        return [of_colour.unbind(0) for of_colour in torch.split(self.start_row, self.sizes, dim=2)]


class GatedStepper(ImageStepper):
    """All layers of a Gated PixelCNN, a row at a time above and a pixel at a time along the row."""

    @torch.no_grad()
    def __init__(self, model: GatedPixelCNN, batch_size: int, context: Tensor | None) -> None:
        like = model.layers[0].vertical.weight.detach()
        reach = model.layers[0].reach
        super().__init__(model.channels, model.grid, batch_size, like, model._as_read, model.read_size, reach)
        self.layers = [_LayerStepper(layer, self, context) for layer in model.layers]
        # What each layer hears from below along the row, and what the head hears from the last.
        self.along = [self.image]
        for layer in model.layers[1:]:
            self.along.append(PixelRow(like, self.width, batch_size, model.features, layer.reach))
        self.along.append(PixelRow(like, self.width, batch_size, model.features, 0))
        self.attention = {
            int(number): PixelAttentionStepper(block, self, model.grid[0])
            for number, block in model.attention.items()
            if isinstance(block, PixelAttention)
        }
        self.head = HeadStepper(model.pixel_head, batch_size, like)
        self._calls: dict[tuple[int, int], list[Call]] = {}
        self.looks_ahead = model.looks_ahead

    def begin_row(self) -> None:
        """The vertical stack over one row."""
        above: Tensor | None = self.image_rows.window
        for layer in self.layers:
            assert above is not None
            above = layer.begin_row(above)

    def pixel(self, column: int, colour: int) -> Tensor:
        """The horizontal stack at one pixel."""
        calls = self._calls.get((column, colour))
        if calls is None:  # the same places serve every row
            calls = self._calls[column, colour] = self._calls_of(column, colour)
        if colour == 0:
            for attention in self.attention.values():
                attention.begin_pixel((self.position - 1) // self.channels, self.image, column)
        for call in calls:
            call()
        return self.head.pixel(self.along[-1].at(column, *self.layers[-1].own(colour)), colour)

    def pixels(self, first: int, last: int) -> Tensor:
        """The horizontal stack at several pixels of a single colour."""
        for attention in self.attention.values():
            attention.begin_pixel(self.position, self.image, first)
        places = zip(self.layers, self.along[:-1], self.along[1:], strict=True)
        for number, (layer, below, above) in enumerate(places):
            layer.pixels(below, above, first, last)
            if number in self.attention:
                seen = self.image.pixels(first, last)
                self.attention[number].pixels(above.pixels(first, last), seen)
        return self.head.pixels(self.along[-1].pixels(first, last))

    def settle(self, count: int) -> None:
        """Go on by `count` of the pixels looked at; attention forgets the others."""
        super().settle(count)
        for attention in self.attention.values():
            attention.settle(count)

    def _calls_of(self, column: int, colour: int) -> list[Call]:
        calls: list[Call] = []
        for number, (layer, below, above) in enumerate(
            zip(self.layers, self.along[:-1], self.along[1:], strict=True)
        ):
            calls += layer.calls(below, above, column, colour)
            if number in self.attention:
                features = above.at(column, *layer.own(colour))
                calls.append(partial(self.attention[number].pixel, colour, features))
        return calls

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.attention = {number: block.select(rows) for number, block in self.attention.items()}
        chosen.layers = [layer.select(rows) for layer in self.layers]
        chosen.along = [chosen.image, *(row.select(rows) for row in self.along[1:])]
        chosen.head = self.head.select(rows)
        chosen._calls = {}
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        kept = [*super().tensors(), *self.head.tensors()]
        for layer in self.layers:
            kept += layer.tensors()
        for attention in self.attention.values():
            kept += attention.tensors()
        for row in self.along[1:]:
            kept += row.tensors()
        return kept


def _by_colour(features: int, channels: int, device: torch.device) -> tuple[Tensor, list[int]]:
    """Both halves of each colour side by side: where they are, `(2 features,)`, and how many."""
    bounds = colour_bounds(features, channels)
    pairs = list(itertools.pairwise(bounds))
    order = [torch.cat([torch.arange(a, b), torch.arange(a, b) + features]) for a, b in pairs]
    return torch.cat(order).to(device), [2 * (b - a) for a, b in pairs]
