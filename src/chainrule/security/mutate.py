"""Inputs mutated at random: what the background model of a likelihood ratio is trained on (Ren et al. 2019).

A background model must know how usual the *background* of images is (how dark, how flat) and no longer
their meaning. Ren et al. replace every value, independently with probability mu, by one that is uniform
over the levels, and train the same kind of model on the result, with the same `chainrule.fit`:

    background = fit(make_model(), mutated_dataset(data, rate=0.2, seed=0), "background", weight_decay=1e-2)

**Choosing mu and the weight decay without data from outside.** Ren et al. find mu in 0.1-0.2 and L2 of 0,
10 or 100 best, on *other* outside data. Without any, as is the rule here: mutate clean validation images
themselves at a rate that the background has not seen, call those the odd ones, and take the setting whose
likelihood ratio tells them from clean images best; or leave mu at 0.2, about the middle of what was
published, and the weight decay at what the run of the density itself used.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from chainrule.arguments import checked_seed, real_number, whole_number
from chainrule.data import Dataset
from chainrule.errors import ChainruleError

__all__ = ["mutated", "mutated_dataset"]


def mutated(images: Tensor, rate: float, levels: int, generator: torch.Generator) -> Tensor:
    """Each value, independently with probability `rate`, replaced by a uniform one of 0..levels - 1.

    - `images`: whole numbers 0..levels - 1 of any shape and dtype; they are left as they are.

    A replaced value may come out as it was, with probability 1 / levels, as in Ren et al. (2019, section
    3.2). Returns the shape and dtype of `images`; the draws come from `generator` alone. Raises
    `ChainruleError` for a rate outside [0, 1].
    """
    rate = real_number("the mutation rate", rate, 0.0, 1.0)
    levels = whole_number("levels", levels, minimum=2)
    where = generator.device
    hit = torch.rand(images.shape, generator=generator, device=where) < rate
    values = torch.randint(levels, images.shape, generator=generator, device=where)
    return torch.where(hit.to(images.device), values.to(images), images)


def mutated_dataset(data: Dataset, rate: float, seed: int = 0) -> Dataset:
    """`data` with the images of every split mutated once, ready for `chainrule.fit`; labels stay.

    The validation split is mutated too, since that is what the background model is selected on. Raises
    `ChainruleError` for data without levels, or drawn anew from grey at each use.
    """
    if data.levels is None or data.dynamic:
        what = "real values" if data.levels is None else "values drawn from grey at each use"
        raise ChainruleError(f"{data.name} has {what}; only a fixed data set of whole levels can be mutated.")
    generator = torch.Generator().manual_seed(checked_seed(seed))
    train, validation, test = (
        None if values is None else mutated(values, rate, data.levels, generator)
        for values in (data.train, data.validation, data.test)
    )
    return replace(
        data,
        name=f"{data.name}-mutated-{rate:g}",
        published=(),
        train=train,
        validation=validation,
        test=test,
    )
