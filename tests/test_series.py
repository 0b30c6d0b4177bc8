"""Time series: units, steps, missing values, forecasts and their scores."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from chainrule.conditionals import Mixed
from chainrule.errors import ChainruleError
from chainrule.models import RNN, Transformer
from chainrule.series import (
    DEFAULT_STEPS,
    SeriesModel,
    TimeAxis,
    central_interval,
    covered,
    crps,
    evaluate_series,
    fit_series,
    learn_schema,
    naive_log_prob,
    naive_paths,
    part_steps,
)
from chainrule.series import forecasting as forecasting_module
from chainrule.testing import check_model
from chainrule.training import Run


def frame_of(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """A wave and a random walk that leans on it, by the hour."""
    rng = np.random.default_rng(seed)
    wave = 20 + 5 * np.sin(np.arange(rows) / 4) + rng.normal(size=rows)
    walk = 100 + 3 * np.cumsum(rng.normal(size=rows)) + 0.5 * wave
    times = pd.date_range("2024-02-01", periods=rows, freq="h")
    return pd.DataFrame({"when": times, "wave": wave, "walk": walk})


def model_of(
    frame: pd.DataFrame, kind: str = "rnn", seed: int = 0, dtype: torch.dtype = torch.float64, **options
) -> SeriesModel:
    """A random network, untrained but not at its start, for the columns of a frame."""
    schema, _ = learn_schema(frame, "when", **options)
    family: object = {"name": "student_t", "min_scale": 0.05}
    if schema.missing:
        family = {"name": "missing", "inner": family}
    columns = len(schema.columns)
    torch.manual_seed(seed)
    if kind == "rnn":
        network = RNN((8, columns), hidden=7, layers=1, conditional=family, period=columns)
    else:
        sizes = {"width": 8, "num_layers": 2, "num_heads": 2, "window": 5}
        network = Transformer((8, columns), conditional=family, period=columns, **sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return SeriesModel(schema, network.to(dtype))


# ---------------------------------------------------------------- columns that come round: the period


def test_without_a_period_a_network_is_as_large_as_ever():
    assert RNN((6, 2), period=1).num_parameters == RNN((6, 2)).num_parameters
    assert Transformer((6, 2), width=8, num_heads=2, period=1).num_parameters == (
        Transformer((6, 2), width=8, num_heads=2).num_parameters
    )


def test_each_place_of_a_period_has_its_own_ends():
    one, three = (RNN((6, 3), conditional="gaussian", embedding=4, period=p) for p in (1, 3))
    per_place = (4 + 4) + 2 * (128 + 1)  # a number and a bias in; mean and scale of 128 units out
    assert three.num_parameters - one.num_parameters == 2 * per_place


@pytest.mark.parametrize(
    "build",
    [
        lambda: RNN((3, 2), hidden=5, layers=2, conditional="student_t", period=2),
        lambda: RNN(
            (2, 3), hidden=5, cell="gru", conditional={"name": "missing", "inner": "gaussian"}, period=3
        ),
        lambda: RNN(
            (2, 2), hidden=5, conditional={"name": "categorical", "levels": 3}, embedding=4, period=2
        ),
        lambda: Transformer((3, 2), width=8, num_layers=2, num_heads=2, conditional="gaussian", period=2),
        lambda: Transformer(
            (2, 2),
            width=8,
            num_layers=1,
            num_heads=2,
            conditional={"name": "categorical", "levels": 3},
            period=2,
        ),
    ],
)
def test_models_with_a_period_keep_the_contract(build):
    torch.manual_seed(0)
    assert check_model(build())


def test_a_period_must_fit():
    with pytest.raises(ChainruleError, match="period=2 does not divide the 9"):
        RNN((3, 3), conditional="gaussian", period=2)
    with pytest.raises(ChainruleError, match="raster"):
        RNN((4,), conditional="gaussian", ordering="reverse", period=2)
    with pytest.raises(ChainruleError, match="different families"):
        RNN((2,), conditional=Mixed(["bernoulli", "gaussian"]), period=2)


def test_the_same_network_tells_its_columns_apart():
    network = RNN((4, 2), hidden=5, conditional="gaussian", period=2)
    params = network(torch.ones(1, 4, 2))
    assert not torch.allclose(params[0, 2, 0], params[0, 2, 1])


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("times", "kind", "described"),
    [
        ([3.0, 3.5, 4.0, 5.0], "number", "0.5 in units of the time column"),
        (pd.date_range("2024-01-01", periods=5, freq="15min"), "date", "00:15:00"),
        (pd.date_range("2024-01-01", periods=5, freq="D"), "date", "1 days"),
        (pd.date_range("2024-01-01", periods=5, freq="MS"), "month", "1 months"),
        (pd.date_range("2024-01-01", periods=5, freq="ME"), "month", "1 months"),
        (pd.date_range("2020-01-01", periods=5, freq="QS"), "month", "3 months"),
        (pd.date_range("2024-01-01", periods=15, freq="B"), "business", "1 working days"),
        (["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00"], "date", "06:00:00"),
        (pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin"), "date", "01:00:00"),
    ],
)
def test_the_step_is_found_and_goes_on(times, kind, described):
    column = pd.Series(times, name="when")
    axis = TimeAxis.learn(column)
    assert (axis.kind, axis.described) == (kind, described)
    steps = axis.steps_of(column, len(column))
    back = axis.times(column, steps)
    if kind == "number":
        assert np.allclose(back, times)
    else:
        given = pd.DatetimeIndex(pd.to_datetime(column))
        given = given if given.tz is None else given.tz_convert("UTC").tz_localize(None)
        assert list(back) == list(given)


def test_forecast_times_of_months_are_months():
    column = pd.Series(pd.date_range("2024-01-31", periods=4, freq="ME"), name="when")
    axis = TimeAxis.learn(column)
    following = axis.times(column, np.arange(4, 7))
    assert [str(day.date()) for day in following] == ["2024-05-31", "2024-06-30", "2024-07-31"]
    # From one end of a month on, too; but a 28th that is one once a year stays a 28th.
    leap = pd.Series([pd.Timestamp("2024-02-29")], name="when")
    assert [str(day.date()) for day in axis.times(leap, np.arange(1, 3))] == ["2024-03-31", "2024-04-30"]
    every = pd.Series([pd.Timestamp(2023, month, 28) for month in range(2, 9)], name="when")
    assert [str(d.date()) for d in TimeAxis.learn(every).times(every, np.arange(7, 9))] == [
        "2023-09-28",
        "2023-10-28",
    ]


@pytest.mark.parametrize("as_text", [False, True])
def test_days_with_a_zone_stay_days_when_clocks_change(as_text):
    days = pd.Series(pd.date_range("2024-03-29", periods=5, tz="Europe/Berlin"), name="when")
    column = days.map(lambda day: day.isoformat()) if as_text else days  # offsets +01:00, then +02:00
    axis = TimeAxis.learn(column)
    assert axis.described == "1 days"
    assert axis.steps_of(column, 5).tolist() == [0, 1, 2, 3, 4]
    assert str(axis.times(column, np.array([5]))[0]) == "2024-04-03 00:00:00"


@pytest.mark.parametrize("as_text", [False, True])
def test_hours_with_a_zone_are_those_of_utc_when_clocks_change(as_text):
    hours = pd.Series(pd.date_range("2024-10-26 22:00", periods=9, freq="h", tz="Europe/Berlin"), name="when")
    column = hours.map(lambda hour: hour.isoformat()) if as_text else hours
    axis = TimeAxis.learn(column)
    assert axis.described == "01:00:00"
    assert axis.steps_of(column, 9).tolist() == list(range(9))
    assert str(axis.times(column, np.array([9]))[0]) == "2024-10-27 05:00:00"
    # What clocks show there without their offset is there twice.
    with pytest.raises(ChainruleError, match="twice"):
        TimeAxis.learn(hours.dt.tz_localize(None))


@pytest.mark.parametrize(
    ("numbers", "described", "following"),
    [
        ([20240130, 20240131, 20240201], "1 days", "2024-02-02"),
        ([202311, 202312, 202401], "1 months", "2024-02-01"),
    ],
)
def test_whole_numbers_that_are_dates_are_dates(numbers, described, following):
    column = pd.Series(numbers, name="when")
    axis = TimeAxis.learn(column)
    assert axis.described == described
    assert axis.steps_of(column, 3).tolist() == [0, 1, 2]
    assert str(axis.times(column, np.array([3]))[0].date()) == following
    counter = pd.Series([20240130, 20240132, 20240134], name="when")  # a day of that name there is not
    assert TimeAxis.learn(counter).kind == "number"


def test_iso_times_with_and_without_fractions_are_times():
    column = pd.Series(["2024-01-01T00:00:00", "2024-01-01T00:00:00.500", "2024-01-01T00:00:01"], name="when")
    assert TimeAxis.learn(column).step == 0.5


def test_a_weekend_among_working_days_is_refused():
    axis = TimeAxis.learn(pd.Series(pd.date_range("2024-01-01", periods=15, freq="B"), name="when"))
    weekend = pd.Series(pd.date_range("2024-01-06", periods=3), name="when")
    with pytest.raises(ChainruleError, match=r"row 0.*a Saturday"):
        axis.steps_of(weekend, 3)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["2024-01-01", "2024-01-03", "2024-01-02"], ["row 2", "comes after", "sort"]),
        (["2024-01-01", "2024-01-02", "2024-01-02"], ["row 2", "twice"]),
        (["2024-01-01", None, "2024-01-02"], ["row 1", "there is no time"]),
        (["2024-01-01", "soon", "2024-01-02"], ["row 1", "'soon' is no date"]),
        ([0.0, 1.0, 2.0, 3.5], ["row 3", "1.5 steps", "resample"]),
        ([0, 2, 1], ["row 2", "comes after 2", "sort"]),
        ([0.0, math.inf, 2.0], ["row 1", "inf"]),
    ],
)
def test_times_that_are_no_steps_are_refused_at_the_first_place(times, words):
    with pytest.raises(ChainruleError) as refused:
        TimeAxis.learn(pd.Series(times, name="when"))
    for word in ("'when'", *words):
        assert word in str(refused.value)


def test_a_gap_is_a_row_of_missing_values():
    frame = frame_of().drop(index=[30, 31])
    schema, series = learn_schema(frame, "when")
    assert schema.missing
    assert len(series) == 120
    assert np.isnan(series.values).all(1).nonzero()[0].tolist() == [30, 31]
    assert list(series.times) == list(frame_of()["when"])


def test_a_time_column_that_would_be_nearly_all_gaps_is_refused():
    frame = frame_of(60)
    frame.loc[59, "when"] = pd.Timestamp("2030-01-01")
    with pytest.raises(ChainruleError, match="nearly all would be missing"):
        learn_schema(frame, "when")


def test_without_a_time_column_every_row_is_a_step():
    schema, series = learn_schema(frame_of().drop(columns="when"), None)
    assert schema.axis.kind == "rows"
    assert series.times[-1] == 119


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(wave=5.0), ["'wave'", "constant (5)", "--drop wave"]),
        (lambda f: f.head(1), ["at least two rows", "not 1"]),
        (lambda f: f.head(0), ["at least two rows", "not 0"]),
        (lambda f: f.assign(wave=f["wave"].where(f.index != 7, math.inf)), ["'wave'", "row 7", "inf"]),
        (
            lambda f: f.assign(wave=f["wave"].astype(object).where(f.index != 7, "x")),
            ["'wave'", "row 7", "'x'"],
        ),
        (lambda f: f.assign(wave=math.nan), ["'wave'", "has 0 values"]),
        (lambda f: f[["when"]], ["no column to model"]),
        (lambda f: f.rename(columns={"when": "t"}), ["no time column 'when'", "t, wave, walk"]),
        (lambda f: f.assign(wave=f["wave"] * 1e150), ["'wave'", "too large"]),
        (lambda f: f.assign(wave=f["wave"] * 1e300), ["'wave'", "too large"]),
        (lambda f: f.assign(wave=f["wave"] * 1e-300), ["'wave'", "too close to tell apart"]),
        (lambda f: f.set_axis(["when", "wave", "wave"], axis=1), ["two columns named 'wave'"]),
        (lambda f: f.to_numpy(), ["DataFrame", "ndarray"]),
    ],
)
def test_columns_that_cannot_be_modelled_are_refused(change, words):
    with pytest.raises(ChainruleError) as refused:
        learn_schema(change(frame_of()), "when")
    for word in words:
        assert word in str(refused.value)


def test_a_straight_line_has_no_differences_to_model():
    frame = frame_of().assign(walk=np.arange(120.0))
    assert not learn_schema(frame, "when")[0].columns[1].difference
    with pytest.raises(ChainruleError, match="straight line"):
        learn_schema(frame, "when", difference=True)


def test_what_is_differenced_and_scaled_is_decided_by_the_training_part():
    frame = frame_of()
    schema, _ = learn_schema(frame, "when")
    assert [column.difference for column in schema.columns] == [False, True]
    later = frame.copy()
    later.loc[100:, ["wave", "walk"]] *= 50
    assert learn_schema(later, "when")[0] == schema


@pytest.mark.parametrize("difference", [True, False, "auto"])
def test_decoding_undoes_encoding(difference):
    frame = frame_of()
    schema, series = learn_schema(frame, "when", difference=difference)
    z, lead = schema.encode(series)
    assert lead == (0 if difference is False else 1)
    back = schema.decode(z, series.values[lead - 1])
    np.testing.assert_allclose(back, series.values[lead:], rtol=1e-12)


def test_a_change_is_from_the_last_known_value():
    frame = frame_of(40)
    frame.loc[10:12, "walk"] = math.nan
    schema, series = learn_schema(frame, "when", difference=True)
    z, lead = schema.encode(series)
    walk = schema.columns[1].transform
    change = walk.inverse(z[13 - lead, 1])
    assert change == pytest.approx(frame["walk"][13] - frame["walk"][9])
    assert np.isnan(z[10 - lead : 13 - lead, 1]).all()


def test_steps_before_a_column_begins_are_given():
    frame = frame_of(40)
    frame.loc[:4, "walk"] = math.nan
    model = model_of(frame, difference=True)
    found = model.log_prob(frame)
    assert np.isnan(found[:6]).all()
    assert np.isfinite(found[6:]).all()


# ---------------------------------------------------------------- likelihood


@pytest.mark.parametrize("difference", [True, False])
def test_other_units_shift_the_log_density_by_the_log_of_the_factor(difference):
    frame = frame_of()
    model = model_of(frame, difference=difference)
    factor = 2.54
    other = frame.assign(wave=frame["wave"] * factor + 7)
    same_network = SeriesModel(learn_schema(other, "when", difference=difference)[0], model.model)
    shift = model.log_prob_per_column(frame) - same_network.log_prob_per_column(other)
    first = int(difference)
    np.testing.assert_allclose(shift[first:, 0], math.log(factor), atol=1e-9)
    np.testing.assert_allclose(shift[first:, 1], 0, atol=1e-9)
    assert np.isnan(shift[:first]).all()


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_reading_in_chunks_is_reading_the_whole(kind, monkeypatch):
    frame = frame_of(50)
    model = model_of(frame, kind)
    schema, series = model.schema, model.schema.read(frame)
    z, lead = schema.encode(series)
    monkeypatch.setattr(forecasting_module, "CHUNK", 7)  # also cuts within a step
    network = model.model.with_length(len(z))
    whole = network.log_prob_per_variable(torch.from_numpy(z)[None])[0].detach().numpy()
    np.testing.assert_allclose(model.log_prob_per_column(frame)[lead:], whole + schema.log_slopes, atol=1e-10)


def density_of_next(model: SeriesModel, frame: pd.DataFrame, column: str, values: np.ndarray) -> np.ndarray:
    """p(the column at the last step = value | all before it), in the column's units."""
    place = model.schema.names.index(column)
    found = []
    for value in values:
        changed = frame.copy()
        changed.loc[frame.index[-1], column] = value
        found.append(model.log_prob_per_column(changed)[-1, place])
    return np.exp(found)


