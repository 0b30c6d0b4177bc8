"""The waist of the library: a model of p(x) = prod_t p(x_t | x_<t) that runs in two ways.

A subclass writes `forward` (all conditionals of a known x in parallel) and, to be fast when
sampling, `init_state` and `step` (one variable after another, reusing everything). The two must
agree; `chainrule.testing.check_model` checks that, and causality and normalisation with it. All the
rest, likelihoods, samples, saving, is derived once for all models, here and in `likelihood.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError
from chainrule.layers import Columns
from chainrule.likelihood import LikelihoodModel, SampleMethod
from chainrule.orderings import Ordering, resolve_ordering
from chainrule.sampling import FillInfo, FillOptions, ancestral, fill_holes, fixed_point, naive

__all__ = ["AutoregressiveModel"]


class AutoregressiveModel(LikelihoodModel):
    """An exact-likelihood autoregressive model: the chain rule read in one ordering.

    - `event_shape`, `conditional`, `context_size`: as in `LikelihoodModel`.
    - `ordering`: a name (`"raster"`, `"random:7"`, ...), a permutation, or an `Ordering`.
    """

    #: Whether `with_ordering` is possible without training again.
    order_agnostic: ClassVar[bool] = False

    #: Whether no variable tells anything about another, so that any of them can be filled in exactly.
    independent_variables: ClassVar[bool] = False

    _order: Tensor
    _position: Tensor

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        conditional: str | Conditional = "bernoulli",
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
    ) -> None:
        super().__init__(event_shape, conditional=conditional, context_size=context_size)
        #: Numbers that the network reads and writes for each variable, in the layout of the event.
        self.inputs = Columns(self.conditional.input_sizes(self.num_variables))
        self.outputs = Columns(self.conditional.param_sizes(self.num_variables))
        self._set_ordering(resolve_ordering(ordering, self.event_shape))

    # ---------------------------------------------------------------- what a subclass writes

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """All conditionals of a known x in one parallel pass.

        - `x`: `(batch, *event_shape)` in the parameters' dtype.
        - `context`: `(batch, context_size)` or None.

        Returns `(batch, *event_shape, num_params)`; the parameters of a variable must not depend
        on that variable or on any that comes later in the ordering.
        """
        raise NotImplementedError

    def init_state(self, batch_size: int, context: Tensor | None = None) -> Any:
        """What `step` carries from variable to variable, before the first one.

        This default knows nothing of the model: `step` then costs a full parallel pass.
        """
        return _ParallelState(self._zeros(batch_size, self.num_variables), context)

    def step(self, state: Any, previous_value: Tensor | None) -> tuple[Tensor, Any]:
        """Parameters of the next variable in the ordering, given the value of the previous one.

        - `previous_value`: `(batch,)`, or None for the first variable.

        Returns `(batch, num_params)` and the new state. The state handed in may be changed in
        place and must not be used again.
        """
        if previous_value is not None:
            state.sequence[:, state.position - 1] = previous_value
        params = self.to_sequence(self(self.from_sequence(state.sequence), state.context))
        state.position += 1
        return params[:, state.position - 1], state

    def select_state(self, state: Any, rows: Tensor) -> Any:
        """The state of a batch made of these rows, indices `(k,)`, of the batch that `state` is of.

        Filling in multiplies promising rows by it. This default asks the state, `state.select_rows(rows)`,
        and returns None where that has no such method: the steps are then taken again, right but slow.
        The state handed in may be changed and must not be used again.
        """
        select_rows = getattr(state, "select_rows", None)
        return None if select_rows is None else select_rows(rows)

    # ---------------------------------------------------------------- likelihood

    def log_prob_per_variable(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x_i | x_<i) of every variable, in nats, `(batch, *event_shape)`.

        Its negative is the surprise map of an example.
        """
        x = self._checked_values(x)
        context = self._checked_context(context, len(x))
        return self._log_prob_per_variable(x, context) if len(x) else torch.zeros_like(x)

    def _log_prob_per_variable(self, x: Tensor, context: Tensor | None) -> Tensor:
        params = self(x, context)
        # Mixed precision ends where probabilities begin: nats summed in bfloat16 mean nothing.
        return self.conditional.log_prob(params.to(x.dtype), x)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self._log_prob_per_variable(x, context).flatten(1).sum(1)

    # ---------------------------------------------------------------- sampling

    def _sample(
        self,
        noise: Tensor,
        context: Tensor | None,
        temperature: float,
        with_log_prob: bool,
        method: SampleMethod,
    ) -> tuple[Tensor, Tensor | None]:
        if method == "naive":
            return naive(self, noise, context, temperature), None
        if method == "fixed-point":
            return fixed_point(self, noise, context, temperature)[0], None
        return self._sample_incremental(noise, context, temperature, with_log_prob)

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The fast sampler; a model overrides it where it knows a faster way to the same sample."""
        return ancestral(self, noise, context, temperature, with_log_prob=with_log_prob)

    def _fill(
        self, evidence: Tensor, holes: Tensor, context: Tensor | None, options: FillOptions
    ) -> tuple[Tensor, FillInfo]:
        return fill_holes(self, evidence, holes, context, options)

    # ---------------------------------------------------------------- layout

    def conditional_at(self, position: int) -> Conditional:
        """The family of the variable at a place of the ordering."""
        return self.conditional.at(self.ordering.permutation[position])

    def conditional_over(self, first: int, last: int) -> Conditional:
        """The families of the variables first..last - 1 of the ordering, along the last dimension."""
        return self.conditional.over(self._order[first:last])

    def to_sequence(self, x: Tensor) -> Tensor:
        """`(batch, *event_shape, ...)` to `(batch, n, ...)` in the order of the ordering."""
        flat = x.reshape(len(x), self.num_variables, *x.shape[1 + len(self.event_shape) :])
        return flat if self._is_natural else flat[:, self._order]

    def from_sequence(self, sequence: Tensor) -> Tensor:
        """`(batch, n, ...)` in the order of the ordering to `(batch, *event_shape, ...)`."""
        flat = sequence if self._is_natural else sequence[:, self._position]
        return flat.reshape(len(sequence), *self.event_shape, *sequence.shape[2:])

    def encode(self, x: Tensor) -> Tensor:
        """What a network reads of x: from `(batch, *event_shape)` to `(batch, inputs.total)`."""
        return self.conditional.encode_packed(x.flatten(1))

    def encode_sequence(self, values: Tensor, first: int = 0) -> Tensor:
        """The same for values `(batch, k)` of the variables from place `first` of the ordering on."""
        last = first + values.shape[1]
        if last == first + 1:
            return self.conditional_at(first).encode(values).flatten(1)
        encoded = self.conditional_over(first, last).encode(values)
        columns = self.sequence_inputs
        return columns.pack(encoded) if columns.are_alike else columns.pick(range(first, last)).pack(encoded)

    def with_ordering(self, ordering: str | Sequence[int] | Ordering) -> Self:
        """The same network read in another ordering; shares every parameter.

        Only models trained for all orderings can do this; others raise `ChainruleError`.
        """
        if not self.order_agnostic:
            raise ChainruleError(
                f"{type(self).__name__} was trained for one ordering and cannot change it; "
                "an order-agnostic model such as DeepNADE can."
            )
        view = self._shared_copy()
        view._set_ordering(resolve_ordering(ordering, self.event_shape))
        return view

    def view_like(self, settings: dict[str, Any]) -> Self:
        """The view of this network that has these `settings()`; what `Ensemble` rebuilds members with."""
        return self.with_ordering(settings["ordering"])

    def _shared_copy(self) -> Self:
        """A second module object over the very same parameters and submodules."""
        view = copy.copy(self)
        for table in ("_parameters", "_buffers", "_modules"):
            view.__dict__[table] = dict(self.__dict__[table])
        return view

    def _set_ordering(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self._is_natural = ordering.permutation == tuple(range(len(ordering)))
        #: The same as `inputs` and `outputs`, with the variables in the ordering.
        self.sequence_inputs = self.inputs.pick(ordering.permutation)
        self.sequence_outputs = self.outputs.pick(ordering.permutation)
        device = self._reference.device
        self.register_buffer("_order", ordering.indices().to(device), persistent=False)
        self.register_buffer("_position", ordering.positions().to(device), persistent=False)

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        return f"{super().extra_repr()}, ordering={self.ordering.name}"


@dataclass
class _ParallelState:
    """State of the default `step`: the values so far, and nothing computed from them."""

    sequence: Tensor  # (batch, n), in the ordering
    context: Tensor | None
    position: int = 0

    def select_rows(self, rows: Tensor) -> _ParallelState:
        context = None if self.context is None else self.context[rows]
        return _ParallelState(self.sequence[rows], context, self.position)
