"""A classifier behind a guard, as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from chainrule.arguments import real_number
from chainrule.contrasts.accuracy import as_weights
from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.attack_victims import read_by

if TYPE_CHECKING:
    from chainrule.security.guard import PixelDefend

__all__ = ["GuardMode", "GuardedClassifier"]

GuardMode = Literal["purify", "refuse", "both"]
MODES = ("purify", "refuse", "both")
#: The logit of the class of refused images for those that are, and minus it for those that are not.
_SURE = 1e4


class GuardedClassifier(nn.Module):
    """From images of levels `(N, *event_shape)` to logits `(N, classes)`, with one more class for refusals.

    - `mode`: `"purify"`, `"refuse"` or `"both"`; `refusals` says whether the last class means refused.

    Purification has no gradient, so neither has this module, but where it only refuses: an attacker's way
    around that is BPDA (`chainrule.security.adaptive`). The density's weights are no part of `state_dict`.
    """

    def __init__(
        self,
        guard: PixelDefend,
        classifier: nn.Module,
        mode: GuardMode = "purify",
        *,
        scale: float = 1.0,
        adaptive: bool = False,
        bits: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(classifier, nn.Module):
            raise ChainruleError(
                f"the classifier must be a torch.nn.Module, not a {type(classifier).__name__}."
            )
        if mode not in MODES:
            raise unknown_name("mode of a guard", mode, MODES)
        self.classifier, self.mode = classifier, mode
        self.scale = real_number("scale", scale, above=0.0)
        self.adaptive, self.bits = adaptive, bits
        self._guard = (guard,)  # in a tuple, so that its weights are not this module's
        self.refusals = mode != "purify"

    @property
    def guard(self) -> PixelDefend:
        """The guard."""
        return self._guard[0]

    def purify(self, images: Tensor) -> Tensor:
        """What the classifier will see of the images, in levels."""
        if self.mode == "refuse":
            return images
        return self.guard.purify(images, adaptive=self.adaptive, bits=self.bits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits; those of the last class, if it means refused, are far above or below all others."""
        seen = as_weights(self.classifier, self.purify(images))
        logits: Tensor = read_by(self.classifier, seen if self.scale == 1.0 else seen / self.scale)
        if not self.refusals:
            return logits
        # Of the images as they came: calibrated on such, purified ones all look usual, or all too usual.
        alarms = torch.from_numpy(self.guard.alarms(images.detach())).to(logits.device)
        refused = torch.where(alarms, _SURE, -_SURE).to(logits)
        return torch.cat([logits, refused[:, None]], dim=1)

    def extra_repr(self) -> str:
        """The guard, on one line."""
        return f"{self.guard!r}, mode={self.mode!r}"
