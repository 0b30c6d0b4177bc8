"""From text to tokens and back: bytes, characters, words, and byte-pair encoding.

A tokenizer says in how many `levels` its tokens come, and what becomes of a character or word that it has
never seen. Bytes and byte pairs know no such thing; characters and words have one more token for it, so that
a text with strange characters has a likelihood, and how many there were is reported.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError, unknown_name

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "learn_tokenizer",
    "tokenizer_from_spec",
]

#: What stands for a character that was never seen, the Unicode replacement character.
UNKNOWN = "\ufffd"

Tokens = NDArray[np.int64]


class Tokenizer(ABC):
    """What turns text into whole numbers 0..levels - 1 and back.

    - `levels`: how many tokens there are; `unknown`: the one for what was never seen, or None.
    """

    name: ClassVar[str]
    levels: int
    unknown: int | None = None

    @abstractmethod
    def encode(self, text: str) -> Tokens:
        """The tokens of a text, int64, `(length,)`."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; what is no text becomes the replacement character."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What rebuilds it, JSON-ready."""


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes: 256 tokens, for text of any kind, and for files that are no text.

    >>> ByteTokenizer().encode("né").tolist()
    [110, 195, 169]
    """

    name = "byte"
    levels = 256

    def encode(self, text: str) -> Tokens:
        """The bytes of a text."""
        try:
            encoded = text.encode("utf-8", errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise _no_text(text, error) from None
        return np.frombuffer(encoded, dtype=np.uint8).astype(np.int64)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of bytes; broken sequences become the replacement character."""
        return bytes(int(token) for token in tokens).decode("utf-8", errors="replace")

    def spec(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"name": self.name}


class CharTokenizer(Tokenizer):
    """One token a character of `alphabet`, and a last one for all others.

    >>> tokenizer = CharTokenizer("abc")
    >>> tokenizer.encode("cab!").tolist(), tokenizer.levels
    ([2, 0, 1, 3], 4)
    """

    name = "char"

    def __init__(self, alphabet: str) -> None:
        if len(set(alphabet)) != len(alphabet):
            raise ChainruleError("an alphabet names every character once.")
        self.alphabet = alphabet
        self.levels = len(alphabet) + 1
        self.unknown = len(alphabet)
        points = np.array([ord(character) for character in alphabet], dtype=np.int64)
        self._order = np.argsort(points)
        self._points = points[self._order]

    def encode(self, text: str) -> Tokens:
        """The places of the characters in the alphabet."""
        points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4").astype(np.int64)
        if not len(self._points):
            return np.full(len(points), self.levels - 1)
        at = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
        places: Tokens = np.where(self._points[at] == points, self._order[at], self.levels - 1)
        return places

    def decode(self, tokens: Iterable[int]) -> str:
        """The characters; the one for unknown ones is the replacement character."""
        symbols = self.alphabet + UNKNOWN
        return "".join(symbols[int(token)] for token in tokens)

    def spec(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"name": self.name, "alphabet": self.alphabet}


class WordTokenizer(Tokenizer):
    """One token a word between blanks, one for the end of a line, and one for unknown words.

    This is how the Penn Treebank of Mikolov et al. 2010 is counted: 10,000 words with `<unk>` and `<eos>`.
    """

    name = "word"
    END, STRANGE = "<eos>", "<unk>"

    def __init__(self, words: Iterable[str]) -> None:
        listed = [word for word in words if word not in (self.END, self.STRANGE)]
        self.words = [self.END, self.STRANGE, *listed]
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) != len(self.words):
            raise ChainruleError("a vocabulary names every word once.")
        self.levels = len(self.words)
        self.unknown = 1

    def encode(self, text: str) -> Tokens:
        """The numbers of the words, and of the end of every line that is ended."""
        numbers: list[int] = []
        for line in text.splitlines(keepends=True):
            numbers += [self._numbers.get(word, 1) for word in line.split()]
            if line.endswith("\n"):
                numbers.append(0)
        return np.array(numbers, dtype=np.int64)

    def decode(self, tokens: Iterable[int]) -> str:
        """The words with blanks between, and line ends."""
        words = ["\n" if token == 0 else self.words[int(token)] for token in tokens]
        return " ".join(words).replace(" \n ", "\n").replace(" \n", "\n")

    def spec(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"name": self.name, "words": self.words[2:]}


class BPETokenizer(Tokenizer):
    """Byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019), by the `tokenizers` library.

    - `rules`: what that library saves, as JSON text. Needs `pip install chainrule[text]`.
    """

    name = "bpe"

    def __init__(self, rules: str) -> None:
        self.rules = rules
        try:
            self._tokenizer = _tokenizers().Tokenizer.from_str(rules)
        except ChainruleError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise ChainruleError(f"the rules of the byte-pair encoding are damaged ({error}).") from None
        self.levels = int(self._tokenizer.get_vocab_size())

    @classmethod
    def learned(cls, texts: Iterable[str], levels: int) -> BPETokenizer:
        """The encoding of so many tokens that shortens these texts most."""
        library = _tokenizers()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()  # all 256 bytes: nothing is unknown
        trainer = library.trainers.BpeTrainer(
            vocab_size=levels, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    def encode(self, text: str) -> Tokens:
        """The tokens of a text."""
        try:
            text.encode("utf-8")  # the library fails without saying where
        except UnicodeEncodeError as error:
            raise _no_text(text, error) from None
        return np.array(self._tokenizer.encode(text).ids, dtype=np.int64)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens."""
        decoded: str = self._tokenizer.decode([int(token) for token in tokens])
        return decoded

    def spec(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"name": self.name, "rules": json.loads(self.rules)}


