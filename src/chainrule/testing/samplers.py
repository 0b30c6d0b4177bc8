"""Samplers: all the same function of the noise, and a sample of the very p(x) that log_prob gives.

The statistical check raises a false alarm with probability at most `alpha`, for every model and every
number of samples; no asymptotics. Two bounds share `alpha` evenly, each split over its tests:

- frequencies of k states against their probabilities, by relative entropy D: for N D > k - 1,
  P(N D >= t) <= exp(-t) (e t / (k - 1))^(k - 1)   (Agrawal 2020, "Finite-sample concentration of the
  multinomial in relative entropy");
- each value of a variable (and NaN, where it is one) against its conditional given the earlier ones in
  the same sample: a sum of independent centred terms of at most 1 and of known variance V,
  P(S >= s) <= exp(-s^2 / (2 V + 2 s / 3)) (Bernstein);
- each continuous variable likewise, by its conditional cdf F: F(x) must be uniform, whatever came before.
  The greatest distance d of the empirical cdf of N values from the uniform one has
  P(d >= e) <= 2 exp(-2 N e^2) (Dvoretzky-Kiefer-Wolfowitz, Massart 1990). That F is the integral of
  exp(log_prob) is part of "normalisation".
"""

from __future__ import annotations

import math
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from chainrule.conditionals import Conditional, Missing
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
from chainrule.testing.values import Kind, index_in

__all__ = ["check_sample_frequencies", "check_samplers_agree"]

#: How far two computations of the log-probability of a sample may be apart.
LOG_PROB_TOLERANCE = 1e-9
#: Variables whose joint states are counted together.
_WINDOW = 6
#: Values of one variable that are tested at most: the first ones.
_MOST_VALUES = 32


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
    # Few rows may be sampled in another way than many.
    worst = max(_worst_log_prob(subject, context, rows) for rows in (count, min(count, 3)))
    return Outcome("three methods, two temperatures, seeds", worst)


@conformance("sample frequencies")
@torch.no_grad()
def check_sample_frequencies(subject: Subject) -> Outcome:
    """Samples come as often as exp(log_prob) says; a test with false-alarm rate at most `alpha`.

    Joint states of up to six neighbouring variables are counted where all x can be enumerated; and
    in any autoregressive model every variable is tested against its own conditional, given the
    earlier ones of the same sample. The module's docstring states the bounds.
    """
    count = subject.num_samples
    context = None if subject.contexts is None else subject.contexts[:1].expand(count, -1)
    x = subject.model.sample(count, context, generator=subject.generator())
    every = all_examples(subject.model)
    if every is None and not isinstance(subject.model, AutoregressiveModel):
        if not subject.is_discrete:
            raise Skipped("continuous variables and no conditionals")
        raise Skipped(f"too many variables ({subject.model.num_variables}) and no conditionals")
    ways = []
    if every is not None:
        ways.append("joint states")
        _test_joint_states(subject, x, every, context)
    if isinstance(subject.model, AutoregressiveModel):
        untested = _test_conditionals(subject, x, context)
        ways.append("conditionals" + (f" (of {untested} without cdf: not)" if untested else ""))
    return Outcome(f"{count} samples, {' and '.join(ways)}; false alarms <= {subject.alpha:g}")


def _require_same(found: Tensor, expected: Tensor, what: str) -> None:
    deviation = relative_deviation(found, expected)
    deviation = torch.where(found.isnan() & expected.isnan(), 0.0, deviation)  # both missing is the same
    # Discrete values are equal or they are not; continuous ones are computed along different ways.
    if deviation.max() > LOG_PROB_TOLERANCE:
        row, *variable = index_of_worst(deviation)
        raise Violation(
            f"{what}: the variable at {variable} of sample {row} is {found[(row, *variable)]:g} "
            f"and {expected[(row, *variable)]:g}."
        )


