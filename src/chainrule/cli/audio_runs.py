"""Runs of sound: told from other runs, planned, opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.names import AUDIO
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.audio import AudioModel

__all__ = [
    "WAV_SUFFIXES",
    "AudioPlan",
    "audio_plan",
    "is_audio_run",
    "is_sound",
    "open_audio",
    "refuse_for_audio",
]

WAV_SUFFIXES = (".wav", ".wave")
_NOTE = "audio"
_HUB = "hub:"


@dataclass(frozen=True)
class AudioPlan:
    """What to fit to which recordings; the run's notes keep it, so that it can be resumed and evaluated.

    - `data`: a data set of the catalogue, a .wav or a folder of them.
    - `options`: of `fit_audio`, as far as they are not its defaults: rate, code, length, ends.
    - `settings`, `training`: of the model and of `TrainingSettings`.
    """

    data: str
    model: str
    condition_on_labels: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """What goes into the run's notes."""
        return {_NOTE: asdict(self)}


def is_sound(data: str | None) -> bool:
    """Whether `--data` names sound: a data set of it, a .wav, or a folder that holds some."""
    if data is None or data in AUDIO:
        return data is not None
    path = Path(data)
    if not path.is_dir():
        return path.suffix.lower() in WAV_SUFFIXES
    below = [path, *_folders(path)]
    below += [folder for part in below[1:] for folder in _folders(part)]
    return any(_is_wav(file) for folder in below for file in folder.iterdir())


def is_audio_run(source: str | Path) -> bool:
    """Whether `source` is a run of sound: its `audio.json` is there."""
    folder = _folder(str(source))
    if folder is None:
        return False
    from chainrule.audio import AUDIO_NAME

    return (folder / AUDIO_NAME).is_file()


def open_audio(source: str) -> AudioModel:
    """The model in a run folder; `ChainruleError` where there is none yet."""
    from chainrule.audio import AudioModel

    folder = _folder(source)
    assert folder is not None  # is_audio_run said so
    return AudioModel.load(folder)


def audio_plan(folder: Path) -> AudioPlan | None:
    """The plan that a run's notes hold; None where they hold none."""
    from chainrule.saving import read_config

    try:
        notes = read_config(folder).get("notes")
    except ChainruleError:
        return None
    note = notes.get(_NOTE) if isinstance(notes, dict) else None
    if note is None:
        return None
    known = {f.name for f in fields(AudioPlan)}
    if not isinstance(note, dict) or not {"data", "model"} <= note.keys() <= known:
        raise ChainruleError(
            f'{folder / "config.json"}: "{_NOTE}" in its "notes" is not what chainrule wrote there; restore '
            "it, or train again."
        )
    return AudioPlan(**note)


def refuse_for_audio(what: str, options: Mapping[str, Any]) -> None:
    """`ChainruleError` for options that were given but are not for sound."""
    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        raise ChainruleError(f"{', '.join(given)}: not for the {what} of sound; leave it out.")


def _folders(folder: Path) -> Iterable[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _is_wav(path: Path) -> bool:
    return path.suffix.lower() in WAV_SUFFIXES and path.is_file()


def _folder(source: str) -> Path | None:
    if source.startswith(_HUB):
        from chainrule.saving import locate

        return locate(source.removeprefix(_HUB))
    return Path(source) if Path(source).is_dir() else None