@pytest.mark.parametrize("column", ["wave", "walk"])
def test_forecasts_are_drawn_from_the_likelihood(column):
    frame = frame_of(24)
    model = model_of(frame)
    if column == "walk":  # given the wave of the same step, which a forecast of the step draws too
        model = model_of(frame[["when", "walk", "wave"]])
    paths = model.forecast(frame.head(23), 1, num_paths=20_000, seed=1).paths[:, 0, 0]
    spread = np.subtract(*np.quantile(paths, [0.75, 0.25]))
    grid = np.linspace(np.median(paths) - 60 * spread, np.median(paths) + 60 * spread, 1501)
    density = density_of_next(model, frame, column, grid)
    cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    assert cdf[-1] == pytest.approx(1, abs=5e-3)
    empirical = np.searchsorted(np.sort(paths), grid) / len(paths)
    assert np.abs(empirical - cdf).max() < 0.015  # Kolmogorov-Smirnov: 0.0115 at 1 %, and the tails cut off


def test_missing_and_present_have_probability_one_together():
    frame = frame_of(30)
    frame.loc[5, "wave"] = math.nan
    model = model_of(frame)
    grid = np.linspace(-400, 440, 2001)
    density = density_of_next(model, frame, "wave", grid)
    missing = density_of_next(model, frame, "wave", np.array([math.nan]))[0]
    assert 0.01 < missing < 0.99
    assert np.trapezoid(density, grid) + missing == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_no_step_hears_of_later_ones_missing_or_not(kind):
    frame = frame_of(40)
    frame.loc[3, "wave"] = math.nan
    model = model_of(frame, kind)
    before = model.log_prob_per_column(frame)
    changed = frame.copy()
    changed.loc[30, "walk"] = math.nan
    changed.loc[33, "wave"] += 100
    after = model.log_prob_per_column(changed)
    np.testing.assert_allclose(after[1:30], before[1:30], atol=1e-12)
    np.testing.assert_allclose(after[30, 0], before[30, 0], atol=1e-12)  # the wave is read before the walk
    assert not np.allclose(after[31:], before[31:])


