"""The forecasts to beat: the last value, or the one a season ago, and how far off those were in training.

For a horizon h and a season of m steps (1: a random walk), the forecast is x_{t+h-L} with L = m ceil(h / m),
plus one of the differences x_s - x_{s-L} seen in the training part, drawn at random (Hyndman &
Athanasopoulos, Forecasting, section 5.2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError

__all__ = ["naive_log_prob", "naive_paths"]

Values = NDArray[np.float64]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def naive_paths(
    train: Values,
    history: Values,
    steps: int,
    *,
    season: int = 1,
    num_paths: int = 500,
    generator: np.random.Generator,
) -> Values:
    """Seasonal naive forecasts with empirical errors, `(num_paths, steps, D)`.

    - `train`: `(T, D)`, where the errors are from; `history`: `(k, D)` up to now, k >= season.

    Horizons are drawn apart: quantiles of one step are right, paths are not paths. Missing values of the
    history are replaced by the last known one of the same phase. Raises `ChainruleError` where a column has
    too few values for an error.
    """
    _check_season(season, min(len(history), len(train)))
    latest = _latest(history, season)
    found = np.empty((num_paths, steps, history.shape[1]))
    for step in range(steps):
        lag = season * math.ceil((step + 1) / season)
        base = latest[season + step - lag]
        for column in range(history.shape[1]):
            errors = _errors(train[:, column], lag)
            found[:, step, column] = base[column] + generator.choice(errors, num_paths)
    return found


def naive_log_prob(train: Values, values: Values, *, season: int = 1) -> Values:
    """log p of `(T, D)` under x_t ~ N(x_{t-season} + mean, sd^2) of the training errors, nats; NaN before."""
    _check_season(season, len(train))
    found = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        errors = _errors(train[:, column], season)
        scale = float(errors.std()) or np.finfo(float).tiny
        z = (values[season:, column] - values[:-season, column] - errors.mean()) / scale
        found[season:, column] = -0.5 * z**2 - math.log(scale) - _HALF_LOG_TWO_PI
    return found


def _errors(x: Values, lag: int) -> Values:
    """x_s - x_{s-lag} of a column; of the longest lag that has any, where the training part is short."""
    for shorter in range(min(lag, len(x) - 1), 0, -1):
        errors = x[shorter:] - x[:-shorter]
        errors = errors[~np.isnan(errors)]
        if len(errors):
            return np.asarray(errors)
    raise ChainruleError("a column has fewer than two known values in the training part.")


def _latest(history: Values, season: int) -> Values:
    """The last known value of each phase, `(season, D)`, the oldest phase first."""
    found = np.full((season, history.shape[1]), np.nan)
    for phase in range(season):
        of_phase = history[phase - season :: -season]  # the newest first
        for column in range(history.shape[1]):
            known = np.flatnonzero(~np.isnan(of_phase[:, column]))
            if len(known):
                found[phase, column] = of_phase[known[0], column]
    return found


def _check_season(season: int, steps: int) -> None:
    if whole_number("season", season, minimum=1) >= steps:
        raise ChainruleError(f"season={season}: the training part has only {steps} steps.")
