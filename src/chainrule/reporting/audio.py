"""The page of a run on sound."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from chainrule.audio import AudioCollection, AudioModel, Recording, evaluate_audio, wav_bytes
from chainrule.report.page import Section, drawn, facts, paragraph, sound
from chainrule.report.page_pictures import save_surprise_over_time, save_waveform
from chainrule.reporting.calibration import calibration_section
from chainrule.reporting.common import likelihood_section

__all__ = ["audio_sections"]

#: Recordings that are scored, unless told otherwise; seconds of a sample; samples in a row to calibrate on.
_RECORDINGS, _SECONDS, _CUT = 10, 1.0, 20


def audio_sections(
    model: AudioModel,
    collection: AudioCollection,
    *,
    recordings: int = _RECORDINGS,
    seconds: float = _SECONDS,
    seed: int = 0,
) -> tuple[list[Section], list[tuple[str, object]]]:
    """Likelihood, a sample to hear, surprise over time and calibration; and facts for the overview."""
    found = evaluate_audio(model, collection, "test", limit=recordings)
    overview: list[tuple[str, object]] = [
        (
            "NLL",
            f"{found.bits_per_sample:.4f} ± {found.standard_error:.4f} bits a sample "
            f"({found.recordings:,} recordings, test)",
        ),
        ("sound", f"{model.rate:,} samples a second, {model.code.name}"),
    ]
    groups = {}
    for name in ("train", "test"):
        part = collection.part(name)
        labels = part.labels or (0,) * len(part.recordings)
        costs = [
            -model.surprise(each, _label(model, collection, label))
            for each, label in list(zip(part.recordings, labels, strict=True))[: max(1, recordings // 2)]
        ]
        groups[name] = np.concatenate(costs)
    baselines = facts([(what, f"{bits:.4f} bits a sample") for what, bits in found.baselines.items()])
    likelihood = likelihood_section(groups, "sample", "Samples of sound, each given all before it.")
    sections = [
        Section(
            likelihood.title, f"{likelihood.html}<h3>Beside models that need no training</h3>{baselines}"
        ),
        _sample(model, collection, seconds, seed),
        _surprise(model, collection),
    ]
    return [*sections, *_calibration(model, collection)], overview


def _label(model: AudioModel, collection: AudioCollection, label: int) -> str | None:
    return collection.label_names[label] if model.label_names else None


def _sample(model: AudioModel, collection: AudioCollection, seconds: float, seed: int) -> Section:
    label = model.label_names[0] if model.label_names else None
    drawn_one = model.sample(seconds, label, seed=seed)
    of_class = f" of class {label}" if label else ""
    words = f"A sample{of_class}, {drawn_one.seconds:.2f} s, not chosen, seed {seed}"
    shown = drawn(
        lambda path: save_waveform(drawn_one.samples, drawn_one.rate, path),
        f"The waveform of {words.lower()}",
    )
    real = collection.part("test").recordings[0]
    heard = sound(wav_bytes(drawn_one), words)
    return Section(
        "Samples", heard + shown + sound(wav_bytes(_short(real)), "A real recording, its beginning")
    )


def _short(recording: Recording) -> Recording:
    """At most two seconds."""
    return replace(recording, samples=recording.samples[: 2 * recording.rate])


def _surprise(model: AudioModel, collection: AudioCollection) -> Section:
    part = collection.part("test")
    label = part.labels[0] if part.labels else 0
    surprise = model.surprise(part.recordings[0], _label(model, collection, label))
    times = np.arange(len(surprise)) / model.rate
    bits = surprise / math.log(2)
    shown = drawn(
        lambda path: save_surprise_over_time(bits, path, times=times, x_label="seconds", unit="bits"),
        f"Surprise over time of the first recording of the test part, {bits.mean():.2f} bits a sample",
        caption="The first recording of the test part.",
    )
    return Section("Surprise", shown + paragraph("Clicks and onsets surprise; a steady tone does not."))


def _calibration(model: AudioModel, collection: AudioCollection) -> list[Section]:
    """Of the beginnings of recordings, each of the length of the shortest one."""
    network, part = model.model, collection.part("test")
    chosen = part.recordings[:_CUT]
    length = min(network.event_shape[0], *(len(recording.samples) for recording in chosen))
    codes = [model.code.encode(recording.samples[:length]) for recording in chosen]
    context = None
    if model.label_names:
        context = network._checked_context(torch.tensor(part.labels[:_CUT]), len(chosen))
    return calibration_section(network.with_length(length), torch.from_numpy(np.stack(codes)), context)
