"""Sampling by looking ahead: the very sample of single steps, whatever was guessed, and never much dearer."""

from __future__ import annotations

import pytest
import torch
from test_sampling import randomised

from chainrule.layers import attention
from chainrule.layers.pixel_attention import PixelAttentionStepper
from chainrule.models import GatedPixelCNN, PixelCNN, Transformer
from chainrule.models.transformer_looks import TransformerLooks
from chainrule.sampling import (
    ahead,
    ahead_by_row,
    ancestral,
    by_looking_ahead,
    by_looking_ahead_by_row,
    draw_noise,
    naive,
)
from chainrule.testing import ConformanceError, check_model

LEVELS = {"name": "categorical", "levels": 5}
FOUR_LEVELS = {"name": "categorical", "levels": 4}
CONVOLUTIONS = {"features": 6, "kernel_size": 3, "head": (5,), "context_size": 2}
ATTENTION = {"width": 8, "num_layers": 2, "num_heads": 2, "context_size": 2}

IMAGES = {
    "gated": lambda: GatedPixelCNN((1, 5, 6), num_layers=3, first_kernel_size=5, **CONVOLUTIONS),
    "gated, levels, column by column": lambda: GatedPixelCNN(
        (5, 6), num_layers=2, ordering="column", conditional=LEVELS, **CONVOLUTIONS
    ),
    "gated, attention": lambda: GatedPixelCNN(
        (1, 5, 6), num_layers=4, attention_every=2, attention_heads=2, **CONVOLUTIONS
    ),
    "pixelcnn": lambda: PixelCNN((1, 5, 6), num_blocks=2, first_kernel_size=5, **CONVOLUTIONS),
    "pixelcnn, one-hot, reversed": lambda: PixelCNN(
        (6, 5), num_blocks=2, ordering="reversed", conditional=LEVELS, one_hot=True, **CONVOLUTIONS
    ),
}
TRANSFORMERS = {
    "transformer": lambda: Transformer((1, 5, 6), **ATTENTION),
    "transformer, shared keys, four levels": lambda: Transformer(
        (41,), ordering="random:2", positions="learned", num_kv_heads=1, conditional=FOUR_LEVELS, **ATTENTION
    ),
    "transformer, sines": lambda: Transformer((37,), positions="sinusoidal", tie_weights=False, **ATTENTION),
}
MODELS = IMAGES | TRANSFORMERS


