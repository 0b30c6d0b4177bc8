"""The command line on classifiers: train, resume, evaluate, attack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed, train_small

from chainrule.cli.names import CLASSIFIER_MODELS
from chainrule.cli.victims import CLASS_NAMES
from chainrule.contrasts import CLASSIFIERS, load_classifier
from chainrule.contrasts.accuracy import logits_of

SMALL = [
    part
    for setting in ("features=8,16", "hidden=32", "epochs=8", "learning_rate=0.02")
    for part in ("--set", setting)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("victims")


@pytest.fixture(scope="module")
def cnn(home):
    succeed("train", "cnn", "--data", "digits", "--out", home / "cnn", "--quiet", *SMALL)
    return home / "cnn"


@pytest.fixture(scope="module")
def line(home):
    options = ("--set", "epochs=5", "--set", "adversarial=fgsm", "--set", "adversarial_eps=1")
    succeed("train", "logistic-regression", "--data", "digits", "--out", home / "line", "--quiet", *options)
    return home / "line"


@pytest.fixture(scope="module")
def attacked(home, cnn):
    out = home / "attacked.npz"
    options = ("--attack", "bim", "--eps", 1, "--limit", 60, "--out", out)
    return out, succeed("attack", cnn, *options, "--quiet", "--json").json


@pytest.fixture(scope="module")
def density(home):
    return train_small(home / "density", "fvsbn")


def test_names_are_those_of_the_catalogue():
    assert set(CLASSIFIER_MODELS) == set(CLASSIFIERS) == set(CLASS_NAMES)
    assert {name: cls.__name__ for name, cls in CLASSIFIERS.items()} == CLASS_NAMES


def test_training_says_how_often_it_is_right_and_what_comes_next(home):
    out = home / "mlp"
    said = succeed("train", "mlp", "--data", "digits", "--out", out, "--quiet", "--set", "epochs=2").out
    assert "% right" in said
    assert f"chainrule attack {out}" in said
    again = succeed("train", "--resume", "--out", out, "--quiet", "--json").json
    assert again["model"] == "mlp"
    assert again["epochs"] == 2


def test_settings_reach_the_classifier(line):
    model = load_classifier(line)
    assert (model.adversarial, model.adversarial_eps, model.levels, model.num_classes) == ("fgsm", 1.0, 2, 10)


def test_evaluation_is_an_accuracy_with_its_error(cnn):
    found = succeed("evaluate", cnn, "--json").json
    assert found["examples"] == 300
    assert found["accuracy"] > 0.6
    assert 0 < found["standard_error"] < 0.03
    assert "± " in succeed("evaluate", cnn, "--limit", 20).out


def test_an_attack_is_written_for_those_who_read_it_next(cnn, attacked):
    out, facts = attacked
    assert facts["accuracy"] < facts["clean_accuracy"] - 0.3
    assert facts["largest"] == 1
    arrays = np.load(out)
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].shape == arrays["original"].shape == (60, 1, 8, 8)
    said = logits_of(load_classifier(cnn), torch.from_numpy(arrays["images"])).argmax(1).numpy()
    assert (said == arrays["predicted"]).all()
    assert (arrays["predicted"] == arrays["labels"]).mean() == pytest.approx(facts["accuracy"])
    # All rows of the file, not a tenth of them.
    found = succeed("evaluate", cnn, "--data", out, "--json").json
    assert found["examples"] == 60
    assert found["accuracy"] == pytest.approx(facts["accuracy"])


def test_transfer_and_density_stand_beside_it(cnn, line, density):
    facts = succeed(
        "attack", cnn, "--attack", "joint", "--eps", 1, "--limit", 12, "--steps", 3, "--density", density,
        "--transfer", line, "--quiet", "--json",
    ).json  # fmt: skip
    assert facts["transfer"][0]["run"] == str(line)
    assert 0 <= facts["transfer"][0]["accuracy"] <= 1
    assert facts["density"]["bits_per_dim"] > 0
    shown = succeed(
        "attack", cnn, "--attack", "rand", "--limit", 20, "--density", density, "--transfer", line
    ).out
    assert "bits/dim" in shown
    assert "transfer" in shown


def test_mistakes_are_one_line(home, cnn, density, attacked):
    out, _ = attacked
    new = ("--out", home / "new")
    refused(call("attack", cnn, "--attack", "bmi"), "'bim'")
    refused(call("attack", cnn, "--attack", "joint"), "--density")
    refused(call("attack", cnn, "--limit", 0), "--limit")
    refused(call("attack", cnn, "--out", "attacked.gif"), ".npz")
    refused(call("attack", cnn, "--out", out), str(out))
    refused(call("attack", cnn, "--norm", "l3", "--quiet"), "norm 'l3'")
    refused(call("attack", cnn, "--target", 12, "--quiet"), "0..9")
    refused(call("attack", density), "FVSBN", "no classifier")
    refused(call("attack", home / "nowhere"), "nowhere", "does not exist")
    refused(call("attack", cnn, "--data", "binarized-mnist"), "binarized")
    refused(call("sample", cnn, "--out", home / "x.png"), "SmallCNN", "no p(x)")
    refused(call("train", "cnn", *new), "--data is missing")
    refused(call("train", "cnn", "--data", "digits"), "--out is missing")
    refused(call("train", "cnn", "--data", "digits", *new, "--set", "featurs=4"), "'features'")
    refused(call("train", "cnn", "--data", "digits", *new, "--preset", "small"), "--preset")
    refused(call("train", "mlp", "--resume", "--out", cnn), "a run of cnn, not of mlp")
    refused(call("train", "cnn", "--resume", "--out", density), "FVSBN", "no classifier")
    refused(call("evaluate", cnn, "--members", 4), "--members")
    unlabelled = home / "unlabelled.npy"
    np.save(unlabelled, np.zeros((30, 1, 8, 8), np.uint8))
    refused(call("train", "cnn", "--data", unlabelled, *new), "labels", "unlabelled.npy")
    refused(call("evaluate", cnn, "--data", unlabelled), "labels")
    assert not (home / "new").exists()
