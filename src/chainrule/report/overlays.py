"""Maps laid over images: where an image surprised a model, and what one pixel depends on."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure, shortened
from chainrule.report.fillings import as_array
from chainrule.report.grid import as_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_receptive_fields", "save_surprise_overlays"]

_CELL = 1.7  # inches
_NO_INFLUENCE = "#d7dbe2"


def save_surprise_overlays(
    images: Any,
    bits: Any,
    path: str | PathLike[str],
    *,
    names: Sequence[str] = (),
    columns: int = 6,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Each image, faded, under its surprise: the more bits a pixel tells, the less of it shines through.

    - `images`: `(N, H, W)`, `(N, 1, H, W)` or `(N, 3, H, W)`, values in [0, 1].
    - `bits`: `(N, H, W)`, bits of each pixel, as `chainrule.images.surprise_bits` gives them.
    - `names`: what to call each image; its total is written beside it.

    Raises `ChainruleError` for shapes that do not fit, and for a file that is there already.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    pixels, surprise = as_images(images), as_array(bits).astype(np.float64)
    if surprise.shape != pixels.shape[:3]:
        raise ChainruleError(
            f"expected surprise of shape {pixels.shape[:3]} for these images, but got {surprise.shape}."
        )
    if names and len(names) != len(pixels):
        raise ChainruleError(f"there are {len(pixels)} images, but {len(names)} names.")
    # A few pixels of enormous surprise must not darken all others.
    top = max(float(np.quantile(surprise, 0.998)), 0.1)
    faded = 0.45 * pixels / 255 + 0.55
    strength = np.clip(surprise / top, 0, 1)
    shades = colormaps["YlOrRd"](0.25 + 0.75 * strength)[..., :3]
    # The root makes faint surprise visible.
    shown = faded + np.sqrt(strength)[..., None] * (shades - faded)
    wide = min(columns, len(pixels))
    rows = -(-len(pixels) // wide)
    cell = _CELL + (0.4 if names else 0.25)  # with its caption, of one line or two
    figure = new_figure(_CELL * max(wide, 3) + 1.2, cell * rows + (0.5 if title else 0.15))
    axes = figure.subplots(rows, wide, squeeze=False)
    for index, ax in enumerate(axes.flat):
        if index >= len(pixels):
            ax.set_axis_off()
            continue
        ax.imshow(shown[index], interpolation="nearest")
        total = f"{surprise[index].sum():.0f} bits"
        _bare(ax, f"{shortened(names[index])}\n{total}" if names else total)
    scale = np.linspace(0, 1, 256)
    paper = np.ones((256, 3))
    legend = paper + np.sqrt(scale)[:, None] * (colormaps["YlOrRd"](0.25 + 0.75 * scale)[:, :3] - paper)
    mappable = ScalarMappable(Normalize(0, top), ListedColormap(legend.tolist()))
    bar = figure.colorbar(
        mappable,
        ax=list(axes.flat),
        shrink=0.9,
        aspect=18,
        pad=0.02,
        extend="max" if surprise.max() > top else "neither",
    )
    bar.set_label("surprise, bits per pixel", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def save_receptive_fields(
    fields: dict[str, Any],
    pixel: tuple[int, int],
    path: str | PathLike[str],
    *,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """What one pixel depends on in each of several models; grey is what has no influence at all.

    - `fields`: name -> `(H, W)`, how strong the influence of each pixel is, as
      `chainrule.images.receptive_field` gives it; shown on a logarithmic scale over four decades.
    - `pixel`: (row, column) of the pixel itself, marked by a frame; a dotted line runs around all pixels that
      come before it in raster order, so that a blind spot shows as grey within the line.

    Raises `ChainruleError` for maps of other shapes, and for a file that is there already.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    maps = {name: as_array(field).astype(np.float64) for name, field in fields.items()}
    shapes = {values.shape for values in maps.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        raise ChainruleError(f"expected maps (H, W) of one size, but got {sorted(shapes)}.")
    row, column = pixel
    figure = new_figure(2.6 * len(maps) + 1.2, 2.6 * shape[0] / shape[1] + (0.9 if title else 0.5))
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    colours = colormaps["viridis"].with_extremes(bad=_NO_INFLUENCE, under=colormaps["viridis"](0.0))
    for ax, (name, values) in zip(axes, maps.items(), strict=True):
        share = values / max(values.max(), 1e-300)
        drawn = ax.imshow(np.ma.masked_equal(share, 0), cmap=colours, norm=LogNorm(1e-4, 1))
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=True, facecolor="white", edgecolor="crimson", lw=2
            )
        )
        ax.plot(*_staircase(row, column, shape[1]), ls=":", color="crimson", lw=1.2)
        _bare(ax, name)
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.85, aspect=18, pad=0.02, extend="min")
    bar.set_label("influence, as a share of the greatest", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def _staircase(row: int, column: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower edge of the pixels before this one in raster order."""
    x = np.array([-0.5, column - 0.5, column - 0.5, width - 0.5])
    y = np.array([row + 0.5, row + 0.5, row - 0.5, row - 0.5])
    return x, y


def _bare(ax: Axes, name: str) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("#cbd0d8")
    ax.set_title(name, fontsize=9, color=INK)
