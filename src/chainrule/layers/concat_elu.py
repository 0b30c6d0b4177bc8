"""The concatenated ELU of PixelCNN++: elu of the features and of their negatives, side by side.

From the code of Salimans et al. 2017, after Shang et al. 2016, "Understanding and improving convolutional
neural networks via concatenated rectified linear units". Nothing of a feature is lost: one half tells it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import elu_

__all__ = ["Padding", "concat_elu", "concat_elu_into"]

#: Zeros around an image: left, right, top, bottom.
Padding = tuple[int, int, int, int]


def concat_elu(x: Tensor, padding: Padding = (0, 0, 0, 0)) -> Tensor:
    """`[elu(x), elu(-x)]` along the features, with zeros around it.

    - `x`: `(batch, d, height, width)`; returns `(batch, 2 d, height + ..., width + ...)`, channels last.

    The zeros are those that a convolution needs, and elu(0) = 0, so that padding costs nothing. The backward
    pass needs no more than the result, which the convolution keeps anyhow.
    """
    y: Tensor = _ConcatElu.apply(x, padding)  # type: ignore[no-untyped-call]
    return y


def concat_elu_into(x: Tensor, out: Tensor) -> None:
    """Write `[elu(x), elu(-x)]` along the last dimension into `out`, `(..., 2 d)`; without gradients."""
    features = x.shape[-1]
    out[..., :features].copy_(x)
    torch.neg(x, out=out[..., features:])
    elu_(out)


class _ConcatElu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: Padding) -> Tensor:
        left, right, top, bottom = padding
        batch_size, features, height, width = x.shape
        shape = (batch_size, 2 * features, height + top + bottom, width + left + right)
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last).zero_()
        inside = y[:, :, top : top + height, left : left + width]
        inside[:, :features] = x
        torch.neg(x, out=inside[:, features:])
        elu_(y)
        ctx.inside = (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        inside = y[ctx.inside]
        # From the result (True): elu'(x) is 1 above 0 and e^x = elu(x) + 1 below. Alpha and scales are 1.
        grad = torch.ops.aten.elu_backward(grad_y[ctx.inside], 1.0, 1.0, 1.0, True, inside)
        of_x, of_minus_x = grad.chunk(2, dim=1)
        return of_x - of_minus_x, None
