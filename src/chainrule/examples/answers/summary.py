"""Topic 14: the same likelihoods in other units; and the images of topic 8 whose probability has a size."""

from __future__ import annotations

import math

import torch

from chainrule.conditionals import Categorical
from chainrule.examples.answers.building import independent, log_p
from chainrule.examples.registry import answers

__all__ = ["bits_per_dim"]


def bits_per_dim(nats: float, dims: int) -> float:
    """Of an image that a model of this many pixels gives this NLL, evenly over the pixels."""
    return independent([math.exp(-nats / dims)] * dims).bits_per_dim(torch.ones(1, dims)).item()


@answers("13.9", "14.1")
def nats_as_bits(nats: list[float], dims: int) -> list[float]:
    """Nats an image in bits per dimension."""
    return [bits_per_dim(value, dims) for value in nats]


@answers("14.2")
def perplexity_in_nats(perplexity: list[float]) -> list[float]:
    """Nats a word."""
    return [-log_p(independent([1 / value]), [1]) for value in perplexity]


@answers("14.3")
def perplexity_in_bits(perplexity: list[float]) -> list[float]:
    """Bits a word."""
    return [bits_per_dim(math.log(value), 1) for value in perplexity]


@answers("14.4")
def code_length(log_p: list[float]) -> list[float]:
    """Bits that an ideal arithmetic coder needs, for images of 784 pixels."""
    return [784 * bits_per_dim(-nats, 784) for nats in log_p]


@answers("14.5")
def uniform_bits(perplexity: int) -> float:
    """Bits a value under a softmax whose logits are all equal."""
    logits, value = torch.zeros(perplexity, dtype=torch.float64), torch.tensor(7.0).double()
    return -Categorical(perplexity).log_prob(logits, value).item() / math.log(2)
