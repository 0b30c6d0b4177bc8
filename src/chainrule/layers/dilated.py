"""Gated dilated convolutions over a sequence: in parallel over a stretch, or value by value.

One layer is equation 2 of van den Oord et al. 2016 (WaveNet) with its residual and skip. Its memory is a
ring of the inputs that it will look back at. `DilatedStepper` runs a stack of them for a single value in
a few products: thousands of steps a second need preallocated memory and few, fused operations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.layers.gate import gated

__all__ = ["DilatedLayer", "DilatedStepper"]


class DilatedLayer(nn.Module):
    """One dilated convolution with its gate, and what it adds to the stream and to the skips.

    - `channels`: of the stream; `skip_channels`: of the skips; `heard`: numbers of context, 0 for none.
    - `kernel_size`: inputs that are read, `dilation` apart.
    """

    def __init__(
        self, channels: int, skip_channels: int, kernel_size: int, dilation: int, heard: int
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.channels = kernel_size, dilation, channels
        self.taps = nn.Linear(kernel_size * channels, 2 * channels)  # filters, then gates; oldest tap first
        self.context = nn.Linear(heard, 2 * channels, bias=False) if heard else None
        self.out = nn.Linear(channels, channels + skip_channels)  # W_r and W_s in one product

    def new_ring(self, batch_size: int) -> Tensor:
        """The inputs before the start, zeros: `(batch, reach, channels)`, oldest first."""
        reach = (self.kernel_size - 1) * self.dilation
        return self.out.weight.new_zeros(batch_size, reach, self.channels)

    def forward(self, h: Tensor, ring: Tensor, heard: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """New inputs `(batch, k, channels)`: what is added to the stream, to the skips, and the ring after.

        - `heard`: `(batch, 1 or k, heard)`, the context.
        """
        extended = torch.cat([ring, h], dim=1)
        starts = range(0, self.kernel_size * self.dilation, self.dilation)
        a = self.taps(torch.cat([extended[:, start : start + h.shape[1]] for start in starts], dim=2))
        if self.context is not None:
            a = a + self.context(heard)
        z = gated(a.flatten(0, 1)).view(*a.shape[:2], self.channels)
        stream, skip = self.out(z).split([self.channels, self.out.out_features - self.channels], dim=2)
        return stream, skip, extended[:, h.shape[1] :]


class DilatedStepper:
    """A stack of dilated layers, one value after another; without gradients.

    - `layers`: from the bottom up; `rings`: what each has read before.
    - `heard`: `(batch, heard)`, the context where it is the same for all variables; else given to `step`.
    """

    def __init__(self, layers: Sequence[DilatedLayer], rings: Sequence[Tensor], heard: Tensor | None) -> None:
        batch, channels = len(rings[0]), layers[0].channels
        self.layers, self.time = layers, 0
        # Slot t mod d holds inputs t - (K - 1) d, ..., t - d, t side by side: one row for one product.
        self.slots = [_slots(layer, ring) for layer, ring in zip(layers, rings, strict=True)]
        self.weights = [_doubled(layer.taps.weight.T, channels) for layer in layers]
        self.biases = [self._bias(layer, heard) for layer in layers]
        self.streams = [2 * layer.out.weight[:channels].T for layer in layers]
        self.stream_biases = [layer.out.bias[:channels] for layer in layers]
        self.skips = torch.cat([2 * layer.out.weight[channels:].T for layer in layers])
        self.skip_bias = torch.stack([layer.out.bias[channels:] for layer in layers]).sum(0)
        self._make_room(batch, channels)

    def _make_room(self, batch: int, channels: int) -> None:
        """Memory that every step writes to again; making views of it anew would cost a third of a step."""
        self.gates = self.skips.new_empty(batch, 2 * channels)
        self.filters, self.openings = self.gates.chunk(2, dim=1)
        self.gated = self.skips.new_empty(batch, len(self.layers) * channels)
        self.outs = self.gated.chunk(len(self.layers), dim=1)
        self.rows = [slots.flatten(2).unbind(0) for slots in self.slots]
        self.older = [slots[:, :, :-1].unbind(0) for slots in self.slots]
        self.newer = [slots[:, :, 1:].unbind(0) for slots in self.slots]
        self.newest = [slots[:, :, -1].unbind(0) for slots in self.slots]

    def _bias(self, layer: DilatedLayer, heard: Tensor | None) -> Tensor:
        bias = layer.taps.bias
        if layer.context is not None and heard is not None:
            bias = bias + layer.context(heard)
        return _doubled(bias, layer.channels)

    def step(self, h: Tensor, heard: Tensor | None = None) -> Tensor:
        """Read one input, `(batch, channels)`; the sum of all skips, `(batch, skip_channels)`."""
        for index, layer in enumerate(self.layers):
            slot = self.time % layer.dilation
            newer = self.newer[index][slot]
            self.older[index][slot].copy_(newer if layer.kernel_size == 2 else newer.clone())
            self.newest[index][slot].copy_(h)
            bias = self.biases[index] if heard is None else self._bias(layer, heard)
            torch.addmm(bias, self.rows[index][slot], self.weights[index], out=self.gates)
            self.gates.sigmoid_()
            # tanh(a) = 2 sigmoid(2 a) - 1: one 2 is in the weights before, the other in those after.
            torch.mul(self.filters.sub_(0.5), self.openings, out=self.outs[index])
            h = torch.addmm(h, self.outs[index], self.streams[index]).add_(self.stream_biases[index])
        self.time += 1
        return torch.addmm(self.skip_bias, self.gated, self.skips)

    def rings(self) -> list[Tensor]:
        """What each layer has read last, for a stretch to go on from."""
        return [self._ring(layer, slots) for layer, slots in zip(self.layers, self.slots, strict=True)]

    def _ring(self, layer: DilatedLayer, slots: Tensor) -> Tensor:
        d = layer.dilation
        recent = slots.roll(-(self.time % d), 0)[:, :, 1:]  # (d, batch, K - 1, channels), the next slot first
        return recent.permute(1, 2, 0, 3).flatten(1, 2)


def _slots(layer: DilatedLayer, ring: Tensor) -> Tensor:
    """`(dilation, batch, K, channels)`; the present input comes last, and is still to come."""
    batch, _, channels = ring.shape
    slots = ring.new_zeros(layer.dilation, batch, layer.kernel_size, channels)
    past = ring.reshape(batch, layer.kernel_size - 1, layer.dilation, channels)
    slots[:, :, 1:] = past.permute(2, 0, 1, 3)
    return slots


def _doubled(gates: Tensor, channels: int) -> Tensor:
    """`(..., 2 channels)` with the half of the tanh doubled."""
    return torch.cat([2 * gates[..., :channels], gates[..., channels:]], dim=-1)
