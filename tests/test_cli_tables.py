"""`train`, `evaluate`, `score`, `sample` and `fill` on tables."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from cli_helpers import as_process, call, refused, succeed
from table_helpers import payments

from chainrule.cli.output import counting
from chainrule.cli.table_files import TableFile
from chainrule.cli.table_train import is_table
from chainrule.errors import ChainruleError
from chainrule.tabular import TableModel

COLUMNS = ["amount", "hour", "country", "age", "fraud"]
QUICK = ("--set", "steps=20", "--quiet")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    payments().to_csv(folder / "train.csv", index=False)
    payments(60, seed=1).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def run(home):
    folder = home / "run"
    succeed("train", "made", "--data", home / "train.csv", "--drop", "id", "--out", folder, *QUICK)
    return folder


# ---------------------------------------------------------------- train


def test_a_csv_of_more_than_0_and_1_is_a_table(home, run, tmp_path):
    assert (run / "schema.json").exists()
    assert not (run / "marginals").exists()  # only detection needs them
    assert json.loads((run / "config.json").read_text())["notes"]["table"]["drop"] == ["id"]
    content = succeed(
        "train", "nade", "--data", home / "train.csv", "--drop", "id", "--out", tmp_path / "r", *QUICK,
        "--set", "numeric=gaussian_mixture", "--set", "hidden=8", "--set", "learning_rate=0.01",
        "--set", "seed=3", "--json",
    ).json  # fmt: skip
    assert [column["column"] for column in content["columns"]] == COLUMNS
    assert content["rows"] == {"fitted": 360, "kept_back": 40}
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["settings"]["hidden"] == 8
    assert config["training"]["learning_rate"] == 0.01
    assert config["training"]["seed"] == 3
    assert "gaussian_mixture" in json.dumps(config["settings"]["conditional"])


def test_a_transformer_reads_the_columns_of_a_table(home, tmp_path):
    """Each column with the family of its own; small sizes are checked against the defaults for tables."""
    small = [part for s in ("width=8", "num_layers=1", "num_heads=4") for part in ("--set", s)]
    train = ("train", "transformer", "--data", home / "train.csv", "--drop", "id", *QUICK, *small)
    content = succeed(*train, "--out", tmp_path / "r", "--json").json
    assert [column["column"] for column in content["columns"]] == COLUMNS
    model, frame = TableModel.load(tmp_path / "r"), payments(60, seed=1)
    cells = model.double().log_prob_per_column(frame)
    np.testing.assert_allclose(cells.sum(1), model.log_prob(frame), atol=1e-9)
    # What is said of a column hangs on those before it, and on no later one.
    changed = frame.assign(country="US", fraud=1 - frame["fraud"])
    moved = np.abs(model.log_prob_per_column(changed) - cells).max(0)
    assert moved[:2].max() < 1e-12
    assert moved[2:].min() > 1e-6
    assert len(succeed("evaluate", tmp_path / "r", "--json").json["nll_per_column"]) == 5
    succeed("sample", tmp_path / "r", "-n", "20", "--seed", "1", "--out", tmp_path / "new.csv")
    assert list(pd.read_csv(tmp_path / "new.csv").columns) == COLUMNS


def test_what_is_a_table(tmp_path):
    files = {
        "binary.csv": "0,1,1\n1,0,0\n",
        "binary-header.csv": "a,b\n0,1\n1,1\n",
        "levels.csv": "0,2\n1,0\n",
        "mixed.csv": "a,b\n0,x\n1,y\n",
        "table.tsv": "a\tb\n0\t1\n",
        "empty.csv": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "mixed.csv.gz").write_bytes(gzip.compress(files["mixed.csv"].encode()))
    np.savez(tmp_path / "adbench.npz", X=np.zeros((2, 3)), y=np.zeros(2))
    np.savez(tmp_path / "images.npz", train=np.zeros((2, 3)), valid=np.zeros((2, 3)))
    told = {path.name: is_table(str(path), forced=False, read_as_levels=False) for path in tmp_path.iterdir()}
    assert {name for name, table in told.items() if table} == {
        "levels.csv", "mixed.csv", "table.tsv", "mixed.csv.gz", "adbench.npz",
    }  # fmt: skip
    binary, levels = str(tmp_path / "binary.csv"), str(tmp_path / "levels.csv")
    assert is_table(binary, forced=True, read_as_levels=False)
    assert not is_table(levels, forced=False, read_as_levels=True)
    assert is_table("thyroid", forced=False, read_as_levels=False)
    assert not is_table("digits", forced=False, read_as_levels=False)
    with pytest.raises(ChainruleError, match="no table of columns"):
        is_table("digits", forced=True, read_as_levels=False)


def test_a_binary_csv_stays_binary_unless_told(tmp_path):
    random = np.random.default_rng(0)
    pd.DataFrame(random.integers(0, 2, (60, 4)), columns=list("abcd")).to_csv(tmp_path / "b.csv", index=False)
    succeed(
        "train", "fvsbn", "--data", tmp_path / "b.csv", "--out", tmp_path / "r", "--set", "epochs=1", "-q"
    )
    assert not (tmp_path / "r" / "schema.json").exists()
    succeed("train", "fvsbn", "--data", tmp_path / "b.csv", "--table", "--out", tmp_path / "t", *QUICK)
    assert (tmp_path / "t" / "schema.json").exists()


def test_a_table_of_the_catalogue(tmp_path):
    succeed("train", "fvsbn", "--data", "wine", "--out", tmp_path / "r", *QUICK)
    content = succeed("evaluate", tmp_path / "r", "--json").json
    assert content["examples"] == 35  # its test part
    assert succeed("evaluate", tmp_path / "r", "--split", "train", "--json").json["examples"] == 143


def test_resuming_needs_only_the_folder(run, home, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    succeed("train", "--resume", "--out", copy, "--quiet")
    assert (copy / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    refused(call("train", "nade", "--resume", "--out", copy), "run of made, not of nade")
    refused(call("train", "--resume", "--out", copy, "--data", home / "new.csv"), "train.csv", "new.csv")
    refused(call("train", "--resume", "--out", copy, "--set", "hidden=3"), "leave --set")
    refused(call("detect", "fit", "--resume", "--out", copy), "chainrule train --resume")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chow-liu"], ["unknown model of tables 'chow-liu'", "made"]),
        (["made", "--set", "hiden=3"], ["unknown setting 'hiden'", "'hidden'"]),
        (["made", "--set", "hidden=0"], ["hidden"]),
        (["made", "--set", "learning_rate=-1"], ["learning_rate"]),
        (["made", "--set", "ordering=learned"], ["ordering", "learned"]),
        (["made", "--drop", "hours"], ["--drop hours", "'hour'"]),
        (["made", "--preset", "paper"], ["--preset", "not for the training of a table"]),
        (["made", "--condition-on-labels"], ["--condition-on-labels", "not for"]),
        (["made", "--table", "--threshold", "1"], ["takes no --threshold"]),
        (["made", "--schema", "x.json"], ["x.json"]),
    ],
)
def test_what_train_is_asked(home, tmp_path, arguments, words):
    command = ["train", *arguments, "--data", home / "train.csv", "--out", tmp_path / "r", "--quiet"]
    refused(call(*command), *words)
    assert not (tmp_path / "r").exists()


def test_a_bad_cell_is_found_before_training_wherever_it_is(home, tmp_path):
    frame = payments()
    for row in range(0, 400, 40):  # some of them are among the rows kept back
        bad = frame.astype({"amount": object})
        bad.loc[row, "amount"] = np.inf
        bad.to_csv(tmp_path / "bad.csv", index=False)
        called = call(
            "train", "made", "--data", tmp_path / "bad.csv", "--drop", "id", "--out", tmp_path / "r", *QUICK
        )
        refused(called, "'amount'", f"row {row}", "inf")
        assert not (tmp_path / "r").exists()


def test_three_rows_are_few_but_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n3,x\n")
    called = succeed(
        "train", "made", "--data", tmp_path / "t.csv", "--out", tmp_path / "r", "--set", "steps=3"
    )
    assert "only 3 rows" not in called.out  # said once
    assert "only 3 rows" in called.err


# ---------------------------------------------------------------- evaluate and score


def test_evaluate_is_the_mean_of_log_prob_over_rows_kept_back(run, home):
    from chainrule.cli.table_plan import noted_plan, parts_of

    held = parts_of(noted_plan(run)).held.frame
    content = succeed("evaluate", run, "--json").json
    scores = TableModel.load(run).log_prob(held)
    assert content["examples"] == len(held) == 40
    assert content["nll"] == pytest.approx(-scores.mean(), abs=1e-3)
    assert content["standard_error"] == pytest.approx(scores.std(ddof=1) / np.sqrt(40), rel=1e-3)
    assert sum(content["nll_per_column"].values()) == pytest.approx(content["nll"])
    assert (
        succeed("evaluate", run, "--data", home / "new.csv", "--limit", "7", "--json").json["examples"] == 7
    )
    assert "nats a row" in succeed("evaluate", run).out


def test_evaluate_warns_when_the_table_changed(tmp_path):
    payments(100).to_csv(tmp_path / "t.csv", index=False)
    succeed("train", "fvsbn", "--data", tmp_path / "t.csv", "--drop", "id", "--out", tmp_path / "r", *QUICK)
    payments(120).to_csv(tmp_path / "t.csv", index=False)
    assert "changed since" in succeed("evaluate", tmp_path / "r").err


def test_scores_of_every_row_and_of_every_cell(run, home, tmp_path, monkeypatch):
    monkeypatch.setattr("chainrule.cli.table_rows._File.chunks.__defaults__", (25,))
    out = tmp_path / "scores.csv"
    summary = succeed("score", run, home / "new.csv", "--per-variable", "--out", out, "--json").json
    written = pd.read_csv(out)
    model, frame = TableModel.load(run), payments(60, seed=1)
    assert list(written.columns) == ["row", "log_prob", *(f"surprise_{name}" for name in COLUMNS)]
    assert list(written.row) == list(range(60))
    np.testing.assert_allclose(written.log_prob, model.log_prob(frame), rtol=1e-5)
    np.testing.assert_allclose(written.iloc[:, 2:].sum(axis=1), -written.log_prob)
    np.testing.assert_allclose(-written.iloc[:, 2:], model.log_prob_per_column(frame), rtol=1e-4, atol=1e-5)
    assert summary["mean_log_prob"] == pytest.approx(written.log_prob.mean())
    on_stdout = succeed("score", run, home / "new.csv").out.splitlines()
    assert on_stdout[0] == "row,log_prob"
    assert len(on_stdout) == 61


def test_scoring_that_cannot_be(run, home, tmp_path):
    new = home / "new.csv"
    refused(call("score", run, new, "--per-variable"), "--out")
    refused(call("score", run, new, "--json"), "--out")
    refused(call("score", run, new, "--out", tmp_path / "s.npz"), ".csv", ".parquet")
    refused(call("score", run, new, "--context", "1"), "--context", "not for")
    refused(call("score", run, new, "--members", "2"), "--members", "not for")
    refused(call("score", run, tmp_path / "none.csv"), "none.csv")
    refused(call("score", run, "digits"), "no table")
    refused(call("evaluate", run, "--split", "validation"), "train and test")
    refused(call("evaluate", run, "--members", "3"), "--members")
    payments(30).drop(columns="age").to_csv(tmp_path / "t.csv", index=False)
    refused(call("score", run, tmp_path / "t.csv", "--out", tmp_path / "s.csv"), "'age'")
    assert not (tmp_path / "s.csv").exists()


# ---------------------------------------------------------------- sample and fill


def test_a_synthetic_table_has_the_columns_and_types(run, tmp_path):
    out = tmp_path / "synthetic.csv"
    content = succeed("sample", run, "-n", "50", "--seed", "4", "--out", out, "--json").json
    frame = pd.read_csv(out)
    assert list(frame.columns) == COLUMNS
    assert len(frame) == content["number"] == 50
    assert set(frame.country) <= {"DE", "FR", "US", "(other)"}
    assert frame.hour.dtype == np.int64
    pd.testing.assert_frame_equal(frame, TableModel.load(run).sample(50, seed=4), check_dtype=False)
    refused(call("sample", run), "--out is missing", "synthetic.csv")
    refused(call("fill", run, out), "--out is missing", "filled.csv")
    refused(call("sample", run, "-n", "5", "--out", out), "already exists")
    refused(call("sample", run, "-n", "5", "--out", tmp_path / "x.png"), ".csv")
    refused(call("sample", run, "--out", out, "--overwrite", "--method", "naive"), "--method", "not for")


def test_holes_are_filled_and_nothing_else_changes(run, home, tmp_path):
    out = tmp_path / "filled.csv"
    content = succeed("fill", run, home / "new.csv", "--seed", "0", "--out", out, "--json").json
    before, after = pd.read_csv(home / "new.csv"), pd.read_csv(out)
    holes = before.age.isna()
    assert content["cells_filled"] == {"age": int(holes.sum())}
    assert not after.age.isna().any()
    pd.testing.assert_frame_equal(after[~holes], before[~holes])
    pd.testing.assert_frame_equal(after.drop(columns="age"), before.drop(columns="age"))
    expected = TableModel.load(run).fill(before, seed=0)
    np.testing.assert_allclose(after.age, expected.age)
    page = succeed("fill", run, home / "new.csv", "--seed", "0", "--out", out, "--overwrite").out
    assert f"age {holes.sum()}" in page
    refused(call("fill", run, out, "--out", tmp_path / "again.csv"), "no empty cell")
    refused(call("fill", run, home / "new.csv", "--out", tmp_path / "f.csv", "--mask", "top"), "--mask")


def test_a_table_in_parquet_and_back(run, tmp_path):
    pytest.importorskip("pyarrow")
    frame = payments(60, seed=1)
    frame.to_parquet(tmp_path / "new.parquet")
    succeed("score", run, tmp_path / "new.parquet", "--out", tmp_path / "s.parquet")
    np.testing.assert_allclose(
        pd.read_parquet(tmp_path / "s.parquet").log_prob, TableModel.load(run).log_prob(frame), rtol=1e-5
    )
    succeed("sample", run, "-n", "9", "--out", tmp_path / "x.parquet")
    assert pd.read_parquet(tmp_path / "x.parquet").hour.dtype == np.int64


# ---------------------------------------------------------------- pieces


def test_a_table_file_appears_whole_or_not_at_all(tmp_path):
    frame, path = pd.DataFrame({"a": [1, 2]}), tmp_path / "t.csv.gz"
    with TableFile(path, overwrite=False) as file:
        file.write(frame)
        file.write(frame + 10)
        assert not path.exists()
    assert pd.read_csv(path).a.tolist() == [1, 2, 11, 12]

    def fail():
        with TableFile(path, overwrite=True) as file:
            file.write(frame)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert pd.read_csv(path).a.tolist() == [1, 2, 11, 12]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv.gz"]


def test_progress_of_an_unknown_length(capsys, monkeypatch):
    clock = iter(range(0, 1000, 15))
    monkeypatch.setattr("chainrule.cli.output.time.monotonic", lambda: next(clock))
    with counting("scoring") as on_progress:
        on_progress(20_000, None)
        on_progress(30_000, 40_000)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("scoring: 20,000 so far")
    assert said[1].startswith("scoring: 30,000 of 40,000")


def test_tables_are_listed_with_what_to_do(monkeypatch):
    page = succeed("datasets", "thyroid").out
    assert "chainrule detect fit thyroid" in page
    assert "chainrule train made --data thyroid" in page
    assert "detect" not in succeed("datasets", "housing").out
    assert "chainrule train nade --data digits" in succeed("datasets", "digits").out
    assert "--data my_table.csv" in succeed("models", "made").out
    assert "made, nade, deep-nade" in succeed("models").out


def test_a_real_process_refuses_in_one_line(home, tmp_path):
    done = as_process("train", "made", "--data", home / "train.csv", "--out", "r", cwd=tmp_path)
    refused(done, "'id'", "--drop id")


def test_the_packages_are_found_from_the_top():
    import chainrule

    assert chainrule.tables.infer_schema
    assert chainrule.tabular.fit_table
    assert chainrule.detection.Detector


def test_no_result_replaces_the_table_it_is_of_and_tables_are_not_mixed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    np.savetxt("t.csv", rows, delimiter=",", header="a,b", comments="")
    before = (tmp_path / "t.csv").read_bytes()
    succeed("train", "made", "--data", "t.csv", "--out", "run", "--set", "steps=3", "--quiet")
    for command in ("score", "fill"):
        refused(call(command, "run", "t.csv", "--out", "t.csv", "--overwrite"), "is the table to be read")
    refused(call("mix", "run", "run", "--out", "mixed"), "cannot be mixed")
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_row_scores_alike_alone_and_among_others(tmp_path):
    """Codes of digits alone are the labels that they were among others, for every command."""
    frame = pd.DataFrame({"code": ["007", "1e3", "012", "abc"] * 50, "x": np.arange(200) % 7})
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[:3].to_csv(tmp_path / "few.csv", index=False)
    run = tmp_path / "run"
    succeed("detect", "fit", tmp_path / "all.csv", "--out", run, "--level", "0.05", "--json", *QUICK)
    for command in (("score",), ("detect", "score")):
        scores = []
        for name in ("all", "few"):
            out = tmp_path / f"{command[0]}-{name}.csv"
            succeed(*command, run, tmp_path / f"{name}.csv", "--out", out)
            scores.append(pd.read_csv(out)[:3].filter(regex="score|log|nll|nats"))
        assert len(scores[0].columns) > 0
        pd.testing.assert_frame_equal(*scores)


# ---------------------------------------------------------------- kinds, row numbers, unfinished runs


def test_the_kind_of_a_column_can_be_said(home, tmp_path):
    content = succeed(
        "train", "made", "--data", home / "train.csv", "--drop", "id", "--out", tmp_path / "r", *QUICK,
        "--kind", "hour=categorical", "--kind", "age=numeric", "--json",
    ).json  # fmt: skip
    kinds = {column["column"]: column["kind"] for column in content["columns"]}
    assert (kinds["hour"], kinds["age"]) == ("categorical", "numeric")
    resumed = call("train", "--resume", "--kind", "hour=numeric", "--out", tmp_path / "r")
    refused(resumed, "--kind", "begun with")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("hour", ("COLUMN=KIND",)),
        ("hour=colour", ("'colour'", "categorical")),
        ("hours=numeric", ("'hours'", "'hour'")),
    ],
)
def test_kinds_that_cannot_be(home, tmp_path, kind, words):
    command = ("train", "made", "--data", home / "train.csv", "--drop", "id", "--quiet", "--kind", kind)
    refused(call(*command, "--out", tmp_path / "r"), *words)


def test_row_numbers_and_names_with_blanks_are_said_in_one_line_each(tmp_path):
    frame = payments(400).rename(columns={"id": "my id"})
    frame["my id"] = range(400)
    frame.to_csv(tmp_path / "table.csv")  # pandas' own row numbers come first
    command = ("train", "made", "--data", tmp_path / "table.csv", "--set", "steps=5")
    lines = succeed(*command, "--out", tmp_path / "a run").err.splitlines()
    assert sum("the first column has no name" in line for line in lines) == 1
    assert not any("UserWarning" in line or "warnings.warn" in line for line in lines)
    assert any("--drop 'my id'" in line for line in lines)  # though some numbers are in the rows kept back


def test_a_run_that_is_not_trained_to_its_end_says_so(run, home, tmp_path):
    copy = tmp_path / "a run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["finished"] = False
    (copy / "config.json").write_text(json.dumps(config))
    called = succeed("score", copy, home / "new.csv", "--out", tmp_path / "s.csv")
    said = [line for line in called.err.splitlines() if line.startswith("warning: ")]
    assert len(said) == 1
    assert f"`chainrule train --resume --out '{copy}'`" in said[0]
    assert "warning" not in succeed("score", run, home / "new.csv", "--out", tmp_path / "t.csv").err


def test_a_synthetic_table_as_the_model_has_it(run, tmp_path):
    command = ("sample", run, "-n", "50", "--seed", "1", "--out")
    succeed(*command, tmp_path / "seen.csv")
    succeed(*command, tmp_path / "raw.csv", "--as-modelled")
    seen, raw = (pd.read_csv(tmp_path / f"{name}.csv")["amount"] for name in ("seen", "raw"))
    assert np.allclose(seen, seen.round(2))
    assert not np.allclose(raw, raw.round(2), atol=1e-6)
