"""Pictures: every pixel where it belongs, nothing overwritten, nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from PIL import Image

from chainrule import report

METRICS = [
    {"epoch": k, "train_loss": 100 / k + 80, "validation_nll": 90 + (k - 7) ** 2 / 10, "seconds": k}
    for k in range(1, 13)
]


def writers(path, **options):
    """Every function that writes a picture, on small honest input."""
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    log_prob = -torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return {
        "grid": lambda: report.save_grid(images, path, **options),
        "conditionals": lambda: report.save_conditionals(images, log_prob.exp(), log_prob, path, **options),
        "surprise": lambda: report.save_surprise_maps(images, log_prob, path, **options),
        "curve": lambda: report.save_learning_curve(METRICS, path, num_variables=64, **options),
        "comparison": lambda: report.save_comparison([("a", 1.0, 0.1), ("b", 2.0, 0.2)], path, **options),
        "histograms": lambda: report.save_histograms(
            {"a": [1.0, 2.0], "b": [3.0]}, path, threshold=2, **options
        ),
    }


KINDS = list(writers("x.png"))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_written_and_not_overwritten_unasked(kind, tmp_path):
    path = tmp_path / "x.png"
    assert writers(path)[kind]() == path
    assert Image.open(path).format == "PNG"
    before = path.read_bytes()
    one_line_error(writers(path)[kind], "already exists", "overwrite")
    assert path.read_bytes() == before
    writers(path, overwrite=True)[kind]()
    one_line_error(writers(tmp_path)[kind], "is a folder")
    one_line_error(writers(tmp_path / "no" / "x.png")[kind], "not a folder")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_old_picture(kind, tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"the old picture")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", fail)
    one_line_error(writers(path, overwrite=True)[kind], "No space left", "unchanged")
    assert path.read_bytes() == b"the old picture"
    assert list(tmp_path.iterdir()) == [path]


def test_pyplot_and_its_state_are_left_alone():
    code = (
        "import sys, tempfile, torch; from chainrule import report;"
        "report.save_learning_curve([{'epoch': 1, 'validation_nll': 1.0}], tempfile.mkdtemp() + '/x.png');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- the grid


@pytest.mark.parametrize("form", ["(N, H, W)", "(N, 1, H, W)", "numpy", "uint8"])
def test_grid_shows_every_pixel_of_every_image(tmp_path, form):
    """Read the cells back from the PNG: nearest-neighbour enlargement keeps every value."""
    images = torch.rand(5, 7, 6, generator=torch.Generator().manual_seed(0)).round()
    given = {
        "(N, H, W)": images,
        "(N, 1, H, W)": images[:, None],
        "numpy": images.numpy(),
        "uint8": images.to(torch.uint8),
    }[form]
    report.save_grid(given, tmp_path / "x.png", columns=3)
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("L"))
    scale, gap = 8, 4  # 56 / 7, and the line between images
    height, width = 7 * scale, 6 * scale
    assert pixels.shape == (2 * (height + gap) + gap, 3 * (width + gap) + gap)
    for index, image in enumerate(images):
        top, left = gap + index // 3 * (height + gap), gap + index % 3 * (width + gap)
        cell = pixels[top : top + height, left : left + width]
        assert np.array_equal(cell, (image.numpy() * 255).repeat(scale, 0).repeat(scale, 1))


def test_grid_of_colours_and_caption(tmp_path):
    colours = torch.zeros(1, 3, 2, 2)
    colours[0, 0] = 1
    report.save_grid(colours, tmp_path / "red.png")
    assert Image.open(tmp_path / "red.png").getpixel((20, 20)) == (255, 0, 0)
    report.save_grid(colours, tmp_path / "said.png", caption="a long line below a small picture")
    assert Image.open(tmp_path / "said.png").height > Image.open(tmp_path / "red.png").height
    assert Image.open(tmp_path / "said.png").width > Image.open(tmp_path / "red.png").width


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(4, 4), ["(4, 4)", "(N, H, W)"]),
        (torch.zeros(2, 5, 4, 4), ["(2, 5, 4, 4)"]),
        (torch.zeros(0, 4, 4), ["(0, "]),
        (torch.full((1, 4, 4), 255), ["[0, 1]"]),
        (torch.full((1, 4, 4), float("nan")), ["[0, 1]"]),
    ],
)
def test_grid_refuses_what_is_no_batch_of_images(images, words, tmp_path):
    one_line_error(lambda: report.save_grid(images, tmp_path / "x.png"), *words)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- curves and maps


def test_maps_must_have_one_shape(tmp_path):
    path = tmp_path / "x.png"
    maps = torch.zeros(2, 4, 4)
    one_line_error(lambda: report.save_surprise_maps(maps, torch.zeros(2, 4, 5), path), "same shape")
    one_line_error(lambda: report.save_surprise_maps(torch.zeros(2, 16), torch.zeros(2, 16), path), "(2, 16)")


def test_a_learning_curve_needs_a_validation(tmp_path):
    one_line_error(
        lambda: report.save_learning_curve([{"epoch": 1, "train_loss": 2.0}], tmp_path / "x.png"), "no"
    )


def test_curve_marks_the_selected_epoch_and_ignores_epochs_without_validation(tmp_path, monkeypatch):
    from chainrule.report import curves

    drawn = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, *_, **__: drawn.append(figure))
    report.save_learning_curve([*METRICS, {"epoch": 13, "train_loss": 85.0}], tmp_path / "x.png")
    (axes,) = drawn[0].axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels[-1] == "selected: 90.00 nats, epoch 7"
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [13, 12, 1]


def test_a_grid_too_large_to_open_is_refused(tmp_path):
    most = report.most_images(28, 28)
    assert 10_000 < most < 50_000
    too_many = torch.zeros(most + 1, 1, 1, 1).expand(-1, -1, 28, 28)
    one_line_error(
        lambda: report.save_grid(too_many, tmp_path / "x.png"), f"{most + 1:,} images", f"{most:,}"
    )
    assert not (tmp_path / "x.png").exists()
    assert report.most_images(10_000, 10_000) == 1
