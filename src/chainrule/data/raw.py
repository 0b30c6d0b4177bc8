"""What every format has in common: an array with a way to name a place in it, and the words for damage."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from chainrule.errors import ChainruleError

__all__ = ["DAMAGE", "Index", "RawData", "damaged", "require_content"]

Index = tuple[int, ...]

# Everything numpy, Pillow, gzip and zipfile have been seen to raise on damaged bytes.
DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class RawData:
    """An array as found in a file, and what lay beside it.

    - `place(index)` names a position for people, such as `row 3, column 2`;
    - `labels`: class labels of the examples as they are written, `(N,)`; None where there are none;
    - `label_names`: what the labels 0, 1, ... are called, where they have names;
    - `names`: what each example is called, for images their files; empty where they have no names.
    """

    values: NDArray[Any]
    place: Callable[[Index], str]
    labels: NDArray[Any] | None = None
    label_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def require_content(path: Path) -> None:
    """Raise `ChainruleError` unless the file is there, may be read, and has at least one byte."""
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else _one_line(error)
        raise ChainruleError(f"cannot read {str(path)!r}: {reason}") from error
    if size == 0:
        raise ChainruleError(f"{path} is empty (0 bytes)")


def damaged(path: Path, what: str, error: BaseException) -> ChainruleError:
    """The error for a file that its own library could not read, with that library's words in brackets."""
    if "Object arrays" in str(error):  # numpy has no type of its own for this refusal
        return ChainruleError(
            f"{path} holds Python objects, which are not read because unpickling can run code; "
            "save a plain array of numbers"
        )
    if isinstance(error, MemoryError):
        return ChainruleError(f"{path} announces more values than fit in memory; it may be damaged")
    return ChainruleError(
        f"{path} is not a readable {what}; it may be truncated or damaged ({_one_line(error)})"
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:119]}…"
