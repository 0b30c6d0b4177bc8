"""`SeriesModel`: a sequence model together with what its columns are, used on tables with a time column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.errors import ChainruleError
from chainrule.loading import load as load_model
from chainrule.models.sequence import Passage, SequenceModel
from chainrule.series.forecasting import Forecast, first_hole, last_known, read_on, refuse_nothing, roll_out
from chainrule.series.schema import SeriesSchema, TimeSeries, checked_frame

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SeriesModel"]

Values = NDArray[np.float64]


class SeriesModel:
    """An exact distribution of a time series with several columns.

    - `schema`: times, columns and their scales.
    - `model`: a `SequenceModel` of events `(length, D)` that can go on for any length. It reads the columns
      of a step one after another, each given all before it, also those of the same step.

    Log-densities are in nats, those of a column in the column's own units. Steps that lead, before each
    differenced column has had a value, are given: their log-densities are NaN.

    Raises `ChainruleError` for a model that is of other columns, or has no other length.
    """

    def __init__(self, schema: SeriesSchema, model: SequenceModel) -> None:
        columns = len(schema.columns)
        if not isinstance(model, SequenceModel) or model.event_shape[1:] != (columns,):
            raise ChainruleError(
                f"the series has {columns} columns, but the model is a {type(model).__name__} of examples of "
                f"shape {model.event_shape}."
            )
        if model.context_limit is not None:
            raise ChainruleError(
                f"this {type(model).__name__} looks at no more than {model.context_limit} values; make it "
                'with a window, and positions="rotary".'
            )
        if schema.missing != model.conditional.has_missing:
            raise ChainruleError(
                "the schema and the model differ in whether missing values are a state of their own."
            )
        self.schema, self.model = schema, model.eval()

    # ---------------------------------------------------------------- likelihood

    def log_prob(self, frame: DataFrame) -> Values:
        """log p of every step given all before it, nats in the columns' units, `(T,)`; NaN for leading ones.

        T counts steps, also those that the table has no row for. The mean of its negative is the NLL in nats
        per step. Raises `ChainruleError` as `SeriesSchema.read` does, and for missing values where the model
        knows no such state.
        """
        return np.asarray(self.log_prob_per_column(frame).sum(1))

    def log_prob_per_column(self, frame: DataFrame) -> Values:
        """log p of every value given all before it, nats, `(T, D)`; of a missing one log P(it is missing)."""
        return self.log_prob_of(self.schema.read(frame))

    @torch.no_grad()
    def log_prob_of(self, series: TimeSeries) -> Values:
        """The same of a series that was read already."""
        self.schema.check_missing(series)
        z, lead = self.schema.encode(series)
        found = np.full(series.values.shape, np.nan)
        found[lead:] = read_on(self.model, z)[0]
        # A probability of being missing has no units.
        found[lead:] += np.where(np.isnan(z), 0.0, self.schema.log_slopes)
        return found

    def anomaly_scores(self, frame: DataFrame) -> DataFrame:
        """A row for each step: its time, `score` = -log p(step | all before it), and `score_NAME` by column.

        The greater, the odder; nats in the columns' units, so scores may be below 0. The parts add up to the
        score. NaN for leading steps.
        """
        import pandas as pd

        series = self.schema.read(frame)
        surprise = -self.log_prob_of(series)
        columns = {self.time_name: series.times, "score": surprise.sum(1)}
        for place, name in enumerate(self.schema.names):
            columns[f"score_{name}"] = surprise[:, place]
        return pd.DataFrame(columns)

    # ---------------------------------------------------------------- forecasts

    def forecast(
        self, frame: DataFrame, steps: int, *, num_paths: int = 500, seed: int | None = None
    ) -> Forecast:
        """What may come after the last step of a history: sampled paths, each one a whole future.

        - `steps`: how far ahead; `num_paths`: how many futures; `seed`: the same seed gives the same paths,
          and a longer forecast begins with the shorter one.

        Values missing in the history are read as such where the model knows that state. Where it does not,
        each path draws its own, given what came before them only. The future itself has no missing values.
        Raises `ChainruleError` as `SeriesSchema.read` does, and for a history without a value.
        """
        series = self.schema.read(frame)
        whole_number("steps", steps, minimum=1)
        (paths,) = self.paths_from(series, [len(series)], steps, num_paths=num_paths, seed=seed)
        count = len(series)
        column = None if self.schema.time is None else checked_frame(frame)[self.schema.time]
        times = self.schema.axis.times(column, np.arange(count, count + steps))
        return Forecast(paths, times, self.schema.names, self.time_name)

    @torch.no_grad()
    def paths_from(
        self,
        series: TimeSeries,
        origins: Sequence[int],
        steps: int,
        *,
        num_paths: int = 500,
        seed: int | None = None,
    ) -> Iterator[Values]:
        """Paths `(num_paths, steps, D)` that go on after the first `origin` steps, for each origin in turn.

        - `origins`: increasing, up to the length of the series. All of it is read once.
        """
        whole_number("num_paths", num_paths, minimum=1)
        generator = torch.Generator()
        generator.seed() if seed is None else generator.manual_seed(checked_seed(seed))
        refuse_nothing(series.values[: origins[0]])
        z, lead = self.schema.encode(series)
        if origins[0] < lead:
            raise ChainruleError(f"the first {lead} steps are given; a forecast begins after them.")
        readable = len(series) if self.schema.missing else first_hole(series.values[lead:]) + lead
        passage: Passage | None = None
        at = lead
        for origin in origins:
            stop = min(origin, readable)
            if stop > at:
                _, passage = read_on(self.model, z[at - lead : stop - lead], passage)
                at = stop
            rest = series.values[at:origin]
            future = np.full((steps, len(self.schema.columns)), np.nan)
            paths = roll_out(
                self.model,
                self.schema,
                passage,
                np.concatenate([rest, future]),
                last_known(series.values[:at]),
                num_paths,
                generator,
            )
            yield paths[:, len(rest) :]

    @property
    def time_name(self) -> str:
        """What results call the column of times: its name, unless that of another of their columns."""
        name = "step" if self.schema.time is None else self.schema.time
        taken = {"score", "path", *self.schema.names, *(f"score_{name}" for name in self.schema.names)}
        return f"{name} (time)" if name in taken else name

    # ---------------------------------------------------------------- saving

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model and `series.json` into a folder; errors as in `save_pretrained`."""
        folder = some_path("the folder to save to", folder)
        self.model.save_pretrained(folder, overwrite=overwrite)
        self.schema.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` or `fit_series` left in a folder; `ChainruleError` where there is none."""
        folder = some_path("the folder", folder)
        schema = SeriesSchema.load(folder)
        model = load_model(folder)
        if not isinstance(model, SequenceModel):
            raise ChainruleError(f"{folder} holds a {type(model).__name__}, which is no model of sequences.")
        return cls(schema, model)