def test_a_row_left_out_is_a_row_of_empty_cells():
    frame = frame_of(40)
    empty = frame.copy()
    empty.loc[[20, 21], ["wave", "walk"]] = math.nan
    model = model_of(empty)
    np.testing.assert_array_equal(model.log_prob(frame.drop(index=[20, 21])), model.log_prob(empty))


def test_a_missing_value_needs_the_state():
    frame = frame_of(40)
    model = model_of(frame)
    frame.loc[7, "wave"] = math.nan
    with pytest.raises(ChainruleError, match=r"'wave' is missing at 2024-02-01 07:00:00.*--allow-missing"):
        model.log_prob(frame)
    allowed = model_of(frame_of(40), missing=True)
    assert np.isfinite(allowed.log_prob(frame)[1:]).all()


def test_anomaly_scores_add_up_and_find_the_odd_step():
    frame = frame_of(60)
    model = model_of(frame)
    frame.loc[40, "wave"] += 500
    scores = model.anomaly_scores(frame)
    assert list(scores.columns) == ["when", "score", "score_wave", "score_walk"]
    np.testing.assert_allclose(scores["score"], scores["score_wave"] + scores["score_walk"])
    np.testing.assert_allclose(scores["score"], -model.log_prob(frame))
    assert scores["score_wave"].idxmax() == 40


