"""Curves and comparisons: learning, models side by side, distributions of log-likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure

__all__ = ["save_comparison", "save_histograms", "save_learning_curve"]

_BLUE, _ORANGE = "#2b5fb3", "#d9782d"
_COLOURS = (_BLUE, _ORANGE, "#3a9a6b", "#8a5bb5", "#b33b4a")


def save_learning_curve(
    metrics: Sequence[Mapping[str, Any]],
    path: str | PathLike[str],
    *,
    title: str = "",
    num_variables: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Training loss and validation NLL by epoch, the selected epoch marked.

    - `metrics`: the records of `Run.metrics()`, nats per example.
    - `num_variables`: n, for a second axis in bits per dimension.

    Raises `ChainruleError` if no record has a validation NLL, and for a file that is there already.
    """
    validated = [(r["epoch"], r["validation_nll"]) for r in metrics if "validation_nll" in r]
    if not validated:
        raise ChainruleError("there is no validated epoch to draw a learning curve of.")
    trained = [(r["epoch"], r["train_loss"]) for r in metrics if "train_loss" in r]
    figure = new_figure(7.2, 4.4)
    ax = figure.subplots()
    if trained:
        ax.plot(*zip(*trained, strict=True), color=_BLUE, lw=1.4, label="training loss")
    ax.plot(*zip(*validated, strict=True), color=_ORANGE, lw=2, label="validation NLL (averaged weights)")
    epoch, best = min(validated, key=lambda pair: pair[1])
    ax.plot([epoch], [best], "o", color=_ORANGE, ms=7, label=f"selected: {best:.2f} nats, epoch {epoch}")
    _focus(ax, [value for _, value in (*trained, *validated)], best)
    _decorate(ax, title or "Learning curve", "epoch", "nats per example")
    ax.legend(frameon=False, fontsize=9)
    if num_variables:
        per_dim = num_variables * math.log(2)
        second = ax.secondary_yaxis("right", functions=(_divided_by(per_dim), _divided_by(1 / per_dim)))
        second.set_ylabel("bits per dimension", color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def save_comparison(
    results: Sequence[tuple[str, float, float]],
    path: str | PathLike[str],
    *,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Models side by side: (name, NLL in nats, its standard error), a dot and two errors each way."""
    figure = new_figure(7.2, 1.3 + 0.42 * len(results))
    ax = figure.subplots()
    names, values, errors = zip(*results, strict=True)
    rows = list(range(len(results)))[::-1]
    ax.errorbar(values, rows, xerr=[2 * e for e in errors], fmt="o", color=_BLUE, ms=7, capsize=4, lw=1.6)
    for row, value in zip(rows, values, strict=True):
        ax.annotate(f"{value:.2f}", (value, row), (0, 9), textcoords="offset points", ha="center", fontsize=9)
    ax.set_yticks(rows, names)
    ax.set_ylim(-0.6, len(results) - 0.3)
    ax.margins(x=0.12)
    _decorate(ax, title, "test NLL, nats per example (lower is better); bars: ± 2 standard errors", "")
    return save_figure(figure, path, overwrite=overwrite)


def save_histograms(
    groups: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    threshold: float | None = None,
    title: str = "",
    overwrite: bool = False,
) -> Path:
    """Distributions of log p(x) of several groups of examples, and a threshold between them.

    - `groups`: name -> log-likelihoods in nats, `(N,)`.
    """
    import numpy as np

    series = {name: np.asarray(values, dtype=np.float64) for name, values in groups.items()}
    together = np.concatenate(list(series.values()))
    edges = np.linspace(together.min(), together.max(), 61).tolist()
    figure = new_figure(7.2, 4.0)
    ax = figure.subplots()
    for (name, values), colour in zip(series.items(), _COLOURS, strict=False):
        weights = np.full(len(values), 100 / len(values))
        ax.hist(values, edges, weights=weights, color=colour, alpha=0.75, label=name)
    if threshold is not None:
        ax.axvline(threshold, color=INK, ls="--", lw=1.3, label=f"threshold {threshold:.1f} nats")
    _decorate(ax, title, "log p(x), nats", "share of the group, %")
    ax.legend(frameon=False, fontsize=9)
    return save_figure(figure, path, overwrite=overwrite)


def _divided_by(number: float) -> Callable[[Any], Any]:
    return lambda values: values / number


def _focus(ax: Any, values: Sequence[float], best: float) -> None:
    """Cut the first epochs off where they would press the rest of the curve flat."""
    finite = sorted(value for value in values if math.isfinite(value))
    top = finite[int(0.9 * (len(finite) - 1))]
    if len(finite) > 10 and finite[-1] - best > 3 * (top - best) > 0:
        low = finite[0]
        ax.set_ylim(low - 0.06 * (top - low), top)


def _decorate(ax: Any, title: str, x_label: str, y_label: str) -> None:
    ax.set_title(title, fontsize=11, color=INK)
    ax.set_xlabel(x_label, color=INK)
    ax.set_ylabel(y_label, color=INK)
    ax.grid(True, color="#e6e9ee", lw=0.8)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
