"""NADE: the neural autoregressive distribution estimator.

Larochelle & Murray 2011, "The neural autoregressive distribution estimator". With x in the ordering,

    h_i = sigmoid(c + sum_{j<i} W_j x_j),   p(x_i = 1 | x_<i) = sigmoid(b_i + V_i . h_i),

2dn + d + n parameters. Because h_{i+1} differs from h_i by one column of W, a likelihood, its gradient
and a whole sample cost O(nd) each. `_NADELogits` does that without keeping the n x d hidden
activations of a batch, and touches a row of the batch only where its variable is not 0.

Other values: a category enters as its one-hot code and leaves as a softmax (NADE for discrete data), a
real number enters as itself and leaves as the parameters of a density (RNADE, Uria et al. 2013); then
W_j and V_i hold a row for each of these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chainrule.arguments import whole_number
from chainrule.conditionals import Conditional
from chainrule.inputs import check_size
from chainrule.model import AutoregressiveModel
from chainrule.orderings import Ordering

__all__ = ["NADE"]

#: Numbers read between two kept pre-activations; memory of a batch is about (n/28 + 28) x d floats a row.
_CHUNK = 28

#: Up to this share of values that are not 0, the changes of the hidden state are kept for the backward pass.
_SPARSE = 0.2


#: Up to so many hidden activations in a batch, computing all anew is quicker than finding those that change.
_FEW = 2**16


class NADE(AutoregressiveModel):
    """NADE with one hidden layer of `hidden` sigmoid units.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`. A context
      shifts the hidden pre-activation and the output biases.
    - `hidden`: number of hidden units d.

    Parameters, in the ordering: `weight` W `(I, d)`, a row for each number that is read (I = n for
    binary variables, nK for K categories); `hidden_bias` c `(d,)`; `output_weight` V `(O, d)` and
    `output_bias` b `(O,)`, a row for each parameter of a conditional.

    >>> NADE((784,), hidden=500).num_parameters
    785284
    """

    default_learning_rate = 2e-2

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        hidden: int = 500,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        self.hidden = whole_number("hidden", hidden, minimum=1)
        read, written = self.inputs.total, self.outputs.total
        check_size("NADE", self.multiply_adds)
        self.weight = nn.Parameter(torch.empty(read, hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.output_weight = nn.Parameter(torch.empty(written, hidden))
        self.output_bias = nn.Parameter(torch.zeros(written))
        self.context_weight = nn.Linear(context_size, hidden + written, bias=False) if context_size else None
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.num_variables))
        nn.init.normal_(self.output_weight, std=1 / math.sqrt(hidden))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`, in O(nd) time an example."""
        start, output_bias = self._offsets(len(x), context)
        inputs = self.encode_sequence(self.to_sequence(x))
        hidden_part = _nade_logits(inputs, start, self.weight, self.output_weight, self._written_before())
        return self.from_sequence(self.sequence_outputs.unpack(hidden_part + output_bias))

    def hidden_activations(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """h_i of every variable, `(batch, n, d)`, in the ordering: the features, kept on request."""
        inputs = self.encode_sequence(self.to_sequence(self._checked_values(x)))
        start, _ = self._offsets(len(x), self._checked_context(context, len(x)))
        added = torch.cumsum(inputs[..., None] * self.weight, dim=1)
        before = torch.cat([torch.zeros_like(added[:, :1]), added], dim=1)
        return torch.sigmoid(start[:, None] + before[:, self.sequence_inputs.starts[:-1]])

    def _written_before(self) -> list[int]:
        """For each number that is read, how many parameters come before it."""
        ends = self.sequence_outputs.starts[1:]
        return [end for end, size in zip(ends, self.sequence_inputs.sizes, strict=True) for _ in range(size)]

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _NADEState:
        """The hidden pre-activation before any variable is known."""
        start, output_bias = self._offsets(batch_size, context)
        start = start.clone()
        return _NADEState(
            start,
            torch.sigmoid(start),
            output_bias.expand(batch_size, -1).T.contiguous(),
            torch.split(self.weight, self.sequence_inputs.sizes),
            torch.split(self.output_weight.T, self.sequence_outputs.sizes, dim=1),
        )

    def step(self, state: _NADEState, previous_value: Tensor | None) -> tuple[Tensor, _NADEState]:
        """Add the previous variable's rows of W where it is not 0; O(d) per variable."""
        t = state.position
        if previous_value is not None:
            state.enter(self.conditional_at(t - 1).encode(previous_value), state.entering[t - 1])
        bias = state.output_bias[self.sequence_outputs.starts[t] : self.sequence_outputs.starts[t + 1]]
        params = torch.addmm(bias.T, state.hidden, state.leaving[t])
        state.position += 1
        return self.sequence_outputs.widen(params), state

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one likelihood or sample: (I + O) d, and d + O for each number of a context.

        An upper bound for sparse x: numbers that are 0 add nothing to the hidden layer.
        """
        read, written, d = self.inputs.total, self.outputs.total, self.hidden
        return (read + written) * d + self.context_size * (d + written)

    def _offsets(self, batch_size: int, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Initial pre-activations `(batch, d)` and output biases `(O,)` or `(batch, O)`."""
        start = self.hidden_bias.expand(batch_size, -1)
        if self.context_weight is None:
            return start, self.output_bias
        hidden_shift, output_shift = self.context_weight(context).split(
            [self.hidden, self.outputs.total], dim=1
        )
        return start + hidden_shift, self.output_bias + output_shift


