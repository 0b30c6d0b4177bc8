"""`chainrule detect fit` and `detect score`."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import typer
from cli_helpers import call, refused, succeed, train_small
from table_helpers import QUICK, payments

from chainrule.cli.detect_labels import label_report, normal_label
from chainrule.cli.detect_reasons import CellSurprises
from chainrule.cli.detect_rows import OddestCells, cell_text, usual_values
from chainrule.cli.main import app
from chainrule.cli.names import TABLES
from chainrule.data import CATALOGUE, TableEntry
from chainrule.detection import Detector, detection_report
from chainrule.errors import ChainruleError
from chainrule.tables import infer_schema
from chainrule.tabular import TableModel


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detect")
    payments().to_csv(folder / "train.csv", index=False)
    payments(300, seed=1).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted(home):
    """A run, and what `fit` said as JSON."""
    called = succeed(
        "detect", "fit", home / "train.csv", "--out", home / "run", "--label", "fraud", "--drop", "id",
        "--level", "0.05", "--json", *QUICK,
    )  # fmt: skip
    return home / "run", called.json


# ---------------------------------------------------------------- fit


def test_fit_leaves_a_model_and_a_detector_and_says_what_came_out(fitted):
    run, content = fitted
    assert {"config.json", "model.safetensors", "schema.json", "marginals", "detector.json"} <= {
        path.name for path in run.iterdir()
    }
    assert [column["name"] for column in content["columns"]] == ["amount", "hour", "country", "age"]
    assert content["rows"] == 400
    assert content["fitted_on"] + content["calibrated_on"] == 400
    assert content["calibrated_on"] == 80
    assert content["report"]["detection"]["auroc"]["value"] > 0.9
    low, high = content["clean_interval"]
    assert low < 0.05 < high


def test_the_report_and_the_threshold_are_those_of_the_rows_kept_back(fitted, home):
    """Found again in Python: the rows that are neither fitted on nor in the report twice."""
    from chainrule.cli.table_plan import noted_plan, parts_of

    run, content = fitted
    parts = parts_of(noted_plan(run))
    assert not set(parts.fit.frame.index) & set(parts.held.frame.index)
    model, detector = TableModel.load(run), Detector.load(run)
    scores = model.anomaly_scores(parts.held.frame)
    assert detector.threshold == pytest.approx(content["threshold"])
    np.testing.assert_allclose(np.sort(scores), detector.calibration)
    report = detection_report(scores, parts.held.labels == "1")
    assert report.auroc.value == pytest.approx(content["report"]["detection"]["auroc"]["value"])


def test_normal_only_fits_and_calibrates_on_those_rows_alone(home, tmp_path):
    content = succeed(
        "detect", "fit", home / "train.csv", "--out", tmp_path / "run", "--label", "fraud", "--drop", "id",
        "--normal-only", "0", "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert content["fitted_on"] + content["calibrated_on"] == 380
    assert content["left_out"] == 20
    kinds = {kind["label"]: kind["rows"] for kind in content["report"]["by_label"]}
    assert kinds == {"0": content["calibrated_on"], "1": 20}


@pytest.mark.parametrize(
    ("options", "calibrated"),
    [
        ((), 99),  # a fifth is 80, but level 0.01 needs 99
        (("--level", "0.05"), 80),
        (("--level", "0.05", "--calibration", "0.3"), 120),
        (("--percentile", "2"), 80),
        (("--mean-sd", "3"), 80),
    ],
)
def test_how_many_rows_calibrate(options, calibrated):
    from chainrule.cli.detect_options import chosen_rule
    from chainrule.cli.table_plan import TablePlan, held_out_rows

    given = dict(zip(options[::2], map(float, options[1::2]), strict=True))
    rule = chosen_rule(given.get("--level"), given.get("--percentile"), given.get("--mean-sd"))
    plan = TablePlan(
        "x.csv",
        "detect",
        held_out=given.get("--calibration"),
        rule=("conformal", 0.01) if rule is None else (rule.name, rule.value),
    )
    assert held_out_rows(plan, 400) == calibrated


def test_resume_needs_only_the_folder_and_may_change_the_rule(fitted, home, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    weights = (run / "model.safetensors").read_bytes()
    (run / "detector.json").unlink()
    refused(call("detect", "score", run, home / "new.csv"), "no detector yet", "detect fit --resume")
    content = succeed("detect", "fit", "--resume", "--out", run, "--percentile", "10", "--json", "-q").json
    assert content["rule"] == {"name": "percentile", "value": 10.0}
    assert (run / "model.safetensors").read_bytes() == weights
    refused(call("detect", "fit", home / "new.csv", "--resume", "--out", run), "train.csv", "new.csv")


def test_a_schema_may_be_edited_and_given(fitted, home, tmp_path):
    text = json.loads((fitted[0] / "schema.json").read_text())
    text["columns"] = [column for column in text["columns"] if column["name"] in ("amount", "country")]
    (tmp_path / "mine.json").write_text(json.dumps(text))
    content = succeed(
        "detect", "fit", home / "train.csv", "--out", tmp_path / "r", "--schema", tmp_path / "mine.json",
        "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert [column["name"] for column in content["columns"]] == ["amount", "country"]


def test_what_is_not_chosen_is_as_fit_table_has_it(fitted):
    """The defaults that were measured are the library's; the command line has none of its own."""
    from chainrule.tabular import DEPENDENCE, fit_table

    run, content = fitted
    frame = payments().drop(columns=["id", "fraud"])
    library = fit_table(frame, schema=TableModel.load(run).schema, steps=1, progress=False)
    config = json.loads((run / "config.json").read_text())
    assert config["settings"] == json.loads(json.dumps(library.model.settings()))
    families = json.dumps(config["settings"]["conditional"])
    assert "student_t" in families
    assert '"min_scale": 0.1' in families
    assert config["notes"]["table"]["options"] == {"steps": 20}
    assert content["dependence"] == DEPENDENCE


