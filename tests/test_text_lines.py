"""Lines that are texts of their own: their ends are part of the distribution, and padding is not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from text_helpers import abc_model, transformer

from chainrule.errors import ChainruleError
from chainrule.models import RNN, Transformer, WaveNet
from chainrule.text import (
    CharTokenizer,
    LanguageModel,
    corpus_of,
    measure,
    window_length,
)
from chainrule.text.fitting import text_network
from chainrule.training import seeded

# ---------------------------------------------------------------- lines

LINES = "".join(f"{a}{b}\r\n\n" for a in ("ann", "bo", "cy") for b in ("", "a", "bella", "na", "ie"))


def lines_model(length=5, **settings) -> LanguageModel:
    return LanguageModel(
        transformer(length=length, levels=4, end=3, **settings).double(), CharTokenizer("ab")
    )


def test_lines_are_texts_that_end(tmp_path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(LINES.encode())
    corpus = corpus_of(file, lines=True)
    assert corpus.end == corpus.tokenizer.levels == corpus.levels - 1
    parts = {name: corpus.texts(name) for name in ("train", "validation", "test")}
    assert [len(lines) for lines in parts.values()] == [13, 1, 1]
    read = [corpus.tokenizer.decode(line[:-1].tolist()) for lines in parts.values() for line in lines]
    known = corpus.tokenizer.alphabet
    seen = ["".join(c if c in known else "\ufffd" for c in line) for line in LINES.split()]
    assert sorted(read) == sorted(seen)
    assert all(line[-1] == corpus.end and (line[:-1] != corpus.end).all() for line in corpus.texts("train"))
    assert corpus.characters["train"] == sum(map(len, parts["train"]))
    rows = corpus.windows(4).train
    assert rows.shape == (13, 4)
    assert rows[:, 3].tolist().count(corpus.end) == sum(len(line) <= 4 for line in parts["train"])
    assert window_length(corpus) == corpus.longest("train", "validation")
    assert window_length(corpus, 4) == 4
    again = corpus_of(file, lines=True, folder=tmp_path / "tokens")
    assert torch.equal(again.train, corpus.train)


@pytest.mark.parametrize("make", [Transformer, RNN, WaveNet])
def test_padding_never_changes_a_likelihood(make, tmp_path) -> None:
    """From the file over rows of any length to the score of a line: in float64, the same number."""
    file = tmp_path / "names.txt"
    file.write_bytes(LINES.encode())
    corpus = corpus_of(file, lines=True)
    longest = window_length(corpus)
    with seeded(2):
        network = text_network(
            {Transformer: "transformer", RNN: "rnn", WaveNet: "wavenet"}[make],
            corpus.tokenizer,
            longest,
            {Transformer: {"width": 8, "num_heads": 2}, RNN: {"hidden": 8}, WaveNet: {"channels": 4}}[make],
            seed=0,
            lines=True,
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(std=0.5)
    model = LanguageModel(network.double(), corpus.tokenizer)
    alone = torch.stack([row.sum() for row in model.log_prob_of_lines(corpus.texts("train"))])
    for length in (longest, longest + 3, 2 * longest):
        rows = corpus.windows(length).train.double()
        padded = network.with_length(length).log_prob(rows)
        torch.testing.assert_close(padded, alone, rtol=0, atol=1e-9)
    names = [corpus.tokenizer.decode(line[:-1].tolist()) for line in corpus.texts("train")]
    scores = [score.nll for score in model.score_lines(names)]
    torch.testing.assert_close(-torch.tensor(scores, dtype=torch.float64), alone, rtol=0, atol=1e-9)
    assert model.score("\n\n".join(names) + "\r\n").nll == pytest.approx(sum(scores), abs=1e-9)
    figures = measure(model, corpus, "train")
    assert figures.nll * figures.tokens == pytest.approx(sum(scores), abs=1e-9)


@pytest.mark.parametrize("length", [3, 6])
def test_lines_of_any_length_sum_to_one(length) -> None:
    """All lines of at most three tokens and all beginnings of four, within the context limit and beyond."""
    model = lines_model(length=length)
    whole = [torch.tensor([*line, 3]) for n in range(4) for line in itertools.product(range(3), repeat=n)]
    ended = torch.stack([row.sum() for row in model.log_prob_of_lines(whole)]).exp().sum()
    begun = [torch.tensor(line) for line in itertools.product(range(3), repeat=4)]
    longer = torch.stack([model.log_prob_per_token(line).sum() for line in begun]).exp().sum()
    assert (ended + longer).item() == pytest.approx(1, abs=1e-9)


def test_sampled_lines_come_as_often_as_their_likelihood_says() -> None:
    model = lines_model()
    texts = model.generate(num_samples=4000, max_tokens=30, seed=1)
    for text in ("", "a", "ab", max(set(texts), key=texts.count)):
        p = math.exp(-model.score_lines([text])[0].nll)
        assert abs(texts.count(text) / 4000 - p) < 5 * math.sqrt(p * (1 - p) / 4000) + 1e-4
    assert not any("\n" in text or len(text) > 30 for text in texts)
    with pytest.raises(ChainruleError, match="one line"):
        model.generate("a\nb")


def test_a_model_of_lines_and_one_of_text_are_told_apart(tmp_path) -> None:
    (tmp_path / "t.txt").write_text(LINES, encoding="utf-8")
    with pytest.raises(ChainruleError, match="not of lines"):
        abc_model().score_lines(["a"])
    with pytest.raises(ChainruleError, match="not cut into"):
        measure(abc_model(), corpus_of(tmp_path / "t.txt", CharTokenizer("abc"), lines=True), "train")
    (tmp_path / "two.txt").write_text("a\n\nb", encoding="utf-8")
    with pytest.raises(ChainruleError, match="2 lines"):
        corpus_of(tmp_path / "two.txt", lines=True)
    (tmp_path / "none.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(ChainruleError, match="not blank"):
        corpus_of(tmp_path / "none.txt", lines=True)
