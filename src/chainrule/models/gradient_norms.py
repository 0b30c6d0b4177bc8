"""How far back a model of sequences can learn from: the size of its gradients, lag by lag.

What a value contributed k values ago is learned through d log p(x_t) / d e_{t-k}, with e the vector that the
value was read as. In a recurrent network that is a product of k Jacobians, which vanishes or explodes with k
(Bengio et al. 1994; the lecture, topic 10): beyond some lag nothing is learned, whatever the data hold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.layers.value_embedding import ValueEmbedding
from chainrule.model import AutoregressiveModel

__all__ = ["gradient_norms"]


def gradient_norms(
    model: AutoregressiveModel, x: Tensor, context: Tensor | None = None, *, targets: int = 16
) -> Tensor:
    """Mean over examples and t of ||d log p(x_t) / d e_{t-k}||, for every lag k, `(n,)`.

    - `model`: RNN, AttentionRNN, Transformer, WaveNet: one that reads values through a `ValueEmbedding`.
    - `x`, `context`: examples, as `log_prob` takes them; places are counted in the ordering.
    - `targets`: so many places t, spread over the second half of the sequence, cost a backward pass each;
      the last place is always among them.

    Entry 0 is 0, since no conditional depends on its own value. The model and its mode are left as they were.
    Raises `ChainruleError` for a model of another kind, and as `log_prob` does.
    """
    targets = whole_number("targets", targets, minimum=1)
    ends = [part for part in model.modules() if isinstance(part, ValueEmbedding)]
    if len(ends) != 1:
        raise ChainruleError(
            f"gradient_norms needs a model that reads a sequence value by value, not {type(model).__name__}."
        )
    x = model._checked_values(x)
    context = model._checked_context(context, len(x))
    n, was_training, read = model.num_variables, model.training, []

    def keep(module: Any, arguments: Any, vectors: Tensor) -> Tensor:
        read.append(vectors.detach().requires_grad_())
        return read[-1]

    handle = ends[0].register_forward_hook(keep)
    try:
        # cuDNN's recurrent kernels have no backward pass in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            log_prob = model.to_sequence(model.eval()._log_prob_per_variable(x, context))  # (batch, n)
            totals, counts = log_prob.new_zeros(n), log_prob.new_zeros(n)
            for t in sorted(set(torch.linspace(n - 1, n // 2, min(targets, n)).round().long().tolist())):
                if t == 0:
                    continue
                (gradient,) = torch.autograd.grad(log_prob[:, t].sum(), read[0], retain_graph=True)
                norms = gradient[:, :t].norm(dim=-1).mean(0)  # of the values before t, oldest first
                totals[1 : t + 1] += norms.flip(0)
                counts[1 : t + 1] += 1
    finally:
        handle.remove()
        model.train(was_training)
    return totals / counts.clamp_min(1)
