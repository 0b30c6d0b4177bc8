"""One resolution of PixelCNN++: its blocks on the way down and on the way up, in parallel and step by step.

Salimans et al. 2017, figure 2. Step by step, a place of a lower resolution is computed as soon as what it
sees is known: its row of the stream above with every other row, its place along the row with every other
pixel of these. What is made of it is then there for the four pixels below it, none of which comes earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from chainrule.layers.gated_resnet import FeatureMap, GatedResnet, Stream, window_of
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.layers.resampling import (
    Grow,
    GrowPixels,
    GrowRows,
    Shrink,
    ShrinkPixels,
    ShrinkRows,
    halved,
)
from chainrule.layers.stream_stepper import BatchOfCaches, PixelBlock, PixelMap, RowBlock, RowMap

__all__ = ["Resolution", "ResolutionStepper"]

#: The same place of both streams: above, and along the row.
_Pair = tuple[FeatureMap, FeatureMap]


class Resolution(nn.Module):
    """The blocks of both streams at one resolution, and what leads to the next lower one and back.

    - `features`: of every map.
    - `num_blocks`: of a stream on the way down; on the way up there is one more, but not at the lowest.
    - `is_lowest`: whether the way up begins here, with the last map of the way down.
    """

    # In fact each is an nn.ModuleList.
    down_above: list[GatedResnet]
    down_along: list[GatedResnet]
    up_above: list[GatedResnet]
    up_along: list[GatedResnet]

    def __init__(self, features: int, num_blocks: int, context_size: int, *, is_lowest: bool) -> None:
        super().__init__()
        self.features, self.is_lowest = features, is_lowest

        def blocks(stream: Stream, shortcuts: int, number: int) -> list[GatedResnet]:
            return nn.ModuleList(  # type: ignore[return-value]
                GatedResnet(features, stream, shortcuts=shortcuts, context_size=context_size)
                for _ in range(number)
            )

        self.down_above, self.down_along = blocks("above", 0, num_blocks), blocks("along", 1, num_blocks)
        back = num_blocks if is_lowest else num_blocks + 1
        self.up_above, self.up_along = blocks("above", 1, back), blocks("along", 2, back)
        if not is_lowest:
            self.shrink_above, self.shrink_along = (
                Shrink(features, features, rows=rows, columns=columns)
                for rows, columns in (window_of("above"), window_of("along"))
            )
            self.grow_above, self.grow_along = Grow(features, features, 3), Grow(features, features, 2)

    def down(self, above: FeatureMap, along: FeatureMap, context: Tensor | None, rate: float) -> list[_Pair]:
        """All maps of the way down, from the one given on."""
        maps = [(above, along)]
        for of_above, of_along in zip(self.down_above, self.down_along, strict=True):
            above = of_above(above, [], context, rate)
            along = of_along(along, [above], context, rate)
            maps.append((above, along))
        return maps

    def up(self, lower: _Pair | None, maps: list[_Pair], context: Tensor | None, rate: float) -> _Pair:
        """The last map of the way up, from the last one of the resolution below and those of the way down."""
        shortcuts = list(maps)
        above, along = shortcuts.pop() if lower is None else self.grow(lower, maps[0][0].size)
        for of_above, of_along in zip(self.up_above, self.up_along, strict=True):
            other_above, other_along = shortcuts.pop()
            above = of_above(above, [other_above], context, rate)
            along = of_along(along, [above, other_along], context, rate)
        return above, along

    def shrink(self, above: FeatureMap, along: FeatureMap) -> _Pair:
        """The first map of the next lower resolution."""
        return (
            FeatureMap(self.shrink_above(above.raw), "above"),
            FeatureMap(self.shrink_along(along.raw), "along"),
        )

    def grow(self, lower: _Pair, size: tuple[int, int]) -> _Pair:
        """The last map of the next lower resolution, at this one."""
        above, along = lower
        return (
            FeatureMap(self.grow_above(above.raw, size), "above"),
            FeatureMap(self.grow_along(along.raw, size), "along"),
        )

    @property
    def multiply_adds(self) -> tuple[int, int]:
        """Those of the blocks for a place; those of shrinking and growing for a place of the lower one."""
        blocks = resampling = 0
        for layer in self.modules():
            if isinstance(layer, (Shrink, Grow)):
                resampling += layer.multiply_adds
            elif isinstance(layer, ShiftedConv2d):
                blocks += layer.multiply_adds
        return blocks, resampling


class ResolutionStepper(BatchOfCaches):
    """A resolution and all that lie below it, a row at a time above and a pixel at a time along the row."""

    def __init__(
        self,
        resolutions: Sequence[Resolution],
        width: int,
        batch_size: int,
        like: Tensor,
        context: Tensor | None,
    ) -> None:
        own, *lower = resolutions
        of_map = (own.features, width, batch_size, like)
        of_block = (width, batch_size, like, context)
        self.down_above = [RowBlock(block, *of_block) for block in own.down_above]
        self.down_along = [PixelBlock(block, *of_block) for block in own.down_along]
        self.up_above = [RowBlock(block, *of_block) for block in own.up_above]
        self.up_along = [PixelBlock(block, *of_block) for block in own.up_along]
        # Those of the way up are the maps that the way down has not made.
        num_down, num_up = len(own.down_above) + 1, len(own.up_above) + bool(lower)
        self.rows_down = [RowMap(*of_map) for _ in range(num_down)]
        self.rows_up = [RowMap(*of_map) for _ in range(num_up)]
        self.pixels_down = [PixelMap(*of_map) for _ in range(num_down)]
        self.pixels_up = [PixelMap(*of_map) for _ in range(num_up)]
        self.lower: ResolutionStepper | None = None
        if lower:
            self.lower = ResolutionStepper(lower, halved(width), batch_size, like, context)
            of_resampling = (width, batch_size, like)
            self.shrink_above = ShrinkRows(own.shrink_above, *of_resampling)
            self.shrink_along = ShrinkPixels(own.shrink_along, *of_resampling)
            self.grow_above = GrowRows(own.grow_above, *of_resampling)
            self.grow_along = GrowPixels(own.grow_along, *of_resampling)
        self._connect()

    def begin_row(self, row: int, above: Tensor) -> Tensor:
        """The stream above over a row, from its first map `(columns, batch, d)` to its last.

        With it goes what this stream and the row before add to the stream along the row.
        """
        self.rows_down[0].push(above)
        for block, below, above_it, along, pixels in self._down_rows:
            block.row(below, (), above_it)
            along.begin_row(pixels, above_it)
        if self.lower is not None:
            self.shrink_above.push(self.rows_down[-1].raw)
            if row % 2 == 0:
                self.shrink_along.begin_row()
                self.grow_above.take(self.lower.begin_row(row // 2, self.shrink_above.row()))
            self.rows_up[0].push(self.grow_above.fine[row % 2])
        for block, below, shortcut, above_it, along, pixels in self._up_rows:
            block.row(below, (shortcut,), above_it)
            along.begin_row(pixels, above_it)
        return self.rows_up[-1].raw

    def pixel(self, row: int, column: int, features: Tensor) -> Tensor:
        """The stream along the row at a pixel, from its first map `(batch, d)` to its last, a view."""
        first = self.pixels_down[0]
        first.raw = features
        first.activate(column)
        for block, below, above in self._down_pixels:
            block.pixel(column, below, (), above)
            above.activate(column)
        if self.lower is not None:
            self.shrink_along.keep(column, self.pixels_down[-1].raw)
            if row % 2 == 0 and column % 2 == 0:
                coarse = self.lower.pixel(row // 2, column // 2, self.shrink_along.pixel(column))
                self.grow_along.take(column // 2, coarse)
            turn = self.pixels_up[0]
            turn.raw = self.grow_along.at(row, column)
            turn.activate(column)
        for block, below, shortcuts, above in self._up_pixels:
            block.pixel(column, below, shortcuts, above)
            above.activate(column)
        return self.pixels_up[-1].raw

    def select(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch."""
        chosen = super().select(rows)
        for name in _LISTS:
            setattr(chosen, name, [part.select(rows) for part in getattr(self, name)])
        if self.lower is not None:
            for name in _TO_LOWER:
                setattr(chosen, name, getattr(self, name).select(rows))
        chosen._connect()
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        parts: list[BatchOfCaches] = [part for name in _LISTS for part in getattr(self, name)]
        if self.lower is not None:
            parts += [getattr(self, name) for name in _TO_LOWER]
        return [tensor for part in parts for tensor in part.tensors()]

    def _connect(self) -> None:
        """Which block goes from which map to which, in either stream."""
        is_lowest = self.lower is None
        rows_up = [*self.rows_down[-1:], *self.rows_up] if is_lowest else self.rows_up
        pixels_up = [*self.pixels_down[-1:], *self.pixels_up] if is_lowest else self.pixels_up
        last = -1 if is_lowest else None
        self._down_rows = list(
            zip(
                self.down_above,
                self.rows_down[:-1],
                self.rows_down[1:],
                self.down_along,
                self.pixels_down[:-1],
                strict=True,
            )
        )
        self._down_pixels = list(
            zip(self.down_along, self.pixels_down[:-1], self.pixels_down[1:], strict=True)
        )
        self._up_rows = list(
            zip(
                self.up_above,
                rows_up[:-1],
                self.rows_down[:last][::-1],
                rows_up[1:],
                self.up_along,
                pixels_up[:-1],
                strict=True,
            )
        )
        shortcuts = [(shortcut,) for shortcut in self.pixels_down[:last][::-1]]
        self._up_pixels = list(zip(self.up_along, pixels_up[:-1], shortcuts, pixels_up[1:], strict=True))


#: The parts of a `ResolutionStepper`.
_LISTS = (
    "down_above",
    "down_along",
    "up_above",
    "up_along",
    "rows_down",
    "rows_up",
    "pixels_down",
    "pixels_up",
)
_TO_LOWER = ("lower", "shrink_above", "shrink_along", "grow_above", "grow_along")
