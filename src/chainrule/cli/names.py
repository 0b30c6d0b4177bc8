"""Names for shell completion, known without importing torch; a test keeps them equal to the catalogues."""

from __future__ import annotations

from typing import Any

from chainrule.cli.model_cards import CARDS
from chainrule.presets import PRESETS

__all__ = [
    "ATTACK_NAMES",
    "AUDIO",
    "AUDIO_MODELS",
    "CLASSIFIER_MODELS",
    "DATASETS",
    "SPLITS",
    "TABLES",
    "TABLE_MODELS",
    "TEXTS",
    "TEXT_MODELS",
    "complete_dataset",
    "complete_model",
    "complete_preset",
    "complete_table",
    "complete_table_model",
    "complete_trainable",
]

#: Data sets with columns of different kinds, which `detect` takes and `train` models as tables.
TABLES = (
    "wine",
    "breast-cancer",
    "winequality-red",
    "winequality-white",
    "housing",
    "parkinsons",
    "annthyroid",
    "breastw",
    "cardio",
    "http",
    "letter",
    "pendigits",
    "pima",
    "satellite",
    "smtp",
    "spambase",
    "thyroid",
    "vowels",
    "nsl-kdd",
)

#: Data sets of text.
TEXTS = ("python-docs", "tinyshakespeare", "ptb")

#: Data sets of sound.
AUDIO = ("fsdd",)

#: Classifiers that `train` takes, the victims of attacks.
CLASSIFIER_MODELS = ("logistic-regression", "mlp", "cnn")

#: Attacks on classifiers.
ATTACK_NAMES = ("rand", "fgsm", "bim", "pgd", "deepfool", "cw", "cw-linf", "square", "hop-skip-jump")

#: Models that text can have.
TEXT_MODELS = ("transformer", "rnn", "wavenet")

#: Models that sound can have.
AUDIO_MODELS = ("wavenet", "rnn")

#: Models that tables can have.
TABLE_MODELS = ("made", "nade", "deep-nade", "fvsbn", "transformer", "independent")

DATASETS = (
    "digits",
    "binarized-mnist",
    "dynamic-mnist",
    "mnist",
    "fashion-mnist",
    "cifar10-subset",
    "cifar10",
    "frey-faces",
    "caltech-silhouettes",
    "omniglot",
    "adult",
    "bnetflix",
    "dna",
    "moviereview",
    "mushrooms",
    "nips",
    "nltcs",
    "ocr-letters",
    "plants",
    "pumsb-star",
    "voting",
    "ad",
    "book",
    "cr52",
    "cwebkb",
    "kdd",
    "kosarek",
    "msnbc",
    "msweb",
    "rcv1",
    "tmovie",
    "tretail",
    *TEXTS,
    *AUDIO,
    *TABLES,
)

SPLITS = ("train", "validation", "test")

#: What a shell shows beside a name: (name, explanation).
_Offers = list[tuple[str, str]]


def complete_model(incomplete: str) -> _Offers:
    """Models whose name starts so."""
    return [(card.name, card.summary) for card in CARDS.values() if card.name.startswith(incomplete)]


def complete_trainable(incomplete: str) -> _Offers:
    """Models that `train` takes."""
    offers = [(name, text) for name, text in complete_model(incomplete) if CARDS[name].trainable]
    classifiers = [name for name in CLASSIFIER_MODELS if name.startswith(incomplete)]
    return offers + [(name, "a classifier, to be attacked and guarded") for name in classifiers]


def complete_dataset(incomplete: str) -> list[str]:
    """Data sets whose name starts so."""
    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_table(incomplete: str) -> list[str]:
    """Tables of the catalogue whose name starts so."""
    return [name for name in TABLES if name.startswith(incomplete)]


def complete_table_model(incomplete: str) -> _Offers:
    """Models of tables whose name starts so."""
    return [(name, text) for name, text in complete_model(incomplete) if name in TABLE_MODELS]


def complete_preset(ctx: Any, incomplete: str) -> _Offers:
    """Presets of the model on the line, or of all models before one is chosen."""
    model = ctx.params.get("model")
    offers = {
        name: preset.note
        if preset.published is None
        else f"published {preset.published:.2f} nats on {preset.data}"
        for of_model in ([model] if model in PRESETS else PRESETS)
        for name, preset in PRESETS[of_model].items()
    }
    return [(name, text) for name, text in offers.items() if name.startswith(incomplete)]
