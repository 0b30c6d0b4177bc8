"""Sound as whole numbers: the mu-law with 256 levels, and plain 16 bits.

ITU-T G.711 gives loud samples coarse steps and quiet ones fine steps, as ears hear. Its continuous law for
mu = 255 is what WaveNet (van den Oord et al. 2016, section 2.2) cuts into 256 even steps:

    F(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu),     -1 <= x <= 1.

(Telephones use straight pieces close to it; codes of a telephone's file are not these codes.)
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.conditionals import Categorical, Conditional, DiscretizedLogisticMixture
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["CODES", "MU", "LinearCode", "MuLawCode", "SampleCode", "code_named", "compress", "expand"]

MU = 255

Samples = NDArray[np.float64]
Codes = NDArray[np.int64]


def compress(samples: NDArray[Any]) -> Samples:
    """F(x) of samples in [-1, 1]; what lies beyond is cut off there.

    >>> compress(np.array([-1.0, 0.0, 0.5, 1.0])).round(4).tolist()
    [-1.0, 0.0, 0.8757, 1.0]
    """
    x = np.clip(np.asarray(samples, dtype=np.float64), -1, 1)
    compressed: Samples = np.sign(x) * np.log1p(MU * np.abs(x)) / np.log1p(MU)
    return compressed


def expand(compressed: NDArray[Any]) -> Samples:
    """The inverse of F: sign(y) ((1 + mu)^|y| - 1) / mu."""
    y = np.asarray(compressed, dtype=np.float64)
    samples: Samples = np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU
    return samples


class SampleCode(Protocol):
    """A pair of `encode` and `decode`, and the family of distributions for its levels.

    - `name`: how settings call it; `levels`: how many values a code has.
    - `can_end`: whether there can be one level more, which ends a recording.
    """

    name: str
    levels: int
    can_end: bool

    def encode(self, samples: NDArray[Any]) -> Codes:
        """Whole numbers 0..levels - 1 for samples `(T,)`; those beyond -1..1 are taken as -1 or 1."""

    def decode(self, codes: NDArray[Any]) -> Samples:
        """Samples `(T,)` that have these codes."""

    def conditional(self, *, with_end: bool) -> Conditional:
        """The family of one code given those before it."""


class MuLawCode:
    """256 even steps of F(x): code c stands for F(x) = 2 c / 255 - 1.

    No level is silence itself: 0 becomes 128, which decodes to 0.00009, three steps of a 16-bit file.

    >>> MuLawCode().encode(np.array([-1.0, 0.0, 0.01, 1.0])).tolist()
    [0, 128, 157, 255]
    """

    name = "mu-law"
    levels = MU + 1
    can_end = True

    def encode(self, samples: NDArray[Any]) -> Codes:
        """As in `SampleCode`; the nearest of the 256 levels after the law."""
        return np.floor((compress(samples) + 1) / 2 * MU + 0.5).astype(np.int64)

    def decode(self, codes: NDArray[Any]) -> Samples:
        """As in `SampleCode`."""
        return expand(2 * np.asarray(codes, dtype=np.float64) / MU - 1)

    def conditional(self, *, with_end: bool) -> Conditional:
        """A softmax over the levels, as in the paper."""
        return Categorical(self.levels + with_end)


class LinearCode:
    """The 65,536 values of a 16-bit sample, from -32768 as code 0 up.

    >>> LinearCode().encode(np.array([-1.0, 0.0, 1.0])).tolist()
    [0, 32768, 65535]
    """

    name = "pcm16"
    levels = 1 << 16
    can_end = False

    def encode(self, samples: NDArray[Any]) -> Codes:
        """As in `SampleCode`; the nearest 16-bit value."""
        half = self.levels // 2
        values = np.rint(np.asarray(samples, dtype=np.float64) * half)
        return np.clip(values, -half, half - 1).astype(np.int64) + half

    def decode(self, codes: NDArray[Any]) -> Samples:
        """As in `SampleCode`; exact for samples that were 16-bit values."""
        half = self.levels // 2
        return (np.asarray(codes, dtype=np.float64) - half) / half

    def conditional(self, *, with_end: bool) -> Conditional:
        """Ten logistics, whose mass in each bin is the exact probability of a 16-bit value."""
        if with_end:
            raise ChainruleError("code=pcm16 has no level that could end a recording; set ends=false.")
        return DiscretizedLogisticMixture(self.levels, components=10)


CODES: dict[str, SampleCode] = {code.name: code for code in (MuLawCode(), LinearCode())}


def code_named(name: str) -> SampleCode:
    """`mu-law` or `pcm16`; `ChainruleError` for another name."""
    if name not in CODES:
        raise unknown_name("code of samples", name, CODES)
    return CODES[name]
