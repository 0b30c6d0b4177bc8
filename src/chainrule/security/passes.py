"""One parallel pass of the density over each image, kept for every score that wants to look at it.

A score that reads log p(x), its parts by pixel, a background model and the length of a code would make the
same pass several times; here it is made once for each image and density, and handed to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.detection.scores import Floats
from chainrule.errors import ChainruleError
from chainrule.inputs import check_shape
from chainrule.likelihood import LikelihoodModel

__all__ = ["Passed", "checked_images", "checked_levels", "event_places", "pass_over"]


@dataclass(frozen=True)
class Passed:
    """What the passes say of N images.

    - `images`: `(N, *event_shape)`, levels 0, 1, ...; `levels`: how many there are.
    - `log_prob`: `(N,)`, nats, float64; `by_pixel`: `(N, *event_shape)`, its parts, log p(x_i | x_<i).
    - `log_prob_background`: `(N,)`, nats, under the background model; None where there is none.
    """

    images: Tensor
    levels: int
    log_prob: Floats
    by_pixel: Tensor
    log_prob_background: Floats | None = None

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, chosen: NDArray[np.intp] | slice) -> Passed:
        """The same of some images."""
        at = torch.from_numpy(np.arange(len(self))[chosen])
        background = None if self.log_prob_background is None else self.log_prob_background[chosen]
        return replace(
            self,
            images=self.images[at],
            log_prob=self.log_prob[chosen],
            by_pixel=self.by_pixel[at],
            log_prob_background=background,
        )

    @cached_property
    def code_lengths(self) -> dict[str, Floats]:
        """What codecs said of these images already, by the codec's name: filled by `code_bits`."""
        return {}

    def background(self) -> Floats:
        """log p under the background model; `ChainruleError` where there is none."""
        if self.log_prob_background is None:
            raise ChainruleError(
                "this score needs a background model, trained on mutated images "
                "(chainrule.security.mutated_dataset); give it as background=...."
            )
        return self.log_prob_background


@torch.no_grad()
def pass_over(
    density: LikelihoodModel,
    images: Tensor,
    background: LikelihoodModel | None = None,
    *,
    batch_size: int = 100,
    on_batch: Callable[[int, int], None] | None = None,
) -> Passed:
    """One parallel pass of the density, and one of the background model if there is one, over each image.

    - `images`: `(N, *event_shape)` of the levels that the density was trained on.
    - `on_batch`: called with (images done, images in all) after each batch.

    Raises `ChainruleError` for images of another shape or scale, and for models that are conditioned on
    labels: nobody knows the label of an image that is to be judged.
    """
    images = checked_images(density, images)
    for model in (density, background):
        if model is not None and model.context_size:
            raise ChainruleError(
                f"this {type(model).__name__} is conditioned on a label, which nobody knows of an image that "
                "is to be judged; train the density without labels."
            )
    if background is not None and background.event_shape != density.event_shape:
        raise ChainruleError(
            f"the background model is one of {background.event_shape}, the density one of "
            f"{density.event_shape}; train both on images of one shape."
        )
    by_pixel, of_background = [], []
    done = 0
    for batch in torch.split(images, whole_number("batch_size", batch_size, minimum=1)):
        by_pixel.append(_by_pixel(density, batch))
        if background is not None:
            of_background.append(background.log_prob(batch).double().cpu())
        done += len(batch)
        if on_batch is not None:
            on_batch(done, len(images))
    parts = torch.cat(by_pixel)
    log_prob = parts.double().flatten(1).sum(1).numpy()
    undefined = np.flatnonzero(np.isnan(log_prob))
    if len(undefined):
        raise ChainruleError(
            f"log p(x) of image {int(undefined[0])} is NaN: the weights of the density hold NaN; train it "
            "again with a smaller learning_rate."
        )
    return Passed(
        images,
        checked_levels(density),
        log_prob,
        parts,
        torch.cat(of_background).numpy() if background is not None else None,
    )


def _by_pixel(density: LikelihoodModel, batch: Tensor) -> Tensor:
    by_variable: Callable[[Tensor], Tensor] | None = getattr(density, "log_prob_per_variable", None)
    if by_variable is None:
        raise ChainruleError(
            f"a {type(density).__name__} is a mixture and has no surprise by pixel; take one of its members."
        )
    return by_variable(batch).cpu()


def checked_levels(model: LikelihoodModel) -> int:
    """How many levels 0, 1, 2, ... a pixel has; `ChainruleError` for pixels that have none."""
    support = model.conditional.at(0).support()
    if support is None or not torch.equal(support, torch.arange(len(support)).to(support)):
        raise ChainruleError(
            f"this needs pixels of levels 0, 1, 2, ..., and the {model.conditional.name} conditional has "
            "none; use bernoulli, categorical or discretized_logistic_mixture."
        )
    return len(support)


def checked_images(model: LikelihoodModel, images: Tensor) -> Tensor:
    """The images, if they have the shape and the levels that the model was trained on.

    Raises `ChainruleError`, which names the scale that was found where it is another one: 0-1 for 0-255,
    or standardised images.
    """
    levels = checked_levels(model)
    check_shape(images, model.event_shape)
    if not len(images):
        raise ChainruleError("there are no images; expected at least one.")
    if images.is_floating_point() and not bool(images.isfinite().all()):
        raise ChainruleError("the images hold NaN or infinite values; expected whole levels.")
    low, high = float(images.min()), float(images.max())
    trained = f"the density was trained on levels 0..{levels - 1}"
    if low < 0:
        raise ChainruleError(
            f"the images hold {low:g}, but {trained}: are they standardised? Undo that, and round."
        )
    if levels > 2 and 0 < high <= 1:
        raise ChainruleError(
            f"the images are scaled 0-1 (their greatest value is {high:g}), but {trained}: multiply by "
            f"{levels - 1} and round."
        )
    if levels == 2 and high > 1:
        raise ChainruleError(f"the images hold {high:g}, but {trained}: make them black and white.")
    if images.is_floating_point() and not bool((images == images.floor()).all()):
        odd = images[images != images.floor()].flatten()[0].item()
        raise ChainruleError(f"the images hold {odd:g}, but {trained}: round them (whole levels only).")
    if high >= levels:
        raise ChainruleError(f"the images hold {high:g}, but {trained}.")
    return images


def event_places(event_shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, rows, columns) of an event: one row of it where it is no image."""
    if len(event_shape) == 3:
        return event_shape[0], event_shape[1], event_shape[2]
    if len(event_shape) == 2:
        return 1, event_shape[0], event_shape[1]
    return 1, 1, int(np.prod(event_shape))
