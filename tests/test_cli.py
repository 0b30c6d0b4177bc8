"""The command line as a whole: help, completion, exit statuses, what there is to browse."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys

import pytest
import typer
from cli_helpers import PROGRAM, as_process, call, refused, succeed

import chainrule.cli.evaluate
from chainrule import __version__
from chainrule.cli.main import app, run
from chainrule.cli.model_cards import CARDS
from chainrule.cli.names import CLASSIFIER_MODELS, DATASETS
from chainrule.data import CATALOGUE
from chainrule.models import MODELS
from chainrule.presets import PRESETS

COMMANDS = ("demo", "models", "datasets", "train", "evaluate", "sample", "score", "mix")


def test_importing_the_command_line_imports_nothing_heavy(tmp_path):
    heavy = (
        "torch",
        "accelerate",
        "sklearn",
        "matplotlib",
        "pandas",
        "numpy",
        "pydantic",
        "chainrule.models",
    )
    code = (
        "import sys, chainrule.cli.main as m; status = m.run(['--help']);"
        f"print([name for name in {heavy!r} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip().endswith("[]")
    assert all(command in done.stdout for command in COMMANDS)


def test_version_and_no_arguments():
    assert succeed("--version").out == f"chainrule {__version__}\n"
    module = subprocess.run([sys.executable, "-m", "chainrule", "--version"], capture_output=True, text=True)
    assert module.stdout == f"chainrule {__version__}\n"
    assert "Usage" in succeed().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_page_teaches_by_examples_that_parse(command):
    """Each example names real arguments and options: parsing it must not fail."""
    page = succeed(command, "--help").out
    assert "Examples:" in page
    group = typer.main.get_command(app)
    epilog = group.commands[command].epilog
    lines = [line for line in epilog.split("\n\n") if line.startswith("chainrule ")]
    assert lines
    for line in lines:
        program, name, *arguments = shlex.split(line)
        assert (program, name) == ("chainrule", command)
        context = group.commands[name].make_context(name, arguments)
        models = [context.params[key] for key in ("model",) if context.params.get(key)]
        assert all(model in MODELS or model in CLASSIFIER_MODELS for model in models)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "demo"])
def test_commands_that_print_figures_take_json(command):
    assert "--json" in succeed(command, "--help").out


# ---------------------------------------------------------------- names, known without torch


def test_names_for_completion_are_those_of_the_catalogues():
    assert set(CARDS) == set(MODELS)
    assert {name: card.class_name for name, card in CARDS.items()} == {
        name: model.__name__ for name, model in MODELS.items()
    }
    assert set(DATASETS) == set(CATALOGUE)
    assert set(PRESETS) <= {name for name, card in CARDS.items() if card.trainable}


@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        ("chainrule tr", "train", "score"),
        ("chainrule train na", "nade", "made"),
        ("chainrule train ens", "", "ensemble"),
        ("chainrule models ens", "ensemble", "nade"),
        ("chainrule train nade --data bina", "binarized-mnist", "digits"),
        ("chainrule train made --preset paper-1", "paper-1x8000-1mask", "paper-2x8000-1mask"),
        ("chainrule score run dig", "digits", "mnist"),
    ],
)
def test_shell_completion(words, expected, absent, monkeypatch, capsys):
    monkeypatch.setenv("_CHAINRULE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code in (0, None)
    offered = capsys.readouterr().out.split()
    assert (expected in offered) if expected else not offered
    assert absent not in offered


def test_show_completion_prints_a_script(tmp_path):
    # Which shell started the tests is not for them to say: make's is sh, which has no completion.
    done = as_process(
        "--show-completion", "bash", cwd=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert "_CHAINRULE_COMPLETE" in done.out


# ---------------------------------------------------------------- exit statuses


def test_usage_mistakes_are_one_line():
    refused(call("trian"), "trian")
    refused(call("train", "--sead", "3"), "--sead", "chainrule train --help")
    refused(call("sample", "run", "-n", "many"), "'-n'", "integer")
    refused(call("evaluate"), "RUN")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "nade", "--data", "", "--out", "r"), "--data"),
        (("train", "nade", "--data", "digits", "--out", ""), "--out"),
        (("train", "nade", "--data", "digits", "--out="), "--out"),
        (("demo", "--out", " "), "--out"),
        (("evaluate", ""), "an argument"),
    ],
)
def test_nothing_is_done_with_an_empty_argument(arguments, named, tmp_path, monkeypatch):
    """`--out "$RUN"` with RUN unset must not mean the current folder."""
    monkeypatch.chdir(tmp_path)
    refused(call(*arguments), f"{named} is empty")
    assert list(tmp_path.iterdir()) == []


def test_our_own_failure_shows_a_traceback_and_asks_to_report_it(monkeypatch):
    def break_down(source):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(chainrule.cli.evaluate, "open_model", break_down)
    called = call("evaluate", "somewhere")
    assert called.status == 1
    assert "Traceback" in called.err
    assert "a bug of ours" in called.err
    assert "report" in called.err


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "some/file"), 2, "some/file: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "some/file"), 2, "some/file: Permission denied"),
        (OSError(errno.EINVAL, "Invalid argument"), 1, "Traceback"),
    ],
)
def test_what_the_machine_does_to_us(raised, status, words, monkeypatch):
    def fail(source):
        raise raised

    monkeypatch.setattr(chainrule.cli.evaluate, "open_model", fail)
    called = call("evaluate", "somewhere")
    assert called.status == status
    assert words in called.err


# ---------------------------------------------------------------- Ctrl-C, at any time

SURPRISED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("half of me is missing")
"""


