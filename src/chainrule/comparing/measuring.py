"""Timing samplers and reading what training took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.likelihood import LikelihoodModel
from chainrule.training import Run

__all__ = ["BATCH", "Sampled", "TrainingFacts", "time_sampling", "training_facts"]

#: Examples that are drawn together.
BATCH = 16
#: A measurement is repeated while it is this quick, and the naive sampler runs only where it takes less.
_QUICK, _NAIVE = 0.2, 1.0
_REPEATS = 3


@dataclass(frozen=True)
class Sampled:
    """Samples, and how long they took: seconds per example, reusing everything and naively."""

    samples: Tensor
    seconds: float
    naive: float
    projected: bool


def time_sampling(network: LikelihoodModel, seed: int = 0) -> Sampled:
    """Draw `BATCH` examples and time it; the naive way is worked out from one pass where it takes long."""
    context = torch.arange(BATCH) % network.context_size if network.context_size else None
    samples: Tensor = network.sample(BATCH, context, seed=seed)
    seconds = _least(lambda: network.sample(BATCH, context, seed=seed))
    with torch.no_grad():
        a_pass = _least(lambda: network.log_prob(samples, context))
    projected = a_pass * network.num_variables > _NAIVE
    naive = a_pass * network.num_variables
    if not projected:
        naive = _least(lambda: network.sample(BATCH, context, seed=seed, method="naive"))
    return Sampled(samples, seconds / BATCH, naive / BATCH, projected)


def _least(work: Callable[[], Any]) -> float:
    """The least time of some runs, or of one that is long."""
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
        if best > _QUICK:
            break
    return best


@dataclass(frozen=True)
class TrainingFacts:
    """What a run folder says of its training; None for what it does not say."""

    seconds: float | None = None
    epochs: int | None = None
    per_second: float | None = None


def training_facts(folder: Path, examples: int) -> TrainingFacts:
    """Seconds, epochs, and examples of training seen in a second, validation included."""
    run = Run(folder)
    metrics = run.metrics()
    if not metrics:
        return TrainingFacts()
    last = metrics[-1]
    seen = examples or run.config.get("examples", {}).get("train", 0)
    seconds = float(last["seconds"])
    per_second = last["epoch"] * seen / seconds if seconds > 0 and seen else None
    return TrainingFacts(seconds, int(last["epoch"]), per_second)
