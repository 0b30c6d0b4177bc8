"""Logistic conditionals, topics 5 and 6: the fully visible sigmoid belief network."""

from __future__ import annotations

import math

import torch

from chainrule.conditionals import Bernoulli, finite_logit
from chainrule.examples.answers.building import (
    log_p,
    one_probabilities,
    row,
    total_probability,
    value_probabilities,
)
from chainrule.examples.registry import answers
from chainrule.models import FVSBN

__all__ = ["fvsbn"]

Rows = list[list[float]]


@torch.no_grad()
def fvsbn(alphas: Rows, first: float | None = None) -> FVSBN:
    """`alphas[i]` is [bias, weights of x_1 .. x_(i-1)]; `first`, if given, is P(X_1 = 1)."""
    model = FVSBN((len(alphas),)).double()
    model.bias.copy_(torch.tensor([a[0] for a in alphas], dtype=torch.float64))
    model.weight.copy_(torch.tensor([w for a in alphas for w in a[1:]], dtype=torch.float64))
    if first is not None:
        model.bias[0] = finite_logit(torch.tensor(first, dtype=torch.float64))
    return model


@answers("5.3", "5.7", "6.4")
def fvsbn_probabilities(alphas: Rows, x: list[int], first: float | None = None) -> list[float]:
    """P(X_i = 1 | x_<i)."""
    return one_probabilities(fvsbn(alphas, first), x)


@answers("5.4", "5.8", "6.5")
def fvsbn_conditionals(alphas: Rows, x: list[int], first: float | None = None) -> list[float]:
    """p(x_i | x_<i)."""
    return value_probabilities(fvsbn(alphas, first), x)


@answers("5.5", "5.9", "6.6")
def fvsbn_joint(alphas: Rows, x: list[int], first: float | None = None) -> float:
    """p(x)."""
    return math.exp(log_p(fvsbn(alphas, first), x))


@answers("5.6", "5.10", "6.7", "6.10")
def fvsbn_log_joint(alphas: Rows, x: list[int], first: float | None = None) -> float:
    """log p(x), nats."""
    return log_p(fvsbn(alphas, first), x)


@answers("5.11", "6.11")
def fvsbn_total(alphas: Rows, first: float | None = None) -> float:
    """The sum of p(x) over all x."""
    return total_probability(fvsbn(alphas, first))


@answers("6.3")
def denominator(z: float) -> float:
    """Of the sigmoid at z."""
    return 1 / Bernoulli().mean(torch.tensor([z], dtype=torch.float64)).item()


@answers("6.9")
def fvsbn_sample(alphas: Rows, u: list[float]) -> list[int]:
    """Ancestral sampling from given uniforms: x_i = 1 if u_i < P(X_i = 1 | x_<i)."""
    return [int(value) for value in fvsbn(alphas).sample(noise=row(u))[0]]


@answers("6.8")
def fvsbn_sample_probabilities(alphas: Rows, u: list[float]) -> list[float]:
    """P(X_i = 1 | x_<i) along that sample."""
    return one_probabilities(fvsbn(alphas), fvsbn_sample(alphas, u))


@answers("6.12")
def fvsbn_gradient(alphas: Rows, x: list[int], i: int) -> list[float]:
    """d log p(x) / d [bias, weights] of conditional i, by autograd."""
    model = fvsbn(alphas)
    bias, weight = torch.autograd.grad(model.log_prob(row(x)).sum(), [model.bias, model.weight])
    start = (i - 1) * (i - 2) // 2
    return [bias[i - 1].item(), *weight[start : start + i - 1].tolist()]


@answers("6.15")
def fvsbn_square(n: int) -> int:
    """Entries of the square matrix of weights, most of the upper half of it empty."""
    return FVSBN((n,)).matrix().numel()


@answers("6.16")
def fvsbn_multiply_adds(n: int) -> int:
    """Multiply-adds of one likelihood."""
    return FVSBN((n,)).multiply_adds


@answers("6.17")
def large_fvsbn(shape: list[int]) -> int:
    """Parameters of a model too large to hold, on PyTorch's meta device: sizes without storage."""
    with torch.device("meta"):
        return FVSBN(shape).num_parameters


@answers("10.1")
def fvsbn_weights(n: int) -> int:
    """Weights without the biases: 1 + 2 + ... + (n - 1)."""
    return FVSBN((n,)).weight.numel()
