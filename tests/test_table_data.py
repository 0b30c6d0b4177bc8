"""Files of tables, and the tables of the catalogue."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import one_line_error, real_data_folder

from chainrule import data
from chainrule.data import CATALOGUE, TableDataset, TableEntry
from chainrule.tables import infer_schema, iter_table, read_table

TABLES = [entry for entry in CATALOGUE.values() if isinstance(entry, TableEntry)]

# --- files: what is read -----------------------------------------------------------------------------------


def _write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.filterwarnings("ignore:.*taken for row numbers")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "n,s,x\n1,u,0.5\n2,v w,\n"),
        ("a.csv.gz", "n,s,x\n1,u,0.5\n2,v w,\n"),
        ("a.csv", "n;s;x\n1;u;0,5\n2;v w;\n"),
        ("a.tsv", "n\ts\tx\r\n1\tu\t0.5\r\n2\tv w\tNaN\r\n"),
        ("a.txt", "n|s|x\n1|u|0.5\n2|v w|NA\n"),
        ("a.csv", '﻿"n", "s", "x"\n1, u, 0.5\n2, "v w", \n'),
        ("a.csv", ",n,s,x\n0,1,u,0.5\n1,2,v w,\n"),
        ("a.data", "n s x\n1 u 0.5\n2 'v NA\n"),
    ],
)
def test_text_tables_of_many_layouts(tmp_path: Path, name: str, text: str) -> None:
    table = read_table(_write(tmp_path / name, text))
    assert list(table.columns) == ["n", "s", "x"]
    assert table["n"].tolist() == [1, 2]
    assert table["s"].tolist()[0] == "u"
    assert table["x"].iloc[0] == 0.5
    assert np.isnan(table["x"].iloc[1])


@pytest.mark.filterwarnings("ignore:.*taken for row numbers")
def test_tables_without_a_header(tmp_path: Path) -> None:
    table = read_table(_write(tmp_path / "a.csv", "0,tcp,1\n5,udp,\n"))
    assert list(table.columns) == ["x1", "x2", "x3"]
    assert len(table) == 2
    blanks = read_table(_write(tmp_path / "b.data", " 0.006  18.0   2\n 0.027   0.0   7\n"))
    assert blanks.shape == (2, 3)
    pandas_made = tmp_path / "c.csv"
    pd.DataFrame(np.eye(3)).to_csv(pandas_made)
    assert read_table(pandas_made).to_numpy().tolist() == np.eye(3).tolist()


def test_one_column_and_quoted_separators(tmp_path: Path) -> None:
    assert read_table(_write(tmp_path / "a.csv", "x\n1\n2\n")).shape == (2, 1)
    quoted = read_table(_write(tmp_path / "b.csv", 'a,b\n"1,5",2\n"u,v",3\n'))
    assert quoted["a"].tolist() == ["1,5", "u,v"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", ("empty",)),
        ("a.csv", b"a,b\n", ("header but no rows",)),
        ("a.csv", b"a,b,a\n1,2,3\n", ("two columns named 'a'",)),
        ("a.csv", b"a,b\n1,2\n1,2,3\n4,5\n", ("line 3", "3 cells", "expected 2")),
        ("a.csv", b"a,b\n" + b"1,2\n" * 100 + b"1,2,3\n", ("line 102", "saw 3")),
        ("a.csv", "a,b\né,2\n".encode("latin-1"), ("0xe9 in line 2", "Latin-1", "iconv")),
        ("a.csv", b"a,b\n" + b"1,2\n" * 40_000 + b"\xe9,2\n", ("0xe9 in line 40002",)),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), ("no text", "UTF-16")),
        (
            "a.csv",
            b"a,b,c\n" + b"1,2,3\n" * 300 + b"1,2\n" + b"1,2,3\n" * 9,
            ("line 302 has 2 cells; expected 3",),
        ),
        ("a.csv", b'a,b,c\n"1\n",2,3\n\n' + b"1,2,3\n" * 300 + b"1\n", ("line 305 has 1 cell;",)),
        ("a.data", b"1 2 3\n" * 300 + b"1 2\n", ("line 301 has 2 cells",)),
        ("a.csv.gz", gzip.compress(b"a;b;c\n" + b"1;2;\n" * 300 + b"1;2\n", mtime=0), ("line 302 has 2",)),
        ("a.csv", b"a,,c\n1,2,3\n", ("line 1 names no column 2",)),
        ("a.csv", b"\n,b,\n1,2,3\n", ("line 2 names no column 3",)),
        ("a.csv.gz", b"a,b\n1,2\n", ("cannot be read",)),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-20], ("cannot be read",)),
        ("a.csv", b"PK\0\1\2", ("no text",)),
        ("a.xlsx", b"PK", (".xlsx", ".csv")),
        ("a.parquet.gz", b"PK", ("expected .csv",)),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    one_line_error(lambda: read_table(path), str(path), *words)
    one_line_error(lambda: list(iter_table(path, 10)), str(path), *words)


def test_rows_with_empty_last_cells_are_not_too_short(tmp_path: Path) -> None:
    text = "a,b\n" + '1,\n"x, y",2\n\n"two\nlines",\n' * 100
    table = read_table(_write(tmp_path / "a.csv", text))
    assert table.shape == (300, 2)
    assert int(table["b"].isna().sum()) == 200
    assert sum(len(part) for part in iter_table(tmp_path / "a.csv", 7)) == 300


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_text_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "excel.txt"
    path.write_bytes(("größe\tort\r\n" + "1,5\tKöln\r\n2,5\tÅbo\r\n" * 200).encode(encoding))
    table = read_table(path)
    assert table["größe"].tolist() == [1.5, 2.5] * 200
    assert table["ort"].tolist()[:2] == ["Köln", "Åbo"]
    assert [len(part) for part in iter_table(path, 150)] == [150, 150, 100]


def test_a_wide_table_whose_lines_are_longer_than_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    pd.DataFrame(np.arange(40_000).reshape(2, -1)).add_prefix("gene").to_csv(path, index=False)
    assert read_table(path).shape == (2, 20_000)


def test_row_numbers_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "pandas.csv"
    pd.DataFrame({"a": [1, 2], "b": ["u", "v"]}).to_csv(path)
    with pytest.warns(UserWarning, match=r"pandas\.csv: the first column has no name.*left out"):
        assert list(read_table(path).columns) == ["a", "b"]
    with pytest.warns(UserWarning, match="left out") as said:
        assert [list(part.columns) for part in iter_table(path, 1)] == [["a", "b"]] * 2
    assert len(said) == 1


# --- where a cell is ---------------------------------------------------------------------------------------


def test_errors_name_the_line_as_an_editor_shows_it(tmp_path: Path) -> None:
    lines = ["x,s", "", "1.5,u", '2.5,"two', 'lines"', "0.5,v", "oops,w", ""]
    path = _write(tmp_path / "t.csv", "\n".join(lines))
    schema = infer_schema(pd.DataFrame({"x": [0.5, 1.5, 2.0], "s": ["u", "v", "w"]}))
    where = "row 3 (line 7 of t.csv): 'oops'"
    assert lines[7 - 1] == "oops,w"
    table = read_table(path)
    one_line_error(lambda: schema.encode(table), where)
    one_line_error(lambda: schema.encode(table.iloc[::-1]), where)
    one_line_error(lambda: schema.encode(table[table["s"] != "u"]), where)
    one_line_error(lambda: schema.encode(table.drop(columns="s").assign(s="u")), where)
    for part in iter_table(path, 3):
        if len(part) == 1:
            one_line_error(lambda part=part: schema.encode(part), where)
    # Rows that were numbered anew are not looked for in the file's lines, unless their cell is there.
    renumbered = table.tail(1).reset_index(drop=True)
    assert "line" not in one_line_error(lambda: schema.encode(renumbered), "row 0: 'oops'")
    path.write_text("gone")
    assert "line" not in one_line_error(lambda: schema.encode(table), "row 3: 'oops'")


def test_a_hole_is_found_in_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "x,y\n1.5,1\n,2\n0.5,3\n")
    schema = infer_schema(pd.DataFrame({"x": [0.5, 1.5, 2.0], "y": [1, 2, 3]}))
    one_line_error(lambda: schema.encode(read_table(path)), "row 1 (line 3 of t.csv)", "missing")
    frame = read_table(path).set_index(pd.Index(["p", "q", "r"]))
    assert "line" not in one_line_error(lambda: schema.encode(frame), "row 'q': nan")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    one_line_error(lambda: read_table(tmp_path / "no.csv"), "no.csv is not a file", ".parquet")
    one_line_error(lambda: read_table(tmp_path), "is not a file")
    one_line_error(lambda: iter_table(_write(tmp_path / "a.csv", "a\n1\n"), 0), "chunk_rows")


# --- in chunks ---------------------------------------------------------------------------------------------


def _long_table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"n": draw.integers(0, 9, 1000), "s": draw.choice(["u", "v"], 1000), "x": draw.normal(size=1000)}
    )
    frame.loc[900:, "x"] = np.nan
    frame["late"] = [1] * 950 + [2] * 50
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_chunks_together_are_the_table(tmp_path: Path, suffix: str) -> None:
    frame, path = _long_table(), tmp_path / f"long{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path, row_group_size=300)
    else:
        frame.to_csv(path, index=False)
    whole = read_table(path)
    pd.testing.assert_frame_equal(whole, frame)
    chunks = list(iter_table(path, 128))
    assert max(len(chunk) for chunk in chunks) <= 128
    assert [len(whole)] == [sum(len(chunk) for chunk in chunks)]
    assert [index for chunk in chunks for index in chunk.index] == list(range(1000))
    schema = infer_schema(whole)
    parts = np.concatenate([schema.encode(chunk) for chunk in chunks])
    np.testing.assert_array_equal(parts, schema.encode(whole))


def test_errors_in_a_later_chunk_name_the_row_of_the_file(tmp_path: Path) -> None:
    frame = _long_table()
    schema = infer_schema(frame)
    path = tmp_path / "late.csv"
    frame.astype({"n": object}).assign(n=[*frame["n"].iloc[:-1], "many"]).to_csv(path, index=False)
    one_line_error(
        lambda: [schema.encode(part) for part in iter_table(path, 100)],
        "row 999 (line 1001 of late.csv)",
        "'many'",
    )


def test_a_consumer_s_error_is_its_own(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "a\n1\n2\n")
    parts = iter_table(path, 1)
    next(parts)
    with pytest.raises(KeyError):
        parts.throw(KeyError("b"))


def test_parquet_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    one_line_error(lambda: read_table(path), "pyarrow", "chainrule[parquet]")


def test_damaged_and_empty_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is none PAR1")
    one_line_error(lambda: read_table(path), str(path), "cannot be read")
    pd.DataFrame({"a": np.array([], dtype=float)}).to_parquet(path)
    assert read_table(path).shape == (0, 1)


# --- the catalogue -----------------------------------------------------------------------------------------


def test_embedded_tables_need_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    wine = data.load_table("wine")
    assert repr(wine) == "TableDataset('wine', 13 columns, train 108, validation 35, test 35)"
    assert np.bincount(np.concatenate(list(wine.labels.values()))).tolist() == [59, 71, 48]
    assert all(set(labels) == {0, 1, 2} for labels in wine.labels.values())
    cancer = data.load_table("breast-cancer")
    assert cancer.event_shape == (30,)
    assert cancer.columns[:2] == ("mean radius", "mean texture")
    assert sum(int((labels == 0).sum()) for labels in cancer.labels.values()) == 212  # malignant
    assert infer_schema(wine.split("train")).event_shape == (13,)


def test_entries_of_tables_say_what_they_hold() -> None:
    assert {entry.name for entry in TABLES} >= {"wine", "parkinsons", "http", "nsl-kdd", "breastw"}
    for entry in TABLES:
        assert entry.event_shape == (len(entry.columns),)
        assert len(set(entry.columns)) == len(entry.columns)
        assert set(entry.density_columns) <= set(entry.columns)
        summary, page = entry.summary(), entry.describe()
        assert summary["levels"] is None
        assert not entry.partial
        assert "different kinds" in page
        assert all(name in page for name in (*entry.columns, *entry.label_names))
        if entry.published:
            assert "10 folds" in page
            assert all("10 folds" in result.note for result in entry.published)
    red = CATALOGUE["winequality-red"]
    assert {r.model: r.nll for r in red.published}["RNADE-MoG"] == 9.36
    assert [len(CATALOGUE[n].density_columns) for n in ("housing", "parkinsons")] == [10, 15]


def test_asking_the_wrong_loader() -> None:
    one_line_error(lambda: data.load("wine"), "data.load_table('wine')")
    one_line_error(lambda: data.load_table("digits"), "data.load('digits')")
    one_line_error(lambda: data.load_table("wines"), "unknown table 'wines'", "'wine'")


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    one_line_error(lambda: data.load_table("breastw", root=tmp_path), "anomaly/4_breastw.npz", "3,023 bytes")
    path = tmp_path / "anomaly" / "4_breastw.npz"
    path.parent.mkdir()
    path.write_bytes(b"PK" + bytes(3021))
    one_line_error(lambda: data.load_table("breastw", root=tmp_path), str(path), "damaged")
    csv = tmp_path / "uci" / "winequality-red.csv.gz"
    csv.parent.mkdir()
    csv.write_bytes(gzip.compress(b"a;b\n1;2\n") + bytes(22_702 - len(gzip.compress(b"a;b\n1;2\n"))))
    one_line_error(lambda: data.load_table("winequality-red", root=tmp_path), str(csv), "damaged")


# --- splits ------------------------------------------------------------------------------------------------


def _toy(rows: int = 103) -> TableDataset:
    frame = pd.DataFrame({"i": np.arange(rows), "x": np.arange(rows) / 7})
    return TableDataset(
        "toy",
        frame,
        labels={"train": (np.arange(rows) % 10 == 0).astype(np.int64)},
        label_names=("normal", "anomaly"),
        asides={"train": frame[["i"]].rename(columns={"i": "number"})},
        density_columns=("x",),
    )


def test_folds_test_every_row_once() -> None:
    table = _toy()
    tested = []
    for index in range(10):
        part = data.fold(table, index, seed=3)
        pieces = [set(part.split(s)["i"]) for s in ("train", "validation", "test")]
        assert sum(map(len, pieces)) == len(set().union(*pieces)) == 103
        assert np.array_equal(part.labels["test"], part.split("test")["i"] % 10 == 0)
        assert np.array_equal(part.asides["train"]["number"], part.split("train")["i"])
        tested += part.split("test")["i"].tolist()
    assert sorted(tested) == list(range(103))
    assert not data.fold(table, 0, seed=4).split("test").equals(data.fold(table, 0, seed=3).split("test"))
    one_line_error(lambda: data.fold(table, 10), "index")
    one_line_error(lambda: data.fold(_toy(5), 0), "5 rows", "at least 10")


def test_a_shuffled_split_is_a_partition() -> None:
    part = data.shuffled_split(_toy(), seed=1)
    assert [len(part.split(s)) for s in ("train", "validation", "test")] == [83, 10, 10]
    rows = pd.concat([part.train, part.validation, part.test])["i"]
    assert sorted(rows) == list(range(103))
    assert part.train.equals(data.shuffled_split(_toy(), seed=1).train)


def test_detection_splits_are_stratified_and_may_be_clean() -> None:
    table = _toy()
    mixed, clean = data.detection_split(table, 0), data.detection_split(table, 0, clean=True)
    assert mixed.split("test").equals(clean.split("test"))
    assert (mixed.labels["train"].sum(), mixed.labels["test"].sum()) in {(5, 6), (6, 5)}
    assert clean.labels["train"].sum() == 0
    assert set(clean.train["i"]) == {i for i in mixed.train["i"] if i % 10}
    assert sorted([*mixed.train["i"], *mixed.test["i"]]) == list(range(103))
    assert len(data.detection_split(table, test_share=0.3).split("test")) == 31
    one_line_error(lambda: data.detection_split(table, test_share=1), "test_share")
    one_line_error(lambda: data.detection_split(data.load_table("wine")), "'wine'", "class_0")


def test_table_datasets_refuse_parts_that_do_not_fit() -> None:
    table = _toy()
    assert table.for_density().columns == ("x",)
    one_line_error(lambda: table.split("test"), "no test split", "train")
    one_line_error(lambda: table.split("tset"), "'test'")
    one_line_error(lambda: table.only(["y"]), "unknown column 'y'")
    one_line_error(lambda: data.load_table("wine").for_density(), "no densities")
    one_line_error(lambda: TableDataset("t", table.train, test=table.train[["x"]]), "other columns")
    one_line_error(lambda: TableDataset("t", table.train, labels={"train": np.zeros(3)}), "103 rows", "3")


# --- the real files ----------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("entry", [e for e in TABLES if e.form != "embedded"], ids=lambda e: e.name)
def test_the_real_tables(entry: TableEntry) -> None:
    root = real_data_folder()
    table = data.load_table(entry.name, root=root)
    assert {s: len(table.split(s)) for s in entry.splits} == dict(entry.splits)
    assert table.columns == entry.columns
    data.verify(entry.name, root=root)
    if entry.form == "rows":
        anomalies = int(table.labels["train"].sum())
        assert f"{anomalies:,} anomalies ({anomalies / len(table.train):.2%})" in entry.description
    if len(table.train) < 10_000:
        schema = infer_schema(table.train)
        values, slopes = schema.encode_with_log_jacobian(table.train)
        assert np.isfinite(values).all()
        assert np.isfinite(slopes).all()
        pd.testing.assert_frame_equal(schema.decode(values), table.train, rtol=1e-6)


@pytest.mark.data
def test_nsl_kdd_is_the_published_one() -> None:
    table = data.load_table("nsl-kdd", root=real_data_folder())
    assert int((table.labels["train"] == 0).sum()) == 13_449
    assert int((table.labels["test"] == 0).sum()) == 9_711
    assert table.asides["test"]["attack"].iloc[0] == "neptune"
    schema = infer_schema(table.train)
    kinds = {c.name: c.kind for c in schema.columns}
    assert [kinds[n] for n in ("protocol_type", "src_bytes", "serror_rate")] == [
        "categorical",
        "integer",
        "integer",
    ]
    assert schema.encode(table.test).shape == (22_544, 41)  # services that training has not seen, too
    clean = data.detection_split(table, clean=True)
    assert (len(clean.train), len(clean.test)) == (13_449, 22_544)


@pytest.mark.data
def test_density_columns_follow_the_published_protocol() -> None:
    for name in ("winequality-red", "winequality-white", "housing", "parkinsons"):
        table = data.load_table(name, root=real_data_folder()).for_density()
        correlation = np.corrcoef(table.train.to_numpy(float), rowvar=False) - np.eye(len(table.columns))
        assert np.abs(correlation).max() <= 0.98
        for split in ("train", "test"):
            assert len(data.fold(table, 0).split(split)) > 0


@pytest.mark.data
def test_the_uci_means_are_the_published_ones() -> None:
    root = real_data_folder()
    means = {
        name: data.load_table(table, root=root).train[name].mean()
        for table, name in (
            ("winequality-red", "quality"),
            ("housing", "MEDV"),
            ("parkinsons", "motor_UPDRS"),
            ("parkinsons", "total_UPDRS"),
        )
    }
    assert means == pytest.approx(
        {"quality": 5.6360, "MEDV": 22.5328, "motor_UPDRS": 21.296, "total_UPDRS": 29.019}, abs=5e-4
    )
