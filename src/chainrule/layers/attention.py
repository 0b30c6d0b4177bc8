"""Causal self-attention: every place looks at itself and at places before it, all at once or one by one.

Vaswani et al. 2017, equation 1: softmax(Q K^T / sqrt(d)) V, here for j <= i only, through PyTorch's fused
`scaled_dot_product_attention`, which never holds the n x n weights. Heads may share keys and values in
groups (Ainslie et al. 2023), and a window may bound how far back a place looks (Child et al. 2019,
Beltagy et al. 2020); its cost is then n x window, not n^2.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from chainrule.layers.linear import Linear, PackedWeights

__all__ = [
    "CausalSelfAttention",
    "KeyValueCache",
    "PlacedCache",
    "Places",
    "causal_mask",
    "rotary_angles",
    "rotated",
]

#: Places that a fresh cache has room for.
_ROOM = 32


class KeyValueCache:
    """Keys and values of the places that later ones still look at, `(batch, heads, length, width)` each.

    Room grows twofold when it is used up; under a `window` what nobody looks at any more is dropped, so
    memory stays at twice the window.
    """

    def __init__(self, keys: Tensor, values: Tensor, window: int | None) -> None:
        self._keys, self._values, self.window = keys, values, window
        self.length = 0

    @classmethod
    def empty(
        cls, batch_size: int, heads: int, width: int, window: int | None, like: Tensor
    ) -> KeyValueCache:
        """A cache that has seen nothing, of the dtype and on the device of `like`."""
        room = _ROOM if window is None else 2 * window
        shape = (batch_size, heads, room, width)
        return cls(like.new_empty(shape), like.new_empty(shape), window)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the next places behind those that are kept; returns all of them, views of the cache."""
        kept, new = self.length, keys.shape[2]
        if kept + new > self._keys.shape[2]:
            if self.window is not None:
                kept = min(kept, self.window - 1)
            self._move(
                kept, max(2 * (kept + new), self._keys.shape[2]) if self.window is None else kept + new
            )
        end = kept + new
        self._keys[:, :, kept:end] = keys
        self._values[:, :, kept:end] = values
        self.length = end
        first = 0 if self.window is None else max(0, kept - self.window + 1)
        return self._keys[:, :, first:end], self._values[:, :, first:end]

    def forget(self, count: int) -> None:
        """Drop the last `count` places; not under a window, where older ones may be gone already."""
        self.length -= count

    def _move(self, kept: int, room: int) -> None:
        """Bring the last `kept` places to the front, of a new piece of memory if there is not room enough."""
        self._keys, self._values = (
            _moved(old, self.length, kept, room) for old in (self._keys, self._values)
        )
        self.length = kept

    def kept(self) -> tuple[Tensor, Tensor]:
        """The keys and values of all places that are kept, views of the cache."""
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def tensors(self) -> list[Tensor]:
        """The memory itself, with its room."""
        return [self._keys, self._values]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        """The same with its tensors changed, such as to other rows of the batch."""
        changed = copy.copy(self)
        changed._keys, changed._values = change(self._keys), change(self._values)
        return changed


@dataclass(frozen=True)
class Places:
    """Places of sequences that each stand somewhere else: those that are read, and who looks at whom.

    - `read`: `(batch, k)`, in each row the places that are read.
    - `seen`: keys that anybody looks at lie before this place.
    - `mask`: `(batch, 1, k, seen)`, added to scores: 0 where a place looks, at itself and at those before it
      in its row, and else -inf.
    """

    read: Tensor
    seen: int
    mask: Tensor

    @classmethod
    def of(cls, read: Tensor, dtype: torch.dtype) -> Places:
        """With everything that follows from which places are read."""
        seen = int(read.max()) + 1
        hidden = torch.arange(seen, device=read.device) > read[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=read.device).masked_fill_(hidden, -torch.inf)
        return cls(read, seen, mask)


