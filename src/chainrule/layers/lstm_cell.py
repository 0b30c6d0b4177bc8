"""The arithmetic of an LSTM cell, made of sigmoids alone.

    c = f c_before + i g,    h = o tanh(c),    o, f, i sigmoids and g a tanh of what enters the gates.

tanh(a) is computed as 2 sigmoid(2 a) - 1, to an absolute error of one rounding, since PyTorch's tanh takes
many times as long as its sigmoid on CPUs. So that this costs no further operation, what enters g comes
doubled, cells are kept doubled, 2 c, and outputs with the opposite sign, -h; the weights around the
cell have the factors in them (`gate_scale`), which is exact.

The gates lie end to end in the order o, f, i, g.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Gates", "advance", "forget_bias", "gate_scale"]


class Gates(NamedTuple):
    """All gates in one tensor, and each of them."""

    all: Tensor
    o: Tensor
    f: Tensor
    i: Tensor
    g: Tensor

    @classmethod
    def of(cls, z: Tensor, dim: int) -> Gates:
        """The quarters of `z` along a dimension."""
        return cls(z, *z.chunk(4, dim=dim))


def gate_scale(features: int, like: Tensor) -> Tensor:
    """By what the weights into each gate are multiplied, `(4 features,)`: 2 for what enters a tanh."""
    return torch.cat([like.new_ones(3 * features), like.new_full((features,), 2.0)])


@torch.no_grad()
def forget_bias(bias: Tensor | None) -> None:
    """Let the cells keep what they hold to begin with: f has a bias of 1, the others of 0."""
    assert bias is not None
    bias.zero_().chunk(4)[1].fill_(1.0)


def advance(gates: Gates, before: Tensor, cell: Tensor, squashed: Tensor, out: Tensor) -> None:
    """One step of a cell, from what enters the gates, which become their values in place.

    - `before`: 2 c_before; `cell`: takes 2 c, and may be `before`.
    - `squashed`: takes sigmoid(2 c); `out`: takes -h.
    """
    z, o, f, i, g = gates
    z.sigmoid_()
    torch.mul(f, before, out=cell)
    cell.addcmul_(i, g, value=4).sub_(i, alpha=2)  # 2 i (2 g - 1)
    torch.sigmoid(cell, out=squashed)
    torch.addcmul(o, o, squashed, value=-2, out=out)
