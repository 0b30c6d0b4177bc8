"""Text: tokenizers, corpora, and language models with exact likelihoods.

from chainrule.text import fit_text
model = fit_text("my.txt", "runs/mine")
model.generate("Once upon", seed=0)
model.score("a text").bits_per_character
"""

from chainrule.text.corpus import Corpus, corpus_of
from chainrule.text.fitting import DEFAULT_LENGTH, TEXT_MODELS, fit_text, window_length
from chainrule.text.generating import Cuts
from chainrule.text.language_model import LanguageModel, TextScore
from chainrule.text.measuring import TextFigures, measure
from chainrule.text.page import save_surprise_page, shades_of
from chainrule.text.reading import iter_text, read_text
from chainrule.text.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    Tokenizer,
    WordTokenizer,
    learn_tokenizer,
    tokenizer_from_spec,
)
from chainrule.text.words import Segment, segments_of, words_of

__all__ = [
    "DEFAULT_LENGTH",
    "TEXT_MODELS",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Corpus",
    "Cuts",
    "LanguageModel",
    "Segment",
    "TextFigures",
    "TextScore",
    "Tokenizer",
    "WordTokenizer",
    "corpus_of",
    "fit_text",
    "iter_text",
    "learn_tokenizer",
    "measure",
    "read_text",
    "save_surprise_page",
    "segments_of",
    "shades_of",
    "tokenizer_from_spec",
    "window_length",
    "words_of",
]
