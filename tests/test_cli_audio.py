"""`train`, `sample`, `score` and `evaluate` on sound."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_helpers import call, refused, succeed

from chainrule.audio import AudioModel, Recording, fit_audio, read_wav, write_wav
from chainrule.cli.audio_runs import is_sound

TINY = [
    part
    for pair in ("rate=2000", "length=64", "epochs=2", "channels=4", "skip_channels=6", "layers_per_stack=3")
    for part in ("--set", pair)
]


def chirp(path, seconds=0.5, rate=4000, pitch=100.0):
    time = np.arange(round(seconds * rate)) / rate
    return write_wav(path, Recording(0.5 * np.sin(2 * np.pi * pitch * (1 + time) * time), rate))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight recordings in two classes."""
    root = tmp_path_factory.mktemp("sounds")
    for name, pitch in (("high", 300.0), ("low", 90.0)):
        (root / name).mkdir()
        for number in range(4):
            chirp(root / name / f"{number}.wav", 0.1 + 0.02 * number, pitch=pitch + number)
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A model of the folder, conditioned on its classes."""
    out = tmp_path_factory.mktemp("runs") / "sounds"
    succeed("train", "wavenet", "--data", folder, "--condition-on-labels", "--out", out, *TINY, "--quiet")
    return out


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A .wav and a model of it."""
    place = tmp_path_factory.mktemp("single")
    wav = chirp(place / "my.wav", 2.0)
    called = succeed("train", "wavenet", "--data", wav, "--out", place / "run", *TINY)
    assert "resampled from 4,000 Hz to 2,000 Hz" in called.err
    return wav, place / "run", called


def test_training_on_a_wav_says_what_came_out(single) -> None:
    wav, run, called = single
    assert "2,000 samples a second, mu-law\n" in called.out
    assert f"chainrule sample {run} --seconds 1 --out sample.wav" in called.out
    assert (run / "learning_curve.png").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["notes"]["audio"]["data"] == str(wav)
    assert AudioModel.load(run).model.end is None