def test_absurd_values_leave_finite_scores():
    frame = frame_of(40)
    model = model_of(frame, dtype=torch.float32)
    frame.loc[20, "wave"] = 1e90
    assert np.isfinite(model.log_prob(frame)[1:]).all()


# ---------------------------------------------------------------- forecasts


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_a_forecast_is_what_plain_sampling_draws_from_the_same_noise(kind):
    frame = frame_of(20)
    model = model_of(frame, kind)
    steps, paths, schema = 4, 3, model.schema
    found = model.forecast(frame, steps, num_paths=paths, seed=5).paths
    z, _ = schema.encode(schema.read(frame))
    network = model.model.with_length(len(z) + steps)
    generator = torch.Generator().manual_seed(5)
    x = torch.zeros(paths, len(z) + steps, 2, dtype=torch.float64)
    x[:, : len(z)] = torch.from_numpy(z)
    with torch.no_grad():
        for step in range(len(z), len(z) + steps):
            for place in range(2):
                noise = torch.rand(paths, 2, generator=generator, dtype=torch.float64)
                x[:, step, place] = network.conditional.sample(network(x)[:, step, place], noise)
    last = np.broadcast_to(frame[["wave", "walk"]].to_numpy()[-1], (paths, 2))
    np.testing.assert_allclose(found, schema.decode(x[:, len(z) :].numpy(), last), atol=1e-9)


