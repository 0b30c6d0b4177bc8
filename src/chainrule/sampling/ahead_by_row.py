"""Looking ahead where every row of a batch goes on by what has settled in it (see `ahead`).

A model whose rows may each stand somewhere else, such as a Transformer, loses nothing when one row's guesses
are worse than another's. Where guesses are mostly right, looks then pay for any number of rows: what is kept
of earlier variables is read once for a whole look.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.sampling.protocol import LooksByRow

__all__ = ["by_looking_ahead_by_row"]

#: Variables looked at together at most, for so many rows: few where arithmetic is what a look costs.
_REACH = {4: 32, 32: 16}
_LEAST_REACH = 8
#: Every so many looks so many places are looked at though guesses fail.
_TURNS, _TRIED = 16, 4
#: The part of the latest look in the pace at which rows settle.
_LATEST = 0.2


@torch.no_grad()
def by_looking_ahead_by_row(
    model: LooksByRow,
    noise: Tensor,
    context: Tensor | None = None,
    temperature: float = 1.0,
    *,
    with_log_prob: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The ancestral sample for `noise`, as `ancestral` gives it; all variables are of one family.

    - `noise`: `(batch, n, num_noise)`, in the model's ordering.
    - `with_log_prob`: also return log p(x) of each sample under the model itself, in nats.
    """
    batch_size, n, _ = noise.shape
    looks, family = model.looks(batch_size, context), model.conditional
    values, log_prob = noise.new_zeros(2, batch_size, n)
    params = noise.new_zeros(batch_size, n, family.num_params)  # of all that was looked at
    # Where each row stands, and how far it has drawn or guessed.
    position = torch.zeros(batch_size, 1, dtype=torch.long, device=noise.device)
    known = position.clone()
    reach = next((most for rows, most in _REACH.items() if batch_size <= rows), _LEAST_REACH)
    every, pace = torch.arange(reach, device=noise.device), float(reach)
    turn = 0
    while bool((is_open := position < n).any()):
        # More than settle; where guesses fail one place, which is a step, and now and then a few.
        width = max(round(2.5 * pace - 1.5), 1 if turn % _TURNS else _TRIED)
        ahead, turn = every[:width], turn + 1
        # A row that is near its end or done looks at its last variable again.
        places = (position + ahead).clamp_max(n - 1)
        own_noise = noise.take_along_dim(places[..., None], 1)
        above = params.take_along_dim((places - model.period_of_guesses).clamp_min(0)[..., None], 1)
        guesses = torch.where(
            (places >= known) & (places >= model.period_of_guesses),
            family.sample(above, own_noise, temperature),
            values.take_along_dim(places, 1),
        )
        values.scatter_(1, places, guesses)
        found = looks.look(places, values.take_along_dim((places - 1).clamp_min(0), 1))
        drawn = family.sample(found, own_noise, temperature)
        drawn = torch.where(is_open, drawn, guesses)
        values.scatter_(1, places, drawn)
        params.scatter_(1, places[..., None].expand_as(found), found)
        if with_log_prob:
            log_prob.scatter_(1, places, family.log_prob(found, drawn))
        right = (drawn == guesses)[:, :-1].long().cumprod(1).sum(1, keepdim=True)
        known = torch.maximum(known, places[:, -1:] + 1)
        pace += _LATEST * (float((right + 1)[is_open].double().mean()) - pace)
        position = torch.where(is_open, (position + right + 1).clamp_max(n), position)
    return model.from_sequence(values), log_prob.sum(1) if with_log_prob else None
