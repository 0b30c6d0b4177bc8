"""Which values the variables of a model can take: the kinds of variables, and values to try."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.likelihood import LikelihoodModel

__all__ = ["Kind", "extreme_values", "index_in", "kinds_of", "other_values", "random_values"]

#: How often a value is missing in random examples where it can be.
_MISSING_RATE = 0.25


@dataclass(frozen=True)
class Kind:
    """The variables of a model that have one family of conditionals.

    - `variables`: their indices in the flattened event, `(k,)`.
    - `support`: all their values, float64, NaN among them where it is a state; None if continuous.
    - `may_be_missing`: whether NaN is a value.
    """

    conditional: Conditional
    variables: Tensor
    support: Tensor | None
    may_be_missing: bool


def kinds_of(model: LikelihoodModel) -> list[Kind]:
    """The variables of a model, those of the same family and settings together."""
    by_family: dict[str, tuple[Conditional, list[int]]] = {}
    names: dict[int, str] = {}
    for variable in range(model.num_variables):
        conditional = model.conditional.at(variable)
        if id(conditional) not in names:
            # `id` too: a family that people write may not say all of its settings.
            own = "" if type(conditional).__module__.startswith("chainrule.") else str(id(conditional))
            names[id(conditional)] = json.dumps([own, conditional.spec()], sort_keys=True, default=str)
        by_family.setdefault(names[id(conditional)], (conditional, []))[1].append(variable)
    return [_kind(conditional, variables) for conditional, variables in by_family.values()]


def _kind(conditional: Conditional, variables: list[int]) -> Kind:
    support = conditional.support()
    nan = torch.tensor([math.nan], dtype=torch.float64)
    return Kind(
        conditional,
        torch.tensor(variables),
        None if support is None else support.to(torch.float64),
        bool(conditional.in_support(nan)),
    )


def index_in(support: Tensor, values: Tensor) -> Tensor:
    """The place of each value in a support, NaN being equal to NaN."""
    equal = (values[..., None] == support) | (values.isnan()[..., None] & support.isnan())
    return equal.int().argmax(-1)


def random_values(
    kinds: list[Kind], samples: Tensor | None, count: int, generator: torch.Generator
) -> Tensor:
    """Valid values `(count, n)`: uniform over a finite support, otherwise those of `samples` `(count, n)`."""
    x = torch.zeros(count, sum(len(kind.variables) for kind in kinds), dtype=torch.float64)
    for kind in kinds:
        shape = (count, len(kind.variables))
        if kind.support is not None:
            x[:, kind.variables] = kind.support[torch.randint(len(kind.support), shape, generator=generator)]
            continue
        assert samples is not None
        values = samples[:, kind.variables]
        if kind.may_be_missing:
            missing = torch.rand(shape, generator=generator) < _MISSING_RATE
            values = torch.where(missing, math.nan, values)
        x[:, kind.variables] = values
    return x


def extreme_values(kinds: list[Kind], samples: Tensor | None) -> Tensor:
    """All lowest, all highest, both alternating, and all missing where that can be: `(rows, n)`.

    The extremes of a continuous variable lie far outside its `samples` `(count, n)`.
    """
    n = sum(len(kind.variables) for kind in kinds)
    low, high = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    missing = torch.zeros(n, dtype=torch.bool)
    for kind in kinds:
        missing[kind.variables] = kind.may_be_missing
        if kind.support is not None:
            ordered = kind.support[~kind.support.isnan()].sort().values
            low[kind.variables], high[kind.variables] = ordered[0], ordered[-1]
            continue
        assert samples is not None
        values = samples[:, kind.variables].nan_to_num(0.0)
        least, greatest = values.amin(0), values.amax(0)
        reach = 5 * (greatest - least) + 1
        low[kind.variables], high[kind.variables] = least - reach, greatest + reach
    parity = torch.arange(n) % 2 == 0
    rows = [low, high, torch.where(parity, low, high), torch.where(parity, high, low)]
    if bool(missing.any()):
        rows += [torch.where(missing, math.nan, low), torch.where(missing & parity, math.nan, high)]
    return torch.stack(rows)


def other_values(
    kinds: list[Kind], values: Tensor, fresh: Tensor | None, generator: torch.Generator
) -> Tensor:
    """For each of `values` `(count, n)` another that can occur, a continuous one from `fresh`."""
    other = values.clone() if fresh is None else fresh.clone()
    for kind in kinds:
        if kind.support is None:
            continue
        support, own = kind.support, values[:, kind.variables]
        shift = torch.randint(1, max(len(support), 2), own.shape, generator=generator)
        other[:, kind.variables] = support[(index_in(support, own) + shift) % len(support)]
    return other
