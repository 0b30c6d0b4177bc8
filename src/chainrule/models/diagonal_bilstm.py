"""PixelRNN with Diagonal BiLSTM layers: two LSTMs that cross the image from its two upper corners.

van den Oord et al. 2016a, "Pixel recurrent neural networks", section 3.2. With x the 2h features of the
pixels, one LSTM comes from the left and one from the right, a diagonal at a time:

    left at (r, c)  reads x(r, c) and its own states at (r, c - 1) and (r - 1, c),
    right at (r, c) reads x(r, c) and its own states at (r, c + 1) and (r - 1, c),
    x'(r, c) = x(r, c) + U (left(r, c) + right(r - 1, c)).

A cell is carried along the row. The right LSTM has seen pixels to the right, so its states are used one row
further down, where these pixels are known. Together the two reach every earlier pixel.

One thing is added to the paper. There x(r - 1, c) says nothing of the pixel (r - 1, c) itself, under mask A,
only its right neighbour does; so the last pixel of the row above, which has none, is not seen from further
left than the first kernel reaches. Here the right LSTM of the first layer reads the pixel as well.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from chainrule.conditionals import Conditional
from chainrule.layers.conv_stepper import PixelProduct, pixel_weights
from chainrule.layers.feature_maps import convolve_along_row, features_first, matrix_along_row
from chainrule.layers.grid_lstm import Scan, diagonal_scan, grid_lstm
from chainrule.layers.lstm_cell import Gates, advance, gate_scale
from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds
from chainrule.layers.products import RepeatedProduct
from chainrule.models.pixel_rnn import PixelRNN, PixelRNNStepper, input_to_state, output_of_state
from chainrule.orderings import Ordering

__all__ = ["DiagonalBiLSTM"]


class DiagonalBiLSTM(PixelRNN):
    """PixelRNN of Diagonal BiLSTM layers; the defaults are the paper's network for MNIST (7 layers, h = 16).

    For CIFAR-10 the paper has 12 layers, h = 128 and `head=(1024, 1024)`.

    - `event_shape`, `conditional`, `ordering`, `one_hot`: as in `RasterImageModel`.
    - `context_size`: the context shifts the first layer and every gate.
    - `features`: h units in each direction; layers add to 2h features, divided among the colours.
    - `num_layers`: layers of two LSTMs each.
    - `first_kernel_size`: side of the first layer's kernel; odd, at least 3.
    - `head`: features of the 1 x 1 layers between the last layer and the parameters.

    >>> DiagonalBiLSTM((1, 28, 28)).num_parameters
    65633
    """

    layers: list[_BiLayer]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int = 16,
        num_layers: int = 7,
        first_kernel_size: int = 7,
        head: Sequence[int] = (32, 32),
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
        one_hot: bool = False,
    ) -> None:
        super().__init__(
            event_shape,
            features=features,
            num_layers=num_layers,
            first_kernel_size=first_kernel_size,
            head=head,
            ordering=ordering,
            context_size=context_size,
            conditional=conditional,
            one_hot=one_hot,
        )
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            _BiLayer(features, self.channels, context_size, num_layers) for _ in range(num_layers)
        )
        #: The pixel itself, to the right LSTM of the first layer; see above.
        self.image_to_right = ShiftedConv2d(self.channels * self.read_size, 4 * features, bias=False)

    def _recurrent(self, u: Tensor, seen: Tensor, context: Tensor | None) -> Tensor:
        scale = gate_scale(self.features, u.detach())
        of_image: Tensor | None = convolve_along_row(self.image_to_right, features_first(seen), scale=scale)
        for layer in self.layers:
            u = layer(u, of_image, context)
            of_image = None
        return u

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _DiagonalStepper:
        """Before the first pixel: for each layer the row's features and left states, and those above."""
        return _DiagonalStepper(self, batch_size, context)


class _Direction(nn.Module):
    """One LSTM of a layer."""

    def __init__(self, features: int, channels: int, context_size: int, column: int) -> None:
        super().__init__()
        self.features = features
        self.input = input_to_state(features, channels)
        # States of whole pixels: no mask.
        self.side = ShiftedConv2d(features, 4 * features, columns=(column, column), bias=False)
        self.above = ShiftedConv2d(features, 4 * features, rows=(-1, -1), bias=False)
        self.context_to_gates = nn.Linear(context_size, 4 * features, bias=False) if context_size else None
        for layer in (self.side, self.above):
            layer.initialise(0.5**0.5)

    def forward(self, x: Tensor, scan: Scan, context: Tensor | None, of_image: Tensor | None) -> Tensor:
        """`(2h, rows, columns, batch)` to the LSTM's outputs `(h, rows, columns, batch)`."""
        scale = gate_scale(self.features, self.side.weight.detach())
        z = convolve_along_row(self.input, x, scale=scale)
        shift = self.shift(context)
        if shift is not None:
            z = z + shift.t()[:, None, None]
        if of_image is not None:
            z = z + of_image
        weight = torch.cat([matrix_along_row(self.side), matrix_along_row(self.above)], dim=1)
        return grid_lstm(z, weight * scale[:, None], scan)

    def shift(self, context: Tensor | None) -> Tensor | None:
        """What the context adds to what enters the gates, `(batch, 4h)`, scaled as they are."""
        if self.context_to_gates is None:
            return None
        shift: Tensor = self.context_to_gates(context)
        return shift * gate_scale(self.features, shift.detach())


