"""Write docs/worked-examples.md: the lecture's worked examples, recomputed by the library's classes.

python docs/make_worked_examples.py          # writes the page; with --check it only compares
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from chainrule.examples import EXAMPLES, Example, coverage, recompute, shown

PAGE = Path(__file__).resolve().parent / "worked-examples.md"

INTRODUCTION = """\
# Worked examples

Every worked example of the lecture, topics 1 to 14: what the notes state, the exact value, and what the
library's own classes compute from the same inputs. A verdict is *right* (every stated digit), *rounded* (the
stated number was rounded or cut off, in the end or on the way there), *wrong*, or *open* (the notes state no
value). `chainrule examples ID` shows one of them with its equation, its inputs and the program that computes
it; [the lecture, checked](lecture-checked.md) goes through its other mistakes. Written by
`python docs/make_worked_examples.py`; a test compares every value and this page.
"""


def page() -> str:
    """The whole page as Markdown."""
    found = {name: recompute(example) for name, example in EXAMPLES.items()}
    lines = [INTRODUCTION, coverage().sentence(), "", "## Where the notes are wrong", ""]
    for example in EXAMPLES.values():
        if example.judgement == "wrong":
            reason = example.reason[0].upper() + example.reason[1:]
            lines.append(
                f"- **{example.id}**, {example.description}: the notes state {shown(example.stated)}; "
                f"the library computes {shown(found[example.id])}. {reason}."
            )
    for topic, members in groupby(EXAMPLES.values(), key=lambda example: example.topic):
        lines += ["", f"## Topic {topic}", ""]
        lines += [
            "| example | quantity | stated | exact | library | computed by | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_table_row(example, found[example.id]) for example in members]
    return "\n".join(lines) + "\n"


def _table_row(example: Example, value: Any) -> str:
    verdict = example.verdict
    cells = [
        example.id,
        f"{example.description}: {example.quantity}",
        "" if example.stated is None else shown(example.stated),
        shown(example.exact),
        shown(value),
        f"`{example.by}`" if example.by_library else example.by,
        "**wrong**, see above" if example.judgement == "wrong" else verdict,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say by the exit status whether it is up to date."""
    text = page()
    if "--check" in arguments:
        return int(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
