"""Pictures of images: holes in colour, animations frame by frame, maps laid over; nothing overwritten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from PIL import Image

from chainrule import report
from chainrule.report.fillings import HOLE

BITS = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]], [[[0.0, 0.0], [1.0, 1.0]]]])  # (2, 1, 2, 2)


def writers(path, **options):
    field = torch.tensor([[0.5, 0.1, 0.0], [1e-6, 0.0, 0.0]])
    return {
        "fillings": lambda: report.save_fillings(BITS, BITS > 2, BITS[:, None], path, **options),
        "surprise": lambda: report.save_surprise_overlays(BITS, BITS[:, 0] * 3, path, title="t", **options),
        "fields": lambda: report.save_receptive_fields({"a": field, "b": field * 2}, (1, 1), path, **options),
        "animation": lambda: report.save_sampling_animation(BITS, path, permutation=[0, 1, 2, 3], **options),
    }


@pytest.mark.parametrize("kind", list(writers("x.png")))
def test_pictures_are_written_and_not_overwritten_unasked(kind, tmp_path):
    path = tmp_path / "x.png"
    assert writers(path)[kind]() == path
    before = path.read_bytes()
    assert Image.open(path).format == "PNG"
    one_line_error(writers(path)[kind], "already exists", "overwrite")
    writers(path, overwrite=True)[kind]()
    assert path.read_bytes() == before  # the same picture is the same file
    one_line_error(writers(tmp_path / "no" / "x.png")[kind], "not a folder")


def cells(picture, rows, columns, pixels):
    """The middle of every pixel of every image of a grid, `(rows, columns, pixels, pixels, 3)`."""
    array = np.asarray(picture.convert("RGB"))
    gap, scale = 4, 56 // pixels
    side = scale * pixels
    assert array.shape[:2] == (rows * (side + gap) + gap, columns * (side + gap) + gap)
    found = np.empty((rows, columns, pixels, pixels, 3), np.uint8)
    for row, column, y, x in np.ndindex(rows, columns, pixels, pixels):
        top, left = gap + row * (side + gap), gap + column * (side + gap)
        found[row, column, y, x] = array[top + y * scale + scale // 2, left + x * scale + scale // 2]
    return found


def as_colours(image):
    return np.repeat(np.asarray(image)[..., None], 3, axis=-1) * 255


def test_fillings_stand_between_the_evidence_and_the_truth(tmp_path):
    evidence = BITS.clone()
    mask = torch.tensor([[[False, True], [False, False]]])
    evidence[:, :, 0, 1] = float("nan")
    fillings = torch.stack([BITS, 1 - BITS], dim=1)
    report.save_fillings(evidence, mask, fillings, tmp_path / "f.png", truth=BITS)
    found = cells(Image.open(tmp_path / "f.png"), 2, 4, 2)
    for row in range(2):
        assert found[row, 0, 0, 1].tolist() == list(HOLE)
        assert (found[row, 0, 1] == as_colours(BITS[row, 0, 1])).all()
        assert (found[row, 1] == as_colours(BITS[row, 0])).all()
        assert (found[row, 2] == as_colours(1 - BITS[row, 0])).all()
        assert (found[row, 3] == as_colours(BITS[row, 0])).all()
    one_line_error(lambda: report.save_fillings(evidence, mask, BITS, tmp_path / "g.png"), "(rows, k, ...)")


@pytest.mark.parametrize("ending", ["gif", "png", "apng"])
def test_an_animation_draws_pixel_after_pixel(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    order = [3, 0, 2, 1]
    report.save_sampling_animation(BITS, path, permutation=order, frames=5, seconds=0.4, hold=1.0, columns=2)
    film = Image.open(path)
    assert film.format == ("GIF" if ending == "gif" else "PNG")
    assert film.n_frames == 5
    for count in range(5):
        film.seek(count)
        assert film.info["duration"] == (1100 if count == 4 else 100)
        found = cells(film, 1, 2, 2)[0]
        for index in range(2):
            for place, variable in enumerate(order):
                y, x = divmod(variable, 2)
                expected = as_colours(BITS[index, 0, y, x])[None] if place < count else np.array(HOLE)
                # A palette may be a shade off.
                assert np.abs(found[index, y, x].astype(int) - expected).max() <= 4
    first = path.read_bytes()
    report.save_sampling_animation(
        BITS, path, permutation=order, frames=5, seconds=0.4, hold=1.0, columns=2, overwrite=True
    )
    assert path.read_bytes() == first


def test_a_colour_pixel_shows_when_all_its_channels_are_drawn(tmp_path):
    image = torch.tensor([[[[0.2]], [[0.6]], [[1.0]]]])  # (1, 3, 1, 1)
    report.save_sampling_animation(image, tmp_path / "a.png", permutation=[0, 1, 2], frames=4)
    film = Image.open(tmp_path / "a.png")
    assert film.n_frames == 2  # pictures that are alike are one frame that stays
    for colour in (list(HOLE), [51, 153, 255]):
        assert np.asarray(film.convert("RGB"))[20, 20].tolist() == colour
        film.seek(1)


def test_animations_say_what_is_wrong(tmp_path):
    def animate(name="a.gif", **options):
        options = {"permutation": [0, 1, 2, 3], **options}
        return lambda: report.save_sampling_animation(BITS, tmp_path / name, **options)

    one_line_error(animate("a.mp4"), ".gif", "a.mp4")
    one_line_error(animate(permutation=[0, 1, 2, 2]), "each of the 4 variables")
    one_line_error(animate(frames=1), "at least 2")
    one_line_error(animate(seconds=0.0), "above 0")
    assert list(tmp_path.iterdir()) == []


def test_surprise_covers_the_image_where_it_is_great(tmp_path):
    """Beside a pixel of great surprise, which is dark red, a pixel of none keeps the image's grey."""
    grey = torch.full((1, 1, 1, 2), 1.0)
    report.save_surprise_overlays(grey, torch.tensor([[[0.0, 8.0]]]), tmp_path / "s.png")
    array = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
    left, right = array[:, : array.shape[1] // 3], array
    dark_red = (right[..., 0] > 90) & (right[..., 1] < 20) & (right[..., 2] < 60)
    assert dark_red.sum() > 5000
    assert not ((left[..., 0] > 90) & (left[..., 1] < 20) & (left[..., 2] < 60)).any()
    one_line_error(
        lambda: report.save_surprise_overlays(grey, torch.zeros(1, 2, 2), tmp_path / "t.png"), "(1, 1, 2)"
    )
    one_line_error(
        lambda: report.save_surprise_overlays(BITS, BITS[:, 0], tmp_path / "t.png", names=["a"]), "1 names"
    )


def test_receptive_fields_need_one_size(tmp_path):
    fields = {"a": torch.ones(3, 3), "b": torch.ones(3, 4)}
    one_line_error(lambda: report.save_receptive_fields(fields, (1, 1), tmp_path / "x.png"), "one size")
