"""What people do with models of images, beyond sampling and filling in.

Super-resolution whose result has exactly the low-resolution image given; textures of any size; restoring of
degraded pages; maps of what surprises and of what a pixel depends on. All of it works on any model of
images that the library has, through the waist. Pictures of the results are drawn by `chainrule.report`.
"""

from __future__ import annotations

from chainrule.images.channels import BitFlips, Channel, GaussianChannel
from chainrule.images.denoise import Restored, bit_error, denoise, psnr
from chainrule.images.receptive_field import receptive_field
from chainrule.images.super_resolution import downsample, super_resolution_data, super_resolve
from chainrule.images.surprise import surprise_bits
from chainrule.images.texture import patches_of, synthesize_texture

__all__ = [
    "BitFlips",
    "Channel",
    "GaussianChannel",
    "Restored",
    "bit_error",
    "denoise",
    "downsample",
    "patches_of",
    "psnr",
    "receptive_field",
    "super_resolution_data",
    "super_resolve",
    "surprise_bits",
    "synthesize_texture",
]
