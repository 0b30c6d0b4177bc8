"""`chainrule train --time`, `forecast`, and `score` and `evaluate` of a series."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cli_helpers import call, refused, succeed

from chainrule.conditionals import Gaussian
from chainrule.series import SeriesModel, fit_series

SMALL = [part for setting in ("steps=30", "hidden=8", "length=16") for part in ("--set", setting)]


def series(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    wave = 20 + 5 * np.sin(np.arange(rows) / 4) + rng.normal(size=rows)
    return pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=rows, freq="D").strftime("%Y-%m-%d"),
            "wave": wave.round(3),
            "walk": (50 + 3 * np.cumsum(rng.normal(size=rows))).round(3),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file, and a run on it."""
    folder = tmp_path_factory.mktemp("series")
    series().to_csv(folder / "my.csv", index=False)
    called = succeed(
        "train", "rnn", "--data", folder / "my.csv", "--time", "day", "--out", folder / "run", "-q", *SMALL
    )
    assert "200 rows, a step is 1 days" in called.out
    assert "differenced  walk" in called.out
    return folder


def test_a_csv_with_a_time_column_is_a_series(place):
    model = SeriesModel.load(place / "run")
    assert model.schema.names == ("wave", "walk")
    assert model.schema.time == "day"
    assert {"config.json", "model.safetensors", "series.json", "learning_curve.png"} <= {
        path.name for path in (place / "run").iterdir()
    }


def test_forecast_writes_quantiles_paths_and_a_fan_chart(place, tmp_path):
    out, paths, plot = tmp_path / "forecast.csv", tmp_path / "paths.csv", tmp_path / "fan.png"
    called = succeed(
        "forecast", place / "run", place / "my.csv", "--steps", 5, "--paths", 40, "--seed", 3,
        "--out", out, "--paths-out", paths, "--plot", plot,
    )  # fmt: skip
    assert "2024-07-19" in called.out
    table, futures = pd.read_csv(out), pd.read_csv(paths)
    assert list(table["day"]) == [str(d.date()) for d in pd.date_range("2024-07-19", periods=5)]
    expected = SeriesModel.load(place / "run").forecast(series(), 5, num_paths=40, seed=3)
    np.testing.assert_allclose(table["walk_q0.5"], expected.quantile(0.5)[:, 1])
    np.testing.assert_allclose(futures["wave"], expected.paths[:, :, 0].ravel())
    assert plot.read_bytes()[:4] == b"\x89PNG"
    again = call("forecast", place / "run", place / "my.csv", "--out", out)
    refused(again, "already exists", "--overwrite")


def test_forecast_of_what_was_held_out(place):
    found = succeed(
        "forecast",
        place / "run",
        place / "my.csv",
        "--steps",
        4,
        "--paths",
        30,
        "--hold-out",
        "--seed",
        1,
        "--json",
    ).json
    assert [row["day"][:10] for row in found["forecast"]] == [
        "2024-07-15",
        "2024-07-16",
        "2024-07-17",
        "2024-07-18",
    ]
    assert set(found["held_out"]) == {"CRPS of wave", "CRPS of walk", "in central 90 %"}
    expected = SeriesModel.load(place / "run").forecast(series().head(196), 4, num_paths=30, seed=1)
    assert found["forecast"][3]["walk_mean"] == pytest.approx(expected.paths[:, 3, 1].mean())


def test_score_gives_every_step_its_anomaly_score(place, tmp_path):
    odd = series()
    odd.loc[150, "wave"] = 200
    odd.to_csv(tmp_path / "odd.csv", index=False)
    called = succeed(
        "score", place / "run", tmp_path / "odd.csv", "--per-variable", "--out", tmp_path / "s.csv"
    )
    assert "the oddest is 2024-05-30" in called.out
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table.columns) == ["day", "score", "score_wave", "score_walk"]
    np.testing.assert_allclose(table["score"], -SeriesModel.load(place / "run").log_prob(odd), rtol=1e-9)
    on_stdout = succeed("score", place / "run", tmp_path / "odd.csv")
    assert on_stdout.out.splitlines()[0] == "day,score"
    found = succeed("score", place / "run", tmp_path / "odd.csv", "--json").json
    assert found["oddest"]["time"].startswith("2024-05-30")
    assert found["scores"][0]["score"] is None  # the first step of a differenced series is given
    assert len(found["scores"]) == 200


def test_evaluate_shows_the_naive_forecast_beside(place):
    called = succeed("evaluate", place / "run", "--steps", 3, "--season", 7)
    assert "seasonal naive (7 steps)" in called.out
    assert "CRPS of walk" in called.out
    found = succeed("evaluate", place / "run", "--split", "validation", "--json").json
    assert (found["part"], found["steps"], found["horizon"]) == ("validation", 20, 10)
    assert found["nll"] == pytest.approx(-SeriesModel.load(place / "run").log_prob(series())[160:180].mean())
    assert found["naive_nll"] is not None


def test_a_finished_run_is_resumed_and_others_are_refused(place):
    before = (place / "run" / "model.safetensors").read_bytes()
    succeed("train", "--resume", "--out", place / "run", "-q")
    assert (place / "run" / "model.safetensors").read_bytes() == before
    refused(
        call("train", "transformer", "--resume", "--out", place / "run"), "a run of rnn, not of transformer"
    )
    refused(
        call("train", "--resume", "--out", place / "run", "--set", "hidden=9"),
        "--set",
        "choose another --out",
    )
    refused(
        call("train", "rnn", "--data", place / "my.csv", "--time", "day", "--out", place / "run"),
        "already exists",
    )


