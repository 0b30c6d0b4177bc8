"""Topic 7: NADE, categories and real values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.conditionals import Categorical, GaussianMixture, finite_logit
from chainrule.examples.answers.building import (
    log_p,
    one_probabilities,
    row,
    total_probability,
    value_probabilities,
)
from chainrule.examples.registry import answers
from chainrule.models import NADE

__all__ = ["nade"]

Matrix = list[list[float]]


@torch.no_grad()
def nade(W: Matrix, c: list[float], V: Matrix, b: list[float], first: float) -> NADE:
    """The lecture's network. Pixel 1 has no row of V and no b: P(X_1 = 1) is `first`."""
    model = NADE((len(V),), hidden=len(W)).double()
    model.weight.copy_(torch.tensor(W, dtype=torch.float64).T)
    model.hidden_bias.copy_(torch.tensor(c, dtype=torch.float64))
    model.output_weight[0] = 0.0
    model.output_weight[1:] = torch.tensor(V[1:], dtype=torch.float64)
    model.output_bias[0] = finite_logit(torch.tensor(first, dtype=torch.float64))
    model.output_bias[1:] = torch.tensor(b[1:], dtype=torch.float64)
    return model


@answers("7.1")
def nade_forms(n: int, d: int) -> list[int]:
    """The three ways of writing the count, as sums over the tensors of one model."""
    model = NADE((n,), hidden=d)
    w, v = model.weight.numel(), model.output_weight.numel()
    c, b = model.hidden_bias.numel(), model.output_bias.numel()
    return [w + c + (v + b), (w + c) + (v + b), c + b + (w + v)]


@answers("7.6", "7.10", "7.14")
def nade_hidden(
    W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int], i: int
) -> list[float]:
    """h_i, which has heard the pixels before i."""
    hidden: list[float] = nade(W, c, V, b, first).hidden_activations(row(x))[0, i - 1].tolist()
    return hidden


@answers("7.4", "7.5")
def nade_preactivation(
    W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int], i: int
) -> list[float]:
    """What h_i is the sigmoid of."""
    hidden = nade(W, c, V, b, first).hidden_activations(row(x))[0, i - 1]
    values: list[float] = torch.logit(hidden).tolist()
    return values


@answers("7.7", "7.11", "7.15")
def nade_logit(
    W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int], i: int
) -> float:
    """The output of pixel i."""
    logit: float = nade(W, c, V, b, first)(row(x))[0, i - 1, 0].item()
    return logit


@answers("7.8", "7.12", "7.16")
def nade_probability(
    W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int], i: int
) -> float:
    """P(X_i = 1 | x_<i)."""
    return one_probabilities(nade(W, c, V, b, first), x)[i - 1]


@answers("7.9", "7.13", "7.17")
def nade_conditional(
    W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int], i: int
) -> float:
    """p(x_i | x_<i)."""
    return value_probabilities(nade(W, c, V, b, first), x)[i - 1]


@answers("7.18")
def nade_joint(W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int]) -> float:
    """p(x)."""
    return math.exp(log_p(nade(W, c, V, b, first), x))


@answers("7.19")
def nade_log_joint(W: Matrix, c: list[float], V: Matrix, b: list[float], first: float, x: list[int]) -> float:
    """log p(x), nats."""
    return log_p(nade(W, c, V, b, first), x)


@answers("7.20")
def nade_total(W: Matrix, c: list[float], V: Matrix, b: list[float], first: float) -> float:
    """The sum of p(x) over all x."""
    return total_probability(nade(W, c, V, b, first))


@answers("7.21")
def nade_without_first(n: int, d: int) -> int:
    """Numbers in use where pixel 1 reads no hidden layer."""
    model = NADE((n,), hidden=d)
    return model.num_parameters - model.output_weight[0].numel()


@answers("7.23", "9.12")
def nade_multiply_adds(n: int, d: int) -> int:
    """Multiply-adds of one likelihood, with the running pre-activation."""
    return NADE((n,), hidden=d).multiply_adds


@answers("7.31")
def large_nade(shape: list[int], d: int) -> int:
    """Entries of W for a large image, on PyTorch's meta device: sizes without storage."""
    with torch.device("meta"):
        return NADE(shape, hidden=d).weight.numel()


# ------------------------------------------------------------------------------ other conditionals


@answers("7.24")
def softmax_odds(a: list[float]) -> list[float]:
    """e^a, as the odds of each level against one more level of logit 0."""
    logits = torch.tensor([*a, 0.0], dtype=torch.float64)
    probabilities = Categorical(levels=len(logits)).probabilities(logits)
    odds: list[float] = (probabilities[:-1] / probabilities[-1]).tolist()
    return odds


@answers("7.25")
def softmax_sum(a: list[float]) -> float:
    """The sum of e^a."""
    return math.fsum(softmax_odds(a))


@answers("7.26")
def softmax(a: list[float]) -> list[float]:
    """The probability of each level."""
    logits = torch.tensor(a, dtype=torch.float64).expand(len(a), -1)
    levels = torch.arange(len(a)).double()
    probabilities: list[float] = Categorical(levels=len(a)).log_prob(logits, levels).exp().tolist()
    return probabilities


def rnade_mixture(mu: list[float], sd: list[float]) -> tuple[GaussianMixture, Tensor]:
    """The family with equal weights, and the parameters of these means and deviations."""
    mixture = GaussianMixture(components=len(mu), equal_weights=True)
    locations = torch.tensor(mu, dtype=torch.float64) - mixture.offsets
    log_scales = torch.log(torch.tensor(sd, dtype=torch.float64) - mixture.min_scale)
    return mixture, torch.cat([locations, log_scales])


@answers("7.29")
def rnade_log_density(weights: list[float], mu: list[float], sd: list[float], x: list[float]) -> list[float]:
    """log p(x) at each x; the weights are equal."""
    mixture, params = rnade_mixture(mu, sd)
    log_density: list[float] = mixture.log_prob(params, torch.tensor(x, dtype=torch.float64)).tolist()
    return log_density


@answers("7.28")
def rnade_density(weights: list[float], mu: list[float], sd: list[float], x: list[float]) -> list[float]:
    """p(x) at each x; a density may exceed 1."""
    return [math.exp(value) for value in rnade_log_density(weights, mu, sd, x)]


@answers("7.30")
def rnade_moments(weights: list[float], mu: list[float], sd: list[float]) -> list[float]:
    """The mean, and the variance by integrating (x - mean)^2 against the density."""
    mixture, params = rnade_mixture(mu, sd)
    mean = mixture.mean(params)
    x = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    density = mixture.log_prob(params, x).exp()
    return [mean.item(), torch.trapezoid((x - mean) ** 2 * density, x).item()]
