"""WaveNet: dilated causal convolutions over a waveform, or over any long sequence.

van den Oord et al. 2016. Layer k reads its input now and d_k = 1, 2, 4, ..., 512, 1, 2, ... values ago:

    z = tanh(W_f * h + V_f c) . sigmoid(W_g * h + V_g c),     h += W_r z,     skip += W_s z     (eq. 2, 3)
    parameters of x_{t+1} = W_2 relu(W_1 relu(skip) + b_1) + b_2,

so the reach doubles with every layer. Step by step each layer keeps its last d_k inputs in a ring: a value
costs the same however long the sequence is (le Paine et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import whole_number
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError
from chainrule.layers.dilated import DilatedLayer, DilatedStepper
from chainrule.layers.value_embedding import ParameterHead, ValueEmbedding
from chainrule.models.sequence import SequenceModel, SequenceState
from chainrule.orderings import Ordering

__all__ = ["WaveNet"]


class WaveNet(SequenceModel):
    """Gated dilated causal convolutions with skip connections.

    - `event_shape`, `ordering`, `conditional`: as in `AutoregressiveModel`; the paper's audio is
      256 categories after the mu-law, later work has a mixture of logistics.
    - `channels`: of the residual stream and of the gates; `skip_channels`: of the skips and the head.
    - `layers_per_stack`, `num_stacks`: dilations 1, 2, ..., 2^(layers_per_stack - 1), that often.
    - `kernel_size`: values that a layer reads, `dilation` apart.
    - `context_size`: length of the context; every layer hears it (global conditioning).
    - `local_size`: so many of its numbers belong to each variable and are heard there alone (local
      conditioning): `context_size` is then `global + n * local_size`, the local ones last, variable by
      variable in the ordering.
    - `end`: the category that ends a sequence, for sequences of different lengths (`SequenceModel`).

    >>> WaveNet((16_000,), conditional={"name": "categorical", "levels": 256}).receptive_field
    3070
    """

    default_learning_rate: ClassVar[float] = 1e-3
    constant_memory = True

    layers: list[DilatedLayer]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        channels: int = 32,
        skip_channels: int = 256,
        layers_per_stack: int = 10,
        num_stacks: int = 3,
        kernel_size: int = 2,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        local_size: int = 0,
        end: int | None = None,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        self.channels = whole_number("channels", channels, minimum=1)
        self.skip_channels = whole_number("skip_channels", skip_channels, minimum=1)
        self.layers_per_stack = whole_number("layers_per_stack", layers_per_stack, minimum=1)
        self.num_stacks = whole_number("num_stacks", num_stacks, minimum=1)
        self.kernel_size = whole_number("kernel_size", kernel_size, minimum=2)
        self.local_size = whole_number("local_size", local_size)
        self.end = self._checked_end(end)
        self._check_local_size()
        self.embedding = ValueEmbedding(self.conditional, self.num_variables, self.channels)
        self.start = nn.Parameter(torch.zeros(self.channels))
        heard = self._global_size + self.local_size
        dilations = [2**layer for layer in range(self.layers_per_stack)] * self.num_stacks
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            DilatedLayer(self.channels, self.skip_channels, self.kernel_size, dilation, heard)
            for dilation in dilations
        )
        self.mix = nn.Linear(self.skip_channels, self.skip_channels)
        self.head = ParameterHead(self.conditional, self.num_variables, self.skip_channels)
        self._initialise()

    def _check_local_size(self) -> None:
        if self.context_size < self.num_variables * self.local_size:
            raise ChainruleError(
                f"local_size={self.local_size} for {self.num_variables} variables needs a context_size of at "
                f"least {self.num_variables * self.local_size}, not {self.context_size}."
            )

    @property
    def _global_size(self) -> int:
        return self.context_size - self.num_variables * self.local_size

    @property
    def receptive_field(self) -> int:
        """How many of the values before a variable its conditional can depend on."""
        return 1 + (self.kernel_size - 1) * sum(layer.dilation for layer in self.layers)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Skips that sum to about one layer's size, however many there are."""
        for layer in self.layers:
            layer.out.weight[self.channels :].mul_(len(self.layers) ** -0.5)

    # ---------------------------------------------------------------- running

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _WaveNetState:
        """Rings of zeros: what a layer reads before the start."""
        rings = [layer.new_ring(batch_size) for layer in self.layers]
        return _WaveNetState(batch_size=batch_size, rings=rings, context=context)

    def read(
        self, state: _WaveNetState, values: Tensor, *, begin: bool = False
    ) -> tuple[Tensor, _WaveNetState]:
        """Read the next values: parameters of the variable after each of them, and the state."""
        order, before = self.ordering.permutation, state.position
        h = self.embedding(values, order[before : before + values.shape[1]])  # (batch, k, channels)
        first = before + 1  # the place of the variable whose parameters come first
        if begin:
            h = torch.cat([self.start.expand(len(h), 1, -1), h], dim=1)
            first = 0
        one_by_one = h.shape[1] == 1 and not torch.is_grad_enabled()
        heard = self._heard(state.context, first, h.shape[1])
        skips = self._step_layers(state, h, heard) if one_by_one else self._run_layers(state, h, heard)
        state.position += values.shape[1]
        mixed = torch.relu(self.mix(torch.relu(skips)))
        params = self.head(mixed, order[first : first + h.shape[1]])
        return self._after_end(params, values, state, begin=begin), state

    def _run_layers(self, state: _WaveNetState, h: Tensor, heard: Tensor | None) -> Tensor:
        """All layers over a stretch: the sum of the skips, `(batch, k, skip_channels)`."""
        if state.stepper is not None:
            state.rings, state.stepper = state.stepper.rings(), None
        skips = h.new_zeros(())
        for index, layer in enumerate(self.layers):
            stream, skip, state.rings[index] = layer(h, state.rings[index], heard)
            h, skips = h + stream, skips + skip
        return skips

    def _step_layers(self, state: _WaveNetState, h: Tensor, heard: Tensor | None) -> Tensor:
        """The same for a single value, `(batch, 1, channels)`."""
        now = None if heard is None else heard[:, 0]
        if state.stepper is None:
            state.stepper = DilatedStepper(self.layers, state.rings, None if self.local_size else now)
        return state.stepper.step(h[:, 0], now if self.local_size else None)[:, None]

    def _heard(self, context: Tensor | None, first: int, count: int) -> Tensor | None:
        """The part of the context for variables first..first + count - 1: `(batch, 1 or count, size)`."""
        if context is None:
            return None
        common = context[:, None, : self._global_size]
        if not self.local_size:
            return common
        local = context[:, self._global_size :].reshape(len(context), self.num_variables, self.local_size)
        local = local[:, first : first + count]
        return torch.cat([common.expand(-1, local.shape[1], -1), local], dim=2)

    def with_length(self, length: int) -> Self:
        """The same network for sequences of another length; with `local_size`, so is its context."""
        common = self._global_size
        view = super().with_length(length)
        view.context_size = common + view.num_variables * view.local_size
        return view

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass: every weight once for every variable."""
        return self.num_variables * sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))


@dataclass(kw_only=True)
class _WaveNetState(SequenceState):
    rings: list[Tensor]  # the past inputs of each layer; out of date while there is a stepper
    context: Tensor | None
    stepper: DilatedStepper | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed, ready to read a stretch."""
        if self.stepper is not None:
            self.rings, self.stepper = self.stepper.rings(), None
        return super().mapped(change)
