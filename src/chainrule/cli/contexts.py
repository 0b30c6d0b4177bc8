"""`--context`: which class, or which numbers, a distribution is to be conditioned on.

Whole numbers are class labels; where the classes have names, those too. A vector of numbers is written with
decimal points, so that `0,1` are two classes and `0.0,1.0` is one vector.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel

__all__ = ["Contexts", "context_for", "contexts_for", "in_classes_of", "labels_in"]

_ALL = "all"
_NAMED = 12  # class names that a message lists


@dataclass(frozen=True)
class Contexts:
    """Contexts to sample one after another: `values` is `(k,)` labels or `(k, size)` numbers."""

    values: Tensor
    described: tuple[str, ...]


def context_for(model: LikelihoodModel, text: str | None, names: Sequence[str] = ()) -> Any:
    """The one context that `--context` names, a label or a vector of floats; None where there is none.

    - `names`: what the classes are called.

    Raises `ChainruleError` for anything else, a label that is not one of the model's, several labels, and
    a context that is missing or not asked for.
    """
    chosen = contexts_for(model, [] if text is None else [text], names)
    if chosen is None:
        return None
    if len(chosen.values) > 1:
        raise ChainruleError(f"--context {text!r} names {len(chosen.values)} classes; expected one.")
    return chosen.values[0]


def contexts_for(model: LikelihoodModel, texts: Sequence[str], names: Sequence[str] = ()) -> Contexts | None:
    """All contexts that one or more `--context` name: `7`, `0,3,5`, `0..4`, `cat,dog`, `all`, `0.5,1.0`.

    Errors are those of `context_for`, which allows only one.
    """
    import torch

    size = model.context_size
    if not size:
        if texts:
            raise ChainruleError("this model takes no context; leave --context out.")
        return None
    if not texts:
        raise ChainruleError(f"this model needs a context: add --context with {_expected(size, names)}.")
    labels: list[int] = []
    vectors: list[list[float]] = []
    for text in texts:
        found = _labels(text, size, names)
        if found is not None:
            labels += found
        else:
            vectors.append(_vector(text, size, names))
    if labels and vectors:
        raise ChainruleError("--context: give class labels or vectors of numbers, not both.")
    if vectors:
        return Contexts(torch.tensor(vectors), tuple(texts))
    described = tuple(names[label] if label < len(names) else str(label) for label in labels)
    return Contexts(torch.tensor(labels), described)


def labels_in(codes: Tensor, own: Sequence[str], names: Sequence[str], source: str) -> Tensor:
    """Class codes of a folder or file, whose classes are called `own`, as the labels of a model.

    - `names`: what the model's classes are called; empty where they are plain numbers, which names of
      digits then stand for.

    Raises `ChainruleError` for a class that the model does not know.
    """
    import torch

    if not own or tuple(own) == tuple(names):
        return codes
    if names:
        unknown = [name for name in own if name not in names]
        if unknown:
            raise ChainruleError(
                f"{source}: the model knows no class {unknown[0]!r}; it knows {_listed(names)}."
            )
        return torch.tensor([list(names).index(name) for name in own])[codes]
    if all(name.isdecimal() for name in own):
        return torch.tensor([int(name) for name in own])[codes]
    return codes


def in_classes_of(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with its labels as a model counts them, whose classes are called `names`."""
    if not dataset.labels or dataset.label_names == tuple(names):
        return dataset
    labels = {
        split: labels_in(codes, dataset.label_names, names, dataset.name)
        for split, codes in dataset.labels.items()
    }
    return replace(dataset, labels=labels, label_names=tuple(names))


def _labels(text: str, size: int, names: Sequence[str]) -> list[int] | None:
    """The class labels that a text lists; None where it is no list of labels."""
    if text.strip().lower() == _ALL:
        return list(range(size))
    if text in names:  # a name may hold a comma
        return [list(names).index(text)]
    labels: list[int] = []
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        span = re.fullmatch(r"(\d+)\.\.(\d+)", part)
        if part in names:
            labels.append(list(names).index(part))
        elif span:
            labels += range(int(span[1]), int(span[2]) + 1)
        elif re.fullmatch(r"[+-]?\d+", part):
            labels.append(int(part))
        else:
            return None
    if not labels or not all(0 <= label < size for label in labels):
        raise ChainruleError(f"--context {text!r}: this model needs {_expected(size, names)}.")
    if len(labels) == size > 1 and len(set(labels)) < size:
        raise ChainruleError(
            f"--context {text!r} could be {size} labels or one vector; write the numbers of a vector with "
            f"decimal points ({','.join(f'{label}.0' for label in labels[:3])}{',...' if size > 3 else ''})."
        )
    return labels


def _vector(text: str, size: int, names: Sequence[str]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != size or not all(map(math.isfinite, numbers)):
        raise ChainruleError(f"--context {text!r}: this model needs {_expected(size, names)}.")
    return numbers


def _expected(size: int, names: Sequence[str]) -> str:
    called = f" ({_listed(names)})" if names else ""
    return f"a label in 0..{size - 1}{called}, or {size} numbers with decimal points and commas between"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
