"""A Transformer that looks at several next variables of each row, wherever the row stands.

For sampling by looking ahead (`chainrule.sampling.by_looking_ahead_by_row`): rows settle at different speeds,
so each has places of its own, and keys and values are written where those are. Keys are read once for all
variables of a look; step by step they are read again for every variable, which is what takes the time there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chainrule.layers.attention import PlacedCache, Places, rotary_angles
from chainrule.layers.linear import PackedWeights

if TYPE_CHECKING:
    from chainrule.models.transformer import Transformer

__all__ = ["TransformerLooks"]


class TransformerLooks:
    """The caches of one batch, and looks from any places of its rows.

    - `context`: checked, `(batch, context_size)` or None.
    """

    def __init__(self, model: Transformer, batch_size: int, context: Tensor | None) -> None:
        self.model, like = model, model.start
        heads = model.blocks[0].attention.num_kv_heads
        width, room = model.width // model.num_heads, model.num_variables
        self.caches = [PlacedCache(batch_size, heads, width, room, like) for _ in model.blocks]
        self.shift = model._shift(context)
        every = torch.arange(room, device=like.device)
        self.angles = rotary_angles(every.to(like.dtype), width) if model.positions == "rotary" else None
        self.of_places = None if model.positions == "rotary" else model._places(every)
        self.packed = PackedWeights(
            m for m in nn.ModuleList(model.blocks).modules() if isinstance(m, nn.Linear)
        )

    def look(self, places: Tensor, values: Tensor) -> Tensor:
        """Parameters `(batch, k, num_params)` of the variables at these places of the ordering.

        - `places`: `(batch, k)`, ascending; of all places before them the row has looked at the true values.
        - `values`: `(batch, k)`, of the variables one place before each; not read at place 0.
        """
        model = self.model
        h = torch.where((places == 0)[..., None], model.start, model.embedding(values))
        if self.shift is not None:
            h = h + self.shift[:, None]
        if self.of_places is not None:
            h = h + self.of_places[places]
        angles = None
        if self.angles is not None:
            angles = self.angles[0][places][:, None], self.angles[1][places][:, None]
        where = Places.of(places, h.dtype)
        for block, cache in zip(model.blocks, self.caches, strict=True):
            h = block(h, angles, cache, self.packed, where)
        params: Tensor = model.head(model.norm(h))
        return params

    def tensors(self) -> list[Tensor]:
        """What is kept from look to look."""
        return [tensor for cache in self.caches for tensor in cache.tensors()]
