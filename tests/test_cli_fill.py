"""`chainrule fill`: holes from masks and from NaN, the files it writes, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed, train_small
from PIL import Image

import chainrule
from chainrule import data
from chainrule.report.fillings import HOLE


@pytest.fixture(scope="module")
def nade(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "nade")


@pytest.fixture(scope="module")
def by_class(tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "by-class", "nade", "--condition-on-labels")


@pytest.fixture
def images():
    return data.load("digits").test[:6].numpy()  # (6, 1, 8, 8)


def test_the_lower_half_of_digits_is_filled_exactly(nade, tmp_path):
    out = tmp_path / "filled.npz"
    said = succeed(
        "fill", nade, "digits", "--mask", "bottom", "--limit", 5, "-n", 3, "--seed", 7, "--out", out, "--json"
    ).json
    with np.load(out) as arrays:
        filled, mask = arrays["filled"], arrays["mask"]
        assert filled.shape == (5, 3, 1, 8, 8)
        assert filled.dtype == np.uint8
        assert np.isinf(arrays["effective_sample_size"]).all()
        assert list(arrays["method"]) == ["exact"] * 5
        log_evidence = arrays["log_evidence"]
    assert mask[:, :, 4:].all()
    assert not mask[:, :, :4].any()
    assert (filled[:, 0] == filled[:, 1])[~mask].all()
    assert (filled[:, 0] != filled[:, 1]).any()
    assert said["examples"] == 5
    assert said["unknown_per_example"] == 32
    assert [row["log_evidence"] for row in said["rows"]] == pytest.approx(log_evidence.tolist())
    # The evidence of the upper half is the sum of its conditionals.
    model = chainrule.load(nade)
    with torch.no_grad():
        surprise = model.log_prob_per_variable(torch.from_numpy(filled[:, 0]))[:, :, :4].flatten(1).sum(1)
    assert log_evidence == pytest.approx(surprise.double().numpy(), abs=1e-4)


def test_nan_marks_holes_and_masks_say_the_same(nade, images, tmp_path):
    holes = np.zeros(images.shape, bool)
    holes[:, :, 2:4, 3:6] = True
    np.save(tmp_path / "nan.npy", np.where(holes, np.nan, images))
    np.save(tmp_path / "whole.npy", images)
    np.save(tmp_path / "each.npy", holes)
    np.save(tmp_path / "one.npy", holes[0, 0])
    Image.fromarray(holes[0, 0].astype(np.uint8) * 255).save(tmp_path / "mask.png")
    options = ["--seed", 3, "--particles", 40]
    succeed("fill", nade, tmp_path / "nan.npy", *options, "--out", tmp_path / "a.npy")
    expected = np.load(tmp_path / "a.npy")
    assert expected.shape == images.shape
    assert (expected == images)[~holes].all()
    for mask in ("each.npy", "one.npy", "mask.png"):
        succeed(
            "fill", nade, tmp_path / "whole.npy", "--mask", tmp_path / mask, *options,
            "--out", tmp_path / "b.npy", "--overwrite",
        )  # fmt: skip
        assert np.array_equal(np.load(tmp_path / "b.npy"), expected)
    filled = chainrule.load(nade).fill(
        torch.from_numpy(images), torch.from_numpy(holes), seed=3, num_particles=40
    )
    assert np.array_equal(filled.numpy(), expected)


def test_an_image_is_filled_and_shown_before_and_after(nade, images, tmp_path):
    Image.fromarray(images[0, 0] * 255).save(tmp_path / "digit.png")
    called = succeed(
        "fill", nade, tmp_path / "digit.png", "--mask", "top", "-n", 4, "--out", tmp_path / "filled.png"
    )
    assert "particles" in called.out
    assert "log p(known)" in called.out
    with Image.open(tmp_path / "filled.png") as picture:
        assert picture.text["seed"] in called.out
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        orange = (colours == np.array(HOLE)).all(1).mean()
    assert 0.02 < orange < 0.2  # half of the first of six panels, less the margins


def test_csv_and_the_methods(nade, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    common = ["fill", nade, tmp_path / "images.npy", "--mask", "left", "--seed", 0, "--overwrite"]
    for method in ("importance", "left-to-right", "particles"):
        said = succeed(*common, "--method", method, "--out", tmp_path / "filled.csv", "--json").json
        assert {row["method"] for row in said["rows"]} == {method}
        json.dumps(said, allow_nan=False)
    rows = np.loadtxt(tmp_path / "filled.csv", delimiter=",")
    assert rows.shape == (6, 64)
    assert (rows.reshape(images.shape) == images)[..., 4:].all()
    refused(call(*common, "--method", "exact", "--out", tmp_path / "filled.csv"), "row 0", "particles")


def test_few_particles_are_one_line_on_stderr(nade, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    called = succeed(
        "fill", nade, tmp_path / "images.npy", "--mask", "top", "--particles", 2, "--seed", 0,
        "--out", tmp_path / "filled.npy", "--json",
    )  # fmt: skip
    lines = called.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("chainrule: warning: filling in: ")
    assert "--particles" in lines[0]
    assert called.json["particles"] == 2


def test_labels_of_a_data_set_and_a_label_for_all(by_class, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    out = ["--mask", "bottom", "--seed", 0, "--out", tmp_path / "filled.npy", "--overwrite"]
    succeed("fill", by_class, "digits", "--limit", 4, *out)
    succeed("fill", by_class, tmp_path / "images.npy", "--context", 3, *out)
    refused(call("fill", by_class, tmp_path / "images.npy", *out), "--context", "0..9")
    refused(call("fill", by_class, tmp_path / "images.npy", "--context", 12, *out), "12", "0..9")


def test_mistakes_are_one_line(nade, images, tmp_path):
    source, out = tmp_path / "images.npy", tmp_path / "filled.npy"
    np.save(source, images)
    np.save(tmp_path / "small.npy", np.zeros((7, 7), bool))
    np.save(tmp_path / "three.npy", np.zeros((3, 1, 8, 8), bool))
    np.save(tmp_path / "grey.npy", np.full((8, 8), 7))
    fill = ["fill", nade, source]
    refused(call(*fill, "--mask", "top"), "--out is missing")
    refused(call(*fill, "--mask", "top", "--out", "filled.jpg"), ".png, .npy, .npz, .csv")
    refused(call(*fill, "--out", out), "no NaN", "--mask")
    refused(call(*fill, "--mask", "botom", "--out", out), "did you mean 'bottom'")
    refused(call(*fill, "--mask", tmp_path / "none.npy", "--out", out), "none.npy", "no such file")
    refused(call(*fill, "--mask", tmp_path / "small.npy", "--out", out), "small.npy", "(1, 8, 8)")
    refused(call(*fill, "--mask", tmp_path / "three.npy", "--out", out), "3 masks for 6 examples")
    refused(call(*fill, "--mask", tmp_path / "grey.npy", "--out", out), "grey.npy holds 7", "white")
    refused(call(*fill, "--mask", "top", "--out", out, "-n", 0), "-n", "at least 1")
    refused(call(*fill, "--mask", "top", "--out", out, "--particles", 0), "--particles", "at least 1")
    refused(call(*fill, "--mask", "top", "--out", out, "--method", "exakt"), "did you mean 'exact'")
    refused(call(*fill, "--mask", "top", "--out", out, "--temperature", 0), "temperature")
    refused(call(*fill, "--mask", "top", "--out", out, "--split", "test"), "--split")
    refused(call("fill", nade, "digit", "--mask", "top", "--out", out), "did you mean", "digits")
    refused(call(*fill, "--mask", "top", "--out", tmp_path / "p.png", "-n", 10**6), "too many", "--limit")
    odd = images.astype(float)
    odd[2, 0, 1, 1] = 0.5
    np.save(tmp_path / "odd.npy", odd)
    refused(call("fill", nade, tmp_path / "odd.npy", "--mask", "top", "--out", out), "odd.npy", "0.5")
    assert not out.exists()
    out.write_bytes(b"kept")
    refused(call(*fill, "--mask", "top", "--out", out), "already exists", "--overwrite")
    assert out.read_bytes() == b"kept"
