"""`evaluate`, `score`, `sample` and `fill` for a run of a table."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.options import chosen_seed
from chainrule.cli.output import counting, print_facts, print_json, print_table, say, show
from chainrule.cli.table_files import TableFile, check_table_file
from chainrule.cli.table_rows import CHUNK_ROWS, is_catalogue_table, row_source
from chainrule.cli.table_runs import TableRun, open_table_run, warn_of_strangers
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

__all__ = ["evaluate_table", "fill_table", "sample_table", "score_table"]

_MOST_COLUMNS = 60


# ---------------------------------------------------------------- evaluate


def evaluate_table(run: str, data: str | None, split: str, limit: int | None, as_json: bool) -> None:
    """The exact NLL of rows that did not train the model, in nats and the columns' units."""
    opened = open_table_run(run)
    began = time.perf_counter()
    frame, what = _rows_to_evaluate(opened, data, split)
    available = len(frame)
    if limit is not None and limit < available:
        from chainrule.training.batches import spread_rows

        frame = frame.iloc[spread_rows(available, limit).numpy()]
    if not len(frame):
        raise ChainruleError(f"{what} has no rows.")
    warn_of_strangers(opened, frame.iloc[:CHUNK_ROWS])
    cells = _cells(opened, frame)
    nll = -cells.sum(1)
    columns = [str(name) for name in opened.table.schema.names]
    content = {
        "run": run,
        "model": opened.name,
        "data": what,
        "examples": len(frame),
        "available": available,
        "nll": float(nll.mean()),
        "standard_error": float(nll.std(ddof=1) / math.sqrt(len(nll))) if len(nll) > 1 else math.nan,
        "unit": "nats per row, densities in the columns' own units",
        "nll_per_column": dict(zip(columns, (-cells.mean(0)).tolist(), strict=True)),
        "seconds": time.perf_counter() - began,
    }
    if as_json:
        print_json(content)
        return
    of_all = f" of {available:,}, spread evenly" if len(frame) < available else ""
    error = content["standard_error"]
    print_facts(
        [
            ("model", f"{opened.name} ({run})"),
            ("data", f"{len(frame):,}{of_all} rows: {what}"),
            ("NLL", f"{content['nll']:.3f} ± {error:.3f} nats a row (standard error)"),
            ("", "densities of numbers are per unit of their column, so it may be below 0"),
            ("time", f"{content['seconds']:.1f} s"),
        ]
    )
    shown = sorted(content["nll_per_column"].items(), key=lambda item: -item[1])[:_MOST_COLUMNS]  # type: ignore[attr-defined]
    show("\nMean surprise of each column given those before it:")
    print_table(("column", ">nats"), [(name, f"{value:.3f}") for name, value in shown])


def _rows_to_evaluate(opened: TableRun, data: str | None, split: str) -> tuple[DataFrame, str]:
    """The rows, and what they are, for people."""
    from chainrule.cli.table_plan import parts_of

    plan = opened.plan
    if data is not None:
        catalogue = is_catalogue_table(data)
        purpose = "train" if plan is None else plan.purpose
        chosen = split if catalogue else None
        source = row_source(data, purpose, split=chosen, schema=opened.table.schema)
        return source.read().frame, source.name
    if plan is None:
        raise ChainruleError(f"{opened.source} does not say what it was fitted to; name a table with --data.")
    if is_catalogue_table(plan.spec) and split != "train":
        source = row_source(plan.spec, plan.purpose, split=split)
        return source.read().frame, source.name
    if split not in ("train", "test"):
        raise ChainruleError(f"--split {split}: the rows of {plan.spec} are parted into train and test.")
    parts = parts_of(plan)
    _warn_if_changed(opened, len(parts.fit.frame), plan.spec)
    if split == "train":
        return parts.fit.frame, f"what {plan.spec} gave to fit on"
    if not len(parts.held.frame):
        raise ChainruleError(
            f"{opened.source} kept no rows back; name a table with --data, or --split train."
        )
    return parts.held.frame, f"what was kept back of {plan.spec}"


def _warn_if_changed(opened: TableRun, rows: int, spec: str) -> None:
    recorded = opened.opened.config.get("examples")
    if isinstance(recorded, dict) and sum(recorded.values()) != rows:
        say(f"warning: {spec} changed since {opened.source} was fitted: it has another number of rows")


