"""Pictures of a guarded classifier: likelihoods of clean and attacked images, ROC curves, examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure
from chainrule.report.fillings import as_array
from chainrule.report.grid import as_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "AttackExample",
    "roc_band",
    "roc_curve",
    "save_attack_examples",
    "save_densities",
    "save_roc_curves",
]

_Floats = NDArray[np.float64]

#: Colours of Okabe and Ito (2008), told apart by people who see fewer of them; line styles help.
_COLOURS = (INK, "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a6d00", "#7b5bb5")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), "-")
_GRID = 201
_RESAMPLES = 200


def save_densities(
    groups: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    x_label: str = "bits per dimension",
    threshold: float | None = None,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """The distribution of a number in several groups, as smooth curves one over the other.

    - `groups`: name -> values, `(N,)`; the first is filled. Kernel densities with Gaussian kernels, whose
      width is Silverman's rule; infinite values are left out.
    - `threshold`: a line where alarms begin.

    Raises `ChainruleError` where a group has no finite value, and for a file that is there already.
    """
    series = {name: _finite(values) for name, values in groups.items()}
    empty = [name for name, values in series.items() if not len(values)]
    if empty or not series:
        raise ChainruleError(f"there is nothing to draw of {', '.join(empty) or 'no groups'}.")
    together = np.concatenate(list(series.values()))
    reach = max(float(np.ptp(together)), 1e-6)
    widths = {name: _kernel_width(values, reach) for name, values in series.items()}
    margin = 3 * max(widths.values())
    at = np.linspace(together.min() - margin, together.max() + margin, 400)
    figure = new_figure(7.2, 4.2)
    ax = figure.subplots()
    for index, (name, values) in enumerate(series.items()):
        distance = (at[:, None] - values) / widths[name]
        density = np.exp(-0.5 * distance**2).mean(1) / (widths[name] * np.sqrt(2 * np.pi))
        if index == 0:
            ax.fill_between(at, density, color=_colour(index), alpha=0.15, lw=0)
        ax.plot(at, density, color=_colour(index), ls=_style(index), lw=1.8, label=name)
    if threshold is not None:
        ax.axvline(threshold, color="#b3123b", lw=1.2, label="alarm beyond")
    ax.set_ylim(bottom=0)
    _plain(ax, title, x_label, "density")
    ax.legend(frameon=False, fontsize=9)
    return save_figure(figure, path, overwrite=overwrite)


def roc_curve(clean: Any, odd: Any) -> tuple[_Floats, _Floats]:
    """False-alarm rates and detection rates of all thresholds, both rising from 0 to 1.

    - `clean`, `odd`: scores, low for odd ones; an alarm is a score at the threshold or below.
    """
    usual, strange = (np.sort(np.asarray(scores, dtype=np.float64)) for scores in (clean, odd))
    at = np.unique(np.concatenate([usual, strange]))
    rates = (
        np.concatenate([[0.0], np.searchsorted(scores, at, side="right") / len(scores)])
        for scores in (usual, strange)
    )
    false, caught = rates
    return false, caught


def roc_band(
    clean: Any, odd: Any, *, generator: np.random.Generator, resamples: int = _RESAMPLES
) -> tuple[_Floats, _Floats, _Floats]:
    """A pointwise 95 % band of the curve: false-alarm rates, lowest and highest detection rates.

    Percentiles over bootstrap resamples, drawn within each kind.
    """
    usual, strange = np.asarray(clean, dtype=np.float64), np.asarray(odd, dtype=np.float64)
    grid = np.linspace(0, 1, _GRID)
    curves = []
    for _ in range(resamples):
        false, caught = roc_curve(
            usual[generator.integers(len(usual), size=len(usual))],
            strange[generator.integers(len(strange), size=len(strange))],
        )
        curves.append(np.interp(grid, false, caught))
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return grid, low, high


def save_roc_curves(
    clean: Any,
    groups: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    labels: Mapping[str, str] | None = None,
    operating: float | None = None,
    seed: int = 0,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Detection rate over false-alarm rate, a curve with its 95 % band for each group of odd examples.

    - `clean`, `groups`: scores, low for odd ones; `labels`: what the legend says of a group.
    - `operating`: the false-alarm rate of the threshold in use, as a line.
    - `seed`: of the bootstrap behind the bands.
    """
    figure = new_figure(6.4, 5.4)
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], color="#9aa3b0", lw=1, ls=":", label="chance")
    for index, (name, scores) in enumerate(groups.items(), start=1):
        false, caught = roc_curve(clean, scores)
        grid, low, high = roc_band(clean, scores, generator=np.random.default_rng(seed))
        ax.fill_between(grid, low, high, color=_colour(index), alpha=0.13, lw=0)
        ax.plot(
            false,
            caught,
            color=_colour(index),
            ls=_style(index),
            lw=1.8,
            label=(labels or {}).get(name, name),
        )
    if operating is not None:
        ax.axvline(operating, color="#b3123b", lw=1.2, label="threshold in use")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    _plain(ax, title, "false-alarm rate", "detection rate")
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    return save_figure(figure, path, overwrite=overwrite)


