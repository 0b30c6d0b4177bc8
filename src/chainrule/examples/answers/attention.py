"""Topic 11: attention, its weights, and the causal mask."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Categorical
from chainrule.examples.registry import answers
from chainrule.layers.attention import CausalSelfAttention
from chainrule.models import AttentionRNN

__all__ = ["attention", "causal_weights"]

Matrix = list[list[float]]


def attention(hidden: int, similarity: str = "dot") -> AttentionRNN:
    """A network whose states have this many units."""
    return AttentionRNN((4,), hidden=hidden, similarity=similarity, conditional=Categorical(2)).double()  # type: ignore[arg-type]


@answers("11.1")
def similarities(q: list[float], keys: Matrix) -> list[float]:
    """The scores of a query with each key."""
    query, states = torch.tensor([[q]], dtype=torch.float64), torch.tensor([keys], dtype=torch.float64)
    scores: list[float] = attention(len(q)).scores(query, states)[0, 0].tolist()
    return scores


@answers("11.4")
def weights_of_scores(a: list[float]) -> list[float]:
    """Of keys that are the scores themselves, to a query of 1."""
    keys = torch.tensor([[[score] for score in a]], dtype=torch.float64)
    weights: list[float] = attention(1).weights(torch.ones(1, 1, 1).double(), keys)[0, 0].tolist()
    return weights


@answers("11.5")
def context_vector(scores: list[float], values: Matrix) -> list[float]:
    """The states weighted by attention; the query is one that has these scores with them."""
    states = torch.tensor(values, dtype=torch.float64)
    wanted = torch.tensor(scores, dtype=torch.float64)[:, None]
    query = torch.linalg.lstsq(states, wanted).solution.T
    weights = attention(states.shape[1]).weights(query[None], states[None])
    context: list[float] = (weights @ states)[0, 0].tolist()
    return context


def causal_weights(n: int) -> Tensor:
    """The weights `(n, n)` of a causal layer whose queries and keys are 0: all scores are equal.

    The values are the rows of the identity, so what comes out is the weights themselves.
    """
    layer = CausalSelfAttention(n, num_heads=1, num_kv_heads=1).double()
    with torch.no_grad():
        layer.into.weight.zero_()
        layer.into.weight[2 * n :] = torch.eye(n)
        layer.out.weight.copy_(torch.eye(n))
        weights: Tensor = layer(torch.eye(n, dtype=torch.float64)[None])[0]
    return weights


@answers("11.8")
def causal_mask(n: int) -> list[list[str]]:
    """What the layer must add to the scores: 0 where a weight is left, -inf where it is exactly 0."""
    return [["0" if weight > 0 else "-inf" for weight in row] for row in causal_weights(n).tolist()]


@answers("11.9")
def causal_attention(scores: Matrix) -> Matrix:
    """Masked softmax of equal scores."""
    weights: Matrix = causal_weights(len(scores)).tolist()
    return weights


def weights_of_large_scores(p: list[float], similarity: str) -> list[float]:
    """Dot products of states of 100 units that are ten times the logarithms of p."""
    scores = 10 * torch.tensor(p, dtype=torch.float64).log()
    query = torch.zeros(1, 1, 100, dtype=torch.float64)
    keys = torch.zeros(1, len(p), 100, dtype=torch.float64)
    query[0, 0, 7], keys[0, :, 7] = 2.0, scores / 2
    weights: list[float] = attention(100, similarity).weights(query, keys)[0, 0].tolist()
    return weights


@answers("11.10")
def unscaled(p: list[float], scale: float) -> list[float]:
    """Scores ten times larger, as they are."""
    return weights_of_large_scores(p, "dot")


@answers("11.11")
def scaled(p: list[float], scale: float) -> list[float]:
    """The same divided by sqrt(100)."""
    return weights_of_large_scores(p, "scaled-dot")
