"""What is reported of texts: figures with errors, surprising words, pages, and what is chosen for them."""

from __future__ import annotations

import html
import json
import math
import re

import numpy as np
import pytest
from text_helpers import TEXT, abc_model, transformer

from chainrule.data import TextDataset
from chainrule.errors import ChainruleError
from chainrule.text import (
    ByteTokenizer,
    LanguageModel,
    TextScore,
    WordTokenizer,
    corpus_of,
    fit_text,
    learn_tokenizer,
    measure,
    save_surprise_page,
    segments_of,
    shades_of,
    window_length,
    words_of,
)
from chainrule.text.decoding import pieces_of

# ---------------------------------------------------------------- figures, words, pages


def test_figures_are_those_of_the_whole_text(tmp_path) -> None:
    text = "abcab" * 40
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    corpus = corpus_of(tmp_path / "t.txt", splits=(0.5, 0.6))
    model = LanguageModel(transformer(length=8, levels=4), corpus.tokenizer)
    score = model.score(text[120:])
    figures = measure(model, corpus, "test")
    assert (figures.tokens, figures.characters, figures.blocks) == (80, 80, 10)
    assert figures.nll == pytest.approx(score.nll / 80)
    assert figures.bits_per_character == pytest.approx(score.bits_per_character)
    assert figures.perplexity == pytest.approx(score.perplexity)
    means = score.surprise.reshape(10, 8).mean(1)  # equal blocks: the usual standard error of a mean
    assert figures.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(10))
    some = measure(model, corpus, "test", limit=12)
    assert (some.tokens, some.characters, some.available) == (12, 12, 80)
    assert some.nll == pytest.approx(score.surprise[:12].mean())
    assert math.isnan(measure(model, corpus, "test", limit=5).standard_error)


def test_texts_in_memory_are_taken_in_their_parts() -> None:
    text = TextDataset("mine", "abc" * 9, validation="abx", tokenizer="char")
    corpus = corpus_of(text)
    assert (corpus.name, corpus.test) == ("mine", None)
    assert corpus.tokenizer.alphabet == "abc"
    assert corpus.unknown == {"train": 0, "validation": 1}
    with pytest.raises(ChainruleError, match="no test part; it has: train, validation"):
        corpus.split("test")


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe:262"])
def test_the_surprise_of_words_is_that_of_their_tokens(kind) -> None:
    if kind.startswith("bpe"):
        pytest.importorskip("tokenizers")
    text = "a naïve cat  sat.\n\n the cät 🙂 sat\n"
    tokenizer = learn_tokenizer(kind, ["the cat sat.\n"])
    tokens = len(tokenizer.encode(text))
    surprise = np.arange(1.0, tokens + 1)
    pieces = pieces_of(tokenizer, text, tokenizer.encode(text))
    assert len(pieces) == tokens
    segments = segments_of(TextScore(pieces, surprise, len(text), 0))
    assert sum(segment.surprise for segment in segments) == pytest.approx(surprise.sum())
    words = [segment for segment in segments if segment.is_word]
    assert [word.text for word in words] == text.split()
    assert [word.line for word in words] == [1] * 4 + [3] * 4
    if kind == "char":
        assert "".join(segment.text for segment in segments) == text
        assert words[1].surprise == sum(range(3, 8))
    if kind == "byte":
        assert words[1].surprise == sum(range(3, 9))  # two bytes of the ï
    assert words_of(segments)[0].surprise == max(word.surprise for word in words)


def test_a_page_shows_the_text_and_breaks_on_nothing(tmp_path) -> None:
    text = "a <b> & 'c'\n" + "x " * 30
    score = TextScore(list(text), np.linspace(5, 0.1, len(text)), len(text), 0)
    page = save_surprise_page(score, tmp_path / "p.html", title="<t>").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    shown = re.sub("<[^>]*>", "", page.partition("<pre>")[2].partition("</pre>")[0])
    assert html.unescape(shown) == text
    shades = shades_of(segments_of(score))
    assert max(shades) == 1
    assert sorted(shades)[len(shades) // 2] == 0
    with pytest.raises(ChainruleError, match="already exists"):
        save_surprise_page(score, tmp_path / "p.html")


def test_what_a_prompt_has_that_training_did_not() -> None:
    assert abc_model().unknown_parts("abzcYz") == ["Y", "z"]
    words = LanguageModel(transformer(levels=4), WordTokenizer(["a", "b"]))
    assert words.unknown_parts("a zoo b a\nzoo") == ["zoo"]
    assert LanguageModel(transformer(levels=256), ByteTokenizer()).unknown_parts("ü") == []


def test_words_go_on_after_a_prompt_with_a_blank() -> None:
    model = LanguageModel(transformer(levels=4), WordTokenizer(["a", "b"]))
    texts = model.generate("a b", 1, num_samples=20, seed=0)
    assert all(text == "\n" or text.startswith(" ") for text in texts)
    assert all(text == "\n" or not text.startswith(" ") for text in model.generate("a\n", 1, num_samples=9))


def test_small_texts_get_small_windows_and_a_schedule_of_their_own(tmp_path) -> None:
    (tmp_path / "t.txt").write_text(TEXT[:600], encoding="utf-8")
    assert window_length(corpus_of(tmp_path / "t.txt")) == 30
    with pytest.raises(ChainruleError, match="fewer than one window of 31"):
        window_length(corpus_of(tmp_path / "t.txt"), 31)
    (tmp_path / "s.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(ChainruleError, match="too short"):
        window_length(corpus_of(tmp_path / "s.txt"))
    fit_text(tmp_path / "t.txt", tmp_path / "run", model_settings={"width": 8, "num_layers": 1}, patience=1)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["epochs"] == 500
    assert config["training"]["validate_every"] == 10
    assert config["settings"]["event_shape"] == [30]
