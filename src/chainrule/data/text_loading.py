"""`load_text`: the texts of the catalogue."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from chainrule.data.catalogue import CATALOGUE
from chainrule.data.files import check_sha256, locate
from chainrule.data.text_dataset import TextDataset
from chainrule.data.text_entry import TextEntry
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["load_text"]

_DAMAGE = (OSError, EOFError, ValueError, zlib.error)


def load_text(name: str, *, root: str | PathLike[str] | None = None) -> TextDataset:
    """A text of the catalogue, in its published parts.

    Files are looked for as in `load`; `python-docs` needs none, and differs by the version of Python.

    Raises `ChainruleError` for an unknown name, a missing or damaged file, and a failed download.
    """
    known = CATALOGUE.get(name)
    if not isinstance(known, TextEntry):
        texts = [entry.name for entry in CATALOGUE.values() if isinstance(entry, TextEntry)]
        if known is not None:
            raise ChainruleError(f"data set {name!r} is no text; the texts are: {', '.join(texts)}.")
        raise unknown_name("text", name, texts)
    parts = _parts([_python_docs()], known) if known.form == "embedded" else _from_files(known, root)
    return TextDataset(
        name=known.name,
        train=parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        tokenizer=known.tokenizer,
        licence=known.licence,
        source=known.source,
        description=known.description,
        published=known.published,
    )


def _from_files(known: TextEntry, root: str | PathLike[str] | None) -> dict[str, str]:
    paths, files = locate(known.name, known.files, known.alternative_files, root)
    try:
        parts = _parts([_read(path) for path in paths], known)
        found = {part: len(text) for part, text in parts.items()}
        if found != dict(known.splits):
            raise ValueError(f"{found} characters; expected {dict(known.splits)}")
    except _DAMAGE as error:
        for file, path in zip(files, paths, strict=True):
            check_sha256(known.name, file, path)  # "damaged" says more than what the damage made of it
        reason = " ".join(str(error).split())[:200]
        raise ChainruleError(f"text {known.name!r}: {paths[0]} cannot be read ({reason})") from None
    return parts


def _read(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")


def _parts(texts: Sequence[str], known: TextEntry) -> dict[str, str]:
    """By name: the texts as they are, or one text cut where the entry says."""
    if known.shares is None:
        return dict(zip(known.splits, texts, strict=True))
    (text,) = texts
    edges = [0, *(int(share * len(text)) for share in known.shares), len(text)]
    names = ("train", "validation", "test")
    return {
        name: text[first:last]
        for name, first, last in zip(names, edges, edges[1:], strict=False)
        if last > first
    }


def _python_docs() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ChainruleError(
            "this Python comes without pydoc_data, the text of python-docs; train on a file of your own."
        ) from None
    return "\n".join(topics[name] for name in sorted(topics))
