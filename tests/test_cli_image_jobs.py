"""The command line on what can be done with images: upscale, denoise, texture, receptive-field, attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed
from PIL import Image

import chainrule
from chainrule import data, images

SIZES = ("features=6", "num_layers=2", "kernel_size=3", "first_kernel_size=3", "head=8", "epochs=1")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("image-jobs")


@pytest.fixture(scope="module")
def run(home):
    settings = [part for setting in SIZES for part in ("--set", setting)]
    succeed("train", "gated-pixelcnn", "--data", "digits", "--out", home / "run", "--quiet", *settings)
    return home / "run"


def test_upscaled_images_shrink_to_what_was_given(run, home):
    truth = data.load("digits").test[:3].float()
    low = images.downsample(truth, 2)
    np.save(home / "low.npy", (low * 255).round().numpy().astype(np.uint8))
    out = home / "large.npy"
    told = succeed("upscale", run, home / "low.npy", "-n", 2, "--particles", 32, "--out", out, "--json").json
    large = torch.from_numpy(np.load(out)).float()
    assert (told["factor"], told["exact"], told["shape"]) == (2, True, [3, 2, 1, 8, 8])
    assert torch.equal(images.downsample(large.flatten(0, 1), 2), low.repeat_interleave(2, 0))
    again = succeed("upscale", run, "digits", "--shrink", 2, "--limit", 3, "--out", home / "up.png")
    assert "exactly what was given" in again.out
    assert Image.open(home / "up.png").size[0] > 100


def test_a_scan_becomes_black_and_white_and_flips_are_undone(run, home):
    truth = data.load("digits").test[:4].float()
    grey = 200 - 150 * truth + 5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    np.save(home / "grey.npy", grey.round().numpy().astype(np.uint8))
    succeed("denoise", run, home / "grey.npy", "--from-grey", "--out", home / "ink.npy")
    assert np.array_equal(np.load(home / "ink.npy"), truth.numpy())
    succeed("denoise", run, home / "grey.npy", "--from-grey", "--light-ink", "--out", home / "paper.npy")
    assert np.array_equal(np.load(home / "paper.npy"), 1 - truth.numpy())
    told = succeed(
        "denoise", run, "digits", "--flip", 0.05, "--degrade", "--limit", 4, "--out", home / "d.png", "--json"
    ).json
    assert 0 < told["wrong_before"] < 0.15
    assert len(told["effective_sample_size"]) == 4


def test_textures_have_the_size_asked_for(run, home):
    for method in ("auto", "sliding"):
        out = home / f"{method}.npy"
        succeed("texture", run, "--size", "9x11", "-n", 2, "--seed", 0, "--method", method, "--out", out)
        assert np.load(out).shape == (2, 1, 9, 11)
    model = chainrule.load(run)
    again = images.synthesize_texture(model, (9, 11), 2, seed=0).numpy()
    assert np.array_equal(np.load(home / "auto.npy"), again)


def test_a_receptive_field_is_drawn_and_counted(run, home):
    told = succeed("receptive-field", run, "--pixel", "3,4", "--out", home / "rf.npy", "--json").json
    field = np.load(home / "rf.npy")
    assert told["pixels_seen"] == (field > 0).sum()
    assert told["pixels_before_in_raster_order"] == 28
    assert (field.flatten()[28:] == 0).all()
    succeed("receptive-field", run, "--out", home / "rf.png")
    assert (home / "rf.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("upscale", "RUN", "LOW", "--split", "test", "--out", "x.png"), ("--shrink",)),
        (("upscale", "RUN", "ODD", "--out", "x.png"), ("(1, 3, 3)", "no whole number")),
        (("upscale", "RUN", "digits", "--shrink", 3, "--out", "x.png"), ("8 x 8", "3 x 3")),
        (("upscale", "RUN", "SAME", "--out", "x.png"), ("own size, 8 x 8", "--shrink 2")),
        (("upscale", "RUN", "COLOUR", "--out", "x.png"), ("3 channels", "images of 1", "convert")),
        (("upscale", "RUN", "TALL", "--out", "x.png"), ("(1, 6, 4)", "no whole number")),
        (("denoise", "RUN", "digits", "--out", "x.png"), ("--flip",)),
        (("denoise", "RUN", "digits", "--flip", 2, "--out", "x.png"), ("probability of a flip",)),
        (("denoise", "RUN", "digits", "--from-grey", "--degrade", "--out", "x.png"), ("--degrade",)),
        (("texture", "RUN", "--size", "4x4", "--out", "x.png"), ("smaller than the patches",)),
        (("texture", "RUN", "--size", "big", "--out", "x.png"), ("height x width",)),
        (("texture", "RUN", "--size", "9x9", "--out", "x.gif"), (".png or .npy",)),
        (("texture", "RUN", "--size", "9x9"), ("--out is missing",)),
        (("receptive-field", "RUN", "--pixel", "9,9", "--out", "x.png"), ("at most 7",)),
        (("receptive-field", "RUN", "--pixel", "9", "--out", "x.png"), ("--pixel 14,14",)),
    ],
    ids=str,
)
def test_mistakes_are_one_line(arguments, words, run, home, monkeypatch):
    monkeypatch.chdir(home)
    shapes = {"LOW": (4, 4), "ODD": (3, 3), "SAME": (8, 8), "COLOUR": (3, 4, 4), "TALL": (6, 4)}
    for name, shape in shapes.items():
        np.save(home / f"{name}.npy", np.zeros((1, *shape), np.uint8))
    places = {"RUN": run} | {name: home / f"{name}.npy" for name in shapes}
    refused(call(*(places.get(part, part) for part in arguments)), *words)


@pytest.mark.parametrize(
    "settings",
    [
        ("gated-pixelcnn", "attention_every=1", "features=8", "num_layers=2", "head=8"),
        ("transformer", "width=8", "num_heads=2", "num_layers=1", "ordering=column"),
    ],
)
def test_models_with_attention_over_pixels_train_class_by_class(settings, home):
    model, *pairs = settings
    sets = [part for pair in (*pairs, "epochs=1", "batch_size=200") for part in ("--set", pair)]
    folder = home / model
    succeed("train", model, "--data", "digits", "--class-conditional", "--out", folder, "--quiet", *sets)
    assert 0 < succeed("evaluate", folder, "--json").json["nll"] < 64
    succeed("sample", folder, "--context", "all", "-n", 1, "--seed", 0, "--out", folder / "s.npy")
    assert np.load(folder / "s.npy").shape == (10, 1, 8, 8)
    succeed("fill", folder, "digits", "--mask", "lower-half", "--limit", 2, "--out", folder / "f.npy")
    assert np.load(folder / "f.npy").shape == (2, 1, 8, 8)


def test_a_transformer_reads_colours_of_256_levels(home):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 5)).astype(np.uint8)
    np.save(home / "colour.npy", pixels)
    sets = ("--set", "width=8", "--set", "num_heads=2", "--set", "num_layers=1", "--set", "epochs=1")
    folder = home / "colour"
    succeed("train", "transformer", "--data", home / "colour.npy", "--out", folder, "--quiet", *sets)
    model = chainrule.load(folder)
    assert (model.event_shape, model.conditional.levels) == ((3, 4, 5), 256)


def test_a_damaged_picture_among_good_ones_is_left_out_on_demand(run, home):
    for size, command, more in ((4, "upscale", ()), (8, "denoise", ("--from-grey",))):
        folder = home / f"scans-{command}"
        folder.mkdir()
        for k in range(3):
            Image.new("L", (size, size), 100 * k).save(folder / f"{k}.png")
        (folder / "1.png").write_bytes(b"")
        call_it = [command, run, folder, *more, "--particles", 4, "--out", home / f"{command}.npy"]
        refused(call(*call_it), "1.png is empty", "--skip-bad")
        assert "left out 1 of 3 images: 1.png" in succeed(*call_it, "--skip-bad").err
        assert len(np.load(home / f"{command}.npy")) == 2


def test_images_of_levels_and_of_two_channels(home):
    """Errors of levels are told in levels; images that no PNG can show are drawn into a .npy."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 2, 4, 5)).astype(np.uint8)
    np.save(home / "two.npy", pixels)
    settings = [part for setting in SIZES for part in ("--set", setting)]
    folder = home / "two"
    succeed("train", "gated-pixelcnn", "--data", home / "two.npy", "--out", folder, "--quiet", *settings)
    degrade = ("denoise", folder, home / "two.npy", "--degrade", "--limit", 2, "--particles", 4)
    told = succeed(*degrade, "--noise", 25, "--seed", 0, "--out", home / "two-clean.npy", "--json").json
    assert 15 < told["rms_error_before"] < 35
    assert "RMS error" in succeed(*degrade, "--noise", 25, "--out", home / "again.npy").out
    refused(call(*degrade, "--noise", 25, "--out", home / "again.png"), "2 channels", ".npy")
    scan = call("denoise", folder, home / "two.npy", "--from-grey", "--out", home / "y.npy")
    refused(scan, "256 levels", "--noise S")
    succeed("texture", folder, "--size", "6x7", "--out", home / "two-texture.npy")
    assert np.load(home / "two-texture.npy").shape == (1, 2, 6, 7)


def test_what_is_no_run_of_images_is_refused(home):
    table = home / "rows.npy"
    np.save(table, (np.random.default_rng(0).random((60, 6)) < 0.5).astype(np.uint8))
    folder = home / "rows"
    succeed(
        "train", "nade", "--data", table, "--out", folder, "--quiet", "--set", "epochs=1", "--set", "hidden=4"
    )
    refused(call("texture", folder, "--size", "9x9", "--out", home / "x.png"), "no images")
