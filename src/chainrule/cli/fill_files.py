"""What `chainrule fill` reads and writes: examples with holes, fillings, before-and-after pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from chainrule.cli.contexts import context_for
from chainrule.cli.example_files import read_examples
from chainrule.cli.masks import MASK_NAMES, check_holes, read_mask
from chainrule.cli.run_pictures import as_shown
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.cli.sources import OpenedModel
    from chainrule.likelihood import LikelihoodModel
    from chainrule.sampling import FillInfo

__all__ = ["BEFORE_AFTER", "Given", "image_names", "is_folder", "read_given", "write_filled"]

#: The picture beside the filled images in a folder.
BEFORE_AFTER = "before_after.png"


@dataclass(frozen=True)
class Given:
    """What is to be filled: examples, where their holes are, contexts, and whether the truth is known."""

    values: Tensor  # (N, *event_shape)
    holes: Tensor  # (N, *event_shape), bool
    context: Tensor | None  # one for each
    has_truth: bool
    names: tuple[str, ...]  # of the files, or empty

    def limited(self, limit: int | None) -> Given:
        """Only so many of them, spread evenly."""
        if limit is None or limit >= len(self.values):
            return self
        from chainrule.training.batches import spread_rows

        rows = spread_rows(len(self.values), limit)
        context = None if self.context is None else self.context[rows]
        names = tuple(self.names[row] for row in rows.tolist()) if self.names else ()
        return Given(self.values[rows], self.holes[rows], context, self.has_truth, names)


def read_given(
    opened: OpenedModel,
    source: str,
    mask: str | None,
    context: str | None,
    *,
    split: str | None = None,
    threshold: float | None = None,
    skip_bad: bool = False,
    seed: int = 0,
) -> Given:
    """The examples of a file or data set, with their holes, as the options of the command say.

    Raises `ChainruleError` for what cannot be read, does not fit the model, or has no holes.
    """
    model = opened.model
    read = read_examples(opened, source, split=split, threshold=threshold, skip_bad=skip_bad)
    holes, has_truth = read.holes, not bool(read.holes.any())
    if mask is not None:
        holes = holes | read_mask(mask, model.event_shape, len(holes), seed)
    elif has_truth:
        raise ChainruleError(
            f"{source} has no NaN, so there is nothing to fill in; say where with --mask FILE, or "
            f"--mask {', '.join(MASK_NAMES[:5])} or {MASK_NAMES[5]}."
        )
    check_holes(holes, source, mask)
    labels = read.labels
    if labels is None or context is not None:
        one = context_for(model, context, opened.label_names)
        labels = None if one is None else one.expand(len(holes), *one.shape)
    return Given(read.values, holes, labels, has_truth, read.names)


def is_folder(out: Path) -> bool:
    """Whether fillings are to be written as single images into a folder."""
    return out.suffix == ""


def image_names(given: Given, number: int) -> list[list[str]]:
    """What the fillings of each example are called in a folder: as the file it came from, or a number.

    Raises `ChainruleError` where two would have one name.
    """
    stems = [str(PurePath(name).with_suffix("")) for name in given.names]
    stems = stems or [f"{row:05d}" for row in range(len(given.values))]
    names = [[f"{stem}{f'-{k + 1}' if number > 1 else ''}.png" for k in range(number)] for stem in stems]
    taken = {BEFORE_AFTER: "the picture of all of them"}
    for row, own in enumerate(names):
        for name in own:
            if name in taken:
                raise ChainruleError(
                    f"{given.names[row]} and {taken[name]} would both be written as {name}; rename one of "
                    "the images, or write .npy."
                )
            taken[name] = given.names[row] if given.names else name
    return names


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

    from chainrule.report import write_file

    suffix = out.suffix.lower()
    if is_folder(out):
        _write_images(model, given, filled, out, overwrite)
        _write_before_after(model, given, filled, out / BEFORE_AFTER, facts, overwrite)
        return
    if suffix == ".png":
        _write_before_after(model, given, filled, out, facts, overwrite)
        return
    support = model.conditional.support()
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


def _write_images(
    model: LikelihoodModel, given: Given, filled: Tensor, folder: Path, overwrite: bool
) -> None:
    """Every filling as a PNG of its own size, under the name of the file it came from."""
    import numpy as np
    from PIL import Image

    from chainrule.report import write_file

    bytes_of = (as_shown(model, filled) * 255).round().numpy().astype(np.uint8)
    for names, fillings in zip(image_names(given, filled.shape[1]), bytes_of, strict=True):
        for name, pixels in zip(names, fillings, strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
            Image.fromarray(shown).save(buffer, format="PNG")
            write_file(path, buffer.getvalue(), overwrite=overwrite)


def _write_before_after(
    model: LikelihoodModel, given: Given, filled: Tensor, path: Path, facts: dict[str, str], overwrite: bool
) -> None:
    from chainrule.report import save_fillings

    truth = ", the original" if given.has_truth else ""
    save_fillings(
        as_shown(model, given.values),
        given.holes,
        as_shown(model, filled),
        path,
        truth=as_shown(model, given.values) if given.has_truth else None,
        caption=f"with holes, {filled.shape[1]} filled{truth}: {facts['model']}, seed {facts['seed']}",
        metadata=facts,
        overwrite=overwrite,
    )
