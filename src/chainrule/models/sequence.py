"""What models of sequences share: they read a stretch of values at once and go on from where they stood.

A recurrent net, a Transformer and a WaveNet differ in what they remember (a hidden state, keys and values,
ring buffers) and in how they read. Both ways of running them are one method, `read`: over a whole example it
is the parallel pass, over one value a step, over a prompt or a piece of a long text what lies between.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import whole_number
from chainrule.conditionals import Categorical, Mixed
from chainrule.errors import ChainruleError
from chainrule.layers import Columns
from chainrule.model import AutoregressiveModel
from chainrule.orderings import resolve_ordering

__all__ = ["Passage", "SequenceModel", "SequenceState"]


#: Log-odds that stand for certainty: a softmax of them is exactly 0 or 1.
_CERTAIN = 1e4


@dataclass(kw_only=True)
class SequenceState:
    """What a sequence model remembers of the values it has read; in every tensor the batch comes first.

    - `batch_size`: rows.
    - `position`: how many values were read.
    - `over`: which rows have read the end, bool `(batch,)`, where the model has one.

    A model adds fields of its own: tensors, lists of tensors, or None.
    """

    batch_size: int
    position: int = 0
    over: Tensor | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed, always in the same order."""
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = change(value)
            elif isinstance(value, list) and all(isinstance(part, Tensor) for part in value):
                changed[field.name] = [change(tensor) for tensor in value]
        return dataclasses.replace(self, **changed)

    def tensors(self) -> list[Tensor]:
        """Every tensor, in the order of `mapped`."""
        found: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.mapped(note)
        return found

    def select_rows(self, rows: Tensor) -> Self:
        """The state of a batch made of these rows, indices `(k,)`."""
        return dataclasses.replace(self.mapped(lambda tensor: tensor[rows]), batch_size=len(rows))


@dataclass(frozen=True)
class Passage:
    """Where a model stands in a sequence that it is given piece by piece.

    - `state`: after all values but the last one.
    - `last`: that value, `(batch, 1)`, which is read together with the next piece.
    - `length`: how many values there were.
    """

    state: Any
    last: Tensor
    length: int


