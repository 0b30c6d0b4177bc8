"""A mixture of experts in place of a Transformer's MLP: many networks, of which each place uses a few.

Jacobs et al. 1991; sparse, as here: Shazeer et al. 2017, with the weights of Fedus et al. 2022, which teach
the router even where a single expert is used. At a place h

    y = sum_{e in the k greatest} softmax(R h)_e f_e(h),

so the parameters grow with the number of experts, and the products of a place with k. Which experts a place
uses follows from that place alone, so nothing is heard of later ones. (Experts that choose their places, Zhou
et al. 2022, look at the whole sequence: that is no chain rule.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule.layers.linear import Linear, PackedWeights

__all__ = ["Experts", "FeedForward", "feed_forward"]


def feed_forward(x: Tensor, up: nn.Linear, down: nn.Linear, packed: PackedWeights | None = None) -> Tensor:
    """down(gelu(up(x))), `(..., width)`; by copies of the weights where there are any."""
    if packed is None:
        out: Tensor = down(functional.gelu(up(x)))
        return out
    return packed.apply(down, functional.gelu(packed.apply(up, x)))


class FeedForward(nn.Module):
    """An MLP with one hidden layer: `width` numbers in and out, `inner` between."""

    def __init__(self, width: int, inner: int, *, bias: bool = True) -> None:
        super().__init__()
        self.up = Linear(width, inner, bias=bias)
        self.down = Linear(inner, width, bias=bias)

    def forward(self, x: Tensor, packed: PackedWeights | None = None) -> Tensor:
        """`(..., width)` to the same shape."""
        return feed_forward(x, self.up, self.down, packed)


class Experts(nn.Module):
    """Several MLPs and a router, a linear map that says which of them work at a place, and with what weight.

    - `width`, `inner`, `bias`: of each MLP.
    - `count`: how many there are; `used`: how many of them work at a place, those of the greatest weights.
      With all of them this is the dense mixture.

    Nothing but the likelihood keeps the experts busy: there is no balancing loss. Where two scores are equal
    to rounding, a place may use one expert in a parallel pass and the other in a step.
    """

    def __init__(self, width: int, inner: int, count: int, used: int, *, bias: bool = True) -> None:
        super().__init__()
        self.used = used
        self.router = Linear(width, count, bias=False)
        self.experts = nn.ModuleList(FeedForward(width, inner, bias=bias) for _ in range(count))

    def forward(self, x: Tensor, packed: PackedWeights | None = None) -> Tensor:
        """`(..., width)` to the same shape; an expert is only run on the places that use it."""
        places = x.flatten(0, -2)
        scores = self.router(places) if packed is None else packed.apply(self.router, places)
        weights, chosen = scores.softmax(1).topk(self.used, dim=1)  # (places, used)
        out = torch.zeros_like(places)
        for number, expert in enumerate(self.experts):
            row, rank = (chosen == number).nonzero(as_tuple=True)
            # With gradients it runs on no places, too: processes that train together wait for each gradient.
            if len(row) or torch.is_grad_enabled():
                out = out.index_add(0, row, weights[row, rank, None] * expert(places[row], packed))
        return out.view_as(x)

    @property
    def idle_weights(self) -> int:
        """How many weights of linear maps a place leaves alone."""
        per_expert = sum(m.weight.numel() for m in self.experts[0].modules() if isinstance(m, nn.Linear))
        return (len(self.experts) - self.used) * per_expert

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.used} of {len(self.experts)} used"
