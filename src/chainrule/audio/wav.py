"""Reading and writing .wav files: whole numbers of 8, 16, 24 and 32 bits, and floats, of any rate.

The format is short enough to read here, so that a file that is no good can be told what is wrong with it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import some_path
from chainrule.audio.recording import LARGEST_RATE, Recording
from chainrule.errors import ChainruleError
from chainrule.report import write_file

__all__ = ["read_wav", "wav_bytes", "write_wav"]

_WHOLE, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_COMPRESSED = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x31: "GSM", 0x55: "MP3"}
_OTHERS = {b"ID3": "MP3", b"\xff\xfb": "MP3", b"fLaC": "FLAC", b"OggS": "Ogg", b"FORM": "AIFF"}
#: What programs write as the size of the sound before they know it, when they write into a pipe.
_UNKNOWN_SIZE = 0xFFFFFFFF


def read_wav(path: str | Path) -> Recording:
    """The sound in a .wav file at its own rate; channels are averaged, which `Recording.remarks` says.

    Whole numbers of b bits are divided by 2^(b - 1); those of 8 bits have their zero at 128.

    Raises `ChainruleError` for a file that is not there, empty, no .wav, compressed, truncated, or without
    a sample.
    """
    path = some_path("a .wav file", path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ChainruleError(f"there is no file {path}.") from None
    except OSError as error:
        raise ChainruleError(f"{path} could not be read ({error.strerror}).") from None
    form, data = _chunks(content, path)
    kind, channels, rate, width = _format(form, path)
    frames = len(data) // (channels * width)
    if not frames:
        raise ChainruleError(f"{path} holds no sound: it is a .wav of 0 samples.")
    samples = _numbers(data[: frames * channels * width], kind, width)
    remarks: tuple[str, ...] = ()
    if channels > 1:
        samples = samples.reshape(frames, channels).mean(axis=1)
        remarks = (f"{channels} channels mixed down to one",)
    return Recording(samples, rate, path.name, remarks)


def _chunks(content: bytes, path: Path) -> tuple[bytes, bytes]:
    """The chunks `fmt ` and `data`."""
    if not content:
        raise ChainruleError(f"{path} is empty; expected a .wav file.")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        kind = next((kind for start, kind in _OTHERS.items() if content.startswith(start)), None)
        found = f"is {kind}, not .wav; convert it: ffmpeg -i {path} sound.wav" if kind else "is no .wav file"
        raise ChainruleError(f"{path} {found}.")
    form, at = b"", 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = content[at + 8 : at + 8 + size]
        if name == b"data":
            if len(body) < size != _UNKNOWN_SIZE:
                raise ChainruleError(
                    f"{path} is truncated: it should hold {size:,} bytes of sound and holds {len(body):,}; "
                    "get the whole file."
                )
            return form, body
        if name == b"fmt ":
            form = body
        at += 8 + size + size % 2
    raise ChainruleError(f"{path} is truncated: the file ends before its sound begins; get the whole file.")


def _format(form: bytes, path: Path) -> tuple[int, int, int, int]:
    """Kind of number, channels, rate, bytes a number."""
    if len(form) < 16:
        raise ChainruleError(f"{path} is damaged: it does not say how its sound is written.")
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = int.from_bytes(form[24:26], "little")
    if kind not in (_WHOLE, _FLOAT):
        name = _COMPRESSED.get(kind, f"format {kind}")
        raise ChainruleError(
            f"{path} is compressed ({name}); convert it: ffmpeg -i {path} -c:a pcm_s16le sound.wav"
        )
    # A sample of 12 bits lies in the upper ones of 2 bytes, so that the bytes say the scale.
    width = frame // channels if channels else 0
    if not 0 < rate <= LARGEST_RATE or width not in ((1, 2, 3, 4) if kind == _WHOLE else (4, 8)):
        raise ChainruleError(
            f"{path} has {channels} channels of {bits} bits at {rate:,} Hz; expected whole numbers of 8, 16, "
            "24 or 32 bits, or floats of 32 or 64."
        )
    return kind, channels, rate, width


def _numbers(data: bytes, kind: int, width: int) -> NDArray[np.float64]:
    """All numbers, channels side by side, as fractions of full scale."""
    if kind == _FLOAT:
        return np.frombuffer(data, f"<f{width}").astype(np.float64)
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        raw = np.zeros((len(data) // 3, 4), np.uint8)
        raw[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return raw.view("<i4")[:, 0] / 2.0**31
    return np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)


def wav_bytes(recording: Recording, *, bits: int = 16, floating: bool = False) -> bytes:
    """The content of a .wav file; samples beyond full scale are cut off in whole numbers.

    - `bits`: 8, 16, 24 or 32; with `floating` 32 or 64.
    """
    known = (32, 64) if floating else (8, 16, 24, 32)
    if bits not in known:
        listed = ", ".join(map(str, known))
        raise ChainruleError(
            f"bits={bits}: a .wav of {'floats' if floating else 'whole numbers'} has {listed}."
        )
    width = bits // 8
    data = recording.samples.astype(f"<f{width}").tobytes() if floating else _whole(recording.samples, width)
    kind, rate = _FLOAT if floating else _WHOLE, recording.rate
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * width, width, bits)
    body = b"WAVE" + _chunk(b"fmt ", form)
    if floating:
        body += _chunk(b"fact", struct.pack("<I", len(recording.samples)))
    body += _chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write_wav(
    path: str | Path, recording: Recording, *, bits: int = 16, floating: bool = False, overwrite: bool = False
) -> Path:
    """Write a .wav file; `bits` and `floating` as in `wav_bytes`.

    Raises `ChainruleError` if the file exists (unless `overwrite`) or lies in no folder.
    """
    content = wav_bytes(recording, bits=bits, floating=floating)
    return write_file(some_path("the file to write", path), content, overwrite=overwrite)


def _whole(samples: NDArray[Any], width: int) -> bytes:
    full = 2 ** (8 * width - 1)
    values = np.clip(np.rint(samples * full), -full, full - 1).astype(np.int64)
    if width == 1:
        return bytes((values + 128).astype(np.uint8))
    return bytes(np.ascontiguousarray(values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]))


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
