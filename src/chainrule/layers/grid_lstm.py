"""An LSTM that walks over the pixels of an image, many of them at once, forwards and backwards in time.

van den Oord et al. 2016a, "Pixel recurrent neural networks", sections 3.1 and 3.2. At pixel p

    z_p = x_p + W [h_q for q read by p],    o, f, i = sigmoid(z_p^o, z_p^f, z_p^i),    g = tanh(z_p^g),
    c_p = f c_q + i g,    h_p = o tanh(c_p),

where states outside the image are 0. A `Scan` says which pixels are computed together and where the
states lie that they read: in a row scan whole rows one after another, in a diagonal scan the diagonals,
which is the paper's "skewed" map without moving anything: in memory the pixels of a diagonal are evenly
spaced. The gradient is written out, so that a step takes few operations and the gradient of W one product.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chainrule.layers.lstm_cell import Gates, advance

__all__ = ["Scan", "diagonal_scan", "grid_lstm", "row_scan"]


class _Step(NamedTuple):
    """Pixels computed together."""

    pixels: slice  # of the image, row after row
    states: slice  # the same pixels on the grid of states, which has a margin of zeros
    before: slice  # where their cells come from
    taps: tuple[slice, ...]  # the outputs that they read


class Scan(NamedTuple):
    """How the LSTM walks over an image of `height x width`.

    - `margin`: columns of zeros on either side of the grid of states; there is one row of them above.
    - `taps`: offsets (rows, columns) of the states that a pixel reads.
    """

    height: int
    width: int
    margin: int
    taps: tuple[tuple[int, int], ...]
    steps: tuple[_Step, ...]

    def inside(self, states: Tensor, rows: int = 0, columns: int = 0) -> Tensor:
        """The states that lie this far from each pixel: `(features, height, width, batch)`, a view."""
        grid = states.view(len(states), self.height + 1, self.width + 2 * self.margin, -1)
        top, left = 1 + rows, self.margin + columns
        return grid[:, top : top + self.height, left : left + self.width]

    @property
    def num_states(self) -> int:
        """Places of the grid of states."""
        return (self.height + 1) * (self.width + 2 * self.margin)


@functools.lru_cache(maxsize=64)
def row_scan(height: int, width: int, reach: int) -> Scan:
    """A row at a time: a pixel reads `2 reach + 1` states above it, and the cell right above it."""
    lines = [(row, 0, width) for row in range(height)]
    taps = tuple((-1, column) for column in range(-reach, reach + 1))
    return _scan(height, width, reach, taps, (-1, 0), lines, slope=None)


@functools.lru_cache(maxsize=64)
def diagonal_scan(height: int, width: int, direction: Literal["left", "right"]) -> Scan:
    """A diagonal at a time: a pixel reads the state above it and the one to its left, or right.

    Its cell comes from the left, or right.
    """
    side, slope = (-1, -1) if direction == "left" else (1, 1)
    lines = []
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(height - 1, diagonal)
        column = diagonal - first if direction == "left" else width - 1 - diagonal + first
        lines.append((first, column, last - first + 1))
    return _scan(height, width, 1, ((0, side), (-1, 0)), (0, side), lines, slope)


def _scan(
    height: int,
    width: int,
    margin: int,
    taps: tuple[tuple[int, int], ...],
    cell: tuple[int, int],
    lines: list[tuple[int, int, int]],
    slope: int | None,
) -> Scan:
    """From the lines of pixels computed together: first row and column, and how many.

    - `slope`: the columns that a line moves with each row; None for lines along the row.
    """
    wide = width + 2 * margin

    def places(row: int, column: int, count: int, stride: int) -> slice:
        start = row * stride + column
        step = 1 if slope is None else max(stride + slope, 1)  # 0: a single column, and a single pixel
        return slice(start, start + (count - 1) * step + 1, step)

    steps = []
    for row, column, count in lines:

        def states(offset: tuple[int, int], row: int = row, column: int = column, n: int = count) -> slice:
            return places(row + 1 + offset[0], margin + column + offset[1], n, wide)

        steps.append(
            _Step(places(row, column, count, width), states((0, 0)), states(cell), tuple(map(states, taps)))
        )
    return Scan(height, width, margin, taps, tuple(steps))


def grid_lstm(z: Tensor, weight: Tensor, scan: Scan) -> Tensor:
    """The outputs h of all pixels, `(features, height, width, batch)`, from what enters their gates.

    - `z`: `(4 features, height, width, batch)`: x_p above, with the gates in the order o, f, i, g. What
      enters g must come doubled, see `lstm_cell`.
    - `weight`: `(4 features, taps * features)`, one tap of the scan after another, doubled in the same way.

    Computed in single precision at least: a recurrence of many steps is no place for bfloat16.
    """
    with torch.autocast(z.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(z.dtype, weight.dtype), torch.float32)
        needs_gradient = torch.is_grad_enabled() and (z.requires_grad or weight.requires_grad)
        outputs: Tensor = _GridLSTM.apply(  # type: ignore[no-untyped-call]
            z.to(dtype), -weight.to(dtype), scan, needs_gradient
        )
        return -outputs


class _GridLSTM(torch.autograd.Function):
    """-h from z and -W, as `lstm_cell` keeps them."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weight: Tensor, scan: Scan, needs_gradient: bool) -> Tensor:
        features, batch = len(z) // 4, z.shape[-1]
        z = z.flatten(1, 2)
        outputs = z.new_zeros(features, scan.num_states, batch)
        cells = z.new_zeros(features, scan.num_states, batch)
        kept: list[Tensor] = []
        for step in scan.steps:
            entering = z[:, step.pixels].clone(memory_format=torch.contiguous_format)
            heard = torch.cat([outputs[:, tap] for tap in step.taps])
            entering.flatten(1).addmm_(weight, heard.flatten(1))
            gates = Gates.of(entering, dim=0)
            squashed = torch.empty_like(gates.o)
            advance(gates, cells[:, step.before], cells[:, step.states], squashed, outputs[:, step.states])
            if needs_gradient:
                kept += [entering, squashed]
        if needs_gradient:
            ctx.scan = scan
            ctx.save_for_backward(weight, outputs, cells, *kept)
        return scan.inside(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        scan: Scan = ctx.scan
        weight, outputs, cells, *kept = ctx.saved_tensors
        features, batch = len(outputs), outputs.shape[-1]
        d_outputs, d_cells = torch.zeros_like(outputs), torch.zeros_like(cells)
        scan.inside(d_outputs).copy_(grad)
        d_z = grad.new_empty(4 * features, scan.height * scan.width, batch)
        transposed = weight.t().contiguous()
        with torch.autocast(grad.device.type, enabled=False):
            for number in reversed(range(len(scan.steps))):
                step, entered, squashed = scan.steps[number], kept[2 * number], kept[2 * number + 1]
                gates = Gates.of(entered, dim=0)
                d_gates = _into_gates(gates, squashed, step, d_outputs, d_cells, cells)
                d_z[:, step.pixels] = d_gates
                d_heard = torch.mm(transposed, d_gates.flatten(1)).view(-1, features, *d_gates.shape[1:])
                for tap, of_tap in zip(step.taps, d_heard, strict=True):
                    d_outputs[:, tap].add_(of_tap)
            # All steps in one product for each tap.
            flat = d_z.flatten(1)
            d_weight = torch.cat(
                [torch.mm(flat, scan.inside(outputs, *tap).flatten(1).t()) for tap in scan.taps], dim=1
            )
        return d_z.view(-1, scan.height, scan.width, batch), d_weight, None, None


def _into_gates(
    gates: Gates, squashed: Tensor, step: _Step, d_outputs: Tensor, d_cells: Tensor, cells: Tensor
) -> Tensor:
    """The gradient in what entered the gates of a step; that in the cells before goes into `d_cells`.

    In terms of `lstm_cell`: the output is o - 2 o s with s = sigmoid(2 c), and 2 c is
    f 2 c_before + i (4 g - 2), where g stands for the sigmoid.
    """
    z, o, f, i, g = gates
    d_out = d_outputs[:, step.states]
    through = torch.ops.aten.sigmoid_backward(d_out * o, squashed)
    d_cell = torch.add(d_cells[:, step.states], through, alpha=-2)
    d_gates = torch.empty_like(z)
    d_o, d_f, d_i, d_g = d_gates.chunk(4)
    torch.addcmul(d_out, d_out, squashed, value=-2, out=d_o)
    torch.mul(d_cell, cells[:, step.before], out=d_f)
    torch.mul(d_cell, g, out=d_i).mul_(4).sub_(d_cell, alpha=2)
    torch.mul(d_cell, i, out=d_g).mul_(4)
    torch.mul(d_cell, f, out=d_cells[:, step.before])
    return torch.ops.aten.sigmoid_backward(d_gates, z)  # type: ignore[no-any-return]
