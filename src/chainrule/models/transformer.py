"""Transformer: a decoder of causal self-attention over the values read so far.

Vaswani et al. 2017, with the normalisation before each part (Radford et al. 2019, GPT-2; Chen et al. 2020,
Image GPT, over pixels):

    h = e(x_{<=t}) + position,      h += Attention(norm(h)),      h += MLP(norm(h))     in every layer,
    parameters of x_{t+1} = V norm(h_t).

A learned start is read before the first value. Step by step, each layer keeps the keys and values of what
was read, so that a whole sample takes the products of one parallel pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import real_number, whole_number
from chainrule.conditionals import Categorical, Conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.layers.attention import CausalSelfAttention, KeyValueCache, PlacedCache, Places, rotary_angles
from chainrule.layers.experts import Experts, feed_forward
from chainrule.layers.linear import Linear, PackedWeights
from chainrule.layers.value_embedding import ParameterHead, ValueEmbedding
from chainrule.models.sequence import SequenceModel, SequenceState
from chainrule.models.transformer_looks import TransformerLooks
from chainrule.orderings import Ordering
from chainrule.sampling import by_looking_ahead_by_row

__all__ = ["Transformer"]

#: Making copies of the weights takes as long as it saves in about so many steps.
_STEPS_BEFORE_PACKING = 12

#: Values with more levels are not guessed often enough.
_MOST_LEVELS = 2

POSITIONS = ("rotary", "learned", "sinusoidal")


class Transformer(SequenceModel):
    """Decoder-only Transformer over tokens, pixels, table columns or real values.

    - `event_shape`, `ordering`, `conditional`, `context_size`: as in `AutoregressiveModel`. A context is
      added to everything that is read, through one matrix.
    - `width`, `num_layers`, `num_heads`: sizes; the heads divide the width.
    - `num_kv_heads`: heads of keys and values, shared by groups of heads (Ainslie et al. 2023); None for
      as many as `num_heads`.
    - `expansion`: width of the MLPs over `width`.
    - `num_experts`: MLPs in each layer, of which each place uses those `experts_used` that a linear map of it
      rates highest (Shazeer et al. 2017), None for all of them; `num_experts=None` for one MLP and no map.
    - `window`: how many of the values read last a layer looks at; None for all of them.
    - `positions`: `"rotary"` (Su et al. 2021), `"sinusoidal"`, or `"learned"`, which has no others than
      those it was built for.
    - `tie_weights`: categories are written with the embedding they are read by (Press & Wolf 2017).
    - `dropout`: of embeddings, attention and what each part adds, in training only.
    - `bias`: whether linear maps and normalisations have one.
    - `end`: the category that ends a sequence, for sequences of different lengths (`SequenceModel`).
    - `period`: every so many variables the same ones come round, each with weights of its own at both ends
      of the network: the columns of a time series.

    >>> Transformer((256,), num_layers=6, conditional={"name": "categorical", "levels": 65}).num_parameters
    10647168
    """

    default_learning_rate: ClassVar[float] = 1e-3

    blocks: list[_Block]  # in fact an nn.ModuleList

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        width: int = 384,
        num_layers: int = 6,
        num_heads: int = 6,
        num_kv_heads: int | None = None,
        expansion: float = 4.0,
        num_experts: int | None = None,
        experts_used: int | None = None,
        window: int | None = None,
        positions: Literal["rotary", "learned", "sinusoidal"] = "rotary",
        tie_weights: bool = True,
        dropout: float = 0.0,
        bias: bool = False,
        end: int | None = None,
        period: int = 1,
        ordering: str | Sequence[int] | Ordering = "raster",
        context_size: int = 0,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape, conditional=conditional, ordering=ordering, context_size=context_size)
        self.width = whole_number("width", width, minimum=1)
        self.num_layers = whole_number("num_layers", num_layers, minimum=1)
        self.num_heads = whole_number("num_heads", num_heads, minimum=1)
        self.num_kv_heads = num_kv_heads
        self.window = None if window is None else whole_number("window", window, minimum=1)
        self.expansion = real_number("expansion", expansion, above=0.0)
        self.num_experts, self.experts_used = num_experts, experts_used
        self._check_experts()
        self.dropout = real_number("dropout", dropout, minimum=0, below=1)
        self.positions, self.bias = positions, bool(bias)
        self.tie_weights, self.end = bool(tie_weights), self._checked_end(end)
        shared = self._checked_heads()
        self.period = self._checked_period(period)
        self.embedding = ValueEmbedding(self.conditional, self.num_variables, self.width, period=self.period)
        self.start = nn.Parameter(torch.empty(self.width))
        self.place = nn.Embedding(self.num_variables, self.width) if positions == "learned" else None
        self.context_weight = nn.Linear(context_size, self.width, bias=False) if context_size else None
        inner = max(1, round(self.expansion * self.width))
        self.blocks = nn.ModuleList(  # type: ignore[assignment]
            _Block(
                self.width,
                self.num_heads,
                shared,
                inner,
                self.window,
                self.dropout,
                self.bias,
                self._new_experts(inner),
            )
            for _ in range(self.num_layers)
        )
        self.norm = nn.LayerNorm(self.width, bias=self.bias)
        self.head = ParameterHead(
            self.conditional, self.num_variables, self.width, bias=self.bias, period=self.period
        )
        if self.tie_weights and isinstance(self.conditional, Categorical):
            self.head.tie(self.embedding)
        self._initialise()

    def _checked_heads(self) -> int:
        """The number of heads of keys and values, or a `ChainruleError` about sizes that do not fit."""
        if self.width % self.num_heads:
            raise ChainruleError(f"num_heads={self.num_heads} does not divide width={self.width}.")
        shared = self.num_heads
        if self.num_kv_heads is not None:
            shared = whole_number("num_kv_heads", self.num_kv_heads, minimum=1)
        if self.num_heads % shared:
            raise ChainruleError(f"num_kv_heads={shared} does not divide num_heads={self.num_heads}.")
        if self.positions not in POSITIONS:
            raise unknown_name("kind of positions", str(self.positions), POSITIONS)
        if self.positions == "rotary" and self.width // self.num_heads % 2:
            raise ChainruleError(
                f"rotary positions need heads of even width, not {self.width // self.num_heads} "
                "(width / num_heads)."
            )
        return shared

    def _check_experts(self) -> None:
        """Raise `ChainruleError` for more experts used than there are."""
        if self.num_experts is not None:
            whole_number("num_experts", self.num_experts, minimum=1)
        if self.experts_used is None:
            return
        used = whole_number("experts_used", self.experts_used, minimum=1)
        if used > (self.num_experts or 0):
            raise ChainruleError(
                f"experts_used={used} is more than num_experts={self.num_experts}; ask for at most as many."
            )

    def _new_experts(self, inner: int) -> Experts | None:
        """The experts of one layer; None where it has a single MLP."""
        if self.num_experts is None:
            return None
        used = self.num_experts if self.experts_used is None else self.experts_used
        return Experts(self.width, inner, self.num_experts, used, bias=self.bias)

    @torch.no_grad()
    def _initialise(self) -> None:
        """GPT-2's: normal weights of deviation 0.02, less where 2 L parts add to the same sum."""
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1)
            elif name.endswith("bias") and name != "embedding.bias":  # without it, norms hide how large x is
                parameter.zero_()
            else:
                adds = name.endswith(("attention.out.weight", "down.weight"))
                parameter.normal_(std=0.02 / math.sqrt(2 * self.num_layers) if adds else 0.02)

    # ---------------------------------------------------------------- running

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all conditionals, `(batch, *event_shape, num_params)`, in one parallel pass."""
        values = self.to_sequence(x)[:, :-1]
        params = self._run(values, self._shift(context), None, 0, begin=True)
        return self.from_sequence(self._after_end(params, values, begin=True))

    def init_state(self, batch_size: int, context: Tensor | None = None) -> _TransformerState:
        """Empty caches of keys and values, one for each layer."""
        caches = [block.attention.new_cache(batch_size) for block in self.blocks]
        return _TransformerState(batch_size=batch_size, caches=caches, shift=self._shift(context))

    def begin_again(self, state: _TransformerState) -> _TransformerState:
        """The same as a fresh state, but the copies of the weights are kept."""
        return replace(self.init_state(state.batch_size), steps=state.steps, packed=state.packed)

    def read(
        self, state: _TransformerState, values: Tensor, *, begin: bool = False
    ) -> tuple[Tensor, _TransformerState]:
        """Read the next values: parameters of the variable after each of them, and the state."""
        packed = self._packed_for(state, values)
        params = self._run(values, state.shift, state.caches, state.position, packed, begin=begin)
        state.position += values.shape[1]
        return self._after_end(params, values, state, begin=begin), state

    @property
    def looks_by_row(self) -> bool:
        """Whether `looks` are right and pay: values that can be guessed, and caches that keep all places."""
        support = self.conditional.support() if self._is_any_length else None
        guessed = support is not None and len(support) <= _MOST_LEVELS
        return guessed and self.window is None and self.end is None and self.period == 1

    def _sample_incremental(
        self, noise: Tensor, context: Tensor | None, temperature: float, with_log_prob: bool
    ) -> tuple[Tensor, Tensor | None]:
        """By looking ahead where that pays, which gives the sample of single steps, and sooner."""
        # Dropout would draw anew for every look; under autocast caches and features differ in dtype.
        plain = not (self.training and self.dropout) and not torch.is_autocast_enabled(noise.device.type)
        if self.looks_by_row and plain:
            return by_looking_ahead_by_row(self, noise, context, temperature, with_log_prob=with_log_prob)
        return super()._sample_incremental(noise, context, temperature, with_log_prob)

    @property
    def period_of_guesses(self) -> int:
        """The first guess of a pixel is the one above it; in a plain sequence nothing is known."""
        return self.event_shape[-1] if len(self.event_shape) > 1 else self.num_variables

    def looks(self, batch_size: int, context: Tensor | None = None) -> TransformerLooks:
        """Looks at several next variables of each row, wherever it stands; for sampling."""
        return TransformerLooks(self, batch_size, context)

    def _packed_for(self, state: _TransformerState, values: Tensor) -> PackedWeights | None:
        """Copies of the weights for a step, once so many have gone by that making them pays."""
        if values.shape[1] != 1 or torch.is_grad_enabled():
            return None
        state.steps += 1
        if state.packed is None and state.steps > _STEPS_BEFORE_PACKING:
            state.packed = PackedWeights(
                m for m in nn.ModuleList(self.blocks).modules() if isinstance(m, nn.Linear)
            )
        return state.packed

    def _run(
        self,
        values: Tensor,
        shift: Tensor | None,
        caches: list[KeyValueCache] | None,
        before: int,
        packed: PackedWeights | None = None,
        *,
        begin: bool,
    ) -> Tensor:
        """Read `(batch, k)` values after `before` others, and the start before them all if `begin`."""
        h = self.embedding(values, self._variables(before, before + values.shape[1]))  # (batch, k, width)
        first = before + 1  # the place of the first value; that of the start is 0
        if begin:
            h = torch.cat([self.start.expand(len(h), 1, -1), h], dim=1)
            first = 0
        places = torch.arange(first, first + h.shape[1], device=h.device)
        if shift is not None:
            h = h + shift[:, None]
        if self.positions != "rotary":
            h = h + self._places(places)
        if self.dropout and self.training:
            h = nn.functional.dropout(h, self.dropout)
        angles = None
        if self.positions == "rotary":
            angles = rotary_angles(places.to(h.dtype), self.width // self.num_heads)
        for index, block in enumerate(self.blocks):
            h = block(h, angles, None if caches is None else caches[index], packed)
        params: Tensor = self.head(self.norm(h), self._variables(first, first + h.shape[1]))
        return params

    def _places(self, places: Tensor) -> Tensor:
        """What is added for the places `(k,)`: `(k, width)`."""
        if self.place is None:
            return _sinusoids(places.to(self.start.dtype), self.width)
        if len(places) and int(places[-1]) >= self.place.num_embeddings:
            raise ChainruleError(
                f"learned positions end at {self.place.num_embeddings}; a longer sequence needs "
                'positions="rotary" or "sinusoidal".'
            )
        learned: Tensor = self.place(places)
        return learned

    def _shift(self, context: Tensor | None) -> Tensor | None:
        return None if self.context_weight is None else self.context_weight(context)

    def with_length(self, length: int) -> Self:
        """The same network for sequences of another length; learned positions allow no greater one."""
        variables = length * math.prod(self.event_shape[1:])
        if self.place is not None and variables > self.place.num_embeddings:
            raise ChainruleError(
                f"learned positions end at {self.place.num_embeddings}, so the length cannot be {length}; "
                'build the model with positions="rotary" or "sinusoidal".'
            )
        return super().with_length(length)

    @property
    def context_limit(self) -> int | None:
        """The length it was built for: of places further on it has learned nothing, unless under a window."""
        return self.num_variables if self.window is None or self.place is not None else None

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one parallel pass, the products of attention (as if not causal) included."""
        n, parts = self.num_variables, self.num_layers
        linear = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))
        linear -= sum(m.idle_weights for m in self.modules() if isinstance(m, Experts))
        reach = n if self.window is None else min(n, 2 * self.window)
        return n * (linear + 2 * parts * reach * self.width)


