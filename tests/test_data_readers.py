from __future__ import annotations

import gzip
import io
import math
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import idx_bytes, one_line_error, write_idx, write_pngs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from chainrule.data import from_files, load_any, read
from chainrule.errors import ChainruleError

# tmp_path is shared by all examples of a test; every example writes the same names anew.
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def grey(max_side: int = 5) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=max_side)
    return hnp.arrays(np.uint8, shapes)


@few
@given(images=grey(), suffix=st.sampled_from(["", ".gz"]))
def test_idx_round_trip(tmp_path: Path, images: np.ndarray, suffix: str) -> None:
    path = write_idx(tmp_path / f"x-idx3-ubyte{suffix}", images)
    assert torch.equal(read(path, levels=256), torch.from_numpy(images).unsqueeze(1))


@few
@given(table=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_npy_npz_round_trip(tmp_path: Path, table: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", table)
    np.savez_compressed(tmp_path / "x.npz", only=table)
    expected = torch.from_numpy(table)
    assert torch.equal(read(tmp_path / "x.npy", levels=256), expected)
    assert torch.equal(read(tmp_path / "x.npz", levels=256), expected)
    assert torch.equal(read(f"{tmp_path / 'x.npz'}:only", levels=256), expected)


@few
@given(images=grey())
def test_png_round_trip(tmp_path: Path, images: np.ndarray) -> None:
    folder = tmp_path / "pngs"
    for old in folder.glob("*"):
        old.unlink()
    expected = torch.from_numpy(images).unsqueeze(1)
    assert torch.equal(read(write_pngs(folder, images), levels=256), expected)
    assert torch.equal(read(folder / "img0.png", levels=256), expected[:1])


@few
@given(
    bits=hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 1)
    ),
    header=st.booleans(),
    separator=st.sampled_from([",", ", ", ";", "\t", " "]),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_bits_round_trip(
    tmp_path: Path, bits: np.ndarray, header: bool, separator: str, end: str, last: bool
) -> None:
    names = [separator.join(f"v{i}" for i in range(bits.shape[1]))] if header else []
    lines = names + [separator.join(map(str, row)) for row in bits]
    (tmp_path / "x.csv").write_text(end.join(lines) + (end if last else ""), newline="")
    np.savez(tmp_path / "packed.npz", n_vars=bits.shape[1], a=np.packbits(bits, axis=1))
    expected = torch.from_numpy(bits)
    assert torch.equal(read(tmp_path / "x.csv"), expected)
    assert torch.equal(read(tmp_path / "packed.npz"), expected)


def test_column_numbers_as_pandas_writes_them_are_a_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("0,1,2\n1,1,0\n0,0,1\n")
    assert read(path).tolist() == [[1, 1, 0], [0, 0, 1]]
    path.write_text('"a","b"\n"1.0","0.0"\n')
    assert read(path).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,c\n0,1,1\n0,1,2\n", ["value 2", "row 3, column 3 (c)", "expected 0 or 1"]),
        ("0,1\n7,1\n", ["value 7", "row 2, column 1", "expected 0 or 1"]),
        ("a,b\n\n0,1\n0,x\n", ["'x'", "row 4, column 2"]),
        ("a,b\n0,\n", ["an empty cell", "row 2, column 2"]),
        ("a,b\n0,1\n0,1,1\n", ["row 3 has 3 columns", "expected 2"]),
        ("a,b\n0,nan\n", ["value nan", "row 2, column 2", "finite"]),
        ("0,0.5\n1,1\n", ["value 0.5", "row 1, column 2", "dynamic=True"]),
        ("a,b\n", ["no rows"]),
        ("\n\n", ["no rows"]),
        ("\ufeff0,1\n1,3\n", ["value 3", "row 2, column 2"]),
    ],
)
def test_a_bad_cell_is_named_by_row_and_column(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    one_line_error(lambda: read(tmp_path / "bad.csv"), "bad.csv", *words)


def test_black_and_white_images_are_read_as_bits(tmp_path: Path) -> None:
    bits = np.array([[[0, 1], [1, 0]], [[1, 1], [0, 0]]], np.uint8)
    np.save(tmp_path / "bw.npy", bits * 255)
    Image.fromarray(bits[0] * 255).convert("1").save(tmp_path / "one_bit.png")
    assert torch.equal(read(tmp_path / "bw.npy"), torch.from_numpy(bits).unsqueeze(1))
    assert torch.equal(read(tmp_path / "one_bit.png"), torch.from_numpy(bits[:1]).unsqueeze(1))
    assert read(tmp_path / "bw.npy", levels=256).max() == 255


def test_grey_levels_need_a_decision(tmp_path: Path) -> None:
    folder = write_pngs(tmp_path / "p", np.array([[[0, 255]], [[255, 37]]]))
    one_line_error(
        lambda: read(folder),
        "value 37",
        "img1.png, pixel row 0, column 1",
        "--threshold 127",
        "threshold=127",
        "--dynamic",
        "dynamic=True",
    )
    assert read(folder, threshold=37).flatten().tolist() == [0, 1, 1, 0]
    one_line_error(lambda: read(folder, levels=16), "value 255", "0 to 15")
    one_line_error(lambda: read(folder, levels=1), "levels=1", "2 to 256")
    one_line_error(lambda: read(folder, levels=256, threshold=3), "threshold=3")
    for nothing in (math.nan, math.inf):
        one_line_error(lambda: read(folder, threshold=nothing), f"threshold={nothing}", "finite")  # noqa: B023


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0.0, np.nan]]), ["value nan", "index [0, 1]", "finite"]),
        (np.array([[0.0], [-np.inf]]), ["value -inf", "index [1, 0]", "finite"]),
        (np.array([[1.0, 0.25]]), ["value 0.25", "index [0, 1]"]),
        (np.array([[-1, 0]]), ["value -1", "index [0, 0]"]),
        (np.array([["0", "1"]]), ["type <U1"]),
        (np.array([[1 + 2j]]), ["type complex128"]),
        (np.zeros((0, 5)), ["no examples", "(0, 5)"]),
        (np.zeros((5, 0)), ["no examples", "(5, 0)"]),
        (np.zeros(5), ["shape (5,)", "(N, D)"]),
        (np.array(1), ["a single number"]),
        (np.zeros((2, 8, 8, 4)), ["transparency", "array[..., :-1]"]),
        (np.full((2, 4, 4), 0.3), ["value 0.3", "multiply them by 255"]),
        (np.zeros((1, 1, 1, 1, 1)), ["(1, 1, 1, 1, 1)"]),
    ],
)
def test_a_bad_array_is_one_clear_line(tmp_path: Path, values: np.ndarray, words: list[str]) -> None:
    np.save(tmp_path / "bad.npy", values)
    one_line_error(lambda: read(tmp_path / "bad.npy"), "bad.npy", *words)


