"""Samplers: they work on the two ways of running a model and know no concrete one.

All of them are deterministic functions of the noise, one uniform (or more) per variable drawn
beforehand, so for the same noise they give the same sample.
"""

from __future__ import annotations

from chainrule.sampling.ancestral import ancestral, draw_noise, naive
from chainrule.sampling.fixed_point import fixed_point

__all__ = ["ancestral", "draw_noise", "fixed_point", "naive"]