class _Block(nn.Module):
    """One layer: attention and an MLP, or experts, each normalised before and added to what it read."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_kv_heads: int,
        inner: int,
        window: int | None,
        dropout: float,
        bias: bool,
        experts: Experts | None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width, bias=bias)
        self.attention = CausalSelfAttention(
            width, num_heads, num_kv_heads, window=window, bias=bias, dropout=dropout
        )
        self.mlp_norm = nn.LayerNorm(width, bias=bias)
        self.mixture = experts
        if experts is None:
            self.up = Linear(width, inner, bias=bias)
            self.down = Linear(inner, width, bias=bias)

    def forward(
        self,
        h: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        cache: KeyValueCache | PlacedCache | None,
        packed: PackedWeights | None,
        places: Places | None = None,
    ) -> Tensor:
        h = h + self._dropped(self.attention(self.attention_norm(h), angles, cache, packed, places))
        normal = self.mlp_norm(h)
        if self.mixture is None:
            return h + self._dropped(feed_forward(normal, self.up, self.down, packed))
        return h + self._dropped(self.mixture(normal, packed))

    def _dropped(self, added: Tensor) -> Tensor:
        if self.dropout and self.training:  # even at rate 0 it would draw from the global generator
            return nn.functional.dropout(added, self.dropout)
        return added


def _sinusoids(places: Tensor, width: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017, section 3.5)."""
    even = torch.arange(0, width, 2, device=places.device, dtype=torch.float64)
    angles = places.double()[:, None] * 10_000.0 ** (-even / width)
    both = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
    return both[:, :width].to(places.dtype)


@dataclass(kw_only=True)
class _TransformerState(SequenceState):
    caches: list[KeyValueCache]
    shift: Tensor | None  # (batch, width), of the context
    steps: int = 0  # single values read
    packed: PackedWeights | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed, those of the caches too."""
        return replace(super().mapped(change), caches=[cache.mapped(change) for cache in self.caches])
