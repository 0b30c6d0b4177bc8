"""A recurrent network that looks back at all its earlier states: Bahdanau et al. 2015, Luong et al. 2015.

The lecture's equations, topic 11. The state h_t is compared with all states before it, and what is predicted
from it is also predicted from their mean, weighted by similarity:

    alpha_{t,i} = softmax over i < t of similarity(h_t, h_i),    c_t = sum_{i<t} alpha_{t,i} h_i,
    o_t = W [h_t; c_t] + b,    p(x_{t+1} | x_<=t) from o_t.

The states looked at are those that have read a value, h_1 to h_{t-1}: while there are none, c = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from chainrule.arguments import whole_number
from chainrule.conditionals import Conditional
from chainrule.errors import unknown_name
from chainrule.models.rnn import RNN, RNNState
from chainrule.orderings import Ordering

__all__ = ["SIMILARITIES", "AttentionRNN", "AttentionRNNState"]

SIMILARITIES = ("dot", "scaled-dot", "additive", "multiplicative")


@dataclass(kw_only=True)
class AttentionRNNState(RNNState):
    """As `RNNState`, with the top layer's states after each value so far, `(batch, t, hidden)`."""

    past: Tensor


class AttentionRNN(RNN):
    """A recurrent network with attention over its own earlier states.

    - `similarity`: of h = h_t with g = h_i: `"dot"`, h . g; `"scaled-dot"`, h . g / sqrt(d); `"additive"`,
      v . tanh(W_q h + W_k g), with `attention_size` rows (`hidden` unless given); `"multiplicative"`,
      h' W g.
    - All other arguments as in `RNN`; `tied` is not among them, since outputs read 2 `hidden` numbers.

    Parameters: those of `RNN` with d p more weights of the outputs, and those of the similarity: 0, 0,
    2 a d + a with `attention_size` a, or d^2.

    Time and memory of a pass grow with n^2; a step costs as many comparisons as there are states behind it.
    """

    constant_memory = False

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        similarity: Literal["dot", "scaled-dot", "additive", "multiplicative"] = "scaled-dot",
        attention_size: int | None = None,
        cell: Literal["tanh", "lstm", "gru"] = "lstm",
        hidden: int = 128,
        layers: int = 1,
        embedding: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        end: int | None = None,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(
            event_shape,
            cell=cell,
            hidden=hidden,
            layers=layers,
            embedding=embedding,
            bias=bias,
            dropout=dropout,
            forget_bias=forget_bias,
            end=end,
            ordering=ordering,
            context_size=context_size,
            conditional=conditional,
        )
        if similarity not in SIMILARITIES:
            raise unknown_name("similarity", similarity, SIMILARITIES)
        self.similarity = similarity
        size = self.hidden if attention_size is None else attention_size
        self.attention_size = whole_number("attention_size", size, minimum=1)
        self._build_similarity()

    def init_state(self, batch_size: int, context: Tensor | None = None) -> AttentionRNNState:
        """The state of the recurrence, and no earlier ones."""
        state = super().init_state(batch_size, context)
        return AttentionRNNState(**vars(state), past=self._zeros(batch_size, 0, self.hidden))

    @torch.no_grad()
    def attention(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The weights alpha, `(batch, n, n)`, rows and columns in the order of the ordering.

        Row t is of the prediction of variable t, and column i of the state that had just read variable i:
        row t adds to 1 over i <= t - 2, and rows 0 and 1, with nothing to look back at, are 0.

        Raises `ChainruleError` as `log_prob` does.
        """
        x = self._checked_values(x)
        values = self.to_sequence(x)[:, :-1]
        state = self.init_state(len(x), self._checked_context(context, len(x)))
        if values.shape[1]:
            self.read(state, values)  # which leaves in `state` all states that have read a value
        states = state.past
        alpha = states.new_zeros(len(x), self.num_variables, self.num_variables)
        if states.shape[1] > 1:
            alpha[:, 2:, :-2] = self.weights(states[:, 1:], states[:, :-1])
        return alpha

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Softmax over the keys `(batch, m, hidden)` of their similarity with each query, `(batch, q, m)`.

        Queries `(batch, q, hidden)` are those of the last q times: the last one sees all keys, each before
        it one less.
        """
        hidden = ~_visible(queries, keys)
        return torch.softmax(self.scores(queries, keys).masked_fill(hidden, -torch.inf), dim=-1)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The similarity of each query with each key, `(batch, q, m)`."""
        if self.query is not None and self.key is not None and self.direction is not None:
            summed = self.query(queries)[:, :, None] + self.key(keys)[:, None]  # (batch, q, m, a)
            return torch.tanh(summed) @ self.direction
        return self._as_dot_product(queries) @ keys.mT * self._scale

    # ---------------------------------------------------------------- attending

    def _features(self, tops: Tensor, state: RNNState, begin: bool) -> Tensor:
        """[h; c] of each state; the first of all has read no value, and no later one looks at it."""
        assert isinstance(state, AttentionRNNState)  # `init_state` makes no other
        read = tops[:, 1:] if begin else tops
        earlier = state.past.shape[1]
        state.past = torch.cat([state.past, read], dim=1) if earlier else read
        # A state looks at those before itself: the very first has none.
        alone = tops.shape[1] - read.shape[1] + (1 if earlier == 0 and read.shape[1] else 0)
        looking = tops[:, alone:]
        summaries = torch.zeros_like(tops[:, :alone])
        if looking.shape[1]:
            summaries = torch.cat([summaries, self._summaries(looking, state.past[:, :-1])], dim=1)
        return torch.cat([tops, summaries], dim=-1)

    def _summaries(self, queries: Tensor, keys: Tensor) -> Tensor:
        """c of each query, `(batch, q, hidden)`."""
        if self.similarity == "additive":
            return self.weights(queries, keys) @ keys
        whole = queries.shape[1] == keys.shape[1]  # then the mask is the plain causal one
        return scaled_dot_product_attention(
            self._as_dot_product(queries),
            keys,
            keys,
            attn_mask=None if whole else _visible(queries, keys),
            is_causal=whole,
            scale=self._scale,
        )

    def _as_dot_product(self, queries: Tensor) -> Tensor:
        return queries if self.matrix is None else queries @ self.matrix

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.hidden) if self.similarity == "scaled-dot" else 1.0

    # ---------------------------------------------------------------- construction

    @property
    def _num_features(self) -> int:
        return 2 * self.hidden

    def _build_similarity(self) -> None:
        d, a = self.hidden, self.attention_size
        additive, multiplicative = self.similarity == "additive", self.similarity == "multiplicative"
        self.query = nn.Linear(d, a, bias=False) if additive else None
        self.key = nn.Linear(d, a, bias=False) if additive else None
        self.direction = nn.Parameter(torch.randn(a) / math.sqrt(a)) if additive else None
        self.matrix = nn.Parameter(torch.randn(d, d) / d) if multiplicative else None


def _visible(queries: Tensor, keys: Tensor) -> Tensor:
    """`(q, m)`: the last query sees all keys, each before it one less."""
    q, m = queries.shape[1], keys.shape[1]
    return torch.ones(q, m, dtype=torch.bool, device=keys.device).tril(m - q)
