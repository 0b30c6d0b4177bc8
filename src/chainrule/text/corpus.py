"""A text as tokens, in memory or in a file that is mapped into it, and as a data set of windows for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.arguments import some_path
from chainrule.data import SPLITS, Dataset, TextDataset
from chainrule.errors import ChainruleError, unknown_name
from chainrule.text.lines import lines_of, padded_rows, parted_lines, split_at_ends
from chainrule.text.reading import iter_text
from chainrule.text.tokenizers import Tokenizer, learn_tokenizer

__all__ = ["Corpus", "TextSource", "corpus_of", "token_dtype", "tokenise"]

#: Where the parts of one's own text end: the last twentieths are for selecting and for reporting.
_SPLITS = (0.9, 0.95)

#: A file; a file for each part, by name; or a text of the catalogue.
TextSource = str | Path | Mapping[str, str | Path] | TextDataset


@dataclass(frozen=True)
class Corpus:
    """The tokens of a text in up to three parts, uint8 or int32, `(length,)` each.

    - `name`: what to call it; `tokenizer`: what made the tokens, learned on `train` alone.
    - `characters`: of each part, for bits per character; line ends count.
    - `unknown`: how many tokens of each part stand for what the training part never shows.
    - `lines`: every line is a text of its own; after each comes one more token, the `end`.
    """

    name: str
    tokenizer: Tokenizer
    train: Tensor
    validation: Tensor | None
    test: Tensor | None
    characters: dict[str, int]
    unknown: dict[str, int]
    lines: bool = False

    @property
    def end(self) -> int | None:
        """The token that ends a line, one more than the tokenizer's; None for running text."""
        return self.tokenizer.levels if self.lines else None

    @property
    def levels(self) -> int:
        """How many different tokens there are, the end included."""
        return self.tokenizer.levels + self.lines

    def split(self, name: str) -> Tensor:
        """The tokens of `train`, `validation` or `test`; `ChainruleError` where there are none."""
        part: Tensor | None = getattr(self, name, None)
        if part is None:
            present = [split for split in ("train", "validation", "test") if getattr(self, split) is not None]
            raise ChainruleError(f"the text {self.name} has no {name} part; it has: {', '.join(present)}.")
        return part

    def texts(self, name: str) -> list[Tensor]:
        """The lines of a part, the end of each included."""
        assert self.end is not None
        return split_at_ends(self.split(name), self.end)

    def longest(self, *names: str) -> int:
        """Tokens of the longest line of these parts, the end included."""
        return max(len(line) for name in names for line in self.texts(name))

    def windows(self, length: int) -> Dataset:
        """Consecutive windows of so many tokens, `(N, length)`: views of the tokens, nothing is copied.

        What is left at the end of a part is left out, and a test part that is shorter than a window. Of
        lines, a row is a line, filled up with ends or cut. Raises `ChainruleError` for a part to train or
        validate on that is shorter than one window.
        """
        unit = "a line each, of at most" if self.lines else "in windows of"
        return Dataset(
            name=self.name,
            train=self._cut("train", length),
            validation=self._cut("validation", length),
            test=self._cut("test", length),
            event_shape=(length,),
            kind="text",
            levels=self.levels,
            description=f"text {unit} {length} tokens ({self.tokenizer.name})",
        )

    def _cut(self, name: str, length: int) -> Tensor | None:
        part: Tensor | None = getattr(self, name)
        if part is None:
            return None
        if self.end is not None:
            return padded_rows(self.texts(name), self.end, length)
        count = len(part) // length
        if not count and name == "test":
            return None
        if not count:
            raise ChainruleError(
                f"the {name} part of {self.name} has {len(part)} tokens, fewer than one window of {length}; "
                "choose a smaller length, or give more text."
            )
        return part[: count * length].view(count, length)


def corpus_of(
    source: TextSource,
    tokenizer: str | Tokenizer | None = None,
    *,
    name: str | None = None,
    splits: tuple[float, float] = _SPLITS,
    lines: bool = False,
    folder: str | Path | None = None,
) -> Corpus:
    """Read a text and make tokens of it.

    - `source`: a file, cut by its characters at the shares `splits`; a file for each part, by name; or what
      `chainrule.data.load_text` returns.
    - `tokenizer`: `"char"`, `"byte"`, `"word"`, `"bpe:1000"`, learned on the training part; or one that is
      there already. None: that of published results on a text of the catalogue, else characters.
    - `lines`: every line that is not blank is a text of its own, and the lines of one file are drawn for
      the parts at random, always in the same way.
    - `folder`: keep the tokens in files there, mapped into memory, for text that is larger than it.

    Raises `ChainruleError` for a file that is no UTF-8 text, and for a text without a character.
    """
    if not isinstance(tokenizer, str | Tokenizer | None):
        raise ChainruleError(f'tokenizer={tokenizer!r}: expected a name, such as "char", or a Tokenizer.')
    if not isinstance(lines, bool):
        raise ChainruleError(f"lines={lines!r}: expected True or False.")
    if not 0 < splits[0] <= splits[1] <= 1:
        raise ChainruleError(
            f"splits={splits}: expected two shares, such as (0.9, 0.95), the second no smaller."
        )
    kind = tokenizer or (source.tokenizer if isinstance(source, TextDataset) else "char")
    as_bytes = "byte" in (kind, getattr(kind, "name", None))
    readers, called = _readers(source, splits, as_bytes, lines)
    made = learn_tokenizer(kind, readers["train"]()) if isinstance(kind, str) else kind
    tokens: dict[str, Tensor] = {}
    characters, unknown = {}, {}
    for part, read in readers.items():
        counter = _Counter(read(), more=int(lines))
        place = None if folder is None else Path(folder) / f"tokens-{part}.npy"
        tokens[part] = tokenise(counter, made, place, end=made.levels if lines else None)
        characters[part] = counter.characters
        unknown[part] = 0 if made.unknown is None else int((tokens[part] == made.unknown).sum())
    return Corpus(
        name or called,
        made,
        tokens["train"],
        tokens.get("validation"),
        tokens.get("test"),
        characters,
        unknown,
        lines,
    )


