"""Mixtures of Gaussians: the conditionals of RNADE (Uria et al. 2013), with learned or equal weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.conditionals.mixture import LocationScaleMixture

__all__ = ["GaussianMixture"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class GaussianMixture(LocationScaleMixture):
    """p(x) = sum_k w_k N(x; m_k, s_k^2); parameters, start and sampling as in `LocationScaleMixture`.

    Temperature T multiplies the scales by sqrt(T), and divides the weight logits.

    >>> GaussianMixture(components=3).num_params
    9
    >>> GaussianMixture(components=3, equal_weights=True).num_params
    6
    """

    name = "gaussian_mixture"
    _temperature_power = 0.5

    def _plus_log_density(self, terms: Tensor, z: Tensor) -> Tensor:
        return torch.addcmul(terms, z, z, value=-0.5) - _HALF_LOG_TWO_PI

    def _standard_cdf(self, z: Tensor) -> Tensor:
        cdf: Tensor = torch.special.ndtr(z)
        return cdf

    def _standard_quantile(self, probability: Tensor) -> Tensor:
        z: Tensor = torch.special.ndtri(probability)
        return z

    def _pull(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)
