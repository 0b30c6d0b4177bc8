"""Topic 12: masked convolutions, what they see and what they cost."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from chainrule.conditionals import Categorical
from chainrule.examples.registry import answers
from chainrule.layers import MaskedConv2d, MaskedLinear, pixel_mask
from chainrule.models import GatedPixelCNN, PixelCNN

__all__ = ["conv_weights", "seen_by"]

Matrix = list[list[float]]


@answers("12.1")
def features(shape: list[int]) -> int:
    """Variables of an image, channels x height x width."""
    return PixelCNN(shape, features=3, num_blocks=0, head=()).num_variables


@answers("12.2", "12.16")
def dense_weights(below: int, above: int) -> int:
    """Weights between two layers that are fully connected."""
    return MaskedLinear(below, above).weight.numel()


@answers("12.3", "12.4")
def mask(size: int, kind: str) -> list[list[int]]:
    """The mask of a square filter."""
    rows: list[list[int]] = pixel_mask(size, kind).int().tolist()  # type: ignore[arg-type]
    return rows


def masked_conv(weights: Matrix, kind: str) -> MaskedConv2d:
    """A layer of one feature with this filter."""
    layer = MaskedConv2d(1, 1, len(weights), kind, bias=False)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.double().weight.copy_(torch.tensor(weights, dtype=torch.float64))
    return layer


@answers("12.5")
def masked_filter(weights: Matrix, kind: str) -> Matrix:
    """The filter as it is used; the rows below the centre are no part of its window."""
    rows: Matrix = masked_conv(weights, kind).kernel()[0, 0].tolist()
    return rows + [[0.0] * len(weights)] * (len(weights) - len(rows))


@answers("12.6")
def pixels_read(width: int, index: int) -> list[int]:
    """The pixels, counted from 1, that a 3 x 3 filter of type A reads at a pixel: by gradient."""
    image = torch.rand(1, 1, width, width, requires_grad=True, generator=torch.Generator().manual_seed(0))
    out = MaskedConv2d(1, 1, 3, "A")(image).flatten()[index - 1]
    (slope,) = torch.autograd.grad(out, image)
    pixels: list[int] = (slope.flatten().nonzero()[:, 0] + 1).tolist()
    return pixels


@answers("12.7")
def response(weights: Matrix, kind: str, patch: Matrix) -> float:
    """What the filter answers to a patch, after ReLU."""
    image = torch.tensor(patch, dtype=torch.float64)[None, None]
    answer: float = masked_conv(weights, kind)(image).relu()[0, 0, 1, 1].item()
    return answer


@answers("12.8")
def mass_shown(terms: list[float]) -> float:
    """Of these levels, under a softmax over 256 levels of which the others share the rest evenly."""
    shown = torch.tensor(terms, dtype=torch.float64)
    others = (1 - shown.sum()) / (256 - len(terms))
    logits = torch.cat([shown, others.expand(256 - len(terms))]).log()
    levels = torch.arange(len(terms)).double()
    return Categorical(256).log_prob(logits.expand(len(terms), 256), levels).exp().sum().item()


@answers("12.17")
def conv_weights(kernel: int, channels: list[int]) -> int:
    """Weights of a stack of whole masked kernels, no biases."""
    layers = [
        MaskedConv2d(below, above, kernel, "B", bias=False) for below, above in itertools.pairwise(channels)
    ]
    return sum(layer.weight.numel() for layer in layers)


@answers("12.10")
def conv_multiply_adds(height: int, width: int, kernel: int, channels: list[int]) -> int:
    """Every weight once per pixel, as if nothing were masked."""
    return height * width * conv_weights(kernel, channels)


@answers("12.11")
def passes_of_naive_sampling(shape: list[int]) -> int:
    """How often the plain sampler asks for all conditionals; every answer is "even odds", to be quick."""
    model = PixelCNN(shape, features=3, num_blocks=0, first_kernel_size=3, head=())
    passes = 0

    def even_odds(x: Tensor, context: Tensor | None = None) -> Tensor:
        nonlocal passes
        passes += 1
        return x.new_zeros(*x.shape, 1)

    model.forward = even_odds  # type: ignore[method-assign]
    model.sample(1, seed=0, method="naive")
    return passes


def seen_by(model: PixelCNN | GatedPixelCNN, layers: int) -> set[tuple[int, int]]:
    """The pixels that a model sees from the middle of an image that its layers just fit: by gradient."""
    model = model.double()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator, dtype=weights.dtype))
    side = 2 * layers + 1
    x = torch.rand(8, 1, side, side, generator=generator, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(model(x)[:, 0, layers, layers].square().sum(), x)
    return {(row, column) for row, column in slope.abs().sum((0, 1)).nonzero().tolist()}


def seen_by_stacks(layers: int) -> set[tuple[int, int]]:
    """Of a Gated PixelCNN, whose vertical and horizontal stacks leave no blind spot."""
    shape = (1, 2 * layers + 1, 2 * layers + 1)
    model = GatedPixelCNN(shape, features=8, kernel_size=3, first_kernel_size=3, head=(), num_layers=layers)
    return seen_by(model, layers)


def seen_by_plain(layers: int) -> set[tuple[int, int]]:
    """Of a plain PixelCNN."""
    shape = (1, 2 * layers + 1, 2 * layers + 1)
    model = PixelCNN(shape, features=8, kernel_size=3, first_kernel_size=3, head=(), num_blocks=layers - 1)
    return seen_by(model, layers)


@answers("12.12")
def window(layers: list[int]) -> list[int]:
    """Its width; its height is the same, the lower half closed."""
    columns = [[column for _, column in seen_by_stacks(n)] for n in layers]
    return [max(seen) - min(seen) + 1 for seen in columns]


@answers("12.13")
def context_allowed(layers: list[int]) -> list[int]:
    """Pixels of the window before the centre."""
    return [len(seen_by_stacks(n)) for n in layers]


@answers("12.14")
def context_seen(layers: list[int]) -> list[int]:
    """Pixels that a plain stack reaches."""
    return [len(seen_by_plain(n)) for n in layers]


@answers("12.15")
def blind_spot(layers: list[int]) -> list[int]:
    """Pixels that only two stacks reach."""
    return [len(seen_by_stacks(n) - seen_by_plain(n)) for n in layers]
