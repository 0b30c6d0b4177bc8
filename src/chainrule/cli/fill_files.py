"""What `chainrule fill` reads and writes: examples with holes, masks, fillings, before-and-after pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.cli.names import DATASETS
from chainrule.cli.sources import context_for
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.likelihood import LikelihoodModel
    from chainrule.sampling import FillInfo

__all__ = ["HALVES", "Given", "read_given", "write_filled"]

#: Masks of images that need no file.
HALVES = ("top", "bottom", "left", "right")
#: How a hole is drawn in a picture: nothing grey looks like it.
_HOLE = (0.93, 0.55, 0.20)


@dataclass(frozen=True)
class Given:
    """What is to be filled: examples, where their holes are, contexts, and whether the truth is known."""

    values: Tensor  # (N, *event_shape)
    holes: Tensor  # (N, *event_shape), bool
    context: Tensor | None  # one for each
    has_truth: bool

    def limited(self, limit: int | None) -> Given:
        """Only so many of them, spread evenly."""
        if limit is None or limit >= len(self.values):
            return self
        from chainrule.training.batches import spread_rows

        rows = spread_rows(len(self.values), limit)
        context = None if self.context is None else self.context[rows]
        return Given(self.values[rows], self.holes[rows], context, self.has_truth)


def read_given(
    model: LikelihoodModel,
    source: str,
    mask: str | None,
    split: str | None,
    threshold: float | None,
    context: str | None,
) -> Given:
    """The examples of a file or data set, with their holes, as the options of the command say.

    Raises `ChainruleError` for what cannot be read, does not fit the model, or has no holes.
    """
    labels = None
    if source in DATASETS:
        from chainrule import data

        if threshold is not None:
            raise ChainruleError(f"data set {source!r} takes no --threshold; write ./{source} for a file.")
        dataset = data.load(source)
        values = dataset.evaluation_split(split or "test")
        if tuple(values.shape[1:]) != model.event_shape:
            raise ChainruleError(
                f"data set {source!r} has examples of shape {tuple(values.shape[1:])}, but the model is one "
                f"of {model.event_shape}."
            )
        holes = values.isnan()
        if model.context_size and context is None and dataset.labels:
            labels = dataset.labels[split or "test"]
    elif split is not None:
        raise ChainruleError(f"--split {split} is for the name of a data set, but {source} is none.")
    else:
        values, holes = _read_file(source, model, threshold)
    has_truth = not bool(holes.any())
    if mask is not None:
        holes = holes | _read_mask(mask, model.event_shape, len(values))
    elif has_truth:
        raise ChainruleError(
            f"{source} has no NaN, so there is nothing to fill in; say where with --mask FILE, or "
            f"--mask {', '.join(HALVES[:-1])} or {HALVES[-1]}."
        )
    if labels is None:
        one = context_for(model, context)
        labels = None if one is None else one.expand(len(values), *one.shape)
    return Given(values, holes, labels, has_truth)


def _read_file(source: str, model: LikelihoodModel, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Examples of a file with 0 where it has NaN, and where that is."""
    import numpy as np
    import torch

    from chainrule.data.formats import read_raw
    from chainrule.data.raw import RawData
    from chainrule.data.readers import as_examples

    if not (Path(source).exists() or "." in source or "/" in source):
        raise ChainruleError(f"{unknown_name('data set', source, DATASETS)} (and there is no such file)")
    raw = read_raw(source)
    is_float = raw.values.dtype.kind == "f"
    holes = np.isnan(raw.values) if is_float else np.zeros(raw.values.shape, bool)
    cleaned = RawData(np.where(holes, 0, raw.values), raw.place) if is_float else raw
    support = model.conditional.support()
    levels = 256 if support is None else len(support)
    values = as_examples(cleaned, source, event_shape=model.event_shape, levels=levels, threshold=threshold)
    return values, torch.from_numpy(holes).reshape(values.shape)


