"""Small models of text with weights that make their conditionals differ."""

from __future__ import annotations

import torch

from chainrule.conditionals import Categorical
from chainrule.models import Transformer
from chainrule.text import CharTokenizer, LanguageModel
from chainrule.training import seeded

TEXT = "the cat sat on the mat.\nthe dog sat on the log.\n" * 40


def transformer(length=8, levels=4, **settings) -> Transformer:
    with seeded(3):
        model = Transformer(
            (length,), width=8, num_layers=2, num_heads=2, conditional=Categorical(levels), **settings
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.6)
    return model.eval()


def abc_model(**settings) -> LanguageModel:
    return LanguageModel(transformer(**settings), CharTokenizer("abc"))
