"""`fit_table`: from a DataFrame to a `TableModel`, with settings that suit most tables."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from chainrule.arguments import checked_seed, some_path, whole_number
from chainrule.conditionals import Conditional
from chainrule.data import Dataset
from chainrule.errors import ChainruleError, unknown_name
from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, DeepNADE, Independent, Transformer
from chainrule.tables import TableSchema, infer_schema
from chainrule.tabular.model import MARGINALS, TableModel, remove_marginals
from chainrule.training import fit
from chainrule.training.run import check_place

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DEFAULT_STEPS", "ROBUST", "TABLE_MODELS", "fit_table"]

#: The settings of each model that suit tables; `fit_table(model_settings=...)` changes them.
TABLE_MODELS: dict[str, tuple[Callable[..., AutoregressiveModel], dict[str, Any]]] = {
    "made": (MADE, {"hidden": (128, 128), "residual": True, "direct": True}),
    "nade": (NADE, {"hidden": 128}),
    "deep-nade": (DeepNADE, {"hidden": (128, 128)}),
    "fvsbn": (FVSBN, {}),
    "transformer": (Transformer, {"width": 64, "num_layers": 3, "num_heads": 4, "bias": True}),
    "independent": (Independent, {}),
}

#: The family of columns with a density: heavy tails, and no scale below a tenth of a standard deviation, so
#: that neither outliers nor repeated values among the training rows rule the fit. Chosen, with the quantile
#: transform, on the labelled sets of `benchmarks/anomaly.py`.
ROBUST: Mapping[str, object] = {"name": "student_t", "min_scale": 0.1}

#: Updates of training, unless told otherwise, whatever the number of rows.
DEFAULT_STEPS = 1500

#: Few rows are worth few updates at a time, many rows are seen in larger batches.
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 512

#: What the parameter is called that a conditional has where nothing is heard: in MADE and DeepNADE, NADE,
#: FVSBN, Transformer, and Independent.
_OUTPUT_BIASES = ("output.bias", "output_bias", "bias", "head.bias", "params")

#: How often a run is validated, whatever its length; single columns hardly overfit.
_VALIDATIONS, _MARGINAL_VALIDATIONS = 40, 8

_TRAINING = {"learning_rate": 5e-3, "weight_decay": 1e-2, "ema_decay": 0.99}
#: What is different for some.
_TRAINING_OF = {"transformer": {"learning_rate": 1e-3, "clip_norm": 1.0}}
_MARGINAL_TRAINING = {"learning_rate": 5e-2, "ema_decay": 0.98}
_MARGINAL_STEPS = 500


def fit_table(
    frame: DataFrame,
    *,
    out: str | PathLike[str] | None = None,
    schema: TableSchema | None = None,
    model: str = "made",
    model_settings: Mapping[str, Any] | None = None,
    numeric: str | Mapping[str, object] | Conditional | None = None,
    numeric_transform: Literal["standard", "quantile"] = "quantile",
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    marginals: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    notes: Mapping[str, Any] | None = None,
    **training: Any,
) -> TableModel:
    """Fit a model to all rows of a table; a tenth of them select the best weights.

    - `out`: the run folder to leave it in; None leaves no files. `TableModel.load` reads it, also while it
      trains: from the first validation on, the best model so far.
    - `schema`: what the columns are; inferred from the table unless given.
    - `model`: one of `TABLE_MODELS`; `model_settings`: its constructor's settings.
    - `numeric`: the family of columns with a density; `ROBUST` unless given. `"gaussian_mixture"` follows
      conditionals with several peaks, which makes better synthetic tables.
    - `numeric_transform`: `"quantile"` or `"standard"`, for an inferred schema.
    - `steps`: updates in all, whatever the number of rows.
    - `marginals`: keep the model of every column on its own, where the network starts: `anomaly_scores` needs
      it, and nothing else does.
    - `training`: fields of `TrainingSettings`, for the table's model.
    - `resume`, `overwrite`, `progress`, `notes`: as in `fit`.

    Raises `ChainruleError` for a table that cannot be used, and what `fit` raises.
    """
    if model not in TABLE_MODELS:
        raise unknown_name("model of tables", model, TABLE_MODELS)
    steps, seed = whole_number("steps", steps, minimum=1), checked_seed(seed)
    if out is not None:  # before minutes of work
        check_place(some_path("out", out), resume=resume, overwrite=overwrite)
    settings = _checked_settings(model, model_settings)
    if not isinstance(schema, TableSchema | None):
        raise ChainruleError(
            f"schema={schema!r}; expected a TableSchema: TableSchema.load reads one from a file."
        )
    if not isinstance(notes, Mapping | None):
        raise ChainruleError(f"notes={notes!r}; expected a dict of facts to keep with the run.")
    if schema is None:
        schema = infer_schema(frame, numeric_transform=numeric_transform)
    data = _dataset(schema, frame, seed)
    conditional = schema.conditional(numeric=ROBUST if numeric is None else numeric)
    build = TABLE_MODELS[model][0]
    # Weights are drawn at construction; the caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(schema.event_shape, conditional=conditional, **settings)
        alone = Independent(schema.event_shape, conditional=conditional)
    _fit_marginals(alone, data, seed)
    _start_at(network, alone)

    def lay_beside(folder: Path) -> None:
        schema.save(folder)
        if marginals:
            alone.save_pretrained(folder / MARGINALS, overwrite=True)
        else:
            remove_marginals(folder)

    with _folder(out) as folder:
        fit(
            network,
            data,
            folder,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
            notes=dict(notes or {}),
            on_begin=lay_beside,
            seed=seed,
            **_schedule(data, steps, _VALIDATIONS, {**_TRAINING, **_TRAINING_OF.get(model, {}), **training}),
        )
    return TableModel(schema, network, alone if marginals else None)


def _checked_settings(model: str, settings: Any) -> dict[str, Any]:
    """The model's settings for tables, changed by `settings`; `ChainruleError` for names it does not take."""
    build, defaults = TABLE_MODELS[model]
    if not isinstance(settings, Mapping | None):
        raise ChainruleError(f"model_settings={settings!r}; expected a dict, such as {{'hidden': (64, 64)}}.")
    takes = set(inspect.signature(build).parameters) - {"event_shape", "conditional"}
    for name in settings or {}:
        if name == "conditional":
            raise ChainruleError(
                "model_settings: every column of a table gets its own conditional; see `numeric`."
            )
        if name not in takes:
            raise unknown_name(f"setting of {model}", name, takes)
    return {**defaults, **(settings or {})}


