"""What a model that raises in the middle of a check is told: which method, where, and what may help."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

__all__ = ["told_of"]

_LIBRARIES = (Path(__file__).parents[1], Path(torch.__file__).parent)
#: What torch calls tensors whose types do not go together.
_WORDS_ABOUT_DTYPES = ("dtype", "Double", "double", "Float", "float", "scalar type")
#: Methods without which nothing works, and what they return.
_TO_BE_WRITTEN = {
    "forward": "forward(self, x, context=None), which returns (batch, *event_shape, num_params)",
    "_log_prob": "_log_prob(self, x, context), which returns (batch,)",
    "_sample": "_sample(self, noise, context, temperature, with_log_prob, method)",
}


def told_of(error: Exception, model: object) -> str:
    """The error on one line, with the method of the model that raised it and a remedy where one is known."""
    frames = traceback.extract_tb(error.__traceback__)
    name, message = type(model).__name__, " ".join(str(error).split())
    if isinstance(error, NotImplementedError) and frames and frames[-1].name in _TO_BE_WRITTEN:
        return f"{name} does not have the method it needs: write {_TO_BE_WRITTEN[frames[-1].name]}."
    own = [frame for frame in frames if not _is_of_a_library(frame.filename)]
    where = f" in {own[-1].name} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    said = f"raised {type(error).__name__}{where}: {message}"
    if isinstance(error, RuntimeError) and any(word in message for word in _WORDS_ABOUT_DTYPES):
        said += (
            "; the check runs on a float64 copy of the model, so make new tensors in the dtype of x, "
            "such as torch.zeros(..., dtype=x.dtype), and keep constants as buffers"
        )
    return said


def _is_of_a_library(filename: str) -> bool:
    return any(Path(filename).is_relative_to(library) for library in _LIBRARIES)
