"""Pictures of what a model knows: sample grids, fillings, heat maps of its conditionals, curves, animations.

Every function writes one PNG (an animation may be a GIF), atomically, and refuses to replace a file
unless told to. They take arrays or tensors and know no model. matplotlib is used through its objects
only; nothing here touches `pyplot` or its global state.
"""

from __future__ import annotations

from chainrule.report.animations import save_sampling_animation
from chainrule.report.curves import save_comparison, save_histograms, save_learning_curve
from chainrule.report.defences import save_attack_examples, save_densities, save_roc_curves
from chainrule.report.fans import save_fan_chart
from chainrule.report.files import check_writable, write_file
from chainrule.report.fillings import save_fillings
from chainrule.report.grid import most_images, save_grid
from chainrule.report.heat_maps import save_conditionals, save_surprise_maps
from chainrule.report.overlays import save_receptive_fields, save_surprise_overlays
from chainrule.report.sequences import save_attention, save_gradient_norms

__all__ = [
    "check_writable",
    "most_images",
    "save_attack_examples",
    "save_attention",
    "save_comparison",
    "save_conditionals",
    "save_densities",
    "save_fan_chart",
    "save_fillings",
    "save_gradient_norms",
    "save_grid",
    "save_histograms",
    "save_learning_curve",
    "save_receptive_fields",
    "save_roc_curves",
    "save_sampling_animation",
    "save_surprise_maps",
    "save_surprise_overlays",
    "write_file",
]
