"""PixelCNN++: whole pixels in two streams, over three resolutions, with a discretized logistic mixture.

Salimans et al. 2017, "PixelCNN++: improving the PixelCNN with discretized logistic mixture likelihood and
other modifications", and the authors' code. One stream knows the rows above a pixel; the other knows the
pixels to its left as well, and hears the first. Both are halved twice on the way down and doubled twice on
the way up, where each block hears a map of its own resolution from the way down. What the last map says of
a pixel are the parameters of all its colours, which are drawn one after another (`CoupledChannels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from torch.nn.utils.parametrizations import weight_norm as normalise_weight

from chainrule.arguments import real_number, whole_number
from chainrule.conditionals import Bernoulli, Conditional, CoupledChannels, DiscretizedLogisticMixture
from chainrule.errors import ChainruleError
from chainrule.inputs import checked_event_shape
from chainrule.layers.conv_stepper import ImageStepper, PixelRow, RowCache
from chainrule.layers.gated_resnet import FeatureMap
from chainrule.layers.masked_conv import ShiftedConv2d
from chainrule.layers.products import RepeatedProduct
from chainrule.layers.resampling import Grow, halved
from chainrule.layers.resolution import Resolution, ResolutionStepper
from chainrule.layers.stream_stepper import RowConvolution, pixel_taps
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import Ordering

__all__ = ["PixelCNNPP"]


class PixelCNNPP(RasterImageModel):
    """PixelCNN++; the defaults are the network of the paper's CIFAR-10.

    - `event_shape`, `ordering`, `one_hot`: as in `RasterImageModel`.
    - `conditional`: for images of several channels a `discretized_logistic_mixture`, which couples the
      channels of a pixel, and by default the paper's, 10 components over 256 levels; for images of one
      channel any family, and by default Bernoulli.
    - `context_size`: the context shifts both halves of every gate, in both streams.
    - `features`: of every map, in each stream.
    - `num_blocks`: residual blocks of a stream at each resolution on the way down; on the way up there is
      one more at every resolution but the lowest.
    - `levels`: resolutions, each half of the one before; odd sizes are rounded up.
    - `dropout`: within the blocks, in training only.
    - `weight_norm`: learn length and direction of every weight vector apart, as the authors did.

    >>> PixelCNNPP((3, 32, 32)).num_parameters
    53610660
    """

    default_learning_rate = 1e-3

    resolutions: list[Resolution]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int = 160,
        num_blocks: int = 5,
        levels: int = 3,
        dropout: float = 0.5,
        weight_norm: bool = False,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional | None = None,
        one_hot: bool = False,
    ) -> None:
        super().__init__(
            event_shape,
            conditional=_usual_family(event_shape) if conditional is None else conditional,
            ordering=ordering,
            context_size=context_size,
            one_hot=one_hot,
        )
        self.features = whole_number("features", features, minimum=1)
        self.num_blocks = whole_number("num_blocks", num_blocks, minimum=1)
        self.levels = whole_number("levels", levels, minimum=1)
        self.dropout = real_number("dropout", dropout, minimum=0, below=1)
        self.weight_norm = bool(weight_norm)
        self.coupling = self._coupling()
        #: The numbers of a pixel, and a 1 that tells the image from the zeros around it.
        self.seen = self.channels * self.read_size + 1
        # The windows of the first kernels end before the pixel: with the row above it, or to its left.
        self.first_above = ShiftedConv2d(self.seen, features, rows=(-2, -1), columns=(-1, 1))
        self.first_row = ShiftedConv2d(self.seen, features, rows=(-1, -1), columns=(-1, 1))
        self.first_left = ShiftedConv2d(self.seen, features, rows=(-1, 0), columns=(-1, -1), bias=False)
        self.resolutions = nn.ModuleList(  # type: ignore[assignment]
            Resolution(features, num_blocks, context_size, is_lowest=number == levels - 1)
            for number in range(levels)
        )
        written = self.outputs.width if self.coupling is None else self.coupling.num_params
        self.last = ShiftedConv2d(features, written)
        self.last.initialise(0.1)  # parameters near 0: a fair guess, of every family
        if self.weight_norm:
            _normalise_weights(self)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass over an image."""
        rows, columns = self.grid
        firsts = (self.first_above, self.first_row, self.first_left, self.last)
        total = rows * columns * sum(layer.multiply_adds for layer in firsts)
        for resolution in self.resolutions:
            blocks, resampling = resolution.multiply_adds
            total += rows * columns * blocks
            rows, columns = halved(rows), halved(columns)
            total += rows * columns * resampling
        return total + sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))

    # ---------------------------------------------------------------- in parallel

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        rate = self.dropout if self.training else 0.0
        image = self._as_seen(x)
        image = torch.cat([image, image.new_ones(len(x), 1, *self.grid)], dim=1)
        above = FeatureMap(self.first_above(image), "above")
        along = FeatureMap(self.first_row(image) + self.first_left(image), "along")
        way_down = []
        for resolution in self.resolutions:
            maps = resolution.down(above, along, context, rate)
            way_down.append(maps)
            if not resolution.is_lowest:
                above, along = resolution.shrink(*maps[-1])
        pair = None
        for number in reversed(range(self.levels)):
            pair = self.resolutions[number].up(pair, way_down[number], context, rate)
        assert pair is not None
        return self._params_of_colours(self.last(elu(pair[1].raw)), x)

    def _params_of_colours(self, z: Tensor, x: Tensor) -> Tensor:
        if self.coupling is None:
            return self._as_params(z)
        pixels = self.to_sequence(x).view(len(x), -1, self.channels)
        of_pixels = z.permute(0, 2, 3, 1).flatten(1, 2).to(x.dtype)  # where mixed precision ends
        return self.from_sequence(self.coupling.channel_params(of_pixels, pixels).flatten(1, 2))

    def _coupling(self) -> CoupledChannels | None:
        if isinstance(self.conditional, DiscretizedLogisticMixture):
            return CoupledChannels(self.conditional, self.channels)
        if self.channels == 1:
            return None
        raise ChainruleError(
            f"{type(self).__name__} sees all colours of a pixel at once, and only the "
            f"{DiscretizedLogisticMixture.name} conditional couples them, not {self.conditional.name!r}; "
            "choose it, or another model, such as GatedPixelCNN."
        )

    # ---------------------------------------------------------------- step by step

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _PixelStepper:
        """The caches before the first pixel: at each resolution the rows above and the pixels to the left."""
        return _PixelStepper(self, batch_size, context)

    def step(self, state: _PixelStepper, previous_value: Tensor | None) -> tuple[Tensor, _PixelStepper]:
        """The stream above where a row begins, the other one where a pixel does, and its next colour."""
        return state.step(previous_value), state


