"""Convolutions over images that look back in raster order only, and compute nothing of what they may not see.

van den Oord et al. 2016a, "Pixel recurrent neural networks", section 3.4, and 2016b, "Conditional image
generation with PixelCNN decoders", section 2.2. A kernel covers a window of rows and columns around a
pixel. Its part below and to the right is never computed: the image is padded and cropped instead, so that
the window ends where it must. At the pixel itself the features are divided among its colour channels, in the
order R, G, B (any number of channels), and a mask says which colours hear which:

    A (first layer): earlier colours only;      B (later layers): its own colour as well.

Features are `(batch, features, height, width)`, best in channels-last memory.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError, unknown_name

__all__ = [
    "MaskKind",
    "MaskedConv2d",
    "ShiftedConv2d",
    "colour_bounds",
    "colour_of",
    "odd_size",
    "pixel_mask",
]

MaskKind = Literal["A", "B"]


def colour_bounds(features: int, channels: int) -> list[int]:
    """Where the features of each colour begin, and the end: `channels + 1` numbers.

    >>> colour_bounds(128, 3)
    [0, 42, 85, 128]
    """
    return [features * colour // channels for colour in range(channels + 1)]


def colour_of(features: int, channels: int, blocks: int = 1) -> Tensor:
    """The colour of each feature, `(features,)`, where the features are `blocks` equal blocks end to end."""
    bounds = torch.tensor(colour_bounds(features // blocks, channels))
    return torch.repeat_interleave(torch.arange(channels), bounds.diff()).repeat(blocks)


def pixel_mask(
    size: int, kind: MaskKind, heard: Tensor | None = None, hearing: Tensor | None = None
) -> Tensor:
    """The mask of a whole `size x size` kernel: 1 where open, 0 where closed.

    - `heard`, `hearing`: colours of the features below `(in,)` and above `(out,)`; without them, of a
      single feature of a single colour.

    Returns `(out, in, size, size)`, or `(size, size)` without colours.

    >>> pixel_mask(3, "A").tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    one = torch.zeros(1, dtype=torch.long)
    below, above = (one if owner is None else owner for owner in (heard, hearing))
    mask = torch.ones(len(above), len(below), size, size)
    middle = size // 2
    mask[:, :, middle, middle] = _open_at_pixel(kind, below, above)
    mask[:, :, middle, middle + 1 :] = 0
    mask[:, :, middle + 1 :] = 0
    return mask[0, 0] if heard is None and hearing is None else mask


def _open_at_pixel(kind: MaskKind, heard: Tensor, hearing: Tensor) -> Tensor:
    """Which features of a pixel hear which of the same pixel, `(out, in)`."""
    if kind not in ("A", "B"):
        raise unknown_name("mask", kind, ("A", "B"))
    return (heard < hearing[:, None] if kind == "A" else heard <= hearing[:, None]).float()


