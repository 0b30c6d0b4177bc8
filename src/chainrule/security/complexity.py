"""Input complexity: log p(x) held against the length of the image's lossless code (Serra et al. 2020).

A density gives simple images (smooth, dark, mostly empty) a high likelihood whatever they show. A lossless
codec that knows nothing of the data knows just that, so its code length L(x) is the likelihood under a
universal model, and the ratio of the two is left with what the density learned:

    S(x) = -log2 p(x) - L(x)  bits (Serra et al. 2020, equation 1), high for odd images.

The code of every codec contains a header; it is the same for all images of a shape and moves no rank.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chainrule.detection.scores import Floats
from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.passes import Passed, event_places
from chainrule.security.scores import Score

__all__ = ["CODECS", "InputComplexity", "available_codecs", "code_bits"]

#: The shortest of all codecs that are there: "best" is no codec of its own.
BEST = "best"


def _png(picture: Any) -> bytes:
    return _saved(picture, format="PNG", optimize=True)


def _webp(picture: Any) -> bytes:
    return _saved(picture.convert("RGB"), format="WEBP", lossless=True, quality=100, method=4, exact=True)


def _jpeg2000(picture: Any) -> bytes:
    return _saved(picture, format="JPEG2000", irreversible=False, quality_mode="rates", quality_layers=[0])


def _saved(picture: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


#: How each codec writes a Pillow image without loss, and the feature of Pillow that it needs.
CODECS: dict[str, tuple[Callable[[Any], bytes], str | None]] = {
    "png": (_png, None),
    "webp": (_webp, "webp"),
    "jpeg2000": (_jpeg2000, "jpg_2000"),
}


def available_codecs() -> tuple[str, ...]:
    """The codecs that this machine's Pillow was built with; PNG always is."""
    from PIL import features

    return tuple(name for name, (_, feature) in CODECS.items() if feature is None or features.check(feature))


def code_bits(passed: Passed, codec: str) -> Floats:
    """L(x): bits of each image's lossless code, `(N,)`; the shortest over all codecs for `best`.

    Raises `ChainruleError` for an unknown codec, one that Pillow lacks here, and for images that are no
    pictures of one or three channels.
    """
    there = available_codecs()
    if codec == BEST:
        shortest: Floats = np.minimum.reduce([code_bits(passed, name) for name in there])
        return shortest
    if codec not in CODECS:
        raise unknown_name("codec", codec, [*CODECS, BEST])
    if codec not in there:
        raise ChainruleError(
            f"Pillow was built without {codec} here; take one of {', '.join(there)}, or install another."
        )
    if codec not in passed.code_lengths:
        encode = CODECS[codec][0]
        lengths = [8 * len(encode(picture)) for picture in _pictures(passed)]
        passed.code_lengths[codec] = np.array(lengths, dtype=np.float64)
    return passed.code_lengths[codec]


def _pictures(passed: Passed) -> list[Any]:
    from PIL import Image

    channels, rows, columns = event_places(passed.images.shape[1:])
    if channels not in (1, 3) or passed.levels > 256:
        raise ChainruleError(
            f"codecs take grey and RGB pictures of up to 256 levels, not {channels} channels of "
            f"{passed.levels} levels."
        )
    # Spread over 0..255, as the pictures are stored: a codec's predictors expect that.
    scale = 255 / (passed.levels - 1)
    flat = (passed.images.cpu().double() * scale).round().numpy().astype(np.uint8)
    pixels: NDArray[np.uint8] = flat.reshape(len(passed), channels, rows, columns)
    if channels == 1:
        return [Image.fromarray(image[0]) for image in pixels]
    return [Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in pixels]


class InputComplexity(Score):
    """-S(x) ln 2 = log p(x) + L(x) ln 2, nats: high for usual images.

    - `codec`: `"png"`, `"webp"` (lossless), `"jpeg2000"` (reversible), or `"best"`, the shortest of those
      that are there, as the authors advise (section 3.3: the tighter the code, the better).
    """

    name: ClassVar[str] = "input-complexity"

    def __init__(self, codec: str = BEST) -> None:
        if codec != BEST and codec not in CODECS:
            raise unknown_name("codec", codec, [*CODECS, BEST])
        self.codec = codec

    def score(self, passed: Passed) -> Floats:
        """`(N,)`, nats."""
        return passed.log_prob + code_bits(passed, self.codec) * math.log(2)

    def settings(self) -> dict[str, Any]:
        """`codec`."""
        return {"codec": self.codec}
