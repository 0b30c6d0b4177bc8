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
from functools import cached_property

import torch
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.layers.columns import Columns

__all__ = ["Block", "MaskedStepper", "Schedule", "SortedLayer"]

#: Variables that are settled together, or whose steps share one large product; the best of 14..196 when
#: measured, of small networks and wide ones.
_BLOCK = 56

#: With many examples, what is added step by step is too much to stay in the processor's cache, and shorter
#: blocks read less of it again.
_SHORT_BLOCK, _MANY_EXAMPLES = 6, 2048

#: f(pre-activation, the same units one layer below or None).
Activate = Callable[[Tensor, Tensor | None], Tensor]

#: f(values of the variables from `first` on, first) -> the numbers by which the network reads them.
Encode = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class SortedLayer:
    """A hidden layer with its units, and those below, in ascending order of their numbers.

    - `weight`: `(d, d_below)`; entries that the mask closes may be anything where they lie outside
      the leading slices, that is, where the unit below has the greater number.
    - `start`: `(batch, d)`, biases and whatever else is known before the first input.
    """

    weight: Tensor
    start: Tensor


@dataclass(frozen=True)
class Block:
    """Variables `first..last - 1` of the ordering, and what is computed on the way through them.

    - `inputs`, `outputs`: the numbers that are read and written for them; `columns`: of those outputs.
    - `units`: those of each hidden layer that become final.
    - `masks`: 0 and 1, for the weights within the block: from its inputs to its first units, and so on
      up to its outputs. `direct_mask`: from its inputs straight to its outputs.
    """

    first: int
    last: int
    inputs: slice
    outputs: slice
    columns: Columns
    units: list[slice]
    masks: list[Tensor]
    direct_mask: Tensor


class Schedule:
    """When each unit becomes final, and the blocks of variables: all that can be told from the masks alone.

    - `inputs`, `outputs`: which numbers the network reads and writes for each variable, in the ordering.
    - `degrees`: for each hidden layer the numbers of its units, `(d,)`, ascending.
    - `like`: any weight; masks get its dtype and device.
    """

    def __init__(self, inputs: Columns, outputs: Columns, degrees: Sequence[Tensor], like: Tensor) -> None:
        self.inputs, self.outputs, self.num_variables = inputs, outputs, len(inputs.sizes)
        self.degrees, self.dtype, self.device = degrees, like.dtype, like.device
        counts = torch.arange(self.num_variables + 2, device=like.device)
        #: `final[l][t]`: how many units are final before step t, when t - 1 variables had been known; 0..n+1.
        self.final: list[list[int]] = [torch.searchsorted(layer, counts).tolist() for layer in degrees]

    @cached_property
    def blocks(self) -> list[Block]:
        """The variables, cut into runs that are settled together."""
        n = self.num_variables
        return [self._block(first, min(first + _BLOCK, n)) for first in range(0, n, _BLOCK)]

    def _block(self, first: int, last: int) -> Block:
        inputs = slice(self.inputs.starts[first], self.inputs.starts[last])
        outputs = slice(self.outputs.starts[first], self.outputs.starts[last])
        units = [slice(final[first], final[last]) for final in self.final]
        read_as = self.inputs.owner[inputs].to(self.device)
        heard_by = self.outputs.owner[outputs].to(self.device)
        below = read_as + 1  # an input is heard from the next number on
        masks = []
        for above in (*(layer[own] for layer, own in zip(self.degrees, units, strict=True)), heard_by):
            masks.append((below <= above[:, None]).to(self.dtype))
            below = above
        direct_mask = (read_as < heard_by[:, None]).to(self.dtype)
        columns = self.outputs.pick(range(first, last))
        return Block(first, last, inputs, outputs, columns, units, masks, direct_mask)


