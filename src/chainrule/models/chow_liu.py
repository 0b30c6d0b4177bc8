"""Chow-Liu trees: the best Bayes net in which every variable has at most one parent.

Chow & Liu 1968, "Approximating discrete probability distributions with dependence trees". The tree of
greatest total mutual information between neighbours maximises the likelihood among all trees; it is a
maximum spanning tree over pairwise mutual information.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.models.bayes_net import BayesNet
from chainrule.orderings import pairwise_entropies

__all__ = ["ChowLiuTree"]


class ChowLiuTree(BayesNet):
    """A `BayesNet` that learns its tree and its tables from data; 2n - 1 parameters.

    - `parents`: the tree, once learned; None before (every variable on its own).
    - `pseudocount`: smooths the tables, and the pair counts that the mutual information comes from.

    `fit_counts` learns both; the tree grows from variable 0.
    """

    closed_form: bool = True

    def __init__(
        self,
        event_shape: Sequence[int],
        parents: Sequence[Sequence[int]] | None = None,
        *,
        pseudocount: float = 0.5,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, parents, pseudocount=pseudocount, conditional=conditional)

    @torch.no_grad()
    def fit_counts(self, x: Tensor) -> None:
        """Learn the tree, then its tables."""
        self._set_parents(chow_liu_parents(mutual_information(x, self.pseudocount)))
        super().fit_counts(x)


def mutual_information(x: Tensor, pseudocount: float) -> Tensor:
    """Pairwise mutual information of binary variables in nats, `(n, n)`, from smoothed counts."""
    joint, marginal = pairwise_entropies(x.reshape(len(x), -1), pseudocount)
    return marginal[:, None] + marginal[None, :] - joint


def chow_liu_parents(information: Tensor) -> list[list[int]]:
    """Parents in the maximum spanning tree of a symmetric `(n, n)` matrix, grown from 0 (Prim)."""
    n = len(information)
    best, nearest = information[0].clone(), [0] * n
    outside = torch.ones(n, dtype=torch.bool)
    outside[0] = False
    parents: list[list[int]] = [[] for _ in range(n)]
    for _ in range(n - 1):
        chosen = int(torch.where(outside, best, -torch.inf).argmax())
        parents[chosen] = [nearest[chosen]]
        outside[chosen] = False
        for variable in (information[chosen] > best).nonzero()[:, 0].tolist():
            nearest[variable] = chosen
        best = torch.maximum(best, information[chosen])
    return parents
