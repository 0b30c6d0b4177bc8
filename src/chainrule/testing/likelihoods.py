"""Properties of log p(x) itself: a distribution, the same for every batch, with gradients."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.models import Ensemble
from chainrule.testing.subject import (
    STATE_LIMIT,
    Outcome,
    Skipped,
    Subject,
    Violation,
    all_examples,
    conformance,
    index_of_worst,
    relative_deviation,
)

__all__ = [
    "check_batch_invariance",
    "check_ensemble",
    "check_finite",
    "check_gradients",
    "check_normalisation",
]

#: How far the total probability may be from 1.
NORMALISATION_TOLERANCE = 1e-9
#: How far log p(x) may move with the company that x keeps in a batch.
BATCH_TOLERANCE = 1e-10
#: How far a gradient may be from a central difference; the difference itself is this inexact.
GRADIENT_TOLERANCE = 1e-4


@conformance("batch invariance")
@torch.no_grad()
def check_batch_invariance(subject: Subject) -> Outcome:
    """log p(x) is the same when asked again, alone, and in another batch."""
    model, x = subject.model, subject.extremes()
    context = subject.contexts_for(len(x))
    together = model.log_prob(x, context)

    def pick(rows: Tensor) -> Tensor:
        return model.log_prob(x[rows], None if context is None else context[rows])

    everyone, backwards = torch.arange(len(x)), torch.arange(len(x) - 1, -1, -1)
    others = {
        "asked a second time": pick(everyone),
        "alone": torch.cat([pick(row) for row in torch.split(everyone, 1)]),
        "in another order": pick(backwards)[backwards],
        "in half the batch": torch.cat([pick(half) for half in everyone.chunk(2)]),
    }
    worst = 0.0
    for how, found in others.items():
        deviation = relative_deviation(found, together)
        worst = max(worst, float(deviation.max()))
        if worst > BATCH_TOLERANCE:
            row = index_of_worst(deviation)[0]
            raise Violation(
                f"log_prob of an example is {together[row]:.9g} in a batch of {len(x)} and {found[row]:.9g} "
                f"{how}; it must depend on the example alone."
            )
    return Outcome("again, alone, reordered, in halves", worst)


@conformance("finite")
@torch.no_grad()
def check_finite(subject: Subject) -> Outcome:
    """log p(x) is finite for all lowest and all highest values, and not above 0 for discrete ones."""
    x = subject.extremes()
    log_prob = subject.model.log_prob(x, subject.contexts_for(len(x)))
    if not bool(log_prob.isfinite().all()):
        row = int((~log_prob.isfinite()).int().argmax())
        raise Violation(
            f"log_prob is {log_prob[row]:g} for the valid example {_shown(x[row])}; expected a finite number."
        )
    if subject.support is not None and log_prob.max() > NORMALISATION_TOLERANCE:
        row = int(log_prob.argmax())
        raise Violation(f"log_prob is {log_prob[row]:.6g} for {_shown(x[row])}: a probability above 1.")
    return Outcome(f"on {len(x)} examples, the extremes among them")


@conformance("normalisation")
@torch.no_grad()
def check_normalisation(subject: Subject) -> Outcome:
    """The probabilities add up to 1: of all x where they are few, and of every single conditional.

    Where the variables are too many to enumerate, the result says that only the conditionals were
    summed, which together with causality and the chain rule implies the rest.
    """
    if subject.support is None:
        raise Skipped("continuous values are not enumerated")
    every = all_examples(subject.model)
    of_conditionals = None
    if isinstance(subject.model, AutoregressiveModel):
        of_conditionals = _total_of_conditionals(subject, subject.support)
    if every is None:
        n = subject.model.num_variables
        too_many = f"too many variables ({len(subject.support)}^{n} states, at most {STATE_LIMIT})"
        if of_conditionals is None:
            raise Skipped(too_many)
        return Outcome(f"of single conditionals only; all x: skipped, {too_many}", of_conditionals)
    worst = of_conditionals or 0.0
    for context in subject.each_context():
        own = None if context is None else context.expand(len(every), -1)
        total = float(subject.in_chunks(subject.model.log_prob, every, own).exp().sum())
        worst = max(worst, abs(total - 1))
        if not abs(total - 1) <= NORMALISATION_TOLERANCE:
            raise Violation(f"the probabilities of all {len(every)} x add up to {total:.12g}, not to 1.")
    return Outcome(f"over all {len(every)} x", worst)


@conformance("gradients")
def check_gradients(subject: Subject) -> Outcome:
    """log p(x) has a finite gradient in every parameter, and it is the derivative.

    Compared with a central difference along one random direction in the space of all parameters.
    `training_loss` must have finite values and gradients too.
    """
    model = subject.model
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise Skipped("no parameter asks for a gradient")
    x = subject.examples(6)
    context = subject.contexts_for(6)
    gradients = _gradients("log_prob", model.log_prob(x, context).sum(), parameters)
    loss = model.training_loss(x, model._checked_context(context, 6), subject.generator())
    if tuple(loss.shape) != (6,):
        raise Violation(
            f"training_loss returned shape {tuple(loss.shape)}; expected one number per example, (6,)."
        )
    _gradients("training_loss", loss.sum(), parameters, unused_allowed=True)

    generator = subject.generator()
    size = sum(p.numel() for p in parameters.values())
    direction = {
        k: torch.randn(p.shape, generator=generator, dtype=p.dtype) / math.sqrt(size)
        for k, p in parameters.items()
    }
    expected = float(sum((gradients[k] * direction[k]).sum() for k in parameters))
    step = 1e-5
    with torch.no_grad():
        values = []
        for signed_step in (step, -step):
            for name, parameter in parameters.items():
                parameter.add_(direction[name], alpha=signed_step)
            values.append(float(model.log_prob(x, context).sum()))
            for name, parameter in parameters.items():
                parameter.sub_(direction[name], alpha=signed_step)
    found = (values[0] - values[1]) / (2 * step)
    deviation = abs(found - expected) / max(1.0, abs(expected))
    if not deviation <= GRADIENT_TOLERANCE:
        raise Violation(
            f"the gradient of log_prob along a random direction is {expected:.9g}, but a central difference "
            f"gives {found:.9g}."
        )
    return Outcome(f"of {len(parameters)} tensors of parameters, against a difference", deviation)


@conformance("ensemble")
@torch.no_grad()
def check_ensemble(subject: Subject) -> Outcome:
    """An ensemble averages probabilities of whole examples: log-sum-exp of its members less log K.

    It has no conditionals, since no single chain rule holds for it.
    """
    model = subject.model
    if not isinstance(model, Ensemble):
        raise Skipped("not an ensemble")
    x = subject.extremes()
    context = subject.contexts_for(len(x))
    of_members = torch.stack(
        [cast(LikelihoodModel, member).log_prob(x, context) for member in model.members], dim=1
    )
    expected = torch.logsumexp(of_members, dim=1) - math.log(len(model.members))
    found = model.log_prob(x, context)
    deviation = relative_deviation(found, expected)
    if deviation.max() > BATCH_TOLERANCE:
        row = index_of_worst(deviation)[0]
        raise Violation(
            f"log_prob is {found[row]:.9g} where the members' mean probability is {expected[row]:.9g} nats: "
            "it must be logsumexp of the members' log_prob less log K."
        )
    if hasattr(model, "log_prob_per_variable"):
        raise Violation("it offers log_prob_per_variable, but a mixture has no conditionals.")
    return Outcome(f"of {len(model.members)} members", float(deviation.max()))


def _total_of_conditionals(subject: Subject, support: Tensor) -> float:
    """Greatest distance from 1 of the total of any conditional, at a few random x."""
    model, x = subject.autoregressive, subject.examples(8)
    params = model(x, subject.contexts_for(8))
    log_probs = [model.conditional.log_prob(params, torch.full_like(x, float(v))) for v in support]
    total = torch.stack(log_probs).exp().sum(0)
    deviation = relative_deviation(total, torch.ones_like(x))
    worst = float(deviation.max())
    if worst > NORMALISATION_TOLERANCE:
        row, *variable = index_of_worst(deviation)
        raise Violation(
            f"the conditional of the variable at {variable} adds up to {total[(row, *variable)]:.12g} "
            f"over its {len(support)} values, not to 1."
        )
    return worst


def _gradients(
    what: str, total: Tensor, parameters: dict[str, torch.nn.Parameter], *, unused_allowed: bool = False
) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None and not unused_allowed:
            raise Violation(f"parameter {name} gets no gradient from {what}; every parameter must matter.")
        if gradient is not None and not bool(gradient.isfinite().all()):
            raise Violation(f"the gradient of {what} in parameter {name} is not finite.")
    return {k: g for k, g in zip(parameters, gradients, strict=True) if g is not None}


def _shown(x: Tensor) -> str:
    values = [f"{v:g}" for v in x.flatten()[:8].tolist()]
    return f"[{', '.join(values)}{', ...' if x.numel() > 8 else ''}]"
