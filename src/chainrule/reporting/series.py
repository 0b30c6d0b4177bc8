"""The page of a run on a time series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chainrule.report import save_fan_chart
from chainrule.report.page import Section, drawn, paragraph, table
from chainrule.report.page_pictures import save_pit, save_surprise_over_time
from chainrule.reporting.calibration import pit_values
from chainrule.reporting.common import likelihood_section
from chainrule.series import SeriesModel, evaluate_series, part_steps

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["series_sections"]

_PATHS, _ORIGINS, _HORIZON = 200, 20, 24
#: Columns that are shown; windows whose conditionals are looked at.
_COLUMNS, _WINDOWS = 6, 200


def series_sections(
    model: SeriesModel, frame: DataFrame, *, seed: int = 0
) -> tuple[list[Section], list[tuple[str, object]]]:
    """Likelihood, a forecast, surprise over time and calibration; and facts for the overview."""
    found = evaluate_series(model, frame, part="test", origins=_ORIGINS, num_paths=_PATHS, seed=seed)
    overview: list[tuple[str, object]] = [
        ("NLL", f"{found.nll:.4f} ± {found.standard_error:.4f} nats a step (last {found.steps:,} steps)"),
        ("columns", ", ".join(model.schema.names)),
        ("a step", model.schema.axis.described),
    ]
    if found.naive_nll is not None:
        overview.append(("", f"a random walk: {found.naive_nll:.4f} nats a step"))
    series = model.schema.read(frame)
    scored = model.log_prob_of(series).sum(1)
    groups = {name: scored[list(part_steps(len(series), name))] for name in ("train", "test")}
    groups = {name: values[~np.isnan(values)] for name, values in groups.items()}
    words = "Each step given all before it, in the columns' units."
    return [
        likelihood_section(groups, "step", words),
        _forecast(model, series, found.horizon, seed),
        _surprise(model, series, scored),
        _calibration(model, series, found),
    ], overview


def _forecast(model: SeriesModel, series: Any, horizon: int, seed: int) -> Section:
    origin = part_steps(len(series), "test").start
    (paths,) = model.paths_from(series, [origin], horizon, num_paths=_PATHS, seed=seed)
    before = max(0, origin - 4 * horizon)
    names = model.schema.names[:_COLUMNS]
    width = len(names)
    shown = drawn(
        lambda path: save_fan_chart(
            series.values[before:origin, :width],
            paths[..., :width],
            path,
            names=names,
            times=np.arange(before, origin),
            future_times=np.arange(origin, origin + horizon),
            truth=series.values[origin : origin + horizon, :width],
            time_name="step",
        ),
        f"Fan charts of {', '.join(names)}: history, central intervals of {horizon} steps, and what came",
        caption=f"{_PATHS} sampled futures of the first {horizon} steps of the test part, seed {seed}.",
    )
    return Section("Forecast", shown)


def _surprise(model: SeriesModel, series: Any, scored: Any) -> Section:
    shown = drawn(
        lambda path: save_surprise_over_time(-scored, path, x_label="step"),
        f"Surprise of each of {len(scored):,} steps given all before it",
    )
    return Section("Surprise", shown)


def _calibration(model: SeriesModel, series: Any, found: Any) -> Section:
    rows = [
        (
            f"{100 * level:g} %",
            f"{100 * found.coverage[level]:.1f} %",
            f"{100 * found.naive_coverage[level]:.1f} %",
        )
        for level in found.coverage
    ]
    columns = ("interval", ">holds the truth", ">of a random walk's")
    caption = f"Forecasts of {found.horizon} steps from {found.origins} places of the test part"
    parts = [table(columns, rows, caption=caption)]
    pits = _pits(model, series)
    if pits:
        parts.append(
            drawn(
                lambda path: save_pit(pits, path, title="One step ahead (PIT)"),
                f"Histograms of the probability integral transform of {', '.join(pits)}; flat is calibrated",
                caption="Flat is calibrated; high at both ends: too narrow a spread was predicted.",
            )
        )
    parts.append(paragraph("An interval that is right holds the truth as often as it says."))
    return Section("Calibration", "".join(parts))


@torch.no_grad()
def _pits(model: SeriesModel, series: Any) -> dict[str, Any]:
    """Of windows of the part after training, read as training reads them; their first half is lead-in."""
    network = model.model
    z, lead = model.schema.encode(series)
    values = torch.from_numpy(z[max(0, part_steps(len(series), "validation").start - lead) :]).to(
        network._reference
    )
    length = network.event_shape[0]
    if len(values) < length:
        return {}
    windows = values.unfold(0, length, max(1, length // 2)).transpose(1, 2)[:_WINDOWS]
    params = network(windows, None).to(windows.dtype)
    half = length // 2
    found = {}
    for place, name in enumerate(model.schema.names[:_COLUMNS]):
        pit = pit_values(network.conditional, params[:, half:, place], windows[:, half:, place])
        if pit is not None:
            found[name] = pit
    return found
