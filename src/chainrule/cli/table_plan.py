"""What to fit to a table, and fitting it: shared by `train` and `detect fit`.

The plan is noted in the run's configuration, so that a run can be resumed, and its rows found again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.names import TABLE_MODELS
from chainrule.cli.output import Interrupted
from chainrule.cli.setting_values import build_model, split_settings
from chainrule.cli.table_rows import Purpose, Rows, is_catalogue_table, row_source, without
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.tables import TableSchema
    from chainrule.tabular import TableModel

__all__ = [
    "NOTE",
    "Parts",
    "TablePlan",
    "check_folder",
    "fit_plan",
    "held_out_rows",
    "noted_plan",
    "parsed_kinds",
    "parts_of",
    "planned",
    "schema_of",
    "table_note",
]

#: Where the notes of a run keep the plan.
NOTE = "table"

#: Settings that are neither the model's nor of training, but of `fit_table`.
_OF_TABLES = ("numeric", "numeric_transform", "steps")
#: Settings of models that may be lists with an entry for each column.
_OF_COLUMNS = ("ordering", "degrees", "adjacency")
_TRANSFORMS = ("standard", "quantile")
#: The share of the rows that calibrate a detector, and the number above which more do not help.
_HELD_OUT, _ENOUGH = 0.2, 100_000


@dataclass(frozen=True)
class TablePlan:
    """Which rows, which columns, which model.

    - `spec`: a path or the name of a catalogue table; `label`: the column of labels
    - `normal_only`: fit on the rows that are labelled so
    - `held_out`: the share of the rows that never train the model; None for `held_out_rows` to say
    - `options`: of `fit_table`, as far as they are not its defaults: numeric, numeric_transform, steps
    - `allow_missing`: holes may come in columns that have none yet
    - `kinds`: of single columns, by name, instead of what would be inferred
    - `rule`, `dependence`, `normal`: of a detector: its rule, what its scores count, the normal label
    """

    spec: str
    purpose: Purpose
    model: str = "made"
    label: str | None = None
    normal_only: str | None = None
    drop: tuple[str, ...] = ()
    held_out: float | None = None
    seed: int = 0
    schema: str | None = None
    allow_missing: bool = False
    kinds: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    rule: tuple[str, float] | None = None
    dependence: float | None = None
    normal: str | None = None

    def note(self) -> dict[str, Any]:
        """What goes into the run's notes."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: Any) -> TablePlan:
        """From the notes of a run, which people may have edited."""
        known = {f.name for f in fields(cls)}
        if not isinstance(note, dict) or not {"spec", "purpose"} <= note.keys() or not note.keys() <= known:
            raise ChainruleError(
                f'config.json: "{NOTE}" in its "notes" is not what chainrule wrote there; restore it, or '
                "fit the table again."
            )
        rule = note.get("rule")
        return cls(**{**note, "drop": tuple(note.get("drop", ())), "rule": rule and tuple(rule)})


def table_note(config: Mapping[str, Any]) -> TablePlan | None:
    """The plan that a run folder's configuration notes, or None where it is of no table."""
    notes = config.get("notes")
    note = notes.get(NOTE) if isinstance(notes, dict) else None
    return None if note is None else TablePlan.from_note(note)


def planned(
    spec: str, purpose: Purpose, *, model: str, values: dict[str, Any], steps: int | None, **rest: Any
) -> TablePlan:
    """A plan of checked settings; `values` are those of `--set`.

    Raises `ChainruleError` for a model that is none of tables, and for settings that are wrong.
    """
    from chainrule.tabular import fitting
    from chainrule.training import training_settings

    if model not in TABLE_MODELS:
        raise unknown_name("model of tables", model, TABLE_MODELS)
    build, defaults = fitting.TABLE_MODELS[model]
    model_class: Any = build
    options = {name: values[name] for name in _OF_TABLES if name in values}
    if steps is not None:
        options["steps"] = steps
    _check_options(options)
    _check_schema(rest.get("schema"))
    others = {name: value for name, value in values.items() if name not in _OF_TABLES}
    settings, training = split_settings(model_class, others)
    if rest.get("schema") is not None and rest.get("kinds"):
        raise ChainruleError("--kind is for an inferred schema; edit the kinds in the --schema file.")
    for name in rest.get("drop", ()):
        if name in rest.get("kinds", {}):
            raise ChainruleError(
                f"column {name!r} has a --kind and is left out by --drop; choose one of them."
            )
    if rest.get("schema") is not None and "numeric_transform" in options:
        raise ChainruleError(
            "--set numeric_transform is for an inferred schema; edit it in the --schema file."
        )
    if "conditional" in settings:
        raise ChainruleError(
            "conditional is not set for tables: every column gets its own; --set numeric=FAMILY is for the "
            "columns that have a density."
        )
    # What is wrong with these is said before a long file is read; the others need its columns.
    early = {n: v for n, v in settings.items() if n not in _OF_COLUMNS or not isinstance(v, list)}
    build_model(model_class, (2,), {**defaults, **early}, 0)
    checked = training_settings(training)
    if "seed" in training:
        rest["seed"] = checked.seed
        training.pop("seed")
    where = spec if is_catalogue_table(spec) else str(Path(spec).absolute()) if Path(spec).exists() else spec
    return TablePlan(where, purpose, model, settings=settings, training=training, options=options, **rest)


