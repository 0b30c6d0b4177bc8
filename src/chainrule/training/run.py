"""A run folder: what `fit` leaves behind and everything else reads.

`config.json` (model, data, training settings), `model.safetensors` (the selected weights),
`metrics.jsonl` (a line per epoch), and `checkpoints/` while training.
"""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from chainrule._version import __version__
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.saving import (
    CONFIG_NAME,
    FORMAT,
    WEIGHTS_NAME,
    read_config,
    read_tensors,
    write_json,
    write_tensors,
)
from chainrule.training.settings import TrainingSettings

__all__ = ["Run"]

METRICS_NAME = "metrics.jsonl"


class Run:
    """A folder that training made; `Run(folder)` opens one and raises `ChainruleError` if it is none."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
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
        model: LikelihoodModel,
        data: Dataset,
        settings: TrainingSettings,
        *,
        resume: bool,
        overwrite: bool,
        notes: dict[str, Any],
    ) -> Self:
        """Make a new run folder, or open the one to resume.

        Raises `ChainruleError` if the folder is taken (and neither `resume` nor `overwrite`), or if
        the run to resume was made with other settings.
        """
        folder = Path(folder)
        config = {
            "format": FORMAT,
            "chainrule": __version__,
            "model": type(model).__name__,
            "settings": model.settings(),
            "data": data.name,
            "training": settings.model_dump(),
            "notes": notes,
            "made_with": {"torch": torch.__version__, "python": platform.python_version()},
        }
        if resume and (folder / CONFIG_NAME).exists():
            run = cls(folder)
            _check_same_run(folder, run.config, json.loads(json.dumps(config)))
            return run
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            if not overwrite:
                raise ChainruleError(
                    f"{folder} already exists; --resume goes on with that run, --overwrite replaces it, or choose another --out."
                )
            _remove_run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_NAME, config)
        return cls(folder)

    # ---------------------------------------------------------------- reading

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie while the run is under way."""
        return self.folder / "checkpoints"

    @property
    def is_finished(self) -> bool:
        """Whether training came to its end."""
        return bool(self.config.get("finished"))

    @property
    def data_name(self) -> str:
        """Name or path of the data it was trained on."""
        return str(self.config["data"])

    def metrics(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`, one per epoch."""
        path = self.folder / METRICS_NAME
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    def model_tensors(self) -> dict[str, Tensor]:
        """The selected weights."""
        return read_tensors(self.folder / WEIGHTS_NAME)

    # ---------------------------------------------------------------- writing

    def save_model(self, model: LikelihoodModel) -> None:
        """Replace the selected weights."""
        write_tensors(self.folder / WEIGHTS_NAME, model.state_dict())
        if model.settings() != self.config["settings"]:  # a learned structure becomes known in training
            self.config["settings"] = model.settings()
            write_json(self.folder / CONFIG_NAME, self.config)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with open(self.folder / METRICS_NAME, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_metrics_after(self, lines: int) -> None:
        """Drop records of work that a resumed run is about to do again."""
        path = self.folder / METRICS_NAME
        if path.exists():
            kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:lines]
            path.write_text("".join(kept), encoding="utf-8")

    def finish(self) -> None:
        """Mark the run as finished."""
        self.config["finished"] = True
        write_json(self.folder / CONFIG_NAME, self.config)


def _check_same_run(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    for part in ("model", "data"):
        if old[part] != new[part]:
            raise ChainruleError(
                f"{folder} was started with {part} {old[part]!r}, not {new[part]!r}; choose another --out."
            )
    for part in ("settings", "training"):
        for name, value in new[part].items():
            if old[part].get(name) != value:
                raise ChainruleError(
                    f"{folder} was started with {name}={old[part].get(name)!r}, not {value!r}; "
                    "resume with the same settings, or choose another --out."
                )


def _remove_run(folder: Path) -> None:
    """Delete the files of a run and nothing else; refuse a folder that is not one."""
    if not folder.is_dir() or not (folder / CONFIG_NAME).exists():
        raise ChainruleError(
            f"{folder} exists and is not a run folder; it will not be overwritten. Choose another --out."
        )
    for path in (
        folder / CONFIG_NAME,
        folder / WEIGHTS_NAME,
        folder / METRICS_NAME,
        *folder.glob("samples.*"),
    ):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
