from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import math
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import idx_bytes, one_line_error, real_data_folder

from chainrule import data
from chainrule.data import CATALOGUE, SPLITS, DataFile, Dataset, binarize
from chainrule.data.files import locate

DEBD = sorted(name for name, entry in CATALOGUE.items() if entry.kind == "table" and entry.levels == 2)
EMBEDDED = ["digits", "python-docs", "wine", "breast-cancer"]


@pytest.fixture
def real() -> Path:
    return real_data_folder()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data folder is named, and the user's cache is empty."""
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "chainrule"


# --- what needs no file ------------------------------------------------------------------------------------


def test_digits_are_always_there(bare: Path) -> None:
    digits = data.load("digits")
    assert [len(digits.split(s)) for s in SPLITS] == [1197, 300, 300]
    assert digits.event_shape == (1, 8, 8)
    assert digits.split("train").unique().tolist() == [0, 1]
    assert digits.split("train").float().mean().item() == pytest.approx(0.32397, abs=1e-5)
    assert digits.labels["test"].unique().tolist() == list(range(10))
    assert data.entry("digits").available()


def test_entries_are_known_before_anything_is_read(bare: Path) -> None:
    listing = data.listing()
    assert json.loads(json.dumps(listing)) == listing
    assert {line["name"] for line in listing} == set(CATALOGUE)
    assert [line["name"] for line in listing if line["available"]] == EMBEDDED
    assert {line["name"] for line in listing if line["downloadable"]} == {
        "mnist",
        "dynamic-mnist",
        "fashion-mnist",
        "binarized-mnist",
        "cifar10",
        "tinyshakespeare",
    }
    for name, entry in CATALOGUE.items():
        page = data.describe(name)
        assert all(result.model in page for result in entry.published)
        assert all(file.path in page for file in entry.files)
        for word in ("licence", "source", *(SPLITS if entry.levels else ())):
            assert word in page


def test_importing_the_catalogue_stays_light() -> None:
    heavy = "{'sklearn', 'pandas', 'PIL', 'pooch', 'requests'}"
    code = f"import sys, chainrule.data; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_published_results_are_negative_log_likelihoods_with_a_status() -> None:
    for entry in CATALOGUE.values():
        for result in entry.published:
            assert result.nll > 0
            assert result.status.split()[0] in ("confirmed", "memory")
    static = {r.model: r.nll for r in CATALOGUE["binarized-mnist"].published}
    assert (static["FVSBN"], static["NADE, 1 hidden layer"]) == (97.45, 88.33)
    assert static["MADE, 2 layers, 32 masks"] == 86.64
    dynamic = {r.model: r.nll for r in CATALOGUE["dynamic-mnist"].published}
    assert dynamic["PixelSNAIL"] == 78.61
    ocr = {r.model: r.nll for r in CATALOGUE["ocr-letters"].published}
    assert ocr["NADE, fixed ordering"] == 27.22
    assert all("1,400" in r.note for r in CATALOGUE["dna"].published if "Germain" in r.source)


def test_an_unknown_name_lists_the_nearest() -> None:
    one_line_error(lambda: data.load("mnits"), "unknown data set 'mnits'", "did you mean 'mnist'")


# --- Dataset -----------------------------------------------------------------------------------------------


def _dataset(values: torch.Tensor, **changes: object) -> Dataset:
    fields = {"event_shape": (3,), "kind": "table", "levels": 2} | changes
    return Dataset(name="t", train=values, validation=None, test=None, **fields)


def test_dataset_refuses_parts_that_do_not_fit() -> None:
    bits = torch.zeros(4, 3, dtype=torch.uint8)
    assert repr(_dataset(bits)) == "Dataset('t', table (3,), 2 levels, train 4, validation -, test -)"
    one_line_error(lambda: _dataset(bits).split("valid"), "unknown split 'valid'", "'validation'")
    one_line_error(lambda: _dataset(bits).split("test"), "no test split", "train")
    one_line_error(lambda: _dataset(bits.float()), "torch.float32", "expected torch.uint8 (N, 3)")
    one_line_error(lambda: _dataset(bits, event_shape=(1, 3)), "(4, 3)", "(N, 1, 3)")
    one_line_error(lambda: _dataset(bits + 2), "value 2", "0 to 1")
    one_line_error(lambda: _dataset(bits, levels=256, dynamic=True), "levels=256", "dynamic")
    one_line_error(lambda: _dataset(bits, labels={"train": torch.zeros(3).long()}), "labels", "(4,)")
    one_line_error(lambda: _dataset(bits, labels={"test": torch.zeros(3).long()}), "no test split")


