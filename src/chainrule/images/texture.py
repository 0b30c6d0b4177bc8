"""Texture synthesis: images of any size from a model of patches.

A patch model says what a pixel is like given the pixels around it that come earlier. Over a larger canvas
every pixel is drawn given those of a window of the patch's size: as low in it as can be, and in the middle
from left to right, so that the window reaches as far up, and as far to either side, as it can. Together
these conditionals are a distribution over canvases, which is sampled exactly; how like a texture it looks is
another matter. A canvas of the patch's own size is an ordinary sample.

A convolutional model needs no windows: run over the whole canvas it says the same of every place
(`with_size`), at the cost of one pass. Far from the edges it may then see further than its training patches
were wide; where that spoils the texture, the windows, which it knows, do better.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.data import Dataset
from chainrule.errors import ChainruleError, unknown_name
from chainrule.images.guiding import image_model, image_shape
from chainrule.inputs import source_of_randomness
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.models.raster_images import RasterImageModel
from chainrule.orderings import resolve_ordering
from chainrule.sampling import draw_noise

__all__ = ["patches_of", "synthesize_texture"]

Method = Literal["auto", "convolutional", "sliding"]
_METHODS = ("auto", "convolutional", "sliding")


def patches_of(
    picture: Tensor,
    size: tuple[int, int],
    *,
    count: int = 2000,
    levels: int = 256,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Dataset:
    """Patches from random places of one picture, a data set to train a texture model on.

    - `picture`: `(C, H, W)` or `(H, W)`, whole numbers 0..levels - 1; `size`: (height, width) of a patch.
    - `count`: patches for training; a tenth as many are for validation. They overlap, so the validation
      measures how well the texture is known, not how well the model would do on another picture.
    """
    image = picture[None] if picture.ndim == 2 else picture
    height, width = (whole_number("the size of a patch", side, minimum=1) for side in size)
    rows, columns = image.shape[-2] - height + 1, image.shape[-1] - width + 1
    if image.ndim != 3 or rows < 1 or columns < 1:
        raise ChainruleError(
            f"a picture (C, H, W) that holds patches of {height} x {width} is needed, not one of shape "
            f"{tuple(picture.shape)}."
        )
    count = whole_number("count", count, minimum=1)
    source = source_of_randomness(seed=seed, generator=generator)
    total = count + max(1, count // 10)
    places = torch.randint(rows * columns, (total,), generator=source, device=source.device).tolist()
    windows = image.to(torch.uint8).unfold(1, height, 1).unfold(2, width, 1)  # (C, rows, columns, h, w)
    patches = torch.stack([windows[:, place // columns, place % columns] for place in places])
    return Dataset(
        name="texture patches",
        train=patches[:count],
        validation=patches[count:],
        test=None,
        event_shape=tuple(patches.shape[1:]),
        kind="image",
        levels=levels,
    )


@torch.no_grad()
def synthesize_texture(
    model: LikelihoodModel,
    size: tuple[int, int],
    num_samples: int = 1,
    context: Tensor | int | None = None,
    *,
    method: Method = "auto",
    temperature: float = 1.0,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw canvases of any `size` (height, width), at least that of the model's patches.

    - `context`, `temperature`: as in `sample`.
    - `method`: `"convolutional"` runs the network over the canvas, in about the time of one pass;
      `"sliding"` draws each pixel from the window around it, one pass a pixel, with any model that reads
      images in raster order; `"auto"` takes the first where it can.

    Returns `(num_samples, C, height, width)`, without C where the model's patches have none. Raises
    `ChainruleError` for a smaller canvas, and for a model that cannot do what the method asks.
    """
    model = image_model(model)
    if method not in _METHODS:
        raise unknown_name("method of texture synthesis", method, _METHODS)
    height, width = (whole_number("the size of a canvas", side, minimum=1) for side in size)
    if height < model.event_shape[-2] or width < model.event_shape[-1]:
        raise ChainruleError(
            f"a canvas of {height} x {width} is smaller than the patches of the model, "
            f"{model.event_shape[-2]} x {model.event_shape[-1]}."
        )
    shape = (*model.event_shape[:-2], height, width)
    convolutional = isinstance(model, RasterImageModel) and (model.any_size or method == "convolutional")
    if convolutional and method != "sliding":
        assert isinstance(model, RasterImageModel)
        whole = model.with_size(shape)
        drawn: Tensor = whole.sample(
            num_samples, context, seed=seed, generator=generator, temperature=temperature
        )
        return drawn
    if method == "convolutional":
        raise ChainruleError(
            f'{type(model).__name__} is not convolutional and has one size; use method="sliding".'
        )
    count = whole_number("num_samples", num_samples, minimum=1)
    source = source_of_randomness(seed=seed, generator=generator)
    canvas = model._zeros(count, *shape)
    noise = draw_noise(count, canvas[0].numel(), model.conditional.num_noise, source, canvas.dtype)
    _slide(model, canvas, noise.to(canvas), model._context_of_rows(context, count), temperature)
    return canvas


def _slide(
    model: AutoregressiveModel, canvas: Tensor, noise: Tensor, context: Tensor | None, temperature: float
) -> None:
    """Draw every pixel of the canvas, in place, from the conditional of its window."""
    raster = resolve_ordering("raster", model.event_shape).permutation
    if model.ordering.permutation != raster:
        raise ChainruleError(
            f'windows can slide only over models in the ordering "raster", not {model.ordering.name!r}.'
        )
    channels, patch_height, patch_width = image_shape(model)
    height, width = canvas.shape[-2:]
    pixels = canvas.view(len(canvas), channels, height, width)
    for position in range(height * width * channels):
        (row, column), channel = divmod(position // channels, width), position % channels
        top = max(row - patch_height + 1, 0)
        left = min(max(column - patch_width // 2, 0), width - patch_width)
        window = canvas[..., top : top + patch_height, left : left + patch_width]
        place = ((row - top) * patch_width + column - left) * channels + channel
        params = model.to_sequence(model(window, context))[:, place]
        drawn = model.conditional_at(place).sample(params, noise[:, position], temperature)
        pixels[:, channel, row, column] = drawn
