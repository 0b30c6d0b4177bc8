"""Bayes nets with conditional probability tables: the chain rule with most parents dropped.

p(x) = prod_i p(x_i | x_pa(i)), a table of 2^k numbers for a binary variable with k parents. The tables
are fitted by smoothed counting; the lecture's weather net (topic 2) has 1 + 2 + 2 + 4 = 9 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.conditionals import Bernoulli, Conditional, finite_logit
from chainrule.errors import ChainruleError
from chainrule.layers import topological_ordering
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["BayesNet"]

_MOST_PARENTS = 20


class BayesNet(AutoregressiveModel):
    """A Bayes net over binary variables with given parents.

    - `parents`: for each variable (flat index) the list of its parents, at most 20; None for no
      parents at all. The ordering is a topological one, as near to raster as the graph allows.
    - `pseudocount`: imaginary observations of 0 and of 1 in every row of every table.

    Parameters: `logits`, the log-odds of x_i = 1 for every variable and every state of its parents,
    table after table; in a table the first parent is the least significant bit.

    >>> BayesNet((4,), [[], [0], [1], [0, 1]]).num_parameters
    9
    """

    closed_form: bool = True

    _parent_index: Tensor
    _parent_weight: Tensor
    _starts: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        parents: Sequence[Sequence[int]] | None = None,
        *,
        pseudocount: float = 0.5,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional)
        if not isinstance(self.conditional, Bernoulli):
            raise ChainruleError(f"BayesNet models binary variables, not {self.conditional.name} ones.")
        self.pseudocount = pseudocount
        self._set_parents(parents if parents is not None else [[] for _ in range(self.num_variables)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Look every variable's row up in its table; `(batch, *event_shape, 1)`."""
        rows = self._table_rows(x.flatten(1), slice(None))
        return self.logits[rows].view(len(x), *self.event_shape, 1)

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _BayesNetState:
        """Nothing is computed ahead: the values so far are the state."""
        return _BayesNetState(self._zeros(batch_size, self.num_variables))

    def step(self, state: _BayesNetState, previous_value: Tensor | None) -> tuple[Tensor, _BayesNetState]:
        """One look-up in one table."""
        if previous_value is not None:
            state.values[:, self.ordering.permutation[state.position - 1]] = previous_value
        variable = self.ordering.permutation[state.position]
        rows = self._table_rows(state.values, slice(variable, variable + 1))
        state.position += 1
        return self.logits[rows], state

    @torch.no_grad()
    def fit_counts(self, x: Tensor) -> None:
        """Smoothed counting: (ones + a) / (ones + zeros + 2a) in every row of every table."""
        rows = self._table_rows(x.flatten(1), slice(None))
        size, values = len(self.logits), x.flatten().double()
        ones = torch.bincount(rows.flatten(), weights=values, minlength=size) + self.pseudocount
        zeros = torch.bincount(rows.flatten(), weights=1 - values, minlength=size) + self.pseudocount
        # A row never seen, without smoothing, says nothing: even odds.
        probability = torch.where(ones + zeros > 0, ones / (ones + zeros), 0.5)
        self.logits.copy_(finite_logit(probability))

    def table(self, variable: int) -> Tensor:
        """P(x_variable = 1) for every state of its parents, `(2, ..., 2)`, an axis per parent in order."""
        start, size = int(self._starts[variable]), 2 ** len(self.parents[variable])
        probabilities = torch.sigmoid(self.logits[start : start + size].detach())
        # The first parent is the least significant bit, hence the last axis before reversing.
        axes = tuple(reversed(range(len(self.parents[variable]))))
        return probabilities.view((2,) * len(axes)).permute(axes)

    def set_table(self, variable: int, probabilities: Sequence[float] | Tensor) -> None:
        """Set P(x_variable = 1) for every state of its parents; the shape is that of `table`."""
        start, k = int(self._starts[variable]), len(self.parents[variable])
        values = torch.as_tensor(probabilities, dtype=self.logits.dtype)
        if values.numel() != 2**k:
            raise ChainruleError(
                f"variable {variable} has {k} parents and needs {2**k} probabilities, not {values.numel()}."
            )
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ChainruleError(
                f"variable {variable}: probabilities must lie in [0, 1], not {values.tolist()}."
            )
        with torch.no_grad():
            flat = values.reshape((2,) * k).permute(tuple(reversed(range(k)))).reshape(-1)
            self.logits[start : start + 2**k] = finite_logit(flat)

    def _table_rows(self, values: Tensor, variables: slice) -> Tensor:
        """Index into `logits` for these variables, `(batch, len(variables))`."""
        bits = values[:, self._parent_index[variables]].detach() * self._parent_weight[variables]
        return self._starts[variables] + bits.sum(-1).round().long()

    def _set_parents(self, parents: Sequence[Sequence[int]]) -> None:
        n = self.num_variables
        self.parents = [[int(p) for p in of_one] for of_one in parents]
        _check_parents(self.parents, n)
        adjacency = torch.zeros(n, n, dtype=torch.bool)
        for variable, of_one in enumerate(self.parents):
            adjacency[variable, of_one] = True
        self._set_ordering(Ordering(tuple(topological_ordering(adjacency, self.ordering.permutation))))
        width = max([len(p) for p in self.parents] + [1])
        index, weight = torch.zeros(n, width, dtype=torch.long), torch.zeros(n, width)
        for variable, of_one in enumerate(self.parents):
            index[variable, : len(of_one)] = torch.tensor(of_one, dtype=torch.long)
            weight[variable, : len(of_one)] = 2.0 ** torch.arange(len(of_one))
        sizes = torch.tensor([2 ** len(of_one) for of_one in self.parents])
        reference = self._reference  # a tree is learned where the model is, and in its dtype
        self.register_buffer("_parent_index", index.to(reference.device), persistent=False)
        self.register_buffer("_parent_weight", weight.to(reference), persistent=False)
        self.register_buffer("_starts", (sizes.cumsum(0) - sizes).to(reference.device), persistent=False)
        self.logits = nn.Parameter(reference.new_zeros(int(sizes.sum())))


@dataclass
class _BayesNetState:
    values: Tensor  # (batch, n), flat layout
    position: int = 0

    def select_rows(self, rows: Tensor) -> _BayesNetState:
        return _BayesNetState(self.values[rows], self.position)


def _check_parents(parents: list[list[int]], num_variables: int) -> None:
    if len(parents) != num_variables:
        raise ChainruleError(
            f"parents must list the parents of each of the {num_variables} variables, not of {len(parents)}."
        )
    for variable, of_one in enumerate(parents):
        if any(not 0 <= p < num_variables or p == variable for p in of_one) or len(set(of_one)) < len(of_one):
            raise ChainruleError(
                f"variable {variable}: parents {of_one} must be different other variables "
                f"in 0..{num_variables - 1}."
            )
        if len(of_one) > _MOST_PARENTS:
            raise ChainruleError(
                f"variable {variable} has {len(of_one)} parents, a table of 2^{len(of_one)}; "
                f"at most {_MOST_PARENTS} are supported."
            )
