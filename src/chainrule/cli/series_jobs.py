"""`score` and `evaluate` of a run of a time series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.cli.output import print_facts, print_json, print_table, say, show
from chainrule.cli.series_runs import open_series, read_series, series_plan
from chainrule.errors import ChainruleError

if TYPE_CHECKING:
    from chainrule.series import Evaluation

__all__ = ["evaluate_series_run", "score_series"]


def score_series(
    run: str, source: str, out: Path | None, per_variable: bool, overwrite: bool, as_json: bool
) -> None:
    """Write the anomaly score of every step: -log p given all before it, nats in the columns' units."""
    from chainrule.cli.table_files import TableFile, check_table_file

    if out is not None:
        check_table_file(out, source, overwrite=overwrite)
    model = open_series(run)
    scores = model.anomaly_scores(read_series(source))
    if not per_variable:
        scores = scores[[model.time_name, "score"]]
    if out is not None:
        with TableFile(out, overwrite=overwrite) as file:
            file.write(scores)
    found = scores["score"].to_numpy()
    known = ~np.isnan(found)
    if not known.any():
        raise ChainruleError(f"{source}: no step is left to score: the first one of a series is given.")
    oddest = int(np.nanargmax(found))
    summary = {
        "run": run,
        "input": source,
        "steps": len(found),
        "scored": int(known.sum()),
        "mean_nll_per_step": float(found[known].mean()),
        "oddest": {"time": str(scores[model.time_name].iloc[oddest]), "score": float(found[oddest])},
        "out": None if out is None else str(out),
    }
    if as_json:
        rows = scores.astype({model.time_name: str}).to_dict("records") if out is None else None
        print_json(summary | ({} if rows is None else {"scores": rows}))
        return
    if out is None:
        show(scores.to_csv(index=False).rstrip("\n"))
    line = (
        f"{summary['scored']:,} steps: {summary['mean_nll_per_step']:.3f} nats a step; the oddest is "
        f"{scores[model.time_name].iloc[oddest]} with {found[oddest]:.2f}"
    )
    say(line) if out is None else show(f"{line}; written to {out}")


def evaluate_series_run(
    run: str, data: str | None, part: str, steps: int | None, season: int, as_json: bool
) -> None:
    """Likelihood, CRPS and coverage of a part of the series, beside a naive forecast."""
    from chainrule.series import evaluate_series

    model = open_series(run)
    plan = series_plan(Path(run)) if data is None else None
    source = data or (None if plan is None else plan.data)
    if source is None:
        raise ChainruleError(f"{run} does not say what it was trained on; name the series with --data.")
    result = evaluate_series(model, read_series(source), part=part, horizon=steps, season=season)
    if as_json:
        print_json({"run": run, "data": source, **_content(result)})
        return
    _show(result, run, source)


def _content(result: Evaluation) -> dict[str, Any]:
    content = dict(vars(result))
    for name in ("crps_by_step", "naive_crps_by_step"):
        content[name] = {column: values.tolist() for column, values in content[name].items()}
    return content


def _show(result: Evaluation, run: str, source: str) -> None:
    naive = "random walk" if result.season == 1 else f"seasonal naive ({result.season} steps)"
    print_facts(
        [
            ("run", run),
            ("data", f"{source}: {result.steps:,} steps of the {result.part} part, each given all before it"),
            ("NLL", f"{result.nll:.3f} ± {result.standard_error:.3f} nats a step (standard error)"),
            (
                "forecasts",
                f"{result.origins} of {result.horizon} steps, {result.num_paths} paths each; beside a "
                f"{naive} with the errors of the training part",
            ),
        ]
    )
    show()
    rows = [("NLL, nats a step", f"{result.nll:.3f}", _or_dash(result.naive_nll, ".3f"))]
    for name, value in result.crps.items():
        rows.append((f"CRPS of {name}", f"{value:.4g}", f"{result.naive_crps[name]:.4g}"))
    for level, value in result.coverage.items():
        rows.append(
            (f"{100 * level:g} % intervals hold", f"{value:.1%}", f"{result.naive_coverage[level]:.1%}")
        )
    print_table(("on the same steps", ">model", f">{naive}"), rows)


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
