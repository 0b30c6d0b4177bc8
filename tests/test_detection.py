"""Anomaly detection: the guarantee, the figures, the reasons, the files, the streams."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import math
import tracemalloc
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from chainrule import detection, models
from chainrule.detection import Detector, Rule, conformal_p_values, detection_report, judge_stream
from chainrule.detection.columns import KEPT_ROWS, ColumnCalibration
from chainrule.detection.conformal import alarm_rank

INF = math.inf


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def in_binomial_interval(successes: int, trials: int, rate: float, confidence: float = 0.99) -> bool:
    low, high = stats.binom.interval(confidence, trials, rate)
    return low <= successes <= high


# ---------------------------------------------------------------------------------- the guarantee


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_over_every_order_the_p_value_is_uniform_exactly(n):
    """A clean row and n calibration rows in every order: each of k/(n+1) comes up equally often."""
    p = [conformal_p_values([order[0]], order[1:])[0] for order in itertools.permutations(range(n + 1))]
    counts = {k: sum(value == k / (n + 1) for value in p) for k in range(1, n + 2)}
    assert set(counts.values()) == {math.factorial(n)}
    for k in range(1, n + 2):
        assert Fraction(sum(value <= k / (n + 1) for value in p), len(p)) == Fraction(k, n + 1)


@pytest.mark.parametrize("pool", [(0, 0, 1, 1), (0, 0, 0, 0), (-INF, -INF, 2, 3), (0, 1, 1, 2, INF)])
def test_ties_only_make_alarms_rarer(pool):
    orders = list(itertools.permutations(pool))
    p = [conformal_p_values([order[0]], order[1:])[0] for order in orders]
    shares = [sum(value <= k / len(pool) for value in p) / len(p) for k in range(1, len(pool) + 1)]
    assert all(share <= k / len(pool) for k, share in enumerate(shares, 1))
    assert any(share < k / len(pool) for k, share in enumerate(shares, 1))


class _Fixed:
    """Stands in for a generator: every uniform is the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, size: int) -> np.ndarray:
        return np.full(size, self.value)


@pytest.mark.parametrize("pool", [(0, 1, 2, 3), (0, 0, 1, 1), (-INF, -INF, -INF, 5)])
def test_the_smoothed_p_value_is_uniform_even_with_ties(pool):
    """Averaged over orders and over a fine grid of U, P(p <= a) = a for every a."""
    grid = (np.arange(200) + 0.5) / 200
    p = np.array(
        [
            conformal_p_values([order[0]], order[1:], generator=_Fixed(u))[0]
            for order in itertools.permutations(pool)
            for u in grid
        ]
    )
    for level in (0.1, 0.25, 0.5, 0.77):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.005)
    assert p.min() > 0
    assert conformal_p_values([-9.0], [0.0], generator=_Fixed(0.0)).tolist() == [0.5]  # U is 1, never 0


def test_false_alarms_keep_their_promise_over_calibration_sets():
    """One fresh row per calibration set: independent trials, so the count is binomial. Error rate 1 %."""
    generator, trials, n = rng(1), 20_000, 39
    draws = generator.standard_t(2, size=(trials, n + 1))  # heavy tails: mean - k sd would fail here
    alarms = sum(conformal_p_values(row[:1], row[1:])[0] <= 0.1 for row in draws)
    assert in_binomial_interval(alarms, trials, 0.1)


def test_smoothed_p_values_of_discrete_scores_keep_theirs_exactly():
    generator, trials, n = rng(2), 20_000, 20
    draws = generator.integers(3, size=(trials, n + 1)).astype(float)
    smoothed = [conformal_p_values(row[:1], row[1:], generator=generator)[0] for row in draws]
    plain = [conformal_p_values(row[:1], row[1:])[0] for row in draws]
    assert in_binomial_interval(sum(np.array(smoothed) <= 0.2), trials, 0.2)
    assert sum(np.array(plain) <= 0.2) < sum(np.array(smoothed) <= 0.2)


def test_contaminated_calibration_costs_detections_and_no_false_alarms():
    """docs/anomaly-scores.md: a share e > a of anomalies leaves about a / e of them to be found."""
    generator = rng(22)
    calibration = np.r_[generator.normal(size=8991), generator.normal(-20, 1, size=999)]
    detector = Detector.fit(calibration, rule=Rule("conformal", 0.05))
    assert not detector.alarms(generator.normal(size=5000)).any()
    assert detector.alarms(generator.normal(-20, 1, size=5000)).mean() == pytest.approx(0.5, abs=0.1)


