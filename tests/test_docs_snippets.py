"""What the pages of docs/ show is run: every ```python block, in order, and what it is said to print.

A block that follows a ```python block and is marked ```output holds what that one prints. A block
marked ```python no-run is left alone. Each page runs in a folder of its own, with names of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```\s*$", flags=re.DOTALL | re.MULTILINE)


def blocks(text: str) -> list[tuple[int, str, str]]:
    """Line number, marks (`python`, `python no-run`, `output`) and content of each fenced block."""
    return [(text[: m.start()].count("\n") + 2, m[1].strip(), m[2]) for m in _BLOCK.finditer(text)]


def is_run(marks: str) -> bool:
    words = marks.split()
    return words[:1] == ["python"] and "no-run" not in words


def pages() -> list[str]:
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    return [name for name, text in texts.items() if any(is_run(marks) for _, marks, _ in blocks(text))]


def run_page(text: str, name: str, read_output) -> int:
    """Run the blocks of a page; returns how many there were. Line numbers in errors are the page's."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, ran = None, 0
    for line, marks, content in blocks(text):
        if is_run(marks):
            exec(compile("\n" * (line - 1) + content, name, "exec"), names)
            printed, ran = read_output(), ran + 1
        elif marks == "output":
            assert printed is not None, f"{name}:{line}: no block before it is run"
            assert printed.strip() == content.strip(), f"{name}:{line}: printed\n{printed}"
    return ran


@pytest.mark.parametrize("page", pages())
def test_the_python_of_the_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert run_page(text, page, lambda: capsys.readouterr().out)


def test_a_page_that_prints_something_else_is_noticed(capsys):
    page = (
        "x\n\n```python\nprint(1 + 1)\n```\n\n```output\n{}\n```\n\n```python no-run\nraise ValueError\n```\n"
    )
    assert run_page(page.format(2), "page.md", lambda: capsys.readouterr().out) == 1
    with pytest.raises(AssertionError, match=r"page\.md:8: printed"):
        run_page(page.format(3), "page.md", lambda: capsys.readouterr().out)
