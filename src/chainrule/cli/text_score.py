"""`chainrule score` of a text: what it costs, and which words were surprising."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.output import counting, print_facts, print_json, print_table, show
from chainrule.cli.text_runs import TextRun, open_text_run, read_whole
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.text import Segment, TextScore

__all__ = ["score_text"]

_TOP = 10
#: Characters of a text that is shown in colours on a terminal.
_MOST_SHOWN = 4000
_WIDEST = 60


def score_text(
    run: str,
    source: str,
    out: Path | None,
    split: str | None,
    per_token: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """The exact surprise of a text, of its words, and of every token on request."""
    from chainrule.report import check_writable
    from chainrule.text import save_surprise_page, segments_of, words_of

    suffix = "" if out is None else out.suffix.lower()
    if out is not None:
        if suffix not in (".csv", ".html"):
            raise ChainruleError(f"{out}: surprise is written as .csv, for numbers, or .html, to look at.")
        check_writable(out, overwrite=overwrite)
    opened = open_text_run(run)
    text, what = read_whole(opened, source, split)
    with counting("scoring", enabled=not as_json) as on_tokens:
        score = opened.model.score(text, on_tokens=on_tokens)
    segments = segments_of(score)
    # Of lines, whole lines are what is likely or not.
    top = _lines_of(score, text) if opened.model.of_lines else words_of(segments)
    if out is not None and suffix == ".html":
        save_surprise_page(score, out, title=f"{what}, {opened.name} ({run})", overwrite=overwrite)
    elif out is not None:
        lines = _lines_of(score, text) if opened.model.of_lines and not per_token else None
        _write_csv(score, lines, out, overwrite)
    if as_json:
        print_json(_content(opened, score, what, out) | {_plural(opened): [vars(s) for s in top[:_TOP]]})
        return
    if sys.stdout.isatty() and len(text) <= _MOST_SHOWN:
        _show_coloured(segments)
    unknown = f"; {score.unknown:,} not known from training" if score.unknown else ""
    print_facts(
        [
            ("model", f"{opened.name} ({run})"),
            ("text", f"{what}: {score.characters:,} characters, {len(score.tokens):,} tokens{unknown}"),
            ("surprise", f"{score.nll:,.2f} nats, {score.nll / len(score.tokens):.4f} nats/token"),
            ("", f"{score.bits_per_character:.4f} bits/char, perplexity {score.perplexity:.2f}"),
            *([("file", str(out))] if out is not None else []),
        ]
    )
    show(f"\nThe most surprising {_plural(opened)}, given all before them:")
    print_table(
        (">nats", _plural(opened).removesuffix("s"), ">line"),
        [(f"{s.surprise:.2f}", _shortened(s.text), f"{s.line:,}") for s in top[:_TOP]],
    )


def _plural(run: TextRun) -> str:
    return "lines" if run.model.of_lines else "words"


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _content(run: TextRun, score: TextScore, what: str, out: Path | None) -> dict[str, Any]:
    return {
        "run": run.source,
        "model": run.name,
        "input": what,
        "characters": score.characters,
        "tokens": len(score.tokens),
        "unknown": score.unknown,
        "nll": score.nll,
        "nats_per_token": score.nll / len(score.tokens),
        "bits_per_character": score.bits_per_character,
        "perplexity": score.perplexity,
        "out": None if out is None else str(out),
    }


def _lines_of(score: TextScore, text: str) -> list[Segment]:
    """Whole lines, their ends counted, most surprising first; numbered as in the text, blank ones too."""
    from chainrule.text import Segment

    numbers = iter([n for n, line in enumerate(text.split("\n"), start=1) if line.strip()])
    lines: list[Segment] = []
    words, nats = "", 0.0
    for piece, surprise in zip(score.tokens, score.surprise.tolist(), strict=True):
        nats += surprise
        if piece != "\n":
            words += piece
            continue
        lines.append(Segment(words, nats, next(numbers)))
        words, nats = "", 0.0
    return sorted(lines, key=lambda line: -line.surprise)


def _write_csv(score: TextScore, lines: list[Segment] | None, out: Path, overwrite: bool) -> None:
    """A row for every line where there are `lines`, else for every token."""
    from chainrule.report import write_file

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if lines is not None:
        writer.writerow(("line", "text", "surprise"))
        in_order = sorted(lines, key=lambda line: line.line)
        writer.writerows((line.line, line.text, f"{line.surprise:.6f}") for line in in_order)
    else:
        writer.writerow(("index", "token", "surprise"))
        pairs = zip(score.tokens, score.surprise.tolist(), strict=True)
        writer.writerows((index, token, f"{nats:.6f}") for index, (token, nats) in enumerate(pairs))
    write_file(out, buffer.getvalue().encode("utf-8", errors="replace"), overwrite=overwrite)


def _show_coloured(segments: list[Segment]) -> None:
    """The text on the terminal, the darker the more surprising."""
    from rich.console import Console
    from rich.text import Text

    from chainrule.text import shades_of

    shown = Text()
    for segment, shade in zip(segments, shades_of(segments), strict=True):
        light = tuple(round(255 - shade * (255 - full)) for full in (217, 95, 2))
        style = f"black on rgb({light[0]},{light[1]},{light[2]})" if shade else ""
        shown.append(segment.text, style=style)
    Console().print(shown)
    show()