def test_whole_numbers_of_any_type_are_accepted(tmp_path: Path) -> None:
    for kind in (bool, np.int64, np.float32, np.float64, ">i4"):
        np.save(tmp_path / "x.npy", np.array([[0, 1], [1, 1]]).astype(kind))
        assert read(tmp_path / "x.npy").dtype == torch.uint8
        assert read(tmp_path / "x.npy").tolist() == [[0, 1], [1, 1]]
    np.save(tmp_path / "x.npy", np.array([[0, 1, 1], [1, 0, 1]]).T)  # Fortran order
    assert read(tmp_path / "x.npy").tolist() == [[0, 1], [1, 0], [1, 1]]


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "o.npz", o=np.array([[None]], dtype=object))
    (tmp_path / "p.npy").write_bytes(pickle.dumps([[0, 1]]))
    one_line_error(lambda: read(tmp_path / "o.npy"), "o.npy", "Python objects", "plain array")
    one_line_error(lambda: read(tmp_path / "o.npz"), "o.npz", "Python objects")
    one_line_error(lambda: read(tmp_path / "p.npy"), "p.npy is not a readable .npy file")
    np.savez(tmp_path / "e.npz")
    one_line_error(lambda: read(tmp_path / "e.npz"), "e.npz holds no arrays")


