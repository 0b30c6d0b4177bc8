"""What the continuous families share.

Scales that cannot vanish, uniforms that cannot be 0 or 1, and bounds on what a network reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.arguments import real_number

__all__ = [
    "LINEAR_READ",
    "MAX_LOG_SCALE",
    "MIN_SCALE",
    "checked_min_scale",
    "compressed_code",
    "open_uniform",
    "positive_scale",
]

#: Smallest scale unless said otherwise, in units of the data (thousandths of a standard deviation
#: where they are standardised); without a floor, repeated values drive the density to infinity.
MIN_SCALE = 1e-3
#: A scale of e^20 is 5e8; more would overflow the square of a float32.
MAX_LOG_SCALE = 20.0
#: Up to here, in units of the data (standard deviations, where standardised), a network reads a value as it
#: is; beyond, its logarithm takes over.
LINEAR_READ = 5.0


def positive_scale(log_scale: Tensor, min_scale: float) -> Tensor:
    """min_scale + exp(log_scale): smooth, so that gradients always lead back from the floor."""
    return log_scale.clamp(max=MAX_LOG_SCALE).exp() + min_scale


def checked_min_scale(min_scale: float) -> float:
    """The floor itself, or a `ChainruleError` where it is none."""
    return real_number("min_scale", min_scale, above=0.0)


def open_uniform(uniform: Tensor) -> Tensor:
    """Uniforms moved off 0 and 1, where quantiles are infinite, by less than one step of their grid."""
    eps = torch.finfo(uniform.dtype).eps
    return uniform.clamp(eps / 4, 1 - eps / 2)


def compressed_code(value: Tensor) -> Tensor:
    """What a network reads of real values, `(..., 1)`: themselves up to +-`LINEAR_READ`, then their log.

    5 + log(1 + |x| - 5) with the sign of x, which is smooth. A far-out value in one variable would otherwise
    make the parameters of all later ones absurd. The likelihood stays exact all the same, because
    p(x_i | x_<i) may be any function of x_<i; the density of the value itself is taken at the value itself.
    """
    near = value.clamp(-LINEAR_READ, LINEAR_READ)
    beyond = value - near
    return (near + torch.log1p(beyond.abs()).copysign(beyond))[..., None]
