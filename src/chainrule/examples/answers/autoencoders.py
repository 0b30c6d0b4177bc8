"""Topic 8: codes of autoencoders, and the chain-rule examples that the notes set beside them."""

from __future__ import annotations

import math

import torch

from chainrule.contrasts import Autoencoder
from chainrule.examples.answers.building import chain_rule_net, independent, log_p, value_probabilities
from chainrule.examples.registry import answers
from chainrule.text.tokenizers import WordTokenizer

__all__ = ["compression"]


@answers("8.1", "8.2")
def compression(pixels: int, code: int) -> float:
    """How many pixels there are to a number of the code."""
    images = torch.zeros(1, pixels)
    return images.numel() / Autoencoder((pixels,), code=code).encode(images).numel()


@answers("8.3")
def first_factor(theta: list[float], x: list[int]) -> float:
    """p(x_1) where P(X_1 = 1) is theta."""
    return math.exp(log_p(independent(theta), x))


@answers("8.4")
def second_factor(factors: list[float], x: list[int], i: int) -> float:
    """p(x_i | x_<i) where the chain rule has these factors."""
    return value_probabilities(chain_rule_net(factors, x), x)[i - 1]


@answers("8.5")
def power_of_ten(log_p: float, pixels: int) -> float:
    """log10 p(x) of an image whose pixels share its log p evenly."""
    model = independent([math.exp(log_p / pixels)] * pixels)
    return model.log_prob(torch.ones(1, pixels)).item() / math.log(10)


@answers("8.6")
def words(sentence: str) -> int:
    """Words of a sentence."""
    return len(WordTokenizer(sorted(set(sentence.split()))).encode(sentence))
