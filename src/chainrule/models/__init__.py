"""The models, a file each, and their catalogue: a plain dictionary that a person can read."""

from __future__ import annotations

from chainrule.likelihood import LikelihoodModel
from chainrule.models.bayes_net import BayesNet
from chainrule.models.chow_liu import ChowLiuTree
from chainrule.models.deep_nade import DeepNADE
from chainrule.models.ensemble import Ensemble
from chainrule.models.fvsbn import FVSBN
from chainrule.models.gated_pixelcnn import GatedPixelCNN
from chainrule.models.independent import Independent
from chainrule.models.made import MADE
from chainrule.models.nade import NADE
from chainrule.models.pixelcnn import PixelCNN

__all__ = [
    "FVSBN",
    "MADE",
    "MODELS",
    "NADE",
    "BayesNet",
    "ChowLiuTree",
    "DeepNADE",
    "Ensemble",
    "GatedPixelCNN",
    "Independent",
    "PixelCNN",
]

#: Every model by the name that the command line uses.
MODELS: dict[str, type[LikelihoodModel]] = {
    "independent": Independent,
    "bayes-net": BayesNet,
    "chow-liu": ChowLiuTree,
    "fvsbn": FVSBN,
    "nade": NADE,
    "deep-nade": DeepNADE,
    "made": MADE,
    "pixelcnn": PixelCNN,
    "gated-pixelcnn": GatedPixelCNN,
    "ensemble": Ensemble,
}

Ensemble.member_classes = {cls.__name__: cls for cls in MODELS.values()}
