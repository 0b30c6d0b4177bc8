"""Text files, piece by piece: a corpus may be larger than memory."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chainrule.errors import ChainruleError

__all__ = ["iter_text", "read_text"]

_PIECE = 1 << 20


def read_text(path: str | Path) -> str:
    """A whole file as text; errors as in `iter_text`."""
    return "".join(iter_text(path))


def iter_text(path: str | Path, *, as_bytes: bool = False) -> Iterator[str]:
    """The text of a UTF-8 file (`.gz` too) in pieces of about a megabyte that end with a line where they can.

    - `as_bytes`: take bytes that are no UTF-8 as they are (`surrogateescape`), for byte tokens.

    Raises `ChainruleError` for a file that is not there, is empty, or is not UTF-8 (it says where).
    """
    path = Path(path)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape" if as_bytes else "strict")
    done, rest = 0, ""
    try:
        with _opened(path) as file:
            while True:
                piece = file.read(_PIECE)
                try:
                    text = decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    raise _not_utf8(path, piece, done, error) from None
                if done == 0 and text.startswith("\ufeff"):
                    text = text[1:]  # the mark that some editors put first is no text
                done += len(piece)
                end = text.rfind("\n") + 1 if piece else len(text)
                if end or not piece:
                    if rest + text[:end]:
                        yield rest + text[:end]
                    rest = ""
                rest += text[end:]
                if not piece:
                    break
    except FileNotFoundError:
        raise ChainruleError(f"there is no file {path}.") from None
    except (OSError, EOFError) as error:
        raise ChainruleError(f"{path} could not be read ({error}).") from None
    if not done:
        raise ChainruleError(f"{path} is empty; expected text.")


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _not_utf8(path: Path, piece: bytes, done: int, error: UnicodeDecodeError) -> ChainruleError:
    held = len(error.object) - len(piece)  # what the decoder kept of the piece before
    place = done - held + error.start
    marks = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
    if done == 0 and (kind := marks.get(piece[:2])):
        return ChainruleError(f"{path} is {kind} text; save it as UTF-8 (iconv -f {kind} -t UTF-8).")
    return ChainruleError(
        f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {place:,}; convert it (iconv "
        "-f LATIN1 -t UTF-8), or model its bytes with --set tokenizer=byte."
    )
