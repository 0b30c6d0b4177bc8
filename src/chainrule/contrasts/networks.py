"""Plain feed-forward networks, for encoders and decoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from torch import nn

from chainrule.errors import unknown_name

__all__ = ["ACTIVATIONS", "Activation", "feed_forward"]

Activation = Literal["sigmoid", "tanh", "relu"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def feed_forward(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Full layers between these sizes, with the activation after all of them but the last.

    Raises `ChainruleError` for an unknown activation.

    >>> sum(p.numel() for p in feed_forward((10, 5, 1), "tanh").parameters())
    61
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    modules: list[nn.Module] = []
    for below, above in itertools.pairwise(sizes):
        modules += [nn.Linear(below, above), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules[:-1])
