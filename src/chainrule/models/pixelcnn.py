"""PixelCNN: masked convolutions over the image, with the blind spot they have.

van den Oord et al. 2016a, "Pixel recurrent neural networks", table 1 and figure 5. A first convolution under
mask A is followed by residual blocks and by 1 x 1 layers, all under mask B:

    t = W_1 relu(u),    t' = W_2 * relu(t),    u' = u + W_3 relu(t'),        u of 2h features, t and t' of h.

Each layer of 3 x 3 kernels sees one row up and one column to either side in it, but in its own row only
to the left. So a stack misses a wedge of pixels above and to the right that come earlier in the
ordering: of the 2 L (L + 1) within reach of L layers it sees all but L (L - 1) / 2. `GatedPixelCNN` does not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.conditionals import Conditional
from chainrule.layers.conv_stepper import ImageStepper, PixelProduct, PixelRow, RowCache, pixel_weights
from chainrule.layers.masked_conv import MaskedConv2d, colour_bounds, odd_size
from chainrule.layers.masked_row import MaskedRow
from chainrule.layers.pixel_head import HeadStepper, PixelHead
from chainrule.layers.products import Call
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import Ordering

__all__ = ["PixelCNN"]


class PixelCNN(RasterImageModel):
    """PixelCNN; the defaults are the network of the paper's CIFAR-10 (h = 128, 15 blocks, 1024 in the head).

    - `event_shape`, `conditional`, `ordering`, `one_hot`: as in `RasterImageModel`.
    - `context_size`: the context shifts the first layer and the kernels of every block.
    - `features`: h; a block adds to 2h features and works on h. They are divided among the colours.
    - `num_blocks`: residual blocks.
    - `kernel_size`: side of the blocks' kernels; odd, at least 3.
    - `first_kernel_size`: side of the first layer's kernel; odd, at least 3.
    - `head`: features of the 1 x 1 layers between the last block and the parameters.
    - `dropout`: on the h features that a block's kernels give, in training only.

    Kernels are stored whole, masked half included, as the paper counts them: K^2 D_in D_out weights.

    >>> PixelCNN((1, 28, 28), features=16, num_blocks=7, head=(32, 32)).num_parameters
    27265
    """

    default_learning_rate = 1e-3
    any_size = True
    rows_at_once = True

    blocks: list[_ResidualBlock]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int = 128,
        num_blocks: int = 15,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
        one_hot: bool = False,
    ) -> None:
        super().__init__(
            event_shape,
            conditional=conditional,
            ordering=ordering,
            context_size=context_size,
            one_hot=one_hot,
        )
        self.features = whole_number("features", features, minimum=1)
        self.num_blocks = whole_number("num_blocks", num_blocks)
        self.kernel_size = odd_size("kernel_size", kernel_size, minimum=3)
        self.first_kernel_size = odd_size("first_kernel_size", first_kernel_size, minimum=3)
        self.head = layer_sizes("head", head)
        self.dropout = real_number("dropout", dropout, minimum=0, below=1)
        channels, read = self.channels, self.channels * self.read_size
        self.first = MaskedConv2d(read, 2 * features, first_kernel_size, "A", channels=channels)
        self.context_to_first = nn.Linear(context_size, 2 * features, bias=False) if context_size else None
        # Each block adds to the same sum, which should not grow with their number.
        gain = 1 / math.sqrt(max(num_blocks, 1))
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            _ResidualBlock(features, kernel_size, channels, context_size, gain) for _ in range(num_blocks)
        )
        self.pixel_head = PixelHead(2 * features, self.head, channels * self.outputs.width, channels)

    # ---------------------------------------------------------------- in parallel

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        u = _shifted(self.first(self._as_seen(x)), self.context_to_first, context)
        for block in self.blocks:
            u = block(u, context, self.dropout if self.training else 0.0)
        return self._as_params(self.pixel_head(u))

    # ---------------------------------------------------------------- step by step

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _PixelCNNStepper:
        """The caches before the first pixel: for each block the rows above and the pixels to the left."""
        return _PixelCNNStepper(self, batch_size, context)

    def step(self, state: _PixelCNNStepper, previous_value: Tensor | None) -> tuple[Tensor, _PixelCNNStepper]:
        """Rows above where a row begins, and then the pixel itself and what lies to its left."""
        return state.step(previous_value), state


class _ResidualBlock(nn.Module):
    """Down to h features, the masked kernels, and up to 2h again; see the equations above."""

    def __init__(self, features: int, size: int, channels: int, context_size: int, gain: float) -> None:
        super().__init__()
        self.narrow = MaskedConv2d(2 * features, features, 1, "B", channels=channels)
        self.conv = MaskedConv2d(features, features, size, "B", channels=channels)
        # No bias: the sum over blocks would only carry it along.
        self.widen = MaskedConv2d(features, 2 * features, 1, "B", channels=channels, bias=False)
        self.context_to_conv = nn.Linear(context_size, features, bias=False) if context_size else None
        for layer in (self.narrow, self.conv):
            layer.initialise(math.sqrt(2.0))
        self.widen.initialise(math.sqrt(2.0) * gain)

    def forward(self, u: Tensor, context: Tensor | None, rate: float) -> Tensor:
        t = self.conv(torch.relu(self.narrow(torch.relu(u))))
        t = torch.relu(_shifted(t, self.context_to_conv, context))
        if rate:
            t = dropout(t, rate)
        widened: Tensor = self.widen(t)
        return u + widened


def _shifted(z: Tensor, to_features: nn.Linear | None, context: Tensor | None) -> Tensor:
    """The context added at every pixel."""
    return z if to_features is None else z + to_features(context)[:, :, None, None]


# -------------------------------------------------------------------------------- step by step


class _BlockStepper:
    """A residual block with its weights made ready, and its caches."""

    def __init__(self, block: _ResidualBlock, stepper: ImageStepper, context: Tensor | None) -> None:
        size, width, like = stepper.batch_size, stepper.width, stepper.like
        features, reach = block.conv.in_features, block.conv.size // 2
        self.bounds = colour_bounds(features, stepper.channels)
        self.wide_bounds = colour_bounds(2 * features, stepper.channels)
        self.narrow = PixelProduct(pixel_weights(block.narrow), size)
        assert block.narrow.bias is not None
        self.narrow_bias = block.narrow.bias
        self.conv = MaskedRow(block.conv, stepper, block.context_to_conv, context)
        self.widen = PixelProduct(pixel_weights(block.widen), size)
        self.rows = RowCache(reach, like, width, size, features)
        self.row = PixelRow(like, width, size, features, reach)
        self.wide = like.new_empty(size, 2 * features)

    def begin_row(self, is_first: bool) -> None:
        """What the rows above add to each pixel; the row before this one is complete by now."""
        if not is_first:
            self.rows.push(self.row.as_row())
        self.conv.begin_row(self.rows.window)

    def calls(self, u: Tensor, column: int, colour: int) -> list[Call]:
        """What adds to `u`, the features of one colour of one pixel, in place; the same in every row."""
        (start, end), (wide_start, wide_end) = (
            bounds[colour : colour + 2] for bounds in (self.bounds, self.wide_bounds)
        )
        narrow = self.row.at(column, start, end)
        convolved = self.conv.start[colour][column]  # where what the rows above add was
        return [
            partial(torch.clamp_min, u, 0, out=self.wide[:, wide_start:wide_end]),
            self.narrow.bound(self.narrow_bias[start:end], self.wide[:, :wide_end], colour, narrow),
            narrow.relu_,
            self.conv.along.bound(convolved, self.row.taps(column, end), colour, convolved),
            convolved.relu_,
            self.widen.bound(u, self.conv.start_row[column][:, :end], colour, u),
        ]

    def pixels(self, u: Tensor, first: int, last: int) -> Tensor:
        """What `calls` makes of `u`, for several pixels of a single colour: `(batch, pixels, 2h)`."""
        row = self.row
        narrow = self.narrow.of_pixels(torch.relu(u), self.narrow_bias)
        torch.clamp_min(narrow, 0, out=row.pixels(first, last))
        t = self.conv.pixels(row.windows(first, last, row.features), first, last).relu_()
        return self.widen.of_pixels(t, u)

    def select(self, rows: Tensor) -> _BlockStepper:
        """The block of these rows of the batch."""
        chosen = copy.copy(self)
        chosen.conv, chosen.rows = self.conv.select(rows), self.rows.select(rows)
        chosen.row = self.row.select(rows)
        chosen.wide = self.wide[rows]
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        caches = [*self.conv.tensors(), *self.rows.tensors(), *self.row.tensors()]
        return [*caches, self.wide]


class _PixelCNNStepper(ImageStepper):
    """All layers of a PixelCNN, the rows above at once and the row itself a pixel at a time."""

    @torch.no_grad()
    def __init__(self, model: PixelCNN, batch_size: int, context: Tensor | None) -> None:
        first, like = model.first, model.first.weight.detach()
        super().__init__(
            model.channels, model.grid, batch_size, like, model._as_read, model.read_size, first.size // 2
        )
        self.first = MaskedRow(first, self, model.context_to_first, context)
        self.blocks = [_BlockStepper(block, self, context) for block in model.blocks]
        self.head = HeadStepper(model.pixel_head, batch_size, like)
        self.u = [like.new_empty(batch_size, size) for size in self.first.sizes]
        self._calls: dict[tuple[int, int], list[Call]] = {}
        self.looks_ahead = model.looks_ahead

    def begin_row(self) -> None:
        """What the rows above add in every layer."""
        self.first.begin_row(self.image_rows.window)
        for block in self.blocks:
            block.begin_row(is_first=self.position == 0)

    def pixel(self, column: int, colour: int) -> Tensor:
        """All layers at one pixel."""
        calls = self._calls.get((column, colour))
        if calls is None:
            calls = self._calls[column, colour] = self._calls_of(column, colour)
        for call in calls:
            call()
        return self.head.pixel(self.u[colour], colour)

    def pixels(self, first: int, last: int) -> Tensor:
        """All layers at several pixels of a single colour."""
        u = self.first.pixels(self.image.windows(first, last, 0), first, last)
        for block in self.blocks:
            u = block.pixels(u, first, last)
        return self.head.pixels(u)

    def _calls_of(self, column: int, colour: int) -> list[Call]:
        u, taps = self.u[colour], self.image.taps(column, colour * self.read_size)
        calls: list[Call] = [self.first.along.bound(self.first.start[colour][column], taps, colour, u)]
        for block in self.blocks:
            calls += block.calls(u, column, colour)
        return calls

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.first, chosen.head = self.first.select(rows), self.head.select(rows)
        chosen.blocks = [block.select(rows) for block in self.blocks]
        chosen.u = [u[rows] for u in self.u]
        chosen._calls = {}
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        kept = [*super().tensors(), *self.first.tensors(), *self.head.tensors(), *self.u]
        for block in self.blocks:
            kept += block.tensors()
        return kept
