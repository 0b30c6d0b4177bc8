"""The lecture's worked examples, recomputed by the library's classes; and the page that lists them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

import make_worked_examples
import worked_examples as script

EXAMPLES = {example["id"]: example for example in script.read_examples()}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in script.LIBRARY])
def test_the_library_computes(name):
    _, found = script.recompute(EXAMPLES[name])
    assert script.agrees(found, EXAMPLES[name]["exact"]), f"{found} instead of {EXAMPLES[name]['exact']}"


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in script.ARITHMETIC])
def test_arithmetic_examples(name):
    """Numbers of the notes that are about no model: trivial by nature."""
    by, found = script.recompute(EXAMPLES[name])
    assert by == "arithmetic"
    assert script.agrees(found, EXAMPLES[name]["exact"])


def test_every_example_is_computed():
    groups = [set(script.LIBRARY), set(script.ARITHMETIC)]
    assert set.union(*groups) == set(EXAMPLES)
    assert sum(map(len, groups)) == len(EXAMPLES)


def test_topics_are_complete():
    numbers = {}
    for name in EXAMPLES:
        topic, number = name.split("-")[0].split(".")
        numbers.setdefault(int(topic), []).append(int(number))
    last = {1: 5, 2: 8, 4: 20, 5: 13, 6: 18, 7: 32, 9: 21, 14: 5}
    assert numbers == {topic: list(range(1, count + 1)) for topic, count in last.items()}


def test_a_wrong_value_would_not_agree():
    """The comparison itself: six digits of a float, every digit of a count."""
    assert script.agrees(1.017460001, 1.01746)
    assert not script.agrees(1.01747, 1.01746)
    assert not script.agrees(785285, 785284)
    assert not script.agrees([1.0, 2.0], [1.0])
    assert not script.agrees(1, True)
    for example in EXAMPLES.values():
        if example["verdict"].startswith("wrong"):
            assert not script.agrees(example["stated"], example["exact"]), example["id"]


def test_uniform_images_cost_one_bit_a_pixel():
    """Example 4.9 in the other unit: -543.427 nats an image are exactly 1 bit per dimension."""
    model = script.coin_images(784)
    assert model.bits_per_dim(torch.zeros(1, 784)).item() == pytest.approx(1.0, rel=1e-12)
    assert model.nll(torch.zeros(1, 784)).item() == pytest.approx(784 * math.log(2), rel=1e-12)


def test_the_page_is_up_to_date():
    assert make_worked_examples.PAGE.read_text(encoding="utf-8") == make_worked_examples.page(), (
        "run: python docs/make_worked_examples.py"
    )
