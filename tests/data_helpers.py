"""Files as people have them, written by hand so that a reader is not tested against its own writer."""

from __future__ import annotations

import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.errors import ChainruleError


def idx_bytes(values: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(path: Path, values: np.ndarray) -> Path:
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_pngs(folder: Path, values: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(values):
        Image.fromarray(image.astype(np.uint8)).save(folder / f"img{i}.png")
    return folder


def one_line_error(call, *words: str) -> str:
    """Run `call`, which must fail with one line that holds every one of `words`."""
    with pytest.raises(ChainruleError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert re.search(re.escape(word), message), f"{word!r} is not in: {message}"
    return message


def real_data_folder() -> Path:
    named = os.environ.get("CHAINRULE_DATA")
    if not named:
        pytest.skip("CHAINRULE_DATA is unset: it names the folder of real data files")
    return Path(named)