def test_the_help_names_the_defaults_of_the_library():
    from chainrule.tabular import DEFAULT_STEPS, DEPENDENCE

    page = " ".join(succeed("detect", "fit", "--help").out.replace("│", " ").split())
    assert f"Updates of training; {DEFAULT_STEPS} if not said." in page
    assert f"1 is log p(row). {DEPENDENCE:g} if not said." in page


def test_an_ordering_may_be_given_column_by_column(home, tmp_path):
    content = succeed(
        "detect", "fit", home / "train.csv", "--out", tmp_path / "r", "--drop", "id", "--set",
        "ordering=4,2,0,1,3", "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert content["calibrated_on"] == 80
    assert TableModel.load(tmp_path / "r").model.ordering.permutation == (4, 2, 0, 1, 3)


# ---------------------------------------------------------------- score


def test_score_shows_the_oddest_rows_with_their_cells_and_writes_every_row(fitted, home, tmp_path):
    out = tmp_path / "scores.csv"
    content = succeed(
        "detect", "score", fitted[0], home / "new.csv", "--out", out, "--id", "id", "--top", "5", "--json"
    ).json
    table = payments(300, seed=1)
    written = pd.read_csv(out)
    assert len(written) == content["rows"] == 300
    assert list(written.id) == list(table.id)
    assert written.alarm.sum() == content["alarms"]
    lowest = written.sort_values("score", kind="stable").head(5)
    assert [row["row"] for row in content["top"]] == lowest.row.tolist()
    first = content["top"][0]
    assert first["id"] == table.id[first["row"]]
    assert first["label"] == "1"  # the label column of `fit` is known again
    named = {column["column"]: column for column in first["columns"]}
    assert float(named["amount"]["value"].replace(",", "")) == table.amount[first["row"]]
    assert named["amount"]["surprise_alone"] > 3
    assert content["report"]["detection"]["auroc"]["value"] > 0.9
    assert content["report"]["normal"] == "0"


def test_score_for_people(fitted, home):
    page = succeed("detect", "score", fitted[0], home / "new.csv", "--top", "2").out
    assert "The 2 oddest rows" in page
    assert "amount" in page
    assert "usually" in page
    assert "AUROC" in page
    assert "file" not in page


def test_scoring_what_was_fitted_is_said(fitted, home):
    assert "fitted on rows of" in succeed("detect", "score", fitted[0], home / "train.csv").err
    assert "fitted on" not in succeed("detect", "score", fitted[0], home / "new.csv").err


def test_the_rule_may_change_and_p_values_do_not(fitted, home):
    def alarms(*rule):
        return succeed("detect", "score", fitted[0], home / "new.csv", "--json", "--top", "0", *rule).json

    assert alarms("--percentile", "50")["alarms"] > alarms()["alarms"]
    assert alarms("--level", "0.5")["rule"] == {"name": "conformal", "value": 0.5}
    assert alarms("--mean-sd", "50")["alarms"] == 0


def test_chunks_give_what_the_whole_gives(fitted, home, monkeypatch):
    whole = succeed("detect", "score", fitted[0], home / "new.csv", "--json").json
    monkeypatch.setattr("chainrule.cli.table_rows._File.chunks.__defaults__", (37,))
    parts = succeed("detect", "score", fitted[0], home / "new.csv", "--json").json
    assert [row["row"] for row in parts["top"]] == [row["row"] for row in whole["top"]]
    assert [row["columns"][0]["value"] for row in parts["top"]] == [
        row["columns"][0]["value"] for row in whole["top"]
    ]
    assert parts["alarms"] == whole["alarms"]
    assert parts["report"]["by_label"] == whole["report"]["by_label"]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_ids_and_labels_are_read_as_they_are_spelled_in_every_part(fitted, tmp_path, monkeypatch, chunk):
    """007 is no 7 in a part of digits, 1e3 no 1000; what stands for no label is none in every part."""
    ids = ["007", "8", "1e3", "abc", "", "NA", "0.50", "12", "1.0"]
    labels = ["0", "1", "0.0", "1.0", "NA", "", "0", "nan", "1"]
    table = payments(9, seed=1).astype({"age": float}).fillna({"age": 40.0})
    table.assign(id=ids, fraud=labels).to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr("chainrule.cli.table_rows._File.chunks.__defaults__", (chunk,))
    out = tmp_path / "s.csv"
    content = succeed(
        "detect", "score", fitted[0], tmp_path / "t.csv", "--id", "id", "--out", out, "--top", "9", "--json"
    ).json
    written = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert list(written.id) == ids
    assert {row["id"]: row["label"] for row in content["top"]} == dict(
        zip(ids, ["0", "1", "0", "1", None, None, "0", None, "1"], strict=True)
    )
    kinds = {kind["label"]: kind["rows"] for kind in content["report"]["by_label"]}
    assert kinds == {"0": 3, "1": 3}


def test_labels_of_codes_are_the_same_for_fit_and_score(home, tmp_path):
    frame = pd.read_csv(home / "train.csv").assign(fraud=["007", "012"] * 200)
    frame.to_csv(tmp_path / "t.csv", index=False)
    content = succeed(
        "detect", "fit", tmp_path / "t.csv", "--out", tmp_path / "r", "--label", "fraud", "--drop", "id",
        "--normal-only", "007", "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert {kind["label"] for kind in content["report"]["by_label"]} == {"007", "012"}
    scored = succeed("detect", "score", tmp_path / "r", tmp_path / "t.csv", "--json").json
    assert scored["report"]["normal"] == "007"


def test_none_is_a_label_and_may_be_the_normal_one(home, tmp_path):
    frame = pd.read_csv(home / "train.csv")
    frame.assign(fraud=np.where(frame.fraud == 1, "Fuzzers", "None")).to_csv(tmp_path / "t.csv", index=False)
    content = succeed(
        "detect", "fit", tmp_path / "t.csv", "--out", tmp_path / "r", "--label", "fraud", "--drop", "id",
        "--normal-only", "None", "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert {kind["label"]: kind["rows"] for kind in content["report"]["by_label"]} == {
        "None": content["calibrated_on"],
        "Fuzzers": 20,
    }


def test_reordered_and_further_columns_do_not_matter(fitted, home, tmp_path):
    frame = pd.read_csv(home / "new.csv")
    frame.assign(more=1)[[*reversed(frame.columns), "more"]].to_csv(tmp_path / "other.csv", index=False)
    same = [
        succeed("detect", "score", fitted[0], path, "--json").json["alarms"]
        for path in (home / "new.csv", tmp_path / "other.csv")
    ]
    assert same[0] == same[1]


def test_a_column_of_labels_that_are_all_unknown_is_said(fitted, home, tmp_path):
    new = pd.read_csv(home / "new.csv").assign(country=range(300))
    new.to_csv(tmp_path / "new.csv", index=False)
    called = succeed("detect", "score", fitted[0], tmp_path / "new.csv", "--top", "0")
    assert called.err.count("warning") == 1
    assert (
        "'country' holds no label that the model knows, but such as '0' (it knows DE, FR, US)" in called.err
    )
    new.assign(country=["DE", *["ZZ"] * 299]).to_csv(tmp_path / "new.csv", index=False)
    assert "warning" not in succeed("detect", "score", fitted[0], tmp_path / "new.csv", "--top", "0").err


def test_notices_are_said_once(home, tmp_path):
    frame = pd.read_csv(home / "train.csv")
    frame.assign(empty=np.nan).to_csv(tmp_path / "t.csv", index=False)
    for command in (
        ("detect", "fit", tmp_path / "t.csv", "--drop", "id", "--percentile", "5", "--steps", "5"),
        ("train", "made", "--data", tmp_path / "t.csv", "--drop", "id", "--set", "steps=5"),
    ):
        for place, quiet in enumerate(((), ("--quiet",))):
            called = succeed(*command, "--out", tmp_path / f"{command[0]}{place}", *quiet)
            said = [text.count("'empty' holds no value at all") for text in (called.err, called.out)]
            assert said == [0, 1] if quiet else said == [1, 0]


def test_kinds_of_labels_that_are_not_shown_are_counted(fitted, home, tmp_path):
    new = pd.read_csv(home / "new.csv").drop(columns="fraud")
    new["what"] = ["normal"] * 200 + [f"attack {i % 20}" for i in range(100)]
    new.to_csv(tmp_path / "new.csv", index=False)
    called = succeed("detect", "score", fitted[0], tmp_path / "new.csv", "--label", "what", "--top", "1")
    assert "... and 6 rarer labels; --json has all of them" in called.out


def test_arrays_of_adbench_bring_their_labels(tmp_path):
    random = np.random.default_rng(0)
    y = (np.arange(300) % 15 == 0).astype(int)
    np.savez(tmp_path / "t.npz", X=random.normal(size=(300, 3)) + 30 * y[:, None], y=y)
    content = succeed(
        "detect", "fit", tmp_path / "t.npz", "--out", tmp_path / "r", "--level", "0.05", "--json", *QUICK
    ).json
    assert content["report"]["detection"]["auroc"]["value"] > 0.9
    assert [column["name"] for column in content["columns"]] == ["x1", "x2", "x3"]


def test_a_catalogue_table_is_fitted_and_scored_on_different_rows(tmp_path):
    content = succeed(
        "detect", "fit", "breast-cancer", "--out", tmp_path / "r", "--normal-only", "benign",
        "--level", "0.05", "--json", *QUICK,
    ).json  # fmt: skip
    assert content["rows"] == 456  # train and validation
    scored = succeed("detect", "score", tmp_path / "r", "breast-cancer", "--json").json
    assert scored["rows"] == 113
    assert scored["report"]["normal"] == "benign"


def test_an_empty_cell_where_there_was_none(home, tmp_path):
    frame = pd.read_csv(home / "new.csv")
    frame.loc[3, "country"] = None
    frame.to_csv(tmp_path / "holes.csv", index=False)
    common = ("--drop", "id", "--drop", "fraud", "--level", "0.05", *QUICK)
    succeed("detect", "fit", home / "train.csv", "--out", tmp_path / "no", *common)
    refused(
        call("detect", "score", tmp_path / "no", tmp_path / "holes.csv"), "'country'", "row 3", "--allow-m"
    )
    succeed("detect", "fit", home / "train.csv", "--out", tmp_path / "yes", "--allow-missing", *common)
    succeed("detect", "score", tmp_path / "yes", tmp_path / "holes.csv")


# ---------------------------------------------------------------- bad input

BAD_TABLES = {
    "empty.csv": ("", ["empty"]),
    "header.csv": ("a,b\n", ["header but no rows"]),
    "ragged.csv": ("a,b\n1,2\n3,4\n5,6,7\n8,9\n", ["line 4", "3 cells"]),
    "twice.csv": ("a,a\n1,2\n3,4\n", ["two columns named 'a'"]),
    "three.csv": ("a,b\n1,2\n3,4\n5,7\n", ["level 0.01", "99 calibration rows"]),
    "infinite.csv": ("a,b\n" + "1,2\n3,4\n" * 150 + "inf,3\n", ["'a'", "row 300", "inf"]),
    "dates.csv": (
        "a,when\n" + "".join(f"{i % 7},2024-01-{i % 28 + 1:02d}\n" for i in range(300)),
        ["'when'", "dates", "--drop when"],
    ),
    "text.csv": (
        "a,note\n" + "".join(f"{i % 7},the customer {i} said a few words\n" for i in range(300)),
        ["'note'", "free text", "--drop note"],
    ),
    "table.xlsx": ("PK", ["ending .xlsx"]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_cannot_be_fitted(tmp_path, name):
    text, words = BAD_TABLES[name]
    (tmp_path / name).write_text(text)
    refused(call("detect", "fit", tmp_path / name, "--out", tmp_path / "r", *QUICK), *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="country"), ["lacks the column", "'country'"]),
        (lambda f: f.rename(columns={"country": "countri"}), ["renamed to 'countri'?"]),
        (lambda f: f.assign(amount="many"), ["'amount'", "row 0", "'many'", "expected a number"]),
        (lambda f: f.assign(amount=np.inf), ["'amount'", "row 0", "inf"]),
        (lambda f: f.assign(amount="2024-01-01"), ["'amount'", "2024-01-01"]),
        (lambda f: f.iloc[:0], ["header but no rows"]),
    ],
)
def test_tables_that_cannot_be_scored(fitted, home, tmp_path, change, words):
    change(pd.read_csv(home / "new.csv")).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "s.csv"
    refused(call("detect", "score", fitted[0], tmp_path / "t.csv", "--out", out), *words)
    assert not out.exists()


def test_a_fault_in_a_later_chunk_names_its_row_and_leaves_no_file(fitted, home, tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.cli.table_rows._File.chunks.__defaults__", (50,))
    frame = pd.read_csv(home / "new.csv").astype({"amount": object})
    frame.loc[217, "amount"] = "many"
    frame.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "s.csv"
    refused(call("detect", "score", fitted[0], tmp_path / "t.csv", "--out", out), "row 217", "'many'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label", "frau"], ["--label frau", "'fraud'"]),
        (["--drop", "idd"], ["--drop idd", "'id'"]),
        (["--normal-only", "0"], ["needs labels", "--label"]),
        (["--label", "fraud", "--normal-only", "ok"], ["no row is labelled so", "0, 1"]),
        (["--level", "2"], ["--level 2", "between 0 and 1"]),
        (["--percentile", "0"], ["--percentile 0"]),
        (["--mean-sd", "-1"], ["--mean-sd -1"]),
        (["--level", "0.1", "--mean-sd", "3"], ["exclude each other"]),
        (
            ["--level", "0.001"],
            ["level 0.001", "999 calibration rows", "400 rows only 200", "1,998 rows", "--level 0.00498 or"],
        ),
        (
            ["--calibration", "0.1"],
            [
                "99 calibration rows",
                "rows only 40",
                "990 rows at --calibration 0.1",
                "--calibration 0.248 or",
            ],
        ),
        (
            ["--label", "fraud", "--normal-only", "1"],
            ["of these 20 rows labelled '1' only 10", "198 rows labelled '1'", "--level 0.091 or"],
        ),
        (["--calibration", "1.5"], ["--calibration 1.5"]),
        (["--dependence", "2"], ["--dependence 2"]),
        (["--steps", "0"], ["--steps", "0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--model", "chow-liu"], ["unknown model of tables", "made"]),
        (["--set", "hiden=3"], ["'hiden'", "'hidden'"]),
        (["--set", "hidden=abc"], ["--set hidden=abc", "whole numbers with commas between"]),
        (["--set", "hidden=1.5"], ["--set hidden=1.5", "whole numbers"]),
        (["--set", "direct=maybe"], ["--set direct=maybe", "true or false"]),
        (["--set", "activation=softmax"], ["--set activation=softmax", "relu, tanh, sigmoid or elu"]),
        (["--set", "ordering=0,1,2,3,9"], ["ordering", "0..4"]),
        (["--set", "numeric=bernoulli"], ["no density"]),
        (["--set", "numeric=7"], ["numeric=7"]),
        (["--set", "numeric_transform=log"], ["numeric_transform", "standard"]),
        (["--set", "conditional=gaussian"], ["numeric=FAMILY"]),
        (["--schema", "nowhere.json"], ["no schema can be read", "schema.json that a run folder holds"]),
        (["--label", "id"], ["--drop id", "--label", "leave --drop out"]),
        (["--split", "test"], ["--split", "not for tables"]),
    ],
)
def test_options_of_fit_that_cannot_be(home, tmp_path, options, words):
    command = ["detect", "fit", home / "train.csv", "--out", tmp_path / "r", "--quiet", *options]
    refused(call(*command, *([] if "--drop" in options else ["--drop", "id"])), *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("good.csv", "a,b\n1,2\n", ["good.csv is not a .json file"]),
        ("empty.json", "{}", ["empty.json", "'columns'"]),
        ("list.json", "[]", ["list.json"]),
        ("torn.json", '{"columns": [', ["torn.json"]),
    ],
)
def test_what_is_no_schema(home, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    called = call(
        "detect", "fit", home / "train.csv", "--out", tmp_path / "r", "--schema", tmp_path / name, *QUICK
    )
    refused(called, "schema.json that a run folder holds", *words)


@pytest.mark.parametrize("level", [0.2, 0.05, 0.01, 0.003])
@pytest.mark.parametrize("share", [None, 0.1, 0.25])
def test_what_is_advised_for_too_few_rows_is_enough_and_no_more(level, share, tmp_path):
    """The rows, the level and the share that the error names are tried; fewer rows are refused again."""
    from chainrule.cli.detect_fit import _check_calibration
    from chainrule.cli.table_plan import TablePlan, parts_of

    def fit(rows, level, share):
        pd.DataFrame({"a": np.arange(rows) % 13}).to_csv(tmp_path / "t.csv", index=False)
        plan = TablePlan(str(tmp_path / "t.csv"), "detect", held_out=share, rule=("conformal", level))
        _check_calibration(plan, parts_of(plan))

    with pytest.raises(ChainruleError) as caught:
        fit(7, level, share)
    (advised,) = re.findall(r"Give (?:a table of )?at least ([\d,]+) rows", str(caught.value))
    rows = int(advised.replace(",", ""))
    fit(rows, level, share)
    fewer = int(0.8 * rows)
    with pytest.raises(ChainruleError) as caught:
        fit(fewer, level, share)
    for lower in re.findall(r"--level ([\d.]+) or", str(caught.value)):
        fit(fewer, float(lower), share)
    for greater in re.findall(r"--calibration ([\d.]+) or", str(caught.value)):
        fit(fewer, level, float(greater))


def test_what_fit_needs(home, tmp_path, fitted):
    refused(call("detect", "fit", home / "train.csv"), "--out is missing")
    refused(call("detect", "fit", "--out", tmp_path / "r"), "TABLE is missing")
    refused(call("detect", "fit", "--out", tmp_path / "r", "--resume"), "no run to resume")
    refused(call("detect", "fit", "nowhere.csv", "--out", tmp_path / "r"), "nowhere.csv", "not a file")
    refused(call("detect", "fit", "digits", "--out", tmp_path / "r"), "'digits' is no table")
    refused(call("detect", "fit", "thyroit", "--out", tmp_path / "r"), "'thyroid'")
    refused(call("detect", "fit", home / "train.csv", "--out", fitted[0]), "already exists", "--overwrite")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    refused(call("detect", "fit", tmp_path / "x.npz", "--out", tmp_path / "r"), "an array X")


def test_runs_that_cannot_score(fitted, home, tmp_path):
    new = home / "new.csv"
    refused(call("detect", "score", tmp_path / "nowhere", new), "does not exist")
    refused(call("detect", "score", train_small(tmp_path / "digits"), new), "no guard", "detect fit")
    other = shutil.copytree(fitted[0], tmp_path / "other")
    succeed(
        "train", "fvsbn", "--data", new, "--drop", "id", "--set", "steps=5", "--out", tmp_path / "t", "-q"
    )
    refused(call("detect", "score", tmp_path / "t", new), "no detector", "detect fit")
    (other / "model.safetensors").write_bytes((tmp_path / "t" / "model.safetensors").read_bytes())
    assert call("detect", "score", other, new).status == 2


def test_a_detector_of_other_weights_is_refused(fitted, home, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    described = json.loads((run / "detector.json").read_text())
    described["about"]["weights_sha256"] = "0" * 64
    (run / "detector.json").write_text(json.dumps(described))
    refused(call("detect", "score", run, home / "new.csv"), "other weights", "fit it again")


def test_training_over_a_run_takes_its_detector_along(fitted, home, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    train_small(run, "fvsbn", "--overwrite")
    assert {path.name for path in run.iterdir()} >= {"config.json", "model.safetensors"}
    assert not {"schema.json", "detector.json", "detector.safetensors", "marginals"} & {
        path.name for path in run.iterdir()
    }
    succeed("evaluate", run)


def test_options_of_score_that_cannot_be(fitted, home, tmp_path):
    run, new = fitted[0], home / "new.csv"
    refused(call("detect", "score", run, new, "--id", "idd"), "--id", "'id'")
    refused(call("detect", "score", run, new, "--label", "frau"), "--label frau", "'fraud'")
    refused(call("detect", "score", run, new, "--out", tmp_path / "s.txt"), ".csv", ".jsonl")
    (tmp_path / "s.csv").touch()
    refused(call("detect", "score", run, new, "--out", tmp_path / "s.csv"), "already exists", "--overwrite")
    refused(call("detect", "score", run, new, "--split", "test"), "--split test", "catalogue")
    refused(call("detect", "score", run, new, "--label", "amount"), "--label amount", "fitted on that column")
    refused(
        call("detect", "score", run, new, "--level", "0.001"),
        "999 calibration rows",
        "on 80",
        "--level 0.0124",
    )
    succeed("detect", "score", run, new, "--level", "0.0124")
    page = succeed("detect", "score", run, new, "--normal", "5").out
    assert "no row is labelled '5'" in page


# ---------------------------------------------------------------- pieces


def test_which_label_is_normal():
    assert normal_label(["0", "1"], None) == "0"
    assert normal_label(["True", "False"], None) == "False"
    assert normal_label(["true", "false"], None) == "false"
    assert normal_label(["No", "Yes"], None) == "No"
    assert normal_label(["1"], None) == "0"
    assert normal_label(["neptune", "normal", "smurf"], None) == "normal"
    assert normal_label(["a", "b"], None) is None
    assert normal_label(["a", "b"], "b") == "b"


def test_labels_may_be_missing_and_of_many_kinds():
    labels = np.array(["normal", "", "smurf", "normal", "neptune"])
    scores, alarms = np.array([0.0, -9.0, -5.0, -1.0, -6.0]), np.array([0, 1, 1, 0, 1], dtype=bool)
    report = label_report(scores, alarms, labels, None)
    assert not isinstance(report, str)
    assert set(report.by_label) == {("normal", 2, 0), ("smurf", 1, 1), ("neptune", 1, 1)}
    assert report.detection is not None
    assert report.detection.auroc.value == 1.0
    assert {row[0] for row in report.kinds()} == {"normal", "smurf", "neptune"}
    assert "say which one is normal" in str(label_report(scores, alarms, np.array(list("aabbc")), None))
    assert label_report(scores, alarms, np.array([""] * 5), None) == "no row has a label"


def test_the_oddest_rows_are_kept_with_ties_and_across_chunks():
    scores = np.array([3.0, 1.0, 1.0, 2.0, 0.0, 1.0])
    kept = OddestCells(3)
    for start in (0, 2, 4):
        part = scores[start : start + 2]
        kept.add(pd.DataFrame({"a": np.arange(start, start + 2)}), part, start, np.array(["x", "y"]))
    assert [kept.row(row)["a"].item() for row in (4, 1, 2)] == [4, 1, 2]
    assert kept.label(4) == "x"
    with pytest.raises(KeyError):
        kept.row(5)


def test_blame_from_other_columns_is_bounded():
    """A value far off makes a network surprised by what follows; the blame stays with the value."""
    alone, given = np.array([[-40.0, -0.1]]), np.array([[-40.0, -300.0]])
    far, ordinary = CellSurprises(alone, given).weighed(0.5)[0]
    assert far == -40.0
    assert ordinary == pytest.approx(-0.1 - 0.5 * 10)


def test_cells_and_what_is_usual():
    assert cell_text(1.5e20) == "1.5e+20"
    assert cell_text("x" * 100).endswith("...")
    assert cell_text(np.float64("nan")) == "(missing)"
    frame = pd.DataFrame({"a": np.arange(100.0) ** 1.5, "b": ["x"] * 97 + ["y"] * 3, "c": [0.5] * 100})
    assert usual_values(frame, infer_schema(frame)) == {
        "a": "8 to 911.364 in 90 %",
        "b": "x in 97 %",
        "c": "0.5 in all",
    }


def test_names_for_completion_are_those_of_the_catalogue_and_the_models():
    from chainrule.cli import names
    from chainrule.tabular import TABLE_MODELS

    assert set(TABLES) == {name for name, entry in CATALOGUE.items() if isinstance(entry, TableEntry)}
    assert set(names.TABLE_MODELS) == set(TABLE_MODELS)


@pytest.mark.parametrize("command", ["fit", "score"])
def test_help_teaches_by_examples_that_parse(command):
    import shlex

    page = succeed("detect", command, "--help").out
    assert "Examples:" in page
    group = typer.main.get_command(app).commands["detect"]
    lines = [line for line in group.commands[command].epilog.split("\n\n") if line.startswith("chainrule ")]
    assert lines
    for line in lines:
        program, name, sub, *arguments = shlex.split(line)
        assert (program, name, sub) == ("chainrule", "detect", command)
        group.commands[command].make_context(sub, arguments)
    assert "score" in succeed("detect").out


@pytest.mark.data
def test_intrusions_are_found_and_told_by_kind(tmp_path):
    """NSL-KDD: fitted on a part of the normal connections only, and its attacks told by alarms."""
    from chainrule.data import load_table

    table = load_table("nsl-kdd")
    train = table.train.assign(attack=table.asides["train"]["attack"]).iloc[::10]
    train.to_csv(tmp_path / "train.csv", index=False)
    succeed(
        "detect", "fit", tmp_path / "train.csv", "--out", tmp_path / "r", "--label", "attack",
        "--normal-only", "normal", "--steps", "60", "--quiet",
    )  # fmt: skip
    test = table.test.assign(attack=table.asides["test"]["attack"]).iloc[::10]
    test.to_csv(tmp_path / "test.csv", index=False)
    content = succeed("detect", "score", tmp_path / "r", tmp_path / "test.csv", "--json").json
    assert content["report"]["detection"]["auroc"]["value"] > 0.85
    kinds = {kind["label"]: kind for kind in content["report"]["by_label"]}
    assert kinds["neptune"]["alarms"] > 0.5 * kinds["neptune"]["rows"]
    assert kinds["normal"]["alarms"] < 0.06 * kinds["normal"]["rows"]
