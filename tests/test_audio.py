"""Sound: .wav files, codes of samples, collections, and models of recordings."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from chainrule import data
from chainrule.audio import (
    AudioCollection,
    AudioModel,
    AudioPart,
    CountedSamples,
    LinearCode,
    MuLawCode,
    Recording,
    collection_of,
    compress,
    evaluate_audio,
    expand,
    fit_audio,
    read_wav,
    wav_bytes,
    write_wav,
)
from chainrule.audio.fitting import audio_network
from chainrule.audio.windows import rows_of, windows
from chainrule.errors import ChainruleError
from chainrule.training import Run

TINY = {"channels": 4, "skip_channels": 6, "layers_per_stack": 3, "num_stacks": 1}


def noise(seconds: float = 0.1, rate: int = 8000, seed: int = 0) -> Recording:
    draws = np.random.default_rng(seed).uniform(-0.4, 0.4, round(seconds * rate))
    return Recording(draws, rate, f"noise {seed}")


def tone(hertz: float, seconds: float = 0.25, rate: int = 2000) -> Recording:
    return Recording(0.6 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate, "tone")


def tiny_model(code=None, *, ends: bool = False, classes: tuple[str, ...] = ()) -> AudioModel:
    code = code or MuLawCode()
    network = audio_network("wavenet", code, 16, TINY, seed=3, with_end=ends, context_size=len(classes))
    return AudioModel(network.double(), code, 8000, classes)


# ---------------------------------------------------------------- the mu-law


def test_the_law_is_the_published_one() -> None:
    x = np.array([-1.0, -0.25, 0.0, 1 / 255, 0.5, 1.0])
    # ln(1 + 255 |x|) / ln 256: 1/255 is ln 2 / (8 ln 2).
    by_hand = [-1.0, -np.log(64.75) / np.log(256), 0.0, 1 / 8, np.log(128.5) / np.log(256), 1.0]
    np.testing.assert_allclose(compress(x), by_hand, atol=1e-15)
    np.testing.assert_allclose(expand(compress(x)), x, atol=1e-15)


def test_every_mu_law_code_decodes_to_a_sample_of_that_code() -> None:
    codes = np.arange(256)
    law = MuLawCode()
    np.testing.assert_array_equal(law.encode(law.decode(codes)), codes)
    assert law.encode(np.array([-1.0, 0.0, 1.0, 7.0])).tolist() == [0, 128, 255, 255]
    # A telephone's signal-to-noise ratio: 8 bits after the law give about 38 dB at any loudness.
    loud = np.random.default_rng(0).uniform(-1, 1, 20_000)
    for volume in (1.0, 0.1):
        wrong = law.decode(law.encode(volume * loud)) - volume * loud
        assert 10 * np.log10((volume * loud).var() / wrong.var()) > 35


def test_16_bit_values_are_their_own_codes() -> None:
    values = np.arange(-32_768, 32_768)
    code = LinearCode()
    np.testing.assert_array_equal(code.encode(values / 32_768), values + 32_768)
    np.testing.assert_array_equal(code.decode(values + 32_768), values / 32_768)
    assert code.encode(np.array([-2.0, 2.0])).tolist() == [0, 65_535]


# ---------------------------------------------------------------- .wav files


@pytest.mark.parametrize(
    ("bits", "floating"), [(8, False), (16, False), (24, False), (32, False), (32, True), (64, True)]
)
def test_what_is_written_is_read_again(tmp_path, bits, floating) -> None:
    sound = noise(0.0125, 44_100)  # an odd number of samples: 8 and 24 bits need a byte to fill up
    path = write_wav(tmp_path / "a.wav", sound, bits=bits, floating=floating)
    again = read_wav(path)
    step = {32: 2.0**-24, 64: 0}[bits] if floating else 2.0 ** (1 - bits)
    assert (again.rate, len(again.samples), again.remarks) == (44_100, 551, ())
    np.testing.assert_allclose(again.samples, sound.samples, rtol=0, atol=step / 2)
    assert wav_bytes(again, bits=bits, floating=floating) == path.read_bytes()
    rate, others = wavfile.read(path)  # another reader of the same file
    scale = {8: 128.0, 16: 2.0**15, 24: 2.0**31, 32: 2.0**31}[bits] if not floating else 1.0
    centre = 128 if bits == 8 else 0
    np.testing.assert_array_equal((others.astype(float) - centre) / scale, again.samples)
    assert rate == 44_100


def test_what_the_standard_library_writes_is_read(tmp_path) -> None:
    left, right = np.array([1000, -2000, 32_767]), np.array([3000, -4000, -32_768])
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(11_025)
        file.writeframes(np.stack([left, right], 1).astype("<i2").tobytes())
    sound = read_wav(tmp_path / "s.wav")
    np.testing.assert_array_equal(sound.samples, (left + right) / 2 / 32_768)
    assert sound.remarks == ("2 channels mixed down to one",)


def test_extensible_headers_and_headers_written_into_a_pipe(tmp_path) -> None:
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 24_000, 3, 24, 22, 24, 4) + struct.pack("<H14x", 1)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # of odd length, which a byte fills up
    body += b"data" + struct.pack("<I", 0xFFFFFFFF) + bytes([0, 0, 0x40, 0, 0, 0x80])
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert read_wav(tmp_path / "x.wav").samples.tolist() == [0.5, -1.0]


GOOD = wav_bytes(noise(0.01))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, world", "is no .wav file"),
        (b"fLaC" + bytes(50), "is FLAC, not .wav; convert it: ffmpeg"),
        (GOOD[:-7], "truncated: it should hold 160 bytes of sound and holds 153"),
        (GOOD[:30], "truncated: the file ends before its sound"),
        (GOOD[:40] + bytes(4), "0 samples"),
        (GOOD[:20] + b"\x07\0" + GOOD[22:], r"compressed \(mu-law\)"),
        (GOOD[:22] + b"\0\0" + GOOD[24:], "0 channels"),
        (GOOD[:24] + bytes(4) + GOOD[28:], "at 0 Hz"),
    ],
    ids=["empty", "text", "flac", "cut", "cut-early", "silent", "mu-law", "channels", "rate"],
)
def test_a_file_that_is_no_good_is_told_in_a_line(tmp_path, content, words) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ChainruleError, match=words) as raised:
        read_wav(path)
    assert "\n" not in str(raised.value)
    assert "bad.wav" in str(raised.value)


def test_files_that_are_not_there_and_files_that_are(tmp_path) -> None:
    with pytest.raises(ChainruleError, match="there is no file"):
        read_wav(tmp_path / "none.wav")
    path = write_wav(tmp_path / "a.wav", noise())
    before = path.read_bytes()
    with pytest.raises(ChainruleError, match="already exists"):
        write_wav(path, noise(seed=1))
    assert path.read_bytes() == before
    write_wav(path, noise(seed=1), overwrite=True)
    assert path.read_bytes() != before


def test_floats_that_are_no_numbers_are_refused(tmp_path) -> None:
    (tmp_path / "n.wav").write_bytes(wav_bytes(noise(), bits=32, floating=True)[:-4] + b"\0\0\xc0\x7f")
    with pytest.raises(ChainruleError, match=r"n\.wav: sample 799 is nan"):
        read_wav(tmp_path / "n.wav")


def test_resampling_keeps_the_tone_and_says_so() -> None:
    sound = tone(100, 1.0, 44_100).at_rate(8000)
    assert sound.remarks == ("resampled from 44,100 Hz to 8,000 Hz",)
    assert len(sound.samples) == 8000
    inner = slice(200, -200)
    np.testing.assert_allclose(sound.samples[inner], tone(100, 1.0, 8000).samples[inner], atol=2e-3)
    assert sound.at_rate(8000) is sound
    gone = tone(3000, 1.0, 44_100).at_rate(4000)  # above half the new rate
    assert np.abs(gone.samples[inner]).max() < 0.01


# ---------------------------------------------------------------- collections


def folder_of(root, classes=("a", "b"), each=5, seconds=0.05):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(each):
            write_wav(root / name / f"{index}.wav", noise(seconds, 4000, seed=10 * number + index))
    return root


def test_a_folder_of_classes(tmp_path) -> None:
    found = collection_of(folder_of(tmp_path / "all"), 8000)
    assert found.label_names == ("a", "b")
    assert {name: len(part.recordings) for name, part in found.parts.items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }
    assert found.remarks == ("resampled from 4,000 Hz to 8,000 Hz (10 of 10 recordings)",)
    labels = [label for part in found.parts.values() for label in part.labels]
    assert sorted(labels) == [0] * 5 + [1] * 5
    again = collection_of(tmp_path / "all", 8000)
    for name, part in found.parts.items():
        assert [r.samples.tobytes() for r in again.part(name).recordings] == [
            r.samples.tobytes() for r in part.recordings
        ]


def test_a_folder_that_names_its_parts(tmp_path) -> None:
    folder_of(tmp_path / "all" / "train", each=2)
    folder_of(tmp_path / "all" / "validation", classes=("b",), each=1)
    found = collection_of(tmp_path / "all", 4000)
    assert found.part("train").labels == (0, 0, 1, 1)
    assert found.part("validation").labels == (1,)
    with pytest.raises(ChainruleError, match="no test part"):
        found.part("test")


def test_a_single_recording_is_cut_in_time(tmp_path) -> None:
    sound = noise(1.0, 4000)
    found = collection_of(write_wav(tmp_path / "one.wav", sound), 4000)
    assert found.is_single
    joined = np.concatenate([part.recordings[0].samples for part in found.parts.values()])
    np.testing.assert_array_equal(joined, read_wav(tmp_path / "one.wav").samples)
    assert [len(part.recordings[0].samples) for part in found.parts.values()] == [3600, 200, 200]


def test_folders_that_cannot_be_used(tmp_path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ChainruleError, match=r"no \.wav files"):
        collection_of(tmp_path / "none")
    mixed = folder_of(tmp_path / "mixed")
    write_wav(mixed / "loose.wav", noise())
    with pytest.raises(ChainruleError, match=r"loose\.wav in none"):
        collection_of(mixed)
    write_wav(tmp_path / "dot.wav", Recording(np.zeros(3), 8000))
    with pytest.raises(ChainruleError, match="3 samples at 8,000 Hz, too few to be cut"):
        collection_of(tmp_path / "dot.wav")
    few = folder_of(tmp_path / "few", classes=("a",), each=2)
    with pytest.raises(ChainruleError, match="2 recordings; expected at least 3"):
        collection_of(few)


# ---------------------------------------------------------------- rows to train on


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 8, 11])
def test_rows_hold_every_sample_and_never_run_over(total) -> None:
    codes = np.arange(total)
    rows = rows_of(codes, 4, end=None)
    assert set(rows.flatten().tolist()) == (set(range(total)) if total >= 4 else set())
    assert all((np.diff(row) == 1).all() for row in rows)
    ended = rows_of(codes, 4, end=99)
    assert set(ended.flatten().tolist()) == {*range(total), 99}
    assert ended[-1].tolist() == [*range(total), 99, 99, 99][max(0, total - 3) :][:4]  # and ends to the end


def test_filling_up_costs_nothing() -> None:
    model = tiny_model(ends=True)
    codes = torch.randint(256, (1, 10), generator=torch.Generator().manual_seed(0)).double()
    ended = torch.nn.functional.pad(codes, (0, 1), value=256.0)
    filled = torch.nn.functional.pad(codes, (0, 6), value=256.0)
    exact = model.model.with_length(11).log_prob(ended)
    assert torch.equal(model.model.with_length(16).log_prob(filled), exact)


def test_recordings_that_are_too_short_are_left_out_and_counted() -> None:
    parts = {
        "train": AudioPart((noise(0.01), noise(0.001))),
        "validation": AudioPart((noise(0.01, seed=1),)),
    }
    found = AudioCollection("some", 8000, parts)
    rows, left_out = windows(found, LinearCode(), 32, end=None, with_labels=False)
    assert (tuple(rows.train.shape), left_out) == ((3, 32), 1)
    assert (rows.train.dtype, rows.levels, rows.kind) == (torch.int32, 65_536, "audio")
    with pytest.raises(ChainruleError, match="no recording of 100 samples, the longest has 80"):
        windows(found, LinearCode(), 100, end=None, with_labels=False)
    _, none_left_out = windows(found, MuLawCode(), 32, end=256, with_labels=False)
    assert none_left_out == 0


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("ends", [False, True])
def test_a_recording_in_pieces_is_the_whole_pass(monkeypatch, ends) -> None:
    model = tiny_model(ends=ends)
    sound = noise(0.01)
    codes = torch.from_numpy(model.code.encode(sound.samples)).double()[None]
    if ends:
        codes = torch.nn.functional.pad(codes, (0, 1), value=256.0)
    whole = model.model.with_length(codes.shape[1]).requires_grad_(False)
    each = -whole.log_prob_per_variable(codes)[0].numpy()
    monkeypatch.setattr("chainrule.audio.model._CHUNK", 7)
    score = model.score(sound)
    np.testing.assert_allclose(score.surprise, each[:80], rtol=0, atol=1e-12)
    assert score.end == pytest.approx(each[80] if ends else 0.0, abs=1e-12)
    assert model.log_prob(sound) == pytest.approx(float(whole.log_prob(codes)), abs=1e-10)
    in_pieces = model.model.chunked_log_prob(codes, chunk=11)
    assert model.log_prob(sound) == pytest.approx(float(in_pieces), abs=1e-10)
    assert score.bits_per_sample == pytest.approx(score.nll / 80 / np.log(2))


def test_the_probabilities_of_16_bit_values_add_up_to_one() -> None:
    model = tiny_model(LinearCode())
    params = model.model(torch.full((1, 16), 33_000.0, dtype=torch.float64))[0, 5]
    values = torch.arange(65_536, dtype=torch.float64)
    total = model.model.conditional.log_prob(params.expand(65_536, -1), values).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(model.surprise(noise(0.01))).all()


def test_ring_buffers_draw_what_the_naive_sampler_draws() -> None:
    for model in (tiny_model(), tiny_model(LinearCode())):
        drawn = model.sample(40 / 8000, seed=5)
        network = model.model.with_length(40)
        naive = network.sample(1, seed=5, method="naive")[0].long().numpy()
        np.testing.assert_array_equal(model.code.encode(drawn.samples), naive)


def test_going_on_from_a_sound_is_drawing_given_it() -> None:
    model = tiny_model()
    whole = model.sample(40 / 8000, seed=5)
    before = whole.part(0, 25)
    drawn = model.continue_from(before, 15 / 8000, seed=9)
    assert len(drawn.samples) == 15
    # The same noise in the places after the first 25, given these as evidence.
    network, family = model.model.with_length(40), model.model.conditional
    uniforms = torch.rand(1, 15, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    codes = torch.zeros(1, 40, dtype=torch.float64)
    codes[0, :25] = torch.from_numpy(model.code.encode(before.samples))
    with torch.no_grad():
        for place in range(25, 40):
            codes[:, place] = family.sample(network(codes)[:, place], uniforms[:, place - 25])
    np.testing.assert_array_equal(model.code.encode(drawn.samples), codes[0, 25:].long().numpy())
    np.testing.assert_array_equal(before.then(drawn).samples[25:], drawn.samples)


def test_a_model_with_an_end_stops_there() -> None:
    model = tiny_model(ends=True)
    with torch.no_grad():
        model.model.head.bias[256] += 4.0  # make ends common
    # Each length is the place of the first end in a sample that goes on to the last value.
    network, firsts = model.model.with_length(200), []
    for seed in range(6):
        firsts.append(int((network.sample(1, seed=seed)[0] == 256).nonzero()[0]))
        if firsts[-1] == 0:
            with pytest.raises(ChainruleError, match="ends before its first sample"):
                model.sample(200 / 8000, seed=seed)
        else:
            assert len(model.sample(200 / 8000, seed=seed).samples) == firsts[-1]
    assert min(firsts) == 0
    assert len(set(firsts)) > 3


def test_classes_are_heard_and_checked() -> None:
    model = tiny_model(classes=("cat", "dog"))
    sound = noise(0.01)
    assert model.log_prob(sound, "cat") == model.log_prob(sound, 0)
    assert model.log_prob(sound, "cat") != model.log_prob(sound, "dog")
    with pytest.raises(ChainruleError, match="needs a class: one of cat, dog"):
        model.log_prob(sound)
    with pytest.raises(ChainruleError, match="unknown class 'dgo'; did you mean 'dog'"):
        model.sample(0.01, "dgo")
    with pytest.raises(ChainruleError, match="at most 1"):
        model.sample(0.01, 2)
    with pytest.raises(ChainruleError, match="knows no classes"):
        tiny_model().log_prob(sound, "cat")


def test_sound_at_another_rate_is_brought_to_the_models() -> None:
    model = tiny_model()
    sound = tone(50, 0.05, 16_000)
    score = model.score(sound)
    assert (len(score.surprise), score.remarks) == (400, ("resampled from 16,000 Hz to 8,000 Hz",))
    loud = model.score(np.array([0.0, 3.0, -2.0]))
    assert loud.remarks == ("2 samples beyond full scale cut off",)


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"seconds": 1e-6}, {"temperature": 0}, {"seed": -1}])
def test_what_cannot_be_drawn_is_refused(settings) -> None:
    with pytest.raises(ChainruleError, match=next(iter(settings))):
        tiny_model().sample(**settings)


def test_saving_and_loading(tmp_path) -> None:
    model = tiny_model(ends=True, classes=("a", "b"))
    model.save(tmp_path / "m")
    again = AudioModel.load(tmp_path / "m")
    assert repr(again) == repr(model)
    again.model.double()
    assert again.log_prob(noise(0.01), "b") == pytest.approx(model.log_prob(noise(0.01), "b"), rel=1e-12)
    (tmp_path / "m" / "audio.json").write_text("{}")
    with pytest.raises(ChainruleError, match=r"audio\.json is damaged"):
        AudioModel.load(tmp_path / "m")
    (tmp_path / "m" / "audio.json").unlink()
    with pytest.raises(ChainruleError, match="is no model of sound"):
        AudioModel.load(tmp_path / "m")


def test_parts_that_do_not_fit_together() -> None:
    network = audio_network("wavenet", MuLawCode(), 16, TINY)
    with pytest.raises(ChainruleError, match="65,536 levels"):
        AudioModel(network, LinearCode(), 8000)
    with pytest.raises(ChainruleError, match="context of 0 numbers, but there are 1"):
        AudioModel(network, MuLawCode(), 8000, ("a",))
    with pytest.raises(ChainruleError, match="unknown model of sound 'wavnet'"):
        audio_network("wavnet", MuLawCode(), 16)
    with pytest.raises(ChainruleError, match="unknown setting of wavenet for sound 'local_size'"):
        audio_network("wavenet", MuLawCode(), 16, {"local_size": 2})
    with pytest.raises(ChainruleError, match="set ends=false"):
        audio_network("wavenet", LinearCode(), 16, with_end=True)


# ---------------------------------------------------------------- fitting and evaluating


def tones() -> AudioCollection:
    """Two classes, a low and a high tone, of different lengths."""
    made = {}
    for split, count in (("train", 6), ("validation", 2), ("test", 2)):
        sounds = [(tone((60, 190)[k % 2], 0.1 + 0.02 * k), k % 2) for k in range(count)]
        made[split] = AudioPart(tuple(s for s, _ in sounds), tuple(label for _, label in sounds))
    return AudioCollection("tones", 2000, made, ("low", "high"))


def test_a_tiny_fit_learns_tones_and_their_classes(tmp_path) -> None:
    settings = {"channels": 12, "skip_channels": 16, "layers_per_stack": 4, "num_stacks": 1}
    model = fit_audio(
        tones(),
        tmp_path / "run",
        length=128,
        condition_on_labels=True,
        model_settings=settings,
        epochs=40,
        batch_size=4,
        learning_rate=1e-2,
        progress=False,
    )
    result = evaluate_audio(model, tones())
    assert result.baselines["every level alike"] == 8
    assert result.bits_per_sample < result.baselines["frequencies of levels"] - 1
    low = tones().part("test").recordings[0]
    assert model.log_prob(low, "low") > model.log_prob(low, "high")
    assert len(AudioModel.load(tmp_path / "run").sample(0.05, "low", seed=0).samples) <= 100
    assert AudioModel.load(tmp_path / "run").log_prob(low, "low") == model.log_prob(low, "low")
    metrics = Run(tmp_path / "run").metrics()
    assert metrics[-1]["validation_nll"] < metrics[0]["validation_nll"]


def test_fitting_16_bit_values(tmp_path) -> None:
    said: list[str] = []
    model = fit_audio(
        tones(),
        tmp_path / "run",
        code="pcm16",
        length=230,
        model_settings=TINY,
        epochs=2,
        progress=False,
        on_remark=said.append,
    )
    # Recordings have 200, 240, 280, ... samples; a mixture of logistics has no end to fill up with.
    assert said == ["2 recordings of fewer than 230 samples left out of training"]
    assert model.model.end is None
    assert 0 < evaluate_audio(model, tones()).bits_per_sample < 20


def test_a_short_recording_makes_short_rows(tmp_path) -> None:
    wav = write_wav(tmp_path / "my.wav", tone(100, 1.0))  # 2,000 samples, 100 of them to validate on
    options = {"rate": 2000, "model_settings": TINY, "epochs": 1, "progress": False}
    assert fit_audio(wav, tmp_path / "run", **options).model.event_shape == (100,)
    # With an end symbol short ones are filled up.
    assert fit_audio(tones(), tmp_path / "two", **options).model.event_shape == (2048,)


def test_what_cannot_be_fitted_is_told_before_anything_is_made(tmp_path) -> None:
    plain = AudioCollection("plain", 2000, {k: AudioPart(p.recordings) for k, p in tones().parts.items()})
    with pytest.raises(ChainruleError, match="no classes to condition on"):
        fit_audio(plain, tmp_path / "run", condition_on_labels=True)
    with pytest.raises(ChainruleError, match="unknown code of samples 'a-law'"):
        fit_audio(plain, tmp_path / "run", code="a-law")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ChainruleError, match="at 2,000 Hz, the model at 8,000"):
        evaluate_audio(tiny_model(), tones())


def test_evaluation_is_the_mean_over_all_samples() -> None:
    model = AudioModel(tiny_model().model, MuLawCode(), 2000)
    result = evaluate_audio(model, tones())
    sounds = tones().part("test").recordings
    total = sum(-model.log_prob(sound) for sound in sounds)
    samples = sum(len(sound.samples) for sound in sounds)
    assert (result.samples, result.recordings) == (samples, 2)
    assert result.nats_per_sample == pytest.approx(total / samples)
    assert np.isnan(evaluate_audio(model, tones(), limit=1).standard_error)


def test_counting_gives_the_probabilities_it_says() -> None:
    codes = [np.array([0, 1, 0, 1, 2]), np.array([1, 0, 1])]
    counted = CountedSamples(3, codes, prior=3.0)
    assert counted.frequency.tolist() == pytest.approx([4 / 11, 5 / 11, 2 / 11])
    # After 0 came 1 three times; three more successors are spread as the codes are.
    given_0 = (np.array([0, 3, 0]) + 3 * counted.frequency) / 6
    assert given_0.sum() == pytest.approx(1)
    both = counted.markov(np.array([0, 1]))
    assert both == pytest.approx(-np.log2(counted.frequency[0] * given_0[1]))
    assert counted.independent(np.array([0, 1])) == pytest.approx(-np.log2(4 / 11 * 5 / 11))


# ---------------------------------------------------------------- the catalogue


@pytest.mark.data
def test_the_spoken_digits() -> None:
    found = collection_of("fsdd")
    assert {name: len(part.recordings) for name, part in found.parts.items()} == data.CATALOGUE["fsdd"].splits
    assert sum(len(r.samples) for part in found.parts.values() for r in part.recordings) == 3_127_443
    assert [sum(label == digit for label in found.part("test").labels) for digit in range(10)] == [30] * 10
    assert found.label_names[found.part("train").labels[0]] == "0"


def test_the_digits_are_no_array(tmp_path) -> None:
    with pytest.raises(ChainruleError, match=r"load it with data\.load_audio\('fsdd'\)"):
        data.load("fsdd")
    with pytest.raises(ChainruleError, match="'digits' holds no sound; what does: fsdd"):
        data.load_audio("digits")
    (tmp_path / "fsdd").mkdir()
    buffer = io.BytesIO()
    np.savez(buffer, audio=np.zeros(3, np.int16))
    size = data.CATALOGUE["fsdd"].files[0].bytes
    (tmp_path / "fsdd" / "fsdd_subset.npz").write_bytes(buffer.getvalue().ljust(size, b"\0"))
    with pytest.raises(ChainruleError, match="damaged or another file"):
        data.load_audio("fsdd", root=tmp_path)
