"""A run folder: what `fit` leaves behind and everything else reads.

`config.json` (model, data, training settings), `model.safetensors` (the selected weights),
`metrics.jsonl` (a line per epoch), and `checkpoints/` while training.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import reprlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Self

import torch
from torch import Tensor

from chainrule._version import __version__
from chainrule.arguments import some_path
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.saving import (
    CONFIG_NAME,
    FORMAT,
    WEIGHTS_NAME,
    json_bytes,
    model_bytes,
    read_config,
    read_tensors,
    remove_partials,
    write_atomically,
    write_json,
    write_together,
)
from chainrule.trainable import Trainable
from chainrule.training.checkpoint import remove_checkpoints
from chainrule.training.fingerprint import changed_splits, data_sha256
from chainrule.training.lock import LOCK_NAME, make_folder
from chainrule.training.settings import TrainingSettings

__all__ = ["Run", "check_place"]

METRICS_NAME = "metrics.jsonl"
CHECKPOINTS_NAME = "checkpoints"
#: What a run of a table has beside: its schema, its detector, and the model of single columns. Left behind,
#: they would be taken for those of the run that follows.
_OF_TABLES = ("schema.json", "detector.json", "detector.safetensors")
_MARGINALS_NAME = "marginals"
#: What runs of text, of time series and of sound have beside, likewise.
_OF_SEQUENCES = ("tokenizer.json", "series.json", "audio.json")
#: What guards of images leave beside their density.
_OF_GUARDS = ("guard.json", "guard.safetensors")


class Run:
    """A folder that training made; `Run(folder)` opens one and raises `ChainruleError` if it is none."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = some_path("a run folder", folder)
        if not self.folder.exists():
            raise ChainruleError(
                f"{self.folder} does not exist; expected a run folder, as `chainrule train ... --out` makes."
            )
        self.config = read_config(self.folder)
        if "training" not in self.config:
            raise ChainruleError(f"{self.folder} holds a model but no training run.")

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        model: Trainable,
        data: Dataset,
        settings: TrainingSettings,
        *,
        resume: bool,
        overwrite: bool,
        notes: dict[str, Any],
    ) -> Self:
        """Make a new run folder, or open the one to resume.

        Raises `ChainruleError` if the folder is taken (and neither `resume` nor `overwrite`), or if
        the run to resume was made with other settings or on other data.
        """
        folder = some_path("out", folder)
        config = _as_json(
            {
                "format": FORMAT,
                "chainrule": __version__,
                "model": type(model).__name__,
                "settings": model.settings(),
                "data": data.name,
                "examples": {split: len(data.split(split)) for split in ("train", "validation")},
                "data_sha256": data_sha256(data),
                "training": settings.model_dump(),
                "notes": notes,
                "made_with": {"torch": torch.__version__, "python": platform.python_version()},
            }
        )
        if folder.is_dir():
            # A run killed in its very first moment leaves no more than this.
            remove_partials(folder)
        if resume and (folder / CONFIG_NAME).exists():
            run = cls(folder)
            run._check_same(config, _defaults(model))
            run._check_same_data(data)
            return run
        check_place(folder, resume=resume, overwrite=overwrite)
        if _is_taken(folder):
            _remove_run(folder)
        make_folder(folder)
        write_json(folder / CONFIG_NAME, config)
        return cls(folder)

    def _check_same(self, new: dict[str, Any], defaults: dict[str, Any]) -> None:
        """Raise `ChainruleError` if this run is not what `new` configures; `defaults` are the model's."""
        old = self.config
        if new["settings"] != old["settings"]:  # before the structure was learned, they were these:
            old = old | {"settings": old.get("initial_settings", old["settings"])}
        for part in ("model", "data", "examples"):
            if old.get(part) != new[part]:
                raise ChainruleError(
                    f"{self.folder} was started with {part} {old.get(part)!r}, not {new[part]!r}; "
                    "choose another --out."
                )
        # A run that was started before a setting existed had its default.
        old_training = _as_json({**TrainingSettings.model_validate({}).model_dump(), **old["training"]})
        for part, before in (("settings", {**defaults, **old["settings"]}), ("training", old_training)):
            for name, value in new[part].items():
                if before.get(name) != value:
                    raise ChainruleError(
                        f"{self.folder} was started with {name}={reprlib.repr(before.get(name))}, not "
                        f"{reprlib.repr(value)}; resume with the same settings, or choose another --out."
                    )

    def _check_same_data(self, data: Dataset) -> None:
        """Raise `ChainruleError` if the data is no longer what this run was started on."""
        changed = changed_splits(self.config, data)
        if changed:
            raise ChainruleError(
                f"{self.folder} was started on other values: the {' and '.join(changed)} data of {data.name} "
                "changed since then (its SHA-256 differs); restore the data, or choose another --out."
            )

    @property
    def identity(self) -> dict[str, Any]:
        """The model and all settings that this run was started with; kept in every checkpoint."""
        config = self.config
        settings = config.get("initial_settings", config["settings"])
        return {"model": config["model"], "settings": settings, "training": config["training"]}

    def check_identity(self, recorded: Mapping[str, Any]) -> None:
        """Raise `ChainruleError` if a checkpoint's `identity` is not what `config.json` says now."""
        for part, value in self.identity.items():
            before = recorded.get(part, value)
            names = [""] if not isinstance(value, dict) else sorted({*value, *before})
            for name in names:
                now, then = (value, before) if not name else (value.get(name), before.get(name))
                if now != then:
                    raise ChainruleError(
                        f"{self.folder / CONFIG_NAME} was changed: it says {name or part}="
                        f"{reprlib.repr(now)}, but the checkpoint to resume from was made with "
                        f"{reprlib.repr(then)}; put it back, or train again with overwrite."
                    )

    # ---------------------------------------------------------------- reading

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie while the run is under way."""
        return self.folder / CHECKPOINTS_NAME

    @property
    def is_finished(self) -> bool:
        """Whether training came to its end."""
        return bool(self.config.get("finished"))

    @property
    def data_name(self) -> str:
        """Name or path of the data it was trained on."""
        return str(self.config["data"])

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`, one per epoch; without a line that was cut off while written."""
        records = []
        for number, line in enumerate(self._metrics_lines(), start=1):
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise ChainruleError(
                    f"line {number} of {self.folder / METRICS_NAME} is damaged ({error})."
                ) from None
        return records

    def _metrics_lines(self) -> list[bytes]:
        path = self.folder / METRICS_NAME
        if not path.exists():
            return []
        return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def model_tensors(self) -> dict[str, Tensor]:
        """The selected weights."""
        return read_tensors(self.folder / WEIGHTS_NAME)

    # ---------------------------------------------------------------- writing

    def save_model(self, model: Trainable) -> None:
        """Replace the selected weights; and the settings, if the model has learned a structure."""
        settings = _as_json(model.settings())
        files = {self.folder / WEIGHTS_NAME: model_bytes(type(model).__name__, settings, model.state_dict())}
        if settings != self.config["settings"]:
            self.config.setdefault("initial_settings", self.config["settings"])
            self.config["settings"] = settings
            files[self.folder / CONFIG_NAME] = json_bytes(self.config)
        write_together(files)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`; it may not outlive a power cut before `secure_metrics`."""
        self._append_metrics((json.dumps(record) + "\n").encode(), secure=False)

    def secure_metrics(self) -> None:
        """Wait until all lines so far are on the disk: before anything that counts on them.

        Not after every line, since that takes longer than a short epoch.
        """
        if (self.folder / METRICS_NAME).exists():
            self._append_metrics(b"", secure=True)

    def _append_metrics(self, lines: bytes, *, secure: bool) -> None:
        path = self.folder / METRICS_NAME
        try:
            with open(path, "ab") as file:
                file.write(lines)
                file.flush()
                if secure:
                    os.fsync(file.fileno())
        except OSError as error:
            raise ChainruleError(f"{path} could not be written ({error.strerror or error}).") from None

    def forget_metrics_after(self, lines: int) -> None:
        """Drop records of work that a resumed run is about to do again."""
        path = self.folder / METRICS_NAME
        if path.exists():
            write_atomically(path, b"".join(self._metrics_lines()[:lines]))

    def finish(self) -> None:
        """Mark the run as finished."""
        self.secure_metrics()
        self.config["finished"] = True
        write_json(self.folder / CONFIG_NAME, self.config)


def check_place(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise `ChainruleError` where a run cannot begin in a folder because of what is in it.

    For saying so before long work; nothing is changed.
    """
    if resume and overwrite:
        raise ChainruleError("resume goes on with a run and overwrite deletes it; choose one of them.")
    if not _is_taken(folder) or (resume and (folder / CONFIG_NAME).exists()):
        return
    if resume:
        raise ChainruleError(f"{folder} exists and holds no run to resume; choose another --out.")
    if not overwrite:
        raise ChainruleError(
            f"{folder} already exists; --resume goes on with that run, --overwrite replaces it, "
            "or choose another --out."
        )
    _refuse_no_run(folder)


def _is_taken(folder: Path) -> bool:
    """Whether there is anything where a new run is to begin."""
    return folder.exists() and (not folder.is_dir() or _holds_anything(folder))


def _defaults(model: Trainable) -> dict[str, Any]:
    """What a model's settings are if nobody says anything, as far as they can stand in `config.json`."""
    parameters = inspect.signature(type(model)).parameters.values()
    plain = (bool, int, float, str, NoneType)
    return {p.name: p.default for p in parameters if isinstance(p.default, plain)}


def _as_json(content: Any) -> Any:
    return json.loads(json.dumps(content))


def _holds_anything(folder: Path) -> bool:
    """Whether there is anything in the folder, apart from the lock of whoever asks and unfinished files."""
    return any(path.name != LOCK_NAME and not path.name.endswith(".partial") for path in folder.iterdir())


def _remove_run(folder: Path) -> None:
    """Delete the files of a run and nothing else; refuse a folder that is not one."""
    _refuse_no_run(folder)
    remove_checkpoints(folder / CHECKPOINTS_NAME)
    remove_partials(folder)
    marginals = folder / _MARGINALS_NAME
    if (marginals / CONFIG_NAME).is_file():
        shutil.rmtree(marginals)
    # The configuration last: without it, what is left would not be known for a run.
    for path in (
        folder / METRICS_NAME,
        *folder.glob("samples.*"),
        folder / "learning_curve.png",
        folder / "report.html",
        folder / "conditionals.png",
        *(folder / name for name in (*_OF_TABLES, *_OF_SEQUENCES, *_OF_GUARDS)),
        folder / WEIGHTS_NAME,
        folder / CONFIG_NAME,
    ):
        path.unlink(missing_ok=True)


def _refuse_no_run(folder: Path) -> None:
    if not _is_run(folder):
        raise ChainruleError(
            f"{folder} exists and is not a run folder; it will not be overwritten. Choose another --out."
        )


def _is_run(folder: Path) -> bool:
    """Whether some version of the library, perhaps another, trained here (or began to)."""
    if not folder.is_dir():
        return False
    try:
        config = json.loads((folder / CONFIG_NAME).read_bytes())
    except FileNotFoundError:
        return all(path.name.endswith(".partial") or path.name == LOCK_NAME for path in folder.iterdir())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"format", "model", "training"} <= config.keys()
