"""Paths that go on from a history, drawn step by step, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.arguments import real_number
from chainrule.errors import ChainruleError
from chainrule.models.sequence import Passage, SequenceModel
from chainrule.series.schema import SeriesSchema

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CHUNK", "Forecast", "first_hole", "last_known", "read_on", "refuse_nothing", "roll_out"]

Values = NDArray[np.float64]

#: Values that are read in one go: bounds memory, and changes nothing else.
CHUNK = 4096


@dataclass(frozen=True)
class Forecast:
    """Sampled futures of a series.

    - `paths`: `(num_paths, steps, D)` float64 in the columns' units; `times`: of the steps; `names`.
    """

    paths: Values
    times: Any
    names: tuple[str, ...]
    time_name: str

    def quantile(self, level: float | Sequence[float]) -> Values:
        """Quantiles over the paths: `(steps, D)`, or `(levels, steps, D)` for several.

        Raises `ChainruleError` for a level outside 0..1.
        """
        for one in [level] if isinstance(level, int | float) else level:
            real_number("level", one, above=0.0, below=1.0)
        return np.asarray(np.quantile(self.paths, level, axis=0, method="weibull"))

    def to_frame(self, levels: Sequence[float] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)) -> DataFrame:
        """A row for each step: its time, and of each column the mean and quantiles (`x_mean`, `x_q0.5`)."""
        import pandas as pd

        columns: dict[str, Any] = {self.time_name: self.times}
        quantiles = self.quantile(list(levels))
        for place, name in enumerate(self.names):
            columns[f"{name}_mean"] = self.paths[:, :, place].mean(0)
            for level, values in zip(levels, quantiles, strict=True):
                columns[f"{name}_q{level:g}"] = values[:, place]
        return pd.DataFrame(columns)

    def paths_frame(self) -> DataFrame:
        """A row for each step of each path: `path`, the time, the columns (`path_` if one is called so)."""
        import pandas as pd

        count, steps, _ = self.paths.shape
        columns: dict[str, Any] = {
            "path": np.repeat(np.arange(count), steps),
            self.time_name: np.tile(np.asarray(self.times), count),
        }
        for place, name in enumerate(self.names):
            columns[f"{name}_" if name == "path" else name] = self.paths[:, :, place].reshape(-1)
        return pd.DataFrame(columns)


def read_on(model: SequenceModel, z: Values, passage: Passage | None = None) -> tuple[Values, Passage | None]:
    """Read steps `(T, D)`: log p(z) of every value given all before it, nats, `(T, D)`, and where one stands.

    The passage handed in is used up.
    """
    if not len(z):
        return np.zeros_like(z), passage
    reference, found = model._reference, []
    flat = torch.from_numpy(np.ascontiguousarray(z)).reshape(1, -1)
    for piece in torch.split(flat, CHUNK, dim=1):
        log_prob, passage = model.go_on(piece.to(reference), passage)
        found.append(log_prob.double().cpu())
    return torch.cat(found, dim=1).reshape(z.shape).numpy(), passage


def roll_out(
    model: SequenceModel,
    schema: SeriesSchema,
    passage: Passage | None,
    rows: Values,
    last: Values,
    num_paths: int,
    generator: torch.Generator,
) -> Values:
    """Go on from a passage, `num_paths` times: known values are read, missing ones are drawn.

    - `passage`: what came before; None for nothing. It stays usable, its state is copied.
    - `rows`: `(k, D)` in the columns' units, NaN where to draw.
    - `last`: the last known value of each column, `(D,)`.

    What is drawn is there: p(x | the past, x is not missing). Returns `(num_paths, k, D)`.
    """
    reference, family = model._reference, model.conditional
    state, previous = _copies(model, passage, num_paths)
    known_last = np.repeat(last[None].astype(np.float64), num_paths, axis=0)  # (paths, D)
    found = np.empty((num_paths, *rows.shape))
    for step, row in enumerate(rows):
        for place, column in enumerate(schema.columns):
            before = known_last[:, place] if column.difference else 0.0
            if previous is None:
                params, state = model.read(state, model._no_values(state), begin=True)
            else:
                params, state = model.read(state, previous)
            if np.isnan(row[place]):
                noise = torch.rand(
                    (num_paths, family.num_noise), generator=generator, dtype=reference.dtype
                ).to(reference)
                drawn = family.sample_present(params[:, -1].to(reference.dtype), noise)
                x = column.transform.inverse(drawn.double().cpu().numpy()) + before
            else:
                x = np.full(num_paths, row[place])
                drawn = torch.from_numpy(column.transform.forward(x - before)).to(reference)
            previous = drawn[:, None]
            found[:, step, place] = known_last[:, place] = x
    return found


def _copies(model: SequenceModel, passage: Passage | None, count: int) -> tuple[Any, Tensor | None]:
    if passage is None:
        return model.init_state(count), None
    rows = torch.zeros(count, dtype=torch.long, device=passage.last.device)
    return model.select_state(passage.state, rows), passage.last[rows]


def last_known(values: Values) -> Values:
    """The last value of each column `(T, D)` that is not missing, `(D,)`; NaN where there is none."""
    found = np.full(values.shape[1], np.nan)
    for place in range(values.shape[1]):
        present = np.flatnonzero(~np.isnan(values[:, place]))
        if len(present):
            found[place] = values[present[-1], place]
    return found


def first_hole(values: Values) -> int:
    """The first step `(T, D)` with a missing value; T where there is none."""
    holes = np.isnan(values).any(1)
    return int(np.argmax(holes)) if holes.any() else len(values)


def refuse_nothing(values: Values) -> None:
    """Raise `ChainruleError` for a history in which nothing is known."""
    if not len(values) or np.isnan(values).all():
        raise ChainruleError("the history has no value; expected at least one known step to go on from.")
