"""Recurrent networks: one state that every value is read into, and that every next value is predicted from.

Elman 1990; LSTM: Hochreiter & Schmidhuber 1997, Gers et al. 2000; GRU: Cho et al. 2014. The lecture's
equations, topic 10, are `cell="tanh"` with one layer and no biases:

    h_0 = b_0,    h_t = tanh(W_hh h_{t-1} + W_xh x_t),    o_t = W_hy h_t,    p(x_{t+1} | x_<=t) from o_t,

so the first value is predicted from h_0. The number of parameters does not depend on the length. Whole
sequences run through PyTorch's fused kernels, single steps through its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from chainrule.arguments import real_number, whole_number
from chainrule.conditionals import Conditional
from chainrule.errors import unknown_name
from chainrule.layers.value_embedding import ParameterHead, ValueEmbedding
from chainrule.models.sequence import SequenceModel, SequenceState
from chainrule.orderings import Ordering

__all__ = ["CELLS", "RNN", "RNNState"]

#: The fused module of each cell; an LSTM has four times the weights of a tanh cell, a GRU three times.
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

#: Codes wider than this are not read as they are unless asked for: it costs their width at every value.
_WIDEST_CODE = 256

#: What keeps the state: of the LSTM's gates (input, forget, cell, output) and the GRU's (reset, update, new).
_KEEPING_GATE = 1


@dataclass(kw_only=True)
class RNNState(SequenceState):
    """h_t of each layer, and c_t of each layer of an LSTM, `(batch, hidden)` each; and the context."""

    hidden: list[Tensor]
    cell: list[Tensor]
    context: Tensor | None = None


class RNN(SequenceModel):
    """A recurrent network of any depth over values of any kind.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`. The context is
      read together with every value, and U context is added to h_0.
    - `cell`: `"tanh"`, `"lstm"` or `"gru"`; `hidden`: units d of each of the `layers`.
    - `embedding`: numbers that each value is turned into before it is read; 0 reads its code (one-hot for
      categories). None: 0 for codes of up to 256 numbers that mean the same everywhere, else `hidden`.
    - `bias`: whether cells and outputs have biases; without, there is b_0 alone, as in the lecture.
    - `dropout`: in training, on embeddings and between layers and before the outputs, never from step to
      step (Zaremba et al. 2014).
    - `tied`: write categories with the weights they are read with; needs `embedding` = `hidden`.
    - `forget_bias`: initial bias of an LSTM's forget gates and a GRU's update gates (Gers et al. 2000,
      Jozefowicz et al. 2015): a state fades by sigmoid(forget_bias) a step until they have learned better.
    - `end`: the category that ends a sequence, for sequences of different lengths (`SequenceModel`).
    - `period`: every so many variables the same ones come round, each with weights of its own at both ends
      of the network: the columns of a time series.

    Recurrent weights start orthogonal (Saxe et al. 2014). The defaults of cell, sizes and learning rate are
    those of Karpathy's char-rnn; the lecture's is three layers of 512.

    Parameters with k inputs, p outputs, G = 1, 4 or 3 times the gates, one layer: d (2 d for an LSTM) of the
    initial state, G d (d + k) and p d; with `bias`, 2 G d + p more (PyTorch's cells have two).

    >>> RNN((5,), conditional={"name": "categorical", "levels": 50}, cell="tanh", hidden=100, layers=1,
    ...     bias=False).num_parameters
    20100
    """

    default_learning_rate = 2e-3
    constant_memory = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        cell: Literal["tanh", "lstm", "gru"] = "lstm",
        hidden: int = 128,
        layers: int = 2,
        embedding: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        tied: bool = False,
        forget_bias: float = 1.0,
        end: int | None = None,
        period: int = 1,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        if cell not in CELLS:
            raise unknown_name("cell", cell, CELLS)
        self.cell = cell
        self.hidden = whole_number("hidden", hidden, minimum=1)
        self.layers = whole_number("layers", layers, minimum=1)
        self.period = self._checked_period(period)
        self.embedding = self._default_embedding() if embedding is None else embedding
        whole_number("embedding", self.embedding)
        self.bias, self.tied = bool(bias), bool(tied)
        self.dropout = real_number("dropout", dropout, minimum=0, below=1)
        self.forget_bias = real_number("forget_bias", forget_bias)
        self.end = self._checked_end(end)
        self._build()
        self._initialise()

    # ---------------------------------------------------------------- reading

    def init_state(self, batch_size: int, context: Tensor | None = None) -> RNNState:
        """h_0 = b_0 (+ U context), and the initial c_0 of an LSTM."""
        hidden = self.initial_hidden.expand(batch_size, -1, -1)
        if self.context_to_hidden is not None:
            hidden = hidden + self.context_to_hidden(context).view(batch_size, self.layers, self.hidden)
        cell = () if self.initial_cell is None else self.initial_cell.expand(batch_size, -1, -1).unbind(1)
        return RNNState(
            batch_size=batch_size, hidden=list(hidden.unbind(1)), cell=list(cell), context=context
        )

    def read(self, state: RNNState, values: Tensor, *, begin: bool = False) -> tuple[Tensor, RNNState]:
        """Read the next values; parameters of the variable after each, `(batch, k, num_params)`."""
        first, count = state.position, values.shape[1]
        before = state.hidden[-1][:, None]
        tops = before[:, :0]
        if count:
            inputs = self._inputs(values, state.context, self._variables(first, first + count))
            tops = self._recur(inputs, state)
        state.position += count
        if begin:
            tops = torch.cat([before, tops], dim=1)
        features = self._dropped(self._features(tops, state, begin))
        following = self._variables(first if begin else first + 1, first + count + 1)
        params: Tensor = self.head(features, following)
        return self._after_end(params, values, state, begin=begin), state

    def _inputs(self, values: Tensor, context: Tensor | None, variables: Sequence[int]) -> Tensor:
        """What the first layer reads, `(batch, k, inputs)`."""
        vectors: Tensor = self.embed(values, variables)
        if self.embedding:  # dropping from a one-hot code would hide whole values
            vectors = self._dropped(vectors)
        if context is None:
            return vectors
        return torch.cat([vectors, context[:, None].expand(-1, vectors.shape[1], -1)], dim=-1)

    def _features(self, tops: Tensor, state: RNNState, begin: bool) -> Tensor:
        """What the outputs see of the top layer's states, `(batch, k, hidden)`."""
        return tops

    def _dropped(self, vectors: Tensor) -> Tensor:
        if self.dropout and self.training:  # even at rate 0 it would draw from the global generator
            return functional.dropout(vectors, self.dropout)
        return vectors

    # ---------------------------------------------------------------- the recurrence

    def _recur(self, inputs: Tensor, state: RNNState) -> Tensor:
        """The top layer's states after each input, `(batch, k, hidden)`; changes `state` to the last."""
        if inputs.shape[1] == 1 and not (self.dropout and self.training):
            return self._recur_once(inputs[:, 0], state)[:, None]
        tops: Tensor
        hidden = torch.stack(state.hidden)
        if self.cell == "lstm":
            tops, (hidden, cell) = self.recurrence(inputs, (hidden, torch.stack(state.cell)))
            state.cell = list(cell.unbind(0))
        else:
            tops, hidden = self.recurrence(inputs, hidden)
        state.hidden = list(hidden.unbind(0))
        return tops

    def _recur_once(self, vector: Tensor, state: RNNState) -> Tensor:
        """The same for one input `(batch, inputs)`, without what the fused kernels do around it."""
        for layer, weights in enumerate(self.recurrence.all_weights):
            if self.cell == "lstm":
                vector, cell = torch.lstm_cell(vector, (state.hidden[layer], state.cell[layer]), *weights)
                state.cell[layer] = cell
            elif self.cell == "gru":
                vector = torch.gru_cell(vector, state.hidden[layer], *weights)
            else:
                vector = torch.rnn_tanh_cell(vector, state.hidden[layer], *weights)
            state.hidden[layer] = vector
        return vector

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the cells and outputs in one parallel pass; a category is looked up."""
        cells = sum(w.numel() for name, w in self.recurrence.named_parameters() if "weight" in name)
        rounds = self.num_variables // self.period if self._is_any_length else 1
        outputs = self.head.weight.numel() * rounds
        return self.num_variables * cells + outputs

    # ---------------------------------------------------------------- construction

    def _default_embedding(self) -> int:
        narrow = self._is_any_length and self.period == 1 and self.conditional.num_inputs <= _WIDEST_CODE
        return 0 if narrow else self.hidden

    def _build(self) -> None:
        self.embed = ValueEmbedding(self.conditional, self.num_variables, self.embedding, period=self.period)
        self.recurrence = CELLS[self.cell](
            self.embed.width + self.context_size,
            self.hidden,
            self.layers,
            bias=self.bias,
            batch_first=True,
            dropout=self.dropout if self.layers > 1 else 0.0,
        )
        self.initial_hidden = nn.Parameter(torch.zeros(self.layers, self.hidden))
        of_cells = torch.zeros(self.layers, self.hidden) if self.cell == "lstm" else None
        self.initial_cell = None if of_cells is None else nn.Parameter(of_cells)
        size = self.context_size
        self.context_to_hidden = nn.Linear(size, self.layers * self.hidden, bias=False) if size else None
        self.head = ParameterHead(
            self.conditional, self.num_variables, self._num_features, bias=self.bias, period=self.period
        )
        if self.tied:
            self.head.tie(self.embed)

    @property
    def _num_features(self) -> int:
        return self.hidden

    @torch.no_grad()
    def _initialise(self) -> None:
        """Orthogonal from step to step, Glorot from layer to layer, gate by gate; biases 0 but one."""
        for name, parameter in self.recurrence.named_parameters():
            for gate, part in enumerate(torch.split(parameter, self.hidden)):
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(part)
                elif name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(part)
                else:
                    keeps = self.cell != "tanh" and gate == _KEEPING_GATE and name.startswith("bias_ih")
                    part.fill_(self.forget_bias if keeps else 0.0)