@dataclass
class _NADEState:
    preactivation: Tensor  # (batch, d): c + sum_{j < position} W_j x_j
    hidden: Tensor  # (batch, d): its sigmoid
    output_bias: Tensor  # (O, batch)
    entering: Sequence[Tensor]  # of each variable: W_j, (its inputs, d)
    leaving: Sequence[Tensor]  # of each variable: V_i, (d, its outputs)
    position: int = 0

    def enter(self, inputs: Tensor, weight: Tensor) -> None:
        """Add inputs `(batch, k)` times weight `(k, d)` to the hidden state, where that changes anything."""
        if self.hidden.numel() <= _FEW:
            if inputs.any():
                self.preactivation.addmm_(inputs, weight)
                self.hidden = torch.sigmoid(self.preactivation)
            return
        rows = inputs.any(1).nonzero()[:, 0]
        if len(rows):
            changed = self.preactivation.index_select(0, rows).addmm_(inputs.index_select(0, rows), weight)
            self.preactivation.index_copy_(0, rows, changed)
            self.hidden.index_copy_(0, rows, torch.sigmoid(changed))

    def select_rows(self, rows: Tensor) -> _NADEState:
        return replace(
            self,
            preactivation=self.preactivation[rows],
            hidden=self.hidden[rows],
            output_bias=self.output_bias[:, rows],
        )


