"""Text: tokens that come back, corpora that are cut where they say, likelihoods that are those of samples."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given
from hypothesis import strategies as st
from text_helpers import TEXT, abc_model, transformer

from chainrule.conditionals import Categorical
from chainrule.errors import ChainruleError
from chainrule.models import RNN, Transformer, WaveNet
from chainrule.text import (
    ByteTokenizer,
    CharTokenizer,
    Cuts,
    LanguageModel,
    WordTokenizer,
    corpus_of,
    fit_text,
    iter_text,
    learn_tokenizer,
    tokenizer_from_spec,
    window_length,
)
from chainrule.text.decoding import Decoder
from chainrule.text.generating import Reader
from chainrule.training import seeded

# ---------------------------------------------------------------- tokenizers


@given(st.text())
def test_bytes_come_back(text) -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text(alphabet="abc\n é🙂"))
def test_characters_come_back(text) -> None:
    tokenizer = CharTokenizer("é\na🙂cb ")
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer_from_spec(tokenizer.spec()).encode(text).tolist() == tokenizer.encode(text).tolist()


def test_byte_pairs_come_back_and_shorten() -> None:
    pytest.importorskip("tokenizers")
    tokenizer = learn_tokenizer("bpe:300", [TEXT])
    for text in (TEXT, "naïve 🙂 \x00 unseen\n\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(TEXT)) <= len(TEXT) / 3
    again = tokenizer_from_spec(tokenizer.spec())
    assert again.encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()


def test_words_are_counted_as_the_treebank_is() -> None:
    tokenizer = learn_tokenizer("word:4", ["b a a\n", "c a b\n"])
    assert tokenizer.words == ["<eos>", "<unk>", "a", "b"]
    assert tokenizer.encode("a c\nb\n").tolist() == [2, 1, 0, 3, 0]
    assert tokenizer.decode([2, 1, 0, 3, 0]) == "a <unk>\nb\n"


@pytest.mark.parametrize("kind", ["chars", "char:3", "word:2", "bpe:12", "bpe"])
def test_a_tokenizer_that_there_is_not(kind) -> None:
    with pytest.raises(ChainruleError):
        learn_tokenizer(kind, ["abc"])


@pytest.mark.parametrize(
    "spec", [None, [], {}, {"name": "char"}, {"name": "x"}, {"name": "word", "words": 3}]
)
def test_a_damaged_tokenizer_is_one_line(spec) -> None:
    with pytest.raises(ChainruleError) as caught:
        tokenizer_from_spec(spec)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- files


def test_pieces_join_to_the_file(tmp_path) -> None:
    text = ("aé🙂 " * 300_000) + "\n" + "x\n" * 700_000 + "end"
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    pieces = list(iter_text(tmp_path / "t.txt"))
    assert len(pieces) > 2
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") for piece in pieces[:-1])
    with gzip.open(tmp_path / "t.txt.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    assert "".join(iter_text(tmp_path / "t.txt.gz")) == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"abc\xffdef", "not UTF-8: byte 0xff at offset 3"),
        (b"a" * (1 << 20) + b"\xc3(", "at offset 1,048,576"),
        ("text".encode("utf-16"), "is UTF-16"),
        ("text".encode("utf-32"), "is UTF-32"),
        ("text".encode("utf-16-le"), "zeros among its bytes, so it is UTF-16"),
    ],
)
def test_a_file_that_is_no_text(tmp_path, content, words) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(ChainruleError, match=words):
        list(iter_text(tmp_path / "t.txt"))


def test_a_damaged_archive_is_one_line(tmp_path) -> None:
    content = bytearray(
        gzip.compress(np.random.default_rng(0).integers(97, 123, 5000).astype("u1").tobytes())
    )
    content[1000:1020] = bytes(20)
    (tmp_path / "t.txt.gz").write_bytes(content)
    one_line_error(lambda: list(iter_text(tmp_path / "t.txt.gz")), "t.txt.gz could not be read")


def test_a_zero_here_and_there_is_text(tmp_path) -> None:
    (tmp_path / "t.txt").write_bytes(b"one\0two\0three\0")
    assert "".join(iter_text(tmp_path / "t.txt")) == "one\0two\0three\0"


@pytest.mark.parametrize("kind", ["byte", "bpe:260"])
def test_half_a_character_is_one_line(kind) -> None:
    if kind.startswith("bpe"):
        pytest.importorskip("tokenizers")
    tokenizer = learn_tokenizer(kind, ["some text"])
    one_line_error(lambda: tokenizer.encode("a\ud800b"), r"'\ud800' at character 1")


def test_what_is_no_source_of_a_text(tmp_path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("a text of one line", encoding="utf-8")
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf")
    one_line_error(lambda: corpus_of(7), "path", "7")
    one_line_error(lambda: corpus_of("the text\nitself\n"), "not the text itself")
    one_line_error(lambda: corpus_of(tmp_path / "mark.txt"), "is empty but for")
    one_line_error(lambda: corpus_of({"training": file}), "'training'", "did you mean 'train'")
    one_line_error(lambda: corpus_of({"test": file}), "no file to train on")
    one_line_error(lambda: window_length(corpus_of({"train": file, "test": file})), "short")
    file.write_text(TEXT, encoding="utf-8")
    one_line_error(lambda: window_length(corpus_of({"train": file})), 'name one with "validation"')
    one_line_error(lambda: corpus_of(file, 5), "tokenizer=5")
    one_line_error(lambda: corpus_of(file, lines="yes"), "lines='yes'")
    one_line_error(lambda: corpus_of(file, splits=(0.9, 0.5)), "splits=(0.9, 0.5)")


def test_what_is_no_text_is_one_line() -> None:
    model = abc_model()
    one_line_error(lambda: model.score(b"abc"), "must be a str, not bytes")
    one_line_error(lambda: model.generate(None, 2), "the prompt must be a str")
    one_line_error(lambda: model.generate("a", 2, stop=[3]), "a stop string must be a str")


def test_bytes_that_are_no_text_can_be_modelled(tmp_path) -> None:
    (tmp_path / "t.bin").write_bytes(bytes(range(256)) * 8)
    corpus = corpus_of(tmp_path / "t.bin", "byte", splits=(0.5, 0.75))
    assert corpus.train.tolist() == list(range(256)) * 4


def test_a_corpus_is_cut_where_it_says(tmp_path) -> None:
    (tmp_path / "t.txt").write_text("abcdefghijklmnopqrst", encoding="utf-8")
    corpus = corpus_of(tmp_path / "t.txt", "char", splits=(0.5, 0.75))
    assert corpus.tokenizer.spec()["alphabet"] == "abcdefghij"  # of the training part alone
    assert corpus.train.tolist() == list(range(10))
    assert corpus.validation.tolist() == [10] * 5  # none of these was seen
    assert corpus.unknown == {"train": 0, "validation": 5, "test": 5}
    assert corpus.windows(4).train.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(ChainruleError, match=r"validation part of t\.txt has 5 tokens"):
        corpus.windows(6)


def test_tokens_in_a_mapped_file_are_the_same(tmp_path) -> None:
    (tmp_path / "t.txt").write_text(TEXT, encoding="utf-8")
    for kind in ("char", "word"):
        memory, mapped = (corpus_of(tmp_path / "t.txt", kind, folder=f) for f in (None, tmp_path / "tokens"))
        assert torch.equal(memory.train, mapped.train)
        assert torch.equal(memory.windows(5).train, mapped.windows(5).train)


# ---------------------------------------------------------------- likelihood and samples


@pytest.mark.parametrize("length", [6, 7])
def test_a_long_text_is_scored_under_what_generates_it(length) -> None:
    """Token by token, the reader that samples gives every token the probability that scoring says."""
    model = abc_model(length=length)
    tokens = torch.randint(3, (29,), generator=torch.Generator().manual_seed(0))
    scored = model.log_prob_per_token(tokens)
    reader = Reader(model.model, 1)
    for number, token in enumerate(tokens):
        log_p = reader.next().double().log_softmax(-1)[0, token].item()
        assert log_p == pytest.approx(scored[number].item(), abs=1e-5)
        reader.read(token.view(1, 1).float())


def test_texts_of_a_length_sum_to_one() -> None:
    model = abc_model(length=3)
    texts = torch.cartesian_prod(*[torch.arange(4)] * 5)
    total = torch.stack([model.log_prob_per_token(text).sum() for text in texts]).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("make", [RNN, WaveNet])
def test_models_without_a_limit_see_everything(make) -> None:
    with seeded(1):
        network = make((5,), conditional=Categorical(4)).eval()
    model = LanguageModel(network, CharTokenizer("abc"))
    tokens = torch.randint(3, (2100,), generator=torch.Generator().manual_seed(0))
    whole = network.with_length(2100).log_prob_per_variable(tokens[None].float())[0]
    torch.testing.assert_close(model.log_prob_per_token(tokens).float(), whole, rtol=0, atol=2e-4)


def test_samples_come_as_often_as_their_likelihood_says() -> None:
    model = abc_model(length=3)
    texts = model.generate(max_tokens=4, num_samples=4000, seed=1)
    for text in ("aaaa", "abca", max(set(texts), key=texts.count)):
        p, share = math.exp(model.log_prob(text)), texts.count(text) / 4000
        assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / 4000) + 1e-4


def test_a_score_adds_up_and_names_its_pieces() -> None:
    model = abc_model(length=40)
    score = model.score("abcaX")
    assert score.tokens == list("abcaX")
    assert score.unknown == 1
    assert score.nll == pytest.approx(-model.log_prob("abcaX"))
    assert score.bits_per_character == pytest.approx(score.nll / math.log(2) / 5)
    assert score.perplexity == pytest.approx(math.exp(score.nll / 5))


def test_cuts_keep_exactly_what_they_say() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, -1.0], [3.0, 2.0, 1.0, 0.0]])
    kept = Cuts(top_k=1).applied(logits).isfinite()
    assert kept.tolist() == [[True, False, False, False], [True, False, False, False]]  # ties are cut too
    probabilities = logits[1].softmax(0).tolist()
    for top_p in (0.1, probabilities[0] - 1e-4, probabilities[0] + 1e-4, 0.999, 1.0):
        count = int(Cuts(top_p=top_p).applied(logits[1:]).isfinite().sum())
        assert sum(probabilities[: count - 1]) < top_p <= sum(probabilities[:count]) + 1e-6
    assert torch.equal(Cuts(temperature=2.0).applied(logits), logits / 2)
    assert Cuts().is_exact
    assert not Cuts(top_k=3).is_exact


@pytest.mark.parametrize("cut", [{"temperature": 0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_cuts_out_of_range(cut) -> None:
    with pytest.raises(ChainruleError):
        Cuts(**cut)


def test_generation_is_seeded_and_continues_the_prompt() -> None:
    model = abc_model(length=6)
    assert model.generate("ab", 30, seed=4) == model.generate("ab", 30, seed=4)
    assert model.generate("ab", 30, seed=4) != model.generate("ab", 30, seed=5)
    greedy = model.generate("abcabcabcabc", 1, top_k=1)[0]
    reader = Reader(model.model, 1)
    reader.read(torch.tensor([[0.0, 1, 2] * 4]))
    assert model.tokenizer.decode([int(reader.next().argmax())]) == greedy


def test_a_stop_string_ends_the_text_and_is_left_out() -> None:
    model = abc_model(length=6)
    whole = model.generate("", 60, seed=2)[0]
    stop = whole[20:23]
    assert model.generate("", 60, seed=2, stop=[stop])[0] == whole[: whole.index(stop)]


@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_streamed_pieces_join_to_the_text(tokenizer) -> None:
    made = ByteTokenizer() if tokenizer == "byte" else CharTokenizer("abc")
    model = LanguageModel(transformer(levels=made.levels, length=12), made)
    pieces: list[str] = []
    text = model.generate("a", 80, seed=3, stop=["cab", "\x01"], on_text=pieces.append)[0]
    assert "".join(pieces) == text
    assert len(pieces) > 1


def test_characters_of_several_bytes_are_streamed_whole() -> None:
    decoder = Decoder(ByteTokenizer())
    pieces = [decoder.add(int(token)) for token in ByteTokenizer().encode("é🙂!")]
    assert pieces == ["", "é", "", "", "", "🙂", "!"]
    decoder.add(0xC3)
    assert decoder.rest() == "\ufffd"


# ---------------------------------------------------------------- fitting


def test_fitting_learns_saves_and_resumes(tmp_path) -> None:
    file = tmp_path / "t.txt"
    file.write_text(TEXT, encoding="utf-8")
    small = {"width": 16, "num_layers": 1, "num_heads": 2}
    model = fit_text(
        file, tmp_path / "run", length=32, model_settings=small, epochs=40, batch_size=8, progress=False
    )
    before = LanguageModel(
        Transformer((32,), **small, conditional=Categorical(model.tokenizer.levels)), model.tokenizer
    )
    text = TEXT[:300]
    assert model.score(text).bits_per_character < 0.6 * before.score(text).bits_per_character
    again = LanguageModel.load(tmp_path / "run")
    assert np.array_equal(again.score(text).surprise, model.score(text).surprise)
    with pytest.raises(ChainruleError, match="already"):
        fit_text(file, tmp_path / "run", progress=False)


def test_what_is_no_language_model(tmp_path) -> None:
    with pytest.raises(ChainruleError, match=r"no tokenizer\.json"):
        LanguageModel.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ChainruleError, match="damaged"):
        LanguageModel.load(tmp_path)
    with pytest.raises(ChainruleError, match="4 tokens"):
        LanguageModel(transformer(levels=5), CharTokenizer("abc"))
    with pytest.raises(ChainruleError, match="no text"):
        abc_model().score("")


def test_words_survive_generation() -> None:
    tokenizer = WordTokenizer(["a", "b"])
    model = LanguageModel(transformer(levels=4), tokenizer)
    pieces: list[str] = []
    text = model.generate("a", 30, seed=0, on_text=pieces.append)[0]
    assert "".join(pieces) == text
