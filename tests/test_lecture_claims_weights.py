"""Sentences of the lecture on making a trained model smaller: distillation, quantisation, pruning.

None of them is a feature of the library; what is checked is that its models bear them.
"""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import chainrule
from chainrule.data import Dataset
from chainrule.models import FVSBN, MADE, NADE
from chainrule.training import fit, seeded

QUICK = {"batch_size": 100, "warmup_steps": 10, "ema_decay": 0.99, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def digits():
    return chainrule.data.load("digits")


def seeded_model(kind, *arguments, **settings):
    with seeded(0):
        return kind(*arguments, **settings)


@torch.no_grad()
def mean_nll(model, images):
    return model.nll(images.float()).double().mean().item()


# ------------------------------------------------------------------------------ distillation


def patches_of(images):
    """The 3 x 4 pixels in the middle of 8 x 8 ones: few enough to enumerate."""
    return images[:, 0, 2:5, 2:6].flatten(1)


def patches(**parts):
    return Dataset("patches", **parts, event_shape=(12,), kind="table", levels=2)


def test_a_student_comes_near_its_teachers_from_samples_alone(digits, tmp_path):
    """A mixture of 4 networks teaches a small one: within 0.03 nat, exactly, over all 4,096 patches."""
    parts = {name: patches_of(digits.split(name)) for name in ("train", "validation", "test")}
    network = seeded_model(MADE, (12,), hidden=(60, 60), num_masks=4)
    fit(network, patches(**parts), tmp_path / "teacher", epochs=12, **{**QUICK, "batch_size": 50})
    teacher = network.ensemble()
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=12)))
    with torch.no_grad():
        log_p = teacher.log_prob(everything).double()
    entropy = -(log_p.exp() * log_p).sum().item()
    drawn = teacher.sample(22_000, seed=1).to(torch.uint8)
    lessons = patches(train=drawn[:20_000], validation=drawn[20_000:], test=None)

    def gap(student, name):
        """By how much the NLL of what the teacher draws is above the teacher's own."""
        fit(student, lessons, tmp_path / name, epochs=5, **{**QUICK, "batch_size": 200})
        with torch.no_grad():
            return (log_p.exp() * student.nll(everything).double()).sum().item() - entropy

    student = seeded_model(MADE, (12,), hidden=(64,))
    near, linear = gap(student, "student"), gap(seeded_model(FVSBN, (12,)), "linear")
    assert 0 < near < 0.03 < linear
    assert 4 * network.multiply_adds > 13 * student.multiply_adds
    assert mean_nll(student, parts["test"]) < mean_nll(teacher, parts["test"]) + 0.1


# ------------------------------------------------------------------------------ quantisation


def rounded(weight, bits):
    """Whole numbers of so many bits for a matrix, and a scale for each of its rows."""
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(1, keepdim=True) / most
    return (weight / scale).round(), scale


def packed(whole, bits):
    """What would be stored: bytes that hold one number of 8 bits, two of 4, or four of 2."""
    numbers = whole.flatten().to(torch.int64).bitwise_and(2**bits - 1).view(-1, 8 // bits)
    return (numbers << bits * torch.arange(8 // bits)).sum(1).to(torch.uint8)


def unpacked(stored, bits, shape):
    numbers = stored.to(torch.int64)[:, None] >> bits * torch.arange(8 // bits)
    numbers = numbers.bitwise_and(2**bits - 1).view(shape)
    return torch.where(numbers < 2 ** (bits - 1), numbers, numbers - 2**bits)


@torch.no_grad()
def quantised(model, bits):
    """A copy with its matrices rounded, written and read again, and the bytes of all that is written."""
    copied, size = copy.deepcopy(model), 0
    for weights in copied.parameters():
        if weights.ndim == 1:
            size += weights.nbytes
            continue
        whole, scale = rounded(weights, bits)
        stored = packed(whole, bits)
        size += stored.nbytes + scale.nbytes
        weights.copy_(unpacked(stored, bits, whole.shape) * scale)
    return copied, size


def test_weights_of_8_bits_cost_hardly_any_likelihood(digits, tmp_path):
    """A byte a weight and a scale a row: 3.8 times smaller with them, and with 4 bits 7 times."""
    model = seeded_model(NADE, digits.event_shape, hidden=200)
    fit(model, digits, tmp_path / "run", epochs=6, **QUICK)
    nll, size = mean_nll(model, digits.test), sum(weights.nbytes for weights in model.parameters())
    rise, smaller = {}, {}
    for bits in (8, 4, 2):
        small, written = quantised(model, bits)
        rise[bits] = mean_nll(small, digits.test) / nll - 1
        smaller[bits] = size / written
    assert abs(rise[8]) < 0.01
    assert rise[8] < rise[4] < 0.03
    assert rise[2] > 0.05  # so the numbers are in use
    assert smaller[8] > 3.8
    assert smaller[4] > 7


# ------------------------------------------------------------------------------ pruning


class Kept(nn.Module):
    """A weight that is 0 wherever a mask says so, whatever is learned underneath."""

    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return torch.where(self.mask, weight, 0.0)


def prune(model, share):
    """Hold the smallest of a MADE's open weights at 0, this share of them: its layers, and which are left."""
    layers, masks = [*model.layers, model.output], [mask.bool() for mask in model.masks()]
    sizes = [layer.weight.detach().abs() for layer in layers]
    least = torch.cat([size[mask] for size, mask in zip(sizes, masks, strict=True)]).quantile(share)
    left = [mask & (size > least) for size, mask in zip(sizes, masks, strict=True)]
    for layer, kept in zip(layers, left, strict=True):
        parametrize.register_parametrization(layer, "weight", Kept(kept))
    return layers, left


def test_half_of_the_weights_can_go(digits, tmp_path):
    """Zeros stay zero through further fitting, which brings back the likelihood that pruning cost."""
    model = seeded_model(MADE, digits.event_shape, hidden=(200,))
    fit(model, digits, tmp_path / "whole", epochs=10, **QUICK)
    nll = {"whole": mean_nll(model, digits.test)}
    layers, left = prune(model, 0.5)
    assert sum(int(kept.sum()) for kept in left) == 6400  # of the 12,800 that the masks leave open
    nll["pruned"] = mean_nll(model, digits.test)
    before = [layer.weight.detach().clone() for layer in layers]
    fit(model, digits, tmp_path / "pruned", epochs=5, **QUICK)
    nll["fitted"] = mean_nll(model, digits.test)
    for layer, kept, weight in zip(layers, left, before, strict=True):
        parametrize.remove_parametrizations(layer, "weight")
        assert torch.equal(layer.weight != 0, kept)
        assert not torch.equal(layer.weight, weight)
    model.save_pretrained(tmp_path / "small")
    assert mean_nll(chainrule.load(tmp_path / "small"), digits.test) == nll["fitted"]
    assert nll["pruned"] < 1.05 * nll["whole"]
    assert nll["fitted"] < nll["pruned"]
