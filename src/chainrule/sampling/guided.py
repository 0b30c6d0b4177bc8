"""Sequential Monte Carlo where something is known about variables without any of them being known.

A noisy copy of every pixel, the mean of every block of pixels: what is known enters as a factor g_t for each
variable, and draws are wanted from

    pi(x)  proportional to  prod_t p(x_t | x_<t) g_t(x_t, x_<t).

Each particle draws x_t from p(x_t | x_<t) g_t(x_t, x_<t) normalised over the values of x_t, and is weighted
by the sum that this was divided by: the locally optimal proposal (Doucet & Johansen 2009, section 4.1).
Exact as the number of particles grows, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chainrule.errors import ChainruleError
from chainrule.sampling.filling import FillOptions, RowNoise
from chainrule.sampling.particles import Cloud, Walk, pick_by_weight
from chainrule.sampling.protocol import Fillable

__all__ = ["Guide", "GuidedDraws", "draw_guided"]

#: Rows x particles that walk together: bounds memory. A single row is never cut in two.
_BATCH = 2048


class Guide(Protocol):
    """The factors g_t: what is known beside the model, for some rows."""

    def log_factor(self, t: int, values: Tensor, support: Tensor) -> Tensor:
        """log g_t, `(rows, particles, K)` or what broadcasts to it, of the K values of variable t.

        - `t`: a place of the ordering; `values`: `(rows, particles, n)`, of which those before t are drawn.
        - `support`: `(K,)`, the values that variable t can take.
        """

    def of_rows(self, rows: Tensor) -> Guide:
        """The same for these rows alone, indices `(k,)`."""


@dataclass(frozen=True)
class GuidedDraws:
    """Draws from pi, and how they came about.

    - `samples`: `(rows, num_samples, *event_shape)`; those of a row come from one cloud of particles and are
      not independent of each other.
    - `mean`: `(rows, *event_shape)`, the mean of pi estimated from all particles.
    - `log_evidence`: `(rows,)`, float64, nats: log of an unbiased estimate of sum_x prod_t p g_t.
    - `effective_sample_size`: `(rows,)`, float64: the least effective number of particles along the way;
      0 where no particle is possible at all.
    """

    samples: Tensor
    mean: Tensor
    log_evidence: Tensor
    effective_sample_size: Tensor


@torch.no_grad()
def draw_guided(
    model: Fillable,
    guide: Guide,
    blank: Tensor,
    context: Tensor | None,
    options: FillOptions,
    *,
    lag: int | None = None,
) -> GuidedDraws:
    """Draw whole examples from pi, `options.num_samples` for each row, with `options.num_particles`.

    - `blank`: zeros `(rows, n)` in the model's precision and on its device.
    - `lag`: take the mean of variable t from the particles as they stand `lag` variables later (fixed-lag
      smoothing, Kitagawa 1996). Resampling leaves few different values of the early variables at the end, so
      this trades what the far future says of a variable for less noise. None: from the particles at the end.

    Raises `ChainruleError` where a variable has no finite list of values.
    """
    for t in range(model.num_variables):
        if model.conditional_at(t).support() is None:
            raise ChainruleError(
                f"this needs a model of discrete values, and the {model.conditional_at(t).name} conditional "
                "is continuous; use bernoulli, categorical or discretized-logistic-mixture."
            )
    parts = [
        _draw_rows(
            model,
            guide.of_rows(part),
            part.tolist(),
            blank[part],
            None if context is None else context[part],
            options,
            lag,
        )
        for part in torch.split(torch.arange(len(blank)), max(1, _BATCH // options.num_particles))
    ]
    return GuidedDraws(
        *(torch.cat(tensors) for tensors in zip(*(vars(part).values() for part in parts), strict=True))
    )


def _draw_rows(
    model: Fillable,
    guide: Guide,
    rows: list[int],
    blank: Tensor,
    context: Tensor | None,
    options: FillOptions,
    lag: int | None,
) -> GuidedDraws:
    draw = RowNoise(options, rows, blank.device)
    cloud, mean = _walk(model, guide, draw, blank, context, options.num_particles, lag)
    chosen = cloud.choose(draw.uniform(options.num_samples, dtype=torch.float64))
    flat = model.from_sequence(chosen.flatten(0, 1))
    return GuidedDraws(
        flat.view(len(rows), options.num_samples, *flat.shape[1:]),
        model.from_sequence(mean),
        cloud.log_evidence,
        cloud.effective_size,
    )


def _walk(
    model: Fillable,
    guide: Guide,
    draw: RowNoise,
    blank: Tensor,
    context: Tensor | None,
    particles: int,
    lag: int | None,
) -> tuple[Cloud, Tensor]:
    """The particles at the end, and the mean of each variable, `(rows, n)` in the ordering."""
    rows, n = blank.shape
    noise = draw.uniform(n, particles, dtype=torch.float64)
    resampling = draw.uniform(n, dtype=torch.float32)
    walk = Walk(model, blank, torch.ones_like(blank, dtype=torch.bool), context, particles)
    walk.spread(0)
    mean = torch.empty_like(blank)
    for t in range(n):
        conditional = model.conditional_at(t)
        support = conditional.support()
        assert support is not None
        support = support.to(blank)
        params = walk.step(t)[:, None]
        log_p = conditional.log_prob(params, support.expand(len(params), -1)).double()
        factor = guide.log_factor(t, walk.values.view(rows, particles, n), support)
        joint = (log_p.view(rows, particles, -1) + factor).flatten(0, 1)
        walk.fill(t, support[pick_by_weight(joint, noise[:, t].reshape(-1, 1))[:, 0]])
        walk.weigh(t, torch.logsumexp(joint, dim=1), known=False)
        walk.resample(t, resampling[:, t])
        if lag is not None and t >= lag:
            mean[:, t - lag] = walk.mean(t - lag, t - lag + 1)[:, 0]
    rest = 0 if lag is None else max(n - lag, 0)
    mean[:, rest:] = walk.mean(rest, n)
    return walk.cloud(), mean
