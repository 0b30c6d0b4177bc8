"""`evaluate`: the exact likelihood of a split, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from chainrule.data import Dataset
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
    """Exact NLL of a split of `data`, in float32 summed in float64.

    - `limit`: only the first so many examples.
    - `on_batch`: called with (examples done, examples in all) after each batch.

    Raises `ChainruleError` if the data does not fit the model or has no such split.
    """
    check_fits(model, data)
    model.eval()
    total = len(data.split(split)[:limit])
    scores = []
    for batch in evaluation_batches(model, data, split, batch_size=batch_size, limit=limit):
        scores.append(-model.log_prob(batch.values, batch.context).double())
        if on_batch is not None:
            on_batch(sum(map(len, scores)), total)
    nll = torch.cat(scores)
    mean, n = nll.mean().item(), model.num_variables
    error = (nll.std() / math.sqrt(len(nll))).item() if len(nll) > 1 else math.nan
    return Evaluation(
        data=data.name,
        split=split,
        examples=len(nll),
        nll=mean,
        standard_error=error,
        bits_per_dim=mean / (n * math.log(2)),
        perplexity=math.exp(mean / n),
    )
