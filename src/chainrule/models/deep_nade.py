"""Deep NADE, trained for all orderings at once (EoNADE).

Uria, Murray & Larochelle 2014, "A deep and tractable density estimator"; Uria et al. 2016 (JMLR).
One network reads the known variables and which ones are known, and predicts all others:

    h^1 = f(W (x * m) + U m + c),   h^l = f(W^l h^{l-1} + c^l),   z = V h^L + b,     m_j = 1 if known.

For an ordering o, p(x_{o(t)} | x_{o(<t)}) is read from z with m marking o(<t). Training draws an ordering
and a place d in it, and weights the remaining terms by n / (n - d): an unbiased estimate of the mean NLL
over orderings. An ensemble over orderings mixes exact likelihoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from chainrule.arguments import layer_sizes
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.model import AutoregressiveModel
from chainrule.models.ensemble import Ensemble
from chainrule.orderings import Ordering, random_ordering

__all__ = ["DeepNADE"]

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}

#: Positions of the ordering that `forward` runs through the deeper layers together.
_CHUNK = 28


class DeepNADE(AutoregressiveModel):
    """One network for every ordering; `ordering` says which one is in use.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`; a
      context is one more input.
    - `hidden`: sizes of the hidden layers, at least one.
    - `activation`: `"relu"`, `"tanh"` or `"sigmoid"`.

    `forward` (one ordering, exact) runs the deeper layers n times, sum of d_l d_{l+1} multiply-adds
    for each variable; `training_loss` runs them once. `with_ordering` and `ensemble` share weights.

    Parameters: (I + n) d_1 + d_1, then (d_l + 1) d_{l+1}, then (d_L + 1) O, for the I numbers that are read
    and the O parameters of all conditionals (n each if binary).
    """

    order_agnostic: ClassVar[bool] = True

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (500, 500),
        activation: str = "relu",
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        self.hidden = layer_sizes("hidden", hidden)
        if not self.hidden:
            raise ChainruleError("DeepNADE needs one or more hidden layers, not none.")
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.activation = activation
        self.values_to_hidden = nn.Linear(self.inputs.total, self.hidden[0])
        self.known_to_hidden = nn.Linear(self.num_variables, self.hidden[0], bias=False)
        self.context_to_hidden = nn.Linear(context_size, self.hidden[0], bias=False) if context_size else None
        sizes = zip(self.hidden[:-1], self.hidden[1:], strict=True)
        self.layers = nn.ModuleList(nn.Linear(below, above) for below, above in sizes)
        self.output = nn.Linear(self.hidden[-1], self.outputs.total)

    # ---------------------------------------------------------------- all orderings at once

    def predict(self, x: Tensor, known: Tensor, context: Tensor | None = None) -> Tensor:
        """Conditionals of every variable given those marked in `known`, in one pass.

        - `x`, `known`: `(batch, *event_shape)`; values where `known` is 0 are not read.

        Returns `(batch, *event_shape, num_params)`; meaningful where `known` is 0.
        """
        known = known.to(x.dtype).flatten(1)
        values = self.encode(torch.where(known.view_as(x) > 0, x, 0)) * known[:, self.inputs.owner]
        first = self.values_to_hidden(values) + self.known_to_hidden(known)
        params: Tensor = self.output(self._upper_layers(first + self._context_shift(context)))
        return self.outputs.unpack(params).view(len(x), *self.event_shape, self.outputs.width)

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """Unbiased estimate of the NLL averaged over all orderings, nats, `(batch,)`.

        Each example gets its own ordering and its own number d of known variables (Uria et al. 2014,
        eq. 6): n / (n - d) times the NLL of the unknown ones.
        """
        return self._order_agnostic_loss(x, context, *self._random_known(len(x), generator))

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The training estimate with noise fixed once and for all; its mean bounds the mixture's NLL."""
        generator = torch.Generator().manual_seed(0)
        return self._order_agnostic_loss(x, context, *self._random_known(len(x), generator))

    def _random_known(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random sets of known variables `(batch, n)` and their sizes `(batch, 1)`."""
        n = self.num_variables
        scores = torch.rand(batch_size, n, generator=generator, device=generator.device)
        count = torch.randint(n, (batch_size, 1), generator=generator, device=generator.device)
        threshold = scores.sort(dim=1).values.gather(1, count)
        device = self.output.weight.device
        return (scores < threshold).to(device), count.to(device)

    def _order_agnostic_loss(self, x: Tensor, context: Tensor | None, known: Tensor, count: Tensor) -> Tensor:
        params = self.predict(x, known.view(x.shape), context)
        log_prob = self.conditional.log_prob(params.to(x.dtype), x).flatten(1)
        n = self.num_variables
        return -(log_prob * ~known).sum(1) * n / (n - count[:, 0])

    # ---------------------------------------------------------------- one ordering

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Conditionals of a known x in this model's ordering, `(batch, *event_shape, num_params)`."""
        sequence = self.to_sequence(x)
        values, is_known = self._rows()
        running = self._first_preactivation(len(x), context)
        outputs = []
        for start in range(0, self.num_variables, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            # (batch, chunk, d): what each variable of the chunk adds once it is known.
            encoded = self._encoded(sequence[:, chunk], start)
            added = torch.einsum("bci,cid->bcd", encoded, values[chunk]) + is_known[chunk]
            added = torch.cumsum(added, dim=1)
            before = torch.cat([running[:, None], running[:, None] + added[:, :-1]], dim=1)
            top = self._upper_layers(before)
            outputs.append(self._read_outputs(top, chunk))
            running = running + added[:, -1]
        return self.from_sequence(torch.cat(outputs, dim=1))

    def _log_prob_per_variable(self, x: Tensor, context: Tensor | None) -> Tensor:
        if torch.is_grad_enabled():
            return super()._log_prob_per_variable(x, context)
        # Without gradients the steps themselves are quicker: what they touch stays in the cache.
        state, previous, params = self.init_state(len(x), context), None, []
        for value in self.to_sequence(x).unbind(1):
            of_one, state = self.step(state, previous)
            params.append(of_one)
            previous = value
        return self.conditional.log_prob(self.from_sequence(torch.stack(params, dim=1)), x)

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _DeepNADEState:
        """The first layer's pre-activation when nothing is known."""
        return _DeepNADEState(self._first_preactivation(batch_size, context).clone(), *self._rows())

    def step(self, state: _DeepNADEState, previous_value: Tensor | None) -> tuple[Tensor, _DeepNADEState]:
        """Add the previous variable to the first layer; run the upper ones; read one output."""
        t = state.position
        if previous_value is not None:
            inputs = self.encode_sequence(previous_value[:, None], t - 1)
            rows = state.value_rows[t - 1, : inputs.shape[1]]
            state.preactivation.addmm_(inputs, rows).add_(state.known_rows[t - 1])
        top = self._upper_layers(state.preactivation)
        params = self._read_outputs(top[:, None], slice(t, t + 1))[:, 0]
        state.position += 1
        return params, state

    def ensemble(self, num_members: int = 128, seed: int = 0) -> Ensemble:
        """The mixture over `num_members` random orderings, all sharing this network."""
        seeds = range(seed * num_members, (seed + 1) * num_members)
        return Ensemble([self.with_ordering(random_ordering(self.event_shape, s)) for s in seeds])

    # ---------------------------------------------------------------- pieces

    def _rows(self) -> tuple[Tensor, Tensor]:
        """What the numbers of a variable, and its being known, add to the first layer, in the ordering.

        Shapes `(n, inputs.width, d_1)`, zeros in the padding, and `(n, d_1)`.
        """
        values = self.inputs.unpack(self.values_to_hidden.weight)[:, self._order]  # (d_1, n, width)
        return values.permute(1, 2, 0).contiguous(), self.known_to_hidden.weight.T[self._order]

    def _encoded(self, values: Tensor, first: int) -> Tensor:
        """The numbers of neighbouring variables of the ordering, `(batch, k, inputs.width)`."""
        return self.conditional_over(first, first + values.shape[1]).encode(values)

    def _context_shift(self, context: Tensor | None) -> Tensor | float:
        return 0.0 if self.context_to_hidden is None else self.context_to_hidden(context)

    def _first_preactivation(self, batch_size: int, context: Tensor | None) -> Tensor:
        return self.values_to_hidden.bias.expand(batch_size, -1) + self._context_shift(context)

    def _upper_layers(self, preactivation: Tensor) -> Tensor:
        """From the first layer's pre-activation to the last hidden layer."""
        h = ACTIVATIONS[self.activation](preactivation)
        for layer in self.layers:
            h = ACTIVATIONS[self.activation](layer(h))
        return h

    def _read_outputs(self, top: Tensor, positions: slice) -> Tensor:
        """Only the outputs of the variables at these positions: `(batch, chunk, num_params)`."""
        variables = self._order[positions]
        weight = self.outputs.unpack(self.output.weight.T)[:, variables]  # (d_L, chunk, width)
        bias = self.outputs.unpack(self.output.bias)[variables]
        return torch.einsum("bcd,dcp->bcp", top, weight) + bias


@dataclass
class _DeepNADEState:
    preactivation: Tensor  # (batch, d_1): of the first layer, with every variable known so far
    value_rows: Tensor  # (n, inputs.width, d_1), in the ordering
    known_rows: Tensor  # (n, d_1), in the ordering
    position: int = 0

    def select_rows(self, rows: Tensor) -> _DeepNADEState:
        return _DeepNADEState(self.preactivation[rows], self.value_rows, self.known_rows, self.position)