def test_the_seed_decides_and_a_longer_forecast_begins_with_the_shorter():
    frame = frame_of(30)
    model = model_of(frame)
    one, again, other = (model.forecast(frame, 5, num_paths=4, seed=s).paths for s in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    np.testing.assert_array_equal(model.forecast(frame, 9, num_paths=4, seed=3).paths[:, :5], one)
    state = torch.get_rng_state()
    model.forecast(frame, 2, num_paths=2)
    assert torch.equal(state, torch.get_rng_state())


def test_missing_history_is_read_as_a_state_and_the_future_is_there():
    frame = frame_of(30)
    frame.loc[10, "wave"] = math.nan
    frame.loc[29, "walk"] = math.nan
    model = model_of(frame)
    paths = model.forecast(frame, 6, num_paths=50, seed=0).paths
    assert np.isfinite(paths).all()
    known = frame.copy()
    known.loc[29, "walk"] = known.loc[28, "walk"]
    assert not np.allclose(model.forecast(known, 6, num_paths=50, seed=0).paths, paths)


def test_missing_history_is_drawn_where_the_model_knows_no_such_state():
    frame = frame_of(30)
    model = model_of(frame)
    paths = model.forecast(frame.head(29), 3, num_paths=30, seed=0).paths
    unknown = frame.copy()
    unknown.loc[29, ["wave", "walk"]] = math.nan
    # A last row of which nothing is known is one more step of the future.
    np.testing.assert_allclose(model.forecast(unknown, 2, num_paths=30, seed=0).paths, paths[:, 1:])
    half = frame.copy()
    half.loc[29, "walk"] = math.nan
    assert np.isfinite(model.forecast(half, 2, num_paths=30, seed=0).paths).all()


def test_forecasts_from_many_places_are_those_from_each():
    frame = frame_of(40)
    model = model_of(frame)
    series = model.schema.read(frame)
    together = list(model.paths_from(series, [20, 21, 33], 3, num_paths=5, seed=2))
    np.testing.assert_allclose(together[0], model.forecast(frame.head(20), 3, num_paths=5, seed=2).paths)
    apart = model.paths_from(model.schema.read(frame.head(33)), [20, 21, 33], 3, num_paths=5, seed=2)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other)


