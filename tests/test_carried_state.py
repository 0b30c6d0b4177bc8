"""Truncated back-propagation through time: rows as pieces of one sequence, the state carried along."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from test_rnn import TABLE, made, values
from training_helpers import tiny_data

from chainrule.conditionals import Categorical
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.models import NADE, RNN, AttentionRNN
from chainrule.training import fit, seeded
from chainrule.training.batches import Batch, consecutive_rows
from chainrule.training.carried import CarriedLoss, validate_carried


@pytest.mark.parametrize(("total", "streams"), [(12, 3), (11, 3), (7, 3), (3, 5), (1, 1), (9, 4)])
def test_rows_are_taken_stretch_by_stretch(total, streams):
    steps = consecutive_rows(total, streams)
    assert len(steps) == math.ceil(total / streams)
    assert sorted(torch.cat(steps).tolist()) == list(range(total))
    assert max(len(rows) for rows in steps) <= streams
    for now, following in itertools.pairwise(steps):
        assert torch.equal(following, now[: len(following)] + 1)


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru"])
def test_pieces_cost_what_the_streams_cost_as_wholes(cell):
    """Of 11 rows in 3 streams, the last one row short."""
    model = made(cell=cell, shape=(5,))
    rows = values(model, rows=11)
    loss, total = CarriedLoss(model), 0.0
    for step in consecutive_rows(11, 3):
        value = loss(Batch(rows[step], None))
        value.backward()
        total += value.item() * len(step)
        assert not any(tensor.requires_grad for tensor in loss.passage.state.tensors())
    streams = [rows[:4].reshape(1, -1), rows[4:8].reshape(1, -1), rows[8:].reshape(1, -1)]
    assert total == pytest.approx(-sum(model.chunked_log_prob(s).item() for s in streams), rel=1e-12)


def test_gradients_stop_where_the_piece_begins():
    """The second piece's gradient is that of going on from a state that is given as numbers."""
    model = made(shape=(5,))
    rows = values(model, rows=2)
    loss = CarriedLoss(model)
    loss(Batch(rows[:1], None))
    passage = loss.passage
    given = passage.state.mapped(torch.clone)
    loss(Batch(rows[1:], None)).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    params, _ = model.read(given, torch.cat([passage.last, rows[1:, :-1]], dim=1))
    (-model.conditional.log_prob(params, rows[1:]).sum()).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert "initial_hidden" not in found
    assert all(torch.allclose(found[name], expected[name], rtol=1e-10, atol=1e-14) for name in found)


def test_what_a_checkpoint_keeps_is_all_there_is():
    model = made(shape=(5,))
    rows = values(model, rows=6)
    one, two = CarriedLoss(model), CarriedLoss(model)
    assert one.tensors() == {}
    one(Batch(rows[:2], None))
    two.restore({"model.something": torch.zeros(1), **one.tensors()})
    assert torch.equal(one(Batch(rows[2:4], None)), two(Batch(rows[2:4], None)))
    assert two.passage.length == one.passage.length == 10
    assert two.passage.state.position == one.passage.state.position == 9
    two.restore({})
    assert two.passage is None


def periodic_data(name="periodic"):
    """0 1 2 3 4 0 1 ... in rows of 4: a row alone does not tell how it begins.

    Five streams of 13 rows begin with each of the five values once.
    """
    rows = (torch.arange(400) % 5).to(torch.uint8).view(-1, 4)
    return Dataset(name, rows[:65], rows[65:85], rows[85:], event_shape=(4,), kind="table", levels=5)


def test_what_came_before_a_row_is_known_through_the_state(tmp_path):
    with seeded(0):
        model = RNN((4,), cell="gru", hidden=16, layers=1, conditional={"name": "categorical", "levels": 5})
    settings = {"epochs": 25, "batch_size": 5, "learning_rate": 0.03, "progress": False}
    run = fit(model, periodic_data(), tmp_path / "run", carry_state=True, **settings)
    # Rows on their own cost ln 5 at least: each of the five ways of going on is as frequent as any other.
    # Of 20 validation rows in 8 streams of up to 3, seven begin a stream.
    assert run.metrics()[-1]["validation_nll"] < 7 / 20 * math.log(5) + 0.3
    x = periodic_data().validation.reshape(1, -1)
    assert -model.chunked_log_prob(x).item() / 20 < 0.3  # in one stream there is but one beginning


def test_validation_is_what_the_streams_cost():
    model = made(shape=(4,), conditional={"name": "categorical", "levels": 5}).float()
    rows = periodic_data().validation
    streams = torch.split(rows, 3)  # 20 rows in 8 streams: 3 steps
    expected = -sum(model.chunked_log_prob(s.reshape(1, -1)).item() for s in streams) / 20
    assert validate_carried(model, periodic_data()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (NADE((6,)), "NADE has none that keeps its size"),
        (AttentionRNN((6,), hidden=3), "AttentionRNN has none that keeps its size"),
        (RNN((6,), hidden=3, ordering="reversed"), "the ordering reversed"),
        (RNN((6,), hidden=3, context_size=2), "takes no context"),
        (RNN((6,), hidden=3, conditional=Categorical(2), end=0), "end=0 ends a sequence"),
    ],
)
def test_models_that_cannot_go_on(model, message, tmp_path):
    with pytest.raises(ChainruleError, match=message):
        fit(model, tiny_data(labels=True), tmp_path / "run", carry_state=True, progress=False)
    assert not (tmp_path / "run").exists()


def test_a_table_does_not_go_on():
    from chainrule.training.carried import check_carries_state

    with pytest.raises(ChainruleError, match="4 columns"):
        check_carries_state(RNN((4,), hidden=3, conditional=TABLE))
