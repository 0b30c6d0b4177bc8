"""Samplers: all the same function of the noise, and a sample of the very p(x) that log_prob gives.

The statistical check raises a false alarm with probability at most `alpha`, for every model and every
number of samples; no asymptotics. Two bounds share `alpha` evenly, each split over its tests:

- frequencies of k states against their probabilities, by relative entropy D: for N D > k - 1,
  P(N D >= t) <= exp(-t) (e t / (k - 1))^(k - 1)   (Agrawal 2020, "Finite-sample concentration of the
  multinomial in relative entropy");
- each variable against its conditional given the earlier ones in the same sample: a sum of independent
  centred terms of at most 1 and of known variance V, P(S >= s) <= exp(-s^2 / (2 V + 2 s / 3)) (Bernstein).
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from chainrule.likelihood import SampleMethod
from chainrule.model import AutoregressiveModel
from chainrule.testing.subject import (
    POSITION_LIMIT,
    Outcome,
    Skipped,
    Subject,
    Violation,
    all_examples,
    conformance,
    index_of_worst,
    relative_deviation,
)

__all__ = ["check_sample_frequencies", "check_samplers_agree"]

#: How far two computations of the log-probability of a sample may be apart.
LOG_PROB_TOLERANCE = 1e-9
#: Variables whose joint states are counted together.
_WINDOW = 6


@conformance("samplers agree")
@torch.no_grad()
def check_samplers_agree(subject: Subject) -> Outcome:
    """The sample is a function of the noise alone, whatever the sampler.

    - incremental, naive and fixed-point sampling give the same sample for the same noise, also
      at another temperature;
    - the same seed gives the same samples, and the first of them do not depend on how many are drawn;
    - `return_log_prob=True` gives `log_prob` of the samples.
    """
    model, n = subject.model, subject.model.num_variables
    count = 32 if n <= POSITION_LIMIT else 2
    context = subject.contexts_for(count)
    shape = (count, n, model.conditional.num_noise)
    noise = torch.rand(shape, generator=subject.generator(), dtype=torch.float64)
    for temperature in (1.0, 0.7):
        by_method = {
            method: model.sample(context=context, noise=noise, temperature=temperature, method=method)
            for method in get_args(SampleMethod)
        }
        for method in ("naive", "fixed-point"):
            _require_same(
                by_method[method],
                by_method["incremental"],
                f"{method} and incremental sampling give different samples for the same noise "
                f"at temperature {temperature:g}",
            )
    few, many, seed = max(count // 3, 1), count, subject.seed
    first = model.sample(many, context, seed=seed)
    _require_same(model.sample(many, context, seed=seed), first, "the same seed gives different samples")
    _require_same(
        model.sample(few, None if context is None else context[:few], seed=seed),
        first[:few],
        f"the first {few} samples change when {many} are drawn with the same seed",
    )
    return Outcome("three methods, two temperatures, seeds", _worst_log_prob(subject, context, count))


@conformance("sample frequencies")
@torch.no_grad()
def check_sample_frequencies(subject: Subject) -> Outcome:
    """Samples come as often as exp(log_prob) says; a test with false-alarm rate at most `alpha`.

    Joint states of up to six neighbouring variables are counted where all x can be enumerated; and
    in any autoregressive model every variable is tested against its own conditional, given the
    earlier ones of the same sample. The module's docstring states both bounds.
    """
    if subject.support is None:
        raise Skipped("continuous values are not counted")
    count = subject.num_samples
    context = None if subject.contexts is None else subject.contexts[:1].expand(count, -1)
    x = subject.model.sample(count, context, generator=subject.generator())
    every = all_examples(subject.model)
    if every is None and not isinstance(subject.model, AutoregressiveModel):
        raise Skipped(f"too many variables ({subject.model.num_variables}) and no conditionals")
    ways = []
    if every is not None:
        ways.append("joint states")
        _test_joint_states(subject, x, every, context)
    if isinstance(subject.model, AutoregressiveModel):
        ways.append("conditionals")
        _test_conditionals(subject, x, context)
    return Outcome(f"{count} samples, {' and '.join(ways)}; false alarms <= {subject.alpha:g}")


def _require_same(found: Tensor, expected: Tensor, what: str) -> None:
    deviation = relative_deviation(found, expected)
    # Discrete values are equal or they are not; continuous ones are computed along different ways.
    if deviation.max() > LOG_PROB_TOLERANCE:
        row, *variable = index_of_worst(deviation)
        raise Violation(
            f"{what}: the variable at {variable} of sample {row} is {found[(row, *variable)]:g} "
            f"and {expected[(row, *variable)]:g}."
        )


def _worst_log_prob(subject: Subject, context: Tensor | None, count: int) -> float:
    worst = 0.0
    for temperature in (1.0, 0.7):
        x, returned = subject.model.sample(
            count, context, seed=subject.seed, temperature=temperature, return_log_prob=True
        )
        expected = subject.model.log_prob(x, context)
        deviation = relative_deviation(returned, expected)
        worst = max(worst, float(deviation.max()))
        if worst > LOG_PROB_TOLERANCE:
            row = index_of_worst(deviation)[0]
            raise Violation(
                f"sample(return_log_prob=True) returned {returned[row]:.9g} for a sample whose log_prob is "
                f"{expected[row]:.9g} (temperature {temperature:g})."
            )
    return worst


def _test_joint_states(subject: Subject, x: Tensor, every: Tensor, context: Tensor | None) -> None:
    own = None if context is None else context[:1].expand(len(every), -1)
    probability = subject.in_chunks(subject.model.log_prob, every, own).exp()
    n, support = subject.model.num_variables, subject.support
    assert support is not None
    windows = [range(i, min(i + _WINDOW, n)) for i in range(0, max(n - _WINDOW // 2, 1), _WINDOW // 2)]
    for window in windows:
        columns, states = list(window), len(support) ** len(window)
        expected = torch.zeros(states, dtype=torch.float64)
        expected.index_add_(0, _state_index(every, columns, support), probability)
        seen = torch.bincount(_state_index(x, columns, support), minlength=states)
        log_bound = _log_bound_of_frequencies(seen, expected)
        if log_bound < math.log(subject.alpha / 2 / len(windows)):
            worst = int((seen / len(x) - expected).abs().argmax())
            raise Violation(
                f"samples do not follow exp(log_prob): a state of variables {columns[0]}..{columns[-1]} came "
                f"{int(seen[worst])} times in {len(x)}, expected {expected[worst] * len(x):.1f}; chance at "
                f"most {math.exp(log_bound):.1e}."
            )


def _state_index(x: Tensor, columns: list[int], support: Tensor) -> Tensor:
    digits = (x.flatten(1)[:, columns, None] == support).int().argmax(-1)
    return digits @ (len(support) ** torch.arange(len(columns)))


def _log_bound_of_frequencies(seen: Tensor, expected: Tensor) -> float:
    """Log of the bound on the chance of counts at least this far from their expectation."""
    count, cells = float(seen.sum()), int((expected > 0).sum())
    frequency = seen.double() / count
    distance = count * float(
        torch.special.xlogy(frequency, frequency / expected).nan_to_num(0.0, torch.inf).sum()
    )
    if math.isinf(distance):
        return -math.inf
    free = cells - 1
    if free < 1 or distance <= free:
        return 0.0
    return -distance + free * (1 + math.log(distance / free))


def _test_conditionals(subject: Subject, x: Tensor, context: Tensor | None) -> None:
    model, support = subject.autoregressive, subject.support
    assert support is not None
    sequence = model.to_sequence(x)
    params = model.to_sequence(subject.in_chunks(model, x, context))
    signs = _signs_of_earlier_values(sequence, subject.generator())
    num_tests = 2 * 2 * model.num_variables * (len(support) - 1)
    for value in support[1:]:
        probability = model.conditional.log_prob(params, torch.full_like(sequence, float(value))).exp()
        residual = (sequence == value).double() - probability
        variance = (probability * (1 - probability)).sum(0)
        for weights in (torch.ones_like(signs), signs):
            total = (residual * weights).sum(0).abs()
            log_bound = -(total**2) / (2 * variance + 2 * total / 3).clamp_min(1e-300)
            position = int(log_bound.argmin())
            if log_bound[position] < math.log(subject.alpha / 2 / num_tests):
                times = int((sequence[:, position] == value).sum())
                raise Violation(
                    f"samples do not follow the conditionals of forward: {subject.variable(position)} was "
                    f"{value:g} in {times} of {len(x)} samples, expected "
                    f"{probability[:, position].sum():.1f} given the earlier variables; chance at most "
                    f"{log_bound[position].exp():.1e}."
                )


def _signs_of_earlier_values(sequence: Tensor, generator: torch.Generator) -> Tensor:
    """A random function of the earlier variables, -1 or 1, for every variable: `(batch, n)`."""
    n = sequence.shape[1]
    directions = torch.randn(n, n, generator=generator, dtype=torch.float64).tril(-1)
    projected = (sequence - sequence.mean()) @ directions.T
    return torch.where(projected > 0, 1.0, -1.0)
