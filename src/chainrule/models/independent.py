"""The independent model: every variable on its own, p(x) = prod_i p(x_i); n parameters.

The baseline of the lecture (topic 4). Its maximum-likelihood fit is the mean of every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from chainrule.conditionals import Bernoulli, Conditional, finite_logit
from chainrule.errors import ChainruleError
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["Independent"]


class Independent(AutoregressiveModel):
    """n independent Bernoulli variables.

    - `pseudocount`: imaginary ones and zeros added to the counts when fitting, so that a pixel
      that was never on keeps a finite log-probability; 0 is plain maximum likelihood.

    >>> Independent((784,)).num_parameters
    784
    """

    closed_form: ClassVar[bool] = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        pseudocount: float = 0.5,
        ordering: str | Sequence[int] | Ordering = "raster",
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering)
        if not isinstance(self.conditional, Bernoulli):
            raise ChainruleError(f"Independent models binary variables, not {self.conditional.name} ones.")
        self.pseudocount = pseudocount
        self.logits = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same logits for every example, `(batch, *event_shape, 1)`."""
        return self.logits[..., None].expand(len(x), *self.event_shape, 1)

    def init_state(self, batch_size: int, context: Tensor | None = None) -> tuple[int, int]:
        """Nothing is carried but where we are."""
        return 0, batch_size

    def step(self, state: tuple[int, int], previous_value: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """The next variable's logit, whatever came before."""
        position, batch_size = state
        logit = self.logits.flatten()[self._order[position]]
        return logit.expand(batch_size, 1), (position + 1, batch_size)

    @torch.no_grad()
    def fit_counts(self, x: Tensor) -> None:
        """Smoothed pixel means: (ones + pseudocount) / (N + 2 pseudocount)."""
        ones = x.double().sum(0) + self.pseudocount
        probability = ones / (len(x) + 2 * self.pseudocount)
        self.logits.copy_(finite_logit(probability))
