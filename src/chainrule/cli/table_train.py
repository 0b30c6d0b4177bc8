"""`chainrule train` on a table: telling tables from arrays of 0 and 1, fitting, and what came out."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.names import DATASETS, TABLES
from chainrule.cli.output import print_facts, print_json, print_table, say, show
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.cli.table_plan import Parts, TablePlan
    from chainrule.tabular import TableModel

__all__ = ["TableOptions", "is_table", "train_table"]

#: Kept back of a person's own file, for `evaluate`.
_TEST = 0.1
#: How much of a .csv is looked at to tell 0 / 1 from a table.
_LOOKED_AT = 1 << 16
_BINARY = {"0", "1", "0.0", "1.0"}
#: Text that only `chainrule.tables` reads, whatever it holds.
_TABLE_ENDINGS = (".parquet", ".pq", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".data.gz")


@dataclass(frozen=True)
class TableOptions:
    """What the options of `train` say about a table."""

    drop: tuple[str, ...] = ()
    schema: str | None = None
    allow_missing: bool = False
    kinds: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def any_given(self) -> bool:
        """Whether one was given that only tables know."""
        return bool(self.drop or self.schema or self.allow_missing or self.kinds)


def is_table(spec: str, *, forced: bool, read_as_levels: bool) -> bool:
    """Whether `--data` names a table, to be modelled column by column, and not an array of levels.

    - `forced`: --table says so; `read_as_levels`: an option for reading arrays says the contrary.

    A .csv of nothing but 0 and 1 is an array, as ever.
    """
    if spec in DATASETS:
        if forced and spec not in TABLES:
            raise ChainruleError(f"data set {spec!r} is no table of columns; leave --table out.")
        return spec in TABLES
    if forced or read_as_levels:
        return forced
    path, name = Path(spec), spec.lower()
    if not path.is_file():
        return False
    if name.endswith(".npz"):
        return "X" in _arrays_of(path)
    if name.endswith((".csv", ".data")):
        return not _only_binary(path)
    return name.endswith(_TABLE_ENDINGS)


def _arrays_of(path: Path) -> list[str]:
    from chainrule.data.formats import npz_members

    return list(npz_members(path))


def _only_binary(path: Path) -> bool:
    """Whether the beginning of a text file is 0 and 1, under a header or not; empty files count as that."""
    with path.open("rb") as stream:
        sample = stream.read(_LOOKED_AT)
    lines = [line for line in sample.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    if len(sample) == _LOOKED_AT and len(lines) > 1:
        lines = lines[:-1]  # cut off
    rows = [_cells(line) for line in lines]
    if len(rows) > 1 and _is_header(rows[0]):
        rows = rows[1:]
    return all(cell in _BINARY for row in rows for cell in row)


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in ",;\t" if mark in line), None)
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _is_header(cells: list[str]) -> bool:
    """Whether these are names: words, or the numbers 0, 1, 2 ... that pandas writes over columns."""
    words = not any(cell.replace(".", "", 1).lstrip("+-").isdigit() for cell in cells)
    return words or (len(cells) > 2 and cells == [str(i) for i in range(len(cells))])


# ---------------------------------------------------------------- training


def train_table(
    model: str | None,
    data: str | None,
    out: Path,
    options: TableOptions,
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit a table, or go on with the run in `out`; prints what came out."""
    from chainrule.cli.table_plan import check_folder, fit_plan, noted_plan, parts_of, schema_of

    check_folder(out, overwrite=overwrite, resume=resume)
    plan = noted_plan(out) if resume else None
    plan = _new_plan(model, data, options) if plan is None else _resumed(plan, out, model, data, options)
    parts = parts_of(plan)
    columns = schema_of(plan, parts)
    if not quiet:
        if data is not None and data not in DATASETS:
            say(f"{data} is modelled as a table: a family for every column")
        for notice in columns.notices:
            say(f"note: {notice}")
    fitted = fit_plan(
        plan,
        parts,
        columns,
        out,
        overwrite=overwrite,
        resume=resume,
        quiet=quiet,
        again=f"chainrule train --resume --out {shlex.quote(str(out))}",
    )
    _report(plan, parts, fitted, out, quiet, as_json)


