"""Models of tables: likelihoods in the table's own units, synthesis, imputation, files, odd tables.

Statistical checks use fixed seeds and allow 5 standard errors for each of fewer than 200 numbers: a
correct sampler fails a check here with probability below 2e-4.
"""

from __future__ import annotations

import math
import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from data_helpers import one_line_error
from pandas.testing import assert_frame_equal

import chainrule
from chainrule.conditionals import Gaussian, resolve_conditional
from chainrule.models import Ensemble
from chainrule.tables import OTHER, infer_schema
from chainrule.tabular import TABLE_MODELS, TableModel, fit_table
from chainrule.training.run import Run
from chainrule.training.trainer import Trainer

ROWS = 300


def mixed_table(rows=ROWS, seed=0):
    """Numbers, whole numbers, categories, booleans; holes in two columns; everything depends."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 0.5, rows)
    city = rng.choice(["Oslo", "Rome", "Bern"], rows, p=[0.5, 0.3, 0.2])
    frame = pd.DataFrame({"income": income, "children": rng.poisson(1.5, rows), "city": city})
    frame["owner"] = rng.random(rows) < 1 / (1 + np.exp(2e-5 * (3e4 - income)))
    frame["debt"] = np.where(rng.random(rows) < 0.2, np.nan, income * 0.1 + rng.normal(size=rows) * 500)
    frame["plan"] = pd.Series(np.where(city == "Oslo", "gold", "free")).where(rng.random(rows) < 0.8)
    return frame


def fitted(frame, **settings):
    return fit_table(frame, **{"steps": 60, "progress": False, **settings}).double()


@pytest.fixture(scope="module")
def frame():
    return mixed_table()


@pytest.fixture(scope="module")
def model(frame):
    return fitted(frame)


def little_table(holes=False, rows=600):
    """Two booleans and a category, which depend on each other."""
    rng = np.random.default_rng(1)
    one = rng.random(rows) < 0.6
    two = rng.random(rows) < np.where(one, 0.8, 0.3)
    three = np.where(rng.random(rows) < 0.7, np.where(two, "a", "b"), "c")
    frame = pd.DataFrame({"one": one, "two": two, "three": three}).astype(object)
    return frame.mask(rng.random(frame.shape) < 0.2) if holes else frame


def states_of(schema):
    """Every row that a table of booleans and categories can have, missing values apart."""
    levels = [range(column.levels) for column in schema.columns]
    return schema.decode(np.array(np.meshgrid(*levels)).reshape(len(levels), -1).T.astype(float))


def assert_shares(drawn, states, truth):
    """The shares of `states` among the drawn rows are the probabilities within 5 standard errors."""
    names = list(states.columns)
    key = lambda table: table[names].astype(str).agg("|".join, axis=1)  # noqa: E731
    shares = key(drawn).value_counts(normalize=True)
    assert set(shares.index) <= set(key(states))
    found = shares.reindex(key(states), fill_value=0.0).to_numpy()
    allowed = 5 * np.sqrt(truth / len(drawn)) + 12 / len(drawn)
    assert (np.abs(found - truth) <= allowed).all(), (found, truth, allowed)
    assert allowed.max() < 0.12  # a test that allows everything tests nothing


# ---------------------------------------------------------------- likelihood


def test_log_prob_is_that_of_the_model_and_the_jacobian(model, frame):
    z, slopes = model.schema.encode_with_log_jacobian(frame)
    with torch.no_grad():
        expected = model.model.log_prob(torch.from_numpy(z)).numpy() + slopes.sum(1)
    assert np.abs(model.log_prob(frame) - expected).max() < 1e-9
    assert np.abs(slopes).max() > 5  # incomes: the Jacobian is no trifle


@pytest.mark.parametrize("transform", ["standard", "quantile"])
@pytest.mark.parametrize("numeric", ["student_t", "gaussian_mixture"])
def test_densities_integrate_to_one_in_the_columns_units(transform, numeric):
    rng = np.random.default_rng(3)
    salaries = pd.DataFrame({"salary": rng.lognormal(10, 0.6, 200)})
    model = fitted(salaries, numeric=numeric, numeric_transform=transform)
    # x = centre + scale tan(angle) takes the whole line; the midpoint rule minds no steps of a density.
    pieces = 50_000
    angle = ((np.arange(pieces) + 0.5) / pieces - 0.5) * np.pi
    centre, scale = salaries["salary"].median(), salaries["salary"].std()
    x = pd.DataFrame({"salary": centre + scale * np.tan(angle)})
    mass = np.exp(model.log_prob(x)) * scale / np.cos(angle) ** 2 * np.pi / pieces
    assert abs(mass.sum() - 1) < 1e-3
    assert np.exp(model.log_prob(salaries)).max() < 1e-3  # per unit of money, not per standard deviation


def test_probabilities_of_a_table_of_states_add_up_to_one():
    model = fitted(little_table(), steps=30)
    states = states_of(model.schema)
    assert len(states) == 16
    assert abs(np.exp(model.log_prob(states)).sum() - 1) < 1e-9


def test_columns_add_up_to_the_row(model, frame):
    cells = model.log_prob_per_column(frame)
    assert cells.shape == (ROWS, 6)
    assert np.abs(cells.sum(1) - model.log_prob(frame)).max() < 1e-9


def test_anomaly_scores_lie_between_single_columns_and_their_joint(model, frame):
    alone = TableModel(model.schema, model.marginals)
    joint, single = model.log_prob(frame), alone.log_prob(frame)
    assert np.abs(joint - single).mean() > 0.3
    # A hole in a column with a density is scored as a density, at the column's typical slope.
    holes = frame["debt"].isna().to_numpy() * model.schema.typical_log_slopes()[list(frame).index("debt")]
    assert holes.min() < -5
    joint, single = joint + holes, single + holes
    assert np.abs(model.anomaly_scores(frame, dependence=1) - joint).max() < 1e-9
    assert np.abs(model.anomaly_scores(frame, dependence=0) - single).max() < 1e-9
    assert np.abs(model.anomaly_scores(frame, dependence=0.25) - (0.25 * joint + 0.75 * single)).max() < 1e-9
    for dependence in (0, 0.3, 1):
        rows = model.anomaly_scores(frame, dependence=dependence)
        cells = model.anomaly_scores(frame, dependence=dependence, per_column=True)
        assert np.abs(cells.sum(1) - rows).max() < 1e-9
    one_line_error(lambda: model.anomaly_scores(frame, dependence=1.5), "dependence", "1.5")


@pytest.mark.parametrize("transform", ["quantile", "standard"])
def test_the_order_of_scores_does_not_depend_on_units(frame, transform):
    """Holes have probabilities, values densities in the column's units: the two must be comparable."""
    settings = {"steps": 30, "numeric_transform": transform}
    unit = 1024  # a power of 2: no rounding
    one = fitted(frame, **settings)
    other_frame = frame.assign(debt=frame["debt"] * unit, income=frame["income"] / unit)
    other = fitted(other_frame, **settings)
    for dependence in (0, 0.5, 1):
        here = one.anomaly_scores(frame, dependence=dependence)
        there = other.anomaly_scores(other_frame, dependence=dependence)
        assert np.ptp(here - there) < 1e-6
        cells = one.anomaly_scores(frame, dependence=dependence, per_column=True)
        moved = other.anomaly_scores(other_frame, dependence=dependence, per_column=True)
        assert np.ptp(cells - moved, axis=0).max() < 1e-6
    assert np.ptp(one.log_prob(frame) - other.log_prob(other_frame)) > 5  # log p has units


