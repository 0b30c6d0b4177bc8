"""What is known about a data set before any of it is read: nothing here imports torch or opens a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from chainrule.data.files import DataFile, data_folder, is_complete

__all__ = ["SPLITS", "DatasetEntry", "Kind", "PublishedResult"]

Kind = Literal["image", "table", "text", "audio", "series"]
Form = Literal["embedded", "idx", "bits", "images", "cifar", "csv", "rows", "text", "audio"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PublishedResult:
    """A published test negative log-likelihood in nats per example (lower is better).

    - `status`: how sure the quotation is: `confirmed` (read in the primary text), `confirmed (2nd)`
      (read in a text that quotes it), `memory (high|med|low)` (recalled: check before printing it);
    - `note`: what makes the number not directly comparable, e.g. `bound` or another split.
    """

    model: str
    nll: float
    source: str
    status: str
    note: str = ""


@dataclass(frozen=True)
class DatasetEntry:
    """One line of the catalogue.

    - `splits`: rows per split; a split that is absent here is not in the file and loads as None;
    - `form`: how the files are read: `embedded` in an installed package, `idx` images and labels,
      `bits`, an .npz whose arrays are named train / valid / test, `images`, an .npz of images and perhaps
      labels, of the train and test part or of all, or `cifar`, the archive of binary batches; tables of
      columns of different kinds (`TableEntry`, read by `load_table`) are `csv`, or `rows`, an .npz of
      X and y; texts (`TextEntry`, read by `load_text`) are `text`,
      recordings (`AudioEntry`, read by `load_audio`) `audio`;
    - `levels`: values per variable, 0 where each column has its own;
    - `alternative_files`: other files with the same content, used when `files` are not there;
    - `dynamic`: the stored values are grey levels and every use draws x ~ Bernoulli(g / 255);
    - `classes`: what the labels 0, 1, ... of images are called, where they have names.
    """

    name: str
    description: str
    event_shape: tuple[int, ...]
    levels: int
    kind: Kind
    splits: Mapping[str, int]
    licence: str
    source: str
    form: Form
    files: tuple[DataFile, ...] = ()
    alternative_files: tuple[DataFile, ...] = ()
    dynamic: bool = False
    published: tuple[PublishedResult, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def missing_splits(self) -> tuple[str, ...]:
        """The splits that this copy of the data set does not have."""
        return tuple(split for split in SPLITS if split not in self.splits)

    @property
    def partial(self) -> bool:
        """Whether a split is missing."""
        return bool(self.missing_splits)

    @property
    def described_splits(self) -> str:
        """The rows of each split, for people."""
        return ", ".join(
            f"{split} {self.splits[split]:,}" if split in self.splits else f"{split} missing"
            for split in SPLITS
        )

    @property
    def downloadable(self) -> bool:
        """Whether `load` can fetch it: every file, or every alternative file, has a public address."""
        return any(all(file.url for file in files) for files in self._ways())

    def available(self, root: str | PathLike[str] | None = None) -> bool:
        """Whether `load` finds it without a download: the files are there and have the right sizes."""
        if self.form == "embedded":
            return True
        folder = data_folder(root).path
        return any(all(is_complete(folder, file) for file in files) for files in self._ways())

    def _ways(self) -> list[tuple[DataFile, ...]]:
        return [files for files in (self.files, self.alternative_files) if files]

    def summary(self, root: str | PathLike[str] | None = None) -> dict[str, object]:
        """Everything a listing shows, as plain values that `json.dumps` accepts."""
        return {
            "name": self.name,
            "kind": self.kind,
            "event_shape": list(self.event_shape),
            "levels": self.levels or None,
            "dynamic": self.dynamic,
            "splits": {split: self.splits.get(split) for split in SPLITS},
            "partial": self.partial,
            "available": self.available(root),
            "downloadable": self.downloadable,
            "description": self.description,
            "licence": self.licence,
            "source": self.source,
            "classes": list(self.classes),
            "files": [
                {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "url": file.url}
                for file in self.files
            ],
            "published": [vars(result) for result in self.published],
        }

    def describe(self, root: str | PathLike[str] | None = None) -> str:
        """A page of plain text for people: shape, splits, files and where they belong, published results."""
        shape = " x ".join(str(n) for n in self.event_shape)
        drawn = ", drawn anew from 8-bit grey levels" if self.dynamic else ""
        levels = f"{self.levels} levels" if self.levels else "columns of different kinds"
        lines = [
            self.name,
            f"  {self.description}",
            f"  {self.kind} {shape}, {levels}{drawn}; {self.described_splits}",
            f"  licence: {self.licence}",
            f"  source: {self.source}",
        ]
        if self.classes:
            lines.append(
                f"  classes: {', '.join(f'{code} {name}' for code, name in enumerate(self.classes))}"
            )
        if self.files:
            there = "all there" if self.available(root) else "not there"
            lines.append(f"  files ({there}) in {data_folder(root).described}:")
            lines += [f"    {file.described}" for file in self.files]
        if self.alternative_files:
            lines.append("  or instead of them:")
            lines += [f"    {file.described}" for file in self.alternative_files]
        if self.published:
            lines.append("  published test NLL, nats:")
            for result in self.published:
                note = f" [{result.note}]" if result.note else ""
                lines.append(
                    f"    {result.nll:8.2f}  {result.model}{note} ({result.source}; {result.status})"
                )
        return "\n".join(lines)
