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

    What a layer looks back at is known when a step begins, so all layers' products with it are one; a layer
    then adds its product with the present input. Three things leave four operations to a layer. The stream is
    kept without the biases that the layers below have added: they are constant, and part of what enters the
    gates. tanh(a) sigmoid(b) is s_b (2 s_2a - 1), the 2 of 2 a is in the weights, and the gates are kept with
    the opposite sign, s_b - 2 s_2a s_b, as are the weights that read them. And all rings are one tensor.
    """

    def __init__(self, layers: Sequence[DilatedLayer], rings: Sequence[Tensor], heard: Tensor | None) -> None:
        self.layers, self.time = layers, 0
        channels = self.channels = layers[0].channels
        outs = [layer.out for layer in layers]
        below = torch.stack([out.bias[:channels] for out in outs]).cumsum(0).roll(1, 0)
        below[0] = 0
        self.below = below  # (layers, channels): what is missing in the stream that a layer reads
        self._prepare_gates(heard)
        self.streams = [-out.weight[:channels].T.contiguous() for out in outs[:-1]]
        self.skips = torch.cat([-out.weight[channels:].T for out in outs])
        self.skip_bias = torch.stack([out.bias[channels:] for out in outs]).sum(0)
        self._fill_memory(rings)

    def _prepare_gates(self, heard: Tensor | None) -> None:
        """The weights of the gates, of what was read before and of the present input, and their biases."""
        channels, older, present, biases = self.channels, [], [], []
        for layer, below in zip(self.layers, self.below, strict=True):
            weight = _doubled(layer.taps.weight.T, channels)  # (kernel_size * channels, 2 channels)
            older.append(weight[:-channels])
            present.append(weight[-channels:].contiguous())
            biases.append(_doubled(layer.taps.bias, channels) + below.repeat(layer.kernel_size) @ weight)
        self.older, self.present = torch.stack(older), present
        self.biases = torch.stack(biases)[:, None]  # (layers, 1 or batch, 2 channels)
        self.contexts = None
        if self.layers[0].context is not None:
            of_layers = [layer.context.weight.T for layer in self.layers if layer.context is not None]
            self.contexts = torch.stack([_doubled(weight, channels) for weight in of_layers])
            if heard is not None:
                self.biases = self.biases + heard @ self.contexts

    def _fill_memory(self, rings: Sequence[Tensor]) -> None:
        """All rings end to end, and the memory that every step writes to again."""
        batch, channels, count = len(rings[0]), self.channels, len(self.layers)
        self.memory = torch.cat(
            [(ring - below).transpose(0, 1) for ring, below in zip(rings, self.below, strict=True)]
        )  # (slots, batch, channels)
        sizes = torch.tensor([ring.shape[1] for ring in rings])
        taps = torch.arange(self.layers[0].kernel_size - 1)
        dilations = torch.tensor([layer.dilation for layer in self.layers])
        #: Where each ring begins and its size, `(layers, 1)`, and the places of what its layer looks back at.
        self.first = (sizes.cumsum(0) - sizes)[:, None].to(self.memory.device)
        self.sizes = sizes[:, None].to(self.memory.device)
        self.places = (dilations[:, None] * taps).to(self.memory.device)
        self.inputs = self.memory.new_empty(count, batch, channels)
        self.input_of = self.inputs.unbind(0)
        self.gates = self.memory.new_empty(count, batch, 2 * channels)
        self.gated = self.memory.new_empty(batch, count * channels)
        outs = self.gated.chunk(count, dim=1)
        #: Views cost as much as the operations on them: a layer's gate, both halves, and what comes of them.
        self.places_of_gates = [
            (gate, *gate.chunk(2, dim=1), out) for gate, out in zip(self.gates.unbind(0), outs, strict=True)
        ]

    def step(self, h: Tensor, heard: Tensor | None = None) -> Tensor:
        """Read one input, `(batch, channels)`; the sum of all skips, `(batch, skip_channels)`."""
        slots = self.first + (self.places + self.time) % self.sizes
        before = self.memory.index_select(0, slots.flatten())  # (layers * (K - 1), batch, channels)
        if slots.shape[1] > 1:
            before = before.view(*slots.shape, *before.shape[1:]).transpose(1, 2).flatten(2)
        biases = self.biases
        if heard is not None and self.contexts is not None:
            biases = biases + heard @ self.contexts
        torch.baddbmm(biases, before, self.older, out=self.gates)
        self.input_of[0].copy_(h)
        last = len(self.layers) - 1
        for index, (gate, filters, openings, out) in enumerate(self.places_of_gates):
            h = self.input_of[index]
            gate.addmm_(h, self.present[index]).sigmoid_()
            torch.addcmul(openings, filters, openings, value=-2, out=out)
            if index < last:
                torch.addmm(h, out, self.streams[index], out=self.input_of[index + 1])
        self.memory.index_copy_(0, slots[:, 0], self.inputs)  # in the place of the oldest
        self.time += 1
        return torch.addmm(self.skip_bias, self.gated, self.skips)

    def rings(self) -> list[Tensor]:
        """What each layer has read last, for a stretch to go on from."""
        rings = torch.split(self.memory, self.sizes.flatten().tolist())
        return [
            (ring.roll(-(self.time % len(ring)), 0) + below).transpose(0, 1)
            for ring, below in zip(rings, self.below, strict=True)
        ]


def _doubled(gates: Tensor, channels: int) -> Tensor:
    """`(..., 2 channels)` with the half of the tanh doubled."""
    return torch.cat([2 * gates[..., :channels], gates[..., channels:]], dim=-1)
