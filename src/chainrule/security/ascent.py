"""The lecture's purification: gradient ascent on log p(x), here kept within an eps box.

The lecture climbs log p by 100 gradient steps and clips to the range of pixels; without a box that walks away
from the image, and it is not PixelDefend (`purify`). It is offered to be compared with. It needs a density
whose log p changes smoothly with the pixels: with discretized logistics it does; of a categorical one only
the part that reads pixels as intensities does, so the gradient leaves out each pixel's own cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.arguments import real_number, whole_number
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.security.passes import checked_images, checked_levels

__all__ = ["purify_by_gradient"]


def purify_by_gradient(
    model: LikelihoodModel,
    images: Tensor,
    eps: int,
    *,
    steps: int = 100,
    step_size: float | None = None,
    context: Tensor | None = None,
    batch_size: int = 64,
) -> Tensor:
    """The images, moved uphill on log p(x) within eps of each pixel; whole levels in the end.

    - `step_size`: levels a pixel moves in one step, by the sign of its gradient; 1 of 255 if not said.

    Of the image itself and every tenth step, rounded to levels, the one of greatest log p is returned, so
    that log p never falls. Costs `steps` passes forward and back. Returns the shape and dtype of `images`;
    raises `ChainruleError` for a model whose log p has no gradient with respect to its input.
    """
    images = checked_images(model, images)
    highest = checked_levels(model) - 1
    within, count = whole_number("eps", eps), whole_number("steps", steps, minimum=1)
    step = real_number("step_size", highest / 255 if step_size is None else step_size, above=0.0)
    of_rows = model._context_of_rows(context, len(images))
    purified = []
    for rows in torch.split(torch.arange(len(images)), whole_number("batch_size", batch_size, minimum=1)):
        given = images[rows].to(model._reference)
        own = None if of_rows is None else of_rows[rows]
        low, high = (given - within).clamp_min(0), (given + within).clamp_max(highest)
        best, best_log_prob = given, _log_prob(model, given, own)
        x = given
        for number in range(1, count + 1):
            x = torch.minimum(torch.maximum(x + step * _gradient(model, x, own).sign(), low), high)
            if number % 10 == 0 or number == count:
                rounded = x.round()
                log_prob = _log_prob(model, rounded, own)
                better = (log_prob > best_log_prob).view(-1, *[1] * (x.ndim - 1))
                best = torch.where(better, rounded, best)
                best_log_prob = torch.maximum(log_prob, best_log_prob)
        purified.append(best.to(images))
    return torch.cat(purified)


@torch.no_grad()
def _log_prob(model: LikelihoodModel, x: Tensor, context: Tensor | None) -> Tensor:
    return model._log_prob(x, context)


def _gradient(model: LikelihoodModel, x: Tensor, context: Tensor | None) -> Tensor:
    """d log p / dx, with whatever the graph lets through."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        log_prob = model._log_prob(x, context).sum()
        if not log_prob.requires_grad:
            raise _flat(model)
        (gradient,) = torch.autograd.grad(log_prob, x, allow_unused=True)
    if gradient is None:
        raise _flat(model)
    return gradient


def _flat(model: LikelihoodModel) -> ChainruleError:
    return ChainruleError(
        f"log p of this {type(model).__name__} has no gradient with respect to its input, which it reads as "
        'codes of categories; purify it with method "greedy".'
    )
