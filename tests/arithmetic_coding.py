"""An exact arithmetic coder, driven by a model's own steps: what a code length of -log2 p means.

Rissanen & Langdon 1979, in fractions instead of rounded whole numbers: every value narrows an interval in
proportion to its probability, and a code is the shortest row of bits all of whose continuations lie in it.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import torch

from chainrule.model import AutoregressiveModel


def encode(model: AutoregressiveModel, x: torch.Tensor) -> str:
    """The code of one example, of the event's shape, as a text of 0 and 1."""
    values = model.to_sequence(x[None])[0].long().tolist()
    _, low, width = _narrowed(model, lambda position, edges: values[position])
    return _code(low, width)


def decode(model: AutoregressiveModel, bits: str) -> tuple[torch.Tensor, int]:
    """The example whose code the bits begin with, and how many of them it was; any bits may follow."""
    number = Fraction(int(bits, 2), 2 ** len(bits))
    values, low, width = _narrowed(model, lambda position, edges: bisect.bisect_right(edges, number) - 1)
    sequence = torch.tensor([values], dtype=torch.float64)
    return model.from_sequence(sequence)[0], len(_code(low, width))


@torch.no_grad()
def _narrowed(
    model: AutoregressiveModel, choose: Callable[[int, list[Fraction]], int]
) -> tuple[list[int], Fraction, Fraction]:
    """Walk through the variables: the values chosen, and the low end and the width of their interval.

    - `choose`: from a place of the ordering and the edges between the values 0, 1, ... to one of them.
    """
    state, previous = model.init_state(1), None
    low, width, values = Fraction(0), Fraction(1), []
    for position in range(model.num_variables):
        params, state = model.step(state, previous)
        shares = _shares(model, position, params)
        edges = [low + width * below for below in itertools.accumulate(shares[:-1], initial=Fraction(0))]
        value = choose(position, edges)
        low, width = edges[value], width * shares[value]
        values.append(value)
        previous = params.new_tensor([value])
    return values, low, width


def _shares(model: AutoregressiveModel, position: int, params: torch.Tensor) -> list[Fraction]:
    """The probabilities of all values as fractions, which sum to 1 exactly."""
    family = model.conditional_at(position)
    values = family.support().to(params)
    shares = [Fraction(p) for p in family.log_prob(params.expand(len(values), -1), values).exp().tolist()]
    return [share / sum(shares) for share in shares]


def _code(low: Fraction, width: Fraction) -> str:
    """The shortest bits whose continuations, of any kind, all lie in [low, low + width)."""
    length = (math.ceil(1 / width) - 1).bit_length() + 1  # 2^-length is at most half the width
    return format(math.ceil(low * 2**length), f"0{length}b")
