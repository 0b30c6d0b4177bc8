"""The lecture's worked examples on images, topics 10 (PixelRNN) and 12, through the library's own layers."""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from worked_examples import agrees

from chainrule.conditionals import Categorical
from chainrule.layers import MaskedConv2d, MaskedLinear, pixel_mask
from chainrule.models import DiagonalBiLSTM, GatedPixelCNN, PixelCNN

DATA = Path(__file__).resolve().parent / "data" / "worked_examples_images.json"
EXAMPLES = {example["id"]: example for example in json.loads(DATA.read_text(encoding="utf-8"))}


def image_shape(inputs):
    """`(C, H, W)` from the factors H x W x C of the notes."""
    height, width, colours = inputs["factors"]
    return colours, height, width


def steps_of_a_sample(inputs):
    """How often a Diagonal BiLSTM is asked for the next variable while it samples one image."""
    model = DiagonalBiLSTM(image_shape(inputs), features=3, num_layers=1, first_kernel_size=3, head=())
    taken = []
    step = model.step
    model.step = lambda *arguments: taken.append(1) or step(*arguments)
    model.sample(1, seed=0)
    return len(taken)


def passes_of_the_plain_sampler(inputs):
    """How often the plain sampler asks for all conditionals; every answer is "even odds", to be quick."""
    model = PixelCNN(image_shape(inputs), features=3, num_blocks=0, first_kernel_size=3, head=())
    passes = []
    model.forward = lambda x, context=None: passes.append(1) or x.new_zeros(*x.shape, 1)
    model.sample(1, seed=0, method="naive")
    return len(passes)


def dense_weights(inputs):
    below, above = inputs["factors"]
    return MaskedLinear(below, above).weight.numel()


def masked_conv(inputs):
    """A layer of one feature with the filter of the notes."""
    layer = MaskedConv2d(1, 1, 3, inputs["kind"], bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(inputs["weights"]))
    return layer.double()


def masked_filter(inputs):
    rows = masked_conv(inputs).kernel()[0, 0].tolist()
    return [*rows, [0.0] * 3]  # rows below the pixel are no part of the window


def pixels_read(inputs):
    """The pixels, counted from 1, that the layer at a pixel of a square image reads: by gradient."""
    width, index = inputs["width"], inputs["index"]
    image = torch.rand(1, 1, width, width, requires_grad=True)
    MaskedConv2d(1, 1, 3, "A")(image).flatten()[index - 1].backward()
    return (image.grad.flatten().nonzero()[:, 0] + 1).tolist()


def response(inputs):
    patch = torch.tensor(inputs["patch"], dtype=torch.float64)
    return masked_conv(inputs)(patch[None, None]).relu()[0, 0, 1, 1].item()


def mass(inputs):
    """Of the levels shown, under a softmax over 256 levels of which the others share the rest evenly."""
    shown = torch.tensor(inputs["terms"], dtype=torch.float64)
    others = (1 - shown.sum()) / (256 - len(shown))
    logits = torch.cat([shown, others.expand(256 - len(shown))]).log()
    levels = torch.arange(len(shown)).double()
    return Categorical(256).log_prob(logits.expand(len(shown), 256), levels).exp().sum().item()


def conv_weights(inputs):
    """Weights of a stack of whole masked kernels, no biases."""
    sizes = inputs["channels"]
    layers = [
        MaskedConv2d(below, above, inputs["kernel"], "B", bias=False)
        for below, above in itertools.pairwise(sizes)
    ]
    return sum(layer.weight.numel() for layer in layers)


