"""Causal convolutions walked pixel by pixel: the row and column caches of step-by-step sampling.

What lies above a pixel is known when its row begins, so everything that looks at rows above is computed a
row at a time, from a `RowCache`. What lies to its left becomes known pixel by pixel: a `PixelRow` keeps the
features of the row at hand, side by side, and the taps of a pixel are one slice of it. Each weight is
used once for each pixel, so a whole image costs about the arithmetic of one parallel pass. Memory grows
with the width of the image and with the depth of the network, not with the height of the image.

Rows are `(columns, batch, features)`: a pixel is then one piece of memory, and a row is one product.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor

from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds
from chainrule.layers.products import Call, RepeatedProduct

__all__ = [
    "ImageStepper",
    "PixelProduct",
    "PixelRow",
    "RowCache",
    "RowProduct",
    "pixel_weights",
    "row_weights",
]

#: Pixels looked at together at most: with more of them arithmetic, not calls, is what a look costs.
_AHEAD = 32


class RowCache:
    """The last `rows` rows of a feature map, end to end along the features, oldest first; zeros above."""

    def __init__(self, rows: int, like: Tensor, width: int, batch_size: int, features: int) -> None:
        self.features = features
        self.window = like.new_zeros(width, batch_size, rows * features)

    def push(self, row: Tensor) -> None:
        """Forget the oldest row and keep this one, `(columns, batch, features)`."""
        # Copies are shared among threads; a concatenation along features is not.
        if self.window.shape[-1] == self.features:
            self.window.copy_(row)
            return
        older, self.window = self.window[..., self.features :], torch.empty_like(self.window)
        self.window[..., : older.shape[-1]] = older
        self.window[..., older.shape[-1] :] = row

    def select(self, rows: Tensor) -> RowCache:
        """The cache of these rows of the batch."""
        chosen = copy.copy(self)
        chosen.window = self.window[:, rows]
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept."""
        return [self.window]


class PixelRow:
    """Features of one row of pixels, side by side behind `reach` pixels of zeros.

    `values` is `(batch, (reach + width) * features)`, so that a pixel with its left neighbours is one slice.
    """

    def __init__(self, like: Tensor, width: int, batch_size: int, features: int, reach: int) -> None:
        self.features, self.reach, self.width = features, reach, width
        self.values = like.new_zeros(batch_size, (reach + width) * features)

    def taps(self, column: int, end: int) -> Tensor:
        """The `reach` pixels left of a pixel, and its own features before `end`: a view."""
        first = column * self.features
        return self.values[:, first : first + self.reach * self.features + end]

    def at(self, column: int, start: int, end: int) -> Tensor:
        """Features `start..end - 1` of a pixel: a view, to write to."""
        first = (column + self.reach) * self.features
        return self.values[:, first + start : first + end]

    def windows(self, first: int, last: int, end: int) -> Tensor:
        """The `taps` of the pixels `first..last - 1`, `(batch, pixels, reach * features + end)`: a view."""
        size = (len(self.values), last - first, self.reach * self.features + end)
        return self.values.as_strided(size, (self.values.stride(0), self.features, 1), first * self.features)

    def pixels(self, first: int, last: int) -> Tensor:
        """The features of the pixels `first..last - 1`, `(batch, pixels, features)`: a view, to write to."""
        size = (len(self.values), last - first, self.features)
        start = (self.reach + first) * self.features
        return self.values.as_strided(size, (self.values.stride(0), self.features, 1), start)

    def as_row(self) -> Tensor:
        """All pixels as `(columns, batch, features)`."""
        pixels = self.values[:, self.reach * self.features :]
        return pixels.view(len(pixels), self.width, self.features).transpose(0, 1)

    def select(self, rows: Tensor) -> PixelRow:
        """The same for these rows of the batch."""
        chosen = copy.copy(self)
        chosen.values = self.values[rows]
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept."""
        return [self.values]


class RowProduct:
    """A convolution of a row and the rows above it, for all of its pixels at once.

    - `weight`: `(out, in, rows, columns)`, as `row_weights` gives it.
    - `left`: columns to the left of a pixel; `pixels`: of the row, in the whole batch.
    """

    def __init__(self, weight: Tensor, left: int, bias: Tensor | None, pixels: int) -> None:
        out_features, _, _, self.columns = weight.shape
        self.left, self.bias = left, bias
        # Column by column, and in each the rows from the oldest on, as a cache holds them.
        by_column = weight.permute(0, 3, 2, 1).reshape(out_features, -1)
        self.product = RepeatedProduct(by_column, pixels)
        self._wide: Tensor | None = None

    def __call__(self, window: Tensor) -> Tensor:
        """From `(columns, batch, rows * in)` to `(columns, batch, out)`."""
        width, batch_size, _ = window.shape
        if self.columns > 1:
            window = self._side_by_side(window)
        row = self.product.with_bias(window.reshape(width * batch_size, -1), self.bias)
        return row.view(width, batch_size, -1)

    def _side_by_side(self, window: Tensor) -> Tensor:
        """Each pixel's columns end to end, `(columns, batch, self.columns * rows * in)`; zeros outside."""
        width, batch_size, features = window.shape
        wide = self._wide
        if wide is None or wide.shape[1] != batch_size:
            wide = self._wide = window.new_zeros(width + self.columns - 1, batch_size, features)
        wide[self.left : self.left + width] = window  # what lies outside stays zero from row to row
        step, own, _ = wide.stride()
        taps = wide.as_strided((width, batch_size, self.columns, features), (step, own, step, 1))
        return taps.reshape(width, batch_size, -1)


