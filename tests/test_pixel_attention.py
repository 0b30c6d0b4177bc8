"""Attention over pixels: the block of PixelSNAIL in a Gated PixelCNN, in parallel and step by step."""

from __future__ import annotations

import itertools

import pytest
import torch

from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.errors import ChainruleError
from chainrule.layers import pixel_attention
from chainrule.layers.attention import CausalSelfAttention
from chainrule.models import GatedPixelCNN
from chainrule.testing import check_model
from chainrule.training import seeded


def small(shape=(1, 3, 4), **settings) -> GatedPixelCNN:
    sizes = {"features": 6, "num_layers": 2, "kernel_size": 3, "first_kernel_size": 3, "head": (5,)}
    with seeded(3):
        attention = {"attention_every": 1, "attention_heads": 2}
        return GatedPixelCNN(shape, **{**sizes, **attention, **settings}).eval()


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 3, 4), {}),
        ((1, 4, 3), {"ordering": "column", "attention_heads": 9}),
        ((1, 1, 5), {"ordering": "reversed", "context_size": 2, "num_layers": 1}),
        ((3, 2, 2), {"conditional": Categorical(4), "attention_every": 2, "ordering": "reversed"}),
        ((2, 2, 3), {"conditional": DiscretizedLogisticMixture(8, 2), "attention_heads": 1}),
    ],
    ids=str,
)
def test_conforms(shape, settings) -> None:
    check_model(small(shape, **settings), num_samples=600)


def seen_from(model, colour, row, column):
    model = model.double()
    x = torch.rand(16, *model.event_shape, dtype=torch.float64, requires_grad=True)
    model(x)[:, colour, row, column].square().sum().backward()
    return {tuple(p) for p in x.grad.abs().sum(0).nonzero().tolist()}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_earlier_pixel_is_seen_however_far_away(channels) -> None:
    """One layer of 3 x 3 kernels reaches two pixels; attention all of those before, in all colours."""
    model = small((channels, 6, 7), num_layers=1, conditional=Categorical(4), features=12, head=())
    variables = itertools.product(range(6), range(7), range(channels))
    before = {(c, r, k) for r, k, c in variables if (r, k, c) < (4, 3, channels - 1)}
    assert seen_from(model, channels - 1, 4, 3) == before
    assert len(seen_from(small((1, 6, 7), num_layers=1, attention_every=0), 0, 4, 3)) == 4


def test_blocks_stand_after_every_so_many_layers() -> None:
    assert list(small(num_layers=5, attention_every=2).attention) == ["1", "3"]
    assert not small(num_layers=1, attention_every=2).attention
    with pytest.raises(ChainruleError, match="attention_every"):
        small(attention_every=-1)


def test_no_weights_of_all_pairs_are_held(monkeypatch) -> None:
    """The fused product gets no mask and says itself what is causal; looking ahead masks one row at most."""
    calls = []

    def noted(queries, keys, values, **options):
        calls.append((queries.shape[2], keys.shape[2], options))
        return fused(queries, keys, values, **options)

    fused = pixel_attention.scaled_dot_product_attention
    monkeypatch.setattr(pixel_attention, "scaled_dot_product_attention", noted)
    model = small(num_layers=1, attention_heads=1)
    model.log_prob(torch.zeros(2, 1, 3, 4))
    assert calls == [(12, 12, {"is_causal": True})]
    calls.clear()
    model.sample(20, seed=0)
    assert calls == [(1, pixel + 1, {}) for pixel in range(12)]
    calls.clear()
    model.sample(2, seed=0)
    assert {options["attn_mask"].shape == (asked, seen) for asked, seen, options in calls} == {True}
    assert max(asked for asked, _, _ in calls) == 4


def test_one_query_of_grouped_heads_is_the_last_of_many() -> None:
    with seeded(0):
        attention = CausalSelfAttention(8, 4, 2).double()
        x = torch.randn(3, 6, 8, dtype=torch.float64)
    cache = attention.new_cache(3)
    steps = [attention(x[:, place : place + 1], cache=cache) for place in range(6)]
    torch.testing.assert_close(torch.cat(steps, dim=1), attention(x), rtol=1e-12, atol=1e-12)


def test_rows_of_a_state_go_on_like_the_whole() -> None:
    model = small((2, 3, 3), conditional=Categorical(3)).double()
    x = torch.randint(3, (3, 2, 3, 3), generator=torch.Generator().manual_seed(0)).double()
    rows = torch.tensor([2, 0, 2])
    sequence, params = model.to_sequence(x), model.to_sequence(model(x))
    state = model.init_state(3)
    for position in range(model.num_variables):
        if position == 7:
            state = model.select_state(state, rows)
            sequence, params = sequence[rows], params[rows]
        found, state = model.step(state, None if position == 0 else sequence[:, position - 1])
        torch.testing.assert_close(found, params[:, position].detach(), rtol=1e-10, atol=1e-10)


def test_memory_grows_with_the_height_as_no_other_cache_does() -> None:
    def kept(height, **settings):
        model = small((1, height, 4), **settings)
        state, value = model.init_state(2), None
        for _ in range(model.num_variables):
            _, state = model.step(state, value)
            value = torch.zeros(2)
        return state.num_bytes

    assert kept(16, attention_every=0) == kept(4, attention_every=0)
    of_a_pixel = 2 * 2 * 3 * 4 * 2  # in two blocks: key and value of a head of 3, float32, two images
    for height in (4, 16, 48):
        of_attention = kept(height) - kept(height, attention_every=0)
        assert 4 * height * of_a_pixel < of_attention
    assert kept(4) < kept(48)


def test_another_size_is_attended_over_too() -> None:
    model = small()
    canvas = model.with_size((1, 5, 6)).double()
    check = canvas.sample(2, seed=1), canvas.sample(2, seed=1, method="naive")
    assert torch.equal(*check)
