"""The models, a file each, and their catalogue: a plain dictionary that a person can read."""

from __future__ import annotations

from chainrule.likelihood import LikelihoodModel
from chainrule.models.attention_rnn import AttentionRNN
from chainrule.models.bayes_net import BayesNet
from chainrule.models.chow_liu import ChowLiuTree
from chainrule.models.deep_nade import DeepNADE
from chainrule.models.diagonal_bilstm import DiagonalBiLSTM
from chainrule.models.ensemble import Ensemble
from chainrule.models.fvsbn import FVSBN
from chainrule.models.gated_pixelcnn import GatedPixelCNN
from chainrule.models.independent import Independent
from chainrule.models.made import MADE
from chainrule.models.nade import NADE
from chainrule.models.pixelcnn import PixelCNN
from chainrule.models.pixelcnn_pp import PixelCNNPP
from chainrule.models.rnn import RNN
from chainrule.models.row_lstm import RowLSTM
from chainrule.models.transformer import Transformer
from chainrule.models.wavenet import WaveNet

__all__ = [
    "FVSBN",
    "MADE",
    "MODELS",
    "NADE",
    "RNN",
    "AttentionRNN",
    "BayesNet",
    "ChowLiuTree",
    "DeepNADE",
    "DiagonalBiLSTM",
    "Ensemble",
    "GatedPixelCNN",
    "Independent",
    "PixelCNN",
    "PixelCNNPP",
    "RowLSTM",
    "Transformer",
    "WaveNet",
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
    "pixelcnn-pp": PixelCNNPP,
    "row-lstm": RowLSTM,
    "diagonal-bilstm": DiagonalBiLSTM,
    "rnn": RNN,
    "attention-rnn": AttentionRNN,
    "transformer": Transformer,
    "wavenet": WaveNet,
    "ensemble": Ensemble,
}

Ensemble.member_classes = {cls.__name__: cls for cls in MODELS.values()}
