"""`chainrule detect`: odd rows of a table and odd images, an alarm threshold with a promise, and reasons."""

from __future__ import annotations

import typer

from chainrule.cli.detect_fit import fit
from chainrule.cli.detect_images_evaluate import evaluate
from chainrule.cli.detect_score import score
from chainrule.cli.options import add_command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    commands = typer.Typer(
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback(invoke_without_command=True)(_help)
    add_command(
        commands,
        fit,
        "chainrule detect fit transactions.csv --out runs/fraud --drop id",
        "chainrule detect fit transactions.csv --out runs/fraud --label fraud --level 0.001",
        "chainrule detect fit transactions.csv --out runs/fraud --label fraud --normal-only 0",
        "chainrule detect fit nsl-kdd --out runs/kdd --normal-only normal",
        "chainrule detect fit --resume --out runs/fraud",
        "chainrule detect fit runs/pixels --level 0.01 --score density-of-states",
    )
    add_command(
        commands,
        score,
        "chainrule detect score runs/fraud today.csv --out scores.csv",
        "chainrule detect score runs/fraud today.csv --id transaction --top 20",
        "chainrule detect score runs/kdd nsl-kdd --json",
        "chainrule detect score runs/fraud huge.parquet --out scores.parquet --mean-sd 3",
        "chainrule detect score runs/pixels my_images.npy --out decisions.csv",
    )
    add_command(
        commands,
        evaluate,
        "chainrule detect evaluate runs/pixels --odd attacked.npz",
        "chainrule detect evaluate runs/pixels --odd mnist --background runs/background --limit 1000",
    )
    app.add_typer(commands, name="detect")


def _help(ctx: typer.Context) -> None:
    """Find odd rows of a table, or odd images: fit a threshold, then score, and see why each is odd."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
