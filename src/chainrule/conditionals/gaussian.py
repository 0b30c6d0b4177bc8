"""Gaussian conditionals: a mean and a log-scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.scales import (
    MIN_SCALE,
    checked_min_scale,
    compressed_code,
    open_uniform,
    positive_scale,
)

__all__ = ["Gaussian"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Gaussian(Conditional):
    """N(x; mean, scale^2) with scale = min_scale + exp(log-scale); `params` holds mean and log-scale.

    Both 0 is about the standard normal: a sensible start for standardised data.

    - `min_scale`: the smallest standard deviation there is, in units of x.

    >>> import torch
    >>> Gaussian(min_scale=1e-9).log_prob(torch.zeros(2), torch.tensor(1.0))
    tensor(-1.4189)
    """

    name = "gaussian"
    num_params = 2
    value_range = "a finite number"
    has_cdf = True

    def __init__(self, min_scale: float = MIN_SCALE) -> None:
        self.min_scale = checked_min_scale(min_scale)

    def scale(self, params: Tensor) -> Tensor:
        """The standard deviation, `(...)`."""
        return positive_scale(params[..., 1], self.min_scale)

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """-z^2 / 2 - log scale - log(2 pi) / 2, with z = (x - mean) / scale; nats, `(...)`."""
        mean, log_scale = params[..., : self.num_params].unbind(-1)
        scale = positive_scale(log_scale, self.min_scale)
        z = (value - mean) / scale
        return -0.5 * z.square() - scale.log() - _HALF_LOG_TWO_PI

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The quantile of u. Temperature T samples p^(1/T), renormalised: the scale times sqrt(T)."""
        z: Tensor = torch.special.ndtri(open_uniform(uniform[..., 0]))
        return params[..., 0] + self.scale(params) * math.sqrt(temperature) * z

    def mean(self, params: Tensor) -> Tensor:
        """The mean, `(...)`."""
        return params[..., 0]

    def mode(self, params: Tensor) -> Tensor:
        """The mean, where the density is greatest."""
        return params[..., 0]

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """Phi(z)."""
        cdf: Tensor = torch.special.ndtr((value - params[..., 0]) / self.scale(params))
        return cdf

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """mean + scale * Phi^-1(probability)."""
        z: Tensor = torch.special.ndtri(probability)
        return params[..., 0] + self.scale(params) * z

    def encode(self, value: Tensor) -> Tensor:
        """The value itself, logarithmic beyond +-5 (`compressed_code`), `(..., 1)`."""
        return compressed_code(value)

    def in_support(self, value: Tensor) -> Tensor:
        """True for every finite number."""
        return value.isfinite()

    def estimate(self, values: Tensor, pseudocount: float) -> Tensor:
        """Mean and log-scale of the values; there is nothing to count, so no smoothing."""
        values = values.double()
        above_floor = values.std(0, correction=0) - self.min_scale
        return torch.stack([values.mean(0), above_floor.clamp_min(self.min_scale).log()], dim=-1)

    def settings(self) -> dict[str, object]:
        """`min_scale`."""
        return {"min_scale": self.min_scale}