def learn_tokenizer(kind: str, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer for these texts.

    - `kind`: `"char"`, `"byte"`, `"word"` (or `"word:10000"`, the most frequent ones), `"bpe:1000"`.
    - `texts`: pieces of the training text, read once.

    Raises `ChainruleError` for another kind, a size that is too small, and a text without a character.
    """
    name, _, size = kind.partition(":")
    if name not in ("char", "byte", "word", "bpe") or (size and name in ("char", "byte")):
        raise unknown_name("tokenizer", kind, ("char", "byte", "word", "word:10000", "bpe:1000"))
    if name == "byte":
        return ByteTokenizer()
    if name == "char":
        return CharTokenizer("".join(sorted(set().union(*texts))))
    levels = _levels(kind, size, least=3 if name == "word" else 257)
    if name == "bpe":
        if levels is None:
            raise ChainruleError("byte-pair encoding needs a number of tokens: tokenizer=bpe:1000.")
        return BPETokenizer.learned(texts, levels)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.split())
    # Ties go by the word itself, so that the vocabulary does not hang on the order of the text.
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    return WordTokenizer(frequent[: None if levels is None else levels - 2])


def _no_text(text: str, error: UnicodeEncodeError) -> ChainruleError:
    """What to say of half a surrogate pair, as broken JSON or a broken terminal leave it."""
    return ChainruleError(
        f"the text has {text[error.start]!a} at character {error.start:,}, which is half a character and "
        "stands for nothing; leave it out."
    )


def _levels(kind: str, size: str, *, least: int) -> int | None:
    if not size:
        return None
    if not size.isdigit() or int(size) < least:
        raise ChainruleError(f"tokenizer={kind}: expected a number of tokens of at least {least}.")
    return int(size)


def tokenizer_from_spec(spec: Any) -> Tokenizer:
    """The tokenizer that `spec()` described; `ChainruleError` where it describes none."""
    try:
        name = spec["name"]
        if name == "byte":
            return ByteTokenizer()
        if name == "char":
            return CharTokenizer(spec["alphabet"])
        if name == "word":
            return WordTokenizer(spec["words"])
        if name == "bpe":
            return BPETokenizer(json.dumps(spec["rules"]))
    except (KeyError, TypeError) as error:
        raise ChainruleError(f"this describes no tokenizer (missing or wrong: {error}).") from None
    raise unknown_name("tokenizer", str(name), ("char", "byte", "word", "bpe"))


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise ChainruleError("byte-pair encoding needs: pip install 'chainrule[text]'.") from None
    return tokenizers
