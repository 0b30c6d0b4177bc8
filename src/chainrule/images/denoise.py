"""Denoising and binarisation: draws of the clean image given a degraded one, p(clean | degraded).

Any model of clean images is the prior; a `Channel` says how a clean value becomes what is observed, pixel by
pixel. Particles draw each pixel from what the model expects there times what the observation says of it, and
are weighted by how well the two agree: exact for p(clean | degraded) as particles grow. A pixel that was not
observed (NaN) is filled in on the way.

    noisy = cr.images.BitFlips(0.05).degrade(clean, seed=0)
    restored = cr.images.denoise(model, noisy, cr.images.BitFlips(0.05), seed=1)
    restored.estimate                           # of each pixel the value with the fewest expected errors
    cr.images.bit_error(restored.estimate, clean), cr.images.bit_error(noisy, clean)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.images.channels import Channel
from chainrule.images.guiding import draw_images, image_model, image_shape, number_of_levels
from chainrule.likelihood import LikelihoodModel

__all__ = ["Restored", "bit_error", "denoise", "psnr"]


@dataclass(frozen=True)
class Restored:
    """Clean images given degraded ones.

    - `mean`: `(rows, *event_shape)`, the posterior mean of each pixel, estimated from the particles: it has
      the least expected squared error. For binary pixels it is P(pixel = 1 | degraded).
    - `estimate`: the mean to the nearest level; for binary images the image with the fewest expected errors.
    - `samples`: `(rows, num_samples, *event_shape)`, draws from p(clean | degraded).
    - `best`: `(rows, *event_shape)`, of those draws the one with the greatest p(clean, degraded). It is sharp
      like a draw; it is *not* the most probable image, which no sampler finds.
    - `log_evidence`: `(rows,)`, nats: log of an unbiased estimate of p(degraded).
    - `effective_sample_size`: `(rows,)`, the least along the way, of `num_particles`.
    """

    mean: Tensor
    estimate: Tensor
    samples: Tensor
    best: Tensor
    log_evidence: Tensor
    effective_sample_size: Tensor


def denoise(
    model: LikelihoodModel,
    degraded: Tensor,
    channel: Channel,
    *,
    context: Tensor | int | None = None,
    num_samples: int = 8,
    num_particles: int = 128,
    lag: int | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Restored:
    """Restore degraded images with particles.

    - `degraded`: `(rows, *event_shape)`; NaN where nothing was observed.
    - `channel`: `BitFlips`, `GaussianChannel`, or any other `Channel`.
    - `context`: as in `sample`.
    - `lag`: the mean of each pixel is taken from the particles as they stand so many variables later: by
      default four rows of the image. A longer lag heeds observations further on, but of early pixels few
      different histories are left by then. `model.num_variables` takes the particles at the end: only that
      is exact as their number grows.

    Warns where the particles were too few. Raises `ChainruleError` for a wrong shape, and for observations
    that the channel cannot have made.
    """
    model = image_model(model)
    shape = model.event_shape
    if not isinstance(degraded, Tensor) or tuple(degraded.shape[1:]) != shape or not len(degraded):
        found = tuple(degraded.shape) if isinstance(degraded, Tensor) else type(degraded).__name__
        raise ChainruleError(
            f"expected degraded images of shape {('rows', *shape)}, but got {found}.".replace("'", "")
        )
    degraded = degraded.to(model._reference)
    levels = number_of_levels(model)
    channel.check(degraded[~degraded.isnan()], levels)
    guide = _ChannelGuide(model.to_sequence(degraded), channel)
    draws = draw_images(
        model,
        guide,
        len(degraded),
        context,
        num_samples=num_samples,
        num_particles=num_particles,
        seed=seed,
        generator=generator,
        lag=4 * shape[-1] * image_shape(model)[0] if lag is None else whole_number("lag", lag),
    )
    flat = draws.samples.flatten(0, 1)
    count = len(flat) // len(degraded)
    of_rows = model._context_of_rows(context, len(degraded))
    each = None if of_rows is None else of_rows.repeat_interleave(count, 0)
    observed = _log_observed(channel, degraded.repeat_interleave(count, 0), flat)
    with torch.no_grad():
        joint = model._log_prob(flat, each).double() + observed.flatten(1).sum(1)
    best = joint.view(len(degraded), count).argmax(1)
    mean = draws.mean.clamp(0, levels - 1)  # weights add up to 1 only in exact arithmetic
    return Restored(
        mean,
        (mean + 0.5).floor(),
        draws.samples,
        draws.samples[torch.arange(len(best), device=best.device), best],
        draws.log_evidence,
        draws.effective_sample_size,
    )


def bit_error(images: Tensor, truth: Tensor) -> Tensor:
    """Share of pixels that differ, of each image, `(N,)`."""
    return (images != truth).flatten(1).double().mean(1)


def psnr(images: Tensor, truth: Tensor, peak: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(peak^2 / mean squared error) of each image, dB, `(N,)`."""
    error = (images.double() - truth.double()).square().flatten(1).mean(1)
    return 10 * (2 * math.log10(peak) - error.log10())


def _log_observed(channel: Channel, degraded: Tensor, clean: Tensor) -> Tensor:
    """log p(degraded | clean) of each pixel, 0 where nothing was observed."""
    return torch.where(degraded.isnan(), 0.0, channel.log_prob(degraded.nan_to_num(), clean).double())


class _ChannelGuide:
    """g_t: log p(observation | value) of the pixel at place t; `observed` is `(rows, n)` in the ordering."""

    def __init__(self, observed: Tensor, channel: Channel) -> None:
        self.observed, self.channel = observed, channel

    def log_factor(self, t: int, values: Tensor, support: Tensor) -> Tensor:
        return _log_observed(self.channel, self.observed[:, t, None], support)[:, None]

    def of_rows(self, rows: Tensor) -> _ChannelGuide:
        return _ChannelGuide(self.observed[rows.to(self.observed.device)], self.channel)
