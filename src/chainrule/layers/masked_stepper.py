"""A masked feed-forward network run one variable after another, or one block of variables after another.

A unit numbered m is final once the first m variables are known. With the units sorted by number, what is
known after t variables is a leading part of every layer. So each step computes a few new units from
leading slices. The slices are cut in two: what was known when the current block of variables began has
been added for the whole block by one large product, and only the rest is added step by step.

Inside, numbers stand in rows and examples in columns, so that the few units of a step lie together in
memory however many examples there are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.layers.columns import Columns

__all__ = ["MaskedStepper", "SortedLayer"]

_BLOCK = 28

#: f(pre-activation, the same units one layer below or None).
Activate = Callable[[Tensor, Tensor | None], Tensor]

#: f(parameters of the variables first..last - 1, first, last) -> their values.
Draw = Callable[[Tensor, int, int], Tensor]

#: f(values of the variables from `first` on, first) -> the numbers by which the network reads them.
Encode = Callable[[Tensor, int], Tensor]


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
    - `inputs`, `outputs`: which numbers the network reads and writes for each variable, in the ordering.
    - `output_weight`: `(outputs.total, d_last)`; `output_start`: `(batch, outputs.total)`;
      `direct_weight`: `(outputs.total, inputs.total)`; all in the ordering.
    - `encode`: from the values of variables to their inputs.
    - `activate`: the activation; `residual`: whether it gets the units below as a skip.
    """

    def __init__(
        self,
        inputs: Columns,
        outputs: Columns,
        layers: Sequence[SortedLayer],
        output_weight: Tensor,
        output_start: Tensor,
        direct_weight: Tensor | None,
        encode: Encode,
        activate: Activate,
        residual: bool,
    ) -> None:
        self.input_columns, self.output_columns, self.layers = inputs, outputs, layers
        self.batch_size, self.num_variables = len(output_start), len(inputs.sizes)
        self.output_weight, self.direct_weight = output_weight, direct_weight
        self.encode, self.activate, self.residual = encode, activate, residual
        self.starts = [layer.start.T for layer in layers]
        self.output_start = output_start.T
        self.values = output_start.new_zeros(self.batch_size, self.num_variables)
        self.inputs = output_start.new_zeros(inputs.total, self.batch_size)
        self.hidden = [output_start.new_empty(start.shape) for start in self.starts]
        self.final = [_final_units(layer.degrees, self.num_variables) for layer in layers]
        self.position = 0

    def step(self, previous_value: Tensor | None) -> Tensor:
        """Parameters of the next variable, `(batch, outputs.width)`, given the previous one's value."""
        t = self.position
        reads, writes = self.input_columns.starts, self.output_columns.starts
        if previous_value is not None:
            self.inputs[reads[t - 1] : reads[t]] = self.encode(previous_value[:, None], t - 1).T
        if t % _BLOCK == 0:
            self._begin_block()
        below, old, now = self.inputs, reads[self.block], reads[t]
        for index, layer in enumerate(self.layers):
            final = self.final[index]
            first, last, offset = final[t], final[t + 1], final[self.block]
            if last > first:
                z = self.pending[index][first - offset : last - offset]
                if now > old:  # in place: what was pending is not asked for again
                    z.addmm_(layer.weight[first:last, old:now], below[old:now])
                skip = below[first:last] if self.residual and index else None
                self.hidden[index][first:last] = self.activate(z, skip)
            below, old, now = self.hidden[index], offset, last
        outputs, offset = slice(writes[t], writes[t + 1]), writes[self.block]
        params = self.pending_params[writes[t] - offset : writes[t + 1] - offset]
        if self.layers and now > old:
            params.addmm_(self.output_weight[outputs, old:now], below[old:now])
        if self.direct_weight is not None and t > self.block:
            recent = slice(reads[self.block], reads[t])
            params.addmm_(self.direct_weight[outputs, recent], self.inputs[recent])
        self.position += 1
        return self.output_columns.widen(params.T)

    def select_rows(self, rows: Tensor) -> MaskedStepper:
        """The stepper of a batch made of these rows of the batch, indices `(k,)`, where this one stands."""
        chosen = copy.copy(self)
        chosen.batch_size = len(rows)
        chosen.starts = [start[:, rows] for start in self.starts]
        chosen.output_start = self.output_start[:, rows]
        chosen.values, chosen.inputs = self.values[rows], self.inputs[:, rows]
        chosen.hidden = [hidden[:, rows] for hidden in self.hidden]
        if self.position:  # the first step makes what is pending
            chosen.pending = [pending[:, rows] for pending in self.pending]
            chosen.pending_params = self.pending_params[:, rows]
        return chosen

    def settle_block(self, draw: Draw, same: Callable[[Tensor, Tensor], bool] = torch.equal) -> Tensor:
        """Draw the values of the next block of variables together; returns them, `(batch, block)`.

        - `draw`: from the parameters `(batch, block, width)` of variables `first..last - 1` to their
          values, deterministically: `draw(params, first, last)`. Discrete values only: they settle.
        - `same`: whether two tensors hold the same values; NaN never equals itself under `torch.equal`.

        The values are the fixed point of drawing all of them from what the guess before implies. One by
        one they become the values that steps would give, and then stay; a few sweeps over small
        matrices replace a loop over the variables. To be used from the first one on, without `step`.
        """
        self._begin_block()
        first = self.position
        last = min(first + _BLOCK, self.num_variables)
        weights = self._weights_within(first, last)
        outputs = self.output_columns.pick(range(first, last))
        values = self.values[:, first:last]
        while True:
            inputs = self.encode(values, first).T
            params = self._params_within(weights, inputs, first, last).T
            updated = draw(outputs.unpack(params), first, last)
            if same(updated, values):
                break
            values = updated
        self.values[:, first:last] = values
        self.inputs[self.input_columns.starts[first] : self.input_columns.starts[last]] = inputs
        self.position = last
        return values

    def _weights_within(self, first: int, last: int) -> list[Tensor]:
        """Masked weights from the inputs and units of a block to its units and outputs, bottom up.

        The last one is of the outputs, with the direct weights from the block's inputs to its right.
        """
        reads, writes = self.input_columns, self.output_columns
        columns = inputs = slice(reads.starts[first], reads.starts[last])
        outputs = slice(writes.starts[first], writes.starts[last])
        device = self.inputs.device
        read_as, heard_by = reads.owner[inputs].to(device), writes.owner[outputs].to(device)[:, None]
        below = read_as + 1  # an input is heard from the next number on
        weights = []
        for layer, final in zip(self.layers, self.final, strict=True):
            units = slice(final[first], final[last])
            degrees = layer.degrees[units]
            weights.append(layer.weight[units, columns] * (below <= degrees[:, None]))
            below, columns = degrees, units
        into_outputs = []
        if self.layers:
            into_outputs.append(self.output_weight[outputs, columns] * (below <= heard_by))
        if self.direct_weight is not None:
            into_outputs.append(self.direct_weight[outputs, inputs] * (read_as < heard_by))
        return [*weights, torch.cat(into_outputs, dim=1)]

    def _params_within(self, weights: list[Tensor], inputs: Tensor, first: int, last: int) -> Tensor:
        """Parameters of a block's variables, `(numbers, batch)`, if they were read as `inputs`."""
        below = inputs
        for index, (pending, final) in enumerate(zip(self.pending, self.final, strict=True)):
            z = torch.addmm(pending, weights[index], below)
            below = self.activate(z, below if self.residual and index else None)
            self.hidden[index][final[first] : final[last]] = below
        heard = [below] if self.layers else []
        if self.direct_weight is not None:
            heard.append(inputs)
        return torch.addmm(self.pending_params, weights[-1], torch.cat(heard))

    def _begin_block(self) -> None:
        """Add what is known by now to every unit and output of the coming block."""
        self.block = t = self.position
        end = min(t + _BLOCK, self.num_variables)
        read = self.input_columns.starts[t]
        self.pending = []
        below, known = self.inputs, read
        for layer, start, hidden, final in zip(
            self.layers, self.starts, self.hidden, self.final, strict=True
        ):
            units = slice(final[t], final[end])
            self.pending.append(torch.addmm(start[units], layer.weight[units, :known], below[:known]))
            below, known = hidden, final[t]
        outputs = slice(self.output_columns.starts[t], self.output_columns.starts[end])
        params = self.output_start[outputs]
        if self.layers:
            params = torch.addmm(params, self.output_weight[outputs, :known], below[:known])
        if self.direct_weight is not None:
            params = torch.addmm(params, self.direct_weight[outputs, :read], self.inputs[:read])
        self.pending_params = params


def _final_units(degrees: Tensor, num_variables: int) -> list[int]:
    """`final[t]`: how many units are final before step t, when t - 1 variables had been known; 0..n+1."""
    counts = torch.arange(num_variables + 2, device=degrees.device)
    return torch.searchsorted(degrees.contiguous(), counts, right=False).tolist()
