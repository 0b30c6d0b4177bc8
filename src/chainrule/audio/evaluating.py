"""The likelihood of whole recordings under a model, beside that of models which need no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.audio.collection import AudioCollection, AudioPart
from chainrule.audio.model import AudioModel
from chainrule.errors import ChainruleError

__all__ = ["AudioEvaluation", "CountedSamples", "evaluate_audio"]

#: The most levels whose pairs are counted: a table of 65,536 x 65,536 would hold no more than zeros.
_MOST_PAIRED = 256


@dataclass(frozen=True)
class AudioEvaluation:
    """Mean cost of a sample, over all samples of whole recordings.

    - `bits_per_sample`, `nats_per_sample`: with the end of each recording, where the model has one.
    - `end_bits_per_sample`: how much of it is for the ends.
    - `standard_error`: of `bits_per_sample`, recordings taken as independent; NaN for a single one.
    - `baselines`: bits per sample of the same recordings, ends left out, by what they are.
    """

    part: str
    recordings: int
    samples: int
    bits_per_sample: float
    end_bits_per_sample: float
    standard_error: float
    baselines: dict[str, float]

    @property
    def nats_per_sample(self) -> float:
        """In nats."""
        return self.bits_per_sample * math.log(2)


def evaluate_audio(
    model: AudioModel,
    collection: AudioCollection,
    part: str = "test",
    *,
    limit: int | None = None,
    on_recording: Callable[[int, int | None], None] | None = None,
) -> AudioEvaluation:
    """Score whole recordings of a part, each from its beginning; exact.

    - `limit`: only so many recordings, spread evenly.

    The baselines are counted on the training part. Raises `ChainruleError` for a part that there is not, for
    another rate than the model's, and for classes that the model does not know.
    """
    if collection.rate != model.rate:
        raise ChainruleError(
            f"{collection.name} is at {collection.rate:,} Hz, the model at {model.rate:,} Hz; read it at the "
            "model's rate."
        )
    chosen = _spread(collection.part(part), limit)
    nll, ends, sizes = [], [], []
    for number, recording in enumerate(chosen.recordings):
        label = collection.label_names[chosen.labels[number]] if model.label_names else None
        score = model.score(recording, label)
        nll.append(score.nll)
        ends.append(score.end)
        sizes.append(len(score.surprise))
        if on_recording is not None:
            on_recording(number + 1, len(chosen.recordings))
    bits, samples = np.array(nll) / math.log(2), np.array(sizes)
    mean = bits.sum() / samples.sum()
    return AudioEvaluation(
        part=part,
        recordings=len(samples),
        samples=int(samples.sum()),
        bits_per_sample=float(mean),
        end_bits_per_sample=float(sum(ends) / math.log(2) / samples.sum()),
        standard_error=_error_of_ratio(bits, samples),
        baselines=_baselines(model, collection.part("train"), chosen) if "train" in collection.parts else {},
    )


def _spread(part: AudioPart, limit: int | None) -> AudioPart:
    count = len(part.recordings)
    if limit is None or limit >= count:
        return part
    rows = np.linspace(0, count - 1, limit).round().astype(int).tolist()
    labels = tuple(part.labels[row] for row in rows) if part.labels else ()
    return AudioPart(tuple(part.recordings[row] for row in rows), labels)


def _error_of_ratio(costs: NDArray[Any], sizes: NDArray[Any]) -> float:
    """The standard error of sum(costs) / sum(sizes) over independent recordings (Cochran 1977, 2.46)."""
    count = len(costs)
    if count < 2:
        return math.nan
    residuals = costs - costs.sum() / sizes.sum() * sizes
    return float(math.sqrt(count / (count - 1) * (residuals**2).sum()) / sizes.sum())


class CountedSamples:
    """What counting says of codes: how often each one is, and how often one follows another.

    - `levels`: of a code. `prior`: imaginary samples spread over all levels, and then imaginary successors
      of each code, spread as the codes are: so that what was never seen stays possible.
    """

    def __init__(self, levels: int, recordings: Sequence[NDArray[np.int64]], prior: float = 256.0) -> None:
        self.prior = prior
        counts = np.bincount(np.concatenate(list(recordings)), minlength=levels)
        self.frequency = (counts + prior / levels) / (counts.sum() + prior)  # (levels,)
        self.pairs: NDArray[np.float64] | None = None
        if levels <= _MOST_PAIRED:
            self.pairs = np.zeros((levels, levels))
            for codes in recordings:
                np.add.at(self.pairs, (codes[:-1], codes[1:]), 1)

    def independent(self, codes: NDArray[np.int64]) -> float:
        """-log2 p of a recording whose samples know nothing of each other, bits."""
        return float(-np.log2(self.frequency[codes]).sum())

    def markov(self, codes: NDArray[np.int64]) -> float:
        """-log2 p of a recording in which each sample knows the one before it, bits."""
        assert self.pairs is not None
        before, now = codes[:-1], codes[1:]
        seen = self.pairs[before, now] + self.prior * self.frequency[now]
        follows = seen / (self.pairs.sum(1)[before] + self.prior)
        return float(-np.log2(follows).sum() - np.log2(self.frequency[codes[0]]))


def _baselines(model: AudioModel, train: AudioPart, chosen: AudioPart) -> dict[str, float]:
    encode, levels = model.code.encode, model.code.levels
    counted = CountedSamples(levels, [encode(recording.samples) for recording in train.recordings])
    codes = [encode(recording.samples) for recording in chosen.recordings]
    total = sum(map(len, codes))
    found = {
        "every level alike": math.log2(levels),
        "frequencies of levels": sum(map(counted.independent, codes)) / total,
    }
    if counted.pairs is not None:
        found["frequencies of pairs (first-order Markov)"] = sum(map(counted.markov, codes)) / total
    return found
