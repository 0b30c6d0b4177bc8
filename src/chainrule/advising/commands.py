"""The command that does what is advised; it runs as it is printed."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path

from chainrule.advising.situation import Situation

__all__ = ["EXAMPLE_DATA", "command_of", "next_command_of"]

#: Data that comes with the library, where the situation names none; of series and sound there is none.
EXAMPLE_DATA = {
    "image": "digits",
    "vector": "digits",
    "table": "wine",
    "text": "python-docs",
    "series": "my_series.csv",
    "audio": "my.wav",
}

#: Samples that a row of training has where nobody says; shorter recordings need shorter rows.
_ROW_OF_SOUND = 2048

#: Rows that a detector needs for its usual level, and those of the example table.
_ROWS_FOR_LEVEL, _EXAMPLE_ROWS = 200, 178

_WITH_SMALL_PRESET = ("pixelcnn", "gated-pixelcnn", "pixelcnn-pp", "row-lstm", "diagonal-bilstm")


def command_of(model: str, situation: Situation) -> str:
    """The line to type for training `model`."""
    source = shlex.quote(situation.source or EXAMPLE_DATA[situation.kind])
    out = f"--out {_free_run(model)}"
    if situation.kind == "table" and situation.wants("anomalies"):
        chosen = [*_settings(model, situation), *_level(situation)]
        return " ".join(["chainrule detect fit", source, f"--model {model}", *chosen, out])
    return " ".join([f"chainrule train {model} --data {source}", *_settings(model, situation), out])


def next_command_of(model: str, situation: Situation) -> str:
    """What to do with the run, given what matters."""
    run, source = _free_run(model), shlex.quote(situation.source or EXAMPLE_DATA[situation.kind])
    if situation.kind == "series":
        return f"chainrule forecast {run} {source} --steps 24 --out forecast.csv"
    if situation.kind == "table":
        if situation.wants("anomalies"):
            return f"chainrule detect score {run} {source} --out scores.csv"
        if situation.wants("filling"):
            return f"chainrule fill {run} {source} --out filled.csv"
    if situation.kind == "image" and situation.wants("filling"):
        return f"chainrule fill {run} {source} --mask lower-half --limit 8 --out filled.png"
    return f"chainrule report {run}"


def _free_run(model: str) -> str:
    """Where the run will lie: a folder that is not there yet, or the command would be refused."""
    names = (f"runs/{model}" if number == 1 else f"runs/{model}-{number}" for number in count(1))
    return next(name for name in names if not Path(name).exists())


def _level(situation: Situation) -> list[str]:
    """The share of false alarms, where there are too few rows to promise the usual 1 %."""
    rows = situation.rows if situation.source else _EXAMPLE_ROWS
    if rows is None or rows >= _ROWS_FOR_LEVEL:
        return []
    return ["--level 0.05" if rows >= _ROWS_FOR_LEVEL // 5 else "--level 0.25"]


def _settings(model: str, situation: Situation) -> list[str]:
    """Sizes that suit the compute, the data and the length."""
    chosen: list[str] = []
    if situation.kind == "series":
        chosen.append(f"--time {shlex.quote(situation.time or 'none')}")
    if situation.kind == "image" and model in _WITH_SMALL_PRESET and situation.compute != "gpu":
        return ["--preset small"]
    if situation.kind == "text":
        chosen += _of_text(model, situation)
    elif situation.kind in ("image", "vector"):
        chosen += _of_arrays(model, situation)
    elif situation.kind == "audio" and situation.length is not None and situation.length < _ROW_OF_SOUND:
        chosen.append(f"--set length={situation.length}")
    elif situation.kind == "table" and situation.compute == "little":
        chosen.append("--set steps=500")
    return chosen


def _of_text(model: str, situation: Situation) -> list[str]:
    chosen = []
    if situation.length is not None and situation.length >= 512:
        chosen.append("--set length=512")
        if model == "transformer":
            chosen.append("--set window=256")
    if situation.compute == "little" or situation.little_data:
        sizes = {
            "transformer": ("width=64", "num_layers=2"),
            "rnn": ("hidden=64",),
            "wavenet": ("channels=32",),
        }
        chosen += [f"--set {size}" for size in sizes[model]]
    return chosen


def _of_arrays(model: str, situation: Situation) -> list[str]:
    chosen = []
    if model in ("transformer", "rnn", "attention-rnn") and situation.compute != "gpu":
        chosen.append("--set width=64 --set num_layers=2 --set num_heads=4" if model == "transformer" else "")
    if model in ("made", "nade", "deep-nade") and (situation.compute == "little" or situation.little_data):
        chosen.append("--set hidden=100")
    if situation.little_data and model != "chow-liu":
        chosen.append("--set patience=10")
    return [part for part in chosen if part]