scores_with_ties = st.one_of(st.sampled_from([-INF, -2.0, -1.0, 0.0, INF]), st.floats(allow_nan=False))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(scores_with_ties, min_size=1, max_size=20),
    st.lists(scores_with_ties, min_size=1, max_size=20),
    st.floats(0.02, 0.98),
)
def test_an_alarm_is_a_score_below_the_threshold_is_a_p_value_within_the_level(scores, calibration, level):
    p = conformal_p_values(scores, calibration)
    counted = [(1 + sum(c <= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    assert p.tolist() == counted
    if level < detection.smallest_level(len(calibration)):
        one_line_error(lambda: Rule("conformal", level).threshold(calibration), "calibration rows")
        return
    detector = Detector.fit(calibration, rule=Rule("conformal", level))
    assert detector.alarms(scores).tolist() == (p <= level).tolist()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(scores_with_ties, min_size=1, max_size=12),
    st.lists(scores_with_ties, min_size=2, max_size=12),
    st.randoms(use_true_random=False),
)
def test_a_row_is_judged_the_same_in_any_company(scores, calibration, random):
    detector = Detector.fit(calibration, rule=Rule("conformal", 0.5))
    together = dict(zip(range(len(scores)), detector.p_values(scores), strict=True))
    order = random.sample(range(len(scores)), len(scores))
    shuffled = detector.p_values([scores[i] for i in order])
    for place, i in enumerate(order):
        assert shuffled[place] == together[i] == detector.p_values([scores[i]])[0]
        assert detector.alarms(scores)[i] == detector.alarms([scores[i]])[0]


@pytest.mark.parametrize("level", [0.5, 0.29, 0.1, 0.05, 0.01, 1 / 3, 1 / 7, 0.003, 0.07])
def test_rows_needed_is_the_smallest_number_that_serves(level):
    rows = detection.rows_needed(level)
    assert detection.smallest_level(rows) <= level
    assert rows == 1 or detection.smallest_level(rows - 1) > level
    assert alarm_rank(rows, level) >= 1
    if rows > 1:
        one_line_error(lambda: alarm_rank(rows - 1, level), f"at least {rows:,}", f"{1 / rows:.3g}")


def test_the_rank_counts_levels_as_they_are_written():
    for n, percent in itertools.product((99, 199, 999), range(1, 100)):
        assert alarm_rank(n, percent / 100) == percent * (n + 1) // 100


def test_the_interval_for_fresh_rows_is_that_of_every_interleaving():
    """n calibration and m fresh clean rows in all orders: count the fresh ones below the k-th."""
    n, m, level = 5, 4, 0.4
    rank = alarm_rank(n, level)
    counts = np.zeros(m + 1)
    for places in itertools.combinations(range(n + m), n):
        counts[places[rank - 1] - (rank - 1)] += 1
    share = np.cumsum(counts) / counts.sum()
    for confidence in (0.2, 0.5, 0.8, 0.95):
        low, high = detection.false_alarm_interval(n, level, confidence=confidence, fresh_rows=m)
        assert low * m == np.argmax(share >= (1 - confidence) / 2)
        assert high * m == np.argmax(share >= (1 + confidence) / 2)


def test_the_interval_of_one_calibration_set_is_beta():
    """The true rate of a calibration set of uniform scores is its threshold itself. Error rate 1 %."""
    n, level, sets = 199, 0.05, 4000
    thresholds = [detection.conformal_threshold(row, level) for row in rng(3).random((sets, n))]
    low, high = detection.false_alarm_interval(n, level, confidence=0.9)
    assert in_binomial_interval(sum(low <= t <= high for t in thresholds), sets, 0.9)
    many = detection.false_alarm_interval(n, level, confidence=0.9, fresh_rows=10_000_000)
    assert many == pytest.approx((low, high), rel=0.01)


def test_benjamini_hochberg_flags_the_published_example():
    # Benjamini and Hochberg (1995), section 4.1: 15 p-values, four rejected at q = 0.05.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    order = rng(4).permutation(len(p))
    flagged = detection.benjamini_hochberg(np.array(p)[order], 0.05)
    assert set(np.array(p)[order][flagged]) == {0.0001, 0.0004, 0.0019, 0.0095}
    assert not detection.benjamini_hochberg([0.9, 1.0], 0.05).any()
    assert detection.benjamini_hochberg([], 0.05).shape == (0,)
    one_line_error(lambda: detection.benjamini_hochberg([0.5, 1.5], 0.05), "row 1 is 1.5", "between 0 and 1")
    message = one_line_error(
        lambda: detection.benjamini_hochberg([math.nan] * 3, 0.05), "row 0 is nan", "2 more"
    )
    assert "likelihood" not in message
    one_line_error(lambda: detection.benjamini_hochberg(["a"], 0.05), "not numbers", "between 0 and 1")
    one_line_error(lambda: detection.benjamini_hochberg([0.5], "x"), "false_discovery_rate", "'x'")


def test_benjamini_hochberg_controls_the_share_of_false_alarms():
    """2,000 batches of 45 clean rows and 5 odd ones: the mean false share is at most 0.9 q (5 sd above)."""
    generator, q, shares, found = rng(5), 0.2, [], 0
    for _ in range(2000):
        calibration = generator.normal(size=199)
        batch = np.r_[generator.normal(size=45), generator.normal(-6, 1, size=5)]
        flagged = detection.benjamini_hochberg(conformal_p_values(batch, calibration), q)
        shares.append(flagged[:45].sum() / max(flagged.sum(), 1))
        found += int(flagged[45:].sum())
    assert np.mean(shares) <= 0.9 * q + 5 * np.std(shares) / math.sqrt(len(shares))
    assert found > 5000


# ------------------------------------------------------------------------------------- thresholds


def test_the_lecture_s_numbers():
    clean, attacked = [-85.3, -88.1, -91.2], [-152.7, -147.3, -168.9]  # topic 13
    detector = Detector.fit(clean, rule=Rule("mean-sd", 3))
    assert detector.threshold == pytest.approx(-97.0538, abs=1e-4)
    assert detector.alarms(clean + attacked).tolist() == [False] * 3 + [True] * 3
    five = rng(6).normal(size=1000)
    assert detection.percentile_threshold(five, 5) == np.percentile(five, 5)


def test_a_percentile_beside_an_infinite_score_is_the_lower_neighbour():
    assert detection.percentile_threshold([-INF, -INF, 1.0, 2.0, 3.0], 10) == -INF
    assert detection.percentile_threshold([-INF, 1.0, 2.0, 3.0, 4.0], 10) == -INF
    assert detection.percentile_threshold([-INF, 1.0, 2.0, 3.0, 4.0], 60) == pytest.approx(2.4)
    assert detection.percentile_threshold([1.0, 2.0, INF], 75) == 2.0


@pytest.mark.parametrize(
    ("rule", "scores", "words"),
    [
        (("conformal", 0.01), [0.0] * 50, ["at least 99", "with 50", "0.0196"]),
        (("conformal", 0.0), [0.0], ["level", "above 0 and below 1", "0.0"]),
        (("percentile", 100), [0.0], ["percent", "below 100", "not 100"]),
        (("mean-sd", 3), [0.0], ["at least two"]),
        (("mean-sd", -1), [0.0, 1.0], ["standard deviations", "above 0", "not -1"]),
        (("mean-sd", 3), [0.0, -INF, 1.0], ["1 of 3", "infinite", "conformal"]),
        (("conformal", 0.5), [], ["no rows"]),
        (("percentile", 5), [0.0, math.nan, math.nan], ["row 1 is NaN", "1 more"]),
        (("conformal", 0.5), [[0.0]], ["(1, 1)", "one number a row"]),
        (("conformal", 0.5), ["low"], ["not numbers"]),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(rule, scores, words):
    one_line_error(lambda: Detector.fit(scores, rule=Rule(*rule)), *words)


def test_a_misspelt_rule_is_recognised():
    one_line_error(lambda: Rule("conformel", 0.1), "did you mean 'conformal'")
    one_line_error(lambda: Rule(["conformal"], 0.1), "unknown threshold rule")


@pytest.mark.parametrize("name", list(detection.RULES))
@pytest.mark.parametrize("value", ["x", None, math.nan, 0, -1, True])
def test_a_number_that_a_rule_cannot_have_is_refused_when_the_rule_is_made(name, value):
    one_line_error(lambda: Rule(name, value), "finite number", repr(value))
    one_line_error(lambda: detection.RULES[name]([0.0, 1.0, 2.0], value), "finite number")


def test_a_rule_keeps_a_plain_number():
    assert Rule("mean-sd", np.float32(3)) == Rule("mean-sd", torch.tensor(3.0)) == Rule("mean-sd", 3)
    assert type(Rule("percentile", np.int64(5)).value) is float


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: detection.rows_needed("x"), ["level", "'x'"]),
        (lambda: detection.smallest_level(0), ["rows", "at least 1", "not 0"]),
        (lambda: detection.false_alarm_interval(99, 0.1, fresh_rows=-1), ["fresh_rows", "not -1"]),
        (lambda: detection.false_alarm_interval(99, 0.1, confidence=1), ["confidence", "below 1"]),
        (lambda: detection.false_alarm_interval(2.5, 0.1), ["rows", "2.5"]),
        (lambda: conformal_p_values([0.0], [1.0], generator=0), ["generator is of type int", "default_rng"]),
        (
            lambda: detection.detection_report([0.0, 1.0], [1, 0], generator=0),
            ["generator is of type int", "default_rng"],
        ),
        (lambda: detection.alarm_report(5, [1]), ["alarms", "shape ()"]),
        (lambda: detection.alarm_report([2, 0], [1, 0]), ["alarms hold 2", "1 for an alarm"]),
        (lambda: detection.alarm_report([1, 0], [1]), ["labels", "(1,)", "(2,)"]),
        (lambda: Detector.fit([0.0] * 99, rule="conformal"), ["rule is of type str", "Rule("]),
        (lambda: Detector.fit([0.0] * 99).with_rule(0.05), ["rule is of type float"]),
        (lambda: Detector.fit([0.0] * 99).judge([0.0], ids=["a", "b"]), ["2 ids for 1 scores"]),
        (lambda: column_detector().judge([0.0], [[0.0] * 3], max_columns=0), ["at least 1", "not 0"]),
    ],
)
def test_wrong_arguments_are_one_line(call, words):
    one_line_error(call, *words)


# --------------------------------------------------------------------------------------- detectors


def test_impossible_rows_are_as_odd_as_can_be():
    detector = Detector.fit(np.arange(99.0))
    assert detector.p_values([-INF, INF]).tolist() == [0.01, 1.0]
    assert detector.alarms([-INF, INF]).tolist() == [True, False]
    (verdict,) = detector.judge([-INF], first_row=7)
    assert verdict.row == 7
    assert verdict.alarm
    assert "impossible" in verdict.reason
    assert "lower than all 99" in verdict.reason
    assert verdict.as_dict()["score"] is None
    one_line_error(lambda: detector.p_values([0.0, math.nan]), "row 1 is NaN")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_are_scores_too(dtype):
    scores = torch.tensor([-3.0, -1.0, -2.0], dtype=dtype, requires_grad=True)
    assert Detector.fit(scores, rule=Rule("conformal", 0.5)).threshold == -2.0


def column_calibration(generator: np.random.Generator, rows: int = 499) -> np.ndarray:
    """Log p of a wide column, of a flag that is nearly always 0, and of one that never varies."""
    wide = -8.0 - 0.5 * generator.normal(size=rows) ** 2
    flag = np.where(generator.random(rows) < 0.02, math.log(0.02), math.log(0.98))
    return np.stack([wide, flag, np.zeros(rows)], axis=1)


def column_detector() -> Detector:
    columns = column_calibration(rng(7))
    return Detector.fit(columns.sum(1), column_scores=columns, column_names=["wide", "flag", "fixed"])


def test_the_odd_column_is_the_one_odd_for_itself():
    detector = column_detector()
    rows = np.array([[-8.1, math.log(0.02), 0.0], [-30.0, math.log(0.98), 0.0], [-8.1, -0.02, -9.0]])
    verdicts = detector.judge(rows.sum(1), rows)
    assert [verdict.columns[0].column for verdict in verdicts] == ["flag", "wide", "fixed"]
    assert np.argmax(-rows[0]) == 0  # by raw surprise the wide column would have been blamed
    flag = verdicts[0].columns[0]
    assert flag.surprise == pytest.approx(-math.log(0.02))
    assert flag.typical == pytest.approx(-math.log(0.98))
    assert flag.p_value == (1 + np.sum(detector.columns.ordered[1] < -1)) / 500
    assert verdicts[1].columns[0].p_value == 1 / 500
    assert "oddest: wide (surprise 30.0 nats" in verdicts[1].reason
    assert detector.columns.oddest_names(rows) == [[c.column for c in v.columns] for v in verdicts]


def test_beyond_the_calibration_rows_distance_decides_and_nats_are_the_unit():
    calibration = column_calibration(rng(8))[:, [0, 2]]
    columns = ColumnCalibration.fit(calibration, None, len(calibration))
    far, tiny = columns.oddest([[-60.0, -9.0]])[0][0], columns.oddest([[-8.5, -1e-8]])[0][0]
    assert far.column == "column 0"  # 50 nats beyond, against 9: both have the smallest p-value
    assert columns.p_values([[-60.0, -9.0]]).tolist() == [[1 / 500, 1 / 500]]
    assert columns.p_values([[-8.0, -1e-8]])[0, 1] == 1.0  # rounding is no surprise
    assert tiny.column == "column 0"
    assert columns.standardised([[-8.0, -9.0]])[0, 1] == 9.0
    assert columns.oddest([[-8.0, -INF]])[0][0].as_dict()["surprise"] is None


def test_a_rank_that_is_high_by_a_hair_is_no_reason():
    """A flag whose surprise varies by a hair, beside a number far off: the number is the reason, alone."""
    generator = rng(23)
    hair = -0.7 - 0.001 * generator.random(240)
    columns = ColumnCalibration.fit(
        np.stack([hair, -4 + generator.normal(size=240)], axis=1), ["flag", "age"], 240
    )
    row = [[-0.7012, np.sort(columns.ordered[1])[2]]]  # odder than all, and than all but two
    assert columns.p_values(row)[0, 0] < 0.01 < columns.p_values(row)[0, 1] < 0.05
    assert columns.oddest_names(row) == [["age"]]
    assert columns.oddest_names([[-0.7012, -4.0]]) == [["flag"]]  # one is always named


def test_column_p_values_are_valid_for_each_column():
    """Fresh clean rows: each column's false-alarm share lies in its own interval. Error rate 2 %."""
    generator = rng(9)
    calibration, fresh = generator.normal(size=(999, 2)), generator.normal(size=(2000, 2))
    columns = ColumnCalibration.fit(calibration, ["a", "b"], 999)
    low, high = detection.false_alarm_interval(999, 0.05, fresh_rows=2000)
    for share in (columns.p_values(fresh) <= 0.05).mean(0):
        assert low <= share <= high


def test_of_many_calibration_rows_an_even_part_is_kept_for_the_columns():
    rows = 2 * KEPT_ROWS + 1
    columns = ColumnCalibration.fit(np.arange(float(rows))[:, None], None, rows)
    assert columns.ordered.shape[1] <= KEPT_ROWS
    assert columns.ordered[0, :3].tolist() == [0.0, 3.0, 6.0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Detector.fit([0.0] * 99, column_scores=[[0.0]] * 98), ["(98, 1)", "(99, columns)"]),
        (
            lambda: Detector.fit([0.0] * 99, column_scores=[[0.0, 0.0]] * 99, column_names=["a", "a"]),
            ["'a' appears twice"],
        ),
        (lambda: column_detector().judge([0.0], [[0.0, 0.0]]), ["(1, 2)", "3"]),
        (lambda: column_detector().judge([0.0, 1.0], [[0.0] * 3]), ["2 scores", "1 rows"]),
        (lambda: column_detector().judge([0.0], [[0.0, math.nan, 0.0]]), ["row 0", "'flag'", "NaN"]),
        (lambda: Detector.fit([0.0] * 99).judge([0.0], [[0.0]]), ["without columns"]),
    ],
)
def test_columns_that_do_not_fit_are_refused(call, words):
    one_line_error(call, *words)


