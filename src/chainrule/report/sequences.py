"""Pictures of sequence models: what a prediction looks back at, and how far back a model can learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure

__all__ = ["save_attention", "save_gradient_norms"]

_MOST_LABELS = 80
_COLOURS = ("#2b5fb3", "#d9782d", "#3a9a6b", "#8a5bb5", "#b33b4a")


def save_attention(
    weights: Any,
    path: str | PathLike[str],
    *,
    tokens: Sequence[str] = (),
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Attention weights as a map: a row for each prediction, a column for each place that it looks at.

    - `weights`: `(n, n)` of one example, or `(heads, n, n)`, a map for each head.
    - `tokens`: what stands at each place, n labels; at most 80 are shown.

    Raises `ChainruleError` for other shapes, another number of tokens, and for a file that is there already.
    """
    maps = _array(weights)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or maps.size == 0 or maps.shape[1] != maps.shape[2]:
        raise ChainruleError(f"expected weights of shape (n, n) or (heads, n, n), but got {maps.shape}.")
    count, n = maps.shape[:2]
    if tokens and len(tokens) != n:
        raise ChainruleError(f"there are {len(tokens)} tokens for {n} places; give one for each.")
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    size = min(max(0.2 * n, 3.2), 9.0) if count == 1 else 3.2
    figure = new_figure(size * across + 1.2, size * down + 0.7)
    cells = figure.subplots(down, across, squeeze=False)
    top = float(maps.max()) or 1.0
    for index, ax in enumerate(cells.flat):
        if index >= count:
            ax.set_visible(False)
            continue
        drawn = ax.imshow(maps[index], cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        if count > 1:
            ax.set_title(f"head {index}", fontsize=9, color=INK)
        if tokens and n <= _MOST_LABELS:
            names = [_shown(token) for token in tokens]
            ax.set_xticks(range(n), names, rotation=90, fontsize=7)
            ax.set_yticks(range(n), names, fontsize=7)
        ax.set_xlabel("looked at", color=INK, fontsize=9)
        ax.set_ylabel("predicted", color=INK, fontsize=9)
    bar = figure.colorbar(drawn, ax=cells.ravel().tolist(), shrink=0.8, pad=0.02)
    bar.set_label("weight", color=INK, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def save_gradient_norms(
    norms: Mapping[str, Any], path: str | PathLike[str], *, title: str = "", overwrite: bool = False
) -> Path:
    """How large gradients are, lag by lag, on a logarithmic scale: a curve for each model.

    - `norms`: name -> `gradient_norms(model, x)`, whose entry k is lag k.

    Zeros, where nothing is heard of, end a curve. Raises `ChainruleError` where there is nothing to draw, and
    for a file that is there already.
    """
    curves = {name: _array(values) for name, values in norms.items()}
    if not curves or any(curve.ndim != 1 or not (curve[1:] > 0).any() for curve in curves.values()):
        raise ChainruleError("expected the gradient norms of at least one model, by lag, not all of them 0.")
    figure = new_figure(7.2, 4.2)
    ax = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        lags = np.arange(1, len(curve))
        ax.plot(lags, np.where(curve[1:] > 0, curve[1:], np.nan), color=_colour(index), lw=1.8, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("lag k", color=INK)
    ax.set_ylabel(r"mean $\|\,\partial \log p(x_t)\,/\,\partial e_{t-k}\|$", color=INK)
    ax.set_title(title or "Gradients by lag", fontsize=11, color=INK)
    ax.grid(True, color="#e6e9ee", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    return save_figure(figure, path, overwrite=overwrite)


def _array(values: Any) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _shown(token: str) -> str:
    """A token that leaves a mark: blanks and line ends get one, and `$` is not read as mathematics."""
    return token.replace("$", r"\$").replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·")
