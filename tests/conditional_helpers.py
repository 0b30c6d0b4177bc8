"""Families of conditionals to test alike, random parameters for them, and exact integration."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import (
    Bernoulli,
    Categorical,
    Conditional,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    Missing,
    StudentT,
)

CONTINUOUS: list[Conditional] = [
    Gaussian(),
    GaussianMixture(components=4),
    GaussianMixture(components=3, equal_weights=True),
    LogisticMixture(components=4),
    LogisticMixture(components=2, equal_weights=True),
    StudentT(),
]
DISCRETE: list[Conditional] = [
    Bernoulli(),
    Categorical(levels=5),
    Categorical(levels=1),
    DiscretizedLogisticMixture(levels=17, components=3),
    DiscretizedLogisticMixture(levels=2, components=1),
]
ORDERED = CONTINUOUS + DISCRETE
WITH_MISSING: list[Conditional] = [Missing(Gaussian()), Missing(LogisticMixture(2)), Missing(Categorical(3))]
FAMILIES = ORDERED + WITH_MISSING


def name_of(value: object) -> str | None:
    return repr(value) if isinstance(value, Conditional) else None


def random_params(family: Conditional, *shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, family.num_params, generator=generator, dtype=dtype)


def random_noise(family: Conditional, *shape: int, seed: int = 1, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, family.num_noise, generator=generator, dtype=dtype)


def gauss_legendre(low: float, high: float, pieces: int = 200, nodes: int = 20) -> tuple[Tensor, Tensor]:
    """Nodes and weights of a composite Gauss-Legendre rule, float64."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    edges = np.linspace(low, high, pieces + 1)
    half = np.diff(edges)[:, None] / 2
    centre = (edges[1:] + edges[:-1])[:, None] / 2
    return torch.as_tensor((centre + half * x).ravel()), torch.as_tensor((half * w).ravel())


def over_the_line(pieces: int = 400) -> tuple[Tensor, Tensor]:
    """A rule for integrals over all real numbers: x = tan(angle), so that heavy tails fit too."""
    angle, weight = gauss_legendre(-math.pi / 2, math.pi / 2, pieces)
    x = torch.tan(angle)
    return x, weight * (1 + x.square())


def density(family: Conditional, params: Tensor, x: Tensor) -> Tensor:
    """exp(log_prob) of every x `(m,)` under every row of `params` `(n, num_params)`: `(n, m)`."""
    n, m = len(params), len(x)
    return family.log_prob(params[:, None].expand(n, m, -1), x.expand(n, m)).exp()


def cdf_distance_bound(count: int, alpha: float) -> float:
    """How far an empirical cdf may be from its own, but for a chance of at most alpha.

    The Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant: P(sup > e) <= 2 exp(-2 n e^2), for
    any distribution and any number of samples.
    """
    return math.sqrt(math.log(2 / alpha) / (2 * count))
