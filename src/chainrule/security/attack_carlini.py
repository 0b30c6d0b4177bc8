"""Carlini & Wagner's attacks (2017), L2 and L-infinity, a whole batch at a time.

    L2:          minimise  |x' - x|^2 + c f(x')                               (section VI.A)
    L-infinity:  minimise  c f(x') + sum_i max(|x'_i - x_i| - tau, 0)         (section VI.C)

with x' = (tanh w + 1) / 2 and f the margin by which the victim is still right. For L2 the least c that will
do is searched by bisection. For L-infinity tau shrinks to 0.9 of the greatest change once f is 0, and c grows
where that cannot be reached.

They are the paper's, with Adam. The toolbox's own L2 attack replaces Adam by a line search and ends further
away (a third further on a small network of digits); its L-infinity attack goes through the images one by one,
leaves c out of the gradient, and takes minutes where this takes seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.security.attack_victims import Victim, untouched

__all__ = ["carlini_l2", "carlini_linf", "error_margin"]

_L2_RATE, _LINF_RATE = 0.1, 0.05
_BISECTIONS, _FIRST_L2_C = 7, 1.0
_SHRINK, _ROUNDS, _FIRST_C, _GREATEST_C = 0.9, 40, 0.1, 1000.0
#: The margin is pushed this far beyond 0.
_BEYOND = 0.01
#: Keeps artanh finite at the ends of the range, and tanh steep enough there for so few steps of Adam. (The
#: authors take 0.999999 and thousands of steps; in 60, black and white pixels would hardly move.) It moves
#: them by an eighth of one of 256 levels, which rounding undoes.
_INSIDE = 0.999


def carlini_l2(
    victim: Victim, images: Tensor, labels: Tensor, high: float, *, targeted: bool, steps: int = 60
) -> Tensor:
    """Images misread after the shortest change that was found; the originals where none was.

    - `images`: `(batch, *event_shape)` in 0..high; `labels`: right ones, or targets.
    - `steps`: of Adam for every c.
    """
    x = images / high
    wanted = labels, labels if targeted else torch.full_like(labels, -1)
    best, size = x.clone(), x.new_full((len(x),), torch.inf)
    c, low, above = x.new_full((len(x),), _FIRST_L2_C), x.new_zeros(len(x)), x.new_full((len(x),), torch.inf)
    start = torch.atanh((2 * x - 1) * _INSIDE)
    with untouched(victim):
        for _ in range(_BISECTIONS):
            w, succeeded = start.clone().requires_grad_(), torch.zeros(len(x), dtype=torch.bool)
            optimizer = torch.optim.Adam([w], lr=_L2_RATE)
            for _ in range(steps):
                with torch.enable_grad():
                    moved = (torch.tanh(w) + 1) / 2
                    margin = error_margin(victim(moved * high), *wanted)
                    length = (moved - x).flatten(1).square().sum(1)
                    loss = (length + c * (_BEYOND - margin).clamp_min(0)).sum()
                    (w.grad,) = torch.autograd.grad(loss, w)
                optimizer.step()
                fooled, length = margin.detach() > 0, length.detach()
                better = fooled & (length < size)
                best[better], size[better] = moved.detach()[better], length[better]
                succeeded |= fooled
            above = torch.where(succeeded, c, above)
            low = torch.where(succeeded, low, c)
            c = torch.where(above.isinf(), c * 10, (low + above) / 2)
    return best * high


def carlini_linf(
    victim: Victim, images: Tensor, labels: Tensor, high: float, *, targeted: bool, steps: int = 50
) -> Tensor:
    """Images misread after the smallest greatest change that was found; the originals where none was.

    - `images`: `(batch, *event_shape)` in 0..high; `labels`: right ones, or targets.
    - `steps`: of Adam for every tau.
    """
    x = images / high
    aim = labels if targeted else torch.full_like(labels, -1)
    best, size = x.clone(), x.new_full((len(x),), torch.inf)
    tau, c = x.new_full((len(x),), 0.5), x.new_full((len(x),), _FIRST_C)
    start = torch.atanh((2 * x - 1) * _INSIDE)
    active = torch.arange(len(x), device=x.device)
    with untouched(victim):
        for _ in range(_ROUNDS):
            if len(active) == 0:
                break
            wanted = labels[active], aim[active]
            found = _descend(victim, x[active], start[active], wanted, high, tau[active], c[active], steps)
            with torch.no_grad():
                margin = error_margin(victim(found * high), *wanted)
            change = (found - x[active]).abs().flatten(1).amax(1)
            better = (margin > 0) & (change < size[active])
            hit, missed = active[better], active[~better]
            best[hit], size[hit] = found[better], change[better]
            tau[hit] = _SHRINK * change[better]
            start[hit] = torch.atanh((2 * found[better] - 1) * _INSIDE)
            c[missed] *= 10
            # An image that never was misread goes on from where it got to.
            never = ~better & size[active].isinf()
            start[active[never]] = torch.atanh((2 * found[never] - 1) * _INSIDE)
            active = active[(c[active] <= _GREATEST_C) & (tau[active] > 1 / 512)]
    return best * high


def _descend(
    victim: Victim,
    x: Tensor,
    start: Tensor,
    wanted: tuple[Tensor, Tensor],
    high: float,
    tau: Tensor,
    c: Tensor,
    steps: int,
) -> Tensor:
    """Adam on w from `start`; returns x' of the last step."""
    w = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([w], lr=_LINF_RATE)
    for _ in range(steps):
        with torch.enable_grad():
            moved = (torch.tanh(w) + 1) / 2
            right_by = (_BEYOND - error_margin(victim(moved * high), *wanted)).clamp_min(0)
            beyond = ((moved - x).abs().flatten(1) - tau[:, None]).clamp_min(0).sum(1)
            loss = (c * right_by + beyond).sum()
            (w.grad,) = torch.autograd.grad(loss, w)
        optimizer.step()
    return ((torch.tanh(w) + 1) / 2).detach()


def error_margin(logits: Tensor, right: Tensor, aim: Tensor) -> Tensor:
    """By how many logits the victim errs, `(batch,)`: above 0 where it does.

    - `aim`: -1 where any wrong label will do: the greatest wrong logit over the right one; else the label
      that it is to be misread as: the logit of that over all others.
    """
    wanted = torch.where(aim >= 0, aim, right)[:, None]
    own = logits.gather(1, wanted)[:, 0]
    others = logits.scatter(1, wanted, -torch.inf).amax(1)
    return torch.where(aim >= 0, own - others, others - own)
