"""A masked feed-forward network run one input after another, or one block of inputs after another.

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

#: f(parameters of the inputs first..last - 1, first, last) -> their values.
Draw = Callable[[Tensor, int, int], Tensor]


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

    def settle_block(self, draw: Draw) -> Tensor:
        """Draw the values of the next block of inputs together; returns them, `(batch, block)`.

        - `draw`: from the parameters `(batch, block, num_params)` of inputs `first..last - 1` to their
          values, deterministically: `draw(params, first, last)`.

        The values are the fixed point of drawing all of them from what the guess before implies. Input
        by input it becomes the value that steps would give, and then stays; a few sweeps over small
        matrices replace a loop over the inputs. To be used from the first input on, without `step`.
        """
        self._begin_block()
        first = self.position
        last = min(first + _BLOCK, self.num_inputs)
        weights = self._weights_within(first, last)
        values = self.inputs[:, first:last]
        while True:
            updated = draw(self._params_within(weights, values, first, last), first, last)
            if torch.equal(updated, values):
                break
            values = updated
        self.inputs[:, first:last] = values
        self.position = last
        return values

    def _weights_within(self, first: int, last: int) -> list[Tensor]:
        """Masked weights from the inputs and units of a block to its units and outputs, bottom up.

        The last one is of the outputs, with the direct weights from the block's inputs to its right.
        """
        numbers = torch.arange(first, last, device=self.inputs.device)
        below, columns = numbers + 1, slice(first, last)  # an input is heard from the next number on
        weights = []
        for layer, final in zip(self.layers, self.final, strict=True):
            units = slice(final[first], final[last])
            degrees = layer.degrees[units]
            weights.append(layer.weight[units, columns] * (below <= degrees[:, None]))
            below, columns = degrees, units
        outputs = slice(first * self.num_params, last * self.num_params)
        heard_by = numbers.repeat_interleave(self.num_params)[:, None]
        into_outputs = []
        if self.layers:
            into_outputs.append(self.output_weight[outputs, columns] * (below <= heard_by))
        if self.direct_weight is not None:
            into_outputs.append(self.direct_weight[outputs, first:last] * (numbers < heard_by))
        return [*weights, torch.cat(into_outputs, dim=1)]

    def _params_within(self, weights: list[Tensor], values: Tensor, first: int, last: int) -> Tensor:
        """Parameters of a block's inputs if `values` were their values, `(batch, block, num_params)`."""
        below = values
        for index, (pending, final) in enumerate(zip(self.pending, self.final, strict=True)):
            z = torch.addmm(pending, below, weights[index].T)
            below = self.activate(z, below if self.residual and index else None)
            self.hidden[index][:, final[first] : final[last]] = below
        heard = [below] if self.layers else []
        if self.direct_weight is not None:
            heard.append(values)
        params = torch.addmm(self.pending_params, torch.cat(heard, dim=1), weights[-1].T)
        return params.view(self.batch_size, last - first, self.num_params)

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
