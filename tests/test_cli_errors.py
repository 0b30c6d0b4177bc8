"""Bad input: one clear line, exit status 2, no traceback, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch
from cli_helpers import as_process, call, refused, succeed, train_small
from data_helpers import one_line_error
from safetensors.torch import save_file

import chainrule
from chainrule.cli.setting_values import build_model
from chainrule.training.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "nade")


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def one_digit() -> np.ndarray:
    return np.zeros((3, 1, 8, 8), dtype=np.float32)


# ---------------------------------------------------------------- values and files


def damaged_inputs():
    not_binary, not_a_number = one_digit(), one_digit()
    not_binary[1, 0, 2, 3] = 2
    not_a_number[2, 0, 0, 1] = np.nan
    return {
        "not-binary.npy": (not_binary, ("value 2", "0 or 1")),
        "nan.npy": (not_a_number, ("nan",)),
        "shape.npy": (np.zeros((3, 63)), ("63", "(1, 8, 8)", "64")),
        "none.npy": (np.zeros((0, 64)), ("no examples",)),
    }


@pytest.mark.parametrize("name", damaged_inputs())
def test_values_and_shapes_that_do_not_fit(run, tmp_path, name):
    values, words = damaged_inputs()[name]
    np.save(tmp_path / name, values)
    refused(call("score", run, tmp_path / name), name, *words)


@pytest.mark.parametrize("name", ["not-binary.npy", "nan.npy", "none.npy"])
def test_training_on_values_that_do_not_fit(tmp_path, name):
    values, words = damaged_inputs()[name]
    np.save(tmp_path / name, values)
    refused(call("train", "nade", "--data", tmp_path / name, "--out", tmp_path / "r"), name, *words)
    assert not (tmp_path / "r").exists()


def test_files_that_are_empty_truncated_or_unknown(run, tmp_path):
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "whole.npy", one_digit())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:200])
    (tmp_path / "x.doc").write_text("text")
    for name in ("empty.npy", "cut.npy", "x.doc", "missing.npy"):
        refused(call("score", run, tmp_path / name), name)
        refused(call("train", "nade", "--data", tmp_path / name, "--out", tmp_path / "r"), name)


def test_a_missing_data_file_is_named_with_its_size_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    called = call("train", "nade", "--data", "binarized-mnist", "--out", tmp_path / "r")
    refused(called, "binarized_mnist.npz", "2,296,106 bytes", str(tmp_path))


def test_data_that_the_model_cannot_have(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", images)
    train = ("train", "nade", "--out", tmp_path / "r", "--data", tmp_path / "grey.npy")
    refused(call(*train, "--levels", 256, "--set", "conditional=bernoulli"), "0..255", "bernoulli")
    refused(call(*train, "--threshold", 127, "--condition-on-labels"), "class labels")
    np.save(tmp_path / "table.npy", np.zeros((30, 5), dtype=np.uint8))
    refused(call("evaluate", run, "--data", tmp_path / "table.npy"), "(5,)", "(1, 8, 8)")


# ---------------------------------------------------------------- names and settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nad", "--data", "digits"], ["unknown model 'nad'", "'nade'"]),
        (["nade", "--data", "digit"], ["unknown data set 'digit'", "'digits'"]),
        (["nade", "--data", "digits", "--set", "hiden=3"], ["unknown setting 'hiden'", "'hidden'"]),
        (["nade", "--data", "digits", "--set", "epoch=3"], ["unknown setting 'epoch'", "'epochs'"]),
        (["nade", "--data", "digits", "--set", "mask=1"], ["unknown setting 'mask'"]),
        (["nade", "--data", "digits", "--set", "hidden"], ["NAME=VALUE"]),
        (["nade", "--data", "digits", "--set", "hidden=many"], ["hidden=many", "a whole number"]),
        (["nade", "--data", "digits", "--set", "hidden=5,5"], ["hidden=5,5", "a whole number"]),
        (["nade", "--data", "digits", "--set", "hidden=0"], ["hidden", "0"]),
        (["made", "--data", "digits", "--set", "activation=rely"], ["activation", "relu"]),
        (["nade", "--data", "digits", "--set", "ordering=spyral"], ["unknown ordering", "'spiral'"]),
        (["nade", "--data", "digits", "--set", "epochs=0"], ["epochs=0", "greater than or equal to 1"]),
        (["nade", "--data", "digits", "--set", "learning_rate=NaN"], ["learning_rate"]),
        (["nade", "--preset", "papre"], ["unknown preset of nade 'papre'", "'paper'"]),
        (["independent", "--preset", "paper"], ["has no presets"]),
        (["ensemble", "--data", "digits"], ["made of trained models", "chainrule mix"]),
        (["nade", "--data", "digits", "--set", f"seed={10**30}"], ["seed"]),
        (["nade", "--data", "digits", "--set", "context_size=-1"], ["context_size", "-1"]),
        (["nade", "--data", "digits", "--set", "hidden=99999999999"], ["hidden", "99999999999"]),
        (["nade", "--data", "digits", "--set", "ordering=leraned"], ["'leraned'", "'learned'", "spiral"]),
        (["nade", "--data", "digits", "--levels", "2", "--dynamic"], ["takes no --dynamic, --levels"]),
        (["nade", "--data", "x.npy", "--threshold", "1", "--dynamic"], ["leave --threshold"]),
        (["nade", "--data", "x.npy", "--threshold", "1", "--levels", "4"], ["leave --levels out"]),
        (["independent", "--data", "digits", "--condition-on-labels"], ["takes no context"]),
        (["nade"], ["--data is missing"]),
        (["--data", "digits"], ["MODEL is missing"]),
        (["--resume"], ["no run to resume"]),
    ],
)
def test_what_train_is_asked(tmp_path, arguments, words):
    refused(call("train", *arguments, "--out", tmp_path / "r"), *words)
    assert not (tmp_path / "r").exists()


def test_train_needs_a_folder_to_write_to(tmp_path):
    refused(call("train", "nade", "--data", "digits"), "--out is missing")


def test_options_of_the_other_commands(run, tmp_path):
    out = tmp_path / "x.png"
    refused(call("sample", run), "--out is missing")
    refused(call("sample", run, "--out", tmp_path / "x.jpg"), ".png")
    refused(call("sample", run, "--out", tmp_path / "nowhere" / "x.png"), "nowhere", "folder")
    refused(call("sample", run, "-n", 0, "--out", out), "-n")
    for temperature in (0, "nan", "inf"):
        refused(call("sample", run, "--temperature", temperature, "--out", out), "--temperature")
    for seed in (-1, 10**30):
        refused(call("sample", run, "--seed", seed, "--out", out), "--seed", str(seed))
    refused(call("sample", run, "-n", 100_000, "--out", out), "at most", ".npy")
    refused(call("sample", run, "--method", "naiv", "--out", out), "'naive'")
    refused(call("sample", run, "--context", 7, "--out", out), "no context")
    refused(call("sample", run, "--members", 2, "--out", out), "nade")
    refused(call("evaluate", run, "--split", "tests"), "unknown split", "'test'")
    refused(call("evaluate", run, "--limit", 0), "--limit")
    refused(call("score", run, "digits", "--per-variable"), "--out")
    refused(call("score", run, "digits", "--out", out), "--per-variable")
    refused(call("score", run, "digits", "--out", tmp_path / "x.txt"), ".csv")
    refused(call("score", run, "digits", "--threshold", 3), "--threshold")
    refused(call("score", run, "digts"), "unknown data set 'digts'", "'digits'", "no such file")
    refused(call("score", run, tmp_path / "x.npy", "--split", "train"), "--split train", "leave it out")
    assert list(tmp_path.iterdir()) == []


def test_thresholds_that_are_no_numbers(run, tmp_path):
    np.save(tmp_path / "x.npy", one_digit())
    for threshold in ("nan", "inf"):
        refused(call("score", run, tmp_path / "x.npy", "--threshold", threshold), f"threshold={threshold}")
        train = ("train", "nade", "--data", tmp_path / "x.npy", "--out", tmp_path / "r")
        refused(call(*train, "--threshold", threshold), f"threshold={threshold}")


def test_contexts_that_do_not_fit(tmp_path):
    folder = train_small(tmp_path / "r", "nade", "--condition-on-labels")
    sample = ("sample", folder, "--out", tmp_path / "x.npy")
    for context in ("10", "-1", str(10**30), "nan,0,0,0,0,0,0,0,0,0", "1,20", "seven", "0.5"):
        refused(call(*sample, "--context", context), f"--context {context!r}", "0..9")
    refused(call(*sample), "add --context")
    np.save(tmp_path / "digits.npy", one_digit())
    refused(call("score", folder, tmp_path / "digits.npy"), "add --context")


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("can't allocate memory\nand more"), OverflowError("too large")]
)
def test_settings_of_a_model_too_large_for_memory(failure):
    class Greedy(chainrule.models.NADE):
        def __init__(self, event_shape, hidden: int = 1) -> None:
            raise failure

    one_line_error(lambda: build_model(Greedy, (4,), {"hidden": 3}, 0), "Greedy", "hidden=3", "cannot be")


def test_own_files_without_validation_examples(tmp_path):
    rows = np.random.default_rng(0).integers(0, 2, (30, 5)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", train=rows, test=rows)
    train = ("train", "fvsbn", "--out", tmp_path / "r", "--set", "epochs=1", "--quiet", "--data")
    refused(call(*train, tmp_path / "x.npz"), "array named 'validation'", "80 / 10 / 10")
    assert not (tmp_path / "r").exists()
    np.savez(tmp_path / "x.npz", train=rows, test=rows, validation=rows)
    succeed(*train, tmp_path / "x.npz")


def test_members_are_counted(tmp_path):
    folder = train_small(tmp_path / "made", "made")
    refused(call("evaluate", folder, "--members", 2), "1 masks")
    refused(call("evaluate", folder, "--members", 0), "at least 1")
    refused(call("score", folder, "digits", "--members", 2, "--per-variable", "--out", "x.npz"), "mixture")


# ---------------------------------------------------------------- what is there already


def test_nothing_is_overwritten_unasked(copy, tmp_path):
    weights = (copy / "model.safetensors").read_bytes()
    refused(call("train", "fvsbn", "--data", "digits", "--out", copy), "already exists", "--overwrite")
    assert (copy / "model.safetensors").read_bytes() == weights
    kept = tmp_path / "kept.csv"
    kept.write_text("mine")
    refused(call("sample", copy, "--out", kept), "already exists", "--overwrite")
    refused(call("score", copy, "digits", "--out", kept), "already exists", "--overwrite")
    assert kept.read_text() == "mine"
    succeed("sample", copy, "-n", 2, "--out", kept, "--overwrite")
    assert len(kept.read_text().splitlines()) == 2


def test_a_folder_that_is_no_run_is_not_replaced(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    called = call("train", "nade", "--data", "digits", "--out", mine, "--overwrite")
    refused(called, "not a run folder")
    assert (mine / "thesis.txt").read_text() == "years of work"


# ---------------------------------------------------------------- runs that are none, or damaged

READERS = [("evaluate",), ("sample", "--out", "x.npy"), ("score", "digits")]


def read_with(command, folder, tmp_path):
    name, *rest = command
    rest = [str(tmp_path / part) if part == "x.npy" else part for part in rest]
    return call(name, folder, *rest)


@pytest.mark.parametrize("command", READERS)
def test_folders_that_are_no_run(run, tmp_path, command):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    refused(read_with(command, tmp_path / "empty", tmp_path), "holds no model")
    refused(read_with(command, tmp_path / "file", tmp_path), "is a file")
    refused(read_with(command, tmp_path / "missing", tmp_path), "does not exist")
    refused(read_with(command, run.parent / "nadd", tmp_path), "does not exist", f"did you mean {run}")


def test_a_misspelt_run_never_becomes_a_download(monkeypatch):
    monkeypatch.setattr("chainrule.saving._download", lambda *_: pytest.fail("went to the network"))
    refused(call("evaluate", "user/model"), "does not exist", "hub:")


@pytest.mark.parametrize("command", READERS)
def test_an_incompatible_version(copy, tmp_path, command):
    config = json.loads((copy / "config.json").read_text())
    config |= {"format": 99, "chainrule": "9.9"}
    (copy / "config.json").write_text(json.dumps(config))
    refused(read_with(command, copy, tmp_path), "format 99", "9.9", "format 1")
    refused(call("train", "--resume", "--out", copy), "format 99")


def test_damaged_configurations(copy):
    path = copy / "config.json"
    content = json.loads(path.read_text())
    for text in ("{", "[]", '"text"', "{}"):
        path.write_text(text)
        refused(call("evaluate", copy), "config.json")
    path.write_text(json.dumps(content | {"model": "NeuralOracle"}))
    refused(call("evaluate", copy), "NeuralOracle")
    for changed in ({"hidden": 9}, {"colour": "red"}):
        path.write_text(json.dumps(content | {"settings": content["settings"] | changed}))
        refused(call("evaluate", copy), "config.json", "model.safetensors")


def test_values_of_a_configuration_that_are_of_another_kind(copy):
    path = copy / "config.json"
    content = json.loads(path.read_text())
    data = {"spec": "digits", "options": {}}
    for changed, word in [
        ({"model": ["NADE"]}, "model"),
        ({"settings": [1]}, "settings"),
        ({"notes": {"data": data | {"options": {"colour": 1}}}}, "'colour'"),
        ({"notes": {"data": data | {"options": [1]}}}, "options"),
        ({"notes": {"data": data | {"spec": 3}}}, "spec"),
        ({"notes": {"data": "digits"}}, "spec"),
        ({"notes": ["digits"]}, "notes"),
    ]:
        path.write_text(json.dumps(content | changed))
        refused(call("evaluate", copy), word)
        refused(call("train", "--resume", "--out", copy), word)
    path.write_text(json.dumps(content | {"training": [1]}))
    refused(call("train", "--resume", "--out", copy), "training")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(copy, tmp_path, command, value):
    tensors = Run(copy).model_tensors()
    tensors["output_bias"][3] = value
    save_file(tensors, copy / "model.safetensors")
    refused(read_with(command, copy, tmp_path), "NaN", "output_bias", "train")


def test_weights_of_another_model(copy):
    other = {name: tensor[..., :-1] for name, tensor in Run(copy).model_tensors().items()}
    save_file({name: tensor.contiguous() for name, tensor in other.items()}, copy / "model.safetensors")
    refused(call("evaluate", copy), "do not fit")
    config = json.loads((copy / "config.json").read_text())
    config["settings"]["colour"] = "red"
    (copy / "config.json").write_text(json.dumps(config))
    refused(call("evaluate", copy), "colour")


@pytest.mark.parametrize("command", READERS)
def test_damaged_weights(copy, tmp_path, command):
    weights = copy / "model.safetensors"
    content = weights.read_bytes()
    for damaged in (b"", content[:100], content[:-8], b"\xff" * len(content)):
        weights.write_bytes(damaged)
        refused(read_with(command, copy, tmp_path), "model.safetensors", "damaged")
    weights.unlink()
    refused(read_with(command, copy, tmp_path), "model.safetensors", "missing")


def test_a_run_whose_data_is_gone(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (30, 5)).astype(np.uint8))
    folder = tmp_path / "r"
    succeed("train", "fvsbn", "--data", tmp_path / "x.npy", "--set", "epochs=1", "--quiet", "--out", folder)
    assert not (folder / "samples.png").exists()
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    refused(call("evaluate", folder), str(tmp_path / "x.npy"))
    succeed("evaluate", folder, "--data", tmp_path / "y.npy")
    refused(call("sample", folder, "--out", tmp_path / "s.png"), "no images")


# ---------------------------------------------------------------- no space left


def full_disk_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.fsync` works so many times more and then finds the disk full."""
    left, really = [calls], os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("writes", [3, 6, 7])
