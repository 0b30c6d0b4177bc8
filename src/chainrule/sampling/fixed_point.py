"""Sampling by fixed-point iteration (Song et al. 2021, Jacobi; Wiggers & Hoogeboom 2020).

With the noise held fixed, a sample is the solution of x = g(x, noise), where g draws every variable
in parallel from the conditionals given the current guess. Position t is right after at most t + 1
sweeps, since it then depends on right values only; usually far fewer sweeps are needed.
"""

from __future__ import annotations

from torch import Tensor

from chainrule.sampling.protocol import Runnable

__all__ = ["fixed_point"]


def fixed_point(
    model: Runnable, noise: Tensor, context: Tensor | None = None, temperature: float = 1.0
) -> tuple[Tensor, int]:
    """The ancestral sample for `noise`, and the number of parallel passes it took (at most n + 1).

    - `noise`: `(batch, n, num_noise)`, in the model's ordering.
    """
    sequence = noise.new_zeros(noise.shape[:2])
    conditional = model.conditional_over(0, model.num_variables)
    for passes in range(1, model.num_variables + 2):
        params = model.to_sequence(model(model.from_sequence(sequence), context))
        updated = conditional.sample(params, noise, temperature)
        if conditional.same(updated, sequence):
            return model.from_sequence(sequence), passes
        sequence = updated
    return model.from_sequence(sequence), model.num_variables + 1
