"""Properties of log p(x) itself: a distribution, the same for every batch, with gradients."""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import torch
from torch import Tensor

from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.models import Ensemble
from chainrule.testing import quadrature
from chainrule.testing.quadrature import integral_of_conditional, total_by_quadrature
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
from chainrule.testing.values import Kind

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
    """log p(x) is finite for all lowest and all highest values, and not above 0 for discrete ones.

    The lowest and highest of a continuous variable lie far outside what the model samples; where values
    may be missing, examples with all of them missing are tried too.
    """
    x = subject.extremes()
    log_prob = subject.model.log_prob(x, subject.contexts_for(len(x)))
    if not bool(log_prob.isfinite().all()):
        row = int((~log_prob.isfinite()).int().argmax())
        raise Violation(
            f"log_prob is {log_prob[row]:g} for the valid example {_shown(x[row])}; expected a finite number."
        )
    if subject.is_discrete and log_prob.max() > NORMALISATION_TOLERANCE:
        row = int(log_prob.argmax())
        raise Violation(f"log_prob is {log_prob[row]:.6g} for {_shown(x[row])}: a probability above 1.")
    return Outcome(f"on {len(x)} examples, the extremes among them")


@conformance("normalisation")
@torch.no_grad()
def check_normalisation(subject: Subject) -> Outcome:
    """The probabilities add up to 1: of all x where they are few, and of every single conditional.

    Continuous conditionals are integrated (`quadrature`), and so is p(x) over all x where no more than
    two variables are continuous; a conditional's cdf must then be the integral of its density.

    Where the variables are too many to enumerate, the result says that only the conditionals were
    summed, which together with causality and the chain rule implies the rest.
    """
    every = all_examples(subject.model)
    of_conditionals = None
    if isinstance(subject.model, AutoregressiveModel):
        of_conditionals = max(
            _total_of_conditionals(subject, kind)
            if kind.support is not None
            else _integral_of_conditionals(subject, kind)
            for kind in subject.sequence_kinds
        )
    if every is None:
        if of_conditionals is None:
            raise Skipped(_why_not_enumerated(subject))
        integrated = _integrate_all(subject)
        if integrated is None:
            detail = f"of single conditionals only; all x: skipped, {_why_not_enumerated(subject)}"
            return Outcome(detail, of_conditionals)
        return Outcome("over all x, by quadrature", max(integrated, of_conditionals))
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
    x = subject.calm_examples(6)
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


def _total_of_conditionals(subject: Subject, kind: Kind) -> float:
    """Greatest distance from 1 of the total of any conditional of this kind, at a few random x."""
    params = _params_at_random(subject, kind, 8)
    assert kind.support is not None
    value = params.new_zeros(params.shape[:-1])
    log_probs = [kind.conditional.log_prob(params, value + v) for v in kind.support]
    total = torch.stack(log_probs).exp().sum(0)
    deviation = relative_deviation(total, torch.ones_like(total))
    worst = float(deviation.max())
    if worst > NORMALISATION_TOLERANCE:
        row, index = index_of_worst(deviation)
        raise Violation(
            f"the conditional of {subject.variable(int(kind.variables[index]))} adds up to "
            f"{total[row, index]:.12g} over its {len(kind.support)} values, not to 1."
        )
    return worst


def _integral_of_conditionals(subject: Subject, kind: Kind) -> float:
    """The same of continuous conditionals, at a few positions of the ordering; and their cdf."""
    positions = kind.variables.sort().values
    positions = positions[torch.linspace(0, len(positions) - 1, min(len(positions), 12)).long()]
    params = _params_at_random(subject, dataclasses.replace(kind, variables=positions), 4)
    worst = 0.0
    for index, position in enumerate(positions.tolist()):
        total, worst_cdf = integral_of_conditional(kind, params[:, index])
        deviation = relative_deviation(total, torch.ones_like(total))
        if deviation.max() > quadrature.TOLERANCE:
            row = int(deviation.argmax())
            raise Violation(
                f"the conditional of {subject.variable(position)} integrates to {total[row]:.9g}, not to 1."
            )
        if worst_cdf is not None and worst_cdf.max() > quadrature.TOLERANCE:
            raise Violation(
                f"the cdf of {subject.variable(position)} is up to {worst_cdf.max():.3g} away from the "
                f"integral of its density ({kind.conditional.name} conditional)."
            )
        worst = max(worst, float(deviation.max()), 0.0 if worst_cdf is None else float(worst_cdf.max()))
    return worst


def _params_at_random(subject: Subject, kind: Kind, count: int) -> Tensor:
    """What `forward` says of the variables of a kind at random x, `(count, k, num_params)`."""
    model = subject.autoregressive
    params = model.to_sequence(model(subject.examples(count), subject.contexts_for(count)))
    return params[:, kind.variables]


def _integrate_all(subject: Subject) -> float | None:
    """Greatest distance from 1 of the integral over all x; None where that is too much to compute."""
    worst = 0.0
    for context in subject.each_context():
        total = total_by_quadrature(subject, context)
        if total is None:
            return None
        worst = max(worst, abs(total - 1))
        if not abs(total - 1) <= quadrature.TOLERANCE:
            raise Violation(f"p(x) integrates to {total:.9g} over all x, not to 1.")
    return worst


def _why_not_enumerated(subject: Subject) -> str:
    if not subject.is_discrete:
        if not isinstance(subject.model, AutoregressiveModel):
            return "continuous variables and no conditionals"
        count = sum(len(kind.variables) for kind in subject.kinds if kind.support is None)
        if count > 2:
            return f"{count} continuous variables are too many to integrate over"
        return "conditionals too narrow, or states too many, to integrate over"
    states = " x ".join(
        f"{len(k.support)}^{len(k.variables)}" for k in subject.kinds if k.support is not None
    )
    return f"too many variables ({states} states, at most {STATE_LIMIT})"


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
