"""Gated PixelCNN: two stacks of convolutions, one over the rows above and one along the row.

van den Oord et al. 2016b, "Conditional image generation with PixelCNN decoders", figure 2 and equation 4.
In layer l, with v all rows above the pixel (and nothing of its own row) and h the pixel's row to its left,

    z_v = W_v * v,    v' = gate(z_v + U_v c),
    z_h = W_h * h + V z_v,    h' = h + O gate(z_h + U_h c),        gate(a, b) = tanh(a) sigmoid(b),

c the context, such as a class label. Together the stacks see every pixel before the present one within
their reach: the blind spot of PixelCNN is gone. The vertical stack needs no masks, since every colour
of a row above is known; in the horizontal one the features are divided among the colours, R before G
before B.

`attention_every` puts a block of attention to all earlier pixels between the layers (Chen et al. 2018,
"PixelSNAIL"): what lies far away is then one layer off.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.conditionals import Conditional
from chainrule.layers.conv_stepper import (
    ImageStepper,
    PixelProduct,
    PixelRow,
    RowCache,
    RowProduct,
    pixel_weights,
)
from chainrule.layers.gate import gated
from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds, odd_size
from chainrule.layers.pixel_attention import PixelAttention, PixelAttentionStepper
from chainrule.layers.pixel_head import HeadStepper, PixelHead
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import Ordering

__all__ = ["GatedPixelCNN"]


class GatedPixelCNN(RasterImageModel):
    """Gated PixelCNN; the defaults are the network of the paper's 32 x 32 ImageNet (20 layers, 384, 5 x 5).

    - `event_shape`, `conditional`, `ordering`, `one_hot`: as in `RasterImageModel`.
    - `context_size`: the context shifts both halves of every gate, in both stacks.
    - `features`: of every layer, in each stack; divided among the colours in the horizontal one.
    - `num_layers`: layers of both stacks.
    - `kernel_size`: side of the kernels of all layers but the first; odd.
    - `first_kernel_size`: side of the first layer's kernels; odd, at least 3.
    - `head`: features of the 1 x 1 layers between the last layer and the parameters.
    - `dropout`: on what the gates of the horizontal stack give, in training only.
    - `attention_every`: after every so many layers the pixel looks at all pixels before it; 0 for never.
    - `attention_heads`: heads of each colour in such a block, of `features` numbers together.

    Only the halves of the kernels that may see something exist: a layer with K x K kernels and d
    features has 2 d^2 (K (K + 1) / 2 + 2 + (K + 1) / 2) + d^2 weights.

    >>> GatedPixelCNN((1, 28, 28), features=128, num_layers=10, kernel_size=3, head=(128,)).num_parameters
    3206401
    """

    default_learning_rate = 1e-3
    any_size = True

    layers: list[_GatedLayer]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int = 384,
        num_layers: int = 20,
        kernel_size: int = 5,
        first_kernel_size: int = 7,
        head: Sequence[int] = (1024, 1024),
        dropout: float = 0.0,
        attention_every: int = 0,
        attention_heads: int = 4,
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
        self.num_layers = whole_number("num_layers", num_layers, minimum=1)
        self.kernel_size = odd_size("kernel_size", kernel_size)
        self.first_kernel_size = odd_size("first_kernel_size", first_kernel_size, minimum=3)
        self.head = layer_sizes("head", head)
        self.dropout = real_number("dropout", dropout, minimum=0, below=1)
        read = self.channels * self.read_size
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            _GatedLayer(
                read if number == 0 else features,
                features,
                first_kernel_size if number == 0 else kernel_size,
                self.channels,
                context_size,
                is_first=number == 0,
                is_last=number == num_layers - 1,
                # Each layer adds to the same sum, which should not grow with their number.
                gain=1 / math.sqrt(num_layers),
            )
            for number in range(num_layers)
        )
        self.attention_every = whole_number("attention_every", attention_every)
        self.attention_heads = whole_number("attention_heads", attention_heads, minimum=1)
        blocks = num_layers // attention_every if attention_every else 0
        self.attention = nn.ModuleDict(
            {
                str(attention_every * (block + 1) - 1): PixelAttention(
                    features, read, self.channels, attention_heads, gain=1 / math.sqrt(blocks)
                )
                for block in range(blocks)
            }
        )
        written = self.channels * self.outputs.width
        self.pixel_head = PixelHead(features, self.head, written, self.channels)

    # ---------------------------------------------------------------- in parallel

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        above = along = seen = self._as_seen(x)
        for number, layer in enumerate(self.layers):
            z = layer.vertical(above)
            along = layer.along(along, z, context, self.dropout if self.training else 0.0)
            if str(number) in self.attention:
                along = along + self.attention[str(number)](along, seen)
            if not layer.is_last:  # nobody hears the gates of its vertical stack
                above = gated(layer.with_context(z, layer.context_above, context))
        return self._as_params(self.pixel_head(along))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass; those of attention as if it were not causal."""
        pixels = math.prod(self.grid)
        attention = [m for m in self.attention.values() if isinstance(m, PixelAttention)]
        return super().multiply_adds + pixels * sum(m.multiply_adds_per_pixel(pixels) for m in attention)

    # ---------------------------------------------------------------- step by step

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _GatedStepper:
        """The caches before the first pixel: for each layer the rows above and the pixels to the left."""
        return _GatedStepper(self, batch_size, context)

    def step(self, state: _GatedStepper, previous_value: Tensor | None) -> tuple[Tensor, _GatedStepper]:
        """The vertical stack where a row begins, and the horizontal one for the pixel."""
        return state.step(previous_value), state