def test_a_forecast_as_a_table():
    frame = frame_of(30)
    forecast = model_of(frame).forecast(frame, 3, num_paths=40, seed=0)
    table = forecast.to_frame([0.1, 0.5])
    assert list(table.columns) == [
        "when",
        "wave_mean",
        "wave_q0.1",
        "wave_q0.5",
        "walk_mean",
        "walk_q0.1",
        "walk_q0.5",
    ]
    assert table["when"].tolist() == list(pd.date_range("2024-02-02 06:00", periods=3, freq="h"))
    np.testing.assert_allclose(table["wave_q0.5"], np.median(forecast.paths[:, :, 0], 0))
    assert forecast.paths_frame().shape == (120, 4)
    assert forecast.paths_frame()["walk"].iloc[4] == forecast.paths[1, 1, 1]
    with pytest.raises(ChainruleError, match="level"):
        forecast.quantile(1.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="walk"), "no column 'walk'"),
        (lambda f: f.head(0), "no row"),
        (lambda f: f.assign(when=np.arange(30)), "expected dates"),
        (
            lambda f: f.assign(when=pd.date_range("2024", periods=30, freq="90min")),
            "the model's step is 01:00:00",
        ),
        (lambda f: f.assign(wave=math.nan, walk=math.nan), "no value"),
    ],
)
def test_a_history_that_does_not_fit_is_refused(change, words):
    model = model_of(frame_of(30))
    with pytest.raises(ChainruleError, match=words):
        model.forecast(change(frame_of(30)), 2, num_paths=2)


# ---------------------------------------------------------------- scores and baselines


def test_crps_is_its_definition():
    rng = np.random.default_rng(0)
    paths, truth = rng.normal(size=(7, 2, 3)), rng.normal(size=(2, 3))
    pairs = np.abs(paths[:, None] - paths[None])
    expected = np.abs(paths - truth).mean(0) - pairs.sum((0, 1)) / (2 * 7 * 6)
    np.testing.assert_allclose(crps(paths, truth), expected)
    assert np.isnan(crps(paths, np.full((2, 3), math.nan))).all()
    with pytest.raises(ChainruleError, match="m >= 2"):
        crps(paths[:1], truth)


def test_crps_of_a_gaussian_is_the_known_one_however_few_the_samples():
    rng = np.random.default_rng(1)
    truth = 0.7
    closed = truth * math.erf(truth / math.sqrt(2)) + 2 * math.exp(-(truth**2) / 2) / math.sqrt(2 * math.pi)
    closed -= 1 / math.sqrt(math.pi)
    found = crps(rng.normal(size=(4, 100_000)), np.full(100_000, truth))
    assert found.mean() == pytest.approx(closed, abs=4 * found.std() / math.sqrt(100_000))


def test_intervals_cover_what_they_say_also_with_few_samples():
    rng = np.random.default_rng(2)
    inside = covered(rng.normal(size=(39, 50_000)), rng.normal(size=50_000), 0.9)
    assert inside.mean() == pytest.approx(0.9, abs=0.005)
    low, high = central_interval(np.arange(1.0, 20)[:, None], 0.9)
    assert (low.item(), high.item()) == (1, 19)
    assert np.isnan(covered(np.zeros((3, 1)), [math.nan])).all()