def parsed_kinds(pairs: Sequence[str]) -> dict[str, str]:
    """`["zip=categorical"]` as `{"zip": "categorical"}`; `ChainruleError` for what is no kind.

    Whether there is such a column only the table can tell.
    """
    from chainrule.tables.inference_options import KINDS

    kinds = {}
    for pair in pairs:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name:
            raise ChainruleError(
                f"--kind {pair!r} says no kind; expected COLUMN=KIND, such as zip=categorical."
            )
        if kind.strip() not in KINDS:
            raise ChainruleError(f"--kind {pair}: {unknown_name('kind', kind.strip(), KINDS)}")
        kinds[name] = kind.strip()
    return kinds


def _check_options(options: Mapping[str, Any]) -> None:
    """`ChainruleError` for what `fit_table` would refuse only after a long file was read."""
    from chainrule.conditionals import resolve_conditional

    if "steps" in options:
        steps = options["steps"]
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ChainruleError(f"--steps must be a whole number of at least 1, not {steps}.")
    if "numeric" in options:
        numeric = options["numeric"]
        if not isinstance(numeric, str | dict):
            raise ChainruleError(f"--set numeric={numeric}: expected a family, such as gaussian_mixture.")
        if resolve_conditional(numeric).support() is not None:
            raise ChainruleError(f"--set numeric={numeric}: that is no density; try gaussian_mixture.")
    if "numeric_transform" in options and options["numeric_transform"] not in _TRANSFORMS:
        raise unknown_name("numeric_transform", str(options["numeric_transform"]), _TRANSFORMS)


def _check_schema(path: str | None) -> None:
    """`ChainruleError` for what is no schema, before a long file is read."""
    if path is None:
        return
    from chainrule.tables import TableSchema

    advice = "--schema takes an edited copy of the schema.json that a run folder holds"
    if Path(path).is_file() and Path(path).suffix.lower() != ".json":
        raise ChainruleError(f"--schema {path} is not a .json file; {advice}.")
    try:
        TableSchema.load(path)
    except ChainruleError as error:
        raise ChainruleError(f"{error}; {advice}.") from None


# ---------------------------------------------------------------- the rows of a plan


@dataclass(frozen=True)
class Parts:
    """The rows of a plan: what the model may learn from, what is held out, and what was left out.

    `others`: rows with another label than `normal_only`, none without it.
    """

    fit: Rows
    held: Rows
    others: Rows | None
    rows: int  # of the table


def parts_of(plan: TablePlan) -> Parts:
    """Read the table and part its rows, the same way every time."""
    import numpy as np

    whole = row_source(plan.spec, plan.purpose, label=plan.label).read()
    whole = Rows(without(whole.frame, plan.drop), whole.labels)
    total = len(whole.frame)
    places, others = np.arange(total), None
    if plan.normal_only is not None:
        places, rest = _labelled_as(whole, plan.normal_only)
        others = _taken(whole, rest)
    count = held_out_rows(plan, len(places))
    order = np.random.default_rng(plan.seed).permutation(len(places))
    held, fit = np.sort(order[:count]), np.sort(order[count:])
    return Parts(_taken(whole, places[fit]), _taken(whole, places[held]), others, total)


