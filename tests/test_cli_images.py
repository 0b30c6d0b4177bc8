"""The command line on images: people's own, grey and colour, class by class, masked, drawn and animated."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_helpers import call, refused, succeed
from PIL import Image

import chainrule
from chainrule import data
from chainrule.cli.masks import read_mask
from chainrule.cli.sources import DataChoice
from chainrule.cli.train_choices import seconds_an_epoch
from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.models import MODELS
from chainrule.presets import PRESETS
from chainrule.training.run import Run

SMALL = [
    part
    for setting in ("features=6", "num_blocks=1", "head=8", "epochs=1", "batch_size=50")
    for part in ("--set", setting)
]


def train(folder: Path, spec: object, *more: object) -> Path:
    succeed("train", "pixelcnn", "--data", spec, "--out", folder, "--quiet", *SMALL, *more)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def pictures(home):
    """Colour pictures of 5 x 4 pixels in two class folders, 30 of each: red ones and blue ones."""
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (home / "pictures" / name).mkdir(parents=True)
        for k in range(30):
            pixels = rng.integers(0, 60, (5, 4, 3)).astype(np.uint8)
            pixels[..., channel] += 190
            Image.fromarray(pixels).save(home / "pictures" / name / f"{k}.png")
    return home / "pictures"


@pytest.fixture(scope="module")
def colour(home, pictures):
    return train(home / "colour", pictures, "--class-conditional")


@pytest.fixture(scope="module")
def digits(home):
    return train(home / "digits", "digits", "--class-conditional")


# ---------------------------------------------------------------- training


def test_the_family_follows_from_the_data(colour, home):
    model = chainrule.load(colour)
    assert isinstance(model.conditional, Categorical)
    assert (model.conditional.levels, model.event_shape, model.context_size) == (256, (3, 5, 4), 2)
    config = Run(colour).config
    assert config["notes"]["label_names"] == ["blue", "red"]
    assert config["notes"]["data"]["options"] == {"levels": 256}
    for picture in ("samples.png", "conditionals.png"):
        assert min(Image.open(colour / picture).size) > 100
    said = succeed("evaluate", colour, "--json").json
    assert said["examples"] == 6
    assert call("train", "--resume", "--out", colour).status == 0


def test_many_levels_in_a_flat_model_and_a_family_by_name(home):
    grey = np.random.default_rng(0).integers(0, 256, (30, 4, 4)).astype(np.uint8)
    np.save(home / "grey.npy", grey)
    options = ["--data", home / "grey.npy", "--set", "epochs=1", "--set", "hidden=4"]
    called = succeed("train", "nade", *options, "--out", home / "grey")
    assert "256 levels: conditional=discretized_logistic_mixture" in called.err
    assert "--threshold" in called.err
    assert isinstance(chainrule.load(home / "grey").conditional, DiscretizedLogisticMixture)
    named = ["--set", "conditional=categorical", "--overwrite", "--quiet"]
    succeed("train", "nade", *options, *named, "--out", home / "grey")
    assert chainrule.load(home / "grey").conditional.levels == 256
    # A black and white file is read for this model as the grey ones were.
    np.save(home / "ink.npy", (grey > 127) * 255)
    assert succeed("score", home / "grey", home / "ink.npy", "--json").json["examples"] == 30
    assert succeed("evaluate", home / "grey", "--data", home / "ink.npy", "--json").json["examples"] == 3


def test_a_large_network_is_announced_with_the_way_out(home, monkeypatch):
    from chainrule.cli import train as command
    from chainrule.cli import train_choices

    monkeypatch.setattr(train_choices, "_products_per_second", lambda: 1e9)

    class Stop(Exception):
        pass

    def stop(*arguments):
        raise Stop

    monkeypatch.setattr(command, "_fit", stop)
    start = ["train", "pixelcnn", "--data", "digits", "--out", home / "large"]
    (line,) = [said for said in call(*start).err.splitlines() if "published size" in said]
    assert "4,525,313 parameters" in line
    assert "--preset small has 27,265" in line
    for more in (["--preset", "small"], ["--set", "features=100"], ["--quiet"]):
        assert "published size" not in call(*start, *more).err


def test_the_estimate_grows_with_network_and_data():
    digits = data.load("digits")
    small, large = (MODELS["pixelcnn"]((1, 8, 8), features=f, num_blocks=2, head=(8,)) for f in (4, 40))
    assert seconds_an_epoch(large, digits, 1e9) > 20 * seconds_an_epoch(small, digits, 1e9)
    assert seconds_an_epoch(small, digits, 2e9) == pytest.approx(seconds_an_epoch(small, digits, 1e9) / 2)


@pytest.mark.parametrize("model", [name for name in PRESETS if "small" in PRESETS[name]])
def test_small_presets_are_small(model):
    built = MODELS[model]((1, 28, 28), **PRESETS[model]["small"].settings)
    assert 10_000 < built.num_parameters < 300_000


def test_bad_files_are_skipped_in_training_and_ever_after(home, pictures):
    folder = home / "spoiled"
    folder.mkdir()
    for k, path in enumerate(sorted(pictures.rglob("*.png"))):
        (folder / f"{k}.png").write_bytes(path.read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG")
    refused(
        call("train", "pixelcnn", "--data", folder, "--out", home / "spoiled-run", *SMALL),
        "broken.png", "--skip-bad",
    )  # fmt: skip
    options = ["--skip-bad", "--out", home / "spoiled-run", "--quiet", *SMALL]
    called = succeed("train", "pixelcnn", "--data", folder, *options)
    assert "warning: left out 1 of 61 images: broken.png" in called.err
    assert succeed("evaluate", home / "spoiled-run", "--json").json["examples"] == 6
    scored = succeed("score", home / "spoiled-run", folder, "--skip-bad")
    rows = list(csv.DictReader(scored.out.splitlines()))
    assert [row["file"] for row in rows[:3]] == ["0.png", "1.png", "2.png"]
    assert len(rows) == 60
    refused(call("score", home / "spoiled-run", folder), "broken.png", "--skip-bad")
    refused(call("score", home / "spoiled-run", "digits", "--skip-bad"), "takes no --skip-bad")
    refused(call("train", "nade", "--data", "digits", "--skip-bad", "--out", home / "r"), "no --skip-bad")


# ---------------------------------------------------------------- classes


def test_ten_of_each_class_in_one_command(digits, home):
    out = home / "each.npz"
    succeed("sample", digits, "--context", "all", "-n", 3, "--seed", 5, "--out", out)
    labels = torch.arange(10).repeat_interleave(3)
    with np.load(out) as arrays:
        assert arrays["context"].tolist() == labels.tolist()
        expected = chainrule.load(digits).sample(30, labels, seed=5)
        assert np.array_equal(arrays["samples"], expected.numpy())
    ways = [["0,1,2"], ["0..2"], ["0", "1", "2"], ["0", "1..2"]]
    for way in ways:
        options = [part for text in way for part in ("--context", text)]
        said = succeed("sample", digits, *options, "--out", out, "--overwrite", "--json").json
        assert said["context"] == ["0", "1", "2"]
        assert said["number"] == 30
    succeed("sample", digits, "--context", "all", "-n", 10, "--out", home / "each.png")
    square = Image.open(home / "each.png")
    assert 0.8 < square.width / square.height < 1.1  # a row of ten for each of ten
    ambiguous = "0,0,0,0,0,0,0,1,0,0"
    refused(call("sample", digits, "--context", ambiguous, "--out", home / "x.npy"), "0.0,0.0,0.0")
    refused(call("sample", digits, "--context", "3..12", "--out", home / "x.npy"), "0..9")
    refused(
        call("fill", digits, "digits", "--mask", "centre", "--context", "1,2", "--out", home / "x.npy"),
        "2 classes", "expected one",
    )  # fmt: skip


def test_classes_by_name(colour, pictures, home):
    options = ["-n", 2, "--seed", 0, "--out", home / "named.npy", "--overwrite"]
    succeed("sample", colour, "--context", "red", *options)
    expected = chainrule.load(colour).sample(2, 1, seed=0)
    assert np.array_equal(np.load(home / "named.npy"), expected.numpy())
    refused(call("sample", colour, "--context", "green", *options), "0..1 (blue, red)")
    # A folder of other classes in another order still means the same classes.
    (home / "only-red").mkdir()
    (home / "only-red" / "red").symlink_to(pictures / "red")
    by_folder = succeed("score", colour, home / "only-red", "--json").json
    as_red = succeed("score", colour, home / "only-red", "--context", "red", "--json").json
    as_blue = succeed("score", colour, home / "only-red", "--context", "blue", "--json").json
    assert by_folder["mean_log_prob"] == as_red["mean_log_prob"] != as_blue["mean_log_prob"]
    (home / "only-red" / "red").rename(home / "only-red" / "pink")
    refused(call("score", colour, home / "only-red"), "no class 'pink'", "blue, red")


# ---------------------------------------------------------------- filling in


@pytest.mark.parametrize(
    ("mask", "hidden"),
    [
        ("lower-half", 12),
        ("upper-half", 8),
        ("left-half", 10),
        ("right-half", 10),
        ("centre", 6),
        ("bottom", 12),
    ],
)
def test_named_masks_hide_whole_pixels(colour, pictures, home, mask, hidden):
    options = ["--particles", 2, "--limit", 3, "--seed", 0, "--out", home / "f.npz", "--overwrite"]
    succeed("fill", colour, pictures, "--mask", mask, *options)
    with np.load(home / "f.npz") as arrays:
        assert arrays["mask"].shape == (3, 3, 5, 4)
        assert arrays["mask"].sum((1, 2, 3)).tolist() == [3 * hidden] * 3
        assert (arrays["mask"][:, 0] == arrays["mask"][:, 2]).all()


def test_random_masks_depend_on_the_seed_alone(colour, pictures, home):
    masks = []
    for seed in (0, 0, 1):
        options = ["--particles", 2, "--limit", 20, "--seed", seed, "--out", home / "f.npz", "--overwrite"]
        succeed("fill", colour, pictures, "--mask", "random:0.5", *options)
        masks.append(np.load(home / "f.npz")["mask"])
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
    assert not np.array_equal(masks[0][0], masks[0][1])  # another for each example
    assert (masks[0][:, 0] == masks[0][:, 1]).all()  # channels go together
    assert 0.35 < masks[0].mean() < 0.65  # 400 pixels: six standard errors
    for wrong in ("random:2", "random:half", "random:0"):
        refused(call("fill", colour, pictures, "--mask", wrong, "--out", home / "x.npy"), "random:0.5")


def test_a_folder_is_filled_into_a_folder(colour, pictures, home):
    source, out = pictures / "red", home / "filled"
    Image.fromarray(np.kron([[0, 1], [1, 0]], np.ones((3, 2)))[:5].astype(np.uint8) * 255).save(
        home / "m.png"
    )
    options = ["--mask", home / "m.png", "--context", "red", "--particles", 3, "--seed", 0, "--out", out]
    called = succeed("fill", colour, source, *options)
    assert "effective: median" in called.out
    assert {path.name for path in out.iterdir()} == {f"{k}.png" for k in range(30)} | {"before_after.png"}
    before, after = (np.asarray(Image.open(folder / "7.png")) for folder in (source, out))
    mask = np.asarray(Image.open(home / "m.png")) > 0
    assert (before == after)[~mask].all()
    assert (before != after)[mask].any()
    refused(call("fill", colour, source, *options), "not empty", "--overwrite")
    succeed("fill", colour, source, *options, "-n", 2, "--limit", 1, "--overwrite")
    assert (out / "0-2.png").exists()
    refused(call("fill", colour, source, *options[:-1], home / "m.png" / "x"), "cannot be made a folder")
    refused(call("fill", colour, source, *options[:-1], source, "--overwrite"), "choose another")


def test_masks_that_cannot_be_meant(colour, pictures, home):
    fill = ["fill", colour, pictures, "--out", home / "x.npy", "--mask"]
    for name, mask in (("none", np.zeros((5, 4))), ("all", np.ones((5, 4))), ("turned", np.eye(4, 5))):
        np.save(home / f"{name}.npy", mask)
    refused(call(*fill, home / "none.npy"), "none.npy hides nothing", "white")
    refused(call(*fill, home / "all.npy"), "all.npy hides everything", "chainrule sample")
    refused(call(*fill, home / "turned.npy"), "shape (4, 5)", "(5, 4) or (3, 5, 4)")
    refused(call(*fill, "lower-hlaf"), "did you mean 'lower-half'")
    painted = np.repeat((np.arange(20).reshape(5, 4, 1) < 10) * 255, 3, 2).astype(np.uint8)
    Image.fromarray(painted).save(home / "painted.png")
    hidden = read_mask(str(home / "painted.png"), (1, 5, 4), 7, 0)
    assert hidden.flatten().tolist() == [True] * 10 + [False] * 10
    assert torch.equal(read_mask(str(home / "painted.png"), (3, 5, 4), 7, 0), hidden.expand(1, 3, 5, 4))
    assert not (home / "x.npy").exists()


# ---------------------------------------------------------------- pictures of another kind than the model's


@pytest.mark.parametrize(
    ("mode", "size", "words"),
    [
        ("L", (4, 5), ["grey PNG", "convert('RGB')"]),
        ("RGBA", (4, 5), ["transparency", "convert('RGB')"]),
        ("P", (4, 5), ["palette PNG", "convert('RGB')"]),
        ("I;16", (4, 5), ["16-bit PNG"]),
        ("RGB", (5, 4), ["4 x 5 pixels", "expected 5 x 4"]),
    ],
)
def test_a_picture_that_the_model_cannot_read(colour, home, mode, size, words):
    Image.new(mode, size).save(home / "odd.png")
    for command in ("score", "fill"):
        more = ["--mask", "centre", "--out", home / "x.npy"] if command == "fill" else []
        refused(call(command, colour, home / "odd.png", "--context", "red", *more), "odd.png", *words)


def test_two_pictures_of_one_name_are_not_filled_into_one_file(colour, pictures, home):
    folder = home / "clash"
    folder.mkdir()
    for name in ("0.png", "0.PNG"):
        (folder / name).write_bytes((pictures / "red" / "0.png").read_bytes())
    fill = ("fill", colour, folder, "--context", "red", "--mask", "centre", "--out")
    refused(call(*fill, home / "clashed"), "0.png and 0.PNG", "rename")
    (folder / "0.PNG").rename(folder / "before_after.png")
    refused(call(*fill, home / "clashed"), "before_after.png", "rename")
    assert not list((home / "clashed").iterdir())


def test_a_data_set_hides_a_folder_of_its_name_but_not_silently(home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "wine").mkdir()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        DataChoice.given("wine")
        DataChoice.given("breast-cancer")
    assert said.getvalue().strip() == (
        "note: wine is the data set of that name; for the file or folder here, write ./wine"
    )


def test_labels_that_the_model_does_not_have(digits, home):
    x = data.load("digits").test[:4].numpy()
    np.savez(home / "labelled.npz", images=x, labels=[0, 3, 12, 1])
    refused(call("score", digits, home / "labelled.npz"), "labelled.npz", "0..9", "12")
    np.savez(home / "labelled.npz", images=x, labels=[0, 3, 2, 1])
    scored = succeed("score", digits, home / "labelled.npz", "--json").json
    with torch.no_grad():
        expected = chainrule.load(digits).log_prob(torch.from_numpy(x), torch.tensor([0, 3, 2, 1])).mean()
    assert scored["mean_log_prob"] == pytest.approx(expected.item(), abs=1e-4)


# ---------------------------------------------------------------- pictures


def test_samples_in_colour_are_the_samples(colour, home):
    for name in ("s.png", "s.npy"):
        succeed("sample", colour, "--context", "blue", "-n", 1, "--seed", 3, "--out", home / name)
    pixels = np.load(home / "s.npy")[0].transpose(1, 2, 0)
    picture = np.asarray(Image.open(home / "s.png").convert("RGB"))
    scale = (picture.shape[0] - 8) // 5
    assert np.array_equal(picture[4 + scale // 2 :: scale, 4 + scale // 2 :: scale][:5, :4], pixels)


def test_an_animation_with_and_without_the_samples(digits, home):
    sample = ["sample", digits, "--context", "all", "-n", 1, "--seed", 0, "--animate"]
    succeed(*sample, home / "a.gif")
    animation = Image.open(home / "a.gif")
    assert animation.n_frames > 20
    succeed(*sample, home / "b.png", "--out", home / "b.npy")
    assert Image.open(home / "b.png").n_frames > 20
    assert np.load(home / "b.npy").shape == (10, 1, 8, 8)
    refused(call(*sample, home / "a.gif"), "a.gif", "already exists")
    refused(call(*sample, home / "a.mp4"), ".gif, .png, .apng")
    refused(call(*sample, home / "c.gif", "-n", 100), "at most 256")


def test_a_surprise_overlay_beside_the_scores(colour, pictures, home):
    said = succeed("score", colour, pictures, "--overlay", home / "o.png", "--json").json
    assert json.dumps(said["overlay"]) == json.dumps(str(home / "o.png"))
    assert len(said["scores"]) == 60
    assert min(Image.open(home / "o.png").size) > 200
    refused(call("score", colour, pictures, "--overlay", home / "o.jpg"), ".png")
