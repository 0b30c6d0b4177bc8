"""Attention from each pixel to all pixels before it, at once or one by one: the block of PixelSNAIL.

Chen et al. 2018, "PixelSNAIL: an improved autoregressive generative model", section 2.2. Keys and values are
made of what the network says of a pixel and of the pixel itself, so a pixel attends to those before it only,
never to itself; where it stands is told to queries, keys and values alike. The paper has one head, of 16
numbers for keys and 128 for values. Here several heads ask, with keys and values that they share (Shazeer
2019) and that are of one width, so that PyTorch's fused `scaled_dot_product_attention` takes them: no n x n
weights are ever held. Keys are moved one pixel on, behind one of zeros, which turns "before" into the "up
to" that it knows. Step by step, reading the keys and values of all pixels before is what costs, not the
arithmetic: that heads share them is what makes it cheap.

Each colour of a pixel has heads of its own, which ask with what that colour may hear.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from chainrule.layers.attention import KeyValueCache, causal_mask
from chainrule.layers.conv_stepper import ImageStepper, PixelProduct, PixelRow, pixel_weights
from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds

__all__ = ["PixelAttention", "PixelAttentionStepper"]


class PixelAttention(nn.Module):
    """Multi-head attention of pixels to earlier pixels, to be added to the features.

    - `features`: of a pixel, divided among its `channels` colours; `read_size`: numbers by which the whole
      pixel is read.
    - `num_heads`: of each colour; a head has `features // num_heads` numbers, at least one.
    - `gain`: of the layer that adds.
    """

    def __init__(
        self, features: int, read_size: int, channels: int, num_heads: int, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.features, self.channels, self.num_heads = features, channels, num_heads
        self.head_width = max(1, features // num_heads)
        self.width = self.head_width * num_heads * channels
        self.queries = ShiftedConv2d(features, self.width, kind="B", channels=channels)
        # Whole pixels before the present one are known in all colours: no mask.
        self.memory = ShiftedConv2d(features + read_size, 2 * self.head_width)
        self.places = nn.Parameter(torch.empty(2, self.width + 2 * self.head_width))
        self.out = ShiftedConv2d(self.width, features, kind="B", channels=channels, bias=False)
        self.out.initialise(gain)
        nn.init.normal_(self.places)

    def forward(self, h: Tensor, seen: Tensor) -> Tensor:
        """What is added to the features, of their shape `(batch, features, rows, columns)`; `seen`: x."""
        batch, _, rows, columns = h.shape
        of_queries, of_memory = self.of_places(rows, columns).tensor_split([self.width], dim=1)
        queries = _by_pixel(self.queries(h)) + of_queries  # (batch, pixels, width)
        memory = _by_pixel(self.memory(torch.cat([h, seen], dim=1))) + of_memory
        heads = queries.view(batch, rows * columns, -1, self.head_width).transpose(1, 2)
        keys, values = (part[:, None].expand_as(heads) for part in _moved_on(memory).chunk(2, dim=2))
        attended = scaled_dot_product_attention(heads, keys, values, is_causal=True)
        image = attended.transpose(1, 2).reshape(batch, rows, columns, self.width).permute(0, 3, 1, 2)
        added: Tensor = self.out(image)
        return added

    def of_places(self, rows: int, columns: int) -> Tensor:
        """What each pixel's place adds to its query, key and value: `(pixels, width + 2 head_width)`."""
        like = self.places
        row = torch.arange(rows, device=like.device, dtype=like.dtype) / rows - 0.5
        column = torch.arange(columns, device=like.device, dtype=like.dtype) / columns - 0.5
        where = torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=2).view(-1, 2)
        return where @ self.places

    def multiply_adds_per_pixel(self, pixels: int) -> int:
        """Of the attention itself, as if not causal: scores and sums over all pixels."""
        return 2 * pixels * self.width


