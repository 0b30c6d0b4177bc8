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
        """`x`: `(..., in_features)`; `mask`: `(out_features, in_features)`, 1 where open and 0 elsewhere.

        A mask in the dtype of the weights is a third faster than a boolean one.
        """
        return nn.functional.linear(x, self.masked_weight(mask), self.bias)

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
