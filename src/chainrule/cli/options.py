"""Options that several commands share, declared once, and how a command is added with its help page."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from chainrule.cli.names import complete_dataset

__all__ = ["AsJson", "DataOption", "Overwrite", "RunArgument", "add_command", "examples", "help_text"]

AsJson = Annotated[bool, typer.Option("--json", help="Print the results as one JSON object on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, a folder that save_pretrained made, or hub:user/model.",
        show_default=False,
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="D",
        help="A data set's name, or a path; default: what the run was trained on.",
        autocompletion=complete_dataset,
    ),
]


def add_command(app: typer.Typer, command: Callable[..., None], *example_lines: str) -> None:
    """Add a command whose help page is its docstring and these runnable lines."""
    app.command(help=help_text(command), epilog=examples(*example_lines))(command)


def examples(*lines: str) -> str:
    """Runnable lines for the end of a help page, one below the other in every style of help."""
    return "\n\n".join(["Examples:", *lines])


def help_text(command: Callable[..., Any]) -> str:
    """The docstring with every paragraph on one line, for the help page to wrap as it likes."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