class PixelProduct:
    """The part of a layer that looks at the pixel itself and to its left, for one colour after another.

    - `weights`: for each colour, `(its features, inputs)`, as `pixel_weights` gives them.
    """

    def __init__(self, weights: Iterable[Tensor], batch_size: int) -> None:
        self.products = [RepeatedProduct(weight, batch_size) for weight in weights]
        self._together: RepeatedProduct | None = None

    def add_to(self, start: Tensor | None, taps: Tensor, colour: int, out: Tensor) -> None:
        """Write `start` plus the product of the taps into `out`, the features of one colour."""
        self.products[colour].add_to(start, taps, out)

    def bound(self, start: Tensor | None, taps: Tensor, colour: int, out: Tensor) -> Call:
        """`add_to` of these places, to be called again and again."""
        return self.products[colour].bound(start, taps, out)

    def of_pixels(self, taps: Tensor, start: Tensor) -> Tensor:
        """`start` plus the products of several pixels of a single colour, `(batch, pixels, features)`.

        - `taps`: `(batch, pixels, inputs)`; `start`: of the shape of the result, or of its last dimension.
        """
        if self._together is None:  # the products of single pixels are laid out for single pixels
            self._together = RepeatedProduct(self.products[0].columns.t(), taps.shape[0] * taps.shape[1])
        return self._together.of_many(taps).add_(start)


def row_weights(layer: ShiftedConv2d) -> Tensor:
    """The weights of a layer that look at rows above the pixel's, `(out, in, rows, columns)`."""
    return layer.weight.detach()[:, :, : -layer.rows[0]]  # nothing is closed there


def pixel_weights(layer: ShiftedConv2d) -> list[Tensor]:
    """The weights of a layer that look at the pixel and to its left: `(out of colour, inputs)` per colour.

    Inputs are whole pixels from the left on, and at the end what the colour hears of the pixel itself.
    """
    left = -layer.columns[0]
    own_row = -layer.rows[0]
    taps = layer.weight.detach()[:, :, own_row, : left + 1]  # (out, in, columns)
    if layer.mask is not None:
        taps = taps * layer.mask[:, :, own_row, : left + 1]
    features = layer.in_features
    bounds = colour_bounds(features, layer.channels)
    weights = []
    for colour in range(layer.channels):
        of_colour = taps if layer.channels == 1 else taps[(layer.hearing == colour).to(taps.device)]
        before = of_colour[:, :, :left].transpose(1, 2).reshape(len(of_colour), left * features)
        end = bounds[colour if layer.kind == "A" else colour + 1]
        own = of_colour[:, :end, left] if end else of_colour[:, :0, 0]
        weights.append(torch.cat([before, own], dim=1))
    return weights


