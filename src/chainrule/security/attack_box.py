"""The box that an attack may not leave: a ball around the image, the range of values, and their levels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from chainrule.arguments import real_number, whole_number
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["NORMS", "Box", "Norm", "box_of", "checked_norm"]

Norm = Literal["linf", "l2"]
#: How the size of a change is measured.
NORMS = ("linf", "l2")


#: Parts of a change that are tried when rounding made it too long, from the shortest up.
_SHORTER = tuple(0.5 + 0.025 * step for step in range(21))


class Box:
    """All images within `eps` of the originals that are images of this kind.

    - `images`: the originals `(batch, *event_shape)`, floats in the units of the data.
    - `eps`: greatest distance; None for no limit.
    - `norm`: `linf`, the greatest change of a value, or `l2`, the Euclidean length of all changes.
    - `levels`: values are whole numbers 0..levels-1; None for real ones in 0..1.
    """

    def __init__(self, images: Tensor, eps: float | None, norm: Norm, levels: int | None) -> None:
        self.images, self.eps, self.norm, self.levels = images, eps, norm, levels
        self.high = 1.0 if levels is None else levels - 1.0

    def project(self, moved: Tensor) -> Tensor:
        """The images in the ball and in the range that are nearest to `moved`; values stay real."""
        moved = moved.clamp(0.0, self.high)
        if self.eps is None:
            return moved
        if self.norm == "linf":
            return torch.clamp(moved, self.images - self.eps, self.images + self.eps)
        change = moved - self.images
        # Original and moved values are both in the range, and so is what lies between them.
        length = torch.linalg.vector_norm(change.flatten(1), dim=1)
        factor = (self.eps / length.clamp_min(torch.finfo(change.dtype).tiny)).clamp(max=1.0)
        return self.images + change * _beside(factor, change)

    def settle(self, moved: Tensor) -> Tensor:
        """The same as images that can be stored: with whole levels, still within the ball."""
        moved = self.project(moved)
        if self.levels is None:
            return moved
        whole = moved.round()
        if self.eps is None:
            return whole
        if self.norm == "linf":
            low, high = (self.images - self.eps).ceil(), (self.images + self.eps).floor()
            return whole.clamp(low, high)
        # Rounding to the nearest level can leave a ball, so the change is shortened until it does not;
        # rounded towards the original, at last, it cannot.
        change = moved - self.images
        settled = self.images + change.trunc()
        for share in _SHORTER:
            whole = (self.images + share * change).round()
            inside = torch.linalg.vector_norm((whole - self.images).flatten(1), dim=1) <= self.eps
            settled = torch.where(_beside(inside, whole), whole, settled)
        return settled

    def noise(self, generator: torch.Generator) -> Tensor:
        """RAND: the originals with uniform noise in -eps..eps, whole numbers where there are levels.

        For `l2` a step of length eps in a random direction.
        """
        if self.eps is None:
            raise ChainruleError("random noise needs eps: how far a value may move.")
        shape, device = self.images.shape, generator.device
        if self.norm == "l2":
            direction = torch.randn(shape, generator=generator, device=device).to(self.images)
            length = torch.linalg.vector_norm(direction.flatten(1), dim=1)
            return self.settle(self.images + self.eps * direction / _beside(length, direction))
        if self.levels is None:
            noise = self.eps * (2 * torch.rand(shape, generator=generator, device=device) - 1)
        else:
            most = int(self.eps)
            noise = torch.randint(-most, most + 1, shape, generator=generator, device=device)
        return self.settle(self.images + noise.to(self.images))


def checked_norm(norm: str) -> Norm:
    """`norm`, if it is one of `NORMS`; else `ChainruleError`."""
    if norm not in NORMS:
        raise unknown_name("norm", norm, NORMS)
    return "l2" if norm == "l2" else "linf"


def _beside(of_each: Tensor, images: Tensor) -> Tensor:
    """One number of each image, `(batch,)`, in a shape that goes with the images."""
    return of_each.view(-1, *[1] * (images.ndim - 1))


def box_of(images: Tensor, eps: float | None, norm: str, levels: int | None) -> Box:
    """A checked `Box` around images of any dtype and device; it holds them on the CPU.

    Raises `ChainruleError` for values outside 0..levels-1, for images scaled to 0..1 where levels are whole
    numbers, and for an eps that can change nothing.
    """
    measure = checked_norm(norm)
    if not isinstance(images, Tensor) or images.ndim < 2 or len(images) == 0:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ChainruleError(f"images must be a tensor (batch, *event_shape) with at least one, not {shape}.")
    x = images.detach().cpu()
    x = x if x.dtype == torch.float64 else x.float()
    if not bool(x.isfinite().all()):
        raise ChainruleError("the images hold NaN or infinite values.")
    levels = None if levels is None else whole_number("levels", levels, minimum=2)
    _check_range(x, levels)
    if eps is not None:
        eps = real_number("eps", eps, above=0.0)
        if levels is not None and eps < 1:
            raise ChainruleError(
                f"eps={eps:g} is less than one level of 0..{levels - 1}; say it in levels, such as eps=8."
            )
    return Box(x, eps, measure, levels)


def _check_range(x: Tensor, levels: int | None) -> None:
    low, high = x.min().item(), x.max().item()
    most = 1.0 if levels is None else levels - 1.0
    if low < 0 or high > most:
        expected = "0..1" if levels is None else f"whole numbers 0..{levels - 1}"
        raise ChainruleError(f"the images have values {low:g}..{high:g}; expected {expected}.")
    if levels is not None and not torch.equal(x, x.round()):
        scaled = f" (scaled to 0..1? multiply them by {levels - 1})" if high <= 1 else ""
        raise ChainruleError(
            f"the images have values that are no whole numbers, but levels={levels} means 0..{levels - 1}"
            f"{scaled}."
        )
