"""Saved models: exact, atomic, checked when read, and never unpickled."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

import chainrule
from chainrule import saving
from chainrule.errors import ChainruleError
from chainrule.models import FVSBN, MADE, NADE, ChowLiuTree, DeepNADE, Ensemble
from chainrule.training import seeded

N = 5


def all_values() -> torch.Tensor:
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * N)


def made(**settings) -> MADE:
    with seeded(3):
        return MADE((N,), hidden=(6, 6), **settings)


def one_line(call, *words: str) -> str:
    with pytest.raises(ChainruleError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


@pytest.fixture
def saved(tmp_path) -> Path:
    made(ordering="random:4").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# -------------------------------------------------------------------- what is saved comes back


@pytest.mark.parametrize("double", [False, True])
def test_load_gives_the_same_likelihoods_bit_for_bit(double, tmp_path):
    model = made(ordering="random:4", num_masks=3, mask=1, residual=True)
    model = (model.double() if double else model).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = chainrule.load(tmp_path / "model")
    assert type(loaded) is MADE
    assert not loaded.training
    assert loaded.settings() == model.settings()
    assert torch.equal(loaded.log_prob(all_values()), model.log_prob(all_values()))
    again = MADE.from_pretrained(tmp_path / "model")
    assert torch.equal(again.log_prob(all_values()), model.log_prob(all_values()))


def test_an_ensemble_with_shared_weights_saves_them_once(tmp_path):
    with seeded(1):
        network = DeepNADE((N,), hidden=(7,))
    ensemble = network.ensemble(4).eval()
    ensemble.save_pretrained(tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert sum(t.numel() for t in stored.values()) == network.num_parameters
    loaded = chainrule.load(tmp_path / "model")
    assert isinstance(loaded, Ensemble)
    assert torch.equal(loaded.log_prob(all_values()), ensemble.log_prob(all_values()))
    weights = {member.output.weight.data_ptr() for member in loaded.members}
    assert len(weights) == 1, "members that shared weights share them no more"


def test_an_ensemble_of_different_models(tmp_path):
    with seeded(1):
        ensemble = Ensemble([NADE((N,), hidden=3), made(), NADE((N,), hidden=3)]).eval()
    ensemble.save_pretrained(tmp_path / "model")
    loaded = chainrule.load(tmp_path / "model")
    assert torch.equal(loaded.log_prob(all_values()), ensemble.log_prob(all_values()))


def test_a_learned_structure_comes_back(tmp_path):
    tree = ChowLiuTree((N,))
    tree.fit_counts(all_values()[::3])
    tree.save_pretrained(tmp_path / "model")
    assert torch.equal(chainrule.load(tmp_path / "model").log_prob(all_values()), tree.log_prob(all_values()))


# -------------------------------------------------------------------- writing


def test_save_refuses_to_overwrite_unless_told(saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    one_line(lambda: NADE((N,), hidden=2).save_pretrained(saved), str(saved), "overwrite=True")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    NADE((N,), hidden=2).save_pretrained(saved, overwrite=True)
    assert isinstance(chainrule.load(saved), NADE)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("where", "which"), [("fsync", 1), ("fsync", 2), ("replace", 1)])
def test_a_full_disk_leaves_the_earlier_model(where, which, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    real, calls = getattr(os, where), []

    def nearly_full(*arguments):
        calls.append(arguments)
        return full_disk() if len(calls) == which else real(*arguments)

    monkeypatch.setattr(saving.os, where, nearly_full)
    save = NADE((N,), hidden=2).save_pretrained
    one_line(lambda: save(saved, overwrite=True), "No space left on device", "before is unchanged")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_full_disk_while_a_file_is_written(tmp_path, monkeypatch):
    path = tmp_path / "file"
    saving.write_atomically(path, b"old")

    class Full:
        def __init__(self, *_):
            self.file = real(*_)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:2])
            full_disk()

    real = open
    monkeypatch.setattr(saving, "open", Full, raising=False)
    one_line(lambda: saving.write_atomically(path, b"new content"), "No space left", "unchanged")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    one_line(lambda: made().save_pretrained(tmp_path / "file" / "model"), "could not be written")
    one_line(lambda: saving.write_atomically(tmp_path / "missing" / "file", b""), "could not be written")


def test_only_partial_files_of_ours_are_removed(tmp_path):
    for name in (".model.safetensors.17.partial", "thesis.partial", ".mine.partial", "model.safetensors"):
        (tmp_path / name).write_text("")
    saving.remove_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "thesis.partial",
        ".mine.partial",
        "model.safetensors",
    }


# -------------------------------------------------------------------- reading what is not right

LOADERS = [chainrule.load, MADE.from_pretrained]


@pytest.mark.parametrize("load", LOADERS)
def test_missing_files(load, saved, tmp_path):
    (tmp_path / "empty").mkdir()
    one_line(lambda: load(tmp_path / "empty"), "holds no model", "config.json")
    (saved / "model.safetensors").unlink()
    one_line(lambda: load(saved), "model.safetensors is missing")


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"format": 1}', b'"text"'])
def test_a_damaged_configuration(load, content, saved):
    (saved / "config.json").write_bytes(content)
    one_line(lambda: load(saved), "config.json")


@pytest.mark.parametrize("load", LOADERS)
def test_damaged_weights(load, saved):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    for version in (b"", content[:5], content[:-1], content[: len(content) // 2], b"\xff" * 64):
        path.write_bytes(version)
        one_line(lambda: load(saved), "model.safetensors is damaged")


@pytest.mark.parametrize("load", LOADERS)
def test_another_format(load, saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"format": 2, "chainrule": "7.1"}))
    one_line(lambda: load(saved), "format 2", "chainrule 7.1", "reads format 1")


def test_another_class(saved):
    one_line(lambda: NADE.from_pretrained(saved), "holds a MADE, not a NADE")
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model": "Mine"}))
    one_line(lambda: chainrule.load(saved), "holds a Mine", "Mine.from_pretrained")


@pytest.mark.parametrize("load", LOADERS)
def test_settings_of_another_version(load, saved):
    config = json.loads((saved / "config.json").read_text())
    tensors = load_file(saved / "model.safetensors")
    save_file(tensors, saved / "model.safetensors")  # as by a tool that knows no digest
    load(saved)
    config["settings"]["attention"] = 3
    (saved / "config.json").write_text(json.dumps(config))
    one_line(lambda: load(saved), "attention", "another version")


@pytest.mark.parametrize("load", LOADERS)
def test_weights_that_do_not_fit(load, saved):
    save_file({"weight": torch.zeros(3)}, saved / "model.safetensors")
    one_line(lambda: load(saved), "do not fit")


def test_a_save_cut_off_between_its_two_files_is_noticed(saved, tmp_path):
    # Same shapes, other ordering: without a check, this would load and be wrong.
    made(ordering="reversed").save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(saved / "model.safetensors")
    one_line(lambda: chainrule.load(saved), "does not belong to the config.json beside it")


def test_nothing_is_ever_unpickled(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (saved / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    one_line(lambda: chainrule.load(saved), "damaged")
    torch.save({"a": Trap()}, saved / "model.safetensors")
    one_line(lambda: chainrule.load(saved), "damaged")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("load", LOADERS)
def test_weights_that_hold_nan(load, tmp_path):
    model = made()
    with torch.no_grad():
        model.output.bias[2] = torch.nan
    model.save_pretrained(tmp_path / "model")
    one_line(lambda: load(tmp_path / "model"), "output.bias", "NaN", "diverged")


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    "change", [{"model": ["MADE"]}, {"model": None}, {"settings": [1]}, {"settings": None}]
)
def test_a_configuration_of_other_types(load, change, saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | change))
    one_line(lambda: load(saved), "config.json is damaged", "'model'", "'settings'")


@pytest.mark.parametrize("place", [None, "", 3, b"x"])
def test_what_is_no_place_at_all(place):
    for load in LOADERS:
        one_line(lambda load=load: load(place), "the model's place must be a path")
    one_line(lambda: made().save_pretrained(place), "the folder to save to must be a path")


def test_an_ensemble_with_a_member_of_ones_own_says_how_to_load_it(tmp_path, monkeypatch):
    class Mine(NADE):
        pass

    mixture = Ensemble([Mine((N,), hidden=2), FVSBN((N,))])
    mixture.save_pretrained(tmp_path / "model")
    for load in (chainrule.load, Ensemble.from_pretrained):
        message = one_line(
            lambda load=load: load(tmp_path / "model"), "a member of class Mine", "then load again"
        )
    advice = message.partition("known with ")[2].partition(",")[0]
    monkeypatch.setattr(Ensemble, "member_classes", dict(Ensemble.member_classes))
    exec(advice, {"chainrule": chainrule, "Mine": Mine})
    loaded = chainrule.load(tmp_path / "model")
    assert torch.equal(loaded.log_prob(all_values()), mixture.log_prob(all_values()))


# -------------------------------------------------------------------- the hub


def test_a_hub_name_is_downloaded_and_only_what_models_are_made_of(saved, monkeypatch):
    calls = []

    def download(name, **options):
        calls.append((name, options))
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = chainrule.load("someone/made-5", revision="v2")
    assert torch.equal(loaded.log_prob(all_values()), chainrule.load(saved).log_prob(all_values()))
    MADE.from_pretrained("someone/made-5", revision="v2")
    assert [name for name, _ in calls] == ["someone/made-5"] * 2
    for _, options in calls:
        files = options.pop("allow_patterns")
        assert options == {"revision": "v2"}
        assert {"config.json", "model.safetensors", "schema.json", "tokenizer.json"} <= set(files)
        assert not any("*" in file or "checkpoints" in file for file in files)


@pytest.mark.parametrize("load", [*LOADERS, FVSBN.from_pretrained])
@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("Cannot find the files.\nMore advice\nand more"),
        ConnectionError("no route to host"),
        OSError(),
    ],
)
def test_offline_is_one_clear_line(load, error, monkeypatch):
    def download(name, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    one_line(lambda: load("someone/made-5"), "someone/made-5 is no folder here", "from the hub")


def test_really_offline_without_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    one_line(
        lambda: chainrule.load("someone/made-5", cache_dir=tmp_path), "could not be fetched from the hub"
    )


@pytest.mark.parametrize("name", ["nothing-here", "./runs/none", "/no/such/place", "a/b/c", "~/model"])
def test_what_cannot_be_a_hub_name_is_not_asked_for(name, monkeypatch):
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was asked for")
    )
    one_line(lambda: chainrule.load(name), "is not a folder")


def test_a_file_is_no_folder(saved):
    one_line(lambda: chainrule.load(saved / "config.json"), "is not a folder")