def _new_plan(model: str | None, data: str | None, options: TableOptions) -> TablePlan:
    from chainrule.cli.table_plan import parsed_kinds, planned

    if model is None:
        raise ChainruleError("MODEL is missing: name what to train, such as made (see `chainrule models`).")
    if data is None:
        raise ChainruleError("--data is missing: name a table of `chainrule datasets`, or a file.")
    return planned(
        data,
        "train",
        model=model,
        values=options.values,
        steps=None,
        drop=options.drop,
        schema=None if options.schema is None else str(Path(options.schema).absolute()),
        allow_missing=options.allow_missing,
        kinds=parsed_kinds(options.kinds),
        held_out=0.0 if data in TABLES else _TEST,
    )


def _resumed(
    plan: TablePlan, out: Path, model: str | None, data: str | None, options: TableOptions
) -> TablePlan:
    from chainrule.cli.table_runs import resuming

    if plan.purpose != "train":
        raise ChainruleError(
            f"{out} was begun by `chainrule detect fit`; resume it with {resuming(plan, out)}."
        )
    if model not in (None, plan.model):
        raise ChainruleError(f"{out} is a run of {plan.model}, not of {model}; choose another --out.")
    if data is not None and data != plan.spec and str(Path(data).absolute()) != plan.spec:
        raise ChainruleError(f"{out} is a run on {plan.spec}, not on {data}; choose another --out.")
    if options.any_given or options.values:
        raise ChainruleError(
            f"{out} goes on with the options that it was begun with; leave --set, --drop, --schema, --kind "
            "and --allow-missing out, or choose another --out."
        )
    return plan


def _report(plan: TablePlan, parts: Parts, fitted: TableModel, out: Path, quiet: bool, as_json: bool) -> None:
    from chainrule import report
    from chainrule.training import Run

    run = Run(out)
    metrics = run.metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    # The model is validated on what it sees; the slopes bring that into the units of the columns.
    shift = float(fitted.schema.log_jacobian(parts.fit.frame).sum(1).mean())
    nll = best["validation_nll"] - shift
    pictures = []
    if len(metrics) > 1:
        picture = report.save_learning_curve(
            metrics,
            out / "learning_curve.png",
            title=f"{plan.model} on {Path(plan.spec).name}",
            num_variables=fitted.model.num_variables,
            overwrite=True,
        )
        pictures.append(picture.name)
    described = fitted.schema.describe()
    if as_json:
        print_json(
            {
                "run": str(out),
                "model": plan.model,
                "data": plan.spec,
                "parameters": fitted.model.num_parameters,
                "rows": {"fitted": len(parts.fit.frame), "kept_back": len(parts.held.frame)},
                "columns": described.to_dict("records"),
                "notices": list(fitted.schema.notices),
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_nll": nll,
                "seconds": metrics[-1]["seconds"],
                "pictures": pictures,
            }
        )
        return
    print_table(tuple(described.columns), described.head(60).itertuples(index=False, name=None))
    kept = f"; {len(parts.held.frame):,} kept back to evaluate on" if len(parts.held.frame) else ""
    print_facts(
        [
            ("run", str(out)),
            ("model", f"{plan.model}, {fitted.model.num_parameters:,} parameters"),
            ("table", f"{len(parts.fit.frame):,} rows, {len(fitted.schema.columns)} columns{kept}"),
            *[("note", notice) for notice in fitted.schema.notices if quiet],  # else they were said before
            ("validation", f"about {nll:.2f} nats a row in the columns' units, epoch {best['epoch']}"),
            ("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    show("\nNext:")
    show(f"  chainrule evaluate {shlex.quote(str(out))}")
    show(f"  chainrule sample {shlex.quote(str(out))} -n 1000 --out synthetic.csv")
    if not math.isfinite(nll):
        say("warning: some rows are impossible to the model")