class PlacedCache:
    """Keys and values of sequences that each stand somewhere else, written where their places are.

    What a row has at places after those read is left from guesses; nobody looks at it.
    """

    def __init__(self, batch_size: int, heads: int, width: int, room: int, like: Tensor) -> None:
        # Zeros, since what a mask hides must still be numbers.
        self._keys, self._values = like.new_zeros(2, batch_size, heads, room, width)
        self._rows = torch.arange(batch_size, device=like.device)[:, None]

    def write(self, keys: Tensor, values: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """Put `(batch, heads, k, width)` at their places; returns all that is looked at, views."""
        self._keys[self._rows, :, places.read] = keys.transpose(1, 2)
        self._values[self._rows, :, places.read] = values.transpose(1, 2)
        return self._keys[:, :, : places.seen], self._values[:, :, : places.seen]

    def tensors(self) -> list[Tensor]:
        """The memory itself, with its room."""
        return [self._keys, self._values]


def _moved(old: Tensor, length: int, kept: int, room: int) -> Tensor:
    last = old[:, :, length - kept : length]
    if room <= old.shape[2]:
        old[:, :, :kept] = last.clone()
        return old
    new = old.new_empty(*old.shape[:2], room, old.shape[3])
    new[:, :, :kept] = last
    return new


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which place i looks at places j <= i (and j > i - window).

    - `width`: of the inputs and outputs; `num_heads` divides it.
    - `num_kv_heads`: heads of keys and values, each shared by num_heads / num_kv_heads heads of queries.
    - `window`: how many places one looks at, its own included; None for all.
    - `dropout`: of the attention weights, in training.

    Parameters: `into` `(width + 2 num_kv_heads width / num_heads, width)` and `out` `(width, width)`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_kv_heads: int,
        *,
        window: int | None = None,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.window = num_heads, num_kv_heads, window
        self.head_width, self.dropout = width // num_heads, dropout
        self._heads = num_heads + 2 * num_kv_heads  # of queries, keys and values
        self.into = Linear(width, self._heads * self.head_width, bias=bias)
        self.out = Linear(width, width, bias=bias)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor] | None = None,
        cache: KeyValueCache | PlacedCache | None = None,
        packed: PackedWeights | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """Attend from the places of x to each other and to those of the cache: `(batch, k, width)`.

        - `angles`: cosines and sines of `rotary_angles` for the places of x; None leaves them as they are.
        - `cache`: holds what came before; the places of x are added to it. None: nothing came before.
        - `packed`: copies of the weights, for few rows.
        - `places`: with a `PlacedCache`, the places of x in each row.
        """
        batch, length, width = x.shape
        into = self.into(x) if packed is None else packed.apply(self.into, x)
        heads = into.view(batch, length, self._heads, self.head_width).transpose(1, 2)
        # (batch, heads, k, head_width)
        turning, values = heads.split((self.num_heads + self.num_kv_heads, self.num_kv_heads), dim=1)
        if angles is not None:
            turning = rotated(turning, *angles)
        queries, keys = turning.split((self.num_heads, self.num_kv_heads), dim=1)
        if isinstance(cache, PlacedCache):
            assert places is not None
            keys, values = cache.write(keys, values, places)
            attended = self._attend_at_places(queries, keys, values, places.mask)
        else:
            if cache is not None:
                keys, values = cache.append(keys, values)
            attended = self._attend(queries, keys, values)
        mixed = attended.transpose(1, 2).reshape(batch, length, width)
        return self.out(mixed) if packed is None else packed.apply(self.out, mixed)

    def new_cache(self, batch_size: int) -> KeyValueCache:
        """A cache for this layer that has seen nothing."""
        return KeyValueCache.empty(
            batch_size, self.num_kv_heads, self.head_width, self.window, like=self.out.weight
        )

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The last of the places of the keys are those of the queries."""
        grouped = self.num_kv_heads != self.num_heads
        dropout = self.dropout if self.training else 0.0
        new, seen = queries.shape[2], keys.shape[2]
        if self.window is not None and seen > self.window and new > 1:
            return self._attend_in_window(queries, keys, values, dropout)
        if grouped and new == 1:
            # Heads that share keys stand where queries of several places would: keys are read once for all.
            together = queries.reshape(len(queries), self.num_kv_heads, -1, self.head_width)
            attended = scaled_dot_product_attention(together, keys, values, dropout_p=dropout)
            return attended.reshape(queries.shape)
        mask = None
        if 1 < new < seen:
            mask = causal_mask(new, seen, queries.device)
        return scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=1 < new == seen,
            enable_gqa=grouped,
        )

    def _attend_at_places(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Few queries under a mask of their own: faster by plain products than by the fused one."""
        batch, _, new, width = queries.shape
        seen, shared = keys.shape[2], (batch * self.num_kv_heads, -1)
        # Heads that share keys stand where queries of several places would: keys are read once for all.
        together = (queries / math.sqrt(width)).reshape(*shared, width)
        scores = torch.bmm(together, keys.flatten(0, 1).transpose(1, 2))
        weights = scores.view(batch, self.num_heads, new, seen).add_(mask).softmax(3)
        return torch.bmm(weights.view(*shared, seen), values.flatten(0, 1)).view(queries.shape)

    def _attend_in_window(self, queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
        """Blocks of `window` queries, each with its own block of keys and the one before.

        Nothing else is in reach of a block, so the cost is 2 n window.
        """
        assert self.window is not None
        window, batch, new = self.window, len(queries), queries.shape[2]
        seen = keys.shape[2]
        blocks = -(-seen // window)
        spare = blocks * window - seen
        if self.num_kv_heads != self.num_heads:
            groups = self.num_heads // self.num_kv_heads
            keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
        # Queries of places read before stand in as zeros; what they attend to is thrown away.
        asked = pad(queries, (0, 0, seen - new, spare)).flatten(0, 1)
        asked = asked.view(len(asked), blocks, window, -1)
        near_keys, near_values = (_with_block_before(part, window, spare) for part in (keys, values))
        row = torch.arange(window, device=keys.device)[:, None]
        column = torch.arange(2 * window, device=keys.device)
        mask = ((column > row) & (column <= row + window)).repeat(blocks, 1, 1)
        mask[0, :, :window] = False  # there is no block before the first
        attended = scaled_dot_product_attention(
            asked, near_keys, near_values, attn_mask=mask, dropout_p=dropout
        )
        rows = attended.flatten(1, 2)[:, seen - new : seen]
        return rows.reshape(batch, self.num_heads, new, -1)


def _with_block_before(part: Tensor, window: int, spare: int) -> Tensor:
    """Keys or values `(batch, heads, n, width)` in blocks, each behind the one before it.

    Returns `(batch * heads, blocks, 2 window, width)`; before the first block there are zeros.
    """
    padded = pad(part, (0, 0, window, spare)).flatten(0, 1)
    blocks = padded.reshape(len(padded), -1, window, padded.shape[-1])
    return torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=2)


def causal_mask(new: int, seen: int, device: torch.device) -> Tensor:
    """Which of the `seen` places each of the last `new` of them may look at: bool, `(new, seen)`."""
    return torch.ones(new, seen, dtype=torch.bool, device=device).tril(seen - new)


def rotary_angles(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(k, width)` that turn heads by their place (Su et al. 2021, equation 34).

    The sines of the first half have their sign turned, as `rotated` wants them.

    - `positions`: `(k,)` in the dtype of the angles; `width`: of a head, even.
    """
    half = torch.arange(0, width, 2, device=positions.device, dtype=torch.float64)
    angles = positions.double()[:, None] * 10_000.0 ** (-half / width)
    cosines, sines = angles.cos(), angles.sin()
    both = torch.cat([cosines, cosines], dim=1), torch.cat([-sines, sines], dim=1)
    return both[0].to(positions.dtype), both[1].to(positions.dtype)


def rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the pairs (i, i + width / 2) of `(..., k, width)` by their angles."""
    first, second = heads.chunk(2, dim=-1)
    return torch.addcmul(heads * cosines, torch.cat([second, first], dim=-1), sines)
