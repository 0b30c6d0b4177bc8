"""Topic 3: logistic regression, and the network with two hidden units that decides who passes."""

from __future__ import annotations

import torch

from chainrule.contrasts import MLP, LogisticRegression
from chainrule.examples.answers.building import row
from chainrule.examples.registry import answers

__all__ = ["logistic", "network"]

Matrix = list[list[float]]


@torch.no_grad()
def logistic(w: list[float], b: float) -> LogisticRegression:
    """z = w . x + b."""
    model = LogisticRegression((len(w),), num_classes=2, levels=None).double()
    model.linear.weight.copy_(row(w))
    model.linear.bias.fill_(b)
    return model


def chance(z: float) -> float:
    """p(1) of the regression whose log-odds are z at x = 1."""
    return logistic([z], 0.0).probabilities(row([1.0]))[0, 1].item()


@answers("3.1")
def sigmoids(z: list[float]) -> list[float]:
    """At each z."""
    return [chance(value) for value in z]


@answers("3.2")
def logistic_logit(w: list[float], x: list[float], b: float) -> float:
    """The log-odds of passing."""
    logit: float = logistic(w, b)(row(x))[0, 1].item()
    return logit


@answers("3.3")
def odds_of_failing(a: float) -> float:
    """e^a, as p(0) / p(1) at the log-odds -a."""
    log_p = logistic([-a], 0.0).log_probabilities(row([1.0]))[0]
    return (log_p[0] - log_p[1]).exp().item()


@answers("3.4")
def sigmoid_denominator(a: list[float]) -> float:
    """e^0 + e^a, as 1 / p(1) at the log-odds -a."""
    return 1 / chance(-a[1])


@answers("3.5")
def passes(z: float) -> float:
    """sigma(z)."""
    return chance(z)


@answers("3.6")
def table_of_logits(w: list[float], xs: Matrix, b: float) -> list[float]:
    """The log-odds for each x."""
    return [logistic(w, b)(row(x))[0, 1].item() for x in xs]


@answers("3.7")
def table_of_chances(w: list[float], xs: Matrix, b: float) -> list[float]:
    """The probability of passing for each x."""
    return [logistic(w, b).probabilities(row(x))[0, 1].item() for x in xs]


def decision(p: float, threshold: float = 0.5) -> str:
    """In a word."""
    return "Borderline" if p == threshold else "Pass" if p > threshold else "Fail"


@answers("3.8")
def table_of_decisions(p: list[float], threshold: float) -> list[str]:
    """Of regressions that give these chances, to the six digits that are printed."""
    logits = [torch.logit(torch.tensor(value, dtype=torch.float64)).item() for value in p]
    return [decision(round(chance(z), 6), threshold) for z in logits]


@torch.no_grad()
def network(A: Matrix, b: list[float], alpha: list[float] | None = None, alpha0: float = 0.0) -> MLP:
    """sigma(alpha_0 + alpha . sigma(A x + b)); the output weights are 0 where they are not given."""
    model = MLP((len(A[0]),), num_classes=2, levels=None, hidden=(len(A),), activation="sigmoid").double()
    model.get_parameter("layers.0.weight").copy_(torch.tensor(A, dtype=torch.float64))
    model.get_parameter("layers.0.bias").copy_(torch.tensor(b, dtype=torch.float64))
    model.last.weight.copy_(row(alpha or [0.0] * len(b)))
    model.last.bias.fill_(alpha0)
    return model


@answers("3.10")
def mlp_hidden(A: Matrix, b: list[float], x: list[float]) -> list[float]:
    """h."""
    hidden: list[float] = network(A, b).hidden_units(row(x))[0][0].tolist()
    return hidden


@answers("3.9")
def mlp_preactivation(M: Matrix, v: list[float]) -> list[float]:
    """What h is the sigmoid of; the last column of M is the bias, and the last entry of v is 1."""
    hidden = mlp_hidden([line[:-1] for line in M], [line[-1] for line in M], v[:-1])
    before: list[float] = torch.logit(torch.tensor(hidden, dtype=torch.float64)).tolist()
    return before


@answers("3.11")
def mlp_logit(A: Matrix, b: list[float], alpha: list[float], alpha0: float, x: list[float]) -> float:
    """z."""
    logit: float = network(A, b, alpha, alpha0)(row(x))[0, 1].item()
    return logit


@answers("3.12")
def mlp_chance(A: Matrix, b: list[float], alpha: list[float], alpha0: float, x: list[float]) -> float:
    """p."""
    return network(A, b, alpha, alpha0).probabilities(row(x))[0, 1].item()


@answers("3.13", "3.15", "3.16", "3.18")
def mlp_row(A: Matrix, b: list[float], alpha: list[float], alpha0: float, x: list[float]) -> list[float]:
    """h_1, h_2, z, p."""
    hidden = mlp_hidden(A, b, x)
    return [*hidden, mlp_logit(A, b, alpha, alpha0, x), mlp_chance(A, b, alpha, alpha0, x)]


@answers("3.14", "3.17", "3.19")
def mlp_outcome(A: Matrix, b: list[float], alpha: list[float], alpha0: float, x: list[float]) -> str:
    """Pass or fail."""
    return decision(mlp_chance(A, b, alpha, alpha0, x))


@answers("3.20", "3.21")
def mlp_parameters(layers: list[int]) -> int:
    """Of a network with these layers, one output at the end."""
    return MLP((layers[0],), num_classes=2, levels=None, hidden=layers[1:-1]).num_parameters


@answers("2.7")
def conditional_networks(n: int, hidden: int) -> int:
    """One number for x_1, and a network of the earlier variables for every later one."""
    networks = [MLP((i,), num_classes=2, levels=None, hidden=(hidden,)) for i in range(1, n)]
    return 1 + sum(network.num_parameters for network in networks)


@answers("3.22")
def saturates(z: float) -> bool:
    """Whether the probability is exactly 1 in float64."""
    return chance(z) == 1.0


@answers("3.23")
def log_chance_of_failing(z: float) -> float:
    """log(1 - sigma(z)), from the logit."""
    return logistic([z], 0.0).log_probabilities(row([1.0]))[0, 0].item()
