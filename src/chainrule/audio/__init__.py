"""Sound: .wav files, the mu-law, and models of recordings with exact likelihoods.

from chainrule.audio import fit_audio, write_wav
model = fit_audio("my.wav", "runs/mine")
model.score("other.wav").bits_per_sample
write_wav("new.wav", model.sample(seconds=2, seed=0))
"""

from chainrule.audio.codes import CODES, LinearCode, MuLawCode, SampleCode, code_named, compress, expand
from chainrule.audio.collection import AudioCollection, AudioPart, collection_of
from chainrule.audio.evaluating import AudioEvaluation, CountedSamples, evaluate_audio
from chainrule.audio.fitting import AUDIO_MODELS, DEFAULT_LENGTH, DEFAULT_RATE, fit_audio
from chainrule.audio.model import AUDIO_NAME, AudioModel, AudioScore
from chainrule.audio.recording import Recording
from chainrule.audio.wav import read_wav, wav_bytes, write_wav

__all__ = [
    "AUDIO_MODELS",
    "AUDIO_NAME",
    "CODES",
    "DEFAULT_LENGTH",
    "DEFAULT_RATE",
    "AudioCollection",
    "AudioEvaluation",
    "AudioModel",
    "AudioPart",
    "AudioScore",
    "CountedSamples",
    "LinearCode",
    "MuLawCode",
    "Recording",
    "SampleCode",
    "code_named",
    "collection_of",
    "compress",
    "evaluate_audio",
    "expand",
    "fit_audio",
    "read_wav",
    "wav_bytes",
    "write_wav",
]