def test_a_full_disk_while_training_loses_nothing(tmp_path, monkeypatch, writes):
    settings = ("--set", "hidden=8", "--set", "epochs=3", "--set", "checkpoint_minutes=0", "--quiet")
    start = ("train", "nade", "--data", "digits", *settings, "--out")
    succeed(*start, tmp_path / "whole")
    with monkeypatch.context() as patch:
        full_disk_after(writes, patch)
        refused(call(*start, tmp_path / "r"), "could not be written", "unchanged")
    assert not list((tmp_path / "r").rglob("*.partial"))
    succeed("train", "--resume", "--quiet", "--out", tmp_path / "r")
    whole, resumed = Run(tmp_path / "whole").model_tensors(), Run(tmp_path / "r").model_tensors()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("suffix", [".png", ".npy", ".csv"])
def test_a_full_disk_leaves_the_old_samples(copy, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"s{suffix}"
    succeed("sample", copy, "-n", 2, "--seed", 0, "--out", out)
    before = out.read_bytes()
    with monkeypatch.context() as patch:
        full_disk_after(0, patch)
        refused(call("sample", copy, "-n", 3, "--out", out, "--overwrite"), "No space left")
    assert out.read_bytes() == before
    assert chainrule.load(copy)


# ---------------------------------------------------------------- real processes


def test_real_processes_end_with_2_and_one_line(copy, tmp_path):
    (copy / "model.safetensors").write_bytes(b"damaged")
    (tmp_path / "taken.png").touch()
    refused(as_process("train", "nad", "--data", "digits", "--out", "r", cwd=tmp_path), "'nade'")
    refused(as_process("evaluate", "copy", cwd=tmp_path), "damaged")
    refused(as_process("sample", "copy", "--out", "taken.png", cwd=tmp_path), "already exists")
    refused(as_process("frobnicate", cwd=tmp_path), "frobnicate")
