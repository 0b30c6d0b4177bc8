"""Samplers: they work on the two ways of running a model and know no concrete one.

All of them are deterministic functions of the noise, one uniform (or more) per variable drawn
beforehand, so for the same noise they give the same sample.
"""

from __future__ import annotations

from chainrule.sampling.ahead import by_looking_ahead
from chainrule.sampling.ahead_by_row import by_looking_ahead_by_row
from chainrule.sampling.ancestral import ancestral, draw_noise, naive
from chainrule.sampling.filling import (
    FILL_METHODS,
    FillInfo,
    FillMethod,
    FillOptions,
    RowNoise,
    fill_holes,
    warning_of,
)
from chainrule.sampling.fixed_point import fixed_point
from chainrule.sampling.guided import Guide, GuidedDraws, draw_guided
from chainrule.sampling.particles import pick_by_weight
from chainrule.sampling.protocol import LooksAhead

__all__ = [
    "FILL_METHODS",
    "FillInfo",
    "FillMethod",
    "FillOptions",
    "Guide",
    "GuidedDraws",
    "LooksAhead",
    "RowNoise",
    "ancestral",
    "by_looking_ahead",
    "by_looking_ahead_by_row",
    "draw_guided",
    "draw_noise",
    "fill_holes",
    "fixed_point",
    "naive",
    "pick_by_weight",
    "warning_of",
]
