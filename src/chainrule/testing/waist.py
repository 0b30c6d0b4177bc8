"""The two ways of running a model: what each may depend on, and that they agree."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.model import AutoregressiveModel
from chainrule.testing.subject import (
    Outcome,
    Subject,
    Violation,
    conformance,
    index_of_worst,
    relative_deviation,
)

__all__ = ["check_causality", "check_chain_rule", "check_shapes", "check_step_equals_forward"]

#: How far two float64 computations of the same parameters may be apart, relative to their size.
ROUNDING = 1e-9


@conformance("shapes")
@torch.no_grad()
def check_shapes(subject: Subject) -> Outcome:
    """`forward`, `log_prob`, `log_prob_per_variable` and `sample` return what their docstrings say."""
    model, x = subject.model, subject.examples(3)
    context = subject.contexts_for(3)
    if isinstance(model, AutoregressiveModel):
        _require_shape("forward", model(x, context), (*x.shape, model.conditional.num_params))
        _require_shape("log_prob_per_variable", model.log_prob_per_variable(x, context), tuple(x.shape))
    _require_shape("log_prob", model.log_prob(x, context), (3,))
    samples = model.sample(3, context, seed=subject.seed)
    _require_shape("sample", samples, tuple(x.shape))
    model.conditional.check(samples)
    return Outcome("of parameters, log_prob and samples")


@conformance("chain rule")
@torch.no_grad()
def check_chain_rule(subject: Subject) -> Outcome:
    """`log_prob` is the sum over the variables of log p(x_i | parameters that `forward` gives)."""
    model, x = subject.autoregressive, subject.extremes()
    context = subject.contexts_for(len(x))
    log_prob = model.log_prob(x, context)
    ways = {
        "log_prob_per_variable": model.log_prob_per_variable(x, context),
        "the conditionals of forward": model.conditional.log_prob(model(x, context), x),
    }
    worst = 0.0
    for name, per_variable in ways.items():
        total = per_variable.flatten(1).sum(1)
        deviation = relative_deviation(total, log_prob)
        worst = max(worst, float(deviation.max()))
        if worst > ROUNDING:
            row = index_of_worst(deviation)[0]
            raise Violation(
                f"log_prob gives {log_prob[row]:.9g} nats where {name} adds up to {total[row]:.9g}."
            )
    return Outcome("log_prob is the sum of its conditionals", worst)


@conformance("causality")
def check_causality(subject: Subject) -> Outcome:
    """The parameters of a variable depend on no variable at or after it in the ordering.

    By autograd, where `forward` is differentiable in x: the derivative is exactly 0. By
    perturbation, always: changing one variable, or all from one on, leaves the parameters of it
    and of all before it as they were, to rounding.
    """
    with torch.no_grad():
        worst = max(_perturb(subject, context) for context in subject.each_context())
    differentiable = [_differentiate(subject, context) for context in subject.each_context()]
    ways = "by autograd and perturbation" if all(differentiable) else "by perturbation (no gradient in x)"
    return Outcome(ways, worst)


@conformance("step equals forward")
@torch.no_grad()
def check_step_equals_forward(subject: Subject) -> Outcome:
    """`init_state` and `step`, fed with x in the ordering, give the parameters of `forward(x)`."""
    model, x = subject.autoregressive, subject.extremes()
    worst = 0.0
    for rows in (x, x[-1:]):
        context = subject.contexts_for(len(rows))
        expected = model.to_sequence(model(rows, context))  # (batch, n, num_params)
        deviation = relative_deviation(_params_by_steps(model, rows, context), expected)
        deviation = torch.where(subject.used_params, deviation, 0.0)  # padding is nobody's parameter
        worst = max(worst, float(deviation.max()))
        if worst > ROUNDING:
            late = (deviation > ROUNDING).any(2).any(0).int().argmax()
            raise Violation(
                f"the parameters of {subject.variable(int(late))} differ by {deviation[:, late].max():.3g} "
                "between step and forward; this is the first variable in the ordering where they do."
            )
    return Outcome(f"at all {model.num_variables} variables", worst)


def _params_by_steps(model: AutoregressiveModel, x: Tensor, context: Tensor | None) -> Tensor:
    state = model.init_state(len(x), context)
    params, previous = [], None
    for value in model.to_sequence(x).unbind(1):
        of_one, state = model.step(state, previous)
        _require_shape("step", of_one, (len(x), model.conditional.num_params))
        params.append(of_one.clone())
        previous = value.clone()
    return torch.stack(params, dim=1)


def _perturb(subject: Subject, context: Tensor | None) -> float:
    """Change x at each position, alone and with all after it; the greatest change where none may be."""
    model, positions, generator = subject.autoregressive, subject.positions(), subject.generator()
    reached = torch.arange(model.num_variables)
    alone = reached == positions[:, None]
    worst = 0.0
    for base in torch.split(subject.examples(4, generator), 1):
        base = model.to_sequence(base).expand(len(positions), -1)
        other = subject.other_values(base, generator)
        for changed in (alone, reached >= positions[:, None]):
            # The unchanged example rides in the same batch, so that both are computed alike.
            both = model.from_sequence(torch.cat([base, torch.where(changed, other, base)]))
            own = None if context is None else context.expand(len(both), -1)
            before, after = model.to_sequence(model(both, own)).chunk(2)
            deviation = torch.where(subject.used_params, relative_deviation(after, before), 0.0).amax(2)
            deviation = torch.where(reached <= positions[:, None], deviation, 0.0)
            worst = max(worst, float(deviation.max()))
            if worst > ROUNDING:
                row, position = index_of_worst(deviation)
                which = "changed" if changed is alone else "and all after it changed"
                raise Violation(
                    f"the parameters of {subject.variable(position)} changed by "
                    f"{deviation[row, position]:.3g} when {subject.variable(int(positions[row]))} {which}; "
                    "they may depend on earlier variables only."
                )
    return worst


def _differentiate(subject: Subject, context: Tensor | None) -> bool:
    """Require a zero derivative wherever one must be; whether there was a derivative to look at."""
    model, positions, generator = subject.autoregressive, subject.positions(), subject.generator()
    rows = torch.arange(len(positions))
    for base in torch.split(subject.examples(3, generator), 1):
        x = base.expand(len(positions), *model.event_shape).clone().requires_grad_()
        own = None if context is None else context.expand(len(positions), -1)
        params = model.to_sequence(model(x, own))[rows, positions]  # row k: parameters at position k
        if not params.requires_grad:
            return False
        # Random weights, so that the derivatives of several parameters cannot cancel.
        weights = torch.rand(params.shape, generator=generator, dtype=params.dtype) + 0.5
        weights = weights * subject.used_params[positions]
        (gradient,) = torch.autograd.grad((params * weights).sum(), x, allow_unused=True)
        if gradient is None:
            return False
        late = torch.arange(model.num_variables) >= positions[:, None]
        leak = torch.where(late, model.to_sequence(gradient), 0.0).abs().nan_to_num(nan=torch.inf)
        if leak.max() > 0:
            row, position = index_of_worst(leak)
            raise Violation(
                f"the parameters of {subject.variable(int(positions[row]))} have a derivative of "
                f"{leak[row, position]:.3g} in {subject.variable(position)}, which must be exactly 0: "
                "they may depend on earlier variables only."
            )
    return True


def _require_shape(what: str, found: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(found.shape) != expected:
        raise Violation(f"{what} returned shape {tuple(found.shape)}; expected {expected}.")
