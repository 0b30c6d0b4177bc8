"""`fit_audio`: from recordings to an `AudioModel`, with settings that suit a plain processor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.audio.codes import SampleCode, code_named
from chainrule.audio.collection import AudioCollection, collection_of
from chainrule.audio.model import AUDIO_NAME, AudioModel
from chainrule.audio.windows import windows
from chainrule.data import CATALOGUE, AudioEntry
from chainrule.errors import ChainruleError, unknown_name
from chainrule.models import RNN, WaveNet
from chainrule.models.sequence import SequenceModel
from chainrule.saving import write_json
from chainrule.training import fit
from chainrule.training.notes import path_of, plan_note
from chainrule.training.run import check_place

__all__ = ["AUDIO_MODELS", "DEFAULT_LENGTH", "DEFAULT_RATE", "audio_network", "fit_audio"]

#: The settings of each model; WaveNet's look back 1,023 samples, an eighth of a second at 8 kHz.
AUDIO_MODELS: dict[str, tuple[Callable[..., SequenceModel], dict[str, Any]]] = {
    "wavenet": (WaveNet, {"channels": 32, "skip_channels": 128, "layers_per_stack": 9, "num_stacks": 2}),
    "rnn": (RNN, {"cell": "gru", "hidden": 256, "layers": 1}),
}

DEFAULT_RATE = 8000
#: Samples in a row, which begins without a past; it should be longer than what the model looks back.
DEFAULT_LENGTH = 2048

#: So many samples make an update, whatever the length of a row.
_SAMPLES_A_BATCH = 16_384

_TRAINING: dict[str, Any] = {"epochs": 20, "learning_rate": 2e-3, "ema_decay": 0.99, "clip_norm": 1.0}


def fit_audio(
    source: str | Path | AudioCollection,
    out: str | Path,
    *,
    model: str = "wavenet",
    rate: int = DEFAULT_RATE,
    code: str = "mu-law",
    length: int | None = None,
    ends: bool | None = None,
    condition_on_labels: bool = False,
    model_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    notes: Mapping[str, Any] | None = None,
    on_remark: Callable[[str], None] | None = None,
    **training: Any,
) -> AudioModel:
    """Train a model of sound; the test part is not looked at.

    - `source`, `rate`: as in `collection_of`; `out`: the run folder (`AudioModel.load` reads it).
    - `model`: one of `AUDIO_MODELS`; `model_settings`: its constructor's settings.
    - `code`: `"mu-law"`, 256 categories, or `"pcm16"`, a mixture of logistics over 65,536 values.
    - `length`: samples in a row to train on (`windows` says how recordings become rows); None: 2,048, and
      fewer where no recording is as long and none can be filled up.
    - `ends`: whether the model also says where a recording ends; None: where recordings are whole (several of
      them) and the code has room for an end.
    - `condition_on_labels`: model p(sound given its class).
    - `on_remark`: is told, a line each, what was done to the recordings.
    - `training`: fields of `TrainingSettings`; the others as in `fit`.

    The run notes the path, so that `chainrule evaluate` and `train --resume` find the recordings again.

    Raises `ChainruleError` for recordings or settings that cannot be used, and what `fit` raises.
    """
    folder = some_path("out", out)
    if length is not None:
        whole_number("length", length, minimum=2)
    coded = code_named(code)
    check_place(folder, resume=resume, overwrite=overwrite)
    collection = collection_of(source, rate)
    if condition_on_labels and not collection.label_names:
        raise ChainruleError(
            f"{collection.name} has no classes to condition on; put the recordings into a subfolder for each."
        )
    noted = plan_note(
        "audio",
        {"data": _spec_of(source)},
        model=model,
        condition_on_labels=condition_on_labels,
        options={"rate": rate, "code": code, "length": length, "ends": ends},
        settings=dict(model_settings or {}),
        training={"seed": seed, **training},
    )
    if ends is None:
        ends = coded.can_end and not collection.is_single
    if length is None:
        length = DEFAULT_LENGTH if ends else _longest(collection)
    classes = collection.label_names if condition_on_labels else ()
    network = audio_network(
        model, coded, length, model_settings, seed=seed, with_end=ends, context_size=len(classes)
    )
    data, left_out = windows(collection, coded, length, end=network.end, with_labels=condition_on_labels)
    remarks = list(collection.remarks)
    if left_out:
        remarks.append(f"{left_out:,} recordings of fewer than {length:,} samples left out of training")
    if on_remark is not None:
        for remark in remarks:
            on_remark(remark)
    fitted = AudioModel(network, coded, collection.rate, classes)
    settings = {"batch_size": max(1, _SAMPLES_A_BATCH // length), **_TRAINING, **training}

    def lay_beside(folder: Path) -> None:
        write_json(folder / AUDIO_NAME, fitted.spec())

    fit(
        network,
        data,
        folder,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        notes={**noted, **(notes or {}), "recordings": remarks},
        on_begin=lay_beside,
        seed=seed,
        **settings,
    )
    return fitted


def _longest(collection: AudioCollection) -> int:
    """The most samples in a row, up to the usual ones, that there is one of to train and one to select on."""
    parts = (collection.part(name).recordings for name in ("train", "validation"))
    return max(2, min(DEFAULT_LENGTH, *(max(len(r.samples) for r in part) for part in parts)))


def _spec_of(source: str | Path | AudioCollection) -> str | None:
    """What the command line calls the recordings: a path, or a name of the catalogue; None for others."""
    return str(source) if isinstance(CATALOGUE.get(str(source)), AudioEntry) else path_of(source)


def audio_network(
    model: str,
    code: SampleCode,
    length: int,
    model_settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    with_end: bool = False,
    context_size: int = 0,
) -> SequenceModel:
    """A fresh network for codes; `ChainruleError` for a model or a setting that there is not."""
    if model not in AUDIO_MODELS:
        raise unknown_name("model of sound", model, AUDIO_MODELS)
    build, defaults = AUDIO_MODELS[model]
    decided = {"event_shape", "conditional", "context_size", "end", "ordering", "local_size"}
    takes = set(inspect.signature(build).parameters) - decided
    for name in model_settings or {}:
        if name not in takes:
            raise unknown_name(f"setting of {model} for sound", name, takes)
    # Weights are drawn at construction; the caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        return build(
            (length,),
            conditional=code.conditional(with_end=with_end),
            end=code.levels if with_end else None,
            context_size=context_size,
            **{**defaults, **(model_settings or {})},
        )
