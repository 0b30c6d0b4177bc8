"""Time series: several columns over regular steps, exact likelihoods, sampled forecasts, anomaly scores.

from chainrule.series import fit_series
model = fit_series("sales.csv", "runs/sales", time="date")
model.forecast(history, 24, seed=0).quantile([0.05, 0.5, 0.95])
model.anomaly_scores(history)
"""

from chainrule.series.baselines import naive_log_prob, naive_paths
from chainrule.series.evaluating import Evaluation, evaluate_series
from chainrule.series.fitting import (
    DEFAULT_LENGTH,
    DEFAULT_NUMERIC,
    DEFAULT_STEPS,
    SERIES_MODELS,
    fit_series,
)
from chainrule.series.forecasting import Forecast
from chainrule.series.model import SeriesModel
from chainrule.series.schema import SERIES_NAME, SeriesColumn, SeriesSchema, TimeSeries, learn_schema
from chainrule.series.scores import central_interval, covered, crps
from chainrule.series.splits import part_edges, part_steps
from chainrule.series.time_axis import TimeAxis

__all__ = [
    "DEFAULT_LENGTH",
    "DEFAULT_NUMERIC",
    "DEFAULT_STEPS",
    "SERIES_MODELS",
    "SERIES_NAME",
    "Evaluation",
    "Forecast",
    "SeriesColumn",
    "SeriesModel",
    "SeriesSchema",
    "TimeAxis",
    "TimeSeries",
    "central_interval",
    "covered",
    "crps",
    "evaluate_series",
    "fit_series",
    "learn_schema",
    "naive_log_prob",
    "naive_paths",
    "part_edges",
    "part_steps",
]
