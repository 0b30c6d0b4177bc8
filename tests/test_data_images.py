"""People's own images: colour, classes, splits and labels beside them; and what is wrong with some files."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import one_line_error, write_idx, write_pngs
from PIL import Image

from chainrule.data import from_files, load_any, read


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def colours(count: int, seed: int = 0, size: tuple[int, int] = (4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)


# ---------------------------------------------------------------- colour


def test_colour_images_come_with_channels_first(tmp_path):
    images = colours(3)
    expected = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    for i, image in enumerate(images):
        save(tmp_path / "p" / f"{i}.png", image)
    assert torch.equal(read(tmp_path / "p", levels=256), expected)
    assert torch.equal(read(tmp_path / "p" / "1.png", levels=256), expected[1:2])
    np.save(tmp_path / "last.npy", images)
    np.save(tmp_path / "first.npy", expected.numpy())
    for name in ("last.npy", "first.npy"):
        assert torch.equal(read(tmp_path / name, levels=256), expected)
    data = from_files(tmp_path / "p")
    assert (data.kind, data.event_shape, data.levels) == ("image", (3, 4, 5), 256)


def test_a_picture_of_another_kind_or_size_than_wanted(tmp_path):
    grey, colour = save(tmp_path / "g.png", colours(1)[0, :, :, 0]), save(tmp_path / "c.png", colours(1)[0])
    one_line_error(
        lambda: read(grey, event_shape=(3, 4, 5), levels=256), "g.png is a grey PNG", "convert('RGB')"
    )
    one_line_error(
        lambda: read(colour, event_shape=(1, 4, 5), levels=256), "c.png is a colour PNG", "convert('L')"
    )
    one_line_error(
        lambda: read(colour, event_shape=(3, 8, 8), levels=256), "c.png is 4 x 5 pixels", "expected 8 x 8"
    )
    assert read(colour, event_shape=(60,), levels=256).shape == (1, 60)


def test_sixteen_bits_of_colour_are_not_cut_off_in_silence(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))  # 2 x 1, 16 bits, colour
    row = chunk(b"IDAT", zlib.compress(b"\0" + bytes(range(12))))
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + row + chunk(b"IEND", b""))
    assert Image.open(path).mode == "RGB"  # as Pillow tells it, nothing is wrong
    one_line_error(lambda: read(path, levels=256), "x.png is a 16-bit PNG", "// 256")


def test_what_viewers_show_otherwise_than_it_lies_is_refused(tmp_path):
    """Animations have many images, and EXIF can say that one is stored turned."""
    frames = [Image.new("L", (3, 2), level) for level in (0, 90, 200)]
    frames[0].save(tmp_path / "moves.png", save_all=True, append_images=frames[1:])
    one_line_error(lambda: read(tmp_path / "moves.png", levels=256), "animated PNG of 3 frames")
    turned = Image.Exif()
    for orientation in (6, 1):
        turned[0x0112] = orientation
        frames[0].save(tmp_path / "turned.png", exif=turned)
        if orientation == 6:
            one_line_error(lambda: read(tmp_path / "turned.png", levels=256), "orientation 6", "exif_trans")
    assert read(tmp_path / "turned.png", levels=256).shape == (1, 1, 2, 3)


# ---------------------------------------------------------------- bad files among good ones


@pytest.fixture
def mixed(tmp_path):
    """Four good images after a damaged one, one of another size, and one with transparency."""
    folder = write_pngs(tmp_path / "p", np.arange(4 * 6).reshape(4, 2, 3) * 10)
    good = (folder / "img0.png").read_bytes()
    (folder / "a_cut.png").write_bytes(good[: len(good) // 2])
    Image.new("L", (9, 9)).save(folder / "b_large.png")
    Image.new("RGBA", (3, 2)).save(folder / "c_clear.png")
    return folder


def test_bad_files_are_named_and_skipped_on_demand(mixed):
    one_line_error(lambda: read(mixed, levels=256), "a_cut.png is not a readable PNG", "--skip-bad")
    with pytest.warns(UserWarning, match="left out 3 of 7 images") as said:
        values = read(mixed, levels=256, skip_bad=True)
    assert values.flatten().tolist() == [10 * k for k in range(24)]
    message = str(said[0].message)
    for words in (
        "a_cut.png (is not a readable PNG",
        "b_large.png (is grey, 9 x 9 pixels",
        "c_clear.png (is a",
    ):
        assert words in message
    assert "\n" not in message
    with pytest.warns(UserWarning, match="left out 3"):
        data = load_any(mixed, skip_bad=True)
    assert sum(len(data.split(s)) for s in ("train", "validation", "test")) == 4


def test_nothing_is_said_where_nothing_is_bad(tmp_path):
    folder = write_pngs(tmp_path / "p", np.zeros((3, 2, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(folder, skip_bad=True)) == 3


def test_images_that_are_passed_over_are_told_of(tmp_path):
    folder = write_pngs(tmp_path / "p", np.zeros((3, 2, 2)))
    (folder / "notes.txt").touch()
    (folder / "a.jpg").touch()
    (folder / "b.GIF").touch()
    save(folder / "cats" / "0.png", np.zeros((2, 2), np.uint8))
    with pytest.warns(
        UserWarning, match=r"2 of other formats \(.gif, .jpg\).*; those in the subfolders cats:"
    ):
        assert len(read(folder)) == 3
    for k in range(3):
        (folder / f"img{k}.png").unlink()
    with pytest.warns(UserWarning, match=r"p: images that were passed over: 2 of other formats [^;]*$"):
        assert len(read(folder)) == 1


def test_a_link_to_nowhere_is_a_bad_file(tmp_path):
    folder = write_pngs(tmp_path / "p", np.zeros((2, 2, 2)))
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    one_line_error(lambda: read(folder), "gone.png", "no such file", "--skip-bad")
    with pytest.warns(UserWarning, match="left out 1 of 3"):
        assert len(read(folder, skip_bad=True)) == 2


def test_only_bad_files_are_an_error_with_skip_bad_too(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "x.png").write_bytes(b"\x89PNG nothing")
    one_line_error(lambda: read(tmp_path / "p", skip_bad=True), "none of 1 PNG", "x.png")


def test_one_long_list_of_bad_files_stays_one_line(tmp_path):
    folder = write_pngs(tmp_path / "p", np.zeros((2, 2, 2)))
    for k in range(9):
        (folder / f"bad{k}.png").write_bytes(b"not a png")
    with pytest.warns(UserWarning, match=r"bad4.png.*, and 4 more$"):
        read(folder, skip_bad=True)


# ---------------------------------------------------------------- classes and splits


def test_subfolders_are_classes_as_torchvision_has_them(tmp_path):
    for name, level in (("dog", 2), ("cat", 1), ("Ant", 0)):
        for k in range(5):
            save(tmp_path / "p" / name / f"{k}.png", np.full((2, 2), level, np.uint8))
    save(tmp_path / "p" / "dog" / "deeper" / "x.png", np.full((2, 2), 2, np.uint8))
    (tmp_path / "p" / ".cache").mkdir()
    (tmp_path / "p" / "dog" / "._0.png").write_bytes(b"what a Mac leaves behind")
    data = from_files(tmp_path / "p", levels=3)
    assert data.label_names == ("Ant", "cat", "dog")
    assert sum(len(labels) for labels in data.labels.values()) == 16
    for split, labels in data.labels.items():
        assert torch.equal(data.split(split)[:, 0, 0, 0].long(), labels)


def test_a_class_without_images_and_other_formats(tmp_path):
    save(tmp_path / "p" / "cat" / "0.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "p" / "dog").mkdir()
    one_line_error(lambda: read(tmp_path / "p"), "class folder", "dog", "no .png file")
    (tmp_path / "p" / "dog" / "0.jpg").touch()
    one_line_error(lambda: read(tmp_path / "p"), "dog", ".jpg", "converted to PNG")


def test_train_and_test_folders_are_splits(tmp_path):
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for name, level in (("cat", 0), ("dog", 1)):
            if (split, name) == ("val", "cat"):
                continue
            for k in range(count):
                save(tmp_path / "p" / split / name / f"{k}.png", np.full((2, 2), level * 255, np.uint8))
    data = from_files(tmp_path / "p")
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [8, 2, 6]
    assert data.labels["validation"].tolist() == [1, 1]  # a class of the training part, though alone here
    assert data.levels == 2
    save(tmp_path / "p" / "test" / "emu" / "0.png", np.zeros((2, 2), np.uint8))
    one_line_error(lambda: from_files(tmp_path / "p"), "class 'emu'", "training")


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train", "labels_train", "test", "test_y"),
    ],
)
def test_arrays_of_an_npz_are_known_by_their_names(tmp_path, names):
    train, test = colours(6), colours(3, seed=1)
    arrays = (train, np.arange(6)[:, None] % 3, test, np.array([2, 1, 0]))
    np.savez(tmp_path / "x.npz", **dict(zip(names, arrays, strict=True)), comment=np.array("ignored"))
    data = from_files(tmp_path / "x.npz")
    assert (data.event_shape, data.levels, data.validation) == ((3, 4, 5), 256, None)
    assert data.labels["train"].tolist() == [0, 1, 2, 0, 1, 2]
    assert data.labels["test"].tolist() == [2, 1, 0]


def test_images_and_labels_stay_together_when_they_are_split(tmp_path):
    labels = np.arange(30) % 5
    images = np.repeat(labels, 4).reshape(30, 2, 2).astype(np.uint8) * 50
    np.savez(tmp_path / "x.npz", images=images, labels=np.array(["e", "d", "c", "b", "a"])[labels])
    data = from_files(tmp_path / "x.npz")
    assert data.label_names == ("a", "b", "c", "d", "e")
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [24, 3, 3]
    for split, codes in data.labels.items():
        assert torch.equal(data.split(split)[:, 0, 0, 0].long(), (4 - codes) * 50)
    assert read(tmp_path / "x.npz", levels=256).shape == (30, 1, 2, 2)
    np.savez(tmp_path / "x.npz", images=images, labels=labels[1:])
    one_line_error(lambda: from_files(tmp_path / "x.npz"), "x.npz", "shape (29,)", "expected (30,)")
    np.savez(tmp_path / "x.npz", images=images, labels=labels - 1)
    one_line_error(lambda: from_files(tmp_path / "x.npz"), "a label is -1", "0, 1, ...")
    for odd in (0.5, np.nan, np.inf):
        np.savez(tmp_path / "x.npz", images=images, labels=np.where(np.arange(30) == 7, odd, labels))
        one_line_error(lambda: from_files(tmp_path / "x.npz"), f"a label is {odd};")
    np.savez(tmp_path / "x.npz", images=images, labels=labels > 2)
    assert set(from_files(tmp_path / "x.npz").labels["train"].tolist()) == {0, 1}


def test_labels_beside_idx_images(tmp_path):
    images = np.arange(40 * 4).reshape(40, 2, 2) % 7 * 30
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    assert not from_files(tmp_path / "train-images-idx3-ubyte.gz").labels
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(40) % 10)
    data = from_files(tmp_path / "train-images-idx3-ubyte.gz")
    pairs = {
        (tuple(x.flatten().tolist()), int(y))
        for s in data.labels
        for x, y in zip(data.split(s), data.labels[s], strict=True)
    }
    assert pairs == {(tuple(x.flatten().tolist()), k % 10) for k, x in enumerate(images)}


def test_levels_are_those_that_the_images_have(tmp_path):
    np.save(tmp_path / "bits.npy", np.eye(8).reshape(4, 4, 4))
    np.save(tmp_path / "grey.npy", np.arange(64).reshape(4, 4, 4))
    np.save(tmp_path / "table.npy", np.arange(16).reshape(4, 4))
    assert from_files(tmp_path / "bits.npy").levels == 2
    assert from_files(tmp_path / "grey.npy").levels == 256
    assert from_files(tmp_path / "grey.npy", threshold=7).levels == 2
    assert from_files(tmp_path / "grey.npy", dynamic=True).levels == 2
    assert from_files(tmp_path / "grey.npy", levels=64).levels == 64
    one_line_error(lambda: from_files(tmp_path / "table.npy"), "value 2", "expected 0 or 1")
    np.save(tmp_path / "stray.npy", np.eye(8).reshape(4, 4, 4) * 2)
    one_line_error(lambda: from_files(tmp_path / "stray.npy"), "value 2", "--levels")
