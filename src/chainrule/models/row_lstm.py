"""PixelRNN with Row LSTM layers: an LSTM that walks down the image, a whole row at each step.

van den Oord et al. 2016a, "Pixel recurrent neural networks", section 3.1 and equation 3. With x the 2h
features of row r and h, c the outputs and cells of the rows,

    [o, f, i, g] = K_ss * h_(r-1) + K_is * x_r,    c_r = sigmoid(f) c_(r-1) + sigmoid(i) tanh(g),
    h_r = sigmoid(o) tanh(c_r),    x_r' = x_r + U h_r,

where K_ss and K_is are kernels of k pixels along the row, K_is under mask B. A pixel sees a triangle: of each
row above one pixel more to either side than of the row below it. What lies beyond it is not seen, on
the right from d + reach of the first kernel on, in the row d above.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from chainrule.conditionals import Conditional
from chainrule.layers.conv_stepper import PixelProduct, PixelRow, RowProduct, pixel_weights
from chainrule.layers.feature_maps import convolve_along_row, matrix_along_row
from chainrule.layers.grid_lstm import grid_lstm, row_scan
from chainrule.layers.lstm_cell import Gates, advance, gate_scale
from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds, odd_size
from chainrule.models.pixel_rnn import PixelRNN, PixelRNNStepper, input_to_state, output_of_state
from chainrule.orderings import Ordering

__all__ = ["RowLSTM"]


class RowLSTM(PixelRNN):
    """PixelRNN of Row LSTM layers; the defaults have 7 layers and h = 16, as the paper's network for MNIST.

    The paper says so of its Diagonal BiLSTM and reports the Row LSTM beside it; that both had these sizes is
    taken for granted here, and the two layers of 32 of the head are a choice of this library. For CIFAR-10
    the paper has 12 layers, h = 128 and `head=(1024, 1024)`.

    - `event_shape`, `conditional`, `ordering`, `one_hot`: as in `RasterImageModel`.
    - `context_size`: the context shifts the first layer and every gate.
    - `features`: h units in each layer; layers add to 2h features, divided among the colours.
    - `num_layers`: LSTM layers.
    - `kernel_size`: k, pixels of the kernels along the row; odd, at least 3.
    - `first_kernel_size`: side of the first layer's kernel; odd, at least 3.
    - `head`: features of the 1 x 1 layers between the last LSTM layer and the parameters.

    >>> RowLSTM((1, 28, 28)).num_parameters
    57953
    """

    layers: list[_RowLayer]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        features: int = 16,
        num_layers: int = 7,
        kernel_size: int = 3,
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
        self.kernel_size = odd_size("kernel_size", kernel_size, minimum=3)
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            _RowLayer(features, kernel_size // 2, self.channels, context_size, num_layers)
            for _ in range(num_layers)
        )

    def _recurrent(self, u: Tensor, seen: Tensor, context: Tensor | None) -> Tensor:
        for layer in self.layers:
            u = layer(u, context)
        return u

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _RowStepper:
        """Before the first pixel: of each layer the outputs and cells above, and the row's features."""
        return _RowStepper(self, batch_size, context)


class _RowLayer(nn.Module):
    """One Row LSTM; see the equations above."""

    def __init__(self, features: int, reach: int, channels: int, context_size: int, num_layers: int) -> None:
        super().__init__()
        self.features, self.reach = features, reach
        self.input = input_to_state(features, channels, left=reach)
        # Rows above are known in all colours: no mask.
        self.state = ShiftedConv2d(features, 4 * features, rows=(-1, -1), columns=(-reach, reach), bias=False)
        self.context_to_gates = nn.Linear(context_size, 4 * features, bias=False) if context_size else None
        self.out = output_of_state(features, channels, num_layers)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """`(2h, rows, columns, batch)` to the same."""
        scale = gate_scale(self.features, self.state.weight.detach())
        z = convolve_along_row(self.input, x, scale=scale)
        if self.context_to_gates is not None:
            z = z + (self.context_to_gates(context) * scale).t()[:, None, None]
        weight = matrix_along_row(self.state) * scale[:, None]
        h = grid_lstm(z, weight, row_scan(x.shape[1], x.shape[2], self.reach))
        return convolve_along_row(self.out, h, start=x)


# -------------------------------------------------------------------------------- step by step


class _Views(NamedTuple):
    """Where a layer reads and writes for one colour of one pixel."""

    taps: Tensor  # x of the pixel and to its left
    gates: Gates
    cell: Tensor
    squashed: Tensor
    out: Tensor  # h of the colour, and of all colours heard; with the opposite sign
    out_heard: Tensor
    below: Tensor
    above: Tensor


