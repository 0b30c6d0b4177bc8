"""A sequence model and a code of samples together: exact likelihoods of sound, and sound from it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.arguments import checked_seed, real_number, some_path, whole_number
from chainrule.audio.codes import SampleCode, code_named
from chainrule.audio.recording import LARGEST_RATE, Recording
from chainrule.audio.wav import read_wav
from chainrule.errors import ChainruleError, unknown_name
from chainrule.loading import load as load_model
from chainrule.models.sequence import SequenceModel
from chainrule.sampling import draw_noise
from chainrule.saving import write_json

__all__ = ["AUDIO_NAME", "AudioModel", "AudioScore", "Sound"]

AUDIO_NAME = "audio.json"

#: Sound as people have it: a recording, a .wav file, or samples at the model's rate.
Sound = Recording | str | Path | NDArray[Any]
#: A class by its name or its number; None where there are none.
Label = str | int | None

#: Samples that are read together: bounds memory.
_CHUNK = 4096
#: The longest sound that one call draws: its noise lies in memory.
_MOST_SAMPLES = 100_000_000


@dataclass(frozen=True)
class AudioScore:
    """What a recording costs under a model; exact probabilities of its codes.

    - `surprise`: -log p(code of each sample given all before it), nats, float64 `(T,)`.
    - `end`: -log p(the recording ends there), nats; 0 for models that have no end.
    - `rate`: samples a second, of the model; `remarks`: what was done to the recording.
    """

    surprise: NDArray[np.float64]
    end: float
    rate: int
    remarks: tuple[str, ...] = ()

    @property
    def nll(self) -> float:
        """-log p of the whole recording with its end, nats."""
        return float(self.surprise.sum()) + self.end

    @property
    def nats_per_sample(self) -> float:
        """nll / T."""
        return self.nll / len(self.surprise)

    @property
    def bits_per_sample(self) -> float:
        """nll / (T ln 2): of codes of one kind; a mu-law code has 8 bits to begin with, a 16-bit one 16."""
        return self.nats_per_sample / math.log(2)


class AudioModel:
    """An exact distribution of recordings at one rate.

    - `model`: a `SequenceModel` over the codes of samples, and perhaps an end; `code`: which codes.
    - `rate`: samples a second; `label_names`: the classes that it is conditioned on, or empty.

    Likelihoods are probabilities of codes: of cells of the mu-law, or of 16-bit values.
    Raises `ChainruleError` where these do not fit together.
    """

    def __init__(
        self, model: SequenceModel, code: SampleCode, rate: int, label_names: tuple[str, ...] = ()
    ) -> None:
        levels = getattr(model.conditional, "levels", None)
        if not isinstance(model, SequenceModel) or levels != code.levels + (model.end is not None):
            raise ChainruleError(
                f"{code.name} has {code.levels:,} levels, but the model is a {type(model).__name__} of "
                f"{model.conditional.value_range}."
            )
        if model.context_size != len(label_names):
            raise ChainruleError(
                f"the model takes a context of {model.context_size} numbers, but there are "
                f"{len(label_names)} classes."
            )
        self.model, self.code = model.eval(), code
        self.rate = whole_number("rate", rate, minimum=1, maximum=LARGEST_RATE)
        self.label_names = label_names

    # ---------------------------------------------------------------- likelihood

    @torch.no_grad()
    def score(self, sound: Sound, label: Label = None) -> AudioScore:
        """The surprise of every sample of a recording, which is brought to the model's rate first.

        - `label`: the class, for models that are conditioned on one.

        Raises `ChainruleError` for sound that cannot be read, and a class that there is not.
        """
        recording = self.prepared(sound)
        codes = torch.from_numpy(self.code.encode(recording.samples))
        if self.model.end is not None:
            codes = torch.cat([codes, torch.tensor([self.model.end])])
        context, passage, found = self._context(label), None, []
        for piece in torch.split(codes, _CHUNK):
            log_prob, passage = self.model.go_on(piece[None].to(self.model._reference), passage, context)
            found.append(log_prob[0].double().cpu())
        surprise = -torch.cat(found).numpy()
        remarks = recording.remarks
        if recording.clipped:
            remarks = (*remarks, f"{recording.clipped:,} samples beyond full scale cut off")
        ends = self.model.end is not None
        return AudioScore(
            surprise[:-1] if ends else surprise, float(surprise[-1]) if ends else 0.0, self.rate, remarks
        )

    def log_prob(self, sound: Sound, label: Label = None) -> float:
        """log p of a recording, with its end where the model has one; nats."""
        return -self.score(sound, label).nll

    def surprise(self, sound: Sound, label: Label = None) -> NDArray[np.float64]:
        """-log p of every sample given all before it, nats, `(T,)`."""
        return self.score(sound, label).surprise

    def prepared(self, sound: Sound) -> Recording:
        """The recording that is scored: read, and at the model's rate."""
        if isinstance(sound, (str, Path)):
            sound = read_wav(sound)
        if not isinstance(sound, Recording):
            sound = Recording(np.asarray(sound), self.rate, "the sound")
        return sound.at_rate(self.rate)

    # ---------------------------------------------------------------- sampling

    def sample(
        self,
        seconds: float = 1.0,
        label: Label = None,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
    ) -> Recording:
        """New sound, drawn sample by sample; at most `seconds` for a model that knows ends, else exactly.

        - `label`: as in `score`; `seed`: the same seed gives the same sound.
        - `temperature`: below 1 sharpens every conditional; other than 1 it is **no sample of p**.

        Raises `ChainruleError` for values out of range.
        """
        return self._drawn(None, seconds, label, seed, temperature)

    def continue_from(
        self,
        sound: Sound,
        seconds: float = 1.0,
        label: Label = None,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
    ) -> Recording:
        """What may follow a recording, without it: `prepared(sound).then(...)` puts the two together."""
        return self._drawn(self.prepared(sound), seconds, label, seed, temperature)

    @torch.no_grad()
    def _drawn(
        self, before: Recording | None, seconds: float, label: Label, seed: int | None, temperature: float
    ) -> Recording:
        real_number("temperature", temperature, above=0.0)
        count = round(
            real_number("seconds", seconds, above=0.0, maximum=_MOST_SAMPLES / self.rate) * self.rate
        )
        if not count:
            raise ChainruleError(f"seconds={seconds:g} is less than a sample at {self.rate:,} Hz.")
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(checked_seed(seed))
        family, reference = self.model.conditional, self.model._reference
        noise = draw_noise(1, count, family.num_noise, generator, reference.dtype).to(reference)
        params, state = self._read(before, self._context(label))
        drawn: list[Tensor] = []
        for number in range(count):
            value = family.sample(params[:, -1], noise[:, number], temperature)
            if self.model.end is not None and int(value) == self.model.end:
                break
            drawn.append(value)
            if number + 1 < count:
                params, state = self.model.read(state, value[:, None])
        if not drawn:
            raise ChainruleError("what was drawn ends before its first sample; try another seed.")
        codes = torch.cat(drawn).long().cpu().numpy()
        return Recording(self.code.decode(codes), self.rate, "a sample")

    def _read(self, before: Recording | None, context: Tensor | None) -> tuple[Tensor, Any]:
        """Parameters of what comes next, and the state there."""
        empty = self.model._zeros(1, 0)
        params, state = self.model.read(self.model.init_state(1, context), empty, begin=True)
        if before is not None:
            codes = torch.from_numpy(self.code.encode(before.samples)).to(self.model._reference)
            for piece in torch.split(codes[None], _CHUNK, dim=1):
                params, state = self.model.read(state, piece)
        return params, state

    def _context(self, label: Label) -> Tensor | None:
        """The class as the model takes it, `(1, classes)`."""
        if not self.label_names:
            if label is not None:
                raise ChainruleError(f"this model knows no classes; leave {label!r} out.")
            return None
        if label is None:
            raise ChainruleError(f"this model needs a class: one of {', '.join(self.label_names)}.")
        if isinstance(label, str):
            if label not in self.label_names:
                raise unknown_name("class", label, self.label_names)
            label = self.label_names.index(label)
        number = whole_number("the class", label, maximum=len(self.label_names) - 1)
        return self.model._context_of_rows(number, 1)

    # ---------------------------------------------------------------- saving

    def spec(self) -> dict[str, Any]:
        """What `audio.json` holds: all but the network."""
        return {"code": self.code.name, "rate": self.rate, "label_names": list(self.label_names)}

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model and `audio.json` into a folder; errors as in `save_pretrained`."""
        folder = some_path("the folder to save to", folder)
        self.model.save_pretrained(folder, overwrite=overwrite)
        write_json(folder / AUDIO_NAME, self.spec())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` or `fit_audio` left in a folder.

        Raises `ChainruleError` where there is none, or where `audio.json` is damaged.
        """
        folder = some_path("the folder", folder)
        file = folder / AUDIO_NAME
        try:
            spec = json.loads(file.read_text(encoding="utf-8"))
            code, rate, names = spec["code"], spec["rate"], tuple(map(str, spec["label_names"]))
        except FileNotFoundError:
            raise ChainruleError(f"{folder} is no model of sound: it has no {AUDIO_NAME}.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChainruleError(f"{file} is damaged ({error}).") from None
        model = load_model(folder)
        if not isinstance(model, SequenceModel):
            raise ChainruleError(f"{folder} holds a {type(model).__name__}, which is no model of sequences.")
        return cls(model, code_named(str(code)), rate, names)

    def __repr__(self) -> str:
        classes = f", classes {', '.join(self.label_names)}" if self.label_names else ""
        end = ", with an end" if self.model.end is not None else ""
        return f"AudioModel({type(self.model).__name__}, {self.code.name}{end}, {self.rate:,} Hz{classes})"
