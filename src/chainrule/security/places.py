"""Where an image surprises: the surprise of each small window, held against what is usual at that place.

Pixels are hard to compare: the first pixel of a stroke costs bits in every image, a corner never does. So the
bits of every 3 x 3 window are set against their mean and standard deviation over clean images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from chainrule.detection.scores import Floats
from chainrule.errors import ChainruleError
from chainrule.security.passes import Passed, event_places
from chainrule.security.scores import Score

__all__ = ["PeakSurprise", "Place"]

#: Side of a window.
_SIDE = 3
#: Windows whose surprise hardly varies are measured in whole bits, not in their own tiny spread.
_LEAST_SPREAD = 1.0


@dataclass(frozen=True)
class Place:
    """The window of an image that is furthest above what is usual there.

    - `row`, `column`: of its middle, from 0; `bits`: what it costs; `usual`: the mean over clean images.
    """

    row: int
    column: int
    bits: float
    usual: float

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dict(vars(self))

    def __str__(self) -> str:
        return (
            f"most surprising around row {self.row}, column {self.column}: {self.bits:.1f} bits in "
            f"{_SIDE} x {_SIDE} pixels, usually {self.usual:.1f}"
        )


class PeakSurprise(Score):
    """Minus the greatest standardised surprise of any window: for small patches that log p(x) averages away.

    (bits - mean) / max(sd, 1 bit) over clean images, the channels of a pixel added up.
    """

    name: ClassVar[str] = "peak-surprise"
    needs_fit: ClassVar[bool] = True

    def __init__(self) -> None:
        self._mean: NDArray[np.float64] | None = None
        self._spread: NDArray[np.float64] | None = None

    def fit(self, clean: Passed) -> Self:
        """Mean and spread of the surprise of each window."""
        bits = _window_bits(clean)
        self._mean = bits.mean(0)
        self._spread = np.maximum(bits.std(0), _LEAST_SPREAD)
        return self

    def score(self, passed: Passed) -> Floats:
        """`(N,)`, standard deviations, negative for odd images."""
        _, standardised = self._windows(passed)
        score: Floats = -standardised.reshape(len(passed), -1).max(1)
        return score

    def places(self, passed: Passed) -> list[Place]:
        """The oddest window of each image."""
        bits, standardised = self._windows(passed)
        found = standardised.reshape(len(passed), -1).argmax(1)
        assert self._mean is not None
        rows, columns = np.unravel_index(found, self._mean.shape)
        return [
            Place(int(r), int(c), float(bits[i, r, c]), float(self._mean[r, c]))
            for i, (r, c) in enumerate(zip(rows, columns, strict=True))
        ]

    def learned(self) -> dict[str, Floats]:
        """`mean` and `spread` of each window, `(rows, columns)`, bits."""
        if self._mean is None or self._spread is None:
            raise ChainruleError("this PeakSurprise has seen no clean images yet; call fit(clean) first.")
        return {"mean": self._mean, "spread": self._spread}

    def take_up(self, learned: dict[str, Floats]) -> Self:
        """The same."""
        self._mean, self._spread = learned["mean"], learned["spread"]
        return self

    def _windows(self, passed: Passed) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bits of each window, and standardised, both `(N, rows, columns)`."""
        learned, bits = self.learned(), _window_bits(passed)
        return bits, (bits - learned["mean"]) / learned["spread"]


def _window_bits(passed: Passed) -> NDArray[np.float64]:
    """Surprise of the window around each pixel, bits, `(N, rows, columns)`; cut off at the edges."""
    channels, rows, columns = event_places(passed.images.shape[1:])
    bits = -passed.by_pixel.double().view(len(passed), channels, rows, columns).sum(1) / math.log(2)
    pooled = avg_pool2d(bits[:, None], _SIDE, stride=1, padding=_SIDE // 2) * _SIDE**2
    windows: NDArray[np.float64] = torch.Tensor.numpy(pooled[:, 0])
    return windows
