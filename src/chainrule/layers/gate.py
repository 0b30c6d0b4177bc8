"""The gated activation tanh(a) * sigmoid(b), van den Oord et al. 2016b, equation 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["gated"]


def gated(z: Tensor) -> Tensor:
    """tanh of the first half of the features times the sigmoid of the second.

    - `z`: `(batch, 2 d, ...)`; returns `(batch, d, ...)`.

    In single and double precision tanh(a) is computed as 2 sigmoid(2 a) - 1, to an absolute error of one
    rounding: that is several times as fast, and the backward pass needs no more than the sigmoids.
    """
    if z.dtype not in (torch.float32, torch.float64):
        # A sigmoid near 1/2 has too few digits left for a tanh near 0.
        a, b = z.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)
    y: Tensor = _Gate.apply(z)  # type: ignore[no-untyped-call]
    return y


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        s = torch.empty_like(z)
        a, b = z.chunk(2, dim=1)
        s_a, s_b = s.chunk(2, dim=1)
        torch.mul(a, 2, out=s_a)
        s_b.copy_(b)
        s.sigmoid_()
        y = torch.addcmul(s_b, s_a, s_b, value=-2).neg_()  # (2 s_a - 1) s_b
        ctx.save_for_backward(s, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> Tensor:
        s, y = ctx.saved_tensors
        s_a, s_b = s.chunk(2, dim=1)
        grad_z = torch.empty_like(s)
        grad_a, grad_b = grad_z.chunk(2, dim=1)
        through = grad_y * y
        torch.addcmul(through, through, s_b, value=-1, out=grad_b)  # g y (1 - s_b)
        torch.mul(grad_y, s_b, out=through).mul_(s_a)
        torch.addcmul(through, through, s_a, value=-1, out=grad_a).mul_(4)  # 4 g s_b s_a (1 - s_a)
        return grad_z