class _NADELogits(torch.autograd.Function):
    """z_i = V_i . sigmoid(a + sum_j x_j W_j) for all i, with a backward pass in O(nd) time.

    The sum runs over the numbers x_j that are read after output i has been written: `written_before[j]`
    outputs are written before x_j is read. The hidden state of a row changes only where x_j != 0. So the
    outputs are cut into segments that end where some row changes: one product serves a segment, and at
    its end only the rows that change are updated. For binary images that is an eighth of the
    sigmoids. The backward pass walks the segments in reverse and undoes the changes from a log: kept
    from the forward pass where few rows change, else recomputed chunk by chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        start: Tensor,
        weight: Tensor,
        output_weight: Tensor,
        written_before: list[int],
        for_backward: bool,
    ) -> Tensor:
        segments = _Segments(x, written_before)
        logits = x.new_empty(len(output_weight), len(x))  # (O, batch)
        logits_of, outputs_of = segments.split(logits), segments.split(output_weight)
        entering = weight[segments.last].unbind()
        preactivation = start.clone()
        hidden = torch.sigmoid(preactivation)
        hidden_columns = hidden.T
        kept: list[Tensor] = []
        log: list[Tensor] = []
        for chunk in segments.chunks:
            if for_backward and not segments.are_sparse:
                kept.append(preactivation.clone())
            for k in chunk:
                torch.mm(outputs_of[k], hidden_columns, out=logits_of[k])
                rows = segments.rows[k]
                if for_backward and segments.are_sparse:
                    log.append(hidden.index_select(0, rows))
                _advance(preactivation, hidden, rows, segments.values[k], entering[k])
        ctx.segments = segments
        ctx.save_for_backward(weight, output_weight, hidden, *(log if segments.are_sparse else kept))
        return logits.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor | None, ...]:
        weight, output_weight, hidden, *kept = ctx.saved_tensors
        segments: _Segments = ctx.segments
        hidden = hidden.clone()
        gradient = grad_logits.T.contiguous()  # (O, batch)
        grad_output_weight = torch.empty_like(output_weight)
        grad_entering = torch.zeros_like(hidden[:1]).repeat(len(segments.last), 1)
        grad_x = gradient.new_zeros(len(weight), len(hidden)) if ctx.needs_input_grad[0] else None
        grad_start = torch.zeros_like(hidden)  # of the pre-activation, summed over later variables
        grad_hidden = torch.zeros_like(hidden)  # of the present hidden state, not yet passed on
        gradient_of, outputs_of = segments.split(gradient), segments.split(output_weight)
        grad_outputs_of, grad_entering_of = segments.split(grad_output_weight), grad_entering.unbind()
        entering = weight[segments.last].unbind()
        for number, chunk in reversed(list(enumerate(segments.chunks))):
            if segments.are_sparse:
                log = [kept[k] for k in chunk]
            else:
                log = _replay(segments, chunk, kept[number].clone(), hidden, entering)
            for k, before in zip(reversed(chunk), reversed(log), strict=True):
                rows = segments.rows[k]
                if grad_x is not None:
                    _pass_on(grad_start, grad_hidden, hidden, segments.all_rows)
                    torch.mv(grad_start, entering[k], out=grad_x[segments.last[k]])
                if len(rows):
                    changed = _pass_on(grad_start, grad_hidden, hidden, rows)
                    torch.mv(changed.T, segments.values[k], out=grad_entering_of[k])
                    hidden.index_copy_(0, rows, before)
                torch.mm(gradient_of[k], hidden, out=grad_outputs_of[k])
                grad_hidden.addmm_(gradient_of[k].T, outputs_of[k])
        _pass_on(grad_start, grad_hidden, hidden, segments.all_rows)
        grad_weight = torch.zeros_like(weight).index_copy_(0, segments.last, grad_entering)
        return None if grad_x is None else grad_x.T, grad_start, grad_weight, grad_output_weight, None, None


def _nade_logits(
    x: Tensor, start: Tensor, weight: Tensor, output_weight: Tensor, written_before: list[int]
) -> Tensor:
    """V_i . h_i for all i, `(batch, O)`; x `(batch, I)`, start `(batch, d)`, weights `(I, d)`, `(O, d)`."""
    for_backward = torch.is_grad_enabled()
    logits: Tensor = _NADELogits.apply(x, start, weight, output_weight, written_before, for_backward)  # type: ignore[no-untyped-call]
    return logits


class _Segments:
    """Where the rows of a batch change: runs of outputs, and what is read after the last one of each.

    - `last`: `(K,)`, the number read at the end of each segment; where x needs a gradient, every number.
    - `rows`, `values`: for each segment, the rows where that number is not 0, and its values there.
    - `lengths`: outputs in each segment; none between two numbers of one variable.
    - `chunks`: segments in groups of about `_CHUNK` numbers.
    - `are_sparse`: whether so few rows change that a log of all changes is small.
    """

    def __init__(self, x: Tensor, written_before: list[int]) -> None:
        columns = x.detach().T.contiguous()
        numbers, rows = columns.nonzero(as_tuple=True)
        counts = torch.bincount(numbers, minlength=len(columns)).tolist()
        final = len(counts) - 1
        last = [i for i, count in enumerate(counts) if count or x.requires_grad or i == final]
        rows_of, values_of = torch.split(rows, counts), torch.split(columns[numbers, rows], counts)
        self.rows, self.values = [rows_of[i] for i in last], [values_of[i] for i in last]
        self.last = torch.tensor(last, device=x.device)
        ends = [written_before[i] for i in last]
        self.lengths = [end - before for before, end in zip([0, *ends], ends, strict=False)]
        self.are_sparse = len(rows) <= _SPARSE * x.numel()
        self.all_rows = torch.arange(len(x), device=x.device)
        self.chunks: list[list[int]] = []
        for k, i in enumerate(last):
            if not self.chunks or i - last[self.chunks[-1][0]] >= _CHUNK:
                self.chunks.append([])
            self.chunks[-1].append(k)

    def split(self, of_outputs: Tensor) -> tuple[Tensor, ...]:
        """Views of a tensor `(O, ...)`, one for the outputs of each segment."""
        return torch.split(of_outputs, self.lengths)


def _advance(preactivation: Tensor, hidden: Tensor, rows: Tensor, values: Tensor, weight: Tensor) -> None:
    """Let one variable enter the hidden state of the rows where it is not 0, in place."""
    if len(rows):
        changed = preactivation.index_select(0, rows).addr_(values, weight)
        preactivation.index_copy_(0, rows, changed)
        hidden.index_copy_(0, rows, changed.sigmoid_())


def _replay(
    segments: _Segments, chunk: list[int], preactivation: Tensor, hidden: Tensor, entering: tuple[Tensor, ...]
) -> list[Tensor]:
    """Run a chunk forward again from its pre-activation; `hidden` becomes the state at its end.

    Returns, for each segment, what its changing rows held before the change.
    """
    torch.sigmoid(preactivation, out=hidden)
    log = []
    for k in chunk:
        log.append(hidden.index_select(0, segments.rows[k]))
        _advance(preactivation, hidden, segments.rows[k], segments.values[k], entering[k])
    return log


def _pass_on(grad_start: Tensor, grad_hidden: Tensor, hidden: Tensor, rows: Tensor) -> Tensor:
    """Move the gradient waiting at these rows' hidden state through the sigmoid; returns their new sum."""
    h = hidden.index_select(0, rows)
    through = grad_hidden.index_select(0, rows).mul_(h)
    through.addcmul_(through, h, value=-1)  # g h (1 - h)
    changed = grad_start.index_select(0, rows).add_(through)
    grad_start.index_copy_(0, rows, changed)
    grad_hidden.index_fill_(0, rows, 0.0)
    return changed