def test_a_rows_score_does_not_depend_on_its_batch(model, frame, monkeypatch):
    whole = model.anomaly_scores(frame)
    rows = [5, 120, 299]
    alone = np.concatenate([model.anomaly_scores(frame.iloc[[row]]) for row in rows])
    assert np.abs(alone - whole[rows]).max() < 1e-9
    backwards = model.anomaly_scores(frame.iloc[::-1])[::-1]
    assert np.abs(backwards - whole).max() < 1e-9
    strange = frame.copy()
    strange.loc[strange.index != 5, ["income", "children"]] = 1_000_000
    assert abs(model.anomaly_scores(strange)[5] - whole[5]) < 1e-9
    monkeypatch.setattr("chainrule.tabular.model._ROWS", 7)
    assert np.abs(model.anomaly_scores(frame) - whole).max() < 1e-9
    assert model.log_prob(frame.head(0)).shape == (0,)
    assert model.log_prob_per_column(frame.head(0)).shape == (0, 6)


def test_absurd_values_are_odd_and_never_nan(model, frame):
    rows = frame.head(8).copy().reset_index(drop=True)
    rows["income"] = [1e300, -1e300, 1.7e308, -1.7e308, 1e12, -1e12, 0.0, frame["income"].median()]
    rows.loc[1, "debt"] = 1e300
    rows.loc[2, ["children", "city"]] = [10**15, "Atlantis"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = model.log_prob(rows)
        cells = model.log_prob_per_column(rows)
        results = [scores, cells, model.anomaly_scores(rows), model.anomaly_scores(rows, per_column=True)]
    for result in results:
        assert not np.isnan(result).any()
        assert (result < 100).all()
    assert (scores[:6] < scores[7] - 20).all()
    # The likelihood of the odd cell itself is exact; the next columns have read a bounded number.
    assert cells[1:6, 0] == pytest.approx(cells[1:6, 0].mean(), rel=0.7)
    filled = model.fill(rows.assign(plan=None), seed=0)
    assert not filled.isna().any().any()


@pytest.mark.parametrize("numeric", ["gaussian", "gaussian_mixture", "logistic_mixture", "student_t"])
def test_absurd_values_in_every_family(numeric):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100, 3)) @ rng.normal(size=(3, 3)), columns=list("abc"))
    for transform in ("standard", "quantile"):
        model = fit_table(frame, steps=5, numeric=numeric, numeric_transform=transform, progress=False)
        for a in (1e300, -1e300, 1e9, 1e5):
            odd = model.anomaly_scores(frame.assign(a=a))
            assert not np.isnan(odd).any()
            assert (odd < model.anomaly_scores(frame).min()).all()


