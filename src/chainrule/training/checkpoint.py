"""Checkpoints to resume from: safetensors and JSON, written atomically, checked when read.

A checkpoint is two files, the tensors and a small JSON that appears after them and holds the SHA-256
of both. The last two are kept, so that a damaged newest one costs some minutes and no more.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from chainrule._version import __version__
from chainrule.errors import ChainruleError
from chainrule.saving import json_bytes, remove_partials, tensor_bytes, write_together

__all__ = ["CHECKPOINT_FORMAT", "Checkpoint", "latest_checkpoint", "remove_checkpoints", "write_checkpoint"]

#: Version of what a checkpoint holds; raised when an older run cannot be resumed by newer code.
CHECKPOINT_FORMAT = 1
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    - `identity`: the settings it was trained with (`Run.identity`); empty in those of older versions.
    """

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensor]
    identity: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then delete all but it and the one before.

    Raises `ChainruleError` if the disk is full or the like; the earlier checkpoints are then intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = tensor_bytes(checkpoint.tensors)
    stem = f"step-{checkpoint.step:09d}"
    description = {
        "format": CHECKPOINT_FORMAT,
        "chainrule": __version__,
        "step": checkpoint.step,
        "state": checkpoint.state,
        "identity": checkpoint.identity,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    description["own_sha256"] = _digest(description)
    write_together(
        {folder / f"{stem}.safetensors": content, folder / f"{stem}.json": json_bytes(description)}
    )
    # A run only moves forward: what claims to be of a later step was damaged and passed over.
    kept = [path for path in _newest_first(folder) if path.stem <= stem][:_KEPT]
    _remove_all_but(folder, {path.stem for path in kept})


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest intact checkpoint, and a line about each damaged one that was passed over.

    Raises `ChainruleError` if there are checkpoints and all are damaged, or if the newest intact one
    was written by an incompatible version.
    """
    damaged: list[str] = []
    for path in _newest_first(folder):
        try:
            return _read(path), damaged
        except ChainruleError:
            raise
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            damaged.append(f"checkpoint {path.stem} is damaged ({reason}); trying the one before.")
    if damaged:
        raise ChainruleError(
            f"every checkpoint in {folder} is damaged; the run cannot be resumed. Train again with overwrite."
        )
    return None, damaged


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a run, and the folder if nothing else is in it."""
    if not folder.is_dir():
        return
    remove_partials(folder)
    _remove_all_but(folder, set())
    if not any(folder.iterdir()):
        folder.rmdir()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _remove_all_but(folder: Path, stems: set[str]) -> None:
    # JSON first: tensors without it are no checkpoint, it without tensors would look like a damaged one.
    for suffix in ("json", "safetensors"):
        for path in folder.glob(f"step-*.{suffix}"):
            if path.stem not in stems:
                path.unlink(missing_ok=True)


def _digest(description: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Checkpoint:
    description = json.loads(path.read_text(encoding="utf-8"))
    if description.pop("own_sha256") != _digest(description):
        raise ValueError("the checksum of its description does not match")
    if description["format"] != CHECKPOINT_FORMAT:
        raise ChainruleError(
            f"checkpoint {path.stem} was written by chainrule {description['chainrule']} in format "
            f"{description['format']}; chainrule {__version__} reads format {CHECKPOINT_FORMAT}. "
            "Resume with the version that wrote it, or train again with overwrite."
        )
    content = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise ValueError("the checksum of its tensors does not match")
    return Checkpoint(
        description["step"], description["state"], load(content), description.get("identity", {})
    )
