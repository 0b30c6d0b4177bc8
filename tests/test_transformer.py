"""Transformer: attention over what was read, all at once, in pieces, and one by one."""

from __future__ import annotations

import pytest
import torch

from chainrule.conditionals import Categorical, Gaussian, GaussianMixture, Mixed
from chainrule.errors import ChainruleError
from chainrule.layers import attention as attention_module
from chainrule.layers.attention import CausalSelfAttention, rotary_angles, rotated
from chainrule.models import RNN, Transformer, WaveNet
from chainrule.testing import check_model
from chainrule.training import seeded


def small(shape=(7,), **settings) -> Transformer:
    sizes = {"width": 8, "num_layers": 2, "num_heads": 2, "conditional": Categorical(3)}
    with seeded(5):
        model = Transformer(shape, **{**sizes, **settings}).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.5)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"conditional": "bernoulli", "ordering": "random:3"},
        {"positions": "learned", "bias": True, "tie_weights": False},
        {"positions": "sinusoidal", "num_heads": 4, "num_kv_heads": 2},
        {"window": 2, "num_kv_heads": 1},
        {"window": 1},
        {"context_size": 3, "conditional": GaussianMixture(2)},
        {"dropout": 0.3},
    ],
    ids=str,
)
def test_it_conforms(settings) -> None:
    shape = (3,) if "context_size" in settings else (6,)
    check_model(small(shape, **settings), num_samples=600)


def test_it_conforms_over_pixels() -> None:
    check_model(small((1, 2, 3), conditional="bernoulli", ordering="column"), num_samples=600)


def test_it_conforms_over_the_columns_of_a_table() -> None:
    columns = Mixed([Gaussian(), Categorical(3), Gaussian(), Categorical(2)])
    check_model(small((4,), conditional=columns), num_samples=600)


def test_windowed_attention_is_dense_attention_under_the_same_mask() -> None:
    with seeded(0):
        attention = CausalSelfAttention(8, 4, 2, window=5).double()
        x = torch.randn(2, 23, 8, dtype=torch.float64)
    q, k, v = attention.into(x).view(2, 23, -1, 2).transpose(1, 2).split((4, 2, 2), dim=1)
    scores = q @ k.repeat_interleave(2, 1).transpose(2, 3) / 2**0.5
    lag = torch.arange(23)[:, None] - torch.arange(23)
    weights = scores.masked_fill((lag < 0) | (lag >= 5), -torch.inf).softmax(-1)
    dense = attention.out((weights @ v.repeat_interleave(2, 1)).transpose(1, 2).reshape(2, 23, 8))
    torch.testing.assert_close(attention(x), dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [None, 3, 8])
@pytest.mark.parametrize("pieces", [(29,), (1,) * 29, (10, 1, 1, 12, 5), (2, 2, 3, 22)])
def test_reading_in_pieces_is_reading_at_once(window, pieces) -> None:
    model = small((30,), window=window).double()
    values = torch.randint(3, (2, 29), generator=torch.Generator().manual_seed(1)).double()
    whole = model(torch.cat([values, values[:, :1]], 1))
    state, parts = model.init_state(2), []
    for number, piece in enumerate(values.split(pieces, dim=1)):
        params, state = model.read(state, piece, begin=number == 0)
        parts.append(params)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-11)


def test_a_window_reaches_as_far_as_its_layers_say() -> None:
    model = small((12,), window=3, conditional="bernoulli").double()
    x = torch.zeros(1, 12, dtype=torch.float64, requires_grad=True)
    model(x)[0, 11, 0].backward()
    # The last output reads value 10; each of the two layers looks two further back.
    assert x.grad[0].nonzero().flatten().tolist() == [6, 7, 8, 9, 10]


def test_memory_of_a_window_is_bounded() -> None:
    model = small((200,), window=4)
    _, state = model.read(model.init_state(1), torch.zeros(1, 0), begin=True)
    for _ in range(150):
        _, state = model.read(state, torch.zeros(1, 1))
    assert all(cache._keys.shape[2] <= 8 for cache in state.caches)


