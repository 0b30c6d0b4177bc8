"""What the pages of docs/ show is run: ```python and ```console blocks, in order, and what they print.

A block that follows a ```python block and is marked ```output holds what that one prints. In ```console
blocks a line `$ chainrule ...` is run, and the lines below it are what it prints on stdout: numbers may
differ (they do between machines), and a line `...` stands for any lines. A block marked ```python no-run
is left alone. Each page runs in a folder of its own, with names of its own; a page that starts with
<!-- needs CHAINRULE_DATA --> only where the data is.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from chainrule.cli.main import run

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```\s*$", flags=re.DOTALL | re.MULTILINE)


def blocks(text: str) -> list[tuple[int, str, str]]:
    """Line number, marks (`python`, `python no-run`, `output`) and content of each fenced block."""
    return [(text[: m.start()].count("\n") + 2, m[1].strip(), m[2]) for m in _BLOCK.finditer(text)]


def is_run(marks: str) -> bool:
    words = marks.split()
    return words[:1] in (["python"], ["console"]) and "no-run" not in words


def pattern_of(expected: str) -> re.Pattern[str]:
    """What a command may print: the same words with any numbers, and any lines for `...`."""
    lines = []
    for line in expected.strip().splitlines():
        words = re.split(r"-?\d[\d.,]*", " ".join(line.split()))
        lines.append(
            "(?:.*\n)*?" if line.strip() == "..." else r"-?[\d.,]+".join(map(re.escape, words)) + "\n"
        )
    return re.compile("".join(lines))


def run_console(content: str, where: str, read_output) -> None:
    """Run each `$ chainrule ...` of a block, and compare what it prints with the lines below it."""
    for command in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "chainrule", f"{where}: only chainrule is run, not {program}"
        assert run(arguments) == 0, f"{where}: $ {line}"
        printed = "".join(f"{' '.join(row.split())}\n" for row in read_output().strip().splitlines())
        assert pattern_of(expected).fullmatch(printed), f"{where}: $ {line}\nprinted\n{printed}"


def pages() -> list[str]:
    docs = ROOT / "docs"
    texts = {
        path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(docs.rglob("*.md"))
    }
    return [name for name, text in texts.items() if any(is_run(marks) for _, marks, _ in blocks(text))]


def run_page(text: str, name: str, read_output) -> int:
    """Run the blocks of a page; returns how many there were. Line numbers in errors are the page's."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, ran = None, 0
    for line, marks, content in blocks(text):
        if marks.startswith("console") and is_run(marks):
            run_console(content, f"{name}:{line}", read_output)
            printed, ran = None, ran + 1
        elif is_run(marks):
            exec(compile("\n" * (line - 1) + content, name, "exec"), names)
            printed, ran = read_output(), ran + 1
        elif marks == "output":
            assert printed is not None, f"{name}:{line}: no block before it is run"
            assert printed.strip() == content.strip(), f"{name}:{line}: printed\n{printed}"
    return ran


@pytest.mark.parametrize("page", pages())
def test_what_the_page_shows_runs_and_prints_what_it_says(page, tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if text.startswith("<!-- needs CHAINRULE_DATA -->") and not os.environ.get("CHAINRULE_DATA"):
        pytest.skip("needs CHAINRULE_DATA")
    monkeypatch.chdir(tmp_path)
    assert run_page(text, page, lambda: capsys.readouterr().out)


def test_a_page_that_prints_something_else_is_noticed(capsys):
    page = (
        "x\n\n```python\nprint(1 + 1)\n```\n\n```output\n{}\n```\n\n```python no-run\nraise ValueError\n```\n"
    )
    assert run_page(page.format(2), "page.md", lambda: capsys.readouterr().out) == 1
    with pytest.raises(AssertionError, match=r"page\.md:8: printed"):
        run_page(page.format(3), "page.md", lambda: capsys.readouterr().out)


def test_a_command_that_prints_other_words_is_noticed(capsys):
    page = "```console\n$ chainrule --version\n{}\n```\n"
    assert run_page(page.format("chainrule 9.8.7"), "page.md", lambda: capsys.readouterr().out) == 1
    assert run_page(page.format("..."), "page.md", lambda: capsys.readouterr().out) == 1
    for wrong in ("chainrule", "chainrules 1.0.0", "chainrule 1.0.0\nmore"):
        with pytest.raises(AssertionError, match=r"page\.md:2: \$ chainrule --version"):
            run_page(page.format(wrong), "page.md", lambda: capsys.readouterr().out)
    with pytest.raises(AssertionError, match="no-such-command"):
        run_page("```console\n$ chainrule no-such-command\n```\n", "page.md", lambda: capsys.readouterr().out)
