"""Exact likelihood that protects a classifier: attacks on victims, detection, purification, and a guard.

A victim is any `torch.nn.Module` that maps images in the units of the data (0 ... levels - 1) to logits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.security.adaptive import AdaptiveResult, bpda, joint_attack
    from chainrule.security.ascent import purify_by_gradient
    from chainrule.security.attack_measures import AttackMeasures, measure_attack
    from chainrule.security.attack_victims import Victim
    from chainrule.security.attacks import ATTACKS, Transfer, attack, transfer
    from chainrule.security.combining import combine_p_values
    from chainrule.security.complexity import InputComplexity
    from chainrule.security.decisions import Decision
    from chainrule.security.defence import Defence, measure_defence
    from chainrule.security.estimator import ImageDetector
    from chainrule.security.guard import PixelDefend
    from chainrule.security.guarded import GuardedClassifier
    from chainrule.security.mutate import mutated, mutated_dataset
    from chainrule.security.passes import Passed, pass_over
    from chainrule.security.places import PeakSurprise
    from chainrule.security.purification import purify
    from chainrule.security.registry import SCORES
    from chainrule.security.scores import LikelihoodRatio, LogLikelihood, Score, Typicality
    from chainrule.security.states import DensityOfStates

#: Where each public name lives; scikit-learn and others are imported with the first that needs them.
_HOMES = {
    "ATTACKS": "attacks",
    "AdaptiveResult": "adaptive",
    "AttackMeasures": "attack_measures",
    "Decision": "decisions",
    "Defence": "defence",
    "DensityOfStates": "states",
    "GuardedClassifier": "guarded",
    "ImageDetector": "estimator",
    "InputComplexity": "complexity",
    "LikelihoodRatio": "scores",
    "LogLikelihood": "scores",
    "Passed": "passes",
    "PeakSurprise": "places",
    "PixelDefend": "guard",
    "SCORES": "registry",
    "Score": "scores",
    "Transfer": "attacks",
    "Typicality": "scores",
    "Victim": "attack_victims",
    "attack": "attacks",
    "bpda": "adaptive",
    "combine_p_values": "combining",
    "joint_attack": "adaptive",
    "measure_attack": "attack_measures",
    "measure_defence": "defence",
    "mutated": "mutate",
    "mutated_dataset": "mutate",
    "pass_over": "passes",
    "purify": "purification",
    "purify_by_gradient": "ascent",
    "transfer": "attacks",
}

__all__ = [
    "ATTACKS",
    "SCORES",
    "AdaptiveResult",
    "AttackMeasures",
    "Decision",
    "Defence",
    "DensityOfStates",
    "GuardedClassifier",
    "ImageDetector",
    "InputComplexity",
    "LikelihoodRatio",
    "LogLikelihood",
    "Passed",
    "PeakSurprise",
    "PixelDefend",
    "Score",
    "Transfer",
    "Typicality",
    "Victim",
    "attack",
    "bpda",
    "combine_p_values",
    "joint_attack",
    "measure_attack",
    "measure_defence",
    "mutated",
    "mutated_dataset",
    "pass_over",
    "purify",
    "purify_by_gradient",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"chainrule.security.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'chainrule.security' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
