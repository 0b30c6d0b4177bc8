"""What a guard says of one image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from chainrule.security.places import Place

__all__ = ["Decision"]


@dataclass(frozen=True)
class Decision:
    """Accepted or refused, and why.

    - `p_value`: small for odd images; `score`: higher for usual ones; `log_prob`: nats.
    - `place`: where the image surprises most; `reason`: a line for people.
    """

    image: int
    accepted: bool
    p_value: float
    score: float
    log_prob: float
    place: Place
    reason: str

    @property
    def decision(self) -> str:
        """`"accept"` or `"refuse"`."""
        return "accept" if self.accepted else "refuse"

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON holds it; infinite numbers become None."""
        numbers = {"p_value": self.p_value, "score": self.score, "log_prob": self.log_prob}
        return {
            "image": self.image,
            "decision": self.decision,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "place": self.place.as_dict(),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        return f"{self.decision}, p = {self.p_value:.2g}: {self.reason}"