# --------------------------------------------------------------------------------------- the files


@pytest.fixture
def saved(tmp_path) -> Path:
    column_detector().save(tmp_path / "detector")
    return tmp_path / "detector"


@pytest.mark.parametrize("rule", [Rule(), Rule("percentile", 5), Rule("mean-sd", 3)])
@pytest.mark.parametrize("with_columns", [False, True])
def test_what_is_saved_comes_back_bit_for_bit(rule, with_columns, tmp_path):
    columns = column_calibration(rng(10))
    options = {"column_scores": columns, "column_names": ["a", "b", "c,d"]} if with_columns else {}
    detector = Detector.fit(columns.sum(1), rule=rule, about={"model": "NADE", "rows": [1, 2]}, **options)
    detector.save(tmp_path / "new" / "folder")
    loaded = Detector.load(tmp_path / "new" / "folder")
    assert loaded.rule == detector.rule
    assert loaded.threshold == detector.threshold
    assert loaded.about == detector.about
    assert np.array_equal(loaded.calibration, detector.calibration)
    fresh = np.r_[columns.sum(1)[:50], rng(11).normal(-9, 3, size=50), -INF]
    assert np.array_equal(loaded.p_values(fresh), detector.p_values(fresh))
    if with_columns:
        assert loaded.judge(fresh[:50], columns[:50]) == detector.judge(fresh[:50], columns[:50])
    else:
        assert loaded.columns is None
    assert Detector.load(tmp_path / "new" / "folder" / "detector.json").threshold == detector.threshold