class _BiLayer(nn.Module):
    """Both LSTMs and what they add to the features; see the equations above."""

    def __init__(self, features: int, channels: int, context_size: int, num_layers: int) -> None:
        super().__init__()
        self.left = _Direction(features, channels, context_size, column=-1)
        self.right = _Direction(features, channels, context_size, column=1)
        self.out = output_of_state(features, channels, num_layers)

    def forward(self, x: Tensor, of_image: Tensor | None, context: Tensor | None) -> Tensor:
        """`(2h, rows, columns, batch)` to the same; `of_image` enters the gates of the right LSTM."""
        _, height, width, _ = x.shape
        left = self.left(x, diagonal_scan(height, width, "left"), context, None)
        right = self.right(x, diagonal_scan(height, width, "right"), context, of_image)
        return convolve_along_row(self.out, left + pad(right, (0, 0, 0, 0, 1, -1)), start=x)


# -------------------------------------------------------------------------------- step by step


class _Weights:
    """The weights of a layer made ready; outputs that they read have the opposite sign, see `lstm_cell`."""

    def __init__(self, layer: _BiLayer, stepper: PixelRNNStepper, context: Tensor | None) -> None:
        left, right, size = layer.left, layer.right, stepper.batch_size
        pixels = stepper.width * size
        scale = gate_scale(left.features, stepper.like)
        # The gates of each colour side by side; the right LSTM needs no such order.
        order = torch.argsort(left.input.hearing, stable=True).to(stepper.like.device)
        self.sizes = torch.bincount(left.input.hearing, minlength=stepper.channels).tolist()
        side = torch.split((-scale[:, None] * matrix_along_row(left.side))[order], self.sizes)
        scales = torch.split(scale[order, None], self.sizes)
        #: From the left neighbour's output and then the pixel's features.
        self.left = PixelProduct(
            (
                torch.cat([of_side, of_input * by], dim=1)
                for of_side, of_input, by in zip(side, pixel_weights(left.input), scales, strict=True)
            ),
            size,
        )
        self.left_above = RepeatedProduct((-scale[:, None] * matrix_along_row(left.above))[order], pixels)
        assert left.input.bias is not None
        assert right.input.bias is not None
        self.left_bias, self.right_bias = (scale * left.input.bias)[order], scale * right.input.bias
        shift = left.shift(context)
        self.left_shift = None if shift is None else shift[:, order]
        self.right_shift = right.shift(context)
        #: From the features of the row above and the outputs above them.
        into_right = torch.cat([matrix_along_row(right.input), -matrix_along_row(right.above)], dim=1)
        self.right = RepeatedProduct(scale[:, None] * into_right, pixels)
        self.right_side = -scale[:, None] * matrix_along_row(right.side)
        self.out = PixelProduct((-weight for weight in pixel_weights(layer.out)), size)

    def select(self, rows: Tensor) -> _Weights:
        """The same for these rows of the batch: only what the context adds differs from row to row."""
        chosen = copy.copy(self)
        if self.left_shift is not None and self.right_shift is not None:
            chosen.left_shift, chosen.right_shift = self.left_shift[rows], self.right_shift[rows]
        return chosen


class _Views(NamedTuple):
    """Where a layer reads and writes for one colour of one pixel."""

    taps: Tensor
    gates: Gates
    cell: Tensor
    squashed: Tensor
    left: Tensor
    right: Tensor
    both: Tensor  # left and right of the colour, and of all colours heard
    both_heard: Tensor
    below: Tensor
    above: Tensor