def test_binarize_draws_from_its_generator_alone() -> None:
    levels = torch.tensor([0, 51, 128, 255], dtype=torch.uint8).repeat(20_000, 1)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    drawn = binarize(levels, torch.Generator().manual_seed(5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn, binarize(levels, torch.Generator().manual_seed(5)))
    rate = drawn.float().mean(dim=0)
    assert (rate[0], rate[3]) == (0, 1)
    # 5 standard errors of 20,000 draws: a false alarm in about 10^6 runs, and the seed is fixed.
    assert rate[1].item() == pytest.approx(51 / 255, abs=5 * (0.2 * 0.8 / 20_000) ** 0.5)
    assert rate[2].item() == pytest.approx(128 / 255, abs=5 * 0.5 / 20_000**0.5)


def test_evaluation_split_is_reproducible_and_independent_of_its_length() -> None:
    levels = torch.randint(0, 256, (100, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    grey = _dataset(levels, dynamic=True)
    scored = grey.evaluation_split("train")
    assert torch.equal(scored, grey.evaluation_split("train", seed=0))
    assert not torch.equal(scored, grey.evaluation_split("train", seed=1))
    assert torch.equal(scored[:17], _dataset(levels[:17], dynamic=True).evaluation_split("train"))
    fixed = _dataset(levels // 128)
    assert fixed.evaluation_split("train") is fixed.train


# --- files that are missing, damaged or fetched ------------------------------------------------------------


def test_a_missing_file_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    place = str(tmp_path / "debd" / "nltcs.npz")
    words = ("'nltcs'", "30,803 bytes", "sha256 e7fdc21ae22a", "from CHAINRULE_DATA", f"put it at {place}")
    one_line_error(lambda: data.load("nltcs"), *words)
    one_line_error(lambda: data.load("mnist"), "mnist/train-images-idx3-ubyte.gz", "unset CHAINRULE_DATA")
    for name in ("caltech-silhouettes", "omniglot"):
        one_line_error(lambda name=name: data.load(name), f"{name.replace('-', '_')}.npz", "file of your own")
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "gone"))
    one_line_error(lambda: data.load("nltcs"), "gone", "is not a folder", "CHAINRULE_DATA")


def test_without_a_named_folder_the_cache_is_the_place(bare: Path) -> None:
    one_line_error(lambda: data.load("nltcs"), str(bare / "debd" / "nltcs.npz"), "cache")


def test_wrong_size_and_wrong_bytes(tmp_path: Path) -> None:
    path = tmp_path / "debd" / "nltcs.npz"
    path.parent.mkdir()
    path.write_bytes(b"PK" + bytes(98))
    one_line_error(lambda: data.load("nltcs", root=tmp_path), str(path), "has 100 bytes, expected 30,803")
    assert not data.entry("nltcs").available(tmp_path)
    path.write_bytes(b"PK" + bytes(30_801))
    one_line_error(lambda: data.load("nltcs", root=tmp_path), str(path), "damaged", "expected e7fdc21ae22a")
    one_line_error(lambda: data.verify("nltcs", root=tmp_path), str(path), "sha256")


def test_ones_own_silhouettes(tmp_path: Path) -> None:
    path = tmp_path / "caltech_silhouettes" / "caltech_silhouettes.npz"
    path.parent.mkdir()
    parts = {"train": np.ones((4100, 784), np.uint8), "valid": np.zeros((2264, 28, 28), np.uint8)}
    np.savez_compressed(path, **parts)
    one_line_error(lambda: data.load("caltech-silhouettes", root=tmp_path), "test 2,307", str(path))
    np.savez_compressed(path, **parts, test=np.ones((2307, 784), np.uint8))
    loaded = data.load("caltech-silhouettes", root=tmp_path)
    assert loaded.split("validation").shape == (2264, 1, 28, 28)
    np.savez_compressed(path, other=np.ones((3, 784)))
    one_line_error(lambda: data.load("caltech-silhouettes", root=tmp_path), "no arrays named train")


@pytest.fixture
def server() -> Iterator[tuple[str, bytes]]:
    """A local web server with one small gzipped idx file, `/x-ubyte.gz`."""
    content = gzip.compress(idx_bytes(np.ones((2, 3, 3))), mtime=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/x-ubyte.gz" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/", content
        listening.shutdown()


def test_download_into_the_cache_with_its_checksum(
    bare: Path, server: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, content = server
    sha256 = hashlib.sha256(content).hexdigest()
    file = DataFile("sub/x-ubyte.gz", len(content), sha256, f"{address}x-ubyte.gz")

    gone = replace(file, url=f"{address}gone")
    one_line_error(lambda: locate("x", [gone]), "could not download", f"{address}gone", "404", str(bare))
    other = replace(file, sha256="0" * 64)
    one_line_error(lambda: locate("x", [other]), "could not download", "hash")
    assert not (bare / "sub" / "x-ubyte.gz").exists()

    # A folder that somebody named is never downloaded into.
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    one_line_error(lambda: locate("x", [file]), "not in", str(tmp_path))
    monkeypatch.delenv("CHAINRULE_DATA")

    assert locate("x", [file])[0] == [bare / "sub" / "x-ubyte.gz"]
    assert (bare / "sub" / "x-ubyte.gz").read_bytes() == content
    assert locate("x", [replace(file, url=f"{address}gone")])[0]  # there already: nothing is asked for

    # A file without an address gives way to alternatives that have one.
    own = DataFile("own.npz", 1, "0" * 64)
    assert locate("x", [own], [file])[1] == [file]


def test_no_network_is_one_line(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = DataFile("y-ubyte.gz", 1, "0" * 64, "http://127.0.0.1:9/y-ubyte.gz")
    line = one_line_error(
        lambda: locate("y", [file]),
        "could not download http://127.0.0.1:9/y-ubyte.gz (no connection)",
        "put it at",
    )
    assert "retries" not in line
    assert capfd.readouterr() == ("", "")


def test_advice_names_what_named_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line has no `root`; Python code may have no environment variable."""
    file = DataFile("y-ubyte.gz", 1, "0" * 64, "http://127.0.0.1:9/y-ubyte.gz")
    assert "pass no root" in one_line_error(lambda: locate("y", [file], root=tmp_path), "downloaded")
    assert "root" in one_line_error(lambda: locate("y", [file], root=tmp_path / "gone"), "not a folder")
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    assert "root" not in one_line_error(lambda: locate("y", [file]), "unset CHAINRULE_DATA").replace(
        str(tmp_path), ""
    )
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "gone"))
    assert "root" not in one_line_error(lambda: locate("y", [file]), "not a folder").replace(
        str(tmp_path), ""
    )


# --- the real files ----------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", DEBD)
def test_tables_have_the_published_sizes(real: Path, name: str) -> None:
    entry = data.entry(name)
    loaded = data.load(name, root=real)
    assert entry.available(real)
    for split in SPLITS:
        values = getattr(loaded, split)
        if split not in entry.splits:
            assert values is None
            assert entry.partial
            assert f"no {split} split" in entry.description or f"no {split}" in entry.description
            continue
        assert values.shape == (entry.splits[split], *entry.event_shape)
        assert values.unique().tolist() == [0, 1]
    data.verify(name, root=real)


@pytest.mark.data
def test_the_catalogue_agrees_with_the_checksum_list(real: Path) -> None:
    listed = {}
    for line in (real / "SHA256SUMS").read_text().splitlines():
        sha256, path = line.split(maxsplit=1)
        listed[path.lstrip("*./")] = sha256
    for entry in CATALOGUE.values():
        for file in entry.files:
            if file.sha256 is not None and entry.name != "cifar10":  # all of it is too large to lie there
                assert listed[file.path] == file.sha256
                assert (real / file.path).stat().st_size == file.bytes


@pytest.mark.data
def test_binarized_mnist_is_the_published_one(real: Path) -> None:
    loaded = data.load("binarized-mnist", root=real)
    ones = {split: loaded.split(split).float().mean().item() for split in SPLITS}
    assert ones == pytest.approx({"train": 0.130562, "validation": 0.131127, "test": 0.132512}, abs=5e-7)
    assert [len(loaded.split(s)) for s in SPLITS] == [50_000, 10_000, 10_000]
    assert loaded.event_shape == (1, 28, 28)


@pytest.mark.data
def test_the_text_files_give_the_same_rows(real: Path, tmp_path: Path) -> None:
    loaded = data.load("binarized-mnist", root=real)
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    for split, short in (("train", "train"), ("validation", "valid"), ("test", "test")):
        bits = loaded.split(split).flatten(1).numpy()
        text = np.full((len(bits), 2 * bits.shape[1]), ord(" "), np.uint8)
        text[:, ::2] = bits + ord("0")
        text[:, -1] = ord("\n")
        (folder / f"binarized_mnist_{short}.amat").write_bytes(text.tobytes())
    data.verify("binarized-mnist", root=tmp_path)
    assert torch.equal(data.load("binarized-mnist", root=tmp_path).split("test"), loaded.split("test"))


@pytest.mark.data
def test_mnist_splits_and_labels(real: Path) -> None:
    mnist, dynamic = data.load("mnist", root=real), data.load("dynamic-mnist", root=real)
    train = torch.cat([mnist.labels["train"], mnist.labels["validation"]])
    assert train.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.labels["test"].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = torch.cat([mnist.split("train"), mnist.split("validation")]).float() / 255
    assert (pixels.mean().item(), pixels.std().item()) == pytest.approx((0.1307, 0.3081), abs=5e-5)
    assert [len(mnist.split(s)) for s in SPLITS] == [50_000, 10_000, 10_000]
    assert (mnist.levels, dynamic.levels, dynamic.dynamic) == (256, 2, True)
    scored = dynamic.evaluation_split("test")
    assert scored.unique().tolist() == [0, 1]
    assert scored.float().mean().item() == pytest.approx(
        mnist.split("test").float().mean().item() / 255, abs=1e-3
    )


@pytest.mark.data
def test_fashion_mnist(real: Path) -> None:
    fashion = data.load("fashion-mnist", root=real)
    assert fashion.labels["test"].bincount().tolist() == [1000] * 10
    assert fashion.split("train").shape == (50_000, 1, 28, 28)
    assert not fashion.published


@pytest.mark.data
def test_the_subset_of_cifar10_is_named_one(real: Path) -> None:
    cifar = data.load("cifar10-subset", root=real)
    assert [cifar.split(s).shape for s in SPLITS] == [(n, 3, 32, 32) for n in (9_000, 1_000, 10_000)]
    assert (cifar.levels, cifar.kind, cifar.published) == (256, "image", ())
    assert cifar.labels["test"].bincount().tolist() == [1000] * 10
    train = torch.cat([cifar.labels["train"], cifar.labels["validation"]])
    assert train.bincount().tolist() == [989, 962, 989, 1015, 989, 1003, 993, 1035, 970, 1055]
    assert cifar.label_names[int(cifar.labels["train"][0])] == "frog"
    # Channels were last in the file: the means of red, green and blue of the whole are published.
    means = cifar.split("train").double().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.01)
    assert "subset" in data.describe("cifar10-subset").lower()


@pytest.mark.data
def test_frey_faces_are_split_in_the_order_of_the_video(real: Path) -> None:
    faces = data.load("frey-faces", root=real)
    assert [len(faces.split(s)) for s in SPLITS] == [1_565, 200, 200]
    assert (faces.event_shape, faces.levels, dict(faces.labels)) == ((1, 28, 20), 256, {})
    # Neighbouring frames are nearly the same: the next split begins where the one before ends.
    last, first = faces.split("train")[-1].double(), faces.split("validation")[0].double()
    elsewhere = faces.split("train")[:100].double()
    assert (last - first).abs().mean() < (elsewhere - first).abs().flatten(1).mean(1).median()


def test_the_archive_of_all_of_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive of the same form: a label, then the red, green and blue plane."""
    rng = np.random.default_rng(0)
    labels, pixels = (
        rng.integers(0, 10, 12).astype(np.uint8),
        rng.integers(0, 256, (12, 3072)).astype(np.uint8),
    )
    records = np.concatenate([labels[:, None], pixels], axis=1)
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    path = tmp_path / "cifar10" / "small.tar.gz"
    path.parent.mkdir()

    def write(contents: list[bytes]) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in zip(names, contents, strict=True):
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    small = replace(
        CATALOGUE["cifar10"],
        files=(DataFile("cifar10/small.tar.gz"),),
        splits={"train": 7, "validation": 3, "test": 2},
    )
    monkeypatch.setitem(CATALOGUE, "cifar10", small)
    write([part.tobytes() for part in np.split(records, 6)])
    loaded = data.load("cifar10", root=tmp_path)
    joined = torch.cat([loaded.split(s) for s in SPLITS])
    assert torch.equal(joined, torch.from_numpy(pixels).view(12, 3, 32, 32))
    assert torch.cat([loaded.labels[s] for s in SPLITS]).tolist() == labels.tolist()
    write([part.tobytes()[:-1] for part in np.split(records, 6)])
    one_line_error(lambda: data.load("cifar10", root=tmp_path), "small.tar.gz", "not a readable archive")


def test_published_bits_of_cifar10_are_nats_of_an_image() -> None:
    nll = {r.model: r.nll for r in CATALOGUE["cifar10"].published}
    assert nll["PixelCNN++"] / (3072 * math.log(2)) == pytest.approx(2.92, abs=1e-4)
    assert nll["PixelCNN"] / (3072 * math.log(2)) == pytest.approx(3.14, abs=1e-4)
