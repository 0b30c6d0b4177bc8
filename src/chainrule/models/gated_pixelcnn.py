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

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import dropout

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.conditionals import Conditional
from chainrule.layers.gate import gated
from chainrule.layers.masked_conv import ShiftedConv2d, odd_size
from chainrule.layers.pixel_attention import PixelAttention
from chainrule.layers.pixel_head import PixelHead
from chainrule.models.gated_stepper import GatedStepper
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import Ordering

__all__ = ["GatedLayer", "GatedPixelCNN"]


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
    rows_at_once = True

    layers: list[GatedLayer]  # in fact an nn.ModuleList

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
            GatedLayer(
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

    def init_state(self, batch_size: int, context: Tensor | None = None) -> GatedStepper:
        """The caches before the first pixel: for each layer the rows above and the pixels to the left."""
        return GatedStepper(self, batch_size, context)

    def step(self, state: GatedStepper, previous_value: Tensor | None) -> tuple[Tensor, GatedStepper]:
        """The vertical stack where a row begins, and the horizontal one for the pixel."""
        return state.step(previous_value), state


class GatedLayer(nn.Module):
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
