"""The scikit-learn estimator: scikit-learn's own checks, its tools, and tables of every kind."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from data_helpers import one_line_error
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from chainrule.sklearn import AutoregressiveDensity
from chainrule.tables import infer_schema
from chainrule.tabular import fit_table

SMALL = {"steps": 3, "model_settings": {"hidden": (8,)}}


def small(**settings):
    return AutoregressiveDensity(**{"random_state": 0, **SMALL, **settings})


def correlated(rows=200, seed=0, columns=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns)) + 5


def customers(rows=150, seed=0):
    """Strings, booleans, whole numbers, numbers and holes."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "city": rng.choice(["Oslo", "Rome"], rows),
            "member": rng.random(rows) < 0.5,
            "spent": np.where(rng.random(rows) < 0.2, np.nan, rng.lognormal(3, 1, rows)),
            "plan": pd.Series(rng.choice(["gold", "free"], rows)).where(rng.random(rows) < 0.8),
        }
    )
    return frame.set_index(pd.Index([f"customer {i}" for i in range(rows)]))


# ---------------------------------------------------------------- scikit-learn's own checks


@parametrize_with_checks(
    [
        AutoregressiveDensity(**SMALL),
        AutoregressiveDensity(**{**SMALL, "model": "nade", "model_settings": {"hidden": 5}}),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {**SMALL, "dependence": 0.5, "numeric_transform": "standard"}], ids=str
)
def test_scikit_learns_checks_at_length(settings):
    results = check_estimator(AutoregressiveDensity(**settings), on_skip=None)
    assert len(results) > 40
    assert {result["status"] for result in results} <= {"passed", "skipped"}


# ---------------------------------------------------------------- its tools


def test_in_a_pipeline():
    X = correlated()
    pipeline = make_pipeline(StandardScaler(), small(steps=30)).fit(X)
    alone = small(steps=30).fit(StandardScaler().fit_transform(X))
    scaled = StandardScaler().fit_transform(X)
    assert np.allclose(pipeline.score_samples(X), alone.score_samples(scaled), atol=1e-9)
    assert set(pipeline.predict(X)) == {-1, 1}
    assert np.isfinite(pipeline.score(X))


def test_grid_search_chooses_by_score():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((400, 1)) < 0.5, -3, 3) + 0.1 * rng.normal(size=(400, 1))
    estimator = small(steps=150, numeric_transform="standard")
    search = GridSearchCV(estimator, {"numeric": ["gaussian", "gaussian_mixture"]}, cv=2).fit(X)
    assert search.best_params_ == {"numeric": "gaussian_mixture"}  # two narrow peaks are no bell
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())
    folds = cross_val_score(search.best_estimator_, X, cv=2)
    assert np.isfinite(folds).all()


def test_clones_and_pickles():
    X = correlated()
    estimator = small(dependence=0.5).fit(X)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        copy.score_samples(X)
    assert np.array_equal(copy.fit(X).score_samples(X), estimator.score_samples(X))
    for kind, rows in (("array", X), ("frame", customers())):
        fitted = small(dependence=0.5).fit(rows)
        again = pickle.loads(pickle.dumps(fitted))
        assert np.array_equal(again.score_samples(rows), fitted.score_samples(rows)), kind
        assert np.array_equal(again.predict(rows), fitted.predict(rows))
        assert type(again.sample(3)) is type(fitted.sample(3))


# ---------------------------------------------------------------- what it computes


def test_scores_are_log_likelihoods_of_the_table_model():
    X = correlated()
    estimator = small(steps=30).fit(X)
    frame = pd.DataFrame(X, columns=["x0", "x1", "x2", "x3"])
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    schema = infer_schema(frame, grids=False, numeric_transform=small().numeric_transform)
    model = fit_table(frame, schema=schema, steps=30, seed=seed, progress=False, **_network())
    scores = estimator.score_samples(X)
    assert np.allclose(scores, model.double().log_prob(frame), atol=1e-9)
    assert estimator.score(X) == pytest.approx(scores.mean(), abs=1e-12)
    assert np.allclose(estimator.decision_function(X), scores - estimator.offset_, atol=0)
    assert np.array_equal(estimator.predict(X), np.where(scores < estimator.offset_, -1, 1))
    both = small(steps=30, dependence=0.5).fit(X)
    assert np.allclose(both.score_samples(X), both.model_.anomaly_scores(frame, dependence=0.5), atol=1e-9)
    assert both.score(X) == pytest.approx(estimator.score(X), abs=1e-9)  # exact, whatever `dependence`
    assert np.abs(both.score_samples(X) - scores).max() > 0.01


def _network():
    return {"model_settings": SMALL["model_settings"]}


