"""The gated residual block of PixelCNN++, in its two streams: over whole rows above, and along the row.

Salimans et al. 2017, section 2.4 and figure 2, with the block of the authors' code: from a map x, and other
maps y that it hears at the pixel itself (of the stream above, or a shortcut from the way down),

    z = W_1 * f(x) + sum_y V_y f(y),    (a, b) = W_2 * dropout(f(z)) + U c,    x' = x + a sigmoid(b),

with f the concatenated ELU and c the context. The kernels of the stream above are 2 x 3, a row up and a
column to either side; those along the row are 2 x 2, a row up and a column to the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import conv2d, dropout, glu

from chainrule.layers.concat_elu import Padding, concat_elu
from chainrule.layers.masked_conv import ShiftedConv2d

__all__ = ["FeatureMap", "GatedResnet", "Stream", "window_of"]

Stream = Literal["above", "along"]

#: The gain that gives the product of the concatenated ELU of standard normal features variance 1.
_GAIN = 1 / math.sqrt(0.645)


def window_of(stream: Stream) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of a kernel of the stream: first and last offsets."""
    return (-1, 0), ((-1, 1) if stream == "above" else (-1, 0))


class FeatureMap:
    """Features `(batch, d, height, width)` of a stream, and their concatenated ELU padded for kernels."""

    def __init__(self, raw: Tensor, stream: Stream) -> None:
        self.raw = raw
        (top, bottom), (left, right) = window_of(stream)
        self.padding: Padding = (-left, right, -top, bottom)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.raw.shape[2:]
        return height, width

    @cached_property
    def active(self) -> Tensor:
        """Computed once, however many layers hear it."""
        return concat_elu(self.raw, self.padding)

    def at_pixels(self, layer: ShiftedConv2d) -> Tensor:
        """What a 1 x 1 layer makes of it; at the border too, which is cheaper than another copy."""
        left, _, top, _ = self.padding
        height, width = self.raw.shape[2:]
        y = conv2d(self.active, layer.kernel(), layer.bias)
        return y[:, :, top : top + height, left : left + width]


class GatedResnet(nn.Module):
    """One block of one stream; see the equations above.

    - `features`: d, below and above.
    - `shortcuts`: how many other maps it hears.
    - `gain`: how much it adds to x at first.
    """

    shortcuts: list[ShiftedConv2d]  # in fact an nn.ModuleList

    def __init__(
        self, features: int, stream: Stream, *, shortcuts: int = 0, context_size: int = 0, gain: float = 0.1
    ) -> None:
        super().__init__()
        self.features, self.stream = features, stream
        rows, columns = window_of(stream)
        self.conv_in = ShiftedConv2d(2 * features, features, rows=rows, columns=columns)
        self.shortcuts = nn.ModuleList(  # type: ignore[assignment]
            ShiftedConv2d(2 * features, features, bias=False) for _ in range(shortcuts)
        )
        self.conv_out = ShiftedConv2d(2 * features, 2 * features, rows=rows, columns=columns)
        self.to_gate = nn.Linear(context_size, 2 * features, bias=False) if context_size else None
        for layer in (self.conv_in, *self.shortcuts):
            layer.initialise(_GAIN / math.sqrt(1 + shortcuts))
        self.conv_out.initialise(_GAIN * gain)

    def forward(
        self, x: FeatureMap, others: Sequence[FeatureMap], context: Tensor | None, rate: float
    ) -> FeatureMap:
        """The map above; `rate` is that of dropout, 0 for none."""
        z = conv2d(x.active, self.conv_in.kernel(), self.conv_in.bias)
        for layer, other in zip(self.shortcuts, others, strict=True):
            z = z + other.at_pixels(layer)
        y = concat_elu(z, x.padding)
        if rate:  # even at rate 0 it would draw from the global generator
            y = dropout(y, rate)
        z = conv2d(y, self.conv_out.kernel(), self.conv_out.bias)
        shift = self.shift(context)
        if shift is not None:
            z = z + shift[:, :, None, None]
        return FeatureMap(x.raw + glu(z, dim=1), self.stream)

    def shift(self, context: Tensor | None) -> Tensor | None:
        """What the context adds to both halves of the gate at every pixel, `(batch, 2 d)`."""
        if self.to_gate is None:
            return None
        shift: Tensor = self.to_gate(context)
        return shift
