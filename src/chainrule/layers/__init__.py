"""The few causal building blocks that models share."""

from __future__ import annotations

from chainrule.layers.columns import Columns
from chainrule.layers.connectivity import (
    Connectivity,
    balanced_degrees,
    connect_by_adjacency,
    connect_by_degrees,
    random_degrees,
    topological_ordering,
)
from chainrule.layers.masked import MaskedLinear, Staircase
from chainrule.layers.masked_stepper import MaskedStepper, SortedLayer

__all__ = [
    "Columns",
    "Connectivity",
    "MaskedLinear",
    "MaskedStepper",
    "SortedLayer",
    "Staircase",
    "balanced_degrees",
    "connect_by_adjacency",
    "connect_by_degrees",
    "random_degrees",
    "topological_ordering",
]
