"""`fit_series`: from a table with a time column to a `SeriesModel`, with settings that suit most series."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.conditionals import Conditional, Missing, Mixed, resolve_conditional
from chainrule.data import Dataset
from chainrule.errors import ChainruleError, unknown_name
from chainrule.models import RNN, Transformer
from chainrule.models.sequence import SequenceModel
from chainrule.saving import CONFIG_NAME
from chainrule.series.model import SeriesModel
from chainrule.series.schema import SERIES_NAME, SeriesSchema, TimeSeries, checked_frame, learn_schema
from chainrule.series.splits import SHARES, SHORTEST, part_edges
from chainrule.tables import read_table
from chainrule.training import fit
from chainrule.training.notes import path_of, plan_note
from chainrule.training.run import check_place

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DEFAULT_LENGTH", "DEFAULT_NUMERIC", "DEFAULT_STEPS", "SERIES_MODELS", "fit_series"]

#: The settings of each model that suit series; `fit_series(model_settings=...)` changes them.
SERIES_MODELS: dict[str, tuple[Callable[..., SequenceModel], dict[str, Any]]] = {
    "rnn": (RNN, {"cell": "lstm", "hidden": 64, "layers": 1}),
    "transformer": (Transformer, {"width": 64, "num_layers": 3, "num_heads": 4, "bias": True}),
}

#: The family of every value: heavy tails, and no scale below a hundredth of the column's own.
DEFAULT_NUMERIC: Mapping[str, object] = {"name": "student_t", "min_scale": 0.01}

#: Steps that are read together in training.
DEFAULT_LENGTH = 64

#: Updates of training, unless told otherwise, whatever the length of the series.
DEFAULT_STEPS = 1500

#: Windows begin so many times in a length; so many of them make an update.
_OVERLAP, _BATCH = 8, 32
#: How often a run is validated, whatever its length; where nobody says how long it is to be, the last ones
#: are left out when so many bring nothing.
_VALIDATIONS, _PATIENCE = 40, 10

_TRAINING: dict[str, dict[str, Any]] = {
    "rnn": {"learning_rate": 3e-3, "weight_decay": 1e-2, "clip_norm": 1.0, "ema_decay": 0.99},
    "transformer": {"learning_rate": 1e-3, "weight_decay": 1e-2, "clip_norm": 1.0, "ema_decay": 0.99},
}


def fit_series(
    source: DataFrame | str | Path,
    out: str | Path,
    *,
    time: str | None,
    columns: Sequence[str] | None = None,
    model: str = "rnn",
    model_settings: Mapping[str, Any] | None = None,
    numeric: str | Mapping[str, object] | Conditional | None = None,
    difference: bool | Literal["auto"] = "auto",
    missing: bool | Literal["auto"] = "auto",
    length: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    notes: Mapping[str, Any] | None = None,
    **training: Any,
) -> SeriesModel:
    """Train a model on the first eight tenths of a series; the next tenth selects, the last is not looked at.

    - `source`: a table, or a file of one (`read_table`), the oldest row first.
    - `out`: the run folder (`SeriesModel.load` reads it).
    - `time`: the column of times, numbers or dates; None: every row is a step.
    - `columns`: which to model, in the order in which they are read within a step; None for all others.
    - `model`: one of `SERIES_MODELS`; `model_settings`: its constructor's settings.
    - `numeric`: the family of all values; `DEFAULT_NUMERIC` unless given.
    - `difference`, `missing`: as in `learn_schema`; all scales are those of the training part.
    - `length`: steps in a window of training, `DEFAULT_LENGTH` or fewer in a short series.
    - `steps`: updates in all (`epochs` in `training` says otherwise); None for `DEFAULT_STEPS`, fewer where
      the validation stops falling.
    - `training`: fields of `TrainingSettings`; `resume`, `overwrite`, `progress`, `notes`: as in `fit`.

    The run notes the path of a file, so that `chainrule evaluate` and `train --resume` find it again.

    Raises `ChainruleError` for a series or settings that cannot be used, and what `fit` raises.
    """
    folder, seed = some_path("out", out), checked_seed(seed)
    check_place(folder, resume=resume, overwrite=overwrite)
    settings = _checked_settings(model, model_settings)
    frame = checked_frame(read_table(source) if isinstance(source, str | Path) else source)
    if len(frame) < 2:  # has no step
        part_edges(len(frame))
    schema, series = learn_schema(
        frame, time, columns=columns, train_share=SHARES[0], difference=difference, missing=missing
    )
    if resume and (folder / CONFIG_NAME).exists() and (folder / SERIES_NAME).exists():
        schema = SeriesSchema.load(folder)
        schema.check_missing(series)
    data = _dataset(schema, series, length)
    family = _family(numeric, schema)
    noted = _noted(
        source,
        frame,
        schema,
        model=model,
        allow_missing=missing is True,
        options={"difference": difference, "length": length, "steps": steps}
        | ({} if numeric is None else {"numeric": resolve_conditional(numeric).spec()}),
        settings=dict(model_settings or {}),
        training={"seed": seed, **training},
    )
    build = SERIES_MODELS[model][0]
    period = len(schema.columns)
    if model == "transformer":
        settings.setdefault("window", math.ceil(data.event_shape[0] * period / 2))
    # Weights are drawn at construction; the caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(data.event_shape, conditional=family, period=period, **settings)
    made = SeriesModel(schema, network)
    updates = {**_TRAINING[model], "batch_size": _BATCH, **training}
    if "epochs" not in updates:
        if steps is None:
            updates.setdefault("patience", _PATIENCE)
        an_epoch = math.ceil(len(data.split("train")) / updates["batch_size"])
        count = DEFAULT_STEPS if steps is None else whole_number("steps", steps, minimum=1)
        updates["epochs"] = math.ceil(count / an_epoch)
    updates.setdefault("validate_every", max(1, updates["epochs"] // _VALIDATIONS))
    fit(
        network,
        data,
        folder,
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        notes={**noted, **(notes or {})},
        on_begin=schema.save,
        seed=seed,
        **updates,
    )
    return made


def _noted(source: object, frame: DataFrame, schema: SeriesSchema, **plan: Any) -> dict[str, Any]:
    """What the command line needs to evaluate and resume the run; empty where it could not say the same."""
    if schema.names != tuple(name for name in frame.columns if name in schema.names):
        return {}
    drop = [name for name in frame.columns if name not in (*schema.names, schema.time)]
    return plan_note("series", {"data": path_of(source)}, time=schema.time, drop=drop, **plan)


def _checked_settings(model: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if model not in SERIES_MODELS:
        raise unknown_name("model of series", model, SERIES_MODELS)
    build, defaults = SERIES_MODELS[model]
    takes = set(inspect.signature(build).parameters)
    takes -= {"event_shape", "conditional", "context_size", "ordering", "period", "end", "tied"}
    for name in given or {}:
        if name not in takes:
            raise unknown_name(f"setting of {model}", name, takes)
    return {**defaults, **(given or {})}


def _family(numeric: str | Mapping[str, object] | Conditional | None, schema: SeriesSchema) -> Conditional:
    """The family of every value; `ChainruleError` for one that is not of real numbers."""
    if not isinstance(numeric, str | Mapping | Conditional | None):
        raise ChainruleError(f"numeric={numeric!r}: expected the name of a family, such as student_t.")
    family = resolve_conditional(DEFAULT_NUMERIC if numeric is None else numeric)
    if isinstance(family, Missing | Mixed) or family.support() is not None:
        raise ChainruleError(
            f"numeric={family.name}: a series is of real numbers; expected student_t, gaussian, "
            "gaussian_mixture or logistic_mixture."
        )
    return Missing(family) if schema.missing else family


# ---------------------------------------------------------------- windows


def _dataset(schema: SeriesSchema, series: TimeSeries, length: int | None) -> Dataset:
    """Windows of the training part, and of the validation part together with what comes before it."""
    z, lead = schema.encode(series)
    train_end, validation_end = part_edges(len(series))
    rows = train_end - lead
    if rows < SHORTEST // 2:
        raise ChainruleError(
            f"the training part has {max(0, rows)} steps after {lead} that lead; expected at least "
            f"{SHORTEST // 2}: a column begins too late, leave it out."
        )
    if length is None:
        length = min(DEFAULT_LENGTH, max(2, rows // 2))
    elif whole_number("length", length, minimum=2) > rows:
        raise ChainruleError(f"length={length}: the training part has only {rows} steps.")
    values = torch.from_numpy(z.astype(np.float32))
    stride = max(1, length // _OVERLAP)
    train = values[:rows].unfold(0, length, stride).transpose(1, 2)
    return Dataset(
        name="series",
        train=train,
        validation=_tiled(values, train_end - lead, validation_end - lead, length),
        test=None,
        event_shape=(length, len(schema.columns)),
        kind="series",
        levels=None,
        description=f"windows of {length} steps of {', '.join(schema.names)}",
    )


def _tiled(values: Tensor, first: int, last: int, length: int) -> Tensor:
    """Windows that end at `last` and cover all from `first` on; the first one may reach back beyond it."""
    count = max(1, min(math.ceil((last - first) / length), last // length))
    return values[last - count * length : last].reshape(count, length, -1)