class SequenceModel(AutoregressiveModel):
    """A model that reads values one after another and can go on for longer than it was built for.

    A subclass writes `init_state` and `read`; `event_shape` is `(length, ...)`.

    Sequences that differ in length have an `end`: one of the categories, after which there is nothing but
    that category, with certainty. A shorter sequence is then one that is filled up with ends, and its
    likelihood is the same however many of them there are. A subclass hands what it is about to return from
    `read` and `forward` to `_after_end`.
    """

    #: The category that ends a sequence, or None.
    end: int | None = None

    #: Every `period` variables the same ones come round: the columns of a time series, say. Each place of it
    #: has weights of its own at both ends of the network; 1: all variables are alike.
    period: int = 1

    #: Whether the state stays as large as it is, however much was read: a `SequenceState` of fixed shapes.
    constant_memory: ClassVar[bool] = False

    def read(self, state: Any, values: Tensor, *, begin: bool = False) -> tuple[Tensor, Any]:
        """Read the next values of the ordering: parameters of the variable after each of them, and the state.

        - `values`: `(batch, k)` with k >= 0, read after all that `state` has read.
        - `begin`: nothing was read before; the parameters of the first variable of all come first.

        Returns `(batch, k, num_params)`, or `(batch, k + 1, num_params)` with `begin`. The state handed in
        may be changed in place and must not be used again.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`, in one parallel pass."""
        values = self.to_sequence(x)[:, :-1]
        return self.from_sequence(self.read(self.init_state(len(x), context), values, begin=True)[0])

    def begin_again(self, state: Any) -> Any:
        """A state that has read nothing, for as many rows and without a context; `state` is used up.

        A subclass may keep what it has prepared for its steps.
        """
        return self.init_state(state.batch_size)

    def step(self, state: Any, previous_value: Tensor | None) -> tuple[Tensor, Any]:
        """Parameters of the next variable, `(batch, num_params)`, given the value of the previous one."""
        if previous_value is None:
            params, state = self.read(state, self._no_values(state), begin=True)
        else:
            params, state = self.read(state, previous_value[:, None])
        return params[:, -1], state

    def _checked_period(self, period: int) -> int:
        """The period, or a `ChainruleError` where the variables do not come round in it."""
        if whole_number("period", period, minimum=1) > 1 and not self._is_natural:
            raise ChainruleError(
                f'period={period} is of variables in their own order; use ordering="raster".'
            )
        if self.num_variables % period:
            raise ChainruleError(f"period={period} does not divide the {self.num_variables} variables.")
        return period

    def _variables(self, first: int, last: int) -> Sequence[int]:
        """Whose weights the variables at these places of the ordering have; () where all are alike."""
        if self.period > 1:
            return [place % self.period for place in range(first, last)]
        return () if self._is_any_length else self.ordering.permutation[first:last]

    def _checked_end(self, end: int | None) -> int | None:
        """The category that ends a sequence, or a `ChainruleError` where it is none of the categories."""
        if end is None:
            return None
        levels = getattr(self.conditional, "levels", 0)
        if not isinstance(self.conditional, Categorical) or not 0 <= whole_number("end", end) < levels:
            raise ChainruleError(
                f"end={end} must be one of the categories, 0..{levels - 1}, of the variables."
            )
        return end

    def _after_end(
        self, params: Tensor, values: Tensor, state: SequenceState | None = None, *, begin: bool = False
    ) -> Tensor:
        """The parameters that `read` found for `values`, but certainty of the end after the end."""
        if self.end is None:
            return params
        over = (values == self.end).cumsum(1) > 0  # (batch, k)
        if state is not None:
            if state.over is not None:
                over = over | state.over[:, None]
            elif not over.shape[1]:
                state.over = torch.zeros(len(values), dtype=torch.bool, device=values.device)
            state.over = over[:, -1] if over.shape[1] else state.over
        if begin:
            over = nn.functional.pad(over, (1, 0))
        certain = params.new_full(params.shape[-1:], -_CERTAIN)
        certain[self.end] = _CERTAIN
        return torch.where(over[..., None], certain, params)

    def _no_values(self, state: Any) -> Tensor:
        return self._zeros(state.batch_size, 0)

    def go_on(
        self, values: Tensor, after: Passage | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Passage]:
        """log p of the next values of a sequence given all before them, nats, `(batch, k)`; exact.

        - `values`: `(batch, k)`, k > 0, in the order of the ordering and in the parameters' dtype.
        - `after`: what came before, as the last call returned it; None at the beginning of the sequence,
          which alone needs the `context`.

        Also returns the passage for the values after these; its state is used up by going on from it.
        """
        if after is None:
            state, first = self.init_state(len(values), context), 0
            params, state = self.read(state, values[:, :-1], begin=True)
        else:
            state, first = after.state, after.length
            params, state = self.read(state, torch.cat([after.last, values[:, :-1]], dim=1))
        last = first + values.shape[1]
        family = self.conditional if self._is_any_length else self.conditional_over(first, last)
        log_prob = family.log_prob(params.to(values.dtype), values)
        return log_prob, Passage(state, values[:, -1:], last)

    @torch.no_grad()
    def chunked_log_prob(
        self, values: Tensor, chunk: int = 1024, context: Tensor | int | None = None
    ) -> Tensor:
        """log p of whole sequences of any length, nats, `(batch,)` in float64: exact, a piece at a time.

        - `values`: `(batch, T)` of any dtype, in the order of the ordering; T need not be that of
          `event_shape`. It may be memory-mapped: only one piece at a time is converted.
        - `chunk`: values in a piece; memory grows with it and, under `constant_memory`, not with T.

        Raises `ChainruleError` for another shape, a value outside the support, and, where families differ
        by variable, another length than the model's.
        """
        chunk = whole_number("chunk", chunk, minimum=1)
        if not isinstance(values, Tensor) or values.ndim != 2 or values.shape[1] == 0:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ChainruleError(f"expected sequences of shape (batch, length), but got {shape}.")
        if values.shape[1] != self.num_variables and not self._is_any_length:
            raise ChainruleError(
                f"variables of different families: sequences have {self.num_variables} values, "
                f"not {values.shape[1]}."
            )
        checked = self._context_of_rows(context, len(values))
        total = torch.zeros(len(values), dtype=torch.float64)
        passage: Passage | None = None
        for piece in torch.split(values, chunk, dim=1):
            piece = piece.to(self._reference)
            first = 0 if passage is None else passage.length
            family = self.conditional if self._is_any_length else self.conditional_over(first, first + chunk)
            family.check(piece)
            log_prob, passage = self.go_on(piece, passage, checked)
            total += log_prob.double().sum(1).cpu()
        return total

    @property
    def context_limit(self) -> int | None:
        """The most values of a long sequence that the model should look at together; None for any number."""
        return None

    @property
    def _is_any_length(self) -> bool:
        """Whether all variables are of one family, which then also more of them can have."""
        return not isinstance(self.conditional, Mixed)

    def with_length(self, length: int) -> Self:
        """The same network for sequences of another length; shares every parameter.

        Raises `ChainruleError` where the ordering is not the natural one, so that it has no other length.
        """
        length = whole_number("length", length, minimum=1)
        if not self._is_natural:
            raise ChainruleError(
                f"the ordering {self.ordering.name} is of {self.num_variables} variables and has no other "
                'length; only ordering="raster" has.'
            )
        view = self._shared_copy()
        view.event_shape = (length, *self.event_shape[1:])
        view.num_variables = math.prod(view.event_shape)
        view.inputs = Columns(view.conditional.input_sizes(view.num_variables))
        view.outputs = Columns(view.conditional.param_sizes(view.num_variables))
        view._set_ordering(resolve_ordering("raster", view.event_shape))
        return view