@pytest.mark.parametrize("name", ["gaussian", "gaussian_mixture", "logistic_mixture", "student_t"])
def test_networks_read_far_values_by_their_logarithm(name):
    values = torch.tensor([-1e12, -6.0, -5.0, -3.5, 0.0, 5.0, 5e3], dtype=torch.float64)
    code = resolve_conditional(name).encode(values)[..., 0].tolist()
    assert code[2:6] == [-5.0, -3.5, 0.0, 5.0]
    assert code == sorted(code), "values that differ are read differently"
    assert code[1] == pytest.approx(-5 - math.log(2))
    assert max(map(abs, code)) < 40


def test_given_an_absurd_value_the_next_column_still_has_a_density():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200)})
    frame["b"] = frame["a"] * 50 + rng.normal(size=200)
    model = fitted(frame, numeric_transform="standard")
    pieces = 50_000
    angle = ((np.arange(pieces) + 0.5) / pieces - 0.5) * np.pi
    for a in (1.0, 1e300):
        (drawn,) = model.fill(pd.DataFrame({"a": [a], "b": [np.nan]}), seed=0)["b"]
        scale = 50 * max(1.0, abs(drawn) / 50)
        table = pd.DataFrame({"a": a, "b": drawn + scale * np.tan(angle)})
        density = np.exp(model.log_prob_per_column(table)[:, 1])
        assert abs((density * scale / np.cos(angle) ** 2).sum() * np.pi / pieces - 1) < 1e-3


# ---------------------------------------------------------------- by name


def test_columns_are_found_by_name(model, frame):
    expected = model.log_prob(frame)
    shuffled = frame[["plan", "owner", "income", "debt", "city", "children"]].assign(note="x")
    assert np.array_equal(model.log_prob(shuffled), expected)
    assert_frame_equal(
        model.fill(shuffled, seed=1)[list(frame.columns)], model.fill(frame, seed=1), check_exact=True
    )