@dataclass(frozen=True)
class AttackExample:
    """A row of `save_attack_examples`.

    - `clean`, `attacked`, `purified`: `(H, W)` or `(C, H, W)`, values in [0, 1]; `bits`: surprise of each
      pixel of the attacked image, `(H, W)`.
    - `words`: what is written above the three, such as the label that was read.
    """

    name: str
    clean: Any
    attacked: Any
    purified: Any
    bits: Any
    words: tuple[str, str, str]


def save_attack_examples(
    examples: Sequence[AttackExample], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """A row for each example: clean, attacked, purified, difference, and where the attacked one surprises.

    The difference is attacked minus clean, red where brighter, over all channels; its colours reach to the
    greatest change of any row, those of surprise to its greatest but for the last thousandth.
    """
    if not examples:
        raise ChainruleError("there is no example to draw.")
    changes = [_mean_channel(example.attacked) - _mean_channel(example.clean) for example in examples]
    furthest = max(max(float(np.abs(change).max()) for change in changes), 1e-6)
    bits = [as_array(example.bits).astype(np.float64) for example in examples]
    top = max(float(np.quantile(np.concatenate([part.ravel() for part in bits]), 0.999)), 0.1)
    figure = new_figure(7.2, 1.62 * len(examples) + 0.6)
    # The last row holds the scales, so that those of two columns do not shrink them beside the others.
    axes = figure.subplots(len(examples) + 1, 5, height_ratios=[*[1.0] * len(examples), 0.07])
    for ax in axes[-1, :3]:
        ax.set_axis_off()
    for row, example, change, surprise in zip(axes[:-1], examples, changes, bits, strict=True):
        shown = (example.clean, example.attacked, example.purified)
        for ax, image, words in zip(row[:3], shown, example.words, strict=True):
            ax.imshow(as_images(np.asarray(_three(image))[None])[0], interpolation="nearest")
            _bare(ax, words)
        row[0].set_ylabel(example.name, fontsize=10, color=INK)
        moved = row[3].imshow(change, cmap="RdBu_r", vmin=-furthest, vmax=furthest, interpolation="nearest")
        _bare(row[3], "difference")
        told = row[4].imshow(surprise, cmap="YlOrRd", vmin=0, vmax=top, interpolation="nearest")
        _bare(row[4], f"surprise {surprise.sum():.0f} bits")
    for place, drawn, label in ((3, moved, "share of the range"), (4, told, "bits per pixel")):
        bar = figure.colorbar(drawn, cax=axes[-1, place], orientation="horizontal")
        bar.set_label(label, color=INK, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return save_figure(figure, path, overwrite=overwrite)


def _three(image: Any) -> NDArray[Any]:
    values = as_array(image)
    return values[None] if values.ndim == 2 else values


def _mean_channel(image: Any) -> _Floats:
    mean: _Floats = _three(image).astype(np.float64).mean(0)
    return mean


def _finite(values: Any) -> _Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _kernel_width(values: _Floats, reach: float) -> float:
    """Silverman's rule of thumb; a hundredth of what is shown where all values are alike."""
    low, high = np.percentile(values, [25, 75])
    deviation = float(values.std())
    spread = min(deviation, float(high - low) / 1.349) or deviation
    return max(0.9 * spread / math.pow(len(values), 0.2), 0.005 * reach)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _style(index: int) -> Any:
    return _STYLES[index % len(_STYLES)]


def _bare(ax: Axes, words: str) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("#cbd0d8")
    ax.set_title(words, fontsize=8.5, color=INK)


def _plain(ax: Any, title: str, x_label: str, y_label: str) -> None:
    ax.set_title(title, fontsize=11, color=INK)
    ax.set_xlabel(x_label, color=INK)
    ax.set_ylabel(y_label, color=INK)
    ax.grid(True, color="#e6e9ee", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
