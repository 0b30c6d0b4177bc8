"""Options that several commands share, declared once, and how a command is added with its help page."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from typing import Annotated, Any

import typer

from chainrule.cli.names import SPLITS, complete_dataset

__all__ = [
    "AsJson",
    "ContextOption",
    "DataOption",
    "InputArgument",
    "KindOption",
    "Overwrite",
    "Quiet",
    "RunArgument",
    "SkipBad",
    "SplitOption",
    "TemperatureOption",
    "ThresholdOption",
    "add_command",
    "chosen_seed",
    "examples",
    "help_text",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print the results as one JSON object on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Folders of PNGs: leave out files that are damaged, or of another kind or size."
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, a folder that save_pretrained made, or hub:user/model.",
        show_default=False,
    ),
]
InputArgument = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A file or folder (.npy, .npz, .csv, .png, a folder of PNGs, idx; of a table .csv, .parquet), "
        "or a data set's name.",
        autocompletion=complete_dataset,
        show_default=False,
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        help="Tables: what a column is, if found out wrong: numeric, integer, categorical or boolean. "
        "May be repeated.",
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
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="For a data set's name: which split; test if not said.",
        autocompletion=lambda: list(SPLITS),
        show_default=False,
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="A class label (the data's own if not said), or numbers with commas between.",
        show_default=False,
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", help="Make grey levels binary: 1 above this.", show_default=False),
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", help="Below 1 sharpens every conditional; 1 samples the model.")
]


def chosen_seed(seed: int | None) -> int:
    """The seed that was given, or a random one."""
    return secrets.randbelow(2**31) if seed is None else seed


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
