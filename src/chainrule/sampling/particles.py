"""Sequential Monte Carlo along the chain rule: draws of unknown variables that respect known ones.

Particles walk through the ordering together. At an unknown variable each draws from the model's own
conditional, p(x_t | x_<t); at a known one each is weighted by p(evidence_t | x_<t). That an unknown
variable is there at all, and not missing, can be evidence too: then it is drawn from p(x_t | x_<t, there)
and weighted by P(there | x_<t). The product of the average weights is an unbiased estimate of p(evidence).
With resampling (Gordon et al. 1993; adaptive and systematic as in Doucet & Johansen 2009, sections 3.4 and
3.5) promising particles are multiplied along the way; without it this is plain importance sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chainrule.sampling.protocol import Fillable

__all__ = ["Cloud", "Walk", "effective_size", "pick_by_weight", "run_particles", "systematic_ancestors"]

#: Resample when the effective number of particles falls below this share of them.
_RESAMPLE_BELOW = 0.5


@dataclass(frozen=True)
class Cloud:
    """Weighted particles for every row of evidence.

    - `values`: `(rows, particles, n)`, in the ordering.
    - `log_weight`: `(rows, particles)`, float64, unnormalised.
    - `log_evidence`: `(rows,)`, float64: log of the unbiased estimate of p(evidence), in nats.
    - `effective_size`: `(rows,)`, float64: the least effective number of particles along the way.
    """

    values: Tensor
    log_weight: Tensor
    log_evidence: Tensor
    effective_size: Tensor

    def choose(self, uniform: Tensor) -> Tensor:
        """Particles drawn by their weights, `(rows, k, n)`; `uniform`: `(rows, k)` in [0, 1)."""
        chosen = pick_by_weight(self.log_weight, uniform)
        return self.values.gather(1, chosen[..., None].expand(-1, -1, self.values.shape[-1]))


@torch.no_grad()
def run_particles(
    model: Fillable,
    evidence: Tensor,
    holes: Tensor,
    context: Tensor | None,
    noise: Tensor,
    *,
    resampling: Tensor | None = None,
    temperature: float = 1.0,
    present: bool = False,
    stop: int | None = None,
) -> Cloud:
    """Walk particles through the ordering, all rows together; each row resamples on its own.

    - `evidence`: `(rows, n)` in the ordering; where `holes` (bool, `(rows, n)`) is true it is not read.
    - `noise`: `(rows, particles, n, num_noise)`, uniforms that draw the unknown variables.
    - `resampling`: `(rows, n)`, uniforms for the variables after which a row may resample; None: never.
    - `present`: that unknown variables are not missing is known, and part of the evidence.
    - `stop`: weigh and draw only the first so many variables; all by default.
    """
    walk = Walk(model, evidence, holes, context, noise.shape[1])
    known, unknown = (~holes).any(0).tolist(), holes.any(0).tolist()
    for t in range(walk.num_variables if stop is None else stop):
        if unknown[t]:
            walk.spread(t)
        params = walk.step(t)
        conditional = model.conditional_at(t)
        if unknown[t]:
            draw = conditional.sample_present if present else conditional.sample
            walk.fill(t, draw(params, noise[:, :, t].flatten(0, 1), temperature))
        if known[t]:
            walk.weigh(t, conditional.log_prob(params, walk.values[:, t]), known=True)
        must_be_there = unknown[t] and present and conditional.has_missing
        if must_be_there:
            walk.weigh(t, conditional.log_present(params), known=False)
        if resampling is not None and (known[t] or must_be_there):
            walk.resample(t, resampling[:, t])
    return walk.cloud()


class Walk:
    """Particles on their way: values, weights, and the model's state, a batch of rows x particles.

    Until the first hole of any row all particles of a row are the same, so one stands for all.
    """

    def __init__(
        self, model: Fillable, evidence: Tensor, holes: Tensor, context: Tensor | None, num_particles: int
    ) -> None:
        rows, self.num_variables = holes.shape
        self.model, self.holes, self.context = model, holes, context
        self.num_particles, self.particles = num_particles, 1
        # Whatever stands at the unknown places, NaN included, stays out of the computation.
        self.values = torch.where(holes, 0.0, evidence)
        self.state: Any = model.init_state(rows, context)
        weights = torch.zeros(rows, 1, dtype=torch.float64, device=evidence.device)
        self.log_weight, self.log_evidence = weights, weights[:, 0]
        self.smallest = torch.full_like(self.log_evidence, num_particles)
        # Whether a row has a hole at t or later, and one more column that says no.
        later = holes.flip(1).cummax(1).values.flip(1)
        self.unfinished = torch.cat([later, torch.zeros_like(later[:, :1])], dim=1)

    def spread(self, t: int) -> None:
        """From one particle a row to all of them, before variable t; nothing if that was done before."""
        if self.particles == self.num_particles:
            return
        rows = torch.arange(len(self.holes), device=self.holes.device)
        index = rows.repeat_interleave(self.num_particles)
        self.particles = self.num_particles
        self.log_weight = self.log_weight.expand(-1, self.particles)
        if self.context is not None:
            self.context = self.context[index]
        self._take(index, steps=t)

    def step(self, t: int) -> Tensor:
        """Parameters of variable t, `(rows * particles, num_params)`."""
        params, self.state = self.model.step(self.state, self.values[:, t - 1] if t else None)
        return params.to(self.values.dtype)

    def fill(self, t: int, drawn: Tensor) -> None:
        """Let variable t have the drawn values where it is unknown."""
        hole = self.holes[:, t].repeat_interleave(self.particles)
        self.values[:, t] = torch.where(hole, drawn, self.values[:, t])

    def weigh(self, t: int, log_prob: Tensor, *, known: bool) -> None:
        """Multiply the weights by a probability in the rows where variable t is known, or is not."""
        gained = log_prob.double().view(-1, self.particles)
        meant = self.holes[:, t, None] ^ known
        self.log_weight = self.log_weight + torch.where(meant, gained, 0.0)

    def resample(self, t: int, uniform: Tensor) -> None:
        """After variable t, multiply the good particles of the rows whose weights have become uneven.

        Only rows that have something left to fill: later it would merely repeat particles.
        """
        if self.particles == 1:
            return
        size = effective_size(self.log_weight)
        self.smallest = torch.minimum(self.smallest, size)
        due = self.unfinished[:, t + 1] & (size < _RESAMPLE_BELOW * self.particles)
        if not bool(due.any()):
            return
        ancestors = systematic_ancestors(self.log_weight, uniform)
        own = torch.arange(self.particles, device=ancestors.device)
        ancestors = torch.where(due[:, None], ancestors, own)
        rows = torch.arange(len(ancestors), device=ancestors.device)[:, None]
        self.log_evidence = self.log_evidence + torch.where(due, _log_mean_exp(self.log_weight), 0.0)
        self.log_weight = torch.where(due[:, None], 0.0, self.log_weight)
        self._take((rows * self.particles + ancestors).flatten(), steps=t + 1)

    def mean(self, first: int, last: int) -> Tensor:
        """Weighted means of variables first..last - 1 of each row, `(rows, last - first)`."""
        weight = _shares(self.log_weight).to(self.values.dtype)
        values = self.values[:, first:last].view(len(weight), self.particles, -1)
        return (weight[:, None] @ values)[:, 0]

    def cloud(self) -> Cloud:
        """What the walk has come to."""
        rows = len(self.holes)
        values = self.values.view(rows, self.particles, -1)
        log_weight = self.log_weight
        if self.particles < self.num_particles:  # nothing was unknown
            values = values.expand(-1, self.num_particles, -1)
            log_weight = log_weight.expand(-1, self.num_particles)
        return Cloud(
            values,
            log_weight,
            self.log_evidence + _log_mean_exp(log_weight),
            torch.minimum(self.smallest, effective_size(log_weight)),
        )

    def _take(self, index: Tensor, steps: int) -> None:
        """Make these the particles, when the state has taken so many steps."""
        self.values = self.values[index]
        selected = self.model.select_state(self.state, index)
        if selected is None:
            # The model cannot pick rows of its state: walk the same way again. Right, and slow.
            selected = self.model.init_state(len(index), self.context)
            for t in range(steps):
                _, selected = self.model.step(selected, self.values[:, t - 1] if t else None)
        self.state = selected


def systematic_ancestors(log_weight: Tensor, uniform: Tensor) -> Tensor:
    """Which particle each new one copies, `(rows, particles)`: systematic resampling.

    Particle i gets floor or ceil of its share of copies, the share on average. `uniform`: `(rows,)`.
    """
    count = log_weight.shape[1]
    teeth = torch.arange(count, dtype=torch.float64, device=log_weight.device)
    return pick_by_weight(log_weight, (uniform.double()[:, None] + teeth) / count)


def effective_size(log_weight: Tensor) -> Tensor:
    """(sum w)^2 / sum w^2 of each row, between 1 and the number of particles; 0 if all weights are 0."""
    size = torch.exp(2 * torch.logsumexp(log_weight, 1) - torch.logsumexp(2 * log_weight, 1))
    return size.nan_to_num(nan=0.0)


def pick_by_weight(log_weight: Tensor, uniform: Tensor) -> Tensor:
    """Indices of particles at these places of the cumulative weights; evenly if all weights are 0."""
    cumulative = _shares(log_weight).cumsum(1)
    cumulative = cumulative / cumulative[:, -1:]
    index = torch.searchsorted(cumulative, uniform.double().contiguous(), right=True)
    return index.clamp_max(log_weight.shape[1] - 1)


def _shares(log_weight: Tensor) -> Tensor:
    """The weights of each row, adding up to 1; even ones if all are 0."""
    return torch.softmax(log_weight, dim=1).nan_to_num(nan=1 / log_weight.shape[1])


def _log_mean_exp(log_weight: Tensor) -> Tensor:
    return torch.logsumexp(log_weight, 1) - math.log(log_weight.shape[1])
