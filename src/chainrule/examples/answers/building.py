"""Small models with given numbers, and questions to them: what several topics share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.conditionals import finite_logit
from chainrule.model import AutoregressiveModel
from chainrule.models import BayesNet, Independent
from chainrule.testing import all_examples

__all__ = [
    "chain_rule_net",
    "every_example",
    "fair_coins",
    "independent",
    "log_p",
    "one_probabilities",
    "row",
    "total_probability",
    "value_probabilities",
]


def row(values: list[float] | list[int]) -> Tensor:
    """A batch of one example."""
    return torch.tensor(values, dtype=torch.float64)[None]


@torch.no_grad()
def independent(theta: list[float]) -> Independent:
    """Independent binary variables with these probabilities of a 1."""
    model = Independent((len(theta),)).double()
    model.params.copy_(finite_logit(torch.tensor(theta, dtype=torch.float64)))
    return model


def fair_coins(n: int) -> Independent:
    """The untrained independent model: every pixel a fair coin."""
    return Independent((n,)).double()


def chain_rule_net(factors: list[float], x: list[int], parents: list[list[int]] | None = None) -> BayesNet:
    """A Bayes net in which the i-th conditional gives the value x_i the probability `factors[i]`.

    With all earlier variables as parents unless `parents` says less: the chain rule itself.
    """
    parents = parents or [list(range(i)) for i in range(len(x))]
    net = BayesNet((len(x),), parents).double()
    for i, factor in enumerate(factors):
        table = net.table(i)
        table[tuple(x[p] for p in parents[i])] = factor if x[i] else 1 - factor
        net.set_table(i, table)
    return net


def log_p(model: AutoregressiveModel, x: list[int]) -> float:
    """log p(x) in nats."""
    return model.log_prob(row(x)).item()


def one_probabilities(model: AutoregressiveModel, x: list[int]) -> list[float]:
    """P(X_i = 1 | x_<i) of every variable."""
    probabilities: list[float] = torch.sigmoid(model(row(x))[0, :, 0]).tolist()
    return probabilities


def value_probabilities(model: AutoregressiveModel, x: list[int]) -> list[float]:
    """p(x_i | x_<i) of every variable."""
    probabilities: list[float] = model.log_prob_per_variable(row(x))[0].exp().tolist()
    return probabilities


def every_example(model: AutoregressiveModel) -> Tensor:
    """All x that the model can give, `(number, *event_shape)`."""
    examples = all_examples(model)
    assert examples is not None  # binary variables, and few of them
    return examples.double()


def total_probability(model: AutoregressiveModel) -> float:
    """Sum of p(x) over all x."""
    return math.fsum(model.log_prob(every_example(model)).exp().tolist())