def _usual_family(event_shape: Sequence[int]) -> str:
    """The paper's for colours, and for one channel what every model of the library begins with."""
    shape = checked_event_shape(event_shape)
    has_colours = len(shape) == 3 and shape[0] != 1
    return DiscretizedLogisticMixture.name if has_colours else Bernoulli.name


def _normalise_weights(model: nn.Module) -> None:
    """Salimans & Kingma 2016: w = g v / |v| for the weights of each feature."""
    for layer in list(model.modules()):
        if isinstance(layer, ShiftedConv2d):
            normalise_weight(layer)
        elif isinstance(layer, Grow):
            normalise_weight(layer, dim=1)  # where its features are


# -------------------------------------------------------------------------------- step by step


class _PixelStepper(ImageStepper):
    """All resolutions, a row at a time above and a pixel at a time along the row; colours at the end."""

    @torch.no_grad()
    def __init__(self, model: PixelCNNPP, batch_size: int, context: Tensor | None) -> None:
        like = model.first_above.weight.detach()
        super().__init__(model.channels, model.grid, batch_size, like, model._as_read, model.read_size, 2)
        # Of the image with its ones: two rows above, and one pixel to the left.
        self.image = PixelRow(like, self.width, batch_size, model.seen, reach=1)
        self.image.as_row()[..., -1] = 1
        self.image_rows = RowCache(2, like, self.width, batch_size, model.seen)
        pixels, first = self.width * batch_size, model.first_above
        self.above = RowConvolution(first.kernel(), -1, first.bias, pixels)
        # Two layers look at the row above, and one of them to the left.
        of_row_above = model.first_row.kernel().clone()
        of_row_above[:, :, 0, 0] += model.first_left.kernel()[:, :, 0, 0]
        self.along_above = RowConvolution(of_row_above, -1, model.first_row.bias, pixels)
        self.along_left = RepeatedProduct(pixel_taps(model.first_left), batch_size)
        self.resolutions = ResolutionStepper(model.resolutions, self.width, batch_size, like, context)
        self.last = RepeatedProduct(pixel_taps(model.last), batch_size)
        self.last_bias, self.coupling = model.last.bias, model.coupling
        self.starts = like.new_zeros(self.width, batch_size, model.features)
        self.of_pixel = like.new_zeros(batch_size, model.last.out_features)
        self.of_colour = like.new_zeros(batch_size, model.conditional.num_params)
        self.colours = like.new_zeros(batch_size, model.channels)
        self.row = -1

    def step(self, previous_value: Tensor | None) -> Tensor:
        """Parameters of the next colour, `(batch, num_params)`, given the value of the previous one."""
        if previous_value is not None:
            self.colours[:, (self.position - 1) % self.channels] = previous_value
        return super().step(previous_value)

    def begin_row(self) -> None:
        """The stream above, and what it and the row above add to the other stream."""
        window = self.image_rows.window
        above = self.above(window)
        self.starts = self.along_above(window[..., window.shape[-1] // 2 :])
        self.row += 1
        self.resolutions.begin_row(self.row, above)

    def pixel(self, column: int, colour: int) -> Tensor:
        """The stream along the row at a pixel's first colour; for the others, the coupling alone."""
        if colour == 0:
            features = torch.empty_like(self.starts[column])
            self.along_left.add_to(self.starts[column], self.image.taps(column, 0), features)
            features = self.resolutions.pixel(self.row, column, features)
            self.of_pixel = self.last.with_bias(elu(features), self.last_bias)
        if self.coupling is None:
            return self.of_pixel
        previous = self.of_colour if colour else None
        self.of_colour = self.coupling.next_channel(self.of_pixel, self.colours[:, :colour], previous)
        return self.of_colour

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.resolutions = self.resolutions.select(rows)
        chosen.starts = self.starts[:, rows]
        chosen.of_pixel, chosen.of_colour = self.of_pixel[rows], self.of_colour[rows]
        chosen.colours = self.colours[rows]
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        own = [self.starts, self.of_pixel, self.of_colour, self.colours]
        return [*super().tensors(), *own, *self.resolutions.tensors()]