@pytest.mark.filterwarnings("ignore:filling in")
def test_tables_that_do_not_fit_are_one_clear_line(model, frame):
    doubled = pd.concat([frame, frame["city"]], axis=1)
    for call in (model.log_prob, model.log_prob_per_column, model.anomaly_scores, model.fill):
        one_line_error(lambda call=call: call(frame.drop(columns="city")), "city")
        one_line_error(lambda call=call: call(frame.rename(columns={"city": "City"})), "city", "City")
        one_line_error(lambda call=call: call(frame.assign(income="much")), "income", "much", "number")
        one_line_error(lambda call=call: call(frame.assign(income=np.inf)), "income", "inf")
        one_line_error(lambda call=call: call(frame.assign(owner="perhaps")), "owner", "perhaps")
        one_line_error(lambda call=call: call(frame.assign(income=pd.Timestamp(0))), "income", "number")
        one_line_error(lambda call=call: call(frame.to_numpy()), "DataFrame")
        one_line_error(lambda call=call: call(frame.head(0)[["city"]]), "income")
        one_line_error(lambda call=call: call(doubled), "2 columns", "city")
    one_line_error(lambda: model.log_prob(frame.assign(income=np.nan)), "income", "missing")


# ---------------------------------------------------------------- synthesis


def test_samples_have_the_types_of_the_table(model, frame):
    drawn = model.sample(200, seed=0)
    assert list(drawn.columns) == list(frame.columns)
    assert drawn.dtypes.to_dict() == frame.dtypes.to_dict()
    assert set(drawn["city"]) <= {"Oslo", "Rome", "Bern", OTHER}
    assert drawn["children"].between(frame["children"].min(), frame["children"].max()).all()
    assert drawn["income"].between(frame["income"].min(), frame["income"].max()).all()
    assert 0 < drawn["debt"].isna().mean() < 0.6
    assert_frame_equal(drawn, model.sample(200, seed=0))
    assert not drawn.equals(model.sample(200, seed=1))
    assert not model.sample(50).equals(model.sample(50))
    one_line_error(lambda: model.sample(0), "num_rows", "0")
    one_line_error(lambda: model.sample(3, seed=-1), "seed")


def test_samples_are_rounded_and_in_range_unless_asked_for_as_they_are():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"price": rng.lognormal(3, 1, 300).round(2), "share": rng.normal(size=300)})
    model = fitted(frame, steps=20)
    seen, free = model.sample(3000, seed=0), model.sample(3000, seed=0, like_seen=False)
    for name in frame:
        assert seen[name].between(frame[name].min(), frame[name].max()).all()
        outside = ~free[name].between(frame[name].min(), frame[name].max())
        assert 0 < outside.mean() < 0.2
        assert np.abs(seen[name] - free[name])[~outside].max() <= 0.00501
    assert (seen["price"].round(2) == seen["price"]).all()
    assert (free["price"].round(2) != free["price"]).mean() > 0.9
    # What is filled in is rounded, too, but may lie outside: its spread is that of the truth.
    filled = model.fill(frame.assign(price=np.nan).head(200), seed=0)["price"]
    assert (filled.round(2) == filled).all()


def test_samples_hold_no_category_that_the_table_did_not_have_unless_asked_for_as_they_are():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"code": rng.choice([0, 7, 500], 200), "city": rng.choice(["Oslo", "Rome"], 200)})
    schema = infer_schema(frame, kinds={"code": "categorical"})
    model = TableModel(schema, fitted(frame, schema=schema, steps=1).model)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.zero_()  # every state is as likely as any, the never seen ones too
    free = model.sample(400, seed=0, like_seen=False)
    assert (free["city"] == OTHER).sum() > 80
    assert (free["code"].astype(str) == OTHER).sum() > 60
    seen = model.sample(400, seed=0)
    assert seen.dtypes.equals(frame.dtypes)
    shares = {name: seen[name].value_counts(normalize=True) for name in seen}
    assert set(shares["city"].index) == {"Oslo", "Rome"}
    assert set(shares["code"].index) == {0, 7, 500}
    # Drawn again, not made into the most frequent one: 5 standard errors.
    assert abs(shares["city"]["Oslo"] - 1 / 2) < 0.125
    assert abs(shares["code"][500] - 1 / 3) < 0.118
    # What cannot be drawn otherwise is the most frequent one.
    decoded = schema.decode(np.array([[3.0, 2.0]]), like_seen=True)
    assert decoded.iloc[0].tolist() == [frame["code"].mode()[0], frame["city"].mode()[0]]


def test_rare_categories_that_the_table_had_stay_other_in_samples():
    frame = pd.DataFrame({"shop": [f"shop {i % 40}" for i in range(400)]})
    schema = infer_schema(frame, max_categories=2)
    drawn = fitted(frame, schema=schema, steps=5).sample(200, seed=0)
    assert (drawn["shop"] == OTHER).mean() > 0.8


