"""Options that `detect fit` and `detect score` share, and the rule that they ask for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.names import complete_dataset, complete_table
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.detection import Rule

__all__ = [
    "IMAGE_SCORES",
    "BackgroundOption",
    "CleanOption",
    "EpsOption",
    "ImageLimitOption",
    "LabelOption",
    "LevelOption",
    "MeanSdOption",
    "NormalOption",
    "PercentileOption",
    "ScoreOption",
    "TableArgument",
    "chosen_rule",
    "rounded_up",
]

TableArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TABLE|RUN",
        help=".csv, .tsv, .txt (also .gz), .parquet, an .npz of X and y, or a table of `chainrule datasets`; "
        "or the run of a model of images.",
        autocompletion=complete_table,
        show_default=False,
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="COLUMN",
        help="The column that says which rows are anomalies, for a report; no model sees it.",
        show_default=False,
    ),
]
NormalOption = Annotated[
    str | None,
    typer.Option(
        "--normal",
        metavar="LABEL",
        help="Which label means normal, for the report. Not needed where labels are 0 and 1, false and true, "
        "or no and yes, or where one is called normal or benign.",
        show_default=False,
    ),
]
LevelOption = Annotated[
    float | None,
    typer.Option(
        "--level",
        metavar="A",
        help="Alarm where the conformal p-value is at most A: false alarms in at most that share of clean "
        "rows.",
        show_default=False,
    ),
]
PercentileOption = Annotated[
    float | None,
    typer.Option(
        "--percentile",
        metavar="Q",
        help="Alarm below the Q-th percentile of the calibration scores.",
        show_default=False,
    ),
]
MeanSdOption = Annotated[
    float | None,
    typer.Option(
        "--mean-sd",
        metavar="K",
        help="Alarm below mean - K standard deviations of the calibration scores.",
        show_default=False,
    ),
]

#: The scores of images, known without importing them; a test keeps them equal to `chainrule.security.SCORES`.
IMAGE_SCORES = (
    "log-likelihood",
    "likelihood-ratio",
    "typicality",
    "input-complexity",
    "density-of-states",
    "peak-surprise",
)
CleanOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="IMAGES",
        help="Images: clean ones to calibrate on; the validation split of the run's data if not said.",
        autocompletion=complete_dataset,
        show_default=False,
    ),
]
ScoreOption = Annotated[
    str | None,
    typer.Option(
        "--score",
        metavar="SCORE",
        help=f"Images: {', '.join(IMAGE_SCORES)}; log-likelihood if not said.",
        autocompletion=lambda: list(IMAGE_SCORES),
        show_default=False,
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="RUN",
        help="Images: a run trained on mutated images, for the likelihood ratio.",
        show_default=False,
    ),
]
EpsOption = Annotated[
    int | None,
    typer.Option(
        "--eps",
        metavar="E",
        help="Images: how many levels purification may move a pixel; a sixteenth of them if not said.",
        min=0,
        show_default=False,
    ),
]
ImageLimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", help="Images: at most N clean ones, spread evenly.", show_default=False
    ),
]


def chosen_rule(level: float | None, percentile: float | None, mean_sd: float | None) -> Rule | None:
    """The rule that was asked for; None where none was."""
    given = {"conformal": level, "percentile": percentile, "mean-sd": mean_sd}
    chosen = {name: value for name, value in given.items() if value is not None}
    if not chosen:
        return None
    if len(chosen) > 1:
        raise ChainruleError("--level, --percentile and --mean-sd exclude each other; choose one.")
    from chainrule.detection import Rule

    name, value = next(iter(chosen.items()))
    _check_value(name, value)
    return Rule(name, value)


def _check_value(name: str, value: float) -> None:
    """`ChainruleError` for a level, percentile or factor that cannot be, in the words of the options."""
    if name == "conformal" and not 0 < value < 1:
        raise ChainruleError(f"--level {value:g}: expected a number between 0 and 1, such as 0.01.")
    if name == "percentile" and not 0 < value < 100:
        raise ChainruleError(f"--percentile {value:g}: expected a number between 0 and 100, such as 1.")
    if name == "mean-sd" and not (math.isfinite(value) and value > 0):
        raise ChainruleError(f"--mean-sd {value:g}: expected a number above 0, such as 3.")


def rounded_up(share: float) -> str:
    """A share with three digits, never less than it is.

    >>> rounded_up(1 / 81), rounded_up(0.05), rounded_up(1 / 3)
    ('0.0124', '0.05', '0.334')
    """
    digits = 2 - math.floor(math.log10(share))
    return f"{math.ceil(round(share * 10**digits, 9)) / 10**digits:.{digits}f}".rstrip("0")
