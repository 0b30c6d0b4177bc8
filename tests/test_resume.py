"""A run that was killed, anywhere, and resumed ends bit-equal to one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_helpers import (
    CASES,
    QUICK,
    N,
    assert_same_run,
    in_process,
    start,
    timeless_metrics,
    tiny_data,
    train_case,
)

import chainrule
from chainrule.errors import ChainruleError
from chainrule.models import FVSBN, MADE, NADE, Independent
from chainrule.training import Run, changed_splits, fit, lock
from chainrule.training.lock import locked
from chainrule.training.trainer import Trainer

EVERY_STEP = {"checkpoint_minutes": 0.0}
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Folders of finished, unbroken runs, made when first asked for."""
    made: dict[str, Path] = {}

    def get(case: str) -> Path:
        if case not in made:
            made[case] = tmp_path_factory.mktemp("unbroken") / case
            assert in_process(case, made[case], **EVERY_STEP) == 0
        return made[case]

    return get


def checkpoint_steps(folder: Path) -> list[int]:
    return sorted(json.loads(p.read_text())["step"] for p in (folder / "checkpoints").glob("*.json"))


@pytest.mark.parametrize("case", list(CASES))
def test_killed_in_mid_epoch_after_a_checkpoint(case, unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process(case, run, before_step=5, **EVERY_STEP) == KILLED
    assert checkpoint_steps(run)[-1] == 5
    # Other initial weights: everything must come from the checkpoint.
    assert in_process(case, run, resume=True, init_seed=99, **EVERY_STEP) == 0
    assert_same_run(run, unbroken(case))


def test_checkpoints_themselves_change_nothing(unbroken, tmp_path):
    assert in_process("dropout", tmp_path / "run") == 0
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "run", unbroken("dropout")))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert timeless_metrics(tmp_path / "run") == timeless_metrics(unbroken("dropout"))


def test_the_cases_are_told_apart(unbroken):
    # Otherwise bit-equality would prove nothing.
    weights = [(unbroken(case) / "model.safetensors").read_bytes() for case in ("plain", "dynamic")]
    assert weights[0] != weights[1]
    stopped = timeless_metrics(unbroken("patience"))
    assert len(stopped) < 30
    best = min(range(len(stopped)), key=lambda i: stopped[i]["validation_nll"])
    assert best == len(stopped) - 3  # and two validations without improvement after it


