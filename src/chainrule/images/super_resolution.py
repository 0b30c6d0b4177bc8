"""Super-resolution: draws of the image that a low-resolution one was made of, x given s(x) = low.

Each pixel of the low-resolution image is a statistic s of a block of pixels: their mean, the mean rounded to
a level, the greatest, or the one at the top left. The draws have these statistics *exactly*: at every pixel
only such values are drawn as the rest of the block can still bring to what is given, and the last pixel of a
block is forced. Particles that had to be forced into what the model finds unlikely lose their weight, so the
draws follow p(x | s(x) = low) of the model as the number of particles grows; with few of them this is an
approximation, and the effective sample size says how poor. (`"top-left"` is filling in.)

A model can also be trained to expect a low-resolution image: with `super_resolution_data` that is its
`context`, numbers that the network reads. By itself such a model only tends to keep to it; here it is held to
it, and its particles stray less.

    pairs = cr.images.super_resolution_data(data, factor=4)
    model = cr.models.MADE(data.event_shape, context_size=pairs.contexts["train"].shape[1])
    cr.fit(model, pairs, out="runs/four-times")
    large = cr.images.super_resolve(model, cr.images.downsample(data.test[:8].float(), factor=4), seed=0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.images.blocks import BlockStatistic, block_statistic
from chainrule.images.guiding import draw_images, image_model, image_shape, number_of_levels
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.sampling import GuidedDraws

__all__ = ["downsample", "super_resolution_data", "super_resolve"]


def downsample(images: Tensor, factor: int, statistic: str = "mean") -> Tensor:
    """One number of each block of `factor x factor` pixels, `(N, C, H / factor, W / factor)`.

    - `images`: `(N, C, H, W)` or `(N, H, W)`, levels 0, 1, 2, ... as numbers.
    - `statistic`: `"mean"`; `"rounded-mean"`, to the nearest level, halves up; `"max"`, which for binary
      images says whether there is any ink; or `"top-left"`, the first pixel of each block.

    Raises `ChainruleError` where the factor does not divide the size of the images.

    >>> downsample(torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]), 2)
    tensor([[[0.7500]]])
    """
    blocks = _blocks(images, whole_number("factor", factor, minimum=1))
    if statistic == "top-left":
        return blocks[..., 0]
    return block_statistic(statistic).of(blocks)


def super_resolution_data(data: Dataset, factor: int, statistic: str = "mean") -> Dataset:
    """The same images, each with its low-resolution image as context, flattened and scaled to 0..1.

    A model with that many numbers as its `context_size` learns p(x | low) from it with `fit`.
    Raises `ChainruleError` for data that is not of discrete pixels, or is drawn anew at every use.
    """
    if data.levels is None or data.dynamic or len(data.event_shape) not in (2, 3):
        raise ChainruleError(
            f"{data.name} has no fixed discrete pixels to make low-resolution images of; take images of "
            "whole levels, such as binarized-mnist (of a dynamic one, Dataset.evaluation_split draws them)."
        )
    contexts = {}
    for split in ("train", "validation", "test"):
        values = getattr(data, split)
        if values is not None:
            low = downsample(values.float(), factor, statistic)
            contexts[split] = _as_context(low, data.levels)
    return replace(data, name=f"{data.name}, {factor} times {statistic}", contexts=contexts)


def super_resolve(
    model: LikelihoodModel,
    low: Tensor,
    *,
    statistic: str = "mean",
    context: Tensor | int | None = None,
    num_samples: int | None = None,
    num_particles: int = 128,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    return_info: bool = False,
) -> Any:
    """Draw images whose statistics are exactly `low`, from p(x | s(x) = low) as particles grow.

    - `model`: of discrete images; any of the library with one ordering.
    - `low`: `(rows, C, H / f, W / f)`, or without C where the model's images have none; the factor f
      follows from the sizes. `statistic`: what it is of each block, as in `downsample`.
    - `context`: as in `sample`; a model whose context is as large as the low-resolution image is taken to
      be one trained on `super_resolution_data` and is given it.
    - `num_samples`: images for each row; None: one, without a dimension for it.

    Returns `(rows, *event_shape)`, or `(rows, num_samples, *event_shape)` where that is given; with
    `return_info` also the `GuidedDraws`, with the mean, the log-evidence log p(low) and the effective
    sample size. Warns where the particles were too few. Raises `ChainruleError` for sizes that do not fit
    and for numbers that are no statistic of any block.
    """
    model = image_model(model)
    levels = number_of_levels(model)
    low, factor = _checked_low(model, low)
    if context is None and model.context_size == low[0].numel():
        context = _as_context(low, levels)
    count = 1 if num_samples is None else whole_number("num_samples", num_samples, minimum=1)
    options: dict[str, Any] = {"num_particles": num_particles, "seed": seed, "generator": generator}
    if statistic == "top-left":
        draws = _fill_between(model, low, factor, context, num_samples=count, **options)
    else:
        kind = block_statistic(statistic)(levels, factor**2)
        kind.check(low)
        guide = _BlockGuide(_Layout(model, factor), kind, low.flatten(1))
        draws = draw_images(model, guide, len(low), context, num_samples=count, **options)
    samples = draws.samples[:, 0] if num_samples is None else draws.samples
    return (samples, draws) if return_info else samples


def _blocks(images: Tensor, factor: int) -> Tensor:
    """`(..., H, W)` to `(..., H / factor, W / factor, factor^2)`, each block from its top left on."""
    height, width = images.shape[-2:]
    if height % factor or width % factor:
        raise ChainruleError(
            f"images of {height} x {width} pixels cannot be divided into blocks of {factor} x {factor}."
        )
    cut = images.reshape(*images.shape[:-2], height // factor, factor, width // factor, factor)
    return cut.transpose(-3, -2).flatten(-2)


def _as_context(low: Tensor, levels: int) -> Tensor:
    return low.float().flatten(1) / max(levels - 1, 1)


def _checked_low(model: AutoregressiveModel, low: Tensor) -> tuple[Tensor, int]:
    """The low-resolution images on the model's device, and the factor, if they fit."""
    *colours, height, width = model.event_shape
    good = isinstance(low, Tensor) and low.ndim == 1 + len(model.event_shape) and len(low) > 0
    if good and list(low.shape[1:-2]) == colours and low.shape[-1] and width % low.shape[-1] == 0:
        factor = width // low.shape[-1]
        if low.shape[-2] * factor == height:
            return low.to(model._reference), factor
    found = tuple(low.shape) if isinstance(low, Tensor) else type(low).__name__
    expected = ", ".join(["rows", *map(str, colours), f"{height} / f", f"{width} / f"])
    raise ChainruleError(
        f"expected low-resolution images ({expected}), f a whole number, at least one of them; got {found}."
    )


