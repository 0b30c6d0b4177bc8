"""Sentences of the lecture that no single part of the library is about: codes as long as -log2 p, and a cheap
density that looks before a costly one."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from arithmetic_coding import decode, encode

import chainrule
from chainrule.conditionals import Categorical
from chainrule.models import FVSBN, MADE, NADE, GatedPixelCNN
from chainrule.training import fit, seeded

QUICK = {"batch_size": 100, "warmup_steps": 10, "ema_decay": 0.99, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def digits():
    return chainrule.data.load("digits")


# ------------------------------------------------------------------------------ arithmetic coding


def decided(make):
    """A model in float64 that is sure of something: with noise on its weights, and three times as large."""
    with seeded(4):
        model = make().eval().double()
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.3 * torch.randn_like(weights)).mul_(3)
    return model


CODED = {
    "nade": lambda: NADE((8,), hidden=5, ordering="random:2"),
    "gated-pixelcnn": lambda: GatedPixelCNN(
        (1, 2, 3), features=3, num_layers=2, kernel_size=3, first_kernel_size=3, head=(4,)
    ),
    "made of categories": lambda: MADE((4,), hidden=(12,), conditional=Categorical(4)),
}


@pytest.mark.parametrize("name", CODED)
def test_codes_are_lossless_and_as_long_as_minus_log2_p(name):
    """Every x there is: it comes back, in less than -log2 p + 2 bits, and no code begins another one."""
    model = decided(CODED[name])
    values = range(len(model.conditional.support()))
    rows = torch.tensor(list(itertools.product(values, repeat=model.num_variables))).double()
    rows = rows.view(-1, *model.event_shape)
    with torch.no_grad():
        ideal = (-model.log_prob(rows) / math.log(2)).tolist()
    assert max(ideal) - min(ideal) > 8  # an almost uniform law would prove little
    codes = [encode(model, x) for x in rows]
    for x, code, bits in zip(rows, codes, ideal, strict=True):
        found, used = decode(model, code + "0110")
        assert torch.equal(found, x)
        assert used == len(code)
        assert bits + 1 - 1e-9 <= len(code) < bits + 2 + 1e-9
    assert not any(later.startswith(code) for code, later in itertools.pairwise(sorted(codes)))


def test_digits_in_one_stream_of_bits(digits, cheap):
    """A trained model makes 64 pixels to half as many bits, and the stream holds nothing but the codes."""
    model = copy.deepcopy(cheap).double()
    images = digits.test[:30].double()
    stream = "".join(encode(model, x) for x in images)
    with torch.no_grad():
        ideal = model.nll(images).sum().item() / math.log(2)
    assert ideal < len(stream) < ideal + 2 * len(images)
    assert len(stream) < 32 * len(images)
    rest = stream
    for x in images:
        found, used = decode(model, rest)
        assert torch.equal(found, x)
        rest = rest[used:]
    assert rest == ""


# ------------------------------------------------------------------------------ a cheap look first


@pytest.fixture(scope="module")
def cheap(digits, tmp_path_factory):
    """A density of 2,016 multiply-adds an image."""
    with seeded(0):
        model = FVSBN(digits.event_shape)
    fit(model, digits, tmp_path_factory.mktemp("run") / "cheap", epochs=10, **QUICK)
    return model


@pytest.fixture(scope="module")
def costly(digits, tmp_path_factory):
    """A mixture of 16 orderings, of 38,400 multiply-adds each: network and mixture."""
    with seeded(0):
        model = MADE(digits.event_shape, hidden=(300,), num_masks=16, random_orderings=True)
    fit(model, digits, tmp_path_factory.mktemp("run") / "costly", epochs=40, **QUICK)
    return model, model.ensemble()


def with_defects(images, seed):
    """The images, each with a 3 x 3 block turned over somewhere."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(6, (len(images), 2), generator=generator).tolist()
    images = images.clone()
    for image, (row, column) in zip(images, places, strict=True):
        block = image[..., row : row + 3, column : column + 3]
        block.copy_(1 - block)
    return images


@torch.no_grad()
def test_a_cheap_density_first_spares_most_of_the_costly_looks(digits, cheap, costly):
    """Hierarchical checking: the costly model sees but what the cheap one finds among the least likely fifth.

    Thresholds are quantiles of clean validation images. The work is of a stream, 2 in 100 of it damaged.
    """
    network, mixture = costly
    clean = digits.test.float()
    damaged = torch.cat([with_defects(clean, seed) for seed in range(5)])
    score = {
        (name, part): model.log_prob(images)
        for name, model in (("cheap", cheap), ("costly", mixture))
        for part, images in (
            ("calibration", digits.validation.float()),
            ("clean", clean),
            ("damaged", damaged),
        )
    }

    def below(name, share, part):
        """Which images score below this quantile of the clean ones set aside."""
        return score[name, part] < score[name, "calibration"].quantile(share)

    def recall_and_alarms(found):
        return tuple(found(part).double().mean().item() for part in ("damaged", "clean"))

    alone = recall_and_alarms(lambda part: below("costly", 0.02, part))
    both = recall_and_alarms(lambda part: below("cheap", 0.2, part) & below("costly", 0.02, part))
    cheap_alone = recall_and_alarms(lambda part: below("cheap", 0.02, part))
    of_damaged, of_clean = recall_and_alarms(lambda part: below("cheap", 0.2, part))
    full = len(mixture.members) * network.multiply_adds
    work = cheap.multiply_adds + (0.98 * of_clean + 0.02 * of_damaged) * full
    assert both[0] > alone[0] - 0.002
    assert both[1] <= alone[1]
    assert cheap_alone[0] < alone[0] - 0.05  # the cheap one by itself is no way round
    assert full > 4 * work
