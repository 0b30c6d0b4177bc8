"""Runs of time series: told from other runs, planned, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from pandas import DataFrame

    from chainrule.series import SeriesModel

__all__ = [
    "NO_TIME",
    "SeriesPlan",
    "is_series_run",
    "open_series",
    "read_series",
    "refuse_for_series",
    "series_plan",
]

#: What `--time` says where every row is a step.
NO_TIME = "none"
_NOTE = "series"
_HUB = "hub:"


@dataclass(frozen=True)
class SeriesPlan:
    """What to fit to which series; the run's notes keep it, so that it can be resumed and evaluated.

    - `data`: the file; `time`: its column of times, or None; `drop`: columns that are left out.
    - `options`: of `fit_series`, as far as they are not its defaults: numeric, difference, length, steps.
    - `settings`, `training`: of the model and of `TrainingSettings`.
    """

    data: str
    time: str | None
    model: str
    drop: tuple[str, ...] = ()
    allow_missing: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """What goes into the run's notes."""
        return {_NOTE: asdict(self)}


def is_series_run(source: str | Path) -> bool:
    """Whether `source` is a run of a series: its `series.json` is there."""
    folder = _folder(str(source))
    if folder is None:
        return False
    from chainrule.series.schema import SERIES_NAME

    return (folder / SERIES_NAME).is_file()


def open_series(source: str) -> SeriesModel:
    """The model in a run folder; `ChainruleError` where there is none."""
    from chainrule.saving import WEIGHTS_NAME
    from chainrule.series import SeriesModel

    folder = _folder(source)
    if folder is None:
        raise ChainruleError(
            f"{source} is no folder; expected a run of `chainrule train MODEL --time COLUMN`."
        )
    if not is_series_run(source):
        raise ChainruleError(
            f"{source} holds no model of a time series; make one with `chainrule train rnn --data my.csv "
            "--time COLUMN --out RUN`."
        )
    if not (folder / WEIGHTS_NAME).is_file():
        raise ChainruleError(
            f"{source} has no weights yet: go on with `chainrule train --resume --out {source}`."
        )
    return SeriesModel.load(folder)


def series_plan(folder: Path) -> SeriesPlan | None:
    """The plan that a run's notes hold; None where they hold none."""
    from chainrule.saving import read_config

    try:
        notes = read_config(folder).get("notes")
    except ChainruleError:
        return None
    note = notes.get(_NOTE) if isinstance(notes, dict) else None
    if note is None:
        return None
    known = {f.name for f in fields(SeriesPlan)}
    if not isinstance(note, dict) or not {"data", "model"} <= note.keys() <= known:
        raise ChainruleError(
            f'{folder / "config.json"}: "{_NOTE}" in its "notes" is not what chainrule wrote there; restore '
            "it, or train again."
        )
    return SeriesPlan(**{**note, "drop": tuple(note.get("drop", ()))})


def read_series(source: str | Path) -> DataFrame:
    """The table in a file."""
    from chainrule.tables import read_table

    return read_table(source)


def refuse_for_series(what: str, options: Mapping[str, Any]) -> None:
    """`ChainruleError` for options that were given but are not for series."""
    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        raise ChainruleError(f"{', '.join(given)}: not for the {what} of a time series; leave it out.")


def _folder(source: str) -> Path | None:
    if source.startswith(_HUB):
        from chainrule.saving import locate

        return locate(source.removeprefix(_HUB))
    return Path(source) if Path(source).is_dir() else None
