"""Surprise maps: what each pixel of an image tells that the pixels before it did not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.images.guiding import image_model, image_shape
from chainrule.likelihood import LikelihoodModel

__all__ = ["surprise_bits"]


@torch.no_grad()
def surprise_bits(model: LikelihoodModel, images: Tensor, context: Tensor | None = None) -> Tensor:
    """-log2 p(pixel | pixels before it), in bits, `(N, H, W)`; the channels of a pixel are added up.

    The sum over an image is its information content under the model: the length of its code.
    """
    model = image_model(model)
    shape = image_shape(model)
    log_prob = model.log_prob_per_variable(images, context)
    return -log_prob.view(len(images), *shape).sum(1) / math.log(2)
