"""From a data set to batches: what a model is trained and evaluated on, always in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from chainrule.data import Dataset, binarize
from chainrule.errors import ChainruleError
from chainrule.trainable import Trainable
from chainrule.training.settings import TrainingSettings

__all__ = [
    "Batch",
    "batches",
    "check_fits",
    "check_is_dataset",
    "consecutive_rows",
    "evaluation_batches",
    "spread_rows",
    "step_generator",
    "step_seed",
]

# Distinct streams of random numbers from one seed.
_ORDER, _STEP, _BINARIZE, _GLOBAL = 1, 2, 3, 4


@dataclass(frozen=True)
class Batch:
    """Values `(batch, *event_shape)` in the model's dtype, and a context `(batch, context_size)` or None.

    `weight` is what the mean loss of this share counts in the mean over all processes' shares, 1 if
    they are even: so that uneven shares together give the mean over the whole batch, exactly.
    """

    values: Tensor
    context: Tensor | None
    weight: float = 1.0

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        context = None if self.context is None else self.context.to(device)
        return Batch(self.values.to(device), context, self.weight)


def check_is_dataset(data: object) -> None:
    """Raise `ChainruleError`, saying what to pass, if `data` is no `Dataset`."""
    if isinstance(data, Dataset):
        return
    if isinstance(data, (str, Path)):
        name = repr(str(data))
        raise ChainruleError(
            f"data must be a Dataset, not the name {name}; pass chainrule.data.load_any({name})."
        )
    raise ChainruleError(
        f"data must be a Dataset, not {'None' if data is None else f'a {type(data).__name__}'}; pass "
        'chainrule.data.load("digits") for a data set by name, chainrule.data.from_files("my.npy") for a '
        "file, or chainrule.data.Dataset(...) for tensors."
    )


def check_fits(model: Trainable, data: Dataset, splits: Sequence[str]) -> None:
    """Raise `ChainruleError` if the model cannot be used on these splits of the data, or is none."""
    if not isinstance(model, Trainable):
        raise ChainruleError(f"model must be a chainrule model, not a {type(model).__name__}.")
    check_is_dataset(data)
    if tuple(data.event_shape) != model.event_shape:
        raise ChainruleError(
            f"{data.name} has examples of shape {tuple(data.event_shape)}, "
            f"but the model was made for {model.event_shape}."
        )
    model.check_levels(data.levels, data.name)
    for split in splits:
        values = data.split(split)
        if data.levels is None:
            _check_real_values(model, data.name, split, values)
        if model.context_size:
            _check_context(model, data, split)


def _check_real_values(model: Trainable, name: str, split: str, values: Tensor) -> None:
    try:
        model.check_values(values)
    except ChainruleError as error:
        raise ChainruleError(f"{split} split of {name}: {error}") from None


def _check_context(model: Trainable, data: Dataset, split: str) -> None:
    if split in data.contexts:
        width = data.contexts[split].shape[1]
        if width != model.context_size:
            raise ChainruleError(
                f"{data.name} has contexts of {width} numbers, but the model takes {model.context_size}; "
                f"make it with context_size={width}."
            )
        return
    if split not in data.labels:
        raise model._missing_labels(data.name, split)
    labels = data.labels[split]
    if labels.min() < 0 or labels.max() >= model.context_size:
        raise ChainruleError(
            f"the {split} labels of {data.name} are {int(labels.min())}..{int(labels.max())}, but the model "
            f"takes 0..{model.context_size - 1}; make it with context_size={int(labels.max()) + 1}."
        )


def step_generator(seed: int, step: int, process: int = 0) -> torch.Generator:
    """What `training_loss` draws from: a function of seed, step and process alone."""
    return _generator(seed, _STEP, step, process)


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """The seed of torch's global generators in a step (dropout knows no other ones)."""
    return _mixed(seed, _GLOBAL, step, process)


def batches(
    model: Trainable,
    data: Dataset,
    settings: TrainingSettings,
    epoch: int,
    first_batch: int,
    process: int = 0,
    num_processes: int = 1,
) -> Iterator[Batch]:
    """One process's share of the training batches of an epoch (from 0), from batch `first_batch` on.

    The batches are the same however many processes share them.
    """
    values, dtype = data.split("train"), model._reference.dtype
    if settings.carry_state:
        chunks = consecutive_rows(len(values), settings.batch_size)
    else:
        order = torch.randperm(len(values), generator=_generator(settings.seed, _ORDER, epoch))
        chunks = list(torch.split(order, settings.batch_size))
    for index in range(first_batch, len(chunks)):
        rows = chunks[index]
        drawn = values.index_select(0, rows)
        if data.dynamic:
            drawn = binarize(drawn, _generator(settings.seed, _BINARIZE, epoch * len(chunks) + index))
        share = slice(process, None, num_processes)
        weight = num_processes * len(rows[share]) / len(rows)
        if weight == 0:  # more processes than rows: take part all the same, but count for nothing
            share = slice(0, 1)
        yield Batch(drawn[share].to(dtype), _context(model, data, "train", rows[share]), weight)


def evaluation_batches(
    model: Trainable, data: Dataset, split: str, *, batch_size: int | None, limit: int | None = None
) -> Iterator[Batch]:
    """A split in its own order, or `limit` of its rows; dynamic data is drawn once, always the same."""
    values, dtype = data.evaluation_split(split), model._reference.dtype
    chosen = spread_rows(len(values), len(values) if limit is None else limit)
    for rows in torch.split(chosen, batch_size or len(chosen)):
        yield Batch(values[rows].to(dtype), _context(model, data, split, rows))


def consecutive_rows(total: int, streams: int) -> list[Tensor]:
    """Row numbers for each step through `total` rows cut into this many stretches, one row of each stretch.

    The last stretches may be shorter, and are then left out of the last steps: what is left of a batch are
    always its first rows.

    >>> [rows.tolist() for rows in consecutive_rows(8, 3)]
    [[0, 3, 6], [1, 4, 7], [2, 5]]
    """
    steps = -(-total // streams)
    return [torch.arange(step, total, steps) for step in range(steps)]


def spread_rows(total: int, count: int) -> Tensor:
    """`count` row numbers (or all, if there are fewer) spread evenly over `total` rows, `(count,)`.

    The first rows of a published split need not be typical: those of binarized MNIST are all zeros.
    """
    return torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()


def _context(model: Trainable, data: Dataset, split: str, rows: Tensor | slice) -> Tensor | None:
    if not model.context_size:
        return None
    contexts = data.contexts[split] if split in data.contexts else data.labels[split]
    return model._checked_context(contexts[rows], len(contexts[rows]))


def _generator(seed: int, stream: int, index: int, process: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(_mixed(seed, stream, index, process))


def _mixed(seed: int, stream: int, index: int, process: int = 0) -> int:
    # torch's CPU generator takes 32 bits of its seed. SplitMix64's finisher spreads a change of seed,
    # stream or process over all of them; an odd stride keeps the indices of one stream distinct.
    mixed = 0
    for part in (seed, stream, process):
        mixed = (mixed + part + 0x9E3779B97F4A7C15) % (1 << 64)
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % (1 << 64)
        mixed ^= mixed >> 31
    return (mixed + index * 0x9E3779B1) % (1 << 32)
