"""Topic 9: MADE's masks. A unit's number is the place of its variable in the ordering, not its index."""

from __future__ import annotations

from chainrule.examples.registry import answers
from chainrule.models import MADE

__all__ = ["made"]

Mask = list[list[int]]


def made(numbers: list[int], hidden: list[int]) -> MADE:
    """Variables with these numbers in the layout given, and hidden units with theirs."""
    ordering = sorted(range(len(numbers)), key=lambda i: numbers[i])
    return MADE((len(numbers),), hidden=(len(hidden),), ordering=ordering, degrees=[hidden])


@answers("9.1", "9.6", "9.9")
def hidden_mask(inputs: list[int], hidden: list[int]) -> Mask:
    """Rows are hidden units, columns inputs."""
    mask: Mask = made(inputs, hidden).masks()[0].int().tolist()
    return mask


@answers("9.2", "9.7", "9.10")
def output_mask(hidden: list[int], outputs: list[int]) -> Mask:
    """Rows are outputs, columns hidden units."""
    mask: Mask = made(outputs, hidden).masks()[1].int().tolist()
    return mask


@answers("9.3", "9.4", "9.5")
def made_order(inputs: list[int], hidden: list[int], outputs: list[int], names: list[str]) -> list[str]:
    """The ordering that masks of these numbers implement."""
    return [names[i] for i in made(inputs, hidden).ordering.permutation]


@answers("9.8", "9.11")
def connectivity(inputs: list[int], hidden: list[int], outputs: list[int]) -> Mask:
    """How many paths lead from each input (column) to each output (row)."""
    of_hidden, of_output = made(inputs, hidden).masks()
    paths: Mask = (of_output.int() @ of_hidden.int()).tolist()
    return paths


@answers("9.14", "9.15")
def made_multiply_adds(n: int, hidden: list[int]) -> int:
    """Multiply-adds of one pass, masked entries included."""
    return MADE((n,), hidden=hidden).multiply_adds
