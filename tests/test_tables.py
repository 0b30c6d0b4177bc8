from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.models import MADE
from chainrule.tables import (
    OTHER,
    BooleanColumn,
    CategoricalColumn,
    Constant,
    IntegerColumn,
    NumericColumn,
    Quantile,
    Standard,
    TableSchema,
    infer_schema,
    iter_table,
    read_table,
)
from chainrule.tables.segments import Segments
from chainrule.tables.transforms import LARGEST

ROWS = 300


def mixed_frame(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Every kind of column, in the dtypes that people have them in."""
    draw = np.random.default_rng(seed)
    real = draw.normal(size=rows)
    return pd.DataFrame(
        {
            "income": draw.lognormal(3, 2, rows),
            "height": real.astype(np.float32),
            "holes": np.where(real > 1, np.nan, 10 * real),
            "age": draw.integers(18, 90, rows),
            "stars": draw.integers(1, 6, rows).astype(np.int8),
            "bytes": draw.integers(0, 10**7, rows),
            "grid": draw.integers(0, 41, rows) * 0.25 - 3,
            "maybe": pd.array(np.where(real > 0, draw.integers(0, 5, rows), -1), dtype="Int64").copy(),
            "city": draw.choice(["Oslo", "Rome", "Bern"], rows, p=[0.6, 0.3, 0.1]),
            "grade": pd.Categorical(draw.choice(["a", "b", None], rows)),
            "code": draw.choice([200, 404, 500], rows),
            "flag": real > 0,
            "answer": pd.array(draw.choice([True, False, None], rows), dtype="boolean"),
            "always": np.full(rows, 2.5),
        }
    ).assign(maybe=lambda f: f["maybe"].mask(f["maybe"] == -1))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return mixed_frame()


@pytest.fixture(scope="module")
def schema(frame: pd.DataFrame) -> TableSchema:
    return infer_schema(frame)


def column(schema: TableSchema, name: str):
    return next(c for c in schema.columns if c.name == name)


# --- what is inferred -------------------------------------------------------------------------------------


def test_kinds_are_inferred(schema: TableSchema) -> None:
    assert {c.name: (c.kind, c.levels, c.missing) for c in schema.columns} == {
        "income": ("numeric", None, False),
        "height": ("numeric", None, False),
        "holes": ("numeric", None, True),
        "age": ("integer", 72 + 2, False),
        "stars": ("integer", 5 + 2, False),
        "bytes": ("integer", None, False),
        "grid": ("integer", 41 + 2, False),
        "maybe": ("integer", 5 + 2, True),
        "city": ("categorical", 4, False),
        "grade": ("categorical", 3, True),
        "code": ("categorical", 4, False),
        "flag": ("boolean", 2, False),
        "answer": ("boolean", 2, True),
        "always": ("numeric", 2, False),
    }
    assert column(schema, "city").categories == ("Oslo", "Rome", "Bern")
    assert (column(schema, "grid").low, column(schema, "grid").spacing) == (-3, 0.25)
    assert column(schema, "always").transform == Constant(value=2.5, tolerance=2.5e-9)
    assert schema.rows == ROWS
    assert schema.event_shape == (14,)


def test_options_change_what_is_inferred(frame: pd.DataFrame) -> None:
    plain = infer_schema(
        frame, grids=False, numeric_transform="standard", missing="always", drop=["always"], max_levels=10
    )
    assert column(plain, "grid").kind == "numeric"
    assert isinstance(column(plain, "grid").transform, Standard)
    assert column(plain, "age").levels is None
    assert all(c.missing for c in plain.columns)
    assert "always" not in plain.names
    assert column(infer_schema(frame, kinds={"stars": "categorical"}), "stars").kind == "categorical"
    assert column(infer_schema(frame, kinds={"grid": "numeric"}), "grid").kind == "numeric"


def test_whole_floats_count_as_whole_numbers() -> None:
    """As soon as a column of whole numbers has a hole, pandas makes it one of floats."""
    found = infer_schema(pd.DataFrame({"n": [1.0, np.nan, 3.0] * 10}))
    assert column(found, "n") == IntegerColumn(name="n", dtype="float64", missing=True, low=1, high=3)
    decoded = found.decode(found.encode(pd.DataFrame({"n": [3.0, np.nan]})))
    assert decoded["n"].dtype == np.float64


def test_a_grid_may_start_and_step_anywhere() -> None:
    counts = np.random.default_rng(0).poisson(4, 400)
    standardised = (counts - counts.mean()) / counts.std()
    found = infer_schema(pd.DataFrame({"x": standardised, "y": np.random.default_rng(1).normal(size=400)}))
    assert column(found, "x").levels == counts.max() - counts.min() + 1 + 2
    assert column(found, "y").levels is None
    codes = found.encode(pd.DataFrame({"x": standardised, "y": 0.0}))[:, 0]
    assert np.array_equal(codes - 1, counts - counts.min())


def test_text_that_spells_numbers_is_numbers() -> None:
    found = infer_schema(pd.DataFrame({"x": [f"{i / 7:.3f}" for i in range(60)], "n": ["1", "2", None] * 20}))
    assert [c.kind for c in found.columns] == ["numeric", "integer"]
    assert sum("written as text" in notice for notice in found.notices) == 2
    decoded = found.decode(found.encode(pd.DataFrame({"x": ["0.5"], "n": [None]})))
    assert decoded["x"].iloc[0] == pytest.approx(0.5)
    assert decoded["n"].isna().all()


def test_describe_has_a_line_per_column(schema: TableSchema) -> None:
    table = schema.describe()
    assert list(table["column"]) == list(schema.names)
    assert table.set_index("column").loc["city", "modelled as"] == "categorical, 4 states"
    assert table.set_index("column").loc["answer", "modelled as"] == "bernoulli, or missing"
    assert table.set_index("column").loc["age", "modelled as"] == "ordinal, 74 states"


# --- there and back ---------------------------------------------------------------------------------------


def test_decode_undoes_encode(frame: pd.DataFrame, schema: TableSchema) -> None:
    values = schema.encode(frame)
    assert values.shape == (ROWS, 14)
    assert values.dtype == np.float64
    decoded = schema.decode(values)
    pd.testing.assert_frame_equal(decoded, frame, rtol=1e-12)
    from_tensor = schema.decode(schema.tensor(frame))
    pd.testing.assert_frame_equal(from_tensor, frame, rtol=1e-4, atol=1e-4, check_exact=False)


_cells = {
    "float": st.floats(-1e30, 1e30, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-30),
    "hole": st.none() | st.floats(-1e6, 1e6, allow_nan=False, width=32),
    "int": st.integers(-(2**53), 2**53),
    "small": st.integers(-4, 4),
    "bool": st.booleans(),
    "text": st.sampled_from(["x", "y", "", " z", "(other)", "Ω", "None"]),
}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 8).flatmap(
        lambda n: st.fixed_dictionaries(
            {name: st.lists(cell, min_size=n, max_size=n) for name, cell in _cells.items()}
        )
    ),
    transform=st.sampled_from(["quantile", "standard"]),
)
def test_round_trips_of_any_table(rows: dict[str, list[object]], transform: str) -> None:
    frame = pd.DataFrame(rows).astype({"hole": float, "float": float})
    schema = TableSchema.from_json(infer_schema(frame, numeric_transform=transform).to_json())
    values = schema.encode(frame)
    decoded = schema.decode(values)
    for place, c in enumerate(schema.columns):
        want, got, z = frame[c.name], decoded[c.name], values[:, place]
        assert np.array_equal(want.isna(), got.isna())
        assert np.array_equal(want.isna(), np.isnan(z))
        if c.levels is not None:
            states = z[~np.isnan(z)]
            assert np.array_equal(states, np.rint(states))
            assert ((states >= 0) & (states < c.levels)).all()
        if c.kind in ("categorical", "boolean"):
            assert got.tolist() == want.tolist()
        else:
            largest = np.nanmax(np.abs(want.astype(float)))
            np.testing.assert_allclose(
                got.to_numpy(float, na_value=np.nan), want, rtol=1e-6, atol=1e-9 * largest
            )


def test_columns_are_found_by_name(frame: pd.DataFrame, schema: TableSchema) -> None:
    shuffled = frame[list(frame.columns[::-1])].assign(more=1)
    assert np.array_equal(schema.encode(shuffled), schema.encode(frame), equal_nan=True)
    numbered = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)))
    found = infer_schema(numbered)
    assert found.names == (0, 1)
    pd.testing.assert_frame_equal(found.decode(found.encode(numbered)), numbered, check_column_type=False)
    by_text = numbered.rename(columns=str)
    assert np.array_equal(TableSchema.from_json(found.to_json()).encode(by_text), found.encode(numbered))


def test_each_row_is_encoded_alone(frame: pd.DataFrame, schema: TableSchema) -> None:
    """Also for dtypes that change with the rows: a chunk without its holes, or with one row."""
    whole = schema.encode(frame)
    for start in (0, 7, 250):
        part = frame.iloc[start : start + 3].convert_dtypes()
        np.testing.assert_array_equal(schema.encode(part), whole[start : start + 3])


def test_float32_is_the_rounded_float64(frame: pd.DataFrame, schema: TableSchema) -> None:
    narrow = schema.encode(frame, dtype=np.float32)
    np.testing.assert_array_equal(narrow, schema.encode(frame).astype(np.float32))
    assert schema.tensor(frame).dtype == torch.float32
    one_line_error(lambda: schema.encode(frame, dtype=int), "float32 or float64")


def test_jitter_stays_within_a_step(frame: pd.DataFrame, schema: TableSchema) -> None:
    still = schema.encode(frame)
    moved = schema.encode(frame, jitter=np.random.default_rng(1))
    again = schema.encode(frame, jitter=np.random.default_rng(1))
    np.testing.assert_array_equal(moved, again)
    bytes_at = schema.names.index("bytes")
    assert (moved[:, bytes_at] != still[:, bytes_at]).any()
    np.testing.assert_array_equal(schema.decode(moved)["bytes"], frame["bytes"])
    states = [i for i, c in enumerate(schema.columns) if c.levels is not None]
    np.testing.assert_array_equal(moved[:, states], still[:, states])


# --- densities in the data's own units --------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["quantile", "standard"])
def test_the_jacobian_is_the_derivative(transform: str) -> None:
    draw = np.random.default_rng(3)
    frame = pd.DataFrame({"a": draw.lognormal(0, 2, 400), "b": draw.normal(5, 0.01, 400)})
    schema = infer_schema(frame, numeric_transform=transform)
    far = pd.DataFrame({"a": [-50.0, 1e5], "b": [4.0, 6.0]})  # the tails too
    points = pd.concat([frame, far], ignore_index=True)
    eps = 1e-7 * points.abs() + 1e-9
    z, slopes = schema.encode_with_log_jacobian(points)
    above, below = schema.encode(points + eps), schema.encode(points - eps)
    at_knot = np.zeros(z.shape, dtype=bool)
    if transform == "quantile":
        for place, c in enumerate(schema.columns):
            gaps = np.abs(points[c.name].to_numpy()[:, None] - np.array(c.transform.knots))
            at_knot[:, place] = (gaps <= eps[c.name].to_numpy()[:, None]).any(1)
    assert at_knot.mean() < 0.2
    numeric = np.log((above - below) / (2 * eps.to_numpy()))
    np.testing.assert_allclose(slopes[~at_knot], numeric[~at_knot], atol=1e-4)
    np.testing.assert_allclose(schema.log_jacobian(points), slopes)
    np.testing.assert_allclose(schema.log_jacobian(z), slopes)
    np.testing.assert_allclose(schema.log_jacobian(torch.from_numpy(z)), slopes)


def test_a_density_integrates_to_one_in_the_data_s_units() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 500)
    schema = infer_schema(pd.DataFrame({"x": values}))
    knots = np.array(schema.columns[0].transform.knots)
    edges = np.unique(np.concatenate([knots, [knots[0] - 20, knots[-1] + 500]]))
    total = 0.0
    for low, high in pairwise(edges):  # the density jumps at the knots, so each segment by itself
        x = np.linspace(low, high, 2001)
        x = (x[1:] + x[:-1]) / 2
        z, slope = schema.encode_with_log_jacobian(pd.DataFrame({"x": x}))
        density = np.exp(-0.5 * z[:, 0] ** 2 + slope[:, 0]) / np.sqrt(2 * np.pi)
        total += float(density.sum()) * (high - low) / 2000
    assert total == pytest.approx(1, abs=1e-4)


def test_columns_with_probabilities_and_holes_have_no_jacobian(
    frame: pd.DataFrame, schema: TableSchema
) -> None:
    slopes = schema.log_jacobian(frame)
    for place, c in enumerate(schema.columns):
        if c.levels is not None:
            assert not slopes[:, place].any()
    holes = schema.names.index("holes")
    absent = frame["holes"].isna().to_numpy()
    assert not slopes[absent, holes].any()
    assert (slopes[~absent, holes] != 0).all()
    assert np.isfinite(slopes).all()


def test_float32_values_stay_on_their_side_of_a_knot() -> None:
    """Columns with many equal values lie on knots, where the slope jumps."""
    draw = np.random.default_rng(0)
    values = np.where(draw.random(2000) < 0.6, 0.0, draw.lognormal(3, 2, 2000))
    schema = infer_schema(pd.DataFrame({"x": values}))
    z, slopes = schema.encode_with_log_jacobian(pd.DataFrame({"x": values}), dtype=np.float32)
    np.testing.assert_allclose(schema.log_jacobian(z), slopes, rtol=1e-6)


def test_the_quantile_map_makes_columns_normal_and_its_tails_are_straight() -> None:
    values = np.random.default_rng(0).lognormal(0, 3, 5000)
    found = Quantile.fit(values)
    z = found.forward(values)
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1, abs=0.03)
    assert np.abs(np.sort(z)[[125, 2500, 4875]] - [-1.96, 0, 1.96]).max() < 0.05
    top = found.knots[-1]
    outside = found.forward(np.array([2 * top, 3 * top, 4 * top]))
    assert np.allclose(np.diff(outside, 2), 0, atol=1e-9)
    assert (np.diff(outside) > 0).all()
    assert found.forward(np.array([1e308, -1e308])).tolist() == [LARGEST, -LARGEST]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=80, unique=True),
    st.integers(0, 1000),
)
def test_segments_are_searchsorted(bounds: list[float], seed: int) -> None:
    sorted_bounds = np.sort(np.array(bounds))
    draw = np.random.default_rng(seed)
    x = np.concatenate([draw.normal(0, 1e5, 300), sorted_bounds, np.nextafter(sorted_bounds, -np.inf)])
    found = Segments(sorted_bounds).find(x)
    assert np.array_equal(found, np.searchsorted(sorted_bounds, x, side="right"))


def test_segments_take_what_is_no_place() -> None:
    x = np.array([np.nan, 1e308, -1e308] * 100)
    found = Segments(np.linspace(-1e-3, 1e-3, 20)).find(x)
    assert found[1::3].tolist() == [20] * 100
    assert found[2::3].tolist() == [0] * 100


# --- values that the schema has not seen ------------------------------------------------------------------


def test_unseen_values_have_a_meaning(frame: pd.DataFrame, schema: TableSchema) -> None:
    def state(name: str, *cells: object) -> list[float]:
        rows = frame.iloc[[0] * len(cells)].reset_index(drop=True)
        return schema.encode(rows.assign(**{name: list(cells)}))[:, schema.names.index(name)].tolist()

    assert state("city", "Oslo", "Paris", 7) == [0, 3, 3]
    assert state("code", 200.0, 201, "404") == [
        column(schema, "code").categories.index("200"),
        3,
        column(schema, "code").categories.index("404"),
    ]
    assert state("stars", -100, 0, 1, 5, 6, 10**9) == [0, 0, 1, 5, 6, 6]
    assert state("stars", 2.4, 2.6) == [2, 3]
    assert state("grid", -3.0, -2.99, 7.0, 7.3, -9) == [1, 1, 41, 42, 0]
    assert state("flag", 1, 0, "True", "false", 1.0) == [1, 0, 1, 0, 1]
    assert state("flag", "yes", "No", "y", "F") == [1, 0, 1, 0]
    assert state("always", 2.5, 2.6, -1e300) == [0, 1, 1]
    ends = frame["income"].min(), frame["income"].max()
    below, above = state("income", ends[0] - 1e9, ends[1] + 1e9)
    assert below < state("income", ends[0])[0] < state("income", ends[1])[0] < above


def test_what_states_decode_to(schema: TableSchema) -> None:
    outer = np.array([[0.0] * 14, [1e9] * 14])
    decoded = schema.decode(outer)
    assert decoded["city"].tolist() == ["Oslo", OTHER]
    assert decoded["code"].tolist()[1] == OTHER
    assert decoded["grade"].tolist()[1] == OTHER
    assert decoded["stars"].tolist() == [1, 5]
    assert decoded["grid"].tolist() == [-3, 7]
    assert decoded["flag"].tolist() == [False, True]
    assert decoded["always"].tolist() == [2.5, 2.5]
    assert decoded["bytes"].iloc[1] == column(schema, "bytes").high
    all_missing = schema.decode(np.full((2, 14), np.nan))
    assert all_missing.isna().all(axis=None)
    assert schema.decode(np.empty((0, 14))).shape == (0, 14)


def test_rare_categories_share_a_state() -> None:
    draw = np.random.default_rng(0)
    cells = np.where(draw.random(30_000) < 0.5, "common", [f"c{i}" for i in draw.integers(0, 10_000, 30_000)])
    schema = infer_schema(pd.DataFrame({"x": cells}), max_categories=100)
    assert column(schema, "x").levels == 101
    assert column(schema, "x").categories[0] == "common"
    assert len(schema.notices) == 1
    assert "100 most frequent are kept" in schema.notices[0]
    states = schema.encode(pd.DataFrame({"x": cells}))[:, 0]
    assert (states == 100).mean() == pytest.approx(column(schema, "x").other_share)


# --- a model of the table ---------------------------------------------------------------------------------


def test_the_conditional_fits_the_values(frame: pd.DataFrame, schema: TableSchema) -> None:
    conditional = schema.conditional(components=3)
    names = [c.name for c in conditional.columns]
    assert names[schema.names.index("income")] == "gaussian_mixture"
    assert names[schema.names.index("age")] == "discretized_logistic_mixture"
    assert names[schema.names.index("stars")] == "categorical"
    assert names[schema.names.index("flag")] == "bernoulli"
    assert names[schema.names.index("holes")] == "missing"
    values = schema.tensor(frame)
    conditional.check(values)
    assert bool(conditional.in_support(values).all())


def test_a_model_scores_and_makes_tables(frame: pd.DataFrame, schema: TableSchema) -> None:
    model = MADE(schema.event_shape, hidden=[20], conditional=schema.conditional(components=3))
    log_prob = model.log_prob(schema.tensor(frame)).detach()
    assert bool(log_prob.isfinite().all())
    drawn = schema.decode(model.sample(50, seed=0))
    alike = [name for name in frame.columns if name not in ("grade", "code")]  # these may hold "(other)"
    assert list(drawn[alike].dtypes) == list(frame[alike].dtypes)
    assert isinstance(drawn["grade"].dtype, pd.CategoricalDtype)
    assert set(drawn["code"]) <= {200, 404, 500, OTHER}
    assert drawn["stars"].between(1, 5).all()
    assert set(drawn["city"]) <= {"Oslo", "Rome", "Bern", OTHER}
    assert np.isfinite(schema.encode(drawn.fillna({"code": 200}))[:, 0]).all()


def test_families_can_be_chosen(schema: TableSchema) -> None:
    chosen = schema.conditional(numeric="student_t", families={"income": "logistic_mixture"}, few_levels=100)
    assert chosen.columns[0].name == "logistic_mixture"
    assert chosen.columns[1].name == "student_t"
    assert chosen.columns[schema.names.index("age")].name == "categorical"
    one_line_error(lambda: schema.conditional(families={"incme": "gaussian"}), "'incme'", "'income'")
    one_line_error(lambda: schema.conditional(families={"city": "gaussian"}), "'city'", "4 states")
    one_line_error(lambda: schema.conditional(families={"income": "bernoulli"}), "'income'", "density")
    one_line_error(
        lambda: schema.conditional(families={"holes": {"name": "missing", "inner": "gaussian"}}), "'holes'"
    )
    one_line_error(lambda: schema.conditional(numeric="gausian"), "gausian", "gaussian")
    for family in ("categorical", "mixed", "missing", {"name": "categorical", "levels": 4}):
        one_line_error(lambda family=family: schema.conditional(numeric=family), "no density", "student_t")
    for family in ({"kind": "gaussian"}, {}, 3, ["gaussian"], None):
        one_line_error(lambda family=family: schema.conditional(numeric=family), "numeric=", "'name'")
    one_line_error(lambda: schema.conditional(families={"income": 3}), "income=3", "'name'")


# --- JSON -------------------------------------------------------------------------------------------------


def test_a_schema_is_saved_and_loaded(schema: TableSchema, tmp_path) -> None:
    path = schema.save(tmp_path / "run")
    assert path.name == "schema.json"
    assert TableSchema.load(tmp_path / "run") == schema
    assert TableSchema.load(path) == schema
    assert len(path.read_text().splitlines()) < 25  # a line per column: people read it
    one_line_error(lambda: TableSchema.load(tmp_path), "schema.json")
    path.write_text("{")
    one_line_error(lambda: TableSchema.load(path), str(path), "JSON")
    path.write_text("[1]")
    one_line_error(lambda: TableSchema.load(path), "no schema of a table")
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    one_line_error(lambda: TableSchema.load(table), f"{table} is no schema", "schema.json")
    one_line_error(lambda: TableSchema.load(3), "path", "3")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d["columns"][0]["transform"].update(knots=[2, 1]), ("'income'", "knots")),
        (lambda d: d["columns"][0]["transform"].update(kind="log"), ("'income'", "'log'", "quantile")),
        (lambda d: d["columns"][3].update(low=1000), ("'age'", "low=1000")),
        (lambda d: d["columns"][3].update(spacing=0), ("'age'", "spacing")),
        (lambda d: d["columns"][8].update(categories=["a", "a"]), ("'city'", "'a' is listed twice")),
        (lambda d: d["columns"][8].update(kind="category"), ("'city'", "'category'", "'categorical'")),
        (lambda d: d["columns"][8].update(colour=1), ("'city'", "colour")),
        (lambda d: d["columns"].append(d["columns"][0]), ("'income' is listed twice",)),
        (lambda d: d.update(columns=[]), ("columns",)),
        (lambda d: d.clear(), ("JSON with nothing", "'columns'", "TableSchema.save")),
        (lambda d: d.pop("columns"), ("JSON with 'format'", "'columns'")),
        (lambda d: d.update(format=2), ("format",)),
    ],
)
def test_a_wrong_edit_names_the_place(schema: TableSchema, edit, words: tuple[str, ...]) -> None:
    document = json.loads(schema.to_json())
    edit(document)
    one_line_error(lambda: TableSchema.from_json(json.dumps(document)), *words)


def test_an_edit_takes_effect(frame: pd.DataFrame, schema: TableSchema) -> None:
    document = json.loads(schema.to_json())
    document["columns"][8]["categories"] = ["Rome"]
    edited = TableSchema.from_json(json.dumps(document))
    assert set(edited.encode(frame)[:, 8]) == {0, 1}


# --- bad input when a schema is inferred ------------------------------------------------------------------

_DAYS = pd.date_range("2024-01-01", periods=60)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([*range(59), np.inf], ("row 59", "inf", "finite")),
        (_DAYS, ("dates", "--drop bad", "2024-01-01")),
        (_DAYS.astype(str), ("dates", "--drop bad")),
        (_DAYS.strftime("%d/%m/%Y %H:%M"), ("dates",)),
        (_DAYS.strftime("%B %d, %Y"), ("dates",)),
        ([datetime.date(2024, 1, 1)] * 60, ("dates",)),
        (pd.to_timedelta(np.arange(60), unit="s"), ("dates or times",)),
        ([f"the customer wrote number {i}" for i in range(60)], ("60 different texts", "--drop bad")),
        ([f"{i / 7}" for i in range(59)] + ["?"], ("'?'", "row 59", "empty")),
        ([[1, 2]] * 60, ("row 0", "[1, 2]")),
        ([1j] * 60, ("complex",)),
        ([1e200, *range(59)], ("row 0", "1e+200", "rescale")),
        ([2**62 + i for i in range(60)], ("too close", "--drop bad")),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else value[0],
)
def test_a_column_that_cannot_be_modelled_is_named(cells, words: tuple[str, ...]) -> None:
    bad = pd.DataFrame({"fine": np.arange(60.0), "bad": cells})
    one_line_error(lambda: infer_schema(bad), "'bad'", *words)
    assert infer_schema(bad, drop=["bad"]).names == ("fine",)


def test_identifiers_are_refused_and_categories_are_not() -> None:
    ids = pd.DataFrame({"id": [f"u{i}" for i in range(1000)]})
    one_line_error(lambda: infer_schema(ids), "'id'", "1,000 different texts", "identifiers", "--drop id")
    assert infer_schema(pd.DataFrame({"id": ["u1", "u2", "u3"] * 20})).columns[0].kind == "categorical"
    assert "row numbers" in infer_schema(pd.DataFrame({"n": np.arange(1000)})).notices[0]


def test_tables_that_are_none() -> None:
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    one_line_error(lambda: infer_schema(twice), "two columns are named 'a'")
    one_line_error(lambda: infer_schema(pd.DataFrame({("a", "b"): [1]})), "several levels")
    one_line_error(lambda: infer_schema(pd.DataFrame({"a": []})), "0 rows")
    one_line_error(lambda: infer_schema(pd.DataFrame(index=range(3))), "0 columns")
    one_line_error(lambda: infer_schema(np.ones((3, 2))), "DataFrame", "ndarray")
    one_line_error(lambda: infer_schema(pd.DataFrame({"a": [None, None]})), "no column is left")


def test_columns_without_information_are_kept_and_empty_ones_are_not() -> None:
    frame = pd.DataFrame({"one": ["u"] * 30, "same": [7] * 30, "none": [np.nan] * 30, "x": [0.1, 0.2] * 15})
    schema = infer_schema(frame)
    assert schema.names == ("one", "same", "x")
    assert schema.notices == ("column 'none' holds no value at all and is left out",)
    assert [column(schema, name).levels for name in ("one", "same")] == [2, 3]
    assert set(schema.encode(frame)[:, 0]) == {0}
    model = MADE(schema.event_shape, hidden=[8], conditional=schema.conditional())
    assert bool(model.log_prob(schema.tensor(frame)).isfinite().all())


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_work_with_a_notice(rows: int) -> None:
    frame = mixed_frame(rows).dropna(axis=1)
    schema = infer_schema(frame)
    assert f"only {rows} row" in schema.notices[0]
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)), frame, rtol=1e-6)


def test_wrong_options(frame: pd.DataFrame) -> None:
    one_line_error(lambda: infer_schema(frame, numeric_transform="quantil"), "'quantile'")
    one_line_error(lambda: infer_schema(frame, missing="sometimes"), "auto")
    one_line_error(lambda: infer_schema(frame, max_categories=0), "max_categories")
    one_line_error(lambda: infer_schema(frame, kinds={"cty": "categorical"}), "'city'")
    one_line_error(lambda: infer_schema(frame, kinds={"city": "text"}), "'text'")
    one_line_error(lambda: infer_schema(frame, kinds={"city": "numeric"}), "'city'", "row 0", "a number")
    one_line_error(lambda: infer_schema(frame, kinds={"income": "integer"}), "'income'", "fractions")
    one_line_error(lambda: infer_schema(frame, kinds={"city": "boolean"}), "'city'", "true or false")
    one_line_error(lambda: infer_schema(frame, drop=["cty"]), "'city'")
    one_line_error(lambda: infer_schema(frame, drop="city"), "drop='city'", "list")
    one_line_error(lambda: infer_schema(frame, kinds="city"), "kinds='city'", "by name")


# --- bad input when a table is scored ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="income"), ("lacks the column 'income'",)),
        (lambda f: f.rename(columns={"income": "Income"}), ("'income' (renamed to 'Income'?)",)),
        (lambda f: f.rename(columns={"city": "citty"}), ("'city' (renamed to 'citty'?)",)),
        (lambda f: f[["income"]], ("'height'", "and 8 more")),
        (lambda f: pd.concat([f, f[["age"]]], axis=1), ("2 columns named 'age'",)),
        (lambda f: f.assign(income=["1", "two", "3"]), ("'income'", "row 1", "'two'", "a number")),
        (lambda f: f.assign(income=[1, -np.inf, 3]), ("'income'", "row 1", "-inf")),
        (lambda f: f.assign(income=[1, np.nan, 3]), ("'income'", "row 1", "missing: false", "always")),
        (lambda f: f.assign(city=["Oslo", None, "Rome"]), ("'city'", "row 1", "missing")),
        (lambda f: f.assign(income=_DAYS[:3]), ("'income'", "datetime64", "numbers")),
        (lambda f: f.assign(age=["old", "young", "3"]), ("'age'", "row 0", "'old'")),
        (
            lambda f: f.assign(flag=["yes", "perhaps", "no"]),
            ("'flag'", "row 1", "'perhaps'", "true or false"),
        ),
        (lambda f: f.assign(city=[["Oslo"]] * 3), ("'city'", "row 0", "['Oslo']")),
        (lambda f: f.to_numpy(), ("DataFrame",)),
        (lambda f: None, ("DataFrame",)),
        (lambda f: f.assign(income=["1", "two", "3"]).set_index(pd.Index(["p", "q", "r"])), ("row 'q'",)),
    ],
)
def test_a_table_that_does_not_fit_is_one_clear_line(
    frame: pd.DataFrame, schema: TableSchema, change, words: tuple[str, ...]
) -> None:
    one_line_error(lambda: schema.encode(change(frame.head(3).copy())), *words)


def test_values_that_do_not_fit_are_one_clear_line(schema: TableSchema) -> None:
    one_line_error(lambda: schema.decode(np.ones((3, 2))), "(3, 2)", "(rows, 14)")
    one_line_error(lambda: schema.decode(np.full((1, 14), np.inf)), "row 0", "'income'")
    one_line_error(lambda: schema.decode(np.array([["a"] * 14])), "numbers")
    one_line_error(lambda: schema.log_jacobian(np.ones(14)), "(14,)")


# --- small print ------------------------------------------------------------------------------------------


def test_importing_tables_does_not_import_pandas() -> None:
    code = "import sys, chainrule.tables; print('pandas' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_columns_can_be_written_by_hand() -> None:
    schema = TableSchema(
        rows=1,
        columns=(
            NumericColumn(
                name="x", dtype="float64", low=0, high=1, transform=Standard(centre=1.0, scale=2.0)
            ),
            BooleanColumn(name="b", dtype="bool"),
            CategoricalColumn(name="c", dtype="object", categories=("u",)),
        ),
    )
    assert schema.encode(pd.DataFrame({"x": [5.0], "b": [True], "c": ["v"]})).tolist() == [[2, 1, 1]]
    assert schema.log_jacobian(np.zeros((1, 3)))[0, 0] == pytest.approx(-np.log(2))


def test_whole_numbers_beyond_the_range_share_their_state_by_distance():
    schema = infer_schema(pd.DataFrame({"n": [0, 1, 2, 3, 8] * 10}))
    far = pd.DataFrame({"n": [0, 8, 9, 10, -1, 10**9]})
    values, shares = schema.encode_with_log_jacobian(far)
    assert values[:, 0].tolist() == [1, 9, 10, 10, 0, 10]
    assert shares[:5, 0].tolist() == pytest.approx([0, 0, -math.log(2), -math.log(6), -math.log(2)])
    assert shares[5, 0] == pytest.approx(-2 * math.log(1e9), abs=1e-6)
    beyond = pd.DataFrame({"n": np.arange(9, 20_009)})
    assert np.exp(schema.log_jacobian(beyond)).sum() == pytest.approx(1, abs=1e-4)


# --- labels that look like numbers -------------------------------------------------------------------------


def _codes_frame() -> pd.DataFrame:
    codes = ["007", "1e3", "012", "12", "TRUE", "abc", None]
    return pd.DataFrame({"code": codes * 20, "port": [80, 443, 80, 22, 80, 443, 22] * 20, "x": range(140)})


@pytest.mark.parametrize("chunk_rows", [1, 3, 1000])
def test_codes_are_read_alike_whatever_else_is_in_the_file(tmp_path, chunk_rows):
    frame = _codes_frame()
    schema = infer_schema(frame, kinds={"port": "categorical"})
    wanted = schema.encode(frame)
    frame.to_csv(tmp_path / "all.csv", index=False)
    chunks = list(iter_table(tmp_path / "all.csv", chunk_rows, schema=schema))
    np.testing.assert_array_equal(np.concatenate([schema.encode(chunk) for chunk in chunks]), wanted)
    assert all(chunk["port"].dtype.kind == "i" for chunk in chunks)  # numbers stay numbers

    digits = frame["code"].isin(["007", "1e3", "012"]).to_numpy()
    frame[digits].to_csv(tmp_path / "few.csv", index=False)
    few = read_table(tmp_path / "few.csv", schema=schema)
    assert few["code"].tolist()[:3] == ["007", "1e3", "012"]
    np.testing.assert_array_equal(schema.encode(few), wanted[digits])


def test_numbers_match_the_one_category_that_spells_them():
    column = CategoricalColumn(name="c", dtype="object", categories=("007", "1e3", "012", "0012", "5", "05"))
    numbers = pd.Series([7, 1000.0, 12, 5, 6, np.nan])
    np.testing.assert_array_equal(column.read(numbers), [0, 1, 6, 4, 6, np.nan])  # 12 is spelled twice
    np.testing.assert_array_equal(
        column.read(pd.Series(["7", "007", "1000"])), [6, 0, 6]
    )  # texts as they are
    priced = CategoricalColumn(name="c", dtype="float64", categories=("0.5", "3"), labels="number")
    np.testing.assert_array_equal(priced.read(pd.Series(["0.50", "3.0", "03", "x"])), [0, 1, 1, 2])


# --- texts that may mean that a value is missing ------------------------------------------------------------


def _countries() -> pd.DataFrame:
    """Namibia's code is NA, and someone's surname is None; among numbers and truth values NA is a hole."""
    return pd.DataFrame(
        {
            "country": ["NA", "DE", "NA", "", "DE", "FR"] * 10,
            "name": ["None", "Null", "Smith", "Nan", "Smith", "null"] * 10,
            "x": ["0.5", "NA", "1.25", "nan", "7.125", "-2.5"] * 10,
            "n": ["1", "2", "null", "7", "3", ""] * 10,
            "ok": ["True", "False", "NA", "True", "False", "True"] * 10,
        }
    )


def _read_in(how: str, path) -> list[pd.DataFrame]:
    if how == "frame":
        return [_countries()]
    _countries().to_csv(path, index=False)
    return [read_table(path)] if how == "whole" else list(iter_table(path, int(how)))


@pytest.mark.parametrize("how", ["frame", "whole", "1", "7"])
def test_na_is_a_label_in_text_and_a_hole_in_numbers_however_it_is_read(tmp_path, how) -> None:
    read = read_table_schema(tmp_path)
    parts = _read_in(how, tmp_path / "a.csv")
    encoded = pd.DataFrame(np.concatenate([read.encode(part) for part in parts]), columns=read.names)
    country, name = column(read, "country"), column(read, "name")
    codes = [country.categories.index("NA"), country.categories.index("DE")]
    # The empty text in a DataFrame is no empty cell of a file: "" was never seen, so it is another label.
    empty = country.levels - 1 if how == "frame" else np.nan
    assert encoded["country"].head(5).tolist()[:3] == [codes[0], codes[1], codes[0]]
    np.testing.assert_equal(encoded["country"][3], empty)
    assert encoded["name"].head(3).tolist() == [name.categories.index(c) for c in ("None", "Null", "Smith")]
    assert encoded["x"].isna().head(6).tolist() == [False, True, False, True, False, False]
    assert encoded["n"].isna().head(6).tolist() == [False, False, True, False, False, True]
    np.testing.assert_array_equal(encoded["ok"].head(4), [1, 0, np.nan, 1])


def read_table_schema(folder) -> TableSchema:
    """The schema of the file; it says which labels may have been meant for holes."""
    path = folder / "fitted.csv"
    _countries().to_csv(path, index=False)
    schema = infer_schema(read_table(path))
    assert [(c.kind, c.missing) for c in schema.columns] == [
        ("categorical", True),
        ("categorical", False),
        ("numeric", True),
        ("integer", True),
        ("boolean", True),
    ]
    notices = [notice for notice in schema.notices if "like any other" in notice]
    assert "column 'country' holds the text 'NA' in 20 cells" in notices[0]
    assert [word in " ".join(notices[1:]) for word in ("'None'", "'null'", "'Nan'")] == [True, True, False]
    with_schema = list(iter_table(path, 7, schema=schema))
    whole = schema.encode(read_table(path))
    np.testing.assert_array_equal(np.concatenate([schema.encode(part) for part in with_schema]), whole)
    np.testing.assert_array_equal(schema.encode(read_table(path, schema=schema)), whole)
    assert all(part["x"].dtype == np.float64 for part in with_schema)
    return schema


def test_a_frame_with_na_as_text_has_the_schema_of_its_file(tmp_path) -> None:
    from_frame = infer_schema(_countries().replace({"country": {"": None}}))
    from_file = read_table_schema(tmp_path)
    for one, other in zip(from_frame.columns, from_file.columns, strict=True):
        assert (one.kind, one.missing, one.levels) == (other.kind, other.missing, other.levels)


def test_numbers_that_are_codes_take_na_for_a_hole() -> None:
    schema = infer_schema(pd.DataFrame({"code": [200, 404, 500, None] * 50}))
    assert schema.columns[0].kind == "categorical"
    scored = schema.encode(pd.DataFrame({"code": ["200", "NA", "403"]}))[:, 0]
    assert np.isnan(scored[1])
    assert scored[2] == 3


def test_a_column_of_nothing_but_na_holds_no_value() -> None:
    schema = infer_schema(pd.DataFrame({"a": ["NA", None, "null"] * 10, "b": range(30)}))
    assert schema.names == ("b",)
    assert "'a' holds no value" in " ".join(schema.notices)
    kept = infer_schema(pd.DataFrame({"a": ["NA"] * 30}), kinds={"a": "categorical"})
    assert kept.columns[0].categories == ("NA",)


def test_yes_and_no_match_true_and_false_both_ways() -> None:
    schema = infer_schema(pd.DataFrame({"a": ["Yes", "No"] * 20, "b": ["yes", "maybe"] * 20}))
    assert [c.kind for c in schema.columns] == ["categorical", "categorical"]
    scored = schema.encode(pd.DataFrame({"a": [True, False, True], "b": [True, True, False]}))
    assert scored[:, 0].tolist() == [1, 0, 1]  # the categories are No and Yes
    assert scored[:, 1].tolist() == [2, 2, 2]  # maybe is no truth value, so True is another label
    assert schema.encode(pd.DataFrame({"a": ["y", "FALSE"], "b": "yes"}))[:, 0].tolist() == [1, 0]
    asked = infer_schema(pd.DataFrame({"a": ["Yes", "No", "NA"] * 20}), kinds={"a": "boolean"})
    np.testing.assert_array_equal(asked.encode(pd.DataFrame({"a": ["Yes", None, "n"]}))[:, 0], [1, np.nan, 0])


# --- numbers that are not spelled as numbers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "spell",
    ["${:,.2f}", "{:.1f}%", "{:,d}", "€ {:d}", "{:d} EUR", "({:,d})", "{:d},50"],
    ids=str,
)
def test_many_formatted_numbers_are_refused_and_few_are_categories(spell: str) -> None:
    def cells(numbers) -> list[str]:
        return [spell.format(number) for number in numbers]

    many = pd.DataFrame({"price": [*cells(range(1000, 1200)), "NA", None], "x": np.arange(202.0)})
    example = repr(cells([1000])[0])
    one_line_error(lambda: infer_schema(many), "'price'", "numbers written as text", example, "--drop price")
    assert infer_schema(many, kinds={"price": "categorical"}).columns[0].levels == 101
    few = infer_schema(pd.DataFrame({"price": cells([1000, 1200, 1500] * 20)}))
    assert few.columns[0].kind == "categorical"
    assert len(few.notices) == 1
    assert "'price' looks like numbers written as text" in few.notices[0]
    assert "3 different texts" in few.notices[0]


def test_labels_with_digits_are_no_formatted_numbers() -> None:
    for texts in (["10.0.0.1", "10.0.0.2"], ["A4", "B12"], ["1-5", "6-10"], ["555-1234"], ["v1.2", "v1.3"]):
        assert infer_schema(pd.DataFrame({"c": texts * 30})).notices == ()


# --- synthetic values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "decimals"),
    [
        (np.random.default_rng(0).normal(50, 9, 300).round(2), 2),
        (np.random.default_rng(0).normal(50, 9, 300).round(1).astype(np.float32), 1),
        (np.random.default_rng(0).normal(5e7, 1e7, 300).round(2), 2),
        (np.random.default_rng(0).normal(0, 1e-4, 300).round(7), 7),
        (np.random.default_rng(0).normal(50, 9, 300), None),
        (np.random.default_rng(0).normal(50, 9, 300).astype(np.float32), None),
        (np.random.default_rng(0).integers(0, 10**6, 300).astype(float) + 0.5, 1),
    ],
)
def test_decimals_are_those_of_the_values(cells, decimals) -> None:
    frame = pd.DataFrame({"x": cells})
    schema = infer_schema(frame, grids=False)
    assert schema.columns[0].decimals == decimals
    # What was seen stays as it is, to the last bit where there are decimals.
    again = schema.decode(schema.encode(frame), like_seen=True)
    np.testing.assert_allclose(again["x"], frame["x"], rtol=1e-12 if decimals is None else 0)
    assert again["x"].dtype == frame["x"].dtype


def test_decoding_like_seen_rounds_and_stays_in_range() -> None:
    cells = np.random.default_rng(0).normal(50, 9, 300).round(2)
    schema = infer_schema(pd.DataFrame({"x": cells}))
    z = np.linspace(-9, 9, 101)[:, None]
    free, seen = schema.decode(z)["x"], schema.decode(z, like_seen=True)["x"]
    assert free.min() < cells.min() - 1
    assert (free.round(2) != free).any()
    assert (seen.min(), seen.max()) == (cells.min(), cells.max())
    assert (seen.round(2) == seen).all()
    inside = free.between(cells.min(), cells.max())
    assert (free - seen)[inside].abs().max() <= 0.005 + 1e-9


def test_typical_slopes_change_with_the_units_as_densities_do() -> None:
    x = np.random.default_rng(0).lognormal(0, 1, 500)
    for transform in ("quantile", "standard"):
        frame = pd.DataFrame({"x": x, "label": ["u", "v"] * 250})
        one = infer_schema(frame, numeric_transform=transform).typical_log_slopes()
        other = infer_schema(frame.assign(x=1000 * x), numeric_transform=transform).typical_log_slopes()
        assert (one[1], other[1]) == (0, 0)
        assert one[0] - other[0] == pytest.approx(math.log(1000))
    spread = np.subtract(*np.quantile(x, [0.75, 0.25])) / 1.349
    quantile = infer_schema(pd.DataFrame({"x": x})).typical_log_slopes()[0]
    assert quantile == pytest.approx(-math.log(spread), abs=0.05)
