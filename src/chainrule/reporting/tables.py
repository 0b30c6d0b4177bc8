"""The page of a run on a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from chainrule.model import AutoregressiveModel
from chainrule.report.page import Section, table
from chainrule.reporting.calibration import calibration_section
from chainrule.reporting.common import likelihood_section
from chainrule.tabular import TableModel

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["table_sections"]

#: Rows of each part that are scored, unless told otherwise; rows and columns that are shown.
_ROWS, _SHOWN_ROWS, _SHOWN_COLUMNS = 2000, 8, 40


def table_sections(
    model: TableModel, fitted: DataFrame, held: DataFrame | None, *, rows: int = _ROWS, seed: int = 0
) -> tuple[list[Section], list[tuple[str, object]]]:
    """Likelihood, surprise by column, synthetic rows and calibration; and facts for the overview.

    - `fitted`: rows that it was fitted to; `held`: rows that were kept back, or None where there are none.
    """
    parts = {"rows fitted to": _some(fitted, rows, seed)}
    if held is not None and len(held):
        parts["rows kept back"] = _some(held, rows, seed)
    groups = {name: model.log_prob(frame) for name, frame in parts.items()}
    what, frame = list(parts.items())[-1]
    nll = -groups[what]
    error = nll.std(ddof=1) / math.sqrt(len(nll)) if len(nll) > 1 else math.nan
    overview: list[tuple[str, object]] = [
        ("NLL", f"{nll.mean():.3f} ± {error:.3f} nats a row in the columns' units ({len(nll):,} {what})"),
        ("columns", len(model.schema.columns)),
    ]
    words = "Densities of numbers are per unit of their column, so log p may be above 0."
    sections = [likelihood_section(groups, "row", words), _synthetic(model, seed)]
    if isinstance(model.model, AutoregressiveModel):
        sections.insert(1, _by_column(model, frame))
        values = torch.from_numpy(model.schema.encode(frame))
        names = {place: str(name) for place, name in enumerate(model.schema.names)}
        sections += calibration_section(model.model, values, None, names=names)
    return sections, overview


def _some(frame: DataFrame, rows: int, seed: int) -> DataFrame:
    return frame if len(frame) <= rows else frame.sample(rows, random_state=seed)


def _by_column(model: TableModel, frame: DataFrame) -> Section:
    surprise = -model.log_prob_per_column(frame).mean(0)
    described = model.schema.describe().astype(str)
    lines = [
        (row["column"], row["kind"], row["values"], row["modelled as"], f"{nats:.3f}")
        for (_, row), nats in zip(described.iterrows(), surprise, strict=True)
    ]
    columns = ("column", "kind", "values", "modelled as", ">surprise, nats")
    caption = "Mean surprise of each column given those before it"
    return Section("Surprise by column", table(columns, lines, caption=caption))


def _synthetic(model: TableModel, seed: int) -> Section:
    frame = model.sample(_SHOWN_ROWS, seed=seed)
    names = [str(name) for name in frame.columns[:_SHOWN_COLUMNS]]
    rows = [[str(cell) for cell in row[: len(names)]] for row in frame.itertuples(index=False, name=None)]
    caption = f"{_SHOWN_ROWS} synthetic rows, not chosen, seed {seed}"
    return Section("Samples", table([f">{name}" for name in names], rows, caption=caption, head=False))
