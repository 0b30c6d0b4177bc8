"""From a data set to batches: what a model is trained and evaluated on, always in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chainrule.data import Dataset, binarize
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.training.settings import TrainingSettings

__all__ = ["Batch", "batches", "check_fits", "evaluation_batches", "step_generator"]

# Distinct streams of random numbers from one seed.
_ORDER, _STEP, _BINARIZE = 1, 2, 3


@dataclass(frozen=True)
class Batch:
    """Values `(batch, *event_shape)` as floats, and a context `(batch, context_size)` or None."""

    values: Tensor
    context: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(self.values.to(device), None if self.context is None else self.context.to(device))


def check_fits(model: LikelihoodModel, data: Dataset) -> None:
    """Raise `ChainruleError` if the model cannot be trained on this data."""
    if tuple(data.event_shape) != model.event_shape:
        raise ChainruleError(
            f"{data.name} has examples of shape {tuple(data.event_shape)}, but the model was made for {model.event_shape}."
        )
    values = model.conditional.support()
    if values is not None and data.levels > len(values):
        raise ChainruleError(
            f"{data.name} has values 0..{data.levels - 1}, but the {model.conditional.name} conditional takes "
            f"{model.conditional.value_range}; use a binary data set (dynamic-mnist for MNIST)."
        )
    if model.context_size and not data.labels:
        raise ChainruleError(f"the model needs labels as context, but {data.name} has none.")


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of one training step, a function of seed and step alone."""
    return _generator(seed, _STEP, step)


def batches(
    model: LikelihoodModel,
    data: Dataset,
    settings: TrainingSettings,
    epoch: int,
    first_batch: int,
    processes: Any,
) -> Iterator[Batch]:
    """This process's share of the training batches of one epoch, from batch `first_batch` on."""
    values = data.split("train")
    order = torch.randperm(len(values), generator=_generator(settings.seed, _ORDER, epoch))
    chunks = order.split(settings.batch_size)
    for index in range(first_batch, len(chunks)):
        rows = chunks[index]
        drawn = values[rows]
        if data.dynamic:
            drawn = binarize(drawn, _generator(settings.seed, _BINARIZE, epoch * len(chunks) + index))
        share = slice(processes.process_index, None, processes.num_processes)
        yield Batch(drawn[share].float(), _context(model, data, "train", rows[share]))


def evaluation_batches(
    model: LikelihoodModel, data: Dataset, split: str, *, batch_size: int | None, limit: int | None = None
) -> Iterator[Batch]:
    """A split in its own order; dynamic data is drawn once, always the same."""
    values = data.evaluation_split(split)[:limit]
    for rows in torch.arange(len(values)).split(batch_size or len(values)):
        yield Batch(values[rows].float(), _context(model, data, split, rows))


def _context(model: LikelihoodModel, data: Dataset, split: str, rows: Tensor) -> Tensor | None:
    if not model.context_size:
        return None
    return model._checked_context(data.labels[split][rows], len(rows))


def _generator(seed: int, stream: int, index: int) -> torch.Generator:
    # Any fixed mixing will do that sends different triples to different seeds.
    mixed = (seed * 0x9E3779B97F4A7C15 + stream * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB) % (1 << 63)
    return torch.Generator().manual_seed(mixed)