class _GatedLayer(nn.Module):
    """One layer of both stacks; see the equations above."""

    def __init__(
        self,
        in_features: int,
        features: int,
        size: int,
        channels: int,
        context_size: int,
        *,
        is_first: bool,
        is_last: bool,
        gain: float,
    ) -> None:
        super().__init__()
        self.is_first, self.is_last, self.reach = is_first, is_last, size // 2
        reach = self.reach
        self.vertical = ShiftedConv2d(
            in_features, 2 * features, rows=(-reach, -1 if is_first else 0), columns=(-reach, reach)
        )
        self.down = ShiftedConv2d(2 * features, 2 * features)
        self.horizontal = ShiftedConv2d(
            in_features,
            2 * features,
            columns=(-reach, -1 if is_first and channels == 1 else 0),
            kind="A" if is_first else "B",
            channels=channels,
            out_blocks=2,
            bias=False,
        )
        # No bias: the sum over layers would only carry it along.
        self.out = ShiftedConv2d(features, features, kind="B", channels=channels, bias=False)
        self.out.initialise(gain)
        self.context_above = None
        if context_size and not is_last:
            self.context_above = nn.Linear(context_size, 2 * features, bias=False)
        self.context_along = nn.Linear(context_size, 2 * features, bias=False) if context_size else None

    def along(self, along: Tensor, z_above: Tensor, context: Tensor | None, rate: float) -> Tensor:
        """The horizontal stack: from its features below and z_v to its features above."""
        z = self.horizontal(along) + self.down(z_above)
        y = gated(self.with_context(z, self.context_along, context))
        if rate:
            y = dropout(y, rate)
        out: Tensor = self.out(y)
        return out if self.is_first else out + along

    def with_context(self, z: Tensor, to_gate: nn.Linear | None, context: Tensor | None) -> Tensor:
        """The context added at every pixel."""
        return z if to_gate is None else z + to_gate(context)[:, :, None, None]


# -------------------------------------------------------------------------------- step by step


class _Views(NamedTuple):
    """Where a layer reads and writes for one colour of one pixel."""

    taps: Tensor
    z: Tensor  # both halves of the gate, and each of them
    s_a: Tensor
    s_b: Tensor
    gates: Tensor  # of the colour, and of all colours heard
    gates_heard: Tensor
    below: Tensor | None  # what the layer adds to; None in the first
    above: Tensor


class _LayerStepper:
    """A layer with its weights made ready, and its caches.

    tanh(a) sigmoid(b) is (2 sigmoid(2 a) - 1) sigmoid(b). The 2 of 2 a is put into the weights here,
    which is exact, and the gates are kept with the opposite sign, s_b - 2 s_a s_b, so that one call makes
    them; the weights that read them have theirs turned. In the horizontal stack the two halves of each
    colour lie side by side.
    """

    def __init__(self, layer: _GatedLayer, stepper: ImageStepper, context: Tensor | None) -> None:
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

    def views(self, below: PixelRow, above: PixelRow, column: int, colour: int) -> _Views:
        """What `pixel` reads and writes for one colour of one pixel."""
        start, end = self.bounds[colour], self.bounds[colour + 1]
        z = self.start[colour][column]
        s_a, s_b = z.chunk(2, dim=1)
        heard = colour_bounds(below.features, len(self.sizes))[colour if self.is_first else colour + 1]
        return _Views(
            taps=below.taps(column, heard),
            z=z,
            s_a=s_a,
            s_b=s_b,
            gates=self.y[:, start:end],
            gates_heard=self.y[:, :end],
            below=None if self.is_first else below.at(column, start, end),
            above=above.at(column, start, end),
        )

    def pixel(self, views: _Views, colour: int) -> None:
        """Compute the features of one colour of one pixel, from and into the places that `views` names."""
        taps, z, s_a, s_b, gates, gates_heard, below, above = views
        self.horizontal.add_to(z, taps, colour, z)
        z.sigmoid_()
        torch.addcmul(s_b, s_a, s_b, value=-2, out=gates)
        self.out.add_to(below, gates_heard, colour, above)

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


class _GatedStepper(ImageStepper):
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
        self._views: dict[tuple[int, int], list[_Views]] = {}

    def begin_row(self) -> None:
        """The vertical stack over one row."""
        above: Tensor | None = self.image_rows.window
        for layer in self.layers:
            assert above is not None
            above = layer.begin_row(above)

    def pixel(self, column: int, colour: int) -> Tensor:
        """The horizontal stack at one pixel."""
        views = self._views.get((column, colour))
        if views is None:  # the same places serve every row
            views = self._views[column, colour] = [
                layer.views(below, above, column, colour)
                for layer, below, above in zip(self.layers, self.along[:-1], self.along[1:], strict=True)
            ]
        if self.attention:
            self._pixel_with_attention(views, column, colour)
        else:
            for layer, of_layer in zip(self.layers, views, strict=True):
                layer.pixel(of_layer, colour)
        return self.head.pixel(views[-1].above, colour)

    def _pixel_with_attention(self, views: list[_Views], column: int, colour: int) -> None:
        position = (self.position - 1) // self.channels  # of the pixel
        if colour == 0:
            for attention in self.attention.values():
                attention.begin_pixel(position, self.image, column)
        for number, (layer, of_layer) in enumerate(zip(self.layers, views, strict=True)):
            layer.pixel(of_layer, colour)
            if number in self.attention:
                self.attention[number].pixel(position, colour, of_layer.above)

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.attention = {number: block.select(rows) for number, block in self.attention.items()}
        chosen.layers = [layer.select(rows) for layer in self.layers]
        chosen.along = [chosen.image, *(row.select(rows) for row in self.along[1:])]
        chosen.head = self.head.select(rows)
        chosen._views = {}
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