class ShiftedConv2d(nn.Module):
    """A convolution whose window ends at the pixel or before it.

    - `in_features`, `out_features`: features below and above.
    - `rows`, `columns`: first and last offset of the window, both included: `rows=(-1, 0)` is the row above
      and the pixel's own; no row below it.
    - `kind`: the mask at the pixel itself, where the window holds it; None for none.
    - `channels`: colours of a pixel, among which the features are divided.
    - `out_blocks`: the features above are that many blocks, each divided among the colours.

    `weight` is `(out_features, in_features, rows, columns)`: the window alone, no masked half.

    >>> ShiftedConv2d(8, 16, rows=(-1, 0), columns=(-1, 1)).weight.shape
    torch.Size([16, 8, 2, 3])
    """

    mask: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rows: tuple[int, int] = (0, 0),
        columns: tuple[int, int] = (0, 0),
        kind: MaskKind | None = None,
        channels: int = 1,
        out_blocks: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.rows, self.columns, self.kind, self.channels = rows, columns, kind, channels
        if min(in_features, out_features // out_blocks) < channels:
            raise ChainruleError(
                f"a layer from {in_features} to {out_features} features cannot divide them among {channels} "
                "colour channels; give every channel at least one."
            )
        #: Colours of the features below and above.
        self.heard = colour_of(in_features, channels)
        self.hearing = colour_of(out_features, channels, out_blocks)
        self.weight = nn.Parameter(torch.zeros(out_features, in_features, *self._kernel_size()))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.register_buffer("mask", self._mask(), persistent=False)
        self.initialise(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_features, height, width)` to `(batch, out_features, height, width)`."""
        (top, bottom), (left, right) = self.rows, self.columns
        if top or bottom or left or right:
            x = pad(x, (-left, right, -top, bottom))  # a negative edge crops
        return conv2d(x, self.kernel(), self.bias)

    def kernel(self) -> Tensor:
        """The weights of the window, closed ones 0: `(out_features, in_features, rows, columns)`."""
        return self.weight if self.mask is None else self.weight * self.mask

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds computed for a pixel."""
        (top, bottom), (left, right) = self.rows, self.columns
        return self.in_features * self.out_features * (bottom - top + 1) * (right - left + 1)

    @torch.no_grad()
    def initialise(self, gain: float) -> None:
        """Normal weights of variance gain^2 / (open inputs of a feature), and no bias."""
        mask = torch.ones_like(self.weight) if self.mask is None else self.mask
        open_inputs = mask.flatten(1).sum(1).clamp_min(1)[:, None, None, None]
        self.weight.normal_().mul_(gain / open_inputs.sqrt())
        if self.bias is not None:
            self.bias.zero_()

    def extra_repr(self) -> str:
        """Sizes and window."""
        kind = f", mask {self.kind}" if self.kind else ""
        return f"{self.in_features}, {self.out_features}, rows={self.rows}, columns={self.columns}{kind}"

    def _kernel_size(self) -> tuple[int, int]:
        (top, bottom), (left, right) = self.rows, self.columns
        return bottom - top + 1, right - left + 1

    def _mask(self) -> Tensor | None:
        """None where everything is open; of the size of `weight` otherwise."""
        (top, bottom), (left, right) = self.rows, self.columns
        if self.kind is None or not (top <= 0 <= bottom and left <= 0 <= right):
            return None
        mask = torch.ones(self.weight.shape)
        mask[:, :, -top, -left] = _open_at_pixel(self.kind, self.heard, self.hearing)
        return None if bool(mask.all()) else mask


class MaskedConv2d(ShiftedConv2d):
    """The masked convolution as it was published: a whole `size x size` kernel times a mask.

    - `size`: odd; `kind`: `"A"` or `"B"`; the rest as in `ShiftedConv2d`.

    `weight` holds the masked half too, K^2 D_in D_out numbers with D_in, D_out the features, as the papers
    count. Rows below the pixel are not computed.

    >>> sum(MaskedConv2d(3 if first else 128, 128, 3, "B", bias=False).weight.numel()
    ...     for first in [True] + 14 * [False])
    2067840
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        size: int,
        kind: MaskKind,
        *,
        channels: int = 1,
        out_blocks: int = 1,
        bias: bool = True,
    ) -> None:
        self.size = odd_size("the size of a masked kernel", size)
        if kind not in ("A", "B"):
            raise unknown_name("mask", kind, ("A", "B"))
        reach = size // 2
        super().__init__(
            in_features,
            out_features,
            rows=(-reach, 0),
            columns=(-reach, reach),
            kind=kind,
            channels=channels,
            out_blocks=out_blocks,
            bias=bias,
        )

    def kernel(self) -> Tensor:
        """The open rows of the masked kernel, `(out_features, in_features, size // 2 + 1, size)`."""
        if self.mask is None:
            return self.weight
        upper = slice(0, self.size // 2 + 1)
        return self.weight[:, :, upper] * self.mask[:, :, upper]

    def _kernel_size(self) -> tuple[int, int]:
        return self.size, self.size

    def _mask(self) -> Tensor | None:
        assert self.kind is not None
        mask = pixel_mask(self.size, self.kind, self.heard, self.hearing)
        return None if bool(mask.all()) else mask


def odd_size(name: str, size: object, minimum: int = 1) -> int:
    """`size` as an odd int; `ChainruleError` otherwise, since an even kernel has no middle."""
    number = whole_number(name, size, minimum=minimum)
    if number % 2 == 0:
        raise ChainruleError(f"{name} must be odd, so that it has a middle, not {number}.")
    return number