def test_samples_do_not_depend_on_how_they_are_cut_up(model, monkeypatch):
    whole = model.sample(40, seed=2)
    monkeypatch.setattr("chainrule.tabular.model._ROWS_DRAWN", 7)
    assert len(model.sample(40, seed=2)) == 40
    assert model.sample(40, seed=2).dtypes.equals(whole.dtypes)


def test_samples_follow_the_models_probabilities():
    model = fitted(little_table(), steps=30)
    states = states_of(model.schema)
    assert_shares(model.sample(20_000, seed=0), states, np.exp(model.log_prob(states)))


# ---------------------------------------------------------------- filling in


@pytest.fixture(scope="module")
def little_model():
    return fitted(little_table(holes=True), steps=60)


@pytest.mark.parametrize(
    "known",
    [{"three": "b"}, {"two": False, "three": "c"}, {"one": True}, {}],
    ids=str,
)
def test_fillings_follow_the_conditional_given_that_nothing_is_missing(little_model, known):
    assert all(column.missing for column in little_model.schema.columns)
    states = states_of(little_model.schema)
    for name, value in known.items():
        states = states[states[name] == value]
    truth = np.exp(little_model.log_prob(states))
    row = {name: known.get(name) for name in ("one", "two", "three")}
    holed = pd.DataFrame([row] * 1500, dtype=object)
    filled, info = little_model.fill(holed, seed=0, num_particles=150, return_info=True)
    assert_shares(filled, states, truth / truth.sum())
    known_and_there = info.log_evidence.exp().mean()
    assert abs(float(known_and_there) - truth.sum()) < 0.02 * truth.sum()


def test_known_cells_come_back_bit_for_bit(model):
    frame = mixed_table(120, seed=5).astype({"children": "Int64", "city": "category", "owner": "boolean"})
    frame["debt"] = frame["debt"].astype("float32")
    frame["id"] = [f"row {i}" for i in range(120)]
    frame.insert(0, "empty", np.nan)
    frame.index = pd.Index([7] * 60 + [8] * 60, name="which")
    holes = np.random.default_rng(0).random(frame.shape) < 0.3
    holes[:, [0, -1]] = False
    holed = frame.mask(holes)
    before = holed.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        filled = model.fill(holed, seed=0, num_particles=20)
    assert_frame_equal(holed, before, check_exact=True)
    assert filled.index.equals(frame.index)
    assert list(filled.columns) == list(frame.columns)
    assert filled["id"].equals(frame["id"])
    assert filled["empty"].isna().all()
    assert not filled.drop(columns="empty").isna().any().any()
    for name in frame.columns:
        assert filled[name].dtype == holed[name].dtype or OTHER in set(filled[name])
        known = holed[name].notna().to_numpy()
        assert (filled[name][known].astype(object) == holed[name][known].astype(object)).all()
    assert filled["children"].between(0, 20).all()


def test_a_hole_where_the_schema_has_none_is_filled_too(model, frame):
    assert not model.schema.columns[0].missing
    holed = frame.head(20).assign(income=np.nan)
    filled = model.fill(holed, seed=0)
    assert filled["income"].between(-1e6, 1e6).all()
    one_line_error(lambda: model.log_prob(holed), "income")


def test_a_filling_depends_on_the_seed_and_its_row_alone(model, frame):
    holed = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.3).head(30)
    fill = lambda table, **o: model.fill(table, num_particles=20, **o)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        filled = fill(holed, seed=0)
        assert_frame_equal(fill(holed, seed=0), filled, check_exact=True)
        assert not fill(holed, seed=1).equals(filled)
        assert not fill(holed).equals(fill(holed))
        few = fill(holed.head(7), seed=0)
    assert_frame_equal(few, filled.head(7), check_dtype=False, rtol=1e-9)


