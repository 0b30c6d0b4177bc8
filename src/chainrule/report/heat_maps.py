"""Heat maps, pixel by pixel: what a model expected of an image, and where the image surprised it."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_conditionals", "save_surprise_maps"]

#: What a row of a figure shows: a label, `(N, H, W)`, the colour map, the limits, the colour bar's label.
_Row = tuple[str, NDArray[np.float64], str, tuple[float, float], str]

_CELL = 1.25  # inches


def save_conditionals(
    images: Any,
    probabilities: Any,
    log_prob: Any,
    path: str | PathLike[str],
    *,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Each image above P(x_i = 1 | x_<i) of its pixels and above its surprise, the lecture's topic 7.

    - `images`, `probabilities`, `log_prob`: `(N, H, W)` or `(N, 1, H, W)`; `log_prob` is
      log p(x_i | x_<i) in nats.

    Raises `ChainruleError` for other shapes, and for a file that is there already.
    """
    x, p, surprise = _plane(images), _plane(probabilities), -_plane(log_prob)
    rows: list[_Row] = [
        ("image", x, "gray", (0, 1), ""),
        (r"$P(x_i = 1\,|\,x_{<i})$", p, "gray", (0, 1), "probability"),
        ("surprise", surprise, "magma", (0, _bright(surprise)), "nats"),
    ]
    return save_figure(_figure(rows, _totals(surprise), title), path, overwrite=overwrite)


def save_surprise_maps(
    images: Any,
    log_prob: Any,
    path: str | PathLike[str],
    *,
    names: Sequence[str] = (),
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Each image above its surprise map, -log p(x_i | x_<i) in nats.

    - `names`: what to call each image; the other arguments and errors are those of `save_conditionals`.
    """
    x, surprise = _plane(images), -_plane(log_prob)
    rows: list[_Row] = [
        ("image", x, "gray", (0, 1), ""),
        ("surprise", surprise, "magma", (0, _bright(surprise)), "nats"),
    ]
    captions = _totals(surprise)
    if names:
        captions = [f"{shortened(name)}\n{total}" for name, total in zip(names, captions, strict=True)]
    return save_figure(_figure(rows, captions, title), path, overwrite=overwrite)


def _plane(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or array.size == 0:
        raise ChainruleError(f"expected maps of shape (N, H, W) or (N, 1, H, W), but got {array.shape}.")
    return array


def _totals(surprise: NDArray[np.float64]) -> list[str]:
    return [f"{total:.1f} nats" for total in surprise.sum(axis=(1, 2))]


def _bright(surprise: NDArray[np.float64]) -> float:
    """Top of the colour scale: a few pixels of enormous surprise must not darken all others."""
    return max(float(np.quantile(surprise, 0.998)), 0.1)


def _figure(rows: list[_Row], captions: list[str], title: str) -> Figure:
    count = len(captions)
    if any(row[1].shape != rows[0][1].shape for row in rows):
        raise ChainruleError("images and their maps must have the same shape.")
    figure = new_figure(_CELL * max(count, 3) + 1.9, (_CELL + 0.1) * len(rows) + (0.95 if title else 0.5))
    axes = figure.subplots(len(rows), count, squeeze=False)
    for row, (label, maps, colours, (low, high), unit) in enumerate(rows):
        for column, ax in enumerate(axes[row]):
            drawn = ax.imshow(maps[column], cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_color("#cbd0d8")
        axes[row, 0].set_ylabel(label, color=INK, fontsize=10)
        if unit:
            extend = "max" if maps.max() > high else "neither"
            bar = figure.colorbar(drawn, ax=list(axes[row]), shrink=0.9, aspect=12, pad=0.01, extend=extend)
            bar.set_label(unit, color=INK, fontsize=9)
            bar.ax.tick_params(labelsize=8)
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(caption, fontsize=9, color=INK)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure
