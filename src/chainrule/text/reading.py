"""Text files, piece by piece: a corpus may be larger than memory."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chainrule.errors import ChainruleError

__all__ = ["iter_text", "read_text"]

_PIECE = 1 << 20
#: What UTF-32 and UTF-16 may begin with; the former's little-endian mark begins with the latter's.
_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Bytes of the beginning that are looked at.
_LOOKED_AT = 4096


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
                if not (done or as_bytes):
                    _refuse_zeros(path, piece)
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
    except (OSError, EOFError, zlib.error) as error:
        raise ChainruleError(f"{path} could not be read ({error}).") from None
    if not done:
        raise ChainruleError(f"{path} is empty; expected text.")


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _refuse_zeros(path: Path, piece: bytes) -> None:
    """Raise `ChainruleError` for a file that begins like UTF-16 without its mark: plain ASCII would pass."""
    beginning = piece[:_LOOKED_AT]
    if not beginning.startswith(_MARKS) and beginning.count(0) > len(beginning) // 3:
        raise ChainruleError(
            f"{path} holds zeros among its bytes, so it is UTF-16 or no text; save it as UTF-8 (iconv -f "
            "UTF-16LE -t UTF-8), or model its bytes with --set tokenizer=byte."
        )


def _not_utf8(path: Path, piece: bytes, done: int, error: UnicodeDecodeError) -> ChainruleError:
    held = len(error.object) - len(piece)  # what the decoder kept of the piece before
    place = done - held + error.start
    if done == 0 and piece.startswith(_MARKS):
        kind = "UTF-32" if piece.startswith(_MARKS[:2]) else "UTF-16"
        return ChainruleError(f"{path} is {kind} text; save it as UTF-8 (iconv -f {kind} -t UTF-8).")
    return ChainruleError(
        f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {place:,}; convert it (iconv "
        "-f LATIN1 -t UTF-8), or model its bytes with --set tokenizer=byte."
    )
