"""Recurrent networks: the equations, reading in pieces, memory, the two ends, gradients by lag, recall."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

import chainrule
from chainrule.conditionals import Categorical, Mixed
from chainrule.errors import ChainruleError
from chainrule.layers.value_embedding import ParameterHead, ValueEmbedding
from chainrule.models import MADE, MODELS, RNN, AttentionRNN
from chainrule.models.gradient_norms import gradient_norms
from chainrule.report import save_gradient_norms
from chainrule.testing import check_model
from chainrule.training import seeded

CELLS = ("tanh", "lstm", "gru")
TABLE = Mixed(
    [
        "bernoulli",
        {"name": "categorical", "levels": 3},
        {"name": "missing", "inner": "gaussian"},
        {"name": "categorical", "levels": 2},
    ]
)


def made(model_class=RNN, shape=(12,), seed=0, spread=0.3, **settings):
    """A float64 model in evaluation mode whose parameters are all away from 0."""
    with seeded(seed):
        model = model_class(shape, **{"hidden": 6, "conditional": Categorical(4), **settings})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=spread)
    return model.double().eval()


def values(model, rows=3, length=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, length or model.num_variables)
    if isinstance(model.conditional, Categorical):
        return torch.randint(model.conditional.levels, shape, generator=generator).double()
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# ---------------------------------------------------------------------------- the contract


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((5,), {"cell": "tanh", "layers": 1, "bias": False}),
        ((4,), {"cell": "lstm", "ordering": "random:2", "context_size": 2, "conditional": Categorical(3)}),
        ((4,), {"cell": "gru", "conditional": Categorical(3), "embedding": 4, "context_size": 3}),
        ((4,), {"cell": "lstm", "conditional": Categorical(3), "embedding": 5, "tied": True, "dropout": 0.5}),
        ((2,), {"cell": "gru", "conditional": "gaussian_mixture", "ordering": "reversed"}),
        ((4,), {"cell": "lstm", "conditional": TABLE, "ordering": "random:1"}),
        ((1, 2, 3), {"cell": "tanh", "ordering": "spiral"}),
    ],
)
def test_contract(shape, settings):
    with seeded(0):
        model = RNN(shape, **{"hidden": 5, "layers": 2, **settings})
    assert check_model(model).skipped == ("ensemble",)


def test_one_variable():
    """Nothing is ever read: what is known of it is b_0."""
    model = made(shape=(1,))
    every = torch.arange(4).double()[:, None]
    assert torch.allclose(model.log_prob(every).exp().sum(), torch.ones(()).double())
    assert torch.equal(model.sample(9, seed=0), model.sample(9, seed=0, method="naive"))


def test_catalogue():
    assert MODELS["rnn"] is RNN
    assert MODELS["attention-rnn"] is AttentionRNN


def test_save_and_load(tmp_path):
    model = made(cell="gru", embedding=3, layers=3, forget_bias=2.0)
    model.save_pretrained(tmp_path / "model")
    loaded = chainrule.load(tmp_path / "model")
    assert torch.equal(loaded.log_prob(values(model)), model.log_prob(values(model)))
    assert loaded.settings() == model.settings()


# ---------------------------------------------------------------------------- the equations


def test_the_lectures_equations():
    """h_0 = b_0, h_t = tanh(W_hh h_{t-1} + W_xh x_t), o_t = W_hy h_t, written out."""
    model = made(cell="tanh", layers=1, bias=False)
    x = values(model)
    w_hh, w_xh, w_hy = model.recurrence.weight_hh_l0, model.recurrence.weight_ih_l0, model.head.weight
    expected = []
    for row in x.long():
        h, total = model.initial_hidden[0], 0.0
        for value in row:
            total = total + torch.log_softmax(w_hy @ h, 0)[value]
            h = torch.tanh(w_hh @ h + w_xh[:, value])
        expected.append(total)
    assert torch.allclose(model.log_prob(x), torch.stack(expected), rtol=1e-12)


@pytest.mark.parametrize(("d", "k"), [(3, 4), (7, 5), (100, 50)])
def test_parameters_of_the_lectures_network(d, k):
    model = RNN((9,), cell="tanh", hidden=d, layers=1, bias=False, conditional=Categorical(k))
    assert model.num_parameters == d + d * d + 2 * d * k


def test_gates_multiply_the_recurrent_part():
    def recurrent(cell):
        model = RNN((9,), cell=cell, hidden=7, layers=2, bias=False, conditional=Categorical(5))
        return sum(p.numel() for p in model.recurrence.parameters())

    assert recurrent("lstm") == 4 * recurrent("tanh")
    assert recurrent("gru") == 3 * recurrent("tanh")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("forget_bias", [1.0, -2.0])
def test_a_state_fades_by_the_sigmoid_of_the_forget_bias(cell, forget_bias):
    model = RNN((4,), cell=cell, hidden=3, layers=1, forget_bias=forget_bias).double()
    with torch.no_grad():
        for name, parameter in model.recurrence.named_parameters():
            if name.startswith("weight"):
                parameter.zero_()
        (model.initial_cell if cell == "lstm" else model.initial_hidden).fill_(0.7)
    state = model.read(model.init_state(1), torch.ones(1, 2, dtype=torch.float64))[1]
    kept = state.cell[0] if cell == "lstm" else state.hidden[0]
    expected = torch.full((1, 3), 0.7 / (1 + math.exp(-forget_bias)) ** 2, dtype=torch.float64)
    assert torch.allclose(kept, expected, rtol=1e-6)  # forget_bias=1 was rounded to float32 at birth


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_start_orthogonal_gate_by_gate(cell):
    model = RNN((4,), cell=cell, hidden=8, layers=2)
    for layer in range(2):
        for gate in torch.split(getattr(model.recurrence, f"weight_hh_l{layer}"), 8):
            assert torch.allclose(gate @ gate.T, torch.eye(8), atol=1e-5)


def test_multiply_adds():
    model = RNN((9,), cell="lstm", hidden=7, layers=2, embedding=3, conditional=Categorical(5))
    assert model.multiply_adds == 9 * (4 * 7 * (3 + 7) + 4 * 7 * (7 + 7) + 5 * 7)


# ---------------------------------------------------------------------------- what hears what


@pytest.mark.parametrize("model_class", [RNN, AttentionRNN])
@pytest.mark.parametrize("cell", CELLS)
def test_every_variable_hears_exactly_all_earlier_ones(model_class, cell):
    model = made(model_class, (7,), cell=cell, layers=2, conditional="gaussian", ordering="random:3")
    x = values(model)
    jacobian = torch.autograd.functional.jacobian(lambda v: model(v).sum(-1).sum(0), x)  # (n, batch, n)
    position = model.ordering.positions()
    assert torch.equal((jacobian != 0).any(1), position[None, :] < position[:, None])


def test_the_context_reaches_the_first_variable_and_every_step():
    model = made(context_size=2, layers=1)
    x, context = values(model, rows=1), torch.tensor([[0.3, -1.0]]).double().requires_grad_()
    log_prob = model.log_prob_per_variable(x, context)
    for place in range(model.num_variables):
        (gradient,) = torch.autograd.grad(log_prob[0, place], context, retain_graph=True)
        assert (gradient != 0).all()
    # Not through h_0 alone: with a state that does not know it, the inputs still tell.
    first, second = (model.init_state(1, c) for c in (context, context + 1))
    second.hidden, second.cell = list(first.hidden), list(first.cell)
    one, two = (model.read(s, x[:, :1])[0] for s in (first, second))
    assert not torch.allclose(one, two)


# ---------------------------------------------------------------------------- reading in pieces


@settings(deadline=None, max_examples=25)
@given(
    cell=st.sampled_from(CELLS),
    model_class=st.sampled_from([RNN, AttentionRNN]),
    cuts=st.lists(st.integers(0, 12), max_size=5),
)
def test_pieces_with_the_state_carried_equal_one_long_pass(cell, model_class, cuts):
    model = made(model_class, cell=cell, layers=2, context_size=2, embedding=3)
    x, context = values(model), values(model, length=2, seed=5)
    whole, last = model.read(model.init_state(3, context), x, begin=True)
    state, parts = model.init_state(3, context), []
    edges = [0, *sorted(cuts), 12]
    for index, (first, end) in enumerate(itertools.pairwise(edges)):
        params, state = model.read(state, x[:, first:end], begin=index == 0)
        parts.append(params)
    assert torch.allclose(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-13)
    assert state.position == last.position == 12
    for carried, unbroken in zip(state.tensors(), last.tensors(), strict=True):
        assert torch.allclose(carried, unbroken, rtol=0, atol=1e-13)


def test_pieces_of_a_table():
    model = made(shape=(4,), conditional=TABLE, ordering="random:1")
    x = model.sample(5, seed=0)
    x[0] = torch.where(torch.tensor([False, False, True, False]), torch.nan, x[0])
    sequence = model.to_sequence(x)
    first, state = model.read(model.init_state(5), sequence[:, :2], begin=True)
    second, _ = model.read(state, sequence[:, 2:3])
    assert torch.allclose(torch.cat([first, second], 1), model.to_sequence(model(x)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("model_class", [RNN, AttentionRNN])
def test_log_prob_of_a_sequence_a_piece_at_a_time(model_class, tmp_path):
    model = made(model_class)
    x = values(model, rows=2, length=57)
    expected = model.with_length(57).log_prob(x)
    for chunk in (1, 2, 10, 57, 1000):
        assert torch.allclose(model.chunked_log_prob(x, chunk=chunk), expected, rtol=1e-12)
    path = tmp_path / "tokens"
    path.write_bytes(bytes(x.long().flatten().tolist()))
    mapped = torch.from_file(str(path), size=2 * 57, dtype=torch.uint8).view(2, 57)
    assert torch.allclose(model.chunked_log_prob(mapped, chunk=10), expected, rtol=1e-12)


def test_a_table_a_piece_at_a_time():
    model = made(shape=(4,), conditional=TABLE)
    x = model.sample(5, seed=0)
    assert torch.allclose(model.chunked_log_prob(x, chunk=3), model.log_prob(x), rtol=1e-12)
    with pytest.raises(ChainruleError, match="sequences have 4 values, not 5"):
        model.chunked_log_prob(torch.zeros(2, 5))


def test_a_sequence_that_is_none():
    model = made()
    for wrong in (torch.zeros(3), torch.zeros(2, 0), [[1.0]]):
        with pytest.raises(ChainruleError, match="expected sequences of shape"):
            model.chunked_log_prob(wrong)
    with pytest.raises(ChainruleError, match=r"value 4 .* categorical"):
        model.chunked_log_prob(torch.tensor([[0, 1, 4]]), chunk=2)


# ---------------------------------------------------------------------------- length and memory


@pytest.mark.parametrize("model_class", [RNN, AttentionRNN])
def test_another_length(model_class):
    model = made(model_class)
    longer = model.with_length(20)
    assert longer.event_shape == (20,)
    assert {id(p) for p in longer.parameters()} == {id(p) for p in model.parameters()}
    x = values(longer)
    per_variable = longer.log_prob_per_variable(x)
    assert torch.allclose(per_variable[:, :12], model.log_prob_per_variable(x[:, :12]), rtol=0, atol=1e-13)
    noise = torch.rand(2, 20, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sample = longer.sample(noise=noise)
    assert torch.equal(sample[:, :12], model.sample(noise=noise[:, :12]))
    assert torch.equal(sample, longer.sample(noise=noise, method="naive"))
    assert model.event_shape == (12,)


def test_an_ordering_or_a_table_has_no_other_length():
    with pytest.raises(ChainruleError, match="has no other length"):
        made(ordering="reversed").with_length(20)
    with pytest.raises(ChainruleError, match="4 columns"):
        made(shape=(4,), conditional=TABLE).with_length(5)
    with pytest.raises(ChainruleError, match="length"):
        made().with_length(0)


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_reads_one_value_and_memory_stays_as_it_is(cell):
    model = made(cell=cell, layers=2)
    read = []
    model.embed.register_forward_hook(lambda _, arguments, vectors: read.append(vectors.shape[1]))
    model.sample(3, seed=0)
    assert read == [1] * 11  # the last value is read by nobody
    with torch.no_grad():
        state, sizes = model.init_state(2), set()
        for value in values(model, rows=2, length=300).T:
            _, state = model.step(state, value)
            sizes.add(tuple(t.untyped_storage().nbytes() for t in state.tensors()))
    assert len(sizes) == 1
    assert max(sizes.pop()) <= 2 * 6 * 8  # (batch, hidden) of float64


# ---------------------------------------------------------------------------- the two ends


def test_looking_up_equals_one_hot_times_matrix():
    end = ValueEmbedding(Categorical(5), 9, 3).double()
    x = torch.randint(5, (4, 9), generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(end(x), one_hot(x.long(), 5).double() @ end.weight, rtol=1e-14)
    codes = ValueEmbedding(Categorical(5), 9, 0)
    assert torch.equal(codes(x), one_hot(x.long(), 5).double())
    assert sum(p.numel() for p in codes.parameters()) == 0


def test_an_embedding_is_a_factor_of_the_first_weights():
    """Reading embeddings equals reading codes with the product of the two matrices."""
    model = made(embedding=3, layers=1)
    plain = made(embedding=0, layers=1)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name == "recurrence.weight_ih_l0":
                parameter.copy_(model.recurrence.weight_ih_l0 @ model.embed.weight.T)
            else:
                parameter.copy_(model.get_parameter(name))
    assert torch.allclose(plain.log_prob(values(model)), model.log_prob(values(model)), rtol=1e-12)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2, 1], [2], [1, 3]])
def test_columns_of_a_table_have_ends_of_their_own(order):
    """Against each column alone: its code times its rows of the weights."""
    with seeded(0):
        end, head = ValueEmbedding(TABLE, 4, 6), ParameterHead(TABLE, 4, 6)
        torch.nn.init.normal_(end.bias)
        torch.nn.init.normal_(head.bias)
    x = torch.tensor([[1.0, 2.0, 0.3, 1.0], [0.0, 1.0, torch.nan, 0.0]])[:, order]
    vectors, params = end(x, order), head(torch.ones(2, len(order), 6), order)
    read_at, written_at = [0, 1, 4, 6], [0, 1, 4, 7]  # codes of 1, 3, 2, 2; parameters 1, 3, 3, 2
    for place, column in enumerate(order):
        family = TABLE.columns[column]
        rows = end.weight[read_at[column] : read_at[column] + family.num_inputs]
        expected = family.encode(x[:, place]) @ rows + end.bias[column]
        assert torch.allclose(vectors[:, place], expected, atol=1e-6)
        own = slice(written_at[column], written_at[column] + family.num_params)
        written = head.weight[own].sum(-1) + head.bias[own]
        assert torch.allclose(params[:, place, : family.num_params], written.expand(2, -1), atol=1e-6)
        assert (params[:, place, family.num_params :] == 0).all()


def test_default_embeddings():
    assert RNN((4,), hidden=7, conditional=Categorical(256)).embedding == 0
    assert RNN((4,), hidden=7, conditional=Categorical(257)).embedding == 7
    assert RNN((4,), hidden=7, conditional=TABLE).embedding == 7
    assert RNN((4,), hidden=7, conditional="gaussian").embedding == 0


def test_tied_weights():
    model = made(embedding=6, tied=True)
    assert model.head.weight is model.embed.weight
    assert model.num_parameters == made(embedding=6).num_parameters - 4 * 6
    with pytest.raises(ChainruleError, match="must have the size"):
        made(embedding=5, tied=True)
    with pytest.raises(ChainruleError, match="must have the size"):
        made(tied=True)
    with pytest.raises(ChainruleError, match="only categories"):
        made(conditional="gaussian", embedding=6, tied=True)


def test_dropout_is_for_training_alone():
    for layers, embedding in ((1, 0), (2, 4)):
        model = made(dropout=0.5, layers=layers, embedding=embedding)
        x = values(model)
        assert torch.equal(model.log_prob(x), model.log_prob(x))
        model.train()
        with seeded(0):
            assert not torch.allclose(model.log_prob(x), model.log_prob(x))
    silent = made(dropout=0.0).train()
    with seeded(0):
        before = torch.get_rng_state()
        silent.log_prob(values(silent))
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "lstn"}, "unknown cell 'lstn'; did you mean 'lstm'"),
        ({"hidden": 0}, "hidden"),
        ({"layers": 0}, "layers"),
        ({"embedding": -1}, "embedding"),
        ({"dropout": 1.0}, "dropout"),
        ({"forget_bias": math.nan}, "forget_bias"),
        ({"conditional": TABLE, "embedding": 0}, "choose a size above 0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ChainruleError, match=message):
        RNN((4,), **settings)


# ---------------------------------------------------------------------------- gradients by lag


@pytest.mark.parametrize("model_class", [RNN, AttentionRNN])
def test_gradient_norms_against_the_whole_jacobian(model_class):
    """Of real values read as they are, so that e is x itself."""
    model = made(model_class, (8,), conditional="gaussian", layers=1)
    x = values(model)
    # Reading a value and being one are two things: the copy is read, x itself is not differentiated.
    read = x.clone().requires_grad_()
    params = model.read(model.init_state(3), read[:, :-1], begin=True)[0]
    log_prob = model.conditional.log_prob(params, x)
    targets = [4, 5, 6, 7]
    rows = [torch.autograd.grad(log_prob[:, t].sum(), read, retain_graph=True)[0].abs() for t in targets]
    expected = torch.zeros(8, dtype=torch.float64)
    for lag in range(1, 8):
        found = [row[:, t - lag].mean() for t, row in zip(targets, rows, strict=True) if t >= lag]
        expected[lag] = torch.stack(found).mean()
    assert torch.allclose(gradient_norms(model, x, targets=4), expected, rtol=1e-12)


def test_gradient_norms_leave_the_model_alone():
    model = made(dropout=0.5).train()
    x = values(model)
    norms = gradient_norms(model, x)
    assert norms.shape == (12,)
    assert norms[0] == 0
    assert (norms[1:] > 0).all()
    assert model.training
    assert not model.embed._forward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(norms, gradient_norms(model, x))


def test_gradient_norms_need_a_model_of_sequences():
    with pytest.raises(ChainruleError, match="not MADE"):
        gradient_norms(MADE((4,)), torch.zeros(1, 4))


def test_picture_of_gradient_norms(tmp_path):
    model = made()
    path = save_gradient_norms({"LSTM": gradient_norms(model, values(model))}, tmp_path / "lags.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ChainruleError, match="not all of them 0"):
        save_gradient_norms({"LSTM": torch.zeros(4)}, tmp_path / "none.png")
    with pytest.raises(ChainruleError, match="already exists"):
        save_gradient_norms({"LSTM": torch.ones(4)}, path)


# ---------------------------------------------------------------------------- recall

_LENGTH = 101


def recall_task(rows, generator):
    """One of four letters, 98 random ones of two others, a question mark, and the letter again: 100 steps."""
    x = torch.randint(4, 6, (rows, _LENGTH), generator=generator)
    x[:, 0] = torch.randint(4, (rows,), generator=generator)
    x[:, -2], x[:, -1] = 6, x[:, 0]
    return x.float()


def recalled(cell, learning_rate, steps=800, seed=0):
    """What the letter costs after training, nats; knowing nothing of it costs ln 4 = 1.386."""
    with seeded(seed):
        model = RNN((_LENGTH,), cell=cell, hidden=32, layers=1, forget_bias=5.0, conditional=Categorical(7))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        loss = -model.log_prob_per_variable(recall_task(32, generator))[:, -1].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        return -model.log_prob_per_variable(recall_task(1000, generator))[:, -1].mean().item()


@pytest.mark.slow
def test_an_lstm_and_a_gru_recall_over_100_steps_and_a_tanh_network_does_not():
    """The lecture on vanishing gradients; the LSTM's fade by sigmoid(5) = 0.993 a step at first."""
    assert recalled("lstm", 1e-2) < 0.05
    assert recalled("gru", 1e-2) < 0.05
    for learning_rate in (1e-2, 1e-3, 1e-4):
        assert recalled("tanh", learning_rate) > 1.2


def test_states_are_plain_dataclasses():
    """Each tensor has the batch first, which `select_rows` leans on."""
    model = made(AttentionRNN, context_size=2)
    x, context = values(model, rows=4), values(model, rows=4, length=2)
    state = model.read(model.init_state(4, context), x[:, :5])[1]
    rows = torch.tensor([2, 0, 2])
    chosen = model.select_state(dataclasses.replace(state), rows)
    assert chosen.batch_size == 3
    expected = model.read(model.init_state(3, context[rows]), x[rows, :9])[0][:, 5:]
    assert torch.allclose(model.read(chosen, x[rows, 5:9])[0], expected, rtol=0, atol=1e-13)
