"""Which words of a text were surprising: the surprise of a word is the sum of that of its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chainrule.text.language_model import TextScore

__all__ = ["Segment", "segments_of", "words_of"]

_PARTS = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class Segment:
    """A word, or what lies between two words.

    - `surprise`: -log p of its tokens, nats; a token of a blank and a word, as byte-pair encodings have them,
      belongs to the word.
    - `line`: where it begins, from 1.
    """

    text: str
    surprise: float
    line: int

    @property
    def is_word(self) -> bool:
        """Whether it is more than blanks and line ends."""
        return not self.text.isspace()


def segments_of(score: TextScore) -> list[Segment]:
    """The text of a score in words and what lies between them; joined, they are the text."""
    found: list[Segment] = []
    line, waiting = 1, 0.0
    for piece, nats in zip(score.tokens, score.surprise.tolist(), strict=True):
        waiting += nats
        if not piece:
            continue  # a byte of a character that is not complete yet
        parts = _PARTS.findall(piece)
        holder = max((n for n, part in enumerate(parts) if not part.isspace()), default=0)
        for number, part in enumerate(parts):
            share = waiting if number == holder else 0.0
            last = found[-1] if found else None
            if last is not None and last.is_word != part.isspace():
                found[-1] = Segment(last.text + part, last.surprise + share, last.line)
            else:
                found.append(Segment(part, share, line))
            line += part.count("\n")
        waiting = 0.0
    return found


def words_of(segments: Iterable[Segment]) -> list[Segment]:
    """The words alone, most surprising first."""
    return sorted((s for s in segments if s.is_word), key=lambda segment: -segment.surprise)
