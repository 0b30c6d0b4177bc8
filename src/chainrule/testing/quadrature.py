"""Integrals over continuous variables, by rules laid where a conditional has its mass.

The rule for one conditional has a panel between each two neighbouring quantiles (or sorted samples, for
a family without cdf), so that it follows the mass however narrow, and two tails to infinity. Each is
integrated by the double exponential rule (Takahasi & Mori 1974), whose nodes crowd towards the ends: mass
that keeps to one end of a wide panel is found. What lies hidden amid a single panel, at most the
reciprocal of their number, may be missed: `TOLERANCE` allows for two of those, while a smooth density is
integrated to seven digits and more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from chainrule.conditionals import Conditional, Missing
from chainrule.testing.subject import Subject
from chainrule.testing.values import Kind

__all__ = ["TOLERANCE", "Integral", "integral_of_conditional", "total_by_quadrature"]

#: Panels of the rule for a single conditional, and nodes in each.
_PANELS, _NODES = 512, 31
#: Fewest panels of a variable in a rule for all of them, and nodes in each.
_FEWEST_PANELS, _FEW_NODES = 12, 15
#: How far a total found by quadrature may be from 1.
TOLERANCE = 2 / _PANELS
#: Nodes of each tail.
_TAIL_NODES = 27
#: Nodes are transformed from even steps between -`_REACH` and `_REACH`.
_REACH = 2.9
#: Most rows that a rule for all variables together may have.
_ROW_LIMIT = 2**17
#: Random draws for each panel, where quantiles are not to be had.
_DRAWS = 16


class Integral(NamedTuple):
    """What the integrals over one conditional say, a row for each row of parameters.

    - `total`: the mass of all values, NaN included; must be 1.
    - `worst_cdf`: the greatest distance between the cdf and the integral of the density up to the same
      place; None for a family without cdf.
    """

    total: Tensor
    worst_cdf: Tensor | None


class _Rule(NamedTuple):
    """Edges `(rows, panels + 1)`, and nodes and weights `(rows, tail + panels * nodes + tail)`."""

    edges: Tensor
    x: Tensor
    weights: Tensor


def integral_of_conditional(kind: Kind, params: Tensor) -> Integral:
    """Integrate the density of one continuous family for params `(rows, num_params)`."""
    conditional = kind.conditional
    rule = _rule(conditional, params, _PANELS, _NODES)
    density = _log_prob(conditional, params, rule.x).exp()
    pieces = density * rule.weights
    total = pieces.sum(1)
    if kind.may_be_missing:
        total = total + conditional.log_prob(params, params.new_full((len(params),), math.nan)).exp()
    if not conditional.has_cdf:
        return Integral(total, None)
    up_to = pieces[:, :_TAIL_NODES].sum(1, keepdim=True)
    panels = pieces[:, _TAIL_NODES:-_TAIL_NODES].view(len(params), -1, _NODES).sum(2)
    found = torch.cat([up_to, up_to + panels.cumsum(1)], dim=1)
    cdf = conditional.cdf(params[:, None].expand(*rule.edges.shape, -1), rule.edges)
    return Integral(total, (cdf - found).abs().nan_to_num(nan=math.inf).amax(1))


def total_by_quadrature(subject: Subject, context: Tensor | None) -> float | None:
    """The total mass of p(x) over all x, by a rule laid by each conditional given the earlier ones.

    None where there are more than two continuous variables or too many states of the others, and where
    the conditionals are too narrow for a rule of so few panels: it then fails on their product too.
    """
    panels = _panels_for(subject.kinds)
    if panels is None:
        return None
    model = subject.autoregressive
    rows = torch.zeros(1, model.num_variables, dtype=torch.float64)
    log_weight, log_mass = rows.new_zeros(1), rows.new_zeros(1)
    kind_of = {int(v): kind for kind in subject.kinds for v in kind.variables}
    for position, variable in enumerate(model.ordering.permutation):
        own = None if context is None else context.expand(len(rows), -1)
        params = model.to_sequence(subject.in_chunks(model, model.from_sequence(rows), own))[:, position]
        conditional = kind_of[variable].conditional
        values, weights = _values_and_weights(kind_of[variable], params, panels)
        of_values = _log_prob(conditional, params, values)
        rows = rows.repeat_interleave(values.shape[1], dim=0)
        rows[:, position] = values.flatten()
        log_weight = (log_weight[:, None] + weights.log()).flatten()
        log_mass = (log_mass[:, None] + of_values).flatten()
    own = None if context is None else context.expand(len(rows), -1)
    log_prob = subject.in_chunks(model.log_prob, model.from_sequence(rows), own)
    total = float((log_prob + log_weight).exp().sum())
    of_the_rule = float((log_mass + log_weight).exp().sum())
    return total if abs(of_the_rule - 1) <= 0.5 * TOLERANCE else None


def _panels_for(kinds: list[Kind]) -> int | None:
    """Panels per continuous variable that keep the rule for all variables within `_ROW_LIMIT` rows."""
    num_continuous = sum(len(kind.variables) for kind in kinds if kind.support is None)
    log_states = sum(len(k.variables) * math.log(len(k.support)) for k in kinds if k.support is not None)
    if not 1 <= num_continuous <= 2 or log_states > math.log(_ROW_LIMIT):
        return None
    nodes = math.exp((math.log(_ROW_LIMIT) - log_states) / num_continuous)
    panels = int((min(nodes, 8192) - 2 * _TAIL_NODES - 1) / _FEW_NODES)
    return min(panels, _PANELS) if panels >= _FEWEST_PANELS else None


def _values_and_weights(kind: Kind, params: Tensor, panels: int) -> tuple[Tensor, Tensor]:
    """All values of a discrete variable, or nodes for a continuous one, `(rows, m)`; and their weights."""
    if kind.support is not None:
        values = kind.support.expand(len(params), -1)
        return values, torch.ones_like(values)
    _, values, weights = _rule(kind.conditional, params, panels, _FEW_NODES)
    if kind.may_be_missing:
        values = torch.cat([values, values.new_full((len(values), 1), math.nan)], dim=1)
        weights = torch.cat([weights, weights.new_ones(len(weights), 1)], dim=1)
    return values, weights


def _rule(conditional: Conditional, params: Tensor, panels: int, nodes: int) -> _Rule:
    if isinstance(conditional, Missing):
        return _rule(conditional.inner, params[..., 1:], panels, nodes)
    edges = _edges(conditional, params, panels)
    # Between two edges: x = tanh(pi/2 sinh t), from -1 to 1.
    t, step = _even_steps(nodes)
    swing = 0.5 * math.pi * torch.sinh(t)
    node = torch.tanh(swing)
    weight = step * 0.5 * math.pi * torch.cosh(t) / torch.cosh(swing).square()
    half = 0.5 * edges.diff(dim=1)[..., None]
    middle = (0.5 * (edges[:, 1:] + edges[:, :-1]))[..., None]
    inner_x, inner_weight = (middle + half * node).flatten(1), (half * weight).flatten(1)
    # Beyond the edges: a distance of exp(pi/2 sinh t), from 0 to infinity, in units of the last panel.
    t, step = _even_steps(_TAIL_NODES)
    distance = torch.exp(0.5 * math.pi * torch.sinh(t))
    tail_weight = step * 0.5 * math.pi * torch.cosh(t) * distance
    widths = edges.diff(dim=1)
    left, right = widths[:, :1], widths[:, -1:]
    x = torch.cat([edges[:, :1] - left * distance, inner_x, edges[:, -1:] + right * distance], dim=1)
    return _Rule(edges, x, torch.cat([left * tail_weight, inner_weight, right * tail_weight], dim=1))


def _even_steps(count: int) -> tuple[Tensor, float]:
    return torch.linspace(-_REACH, _REACH, count, dtype=torch.float64), 2 * _REACH / (count - 1)


def _edges(conditional: Conditional, params: Tensor, panels: int) -> Tensor:
    """Places with equal mass between them, `(rows, panels + 1)`, from quantiles or else from samples."""
    rows, edges = len(params), panels + 1
    if conditional.has_cdf:
        probability = (torch.arange(edges, dtype=torch.float64) + 0.5) / edges
        return conditional.quantile(params[:, None].expand(rows, edges, -1), probability.expand(rows, -1))
    draws, generator = _DRAWS * edges, torch.Generator().manual_seed(0)
    noise = torch.rand(draws, conditional.num_noise, generator=generator, dtype=torch.float64)
    values = conditional.sample(params[:, None].expand(rows, draws, -1), noise.expand(rows, draws, -1))
    return values.sort(dim=1).values[:, _DRAWS // 2 :: _DRAWS]


def _log_prob(conditional: Conditional, params: Tensor, values: Tensor) -> Tensor:
    return conditional.log_prob(params[:, None].expand(*values.shape, -1), values)
