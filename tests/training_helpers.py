"""Tiny data, tiny models, and runs in processes of their own that can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from chainrule.data import Dataset
from chainrule.models import FVSBN, MADE, NADE, RNN, DeepNADE
from chainrule.training import Run, fit, seeded

N = 6
RUN_FILES = {"config.json", "model.safetensors", "metrics.jsonl"}


def tiny_data(*, dynamic: bool = False, labels: bool = False, name: str = "tiny") -> Dataset:
    """Markov chains of six binary variables; their labels are the first variable."""
    generator = torch.Generator().manual_seed(7)

    def draw(count: int) -> torch.Tensor:
        flips = (torch.rand(count, N, generator=generator) < 0.25).long()
        flips[:, 0] = torch.randint(2, (count,), generator=generator)
        return (flips.cumsum(1) % 2).to(torch.uint8)

    splits = {"train": draw(50), "validation": draw(30), "test": draw(20)}
    classes = {split: values[:, 0].long() for split, values in splits.items()} if labels else {}
    if dynamic:
        splits = {split: 60 + 120 * values for split, values in splits.items()}
    return Dataset(name, **splits, event_shape=(N,), kind="table", levels=2, labels=classes, dynamic=dynamic)


#: What a first `fit` imports, torch's optimisers most of all.
_PRELOAD = [
    "chainrule.training",
    "chainrule.models",
    "accelerate",
    "torch._dynamo",
    "torch.distributed.tensor",
]

# Three steps an epoch, the last one of 10 examples only.
QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 20, "warmup_steps": 2, "learning_rate": 0.05}

CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any]]] = {
    "plain": (lambda: FVSBN((N,)), {}, {}),
    "nade": (lambda: NADE((N,), hidden=5), {}, {}),
    "dropout": (lambda: MADE((N,), hidden=(16,), dropout=0.5), {}, {}),
    "masks": (lambda: MADE((N,), hidden=(8, 8), num_masks=4, random_orderings=True), {}, {}),
    "deep-nade": (lambda: DeepNADE((N,), hidden=(8, 8)), {}, {}),
    "dynamic": (lambda: FVSBN((N,)), {"dynamic": True}, {}),
    "bf16": (lambda: MADE((N,), hidden=(8,), dropout=0.2), {}, {"precision": "bf16"}),
    "patience": (lambda: FVSBN((N,)), {}, {"epochs": 30, "patience": 2, "learning_rate": 1.0}),
    "no-average": (lambda: FVSBN((N,)), {}, {"ema_decay": 0.0, "weight_decay": 0.1}),
    "labels": (lambda: MADE((N,), hidden=(8,), context_size=2), {"labels": True}, {}),
    "carried": (lambda: RNN((N,), hidden=5, dropout=0.2), {}, {"carry_state": True}),
    "rare-validation": (lambda: FVSBN((N,)), {}, {"validate_every": 2, "schedule": "linear"}),
}


def train_case(case: str, folder: Path, *, init_seed: int = 0, progress: bool = False, **more: Any) -> Run:
    """Train a case in this process."""
    make_model, data, settings = CASES[case]
    with seeded(init_seed):
        model = make_model()
    return fit(model, tiny_data(**data), folder, progress=progress, **{**QUICK, **settings, **more})


def in_process(
    case: str,
    folder: Path,
    *,
    before_step: int | None = None,
    before_change: int | None = None,
    **more: Any,
) -> int:
    """Train a case in a process of its own; the exit status, -9 if it was killed.

    - `before_step`: kill it (SIGKILL) before it takes this step, from 0.
    - `before_change`: kill it before its change number so many to the files of the run, from 0.
    """
    process = start(case, folder, before_step=before_step, before_change=before_change, **more)
    process.join(120)
    assert process.exitcode is not None, "the training process hangs"
    return process.exitcode


def start(case: str, folder: Path, **options: Any) -> Any:
    # A server that has imported everything but computed nothing forks quickly and safely.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process = context.Process(target=_child, args=(case, folder), kwargs=options)
    process.start()
    return process


def _child(
    case: str, folder: Path, *, before_step: int | None = None, before_change: int | None = None, **more: Any
) -> None:
    torch.set_num_threads(1)
    if before_step is not None:
        _die_before_step(before_step)
    if before_change is not None:
        _die_before_change(folder, before_change)
    train_case(case, folder, **more)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_before_step(step: int) -> None:
    from chainrule.training.trainer import Trainer

    update = Trainer._update

    def watched(self: Any, batch: Any) -> float:
        if self.at.step == step:
            die()
        return update(self, batch)

    Trainer._update = watched  # type: ignore[method-assign]


def _die_before_change(folder: Path, number: int) -> None:
    """Python reports every change of a file before it makes it; the report can be the last thing it does."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        if not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not set(str(arguments[1])) & set("wa"):
            return
        if seen == number:
            die()
        seen += 1

    sys.addaudithook(hook)


def timeless_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their times; every line must be whole."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.pop("seconds") >= 0
    return records


def assert_same_run(folder: Path, reference: Path) -> None:
    """Bit-equal weights, equal metrics, and nothing left lying about."""
    assert (folder / "model.safetensors").read_bytes() == (reference / "model.safetensors").read_bytes()
    assert timeless_metrics(folder) == timeless_metrics(reference)
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    config = json.loads((folder / "config.json").read_text())
    assert config == json.loads((reference / "config.json").read_text())
    assert config["finished"] is True
