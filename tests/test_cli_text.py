"""`chainrule` on texts: from a file to a model in one command, samples that stream, scores, bad input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import PROGRAM, as_process, call, refused, succeed
from data_helpers import real_data_folder

from chainrule import data
from chainrule.cli.names import TEXT_MODELS, TEXTS
from chainrule.data import CATALOGUE, TextEntry
from chainrule.errors import ChainruleError
from chainrule.text import TEXT_MODELS as KNOWN_MODELS
from chainrule.text import LanguageModel, corpus_of, fit_text, measure

TEXT = "the cat sat on the mat.\nthe dog sat on the log.\n" * 60
NAMES = "".join(
    f"{a}{b}\n" for a in ("ann", "bo", "cy", "dora", "eli") for b in ("", "a", "bella", "na", "ie")
)
QUICK = (
    "--quiet",
    "--set",
    "width=16",
    "--set",
    "num_layers=1",
    "--set",
    "num_heads=2",
    "--set",
    "epochs=12",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "my.txt").write_text(TEXT, encoding="utf-8")
    (folder / "names.txt").write_text(NAMES, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(home) -> Path:
    out = home / "run"
    succeed(
        *("train", "transformer", "--data", home / "my.txt", "--out", out, "--set", "length=32", *QUICK),
        *("--set", "learning_rate=0.01"),
    )
    return out


@pytest.fixture(scope="module")
def of_names(home) -> Path:
    out = home / "names"
    data_of = ("--data", home / "names.txt", "--set", "lines=true")
    small = ("--set", "hidden=8", "--set", "layers=1", "--set", "epochs=5", "--quiet")
    succeed("train", "rnn", *data_of, "--out", out, *small)
    return out


# ---------------------------------------------------------------- catalogue


def test_texts_of_the_catalogue_have_their_names() -> None:
    assert set(TEXTS) == {name for name, entry in CATALOGUE.items() if isinstance(entry, TextEntry)}
    assert set(TEXT_MODELS) == set(KNOWN_MODELS)
    assert set(TEXTS) <= set(succeed("datasets").out.split())
    page = succeed("datasets", "ptb").out
    for words in ("LDC", "Zaremba", "78.40", "5,101,618", "ptb/ptb.train.txt.gz", "train transformer"):
        assert words in page
    assert "differs by its version" in " ".join(succeed("datasets", "python-docs").out.split())


def test_python_docs_come_with_python() -> None:
    from pydoc_data.topics import topics

    text = data.load_text("python-docs")
    assert text.train + text.validation + text.test == "\n".join(topics[name] for name in sorted(topics))
    assert len(text.train) == int(0.9 * sum(map(len, text.parts.values())))


def test_a_text_whose_file_is_missing_or_damaged(tmp_path) -> None:
    with pytest.raises(ChainruleError, match=r"input\.txt\.gz .*put it at"):
        data.load_text("tinyshakespeare", root=tmp_path)
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_bytes("é".encode() * 557_697)
    with pytest.raises(ChainruleError, match="damaged or another file"):
        data.load_text("tinyshakespeare", root=tmp_path)
    for load, name, words in (
        (data.load, "ptb", "load_text"),
        (data.load_text, "digits", "is no text"),
        (data.load_text, "ptbb", "did you mean 'ptb'"),
    ):
        with pytest.raises(ChainruleError, match=words):
            load(name, root=tmp_path)


@pytest.mark.data
def test_published_splits() -> None:
    folder = real_data_folder()
    shakespeare = data.load_text("tinyshakespeare", root=folder)
    assert (len(shakespeare.train), len(shakespeare.validation)) == (1_003_854, 111_540)
    assert len(set(shakespeare.train)) == CATALOGUE["tinyshakespeare"].levels
    treebank = corpus_of(data.load_text("ptb", root=folder))
    sizes = [len(treebank.split(name)) for name in ("train", "validation", "test")]
    assert sizes == [929_589, 73_760, 82_430]
    assert treebank.tokenizer.levels == CATALOGUE["ptb"].levels
    assert treebank.tokenizer.decode(treebank.test[:6].tolist()) == "no it was n't black monday"


# ---------------------------------------------------------------- training


def test_training_prints_the_units_of_the_field(home, tmp_path) -> None:
    done = succeed(
        *("train", "transformer", "--data", home / "my.txt", "--out", tmp_path / "r", *QUICK[1:]),
        *("--set", "epochs=1", "--set", "length=8"),
    )
    for words in ("nats/token", "bits/char", "perplexity", "2,592 tokens to train on", "chainrule sample"):
        assert words in done.out
    assert "is modelled as text: char tokens" in done.err
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["notes"]["text"]["spec"] == str(home / "my.txt")


def test_what_is_text_and_what_is_not(home, tmp_path) -> None:
    for name in ("a.log", "b.md", "c.py", "d", "e.weird", "f.txt.gz"):
        content = TEXT[:600].encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        out = tmp_path / f"run-{name}"
        succeed("train", "rnn", "--data", tmp_path / name, "--out", out, *TINY)
        assert (out / "tokenizer.json").is_file()
    (tmp_path / "table.csv").write_text("0,1\n1,0\n" * 40, encoding="utf-8")
    succeed("train", "rnn", "--data", tmp_path / "table.csv", "--out", tmp_path / "bits", *TINY)
    assert not (tmp_path / "bits" / "tokenizer.json").exists()
    text = ("--set", "tokenizer=char", "--out", tmp_path / "chars")
    succeed("train", "rnn", "--data", tmp_path / "table.csv", *text, *TINY)
    assert (tmp_path / "chars" / "tokenizer.json").is_file()
    refused(call("train", "nade", "--data", "python-docs", "--out", tmp_path / "x"), "python-docs is text")


TINY = ("--quiet", "--set", "hidden=4", "--set", "layers=1", "--set", "epochs=1")


@pytest.mark.parametrize("tokenizer", ["byte", "word", "bpe:270"])
def test_other_tokenizers(tokenizer, home, tmp_path) -> None:
    if tokenizer.startswith("bpe"):
        pytest.importorskip("tokenizers")
    trained = ("--data", home / "my.txt", "--set", f"tokenizer={tokenizer}", "--set", "length=8")
    content = succeed("train", "rnn", *trained, "--out", tmp_path / "r", *TINY, "--json").json
    assert content["tokenizer"] == tokenizer.partition(":")[0]
    bits = content["validation_nats_per_token"] * content["tokens"]["validation"]
    assert content["validation_bits_per_character"] == pytest.approx(
        bits / math.log(2) / content["characters"]["validation"]
    )
    assert succeed("sample", tmp_path / "r", "--prompt", "the", "--seed", 1).out.startswith("the")
    assert succeed("score", tmp_path / "r", home / "my.txt", "--json").json["characters"] == len(TEXT)


def test_a_run_goes_on_where_it_was_stopped(home, run, tmp_path, monkeypatch) -> None:
    from chainrule.training.trainer import Trainer

    update = Trainer._update

    def interrupted(self, batch):
        if self.at.step == 5:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Trainer, "_update", interrupted)
    settings = ("--set", "length=32", *QUICK, "--set", "learning_rate=0.01")
    stopped = call("train", "transformer", "--data", home / "my.txt", "--out", tmp_path / "r", *settings)
    assert stopped.status == 130
    assert "train --resume --out" in stopped.err
    monkeypatch.undo()
    succeed("train", "--resume", "--out", tmp_path / "r", "--quiet")
    assert (tmp_path / "r/model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_made_in_python_is_evaluated_and_resumed_like_any_other(home, tmp_path) -> None:
    made = fit_text(
        home / "my.txt", tmp_path / "r", model="rnn", model_settings={"hidden": 4}, epochs=2, length=16,
        progress=False,
    )  # fmt: skip
    found = succeed("evaluate", tmp_path / "r", "--json").json
    assert found["data"] == "my.txt, test"
    assert found["nats_per_token"] == pytest.approx(
        measure(made, corpus_of(home / "my.txt"), "test").nll, rel=1e-6
    )
    assert succeed("train", "--resume", "--out", tmp_path / "r", "--json").json["epochs"] == 2
    parts = dict.fromkeys(("train", "validation"), home / "my.txt")  # nothing that one name stands for
    fit_text(
        parts, tmp_path / "s", model="rnn", model_settings={"hidden": 4}, epochs=1, length=16, progress=False
    )
    refused(call("evaluate", tmp_path / "s"), "does not say what it was trained on", "--data")


def test_resuming_refuses_what_is_another_run(home, run, tmp_path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert "nothing to resume" in succeed("train", "--resume", "--out", copy, "--quiet").err
    refused(call("train", "rnn", "--resume", "--out", copy), "run of transformer, not of rnn")
    refused(call("train", "--resume", "--out", copy, "--data", home / "names.txt"), "my.txt", "names.txt")
    refused(call("train", "--resume", "--out", copy, "--set", "width=3"), "leave --set")
    refused(call("train", "transformer", "--data", home / "my.txt", "--out", copy), "already exists")


def test_what_validation_has_that_training_has_not_is_reported(tmp_path) -> None:
    (tmp_path / "t.txt").write_text(TEXT[:1900] + "ÄÖ" + TEXT[:98], encoding="utf-8")
    loud = [word for word in TINY if word != "--quiet"]
    done = succeed("train", "rnn", "--data", tmp_path / "t.txt", "--out", tmp_path / "r", *loud)
    assert "note: the text is short" in done.err
    (tmp_path / "t.txt").write_text(TEXT[:1850] + "ÄÖ" + TEXT[:148], encoding="utf-8")
    done = succeed("train", "rnn", "--data", tmp_path / "t.txt", "--out", tmp_path / "s", *loud)
    assert "note: 2 of 100 tokens to validate on are not known" in done.err


# ---------------------------------------------------------------- samples


def test_a_sample_goes_on_from_its_prompt_and_is_seeded(run) -> None:
    done = succeed("sample", run, "--prompt", "the ", "--max-tokens", 50, "--seed", 3)
    assert done.out.startswith("the ")
    assert len(done.out) == 4 + 50 + 1
    assert "--seed 3" in done.err
    assert "no sample of p" not in done.err
    assert succeed("sample", run, "--prompt", "the ", "--max-tokens", 50, "--seed", 3).out == done.out
    content = succeed("sample", run, "--prompt", "the ", "--max-tokens", 50, "--seed", 3, "--json").json
    assert "the " + content["texts"][0] + "\n" == done.out
    assert content["exact"] is True


def test_a_sample_streams_piece_by_piece(run, monkeypatch) -> None:
    """Every write is flushed before the next token is drawn."""

    flushed: list[int] = []

    class Watched(io.StringIO):
        def flush(self) -> None:
            flushed.append(len(self.getvalue()))

    watched = Watched()
    monkeypatch.setattr(sys, "stdout", watched)
    from chainrule.cli.main import run as command

    assert command(["sample", str(run), "--max-tokens", "20", "--seed", "1"]) == 0
    assert set(range(1, 21)) <= set(flushed)


def test_cuts_are_named_for_what_they_are(run) -> None:
    for option, value in (("--temperature", 0.5), ("--top-k", 3), ("--top-p", 0.9)):
        done = succeed("sample", run, option, value, "--max-tokens", 3)
        notes = [line for line in done.err.splitlines() if "no sample of p" in line]
        assert len(notes) == 1
        assert f"{option[2:]} {value:g}" in notes[0]
    assert "no sample of p" not in succeed("sample", run, "--top-p", 1.0, "--max-tokens", 3).err
    greedy = {succeed("sample", run, "--top-k", 1, "--seed", seed).out for seed in (1, 2)}
    assert len(greedy) == 1


def test_stop_strings_and_several_samples(run, tmp_path) -> None:
    whole = succeed("sample", run, "--seed", 5, "--max-tokens", 200).out
    assert "\n" in whole[:-1]
    assert succeed("sample", run, "--seed", 5, "--stop", r"\n").out == whole.partition("\n")[0] + "\n"
    three = succeed("sample", run, "-n", 3, "--max-tokens", 20, "--prompt", "the ").out
    assert [line for line in three.splitlines() if line.startswith("---")] == [
        f"--- {number} ---" for number in (1, 2, 3)
    ]
    written = succeed("sample", run, "--seed", 5, "--max-tokens", 200, "--out", tmp_path / "s.txt")
    assert (tmp_path / "s.txt").read_text() == whole
    assert "seed" in written.out
    refused(call("sample", run, "--out", tmp_path / "s.txt"), "already exists")
    refused(call("sample", run, "--out", tmp_path / "s.png"), "written as .txt")


def test_a_prompt_that_is_long_or_strange(run) -> None:
    done = succeed("sample", run, "--prompt", TEXT[:100], "--max-tokens", 2)
    assert "100 tokens; the model looks at the last 16 to 31" in done.err
    done = succeed("sample", run, "--prompt", "the Ämter", "--max-tokens", 2)
    assert "has no 'r', 'Ä'; read as unknown" in done.err
    assert done.out.startswith("the Ämter")


def test_a_reader_that_has_seen_enough_is_no_failure(run, tmp_path) -> None:
    command = [*PROGRAM, "sample", str(run), "--max-tokens", "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(100) == 0


def test_a_terminal_without_the_character_gets_a_question_mark(home, run) -> None:
    done = as_process(
        "sample", run, "--prompt", "ü", "--max-tokens", 3, cwd=home, PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert done.status == 0, done.err
    assert done.out.startswith("?")


# ---------------------------------------------------------------- scores and figures


def test_a_score_says_which_words_were_surprising(home, run, tmp_path) -> None:
    text = TEXT[:480] + "the zebra sat on the log.\n"
    (tmp_path / "new.txt").write_text(text, encoding="utf-8")
    content = succeed("score", run, tmp_path / "new.txt", "--json").json
    assert content["words"][0]["text"] == "zebra"
    assert content["words"][0]["line"] == 21
    assert content["unknown"] == 3  # z, b and r
    assert content["nll"] == pytest.approx(-LanguageModel.load(run).log_prob(text))
    assert content["bits_per_character"] == pytest.approx(content["nll"] / math.log(2) / len(text))
    shown = succeed("score", run, tmp_path / "new.txt", "--out", tmp_path / "s.csv")
    for words in ("bits/char", "perplexity", "zebra", "not known from training"):
        assert words in shown.out
    rows = list(csv.DictReader((tmp_path / "s.csv").open(encoding="utf-8", newline="")))
    assert "".join(row["token"] for row in rows) == text
    assert sum(float(row["surprise"]) for row in rows) == pytest.approx(content["nll"], abs=1e-3)
    succeed("score", run, tmp_path / "new.txt", "--out", tmp_path / "s.html")
    assert "<td>zebra</td>" in (tmp_path / "s.html").read_text(encoding="utf-8")
    refused(call("score", run, tmp_path / "new.txt", "--out", tmp_path / "s.npz"), ".csv", ".html")
    refused(call("score", run, tmp_path / "new.txt", "--out", tmp_path / "s.csv"), "already exists")


def test_evaluate_takes_every_token_of_the_part(home, run) -> None:
    model, corpus = LanguageModel.load(run), corpus_of(home / "my.txt", LanguageModel.load(run).tokenizer)
    for split in ("validation", "test"):
        content = succeed("evaluate", run, "--split", split, "--json").json
        log_prob = model.log_prob_per_token(corpus.split(split))
        assert content["tokens"] == len(corpus.split(split))
        assert content["nats_per_token"] == pytest.approx(-log_prob.mean().item())
    shown = succeed("evaluate", run).out
    for words in ("standard error, over 5 blocks of 32 tokens", "bits/char", "16 to 31 before it"):
        assert words in shown
    whole = succeed("evaluate", run, "--data", home / "my.txt", "--json").json
    assert whole["tokens"] == len(TEXT)
    assert succeed("evaluate", run, "--limit", 40, "--json").json["tokens"] == 40


def test_evaluate_notices_a_text_that_changed(home, run, tmp_path) -> None:
    copy = tmp_path / "t.txt"
    copy.write_text(TEXT, encoding="utf-8")
    succeed("train", "rnn", "--data", copy, "--out", tmp_path / "r", *TINY)
    assert "warning" not in succeed("evaluate", tmp_path / "r").err
    copy.write_text(TEXT.replace("dog", "god"), encoding="utf-8")
    assert "train and validation part of t.txt, test changed" in succeed("evaluate", tmp_path / "r").err


def test_a_text_of_the_catalogue(tmp_path) -> None:
    settings = ("--set", "width=8", "--set", "num_heads=2", "--set", "num_layers=1", "--set", "length=256")
    out = ("--out", tmp_path / "r", "--set", "epochs=1", "--quiet")
    succeed("train", "transformer", "--data", "python-docs", *settings, *out)
    content = succeed("evaluate", tmp_path / "r", "--json").json
    assert content["data"] == "python-docs, test"
    assert content["tokens"] == len(data.load_text("python-docs").test)
    assert content["nats_per_token"] < math.log(100)
    part = succeed("score", tmp_path / "r", "python-docs", "--split", "test", "--json").json
    assert part["nats_per_token"] == pytest.approx(content["nats_per_token"], abs=1e-4)


# ---------------------------------------------------------------- lines


def test_lines_are_sampled_scored_and_evaluated_one_by_one(home, of_names, tmp_path) -> None:
    lines = succeed("sample", of_names, "--seed", 1, "--max-tokens", 40).out.splitlines()
    assert len(lines) == 10
    assert len(succeed("sample", of_names, "-n", 3, "--prompt", "an").out.splitlines()) == 3
    content = succeed("score", of_names, home / "names.txt", "--json").json
    model = LanguageModel.load(of_names)
    scores = model.score_lines(NAMES.split())
    assert content["nll"] == pytest.approx(sum(score.nll for score in scores))
    assert content["characters"] == len(NAMES)
    worst = max(range(len(scores)), key=lambda number: scores[number].nll)
    assert content["lines"][0]["text"] == NAMES.split()[worst]
    (tmp_path / "n.txt").write_text("\nann\n\nbo", encoding="utf-8")
    succeed("score", of_names, tmp_path / "n.txt", "--out", tmp_path / "n.csv")
    rows = list(csv.reader((tmp_path / "n.csv").open(newline="")))
    assert [row[:2] for row in rows] == [["line", "text"], ["2", "ann"], ["4", "bo"]]
    assert float(rows[1][2]) == pytest.approx(model.score_lines(["ann"])[0].nll, abs=1e-5)
    shown = succeed("evaluate", of_names, "--split", "train").out
    assert "over 22 lines" in shown
    refused(call("sample", of_names, "--prompt", "a\nb"), "one line")


def test_lines_longer_than_the_length_are_said(home, tmp_path) -> None:
    (tmp_path / "t.txt").write_text(NAMES + "a" * 30 + "\n" + "b" * 30 + "\n", encoding="utf-8")
    loud = [word for word in TINY if word != "--quiet"]
    done = succeed(
        *("train", "rnn", "--data", tmp_path / "t.txt", "--out", tmp_path / "r", *loud),
        *("--set", "lines=true", "--set", "length=12"),
    )
    assert "longer than 12 tokens; their beginnings train" in done.err
    long_line = succeed("score", tmp_path / "r", tmp_path / "t.txt", "--json").json["lines"][0]["text"]
    assert len(long_line) == 30  # scored to its end all the same


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "is empty"),
        ("latin.txt", "Grüße ".encode("latin-1") * 90, "is not UTF-8: byte 0xfc at offset 2"),
        ("wide.txt", TEXT.encode("utf-16"), "is UTF-16 text"),
        ("short.txt", b"hello", "is too short"),
        ("cut.txt.gz", gzip.compress(np.random.default_rng(0).bytes(5000))[:900], "could not be read"),
        ("plain.txt.gz", b"no gzip", "could not be read"),
    ],
)
def test_a_file_that_is_no_text_is_one_line(name, content, words, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    trained = call("train", "transformer", "--data", tmp_path / name, "--out", tmp_path / "r", "--quiet")
    refused(trained, words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tokenizer=chr", ["unknown tokenizer 'chr'", "did you mean 'char'"]),
        ("tokenizer=bpe:7", ["at least 257"]),
        ("tokenizer=bpe", ["tokenizer=bpe:1000"]),
        ("lines=maybe", ["true or false"]),
        ("length=1", ["length"]),
        ("length=100000", ["fewer than one window", "smaller length"]),
        ("width=wide", ["expects a whole number"]),
        ("widht=8", ["did you mean 'width'"]),
        ("ordering=spiral", ["ordering is not for texts"]),
        ("conditional=bernoulli", ["conditional is not for texts"]),
        ("batch_size=many", ["batch_size"]),
    ],
)
def test_a_setting_that_is_wrong_is_one_line(setting, words, home, tmp_path) -> None:
    trained = ("--data", home / "my.txt", "--out", tmp_path / "r", "--quiet", "--set", setting)
    refused(call("train", "transformer", *trained), *words)
    assert not (tmp_path / "r").exists()


def test_byte_pairs_without_their_library(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    trained = ("--data", home / "my.txt", "--out", tmp_path / "r", "--set", "tokenizer=bpe:300")
    refused(call("train", "rnn", *trained), "pip install 'chainrule[text]'")


def test_places_and_options_that_do_not_fit(home, run, tmp_path) -> None:
    for place, words in (("no.txt", "there is no file"), (home, "")):
        refused(call("train", "transformer", "--data", place, "--out", tmp_path / "r"), words)
    refused(call("score", run, "digits"), "is no text")
    refused(call("score", run, home / "none.txt"), "there is no file")
    refused(call("score", run, home / "my.txt", "--split", "test"), "leave it out")
    refused(
        call("score", run, home / "my.txt", "--overlay", "x.png"), "--overlay: not for the scores of a text"
    )
    refused(call("evaluate", run, "--split", "tset"), "did you mean 'test'")
    refused(call("evaluate", run, "--members", 3), "--members: not for the evaluation of a text")
    refused(call("sample", run, "--context", "3"), "--context: not for the sample of a text")
    refused(call("sample", run, "--top-p", 3), "top_p")
    refused(call("sample", run, "--top-k", 0), "top_k")
    refused(call("sample", run, "--max-tokens", -1), "max_tokens")
    (tmp_path / "empty.txt").write_bytes(b"")
    refused(call("score", run, tmp_path / "empty.txt"), "is empty")


def test_runs_that_are_of_no_text_take_no_text_options(tmp_path) -> None:
    small = ("--set", "hidden=4", "--set", "epochs=1", "--quiet")
    succeed("train", "nade", "--data", "digits", "--out", tmp_path / "r", *small)
    refused(call("sample", tmp_path / "r", "--prompt", "the", "--out", "x.png"), "--prompt")
    for option in (("--top-k", 3), ("--top-p", 0.5), ("--max-tokens", 9), ("--stop", "x")):
        refused(call("sample", tmp_path / "r", *option, "--out", "x.png"), option[0], "for runs of texts")