class MaskedStepper:
    """The incremental form of a stack of masked linear layers.

    - `schedule`: of the masks of these layers.
    - `layers`: the hidden layers from the bottom up.
    - `output_weight`: `(outputs.total, d_last)`; `output_start`: `(batch, outputs.total)`;
      `direct_weight`: `(outputs.total, inputs.total)`; all in the ordering.
    - `encode`: from the values of variables to their inputs.
    - `activate`: the activation; `residual`: whether it gets the units below as a skip.
    """

    def __init__(
        self,
        schedule: Schedule,
        layers: Sequence[SortedLayer],
        output_weight: Tensor,
        output_start: Tensor,
        direct_weight: Tensor | None,
        encode: Encode,
        activate: Activate,
        residual: bool,
    ) -> None:
        self.schedule, self.layers = schedule, layers
        self.batch_size = len(output_start)
        self.output_weight, self.direct_weight = output_weight, direct_weight
        self.encode, self.activate, self.residual = encode, activate, residual
        self.starts = [layer.start.T for layer in layers]
        self.output_start = output_start.T
        self.inputs = output_start.new_empty(schedule.inputs.total, self.batch_size)
        self.hidden = [output_start.new_empty(start.shape) for start in self.starts]
        self.step_block = _BLOCK if self.batch_size < _MANY_EXAMPLES else _SHORT_BLOCK
        self.position = 0

    def step(self, previous_value: Tensor | None) -> Tensor:
        """Parameters of the next variable, `(batch, outputs.width)`, given the previous one's value."""
        t = self.position
        reads, writes = self.schedule.inputs.starts, self.schedule.outputs.starts
        if previous_value is not None:
            self.inputs[reads[t - 1] : reads[t]] = self.encode(previous_value[:, None], t - 1).T
        if t % self.step_block == 0:
            self.begun = t
            self._begin(t, min(t + self.step_block, self.schedule.num_variables))
        below, old, now = self.inputs, reads[self.begun], reads[t]
        for index, (layer, final) in enumerate(zip(self.layers, self.schedule.final, strict=True)):
            first, last, offset = final[t], final[t + 1], final[self.begun]
            if last > first:
                z = self.pending[index][first - offset : last - offset]
                if now > old:  # in place: what was pending is not asked for again
                    z.addmm_(layer.weight[first:last, old:now], below[old:now])
                skip = below[first:last] if self.residual and index else None
                self.hidden[index][first:last] = self.activate(z, skip)
            below, old, now = self.hidden[index], offset, last
        outputs, offset = slice(writes[t], writes[t + 1]), writes[self.begun]
        params = self.pending_params[writes[t] - offset : writes[t + 1] - offset]
        if self.layers and now > old:
            params.addmm_(self.output_weight[outputs, old:now], below[old:now])
        if self.direct_weight is not None and t > self.begun:
            recent = slice(reads[self.begun], reads[t])
            params.addmm_(self.direct_weight[outputs, recent], self.inputs[recent])
        self.position += 1
        return self.schedule.outputs.widen(params.T)

    def select_rows(self, rows: Tensor) -> MaskedStepper:
        """The stepper of a batch made of these rows of the batch, indices `(k,)`, where this one stands."""
        chosen = copy.copy(self)
        chosen.batch_size = len(rows)
        chosen.starts = [start[:, rows] for start in self.starts]
        chosen.output_start = self.output_start[:, rows]
        chosen.inputs = self.inputs[:, rows]
        chosen.hidden = [hidden[:, rows] for hidden in self.hidden]
        if self.position:  # the first step makes what is pending
            chosen.pending = [pending[:, rows] for pending in self.pending]
            chosen.pending_params = self.pending_params[:, rows]
        return chosen

    def settle(self, block: Block, family: Conditional, noise: Tensor, temperature: float) -> Tensor:
        """Draw the values of all variables of the next block together; returns them, `(batch, block)`.

        - `block`: of the schedule; they must come in turn, from the first one on, without `step`.
        - `family`: of these variables, of discrete values only: they settle.
        - `noise`: theirs, `(batch, block, num_noise)`.

        The values are the fixed point of drawing all of them from what the guess before implies; the first
        guess is what earlier blocks imply. One by one they become the values that steps would give, and
        then stay; a few sweeps over small matrices replace a loop over the variables.
        """
        uniform = noise.transpose(0, 1).contiguous().transpose(0, 1)  # examples in columns, as here

        def draw(params: Tensor) -> Tensor:
            return family.sample(block.columns.unpack(params.T), uniform, temperature)

        self._begin(block.first, block.last)
        weights, direct_weight = self._weights_within(block)
        values = draw(self.pending_params)
        while True:
            inputs = below = family.encode_packed(values).T
            params, hidden = self.pending_params, []
            for index, (pending, weight) in enumerate(zip(self.pending, weights, strict=False)):
                z = torch.addmm(pending, weight, below)
                below = self.activate(z, below if self.residual and index else None)
                hidden.append(below)
            if hidden:
                params = torch.addmm(params, weights[-1], below)
            if direct_weight is not None:
                params = torch.addmm(params, direct_weight, inputs)
            updated = draw(params)
            if family.same(updated, values):
                break
            values = updated
        self.inputs[block.inputs] = inputs
        for layer, units, activations in zip(self.hidden, block.units, hidden, strict=True):
            layer[units] = activations
        self.position = block.last
        return values

    def _weights_within(self, block: Block) -> tuple[list[Tensor], Tensor | None]:
        """Masked weights from each layer of a block to the next one, bottom up, and the direct ones."""
        columns, weights = block.inputs, []
        for layer, units, mask in zip(self.layers, block.units, block.masks, strict=False):
            weights.append(layer.weight[units, columns] * mask)
            columns = units
        if self.layers:
            weights.append(self.output_weight[block.outputs, columns] * block.masks[-1])
        if self.direct_weight is None:
            return weights, None
        return weights, self.direct_weight[block.outputs, block.inputs] * block.direct_mask

    def _begin(self, first: int, last: int) -> None:
        """Add what is known by now to every unit and output of the variables `first..last - 1`."""
        reads, writes = self.schedule.inputs.starts, self.schedule.outputs.starts
        self.pending = []
        below, known = self.inputs, reads[first]
        for layer, start, hidden, final in zip(
            self.layers, self.starts, self.hidden, self.schedule.final, strict=True
        ):
            units = slice(final[first], final[last])
            self.pending.append(torch.addmm(start[units], layer.weight[units, :known], below[:known]))
            below, known = hidden, units.start
        outputs = slice(writes[first], writes[last])
        params = self.output_start[outputs]
        if self.layers:
            params = torch.addmm(params, self.output_weight[outputs, :known], below[:known])
        if self.direct_weight is not None:
            read = reads[first]
            params = torch.addmm(params, self.direct_weight[outputs, :read], self.inputs[:read])
        self.pending_params = params
