"""Fan charts: what was, and the range of what may come, wider the further ahead."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError
from chainrule.report.files import INK, new_figure, save_figure

__all__ = ["save_fan_chart"]

#: Central intervals and how dark they are, the widest and lightest first.
_BANDS = ((0.95, 0.18), (0.8, 0.28), (0.5, 0.42))
_BLUE, _ORANGE = "#2b5fb3", "#d9782d"


def save_fan_chart(
    history: Any,
    paths: Any,
    path: str | PathLike[str],
    *,
    names: Sequence[str],
    times: Any = None,
    future_times: Any = None,
    truth: Any = None,
    title: str = "",
    time_name: str = "",
    overwrite: bool = False,
) -> Path:
    """A panel for each column: history, and the median and central 50, 80 and 95 % of its futures.

    - `history`: `(T, D)`; `paths`: `(num_paths, steps, D)`, equally probable futures; `names` of the columns.
    - `times`, `future_times`: of the steps, numbers or dates; counted from the first step unless given.
    - `truth`: `(steps, D)`, what came, where it is known. NaN leaves a gap.

    Raises `ChainruleError` for shapes that do not fit together, and for a file that is there already.
    """
    past, futures = _array(history), _array(paths)
    known = None if truth is None else _array(truth)
    columns = len(names)
    fits = past.ndim == 2 and futures.ndim == 3 and past.shape[1] == futures.shape[2] == columns
    if not fits or not len(past) or (known is not None and known.shape != futures.shape[1:]):
        raise ChainruleError(
            f"expected a history (T, D), paths (m, steps, D), a truth (steps, D) and D names, but got "
            f"{past.shape}, {futures.shape}, {None if known is None else known.shape} and {columns} names."
        )
    steps = futures.shape[1]
    before = np.arange(len(past)) if times is None else np.asarray(times)
    after = np.arange(len(past), len(past) + steps) if future_times is None else np.asarray(future_times)
    figure = new_figure(8.0, 1.2 + 2.3 * columns)
    for place, (ax, name) in enumerate(
        zip(figure.subplots(columns, 1, squeeze=False).flat, names, strict=True)
    ):
        # The fan opens at the last known value, so that nothing is left blank between the two.
        at = np.concatenate([before[-1:], after])
        spread = np.concatenate([np.full((len(futures), 1), past[-1, place]), futures[:, :, place]], axis=1)
        for level, alpha in _BANDS:
            low, high = np.quantile(spread, [0.5 - level / 2, 0.5 + level / 2], axis=0)
            ax.fill_between(at, low, high, color=_BLUE, alpha=alpha, lw=0, label=f"{100 * level:g} %")
        ax.plot(at, np.median(spread, axis=0), color=_BLUE, lw=1.8, label="median")
        ax.plot(before, past[:, place], color=INK, lw=1.3, label="history")
        if known is not None:
            ax.plot(after, known[:, place], color=_ORANGE, lw=1.5, label="what came")
        ax.set_ylabel(name, color=INK)
        ax.grid(True, color="#e6e9ee", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.margins(x=0.01)
        if place == 0:
            ax.legend(frameon=False, fontsize=8, ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0))
            ax.set_title(title, fontsize=11, color=INK, pad=24)
        if np.issubdtype(at.dtype, np.datetime64):
            _short_dates(ax)
        if place < columns - 1:
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel(time_name, color=INK)
    return save_figure(figure, path, overwrite=overwrite)


def _short_dates(ax: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _array(values: Any) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)
