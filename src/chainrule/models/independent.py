"""The independent model: every variable on its own, p(x) = prod_i p(x_i).

The baseline of the lecture (topic 4), n parameters if binary. Its maximum-likelihood fit is the mean of
every pixel, or the share of every category.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from chainrule.arguments import real_number
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["Independent"]


class Independent(AutoregressiveModel):
    """n independent variables.

    - `pseudocount`: imaginary examples of every value added to the counts when fitting, so that a
      pixel that was never on keeps a finite log-probability; 0 is plain maximum likelihood.

    Families whose parameters follow from counts (`Conditional.estimate`) are fitted by them, the others
    by gradients. Parameters: `params` `(outputs.total,)`, in the layout of the variables.

    >>> Independent((784,)).num_parameters
    784
    """

    independent_variables: ClassVar[bool] = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        pseudocount: float = 0.5,
        ordering: str | Sequence[int] | Ordering = "raster",
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering)
        self.pseudocount = real_number("pseudocount", pseudocount, minimum=0)
        self.params = nn.Parameter(torch.zeros(self.outputs.total))
        self.closed_form = self.conditional.estimate(torch.zeros(1, self.num_variables), 0.5) is not None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same parameters for every example, `(batch, *event_shape, num_params)`."""
        shape = (*self.event_shape, self.outputs.width)
        return self.outputs.unpack(self.params).view(shape).expand(len(x), *shape)

    def _log_prob_per_variable(self, x: Tensor, context: Tensor | None) -> Tensor:
        # One row of parameters for all examples: what depends on them alone is computed once.
        return self.conditional.log_prob_packed(self.params[None].to(x.dtype), x)

    def init_state(self, batch_size: int, context: Tensor | None = None) -> tuple[int, int]:
        """Nothing is carried but where we are."""
        return 0, batch_size

    def step(self, state: tuple[int, int], previous_value: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """The next variable's parameters, whatever came before."""
        position, batch_size = state
        params = self.outputs.unpack(self.params)[self._order[position]]
        return params.expand(batch_size, -1), (position + 1, batch_size)

    def select_state(self, state: tuple[int, int], rows: Tensor) -> tuple[int, int]:
        """As many rows as asked for, at the same place."""
        return state[0], len(rows)

    @torch.no_grad()
    def fit_counts(self, x: Tensor) -> None:
        """Smoothed shares: (ones + pseudocount) / (N + 2 pseudocount) for binary variables."""
        params = self.conditional.estimate(x.flatten(1), self.pseudocount)
        if params is None:
            raise ChainruleError(
                f"the {self.conditional.name} conditional is not fitted by counting; use chainrule.fit."
            )
        self.params.copy_(self.outputs.pack(params))
