"""Linear layers some of whose weights are held at zero by a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MaskedLinear"]


class MaskedLinear(nn.Linear):
    """y = (W * mask) x + b. The parameters themselves are never changed by the forward pass.

    The mask is an argument and no attribute, so that one layer serves many masks.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """`x`: `(..., in_features)`; `mask`: bool, `(out_features, in_features)`, True where open."""
        return nn.functional.linear(x, self.masked_weight(mask), self.bias)

    def masked_weight(self, mask: Tensor) -> Tensor:
        """W where the mask is open and exactly 0 elsewhere, in the dtype that autocast asks for."""
        weight = self.weight
        if torch.is_autocast_enabled(weight.device.type):
            # Casting before masking halves the memory that the masked copy and its gradient move.
            weight = weight.to(torch.get_autocast_dtype(weight.device.type))
        return weight * mask