def _read_mask(spec: str, event_shape: tuple[int, ...], count: int) -> Tensor:
    """The holes of all examples, bool, `(count, *event_shape)` or `(1, *event_shape)`."""
    import numpy as np

    from chainrule.data.formats import read_raw
    from chainrule.data.raw import RawData
    from chainrule.data.readers import as_examples

    if spec in HALVES:
        return _half(spec, event_shape)
    if "." not in spec and "/" not in spec and not Path(spec).exists():
        raise ChainruleError(f"{unknown_name('mask', spec, HALVES)}, or a .npy, .npz or .png file")
    raw = read_raw(spec)
    if not (np.isin(raw.values, (0, 1)).all() or np.isin(raw.values, (0, 255)).all()):
        odd = raw.values[~np.isin(raw.values, (0, 1, 255))].ravel()
        raise ChainruleError(
            f"{spec} holds {odd[0] if odd.size else '1 and 255'}; a mask is 1 (or white, 255) where "
            "something is to be filled in, and 0 elsewhere."
        )
    # A mask for all examples may come without a dimension for them.
    if raw.values.shape in (event_shape, event_shape[1:]) and raw.values.ndim < 4:
        place = raw.place
        raw = RawData(raw.values[None], lambda index: place(index[1:]))
    masks = as_examples(raw, spec, event_shape=event_shape, levels=2, threshold=None).bool()
    if len(masks) not in (1, count):
        raise ChainruleError(
            f"{spec} holds {len(masks)} masks for {count} examples; expected one for all, or one for each."
        )
    return masks


def _half(name: str, event_shape: tuple[int, ...]) -> Tensor:
    import torch

    if len(event_shape) != 3:
        raise ChainruleError(f"--mask {name} is for images, but an example has shape {event_shape}.")
    _, height, width = event_shape
    holes = torch.zeros(1, *event_shape, dtype=torch.bool)
    rows = {"top": slice(height // 2), "bottom": slice(height // 2, None)}.get(name, slice(None))
    columns = {"left": slice(width // 2), "right": slice(width // 2, None)}.get(name, slice(None))
    holes[:, :, rows, columns] = True
    return holes


def write_filled(
    model: LikelihoodModel,
    given: Given,
    filled: Tensor,
    info: FillInfo,
    out: Path,
    facts: dict[str, str],
    overwrite: bool,
) -> None:
    """Fillings in the form that the file's name asks for; `filled` is `(N, n, *event_shape)`."""
    import numpy as np

    from chainrule.report import save_grid, write_file

    support = model.conditional.support()
    suffix = out.suffix.lower()
    if suffix == ".png":
        top = 1 if support is None else len(support) - 1
        panels = _panels(given, filled, top)
        truth = ", the original" if given.has_truth else ""
        caption = f"with holes, {filled.shape[1]} filled{truth}: {facts['model']}, seed {facts['seed']}"
        save_grid(
            panels.flatten(0, 1),
            out,
            columns=panels.shape[1],
            caption=caption,
            metadata=facts,
            overwrite=overwrite,
        )
        return
    array = filled[:, 0].numpy() if filled.shape[1] == 1 else filled.numpy()
    if support is not None and len(support) <= 256:
        array = array.astype(np.uint8)
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, array)
    elif suffix == ".npz":
        np.savez_compressed(
            buffer,
            filled=array,
            mask=given.holes.numpy(),
            log_evidence=info.log_evidence.numpy(),
            effective_sample_size=info.effective_sample_size.numpy(),
            method=np.array(info.method),
        )
    else:
        rows = array.reshape(-1, model.num_variables)
        np.savetxt(buffer, rows, fmt="%d" if array.dtype == np.uint8 else "%.9g", delimiter=",")
    write_file(out, buffer.getvalue(), overwrite=overwrite)


def _panels(given: Given, filled: Tensor, top: int) -> Tensor:
    """For each example a row of colour images, `(N, panels, 3, H, W)`: with holes, filled, the original."""
    import torch

    height, width = filled.shape[-2:]
    colour = torch.tensor(_HOLE)[:, None, None]

    def in_colour(images: Tensor) -> Tensor:
        return (images.float() / top).expand(*images.shape[:-3], 3, height, width)

    panels = [torch.where(given.holes, colour, in_colour(given.values))[:, None], in_colour(filled)]
    if given.has_truth:
        panels.append(in_colour(given.values)[:, None])
    return torch.cat(panels, dim=1)
