"""A masked convolution walked over an image: the rows above at once, the rest pixel by pixel."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn

from chainrule.layers.conv_stepper import ImageStepper, PixelProduct, RowProduct, pixel_weights, row_weights
from chainrule.layers.masked_conv import MaskedConv2d, colour_bounds

__all__ = ["MaskedRow"]


class MaskedRow:
    """A `MaskedConv2d` for one row after another, and in each for one colour of one pixel after another.

    - `to_features`, `context`: the context, if any, is added at every pixel.
    """

    def __init__(
        self,
        layer: MaskedConv2d,
        stepper: ImageStepper,
        to_features: nn.Linear | None,
        context: Tensor | None,
    ) -> None:
        pixels = stepper.width * stepper.batch_size
        self.above = RowProduct(row_weights(layer), -layer.columns[0], layer.bias, pixels)
        self.along = PixelProduct(pixel_weights(layer), stepper.batch_size)
        bounds = colour_bounds(layer.out_features, layer.channels)
        self.sizes = [b - a for a, b in itertools.pairwise(bounds)]
        self.shift = None if to_features is None else to_features(context)
        #: What the rows above add to each pixel of this one, `(columns, batch, out)`.
        self.start_row = stepper.like.new_zeros(stepper.width, stepper.batch_size, layer.out_features)
        self.start, self.start_of_row = self._places(), self.start_row.transpose(0, 1)

    def begin_row(self, window: Tensor) -> None:
        """What the rows above, in `window`, add to each pixel of this row."""
        row = self.above(window)
        self.start_row.copy_(row if self.shift is None else row + self.shift)

    def pixel(self, taps: Tensor, column: int, colour: int, out: Tensor) -> None:
        """Write the features of one colour of one pixel into `out`, which may be `start[colour][column]`."""
        self.along.add_to(self.start[colour][column], taps, colour, out)

    def pixels(self, taps: Tensor, first: int, last: int) -> Tensor:
        """Features `(batch, pixels, out)` of pixels of a single colour, from `(batch, pixels, taps)`."""
        return self.along.of_pixels(taps, self.start_of_row[:, first:last])

    def select(self, rows: Tensor) -> MaskedRow:
        """The same for these rows of the batch."""
        chosen = copy.copy(self)
        chosen.shift = None if self.shift is None else self.shift[rows]
        chosen.start_row = self.start_row[:, rows]
        chosen.start, chosen.start_of_row = chosen._places(), chosen.start_row.transpose(0, 1)
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [self.start_row]

    def _places(self) -> list[tuple[Tensor, ...]]:
        """Views of `start_row` by colour and column."""
        return [of_colour.unbind(0) for of_colour in torch.split(self.start_row, self.sizes, dim=2)]
