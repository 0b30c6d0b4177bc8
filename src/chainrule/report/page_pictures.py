"""Pictures for the page of a run: reliability of probabilities, PIT histograms, waveforms, surprise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure

__all__ = [
    "Reliability",
    "reliability",
    "save_pit",
    "save_reliability",
    "save_surprise_over_time",
    "save_waveform",
]

_BLUE, _ORANGE = "#2b5fb3", "#d9782d"
_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities in bins: mean prediction, observed frequency, standard error and count, `(B,)`.

    Bins without a prediction are left out. `error` is the expected calibration error: the mean distance of
    the two, weighted by the counts.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.count))


def reliability(predicted: Any, happened: Any, *, bins: int = _BINS) -> Reliability:
    """Compare probabilities with how often what they are of happened.

    - `predicted`: probabilities; `happened`: 0 or 1 of the same shape. They are cut into bins of equal width.

    Raises `ChainruleError` for other shapes or values.
    """
    p = np.asarray(predicted, dtype=np.float64).ravel()
    y = np.asarray(happened, dtype=np.float64).ravel()
    if p.shape != y.shape or not p.size or not ((p >= 0) & (p <= 1)).all():
        raise ChainruleError(
            f"expected probabilities in [0, 1] and as many outcomes, but got shapes {p.shape} and {y.shape}."
        )
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    some = count > 0
    sums = np.bincount(place, weights=p, minlength=bins), np.bincount(place, weights=y, minlength=bins)
    mean, frequency = (total[some] / count[some] for total in sums)
    error = np.sqrt(np.maximum(frequency * (1 - frequency), 1e-12) / count[some])
    return Reliability(mean, frequency, error, count[some])


def save_reliability(
    found: Reliability, path: str | PathLike[str], *, title: str = "", what: str = "", overwrite: bool = False
) -> Path:
    """Observed frequency over predicted probability, the diagonal being right, and how many predictions.

    - `what`: of what the probabilities are, for the axis.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(5.6, 5.2)
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="#9aa3b0", lw=1.2, ls="--", label="calibrated")
    upper.errorbar(
        found.predicted,
        found.observed,
        yerr=2 * found.standard_error,
        fmt="o-",
        color=_BLUE,
        ms=5,
        lw=1.4,
        capsize=3,
        label="observed, ± 2 standard errors",
    )
    upper.set_ylabel("observed frequency", color=INK)
    upper.set_xlim(-0.02, 1.02)
    upper.set_ylim(-0.02, 1.02)
    upper.legend(frameon=False, fontsize=9)
    upper.set_title(title, fontsize=11, color=INK)
    lower.bar(found.predicted, found.count, width=0.04, color=_BLUE, alpha=0.75)
    lower.set_yscale("log")
    lower.yaxis.set_minor_formatter(NullFormatter())
    lower.yaxis.set_major_locator(LogLocator(numticks=3))
    lower.set_ylabel("count", color=INK)
    lower.set_xlabel(f"predicted probability{f' of {what}' if what else ''}", color=INK)
    for ax in (upper, lower):
        _plain(ax)
    return save_figure(figure, path, overwrite=overwrite)


def save_pit(
    groups: Mapping[str, Any], path: str | PathLike[str], *, title: str = "", overwrite: bool = False
) -> Path:
    """Histograms of the probability integral transform, which is flat where a model is calibrated.

    - `groups`: name -> values in [0, 1]; a panel for each.
    """
    wide = min(3, len(groups))
    tall = -(-len(groups) // wide)
    figure = new_figure(3.2 * wide + 0.4, 2.4 * tall + 0.6)
    axes = figure.subplots(tall, wide, squeeze=False)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    for ax, (name, values) in zip(axes.flat, groups.items(), strict=False):
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        bins = 10 if len(known) < 1000 else 20
        ax.hist(known, np.linspace(0, 1, bins + 1).tolist(), density=True, color=_BLUE, alpha=0.75)
        # Where it is calibrated, a bin's share is binomial.
        spread = 2 * np.sqrt(bins / max(len(known), 1))
        ax.axhspan(1 - spread, 1 + spread, color="#9aa3b0", alpha=0.3, lw=0)
        ax.axhline(1, color="#5b6472", lw=1, ls="--")
        ax.set_title(name, fontsize=9, color=INK)
        _plain(ax)
    figure.suptitle(title, fontsize=11, color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def save_waveform(
    samples: Any, rate: int, path: str | PathLike[str], *, title: str = "", overwrite: bool = False
) -> Path:
    """A sound's amplitude over time."""
    values = np.asarray(samples, dtype=np.float64)
    figure = new_figure(7.2, 2.4)
    ax = figure.subplots()
    ax.plot(np.arange(len(values)) / rate, values, color=_BLUE, lw=0.6)
    _labelled(ax, title, "seconds", "amplitude")
    return save_figure(figure, path, overwrite=overwrite)


def save_surprise_over_time(
    surprise: Any,
    path: str | PathLike[str],
    *,
    times: Any = None,
    title: str = "",
    x_label: str = "step",
    unit: str = "nats",
    overwrite: bool = False,
) -> Path:
    """The surprise of every step of a sequence; its running mean on top where there are many."""
    values = np.asarray(surprise, dtype=np.float64)
    at = np.arange(len(values)) if times is None else np.asarray(times)
    figure = new_figure(7.2, 2.8)
    ax = figure.subplots()
    ax.plot(at, values, color=_BLUE, lw=0.7, alpha=0.6)
    window = len(values) // 60
    if window > 2:
        smooth = np.convolve(np.nan_to_num(values), np.ones(window) / window, mode="same")
        ax.plot(at, smooth, color=_ORANGE, lw=1.5, label=f"mean over {window} steps")
        ax.legend(frameon=False, fontsize=9)
    _labelled(ax, title, x_label, f"surprise, {unit}")
    figure.autofmt_xdate() if np.issubdtype(at.dtype, np.datetime64) else None
    return save_figure(figure, path, overwrite=overwrite)


def _labelled(ax: Any, title: str, x_label: str, y_label: str) -> None:
    ax.set_title(title, fontsize=11, color=INK)
    ax.set_xlabel(x_label, color=INK)
    ax.set_ylabel(y_label, color=INK)
    _plain(ax)


def _plain(ax: Any) -> None:
    ax.grid(True, color="#e6e9ee", lw=0.8)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