def test_npz_with_several_arrays_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros((1, 2)), b=np.ones((1, 2)))
    one_line_error(lambda: read(path), "2 arrays (a, b)", "x.npz:NAME")
    one_line_error(lambda: read(f"{path}:c"), "no array 'c'", "a, b")
    assert read(f"{path}:b").tolist() == [[1, 1]]
    np.savez(path, n_vars=20, a=np.zeros((1, 2), np.uint8))
    one_line_error(lambda: read(path), "n_vars = 20", "uint8 (N, 3)")
    np.savez(path, n_vars=np.zeros(3), a=np.zeros((1, 2), np.uint8))
    one_line_error(lambda: read(path), "n_vars")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty (0 bytes)"]),
        (b"\0\0\x08", ["not an idx file"]),
        (b"\1\0\x08\3" + bytes(40), ["not an idx file", "01 00 08 03"]),
        (b"\0\0\x0d\1" + bytes(40), ["type 0x0d", "unsigned bytes"]),
        (b"\0\0\x08\3\0\0", ["truncated"]),
        (idx_bytes(np.zeros((2, 3, 4)))[:-1], ["2 x 3 x 4", "24 bytes", "23 follow"]),
        (idx_bytes(np.zeros((2, 3, 4))) + b"\0", ["25 follow"]),
        (
            gzip.compress(idx_bytes(np.zeros((2, 3, 4))), mtime=0)[:-9],
            ["not a readable gzip file", "truncated"],
        ),
        (idx_bytes(np.zeros(9)), ["shape (9,)"]),
        (b"\0\0\x08\xff" + struct.pack(">I", 1) * 255 + b"\0", ["truncated or damaged"]),
    ],
)
def test_bad_idx_files(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "x-idx3-ubyte"
    path.write_bytes(content)
    one_line_error(lambda: read(path), "x-idx3-ubyte", *words)


def _saved(kind: str) -> bytes:
    buffer, bits = io.BytesIO(), np.random.default_rng(0).integers(0, 2, (6, 4, 4)).astype(np.uint8)
    if kind == "npy":
        np.save(buffer, bits)
    elif kind == "npz":
        np.savez_compressed(buffer, bits=bits)
    elif kind == "png":
        Image.fromarray(bits[0] * 255).save(buffer, "png")
    elif kind == "csv":
        buffer.write("\n".join(",".join(map(str, row)) for row in bits.reshape(6, 16)).encode())
    else:
        buffer.write(gzip.compress(idx_bytes(bits), mtime=0))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "csv", "ubyte.gz"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_read_or_refused_in_one_line(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(_saved(kind))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x.{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    message = ""
    try:
        assert read(path).dtype == torch.uint8
    except ChainruleError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "ubyte.gz"])
def test_half_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    content = _saved(kind)
    (tmp_path / f"x.{kind}").write_bytes(content[: len(content) // 2])
    one_line_error(lambda: read(tmp_path / f"x.{kind}"), f"x.{kind} is not a readable")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGB", ["colour PNG", "mode RGB"]),
        ("RGBA", ["transparency", "mode RGBA"]),
        ("P", ["palette", "mode P"]),
        ("LA", ["grey with transparency", "mode LA"]),
        ("I;16", ["16-bit", "// 256"]),
    ],
)
def test_one_kind_of_png_in_a_folder(tmp_path: Path, mode: str, words: list[str]) -> None:
    write_pngs(tmp_path / "p", np.zeros((2, 3, 3)))
    Image.new(mode, (3, 3)).save(tmp_path / "p" / "img2.png")
    words = words if "16" in mode else ["convert('L')", *words]
    one_line_error(lambda: read(tmp_path / "p"), "img2.png", "grey (mode L)", "--skip-bad", *words)


def test_png_folder_order_sizes_and_absence(tmp_path: Path) -> None:
    folder = write_pngs(tmp_path / "p", np.arange(12).reshape(12, 1, 1))
    assert read(folder, levels=256).flatten().tolist() == list(range(12))  # img10 after img9
    (folder / "notes.txt").write_text("not an image")
    Image.new("L", (2, 1)).save(folder / "img12.png")
    one_line_error(lambda: read(folder, levels=256), "img12.png is 1 x 2 pixels", "expected 1 x 1")
    (tmp_path / "none").mkdir()
    one_line_error(lambda: read(tmp_path / "none"), "no .png file")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    one_line_error(lambda: read(tmp_path / "gone.npy"), "gone.npy", "no such file or folder")
    one_line_error(lambda: read(f"{tmp_path}/gone.npz:a"), "gone.npz", "no such file or folder")
    one_line_error(lambda: read("a\0b.npy"), "cannot read")
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8")
    one_line_error(lambda: read(tmp_path / "x.jpg"), "x.jpg", "PNG", "exif_transpose", "save('x.png')")
    (tmp_path / "x.txt").write_text("0 1")
    one_line_error(lambda: read(tmp_path / "x.txt"), "x.txt", "known format", ".npy", "idx")
    np.save(tmp_path / "x.npy", np.zeros((1, 1)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    one_line_error(lambda: read(tmp_path / "x.npz"), "name it .npy")
    (tmp_path / "x.csv").write_bytes(b"0,1\n\xff\xfe\n")
    one_line_error(lambda: read(tmp_path / "x.csv"), "not UTF-8")


def test_event_shape_is_reshaped_or_explained(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.eye(6, dtype=np.uint8))
    np.save(tmp_path / "images.npy", np.eye(6, dtype=np.uint8).reshape(6, 2, 3))
    assert read(tmp_path / "flat.npy", event_shape=(1, 2, 3)).shape == (6, 1, 2, 3)
    assert torch.equal(read(tmp_path / "images.npy", event_shape=(6,)), torch.eye(6, dtype=torch.uint8))
    wrong = lambda: read(tmp_path / "flat.npy", event_shape=(1, 28, 28))  # noqa: E731
    one_line_error(wrong, "(6,)", "6 variables", "(1, 28, 28)", "784 variables")
    one_line_error(lambda: read(tmp_path / "images.npy", event_shape=(1, 3, 2)), "(1, 2, 3)", "(1, 3, 2)")


def test_one_file_is_split_in_the_same_way_every_time(tmp_path: Path) -> None:
    table = (np.arange(50)[:, None] >> np.arange(6)) & 1
    np.save(tmp_path / "x.npy", table)
    data, again, other = (from_files(tmp_path / "x.npy", seed=seed) for seed in (0, 0, 1))
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [40, 5, 5]
    assert torch.equal(data.split("test"), again.split("test"))
    assert not torch.equal(data.split("test"), other.split("test"))
    everything = torch.cat([data.split(s) for s in ("train", "validation", "test")])
    assert sorted(everything.tolist()) == sorted(table.tolist())
    assert (data.name, data.kind, data.event_shape, data.levels) == ("x", "table", (6,), 2)
    np.save(tmp_path / "two.npy", table[:2])
    one_line_error(lambda: from_files(tmp_path / "two.npy"), "2 examples", "at least 3")


def test_named_splits(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 2, 2)))
    np.save(tmp_path / "b.npy", np.ones((3, 4)))
    np.save(tmp_path / "c.npy", np.ones((3, 5)))
    data = from_files(tmp_path / "a.npy", test=tmp_path / "b.npy", name="mine")
    assert (data.name, data.kind, data.event_shape) == ("mine", "image", (1, 2, 2))
    assert data.split("test").shape == (3, 1, 2, 2)
    one_line_error(lambda: data.split("validation"), "no validation split", "train, test")
    one_line_error(lambda: from_files(tmp_path / "a.npy", tmp_path / "c.npy"), "c.npy", "(5,)", "(1, 2, 2)")
    np.savez(tmp_path / "s.npz", valid=np.ones((1, 3)), train=np.zeros((5, 3)), test=np.ones((2, 3)))
    data = from_files(tmp_path / "s.npz")
    assert [len(data.split(s)) for s in ("train", "validation", "test")] == [5, 1, 2]


def test_dynamic_files(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", np.tile(np.array([0, 100, 255]), (20, 1)))
    np.save(tmp_path / "b.npy", np.tile(np.array([0, 1, 1]), (20, 1)))
    data = from_files(tmp_path / "g.npy", dynamic=True)
    assert (data.levels, data.dynamic) == (2, True)
    assert set(data.evaluation_split("train")[:, 1].tolist()) == {0, 1}
    one_line_error(
        lambda: from_files(tmp_path / "b.npy", dynamic=True), "b.npy", "grey levels", "dynamic off"
    )
    one_line_error(lambda: from_files(tmp_path / "g.npy", dynamic=True, levels=256), "leave levels at 2")


def test_load_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", np.zeros((30, 4)))
    assert load_any("digits").name == "digits"
    assert load_any("./mine.npy").event_shape == (4,)
    assert load_any(tmp_path / "mine.npy", levels=256, seed=3).levels == 256
    one_line_error(lambda: load_any("digit"), "unknown data set 'digit'", "did you mean 'digits'", ".npy")
    one_line_error(lambda: load_any("./gone.npy"), "no such file")
    one_line_error(lambda: load_any("digits", levels=256), "takes no levels", "./digits")