def test_what_is_known_of_a_row_is_in_the_tables_units(model, frame):
    rows = frame.dropna().head(20)
    filled, info = model.fill(rows, seed=0, return_info=True)
    assert_frame_equal(filled, rows, check_exact=True)
    assert set(info.method) == {"exact"}
    assert np.abs(info.log_evidence.numpy() - model.log_prob(rows)).max() < 1e-9
    # Nothing known at all has probability 1, and no units.
    single = fitted(frame[["income"]], steps=2)
    _, nothing = single.fill(pd.DataFrame({"income": [np.nan]}), seed=0, return_info=True)
    assert float(nothing.log_evidence) == 0
    # With only the last column open, p(known) is p(row) summed over what it can be.
    options = ["gold", "free", OTHER]
    _, info = model.fill(rows.assign(plan=None), seed=0, return_info=True)
    total = np.logaddexp.reduce([model.log_prob(rows.assign(plan=plan)) for plan in options])
    assert np.abs(info.log_evidence.numpy() - total).max() < 1e-9


def test_columns_of_text_that_spells_numbers_and_empty_columns():
    frame = pd.DataFrame({"a": [1.5, 2.5, 3.25, 4.0] * 10, "b": ["x", "y"] * 20})
    model = fitted(frame, steps=5)
    text = pd.DataFrame({"a": ["1.5", None, "4.0"], "b": [np.nan, np.nan, np.nan]})
    filled = model.fill(text, seed=0)
    assert filled["a"].map(type).eq(str).all()
    assert filled["a"].iloc[[0, 2]].tolist() == ["1.5", "4.0"]
    assert filled["b"].dtype == frame["b"].dtype
    whole = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": ["x", "y"]})
    assert model.fill(whole, seed=0)["a"].dtype == "Float64"
    assert model.fill(frame.head(0), seed=0).shape == (0, 2)


def test_categories_that_are_unknown_are_filled_in_as_other():
    frame = pd.DataFrame({"a": [1, 0] * 30, "b": pd.Categorical(["x", "y"] * 30)})
    model = fitted(frame, steps=2)
    with torch.no_grad():  # a state that was never seen would hardly be drawn
        model.model.output.bias[-1] += 10.0
    holed = frame.assign(b=frame["b"].where(frame.index < 5))
    filled = model.fill(holed, seed=0)
    assert list(filled["b"].cat.categories) == ["x", "y", OTHER]
    assert filled["b"].head(5).tolist() == frame["b"].head(5).tolist()


def test_mixtures_of_models_fill_and_score(model, frame):
    other = fitted(frame, seed=1, schema=model.schema)
    both = TableModel(model.schema, Ensemble([model.model, other.model]))
    expected = np.logaddexp(model.log_prob(frame), other.log_prob(frame)) - np.log(2)
    assert np.abs(both.log_prob(frame) - expected).max() < 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert not both.fill(frame.head(20), seed=0).isna().any().any()
    one_line_error(lambda: both.log_prob_per_column(frame), "Ensemble", "single model")
    one_line_error(lambda: both.anomaly_scores(frame), "marginals", "dependence=1")


# ---------------------------------------------------------------- files


def test_save_and_load_are_bit_equal(model, frame, tmp_path):
    model.save(tmp_path / "model")
    again = TableModel.load(tmp_path / "model")
    assert again.schema == model.schema
    assert np.array_equal(again.log_prob(frame), model.log_prob(frame))
    assert np.array_equal(again.anomaly_scores(frame), model.anomaly_scores(frame))
    assert_frame_equal(again.sample(5, seed=0), model.sample(5, seed=0), check_exact=True)
    one_line_error(lambda: model.save(tmp_path / "model"), "overwrite")
    model.save(tmp_path / "model", overwrite=True)
    one_line_error(lambda: TableModel.load(tmp_path / "nothing"), "nothing")
    one_line_error(lambda: TableModel.load(None), "folder", "None")


def test_a_run_folder_is_a_model(frame, tmp_path):
    out = tmp_path / "run"
    model = fit_table(frame, out=out, steps=20, progress=False)
    again = TableModel.load(out)
    assert np.array_equal(again.anomaly_scores(frame), model.anomaly_scores(frame))
    assert "MADE" in repr(again)
    one_line_error(lambda: fit_table(frame, out=out, steps=20, progress=False), "already exists")
    resumed = fit_table(frame, out=out, steps=20, resume=True, progress=False)
    assert np.array_equal(resumed.anomaly_scores(frame), model.anomaly_scores(frame))
    one_line_error(
        lambda: fit_table(frame, out=out, steps=20, seed=1, resume=True, progress=False), "started", "seed"
    )
    other = fit_table(frame, out=out, steps=20, seed=1, overwrite=True, marginals=False, progress=False)
    assert not np.array_equal(other.log_prob(frame), model.log_prob(frame))
    again = TableModel.load(out)
    assert np.array_equal(again.log_prob(frame), other.log_prob(frame))
    assert again.marginals is None  # those of the run before are gone
    model.save(out, overwrite=True)
    other.save(out, overwrite=True)
    assert TableModel.load(out).marginals is None