def test_the_naive_forecast_repeats_the_season_with_its_errors():
    train = np.tile([[1.0], [2.0], [4.0]], (10, 1))
    generator = np.random.default_rng(0)
    paths = naive_paths(train, train, 5, season=3, num_paths=4, generator=generator)
    np.testing.assert_array_equal(paths[:, :, 0], np.tile([1.0, 2, 4, 1, 2], (4, 1)))
    walk = np.cumsum(np.ones((30, 1)), 0)
    paths = naive_paths(walk, walk, 3, num_paths=4, generator=generator)
    np.testing.assert_array_equal(paths[:, :, 0], np.tile([31.0, 32, 33], (4, 1)))
    holed = train.copy()
    holed[-1] = math.nan
    paths = naive_paths(train, holed, 3, season=3, num_paths=1, generator=generator)
    np.testing.assert_array_equal(paths[0, :, 0], [1, 2, 4])


def test_the_naive_likelihood_is_gaussian_in_the_differences():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(5000, 1)), 0)
    found = naive_log_prob(walk[:4000], walk)
    assert np.isnan(found[0, 0])
    assert -found[4000:].mean() == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.05)


def test_evaluation_scores_the_asked_part_given_the_past():
    frame = frame_of(100)
    model = model_of(frame)
    result = evaluate_series(model, frame, part="test", horizon=3, origins=4, num_paths=20)
    assert part_steps(100, "test") == range(90, 100)
    assert result.nll == pytest.approx(-model.log_prob(frame)[90:].mean())
    assert (result.steps, result.origins, result.horizon) == (10, 4, 3)
    assert set(result.crps) == {"wave", "walk"}
    assert result.naive_nll == pytest.approx(
        -naive_log_prob(frame[["wave", "walk"]].to_numpy()[:80], frame[["wave", "walk"]].to_numpy())[90:]
        .sum(1)
        .mean()
    )
    with pytest.raises(ChainruleError, match="horizon"):
        evaluate_series(model, frame, horizon=11)
    with pytest.raises(ChainruleError, match="season=80"):
        evaluate_series(model, frame, season=80)


# ---------------------------------------------------------------- fitting


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_fitting_learns_saves_and_resumes(kind, tmp_path):
    frame = frame_of(200)
    sizes = {"hidden": 8} if kind == "rnn" else {"width": 8, "num_layers": 1, "num_heads": 2}
    options = {"time": "when", "model": kind, "model_settings": sizes, "length": 16, "progress": False}
    few = fit_series(frame, tmp_path / "few", steps=2, **options)
    fitted = fit_series(frame, tmp_path / "run", steps=150, **options)
    validation = slice(160, 180)
    gain = (fitted.log_prob(frame) - few.log_prob(frame))[validation].mean()
    assert gain > 0.1
    loaded = SeriesModel.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.log_prob(frame), fitted.log_prob(frame))
    again = fit_series(frame, tmp_path / "run", steps=150, resume=True, **options)
    np.testing.assert_array_equal(again.log_prob(frame), fitted.log_prob(frame))
    fitted.save(tmp_path / "copy")
    np.testing.assert_array_equal(SeriesModel.load(tmp_path / "copy").log_prob(frame), fitted.log_prob(frame))