def tokenise(
    texts: Iterable[str], tokenizer: Tokenizer, file: Path | None = None, *, end: int | None = None
) -> Tensor:
    """The tokens of pieces of a text, `(length,)`, uint8 where they fit and int32 else.

    - `file`: write them to this .npy file and map it; it is replaced.
    - `end`: comes after every piece.
    """
    dtype = token_dtype(tokenizer.levels if end is None else end + 1)
    after = np.array([] if end is None else [end], dtype=dtype)
    parts = (np.append(tokenizer.encode(text).astype(dtype), after) for text in texts)
    if file is None:
        joined = np.concatenate([np.empty(0, dtype), *parts])
        return torch.from_numpy(joined)
    file.parent.mkdir(parents=True, exist_ok=True)
    raw = file.with_suffix(".raw.partial")
    with raw.open("wb") as out:
        for part in parts:
            out.write(part.tobytes())
    if not raw.stat().st_size:
        raw.unlink()
        return torch.empty(0, dtype=torch.uint8 if dtype is np.uint8 else torch.int32)
    raw.replace(file)
    # Copy on write: torch wants writable memory, and nothing must ever change the file.
    mapped = np.memmap(file, dtype=dtype, mode="c")
    return torch.from_numpy(mapped)


def token_dtype(levels: int) -> type[np.uint8] | type[np.int32]:
    """uint8 for up to 256 tokens, else int32."""
    return np.uint8 if levels <= 256 else np.int32


class _Counter:
    """Pieces of a text, whose characters are counted as they go by, and `more` for each piece."""

    def __init__(self, texts: Iterable[str], more: int) -> None:
        self.texts, self.more, self.characters = texts, more, 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.characters += len(text) + self.more
            yield text


Reader = Callable[[], Iterator[str]]


def _readers(
    source: TextSource, splits: tuple[float, float], as_bytes: bool, lines: bool
) -> tuple[dict[str, Reader], str]:
    """What reads each part, piece by piece or line by line, and what the text is called."""
    if not isinstance(source, TextDataset | Mapping):
        path = some_path("the text", source)
        if "\n" in str(path):
            raise ChainruleError(
                "expected the path of a text, not the text itself; write it into a file first."
            )
        if not lines:
            return _cut_readers(path, splits, as_bytes), path.name
        parted = parted_lines(lines_of(iter_text(path, as_bytes=as_bytes), path.name), splits, path.name)
        return {part: partial(iter, chosen) for part, chosen in parted.items()}, path.name
    readers: dict[str, Reader]
    if isinstance(source, TextDataset):
        called = source.name
        readers = {part: partial(iter, (text,)) for part, text in source.parts.items()}
    else:
        _check_parts(source)
        called = Path(source["train"]).name
        readers = {part: partial(iter_text, Path(path), as_bytes=as_bytes) for part, path in source.items()}
    if lines:
        readers = {part: partial(iter, lines_of(read(), called)) for part, read in readers.items()}
    return readers, called


def _check_parts(files: Mapping[str, str | Path]) -> None:
    """Raise `ChainruleError` for files of other parts than there are, and for none to train on."""
    for part in files:
        if part not in SPLITS:
            raise unknown_name("part", str(part), SPLITS)
    if "train" not in files:
        raise ChainruleError('there is no file to train on; name one with "train".')


def _cut_readers(path: Path, splits: tuple[float, float], as_bytes: bool) -> dict[str, Reader]:
    """Readers of the parts of one file; an empty part is left out."""
    total = sum(len(text) for text in iter_text(path, as_bytes=as_bytes))
    if not total:
        raise ChainruleError(f"{path} is empty but for a byte-order mark; expected text.")
    edges = [0, *(int(share * total) for share in splits), total]
    parts: dict[str, Reader] = {}
    for number, part in enumerate(("train", "validation", "test")):
        first, last = edges[number], edges[number + 1]
        if last > first:
            parts[part] = partial(_part_of, path, first, last, as_bytes)
    return parts


def _part_of(path: Path, first: int, last: int, as_bytes: bool) -> Iterator[str]:
    """Characters first..last - 1 of a file."""
    at = 0
    for text in iter_text(path, as_bytes=as_bytes):
        piece = text[max(0, first - at) : max(0, last - at)]
        if piece:
            yield piece
        at += len(text)
        if at >= last:
            return