class _DiagonalStepper(PixelRNNStepper):
    """All layers of a Diagonal BiLSTM.

    The left LSTM goes pixel by pixel, with what its states above add computed when the row begins. The right
    LSTM is then run over the row above, which is complete in all layers, so that all of them are run at
    once, from the last column to the first. The first dimension of what is kept is the layer.
    """

    @torch.no_grad()
    def __init__(self, model: DiagonalBiLSTM, batch_size: int, context: Tensor | None) -> None:
        super().__init__(model, batch_size, context)
        layers, features, width = model.num_layers, model.features, self.width
        self.weights = [_Weights(layer, self, context) for layer in model.layers]
        self.right_side = torch.stack([weights.right_side.t() for weights in self.weights])
        of_image = matrix_along_row(model.image_to_right) * gate_scale(features, self.like)[:, None]
        self.image_to_right = RepeatedProduct(of_image, width * batch_size)
        self.features = features
        self.bounds = colour_bounds(features, self.channels)
        self.wide_bounds = colour_bounds(2 * features, self.channels)
        # Each pixel's 2h features and then its left LSTM's h outputs, behind a pixel of zeros.
        self.rows = self.like.new_zeros(layers, batch_size, (1 + width) * 3 * features)
        # The right LSTM's outputs in the row above.
        self.right = self.like.new_zeros(layers, width, batch_size, features)
        self.cells, self.both = self.like.new_zeros(2, layers, batch_size, features)
        self.squashed = self.like.new_empty(batch_size, features)
        self.z = [self.like.new_empty(batch_size, size) for size in self.weights[0].sizes]
        self.start: list[list[tuple[Tensor, ...]]] = []
        self._views: dict[tuple[int, int], list[_Views]] = {}

    def begin_recurrent_row(self) -> None:
        """Run the right LSTM over the row above, and compute what that row adds to the left one's gates."""
        width, size, features = self.width, self.batch_size, self.features
        # (layers, columns, batch, 3h)
        above = self.rows.view(len(self.rows), size, 1 + width, -1)[:, :, 1:].transpose(1, 2)
        if self.position:
            self._run_right(above[..., : 2 * features])
        self.start = []
        for weights, left in zip(self.weights, above[..., 2 * features :], strict=True):
            row = weights.left_above.with_bias(left.reshape(width * size, features), weights.left_bias)
            row = row.view(width, size, -1)
            if weights.left_shift is not None:
                row = row + weights.left_shift
            self.start.append([of_colour.unbind(0) for of_colour in torch.split(row, weights.sizes, dim=2)])
        self.cells.zero_()

    def _run_right(self, x: Tensor) -> None:
        """The right LSTM of all layers over a row of features, `(layers, columns, batch, 2h)`."""
        width, size = self.width, self.batch_size
        entering = []
        for weights, heard in zip(self.weights, torch.cat([x, self.right], dim=-1), strict=True):
            z = weights.right.with_bias(heard.view(width * size, -1), weights.right_bias).view(
                width, size, -1
            )
            entering.append(z if weights.right_shift is None else z + weights.right_shift)
        image = self.image.as_row().reshape(width * size, -1)
        entering[0] = entering[0] + self.image_to_right.with_bias(image, None).view(width, size, -1)
        columns = torch.stack(entering, dim=1).unbind(0)  # (layers, batch, 4h) each
        gates = Gates.of(torch.empty_like(columns[0]), dim=2)
        cells = torch.zeros_like(self.cells)
        squashed, side = torch.empty_like(cells), torch.zeros_like(cells)
        outputs = self.right.unbind(1)
        for column in range(width - 1, -1, -1):
            torch.baddbmm(columns[column], side, self.right_side, out=gates.all)
            advance(gates, cells, cells, squashed, outputs[column])
            side = outputs[column]

    def pixel(self, column: int, colour: int) -> Tensor:
        """All layers at one pixel."""
        views = self._views.get((column, colour))
        if views is None:  # the same places serve every row
            views = self._views[column, colour] = [
                self._views_of(number, column, colour) for number in range(len(self.weights))
            ]
        self.first_pixel(column, colour, views[0].below)
        for weights, start, of_layer in zip(self.weights, self.start, views, strict=True):
            taps, gates, cell, squashed, left, right, both, both_heard, below, above = of_layer
            weights.left.add_to(start[colour][column], taps, colour, gates.all)
            advance(gates, cell, cell, squashed, left)
            torch.add(left, right, out=both)
            weights.out.add_to(below, both_heard, colour, above)
        return self.head.pixel(self.top[colour], colour)

    def _views_of(self, number: int, column: int, colour: int) -> _Views:
        """The places of one colour of one pixel in a layer, the same in every row."""
        start, end = self.bounds[colour], self.bounds[colour + 1]
        wide_start, wide_end = self.wide_bounds[colour], self.wide_bounds[colour + 1]
        slot = (1 + column) * 3 * self.features
        row, is_last = self.rows[number], number + 1 == len(self.rows)
        return _Views(
            taps=row[:, slot - self.features : slot + wide_end],
            gates=Gates.of(self.z[colour], dim=1),
            cell=self.cells[number][:, start:end],
            squashed=self.squashed[:, start:end],
            left=row[:, slot + 2 * self.features + start : slot + 2 * self.features + end],
            right=self.right[number, column][:, start:end],
            both=self.both[number][:, start:end],
            both_heard=self.both[number][:, :end],
            below=row[:, slot + wide_start : slot + wide_end],
            above=self.top[colour]
            if is_last
            else self.rows[number + 1][:, slot + wide_start : slot + wide_end],
        )

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.weights = [weights.select(rows) for weights in self.weights]
        chosen.rows, chosen.right = self.rows[:, rows], self.right[:, :, rows]
        chosen.cells, chosen.both = self.cells[:, rows], self.both[:, rows]
        chosen.squashed, chosen.z = self.squashed[rows], [z[rows] for z in self.z]
        chosen.start = [[tuple(at[rows] for at in of_colour) for of_colour in start] for start in self.start]
        chosen._views = {}
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        starts = [at for start in self.start for of_colour in start for at in of_colour]
        own = [self.rows, self.right, self.cells, self.both, self.squashed, *self.z]
        return [*super().tensors(), *own, *starts]
