"""`chainrule detect` and `chainrule purify` on runs of images."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed
from PIL import Image
from security_helpers import LEVELS, grey_digits, noisy, trained

import chainrule as cr
from chainrule.cli.detect_images import is_image_run
from chainrule.cli.detect_options import IMAGE_SCORES
from chainrule.models import GatedPixelCNN
from chainrule.security import SCORES, PixelDefend, mutated_dataset, purify


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A density and a background model with their runs, and files of clean, attacked and scaled images."""
    folder = tmp_path_factory.mktemp("detect-images")
    digits = grey_digits()
    arrays = {split: digits.split(split).numpy() for split in ("train", "validation", "test")}
    np.savez(folder / "digits.npz", **arrays)
    np.save(folder / "clean.npy", arrays["test"])
    np.savez(folder / "attacked.npz", images=noisy(digits.test, 2).numpy(), labels=digits.labels["test"])
    np.save(folder / "scaled.npy", arrays["test"] / 16)
    notes = {"data": {"spec": str(folder / "digits.npz"), "options": {"levels": LEVELS}}}
    settings = {"epochs": 1, "batch_size": 100, "progress": False}
    for name, data in (("density", digits), ("background", mutated_dataset(digits, 0.3))):
        model = GatedPixelCNN(
            (1, 8, 8), features=12, num_layers=2, kernel_size=3, first_kernel_size=5, head=(24,),
            conditional=trained().conditional,
        )  # fmt: skip
        model.load_state_dict(trained().state_dict() if name == "density" else trained(epochs=1).state_dict())
        cr.fit(model, data, folder / name, notes=notes, learning_rate=1e-4, **settings)
    return folder


@pytest.fixture(scope="module")
def guarded(home):
    """The density with a guard, and what `fit` said."""
    shutil.copytree(home / "density", home / "guarded")
    return home / "guarded", succeed("detect", "fit", home / "guarded", "--level", "0.05", "--json").json


def test_runs_of_images_are_told_from_others(home, tmp_path):
    assert is_image_run(str(home / "density"))
    assert not is_image_run(str(home))
    assert not is_image_run(str(home / "digits.npz"))
    (tmp_path / "config.json").write_text('{"settings": {"event_shape": [4]}}')
    assert not is_image_run(str(tmp_path))


def test_the_names_of_the_scores_are_known_without_importing_them():
    assert set(IMAGE_SCORES) == set(SCORES)


# ---------------------------------------------------------------- fit


def test_fit_leaves_a_guard_in_the_run(guarded):
    run, said = guarded
    guard = PixelDefend.load(run)
    assert said["images"] == said["reference_images"] == 450
    assert said["clean"].endswith("digits.npz (validation)")
    assert said["score"] == "log-likelihood"
    assert said["threshold"] == guard.detector.threshold
    assert guard.detector.rule.value == 0.05
    low, high = said["clean_interval"]
    assert low < 0.05 < high


def test_fit_elsewhere_with_another_score_and_its_background(home):
    called = succeed(
        "detect", "fit", home / "density", "--out", home / "ratio", "--score", "likelihood-ratio",
        "--background", home / "background", "--mean-sd", "3", "--eps", "2", "--limit", "100",
    )  # fmt: skip
    assert "100 calibration images" in called.out
    assert "mean - 3 sd" in called.out
    guard = PixelDefend.load(home / "ratio")
    assert (guard.score.name, guard.eps) == ("likelihood-ratio", 2)
    assert not (home / "density" / "guard.json").exists()


def test_training_images_are_labelled(home):
    called = succeed("detect", "fit", home / "density", "--out", home / "published", "--split", "train")
    assert "900 training images, as published: its p-values are not valid" in called.out


def test_a_warning_where_the_clean_images_are_of_another_kind(home):
    np.save(home / "other.npy", (16 - grey_digits().test).numpy())
    options = ["--data", home / "other.npy", "--out", home / "warned"]
    assert "another data set" in succeed("detect", "fit", home / "density", *options).err