@pytest.mark.parametrize("number", range(0, 115, 8))
def test_killed_before_any_change_of_a_file(number, unbroken, tmp_path):
    _kill_before_change(number, unbroken("masks"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(130))
def test_killed_before_every_change_of_a_file(number, unbroken, tmp_path):
    _kill_before_change(number, unbroken("masks"), tmp_path / "run")


def _kill_before_change(number: int, reference: Path, run: Path) -> None:
    status = in_process("masks", run, before_change=number, **EVERY_STEP)
    assert status in (KILLED, 0)  # 0: there were fewer changes
    assert in_process("masks", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, reference)


def test_the_changes_counted_span_the_whole_run(tmp_path):
    # The first: nothing is there yet. Number 100 of about 110: near the end, but before it.
    assert in_process("masks", tmp_path / "first", before_change=0, **EVERY_STEP) == KILLED
    assert not (tmp_path / "first").exists()
    assert in_process("masks", tmp_path / "late", before_change=100, **EVERY_STEP) == KILLED
    assert checkpoint_steps(tmp_path / "late")[-1] >= 7
    assert in_process("masks", tmp_path / "all", before_change=130, **EVERY_STEP) == 0


@pytest.mark.parametrize("number", [2, 3, 4, 9])
def test_killed_again_while_resuming(number, unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process("masks", run, before_step=7, checkpoint_minutes=0.0) == KILLED
    assert in_process("masks", run, before_change=number, resume=True, **EVERY_STEP) == KILLED
    assert in_process("masks", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("masks"))


@pytest.mark.parametrize("number", [0, 1, 3, 5, 6, 7, 8])
def test_killed_while_overwriting_an_earlier_run(number, unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process("plain", run, before_step=4, **EVERY_STEP) == KILLED
    status = in_process("masks", run, before_change=number, overwrite=True, **EVERY_STEP)
    assert status == KILLED
    assert in_process("masks", run, overwrite=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("masks"))


def test_killed_at_random_times_again_and_again(unbroken, tmp_path):
    run, rng = tmp_path / "run", random.Random(0)
    for life in range(40):
        process = start("dropout", run, resume=True, **EVERY_STEP)
        deadline = time.monotonic() + rng.uniform(0.1, 0.5) + 0.1 * life
        while time.monotonic() < deadline and process.is_alive():
            process.join(0.01)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert_same_run(run, unbroken("dropout"))


def test_killed_before_the_first_checkpoint_starts_anew(unbroken, tmp_path):
    run = tmp_path / "run"
    # mkdir and the configuration (open, rename) are the first three changes.
    assert in_process("plain", run, before_change=3, **EVERY_STEP) == KILLED
    assert {path.name for path in run.iterdir()} == {"config.json", ".lock"}
    with pytest.raises(ChainruleError, match=r"no weights yet.*before the first validation"):
        chainrule.load(run)
    assert in_process("plain", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("plain"))


def test_rare_checkpoints_lose_best_weights_and_metrics_of_the_epochs_to_be_redone(tmp_path):
    # Only the checkpoint of step 0 exists; best weights and two lines of metrics are ahead of it.
    reference, run = tmp_path / "reference", tmp_path / "run"
    assert in_process("nade", reference) == 0
    assert in_process("nade", run, before_step=7) == KILLED
    assert checkpoint_steps(run) == [0]
    assert (run / "model.safetensors").exists()
    assert len(timeless_metrics(run)) == 2
    assert in_process("nade", run, resume=True, init_seed=99) == 0
    assert_same_run(run, reference)


def test_a_checkpoint_at_the_very_end_of_an_epoch(unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process("masks", run, before_step=6, **EVERY_STEP) == KILLED
    state = json.loads((run / "checkpoints" / "step-000000006.json").read_text())["state"]
    assert (state["metrics_lines"], state["epoch_loss"]) == (2, 0.0)  # the epoch is closed
    assert in_process("masks", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("masks"))


@pytest.mark.parametrize("tail", [b'{"epoch": 3, "st', b"{}\n{}\n", "é".encode()[:1]])
def test_a_metrics_line_cut_off_or_too_many(tail, unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process("plain", run, before_step=7, **EVERY_STEP) == KILLED
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(tail)
    assert [record.get("epoch") for record in Run(run).metrics()][:2] == [1, 2]
    assert in_process("plain", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("plain"))


def test_a_half_written_checkpoint_is_cleared_away(unbroken, tmp_path):
    run = tmp_path / "run"
    assert in_process("plain", run, before_step=4, **EVERY_STEP) == KILLED
    whole = run / "checkpoints" / "step-000000004.safetensors"
    content = whole.read_bytes()
    (run / "checkpoints" / ".step-000000005.safetensors.123.partial").write_bytes(content[:100])
    (run / "checkpoints" / "step-000000005.safetensors").write_bytes(content)  # not yet its JSON
    (run / ".model.safetensors.123.partial").write_bytes(b"half")
    assert in_process("plain", run, resume=True, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("plain"))


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(suffix, damage, unbroken, tmp_path, capsys):
    run = tmp_path / "run"
    assert in_process("plain", run, before_step=5, **EVERY_STEP) == KILLED
    _damage(run / "checkpoints" / f"step-000000005.{suffix}", damage)
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_case("plain", run, resume=True, progress=True, **EVERY_STEP)
    finally:
        torch.set_num_threads(torch_threads)
    lines = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(lines) == 1
    assert "step-000000005" in lines[0]
    assert_same_run(run, unbroken("plain"))


def test_all_checkpoints_damaged_is_an_error_and_nothing_is_lost(tmp_path):
    run = tmp_path / "run"
    assert in_process("plain", run, before_step=5, **EVERY_STEP) == KILLED
    weights = (run / "model.safetensors").read_bytes()
    for path in (run / "checkpoints").glob("*.safetensors"):
        _damage(path, "truncated")
    with pytest.raises(ChainruleError, match=r"every checkpoint .* is damaged"):
        train_case("plain", run, resume=True, **EVERY_STEP)
    assert (run / "model.safetensors").read_bytes() == weights
    assert len(timeless_metrics(run)) == 1


def _damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_ctrl_c_leaves_a_checkpoint_of_the_step_under_way(unbroken, tmp_path, monkeypatch):
    update = Trainer._update

    def interrupted(self, batch):
        if self.at.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch)

    run = tmp_path / "run"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        monkeypatch.setattr(Trainer, "_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_case("dropout", run)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        torch.set_num_threads(threads)
    assert checkpoint_steps(run) == [0, 5]
    assert in_process("dropout", run, resume=True, init_seed=99) == 0
    weights = [load_file(f / "model.safetensors") for f in (run, unbroken("dropout"))]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert timeless_metrics(run) == timeless_metrics(unbroken("dropout"))


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    def interrupted_twice(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one did not come through")

    monkeypatch.setattr(Trainer, "_update", interrupted_twice)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_case("plain", tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert checkpoint_steps(tmp_path / "run") == [0]


def test_resuming_a_finished_run_takes_it_up_and_changes_nothing(unbroken, tmp_path):
    folder = unbroken("plain")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step-000000009.json").write_text("left by a kill in the last moment")
    model = FVSBN((N,))
    run = fit(model, tiny_data(), folder, resume=True, **QUICK, **EVERY_STEP)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert not model.training
    assert all(torch.equal(value, run.model_tensors()[name]) for name, value in model.state_dict().items())


def test_resume_without_a_run_starts_one(unbroken, tmp_path):
    assert in_process("plain", tmp_path / "new" / "run", resume=True, **EVERY_STEP) == 0
    assert_same_run(tmp_path / "new" / "run", unbroken("plain"))


# -------------------------------------------------------------------- one process to a run


def _hold(folder: Path, is_held: Any) -> None:
    with locked(folder):
        is_held.set()
        time.sleep(300)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    context = multiprocessing.get_context("spawn")
    is_held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "run", is_held))
    process.start()
    assert is_held.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_process_is_refused_until_the_first_is_killed(how, holder, unbroken, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(
        ChainruleError, match=rf"^another process \(process {holder.pid}\) is .*/run now; .*$"
    ):
        train_case("plain", run, **how, **EVERY_STEP)
    assert [path.name for path in run.iterdir()] == [".lock"]
    holder.kill()
    holder.join()
    assert in_process("plain", run, **how, **EVERY_STEP) == 0
    assert_same_run(run, unbroken("plain"))


def test_training_holds_the_lock_and_gives_it_back(tmp_path, monkeypatch):
    run, refused = tmp_path / "run", []
    update = Trainer._update

    def intruded(self, batch):
        with pytest.raises(ChainruleError, match="is training in") as caught:
            train_case("plain", run, resume=True)
        refused.append(caught.value)
        return update(self, batch)

    monkeypatch.setattr(Trainer, "_update", intruded)
    train_case("plain", run)
    assert len(refused) == 9
    assert not (run / ".lock").exists()
    with pytest.raises(ChainruleError, match="already exists"):
        train_case("plain", run)
    assert not (run / ".lock").exists()
    with locked(run):
        pass


def test_closed_form_fits_hold_the_lock_too(holder, tmp_path):
    with pytest.raises(ChainruleError, match="is training in"):
        fit(Independent((N,)), tiny_data(), tmp_path / "run")


def test_the_file_of_a_holder_that_has_just_left_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    # The last holder removes the file between our opening and our locking it.
    really_lock, removed = lock._lock, []

    def lock_after_removal(file: int) -> None:
        if not removed:
            (tmp_path / ".lock").unlink()
            removed.append(file)
        really_lock(file)

    monkeypatch.setattr(lock, "_lock", lock_after_removal)
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
        with pytest.raises(ChainruleError, match="is training in"), locked(tmp_path):
            pass
        assert (tmp_path / ".lock").exists(), "who is refused must not remove the lock of who is not"
    assert not (tmp_path / ".lock").exists()


# -------------------------------------------------------------------- nothing changed meanwhile


@pytest.mark.parametrize("split", ["train", "validation"])
def test_data_changed_under_a_run_is_noticed(split, tmp_path):
    run, data = tmp_path / "run", tiny_data(labels=True)
    assert in_process("labels", run, before_step=4, **EVERY_STEP) == KILLED
    changed = getattr(data, split).clone()
    changed[3, 2] = 1 - changed[3, 2]
    labels = {**data.labels, split: data.labels[split].flip(0)}
    resume = partial(
        fit,
        MADE((N,), hidden=(8,), context_size=2),
        out=run,
        resume=True,
        progress=False,
        **QUICK,
        **EVERY_STEP,
    )
    for other in (replace(data, **{split: changed}), replace(data, labels=labels)):
        with pytest.raises(ChainruleError, match=rf"^.*the {split} data of tiny changed since then .*$"):
            resume(data=other)
        assert changed_splits(Run(run).config, other) == [split]
    # Neither what is not trained on, nor data of another name, nor a run without a record.
    assert changed_splits(Run(run).config, replace(data, test=1 - data.test)) == []
    assert changed_splits(Run(run).config, replace(data, name="other", **{split: changed})) == []
    config = {key: value for key, value in Run(run).config.items() if key != "data_sha256"}
    assert changed_splits(config, replace(data, **{split: changed})) == []
    assert resume(data=data).is_finished


def test_grey_levels_to_draw_from_are_other_data_than_the_levels_themselves(tmp_path):
    train_case("dynamic", tmp_path / "run")
    config, data = Run(tmp_path / "run").config, tiny_data(dynamic=True)
    assert changed_splits(config, data) == []
    assert changed_splits(config, replace(data, dynamic=False, levels=256)) == ["train", "validation"]


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("training", "epochs", 7, "epochs=7, but the checkpoint to resume from was made with 3"),
        ("settings", "hidden", 6, "hidden=6, but the checkpoint to resume from was made with 5"),
    ],
)
def test_a_configuration_changed_by_hand_is_not_resumed(part, name, value, words, tmp_path):
    run = tmp_path / "run"
    assert in_process("nade", run, before_step=4, **EVERY_STEP) == KILLED
    original = (run / "config.json").read_text()
    config = json.loads(original)
    config[part][name] = value
    (run / "config.json").write_text(json.dumps(config))
    model = NADE((N,), hidden=config["settings"]["hidden"])
    with pytest.raises(ChainruleError, match=words):
        fit(model, tiny_data(), run, resume=True, progress=False, **config["training"])
    (run / "config.json").write_text(original)
    train_case("nade", run, resume=True, **EVERY_STEP)


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(tmp_path):
    run = tmp_path / "run"
    train_case("plain", run)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    del config["training"]["carry_state"]
    del config["settings"]["ordering"]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    train_case("plain", run, resume=True)
    del config["training"]["batch_size"]  # this run had another than the default
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ChainruleError, match="batch_size"):
        train_case("plain", run, resume=True)