def test_an_infinite_threshold_survives_as_strict_json(tmp_path):
    Detector.fit([-INF] * 99).save(tmp_path)
    text = (tmp_path / "detector.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["threshold_nats"] is None
    assert Detector.load(tmp_path).threshold == -INF


def change(path: Path, **items: object) -> None:
    config = json.loads(path.read_text()) | items
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "removed"}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "detector.json").unlink(), ["no detector", "detector.json"]),
        (lambda f: (f / "detector.json").write_text("{"), ["cannot be read"]),
        (lambda f: (f / "detector.json").write_bytes(b"\xff\xfe"), ["cannot be read"]),
        (lambda f: (f / "detector.json").write_text("[]"), ["not the description"]),
        (lambda f: change(f / "detector.json", format=2), ["format 2", "reads format 1"]),
        (lambda f: change(f / "detector.json", rule="removed"), ["rule missing"]),
        (lambda f: change(f / "detector.json", rule={"name": "best", "value": 1}), ["unknown", "rule"]),
        (lambda f: change(f / "detector.json", rule=[1]), ["damaged"]),
        (lambda f: change(f / "detector.json", rule={"name": "conformal", "value": 1e-4}), ["9,999"]),
        (lambda f: change(f / "detector.json", columns=["a"]), ["1 columns, but 3"]),
        (lambda f: change(f / "detector.json", about=5), ["damaged"]),
        (lambda f: (f / "detector.safetensors").unlink(), ["detector.safetensors", "cannot be read"]),
        (lambda f: (f / "detector.safetensors").write_bytes(b"x"), ["does not belong"]),
        (lambda f: Detector.fit([0.0] * 99).save(f / "o") or (f / "o" / "detector.safetensors").replace(
            f / "detector.safetensors"), ["does not belong"]),
    ],
)  # fmt: skip
def test_a_damaged_detector_is_one_clear_line(damage, words, saved):
    damage(saved)
    one_line_error(lambda: Detector.load(saved), str(saved), *words)