def test_the_test_part_never_changes_the_model(tmp_path):
    frame = frame_of(100)
    other = frame.copy()
    other.loc[90:, ["wave", "walk"]] = 1e4
    options = {"time": "when", "model_settings": {"hidden": 4}, "length": 8, "steps": 5, "progress": False}
    one = fit_series(frame, tmp_path / "one", **options)
    two = fit_series(other, tmp_path / "two", **options)
    np.testing.assert_array_equal(one.log_prob(frame), two.log_prob(frame))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "made"}, "unknown model of series 'made'"),
        ({"model_settings": {"hiden": 3}}, "unknown setting of rnn 'hiden'; did you mean 'hidden'"),
        ({"numeric": "bernoulli"}, "numeric=bernoulli"),
        ({"numeric": 3}, "numeric=3"),
        ({"difference": "yes"}, "difference='yes'"),
        ({"missing": 2}, "missing=2"),
        ({"columns": ["wave", "wave"]}, "'wave' is no column to model, or twice"),
        ({"length": 90}, "length=90: the training part has only .. steps"),
        ({"columns": ["wind"]}, "'wind' is no column"),
        ({"time": "at"}, "no time column 'at'"),
        (
            {"model": "transformer", "model_settings": {"window": None, "width": 8, "num_heads": 2}},
            "a window",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_before_training(options, words, tmp_path):
    with pytest.raises(ChainruleError, match=words):
        fit_series(
            frame_of(100), tmp_path / "run", **{"time": "when", "steps": 1, "progress": False, **options}
        )
    assert not (tmp_path / "run").exists()


def test_a_series_too_short_to_split_is_refused(tmp_path):
    with pytest.raises(ChainruleError, match="a series of 12 steps is too short"):
        fit_series(frame_of(12), tmp_path / "run", time="when", progress=False)
    with pytest.raises(ChainruleError, match=r"a series of 1 step is too short.* at least 20"):
        fit_series(frame_of(1), tmp_path / "run", time="when", progress=False)


def test_columns_with_the_names_of_results_keep_apart():
    frame = frame_of(30).rename(columns={"when": "score", "walk": "path"})
    schema, _ = learn_schema(frame, "score")
    torch.manual_seed(0)
    network = RNN((8, 2), hidden=3, layers=1, conditional="student_t", period=2)
    model = SeriesModel(schema, network.double())
    scores = model.anomaly_scores(frame)
    assert list(scores.columns) == ["score (time)", "score", "score_wave", "score_path"]
    assert list(scores["score (time)"]) == list(frame["score"])
    futures = model.forecast(frame, 2, num_paths=3, seed=0).paths_frame()
    assert futures["path"].tolist() == [0, 0, 1, 1, 2, 2]
    assert list(futures.columns) == ["path", "score (time)", "wave", "path_"]


def test_columns_without_a_text_for_a_name(tmp_path):
    frame = frame_of(40).set_axis([0, 1, 2], axis=1)
    model = fit_series(
        frame, tmp_path / "run", time="0", steps=1, model_settings={"hidden": 2}, progress=False
    )
    assert model.schema.names == ("1", "2")
    assert len(model.forecast(frame, 2, num_paths=2, seed=0).times) == 2


def test_without_a_number_of_steps_training_ends_when_validation_has_risen_for_long(tmp_path):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=60)})  # nothing but noise to learn
    settings = {"time": None, "model_settings": {"hidden": 32}, "progress": False, "learning_rate": 0.02}
    fit_series(frame, tmp_path / "run", **settings)
    assert Run(tmp_path / "run").metrics()[-1]["step"] < DEFAULT_STEPS / 2


def test_damaged_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(ChainruleError, match=r"has no series\.json"):
        SeriesModel.load(tmp_path)
    model_of(frame_of(30)).save(tmp_path / "run")
    (tmp_path / "run" / "series.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(ChainruleError, match=r"series\.json is damaged"):
        SeriesModel.load(tmp_path / "run")


@pytest.mark.slow
def test_an_ar2_process_is_learned_to_its_entropy(tmp_path):
    """benchmarks/series.py measures this on more data; here a small budget, and room for it."""
    rng = np.random.default_rng(0)
    noise = 0.5 * rng.normal(size=30_200)
    x = np.zeros_like(noise)
    for t in range(2, len(x)):
        x[t] = 1.3 * x[t - 1] - 0.6 * x[t - 2] + noise[t]
    frame = pd.DataFrame({"t": np.arange(30_000), "x": x[200:]})
    sizes = {"cell": "gru", "hidden": 32}
    model = fit_series(
        frame.head(20_000),
        tmp_path / "run",
        time="t",
        numeric="gaussian",
        model_settings=sizes,
        progress=False,
    )
    new = frame.iloc[20_000:]
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    realised = -0.5 * math.log(2 * math.pi * 0.25) - noise[20_200:] ** 2 / 0.5  # log p under the truth itself
    excess = -(model.log_prob(new)[100:] - realised[100:]).mean()
    assert 0 <= excess + 1e-3 < 0.02
    assert -model.log_prob(new)[100:].mean() == pytest.approx(entropy, abs=0.05)
    origins, hits = list(range(200, 9_900, 10)), []
    for origin, paths in zip(
        origins, model.paths_from(model.schema.read(new), origins, 5, num_paths=199, seed=0), strict=True
    ):
        hits.append(covered(paths, new[["x"]].to_numpy()[origin : origin + 5], 0.9))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)