def _fill_between(
    model: AutoregressiveModel, low: Tensor, factor: int, context: Tensor | int | None, **options: Any
) -> GuidedDraws:
    """Filling in, where the first pixel of every block is known."""
    evidence = torch.full((len(low), *model.event_shape), float("nan")).to(low)
    evidence[..., ::factor, ::factor] = low
    samples, info = model.fill(evidence, None, context, return_info=True, **options)
    return GuidedDraws(samples, samples.mean(1), info.log_evidence, info.effective_sample_size)


class _Layout:
    """Which block the variable at each place of the ordering belongs to, and what of it comes earlier."""

    def __init__(self, model: AutoregressiveModel, factor: int) -> None:
        channels, height, width = image_shape(model)
        numbers = torch.arange(channels * height * width // factor**2)
        low = numbers.view(channels, height // factor, width // factor)
        block = low.repeat_interleave(factor, 1).repeat_interleave(factor, 2).flatten()
        self.block: list[int] = block[list(model.ordering.permutation)].tolist()
        self.earlier: list[list[int]] = []
        members: dict[int, list[int]] = {}
        for t, of_block in enumerate(self.block):
            before = members.setdefault(of_block, [])
            self.earlier.append(list(before))
            before.append(t)


class _BlockGuide:
    """g_t: how much the chance to meet the block's statistic changes with the value of variable t.

    Their product over a block is 1 where the block has its statistic, and 0 where it has not.
    """

    def __init__(self, layout: _Layout, statistic: BlockStatistic, targets: Tensor) -> None:
        self.layout, self.statistic, self.targets = layout, statistic, targets

    def log_factor(self, t: int, values: Tensor, support: Tensor) -> Tensor:
        earlier: Sequence[int] = self.layout.earlier[t]
        target = self.targets[:, self.layout.block[t]][:, None, None]  # (rows, 1, 1)
        so_far = self.statistic.so_far(values[:, :, earlier])[:, :, None]  # (rows, particles, 1)
        rest = self.statistic.size - len(earlier)
        after = self.statistic.log_chance(self.statistic.then(so_far, support), target, rest - 1)
        return after - self.statistic.log_chance(so_far, target, rest) if earlier else after

    def of_rows(self, rows: Tensor) -> _BlockGuide:
        return _BlockGuide(self.layout, self.statistic, self.targets[rows.to(self.targets.device)])
