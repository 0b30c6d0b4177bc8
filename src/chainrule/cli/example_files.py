"""Examples as `score` and `fill` read them: from a data set's name or a person's own files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.cli.contexts import in_classes_of, labels_in
from chainrule.cli.names import DATASETS
from chainrule.cli.output import say
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel
    from chainrule.likelihood import LikelihoodModel

__all__ = ["Examples", "read_examples", "say_if_hidden", "saying_warnings"]


@dataclass(frozen=True)
class Examples:
    """Examples `(N, *event_shape)` with 0 where they have holes, and what lay beside them.

    - `holes`: where the file has NaN, bool, of the same shape;
    - `labels`: `(N,)` as the model counts classes, None where there are none or the model takes none;
    - `names`: what each example is called, such as its file; empty where they have no names.
    """

    values: Tensor
    holes: Tensor
    labels: Tensor | None = None
    names: tuple[str, ...] = ()


def read_examples(
    opened: OpenedModel,
    source: str,
    *,
    split: str | None = None,
    threshold: float | None = None,
    skip_bad: bool = False,
) -> Examples:
    """The examples of a data set's split (`test` if not said) or of a file or folder.

    Raises `ChainruleError` for what cannot be read or does not fit the model.
    """
    if source in DATASETS:
        given = {"--threshold": threshold is not None, "--skip-bad": skip_bad}
        for option, was_given in given.items():
            if was_given:
                raise ChainruleError(f"data set {source!r} takes no {option}; write ./{source} for a file.")
        say_if_hidden(source)
        return _named(opened, source, split or "test")
    if split is not None:
        raise ChainruleError(
            f"--split {split} is for the name of a data set, but {source} is none; leave it out to take all."
        )
    with saying_warnings():
        return _own(opened, source, threshold, skip_bad)


def _named(opened: OpenedModel, name: str, split: str) -> Examples:
    from chainrule import data

    model = opened.model
    dataset = data.load(name)
    values = dataset.evaluation_split(split)
    if tuple(values.shape[1:]) != model.event_shape:
        raise ChainruleError(
            f"data set {name!r} has examples of shape {tuple(values.shape[1:])}, but the model is one "
            f"of {model.event_shape}."
        )
    labels = in_classes_of(dataset, opened.label_names).labels.get(split) if model.context_size else None
    return Examples(values, values.isnan(), labels)


def _own(opened: OpenedModel, source: str, threshold: float | None, skip_bad: bool) -> Examples:
    import numpy as np
    import torch

    from chainrule.data.formats import read_raw
    from chainrule.data.own_parts import checked_labels
    from chainrule.data.readers import as_examples, image_form

    model = opened.model
    if not (Path(source).exists() or "." in source or "/" in source):
        raise ChainruleError(f"{unknown_name('data set', source, DATASETS)} (and there is no such file)")
    raw = read_raw(source, form=image_form(model.event_shape), skip_bad=skip_bad)
    is_float = raw.values.dtype.kind == "f"
    holes = np.isnan(raw.values) if is_float else np.zeros(raw.values.shape, bool)
    cleaned = replace(raw, values=np.where(holes, 0, raw.values)) if is_float else raw
    values = as_examples(
        cleaned, source, event_shape=model.event_shape, levels=_levels(model), threshold=threshold
    )
    marked = replace(raw, values=holes.astype(np.uint8), labels=None)
    where = as_examples(marked, source, event_shape=model.event_shape, levels=2, threshold=None).bool()
    labels = None
    if model.context_size:
        checked = checked_labels(raw, source, len(values))
        if checked is not None:
            labels = labels_in(torch.from_numpy(checked[0]), checked[1], opened.label_names, source)
            largest = int(labels.max())
            if largest >= model.context_size:
                raise ChainruleError(
                    f"{source}: a label is {largest}, but the model knows 0..{model.context_size - 1}."
                )
    return Examples(values, where, labels, raw.names)


def _levels(model: LikelihoodModel) -> int:
    support = model.conditional.support()
    return 256 if support is None else len(support)


def say_if_hidden(name: str) -> None:
    """A line where a file or folder has the name of a data set: the data set is what is taken."""
    if Path(name).exists():
        say(f"note: {name} is the data set of that name; for the file or folder here, write ./{name}")


@contextmanager
def saying_warnings() -> Iterator[None]:
    """Turn the warnings of a block into lines on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for warning in caught:
                say(f"chainrule: warning: {warning.message}")
