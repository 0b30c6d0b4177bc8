"""A comparison as people read it: CSV, Markdown, and a page of HTML that stands alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from chainrule.comparing.measuring import BATCH
from chainrule.comparing.results import Result
from chainrule.comparing.running import Comparison
from chainrule.report.files import write_file
from chainrule.report.page import Page, Section, details, facts, paragraph, picture, table, text

__all__ = ["cells", "columns", "remarks", "seconds_text", "write_tables"]

_CSV = (
    *("name", "model", "parameters", "formula", "train_seconds", "epochs", "examples_per_second", "nll"),
    *("standard_error", "second", "split", "examples", "sample_seconds", "naive_seconds"),
    *("naive_is_projected", "memory_mib", "run"),
)


def write_tables(comparison: Comparison) -> list[Path]:
    """Write `comparison.csv`, `.md` and `.html` into the comparison's folder; returns the paths."""
    folder = comparison.folder
    contents = {"csv": _as_csv(comparison), "md": _as_markdown(comparison), "html": _as_page(comparison)}
    return [
        write_file(folder / f"comparison.{ending}", content.encode(), overwrite=True)
        for ending, content in contents.items()
    ]


def columns(comparison: Comparison) -> list[str]:
    """Headings; `>` marks columns of numbers."""
    second = [f">{comparison.second_unit}"] if comparison.second_unit else []
    return [
        "model",
        ">parameters",
        ">training",
        ">examples/s",
        ">NLL",
        *second,
        ">sample",
        ">naively",
        ">MiB",
    ]


def cells(comparison: Comparison, result: Result) -> list[str]:
    """One line of the table, under `columns`."""
    second = [] if not comparison.second_unit else [_number(result.second, 4)]
    error = "" if math.isnan(result.standard_error) else f" ± {result.standard_error:.{_digits(result)}f}"
    return [
        result.name,
        f"{result.parameters:,}",
        "-" if result.train_seconds is None else seconds_text(result.train_seconds),
        "-" if result.examples_per_second is None else f"{result.examples_per_second:,.0f}",
        f"{result.nll:.{_digits(result)}f}{error}",
        *second,
        seconds_text(result.sample_seconds),
        f"{'~' if result.naive_is_projected else ''}{seconds_text(result.naive_seconds)}",
        "-" if result.memory_mib is None else f"{result.memory_mib:,.0f}",
    ]


def remarks(comparison: Comparison) -> list[str]:
    """What one must know to read the table, a line each."""
    results = comparison.results
    lines = [
        f"NLL: {comparison.unit}, lower is better, exact, ± its standard error"
        + (f"; on {results[0].examples:,} examples of the {results[0].split} part" if results else "")
        + ". Weights were selected on the validation part.",
        f"Training: at most {comparison.minutes:g} min each; examples/s include validation.",
        f"Sample: time for one example in a batch of {BATCH}, reusing all that is known; naively: a parallel "
        "pass for every variable, worked out from one pass where there is a ~.",
        "MiB: memory that updates of training add to a process of their own, at the most.",
    ]
    if any(result.split == "validation" for result in results):
        lines.append("There is no test part, so the NLL is of the part that selected: a little too good.")
    return lines


def seconds_text(seconds: float) -> str:
    """A time to three digits, in a unit that suits it."""
    for factor, unit in ((1e-3, "µs"), (1.0, "ms"), (1e3, "s")):
        if seconds < factor or unit == "s":
            value = seconds * 1e3 / factor
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    raise AssertionError


def _digits(result: Result) -> int:
    return 4 if abs(result.nll) < 10 else 2


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _as_csv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV)
    for result in comparison.results:
        writer.writerow(["" if (v := getattr(result, name)) is None else v for name in _CSV])
    return stream.getvalue()


def _as_markdown(comparison: Comparison) -> str:
    names = columns(comparison)
    lines = [
        f"# Models of {comparison.data}, compared",
        "",
        _row([name.lstrip(">") for name in names]),
        _row(["---:" if name.startswith(">") else "---" for name in names]),
        *(_row(cells(comparison, result)) for result in comparison.results),
        "",
        *(f"- {line}" for line in remarks(comparison)),
    ]
    formulas = [f"- {r.name}: {r.formula} = {r.parameters:,}" for r in comparison.results if r.formula]
    if formulas:
        lines += ["", "Numbers that are learned:", "", *formulas]
    if comparison.failures:
        lines += ["", "Left out:", "", *(f"- {f.name}: {f.reason}" for f in comparison.failures)]
    return "\n".join(lines) + "\n"


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(value.replace('|', chr(92) + '|') for value in values)} |"


def _as_page(comparison: Comparison) -> str:
    rows = [cells(comparison, result) for result in comparison.results]
    notes = "".join(f"<li>{text(line)}</li>" for line in remarks(comparison))
    measured = table(columns(comparison), rows, caption="Measured; the best likelihood first")
    sections = [Section("Measured", f"{measured}<ul>{notes}</ul>")]
    shown = _pictures(comparison)
    if shown:
        sections.append(Section("Samples", shown))
    counted = [(r.name, r.formula or "-", f"{r.parameters:,}") for r in comparison.results]
    sections.append(Section("Numbers that are learned", table(("model", "formula", ">count"), counted)))
    if comparison.failures:
        left = table(("model", "why"), [(f.name, f.reason) for f in comparison.failures])
        sections.append(Section("Left out", left))
    runs = facts([(result.name, result.run) for result in comparison.results])
    sections.append(Section("Runs", details("Where the runs lie", runs)))
    count = len(comparison.results)
    of_each = "1 model" if count == 1 else f"{count} models, each"
    summary = f"{of_each} trained for at most {comparison.minutes:g} min."
    return Page(f"Models of {comparison.data}, compared", sections, summary).html()


def _pictures(comparison: Comparison) -> str:
    parts = []
    named = [("real examples", comparison.real_picture)] if comparison.real_picture else []
    named += [(result.name, result.picture) for result in comparison.results if result.picture]
    for name, file in named:
        path = comparison.folder / str(file)
        if path.is_file():
            alt = "A grid of real examples" if name == "real examples" else f"A grid of samples of {name}"
            parts.append(picture(path.read_bytes(), alt, caption=name, pixelated=True))
    side = f'<div class="side">{"".join(parts)}</div>' if parts else ""
    texts = [
        f"<h3>{text(result.name)}</h3><pre>{text(result.text)}</pre>"
        for result in comparison.results
        if result.text
    ]
    return side + "".join(texts) + (paragraph("Drawn at random, not chosen.") if parts or texts else "")
