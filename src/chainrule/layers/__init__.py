"""The few causal building blocks that models share."""

from __future__ import annotations

from chainrule.layers.columns import Columns
from chainrule.layers.connectivity import (
    Connectivity,
    balanced_degrees,
    connect_by_adjacency,
    connect_by_degrees,
    random_degrees,
    topological_ordering,
)
from chainrule.layers.conv_stepper import ImageStepper, PixelProduct, PixelRow, RowCache, RowProduct
from chainrule.layers.gate import gated
from chainrule.layers.masked import MaskedLinear, Staircase
from chainrule.layers.masked_conv import MaskedConv2d, ShiftedConv2d, pixel_mask
from chainrule.layers.masked_stepper import MaskedStepper, Schedule, SortedLayer
from chainrule.layers.pixel_head import HeadStepper, PixelHead

__all__ = [
    "Columns",
    "Connectivity",
    "HeadStepper",
    "ImageStepper",
    "MaskedConv2d",
    "MaskedLinear",
    "MaskedStepper",
    "PixelHead",
    "PixelProduct",
    "PixelRow",
    "RowCache",
    "RowProduct",
    "Schedule",
    "ShiftedConv2d",
    "SortedLayer",
    "Staircase",
    "balanced_degrees",
    "connect_by_adjacency",
    "connect_by_degrees",
    "gated",
    "pixel_mask",
    "random_degrees",
    "topological_ordering",
]
