"""Feature maps with the features first, `(features, rows, columns, batch)`.

In this layout a 1 x 1 convolution is one product, the features of a gate are one piece of memory, and the
pixels of a row, or of a diagonal, are long runs: what a recurrent layer over images needs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from chainrule.layers.masked_conv import ShiftedConv2d

__all__ = ["batch_first", "convolve_along_row", "features_first", "matrix_along_row"]


def features_first(x: Tensor) -> Tensor:
    """From `(batch, features, rows, columns)`."""
    return x.permute(1, 2, 3, 0).contiguous()


def batch_first(x: Tensor) -> Tensor:
    """To `(batch, features, rows, columns)`: a view."""
    return x.permute(3, 0, 1, 2)


def matrix_along_row(layer: ShiftedConv2d) -> Tensor:
    """The kernel of a layer that looks at one row, `(out, columns * in)`, from its left column on."""
    return layer.kernel()[:, :, 0].transpose(1, 2).flatten(1)


def convolve_along_row(
    layer: ShiftedConv2d, x: Tensor, *, scale: Tensor | None = None, start: Tensor | None = None
) -> Tensor:
    """What a layer that looks at the pixel's row alone, up to the pixel, makes of a map.

    - `scale`: factors of its output, `(out,)`, bias and all.
    - `start`: what to add, `(out, rows, columns, batch)`, for a layer without bias.

    Returns `(out, rows, columns, batch)`.
    """
    left = -layer.columns[0]
    if left:
        x = torch.cat([pad(x, (0, 0, shift, -shift)) for shift in range(left, -1, -1)])
    weight = matrix_along_row(layer)
    bias: Tensor | None = layer.bias
    if scale is not None:
        weight = weight * scale[:, None]
        bias = None if bias is None else bias * scale
    assert bias is None or start is None
    first = bias[:, None] if bias is not None else None if start is None else start.flatten(1)
    flat = x.flatten(1)
    z = torch.mm(weight, flat) if first is None else torch.addmm(first, weight, flat)
    return z.view(-1, *x.shape[1:])
