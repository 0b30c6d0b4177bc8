"""Checkpoint files: what goes in comes out, damage is seen, and a full disk costs nothing that was there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from chainrule import saving
from chainrule.errors import ChainruleError
from chainrule.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)


def checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "model.weight": torch.randn(3, 4, generator=generator).T,  # not contiguous
        "optimizer.0.step": torch.tensor(float(step)),  # no dimensions
        "double": torch.randn(2, generator=generator, dtype=torch.float64),
        "empty": torch.zeros(0, 5),
    }
    tensors["shared"] = tensors["double"][:1]
    state = {"step": step, "best_nll": float("inf"), "epoch_loss": 0.1 + 0.2, "seconds": 1e-17}
    return Checkpoint(step, state, tensors)


def assert_equal(ours: Checkpoint | None, theirs: Checkpoint) -> None:
    assert ours is not None
    assert (ours.step, ours.state) == (theirs.step, theirs.state)
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in theirs.tensors.items():
        assert ours.tensors[name].dtype == tensor.dtype
        assert torch.equal(ours.tensors[name], tensor)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_is_exact(tmp_path):
    write_checkpoint(tmp_path / "checkpoints", checkpoint(12))
    found, damaged = latest_checkpoint(tmp_path / "checkpoints")
    assert_equal(found, checkpoint(12))
    assert damaged == []


def test_no_checkpoint_is_none(tmp_path):
    assert latest_checkpoint(tmp_path / "nowhere") == (None, [])


def test_the_last_two_are_kept(tmp_path):
    for step in (0, 9, 10, 1_000_000_000):
        write_checkpoint(tmp_path, checkpoint(step))
    expected = [
        f"step-{step:09d}.{suffix}" for step in (10, 1_000_000_000) for suffix in ("json", "safetensors")
    ]
    assert names(tmp_path) == sorted(expected)
    assert_equal(latest_checkpoint(tmp_path)[0], checkpoint(1_000_000_000))


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    for suffix in ("json", "safetensors"):
        path = tmp_path / f"step-000000002.{suffix}"
        content = path.read_bytes()
        damaged = [content[:cut] for cut in range(0, len(content), 41)]
        for place in range(0, len(content), 7):
            damaged.append(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        for version in damaged:
            path.write_bytes(version)
            try:
                found, lines = latest_checkpoint(tmp_path)
            except ChainruleError as error:
                pytest.fail(f"the one before was not used: {error}")
            if suffix == "json" and found is not None and found.step == 2:
                # White space is all that may change unseen.
                assert json.loads(version) == json.loads(content)
                continue
            assert_equal(found, checkpoint(1))
            assert len(lines) == 1
            assert "step-000000002 is damaged" in lines[0]
            assert "\n" not in lines[0]
        path.write_bytes(content)
    assert_equal(latest_checkpoint(tmp_path)[0], checkpoint(2))


def test_missing_tensors_are_damage(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    (tmp_path / "step-000000002.safetensors").unlink()
    assert_equal(latest_checkpoint(tmp_path)[0], checkpoint(1))


def test_tensors_without_a_description_are_no_checkpoint(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    (tmp_path / "step-000000002.safetensors").write_bytes(b"the process died here")
    found, damaged = latest_checkpoint(tmp_path)
    assert_equal(found, checkpoint(1))
    assert damaged == []


def test_a_damaged_later_one_makes_way_for_the_steps_done_again(tmp_path):
    for step in (4, 8):
        write_checkpoint(tmp_path, checkpoint(step))
    (tmp_path / "step-000000008.json").write_text("{")
    write_checkpoint(tmp_path, checkpoint(5))
    write_checkpoint(tmp_path, checkpoint(6))
    # Both good ones are there, and nobody will pass over number 8 again.
    assert {path.stem for path in tmp_path.iterdir()} == {"step-000000005", "step-000000006"}
    assert latest_checkpoint(tmp_path)[1] == []


def test_a_checkpoint_of_another_version_is_an_error_that_says_so(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    path = tmp_path / "step-000000001.json"
    description = json.loads(path.read_text())
    del description["own_sha256"]
    description |= {"format": 99, "chainrule": "9.9"}
    content = json.dumps(description, sort_keys=True).encode()
    path.write_text(json.dumps(description | {"own_sha256": hashlib.sha256(content).hexdigest()}))
    with pytest.raises(ChainruleError, match=r"written by chainrule 9.9 in format 99") as caught:
        latest_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_removing_them_leaves_what_is_not_ours(tmp_path):
    folder = tmp_path / "checkpoints"
    write_checkpoint(folder, checkpoint(1))
    (folder / "step-000000002.safetensors").write_bytes(b"")
    (folder / ".step-000000003.json.55.partial").write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    remove_checkpoints(folder)
    assert names(folder) == ["notes.txt"]
    (folder / "notes.txt").unlink()
    remove_checkpoints(folder)
    assert not folder.exists()
    remove_checkpoints(folder)  # nothing to do is no error


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("where", "which"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("replace", 2)])
def test_a_full_disk_leaves_the_earlier_checkpoints(where, which, tmp_path, monkeypatch):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint(step))
    before = names(tmp_path)
    real, calls = getattr(os, where), []

    def nearly_full(*arguments):
        calls.append(arguments)
        return full_disk() if len(calls) == which else real(*arguments)

    monkeypatch.setattr(saving.os, where, nearly_full)
    with pytest.raises(ChainruleError, match=r"No space left on device") as caught:
        write_checkpoint(tmp_path, checkpoint(3))
    assert "\n" not in str(caught.value)
    assert len(calls) == which
    monkeypatch.undo()
    assert_equal(latest_checkpoint(tmp_path)[0], checkpoint(2))
    assert set(before) <= set(names(tmp_path))
    assert not list(tmp_path.glob(".*")), "a partial file is left on a full disk"
    write_checkpoint(tmp_path, checkpoint(3))
    assert_equal(latest_checkpoint(tmp_path)[0], checkpoint(3))
    assert {path.stem for path in tmp_path.iterdir()} == {"step-000000002", "step-000000003"}