class _LayerStepper:
    """A layer with its weights made ready, its cells, its outputs and the features below it.

    Cells and outputs of the row above give way to those of the row, pixel by pixel: what they add to
    the row was computed when it began.
    """

    def __init__(self, layer: _RowLayer, stepper: PixelRNNStepper, context: Tensor | None) -> None:
        size, width, like = stepper.batch_size, stepper.width, stepper.like
        features, channels = layer.features, stepper.channels
        scale = gate_scale(features, like)
        # The gates of each colour side by side.
        order = torch.argsort(layer.input.hearing, stable=True).to(like.device)
        self.sizes = torch.bincount(layer.input.hearing, minlength=channels).tolist()
        assert layer.input.bias is not None
        state = (-scale[:, None, None, None] * layer.state.kernel())[order]
        self.above = RowProduct(state, layer.reach, (scale * layer.input.bias)[order], width * size)
        scales = torch.split(scale[order, None], self.sizes)
        taps = pixel_weights(layer.input)
        self.along = PixelProduct((w * by for w, by in zip(taps, scales, strict=True)), size)
        self.out = PixelProduct((-weight for weight in pixel_weights(layer.out)), size)
        self.shift: Tensor | None = None
        if layer.context_to_gates is not None:
            self.shift = (layer.context_to_gates(context) * scale)[:, order]
        self.bounds = colour_bounds(features, channels)
        self.row = PixelRow(like, width, size, 2 * features, layer.reach)
        self.cells, self.outputs = like.new_zeros(2, width, size, features)
        self.squashed = like.new_empty(size, features)
        #: What the row above adds to each pixel of this one, `(columns, batch, 4h)`, and then its gates.
        self.start_row = like.new_zeros(width, size, 4 * features)
        self.start = self._places()

    def begin_row(self) -> None:
        """What the outputs of the row above add to the gates of each pixel."""
        row = self.above(self.outputs)
        self.start_row.copy_(row if self.shift is None else row + self.shift)

    def views(self, above: Tensor, column: int, colour: int) -> _Views:
        """The places of one colour of one pixel, the same in every row."""
        start, end = self.bounds[colour], self.bounds[colour + 1]
        wide_start, wide_end = colour_bounds(self.row.features, len(self.sizes))[colour : colour + 2]
        return _Views(
            taps=self.row.taps(column, wide_end),
            gates=Gates.of(self.start[colour][column], dim=1),
            cell=self.cells[column][:, start:end],
            squashed=self.squashed[:, start:end],
            out=self.outputs[column][:, start:end],
            out_heard=self.outputs[column][:, :end],
            below=self.row.at(column, wide_start, wide_end),
            above=above,
        )

    def pixel(self, views: _Views, colour: int) -> None:
        """Compute the features of one colour of one pixel, from and into the places that `views` names."""
        taps, gates, cell, squashed, out, out_heard, below, above = views
        self.along.add_to(gates.all, taps, colour, gates.all)
        advance(gates, cell, cell, squashed, out)
        self.out.add_to(below, out_heard, colour, above)

    def select(self, rows: Tensor) -> _LayerStepper:
        """The layer of these rows of the batch."""
        chosen = copy.copy(self)
        chosen.shift = None if self.shift is None else self.shift[rows]
        chosen.row = self.row.select(rows)
        chosen.cells, chosen.outputs = self.cells[:, rows], self.outputs[:, rows]
        chosen.squashed = self.squashed[rows]
        chosen.start_row = self.start_row[:, rows]
        chosen.start = chosen._places()
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [self.start_row, self.cells, self.outputs, self.squashed, *self.row.tensors()]

    def _places(self) -> list[tuple[Tensor, ...]]:
        """Views of `start_row` by colour and column."""
        return [of_colour.unbind(0) for of_colour in torch.split(self.start_row, self.sizes, dim=2)]


class _RowStepper(PixelRNNStepper):
    """All layers of a Row LSTM: the row above at once, the row itself a pixel at a time."""

    @torch.no_grad()
    def __init__(self, model: RowLSTM, batch_size: int, context: Tensor | None) -> None:
        super().__init__(model, batch_size, context)
        self.layers = [_LayerStepper(layer, self, context) for layer in model.layers]
        self._views: dict[tuple[int, int], list[_Views]] = {}

    def begin_recurrent_row(self) -> None:
        """What the row above adds in every layer."""
        for layer in self.layers:
            layer.begin_row()

    def pixel(self, column: int, colour: int) -> Tensor:
        """All layers at one pixel."""
        views = self._views.get((column, colour))
        if views is None:
            views = self._views[column, colour] = self._views_of(column, colour)
        self.first_pixel(column, colour, views[0].below)
        for layer, of_layer in zip(self.layers, views, strict=True):
            layer.pixel(of_layer, colour)
        return self.head.pixel(self.top[colour], colour)

    def _views_of(self, column: int, colour: int) -> list[_Views]:
        """The places in all layers, each of which writes where the next one reads; from the last down."""
        above, views = self.top[colour], []
        for layer in reversed(self.layers):
            views.append(layer.views(above, column, colour))
            above = views[-1].below
        return views[::-1]

    def select_rows(self, rows: Tensor) -> Self:
        """The stepper of these rows of the batch, indices `(k,)`."""
        chosen = super().select_rows(rows)
        chosen.layers = [layer.select(rows) for layer in self.layers]
        chosen._views = {}
        return chosen

    def tensors(self) -> list[Tensor]:
        """All that is kept between two pixels."""
        return [*super().tensors(), *(tensor for layer in self.layers for tensor in layer.tensors())]
