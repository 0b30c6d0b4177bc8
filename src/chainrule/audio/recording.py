"""One recording in memory, at one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError

__all__ = ["LARGEST_RATE", "Recording"]

#: Samples a second that a recording may have: more is a damaged header.
LARGEST_RATE = 1_000_000


@dataclass(frozen=True, repr=False, eq=False)
class Recording:
    """Sound of one channel.

    - `samples`: `(T,)`, float64; full scale is -1..1. `rate`: samples a second.
    - `name`: of the file, for messages.
    - `remarks`: what was done to the samples on the way here, in words: channels mixed down, resampled.

    Raises `ChainruleError` for samples that are not `(T,)` with T > 0 or not finite, and for a strange rate.
    """

    samples: NDArray[np.float64]
    rate: int
    name: str = "recording"
    remarks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        whole_number(f"the rate of {self.name}", self.rate, minimum=1, maximum=LARGEST_RATE)
        samples: Any = np.asarray(self.samples)
        if samples.ndim != 1 or not samples.size or samples.dtype.kind != "f":
            raise ChainruleError(
                f"{self.name}: expected sound as floats of shape (samples,) with at least one, but got "
                f"{samples.dtype} {samples.shape}."
            )
        strange = np.flatnonzero(~np.isfinite(samples))
        if len(strange):
            raise ChainruleError(
                f"{self.name}: sample {strange[0]:,} is {samples[strange[0]]}; mend the file."
            )
        object.__setattr__(self, "samples", samples.astype(np.float64, copy=False))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    @property
    def clipped(self) -> int:
        """How many samples lie beyond full scale, which every code cuts off."""
        return int((np.abs(self.samples) > 1).sum())

    def at_rate(self, rate: int) -> Recording:
        """The same sound at another rate: `scipy.signal.resample_poly` with its default low-pass filter.

        Frequencies above half the new rate are gone afterwards.
        """
        rate = whole_number("rate", rate, minimum=1, maximum=LARGEST_RATE)
        if rate == self.rate:
            return self
        from scipy.signal import resample_poly  # takes a second to import

        common = math.gcd(rate, self.rate)
        samples = resample_poly(self.samples, rate // common, self.rate // common)
        remark = f"resampled from {self.rate:,} Hz to {rate:,} Hz"
        return Recording(samples, rate, self.name, (*self.remarks, remark))

    def part(self, first: int, last: int) -> Recording:
        """Samples first..last - 1."""
        return Recording(self.samples[first:last], self.rate, self.name, self.remarks)

    def then(self, other: Recording) -> Recording:
        """This one with the other after it; both at one rate."""
        if other.rate != self.rate:
            raise ChainruleError(
                f"{self.name} has {self.rate:,} Hz and {other.name} {other.rate:,} Hz; use at_rate first."
            )
        return Recording(np.concatenate([self.samples, other.samples]), self.rate, self.name, self.remarks)

    def __repr__(self) -> str:
        return f"Recording({self.name!r}, {self.seconds:.3f} s, {self.rate:,} Hz)"
