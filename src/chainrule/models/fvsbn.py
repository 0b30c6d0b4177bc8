"""FVSBN: the fully visible sigmoid belief net, a logistic regression for every variable.

Neal 1992, "Connectionist learning of belief networks"; Frey 1998. With x in the ordering,

    p(x_i = 1 | x_<i) = sigmoid(b_i + sum_{j<i} A_ij x_j),        n(n+1)/2 parameters.

The objective is convex. One likelihood is a triangular product of n(n-1)/2 multiply-adds, and so is
a whole sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.conditionals import Bernoulli, Conditional
from chainrule.errors import ChainruleError
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["FVSBN"]


class FVSBN(AutoregressiveModel):
    """Fully visible sigmoid belief net for binary variables.

    - `event_shape`, `ordering`, `context_size`: as in `AutoregressiveModel`. A context adds
      `context_size` unrestricted weights per variable.

    Parameters: `bias` `(n,)` and `weight` `(n(n-1)/2,)`, the rows of the strictly lower triangle A
    one after another, both in the ordering.

    >>> FVSBN((784,)).num_parameters
    307720
    """

    #: Variables that `_sample_incremental` settles together; the best of 28..196 when measured.
    block_size = 56

    _cells: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        if not isinstance(self.conditional, Bernoulli):
            raise ChainruleError(
                f"FVSBN models binary variables; it cannot use the {self.conditional.name} conditional."
            )
        n = self.num_variables
        self.bias = nn.Parameter(torch.zeros(n))
        self.weight = nn.Parameter(torch.zeros(n * (n - 1) // 2))
        self.context_weight = nn.Linear(context_size, n, bias=False) if context_size else None
        rows, columns = torch.tril_indices(n, n, -1)
        self.register_buffer("_cells", rows * n + columns, persistent=False)

    def matrix(self) -> Tensor:
        """A, `(n, n)`, strictly lower triangular, in the ordering; row i shows what x_i listens to."""
        n = self.num_variables
        flat = torch.zeros(n * n, dtype=self.weight.dtype, device=self.weight.device)
        return flat.index_copy(0, self._cells, self.weight).view(n, n)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Logits of all variables, `(batch, *event_shape, 1)`."""
        logits = self.to_sequence(x) @ self.matrix().T + self._offset(context)
        return self.from_sequence(logits[..., None])

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _FVSBNState:
        """Running logits of all variables still to come: only the biases so far."""
        logits = self._offset(context).expand(batch_size, -1).T.clone()
        return _FVSBNState(logits, self.matrix().T.contiguous())

    def step(self, state: _FVSBNState, previous_value: Tensor | None) -> tuple[Tensor, _FVSBNState]:
        """Add the previous variable's column to the logits that listen to it; O(n) per variable."""
        t = state.position
        if previous_value is not None:
            state.logits[t:].addr_(state.columns[t - 1, t:], previous_value)
        state.position += 1
        return state.logits[t, :, None], state

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one likelihood: n(n-1)/2, and n for each number of a context."""
        return self.weight.numel() + self.context_size * self.num_variables

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Blocks of variables, each settled by fixed-point sweeps over the block alone.

        The sweeps end when nothing changes, which makes the block the ancestral sample for this
        noise; earlier blocks enter through one product. Far fewer, larger operations than a loop.
        """
        matrix, offset = self.matrix(), self._offset(context)
        uniform = noise[..., 0].contiguous()
        sequence = torch.zeros_like(uniform)
        for start in range(0, self.num_variables, self.block_size):
            block = slice(start, min(start + self.block_size, self.num_variables))
            known = offset[..., block] + sequence[:, :start] @ matrix[block, :start].T
            within = matrix[block, block].T
            values, threshold = sequence[:, block], uniform[:, block, None]
            while True:
                logits = torch.addmm(known.expand_as(values), values, within)
                updated = self.conditional.sample(logits[..., None], threshold, temperature)
                if torch.equal(updated, values):
                    break
                values = updated
            sequence[:, block] = values
        return self.from_sequence(sequence), None

    def _offset(self, context: Tensor | None) -> Tensor:
        """Biases, `(n,)`, or `(batch, n)` with a context."""
        if self.context_weight is None:
            return self.bias
        shifted: Tensor = self.bias + self.context_weight(context)
        return shifted


@dataclass
class _FVSBNState:
    logits: Tensor  # (n, batch): b_i + sum_{j < position} A_ij x_j
    columns: Tensor  # (n, n): columns[j] is A[:, j]
    position: int = 0