class ImageStepper(ABC):
    """A network walked over an image in raster order, colour by colour; a subclass knows its layers.

    Where it also `looks_ahead`, several pixels of a row, of a single colour, can be computed together.

    - `channels`, `grid`: colours, and rows and columns of the image as the network sees it.
    - `read`: `read(values (batch, k), position)` -> the numbers `(batch, k read_size)` by which the k values
      from a position on are read.
    - `reach`: how far to the left the first layer looks, and up.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        batch_size: int,
        like: Tensor,
        read: Callable[[Tensor, int], Tensor],
        read_size: int,
        reach: int,
    ) -> None:
        self.channels, self.width, self.batch_size = channels, grid[1], batch_size
        self.like, self.read, self.read_size = like, read, read_size
        features = channels * read_size
        self.image = PixelRow(like, self.width, batch_size, features, reach)
        self.image_rows = RowCache(reach, like, self.width, batch_size, features)
        self.position = 0
        self.looks_ahead = False

    @torch.no_grad()
    def step(self, previous_value: Tensor | None) -> Tensor:
        """Parameters of the next variable, `(batch, num_params)`, given the value of the previous one."""
        column, colour = self._enter(previous_value)
        self.position += 1
        return self.pixel(column, colour)

    @property
    def reach(self) -> int:
        """How many of the next pixels `look_ahead` should take, all of this row; 1 if the network cannot."""
        return min(self.width - self.position % self.width, _AHEAD) if self.looks_ahead else 1

    @torch.no_grad()
    def look_ahead(self, previous_value: Tensor | None, guesses: Tensor) -> Tensor:
        """Parameters `(batch, k + 1, num_params)` of the next pixels, were k `guesses` `(batch, k)` right."""
        first, _ = self._enter(previous_value)
        last = first + guesses.shape[1]
        if last > first:
            numbers = self.read(guesses, self.position)
            self.image.pixels(first, last).copy_(numbers.view(len(guesses), last - first, -1))
        return self.pixels(first, last + 1)

    def settle(self, count: int) -> None:
        """Go on by `count` of the pixels looked at; what was computed of them stands."""
        self.position += count

    def _enter(self, previous_value: Tensor | None) -> tuple[int, int]:
        """Read the previous value, and begin the row where one begins; column and colour to compute."""
        column, colour = self._place(self.position)
        if previous_value is not None:
            last_column, last_colour = self._place(self.position - 1)
            start = last_colour * self.read_size
            numbers = self.read(previous_value[:, None], self.position - 1)
            self.image.at(last_column, start, start + self.read_size).copy_(numbers)
        if column == 0 and colour == 0:
            if self.position:
                self.image_rows.push(self.image.as_row())
            self.begin_row()
        return column, colour

    @abstractmethod
    def begin_row(self) -> None:
        """Compute all that looks at rows above only; these are complete, and in `image_rows`."""

    @abstractmethod
    def pixel(self, column: int, colour: int) -> Tensor:
        """Compute the features of one colour of one pixel in all layers; returns its parameters."""

    def pixels(self, first: int, last: int) -> Tensor:
        """The same for the pixels `first..last - 1` of the row at once, where `looks_ahead` says so.

        What lies to their left is in `image`. Returns `(batch, last - first, num_params)`; may come again.
        """
        raise NotImplementedError

    @abstractmethod
    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, `(k,)`; a subclass adds what it keeps."""
        chosen = copy.copy(self)
        chosen.batch_size = len(rows)
        chosen.image, chosen.image_rows = self.image.select(rows), self.image_rows.select(rows)
        return chosen

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels; a subclass adds its own."""
        return [*self.image.tensors(), *self.image_rows.tensors()]

    @property
    def num_bytes(self) -> int:
        """Memory of the caches: it grows with width, depth and batch, not with the height."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def _place(self, position: int) -> tuple[int, int]:
        pixel, colour = divmod(position, self.channels)
        return pixel % self.width, colour
