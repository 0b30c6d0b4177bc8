"""What is known about a text before it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike

from chainrule.data.entries import SPLITS, DatasetEntry
from chainrule.data.files import data_folder

__all__ = ["TextEntry"]


@dataclass(frozen=True)
class TextEntry(DatasetEntry):
    """A catalogue entry that `load_text` reads: parts of text, whose sizes `splits` gives in characters.

    - `tokenizer`: into what published results cut it: `char` or `word`;
    - `levels`: different tokens of the training part; 0 where that is not fixed;
    - `shares`: a text that is published in one piece ends its training and its validation part there;
      None where each part has a file;
    - `published`: nats per token; the note says so where they are not of the test part.
    """

    tokenizer: str = "char"
    shares: tuple[float, float] | None = None

    @property
    def missing_splits(self) -> tuple[str, ...]:
        """None: a text has the parts that were published."""
        return ()

    @property
    def described_splits(self) -> str:
        """The characters of each part, for people."""
        return ", ".join(f"{split} {self.splits[split]:,}" for split in SPLITS if split in self.splits)

    def summary(self, root: str | PathLike[str] | None = None) -> dict[str, object]:
        """Everything a listing shows, as plain values that `json.dumps` accepts."""
        return super().summary(root) | {"tokenizer": self.tokenizer}

    def describe(self, root: str | PathLike[str] | None = None) -> str:
        """A page of plain text for people: parts, files and where they belong, published results."""
        lines = [
            self.name,
            f"  {self.description}",
            f"  text, characters: {self.described_splits}",
            f"  tokens: {self.tokenizer}{f', {self.levels:,} of them' if self.levels else ''}",
            f"  licence: {self.licence}",
            f"  source: {self.source}",
        ]
        if self.files:
            there = "all there" if self.available(root) else "not there"
            lines.append(f"  files ({there}) in {data_folder(root).described}:")
            lines += [f"    {file.described}" for file in self.files]
        if self.alternative_files:
            lines.append("  or instead of them:")
            lines += [f"    {file.described}" for file in self.alternative_files]
        if self.published:
            lines.append(f"  published, nats per {self.tokenizer} (perplexity):")
            for result in self.published:
                note = f" [{result.note}]" if result.note else ""
                lines.append(
                    f"    {result.nll:7.4f} ({math.exp(result.nll):5.2f})  {result.model}{note} "
                    f"({result.source}; {result.status})"
                )
        return "\n".join(lines)
