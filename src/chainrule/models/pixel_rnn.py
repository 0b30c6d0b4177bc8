"""What the two PixelRNNs share: a masked convolution, recurrent layers that add to it, and the head.

van den Oord et al. 2016a, "Pixel recurrent neural networks", table 1 and figure 5. A 7 x 7 convolution under
mask A makes 2h features of each pixel; each recurrent layer reads them, has h units, and adds to the 2h
features through a 1 x 1 layer; ReLU and 1 x 1 layers under mask B follow. In every layer the features are
divided among the colours, R before G before B, and in a recurrent layer each gate's are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import layer_sizes, whole_number
from chainrule.conditionals import Conditional
from chainrule.layers.conv_stepper import ImageStepper
from chainrule.layers.feature_maps import batch_first, features_first
from chainrule.layers.lstm_cell import forget_bias
from chainrule.layers.masked_conv import MaskedConv2d, ShiftedConv2d, odd_size
from chainrule.layers.masked_row import MaskedRow
from chainrule.layers.pixel_head import HeadStepper, PixelHead
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import Ordering

__all__ = ["PixelRNN", "PixelRNNStepper", "input_to_state", "output_of_state"]


class PixelRNN(RasterImageModel):
    """The frame of `RowLSTM` and `DiagonalBiLSTM`, which write `_recurrent`, `init_state` and their layers.

    - `event_shape`, `conditional`, `ordering`, `context_size`, `one_hot`: as in `RasterImageModel`; the
      context shifts the first layer and every gate.
    - `features`: h units in a recurrent layer; layers add to 2h features.
    - `num_layers`: recurrent layers.
    - `first_kernel_size`: side of the first layer's kernel; odd, at least 3.
    - `head`: features of the 1 x 1 layers between the last recurrent layer and the parameters.
    """

    default_learning_rate = 1e-3
    any_size = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int,
        num_layers: int,
        first_kernel_size: int,
        head: Sequence[int],
        ordering: str | Sequence[int] | Ordering,
        context_size: int,
        conditional: str | Conditional,
        one_hot: bool,
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
        self.first_kernel_size = odd_size("first_kernel_size", first_kernel_size, minimum=3)
        self.head = layer_sizes("head", head)
        channels, read = self.channels, self.channels * self.read_size
        self.first = MaskedConv2d(read, 2 * features, first_kernel_size, "A", channels=channels)
        self.context_to_first = nn.Linear(context_size, 2 * features, bias=False) if context_size else None
        self.pixel_head = PixelHead(2 * features, self.head, channels * self.outputs.width, channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        seen = self._as_seen(x)
        first = self.first(seen)
        if self.context_to_first is not None:
            first = first + self.context_to_first(context)[:, :, None, None]
        u = self._recurrent(features_first(first), seen, context)
        # To 1 x 1 layers all pixels of all images may lie in one image.
        z = self.pixel_head(u.flatten(1, 2)[None])
        return self._as_params(batch_first(z.view(-1, *self.grid, len(x))))

    @abstractmethod
    def _recurrent(self, u: Tensor, seen: Tensor, context: Tensor | None) -> Tensor:
        """All recurrent layers, from `(2h, rows, columns, batch)` to the same shape.

        - `seen`: the image as the network sees it, `(batch, C I, rows, columns)`.
        """

    def step(self, state: Any, previous_value: Tensor | None) -> tuple[Tensor, Any]:
        """Rows above where a row begins, and then the pixel itself and what lies to its left."""
        return state.step(previous_value), state


def input_to_state(features: int, channels: int, left: int = 0) -> ShiftedConv2d:
    """From 2h features to the four gates of h units, `left` pixels to the left included, under mask B."""
    layer = ShiftedConv2d(
        2 * features, 4 * features, columns=(-left, 0), kind="B", channels=channels, out_blocks=4
    )
    forget_bias(layer.bias)
    return layer


def output_of_state(features: int, channels: int, num_layers: int) -> ShiftedConv2d:
    """From h units to what is added to the 2h features."""
    # No bias: the sum over layers would only carry it along.
    layer = ShiftedConv2d(features, 2 * features, kind="B", channels=channels, bias=False)
    # Each layer adds to the same sum, which should not grow with their number.
    layer.initialise(1 / math.sqrt(num_layers))
    return layer


class PixelRNNStepper(ImageStepper):
    """The first layer and the head, walked over the image; a subclass has the recurrent layers."""

    @torch.no_grad()
    def __init__(self, model: PixelRNN, batch_size: int, context: Tensor | None) -> None:
        first, like = model.first, model.first.weight.detach()
        super().__init__(
            model.channels, model.grid, batch_size, like, model._as_read, model.read_size, first.size // 2
        )
        self.first = MaskedRow(first, self, model.context_to_first, context)
        self.head = HeadStepper(model.pixel_head, batch_size, like)
        #: What the last recurrent layer gives, colour by colour.
        self.top = [like.new_empty(batch_size, size) for size in self.first.sizes]

    def begin_row(self) -> None:
        """What the rows above add in every layer."""
        self.begin_recurrent_row()
        self.first.begin_row(self.image_rows.window)

    @abstractmethod
    def begin_recurrent_row(self) -> None:
        """The same of the recurrent layers."""

    def first_pixel(self, column: int, colour: int, out: Tensor) -> None:
        """Write the first layer's features of one colour of one pixel into `out`."""
        self.first.pixel(self.image.taps(column, colour * self.read_size), column, colour, out)

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.first, chosen.head = self.first.select(rows), self.head.select(rows)
        chosen.top = [top[rows] for top in self.top]
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        return [*super().tensors(), *self.first.tensors(), *self.head.tensors(), *self.top]
