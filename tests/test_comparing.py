"""`compare`: models side by side, each trained within the same time."""

from __future__ import annotations

import csv
import json
import math
import shutil

import numpy as np
import pytest
import torch
from browser_helpers import BROWSER, look
from cli_helpers import call, refused, succeed, train_small

from chainrule.cli.compare_tasks import entries_of
from chainrule.comparing import Entry, compare, write_tables
from chainrule.comparing.memory import training_memory
from chainrule.comparing.tasks import ArrayTask
from chainrule.comparing.writing import seconds_text
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.loading import load
from chainrule.models import FVSBN, NADE, Independent
from chainrule.training import Run, evaluate, fit

MINUTES = 0.02


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch, request):
    """A process for the memory of each model takes seconds; one test looks at it."""
    if "memory" not in request.node.name:
        monkeypatch.setattr("chainrule.comparing.running.training_memory", lambda *arguments: 12.5)


def tiny(name="tiny", side=3, rows=120):
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(rows, 1, side, side, generator=generator) < 0.3).to(torch.uint8)
    values[:, 0, 1] = values[:, 0, 0]  # something to learn
    parts = values[: rows // 2], values[rows // 2 : 3 * rows // 4], values[3 * rows // 4 :]
    return Dataset(name, *parts, event_shape=(1, side, side), kind="image", levels=2)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.comparing.running.training_memory", lambda *arguments: 12.5)
        return _compared(folder)


def _compared(folder):
    torch.manual_seed(0)
    contenders = {
        "independent": Independent((1, 3, 3)),
        "fvsbn": FVSBN((1, 3, 3)),
        "of another size": FVSBN((4,)),
    }
    return compare(tiny(), contenders, folder, minutes=MINUTES, progress=False)


def test_the_figures_are_those_of_the_trained_models(compared) -> None:
    assert [result.name for result in compared.results] == ["fvsbn", "independent"]
    for result in compared.results:
        model = load(result.run)
        expected = evaluate(model, tiny(), "test")
        assert result.nll == pytest.approx(expected.nll)
        assert result.standard_error == pytest.approx(expected.standard_error)
        assert result.second == pytest.approx(expected.bits_per_dim)
        assert result.parameters == model.num_parameters
        assert result.sample_seconds > 0
        assert result.naive_seconds > 0
        assert result.epochs == Run(result.run).metrics()[-1]["epoch"]
        assert Run(result.run).metrics()[-1]["seconds"] <= 60 * MINUTES * 3
        assert (compared.folder / result.picture).is_file()


def test_memory_is_that_of_training_and_not_of_the_program(tmp_path) -> None:
    """A network of 4 million weights: they, their gradients and two moments of AdamW are 64 MB."""
    torch.manual_seed(0)
    network = NADE((1, 45, 45), hidden=1000)
    run = fit(network, tiny("large", side=45, rows=8), tmp_path / "run", epochs=1, progress=False).folder
    added = training_memory(run, torch.zeros(2, 1, 45, 45), 4)
    if added is None:
        pytest.skip("this system does not say how much memory a process has")
    weights = 4 * network.num_parameters / 2**20
    assert 3 * weights < added < 3 * weights + 300


def test_what_does_not_fit_is_named_and_the_others_go_on(compared) -> None:
    (failure,) = compared.failures
    assert failure.name == "of another size"
    assert "shape (1, 3, 3)" in failure.reason


def test_the_tables_say_the_same(compared) -> None:
    paths = write_tables(compared)
    rows = list(csv.DictReader(paths[0].open(encoding="utf-8")))
    assert [row["name"] for row in rows] == ["fvsbn", "independent"]
    assert float(rows[0]["nll"]) == compared.results[0].nll
    markdown = paths[1].read_text(encoding="utf-8")
    assert f"{compared.results[0].nll:.4f} ±" in markdown
    assert "- of another size: " in markdown
    page = paths[2].read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3  # two models and the real examples
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_is_whole_in_a_browser(compared, tmp_path, width) -> None:
    write_tables(compared)
    page = tmp_path / "comparison.html"
    page.write_bytes((compared.folder / "comparison.html").read_bytes())
    looked = look(page, tmp_path, width)
    assert (looked.console, looked.sticks_out, looked.broken) == ([], "", 0)


def test_a_second_call_repeats_nothing(compared, monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise AssertionError("trained or measured again")

    monkeypatch.setattr(ArrayTask, "train", refuse)
    monkeypatch.setattr(ArrayTask, "figures", refuse)
    contenders = {"independent": Independent((1, 3, 3)), "fvsbn": FVSBN((1, 3, 3))}
    again = compare(tiny(), contenders, compared.folder, minutes=MINUTES, progress=False)
    assert again.results == compared.results


def test_contenders_of_before_keep_their_lines_while_their_runs_stand(compared, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(compared.folder, folder)
    listed = json.loads((folder / "comparison.json").read_text())
    for result in listed["results"]:
        result["run"] = str(folder / result["name"])
    (folder / "comparison.json").write_text(json.dumps(listed))
    told = []
    again = {"other": Independent((1, 3, 3))}
    found = compare(tiny(), again, folder, minutes=MINUTES, progress=False, tell=told.append)
    assert {result.name for result in found.results} == {"fvsbn", "independent", "other"}
    assert told[0] == "from before: fvsbn, independent"
    shutil.rmtree(folder / "fvsbn")  # of what is gone, nothing is said any more
    found = compare(tiny(), again, folder, minutes=MINUTES, progress=False)
    assert {result.name for result in found.results} == {"independent", "other"}


def test_changed_weights_are_measured_again(compared, tmp_path) -> None:
    folder = tmp_path / "out"
    model = Independent((1, 3, 3))
    first = compare(tiny(), {"m": model}, folder, minutes=MINUTES, progress=False).results[0]
    run = Run(first.run)
    with torch.no_grad():
        model.params.fill_(0.0)
    run.save_model(model)
    second = compare(tiny(), {"m": model}, folder, minutes=MINUTES, progress=False).results[0]
    assert second.nll == pytest.approx(9 * math.log(2), abs=1e-4)
    assert second.nll != first.nll


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minutes": 0.5}, "minutes 0.02, not 0.5"),
        ({"data": tiny("other")}, "data tiny, not other"),
    ],
)
def test_another_comparison_is_not_mixed_with_this_one(compared, change, words) -> None:
    options = {"data": tiny(), "minutes": MINUTES} | change
    with pytest.raises(ChainruleError, match=words):
        compare(
            options["data"],
            {"a": FVSBN((1, 3, 3))},
            compared.folder,
            minutes=options["minutes"],
            progress=False,
        )


def test_a_finished_run_of_other_settings_or_other_data_is_not_taken_for_this_one(tmp_path) -> None:
    torch.manual_seed(0)
    others = {"minutes": MINUTES, "progress": False}
    entries = [Entry("fvsbn", make=lambda: FVSBN((1, 3, 3)), training={"epochs": 1})]
    kept = compare(tiny(), entries, tmp_path / "out", **others).results
    again = [Entry("fvsbn", make=lambda: FVSBN((1, 3, 3)), training={"epochs": 2})]
    (failure,) = compare(tiny(), again, tmp_path / "out", **others).failures
    assert "epochs=1, not 2" in failure.reason
    (failure,) = compare(tiny(), {"fvsbn": FVSBN((1, 3, 3))}, tmp_path / "out", **others).failures
    assert "epochs=1, not 200" in failure.reason
    changed = tiny()
    changed.train[0] = 1 - changed.train[0]
    (failure,) = compare(changed, entries, tmp_path / "out", **others).failures
    assert "train data of tiny changed" in failure.reason
    assert compare(tiny(), entries, tmp_path / "out", **others).results[0].nll == kept[0].nll


def test_other_folders_are_left_alone(tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ChainruleError, match="holds no comparison"):
        compare(tiny(), {"a": FVSBN((1, 3, 3))}, tmp_path, minutes=MINUTES)
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(ChainruleError, match="is damaged"):
        compare(tiny(), {"a": FVSBN((1, 3, 3))}, tmp_path, minutes=MINUTES)
    with pytest.raises(ChainruleError, match="nothing to compare"):
        compare(tiny(), {}, tmp_path / "new")
    with pytest.raises(ChainruleError, match="named twice"):
        compare(tiny(), [Entry("a"), Entry("a")], tmp_path / "new")


def test_a_stopped_comparison_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    """A Ctrl-C in the second model keeps the first, and its own checkpoint."""
    trained = []
    train = ArrayTask.train

    def interrupted(self, entry, *arguments, **options):
        trained.append(entry.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        train(self, entry, *arguments, **options)

    monkeypatch.setattr(ArrayTask, "train", interrupted)
    contenders = {"one": Independent((1, 3, 3)), "two": FVSBN((1, 3, 3))}
    with pytest.raises(KeyboardInterrupt):
        compare(tiny(), contenders, tmp_path / "out", minutes=MINUTES, progress=False)
    found = compare(tiny(), contenders, tmp_path / "out", minutes=MINUTES, progress=False)
    assert trained == ["one", "two", "two"]
    assert {result.name for result in found.results} == {"one", "two"}


def test_too_small_a_budget_is_a_failure_that_says_what_it_takes(tmp_path) -> None:
    contenders = [
        Entry("counted", make=lambda: Independent((1, 3, 3))),
        Entry("nade", make=lambda: NADE((1, 3, 3), hidden=4), training={"batch_size": 5}),
    ]
    found = compare(tiny(), contenders, tmp_path / "out", minutes=1e-7, progress=False)
    assert [result.name for result in found.results] == ["counted"]
    assert "too few for one epoch" in found.failures[0].reason


def test_times_are_written_in_units_that_suit_them() -> None:
    assert [seconds_text(s) for s in (2.5e-6, 0.0123, 1.0, 75.0, 300.0)] == [
        "2.50 µs",
        "12.3 ms",
        "1.00 s",
        "75.0 s",
        "300 s",
    ]


# ---------------------------------------------------------------- the command


def test_the_command_compares_models_and_a_run_beside_an_unreadable_one(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train_small(tmp_path / "mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    called = succeed(
        *("compare", "--data", "digits", "independent", str(run), "broken", "bayes-net", "--json"),
        *("--budget", "0.02", "-q"),
    )
    content = called.json
    assert {result["name"] for result in content["results"]} >= {"independent", "mine"}
    assert "broken" in {failure["name"] for failure in content["failures"]}
    formulas = {result["name"]: result["formula"] for result in content["results"]}
    assert formulas["independent"] == "n"
    assert (tmp_path / "compared-digits" / "comparison.html").is_file()
    # What it made is a run like any other.
    evaluated = succeed("evaluate", "compared-digits/independent", "--json").json
    found = {result["name"]: result["nll"] for result in content["results"]}
    assert evaluated["nll"] == pytest.approx(found["independent"])


def test_a_run_is_called_by_its_folder_and_told_from_a_model_of_that_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    specs = ["nade", "runs/nade", "old/nade", "runs/other/", "./"]
    entries = entries_of(ArrayTask(tiny()), "digits", specs, None, {})
    assert [entry.name for entry in entries] == ["nade", "runs-nade", "old-nade", "other", "mine"]


def test_the_table_is_printed_whole(tmp_path) -> None:
    called = succeed(
        *("compare", "--data", "digits", "independent", "chow-liu", "--out", tmp_path / "out"),
        *("--budget", "0.02"),
    )
    (line,) = [line for line in called.out.splitlines() if line.startswith(" chow-liu")]
    assert "127" in line.split()
    assert "chow-liu: " in called.err
    assert "2n - 1 = 127" in called.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "digits", "nad"], ("unknown model 'nad'", "nade")),
        (["--data", "digits", "nade:tiny"], ("unknown preset of nade",)),
        (["--data", "wine", "made:compact"], ("presets are for images",)),
        (["--data", "digits", "nade", "--budget", "0"], ("--budget must be above 0",)),
        (["--data", "digits", "nade", "--budget", "nan"], ("--budget must be above 0",)),
        (["--data", "digits", "nade", "--set", "hidden=3"], ("unknown training setting",)),
        (["--data", "digits", "nade", "--set", "max_minutes=3"], ("--budget",)),
        (["--data", "no-such-data", "nade"], ("no-such-data",)),
        (["--data", "digits", "rnn", "--time", "date"], ("--time is for a file",)),
        (["--data", "wine", "chow-liu"], ("chow-liu takes no table data", "made")),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(call("compare", *arguments, "-q"), *words)


def test_tables_are_compared_in_the_same_units(tmp_path) -> None:
    file = tmp_path / "mine.csv"
    generator = np.random.default_rng(0)
    x = generator.normal(size=80)
    lines = [f"{a:.4f},{a + 0.1 * b:.4f},{'yes' if a > 0 else 'no'}" for a, b in zip(x, x[::-1], strict=True)]
    file.write_text("\n".join(["a,b,c", *lines]) + "\n")
    content = succeed(
        *("compare", "--data", file, "independent", "fvsbn", "--out", tmp_path / "out", "--json", "-q"),
        *("--budget", "0.02", "--set", "batch_size=32"),
    ).json
    nll = {result["name"]: result["nll"] for result in content["results"]}
    for name in nll:
        evaluated = succeed("evaluate", tmp_path / "out" / name, "--json").json
        assert evaluated["nll"] == pytest.approx(nll[name], rel=1e-4)


def test_texts_show_perplexity_and_a_sample(tmp_path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("the cat sat on the mat. " * 60)
    sizes = ("--set", "batch_size=8")
    content = succeed(
        *("compare", "--data", file, "rnn", "wavenet", "--out", tmp_path / "out", "--json", "-q"),
        *("--budget", "0.05", *sizes),
    ).json
    assert content["second_unit"] == "perplexity"
    for result in content["results"]:
        assert result["second"] == pytest.approx(math.exp(result["nll"]))
        assert result["text"]
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "<pre>" in page


def test_series_and_sounds_are_compared_too(tmp_path) -> None:
    from chainrule.audio import Recording, write_wav

    steps = np.arange(120)
    file = tmp_path / "mine.csv"
    rows = [f"{t},{np.sin(t / 3):.4f}" for t in steps]
    file.write_text("\n".join(["step,level", *rows]) + "\n")
    content = succeed(
        *("compare", "--data", file, "--time", "step", "rnn", "--out", tmp_path / "a", "--json", "-q"),
        *("--budget", "0.03"),
    ).json
    assert content["kind"] == "series"
    assert len(content["results"]) == 1
    wav = tmp_path / "mine.wav"
    write_wav(wav, Recording(0.4 * np.sin(np.arange(16_000) / 7), 8000))
    content = succeed(
        *("compare", "--data", wav, "rnn", "nade", "--out", tmp_path / "b", "--json", "-q"),
        *("--budget", "0.1"),
    ).json
    assert [failure["name"] for failure in content["failures"]] == ["nade"]
    assert content["results"][0]["second"] == pytest.approx(content["results"][0]["nll"] / math.log(2))
    assert json.loads((tmp_path / "b" / "comparison.json").read_text())["kind"] == "audio"