def test_a_run_is_a_model_while_it_trains(frame, tmp_path, monkeypatch):
    """From the first validation on: its schema and its marginals lie there from the start."""
    seen = []
    save = Run.save_model

    def saving(self, model):
        save(self, model)
        if (self.folder / "schema.json").exists():  # the marginals are trained in a folder of their own
            again = TableModel.load(self.folder)
            seen.append(np.isfinite(again.anomaly_scores(frame.head(5))).all())
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_model", saving)
        with pytest.raises(KeyboardInterrupt):
            fit_table(frame, out=tmp_path / "run", steps=40, progress=False)
    assert seen == [True]
    resumed = fit_table(frame, out=tmp_path / "run", steps=40, resume=True, progress=False)
    assert TableModel.load(tmp_path / "run").schema == resumed.schema


def test_a_folder_that_is_taken_is_noticed_before_anything_is_fitted(frame, tmp_path, monkeypatch):
    fit_table(frame, out=tmp_path / "run", steps=2, progress=False)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    monkeypatch.setattr("chainrule.tabular.fitting._fit_marginals", None)
    run, other = tmp_path / "run", tmp_path / "other"
    one_line_error(lambda: fit_table(frame, out=run), "already exists")
    one_line_error(lambda: fit_table(frame, out=other, resume=True), "no run to resume")
    one_line_error(lambda: fit_table(frame, out=other, overwrite=True), "not a run folder")
    one_line_error(lambda: fit_table(frame, out=run, overwrite=True, resume=True), "choose one")
    one_line_error(lambda: fit_table(frame, out=""), "out")
    monkeypatch.undo()
    # Settings that are wrong leave the earlier run as it is, its schema too.
    one_line_error(lambda: fit_table(frame[["city"]], out=run, overwrite=True, nothing=1), "nothing")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_loading_a_table_s_network_alone_is_said(model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"model of a table.*TableModel\.load"):
        network = chainrule.load(tmp_path / "model")
    assert type(network).__name__ == "MADE"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableModel.load(tmp_path / "model")


def test_a_broken_run_is_resumed_bit_for_bit(frame, tmp_path, monkeypatch):
    whole = fit_table(frame, steps=40, progress=False)
    steps = {"left": 17}
    update = Trainer._update

    def failing(self, batch):
        steps["left"] -= 1
        if steps["left"] < 0:
            self._checkpoint()
            raise KeyboardInterrupt
        return update(self, batch)

    arguments = {"out": tmp_path / "run", "steps": 40, "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", failing)
        with pytest.raises(KeyboardInterrupt):
            fit_table(frame, **arguments)
    resumed = fit_table(frame, **arguments, resume=True)
    assert np.array_equal(resumed.anomaly_scores(frame), whole.anomaly_scores(frame))


# ---------------------------------------------------------------- fitting


def test_fitting_learns_what_goes_with_what(frame):
    model = fitted(frame, steps=300)
    alone = TableModel(model.schema, model.marginals)
    assert model.log_prob(frame).mean() > alone.log_prob(frame).mean() + 0.5
    debt = model.fill(frame.assign(debt=np.nan), seed=0)["debt"]
    assert debt.corr(frame["debt"], method="spearman") > 0.6