@pytest.mark.parametrize("module", ["typer", "torch"])
def test_an_interrupted_import_is_no_traceback(tmp_path, module):
    """Foreign code may turn a Ctrl-C into an error of its own; before and after the arguments are read."""
    (tmp_path / f"{module}.py").write_text(SURPRISED)
    called = as_process("evaluate", tmp_path, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (called.status, called.out, called.err.strip()) == (130, "", "chainrule: interrupted")


def test_an_interrupt_that_became_another_error_is_an_interrupt(monkeypatch):
    def surprised(source):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ImportError("half of me is missing")  # noqa: B904

    monkeypatch.setattr(chainrule.cli.evaluate, "open_model", surprised)
    called = call("evaluate", "somewhere")
    assert (called.status, called.err.strip()) == (130, "chainrule: interrupted")


def test_ctrl_c_while_training_saves_and_says_how_to_go_on(tmp_path):
    """The program's own handling of Ctrl-C must not displace that of training."""
    settings = ("--set", "hidden=8", "--set", "epochs=100000")
    program = subprocess.Popen(
        [*PROGRAM, "train", "made", "--data", "digits", "--out", "r", *settings],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in program.stderr:
        if "epoch 1:" in line:
            program.send_signal(signal.SIGINT)
            break
    said = program.stderr.read()
    assert program.wait(60) == 130
    assert "Traceback" not in said
    assert "chainrule train --resume --out r" in said
    assert any((tmp_path / "r" / "checkpoints").iterdir())


# ---------------------------------------------------------------- models and datasets


def test_models_lists_all_and_describes_each():
    table = succeed("models").out
    assert all(name in table for name in MODELS)
    assert {m["name"] for m in succeed("models", "--json").json["models"]} == set(MODELS)
    for name in MODELS:
        page = succeed("models", name).out
        assert CARDS[name].formula in page
        assert all(preset in page for preset in PRESETS.get(name, {}))


def test_a_model_is_described_with_every_setting_its_default_and_its_meaning():
    settings = succeed("models", "made", "--json").json["settings"]
    assert settings["hidden"]["default"] == "500"
    assert settings["residual"] == {
        "default": "false",
        "meaning": settings["residual"]["meaning"],
    }
    assert "event_shape" not in settings
    missing = {
        f"{name}.{setting}"
        for name in MODELS
        for setting, facts in succeed("models", name, "--json").json["settings"].items()
        if not facts["meaning"]
    }
    assert not missing


def test_orderings_that_only_train_knows_are_described():
    meaning = succeed("models", "nade", "--json").json["settings"]["ordering"]["meaning"]
    assert "learned:" in meaning
    assert "greedy:" in meaning


@pytest.mark.parametrize("arguments", [("models",), ("models", "made"), ("datasets",)])
def test_tables_in_a_pipe_stay_narrow_and_names_whole(arguments):
    lines = succeed(*arguments).out.splitlines()
    assert max(map(len, lines)) <= 120
    names = {line.split()[0] for line in lines if line.strip()}
    assert (
        names
        >= {
            ("models",): set(MODELS),
            ("models", "made"): set(PRESETS["made"]),
            ("datasets",): set(CATALOGUE),
        }[arguments]
    )


def test_presets_show_published_and_measured():
    page = succeed("models", "nade").out
    assert "88.33" in page
    measured = PRESETS["nade"]["paper"].measured
    assert f"{measured.nll:.2f} ± {measured.standard_error:.2f}" in page


def test_datasets_lists_all_and_describes_each(monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    table = succeed("datasets").out
    assert all(name in table for name in CATALOGUE)
    rows = {entry["name"]: entry for entry in succeed("datasets", "--json").json["datasets"]}
    assert rows["digits"]["available"] is True
    assert rows["binarized-mnist"]["available"] is False
    page = succeed("datasets", "binarized-mnist").out
    assert "88.33" in page
    assert "2,296,106 bytes" in page
    assert succeed("datasets", "digits", "--json").json["splits"]["train"] == 1197


def test_unknown_names_come_with_the_nearest():
    refused(call("models", "nda"), "unknown model 'nda'", "'nade'")
    refused(call("datasets", "binarised-mnist"), "unknown data set", "'binarized-mnist'")
