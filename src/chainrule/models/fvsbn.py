"""FVSBN: the fully visible sigmoid belief net, a logistic regression for every variable.

Neal 1992, "Connectionist learning of belief networks"; Frey 1998. With x in the ordering,

    p(x_i = 1 | x_<i) = sigmoid(b_i + sum_{j<i} A_ij x_j),        n(n+1)/2 parameters.

The objective is convex. One likelihood is a triangular product of n(n-1)/2 multiply-adds, and so is
a whole sample. For other values the regression is a softmax (categories, read as one-hot codes) or of
the parameters of a density (real numbers): A_ij is then a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from chainrule.conditionals import Conditional
from chainrule.inputs import check_size
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["FVSBN"]


class FVSBN(AutoregressiveModel):
    """Fully visible sigmoid belief net.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`. A context
      adds `context_size` unrestricted weights to each parameter of a conditional.

    Parameters: `bias` `(n,)` and `weight` `(n(n-1)/2,)`, the rows of the strictly lower triangle A
    one after another, both in the ordering; K^2 n(n-1)/2 weights and Kn biases for K categories.

    >>> FVSBN((784,)).num_parameters
    307720
    """

    #: Variables that `_sample_incremental` settles together; the best of 28..196 when measured.
    block_size = 72

    _cells: Tensor

    default_learning_rate = 3e-2

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        written, reads = self.outputs.total, self.sequence_inputs.starts
        check_size("FVSBN", (reads[-1] + context_size) * written)
        heard = [reads[variable] for variable in self._variables_of_outputs()]
        self.register_buffer("_cells", _first_cells(heard, reads[-1]), persistent=False)
        self.bias = nn.Parameter(torch.zeros(written))
        self.weight = nn.Parameter(torch.zeros(len(self._cells)))
        self.context_weight = nn.Linear(context_size, written, bias=False) if context_size else None

    def _variables_of_outputs(self) -> list[int]:
        """The place in the ordering of the variable that each parameter of a conditional belongs to."""
        return [place for place, size in enumerate(self.sequence_outputs.sizes) for _ in range(size)]

    def matrix(self) -> Tensor:
        """A, `(n, n)`, strictly lower triangular, in the ordering; row i shows what x_i listens to.

        In general `(outputs.total, inputs.total)`, strictly lower triangular in blocks.
        """
        written, read = self.outputs.total, self.inputs.total
        flat = torch.zeros(written * read, dtype=self.weight.dtype, device=self.weight.device)
        return flat.index_copy_(0, self._cells, self.weight).view(written, read)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`."""
        inputs = self.encode_sequence(self.to_sequence(x))
        params = inputs @ self.matrix().T + self._offset(context)
        return self.from_sequence(self.sequence_outputs.unpack(params))

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _FVSBNState:
        """Running logits of all variables still to come: only the biases so far."""
        logits = self._offset(context).expand(batch_size, -1).T.clone()
        return _FVSBNState(logits, self.matrix().T.contiguous())

    def step(self, state: _FVSBNState, previous_value: Tensor | None) -> tuple[Tensor, _FVSBNState]:
        """Add the previous variable's columns to the logits that listen to it; O(n) per variable."""
        t, reads, writes = state.position, self.sequence_inputs.starts, self.sequence_outputs.starts
        if previous_value is not None:
            inputs = self.encode_sequence(previous_value[:, None], t - 1)
            columns = state.columns[reads[t - 1] : reads[t], writes[t] :]
            state.logits[writes[t] :].addmm_(columns.T, inputs.T)
        state.position += 1
        return self.sequence_outputs.widen(state.logits[writes[t] : writes[t + 1]].T), state

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one likelihood: one for each weight, so n(n-1)/2 if binary, without a context."""
        return self.weight.numel() + self.context_size * self.outputs.total

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Blocks of variables, each settled by fixed-point sweeps over the block alone.

        The sweeps end when nothing changes, which makes the block the ancestral sample for this
        noise; earlier blocks enter through one product. Far fewer, larger operations than a loop. Only
        values that come from a list settle in a few sweeps; real ones are drawn step by step.
        """
        if self.conditional.support() is None:
            return super()._sample_incremental(noise, context, temperature, with_log_prob)
        matrix, offset = self.matrix(), self._offset(context).expand(len(noise), -1)
        reads, writes = self.sequence_inputs.starts, self.sequence_outputs.starts
        inputs = noise.new_empty(len(noise), self.inputs.total)
        sequence = torch.empty_like(noise[..., 0])
        for first in range(0, self.num_variables, self.block_size):
            last = min(first + self.block_size, self.num_variables)
            read, written = slice(reads[first], reads[last]), slice(writes[first], writes[last])
            rows = matrix[written]
            known = torch.addmm(offset[:, written], inputs[:, : read.start], rows[:, : read.start].T)
            within = rows[:, read].T
            family = self.conditional_over(first, last)
            shape = (len(noise), last - first, self.outputs.width)
            draw = partial(family.sample, uniform=noise[:, first:last].contiguous(), temperature=temperature)
            values = draw(known.view(shape))
            while True:
                encoded = family.encode_packed(values)
                updated = draw(torch.addmm(known, encoded, within).view(shape))
                if family.same(updated, values):
                    break
                values = updated
            sequence[:, first:last], inputs[:, read] = values, encoded
        return self.from_sequence(sequence), None

    def _offset(self, context: Tensor | None) -> Tensor:
        """Biases, `(outputs.total,)`, or `(batch, outputs.total)` with a context."""
        if self.context_weight is None:
            return self.bias
        shifted: Tensor = self.bias + self.context_weight(context)
        return shifted


def _first_cells(counts: list[int], width: int) -> Tensor:
    """Indices of the first `counts[row]` cells of every row of a flat matrix of `width` columns."""
    sizes, total = torch.tensor(counts), sum(counts)
    shift = torch.arange(len(counts)) * width - (sizes.cumsum(0) - sizes)
    return torch.arange(total) + shift.repeat_interleave(sizes, output_size=total)


@dataclass
class _FVSBNState:
    logits: Tensor  # (outputs.total, batch): b_i + sum_{j < position} A_ij x_j
    columns: Tensor  # (inputs.total, outputs.total): columns[j] is A[:, j]
    position: int = 0

    def select_rows(self, rows: Tensor) -> _FVSBNState:
        return _FVSBNState(self.logits[:, rows], self.columns, self.position)
