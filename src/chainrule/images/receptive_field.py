"""Receptive fields: which pixels a model's conditional of one pixel really depends on, and how strongly."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from chainrule.arguments import checked_seed, whole_number
from chainrule.errors import ChainruleError
from chainrule.images.guiding import image_model, image_shape
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel

__all__ = ["receptive_field"]


def receptive_field(
    model: LikelihoodModel,
    pixel: tuple[int, int] | None = None,
    *,
    images: Tensor | None = None,
    context: Tensor | int | None = None,
    seed: int = 0,
) -> Tensor:
    """How strongly the parameters of a pixel depend on every other pixel, `(H, W)`, float64.

    The sum over its parameters and channels of |d parameter / d x_j|, averaged over images and summed over
    the channels of j, of the network in double precision. Where it is 0, that pixel has no influence at all:
    PixelCNN's blind spot shows so. A network of rectifiers may show a further 0 by chance, the rarer the
    more images.

    - `pixel`: (row, column), the middle of the image by default.
    - `images`: where to take the gradient, `(N, *event_shape)`; by default 16 random ones, of `seed`.

    Raises `ChainruleError` for a pixel outside the image, and for a model that reads its values by a code
    and therefore has no gradient.
    """
    model = image_model(model)
    channels, height, width = image_shape(model)
    row, column = (height // 2, width // 2) if pixel is None else pixel
    row = whole_number("the row of the pixel", row, maximum=height - 1)
    column = whole_number("the column of the pixel", column, maximum=width - 1)
    x = _random_images(model, checked_seed(seed)) if images is None else model._checked_values(images)
    of_rows = model._context_of_rows(context, len(x))
    network = copy.deepcopy(model).double().eval()
    with torch.enable_grad():
        x = x.double().requires_grad_()
        params = network(x, None if of_rows is None else of_rows.double())
        own = params.view(len(x), channels, height, width, -1)[:, :, row, column].flatten(1).sum(0)
        total = torch.zeros(channels, height, width, dtype=torch.float64, device=x.device)
        for parameter in own:
            if not parameter.requires_grad:
                raise _no_gradient(model)
            (gradient,) = torch.autograd.grad(parameter, x, retain_graph=True, allow_unused=True)
            if gradient is None:
                raise _no_gradient(model)
            total += gradient.abs().mean(0).view_as(total)
    return total.sum(0)


def _random_images(model: AutoregressiveModel, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape, support = (16, *model.event_shape), model.conditional.at(0).support()
    if support is None:
        return torch.randn(shape, generator=generator).to(model._reference)
    return support[torch.randint(len(support), shape, generator=generator)].to(model._reference)


def _no_gradient(model: AutoregressiveModel) -> ChainruleError:
    return ChainruleError(
        f"this {type(model).__name__} reads its values by a code, which has no gradient; take one that reads "
        "them as numbers (one_hot=False)."
    )
