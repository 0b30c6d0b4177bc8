"""From tokens to text as it grows: characters of several bytes come whole, and stop strings end it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.text.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer

__all__ = ["Decoder", "GrowingText", "pieces_of"]

Tokens = np.ndarray[Any, np.dtype[np.int64]]


class Decoder:
    """Tokens to text, one by one; a character of several bytes comes when it is complete.

    - `before`: the tokens that the text goes on from. Words are parted by blanks, so the first one needs to
      know what it follows.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._tokens: list[int] = []
        if isinstance(tokenizer, WordTokenizer):
            for token in before:
                self._tokens = [] if token == 0 else [*self._tokens, token]
        self._shown = tokenizer.decode(self._tokens)

    def add(self, token: int) -> str:
        """The text that this token completes."""
        if isinstance(self.tokenizer, ByteTokenizer):
            return self._bytes.decode(bytes([token]))
        self._tokens.append(token)
        text = self.tokenizer.decode(self._tokens)
        if text.endswith("\ufffd") and self.tokenizer.unknown is None:
            return ""
        piece, self._shown = text[len(self._shown) :], text
        if not isinstance(self.tokenizer, WordTokenizer) or text.endswith("\n"):
            self._tokens, self._shown = [], ""  # words have blanks between them, and hang on those before
        return piece

    def rest(self) -> str:
        """What incomplete bytes at the end are shown as."""
        if isinstance(self.tokenizer, ByteTokenizer):
            return self._bytes.decode(b"", final=True)
        return self.tokenizer.decode(self._tokens)[len(self._shown) :]


class GrowingText:
    """A text that tokens are added to until a stop string is complete, or the token `end` comes."""

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str], before: Sequence[int] = (), end: int | None = None
    ) -> None:
        self.pieces = Decoder(tokenizer, before)
        self.stop = [text for text in stop if text]
        self.end_token = end
        self.text, self.is_over, self._handed = "", False, 0

    def add(self, token: int) -> None:
        """One more token."""
        if self.is_over:
            return
        if token == self.end_token:
            self.end()
            return
        self.text += self.pieces.add(token)
        ends = [self.text.find(text) for text in self.stop if text in self.text]
        if ends:
            self.text, self.is_over = self.text[: min(ends)], True

    def end(self) -> None:
        """No more tokens come: what was held back is text after all."""
        if not self.is_over:
            self.text += self.pieces.rest()
        self.is_over = True

    def fresh(self) -> str:
        """What was not handed out yet, without what may be the beginning of a stop string."""
        end = len(self.text)
        if not self.is_over:
            end -= max((_overlap(self.text, text) for text in self.stop), default=0)
        end = max(end, self._handed)
        piece, self._handed = self.text[self._handed : end], end
        return piece


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of `text` are the beginning of `stop`."""
    return next((k for k in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:k])), 0)


def pieces_of(tokenizer: Tokenizer, text: str, tokens: Tokens) -> list[str]:
    """What text each token stands for; characters of several bytes show at their last one.

    What the tokenizer does not know shows as it is in the text.
    """
    if isinstance(tokenizer, CharTokenizer):
        return list(text)
    if isinstance(tokenizer, WordTokenizer):
        pieces: list[str] = []
        for line in text.splitlines(keepends=True):
            words = line.split()
            pieces += words[:1] + [f" {word}" for word in words[1:]]
            pieces += ["\n"] if line.endswith("\n") else []
        return pieces
    decoder = Decoder(tokenizer)
    return [decoder.add(token) for token in tokens.tolist()]