def _worst_log_prob(subject: Subject, context: Tensor | None, count: int) -> float:
    worst, own = 0.0, None if context is None else context[:count]
    for temperature in (1.0, 0.7):
        x, returned = subject.model.sample(
            count, own, seed=subject.seed, temperature=temperature, return_log_prob=True
        )
        expected = subject.model.log_prob(x, own)
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
    n, supports = subject.model.num_variables, _supports(subject)
    windows = [range(i, min(i + _WINDOW, n)) for i in range(0, max(n - _WINDOW // 2, 1), _WINDOW // 2)]
    for window in windows:
        columns, states = list(window), math.prod(len(supports[i]) for i in window)
        expected = torch.zeros(states, dtype=torch.float64)
        expected.index_add_(0, _state_index(every, columns, supports), probability)
        seen = torch.bincount(_state_index(x, columns, supports), minlength=states)
        log_bound = _log_bound_of_frequencies(seen, expected)
        if log_bound < math.log(subject.alpha / 2 / len(windows)):
            worst = int((seen / len(x) - expected).abs().argmax())
            raise Violation(
                f"samples do not follow exp(log_prob): a state of variables {columns[0]}..{columns[-1]} came "
                f"{int(seen[worst])} times in {len(x)}, expected {expected[worst] * len(x):.1f}; chance at "
                f"most {math.exp(log_bound):.1e}."
            )


def _supports(subject: Subject) -> list[Tensor]:
    supports = {
        variable: kind.support
        for kind in subject.kinds
        for variable in kind.variables.tolist()
        if kind.support is not None
    }
    return [supports[variable] for variable in sorted(supports)]


def _state_index(x: Tensor, columns: list[int], supports: list[Tensor]) -> Tensor:
    values, state = x.flatten(1), torch.zeros(len(x), dtype=torch.long)
    for column in columns:
        state = state * len(supports[column]) + index_in(supports[column], values[:, column])
    return state


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


def _test_conditionals(subject: Subject, x: Tensor, context: Tensor | None) -> str:
    """Test every variable given the earlier ones; names the families that could not be."""
    model = subject.autoregressive
    sequence = model.to_sequence(x)
    params = model.to_sequence(subject.in_chunks(model, x, context))
    signs = _signs_of_earlier_values(sequence, subject.generator())
    num_tests = sum(len(kind.variables) * _tests_per_variable(kind) for kind in subject.kinds)
    log_level = math.log(subject.alpha / 2 / num_tests)
    untested = set()
    for kind in subject.sequence_kinds:
        places = kind.variables
        part = _Part(kind, places, sequence[:, places], params[:, places], signs[:, places])
        if kind.support is not None:
            for value in kind.support[1:][:_MOST_VALUES]:
                _test_one_value(subject, part, value, log_level)
            continue
        if kind.may_be_missing:
            _test_one_value(subject, part, torch.tensor(math.nan), log_level)
        if (conditional := _with_cdf(kind)) is None:
            untested.add(kind.conditional.name)
        else:
            _test_uniformity(subject, part, conditional, log_level)
    return ", ".join(sorted(untested))


class _Part(NamedTuple):
    """The samples of the variables of one kind: places in the ordering, values, parameters, signs."""

    kind: Kind
    places: Tensor  # (k,)
    values: Tensor  # (batch, k)
    params: Tensor  # (batch, k, num_params)
    signs: Tensor  # (batch, k), functions of the earlier variables


def _tests_per_variable(kind: Kind) -> int:
    """Two tails of every value, whatever came before and by sign; for continuous ones one of each sign."""
    if kind.support is not None:
        return max(4 * min(len(kind.support) - 1, _MOST_VALUES), 1)
    return 2 + 4 * kind.may_be_missing


def _test_one_value(subject: Subject, part: _Part, value: Tensor, log_level: float) -> None:
    """How often the variables took a value, against its probability given the earlier variables."""
    asked = value.to(part.values).expand_as(part.values)
    probability = part.kind.conditional.log_prob(part.params, asked).exp()
    taken = part.values.isnan() if bool(value.isnan()) else part.values == value
    residual = taken.double() - probability
    variance = (probability * (1 - probability)).sum(0)
    for weights in (torch.ones_like(part.signs), part.signs):
        total = (residual * weights).sum(0).abs()
        log_bound = -(total**2) / (2 * variance + 2 * total / 3).clamp_min(1e-300)
        worst = int(log_bound.argmin())
        if log_bound[worst] < log_level:
            variable = subject.variable(int(part.places[worst]))
            raise Violation(
                f"samples do not follow the conditionals of forward: {variable} was {float(value):g} in "
                f"{int(taken[:, worst].sum())} of {len(taken)} samples, expected "
                f"{probability[:, worst].sum():.1f} given the earlier variables; chance at most "
                f"{log_bound[worst].exp():.1e}."
            )


def _with_cdf(kind: Kind) -> Conditional | None:
    """The family that values which are there follow, if it has a cdf."""
    conditional = kind.conditional.inner if isinstance(kind.conditional, Missing) else kind.conditional
    return conditional if conditional.has_cdf else None


def _test_uniformity(subject: Subject, part: _Part, conditional: Conditional, log_level: float) -> None:
    """F(x) of the values that are there must be uniform, whatever the sign of what came before."""
    params = part.params[..., 1:] if isinstance(part.kind.conditional, Missing) else part.params
    there = ~part.values.isnan()
    cdf = conditional.cdf(params, part.values.nan_to_num(0.0))
    for index, place in enumerate(part.places.tolist()):
        for sign in (-1.0, 1.0):
            chosen = there[:, index] & (part.signs[:, index] == sign)
            found = cdf[chosen, index].sort().values
            if len(found) == 0:
                continue
            steps = torch.arange(len(found) + 1, dtype=torch.float64) / len(found)
            distance = float(torch.maximum(steps[1:] - found, found - steps[:-1]).max())
            log_bound = math.log(2) - 2 * len(found) * distance**2
            if not log_bound >= log_level:
                raise Violation(
                    "samples do not follow the conditionals of forward: the cdf of "
                    f"{subject.variable(place)} at {len(found)} of its samples is up to {distance:.3g} "
                    f"away from uniform; chance at most {math.exp(min(log_bound, 0.0)):.1e}."
                )


def _signs_of_earlier_values(sequence: Tensor, generator: torch.Generator) -> Tensor:
    """A random function of the earlier variables, -1 or 1, for every variable: `(batch, n)`."""
    n = sequence.shape[1]
    directions = torch.randn(n, n, generator=generator, dtype=torch.float64).tril(-1)
    values = sequence.nan_to_num(0.0)
    # The median, not the mean: it is not moved by a single far value.
    projected = (values - values.median(0).values) @ directions.T
    return torch.where(projected > 0, 1.0, -1.0)
