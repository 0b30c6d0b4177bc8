"""How good a model of a series is on a part of it: likelihood, CRPS and coverage, beside a naive forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.arguments import checked_seed, whole_number
from chainrule.errors import ChainruleError
from chainrule.series.baselines import naive_log_prob, naive_paths
from chainrule.series.model import SeriesModel
from chainrule.series.scores import covered, crps
from chainrule.series.splits import part_steps

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["LEVELS", "Evaluation", "evaluate_series"]

Values = NDArray[np.float64]

#: Central intervals whose coverage is counted.
LEVELS = (0.5, 0.8, 0.9)

#: Steps ahead, unless told otherwise and if the part is long enough.
_STEPS = 24


@dataclass(frozen=True)
class Evaluation:
    """What came out, for a part of a series.

    - `nll`, `standard_error`: nats per step given all before it, in the columns' units, over `steps` steps;
      the error is from means of blocks of steps, since neighbours are alike.
    - `naive_nll`: of N(x_{t-season} + mean, sd^2) on the same steps; None where values are missing.
    - `horizon`, `origins`: forecasts of so many steps from so many places, evenly spread over the part.
    - `crps`, `naive_crps`: mean over origins and horizons by column, in its units (lower is better).
    - `coverage`, `naive_coverage`: by level, over all columns; should be the level.
    - `crps_by_step`, `naive_crps_by_step`: by column, `(horizon,)` each.
    """

    part: str
    steps: int
    nll: float
    standard_error: float
    naive_nll: float | None
    season: int
    horizon: int
    origins: int
    num_paths: int
    crps: Mapping[str, float]
    naive_crps: Mapping[str, float]
    coverage: Mapping[float, float]
    naive_coverage: Mapping[float, float]
    crps_by_step: Mapping[str, Values]
    naive_crps_by_step: Mapping[str, Values]


def evaluate_series(
    model: SeriesModel,
    frame: DataFrame,
    *,
    part: str = "test",
    horizon: int | None = None,
    origins: int = 50,
    num_paths: int = 200,
    season: int = 1,
    seed: int = 0,
) -> Evaluation:
    """Score a part of a series, each step and each forecast given all that came before it.

    - `frame`: the whole series; `part`: of its split by time.
    - `horizon`: steps ahead; None for 24, or half of the part. `origins`: at most so many places.
    - `season`: steps of the naive forecast's season; 1 is a random walk.

    Raises `ChainruleError` as `SeriesModel.log_prob` and `naive_paths` do.
    """
    series = model.schema.read(frame)
    wanted = part_steps(len(series), part)
    train = series.values[: part_steps(len(series), "train").stop]
    scored = model.log_prob_of(series).sum(1)[wanted.start :][: len(wanted)]
    scored = scored[~np.isnan(scored)]
    horizon = _horizon(horizon, len(wanted))
    first = max(wanted.start, season, model.schema.lead(series.values))
    last = wanted.stop - horizon
    if first > last:
        raise ChainruleError(
            f"horizon={horizon} does not fit into the {part} part behind its first {first} steps."
        )
    count = min(whole_number("origins", origins, minimum=1), last - first + 1)
    places = np.unique(np.linspace(first, last, count).round().astype(int)).tolist()
    generator = np.random.default_rng(checked_seed(seed))
    own, naive = _Tally(), _Tally()
    futures = model.paths_from(series, places, horizon, num_paths=num_paths, seed=seed)
    for origin, paths in zip(places, futures, strict=True):
        truth = series.values[origin : origin + horizon]
        own.add(paths, truth)
        drawn = naive_paths(
            train,
            series.values[:origin],
            horizon,
            season=season,
            num_paths=num_paths,
            generator=generator,
        )
        naive.add(drawn, truth)
    names = model.schema.names
    return Evaluation(
        part=part,
        steps=len(scored),
        nll=-float(scored.mean()),
        standard_error=_error_of_mean(scored),
        naive_nll=_naive_nll(train, series.values, wanted, season),
        season=season,
        horizon=horizon,
        origins=len(places),
        num_paths=num_paths,
        crps=dict(zip(names, own.mean_crps().mean(0).tolist(), strict=True)),
        naive_crps=dict(zip(names, naive.mean_crps().mean(0).tolist(), strict=True)),
        coverage=own.coverage(),
        naive_coverage=naive.coverage(),
        crps_by_step=dict(zip(names, own.mean_crps().T, strict=True)),
        naive_crps_by_step=dict(zip(names, naive.mean_crps().T, strict=True)),
    )


def _horizon(horizon: int | None, steps: int) -> int:
    if horizon is None:
        return min(_STEPS, max(1, steps // 2))
    return whole_number("horizon", horizon, minimum=1, maximum=steps)


class _Tally:
    """CRPS and coverage, forecast by forecast."""

    def __init__(self) -> None:
        self.crps: list[Values] = []
        self.covered: dict[float, list[Values]] = {level: [] for level in LEVELS}

    def add(self, paths: Values, truth: Values) -> None:
        self.crps.append(crps(paths, truth))
        for level, found in self.covered.items():
            found.append(covered(paths, truth, level))

    def mean_crps(self) -> Values:
        """`(horizon, D)`, over the origins whose truth is known; NaN where none is."""
        each = np.stack(self.crps)
        known = ~np.isnan(each)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, each, 0.0).sum(0) / known.sum(0))

    def coverage(self) -> dict[float, float]:
        """By level; NaN where no truth is known."""
        found = {level: np.stack(each) for level, each in self.covered.items()}
        return {
            level: float(each[~np.isnan(each)].mean()) if (~np.isnan(each)).any() else float("nan")
            for level, each in found.items()
        }


def _error_of_mean(values: Values) -> float:
    """The standard error of the mean of values whose neighbours are alike, from means of sqrt(n) blocks."""
    blocks = int(np.sqrt(len(values)))
    if blocks < 2:
        return float("nan")
    means = [float(block.mean()) for block in np.array_split(values, blocks)]
    return float(np.std(means, ddof=1) / np.sqrt(blocks))


def _naive_nll(train: Values, values: Values, wanted: range, season: int) -> float | None:
    log_prob = naive_log_prob(train, values, season=season)[wanted.start : wanted.stop].sum(1)
    if np.isnan(values[max(0, wanted.start - season) : wanted.stop]).any():
        return None
    return -float(log_prob[~np.isnan(log_prob)].mean())
