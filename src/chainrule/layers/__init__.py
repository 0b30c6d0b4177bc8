"""The few causal building blocks that models share."""

from __future__ import annotations

from chainrule.layers.connectivity import (
    Connectivity,
    balanced_degrees,
    connect_by_adjacency,
    connect_by_degrees,
    random_degrees,
    topological_ordering,
)
from chainrule.layers.masked import MaskedLinear
from chainrule.layers.masked_stepper import MaskedStepper, SortedLayer

__all__ = [
    "Connectivity",
    "MaskedLinear",
    "MaskedStepper",
    "SortedLayer",
    "balanced_degrees",
    "connect_by_adjacency",
    "connect_by_degrees",
    "random_degrees",
    "topological_ordering",
]
