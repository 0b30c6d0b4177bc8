"""Write docs/worked-examples.md: the lecture's worked examples, recomputed by the library's classes.

python docs/make_worked_examples.py          # writes the page; with --check it only compares
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from worked_examples import LIBRARY, read_examples, recompute

PAGE = Path(__file__).resolve().parent / "worked-examples.md"

INTRODUCTION = """\
# Worked examples

Every worked example of the lecture's topics 1, 2, 4, 5, 6, 7, 9 and 14: what the notes state, the exact
value, and what the library's own classes compute from the same inputs. A verdict is *right* (every stated
digit), *rounded* (the stated number was rounded or cut off, in the end or on the way there), *wrong*, or
*open* (the notes state no value). Written by `python docs/make_worked_examples.py`; a test compares every
value and this page.
"""


def page() -> str:
    """The whole page as Markdown."""
    examples = read_examples()
    found = {e["id"]: recompute(e) for e in examples}
    lines = [INTRODUCTION, _counts(examples), "", "## Where the notes are wrong", ""]
    for e in examples:
        verdict, _, reason = e["verdict"].partition(": ")
        if verdict == "wrong":
            lines.append(
                f"- **{e['id']}**, {e['description']}: the notes state {_shown(e['stated'])}; "
                f"the library computes {_shown(found[e['id']][1])}. {reason[0].upper()}{reason[1:]}."
            )
    for topic in dict.fromkeys(e["topic"] for e in examples):
        lines += ["", f"## Topic {topic}", ""]
        lines += [
            "| example | quantity | stated | exact | library | computed by | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_table_row(e, *found[e["id"]]) for e in examples if e["topic"] == topic]
    return "\n".join(lines) + "\n"


def _counts(examples: list[dict[str, Any]]) -> str:
    verdicts = [e["verdict"].partition(":")[0] for e in examples]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("right", "rounded", "wrong", "open"))
    by_library = sum(e["id"] in LIBRARY for e in examples)
    return (
        f"{len(examples)} examples: {counts}. "
        f"{by_library} are computed by the library; the rest is arithmetic on numbers of the notes."
    )


def _table_row(example: dict[str, Any], by: str, value: Any) -> str:
    verdict, _, reason = example["verdict"].partition(": ")
    cells = [
        example["id"],
        f"{example['description']}: {example['quantity']}",
        "" if example["stated"] is None else _shown(example["stated"]),
        _shown(example["exact"]),
        _shown(value),
        by,
        "**wrong**, see above" if verdict == "wrong" else f"{verdict}: {reason}" if reason else verdict,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    if isinstance(value, float):
        # Adding 0.0 to the rounded number turns -0.0 into 0.
        return f"{float(f'{value:.6g}') + 0.0:g}" if abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say by the exit status whether it is up to date."""
    text = page()
    if "--check" in arguments:
        return int(text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
