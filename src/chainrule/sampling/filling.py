"""Filling in: draws of the unknown variables from p(x_unknown | x_known), by whatever way is right.

Where nothing known comes after something unknown, going on with ancestral sampling is exact. A network
that can be read in every ordering is read in one that puts the evidence first. Otherwise particles are
needed (`particles`). Which rows of a batch go which way is decided here, row by row.

Where holes are to be filled with values that are there (`present`), that a hole is not missing is
something known of it: evidence about the holes before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from chainrule.errors import ChainruleError
from chainrule.sampling.particles import run_particles
from chainrule.sampling.protocol import Fillable

__all__ = ["FILL_METHODS", "FillInfo", "FillMethod", "FillOptions", "RowNoise", "fill_holes", "warning_of"]

FillMethod = Literal["auto", "exact", "particles", "importance", "left-to-right"]
FILL_METHODS = ("auto", "exact", "particles", "importance", "left-to-right")

#: Rows x particles that walk together: bounds memory. A single row is never cut in two.
_BATCH = 2048

#: An effective number of particles below this deserves a warning.
_FEW = 10.0

#: What separates the noise of two members of a mixture: 2^32 divided by the golden ratio.
_STRIDE = 0x9E3779B1


@dataclass(frozen=True)
class FillInfo:
    """How a filling came about, one entry for each row of the evidence.

    - `log_evidence`: `(rows,)`, float64, nats: log p(x_known), exact for `"exact"`, else the log of an
      unbiased estimate of p(x_known); NaN for `"left-to-right"`, which does not weigh the evidence.
      With `present`, it is that of the known values *and* of no hole being a missing value.
    - `effective_sample_size`: `(rows,)`: the least effective number of particles along the way, from 1
      (one particle did all the work) to `num_particles`; infinite for `"exact"`, NaN for
      `"left-to-right"`, 0 where no particle explains the evidence at all.
      It compares the particles with each other; of what none of them tried it knows nothing.
    - `method`: what was done: `"exact"`, `"particles"`, `"importance"` or `"left-to-right"`.
    """

    log_evidence: Tensor
    effective_sample_size: Tensor
    method: list[str]


@dataclass(frozen=True)
class FillOptions:
    """What `fill` was asked for. Row k of a batch draws its noise from `seed` + k, whatever the others do."""

    method: FillMethod
    num_particles: int
    num_samples: int
    temperature: float
    seed: int
    present: bool = False

    def of_member(self, index: int) -> FillOptions:
        """The same with other noise, for one of several models that fill the same rows."""
        return replace(self, seed=self.seed + (index + 1) * _STRIDE)


class RowNoise:
    """Uniform noise for some rows of a batch, each from a generator of its own; the same on every device."""

    def __init__(self, options: FillOptions, rows: Iterable[int], device: torch.device) -> None:
        self.device = device
        # PyTorch's generator takes in 32 bits of a seed; neighbouring seeds give unrelated streams.
        self.generators = [torch.Generator().manual_seed((options.seed + row) % 2**32) for row in rows]

    def uniform(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """The next numbers of every row, `(rows, *shape)`, in [0, 1)."""
        drawn = torch.empty(len(self.generators), *shape, dtype=dtype)
        for own, generator in zip(drawn, self.generators, strict=True):
            torch.rand(shape, generator=generator, dtype=dtype, out=own)
        return drawn.to(self.device)


@dataclass(frozen=True)
class _Job:
    """Rows that are filled in the same way, by the same reading of the model."""

    method: str
    model: Fillable
    rows: Tensor


def fill_holes(
    model: Fillable, evidence: Tensor, holes: Tensor, context: Tensor | None, options: FillOptions
) -> tuple[Tensor, FillInfo]:
    """Fill the places where `holes` is true, by `options.method`.

    - `evidence`, `holes` (bool): `(rows, *event_shape)`; evidence is not read at the holes.

    Returns `(rows, num_samples, *event_shape)` and how it came about. Raises `ChainruleError` if the
    method is `"exact"` and the model can do that for some row only approximately.
    """
    rows = len(evidence)
    filled = evidence.new_empty(rows, options.num_samples, *evidence.shape[1:])
    log_evidence = torch.empty(rows, dtype=torch.float64, device=evidence.device)
    size = torch.empty_like(log_evidence)
    method = [""] * rows
    for job in _jobs(model, holes, options):
        particles = _particles_of(job.method, options)
        for part in torch.split(job.rows, max(1, _BATCH // particles)):
            own = None if context is None else context[part]
            results = _fill_rows(job, part, evidence[part], holes[part], own, options)
            filled[part], log_evidence[part], size[part] = results
        for row in job.rows.tolist():
            method[row] = job.method
    return filled, FillInfo(log_evidence, size, method)


def warning_of(info: FillInfo, num_particles: int) -> str | None:
    """A line for the user where the particles were too few to be trusted, or None."""
    size = info.effective_sample_size
    poor = size < min(_FEW, num_particles)
    count = int(poor.sum())
    if not count:
        return None
    return (
        f"filling in: in {count} of {len(size)} rows only {float(size[poor].min()):.1f} or a few more of "
        f"the {num_particles} particles count, so these fillings follow p(unknown | known) only roughly. Use "
        "more particles (num_particles, --particles), or an order-agnostic model (DeepNADE), which is exact."
    )


def _jobs(model: Fillable, holes: Tensor, options: FillOptions) -> Iterator[_Job]:
    if not len(holes):
        return
    everything = torch.arange(len(holes), device=holes.device)
    if options.method not in ("auto", "exact"):
        yield _Job(options.method, model, everything)
        return
    hard = _has_evidence_after_a_hole(model, holes, options)
    complete = ~holes.flatten(1).any(1)
    for easy in (complete, ~(hard | complete)):
        if bool(easy.any()):
            yield _Job("exact", model, everything[easy])
    if not bool(hard.any()):
        return
    rest, rest_holes = everything[hard], holes[hard]
    if not model.order_agnostic:
        yield _approximate_job(model, rest, options)
        return
    masks, group = torch.unique(rest_holes.flatten(1), dim=0, return_inverse=True)
    for index, mask in enumerate(masks):
        own, reading = rest[group == index], _evidence_first(model, mask, options)
        # All rows of a group have the same holes, so one tells for all.
        if bool(_has_evidence_after_a_hole(reading, holes[own[:1]], options)):
            yield _approximate_job(reading, own, options)
        else:
            yield _Job("exact", reading, own)


def _approximate_job(model: Fillable, rows: Tensor, options: FillOptions) -> _Job:
    """A job for particles, or a `ChainruleError` where only exact ones were asked for."""
    if options.method == "auto":
        return _Job("particles", model, rows)
    what, advice = "evidence after a hole", ", or an order-agnostic model (DeepNADE)"
    if options.present:
        what = "evidence (known values, and holes that must not stay missing) after a hole"
    raise ChainruleError(
        f"row {int(rows[0])} has {what} in the ordering of this {type(model).__name__}, which is then no "
        f'exact sampler of p(unknown | known); use method="auto" or "particles"'
        f"{'' if model.order_agnostic else advice}."
    )


def _has_evidence_after_a_hole(model: Fillable, holes: Tensor, options: FillOptions) -> Tensor:
    """The rows in which going on from left to right would overlook something known, bool, `(rows,)`."""
    if model.independent_variables:  # what comes later says nothing of a hole
        return torch.zeros(len(holes), dtype=torch.bool, device=holes.device)
    sequence = model.to_sequence(holes)
    told = ~sequence
    if options.present:
        told = told | _may_be_missing(model).to(holes.device)
    return (sequence.cumsum(1) > sequence.int()).logical_and(told).any(1)


def _may_be_missing(model: Fillable) -> Tensor:
    """Which variables can be missing values, bool, `(n,)`, in the ordering."""
    return torch.tensor([model.conditional_at(t).has_missing for t in range(model.num_variables)])


def _evidence_first(model: Fillable, holes: Tensor, options: FillOptions) -> Fillable:
    """The same network in the ordering that has the evidence first; `holes`: `(n,)`, in the event's layout.

    The holes of which something is known, that they are no missing values, come next.
    """
    now = torch.tensor(model.ordering.permutation)
    unknown = holes.cpu()[now]
    told = _may_be_missing(model) if options.present else torch.zeros_like(unknown)
    parts = (~unknown, unknown & told, unknown & ~told)
    return model.with_ordering(torch.cat([now[part] for part in parts]).tolist())


def _particles_of(method: str, options: FillOptions) -> int:
    """How many walk for each row: where no weights are needed, each is a filling by itself."""
    return options.num_particles if method in ("particles", "importance") else options.num_samples


def _fill_rows(
    job: _Job, rows: Tensor, evidence: Tensor, holes: Tensor, context: Tensor | None, options: FillOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Fillings `(rows, num_samples, *event_shape)`, log evidence and effective sizes of some rows."""
    model, particles = job.model, _particles_of(job.method, options)
    if job.method == "exact" and not bool(holes.any()):
        return _as_they_are(model, evidence, context, options)
    draw = RowNoise(options, rows.tolist(), evidence.device)
    n, width = model.num_variables, model.conditional.num_noise
    noise = draw.uniform(particles, n, width, dtype=evidence.dtype)
    resampling = draw.uniform(n, dtype=torch.float32) if job.method == "particles" else None
    sequence, unknown = model.to_sequence(evidence), model.to_sequence(holes)
    last = n
    if job.method == "left-to-right":
        last = int(unknown.any(0).nonzero().max()) + 1 if bool(unknown.any()) else 0
    cloud = run_particles(
        model,
        sequence,
        unknown,
        context,
        noise,
        resampling=resampling,
        temperature=options.temperature,
        present=options.present,
        stop=last,
    )
    if job.method in ("particles", "importance"):
        chosen = cloud.choose(draw.uniform(options.num_samples, dtype=torch.float64))
        log_evidence, size = cloud.log_evidence, cloud.effective_size
    else:
        chosen = cloud.values
        certain, nothing = float("inf"), float("nan")
        exact = job.method == "exact"
        log_evidence = cloud.log_evidence if exact else torch.full_like(cloud.log_evidence, nothing)
        size = torch.full_like(cloud.effective_size, certain if exact else nothing)
    flat = model.from_sequence(chosen.flatten(0, 1))
    return flat.view(len(rows), options.num_samples, *evidence.shape[1:]), log_evidence, size


def _as_they_are(
    model: Fillable, complete: Tensor, context: Tensor | None, options: FillOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for rows without holes, in one parallel pass."""
    params = model(complete, context).to(complete.dtype)
    log_prob = model.conditional.log_prob(params, complete).flatten(1).sum(1).double()
    copies = complete[:, None].expand(-1, options.num_samples, *complete.shape[1:])
    return copies, log_prob, torch.full_like(log_prob, float("inf"))
