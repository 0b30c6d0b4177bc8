"""Orderings: permutations all of them, each with the path it promises, and clear errors."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.models import FVSBN, ChowLiuTree
from chainrule.orderings import (
    ORDERINGS,
    Ordering,
    greedy_entropy_ordering,
    pairwise_entropies,
    random_ordering,
    resolve_ordering,
)

sides = st.integers(1, 17)


def cells(name: str, height: int, width: int) -> list[tuple[int, int]]:
    return [divmod(index, width) for index in resolve_ordering(name, (height, width)).permutation]


def steps(path: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(abs(r - q), abs(c - d)) for (q, d), (r, c) in pairwise(path)]


@settings(deadline=None)
@given(name=st.sampled_from(sorted(ORDERINGS)), channels=st.integers(1, 3), height=sides, width=sides)
def test_every_ordering_is_a_permutation_of_any_image(name, channels, height, width):
    ordering = resolve_ordering(name, (channels, height, width))
    assert sorted(ordering.permutation) == list(range(channels * height * width))
    assert torch.equal(ordering.indices()[ordering.positions()], torch.arange(len(ordering)))
    assert resolve_ordering(ordering.spec, (channels, height, width)) == ordering


@settings(deadline=None)
@given(name=st.sampled_from(sorted(set(ORDERINGS) - {"random"})), height=sides, width=sides)
def test_the_channels_of_a_pixel_come_together(name, height, width):
    plane = height * width
    colour = resolve_ordering(name, (3, height, width)).permutation
    pixels = [index % plane for index in colour]
    assert pixels[0::3] == pixels[1::3] == pixels[2::3]
    grey = resolve_ordering(name, (height, width)).permutation
    assert tuple(pixels[0::3]) == grey
    channels = [index // plane for index in colour[:3]]
    assert channels == ([2, 1, 0] if name == "reversed" else [0, 1, 2])


@settings(deadline=None)
@given(height=sides, width=sides)
def test_the_spiral_walks_outwards_from_the_centre_in_unit_steps(height, width):
    path = cells("spiral", height, width)
    assert all(step in {(0, 1), (1, 0)} for step in steps(path))
    row, column = path[0]
    # The innermost ring of an oblong picture is a line or a block; the walk begins on it.
    half = (min(height, width) - 1) // 2
    assert half <= row <= height - 1 - half
    assert half <= column <= width - 1 - half
    rings = [min(r, c, height - 1 - r, width - 1 - c) for r, c in path]
    assert rings == sorted(rings, reverse=True)


def test_the_spiral_of_odd_squares_starts_at_the_middle_pixel():
    for side in (1, 3, 5, 27):
        assert cells("spiral", side, side)[0] == (side // 2, side // 2)
    assert cells("spiral", 28, 28)[0] in {(r, c) for r in (13, 14) for c in (13, 14)}


@pytest.mark.parametrize("order", range(6))
def test_the_hilbert_curve_of_a_power_of_two_is_hilberts(order):
    """Unit steps, and at every scale each quarter is filled before the next one is entered."""
    side = 2**order
    path = cells("hilbert", side, side)
    assert all(step in {(0, 1), (1, 0)} for step in steps(path))
    for scale in range(1, order + 1):
        block = 4**scale
        for start in range(0, side * side, block):
            quarter = {(r >> scale, c >> scale) for r, c in path[start : start + block]}
            assert len(quarter) == 1


@settings(deadline=None)
@given(height=sides, width=sides)
def test_the_hilbert_curve_of_any_rectangle_goes_to_neighbours(height, width):
    taken = steps(cells("hilbert", height, width))
    assert all(max(step) == 1 for step in taken)
    diagonal = sum(step == (1, 1) for step in taken)
    assert diagonal <= 1
    if height % 2 == 0 and width % 2 == 0:
        assert diagonal == 0


def test_raster_reversed_and_column():
    assert resolve_ordering("raster", (2, 3)).permutation == (0, 1, 2, 3, 4, 5)
    assert resolve_ordering("reversed", (2, 3)).permutation == (5, 4, 3, 2, 1, 0)
    assert resolve_ordering("column", (2, 3)).permutation == (0, 3, 1, 4, 2, 5)
    assert resolve_ordering("raster", (2, 1, 2)).permutation == (0, 2, 1, 3)
    assert resolve_ordering("raster", (4,)).permutation == (0, 1, 2, 3)
    assert resolve_ordering("raster", (2, 2, 2, 2)).permutation == tuple(range(16))


def test_random_orderings_have_a_seed_of_their_own():
    state = torch.get_rng_state()
    assert resolve_ordering("random:7", (30,)) == random_ordering((30,), 7)
    assert resolve_ordering("random", (30,)) == random_ordering((30,), 0)
    assert random_ordering((30,), 7) != random_ordering((30,), 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_ordering_is_given_by_list_tensor_or_object():
    custom = Ordering((2, 0, 1))
    assert resolve_ordering([2, 0, 1], (3,)) == resolve_ordering(torch.tensor([2, 0, 1]), (3,)) == custom
    assert resolve_ordering(custom, (3,)) is custom
    assert custom.spec == [2, 0, 1]
    assert resolve_ordering("spiral", (3, 3)).spec == "spiral"
    assert repr(custom) == "Ordering('custom', 3 variables)"


def test_to_and_from_sequence_are_inverse():
    model = FVSBN((2, 3), ordering="spiral")
    x = torch.arange(12.0).view(2, 2, 3)
    sequence = model.to_sequence(x)
    assert torch.equal(sequence, x.flatten(1)[:, list(model.ordering.permutation)])
    assert torch.equal(model.from_sequence(sequence), x)
    assert torch.equal(model.from_sequence(model.to_sequence(x[..., None])), x[..., None])


def test_mistakes_are_one_clear_line():
    one_line_error(lambda: resolve_ordering("sprial", (3, 3)), "'spiral'", "raster")
    one_line_error(lambda: resolve_ordering("spiral", (9,)), "(H, W)", "(9,)")
    one_line_error(lambda: resolve_ordering("random:x", (3,)), "whole number", "random:7")
    one_line_error(lambda: resolve_ordering([0, 1, 1], (3,)), "exactly once", "0..2")
    one_line_error(lambda: resolve_ordering([0, 1], (3,)), "2 variables", "3")


# ------------------------------------------------------------------------------ learned from data


def linked_pairs(rows: int = 2000) -> torch.Tensor:
    """Six columns: 3 copies 0, 4 copies 1 with errors, 2 is rare, 5 is a coin of its own."""
    generator = torch.Generator().manual_seed(0)
    coin = lambda p: (torch.rand(rows, generator=generator) < p).float()  # noqa: E731
    first, second = coin(0.5), coin(0.5)
    copied = torch.where(coin(0.1) == 1, 1 - second, second)
    return torch.stack([first, second, coin(0.02), first, copied, coin(0.5)], dim=1)


def test_the_greedy_ordering_takes_what_is_least_uncertain_next():
    x = linked_pairs()
    ordering = greedy_entropy_ordering(x)
    assert sorted(ordering.permutation) == list(range(6))
    order = list(ordering.permutation)
    assert order[0] == 2  # the rare one has the least entropy
    assert abs(order.index(0) - order.index(3)) == 1  # a copy follows at once
    assert abs(order.index(1) - order.index(4)) == 1
    assert greedy_entropy_ordering(x) == ordering
    assert greedy_entropy_ordering(x, first=5).permutation[0] == 5
    assert greedy_entropy_ordering(x.view(-1, 2, 3)) == ordering


def test_the_greedy_ordering_lets_a_tree_along_it_lose_nothing_on_a_chain():
    """On data from a chain every variable comes right after a neighbour of it in the chain."""
    chain = ChowLiuTree((7,), [[], [0], [1], [2], [3], [4], [5]])
    for variable in range(7):
        chain.set_table(variable, [0.1, 0.9] if variable else [0.5])
    order = greedy_entropy_ordering(chain.sample(3000, seed=0)).permutation
    for position, variable in enumerate(order[1:], start=1):
        assert any(abs(variable - earlier) == 1 for earlier in order[:position])


def test_pairwise_entropies_of_known_columns():
    x = torch.tensor([[0.0, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 0]])
    joint, marginal = pairwise_entropies(x, pseudocount=0.0)
    one_bit = math.log(2)
    assert torch.allclose(marginal, torch.full((3,), one_bit, dtype=torch.float64))
    expected = torch.tensor([[1, 1, 2], [1, 1, 2], [2, 2, 1]], dtype=torch.float64) * one_bit
    assert torch.allclose(joint, expected)
    smoothed, _ = pairwise_entropies(x, pseudocount=1000.0)
    assert torch.allclose(smoothed.fill_diagonal_(0), 2 * one_bit * (1 - torch.eye(3).double()), atol=1e-3)