def _cells(opened: TableRun, frame: DataFrame) -> NDArray[Any]:
    """log p of every cell, nats, `(rows, D)`."""
    import numpy as np

    parts = []
    with counting("evaluating") as on_progress:
        for start in range(0, len(frame), CHUNK_ROWS):
            parts.append(opened.table.log_prob_per_column(frame.iloc[start : start + CHUNK_ROWS]))
            on_progress(min(start + CHUNK_ROWS, len(frame)), len(frame))
    return np.concatenate(parts)


# ---------------------------------------------------------------- score


def score_table(
    run: str,
    table: str,
    out: Path | None,
    split: str | None,
    per_variable: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """log p of every row, and the surprise of every cell on request, streamed."""
    if out is not None:
        check_table_file(out, table, overwrite=overwrite)
    elif per_variable:
        raise ChainruleError("--per-variable needs --out FILE: a .csv or .parquet with a column for each.")
    elif as_json:
        raise ChainruleError("--json needs --out FILE for the scores of a table; it prints the summary.")
    opened = open_table_run(run)
    purpose = "train" if opened.plan is None else opened.plan.purpose
    split = split or ("test" if is_catalogue_table(table) else None)
    source = row_source(table, purpose, split=split, schema=opened.table.schema)
    rows, total, impossible = 0, 0.0, 0
    began = time.perf_counter()
    with _Sink(out, overwrite) as sink, counting("scoring", enabled=out is not None) as on_progress:
        expected = source.total
        for part in source.chunks():
            if not rows:
                warn_of_strangers(opened, part.frame)
            scored = _scored(opened, part.frame, rows, per_variable)
            sink.write(scored)
            finite = scored["log_prob"][scored["log_prob"] > -math.inf]
            rows, total = rows + len(scored), total + float(finite.sum())
            impossible += len(scored) - len(finite)
            on_progress(rows, expected)
    possible = rows - impossible
    summary = {
        "run": run,
        "model": opened.name,
        "input": source.name,
        "examples": rows,
        "mean_log_prob": total / possible if possible else math.nan,
        "impossible": impossible,
        "out": None if out is None else str(out),
        "seconds": time.perf_counter() - began,
    }
    if as_json:
        print_json(summary)
        return
    never = f", without {impossible:,} impossible ones" if impossible else ""
    line = f"{rows:,} rows: mean log p(row) {summary['mean_log_prob']:.3f} nats{never}"
    say(line) if out is None else show(f"{line}; written to {out}")


def _scored(opened: TableRun, frame: DataFrame, first: int, per_variable: bool) -> DataFrame:
    """A line for each row: its number, log p, and the surprise of each column on request."""
    import numpy as np
    import pandas as pd

    row = np.arange(first, first + len(frame))
    if not per_variable:
        return pd.DataFrame({"row": row, "log_prob": opened.table.log_prob(frame)})
    cells = opened.table.log_prob_per_column(frame)
    names = [f"surprise_{name}" for name in opened.table.schema.names]
    head = pd.DataFrame({"row": row, "log_prob": cells.sum(1)})
    return pd.concat([head, pd.DataFrame(0.0 - cells, columns=names)], axis=1)


class _Sink:
    """Where scores go: a file, or CSV on stdout."""

    def __init__(self, out: Path | None, overwrite: bool) -> None:
        self._file = None if out is None else TableFile(out, overwrite=overwrite)
        self._begun = False

    def __enter__(self) -> _Sink:
        return self

    def write(self, frame: DataFrame) -> None:
        if self._file is not None:
            self._file.write(frame)
        else:
            frame.to_csv(sys.stdout, header=not self._begun, index=False)
            self._begun = True

    def __exit__(self, *error: Any) -> None:
        if self._file is not None:
            self._file.__exit__(*error)


# ---------------------------------------------------------------- sample


def sample_table(
    run: str,
    out: Path,
    number: int,
    temperature: float,
    like_seen: bool,
    seed: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """A synthetic table with the columns and types of the original."""
    check_table_file(out, overwrite=overwrite)
    opened = open_table_run(run)
    seed = chosen_seed(seed)
    began = time.perf_counter()
    frame = opened.table.sample(number, seed=seed, temperature=temperature, like_seen=like_seen)
    seconds = time.perf_counter() - began
    with TableFile(out, overwrite=overwrite) as file:
        file.write(frame)
    if as_json:
        print_json(
            {
                "run": run,
                "model": opened.name,
                "out": str(out),
                "number": number,
                "columns": [str(name) for name in frame.columns],
                "temperature": temperature,
                "like_seen": like_seen,
                "seed": seed,
                "seconds": seconds,
            }
        )
        return
    print_facts(
        [
            (
                "samples",
                f"{number:,} rows of {len(frame.columns)} columns, temperature {temperature:g}, "
                f"{seconds:.2f} s",
            ),
            ("seed", f"{seed}  (--seed {seed} draws them again)"),
            ("file", str(out)),
        ]
    )


# ---------------------------------------------------------------- fill


def fill_table(
    run: str,
    table: str,
    out: Path,
    split: str | None,
    method: str,
    particles: int,
    seed: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """The table with its empty cells drawn from p(empty given known); other columns come back as they are."""
    check_table_file(out, table, overwrite=overwrite)
    opened = open_table_run(run)
    purpose = "train" if opened.plan is None else opened.plan.purpose
    split = split or ("test" if is_catalogue_table(table) else None)
    source = row_source(table, purpose, split=split, schema=opened.table.schema)
    frame = source.read().frame
    known = {str(name) for name in opened.table.schema.names}
    holes = frame[[name for name in frame.columns if str(name) in known]].isna()
    if len(known) == holes.shape[1] and not holes.to_numpy().any():
        raise ChainruleError(f"{source.name} has no empty cell in the columns of {run}: nothing to fill in.")
    seed = chosen_seed(seed)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below, in a line of our own
        filled, info = opened.table.fill(
            frame,
            seed=seed,
            num_particles=particles,
            method=method,  # type: ignore[arg-type]
            return_info=True,
        )
    seconds = time.perf_counter() - began
    with TableFile(out, overwrite=overwrite) as file:
        file.write(filled)
    by_column = {str(name): int(count) for name, count in holes.sum().items() if count}
    size = info.effective_sample_size
    approximate = size[size.isfinite()]
    content = {
        "run": run,
        "model": opened.name,
        "input": source.name,
        "out": str(out),
        "rows": len(frame),
        "rows_filled": int(holes.any(axis=1).sum()),
        "cells_filled": by_column,
        "method": dict(Counter(m for m, hole in zip(info.method, holes.any(axis=1), strict=True) if hole)),
        "particles": particles,
        "least_effective": float(approximate.min()) if len(approximate) else None,
        "median_effective": float(approximate.median()) if len(approximate) else None,
        "seed": seed,
        "seconds": seconds,
    }
    _report_fill(content, info, particles, as_json)


def _report_fill(content: dict[str, Any], info: Any, particles: int, as_json: bool) -> None:
    from chainrule.sampling import warning_of

    warning = warning_of(info, particles)
    if warning is not None:
        say(f"chainrule: warning: {warning}")
    if as_json:
        print_json(content)
        return
    counts = list(content["cells_filled"].items())
    listed = ", ".join(f"{name} {count:,}" for name, count in counts[:8])
    more = f", and {len(counts) - 8} more columns" if len(counts) > 8 else ""
    facts = [
        (
            "filled",
            f"{sum(content['cells_filled'].values()):,} cells in {content['rows_filled']:,} of "
            f"{content['rows']:,} rows, {content['seconds']:.2f} s",
        ),
        ("columns", f"{listed}{more}"),
        ("method", ", ".join(f"{count:,} rows {method}" for method, count in content["method"].items())),
    ]
    if content["least_effective"] is not None:
        facts.append(
            (
                "particles",
                f"{particles}; effective: median {content['median_effective']:.1f}, least "
                f"{content['least_effective']:.1f}",
            )
        )
    facts.append(("seed", f"{content['seed']}  (--seed {content['seed']} fills the same again)"))
    facts.append(("file", content["out"]))
    print_facts(facts)
