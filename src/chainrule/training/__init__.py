"""Training: `fit`, its settings, run folders and checkpoints; `evaluate`; and learned orderings."""

from __future__ import annotations

from chainrule.training.devices import seeded
from chainrule.training.evaluate import Evaluation, evaluate
from chainrule.training.fingerprint import changed_splits
from chainrule.training.fit import fit
from chainrule.training.ordering_search import LearnedOrdering, default_candidates, learn_ordering
from chainrule.training.run import Run
from chainrule.training.settings import TrainingSettings, training_settings

__all__ = [
    "Evaluation",
    "LearnedOrdering",
    "Run",
    "TrainingSettings",
    "changed_splits",
    "default_candidates",
    "evaluate",
    "fit",
    "learn_ordering",
    "seeded",
    "training_settings",
]
