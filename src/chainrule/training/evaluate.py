"""`evaluate`: the exact likelihood of a split, with its standard error."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.training.batches import check_fits, evaluation_batches

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Mean NLL of a split.

    - `nll`: nats per example; `standard_error`: of that mean, over the examples.
    - `bits_per_dim`: nll / (n ln 2); `perplexity`: exp(nll / n), per variable.
    """

    data: str
    split: str
    examples: int
    nll: float
    standard_error: float
    bits_per_dim: float
    perplexity: float


@torch.no_grad()
def evaluate(
    model: LikelihoodModel,
    data: Dataset,
    split: str = "test",
    *,
    batch_size: int = 500,
    limit: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Exact NLL of a split of `data`, in the model's dtype, averaged in float64.

    - `limit`: only so many examples, spread evenly over the split.
    - `on_batch`: called with (examples done, examples in all) after each batch.

    The model is evaluated in evaluation mode and left in the mode it was in. Raises `ChainruleError`
    if the data does not fit the model or has no such split, and if a likelihood is NaN.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    limit = None if limit is None else whole_number("limit", limit, minimum=1)
    check_fits(model, data, (split,))
    if not isinstance(model, LikelihoodModel):
        raise ChainruleError(f"{type(model).__name__} has no p(x), so there is no likelihood to evaluate.")
    total = min(len(data.split(split)), limit or sys.maxsize)
    scores: list[Tensor] = []
    done, was_training = 0, model.training
    model.eval()
    try:
        for batch in evaluation_batches(model, data, split, batch_size=batch_size, limit=limit):
            scores.append(-model.log_prob(batch.values, batch.context).cpu().double())
            done += len(batch.values)
            if on_batch is not None:
                on_batch(done, total)
    finally:
        model.train(was_training)
    nll = torch.cat(scores)
    undefined = int(nll.isnan().sum())
    if undefined:
        raise ChainruleError(
            f"log p(x) is NaN for {undefined} of {len(nll)} examples of {data.name}: the model's weights "
            "hold NaN or infinite numbers; train it again with a smaller learning_rate."
        )
    mean, n = nll.mean().item(), model.num_variables
    error = (nll.std() / math.sqrt(len(nll))).item() if len(nll) > 1 else math.nan
    return Evaluation(
        data=data.name,
        split=split,
        examples=len(nll),
        nll=mean,
        standard_error=error,
        bits_per_dim=mean / (n * math.log(2)),
        perplexity=math.exp(mean / n) if mean / n < 700 else math.inf,
    )
