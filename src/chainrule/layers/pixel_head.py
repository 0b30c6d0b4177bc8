"""The last layers of an image model: a small network for every pixel, from its features to its parameters."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chainrule.layers.conv_stepper import PixelProduct, pixel_weights
from chainrule.layers.masked_conv import ShiftedConv2d, colour_bounds
from chainrule.layers.products import Call, RepeatedProduct

__all__ = ["HeadStepper", "PixelHead"]


class PixelHead(nn.Module):
    """ReLU and a 1 x 1 layer under mask B, once for each of `hidden` and once for the parameters.

    - `features`: of the network below; `out_features`: parameters of all channels of a pixel.
    """

    layers: list[ShiftedConv2d]  # in fact an nn.ModuleList

    def __init__(self, features: int, hidden: Sequence[int], out_features: int, channels: int) -> None:
        super().__init__()
        sizes = [features, *hidden, out_features]
        self.layers = nn.ModuleList(  # type: ignore[assignment]
            ShiftedConv2d(below, above, kind="B", channels=channels)
            for below, above in itertools.pairwise(sizes)
        )
        for layer in self.layers[:-1]:
            layer.initialise(2**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, features, height, width)` to `(batch, out_features, height, width)`."""
        for layer in self.layers:
            x = layer(torch.relu(x))
        return x


class _Steps(NamedTuple):
    """What is done for one colour, the same for every pixel."""

    entry: Tensor
    hidden: list[Call]
    product: RepeatedProduct
    bias: Tensor
    heard: Tensor


class HeadStepper:
    """The same for one colour of one pixel after another."""

    def __init__(self, head: PixelHead, batch_size: int, like: Tensor) -> None:
        self.products = [PixelProduct(pixel_weights(layer), batch_size) for layer in head.layers]
        channels = head.layers[0].channels
        self.bounds = [colour_bounds(layer.in_features, channels) for layer in head.layers]
        self.bounds.append(colour_bounds(head.layers[-1].out_features, channels))
        self.biases = [layer.bias.detach() for layer in head.layers if layer.bias is not None]
        self.values = [like.new_empty(batch_size, layer.in_features) for layer in head.layers]
        self._steps: dict[int, _Steps] = {}

    def pixel(self, features: Tensor, colour: int) -> Tensor:
        """From the features of one colour, `(batch, its features)`, to its parameters."""
        steps = self._steps.get(colour)
        if steps is None:  # the same places serve every pixel
            steps = self._steps[colour] = self._steps_of(colour)
        torch.clamp_min(features, 0, out=steps.entry)
        for call in steps.hidden:
            call()
        return steps.product.with_bias(steps.heard, steps.bias)

    def pixels(self, features: Tensor) -> Tensor:
        """From features `(batch, pixels, d)` of several pixels of a single colour to their parameters."""
        for product, bias in zip(self.products, self.biases, strict=True):
            features = product.of_pixels(torch.relu(features), bias)
        return features

    def _steps_of(self, colour: int) -> _Steps:
        """Every layer's calls for one colour."""
        heard = [values[:, : self._own(n, colour)[1]] for n, values in enumerate(self.values)]
        biases = [bias[slice(*self._own(n + 1, colour))] for n, bias in enumerate(self.biases)]
        hidden: list[Call] = []
        for n, product in enumerate(self.products[:-1]):
            out = self.values[n + 1][:, slice(*self._own(n + 1, colour))]
            hidden += [product.bound(biases[n], heard[n], colour, out), out.relu_]
        entry = self.values[0][:, slice(*self._own(0, colour))]
        return _Steps(entry, hidden, self.products[-1].products[colour], biases[-1], heard[-1])

    def select(self, rows: Tensor) -> HeadStepper:
        """The head of these rows of the batch."""
        chosen = copy.copy(self)
        chosen.values = [values[rows] for values in self.values]
        chosen._steps = {}
        return chosen

    def tensors(self) -> list[Tensor]:
        """What is kept from colour to colour."""
        return self.values

    def _own(self, number: int, colour: int) -> tuple[int, int]:
        """Where the features of a colour lie among those below layer `number`."""
        return self.bounds[number][colour], self.bounds[number][colour + 1]
