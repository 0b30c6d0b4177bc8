"""Comparing models of text, of time series and of sound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.audio import AUDIO_MODELS, AudioCollection, AudioModel, evaluate_audio, fit_audio
from chainrule.comparing.tasks import Entry, Figures, Task
from chainrule.errors import ChainruleError
from chainrule.series import SERIES_MODELS, SeriesModel, evaluate_series, fit_series
from chainrule.text import TEXT_MODELS, Corpus, LanguageModel, fit_text, measure

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["AudioTask", "SeriesTask", "TextTask"]

#: Tokens that a text is measured on, recordings that sound is; both from the held-out part.
_TOKENS, _RECORDINGS = 100_000, 50
#: Tokens of the sample that is shown.
_SHOWN_TOKENS = 160


class TextTask(Task):
    """A text, cut into tokens once for all models."""

    kind = "text"
    unit = "nats per token"
    second_unit = "perplexity"
    models = tuple(TEXT_MODELS)

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.name = corpus, corpus.name

    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Fit a language model."""
        fit_text(
            self.corpus,
            folder,
            model=entry.model,
            model_settings=entry.settings,
            resume=not anew,
            overwrite=anew,
            progress=progress,
            notes=entry.notes,
            **{**entry.training, "max_minutes": minutes},
        )

    def open(self, folder: Path) -> LanguageModel:
        """The model with its tokenizer, which must be that of the text."""
        found = LanguageModel.load(folder)
        if found.tokenizer.spec() != self.corpus.tokenizer.spec():
            raise ChainruleError(
                f"{folder} cuts texts into other tokens, so its nats per token are no comparison."
            )
        return found

    def figures(self, opened: Any) -> Figures:
        """Of the test part, or of the validation part where there is none."""
        split = "validation" if self.corpus.test is None else "test"
        found = measure(opened, self.corpus, split, limit=_TOKENS)
        return Figures(found.nll, found.standard_error, found.perplexity, split, found.tokens)

    def sample_text(self, opened: Any) -> str:
        """The beginning of a new text."""
        return str(opened.generate("", _SHOWN_TOKENS, seed=0)[0])


class SeriesTask(Task):
    """A time series: a table with, perhaps, a column of times."""

    kind = "series"
    unit = "nats per step, in the columns' units"
    models = tuple(SERIES_MODELS)

    def __init__(self, name: str, frame: DataFrame, time: str | None) -> None:
        self.name, self.frame, self.time = name, frame, time

    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Fit a model of the series."""
        fit_series(
            self.frame,
            folder,
            time=self.time,
            model=entry.model,
            model_settings=entry.settings,
            resume=not anew,
            overwrite=anew,
            progress=progress,
            notes=entry.notes,
            **{**entry.training, "max_minutes": minutes},
        )

    def open(self, folder: Path) -> SeriesModel:
        """The model with its schema."""
        return SeriesModel.load(folder)

    def figures(self, opened: Any) -> Figures:
        """The last tenth, each step given all before it."""
        found = evaluate_series(opened, self.frame, part="test", horizon=1, origins=1, num_paths=2)
        return Figures(found.nll, found.standard_error, None, "test", found.steps)


class AudioTask(Task):
    """Recordings at one rate."""

    kind = "audio"
    unit = "nats per sample of sound"
    second_unit = "bits/sample"
    models = tuple(AUDIO_MODELS)

    def __init__(self, collection: AudioCollection) -> None:
        self.collection, self.name = collection, collection.name

    def train(self, entry: Entry, folder: Path, minutes: float, *, anew: bool, progress: bool) -> None:
        """Fit a model of sound."""
        fit_audio(
            self.collection,
            folder,
            model=entry.model,
            model_settings=entry.settings,
            rate=self.collection.rate,
            resume=not anew,
            overwrite=anew,
            progress=progress,
            notes=entry.notes,
            **{**entry.training, "max_minutes": minutes},
        )

    def open(self, folder: Path) -> AudioModel:
        """The model with its code."""
        return AudioModel.load(folder)

    def figures(self, opened: Any) -> Figures:
        """Whole recordings of the test part, at most some of them."""
        found = evaluate_audio(opened, self.collection, "test", limit=_RECORDINGS)
        nats = math.log(2)
        return Figures(
            found.nats_per_sample,
            found.standard_error * nats,
            found.bits_per_sample,
            "test",
            found.samples,
        )