class PixelAttentionStepper:
    """The same for one colour of one pixel after another; keeps the keys and values of all pixels before.

    This memory, alone in an image model, grows with the height of the image too.
    """

    def __init__(self, attention: PixelAttention, stepper: ImageStepper, rows: int) -> None:
        size, like, self.channels = stepper.batch_size, stepper.like, stepper.channels
        self.width, self.head_width, self.features = (
            attention.width,
            attention.head_width,
            attention.features,
        )
        self.bounds = colour_bounds(self.features, self.channels)
        self.of_colour = self.width // self.channels
        self.queries = PixelProduct(pixel_weights(attention.queries), size)
        self.memory = PixelProduct([torch.cat(pixel_weights(attention.memory))], size)
        self.out = PixelProduct(pixel_weights(attention.out), size)
        assert attention.queries.bias is not None
        assert attention.memory.bias is not None
        biases = torch.cat([attention.queries.bias, attention.memory.bias])
        #: By pixel: what place and bias add to the query, and to key and value.
        self.starts_of_places = attention.of_places(rows, stepper.width) + biases
        self.starts = self.starts_of_places.unbind(0)
        self.cache = KeyValueCache.empty(size, 1, self.head_width, None, like)
        #: Features of the pixel, and behind them the pixel itself.
        self.heard = like.new_zeros(size, attention.memory.in_features)
        self.query, self.attended = like.new_empty(2, size, self.width)
        self.remembered = like.new_empty(size, 2 * self.head_width)
        self.position = 0

    def begin_pixel(self, position: int, image: PixelRow, column: int) -> None:
        """Remember the pixel before this one, number `position` of all, which is complete by now.

        - `image`: the row where it lies, in the column before `column` or in the last one.
        """
        self.position = position
        if position == 0:
            nothing = self.query.new_zeros(len(self.query), 1, 1, self.head_width)
            self.seen = self.cache.append(nothing, nothing)
            return
        last = (column - 1) % image.width
        self.heard[:, self.features :] = image.at(last, 0, image.features)
        self.memory.add_to(self.starts[position - 1][self.width :], self.heard, 0, self.remembered)
        keys, values = self.remembered[:, None, None].chunk(2, dim=3)
        self.seen = self.cache.append(keys, values)

    def pixel(self, colour: int, features: Tensor) -> None:
        """Attend from one colour of the pixel that was begun, and add to its features in place."""
        start, end = self.bounds[colour : colour + 2]
        own = slice(colour * self.of_colour, (colour + 1) * self.of_colour)
        self.heard[:, start:end] = features
        query = self.query[:, own]
        self.queries.add_to(self.starts[self.position][own], self.heard[:, :end], colour, query)
        # Heads that share keys stand where queries of several pixels would.
        heads = query.view(len(query), 1, -1, self.head_width)
        self.attended[:, own] = scaled_dot_product_attention(heads, *self.seen).flatten(1)
        self.out.add_to(features, self.attended[:, : own.stop], colour, features)

    def pixels(self, features: Tensor, image: Tensor) -> None:
        """Attend from several pixels of a single colour, the first of them begun, and add in place.

        - `features`: `(batch, pixels, features)`; `image`: what they are read by, `(batch, pixels, numbers)`.
        """
        batch_size, count, _ = features.shape
        places = self.starts_of_places[self.position : self.position + count].expand(batch_size, -1, -1)
        queries = self.queries.of_pixels(features, places[..., : self.width])
        self.looked_at = features.clone()
        keys, values = self.seen
        if count > 1:  # the last of them is not heard by any of the others
            heard = torch.cat([features, image], dim=2)[:, :-1]
            remembered = self.memory.of_pixels(heard, places[:, :-1, self.width :])
            keys, values = self.cache.append(*remembered[:, None].chunk(2, dim=3))
        heads = queries.view(batch_size, count, -1, self.head_width).transpose(1, 2)
        attended = scaled_dot_product_attention(
            heads,
            keys.expand(-1, heads.shape[1], -1, -1),
            values.expand(-1, heads.shape[1], -1, -1),
            attn_mask=causal_mask(count, keys.shape[2], keys.device),
        )
        added = self.out.of_pixels(attended.transpose(1, 2).flatten(2), features)
        features.copy_(added)

    def settle(self, count: int) -> None:
        """Of the pixels looked at these stand; what was remembered of the others is forgotten."""
        self.cache.forget(self.looked_at.shape[1] - count)
        self.heard[:, : self.features] = self.looked_at[:, count - 1]

    def select(self, rows: Tensor) -> PixelAttentionStepper:
        """The same for these rows of the batch."""
        chosen = copy.copy(self)
        chosen.cache = self.cache.mapped(lambda tensor: tensor[rows])
        chosen.seen = chosen.cache.kept()
        chosen.heard, chosen.remembered = self.heard[rows], self.remembered[rows]
        chosen.query, chosen.attended = self.query[rows], self.attended[rows]
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from pixel to pixel."""
        return [*self.cache.tensors(), self.heard, self.query, self.attended, self.remembered]


def _by_pixel(image: Tensor) -> Tensor:
    """`(batch, features, rows, columns)` to `(batch, pixels, features)`."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _moved_on(of_pixels: Tensor) -> Tensor:
    """Each pixel's in the place of the next one, zeros in the first: `(batch, pixels, features)`."""
    return pad(of_pixels[:, :-1], (0, 0, 1, 0))
