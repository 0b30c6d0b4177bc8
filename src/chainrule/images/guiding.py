"""What guided draws of images share: which models can be guided, their options, and the warning."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.inputs import source_of_randomness
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.sampling import FillOptions, Guide, GuidedDraws, draw_guided

__all__ = ["draw_images", "image_model", "image_shape", "number_of_levels"]

#: An effective number of particles below this deserves a warning.
_FEW = 10.0


def image_shape(model: LikelihoodModel) -> tuple[int, int, int]:
    """(C, H, W) of a model of images `(C, H, W)` or `(H, W)`; `ChainruleError` for others."""
    shape = model.event_shape
    if len(shape) == 2:
        return (1, *shape)
    if len(shape) == 3:
        return shape
    raise ChainruleError(
        f"this {type(model).__name__} is no model of images: its event_shape is {shape}, expected (C, H, W)."
    )


def image_model(model: LikelihoodModel) -> AutoregressiveModel:
    """The model, if it has one ordering and images as events; `ChainruleError` otherwise."""
    if not isinstance(model, AutoregressiveModel):
        raise ChainruleError(
            f"this needs a model that reads an image in one ordering, not {type(model).__name__}; "
            "take one of its members."
        )
    image_shape(model)
    return model


def number_of_levels(model: LikelihoodModel) -> int:
    """How many values a pixel takes, if they are 0, 1, 2, ...; `ChainruleError` otherwise."""
    support = model.conditional.at(0).support()
    if support is None or not torch.equal(support, torch.arange(len(support)).to(support)):
        raise ChainruleError(
            f"this needs pixels of levels 0, 1, 2, ..., and the {model.conditional.name} conditional has "
            "none; use bernoulli, categorical or discretized-logistic-mixture."
        )
    return len(support)


def draw_images(
    model: AutoregressiveModel,
    guide: Guide,
    rows: int,
    context: Tensor | int | None,
    *,
    num_samples: int,
    num_particles: int,
    seed: int | None,
    generator: torch.Generator | None,
    lag: int | None = None,
) -> GuidedDraws:
    """Guided draws for `rows` images; warns where the particles were too few."""
    source = source_of_randomness(seed=seed, generator=generator)
    options = FillOptions(
        method="particles",
        num_particles=whole_number("num_particles", num_particles, minimum=1),
        num_samples=whole_number("num_samples", num_samples, minimum=1),
        temperature=1.0,
        seed=int(torch.randint(2**32, (), generator=source, device=source.device)),
    )
    blank = model._zeros(rows, model.num_variables)
    of_rows = model._context_of_rows(context, rows)
    draws = draw_guided(model, guide, blank, of_rows, options, lag=lag)
    poor = draws.effective_sample_size < min(_FEW, options.num_particles)
    if bool(poor.any()):
        least = float(draws.effective_sample_size.min())
        warnings.warn(
            f"in {int(poor.sum())} of {rows} images the effective number of particles fell to {least:.1f} of "
            f"{options.num_particles} on the way, so these draws follow p(image | what is known) only "
            "roughly; use more particles (num_particles).",
            stacklevel=3,
        )
    return draws
