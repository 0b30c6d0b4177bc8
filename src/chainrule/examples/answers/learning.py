"""Topic 1, learning a generative model, and topic 2, Bayes nets against neural models."""

from __future__ import annotations

import math

import torch

from chainrule.examples.answers.building import chain_rule_net, every_example, fair_coins, independent, log_p
from chainrule.examples.registry import answers
from chainrule.models import BayesNet

__all__ = ["all_configurations", "bayes_net_parameters", "image_space_exponent", "log_image_space"]


@answers("1.1", "1.3")
def logs_of_images(a: list[float]) -> list[float]:
    """log p of an image that the model gives probability a, for each a."""
    return [log_p(independent([p]), [1]) for p in a]


@answers("1.2", "1.4")
def log_likelihood(p: list[float]) -> float:
    """Of several images, each seen as one variable."""
    return log_p(independent(p), [1] * len(p))


@answers("1.5")
def is_better(before: list[float], after: list[float]) -> bool:
    """Whether training raised the log-likelihood."""
    return log_p(independent(after), [1] * len(after)) > log_p(independent(before), [1] * len(before))


@answers("2.1")
def all_configurations(n: int) -> int:
    """How many examples of n binary variables there are."""
    return len(every_example(fair_coins(n)))


def log_image_space(pixels: int) -> float:
    """Nats of one image when all are equally likely: the logarithm of their number."""
    return fair_coins(pixels).nll(torch.zeros(1, pixels)).item()


@answers("2.2", "4.3")
def image_space_exponent(pixels: int) -> float:
    """The number of binary images, as a power of ten."""
    return log_image_space(pixels) / math.log(10)


@answers("2.3", "2.5")
def bayes_net_parameters(parents: list[list[int]]) -> int:
    """Free numbers in all tables."""
    return BayesNet((len(parents),), parents).num_parameters


@answers("2.4")
def table_sizes(parents: list[list[int]]) -> list[int]:
    """Free numbers in the table of each variable."""
    net = BayesNet((len(parents),), parents)
    return [net.table(i).numel() for i in range(len(parents))]


@answers("2.6")
def weather(factors: list[float], x: list[int], parents: list[list[int]]) -> float:
    """p(x) of a Bayes net with these conditionals."""
    return math.exp(log_p(chain_rule_net(factors, x, parents), x))


@answers("2.8")
def full_table(n: int) -> int:
    """Free numbers where every variable has all earlier ones as parents."""
    return BayesNet((n,), [list(range(i)) for i in range(n)]).num_parameters