def test_fitting_is_reproducible_and_leaves_global_random_state_alone(frame):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    one = fit_table(frame, steps=5, progress=False, seed=3)
    one.sample(3, seed=0)
    one.sample(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        one.fill(frame.head(5), seed=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    with torch.random.fork_rng():
        torch.manual_seed(99)  # whatever the caller's state
        two = fit_table(frame, steps=5, progress=False, seed=3)
    assert np.array_equal(one.anomaly_scores(frame), two.anomaly_scores(frame))
    other = fit_table(frame, steps=5, progress=False, seed=4)
    assert not np.array_equal(one.log_prob(frame), other.log_prob(frame))


@pytest.mark.parametrize("name", TABLE_MODELS)
def test_every_model_of_tables(name, frame):
    small = {
        "made": {"hidden": (8,)},
        "deep-nade": {"hidden": (8,)},
        "nade": {"hidden": 8},
        "transformer": {"width": 8, "num_layers": 1, "num_heads": 2},
    }.get(name)
    model = fitted(frame.head(60), model=name, model_settings=small, steps=5, marginals=False)
    assert np.isfinite(model.log_prob(frame)).all()
    assert np.abs(model.log_prob_per_column(frame).sum(1) - model.log_prob(frame)).max() < 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert not model.fill(frame.head(5), seed=0, num_particles=5).isna().any().any()
    assert len(model.sample(3, seed=0)) == 3
    one_line_error(lambda: model.anomaly_scores(frame), "marginals", "dependence=1")


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [1.5, 2.5, 3.0], "b": ["x", "y", "x"]},
        {"a": [2.0] * 9, "b": np.arange(9) * 1.1},
        {"a": ["only"] * 9, "b": np.arange(9) * 1.1},
        {"a": ["only"] * 4},
        {"a": [2.0] * 4},
        {"a": [np.nan] * 9, "b": np.arange(9) * 1.1},
        {"a": [True, False, None], "b": [None, 1.5, 2.5]},
        {"a": [1.5, 2.5]},
    ],
    ids=lambda columns: str({k: len(v) for k, v in columns.items()}),
)
def test_odd_little_tables_have_a_model(columns):
    frame = pd.DataFrame(columns)
    model = fitted(frame, steps=3)
    assert np.isfinite(model.anomaly_scores(frame)).all()
    drawn = model.sample(4, seed=0)
    assert list(drawn.columns) == list(model.schema.names)
    assert len(model.fill(frame, seed=0)) == len(frame)


def test_an_empty_column_is_left_out_and_said_so():
    frame = pd.DataFrame({"a": [np.nan] * 9, "b": np.arange(9) * 1.1})
    model = fitted(frame, steps=3)
    assert model.schema.names == ("b",)
    assert any("'a'" in notice for notice in model.schema.notices)


def test_what_cannot_be_fitted_is_one_clear_line(frame):
    fit = lambda table=frame, **o: fit_table(table, progress=False, **o)  # noqa: E731
    one_line_error(lambda: fit(frame.head(1)), "1 row is", "at least 2")
    one_line_error(lambda: fit(frame.head(0)), "0 rows")
    one_line_error(lambda: fit(model="mad"), "mad", "made")
    one_line_error(lambda: fit(steps=0), "steps", "0")
    one_line_error(lambda: fit(seed=-1), "seed")
    one_line_error(lambda: fit(numeric="student"), "student_t")
    one_line_error(lambda: fit(batch_size=0), "batch_size", "0")
    one_line_error(lambda: fit(batch_size="many"), "batch_size", "many")
    one_line_error(lambda: fit(nothing=1), "nothing")
    one_line_error(lambda: fit(numeric="categorical"), "numeric", "no density", "student_t")
    one_line_error(lambda: fit(numeric={"kind": "gaussian"}), "numeric", "'kind'", "'name'")
    one_line_error(lambda: fit(numeric=3), "numeric=3")
    one_line_error(lambda: fit(model_settings=3), "model_settings=3")
    one_line_error(lambda: fit(model_settings={"hiden": 3}), "'hiden'", "'hidden'")
    one_line_error(lambda: fit(model_settings={"conditional": "gaussian"}), "conditional", "numeric")
    one_line_error(lambda: fit(schema="schema.json"), "'schema.json'", "TableSchema.load")
    one_line_error(lambda: fit(notes=3), "notes")
    one_line_error(lambda: fit(frame.assign(income=np.inf)), "income", "inf")
    one_line_error(lambda: fit(frame.to_numpy()), "DataFrame")
    one_line_error(lambda: fit(frame, numeric=Gaussian(), model_settings={"hidden": "a"}), "hidden")
    schema = infer_schema(frame[["city", "owner"]])
    one_line_error(lambda: fit(frame.drop(columns="city"), schema=schema), "city")
    one_line_error(lambda: TableModel(schema, fitted(frame.head(20), steps=1).model), "2 columns", "(6,)")