@pytest.mark.parametrize("rows", [50, 101, 200])
@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_contamination_is_the_share_of_training_rows_that_are_outliers(rows, contamination):
    X = correlated(rows)
    outliers = small(contamination=contamination, steps=1).fit(X).predict(X) == -1
    # The quantile of n scores lies at place contamination * (n - 1), which has so many below it.
    assert outliers.sum() == np.ceil(contamination * (rows - 1) - 1e-9)
    assert abs(outliers.mean() - contamination) < 1 / rows


def test_automatic_contamination_is_tukeys_fence():
    X = correlated(300, columns=2)
    X[:10] *= 50
    estimator = small(steps=100, contamination="auto").fit(X)
    scores = estimator.score_samples(X)
    low, high = np.quantile(scores, [0.25, 0.75])
    assert estimator.offset_ == pytest.approx(low - 1.5 * (high - low))
    outliers = estimator.predict(X) == -1
    assert outliers[:10].all()
    assert outliers[10:].mean() < 0.1
    assert clone(estimator).contamination == "auto"


def test_odd_rows_are_outliers():
    X = correlated(300, columns=2)
    estimator = small(steps=200, contamination=0.05).fit(X)
    odd = np.vstack([X.mean(0) + 30 * X.std(0), X.mean(0) - 30 * X.std(0), [1e300, 5.0]])
    assert (estimator.predict(odd) == -1).all()
    assert (estimator.predict(X[:50]) == 1).mean() > 0.8
    assert np.isfinite(estimator.score_samples(odd)).all()


# ---------------------------------------------------------------- tables