def test_the_cost_of_a_window_grows_with_the_length_alone(monkeypatch) -> None:
    """Products of queries and keys: n times twice the window, not n squared."""
    products = []
    attend = attention_module.scaled_dot_product_attention

    def counted(queries, keys, values, **settings):
        products.append(queries.shape[:-1].numel() * keys.shape[-2])
        return attend(queries, keys, values, **settings)

    monkeypatch.setattr(attention_module, "scaled_dot_product_attention", counted)
    attention = CausalSelfAttention(8, 2, 2, window=16)
    for length in (64, 128, 256):
        attention(torch.zeros(1, length, 8))
    assert products == [2 * 2 * 16 * length for length in (64, 128, 256)]


def test_rotary_scores_depend_on_distances_alone() -> None:
    q, k = torch.randn(2, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def score(at: int, of: int) -> float:
        turned = [rotated(h, *rotary_angles(torch.tensor([p]).double(), 6)) for h, p in ((q, at), (k, of))]
        return float((turned[0] * turned[1]).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-12)
    assert score(9, 4) != pytest.approx(score(9, 3), abs=1e-3)


def test_it_goes_on_for_longer_than_it_was_built_for() -> None:
    model = small((5,))
    longer = model.with_length(40)
    x = longer.sample(2, seed=0)
    assert x.shape == (2, 40)
    short = model.log_prob_per_variable(x[:, :5])
    torch.testing.assert_close(longer.log_prob_per_variable(x)[:, :5], short)
    with pytest.raises(ChainruleError, match="learned positions end at 5"):
        small((5,), positions="learned").with_length(6)
    with pytest.raises(ChainruleError, match="no other length"):
        small((5,), ordering="reversed").with_length(6)


def test_weight_tying_survives_saving(tmp_path) -> None:
    model = small((5,))
    model.save_pretrained(tmp_path / "m")
    loaded = Transformer.from_pretrained(tmp_path / "m")
    assert loaded.head.weight is loaded.embedding.weight
    x = model.sample(3, seed=1)
    assert torch.equal(model.log_prob(x), loaded.log_prob(x))


def test_a_character_transformer_has_as_many_parameters_as_the_formula() -> None:
    model = Transformer((256,), num_layers=6, conditional=Categorical(65))
    # 12 d^2 a layer, two norms a layer and one at the end, the embedding (tied), the start.
    assert model.num_parameters == 6 * 12 * 384**2 + 13 * 384 + 65 * 384 + 384


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_heads": 3}, "num_heads=3 does not divide width=8"),
        ({"num_kv_heads": 3}, "num_kv_heads=3 does not divide num_heads=2"),
        ({"num_heads": 8}, "even width"),
        ({"positions": "rotory"}, "rotary"),
        ({"window": 0}, "window"),
    ],
)
def test_sizes_that_do_not_fit(settings, words) -> None:
    with pytest.raises(ChainruleError, match=words):
        small(**settings)


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (Transformer, {"width": 8, "num_layers": 2, "num_heads": 2}),
        (RNN, {"hidden": 6, "layers": 1}),
        (WaveNet, {"channels": 4, "skip_channels": 4, "layers_per_stack": 2, "num_stacks": 1}),
    ],
)
def test_an_end_makes_room_for_every_length(make, sizes) -> None:
    with seeded(0):
        model = make((4,), conditional=Categorical(3), end=1, **sizes).eval().double()
    check_model(model, num_samples=600)
    x = torch.tensor([[0, 2, 1, 1], [1, 1, 1, 1], [2, 2, 0, 2], [0, 1, 2, 1]]).double()
    per_variable = model.log_prob_per_variable(x)
    assert per_variable[0, 3] == 0  # after the end there is the end, with certainty
    assert per_variable[1, 1:].tolist() == [0, 0, 0]
    assert per_variable[3, 2] < -1e3  # and nothing else
    longer = torch.cat([x[:2], torch.ones(2, 5)], 1)
    assert torch.equal(model.with_length(9).log_prob(longer), model.log_prob(x[:2]))
    ended = model.with_length(30).sample(50, seed=0) == 1
    assert torch.equal(ended, ended.cummax(1).values)


def test_an_end_that_is_no_category() -> None:
    with pytest.raises(ChainruleError, match=r"one of the categories, 0\.\.2"):
        small(end=3)
    with pytest.raises(ChainruleError, match="end=0"):
        small(end=0, conditional="bernoulli")
