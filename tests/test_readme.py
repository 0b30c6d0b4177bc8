"""What the README prints is run: its Python as it stands, its commands on the small embedded digits."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import succeed, train_small

from chainrule import data

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = re.findall(r"^    (chainrule .*)$", README, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_python_of_the_readme_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_blocks():
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "runs" / "nade" / "model.safetensors").exists()


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", data.load("digits").test.numpy()[:20])
    amounts = np.random.default_rng(0).lognormal(size=(2500, 2)).round(2)
    for name in ("transactions.csv", "new.csv"):
        np.savetxt(name, amounts, delimiter=",", header="amount,fee", comments="")
    for ordering in ("raster", "hilbert"):
        train_small(tmp_path / "runs" / f"made-{ordering}", "made", "--set", f"ordering={ordering}")
    succeed("train", "cnn", "--data", "digits", "--set", "epochs=1", "--out", "runs/cnn", "--quiet")
    printed = commands()
    assert [words[0] for words in printed] == [
        "train",
        "evaluate",
        "sample",
        "score",
        "fill",
        "detect",
        "detect",
        "mix",
        "compare",
        "advise",
        "attack",
        "report",
        "examples",
        "models",
    ]
    shorter = {
        "--data binarized-mnist --preset paper": "--data digits --set epochs=1",
        "--level 0.001": "--level 0.001 --steps 20",
        "--out runs/four": "--out runs/four --set epochs=1",
        "--data mnist --attack bim --eps 25": "--data digits --attack rand --eps 1 --limit 20",
    }
    for words in printed:
        text = shlex.join(words)
        for long, short in shorter.items():
            text = text.replace(long, short)
        succeed(*shlex.split(text))
    for name in ("samples.png", "scores.csv", "filled.png", "odd.csv", "attacked.npz"):
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    "page", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
)
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in t]
    missing = [t for t in targets if not ((ROOT / page).parent / t).exists()]
    assert not missing


def test_the_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