def test_frames_with_strings_booleans_and_holes():
    frame = customers()
    estimator = small(steps=20, dependence=0.5).fit(frame)
    assert list(estimator.feature_names_in_) == list(frame.columns)
    assert estimator.n_features_in_ == 5
    scores = estimator.score_samples(frame)
    assert scores.shape == (150,)
    assert np.isfinite(scores).all()
    drawn = estimator.sample(40, random_state=1)
    assert list(drawn.columns) == list(frame.columns)
    assert drawn.dtypes.to_dict() == frame.dtypes.to_dict()
    assert estimator.score_samples(drawn.iloc[:3]).shape == (3,)
    unseen = frame.head(2).assign(city="Atlantis")
    assert (estimator.score_samples(unseen) < estimator.score_samples(frame.head(2))).all()
    # scikit-learn's contract: the columns in the order of fit.
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.score_samples(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.score_samples(frame.rename(columns={"city": "town"}))
    one_line_error(lambda: estimator.score_samples(frame.assign(spent="much")), "spent", "much")


@pytest.mark.parametrize("as_what", ["objects", "texts", "lists"])
def test_arrays_of_strings(as_what):
    objects = customers().drop(columns="plan").to_numpy(object)
    X = {"objects": objects, "texts": objects.astype(str), "lists": objects.tolist()}[as_what]
    estimator = small(steps=5).fit(X)
    kinds = [column.kind for column in estimator.model_.schema.columns]
    assert kinds == ["integer", "categorical", "boolean", "numeric"]
    scores = estimator.score_samples(X)
    assert np.isfinite(scores).all()
    # The same numbers whatever they come as: strings, objects, or a DataFrame.
    frame = pd.DataFrame(objects, columns=["x0", "x1", "x2", "x3"]).infer_objects()
    assert np.allclose(scores, estimator.model_.log_prob(frame), atol=1e-9)
    drawn = estimator.sample(20)
    assert drawn.dtype == object
    assert set(drawn[:, 1]) <= {"Oslo", "Rome", "(other)"}
    assert estimator.score_samples(drawn).shape == (20,)
    assert np.isfinite(cross_val_score(small(steps=1), X, cv=2)).all()


def test_an_array_after_a_frame_with_an_empty_column():
    frame = pd.DataFrame(correlated(), columns=list("abcd")).assign(b=np.nan)
    estimator = small().fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn says that names are missing
        assert np.array_equal(estimator.score_samples(frame.to_numpy()), estimator.score_samples(frame))


def test_scores_at_full_dependence_are_exact_also_with_holes():
    frame = customers()
    estimator = small(steps=20).fit(frame)
    assert np.array_equal(estimator.score_samples(frame), estimator.model_.log_prob(frame))


def test_arrays_with_holes():
    X = correlated()
    X[::5, 1] = np.nan
    estimator = small().fit(X)
    assert np.isfinite(estimator.score_samples(X)).all()
    assert np.isnan(estimator.sample(200)[:, 1]).any()
    one_line_error(lambda: small().fit(correlated()).score_samples(X), "x1", "missing")


def test_a_frame_with_numbers_for_names():
    frame = pd.DataFrame(correlated())
    estimator = small().fit(frame)
    assert np.isfinite(estimator.score_samples(frame)).all()
    assert list(estimator.sample(3).columns) == [0, 1, 2, 3]
    assert np.array_equal(estimator.score_samples(frame.to_numpy()), estimator.score_samples(frame))


def test_an_array_may_follow_a_frame():
    frame = pd.DataFrame(correlated(), columns=list("abcd"))
    estimator = small().fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn says that names are missing
        assert np.array_equal(estimator.score_samples(frame.to_numpy()), estimator.score_samples(frame))


def test_columns_without_any_value_are_said_and_come_back_empty():
    array = correlated(60)
    array[:, 1] = np.nan
    with pytest.warns(UserWarning, match="'x1' holds no value at all") as said:
        estimator = small().fit(array)
    assert len(said) == 1
    drawn = estimator.sample(5)
    assert drawn.shape == (5, 4)
    assert np.isnan(drawn).tolist() == [[False, True, False, False]] * 5
    assert np.isfinite(estimator.score_samples(drawn)).all()
    frame = pd.DataFrame(array, columns=["a", "b", "c", "d"])
    with pytest.warns(UserWarning, match="'b' holds no value at all"):
        drawn = small().fit(frame).sample(5)
    assert list(drawn) == ["a", "b", "c", "d"]
    assert drawn["b"].isna().all()


def test_holes_may_come_later_where_that_was_asked_for():
    array = correlated(60)
    holed = array[:3].copy()
    holed[1, 2] = np.nan
    one_line_error(lambda: small().fit(array).score_samples(holed), "'x2', row 1", "missing='always'")
    assert np.isfinite(small(missing="always").fit(array).score_samples(holed)).all()
    one_line_error(lambda: small(missing="often").fit(array), "unknown missing 'often'", "always")


def test_samples_are_of_the_kind_that_was_fitted():
    X = correlated()
    estimator = small(steps=20).fit(X)
    drawn = estimator.sample(30)
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == (30, 4)
    assert drawn.dtype == np.float64
    assert estimator.sample().shape == (1, 4)
    assert isinstance(small().fit(customers()).sample(), pd.DataFrame)
    refitted = estimator.fit(customers())
    assert isinstance(refitted.sample(), pd.DataFrame)
    assert isinstance(refitted.fit(X).sample(), np.ndarray)


# ---------------------------------------------------------------- random state


def test_random_states():
    X = correlated()
    scores = small(random_state=3).fit(X).score_samples(X)
    assert np.array_equal(small(random_state=3).fit(X).score_samples(X), scores)
    assert not np.array_equal(small(random_state=4).fit(X).score_samples(X), scores)
    with_state = small(random_state=np.random.RandomState(3)).fit(X)
    assert np.array_equal(with_state.score_samples(X), scores)
    estimator = small(random_state=3).fit(X)
    assert np.array_equal(estimator.sample(5), estimator.sample(5))
    assert np.array_equal(estimator.sample(5, random_state=9), estimator.sample(5, random_state=9))
    assert not np.array_equal(estimator.sample(5, random_state=9), estimator.sample(5))
    fresh = small(random_state=None).fit(X)
    assert not np.array_equal(fresh.sample(5), fresh.sample(5))


def test_numpys_global_state_is_untouched_when_a_seed_is_given():
    X = correlated()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    estimator = small(random_state=3, dependence=0.5).fit(X)
    estimator.sample(3)
    estimator.sample(3, random_state=1)
    estimator.predict(X)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"contamination": 0.0}, ("contamination", "0")),
        ({"contamination": 0.6}, ("contamination", "0.6")),
        ({"contamination": "automatic"}, ("contamination", "'automatic'", "'auto'")),
        ({"contamination": None}, ("contamination", "None")),
        ({"dependence": 2.0}, ("dependence", "2")),
        ({"model": "mad"}, ("mad", "made")),
        ({"numeric": "student"}, ("student_t",)),
        ({"numeric_transform": "log"}, ("numeric_transform", "log")),
        ({"steps": 0}, ("steps", "0")),
        ({"steps": "many"}, ("steps", "many")),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_one_clear_line(settings, words):
    one_line_error(lambda: small(**settings).fit(correlated()), *words)


def test_tables_that_cannot_be_are_one_clear_line():
    one_line_error(lambda: small().fit(customers().head(1)), "n_samples = 1")
    one_line_error(lambda: small().fit(customers().head(0)), "0")
    doubled = pd.concat([customers(), customers()[["city"]]], axis=1)
    one_line_error(lambda: small().fit(doubled), "city")
    with_infinity = customers().assign(spent=np.inf)
    one_line_error(lambda: small().fit(with_infinity), "spent", "inf")
