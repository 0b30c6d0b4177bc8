"""Linear layers some of whose weights are held at zero by a mask."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["MaskedLinear", "Staircase"]

#: Steps of a staircase; more save more products and cost more calls. The best of 2..16 when measured.
_STEPS = 4

#: A layer with fewer weights than this gains nothing from being cut.
_WORTH_CUTTING = 2**16


@dataclass(frozen=True)
class Staircase:
    """A mask whose rows are open up to a column that never moves back, cut into a few bands of rows.

    In a band (first row, last row, wide, reach) every row is open before column `wide` and closed from
    column `reach` on. So nothing is to be computed beyond `reach`, and nothing to be masked before `wide`.
    """

    bands: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, mask: Tensor) -> Self | None:
        """The staircase of a mask `(out_features, in_features)`; None if it has none, or is small."""
        if mask.numel() < _WORTH_CUTTING:
            return None
        lengths = (mask > 0).sum(1)
        is_prefix = torch.equal(mask > 0, torch.arange(mask.shape[1], device=mask.device) < lengths[:, None])
        if not is_prefix or bool((lengths[1:] < lengths[:-1]).any()):
            return None
        cuts = [len(mask) * step // _STEPS for step in range(_STEPS + 1)]
        ends = lengths.tolist()
        return cls(tuple((a, b, ends[a], ends[b - 1]) for a, b in itertools.pairwise(cuts)))


class MaskedLinear(nn.Linear):
    """y = (W * mask) x + b. The parameters themselves are never changed by the forward pass.

    The mask is an argument and no attribute, so that one layer serves many masks.
    """

    def forward(self, x: Tensor, mask: Tensor, staircase: Staircase | None = None) -> Tensor:  # type: ignore[override]
        """`x`: `(batch, in_features)`; `mask`: `(out_features, in_features)`, 1 where open and 0 elsewhere.

        A mask in the dtype of the weights is a third faster than a boolean one. With the `staircase` of
        the mask about half of the products are left out; the result is the same up to rounding.
        """
        if staircase is None or torch.is_autocast_enabled(x.device.type):
            return nn.functional.linear(x, self.masked_weight(mask), self.bias)
        product: Tensor = _StaircaseProduct.apply(x, self.weight, mask, staircase)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias

    @torch.no_grad()
    def initialise(self, mask: Tensor, gain: float) -> None:
        """Normal weights of variance gain^2 / (open inputs of the unit), and no bias.

        Counting only open inputs (He et al. 2015 count all) keeps the scale of units that hear few.
        """
        open_inputs = mask.sum(1, keepdim=True).clamp_min(1)
        self.weight.normal_().mul_(gain / open_inputs.sqrt())
        if self.bias is not None:
            self.bias.zero_()

    def reset_parameters(self) -> None:
        """Zeros until `initialise`, which needs to know the mask."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def masked_weight(self, mask: Tensor) -> Tensor:
        """W where the mask is 1 and exactly 0 elsewhere."""
        return self.weight * mask


class _StaircaseProduct(torch.autograd.Function):
    """x (W * mask)^T band by band: `(batch, in_features)` to `(batch, out_features)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor, staircase: Staircase) -> Tensor:
        columns = x.T
        product = x.new_empty(len(weight), len(x))  # so, a band is one piece of memory
        edges = [
            weight[first:last, wide:reach] * mask[first:last, wide:reach]
            for first, last, wide, reach in staircase.bands
        ]
        for (first, last, wide, reach), edge in zip(staircase.bands, edges, strict=True):
            band = product[first:last]
            torch.mm(weight[first:last, :wide], columns[:wide], out=band)
            band.addmm_(edge, columns[wide:reach])
        ctx.staircase = staircase
        ctx.save_for_backward(x, weight, mask, *edges)
        return product.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_product: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask, *edges = ctx.saved_tensors
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight)
        for (first, last, wide, reach), edge in zip(ctx.staircase.bands, edges, strict=True):
            band = grad_product[:, first:last]
            torch.mm(band.T, x[:, :reach], out=grad_weight[first:last, :reach])
            grad_weight[first:last, wide:reach].mul_(mask[first:last, wide:reach])
            grad_weight[first:last, reach:] = 0
            if grad_x is not None:
                grad_x[:, :wide].addmm_(band, weight[first:last, :wide])
                grad_x[:, wide:reach].addmm_(band, edge)
        return grad_x, grad_weight, None, None
