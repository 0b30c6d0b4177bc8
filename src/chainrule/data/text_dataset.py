"""One text in memory, in its parts, and what a reader of a result must know about it."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.data.entries import SPLITS, PublishedResult
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["TextDataset"]


@dataclass(frozen=True, repr=False)
class TextDataset:
    """The parts of a text; None where it has no such part.

    - `tokenizer`: into what published results cut it, as `chainrule.text.corpus_of` takes it.
    - `published`: nats per token.
    """

    name: str
    train: str
    validation: str | None = None
    test: str | None = None
    tokenizer: str = "char"
    licence: str = "not stated"
    source: str = ""
    description: str = ""
    published: tuple[PublishedResult, ...] = ()

    @property
    def parts(self) -> dict[str, str]:
        """The parts that there are, by name."""
        return {name: text for name in SPLITS if (text := getattr(self, name)) is not None}

    def split(self, name: str) -> str:
        """A part by its name; `ChainruleError` for another name, and for a part that is not there."""
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        if name not in self.parts:
            raise ChainruleError(f"{self.name} has no {name} part; it has: {', '.join(self.parts)}.")
        return self.parts[name]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(text):,}" for name, text in self.parts.items())
        return f"TextDataset({self.name!r}, {self.tokenizer} tokens, characters: {sizes})"