def held_out_rows(plan: TablePlan, rows: int) -> int:
    """How many of so many rows are held out; at least two are left to fit on where there are two.

    For a detector, unless a share was asked for: a fifth, but enough for its level where that leaves half
    of the rows to fit on, and no more than ever help.
    """
    count = round((_HELD_OUT if plan.held_out is None else plan.held_out) * rows)
    if plan.held_out is None and plan.rule is not None:
        count = max(min(count, _ENOUGH), min(_needed(*plan.rule), rows // 2))
    return max(0, min(count, rows - 2))


def _needed(rule: str, value: float) -> int:
    from chainrule.detection import rows_needed

    return rows_needed(value) if rule == "conformal" else 2


def _labelled_as(rows: Rows, normal: str) -> tuple[Any, Any]:
    import numpy as np

    if rows.labels is None:
        raise ChainruleError(
            f"--normal-only {normal} needs labels: name the column that holds them with --label COLUMN."
        )
    chosen = rows.labels == normal
    if not chosen.any():
        found = [str(label) for label in np.unique(rows.labels) if label][:10]
        raise ChainruleError(
            f"--normal-only {normal}: no row is labelled so; the labels are: {', '.join(found)}."
        )
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _taken(rows: Rows, places: Any) -> Rows:
    return Rows(rows.frame.iloc[places], None if rows.labels is None else rows.labels[places])


def schema_of(plan: TablePlan, parts: Parts) -> TableSchema:
    """What the columns are: from a file, or inferred from the rows that the model learns from.

    Only whether a column has holes is looked up in the rows that are held out, too. Raises `ChainruleError`
    for a cell in any row that the schema cannot take: before training, not after it.
    """
    from chainrule.tables import TableSchema

    schema = _inferred(plan, parts) if plan.schema is None else TableSchema.load(plan.schema)
    for rows in (parts.held, parts.others):
        if rows is not None:
            schema.encode(rows.frame)
    return schema


def _inferred(plan: TablePlan, parts: Parts) -> TableSchema:
    from chainrule.tables import infer_schema

    transform = {name: plan.options[name] for name in ("numeric_transform",) if name in plan.options}
    schema = infer_schema(
        parts.fit.frame,
        **transform,
        # States of their own make better synthetic tables, densities better anomaly scores.
        grids=plan.purpose == "train",
        missing="always" if plan.allow_missing else "auto",
        kinds=plan.kinds,
    )
    holes = parts.held.frame.isna().any()
    if parts.others is not None:
        holes = holes | parts.others.frame.isna().any()
    columns = [
        column.model_copy(update={"missing": True}) if holes[column.name] else column
        for column in schema.columns
    ]
    return schema.model_copy(update={"columns": tuple(columns)})


# ---------------------------------------------------------------- fitting


def fit_plan(
    plan: TablePlan,
    parts: Parts,
    schema: TableSchema,
    out: Path,
    *,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    again: str,
) -> TableModel:
    """Train the model of a plan into the run folder `out`; `again` is the command that resumes it."""
    from chainrule.tabular import fit_table

    # What nobody chose is left to `fit_table`, whose defaults are the ones that were measured.
    chosen = {name: plan.options[name] for name in ("numeric", "steps") if name in plan.options}
    try:
        with default_interrupts():
            return fit_table(
                parts.fit.frame,
                out=out,
                schema=schema,
                model=plan.model,
                model_settings=plan.settings,
                seed=plan.seed,
                marginals=plan.dependence is not None and plan.dependence < 1,
                overwrite=overwrite,
                resume=resume,
                progress=not quiet,
                notes={NOTE: plan.note()},
                **chosen,
                **plan.training,
            )
    except KeyboardInterrupt:
        raise Interrupted(f"`{again}` continues from the last checkpoint.") from None


def check_folder(out: Path, *, overwrite: bool, resume: bool) -> None:
    """Say before a long table is read that the run folder is taken."""
    if resume and overwrite:
        raise ChainruleError("--resume goes on with a run and --overwrite deletes it; choose one of them.")
    if not (resume or overwrite) and out.exists() and (out.is_file() or any(out.iterdir())):
        raise ChainruleError(
            f"{out} already exists; --resume goes on with that run, --overwrite replaces it, or choose "
            "another --out."
        )


def noted_plan(out: Path) -> TablePlan | None:
    """The plan of the run in a folder, None where there is no run of a table."""
    from chainrule.saving import CONFIG_NAME, read_config

    return table_note(read_config(out)) if (out / CONFIG_NAME).exists() else None
