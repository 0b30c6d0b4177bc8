"""`advise`: the lecture's decision framework, branch by branch, and commands that run."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import call, refused, succeed

from chainrule.advising import ALTERNATIVES, COMPUTE, KINDS, PRIORITIES, RULES, Situation, advise, look_at
from chainrule.advising.commands import command_of
from chainrule.advising.costs import COSTS
from chainrule.advising.rules import CANDIDATES
from chainrule.audio import AUDIO_MODELS, Recording, write_wav
from chainrule.cli.model_cards import CARDS
from chainrule.errors import ChainruleError
from chainrule.series import SERIES_MODELS
from chainrule.tabular import TABLE_MODELS
from chainrule.text import TEXT_MODELS

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

#: The lecture's framework (topic 14, L7673-7760, L7820-7865): a situation, and what it says to use.
LECTURE = [
    # Question 1
    ("text, short", Situation("text", length=128), ["transformer"], ""),
    ("text, long", Situation("text", length=20_000), ["transformer"], "hierarchical"),
    ("images", Situation("image", length=3072, levels=256), ["pixelcnn-pp"], ""),
    ("tables", Situation("table", priorities=["anomalies"]), ["made"], ""),
    ("speech", Situation("audio"), ["wavenet"], ""),
    ("series", Situation("series"), ["rnn", "transformer"], ""),
    # Question 2
    ("training speed", Situation("image", levels=2, priorities=["fast-training"]), ["made"], ""),
    ("training speed, text", Situation("text", priorities=["fast-training"]), ["transformer"], ""),
    (
        "generation speed",
        Situation("image", length=3072, levels=256, priorities=["fast-sampling"]),
        [],
        "VAE",
    ),
    ("quality, text", Situation("text", priorities=["quality"]), ["transformer"], ""),
    ("quality, images", Situation("image", 50_000, 3072, 256, priorities=["quality"]), ["pixelcnn-pp"], ""),
    (
        "quality, black and white",
        Situation("image", length=784, levels=2, priorities=["quality"]),
        ["gated-pixelcnn", "diagonal-bilstm"],
        "",
    ),
    ("readable", Situation("vector", levels=2, priorities=["readable"]), ["fvsbn"], ""),
    ("readable, table", Situation("table", priorities=["readable"]), ["fvsbn", "nade", "made"], ""),
    ("memory", Situation("text", priorities=["memory"]), ["rnn"], ""),
    ("memory, images", Situation("image", levels=2, priorities=["memory"]), ["made", "nade"], ""),
    # Question 3
    ("limited compute", Situation("image", levels=2, compute="little"), ["nade", "made"], ""),
    ("limited compute, table", Situation("table", compute="little"), ["made", "nade", "fvsbn"], ""),
    ("limited data", Situation("image", rows=500, levels=2), ["nade"], ""),
    ("limited data, table", Situation("table", rows=500), ["nade", "fvsbn"], ""),
    ("limited data, text", Situation("text", rows=20_000, length=128), ["rnn", "transformer"], ""),
    ("at scale", Situation("table", priorities=["scale"]), ["made"], "distil"),
    ("at scale, images", Situation("image", levels=2, priorities=["scale"]), ["made"], "distil"),
    ("research, text", Situation("text", priorities=["research"]), ["transformer"], ""),
    (
        "research, images",
        Situation("image", length=3072, levels=256, priorities=["research"]),
        ["pixelcnn-pp"],
        "diffusion",
    ),
    # Insights
    ("no representation", Situation("image", priorities=["features"]), [], "autoencoder"),
    ("small scale", Situation("image", length=784, levels=2, rows=50_000), ["nade", "made"], ""),
    ("medium scale", Situation("image", length=3072, levels=256), ["pixelcnn-pp", "gated-pixelcnn"], ""),
    ("large scale", Situation("image", length=150_528, levels=256), ["pixelcnn-pp"], "diffusion"),
]


@pytest.mark.parametrize(
    ("situation", "models", "instead"), [row[1:] for row in LECTURE], ids=[r[0] for r in LECTURE]
)
def test_the_lectures_answer_comes_first(situation, models, instead) -> None:
    advice = advise(situation)
    ranked = [choice.model for choice in advice.choices]
    assert set(ranked[: len(models)]) == set(models), (ranked, models)
    assert instead in " ".join(other for other, _, _ in advice.alternatives)


def test_every_rule_and_alternative_is_reached_and_none_always() -> None:
    everything = [row[1] for row in LECTURE]
    everything += [Situation(kind, priorities=[name]) for kind in KINDS for name in PRIORITIES]
    everything += [
        Situation(kind, rows=rows, length=length, levels=levels)
        for kind in KINDS
        for rows in (10, 5000)
        for length in (500, 1000, 3072, 200_000)
        for levels in (2, 256)
    ]
    for each in (*RULES, *ALTERNATIVES):
        taken = [each.when(situation) for situation in everything]
        assert any(taken), each.branch
        assert not all(taken), each.branch
    for situation in everything:
        advice = advise(situation)
        assert advice.choices
        assert all(reason for choice in advice.choices for reason in (*choice.reasons, *choice.against))


def test_ranks_follow_the_points_and_every_model_can_take_its_kind_of_data() -> None:
    known = {"text": TEXT_MODELS, "series": SERIES_MODELS, "audio": AUDIO_MODELS, "table": TABLE_MODELS}
    for kind, models in CANDIDATES.items():
        assert set(models) <= set(known.get(kind, CARDS))
        points = [choice.points for choice in advise(Situation(kind)).choices]
        assert points == sorted(points, reverse=True)
    assert "chow-liu" not in [
        c.model for c in advise(Situation("vector", levels=8, priorities=["readable"])).choices
    ]


def test_what_one_wants_to_avoid_is_said_with_the_choice() -> None:
    (choice,) = [c for c in advise(Situation("text", rows=20_000)).choices if c.model == "transformer"]
    assert "by heart" in choice.against[0]


def test_the_wrong_tool_is_called_that() -> None:
    assert advise(Situation("table", priorities=["labels"])).wrong_tool
    assert advise(Situation("table", rows=10)).wrong_tool
    assert not advise(Situation("table", rows=5000)).wrong_tool
    assert not advise(Situation("image", length=64, levels=2, priorities=["fast-sampling"])).wrong_tool


def test_a_situation_refuses_what_there_is_not() -> None:
    for wrong in ({"kind": "video"}, {"priorities": ["cheap"]}, {"compute": "tpu"}, {"rows": 0}):
        with pytest.raises(ChainruleError):
            Situation(**{"kind": "text", **wrong})


def test_costs_are_those_that_were_measured() -> None:
    """Within a factor of three for times, which differ by machine and day, and half a nat."""
    rows = json.loads((RESULTS / "sampling-batch64.json").read_text())["results"]
    times = {row["model"]: (row["incremental_s"], row["naive_s"]) for row in rows}
    lines = (
        (RESULTS / "sampling-images-batch64.md").read_text().splitlines()
        if (RESULTS / "sampling-images-batch64.md").exists()
        else []
    )
    for line in lines:
        cells = [cell.strip().lstrip("~") for cell in line.strip("|").split("|")]
        if len(cells) > 5 and cells[4].endswith(" s"):
            times[cells[0]] = float(cells[4].split()[0]), float(cells[5].split()[0])
    for model, cost in COSTS.items():
        if cost.size in times:
            assert cost.sample_seconds == pytest.approx(times[cost.size][0], rel=2), model
            assert cost.naive_seconds == pytest.approx(times[cost.size][1], rel=2), model
        if cost.run:
            (file,) = RESULTS.glob(f"**/{cost.run}/result*.json")
            assert cost.nll == pytest.approx(json.loads(file.read_text())["nll"], abs=0.5), model
        assert cost.size.split(",")[0] in cost.text
    assert {"FVSBN", "NADE, 500 hidden"} <= times.keys()


# ---------------------------------------------------------------- looking at data


def write_files(folder):
    """A file of every kind."""
    generator = np.random.default_rng(0)
    bits = (generator.random((60, 6)) < 0.5).astype(int)
    (folder / "bits.csv").write_text("\n".join(",".join(map(str, row)) for row in bits) + "\n")
    table = [f"{a:.3f},{'x' if a > 0 else 'y'}" for a in generator.normal(size=60)]
    (folder / "my table.csv").write_text("\n".join(["size,kind", *table]) + "\n")
    series = [f"2024-01-{1 + t // 24:02d} {t % 24:02d}:00,{np.sin(t / 3):.3f}" for t in range(240)]
    (folder / "series.csv").write_text("\n".join(["when,level", *series]) + "\n")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 150)
    write_wav(folder / "sound.wav", Recording(0.4 * np.sin(np.arange(24_000) / 7), 8000))
    np.savez(folder / "grey.npz", generator.integers(0, 256, (40, 6, 6)).astype(np.uint8))
    return folder


FILES = {
    "bits.csv": ("vector", 6, 2),
    "my table.csv": ("table", 2, None),
    "series.csv": ("series", 240, None),
    "text.txt": ("text", None, None),
    "sound.wav": ("audio", 1200, None),
    "grey.npz": ("image", 36, 256),
}


@pytest.mark.parametrize("name", FILES)
def test_a_look_tells_what_a_file_holds(name, tmp_path) -> None:
    look = look_at(str(write_files(tmp_path) / name))
    assert (look.kind, look.length, look.levels) == FILES[name]
    assert look.found
    if name == "series.csv":
        assert look.time == "when"
        assert look_at(str(tmp_path / name), kind="table").kind == "table"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("digits", "image"), ("wine", "table"), ("python-docs", "text"), ("nltcs", "vector"), ("fsdd", "audio")],
)
def test_a_look_at_the_catalogue_opens_no_file(name, kind, monkeypatch) -> None:
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    assert look_at(name).kind == kind


def test_what_is_not_there_or_damaged_is_one_line(tmp_path) -> None:
    refused(call("advise", "--data", "digitz"), "unknown data set 'digitz'", "digits")
    refused(call("advise", "--data", tmp_path / "none.csv"), "there is no file")
    (tmp_path / "empty.csv").write_text("")
    refused(call("advise", "--data", tmp_path / "empty.csv"), "empty.csv")
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    refused(call("advise", "--data", tmp_path / "bad.npz"), "bad.npz")
    refused(call("advise", "--kind", "video"), "unknown kind of data")
    refused(call("advise", "--kind", "text", "--priority", "cheap"), "unknown priority")
    refused(call("advise", "--json"), "--data or --kind")
    refused(call("advise", "--kind", "image", "--levels", 1), "levels must be a whole number of at least 2")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("my table.csv", "image"), ("my table.csv", "audio"), ("sound.wav", "text"), (".", "text")],
)
def test_data_of_another_kind_than_was_said_gets_no_commands_that_would_fail(
    name, kind, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(write_files(tmp_path))
    refused(call("advise", "--data", name, "--kind", kind), f"{name} is not of kind {kind}")
    assert look_at("grey.npz", kind="vector").kind == "image"  # rows of levels, if one likes


def test_the_command_names_a_folder_that_is_free(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "made").mkdir(parents=True)
    (choice,) = [c for c in advise(Situation("table")).choices if c.model == "made"]
    assert choice.command.endswith("--out runs/made-2")
    assert choice.then == "chainrule report runs/made-2"


# ---------------------------------------------------------------- the command


#: What makes a printed command quick without changing what it is: fewer updates.
SHORTER = {"series": ("--set", "steps=2"), "audio": ("--set", "epochs=1"), "text": ("--set", "epochs=1")}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("priority", ["", "anomalies", "filling"])
def test_the_printed_command_runs(name, priority, tmp_path, monkeypatch) -> None:
    if priority == "filling" and FILES[name][0] not in ("vector", "table"):
        pytest.skip("the same command as without")
    monkeypatch.chdir(write_files(tmp_path))
    wanted = ("--priority", priority) if priority else ()
    advice = succeed("advise", "--data", name, "--compute", "little", *wanted, "--json").json
    command = advice["choices"][0]["command"]
    printed = succeed("advise", "--data", name, "--compute", "little", *wanted).out
    assert command in printed
    program, *arguments = shlex.split(command)
    assert program == "chainrule"
    shorter = SHORTER.get(FILES[name][0], ("--set", "epochs=2"))
    succeed(*arguments, *shorter, "--quiet")
    assert (Path("runs") / advice["choices"][0]["model"] / "model.safetensors").is_file()


def test_every_command_is_understood(monkeypatch, tmp_path) -> None:
    """Of every model for every kind and size: the settings are those that the model takes."""
    from chainrule.cli.setting_values import parse_settings, split_settings
    from chainrule.models import MODELS

    for kind, models in CANDIDATES.items():
        for model in models:
            for compute in COMPUTE:
                for length in (64, 1000, 20_000):
                    line = command_of(model, Situation(kind, 500, length, 2, compute=compute))
                    words = shlex.split(line)
                    pairs = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
                    own = {"length", "steps"}
                    values = {k: v for k, v in parse_settings(pairs).items() if k not in own}
                    split_settings(MODELS[model], values)


def test_it_asks_what_it_is_not_told(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\nimage\n5,000\n784\nreadable\nlittle\n"))
    called = succeed("advise")
    assert "1. fvsbn" in called.out
    assert "What matters?" in called.out
    monkeypatch.setattr("sys.stdin", io.StringIO("digits\n\n\n"))
    assert "digits: 1,197 black and white images of 8 x 8" in succeed("advise").out
    monkeypatch.setattr("sys.stdin", io.StringIO("\ntext\nmany\n"))
    assert call("advise").status == 2
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert call("advise").status == 130


def test_a_person_is_asked_again_after_a_mistake(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = "nosuch.csv\n\nvideo\nimage\nmany\n5000\n784\nreadable,pretty\nreadable\ntpu\nlittle\n"
    monkeypatch.setattr("sys.stdin", Terminal(answers))
    called = succeed("advise")
    for mistake in ("no file nosuch.csv", "'video'", "'many'", "'pretty'", "'tpu'"):
        assert mistake in called.out
    assert "1. fvsbn" in called.out
