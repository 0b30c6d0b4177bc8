"""Classifiers: parameters, gradients, training through `fit` with resume, adversarial training, saving."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from victim_helpers import LEVELS, grey_digits, some_digits, victim

import chainrule
from chainrule.contrasts import CLASSIFIERS, MLP, LogisticRegression, SmallCNN, load_classifier
from chainrule.contrasts.accuracy import accuracy
from chainrule.contrasts.adversarial import bim_steps, perturbed
from chainrule.errors import ChainruleError
from chainrule.models import FVSBN
from chainrule.training import evaluate, fit, seeded
from chainrule.training.trainer import Trainer


def xor(copies=60):
    """Two bits and whether they differ: the interaction that no linear classifier has."""
    values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.uint8).repeat(copies, 1)
    labels = (values[:, 0] != values[:, 1]).long()
    return chainrule.data.Dataset(
        "xor",
        train=values,
        validation=values,
        test=None,
        event_shape=(2,),
        kind="table",
        levels=2,
        labels={"train": labels, "validation": labels},
    )


def one_line(call, *words):
    with pytest.raises(ChainruleError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_parameters_are_those_of_the_formulas():
    assert LogisticRegression((784,), num_classes=2).num_parameters == 785
    assert LogisticRegression((1, 28, 28)).num_parameters == 7850
    assert MLP((10,), num_classes=2, hidden=(5,)).num_parameters == 61
    convolutions = 9 * 32 + 32 + 9 * 32 * 64 + 64
    assert SmallCNN((1, 28, 28)).num_parameters == convolutions + (7 * 7 * 64 + 1) * 128 + 129 * 10


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_sum_to_one_and_the_loss_is_their_logarithm(name, classes):
    with seeded(0):
        model = CLASSIFIERS[name]((1, 8, 8), num_classes=classes, levels=LEVELS).double()
    x, labels = some_digits(6)
    labels = labels % classes
    p = model.probabilities(x)
    assert p.shape == (6, classes)
    torch.testing.assert_close(p.sum(1), torch.ones(6, dtype=torch.float64))
    one_hot = torch.nn.functional.one_hot(labels, classes).double()
    loss = model.training_loss(x.double(), one_hot, torch.Generator())
    torch.testing.assert_close(loss, -p[range(6), labels].log())


def test_values_are_read_as_shares_of_the_greatest_level():
    with seeded(0):
        model = LogisticRegression((3,), num_classes=2, levels=256).double()
    x = torch.tensor([[0, 255, 51]], dtype=torch.uint8)
    z = model.linear(torch.tensor([[0.0, 1.0, 0.2]], dtype=torch.float64))
    torch.testing.assert_close(model(x), torch.cat([torch.zeros_like(z), z], 1))


def test_the_gradient_of_a_regression_is_that_of_the_formula():
    """d loss / d a_i = (p - y) x_i."""
    with seeded(0):
        model = LogisticRegression((4,), num_classes=2, levels=None).double()
    x, y = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), [0, 1, 1, 0, 1]
    target = torch.nn.functional.one_hot(torch.tensor(y), 2).double()
    model.training_loss(x, target, torch.Generator()).sum().backward()
    expected = (model.probabilities(x)[:, 1] - target[:, 1]) @ x
    torch.testing.assert_close(model.linear.weight.grad[0], expected)


def test_a_network_learns_xor_and_a_line_cannot(tmp_path):
    options = {"epochs": 25, "learning_rate": 0.1, "batch_size": 24, "progress": False}
    reached = {}
    for name, model in {
        "line": LogisticRegression((2,), num_classes=2, levels=2),
        "network": MLP((2,), num_classes=2, levels=2, hidden=(8,), activation="tanh"),
    }.items():
        with seeded(3):
            model = type(model).from_settings(model.settings())
        fit(model, xor(), tmp_path / name, **options)
        reached[name] = model.validation_loss(
            xor().train.float(), torch.nn.functional.one_hot(xor().labels["train"], 2).float()
        ).mean()
    assert reached["line"] > 0.99 * math.log(2)
    assert reached["network"] < 0.05


def test_training_resumes_bit_for_bit(tmp_path, monkeypatch):
    data, settings = (
        grey_digits(),
        {"epochs": 2, "batch_size": 300, "checkpoint_minutes": 0.0, "progress": False},
    )

    def fresh():
        with seeded(0):
            return MLP((1, 8, 8), levels=LEVELS, hidden=(8,), adversarial="pgd", adversarial_eps=2.0)

    whole = fresh()
    fit(whole, data, tmp_path / "whole", **settings)
    update = Trainer._update

    def killed(self, batch):
        if self.at.step == 5:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Trainer, "_update", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(fresh(), data, tmp_path / "broken", **settings)
    monkeypatch.undo()
    again = fresh()
    fit(again, data, tmp_path / "broken", resume=True, **settings)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_what_fit_leaves_is_a_classifier_again(tmp_path):
    with seeded(0):
        model = SmallCNN((1, 8, 8), levels=LEVELS, features=(4,), hidden=8, adversarial="fgsm")
    run = fit(model, grey_digits(), tmp_path / "run", epochs=1, progress=False)
    record = run.metrics()[-1]
    assert record["validation_nll"] > 0
    assert "validation_bits_per_dim" not in record
    loaded = load_classifier(tmp_path / "run")
    assert loaded.adversarial == "fgsm"
    x, _ = some_digits()
    assert torch.equal(loaded(x), model(x))
    assert not loaded.training
    one_line(lambda: chainrule.load(tmp_path / "run"), "SmallCNN", "no model of this library")
    one_line(lambda: evaluate(loaded, grey_digits()), "SmallCNN has no p(x)")


def test_a_model_of_p_x_is_no_classifier(tmp_path):
    FVSBN((4,)).save_pretrained(tmp_path / "model")
    one_line(lambda: load_classifier(tmp_path / "model"), "FVSBN", "no classifier", "SmallCNN")


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
def test_perturbations_stay_in_the_box_and_raise_the_loss(name):
    model, (x, labels) = victim(), some_digits()
    model.zero_grad()  # tests share it
    target, x = torch.nn.functional.one_hot(labels, 10).float(), x.float()
    eps = 3.0
    moved = perturbed(
        model,
        x,
        target,
        name=name,
        eps=eps,
        low=0.0,
        high=16.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert (moved - x).abs().max() <= eps
    assert moved.min() >= 0
    assert moved.max() <= 16
    before, after = (model._loss(z, target).mean() for z in (x, moved))
    assert after > 2 * before
    assert all(p.grad is None for p in model.parameters())


def test_iterating_does_more_than_one_step():
    model, (x, labels) = victim(), some_digits(100)
    target, x = torch.nn.functional.one_hot(labels, 10).float(), x.float()

    def loss(name):
        generator = torch.Generator().manual_seed(0)
        moved = perturbed(model, x, target, name=name, eps=2.0, low=0.0, high=16.0, generator=generator)
        return model._loss(moved, target).mean()

    assert loss("bim") > loss("fgsm")


def test_steps_of_bim_are_those_of_the_paper():
    assert [bim_steps(eps) for eps in (0.5, 1, 2, 8, 16, 25)] == [1, 1, 2, 10, 20, 29]


def test_adversarial_training_helps_against_its_attack():
    x, labels = some_digits(200)
    target = torch.nn.functional.one_hot(labels, 10).float()
    right = {}
    for adversarial in (None, "pgd"):
        model = victim("mlp", adversarial)
        moved = perturbed(
            model,
            x.float(),
            target,
            name="pgd",
            eps=2.0,
            low=0.0,
            high=16.0,
            generator=torch.Generator().manual_seed(0),
        )
        right[adversarial] = accuracy(model, moved, labels).accuracy
    assert right["pgd"] > right[None] + 0.1


def test_accuracy_is_a_share_with_its_binomial_error():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 0.0]])
    found = accuracy(torch.nn.Identity(), logits, torch.tensor([0, 1, 1, 0]), batch_size=3)
    assert (found.accuracy, found.examples, found.correct.tolist()) == (0.75, 4, [True, True, False, True])
    assert found.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    expected = -torch.log_softmax(logits, 1)[range(4), [0, 1, 1, 0]].mean()
    assert found.nll == pytest.approx(expected.item(), rel=1e-6)


def test_what_cannot_be(tmp_path):
    data = grey_digits()
    out = tmp_path / "run"
    unlabelled = dataclasses.replace(data, labels={})
    one_line(lambda: fit(MLP((1, 8, 8), levels=LEVELS), unlabelled, out), "learns from labels", "train")
    one_line(lambda: fit(MLP((1, 8, 8)), data, out), "values 0..16", "0..255", "levels=17")
    one_line(lambda: fit(MLP((1, 8, 8), levels=LEVELS, num_classes=9), data, out), "labels", "0..9")
    one_line(lambda: fit(MLP((64,), levels=LEVELS), data, out), "(1, 8, 8)", "(64,)")
    one_line(lambda: SmallCNN((64,)), "images (C, H, W)", "MLP")
    one_line(lambda: SmallCNN((1, 8, 8), features=(4, 4, 4, 4)), "16 x 16")
    one_line(lambda: MLP((4,), activation="rleu"), "'relu'")
    one_line(lambda: MLP((4,), adversarial="bmi"), "'bim'")
    one_line(lambda: victim()(torch.zeros(3, 64)), "(batch, 1, 8, 8)", "(3, 64)")
    one_line(lambda: accuracy(victim(), data.test[:3], data.labels["test"][:2]), "3 images", "(2,)")
    assert not out.exists()