def _fit_marginals(marginals: Independent, data: Dataset, seed: int) -> None:
    settings = _schedule(data, _MARGINAL_STEPS, _MARGINAL_VALIDATIONS, _MARGINAL_TRAINING)
    with tempfile.TemporaryDirectory() as folder:
        fit(marginals, data, Path(folder) / MARGINALS, progress=False, seed=seed, **settings)


@torch.no_grad()
def _start_at(network: AutoregressiveModel, marginals: Independent) -> None:
    """Let a network that has learned nothing yet say of each column what it is like on its own.

    Rare categories need biases far from 0, which the learning rate of a network is too low to reach in a
    short run: at first a column would be drawn wrong more often than its dependence on others explains.
    """
    params: torch.Tensor = marginals.params
    if isinstance(network, NADE | FVSBN):  # these keep their parameters in the ordering
        params = params[network.outputs.numbers_of(network.ordering.permutation)]
    for name, parameter in network.named_parameters():
        if name in _OUTPUT_BIASES:
            parameter.copy_(params)


def _dataset(schema: TableSchema, frame: DataFrame, seed: int) -> Dataset:
    """Rows as the model sees them, a tenth held out; rounded numbers are spread over their last digit."""
    if len(frame) < 2:
        rows = "1 row" if len(frame) == 1 else f"{len(frame)} rows"
        raise ChainruleError(f"a table of {rows} is too small to fit; give at least 2 rows.")
    generator = np.random.default_rng(seed)
    values = torch.from_numpy(schema.encode(frame, dtype=np.float32, jitter=generator))
    order = torch.from_numpy(generator.permutation(len(values)))
    held_out = max(1, len(values) // 10)
    return Dataset(
        name="table",
        train=values[order[held_out:]],
        validation=values[order[:held_out]],
        test=None,
        event_shape=schema.event_shape,
        kind="table",
        levels=None,
    )


def _schedule(data: Dataset, steps: int, validations: int, training: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings that make about `steps` updates of a table of this size, and so many validations."""
    rows = len(data.split("train"))
    usual = min(max(rows // 8, _SMALLEST_BATCH), _LARGEST_BATCH)
    batch = whole_number("batch_size", training.get("batch_size", usual), minimum=1)
    epochs = max(1, round(steps / -(-rows // batch)))
    often = max(1, epochs // validations)
    return {"batch_size": batch, "epochs": epochs, "validate_every": often, **training}


def _folder(out: str | PathLike[str] | None) -> Any:
    return tempfile.TemporaryDirectory() if out is None else nullcontext(out)