def noise_for(model, rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return draw_noise(rows, model.num_variables, model.conditional.num_noise, generator, torch.float64)


def context_for(rows):
    return torch.nn.functional.one_hot(torch.arange(rows) % 2, 2).double()


def sampler_of(model):
    return by_looking_ahead_by_row if isinstance(model, Transformer) else by_looking_ahead


class Counted:
    """A model whose looks and steps are counted."""

    def __init__(self, model, monkeypatch):
        self.looks = self.steps = 0
        step = model.step

        def counted_step(*arguments):
            self.steps += 1
            return step(*arguments)

        monkeypatch.setattr(model, "step", counted_step)
        if isinstance(model, Transformer):
            begin = model.looks

            def begin_counted(*arguments):
                looks = begin(*arguments)
                looks.look = self.counted_look(looks.look)
                return looks

            monkeypatch.setattr(model, "looks", begin_counted)
        else:
            monkeypatch.setattr(model, "look_ahead", self.counted_look(model.look_ahead))

    def counted_look(self, look):
        def counted(*arguments):
            self.looks += 1
            return look(*arguments)

        return counted


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@torch.no_grad()
def test_the_sample_is_that_of_single_steps(name, rows, temperature):
    model = randomised(MODELS[name]()).double().eval()
    noise, context = noise_for(model, rows), context_for(rows)
    found, log_prob = sampler_of(model)(model, noise, context, temperature, with_log_prob=True)
    stepped, expected = ancestral(model, noise, context, temperature, with_log_prob=True)
    assert torch.equal(found, stepped)
    assert torch.equal(found, naive(model, noise, context, temperature))
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(log_prob, model.log_prob(found, context))


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_looks_and_steps_follow_each_other_in_any_order(name, monkeypatch):
    # So little credit that looks come singly, among steps.
    monkeypatch.setattr(ahead, "_PRICE_PER_VALUE", 0)
    monkeypatch.setattr(ahead, "_MOST_CREDIT", ahead._PRICE)
    monkeypatch.setattr(ahead, "_EARNED", ahead._PRICE / 3)
    model = randomised(MODELS[name]()).double().eval()
    counted = Counted(model, monkeypatch)
    for seed in range(4):
        noise = noise_for(model, 2, seed)
        assert torch.equal(
            by_looking_ahead(model, noise, context_for(2))[0], ancestral(model, noise, context_for(2))[0]
        )
    assert counted.looks > 4
    assert counted.steps > 8 * model.num_variables / 3


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_a_look_gives_the_conditionals_of_the_parallel_pass(name):
    model = randomised(MODELS[name]()).double().eval()
    context = context_for(2)
    x = ancestral(model, noise_for(model, 2), context)[0]
    other = ancestral(model, noise_for(model, 2, seed=1), context)[0]
    known, guessed = model.to_sequence(x), model.to_sequence(other)
    state, previous, position = model.init_state(2, context), None, 0
    while position < model.num_variables:
        last = min(position + model.reach(state), model.num_variables)
        together = torch.cat([known[:, :position], guessed[:, position:]], dim=1)
        expected = model.to_sequence(model(model.from_sequence(together), context))[:, position:last]
        found = model.look_ahead(state, previous, guessed[:, position : last - 1])
        torch.testing.assert_close(found, expected)
        count = min(1 + position % 3, last - position)  # of what was looked at, no more than this stands
        known[:, position : position + count - 1] = guessed[:, position : position + count - 1]
        model.settle(state, count)
        position += count
        previous = known[:, position - 1]


@torch.no_grad()
def test_independent_pixels_take_one_look_a_row(monkeypatch):
    model = GatedPixelCNN((1, 8, 8), num_layers=2, **CONVOLUTIONS).double().eval()
    model.pixel_head.layers[-1].weight.zero_()  # what the pixels are does not matter any more
    counted = Counted(model, monkeypatch)
    model.sample(4, context=context_for(4), seed=0)
    assert counted.steps == 0
    assert counted.looks <= 8 + 1  # in the first row nothing is known yet


@torch.no_grad()
def test_where_guesses_are_always_wrong_steps_are_taken(monkeypatch):
    model = randomised(GatedPixelCNN((20, 20), num_layers=2, **CONVOLUTIONS)).double().eval()
    monkeypatch.setattr(ahead, "_settled", lambda drawn, guesses: 1)
    counted = Counted(model, monkeypatch)
    noise = noise_for(model, 1)
    found = by_looking_ahead(model, noise, context_for(1))[0]
    assert torch.equal(found, ancestral(model, noise, context_for(1))[0])
    assert counted.looks + counted.steps == 2 * 400  # `ancestral` took 400 of the steps
    assert 8 <= counted.looks < 30


@torch.no_grad()
def test_a_transformer_takes_single_places_where_guesses_fail(monkeypatch):
    model = Transformer((160,), width=8, num_layers=1, num_heads=2).double().eval()
    wide, at = [], TransformerLooks.look

    def noted(self, places, values):
        wide.append(places.shape[1])
        found = at(self, places, values)
        # What comes next is the opposite of what the guess was.
        return 100 * (0.5 - values[..., None]) + 0 * found

    monkeypatch.setattr(TransformerLooks, "look", noted)
    by_looking_ahead_by_row(model, noise_for(model, 2))
    assert sorted(wide)[len(wide) // 2] <= 2
    assert max(wide[40:]) == 4  # tried again now and then


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [2, 20])
def test_mixed_precision_samples_by_steps(name, rows):
    model = MODELS[name]().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.sample(rows, context_for(rows).float(), seed=0).shape == (rows, *model.event_shape)


def test_a_transformer_with_dropout_on_takes_steps(monkeypatch):
    model = Transformer((9,), width=8, num_layers=1, num_heads=2, dropout=0.1).train()
    counted = Counted(model, monkeypatch)
    model.sample(2, seed=0)
    assert (counted.looks, counted.steps) == (0, 9)
    model.eval().sample(2, seed=0)
    assert counted.looks > 0


@pytest.mark.parametrize("name", TRANSFORMERS)
@torch.no_grad()
def test_rows_look_from_places_of_their_own(name):
    model = randomised(MODELS[name]()).double().eval()
    n, context = model.num_variables, context_for(3)
    known = model.to_sequence(ancestral(model, noise_for(model, 3), context)[0])
    guessed = model.to_sequence(ancestral(model, noise_for(model, 3, seed=1), context)[0])
    looks, position = model.looks(3, context), torch.zeros(3, 1, dtype=torch.long)
    for turn in range(n):
        places = (position + torch.arange(5)).clamp_max(n - 1)
        together = torch.where(torch.arange(n) < position, known, guessed)
        expected = model.to_sequence(model(model.from_sequence(together), context))
        found = looks.look(places, together.take_along_dim((places - 1).clamp_min(0), 1))
        torch.testing.assert_close(found, expected.take_along_dim(places[..., None], 1))
        # Nothing, one and two guesses turn out right in turn, in each row at another time.
        right = (turn + torch.arange(3)[:, None]) % 3
        known = torch.where(
            (torch.arange(n) >= position) & (torch.arange(n) < position + right), guessed, known
        )
        position = (position + right + 1).clamp_max(n - 1)


@torch.no_grad()
def test_rows_do_not_wait_for_each_other(monkeypatch):
    model = randomised(Transformer((1, 9, 9), width=16, num_layers=2, num_heads=2)).double().eval()
    noise = noise_for(model, 40)
    counted = Counted(model, monkeypatch)
    by_looking_ahead_by_row(model, noise)
    together, alone = counted.looks, []
    monkeypatch.setattr(ahead_by_row, "_REACH", {1: ahead_by_row._LEAST_REACH})
    for row in noise.split(1):
        before = counted.looks
        by_looking_ahead_by_row(model, row)
        alone.append(counted.looks - before)
    assert together <= max(alone) + 10  # looks are as wide as rows settle on average
    assert together < 81 / 2


@torch.no_grad()
def test_values_of_many_levels_are_read_step_by_step(monkeypatch):
    model = randomised(Transformer((20,), conditional=LEVELS, **ATTENTION)).double().eval()
    counted = Counted(model, monkeypatch)
    model.sample(3, context=context_for(3), seed=0)
    assert (counted.looks, counted.steps) == (0, 20)


@torch.no_grad()
def test_samples_of_few_and_of_many_images_are_the_same(monkeypatch):
    model = randomised(MODELS["gated"]()).double().eval()
    noise, context = noise_for(model, 40), context_for(40)
    counted = Counted(model, monkeypatch)
    many = model.sample(noise=noise, context=context)
    assert counted.looks == 0
    few = model.sample(noise=noise[:3], context=context[:3])
    assert counted.looks > 0
    assert torch.equal(few, many[:3])


@torch.no_grad()
def test_values_from_no_list_are_drawn_step_by_step(monkeypatch):
    model = randomised(PixelCNN((5, 6), num_blocks=1, conditional="gaussian", **CONVOLUTIONS)).double().eval()
    counted = Counted(model, monkeypatch)
    model.sample(2, context=context_for(2), seed=0)
    assert counted.looks == 0
    assert counted.steps >= model.num_variables


def test_networks_that_forget_or_have_several_colours_do_not_look_ahead():
    assert not Transformer((9,), window=4, width=8, num_layers=1, num_heads=2).looks_by_row
    ends = {"end": 0, "conditional": FOUR_LEVELS}
    assert not Transformer((9,), width=8, num_layers=1, num_heads=2, **ends).looks_by_row
    assert not PixelCNN((3, 4, 4), num_blocks=1, **CONVOLUTIONS).looks_ahead


def test_the_conformance_suite_finds_caches_that_keep_wrong_guesses(monkeypatch):
    def settle(self, count):
        self.heard[:, : self.features] = self.looked_at[:, count - 1]

    monkeypatch.setattr(PixelAttentionStepper, "settle", settle)
    with pytest.raises(ConformanceError, match="samplers agree"):
        check_model(
            GatedPixelCNN((3, 4), features=6, num_layers=2, head=(), attention_every=1, attention_heads=2)
        )


def test_the_conformance_suite_finds_looks_at_later_places(monkeypatch):
    of = attention.Places.of

    def open_places(read, dtype):
        places = of(read, dtype)
        places.mask.zero_()
        return places

    monkeypatch.setattr(attention.Places, "of", open_places)
    with pytest.raises(ConformanceError, match="samplers agree"):
        check_model(Transformer((3, 4), width=8, num_layers=2, num_heads=2))
