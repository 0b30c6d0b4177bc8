"""Ancestral sampling: one variable after another, each from its conditional given the earlier ones."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.sampling.protocol import Runnable

__all__ = ["ancestral", "draw_noise", "naive"]


def draw_noise(
    num_samples: int, num_variables: int, num_noise: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Uniform noise for whole samples, `(num_samples, num_variables, num_noise)`, in [0, 1).

    The second dimension follows the ordering. Sample k depends on the generator and on k alone
    (not on how many are drawn), and is the same on every device, since the generator says where
    it is drawn.
    """
    shape = (num_samples, num_variables, num_noise)
    return torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)


def ancestral(
    model: Runnable,
    noise: Tensor,
    context: Tensor | None = None,
    temperature: float = 1.0,
    *,
    with_log_prob: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Sample with `step`, reusing everything computed before: about the cost of one parallel pass.

    - `noise`: `(batch, n, num_noise)` from `draw_noise`, in the model's ordering.
    - `with_log_prob`: also return log p(x) of each sample under the model itself, in nats.

    Returns values in event layout, `(batch, *event_shape)`, and the log-probabilities or None.
    """
    state = model.init_state(len(noise), context)
    previous: Tensor | None = None
    values: list[Tensor] = []
    total = noise.new_zeros(len(noise)) if with_log_prob else None
    # Each kind of noise of a variable in one run of memory: that is how steps read it.
    by_position = noise.permute(1, 2, 0).contiguous().transpose(1, 2)
    for position, uniform in enumerate(by_position.unbind(0)):
        params, state = model.step(state, previous)
        conditional = model.conditional_at(position)
        previous = conditional.sample(params, uniform, temperature)
        values.append(previous)
        if total is not None:
            total = total + conditional.log_prob(params, previous)
    return model.from_sequence(torch.stack(values).T.contiguous()), total


def naive(model: Runnable, noise: Tensor, context: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Sample with one full parallel pass per variable, as most libraries do: the slow reference."""
    sequence = noise.new_zeros(noise.shape[:2])
    for position in range(model.num_variables):
        params = model.to_sequence(model(model.from_sequence(sequence), context))
        conditional = model.conditional_at(position)
        sequence[:, position] = conditional.sample(params[:, position], noise[:, position], temperature)
    return model.from_sequence(sequence)