@functools.cache
def seen(model_class, layers):
    """The pixels that a stack of 3 x 3 layers sees from the middle of an image it just fits: by gradient."""
    side = 2 * layers + 1
    depth = {"num_blocks": layers - 1} if model_class is PixelCNN else {"num_layers": layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(
            (1, side, side), features=8, kernel_size=3, first_kernel_size=3, head=(), **depth
        ).double()
        x = torch.rand(8, 1, side, side, dtype=torch.float64, requires_grad=True)
    model(x)[:, 0, layers, layers].square().sum().backward()
    return frozenset(map(tuple, x.grad.abs().sum((0, 1)).nonzero().tolist()))


def window(layers):
    """Its width; its height is the same, the lower half closed."""
    columns = [column for _, column in seen(GatedPixelCNN, layers)]
    return max(columns) - min(columns) + 1


#: By the id of the example: what computes it, and how.
LIBRARY = {
    "10.20-pixelrnn-elements": (
        "`DiagonalBiLSTM.num_variables`",
        lambda i: DiagonalBiLSTM(image_shape(i), features=3, num_layers=1).num_variables,
    ),
    "10.21-pixelrnn-passes": ("calls of `DiagonalBiLSTM.step`", steps_of_a_sample),
    "12.1-input-features": (
        "`PixelCNN.num_variables`",
        lambda i: PixelCNN(image_shape(i), features=3, num_blocks=0, head=()).num_variables,
    ),
    "12.2-first-layer-weights": ("`MaskedLinear.weight`", dense_weights),
    "12.3-mask-A": ("`pixel_mask`", lambda i: pixel_mask(i["size"], i["kind"]).int().tolist()),
    "12.4-mask-B": ("`pixel_mask`", lambda i: pixel_mask(i["size"], i["kind"]).int().tolist()),
    "12.5-masked-filter": ("`MaskedConv2d.kernel`", masked_filter),
    "12.6-masked-context": ("autograd of `MaskedConv2d`", pixels_read),
    "12.7-masked-response": ("`MaskedConv2d.forward`", response),
    "12.8-output-mass-shown": ("`Categorical.log_prob`", mass),
    "12.10-cifar-operations": (
        "`MaskedConv2d.weight`, once per pixel",
        lambda i: i["height"] * i["width"] * conv_weights(i),
    ),
    "12.11-cifar-passes": ('passes of `sample(method="naive")`', passes_of_the_plain_sampler),
    "12.12-window-growth": ("autograd of `GatedPixelCNN`", lambda i: [window(n) for n in i["layers"]]),
    "12.13-context-allowed": (
        "autograd of `GatedPixelCNN`",
        lambda i: [len(seen(GatedPixelCNN, n)) for n in i["layers"]],
    ),
    "12.14-context-seen": (
        "autograd of `PixelCNN`",
        lambda i: [len(seen(PixelCNN, n)) for n in i["layers"]],
    ),
    "12.15-blind-spot": (
        "autograd of both",
        lambda i: [len(seen(GatedPixelCNN, n) - seen(PixelCNN, n)) for n in i["layers"]],
    ),
    "12.16-dense-parameters": ("`MaskedLinear.weight`", dense_weights),
    "12.17-conv-parameters": ("`MaskedConv2d.weight`", conv_weights),
}

#: Numbers of the notes that are about no model.
ARITHMETIC = {
    "12.9-cifar-operations-printed": lambda i: math.prod(i["factors"]),
    "12.18-reduction": lambda i: i["a"] / i["b"],
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_computes(name):
    example = EXAMPLES[name]
    _, compute = LIBRARY[name]
    found = compute(example["inputs"])
    assert agrees(found, example["exact"]), f"{found} instead of {example['exact']}"


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_examples(name):
    """Trivial by nature."""
    assert agrees(ARITHMETIC[name](EXAMPLES[name]["inputs"]), EXAMPLES[name]["exact"])


def test_every_example_is_computed():
    assert {*LIBRARY, *ARITHMETIC} == set(EXAMPLES)
    assert len(LIBRARY) + len(ARITHMETIC) == len(EXAMPLES)
    numbers = sorted(int(name.split("-")[0].split(".")[1]) for name in EXAMPLES if name.startswith("12."))
    assert numbers == list(range(1, 18 + 1))


def test_what_the_notes_state_wrongly_would_not_agree():
    wrong = [example for example in EXAMPLES.values() if example["verdict"].startswith("wrong")]
    assert len(wrong) == 5
    for example in wrong:
        assert not agrees(example["stated"], example["exact"]), example["id"]


def test_masked_layers_compute_two_thirds_of_it():
    """Example 12.10: of 3 rows the lowest is not computed, so 2/3 of the 2.12 billion multiply-adds."""
    inputs = EXAMPLES["12.10-cifar-operations"]["inputs"]
    sizes = inputs["channels"]
    computed = sum(
        MaskedConv2d(below, above, 3, "B").multiply_adds for below, above in itertools.pairwise(sizes)
    )
    whole = LIBRARY["12.10-cifar-operations"][1](inputs)
    assert 3 * computed * inputs["height"] * inputs["width"] == 2 * whole
