"""Checkpoints to resume from: safetensors and JSON, written atomically, checked when read.

A checkpoint is two files, the tensors and a small JSON that was written after them and holds their
SHA-256. The last two are kept, so that a damaged newest one costs some minutes and no more.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from chainrule.errors import ChainruleError
from chainrule.saving import write_atomically, write_json

__all__ = ["Checkpoint", "latest_checkpoint", "remove_checkpoints", "write_checkpoint"]

_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped."""

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then delete all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: t.detach().cpu().contiguous().clone() for name, t in checkpoint.tensors.items()})
    stem = f"step-{checkpoint.step:09d}"
    write_atomically(folder / f"{stem}.safetensors", content)
    digest = hashlib.sha256(content).hexdigest()
    write_json(
        folder / f"{stem}.json", {"step": checkpoint.step, "sha256": digest, "state": checkpoint.state}
    )
    for old in _newest_first(folder)[_KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def latest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest intact checkpoint, and a line about each damaged one that was passed over.

    Raises `ChainruleError` if there are checkpoints and all are damaged.
    """
    damaged: list[str] = []
    for path in _newest_first(folder):
        try:
            return _read(path), damaged
        except (OSError, ValueError, KeyError) as error:
            damaged.append(
                f"checkpoint {path.with_suffix('').name} is damaged ({error}); trying the one before."
            )
    if damaged:
        raise ChainruleError(f"every checkpoint in {folder} is damaged; train again with overwrite.")
    return None, damaged


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    for path in _newest_first(folder):
        path.unlink()
        path.with_suffix(".safetensors").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _read(path: Path) -> Checkpoint:
    description = json.loads(path.read_text(encoding="utf-8"))
    content = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise ValueError("its checksum does not match")
    return Checkpoint(description["step"], description["state"], load(content))
