"""Products of float32 numbers on a processor, through oneDNN.

PyTorch multiplies float32 matrices on a processor with the BLAS that it was built with, and everything else
with oneDNN. On processors that the BLAS does not know well the latter is more than twice as fast (2.2x on an
AMD EPYC, forward and backward). With few rows, as when a sequence is sampled, most of the time goes into
reading the weights; oneDNN reads them fastest from a copy in a layout of its own (2x for one row, 4x for 16).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Linear", "PackedWeights", "linear", "multiplied", "packed"]

#: Products with fewer multiplications than this are over before another way to them is found.
_LEAST = 1 << 19
#: Rows that the copies of `PackedWeights` are laid out for; others work, too.
_ROWS = 16


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, as `torch.nn.functional.linear`, through oneDNN where that is faster."""
    if not _is_for_onednn(x, weight) or x.numel() * weight.shape[0] < _LEAST:
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        product: Tensor = _Product.apply(x, weight)  # type: ignore[no-untyped-call]
        return product if bias is None else product + bias
    return multiplied(x, weight, bias)


class Linear(nn.Linear):
    """`torch.nn.Linear` through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b, `(..., out_features)`."""
        return linear(x, self.weight, self.bias)


class PackedWeights:
    """Copies of the weights of linear maps, laid out for products with few rows.

    They are of the moment they were made: use them for one sample, not after another step of training. Where
    there is nothing to gain, on an accelerator or in float64, there are no copies.
    """

    def __init__(self, modules: Iterable[nn.Linear]) -> None:
        self._packed: dict[nn.Linear, Tensor] = {}
        with torch.no_grad():
            for module in modules:
                if not _is_for_onednn(module.weight, module.weight):
                    continue
                copy = packed(module.weight, _ROWS)
                if copy is not None:
                    self._packed[module] = copy

    def apply(self, module: nn.Linear, x: Tensor) -> Tensor:
        """`module(x)`, without a gradient."""
        copy = self._packed.get(module)
        return module(x) if copy is None else multiplied(x, copy, module.bias)


def packed(weight: Tensor, rows: int) -> Tensor | None:
    """A copy of the weights in oneDNN's layout, for products of about `rows` rows; None where it has none."""
    if not _is_available() or weight.device.type != "cpu" or weight.dtype != torch.float32:
        return None
    try:
        copy: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        multiplied(weight[:1], copy)
    except RuntimeError:
        # Not part of PyTorch's public interface: a release may change it.
        return None
    return copy


def multiplied(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b by oneDNN, for weights as they are or `packed`; no gradient, and nothing is checked."""
    product: Tensor = _POINTWISE(x, weight, bias, "none", [], "")
    return product


class _Product(torch.autograd.Function):
    """x W^T with its gradient, all three products through oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return multiplied(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        (grad,) = grads
        if ctx.needs_input_grad[0]:
            of_x = linear(grad, weight.t())
        if ctx.needs_input_grad[1]:
            rows = grad.flatten(0, -2)
            of_weight = linear(rows.t(), x.flatten(0, -2).t())
        return of_x, of_weight


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        _AVAILABLE
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.ndim > 1
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _is_available() -> bool:
    operators = torch.ops.mkldnn
    built_in: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built_in and all(
        hasattr(operators, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


_AVAILABLE = _is_available()
#: The operation itself, so that no call has to look for it among overloads.
_POINTWISE: Any = torch.ops.mkldnn._linear_pointwise.default if _AVAILABLE else None
