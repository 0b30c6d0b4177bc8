"""Products of a small batch with one weight matrix, over and over: the inner loop of sampling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from chainrule.layers.linear import multiplied, packed

__all__ = ["Call", "RepeatedProduct"]

#: One operation of a step, its places in memory bound; what it returns is of no interest.
Call = Callable[[], object]

#: From so many multiply-adds on oneDNN's packed product was faster than BLAS, on the CPUs where it was
#: faster at all: each of its calls takes about 12 microseconds before it computes anything.
_WORTH_PACKING = 2**20


class RepeatedProduct:
    """x W^T for many x, with W made ready once.

    - `weight`: `(out, in)`; `batch_size`: rows of x.

    For float32 on CPUs the weights are packed for oneDNN, where this PyTorch offers that: twice as fast as
    BLAS with 64 rows on CPUs by AMD, where PyTorch's BLAS does not use the widest registers.
    """

    def __init__(self, weight: Tensor, batch_size: int) -> None:
        self.packed = _packed(weight, batch_size)
        self.columns = weight.t().contiguous() if self.packed is None else weight.t()

    def with_bias(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x W^T + bias, `(rows, out)`."""
        if self.packed is not None:
            return multiplied(x, self.packed, bias)
        return torch.mm(x, self.columns) if bias is None else torch.addmm(bias, x, self.columns)

    def of_many(self, x: Tensor) -> Tensor:
        """x W^T of rows in any number of dimensions, `(..., out)`."""
        return (
            torch.matmul(x, self.columns) if self.packed is None else multiplied(x.contiguous(), self.packed)
        )

    def add_to(self, start: Tensor | None, x: Tensor, out: Tensor) -> None:
        """Write `start + x W^T` into `out`; `start` may be `out`, or None for zero."""
        self.bound(start, x, out)()

    def bound(self, start: Tensor | None, x: Tensor, out: Tensor) -> Call:
        """`add_to` with everything decided, to be called again and again while the numbers change.

        With a single row, products are over so soon that deciding would take as long.
        """
        if self.packed is not None:
            return partial(_add_packed, start, x, self.packed, out)
        if start is out:  # half the time of the general call, where the product itself is small
            return partial(out.addmm_, x, self.columns)
        if start is None:
            return partial(torch.mm, x, self.columns, out=out)
        return partial(torch.addmm, start, x, self.columns, out=out)


def _add_packed(start: Tensor | None, x: Tensor, weight: Tensor, out: Tensor) -> None:
    product = multiplied(x, weight)
    if start is None:
        out.copy_(product)
    else:
        torch.add(start, product, out=out)


def _packed(weight: Tensor, batch_size: int) -> Tensor | None:
    """The weights in oneDNN's own layout; None where that is of no use or not to be had."""
    return packed(weight, batch_size) if batch_size * weight.numel() >= _WORTH_PACKING else None
