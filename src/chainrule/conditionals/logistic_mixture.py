"""Mixtures of logistic distributions: like Gaussians with heavier tails, and a cdf in closed form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chainrule.conditionals.mixture import LocationScaleMixture

__all__ = ["LogisticMixture"]


class LogisticMixture(LocationScaleMixture):
    """p(x) = sum_k w_k s(z_k) (1 - s(z_k)) / s_k, with s the sigmoid and z_k = (x - m_k) / s_k.

    Parameters, start and sampling as in `LocationScaleMixture`. A logistic of scale s has standard
    deviation 1.81 s. Temperature T multiplies the scales by T, which raises the exponential tails to
    the power 1/T, and divides the weight logits.

    >>> LogisticMixture(components=4)
    LogisticMixture(components=4, equal_weights=False, min_scale=0.001)
    """

    name = "logistic_mixture"
    _temperature_power = 1.0

    def _plus_log_density(self, terms: Tensor, z: Tensor) -> Tensor:
        # log s(z) + log s(-z) = -|z| - 2 log(1 + e^-|z|): exact for any z, with a single exponential.
        distance = z.abs()
        return torch.add(terms - distance, logsigmoid(distance), alpha=2)

    def _standard_cdf(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def _standard_quantile(self, probability: Tensor) -> Tensor:
        return torch.logit(probability)

    def _pull(self, z: Tensor) -> Tensor:
        # tanh(z / 2) / z, which is 1/2 at 0.
        safe = torch.where(z.abs() < 1e-4, torch.ones_like(z), z)
        return torch.where(z.abs() < 1e-4, 0.5, torch.tanh(safe / 2) / safe)
