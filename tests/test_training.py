"""`fit` and `evaluate`: what is computed, what is left in the run folder, what is left as it was."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import nn
from training_helpers import QUICK, RUN_FILES, N, tiny_data, train_case

import chainrule
from chainrule import saving
from chainrule.conditionals import Categorical
from chainrule.errors import ChainruleError, NonFiniteLossError
from chainrule.likelihood import LikelihoodModel
from chainrule.models import FVSBN, MADE, NADE, BayesNet, ChowLiuTree, Independent
from chainrule.training import (
    Run,
    TrainingSettings,
    evaluate,
    fit,
    learn_ordering,
    seeded,
    trainer,
    training_settings,
)
from chainrule.training.batches import (
    batches,
    evaluation_batches,
    spread_rows,
    step_generator,
    step_seed,
)
from chainrule.training.checkpoint import latest_checkpoint
from chainrule.training.trainer import Trainer, learning_rate_factor


def one_line(call, *words: str, kind: type[Exception] = ChainruleError) -> str:
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def quick_fit(model, data, out, **settings):
    return fit(model, data, out, **{"progress": False, **QUICK, **settings})


# -------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("ema_decay", [0.0, 0.6])
def test_fit_is_adamw_with_schedule_clipping_and_averaging(ema_decay, tmp_path):
    # The same, written down plainly in float64.
    chosen = {"ema_decay": ema_decay, "clip_norm": 0.3, "weight_decay": 0.2, "final_fraction": 0.1}
    data, settings = tiny_data(), TrainingSettings(**{**QUICK, **chosen})
    with seeded(5):
        model, plain = (MADE((N,), hidden=(4,)).double() for _ in range(2))
        plain.load_state_dict(model.state_dict())
    run = quick_fit(model, data, tmp_path / "run", **chosen)

    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0.2, foreach=False)
    average = [p.detach().clone() for p in plain.parameters()]
    step, best, clipped = 0, (math.inf, None), 0
    for epoch in range(3):
        losses = []
        for batch in batches(plain, data, settings, epoch, 0):
            warmup = (step + 1) / 2
            decay = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 2) / 7))
            optimizer.param_groups[0]["lr"] = 0.05 * (warmup if step < 2 else decay)
            loss = -plain.log_prob(batch.values).mean()
            optimizer.zero_grad()
            loss.backward()
            clipped += float(nn.utils.clip_grad_norm_(plain.parameters(), 0.3)) > 0.3
            optimizer.step()
            keep = min(ema_decay, (1 + step) / (10 + step))
            average = [
                keep * a + (1 - keep) * p.detach() for a, p in zip(average, plain.parameters(), strict=True)
            ]
            losses.append(loss.item())
            step += 1
        averaged = MADE((N,), hidden=(4,)).double()
        averaged.load_state_dict(dict(zip(dict(plain.named_parameters()), average, strict=True)))
        nll = -averaged.log_prob(data.validation).mean().item()
        best = min(best, (nll, averaged), key=lambda pair: pair[0])
        record = run.metrics()[epoch]
        assert record["validation_nll"] == pytest.approx(nll, rel=1e-9)
        assert record["validation_bits_per_dim"] == pytest.approx(nll / (N * math.log(2)), rel=1e-9)
        assert record["train_loss"] == pytest.approx(sum(losses) / 3, rel=1e-9)
        assert (record["epoch"], record["step"]) == (epoch + 1, step)
        assert record["learning_rate"] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert clipped > 0
    for ours, theirs in zip(model.parameters(), best[1].parameters(), strict=True):
        torch.testing.assert_close(ours.data, theirs.data, rtol=1e-9, atol=1e-12)


def test_the_finished_model_is_the_selected_one_and_what_load_gives(tmp_path):
    data, model = tiny_data(), FVSBN((N,))
    before = -model.log_prob(data.validation).mean().item()
    run = quick_fit(model, data, tmp_path / "run", epochs=20, learning_rate=0.5)
    nlls = [record["validation_nll"] for record in run.metrics()]
    assert min(nlls) < before - 0.5
    assert min(nlls) < nlls[-1], "the last epoch is the best: selection is not tested"
    assert -model.log_prob(data.validation).mean().item() == pytest.approx(min(nlls), rel=1e-5)
    loaded = chainrule.load(tmp_path / "run")
    assert torch.equal(loaded.log_prob(data.test), model.log_prob(data.test))
    assert not model.training
    assert all(p.device.type == "cpu" and p.requires_grad and p.grad is None for p in model.parameters())
    assert {path.name for path in (tmp_path / "run").iterdir()} == RUN_FILES


def test_schedules():
    def factors(total, **settings):
        chosen = TrainingSettings(**settings)
        return [learning_rate_factor(step, total, chosen) for step in range(total)]

    linear = factors(12, warmup_steps=4, schedule="linear", final_fraction=0.2)
    assert linear == pytest.approx([0.25, 0.5, 0.75, 1.0, *(1 - 0.1 * k for k in range(8))])
    assert factors(5, warmup_steps=2, schedule="constant") == [0.5, 1, 1, 1, 1]
    cosine = factors(1000, warmup_steps=0, final_fraction=0.01)
    assert cosine[0] == 1
    assert cosine[500] == pytest.approx(0.505)
    assert cosine[-1] == pytest.approx(0.01, abs=1e-4)
    assert cosine == sorted(cosine, reverse=True)
    assert factors(3, warmup_steps=10) == pytest.approx([0.1, 0.2, 0.3])  # a run shorter than its warm-up


def test_without_a_warm_up_asked_for_it_is_a_small_share_of_a_short_run():
    settings = TrainingSettings()
    assert [settings.warm_up(total) for total in (0, 19, 20, 240, 2000, 25_000)] == [0, 0, 1, 12, 100, 100]
    rises = [learning_rate_factor(step, 240, settings) for step in range(13)]
    assert rises == pytest.approx([(step + 1) / 12 for step in range(12)] + [1.0])
    assert TrainingSettings(warmup_steps=30).warm_up(40) == 30  # what is asked for is done
    assert TrainingSettings(warmup_steps=0).warm_up(40) == 0


def test_a_run_records_the_rate_and_the_warm_up_that_were_filled_in(tmp_path):
    def recorded(model, name, **settings):
        run = fit(model, tiny_data(), tmp_path / name, progress=False, epochs=20, batch_size=25, **settings)
        training = run.config["training"]
        first = run.metrics()[0]["learning_rate"]
        return training["learning_rate"], training["warmup_steps"], first

    class Own(FVSBN):
        default_learning_rate = 0.25

    assert recorded(Own((N,)), "own") == (0.25, 2, 0.25)  # 40 updates, 2 in the first epoch
    assert recorded(Own((N,)), "said", learning_rate=0.1, warmup_steps=4)[:2] == (0.1, 4)
    fit(Own((N,)), tiny_data(), tmp_path / "own", progress=False, epochs=20, batch_size=25, resume=True)


def test_rates_chosen_for_binary_variables_are_not_used_for_others(tmp_path):
    own, of_all = NADE.default_learning_rate, LikelihoodModel.default_learning_rate
    assert own != of_all
    grey = dataclasses.replace(tiny_data(), levels=3)
    for data, conditional, rate in ((tiny_data(), "bernoulli", own), (grey, Categorical(3), of_all)):
        model = NADE((N,), hidden=3, conditional=conditional)
        run = fit(model, data, tmp_path / model.conditional.name, progress=False, epochs=1)
        assert run.config["training"]["learning_rate"] == rate


@pytest.mark.parametrize(
    "make",
    [lambda s: NADE(s, hidden=50), FVSBN, lambda s: MADE(s, hidden=(100,))],
    ids=["nade", "fvsbn", "made"],
)
def test_the_defaults_beat_independent_pixels_within_twenty_epochs(make, tmp_path):
    # Independent pixels: 25.7 nats on validation. All of these come to 18 or 19; 1e-3 left them at 23 to 31.
    data = chainrule.data.load("digits")
    with seeded(0):
        model = make(data.event_shape)
    fit(model, data, tmp_path / "run", progress=False, epochs=20)
    assert evaluate(model, data, "validation").nll < 20.5


def test_early_stopping_counts_validations(tmp_path, monkeypatch):
    script = iter([5.0, 4.0, 4.5, 3.0, 3.0, 3.1, 2.0])
    monkeypatch.setattr(trainer, "validate", lambda model, data: next(script))
    run = quick_fit(FVSBN((N,)), tiny_data(), tmp_path / "run", epochs=40, validate_every=2, patience=2)
    # Equal is no improvement: the best is validation 4, and 5 and 6 use up the patience.
    assert [r["epoch"] for r in run.metrics() if "validation_nll" in r] == [2, 4, 6, 8, 10, 12]
    assert run.metrics()[-1]["epoch"] == 12


def test_the_last_epoch_is_always_validated(tmp_path):
    run = quick_fit(FVSBN((N,)), tiny_data(), tmp_path / "run", epochs=3, validate_every=5)
    assert [("validation_nll" in record) for record in run.metrics()] == [False, False, True]
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_running_statistics_are_validated_as_they_are(tmp_path):
    class Counting(FVSBN):
        def __init__(self, event_shape):
            super().__init__(event_shape)
            self.register_buffer("seen", torch.zeros(()))

        def training_loss(self, x, context, generator):
            self.seen += len(x)
            return super().training_loss(x, context, generator)

    model = Counting((N,))
    run = quick_fit(model, tiny_data(), tmp_path / "run", epochs=1)
    assert run.model_tensors()["seen"] == 50


def test_a_model_with_a_context_learns_from_labels(tmp_path):
    data = tiny_data(labels=True)  # the label is the first variable
    with seeded(0):
        model = MADE((N,), hidden=(8,), context_size=2)
    quick_fit(model, data, tmp_path / "run", epochs=40, ema_decay=0.5)
    labels = data.labels["test"]
    right = evaluate(model, data).nll
    wrong = model.nll(data.test, 1 - labels).mean().item()
    assert right < wrong - 2
    one_line(
        lambda: quick_fit(model, tiny_data(), tmp_path / "none"), "needs labels", "tiny", "has none for train"
    )
    three = dataclasses.replace(data, labels={**data.labels, "validation": data.labels["validation"] + 1})
    one_line(
        lambda: quick_fit(model, three, tmp_path / "none"), "validation labels", "1..2", "context_size=3"
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("make", [Independent, BayesNet, ChowLiuTree])
def test_closed_form_models_go_through_the_same_door(make, tmp_path):
    data, model = tiny_data(), make((N,))
    run = quick_fit(model, data, tmp_path / "run")
    counted = make((N,))
    counted.fit_counts(data.train.float())
    assert torch.equal(model.log_prob(data.test), counted.log_prob(data.test))
    assert torch.equal(chainrule.load(tmp_path / "run").log_prob(data.test), model.log_prob(data.test))
    (record,) = run.metrics()
    expected = -counted.log_prob(data.validation).mean().item()
    assert record["validation_nll"] == pytest.approx(expected, rel=1e-6)
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert files.keys() == RUN_FILES
    fresh = make((N,))
    quick_fit(fresh, data, tmp_path / "run", resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == files
    assert torch.equal(fresh.log_prob(data.test), counted.log_prob(data.test))
    one_line(
        lambda: quick_fit(make((N,), pseudocount=2.0), data, tmp_path / "run", resume=True),
        "pseudocount=0.5, not 2.0",
    )


def test_a_closed_form_run_that_was_killed_is_counted_again(tmp_path, monkeypatch):
    def stop(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", stop)
        with pytest.raises(RuntimeError, match="killed"):
            quick_fit(ChowLiuTree((N,)), tiny_data(), tmp_path / "run")
    run = quick_fit(ChowLiuTree((N,)), tiny_data(), tmp_path / "run", resume=True)
    assert run.is_finished
    assert len(run.metrics()) == 1


# -------------------------------------------------------------------- data


class Untouchable:
    def __getattr__(self, name):
        raise AssertionError("the test split was looked at")

    __len__ = __getitem__ = __iter__ = lambda *_: pytest.fail("the test split was looked at")


@pytest.mark.parametrize("make", [lambda: FVSBN((N,)), lambda: ChowLiuTree((N,))])
@pytest.mark.parametrize("dynamic", [False, True])
def test_fit_never_touches_the_test_split(make, dynamic, tmp_path):
    data = tiny_data(labels=True, dynamic=dynamic)
    object.__setattr__(data, "test", Untouchable())
    object.__setattr__(data, "labels", {**data.labels, "test": Untouchable()})
    quick_fit(make(), data, tmp_path / "run")
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        evaluate(make(), data)


def test_every_example_is_used_once_an_epoch_in_an_order_of_its_own():
    data, settings = tiny_data(), TrainingSettings(batch_size=20)
    numbered = dataclasses.replace(
        data, train=torch.arange(50, dtype=torch.uint8)[:, None].repeat(1, N), levels=50
    )
    model = FVSBN((N,))
    epochs = [
        [int(v) for batch in batches(model, numbered, settings, epoch, 0) for v in batch.values[:, 0]]
        for epoch in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]
    later = [int(v) for batch in batches(model, numbered, settings, 1, 2) for v in batch.values[:, 0]]
    assert later == epochs[1][40:]
    other_seed = TrainingSettings(batch_size=20, seed=1)
    assert [int(v) for b in batches(model, numbered, other_seed, 0, 0) for v in b.values[:, 0]] != epochs[0]


@pytest.mark.parametrize("num_processes", [2, 3, 12])
@pytest.mark.parametrize("dynamic", [False, True])
def test_processes_share_the_very_same_batches_and_their_losses_average_to_the_whole(num_processes, dynamic):
    # 50 = 20 + 20 + 10 is divisible by none of them everywhere; 12 processes do not all get a row.
    data, settings, model = tiny_data(dynamic=dynamic), TrainingSettings(batch_size=20), FVSBN((N,)).double()
    nn.init.normal_(model.weight)
    whole = list(batches(model, data, settings, 3, 0))
    shares = [list(batches(model, data, settings, 3, 0, p, num_processes)) for p in range(num_processes)]
    for index, batch in enumerate(whole):
        mine = [share[index] for share in shares]
        rows = [row for part in mine if part.weight for row in part.values.tolist()]
        assert sorted(rows) == sorted(batch.values.tolist())
        assert all(len(part.values) for part in mine)
        mean = sum(model.nll(part.values).mean() * part.weight for part in mine) / num_processes
        torch.testing.assert_close(mean, model.nll(batch.values).mean(), rtol=1e-12, atol=0)


def test_dynamic_data_is_drawn_anew_each_epoch_and_once_for_evaluation():
    data, settings, model = tiny_data(dynamic=True), TrainingSettings(batch_size=50), FVSBN((N,))
    sums = [next(batches(model, data, settings, epoch, 0)).values.sum(0).tolist() for epoch in (0, 0, 1)]
    assert sums[0] == sums[1] != sums[2]
    draws = [torch.cat([b.values for b in evaluation_batches(model, data, "validation", batch_size=7)])] * 2
    assert torch.equal(*draws)
    assert set(draws[0].unique().tolist()) == {0.0, 1.0}
    first = next(evaluation_batches(model, data, "validation", batch_size=500, limit=5)).values
    assert torch.equal(first, draws[0][spread_rows(len(draws[0]), 5)])


def test_streams_of_random_numbers_do_not_coincide():
    drawn = set()
    for seed in (0, 1, 2):
        for step in range(300):
            for process in (0, 1):
                drawn.add(step_generator(seed, step, process).initial_seed())
                drawn.add(step_seed(seed, step, process))
    assert len(drawn) == 3 * 300 * 2 * 2
    assert all(0 <= seed < 2**32 for seed in drawn)  # torch's generator would cut off more


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_missing_split_is_said_before_anything_is_made(split, tmp_path):
    data = dataclasses.replace(tiny_data(), **{split: None})
    one_line(lambda: quick_fit(FVSBN((N,)), data, tmp_path / "run"), "tiny", split)
    assert not (tmp_path / "run").exists()


def test_data_that_does_not_fit(tmp_path):
    one_line(lambda: quick_fit(FVSBN((7,)), tiny_data(), tmp_path / "run"), "(6,)", "(7,)")
    grey = dataclasses.replace(tiny_data(), levels=256)
    one_line(lambda: quick_fit(FVSBN((N,)), grey, tmp_path / "run"), "0..255", "0 or 1")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("digits", ["not the name 'digits'", "load_any('digits')"]),
        (Path("my.npy"), ["load_any('my.npy')"]),
        (None, ["not None", "from_files("]),
        (torch.zeros(5, N), ["not a Tensor", "Dataset(...)", "from_files("]),
        (np.zeros((5, N)), ["not a ndarray"]),
    ],
)
def test_what_is_no_data_set_is_told_what_to_pass(data, words, tmp_path):
    one_line(lambda: fit(FVSBN((N,)), data, tmp_path / "run"), "data must be a Dataset", *words)
    one_line(lambda: evaluate(FVSBN((N,)), data), "data must be a Dataset", *words)
    one_line(lambda: learn_ordering(data), "data must be a Dataset", *words)
    assert not (tmp_path / "run").exists()


def test_what_is_no_model_or_no_folder_or_has_nothing_to_train(tmp_path):
    for model in ("nade", nn.Linear(N, 1), None):
        one_line(
            lambda model=model: fit(model, tiny_data(), tmp_path / "run"), "model must be a chainrule model"
        )
        one_line(lambda model=model: evaluate(model, tiny_data()), "model must be a chainrule model")
    for out in (None, "", 3):
        one_line(lambda out=out: fit(FVSBN((N,)), tiny_data(), out), "out must be a path")
    frozen = FVSBN((N,)).requires_grad_(False)
    one_line(lambda: fit(frozen, tiny_data(), tmp_path / "run"), "nothing to train", "FVSBN", "requires_grad")
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_trains(tmp_path):
    quick_fit(FVSBN((N,)), tiny_data(), tmp_path / "run", seed=2**63 - 1)
    assert Run(tmp_path / "run").config["training"]["seed"] == 2**63 - 1


# -------------------------------------------------------------------- divergence and full disks


class Diverging(FVSBN):
    """Its training loss, or the gradient of it, or its validation loss, is not finite from some step on."""

    how, steps = "loss", 0

    def training_loss(self, x, context, generator):
        loss = super().training_loss(x, context, generator)
        self.steps += 1
        if self.steps == 6 and self.how == "loss":
            return loss * math.nan
        if self.steps == 6 and self.how == "gradient":  # sqrt has an infinite slope at 0
            return loss + (self.bias - self.bias.detach()).abs().sum().sqrt()
        return loss

    def validation_loss(self, x, context):
        loss = super().validation_loss(x, context)
        return loss + math.inf if self.how == "validation" else loss


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_divergence_stops_with_the_step_and_spares_checkpoint_and_weights(how, tmp_path):
    model = Diverging((N,))
    model.how = how
    data = tiny_data()
    message = one_line(
        lambda: quick_fit(model, data, tmp_path / "run", checkpoint_minutes=0.0),
        "at step 6 (epoch 2)",
        "learning_rate below 0.05",
        "warmup_steps",
        "clip_norm",
        kind=NonFiniteLossError,
    )
    assert ("gradient" in message) == (how == "gradient")
    checkpoint, damaged = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert (checkpoint.step, damaged) == (5, [])
    assert all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())
    run = Run(tmp_path / "run")
    assert not run.is_finished
    best = Diverging((N,))
    best.load_state_dict(run.model_tensors())
    assert -best.log_prob(data.validation).mean().item() == pytest.approx(run.metrics()[0]["validation_nll"])
    assert all(p.isfinite().all() and p.grad is None for p in model.parameters())
    assert not model.training


def test_a_validation_that_is_not_finite_is_an_error_too(tmp_path):
    model = Diverging((N,))
    model.how = "validation"
    one_line(
        lambda: quick_fit(model, tiny_data(), tmp_path / "run"),
        "validation loss became inf at step 3 (epoch 1)",
        kind=NonFiniteLossError,
    )


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return train_case("plain", tmp_path_factory.mktemp("reference"), checkpoint_minutes=0.0)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 11, 19])
def test_a_full_disk_stops_a_run_that_can_be_resumed(call, number, reference, tmp_path, monkeypatch):
    calls, real = [], getattr(os, call)

    def nearly_full(*arguments):
        calls.append(arguments)
        return full_disk() if len(calls) == number else real(*arguments)

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(saving.os, call, nearly_full)
        one_line(lambda: train_case("plain", run, checkpoint_minutes=0.0), "No space left on device", "run")
    assert len(calls) == number
    assert not list(run.rglob("*.partial"))
    if (run / "checkpoints").exists():
        assert latest_checkpoint(run / "checkpoints")[1] == []
    train_case("plain", run, checkpoint_minutes=0.0, resume=True)
    assert (run / "model.safetensors").read_bytes() == (reference.folder / "model.safetensors").read_bytes()
    assert len(Run(run).metrics()) == 3


# -------------------------------------------------------------------- what is left as it was


def test_global_state_is_left_as_it_was(tmp_path):
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.rand(3)

    def state():
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
            signal.getsignal(signal.SIGINT),
            dict(os.environ),
        )

    before = state()
    train_case("dropout", tmp_path / "a")
    assert state() == before
    train_case("bf16", tmp_path / "b")
    with torch.no_grad():
        train_case("labels", tmp_path / "c")
        assert not torch.is_grad_enabled()
    train_case("labels", tmp_path / "d")
    assert state() == before
    with pytest.raises(NonFiniteLossError):
        quick_fit(Diverging((N,)), tiny_data(), tmp_path / "e")
    assert state() == before
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "cd"]
    assert weights[0] == weights[1]


def test_fits_of_different_precision_follow_each_other(tmp_path, monkeypatch):
    seen = []
    update = Trainer._update

    def watched(self, batch):
        seen.append(self.accelerator.mixed_precision)
        return update(self, batch)

    monkeypatch.setattr(Trainer, "_update", watched)
    losses = {}
    for name in ("bf16", "float32", "bf16-again"):
        run = train_case("bf16", tmp_path / name, precision=name.removesuffix("-again"), epochs=1)
        losses[name] = run.metrics()[0]["train_loss"]
    assert seen == ["bf16"] * 3 + ["no"] * 3 + ["bf16"] * 3
    assert losses["bf16"] == losses["bf16-again"] != losses["float32"]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.02)
    # And the caller's own may then have any.
    assert AcceleratorState._shared_state == {}
    assert PartialState._shared_state == {}


def test_an_accelerator_of_the_callers_is_respected(tmp_path):
    try:
        mine = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4, cpu=True)
        train_case("plain", tmp_path / "run")
        assert mine.mixed_precision == "bf16"
        assert mine.gradient_accumulation_steps == 4
        with mine.accumulate(nn.Linear(1, 1)):
            assert not mine.sync_gradients
            train_case("plain", tmp_path / "within")  # whose steps must not be taken for parts of one
            assert not mine.sync_gradients
        with pytest.raises(ValueError, match="already been initialized"):
            Accelerator(mixed_precision="no")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    train_case("plain", tmp_path / "alone")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "within", "alone")]
    assert len(set(weights)) == 1


def test_importing_training_does_not_import_accelerate():
    code = (
        "import sys, chainrule.training; print('accelerate' in sys.modules, 'rich.progress' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[0] == "False"


# -------------------------------------------------------------------- the run folder


def test_a_run_records_what_it_was(tmp_path):
    run = fit(
        NADE((N,), hidden=3), tiny_data(), tmp_path / "run", progress=False, notes={"preset": "x"}, **QUICK
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"] == "NADE"
    assert config["settings"]["hidden"] == 3
    assert config["training"]["learning_rate"] == 0.05
    assert config["notes"] == {"preset": "x"}
    assert config["examples"] == {"train": 50, "validation": 30}
    assert run.data_name == "tiny"
    assert Run(tmp_path / "run").is_finished


def test_a_folder_that_is_taken(tmp_path):
    run = tmp_path / "run"
    train_case("plain", run)
    before = (run / "model.safetensors").read_bytes()
    one_line(lambda: train_case("nade", run), "already exists", "--resume", "--overwrite")
    assert (run / "model.safetensors").read_bytes() == before
    one_line(lambda: train_case("nade", run, resume=True, overwrite=True), "choose one")


def test_overwrite_deletes_the_files_of_the_run_only(tmp_path):
    run = tmp_path / "run"
    train_case("plain", run)
    (run / "samples.png").write_bytes(b"")
    (run / "notes.txt").write_text("mine")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-000000003.safetensors").write_bytes(b"")
    (run / "checkpoints" / "mine.txt").write_text("mine")
    train_case("nade", run, overwrite=True)
    assert isinstance(chainrule.load(run), NADE)
    assert {path.name for path in run.iterdir()} == RUN_FILES | {"notes.txt", "checkpoints"}
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "content", ['{"model_type": "bert"}', "{", '{"format": 1, "model": "NADE", "settings": {}}']
)
@pytest.mark.parametrize("how", [{"overwrite": True}, {}, {"resume": True}])
def test_a_folder_that_is_not_a_run_is_never_touched(content, how, tmp_path):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_text("precious")
    one_line(lambda: train_case("plain", tmp_path, **how), str(tmp_path))
    assert (tmp_path / "config.json").read_text() == content
    assert (tmp_path / "model.safetensors").read_text() == "precious"


@pytest.mark.parametrize("how", [{"overwrite": True}, {}, {"resume": True}])
def test_other_things_in_the_way(how, tmp_path):
    (tmp_path / "file").write_text("precious")
    one_line(lambda: train_case("plain", tmp_path / "file", **how), "file")
    one_line(lambda: train_case("plain", tmp_path / "file" / "run", **how), "run")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("precious")
    one_line(lambda: train_case("plain", tmp_path / "folder", **how), "folder")
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    train_case("plain", tmp_path / "empty", **how)


def test_a_run_of_another_version_can_be_overwritten_but_not_resumed(tmp_path):
    run = tmp_path / "run"
    train_case("plain", run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"format": 0}))
    one_line(lambda: train_case("plain", run, resume=True), "format 0")
    train_case("plain", run, overwrite=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.01}, "learning_rate=0.05, not 0.01"),
        ({"epochs": 9}, "epochs=3, not 9"),
        ({"seed": 2}, "seed=0, not 2"),
        ({"model": MADE((N,), hidden=(3,))}, "model 'NADE', not 'MADE'"),
        ({"model": NADE((N,), hidden=4)}, "hidden=3, not 4"),
        ({"model": NADE((N,), hidden=3, ordering="reversed")}, "ordering='raster', not 'reversed'"),
        ({"data": tiny_data(name="other")}, "data 'tiny', not 'other'"),
        ({"data": dataclasses.replace(tiny_data(), train=tiny_data().train[:40])}, "'train': 50"),
    ],
)
def test_resuming_with_other_settings_names_the_setting(change, words, tmp_path):
    start = {"model": NADE((N,), hidden=3), "data": tiny_data(), "out": tmp_path / "run", **QUICK}
    fit(**start, progress=False)
    one_line(lambda: fit(**{**start, **change}, progress=False, resume=True), words)


def test_opening_what_is_no_run(tmp_path):
    one_line(lambda: Run(tmp_path / "none"), "does not exist")
    one_line(lambda: Run(tmp_path), "holds no model")
    FVSBN((N,)).save_pretrained(tmp_path / "model")
    one_line(lambda: Run(tmp_path / "model"), "no training run")


def test_a_damaged_line_of_metrics_is_named(tmp_path):
    run = train_case("plain", tmp_path / "run")
    path = run.folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{{\n" + lines[2])
    one_line(run.metrics, "line 2 of", "metrics.jsonl")
    path.write_bytes(lines[0] + lines[1] + lines[2][:-9])
    assert [record["epoch"] for record in run.metrics()] == [1, 2]


# -------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"learning_rte": 1}, ["learning_rte", "did you mean 'learning_rate'"]),
        ({"epochs": 0}, ["epochs=0", "greater than or equal to 1"]),
        ({"epochs": "many"}, ["epochs='many'", "integer"]),
        ({"schedule": "step"}, ["schedule='step'", "cosine"]),
        ({"ema_decay": 1.0}, ["ema_decay=1.0", "less than 1"]),
        ({"learning_rate": math.nan}, ["learning_rate=nan", "finite"]),
        ({"learning_rate": math.inf}, ["learning_rate=inf", "finite", "peak learning rate"]),
        ({"ema_decay": None}, ["ema_decay=None", "number", "0 for none"]),
        ({"seed": 2**64}, ["seed=", "less than or equal to"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"warmup_steps": -1}, ["warmup_steps=-1"]),
        ({"precision": "fp16"}, ["precision='fp16'", "bf16"]),
    ],
)
def test_wrong_settings(setting, words, tmp_path):
    one_line(lambda: training_settings(setting), *words)
    one_line(lambda: fit(FVSBN((N,)), tiny_data(), tmp_path / "run", **setting), *words)
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------- what is shown


def test_progress_goes_to_stderr_and_can_be_silenced(tmp_path, capsys):
    train_case("plain", tmp_path / "a", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 3
    assert "epoch 3: validation" in shown.err
    assert "bits/dim" in shown.err
    train_case("plain", tmp_path / "b")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_time_left_and_bits_per_dim(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    train_case("plain", tmp_path / "run", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "left" in shown.err
    assert "0:00:00" in shown.err
    assert "bits/dim" in shown.err
    assert "9/9" in shown.err, "the bar stops short of its end"


# -------------------------------------------------------------------- evaluate


@pytest.fixture
def trained():
    with seeded(0):
        return MADE((N,), hidden=(8,), context_size=2, dropout=0.5).double()


def test_evaluate_is_the_mean_and_its_standard_error(trained):
    data = tiny_data(labels=True)
    result = evaluate(trained.eval(), data, "validation")
    nll = trained.nll(data.validation, data.labels["validation"]).detach().numpy()
    assert (result.data, result.split, result.examples) == ("tiny", "validation", 30)
    assert result.nll == pytest.approx(nll.mean(), rel=1e-12)
    assert result.standard_error == pytest.approx(nll.std(ddof=1) / math.sqrt(30), rel=1e-12)
    assert result.bits_per_dim == pytest.approx(nll.mean() / N / math.log(2), rel=1e-12)
    assert result.perplexity == pytest.approx(math.exp(nll.mean() / N), rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 500])
def test_evaluate_does_not_depend_on_the_batch_size(batch_size, trained):
    data = tiny_data(labels=True)
    seen: list[tuple[int, int]] = []
    result = evaluate(trained, data, batch_size=batch_size, on_batch=lambda *place: seen.append(place))
    assert result.nll == pytest.approx(evaluate(trained, data).nll, rel=1e-12)
    assert seen[-1] == (20, 20)
    assert len(seen) == math.ceil(20 / batch_size)


def test_evaluate_on_fewer_examples_leaves_the_mode_alone(trained):
    data = tiny_data(labels=True)
    trained.train()
    result = evaluate(trained, data, limit=5)
    assert trained.training
    rows = spread_rows(len(data.test), 5)
    assert rows[0] == 0
    assert rows[-1] == len(data.test) - 1
    expected = trained.eval().nll(data.test[rows], data.labels["test"][rows]).mean().item()
    assert result.nll == pytest.approx(expected, rel=1e-12)
    assert result.examples == 5
    assert math.isnan(evaluate(trained, data, limit=1).standard_error)
    one_line(lambda: evaluate(trained, data, limit=0), "limit must be", "at least 1, not 0")
    one_line(lambda: evaluate(trained, data, batch_size=0), "batch_size must be", "at least 1, not 0")


def test_evaluate_of_dynamic_data_is_reproducible():
    data, model = tiny_data(dynamic=True), FVSBN((N,))
    nn.init.normal_(model.bias, generator=torch.Generator().manual_seed(0))
    assert evaluate(model, data) == evaluate(model, data)
    fixed = data.evaluation_split("test")
    assert evaluate(model, data).nll == pytest.approx(model.nll(fixed).mean().item(), rel=1e-6)


def test_evaluate_what_cannot_be(trained):
    one_line(lambda: evaluate(trained, tiny_data(), "test"), "needs labels")
    one_line(lambda: evaluate(trained, tiny_data(labels=True), "tset"), "tset", "test")
    no_test = dataclasses.replace(tiny_data(), test=None)
    one_line(lambda: evaluate(FVSBN((N,)), no_test), "no test split")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_have_no_likelihood(value):
    model = FVSBN((N,))
    nn.init.constant_(model.weight, value)
    one_line(lambda: evaluate(model, tiny_data()), "NaN for", "of 20 examples of tiny", "learning_rate")


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 2.5), ("limit", "3"), ("limit", -1), ("batch_size", None), ("batch_size", 1e3)],
)
def test_evaluate_takes_whole_numbers(name, value):
    one_line(lambda: evaluate(FVSBN((N,)), tiny_data(), **{name: value}), f"{name} must be a whole number")


def test_perplexity_of_the_impossible_is_infinite():
    model = Independent((N,), pseudocount=0.0)
    model.fit_counts(torch.zeros(3, N))
    assert evaluate(model, tiny_data()).perplexity == math.inf


# -------------------------------------------------------------------- several processes


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from training_helpers import train_case\n"
        "train_case('nade', Path(sys.argv[2]), batch_size=15, checkpoint_minutes=0.0)\n"
        "import torch.distributed as processes\n"
        "Path(sys.argv[2] + str(processes.get_rank())).write_text(str(processes.get_world_size()))\n"
    )
    train_case("nade", tmp_path / "one", batch_size=15)  # shares of 8 and 7
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    here = str(Path(__file__).parent)
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, str(script), here, str(tmp_path / "two")], check=True, env=environment)
    assert [(tmp_path / f"two{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    one, two = (Run(tmp_path / name) for name in ("one", "two"))
    for name, tensor in one.model_tensors().items():
        torch.testing.assert_close(two.model_tensors()[name], tensor, rtol=1e-4, atol=1e-5)
    for a, b in zip(one.metrics(), two.metrics(), strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-5)
        assert a["validation_nll"] == pytest.approx(b["validation_nll"], rel=1e-5)