# ---------------------------------------------------------------- score


def test_score_judges_every_image_and_shows_the_oddest(home, guarded):
    run, _ = guarded
    out = home / "decisions.csv"
    called = succeed("detect", "score", run, home / "attacked.npz", "--out", out, "--top", "3")
    assert "447 images" in called.out
    assert "these hold odd ones" in called.out
    rows = list(csv.DictReader(out.open()))
    guard = PixelDefend.load(run)
    attacked = noisy(grey_digits().test, 2)
    np.testing.assert_allclose([float(row["p_value"]) for row in rows], guard.p_values(attacked))
    refusals = [row["decision"] == "refuse" for row in rows]
    assert refusals == guard.alarms(attacked).tolist()
    assert np.mean(refusals) > 0.9
    assert {"place_row", "place_column", "reason"} <= rows[0].keys()
    assert refused(call("detect", "score", run, home / "attacked.npz", "--out", out), "--overwrite")


def test_score_as_lines_of_json_under_another_level(home, guarded):
    run, _ = guarded
    out = home / "decisions.jsonl"
    said = succeed(
        "detect", "score", run, home / "clean.npy", "--out", out, "--level", "0.2", "--top", "2", "--json"
    ).json
    assert said["images"] == 447
    low, high = said["clean_interval"]
    assert low <= said["alarm_rate"] <= high
    assert len(said["top"]) == 2
    assert said["top"][0]["score"] <= said["top"][1]["score"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum(line["decision"] == "refuse" for line in lines) == said["alarms"]


def test_files_of_pictures_keep_their_names(home, guarded):
    folder = home / "pngs"
    folder.mkdir()
    for k, image in enumerate(grey_digits().test[:3, 0].numpy()):
        Image.fromarray(image).save(folder / f"digit{k}.png")
    said = succeed("detect", "score", guarded[0], folder, "--json").json
    assert {row["file"] for row in said["top"]} == {"digit0.png", "digit1.png", "digit2.png"}


# ---------------------------------------------------------------- evaluate


def test_a_damaged_picture_among_good_ones_is_named_and_may_be_left_out(home, guarded, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(np.load(home / "clean.npy")[:3]):
        Image.fromarray(image[0].astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"no picture")
    for command in (
        ("detect", "score", guarded[0], folder, "--json"),
        ("purify", guarded[0], folder, "--eps", "1", "--out", tmp_path / "p.npy", "--json"),
    ):
        refused(call(*command), "1.png", "--skip-bad")
        called = succeed(*command, "--skip-bad")
        assert called.json["images"] == 2
        assert "1.png" in called.err
    refused(call("detect", "score", home, folder, "--skip-bad"), "runs of images")


def test_evaluate_reports_every_score(home):
    out = home / "report.json"
    called = succeed(
        "detect", "evaluate", home / "density", "--odd", home / "attacked.npz", "--odd", home / "clean.npy",
        "--background", home / "background", "--out", out,
    )  # fmt: skip
    report = json.loads(out.read_text())
    attacked, same = report["odd"]
    assert [row["score"] for row in attacked["scores"]] == list(SCORES)
    by_name = {row["score"]: row for row in attacked["scores"]}
    assert by_name["log-likelihood"]["auroc"]["value"] > 0.97
    assert by_name["log-likelihood"]["detection_rate"]["value"] > 0.9
    for row in attacked["scores"]:
        low, high = row["expected_interval"]
        assert low <= row["false_alarm_rate"]["value"] <= high
        assert row["score"] in called.out
    for row in same["scores"]:
        assert row["auroc"]["value"] == 0.5  # the clean images against themselves
    alone = succeed("detect", "evaluate", home / "density", "--odd", home / "attacked.npz", "--limit", "200")
    assert "likelihood-ratio: needs a run" in alone.out


# ---------------------------------------------------------------- purify


def test_purify_writes_what_the_function_returns(home):
    out = home / "purified.npz"
    said = succeed(
        "purify", home / "density", home / "attacked.npz", "--eps", "2", "--limit", "50", "--out", out,
        "--json", "--quiet",
    ).json  # fmt: skip
    with np.load(out) as arrays:
        images, original = arrays["images"], arrays["original"]
        labels = arrays["labels"]
    expected_rows = torch.linspace(0, 446, 50).round().long()
    assert np.array_equal(labels, grey_digits().labels["test"][expected_rows])
    assert np.array_equal(original, noisy(grey_digits().test, 2)[expected_rows])
    model = cr.load(home / "density")
    expected = purify(model, torch.from_numpy(original), 2)
    assert np.array_equal(images, expected.numpy())
    assert said["images"] == 50
    assert said["mean_log_prob_after"] > said["mean_log_prob_before"] + 20
    assert said["share_of_pixels_changed"] == np.mean(images != original)
    again = ["purify", home / "density", out, "--eps", "1", "--out", home / "twice.npy", "--bits", "3"]
    assert "mean log p after" in succeed(*again).out
    assert np.load(home / "twice.npy").shape == images.shape


def test_purify_draws_before_and_after_and_heeds_the_guard(home, guarded):
    run, _ = guarded
    picture = home / "before_after.png"
    options = ["--eps", "2", "--limit", "20", "--adaptive", "--out"]
    called = succeed("purify", run, home / "clean.npy", *options, picture)
    assert min(Image.open(picture).size) > 50
    changed = int(next(line for line in called.out.splitlines() if line.startswith("changed")).split()[1])
    assert changed < 6  # about a twentieth of clean images
    climbed = ["--eps", "1", "--limit", "2", "--method", "gradient", "--out", home / "climbed.npy"]
    assert "gradient" in succeed("purify", run, home / "attacked.npz", *climbed).out


# ---------------------------------------------------------------- mistakes


def test_mistakes_are_one_line(home, guarded, tmp_path):
    run, density, attacked = guarded[0], home / "density", home / "attacked.npz"
    refused(call("detect", "fit", run), "already holds a guard", "--overwrite")
    refused(call("detect", "fit", density, "--limit", "50", "--out", tmp_path / "x"), "99", "0.0196")
    refused(call("detect", "fit", density, "--label", "fraud"), "--label", "not for runs of images")
    refused(
        call("detect", "fit", "wine", "--score", "typicality", "--out", tmp_path / "y"), "--score", "tables"
    )
    refused(call("detect", "fit", density, "--score", "typical", "--out", tmp_path / "z"), "typicality")
    refused(call("detect", "score", density, attacked), "holds no guard", "chainrule detect fit")
    refused(call("detect", "score", run, attacked, "--level", "0.001"), "--level 0.001", "999", "450")
    refused(call("detect", "score", run, attacked, "--out", tmp_path / "a.txt"), ".csv", ".jsonl")
    print(refused(call("detect", "score", run, home / "scaled.npy"), "scaled.npy"))
    refused(call("detect", "evaluate", density), "--odd is missing")
    refused(call("detect", "evaluate", density, "--odd", "mnits"), "mnits")
    refused(call("purify", density, attacked, "--out", tmp_path / "p.npz"), "--eps is missing")
    refused(call("purify", density, attacked, "--eps", "2", "--out", tmp_path / "p.csv"), ".npz")
    refused(
        call("purify", density, attacked, "--eps", "2", "--adaptive", "--out", tmp_path / "p.npz"), "guard"
    )
    refused(
        call("purify", density, attacked, "--eps", "2", "--method", "slow", "--out", tmp_path / "p.npz"),
        "greedy",
    )
    refused(call("purify", density, home / "scaled.npy", "--eps", "2", "--out", tmp_path / "p.npz"), "scaled")