def test_a_full_disk_leaves_the_previous_detector(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    detector = Detector.fit([0.0] * 99)
    one_line_error(lambda: detector.save(saved, overwrite=True), "No space left", "unchanged")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_detector_is_replaced_only_if_asked(saved):
    before, other = Detector.load(saved), Detector.fit(np.arange(99.0))
    (saved / "model.safetensors").write_bytes(b"of the model")
    one_line_error(lambda: other.save(saved), "already holds a detector", "overwrite=True")
    assert Detector.load(saved).threshold == before.threshold
    other.save(saved, overwrite=True)
    assert Detector.load(saved).threshold == other.threshold
    assert (saved / "model.safetensors").read_bytes() == b"of the model"
    one_line_error(lambda: other.save(""), "folder must be a path")


def test_notes_that_are_no_json_are_refused_before_anything_is_written(tmp_path):
    detector = Detector.fit([0.0] * 99, about={"model": object()})
    one_line_error(lambda: detector.save(tmp_path / "d"), "about", "not JSON")
    assert not (tmp_path / "d").exists()


# ------------------------------------------------------------------------------------- the reports


def labelled(generator: np.random.Generator, rows: int = 400, ties: bool = False):
    labels = (np.arange(rows) % 5 == 0).astype(int)
    scores = generator.normal(size=rows) - 1.5 * labels
    return (np.round(scores) if ties else scores), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_figures_equal_scikit_learn_s(seed, ties):
    scores, labels = labelled(rng(seed), ties=ties)
    report = detection.detection_report(scores, labels)
    assert report.auroc.value == pytest.approx(metrics.roc_auc_score(labels, -scores), abs=1e-12)
    expected = metrics.average_precision_score(labels, -scores)
    assert report.average_precision.value == pytest.approx(expected, abs=1e-12)
    false, true, _ = metrics.roc_curve(labels, -scores, drop_intermediate=False)
    assert report.false_alarms_at_95_recall.value == pytest.approx(false[np.argmax(true >= 0.95)], abs=1e-12)
    assert report.normal + report.anomalies == len(scores)


def test_infinite_scores_are_ranked_like_any_others():
    scores, labels = labelled(rng(12))
    order = np.argsort(np.argsort(scores)).astype(float)
    infinite = order.copy()
    infinite[order == 0], infinite[order == len(order) - 1] = -INF, INF
    assert detection.detection_report(infinite, labels) == detection.detection_report(order, labels)


def test_delong_s_interval_is_that_of_its_definition():
    """The variance from the structural components, written out pair by pair."""
    scores, labels = labelled(rng(13), rows=60, ties=True)
    odd, normal = scores[labels == 1], scores[labels == 0]
    pairs = (odd[:, None] < normal).astype(float) + 0.5 * (odd[:, None] == normal)
    area = pairs.mean()
    error = math.sqrt(pairs.mean(1).var(ddof=1) / len(odd) + pairs.mean(0).var(ddof=1) / len(normal))
    reach = stats.norm.ppf(0.975) * error / (area * (1 - area))
    figure = detection.detection_report(scores, labels).auroc
    assert figure.value == pytest.approx(area)
    logit = math.log(area / (1 - area))
    assert (figure.low, figure.high) == pytest.approx(
        tuple(1 / (1 + math.exp(-(logit + s * reach))) for s in (-1, 1))
    )


def test_intervals_cover_the_truth_as_often_as_they_say():
    """300 samples at 90 %: AUROC of two normals is known; AP's from a large sample. Within 4 sd of 90 %."""
    truth = stats.norm.cdf(1.5 / math.sqrt(2))
    large = detection.average_precision(*labelled(rng(14), rows=400_000))
    generator, covered = rng(15), np.zeros(2)
    for _ in range(300):
        report = detection.detection_report(
            *labelled(generator), confidence=0.9, generator=generator, resamples=100
        )
        covered += (
            report.auroc.low <= truth <= report.auroc.high,
            (report.average_precision.low <= large <= report.average_precision.high),
        )
    assert np.all(covered / 300 > 0.9 - 4 * math.sqrt(0.09 / 300))
    assert covered[0] / 300 < 0.9 + 4 * math.sqrt(0.09 / 300)


def test_the_bootstrap_is_a_function_of_its_generator():
    scores, labels = labelled(rng(16))
    reports = [
        detection.detection_report(scores, labels, generator=rng(seed), resamples=50) for seed in (0, 0, 1)
    ]
    assert reports[0] == reports[1] != reports[2]
    assert detection.detection_report(scores, labels).average_precision.low is None
    assert json.loads(json.dumps(reports[0].as_dict()))["auroc"]["value"] == reports[0].auroc.value


def test_perfect_separation_is_not_certainty():
    report = detection.detection_report([-5.0, -4.0, 1.0, 2.0, 3.0], [1, 1, 0, 0, 0])
    assert report.auroc.value == 1.0
    assert report.auroc.low == pytest.approx(0.025**0.5)  # two pairs that share no row
    turned = detection.detection_report([-5.0, -4.0, 1.0, 2.0, 3.0], [0, 0, 1, 1, 1])
    assert (turned.auroc.low, turned.auroc.high) == pytest.approx((0.0, 1 - 0.025**0.5))


def test_alarms_against_labels():
    alarms, labels = [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 1]
    report = detection.alarm_report(np.array(alarms, dtype=bool), labels)
    assert report.alarms == 3
    assert report.false_alarm_rate.value == 1 / 5
    assert report.detection_rate.value == 2 / 3
    assert report.precision.value == 2 / 3
    exact = stats.binomtest(1, 5).proportion_ci(0.95, method="exact")
    assert (report.false_alarm_rate.low, report.false_alarm_rate.high) == pytest.approx(tuple(exact))
    assert detection.alarm_report([0, 0], [0, 0]).precision is None
    clean = detection.alarm_report([0, 0], [0, 0]).false_alarm_rate
    assert (clean.value, clean.low) == (0.0, 0.0)
    assert clean.high == pytest.approx(1 - 0.025**0.5)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 0, 0], ["no anomalies"]),
        ([1, 1, 1], ["no normal rows"]),
        ([0, 1], ["shape (2,)", "(3,)"]),
        ([0, 1, 2], ["hold 2", "1 for an anomaly"]),
        (["a", "b", "a"], ["'a'"]),
        ([0, 1, math.nan], ["nan"]),
    ],
)
def test_labels_that_make_no_report_are_refused(labels, words):
    one_line_error(lambda: detection.detection_report([1.0, 2.0, 3.0], labels), *words)


