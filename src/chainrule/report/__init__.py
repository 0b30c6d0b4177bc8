"""Pictures of what a model knows: sample grids, heat maps of its conditionals, curves.

Every function writes one PNG, atomically, and refuses to replace a file unless told to. They take
arrays or tensors and know no model. matplotlib is used through its objects only; nothing here
touches `pyplot` or its global state.
"""

from __future__ import annotations

from chainrule.report.curves import save_comparison, save_histograms, save_learning_curve
from chainrule.report.files import check_writable, write_file
from chainrule.report.grid import most_images, save_grid
from chainrule.report.heat_maps import save_conditionals, save_surprise_maps

__all__ = [
    "check_writable",
    "most_images",
    "save_comparison",
    "save_conditionals",
    "save_grid",
    "save_histograms",
    "save_learning_curve",
    "save_surprise_maps",
    "write_file",
]
