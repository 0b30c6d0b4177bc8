"""How the command line speaks: results on stdout, everything else on stderr, JSON on request."""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

__all__ = [
    "Interrupted",
    "counting",
    "print_facts",
    "print_json",
    "print_table",
    "say",
    "show",
]

#: Characters in a line of a table that goes into a file or a pipe.
_PIPE_WIDTH = 110


class Interrupted(Exception):
    """Ctrl-C, with what the person should know about continuing."""


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on stdout; what JSON cannot say (NaN, infinity) becomes null."""
    print(json.dumps(_finite(content), indent=2, ensure_ascii=False))


def show(line: str = "") -> None:
    """A line of results."""
    print(line)


def say(line: str) -> None:
    """A line of progress or advice, on stderr."""
    print(line, file=sys.stderr, flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table on stdout; columns whose name starts with `>` are set flush right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    console = Console()
    for index, column in enumerate(columns):
        right = column.startswith(">")
        # Names and numbers stay whole in a file or a pipe, where people look for them with other programs.
        whole = not console.is_terminal and (right or index == 0)
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    # A pipe has no width of its own; the lines there are not padded.
    piped = Console(width=_PIPE_WIDTH, file=io.StringIO())
    piped.print(table)
    lines = piped.file.getvalue().splitlines()  # type: ignore[attr-defined]
    show("\n".join(line.rstrip() for line in lines))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned, a pair a line."""
    pairs = list(facts)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        show(f"{name:<{width}}  {value}")


@contextmanager
def counting(what: str, *, enabled: bool = True) -> Iterator[Callable[[int, int | None], None]]:
    """A callback (done, total) that shows progress on stderr: a bar on a terminal, else some lines.

    `total` is None where nobody knows it, and may be a little wrong where it was estimated.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, quiet=not enabled)
    began = last = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def on_progress(done: int, total: int | None) -> None:
            nonlocal last
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, description=f"{what} {done:,} ({rate:,.0f}/s)")
            now = time.monotonic()
            if not enabled or console.is_terminal or now - last <= 10:
                return
            if total is None:
                say(f"{what}: {done:,} so far, {rate:,.0f}/s")
            elif done < total:
                say(f"{what}: {done:,} of {total:,}, about {(total - done) / rate:.0f} s left")
            last = now

        yield on_progress


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
