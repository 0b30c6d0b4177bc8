"""The recurrent network that looks back: its equations, its weights, and their picture."""

from __future__ import annotations

import math

import pytest
import torch
from test_rnn import TABLE, made, values

from chainrule.conditionals import Categorical
from chainrule.errors import ChainruleError
from chainrule.models import RNN, AttentionRNN
from chainrule.models.attention_rnn import SIMILARITIES
from chainrule.report import save_attention
from chainrule.testing import check_model
from chainrule.training import seeded


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((5,), {"similarity": "dot", "cell": "tanh", "bias": False}),
        ((5,), {"similarity": "scaled-dot", "ordering": "random:2", "context_size": 2}),
        ((4,), {"similarity": "additive", "attention_size": 3, "cell": "gru", "conditional": Categorical(3)}),
        ((4,), {"similarity": "multiplicative", "layers": 2, "conditional": TABLE, "ordering": "reversed"}),
        ((2, 2), {"similarity": "additive", "ordering": "column", "dropout": 0.5}),
    ],
)
def test_contract(shape, settings):
    with seeded(0):
        model = AttentionRNN(shape, **{"hidden": 4, **settings})
    assert check_model(model).skipped == ("ensemble",)


def test_an_end():
    """After it, nothing else can come; over all sequences, the probabilities still add to 1."""
    model = made(AttentionRNN, (4,), conditional=Categorical(3), end=2)
    assert check_model(model)["normalisation"].status == "passed"
    x = torch.tensor([[0.0, 2.0, 2.0, 2.0], [0.0, 2.0, 1.0, 0.0]])
    assert torch.allclose(model.log_prob_per_variable(x)[0, 2:], torch.zeros(2).double())
    assert model.log_prob(x)[1] < -1e3


def similarity(model, h, g):
    """The lecture's four, of two single states."""
    if model.similarity == "dot":
        return h @ g
    if model.similarity == "scaled-dot":
        return h @ g / math.sqrt(len(h))
    if model.similarity == "additive":
        return model.direction @ torch.tanh(model.query.weight @ h + model.key.weight @ g)
    return h @ model.matrix @ g


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_the_lectures_equations(kind):
    """alpha_{t,i} over i < t, c_t = sum_i alpha_{t,i} h_i, o_t = W [h_t; c_t] + b, written out."""
    model = made(AttentionRNN, (7,), similarity=kind, cell="tanh", layers=1, attention_size=5)
    x = values(model, rows=2)
    for row, found, looked in zip(x, model(x), model.attention(x), strict=True):
        states, h = [], model.initial_hidden[0]
        cell = model.recurrence
        for t, value in enumerate(row.long()):
            past, c = states[:-1], torch.zeros_like(h)  # h_1 to h_{t-1}, without the present state
            if past:
                alpha = torch.softmax(torch.stack([similarity(model, h, g) for g in past]), 0)
                c = sum(a * g for a, g in zip(alpha, past, strict=True))
                assert torch.allclose(looked[t, : t - 1], alpha, rtol=1e-12)
            o = model.head.weight @ torch.cat([h, c]) + model.head.bias
            assert torch.allclose(found[t], o, rtol=1e-12)
            drive = cell.weight_ih_l0[:, value] + cell.bias_ih_l0 + cell.weight_hh_l0 @ h + cell.bias_hh_l0
            h = torch.tanh(drive)
            states.append(h)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_weights(kind):
    model = made(AttentionRNN, (9,), similarity=kind, ordering="random:5")
    alpha = model.attention(values(model))
    assert alpha.shape == (3, 9, 9)
    assert (alpha.triu(-1) == 0).all()  # neither the future, nor the present state
    lower = torch.ones(9, 9).tril(-2).bool()
    assert (alpha[:, lower] > 0).all()
    assert torch.allclose(alpha.sum(-1), torch.tensor([0.0, 0.0] + 7 * [1.0]).double().expand(3, 9))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_weights_of_short_sequences(length):
    model = made(AttentionRNN, (length,))
    assert model.attention(values(model)).sum() == 3 * max(0, length - 2)
    with pytest.raises(ChainruleError, match="expected examples of shape"):
        model.attention(torch.zeros(2, length + 1))


def test_weights_under_a_context():
    model = made(AttentionRNN, (5,), context_size=2)
    x, labels = values(model), torch.tensor([0, 1, 1])
    assert not torch.allclose(model.attention(x, labels), model.attention(x, 1 - labels))
    with pytest.raises(ChainruleError, match="needs a context"):
        model.attention(x)


@pytest.mark.parametrize(
    ("kind", "extra"), [("dot", 0), ("scaled-dot", 0), ("additive", 2 * 5 * 6 + 5), ("multiplicative", 36)]
)
def test_parameters(kind, extra):
    shared = {"hidden": 6, "layers": 1, "conditional": Categorical(4)}
    model = AttentionRNN((9,), similarity=kind, attention_size=5, **shared)
    assert model.num_parameters == RNN((9,), **shared).num_parameters + 6 * 4 + extra


def test_an_unknown_similarity():
    with pytest.raises(ChainruleError, match="unknown similarity 'cosine'"):
        AttentionRNN((4,), similarity="cosine")
    with pytest.raises(ChainruleError, match="attention_size"):
        AttentionRNN((4,), similarity="additive", attention_size=0)


# ---------------------------------------------------------------------------- the picture


def test_picture(tmp_path):
    model = made(AttentionRNN, (6,))
    alpha = model.attention(values(model))
    tokens = ["a", " ", "\n", "$x$", "é", "\t"]
    one = save_attention(alpha[0], tmp_path / "one.png", tokens=tokens, title="weights")
    heads = save_attention(alpha, tmp_path / "heads.png")
    assert one.read_bytes().startswith(b"\x89PNG")
    assert heads.read_bytes() != one.read_bytes()
    with pytest.raises(ChainruleError, match="already exists"):
        save_attention(alpha[0], one)


def test_what_cannot_be_drawn(tmp_path):
    for wrong in (torch.zeros(3), torch.zeros(2, 3), torch.zeros(0, 0), torch.zeros(1, 1, 2, 2)):
        with pytest.raises(ChainruleError, match="expected weights of shape"):
            save_attention(wrong, tmp_path / "no.png")
    with pytest.raises(ChainruleError, match="2 tokens for 3 places"):
        save_attention(torch.zeros(3, 3), tmp_path / "no.png", tokens=["a", "b"])
    assert not list(tmp_path.iterdir())
