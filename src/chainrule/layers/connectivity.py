"""Which unit may hear which: the masks of a masked feed-forward network (Germain et al. 2015).

Two ways to say it: numbers ("degrees") of the units against an ordering, or any DAG over the
variables. Both give masks, and for every hidden unit the number of variables of the ordering that
must be known before it is final, which is what step-by-step sampling needs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.errors import ChainruleError

__all__ = [
    "Connectivity",
    "balanced_degrees",
    "connect_by_adjacency",
    "connect_by_degrees",
    "random_degrees",
    "topological_ordering",
]


@dataclass(frozen=True)
class Connectivity:
    """Masks of a network with n inputs, hidden layers, and n outputs; True where a weight is open.

    - `hidden`: a mask `(d_l, d_{l-1})` for each hidden layer, d_0 = n.
    - `output`: `(n, d_L)`; `direct`: input to output, `(n, n)`.
    - `degrees`: `(d_l,)` for each hidden layer: how many variables a unit waits for.
    """

    hidden: tuple[Tensor, ...]
    output: Tensor
    direct: Tensor
    degrees: tuple[Tensor, ...]


def balanced_degrees(size: int, num_variables: int) -> Tensor:
    """Numbers 1..n-1 spread evenly over `size` units, ascending; 1 and n-1 are always among them."""
    highest = max(num_variables - 1, 1)
    if size >= highest:
        return torch.arange(size) * highest // size + 1
    return torch.linspace(1, highest, size).round().long()


def random_degrees(size: int, num_variables: int, generator: torch.Generator) -> Tensor:
    """Numbers drawn from 1..n-1, but 1 and n-1 always among them, so that no unit is unconnected."""
    highest = max(num_variables - 1, 1)
    degrees = torch.randint(1, highest + 1, (size,), generator=generator)
    degrees[-1], degrees[0] = highest, 1
    return degrees


def connect_by_degrees(positions: Tensor, degrees: Sequence[Tensor]) -> Connectivity:
    """Masks from the numbers of the hidden units.

    - `positions`: `(n,)`, when each variable comes in the ordering, from 0; its number is one more.
    - `degrees`: numbers of the units of each hidden layer, in 1..n-1.

    Raises `ChainruleError` where a unit would hear nothing or be heard by nobody.
    """
    numbers = positions + 1
    highest = max(len(numbers) - 1, 1)
    below = numbers
    masks = []
    for layer, above in enumerate(degrees, start=1):
        if len(above) and (above.min() < 1 or above.max() > highest):
            raise ChainruleError(f"hidden layer {layer}: degrees must lie in 1..{highest}.")
        masks.append(below <= above[:, None])
        below = above
    for layer, (lower, upper) in enumerate(itertools.pairwise(degrees), start=1):
        _check_alive(layer, lower, upper)
    inputs = numbers if not degrees else degrees[-1]
    output = (inputs < numbers[:, None]) if degrees else torch.ones(len(numbers), 0, dtype=torch.bool)
    return Connectivity(tuple(masks), output, numbers < numbers[:, None], tuple(degrees))


def connect_by_adjacency(adjacency: Tensor, positions: Tensor, sizes: Sequence[int]) -> Connectivity:
    """Masks in which output i depends on exactly the inputs j with `adjacency[i, j]`.

    Hidden units stand for sets of parents, shared out evenly over the distinct ones; a unit feeds
    another whose set contains its own.

    Raises `ChainruleError` where a layer is too narrow to hold every set.
    """
    has_parents = adjacency.any(1)
    # Without any edge the hidden units stand for the empty set and hear nothing.
    sets = torch.unique(adjacency[has_parents] if has_parents.any() else adjacency[:1], dim=0)
    needed = torch.where(sets, positions + 1, 0).amax(1)
    sets = sets[torch.argsort(needed, stable=True)]
    for layer, size in enumerate(sizes, start=1):
        if size < len(sets):
            raise ChainruleError(
                f"hidden layer {layer} has {size} units, but the adjacency has {len(sets)} different "
                "sets of parents and needs at least one unit for each."
            )
    units = [sets[torch.arange(size) * len(sets) // size] for size in sizes]
    masks = [units[0]] if units else []
    masks += [_subset(lower, upper) for lower, upper in itertools.pairwise(units)]
    output = _subset(units[-1], adjacency) if units else torch.ones(len(adjacency), 0, dtype=torch.bool)
    degrees = tuple(torch.where(unit, positions + 1, 0).amax(1) for unit in units)
    return Connectivity(tuple(masks), output, adjacency, degrees)


def topological_ordering(adjacency: Tensor, preferred: Sequence[int]) -> list[int]:
    """An ordering in which parents come first; among those possible, the one nearest to `preferred`.

    Raises `ChainruleError` if the graph has a cycle.
    """
    waiting = adjacency.sum(1)
    order: list[int] = []
    remaining = list(preferred)
    while remaining:
        ready = next((i for i in remaining if waiting[i] == 0), None)
        if ready is None:
            raise ChainruleError(
                f"the adjacency has a cycle among the variables {remaining}; it must be a DAG."
            )
        order.append(ready)
        remaining.remove(ready)
        waiting = waiting - adjacency[:, ready].long()
    return order


def _subset(lower: Tensor, upper: Tensor) -> Tensor:
    """`(u, l)`: whether the set of each lower unit lies within that of each upper one."""
    outside = lower.float() @ (~upper).float().T
    return (outside == 0).T


def _check_alive(layer: int, lower: Tensor, upper: Tensor) -> None:
    if upper.min() < lower.min():
        raise ChainruleError(
            f"hidden layer {layer + 1} has a unit numbered {int(upper.min())} that hears nothing: the least "
            f"number of layer {layer} is {int(lower.min())}."
        )
    if lower.max() > upper.max():
        raise ChainruleError(
            f"hidden layer {layer} has a unit numbered {int(lower.max())} that nobody hears: the greatest "
            f"number of layer {layer + 1} is {int(upper.max())}."
        )
