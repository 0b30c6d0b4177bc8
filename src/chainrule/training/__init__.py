"""Training: `fit`, its settings, run folders and checkpoints; and `evaluate`."""

from __future__ import annotations

from chainrule.training.devices import seeded
from chainrule.training.evaluate import Evaluation, evaluate
from chainrule.training.fit import fit
from chainrule.training.run import Run
from chainrule.training.settings import TrainingSettings, training_settings

__all__ = ["Evaluation", "Run", "TrainingSettings", "evaluate", "fit", "seeded", "training_settings"]