def test_a_sample_is_a_wav_of_its_seed(single, tmp_path) -> None:
    _, run, _ = single
    first = succeed("sample", run, "--seconds", 0.05, "--seed", 3, "--out", tmp_path / "a.wav", "--json").json
    assert (first["samples"], first["rate"], first["seed"]) == (100, 2000, 3)
    succeed("sample", run, "--seconds", 0.05, "--seed", 3, "--out", tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    sound = AudioModel.load(run).sample(0.05, seed=3)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav").samples, sound.samples, atol=2**-16)
    refused(call("sample", run, "--out", tmp_path / "a.wav"), "already exists")
    succeed("sample", run, "--seconds", 0.05, "--out", tmp_path / "a.wav", "--overwrite")


def test_going_on_from_a_wav(single, tmp_path) -> None:
    wav, run, _ = single
    out = tmp_path / "on.wav"
    called = succeed("sample", run, "--seconds", 0.05, "--prompt", wav, "--seed", 1, "--out", out)
    assert "which comes first in the file" in called.out
    joined, before = read_wav(out), read_wav(wav).at_rate(2000)
    assert len(joined.samples) == len(before.samples) + 100
    np.testing.assert_allclose(joined.samples[:4000], before.samples, atol=2**-16)


def test_scores_of_a_wav(single, tmp_path) -> None:
    wav, run, _ = single
    out = tmp_path / "surprise.npz"
    called = succeed("score", run, wav, "--per-variable", "--out", out)
    assert "1 recording, 4,000 samples" in called.out
    with np.load(out) as arrays:
        assert arrays["surprise"].sum() == pytest.approx(-arrays["log_prob"][0])
        assert arrays["offsets"].tolist() == [0, 4000]
        assert arrays["files"].tolist() == [str(wav)]
    listed = succeed("score", run, wav)
    header, row = listed.out.strip().splitlines()
    assert header == "file,samples,log_prob,bits_per_sample"
    assert row.startswith(f"{wav},4000,")
    assert "bits" in listed.err


def test_every_recording_of_a_folder_is_scored_as_its_class(run, folder, tmp_path) -> None:
    out = tmp_path / "scores.csv"
    succeed("score", run, folder, "--out", out)
    assert len(out.read_text().splitlines()) == 9
    found = succeed("score", run, folder / "low" / "1.wav", "--json").json["scores"][0]["log_prob"]
    asked = succeed("score", run, folder / "low" / "1.wav", "--context", "low", "--json").json
    assert found == asked["scores"][0]["log_prob"]
    other = succeed("score", run, folder / "low" / "1.wav", "--context", "0", "--json").json
    assert found != other["scores"][0]["log_prob"]


def test_evaluation_is_of_whole_recordings_beside_counting(run, single) -> None:
    called = succeed("evaluate", run)
    assert "1 recording, " in called.out
    assert "first-order Markov" in called.out
    assert "for where they end" in called.out
    wav, alone, _ = single
    content = succeed("evaluate", alone, "--split", "validation", "--json").json
    assert content["samples"] == 200
    assert content["end_bits_per_sample"] == 0
    assert content["nats_per_sample"] == pytest.approx(content["bits_per_sample"] * np.log(2))
    assert succeed("evaluate", alone, "--data", wav, "--json").json["samples"] == 200


def test_a_run_goes_on_as_it_was_begun(single, tmp_path) -> None:
    wav, run, _ = single
    again = succeed("train", "--resume", "--out", run, "--json").json
    assert (again["epochs"], again["data"]) == (2, str(wav))
    refused(call("train", "rnn", "--resume", "--out", run), "a run of wavenet, not of rnn")
    refused(call("train", "--resume", "--out", run, "--set", "epochs=3"), "leave --set")
    refused(call("train", "wavenet", "--data", wav, "--out", run, *TINY), "already")


def test_a_run_made_in_python_is_evaluated_and_resumed_like_any_other(single, tmp_path) -> None:
    wav, _, _ = single
    sizes = {"channels": 4, "skip_channels": 6, "layers_per_stack": 3}
    fit_audio(wav, tmp_path / "run", rate=2000, model_settings=sizes, epochs=1, seed=4, progress=False)
    found = succeed("evaluate", tmp_path / "run", "--json").json
    assert (found["data"], found["samples"]) == (str(wav), 200)
    assert succeed("train", "--resume", "--out", tmp_path / "run", "--json").json["epochs"] == 1


def test_a_run_that_replaces_one_of_sound_is_no_run_of_sound(tmp_path) -> None:
    wav, out = chirp(tmp_path / "my.wav", 2.0), tmp_path / "run"
    succeed("train", "wavenet", "--data", wav, "--out", out, *TINY, "--quiet")
    rest = ("--set", "epochs=1", "--set", "hidden=4", "--quiet", "--overwrite")
    succeed("train", "nade", "--data", "digits", "--out", out, *rest)
    assert "bits/dim" in succeed("evaluate", out).out


def test_what_counts_as_sound(folder, tmp_path) -> None:
    assert is_sound("fsdd")
    assert is_sound("MY.WAV")
    assert is_sound(str(folder))
    assert not is_sound(None)
    assert not is_sound("digits")
    assert not is_sound(str(tmp_path))


def test_mistakes_are_told_in_a_line(run, single, tmp_path) -> None:
    wav, alone, _ = single
    bad = tmp_path / "bad.wav"
    bad.write_bytes(wav.read_bytes()[:-10])
    train = ("train", "wavenet", "--out", tmp_path / "new", "--data")
    refused(call(*train, bad), "truncated")
    refused(call(*train, tmp_path / "none.wav"), "there is no file")
    refused(call(*train, wav, "--set", "code=a-law"), "unknown code of samples 'a-law'")
    refused(call(*train, wav, "--set", "code=3"), "mu-law or pcm16")
    refused(call(*train, wav, "--threshold", 3), "--threshold", "not for the training of sound")
    refused(call(*train, wav, "--condition-on-labels"), "no classes")
    refused(call("train", "nade", "--data", wav, "--out", tmp_path / "new"), "unknown model of sound 'nade'")
    assert not (tmp_path / "new").exists()
    refused(call("sample", alone, "--out", tmp_path / "a.png"), "written as .wav")
    refused(call("sample", alone, "-n", 3, "--out", tmp_path / "a.wav"), "-n", "not for the samples")
    refused(call("sample", alone, "--seconds", -1, "--out", tmp_path / "a.wav"), "seconds")
    refused(call("sample", run, "--out", tmp_path / "a.wav"), "needs a class: one of high, low")
    refused(call("sample", alone, "--context", "low", "--out", tmp_path / "a.wav"), "knows no classes")
    refused(call("score", alone, wav, "--per-variable"), "--out FILE.npz")
    refused(call("score", alone, bad), "truncated")
    refused(call("evaluate", alone, "--steps", 3), "--steps")
    assert not (tmp_path / "a.wav").exists()
