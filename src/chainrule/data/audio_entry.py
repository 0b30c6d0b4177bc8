"""What is known about a collection of recordings before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from chainrule.data.entries import SPLITS, DatasetEntry
from chainrule.data.files import data_folder

__all__ = ["AudioEntry"]


@dataclass(frozen=True)
class AudioEntry(DatasetEntry):
    """A catalogue entry that `load_audio` reads: recordings of different lengths, `splits` of them.

    - `rate`: samples a second; `levels`: values that a sample has.
    """

    rate: int = 0

    @property
    def described_splits(self) -> str:
        """The recordings of each split, for people."""
        return ", ".join(f"{split} {self.splits[split]:,}" for split in SPLITS if split in self.splits)

    def summary(self, root: str | PathLike[str] | None = None) -> dict[str, object]:
        """Everything a listing shows, as plain values that `json.dumps` accepts."""
        return super().summary(root) | {"rate": self.rate}

    def describe(self, root: str | PathLike[str] | None = None) -> str:
        """A page of plain text for people: splits, files and where they belong."""
        there = "all there" if self.available(root) else "not there"
        return "\n".join(
            [
                self.name,
                f"  {self.description}",
                f"  recordings: {self.described_splits}; {self.rate:,} Hz, {self.levels:,} levels",
                f"  licence: {self.licence}",
                f"  source: {self.source}",
                f"  classes: {', '.join(self.classes)}",
                f"  files ({there}) in {data_folder(root).described}:",
                *(f"    {file.described}" for file in self.files),
            ]
        )
