"""A masked feed-forward network run one input after another, each weight used exactly once.

A unit numbered m is final once the first m inputs are known. With the units sorted by number, what is
known after t inputs is a leading part of every layer. So each step computes a few new units from
leading slices. The slices are cut in two: what was known when the current block of inputs began has
been added for the whole block by one large product, and only the rest is added step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MaskedStepper", "SortedLayer"]

_BLOCK = 28

#: f(pre-activation, the same units one layer below or None).
Activate = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class SortedLayer:
    """A hidden layer with its units, and those below, in ascending order of their numbers.

    - `weight`: `(d, d_below)`; entries that the mask closes may be anything where they lie outside
      the leading slices, that is, where the unit below has the greater number.
    - `start`: `(batch, d)`, biases and whatever else is known before the first input.
    - `degrees`: `(d,)`, ascending.
    """

    weight: Tensor
    start: Tensor
    degrees: Tensor


class MaskedStepper:
    """The incremental form of a stack of masked linear layers.

    - `layers`: the hidden layers from the bottom up.
    - `output_weight`: `(n, num_params, d_last)`, outputs in the ordering; `output_start`:
      `(batch, n, num_params)`; `direct_weight`: `(n, num_params, n)` from inputs in the ordering.
    - `activate`: the activation; `residual`: whether it gets the units below as a skip.
    """

    def __init__(
        self,
        layers: Sequence[SortedLayer],
        output_weight: Tensor,
        output_start: Tensor,
        direct_weight: Tensor | None,
        activate: Activate,
        residual: bool,
    ) -> None:
        self.layers = layers
        self.batch_size, self.num_inputs, self.num_params = output_start.shape
        self.output_weight = output_weight.flatten(0, 1)  # (n * num_params, d_last)
        self.direct_weight = None if direct_weight is None else direct_weight.flatten(0, 1)
        self.output_start = output_start.flatten(1)
        self.activate, self.residual = activate, residual
        self.inputs = output_start.new_zeros(self.batch_size, self.num_inputs)
        self.hidden = [torch.empty_like(layer.start) for layer in layers]
        self.final = [_final_units(layer.degrees, self.num_inputs) for layer in layers]
        self.position = 0

    def step(self, previous_value: Tensor | None) -> Tensor:
        """Parameters of the next variable, `(batch, num_params)`, given the previous one's value."""
        t = self.position
        if previous_value is not None:
            self.inputs[:, t - 1] = previous_value
        if t % _BLOCK == 0:
            self._begin_block()
        below, old, now = self.inputs, self.block, t
        for index, layer in enumerate(self.layers):
            final = self.final[index]
            first, last, offset = final[t], final[t + 1], final[self.block]
            if last > first:
                z = self.pending[index][:, first - offset : last - offset]
                if now > old:
                    z = torch.addmm(z, below[:, old:now], layer.weight[first:last, old:now].T)
                skip = below[:, first:last] if self.residual and index else None
                self.hidden[index][:, first:last] = self.activate(z, skip)
            below, old, now = self.hidden[index], offset, last
        outputs = slice(t * self.num_params, (t + 1) * self.num_params)
        offset = (t - self.block) * self.num_params
        params = self.pending_params[:, offset : offset + self.num_params]
        if self.layers and now > old:
            params = torch.addmm(params, below[:, old:now], self.output_weight[outputs, old:now].T)
        if self.direct_weight is not None and t > self.block:
            recent = slice(self.block, t)
            params = torch.addmm(params, self.inputs[:, recent], self.direct_weight[outputs, recent].T)
        self.position += 1
        return params

    def _begin_block(self) -> None:
        """Add what is known by now to every unit and output of the coming block."""
        self.block = t = self.position
        end = min(t + _BLOCK, self.num_inputs)
        self.pending = []
        below, known = self.inputs, t
        for layer, hidden, final in zip(self.layers, self.hidden, self.final, strict=True):
            units = slice(final[t], final[end])
            self.pending.append(
                torch.addmm(layer.start[:, units], below[:, :known], layer.weight[units, :known].T)
            )
            below, known = hidden, final[t]
        outputs = slice(t * self.num_params, end * self.num_params)
        self.pending_params = self.output_start[:, outputs]
        if self.layers:
            self.pending_params = torch.addmm(
                self.pending_params, below[:, :known], self.output_weight[outputs, :known].T
            )
        if self.direct_weight is not None:
            self.pending_params = torch.addmm(
                self.pending_params, self.inputs[:, :t], self.direct_weight[outputs, :t].T
            )


def _final_units(degrees: Tensor, num_inputs: int) -> list[int]:
    """`final[t]`: how many units are final before step t, when t - 1 inputs had been known; 0..n+1."""
    counts = torch.arange(num_inputs + 2, device=degrees.device)
    return torch.searchsorted(degrees.contiguous(), counts, right=False).tolist()