def test_the_table_of_reports_is_markdown():
    reports = {name: detection.detection_report(*labelled(rng(17))) for name in ("first", "second")}
    lines = detection.reports_table(reports, name="set").splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("| set | normal | anomalies | AUROC")
    assert {line.count("|") for line in lines} == {7}
    assert f"{reports['first'].auroc.value:.3f} [" in lines[2]


# ------------------------------------------------------------------------------------- the streams


def stream_rows(rows: int = 1000) -> np.ndarray:
    columns = column_calibration(rng(18), rows)
    columns[::97, 0] -= 30
    columns[500:501] = -INF
    columns[3:5] = columns[0]  # ties among the oddest
    return columns


def chunked(rows: np.ndarray, size: int):
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def judged(rows: np.ndarray, size: int, out: Path, **options):
    return judge_stream(
        chunked(rows, size),
        lambda chunk: chunk.sum(1),
        column_detector(),
        out=out,
        column_scores=lambda chunk, places: chunk[places],
        ids=lambda chunk: [f'id,"{value:.3f}' for value in chunk[:, 0]],
        **options,
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_stream_gives_what_one_pass_gives(suffix, tmp_path):
    rows = stream_rows()
    results = [judged(rows, size, tmp_path / f"{size}{suffix}", top=15) for size in (1000, 128, 7, 1)]
    assert len({(tmp_path / f"{size}{suffix}").read_bytes() for size in (1000, 128, 7, 1)}) == 1
    sums = [result.mean_score for result in results]
    assert sums == pytest.approx([sums[0]] * 4, rel=1e-12)
    assert len({repr((r.top, r.rows, r.alarms, r.impossible, r.clean_interval)) for r in results}) == 1

    detector, scores = column_detector(), rows.sum(1)
    order = np.argsort(scores, kind="stable")[:15]
    assert [verdict.row for verdict in results[0].top] == order.tolist()
    for verdict in results[0].top:
        (alone,) = detector.judge(scores[[verdict.row]], rows[[verdict.row]], first_row=verdict.row)
        assert (verdict.score, verdict.p_value, verdict.columns) == (
            alone.score,
            alone.p_value,
            alone.columns,
        )
        assert verdict.reason == alone.reason
    assert results[0].alarms == detector.alarms(scores).sum() > 10
    assert results[0].impossible == 1
    assert sums[0] == pytest.approx(scores[np.isfinite(scores)].mean())
    json.dumps(results[0].as_dict(), allow_nan=False)


def test_the_csv_holds_every_score_exactly(tmp_path):
    rows = stream_rows()
    judged(rows, 300, tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    detector, scores = column_detector(), rows.sum(1)
    assert [int(line["row"]) for line in lines] == list(range(1000))
    assert [float(line["score"]) for line in lines] == scores.tolist()
    assert [float(line["p_value"]) for line in lines] == detector.p_values(scores).tolist()
    assert [line["alarm"] == "1" for line in lines] == detector.alarms(scores).tolist()
    assert lines[0]["id"] == f'id,"{rows[0, 0]:.3f}'
    assert {line["odd_columns"] != "" for line in lines if line["alarm"] == "1"} == {True}
    assert {line["odd_columns"] for line in lines if line["alarm"] == "0"} == {""}
    assert lines[97]["odd_columns"].split(";")[0] == "wide"


def test_json_lines_are_json(tmp_path):
    rows = stream_rows()
    judged(rows, 300, tmp_path / "out.jsonl")
    lines = [
        json.loads(line, parse_constant=pytest.fail)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) == 1000
    assert list(lines[97]) == ["row", "id", "score", "p_value", "alarm", "odd_columns"]
    assert lines[500]["score"] is None
    assert lines[97]["odd_columns"][0] == "wide"
    assert lines[97]["score"] == rows[97].sum()


def test_parquet_holds_the_same_or_says_what_it_needs(tmp_path):
    try:
        import pyarrow.parquet
    except ImportError:
        one_line_error(
            lambda: judged(stream_rows(), 300, tmp_path / "out.parquet"), "pip install chainrule[parquet]"
        )
        assert not list(tmp_path.iterdir())
        return
    rows = stream_rows()
    judged(rows, 300, tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert table["score"] == rows.sum(1).tolist()
    assert table["row"] == list(range(1000))
    assert table["alarm"] == column_detector().alarms(rows.sum(1)).tolist()
    assert table["odd_columns"][97].startswith("wide")
    assert table["odd_columns"][1] == ""


def test_memory_does_not_grow_with_the_stream():
    """A hundred times the rows need no more memory, and no chunk outlives the next but one."""
    detector = Detector.fit(np.linspace(-5, 0, 999))

    class Chunk:
        def __init__(self, start: int) -> None:
            self.scores = np.random.default_rng(start).normal(-2, 1, size=5000)

    def peak(chunks: int) -> int:
        alive: weakref.WeakSet[Chunk] = weakref.WeakSet()

        def produce():
            for start in range(chunks):
                chunk = Chunk(start)
                alive.add(chunk)
                assert len(alive) <= 1
                yield chunk
                del chunk

        tracemalloc.start()
        summary = judge_stream(produce(), lambda chunk: chunk.scores, detector)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summary.rows == chunks * 5000
        return top

    peak(1)  # imports and caches
    assert peak(200) < 1.5 * peak(2)


def test_progress_is_told_after_each_chunk():
    told = []
    judge_stream(
        chunked(stream_rows(10), 4),
        lambda chunk: chunk.sum(1),
        column_detector(),
        on_progress=lambda done, total: told.append((done, total)),
        total_rows=10,
    )
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_columns_are_asked_for_only_where_they_are_read():
    asked = []

    def column_scores(chunk, places):
        asked.extend(chunk[places, 0].tolist())
        return chunk[places]

    rows = column_calibration(rng(19), 5000)
    detector = column_detector()
    summary = judge_stream(
        chunked(rows, 500), lambda chunk: chunk.sum(1), detector, column_scores=column_scores, top=3
    )
    alarms = rows[detector.alarms(rows.sum(1)), 0]
    assert set(alarms) <= set(asked)
    assert len(asked) <= len(alarms) + 3 * 10
    assert [verdict.columns != () for verdict in summary.top] == [True] * 3


def test_the_summary_tells_a_clean_stream_from_a_drifting_one():
    generator = rng(21)
    inside = 0
    for _ in range(50):
        detector = Detector.fit(generator.normal(size=999), rule=Rule("conformal", 0.05))
        clean, drifted = (
            judge_stream([generator.normal(mean, 1, 4000)], lambda chunk: chunk, detector)
            for mean in (0.0, -0.6)
        )
        low, high = clean.clean_interval
        inside += low <= clean.alarm_rate <= high
        assert drifted.alarm_rate > high
    assert inside >= 46  # of 50 at 99 %: fewer has a chance of 0.01 %
    assert (low, high) == detection.false_alarm_interval(999, 0.05, fresh_rows=4000)
    other = detector.with_rule(Rule("percentile", 5))
    assert judge_stream([np.zeros(3)], lambda chunk: chunk, other).clean_interval is None


def test_an_empty_stream_is_an_empty_file(tmp_path):
    summary = judged(stream_rows()[:0], 5, tmp_path / "out.csv")
    assert (summary.rows, summary.alarm_rate, summary.top, summary.mean_score) == (0, 0.0, (), None)
    assert (tmp_path / "out.csv").read_text() == "row,id,score,p_value,alarm,odd_columns\n"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_stream_that_fails_leaves_what_was_there(suffix, tmp_path):
    out = tmp_path / f"out{suffix}"
    out.write_text("before")
    rows = stream_rows()
    rows[700] = math.nan
    one_line_error(lambda: judged(rows, 128, out, overwrite=True), "row 700 is NaN")

    def broken():
        yield stream_rows()[:10]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        judge_stream(broken(), lambda chunk: chunk.sum(1), column_detector(), out=out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "before"


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    one_line_error(lambda: judged(stream_rows(), 128, tmp_path / "out.csv"), "No space left", "out.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.txt", {}, [".csv, .jsonl, .parquet"]),
        ("there.csv", {}, ["already exists"]),
        ("no/folder.csv", {}, ["could not be written"]),
        ("folder.csv", {"overwrite": True}, ["is a folder"]),
        ("out.csv", {"top": -1}, ["top", "at least 0", "not -1"]),
        ("out.csv", {"max_columns": 0}, ["max_columns", "at least 1", "not 0"]),
    ],
)
def test_outputs_that_cannot_be_are_refused_at_once(name, options, words, tmp_path):
    (tmp_path / "there.csv").write_text("before")
    (tmp_path / "folder.csv").mkdir()
    one_line_error(lambda: judged(stream_rows(), 128, tmp_path / name, **options), *words)
    assert (tmp_path / "there.csv").read_text() == "before"


def test_a_stream_refuses_what_does_not_fit():
    rows, plain = stream_rows(), Detector.fit([0.0] * 99)
    score = {"score": lambda chunk: chunk.sum(1)}
    one_line_error(
        lambda: judge_stream([rows], detector=plain, column_scores=lambda c, p: c[p], **score),
        "without columns",
    )
    one_line_error(
        lambda: judge_stream([rows], detector=plain, ids=lambda chunk: ["a"], **score), "1 ids for 1000 rows"
    )
    one_line_error(
        lambda: judge_stream(5, detector=plain, **score), "chunks is of type int", "parts of a table"
    )
    one_line_error(lambda: judge_stream(rows, detector=plain, **score), "(1000, 3)", "[table]")
    one_line_error(lambda: judge_stream([rows], rows.sum(1), plain), "score is", "a function")
    one_line_error(lambda: judge_stream([rows], detector="runs/tree", **score), "type str", "Detector.load")


@pytest.mark.parametrize("change", [lambda scores: scores[1:], lambda scores: np.append(scores, 0.0)])
def test_as_many_scores_as_rows(change, tmp_path):
    """A score too few would shift the numbers of all rows after it."""
    rows, plain = stream_rows(10), Detector.fit([0.0] * 99)
    one_line_error(
        lambda: judge_stream(
            [rows[:5], rows[5:]],
            lambda chunk: change(chunk.sum(1)) if chunk[0, 0] == rows[5, 0] else chunk.sum(1),
            plain,
            out=tmp_path / "out.csv",
        ),
        "the 5 rows of the chunk that begins at row 5",
    )
    assert not list(tmp_path.iterdir())


def test_the_roc_of_two_known_laws_is_that_of_theory():
    """Neyman and Pearson: with log p - log q as the score, no other test of p against q has more power."""
    pixels, p, q = 12, 0.3, 0.45
    usual, odd = (models.Independent((pixels,)) for _ in range(2))
    with torch.no_grad():
        usual.params.fill_(math.log(p / (1 - p)))
        odd.params.fill_(math.log(q / (1 - q)))
    drawn = torch.cat([usual.sample(4000, seed=0), odd.sample(4000, seed=1)])
    with torch.no_grad():
        score = (usual.log_prob(drawn) - odd.log_prob(drawn)).numpy()
    labels = np.repeat([0, 1], 4000)
    # The score falls with the number of ones, which is binomial under either law.
    ones = np.arange(pixels + 1)
    of_usual, of_odd = stats.binom.pmf(ones, pixels, p), stats.binom.pmf(ones, pixels, q)
    higher = of_odd[None, :] * of_usual[:, None] * ((ones > ones[:, None]) + 0.5 * (ones == ones[:, None]))
    report = detection_report(score, labels).as_dict()["auroc"]
    assert report["low"] < higher.sum() < report["high"]
    assert report["high"] - report["low"] < 0.04
    for least in (5, 6, 7):  # points of the curve: alarm from so many ones on
        threshold = usual.log_prob(_first_ones(pixels, least)) - odd.log_prob(_first_ones(pixels, least))
        alarms = score <= threshold.item() + 1e-5
        assert abs(alarms[:4000].mean() - of_usual[least:].sum()) < 0.03
        assert abs(alarms[4000:].mean() - of_odd[least:].sum()) < 0.03


def _first_ones(pixels, count):
    return (torch.arange(pixels) < count).float()[None]
