"""train, evaluate, sample, score, demo: the results, and the files they leave."""

from __future__ import annotations

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed, train_small
from PIL import Image

import chainrule
from chainrule import data, training
from chainrule.cli.setting_values import parse_settings
from chainrule.orderings import Ordering
from chainrule.training.run import Run


@pytest.fixture(scope="module")
def nade(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "nade")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "by-class", "nade", "--condition-on-labels")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "made", "made", "--set", "num_masks=3")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("hidden=200", 200),
        ("hidden=500,500", [500, 500]),
        ("hidden=[]", []),
        ("learning_rate=1e-3", 1e-3),
        ("residual=True", True),
        ("patience=none", None),
        ("patience=null", None),
        ("ordering=random:7", "random:7"),
        ("ordering=2,0,1", [2, 0, 1]),
        ("weight_decay=", ""),
    ],
)
def test_values_of_settings(pair, expected):
    (value,) = parse_settings([pair]).values()
    assert value == expected
    assert type(value) is type(expected)


def test_dashes_and_repetition_in_settings():
    assert parse_settings(["batch-size=1", "batch_size=2"]) == {"batch_size": 2}


# ---------------------------------------------------------------- train


def test_training_leaves_a_run_with_pictures(nade):
    assert {path.name for path in nade.iterdir()} == {
        "config.json",
        "model.safetensors",
        "metrics.jsonl",
        "samples.png",
        "conditionals.png",
        "learning_curve.png",
    }
    for picture in nade.glob("*.png"):
        assert min(Image.open(picture).size) > 200
    config = Run(nade).config
    assert config["training"]["epochs"] == 2
    assert config["settings"]["hidden"] == 8
    assert config["notes"] == {"preset": None, "data": {"spec": "digits", "options": {}}}


def test_training_goes_to_both_kinds_of_settings_and_says_what_came_out(tmp_path):
    called = succeed(
        *("train", "made", "--data", "digits", "--out", tmp_path / "r", "--json", "--quiet"),
        *("--set", "hidden=9", "--set", "ordering=spiral", "--set", "epochs=1", "--set", "seed=3"),
    )
    result = called.json
    assert called.err == ""
    run = Run(tmp_path / "r")
    assert run.config["settings"]["hidden"] == [9]
    assert run.config["settings"]["ordering"] == "spiral"
    assert run.config["training"]["seed"] == 3
    (record,) = run.metrics()
    assert result["validation_nll"] == record["validation_nll"]
    assert result["validation_bits_per_dim"] == pytest.approx(record["validation_nll"] / (64 * math.log(2)))
    assert result["parameters"] == chainrule.load(run.folder).num_parameters


def test_progress_goes_to_stderr_and_results_to_stdout(tmp_path):
    arguments = ("train", "fvsbn", "--data", "digits", "--set", "epochs=1")
    called = succeed(*arguments, "--out", tmp_path / "a")
    assert "epoch 1: validation" in called.err
    assert "epoch 1: validation" not in called.out
    assert f"chainrule evaluate {tmp_path / 'a'}" in called.out


