"""`fit_text`: from a text file to a `LanguageModel`, with settings that suit text of its size."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.conditionals import Categorical
from chainrule.data import CATALOGUE, TextDataset, TextEntry
from chainrule.errors import ChainruleError, unknown_name
from chainrule.models import RNN, Transformer, WaveNet
from chainrule.models.sequence import SequenceModel
from chainrule.saving import write_json
from chainrule.text.corpus import Corpus, TextSource, corpus_of
from chainrule.text.language_model import TOKENIZER_NAME, LanguageModel
from chainrule.text.tokenizers import Tokenizer
from chainrule.training import fit, training_settings
from chainrule.training.notes import path_of, plan_note
from chainrule.training.run import check_place

__all__ = ["DEFAULT_LENGTH", "TEXT_MODELS", "fit_text", "text_network", "window_length"]

#: The settings of each model that suit text on a processor without an accelerator; nanoGPT's for a CPU.
TEXT_MODELS: dict[str, tuple[Callable[..., SequenceModel], dict[str, Any]]] = {
    "transformer": (Transformer, {"width": 128, "num_layers": 4, "num_heads": 4}),
    "rnn": (RNN, {"cell": "lstm", "hidden": 256, "layers": 2}),
    "wavenet": (WaveNet, {"channels": 64, "skip_channels": 128, "layers_per_stack": 6, "num_stacks": 1}),
}

#: Tokens that are read together in training, and the most of a line.
DEFAULT_LENGTH, _LINE_LENGTH = 128, 256

#: A text of so many tokens that was cut into parts has some to validate on.
_CUT_IN_THREE = 20

#: So many tokens make an update, whatever the length of a window.
_TOKENS_A_BATCH = 2048

#: Where nobody says how long: about so many updates, but at most so many epochs; up to so many validations,
#: the last ones left out when that many bring nothing.
_UPDATES, _MOST_EPOCHS, _VALIDATIONS, _PATIENCE = 2000, 500, 50, 10

_TRAINING: dict[str, dict[str, Any]] = {
    "transformer": {"learning_rate": 2e-3, "weight_decay": 0.1, "clip_norm": 1.0, "ema_decay": 0.99},
    "rnn": {"ema_decay": 0.99},
    "wavenet": {"learning_rate": 2e-3, "ema_decay": 0.99},
}


def fit_text(
    source: TextSource | Corpus,
    out: str | Path,
    *,
    model: str = "transformer",
    tokenizer: str | Tokenizer | None = None,
    lines: bool = False,
    length: int | None = None,
    model_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    notes: Mapping[str, Any] | None = None,
    **training: Any,
) -> LanguageModel:
    """Train a model on a text: nine tenths of it, unless the parts are given; the next twentieth selects.

    - `source`: a file, a file for each part (`{"train": ..., "validation": ...}`), a text of
      `chainrule.data.load_text`, or a `Corpus`.
    - `out`: the run folder (`LanguageModel.load` reads it).
    - `model`: one of `TEXT_MODELS`; `model_settings`: its constructor's settings.
    - `tokenizer`, `lines`: as in `corpus_of`; `length`: tokens in a window (`window_length` says what None
      is).
    - `training`: fields of `TrainingSettings`; without `epochs`, there are about 2,000 updates, fewer where
      the validation stops falling. `resume`, `overwrite`, `progress`, `notes`: as in `fit`.

    The run notes the path of a file, so that `chainrule evaluate` and `train --resume` find it again.

    Raises `ChainruleError` for a text or settings that cannot be used, and what `fit` raises.
    """
    folder = some_path("out", out)
    training_settings(training)
    check_place(folder, resume=resume, overwrite=overwrite)
    corpus = source if isinstance(source, Corpus) else corpus_of(source, tokenizer, lines=lines)
    noted = plan_note(
        "text",
        {"spec": _spec_of(source)},
        model=model,
        tokenizer=tokenizer if isinstance(tokenizer, str) else None,
        lines=lines,
        length=length,
        seed=seed,
        settings=dict(model_settings or {}),
        training=training,
    )
    length = window_length(corpus, length)
    data = corpus.windows(length)
    network = text_network(model, corpus.tokenizer, length, model_settings, seed, lines=corpus.lines)
    settings = {"batch_size": max(1, _TOKENS_A_BATCH // length), **_TRAINING[model], **training}
    if "epochs" not in training:
        settings = _schedule(len(data.split("train")), settings["batch_size"]) | settings

    def lay_beside(folder: Path) -> None:
        write_json(folder / TOKENIZER_NAME, corpus.tokenizer.spec())

    fit(
        network,
        data,
        folder,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        notes={**noted, **(notes or {})},
        on_begin=lay_beside,
        seed=seed,
        **settings,
    )
    return LanguageModel(network, corpus.tokenizer)


def _spec_of(source: TextSource | Corpus) -> str | None:
    """What the command line calls the text: a path, or a name of the catalogue; None for other sources."""
    if isinstance(source, TextDataset):
        return source.name if isinstance(CATALOGUE.get(source.name), TextEntry) else None
    return path_of(source)


def window_length(corpus: Corpus, length: int | None = None) -> int:
    """How many tokens are read together: `length`, or what suits the text.

    None is 128, and less for a text whose parts are shorter; of lines, the longest one with its end, but no
    more than `length` (256 for None).

    Raises `ChainruleError` for a text that is too short to train and validate on.
    """
    if length is not None:
        length = whole_number("length", length, minimum=2)
    if corpus.lines:
        return max(2, min(corpus.longest("train", "validation"), length or _LINE_LENGTH))
    if corpus.validation is None and len(corpus.train) >= _CUT_IN_THREE:
        raise ChainruleError(f'{corpus.name} has no part to select on; name one with "validation".')
    validation = 0 if corpus.validation is None else len(corpus.validation)
    shortest = min(len(corpus.train) // 2, validation)
    if shortest < 2:
        raise ChainruleError(
            f"{corpus.name} is too short: {len(corpus.train)} tokens to train on and {validation} to "
            "validate on; give a longer text."
        )
    if length is None:
        return min(DEFAULT_LENGTH, shortest)
    if length > min(len(corpus.train), validation):
        corpus.windows(length)  # says which part is shorter
    return length


def _schedule(rows: int, batch_size: int) -> dict[str, Any]:
    """How long to train on so many rows, where nobody said."""
    epochs = round(_UPDATES / math.ceil(rows / max(1, batch_size)))
    epochs = max(1, min(_MOST_EPOCHS, epochs))
    return {"epochs": epochs, "validate_every": max(1, epochs // _VALIDATIONS), "patience": _PATIENCE}


def text_network(
    model: str,
    tokenizer: Tokenizer,
    length: int,
    model_settings: Mapping[str, Any] | None,
    seed: int,
    *,
    lines: bool = False,
) -> SequenceModel:
    """A fresh network for tokens, with one more category that ends a line if a text is `lines`.

    Raises `ChainruleError` for a model or a setting that there is not.
    """
    if model not in TEXT_MODELS:
        raise unknown_name("model of text", model, TEXT_MODELS)
    build, defaults = TEXT_MODELS[model]
    takes = set(inspect.signature(build).parameters) - {"event_shape", "conditional", "context_size", "end"}
    for name in model_settings or {}:
        if name not in takes:
            raise unknown_name(f"setting of {model}", name, takes)
    settings = {**defaults, **(model_settings or {})}
    if settings.get("ordering", "raster") != "raster":
        raise ChainruleError("text is read in its own order; leave ordering as it is.")
    # Weights are drawn at construction; the caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        return build(
            (length,),
            conditional=Categorical(tokenizer.levels + lines),
            end=tokenizer.levels if lines else None,
            **settings,
        )