def test_a_run_made_in_python_is_evaluated_and_resumed_like_any_other(place, tmp_path):
    options = {"steps": 3, "model_settings": {"hidden": 3}, "length": 16, "progress": False}
    chosen = {"columns": ["walk"], "numeric": Gaussian(), "missing": True, "seed": 3}
    made = fit_series(place / "my.csv", tmp_path / "run", time="day", **chosen, **options)
    found = succeed("evaluate", tmp_path / "run", "--steps", 2, "--json").json
    assert found["data"] == str(place / "my.csv")
    assert found["nll"] == pytest.approx(-made.log_prob(series())[180:].mean())
    again = succeed("train", "--resume", "--out", tmp_path / "run", "-q", "--json").json
    assert again["columns"] == ["walk"]
    swapped = {**chosen, "columns": ["walk", "wave"]}  # an order that no command line says
    fit_series(place / "my.csv", tmp_path / "two", time="day", **swapped, **options)
    refused(call("evaluate", tmp_path / "two"), "does not say what it was trained on", "--data")


def test_missing_values_are_counted(tmp_path):
    frame = series(60).drop(index=[5, 6])
    frame.loc[10, "wave"] = np.nan
    frame.to_csv(tmp_path / "my.csv", index=False)
    train = ("train", "rnn", "--data", tmp_path / "my.csv", "--time", "day", "-q", "--set", "steps=2")
    assert "a state of its own; 5 of 120 values" in succeed(*train, "--out", tmp_path / "run").out
    # The rows of one in three days: two thirds of the steps of a day have none.
    rare = pd.concat([series(200).iloc[:40:3], series(200).iloc[[40, 41]], series(200).iloc[44::4]])
    rare.to_csv(tmp_path / "my.csv", index=False)
    called = succeed(*train, "--out", tmp_path / "rare")
    assert "steps have no row" in called.err


def test_columns_may_be_dropped_and_rows_be_steps(place, tmp_path):
    found = succeed(
        "train", "rnn", "--data", place / "my.csv", "--time", "none", "--drop", "day", "--drop", "walk",
        "--out", tmp_path / "run", "-q", "--json", *SMALL, "--set", "numeric=gaussian",
        "--set", "difference=true",
    )  # fmt: skip
    assert found.json["columns"] == found.json["differenced"] == ["wave"]
    assert found.json["step"] == "one row"
    notes = json.loads((tmp_path / "run" / "config.json").read_text())["notes"]["series"]
    assert notes["time"] is None
    assert notes["options"] == {"steps": 30, "length": 16, "numeric": "gaussian", "difference": True}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.iloc[[0, 2, 1, *range(3, 200)]], ["'day'", "line 4", "sort"]),
        (lambda f: f.iloc[[0, 1, 1, *range(2, 200)]], ["'day'", "line 4", "twice"]),
        (lambda f: f.assign(day=[f"{i + 0.41 * (i % 2)}" for i in range(200)]), ["'day'", "resample"]),
        (lambda f: f.assign(wave=3), ["'wave'", "constant", "--drop wave"]),
        (lambda f: f.head(1), ["a series of 1 step", "at least 20"]),
        (lambda f: f.head(10), ["10 steps is too short"]),
        (lambda f: f.assign(wave="inf"), ["'wave'", "line 2", "finite"]),
        (lambda f: f.assign(wave="high"), ["'wave'", "line 2", "'high'"]),
        (lambda f: f.drop(columns="day"), ["no time column 'day'"]),
    ],
)
def test_a_series_that_is_none_is_refused_in_one_line(change, words, tmp_path):
    change(series()).to_csv(tmp_path / "bad.csv", index=False)
    called = call(
        "train", "rnn", "--data", tmp_path / "bad.csv", "--time", "day", "--out", tmp_path / "run", "-q"
    )
    refused(called, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "made", "--data", "{file}", "--time", "day", "--out", "new"], ["model of series 'made'"]),
        (["train", "rnn", "--time", "day", "--out", "new"], ["--data is missing"]),
        (["train", "rnn", "--data", "{file}", "--time", "day", "--levels", 3, "--out", "new"], ["--levels"]),
        (
            ["train", "rnn", "--data", "{file}", "--time", "day", "--set", "hiden=3", "--out", "new"],
            ["'hidden'"],
        ),
        (
            ["train", "rnn", "--data", "{file}", "--time", "day", "--drop", "x", "--out", "new"],
            ["column to drop 'x'"],
        ),
        (["forecast", "nowhere", "{file}"], ["nowhere is no folder"]),
        (["forecast", "{run}", "nothing.csv"], ["nothing.csv is not a file"]),
        (["forecast", "{run}", "{file}", "--steps", 0], ["--steps must be at least 1"]),
        (["forecast", "{run}", "{file}", "--plot", "fan.gif"], [".png"]),
        (["forecast", "{run}", "{file}", "--out", "f.xls"], [".csv"]),
        (["forecast", "{run}", "{file}", "--steps", 300, "--hold-out"], ["leave none"]),
        (["score", "{run}", "{file}", "--members", 3], ["--members", "time series"]),
        (["evaluate", "{run}", "--limit", 3], ["--limit", "time series"]),
        (["evaluate", "{run}", "--split", "tset"], ["unknown part 'tset'"]),
        (["evaluate", "{run}", "--steps", 50], ["horizon"]),
        (["sample", "{run}", "--out", "samples.csv"], ["chainrule forecast"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, words, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"{file}": str(place / "my.csv"), "{run}": str(place / "run")}
    refused(call(*(names.get(str(argument), argument) for argument in arguments)), *words)