def test_the_seed_of_the_run_decides_the_first_weights_and_nothing_global_moves(tmp_path):
    before = torch.random.get_rng_state()
    folders = [
        train_small(tmp_path / name, "nade", "--set", f"seed={seed}", "--set", "epochs=1")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    weights = [Run(folder).model_tensors()["weight"] for folder in folders]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_closed_form_model_is_trained_evaluated_and_resumed(tmp_path):
    folder = tmp_path / "tree"
    succeed("train", "chow-liu", "--data", "digits", "--out", folder)
    again = succeed("train", "--resume", "--out", folder)
    assert "finished" in again.err
    assert len(Run(folder).metrics()) == 1
    assert succeed("evaluate", folder, "--json").json["nll"] < 22


def test_resuming_a_finished_run_says_so(nade):
    called = succeed("train", "nade", "--data", "digits", "--resume", "--out", nade)
    assert "finished" in called.err
    refused(call("train", "made", "--data", "digits", "--resume", "--out", nade), "is a run of nade")
    refused(call("train", "--resume", "--out", nade, "--set", "epochs=3"), "epochs=2", "not 3")


def test_resume_needs_only_the_folder_and_ends_bit_equal(tmp_path, monkeypatch):
    settings = ("--set", "hidden=8", "--set", "epochs=4", "--set", "checkpoint_minutes=0", "--quiet")
    start = ("train", "nade", "--data", "digits", *settings, "--out")
    succeed(*start, tmp_path / "whole")
    log, epochs = Run.log, []

    def interrupted_log(run, record):
        epochs.append(record["epoch"])
        if record["epoch"] == 3:
            raise KeyboardInterrupt
        log(run, record)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", interrupted_log)
        stopped = call(*start, tmp_path / "broken")
    assert stopped.status == 130
    assert stopped.err.count("\n") <= 2
    assert f"chainrule train --resume --out {tmp_path / 'broken'}" in stopped.err
    assert epochs == [1, 2, 3]
    succeed("train", "--resume", "--quiet", "--out", tmp_path / "broken")
    whole, resumed = Run(tmp_path / "whole"), Run(tmp_path / "broken")
    assert resumed.is_finished
    assert [r["epoch"] for r in resumed.metrics()] == [1, 2, 3, 4]
    for name, tensor in whole.model_tensors().items():
        assert torch.equal(tensor, resumed.model_tensors()[name])


def test_a_preset_gives_settings_that_set_can_change(tmp_path):
    succeed(
        *("train", "nade", "--preset", "paper", "--data", "digits", "--out", tmp_path / "r", "--quiet"),
        *("--set", "epochs=1", "--set", "hidden=7"),
    )
    config = Run(tmp_path / "r").config
    assert config["settings"]["hidden"] == 7
    assert config["notes"]["preset"] == "paper"
    assert config["data"] == "digits"


def test_own_files_are_found_again_by_evaluate(tmp_path, monkeypatch):
    grey = np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    monkeypatch.chdir(tmp_path)
    arguments = ("train", "fvsbn", "--data", "grey.npy", "--threshold", "127", "--set", "epochs=1", "--quiet")
    succeed(*arguments, "--out", "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = succeed("evaluate", tmp_path / "run", "--json").json
    assert result["examples"] == 6
    assert math.isfinite(result["nll"])


# ---------------------------------------------------------------- evaluate


def test_evaluate_is_what_the_library_says(nade):
    result = succeed("evaluate", nade, "--json").json
    expected = training.evaluate(chainrule.load(nade), data.load("digits"), "test")
    assert result["nll"] == pytest.approx(expected.nll, abs=1e-6)
    assert result["standard_error"] == pytest.approx(expected.standard_error)
    assert (result["split"], result["examples"]) == ("test", 300)
    text = succeed("evaluate", nade).out
    assert f"{result['nll']:.3f} ±" in text
    assert f"{result['bits_per_dim']:.4f} bits/dim" in text


def test_evaluate_a_split_and_a_part_of_it(nade):
    result = succeed("evaluate", nade, "--split", "validation", "--limit", "1", "--json").json
    assert (result["split"], result["examples"]) == ("validation", 1)
    assert result["standard_error"] is None
    first = data.load("digits").validation[:1].float()
    assert result["nll"] == pytest.approx(chainrule.load(nade).nll(first).item(), abs=1e-4)


def test_a_limit_takes_examples_from_all_over_the_split(nade, tmp_path):
    """Files sorted by class, as binarized-mnist's test images are, must not give the first class alone."""
    digits = data.load("digits")
    in_order = digits.test[torch.argsort(digits.labels["test"])].numpy()
    np.savez(tmp_path / "sorted.npz", train=digits.train.numpy(), test=in_order)
    result = succeed("evaluate", nade, "--data", tmp_path / "sorted.npz", "--limit", 4, "--json").json
    assert (result["examples"], result["available"]) == (4, 300)
    x = torch.from_numpy(in_order)[[0, 100, 199, 299]].float()
    assert result["nll"] == pytest.approx(chainrule.load(nade).nll(x).mean().item(), abs=1e-4)
    assert "4 of 300" in succeed("evaluate", nade, "--limit", 4).out


def test_evaluate_a_mixture_of_masks(made):
    one, three = (succeed("evaluate", made, "--members", k, "--json").json for k in (1, 3))
    expected = training.evaluate(chainrule.load(made).ensemble(3), data.load("digits"), "test")
    assert three["nll"] == pytest.approx(expected.nll, abs=1e-4)
    assert three["members"] == 3
    assert one["nll"] != three["nll"]


def test_evaluate_a_mixture_of_orderings(tmp_path):
    folder = train_small(tmp_path / "r", "deep-nade")
    result = succeed("evaluate", folder, "--members", 2, "--limit", 20, "--json").json
    x = data.load("digits").test[torch.linspace(0, 299, 20).round().long()].float()
    assert result["nll"] == pytest.approx(chainrule.load(folder).ensemble(2).nll(x).mean().item(), abs=1e-3)


@pytest.mark.data
def test_published_numbers_of_the_same_model_stand_beside(tmp_path):
    from data_helpers import real_data_folder

    real_data_folder()
    folder = tmp_path / "r"
    succeed("train", "fvsbn", "--data", "nltcs", "--set", "epochs=1", "--out", folder, "--quiet")
    assert succeed("evaluate", folder, "--json").json["published"] == []
    folder = tmp_path / "m"
    small = ("--set", "epochs=1", "--set", "hidden=8", "--quiet")
    succeed("train", "made", "--data", "nltcs", *small, "--out", folder)
    result = succeed("evaluate", folder, "--json").json
    assert [r["nll"] for r in result["published"]] == [6.04]
    assert "6.04" in succeed("evaluate", folder).out


# ---------------------------------------------------------------- sample


def test_samples_as_numbers_are_those_of_the_library(nade, tmp_path):
    for method in ("incremental", "naive", "fixed-point"):
        out = tmp_path / f"{method}.npy"
        result = succeed(
            "sample", nade, "-n", 5, "--seed", 4, "--method", method, "--out", out, "--json"
        ).json
        assert result["seed"] == 4
        expected = chainrule.load(nade).sample(5, seed=4)
        assert np.array_equal(np.load(out), expected.numpy())
    succeed("sample", nade, "-n", 5, "--seed", 4, "--out", tmp_path / "x.csv")
    succeed("sample", nade, "-n", 5, "--seed", 4, "--out", tmp_path / "x.npz")
    for written in ("x.csv", "x.npz"):
        assert torch.equal(data.read(tmp_path / written, event_shape=(1, 8, 8)).float(), expected)


def test_the_seed_is_reported_and_gives_the_same_samples_again(nade, tmp_path):
    first = succeed("sample", nade, "-n", 3, "--out", tmp_path / "a.npy", "--json").json["seed"]
    text = succeed("sample", nade, "-n", 3, "--seed", first, "--out", tmp_path / "b.npy").out
    assert f"--seed {first}" in text
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_samples_as_a_picture_keep_their_seed(nade, tmp_path):
    succeed("sample", nade, "-n", 9, "--seed", 11, "--out", tmp_path / "s.png")
    picture = Image.open(tmp_path / "s.png")
    assert picture.text["seed"] == "11"
    assert picture.width == picture.height


def test_samples_of_a_class(conditional, tmp_path):
    out = tmp_path / "x.npy"
    succeed("sample", conditional, "-n", 4, "--seed", 1, "--context", 7, "--out", out)
    expected = chainrule.load(conditional).sample(4, 7, seed=1)
    assert np.array_equal(np.load(out), expected.numpy())
    one_hot = ",".join(str(float(k == 7)) for k in range(10))
    succeed("sample", conditional, "-n", 4, "--seed", 1, "--context", one_hot, "--out", out, "--overwrite")
    assert np.array_equal(np.load(out), expected.numpy())
    refused(call("sample", conditional, "--out", tmp_path / "y.npy"), "needs a context")
    refused(call("sample", conditional, "--context", 10, "--out", tmp_path / "y.npy"), "0..9")
    refused(call("sample", conditional, "--context", "seven", "--out", tmp_path / "y.npy"), "seven")


# ---------------------------------------------------------------- one's own files and orderings


def test_evaluate_says_which_part_of_a_file_it_took(nade, tmp_path):
    x = data.load("digits").test[:10]
    np.save(tmp_path / "mine.npy", x.numpy())
    called = succeed("evaluate", nade, "--data", tmp_path / "mine.npy")
    assert "split 80 / 10 / 10" in called.out
    assert f"chainrule score {nade} {tmp_path / 'mine.npy'}" in called.out
    assert "nan" not in called.out
    assert "a single example" in called.out
    result = succeed("evaluate", nade, "--data", tmp_path / "mine.npy", "--json").json
    assert (result["examples"], result["standard_error"]) == (1, None)
    np.savez(tmp_path / "named.npz", train=x, test=x)
    assert "80 / 10 / 10" not in succeed("evaluate", nade, "--data", tmp_path / "named.npz").out
    assert "chainrule score" not in succeed("evaluate", nade).out


def test_a_file_with_the_name_of_a_data_set_is_a_file(nade, tmp_path):
    np.save(tmp_path / "digits.npy", data.load("digits").test[:30].numpy())
    assert "split 80 / 10 / 10" in succeed("evaluate", nade, "--data", tmp_path / "digits.npy").out


def test_evaluate_warns_when_the_data_changed(tmp_path):
    rows = np.random.default_rng(0).integers(0, 2, (30, 5)).astype(np.uint8)
    np.save(tmp_path / "x.npy", rows)
    folder = tmp_path / "r"
    succeed("train", "fvsbn", "--data", tmp_path / "x.npy", "--set", "epochs=1", "--quiet", "--out", folder)
    assert succeed("evaluate", folder).err == ""
    np.save(tmp_path / "x.npy", 1 - rows)
    called = succeed("evaluate", folder, "--json")
    assert "warning: the train and validation data of x changed" in called.err
    assert called.json["data_changed"] == ["train", "validation"]


@pytest.mark.parametrize("ordering", ["learned", "greedy"])
def test_orderings_learned_from_the_data_and_quietly(tmp_path, monkeypatch, ordering):
    folder = tmp_path / ordering
    learned = SimpleNamespace(ordering=Ordering(tuple(range(63, -1, -1))))

    def learn(dataset, *, on_candidate):
        on_candidate("raster", 1.0)
        return learned

    monkeypatch.setattr(training, "learn_ordering", learn)
    arguments = ("train", "fvsbn", "--data", "digits", "--set", "epochs=1", "--set", f"ordering={ordering}")
    assert succeed(*arguments, "--quiet", "--out", folder).err == ""
    assert sorted(Run(folder).config["settings"]["ordering"]) == list(range(64))
    if ordering == "learned":
        assert "raster: 1.00 nats" in succeed(*arguments, "--overwrite", "--out", folder).err


# ---------------------------------------------------------------- score


def test_scores_of_a_file(nade, tmp_path):
    x = data.load("digits").test[:7]
    np.save(tmp_path / "x.npy", x.numpy())
    expected = chainrule.load(nade).log_prob(x.float()).detach().numpy()
    printed = list(csv.DictReader(succeed("score", nade, tmp_path / "x.npy").out.splitlines()))
    assert [int(row["index"]) for row in printed] == list(range(7))
    assert np.allclose([float(row["log_prob"]) for row in printed], expected, atol=1e-4)
    assert float(printed[0]["bits_per_dim"]) == pytest.approx(-expected[0] / (64 * math.log(2)), abs=1e-5)
    succeed("score", nade, tmp_path / "x.npy", "--out", tmp_path / "s.csv")
    assert list(csv.DictReader((tmp_path / "s.csv").open())) == printed
    result = succeed("score", nade, tmp_path / "x.npy", "--json").json
    assert result["examples"] == len(result["scores"]) == 7


def test_scores_per_variable_add_up(nade, tmp_path):
    succeed("score", nade, "digits", "--per-variable", "--out", tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as scores:
        assert scores["log_prob_per_variable"].shape == (300, 1, 8, 8)
        assert np.allclose(scores["log_prob_per_variable"].sum((1, 2, 3)), scores["log_prob"], atol=1e-4)
    succeed("score", nade, "digits", "--split", "validation", "--per-variable", "--out", tmp_path / "s.png")
    assert Image.open(tmp_path / "s.png").width > 500


def test_scores_of_a_catalogue_split_use_its_labels(conditional):
    result = succeed("score", conditional, "digits", "--json").json
    evaluated = succeed("evaluate", conditional, "--json").json
    assert -result["mean_log_prob"] == pytest.approx(evaluated["nll"], abs=1e-4)
    as_sevens = succeed("score", conditional, "digits", "--context", 7, "--json").json
    assert as_sevens["mean_log_prob"] != result["mean_log_prob"]


def test_scores_of_grey_pictures(nade, tmp_path):
    x = data.load("digits").test[:3]
    np.save(tmp_path / "grey.npy", (x * 200).numpy())
    refused(call("score", nade, tmp_path / "grey.npy"), "value 200", "threshold")
    result = succeed("score", nade, tmp_path / "grey.npy", "--threshold", 100, "--json").json
    expected = chainrule.load(nade).log_prob(x.float()).mean().item()
    assert result["mean_log_prob"] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- demo


def test_demo_makes_what_it_says(tmp_path):
    out = tmp_path / "demo"
    text = succeed("demo", "--quick", "--out", out).out
    assert "times faster" in text
    assert str(out / "samples.png") in text
    result = json.loads((out / "results.json").read_text())
    assert [m["name"] for m in result["models"]] == ["independent", "chow-liu", "fvsbn", "made", "nade"]
    assert result["sampling"]["equal"] is True
    assert all((out / picture).stat().st_size > 1000 for picture in result["pictures"])
    assert (out / "runs" / "nade" / "model.safetensors").exists()
    flagged = {name: group["flagged"] for name, group in result["anomalies"]["groups"].items()}
    assert set(flagged) == {"test digits", "inverted digits", "noise, as much ink"}
    refused(call("demo", "--quick", "--out", out), "already exists", "--overwrite")
