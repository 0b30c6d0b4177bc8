"""What the pages of all kinds of runs have in common: facts, configuration, learning curve, histograms."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.report import save_histograms, save_learning_curve
from chainrule.report.page import Page, Section, details, drawn, facts, paragraph, table, text
from chainrule.training import Run

__all__ = ["curve_section", "histogram", "likelihood_section", "run_page"]

#: Epochs that a table of the learning curve shows.
_ROWS = 40


def run_page(
    run: Run, network: LikelihoodModel, sections: Sequence[Section], overview: Sequence[tuple[str, object]]
) -> Page:
    """The page of a run: overview, the sections of its kind, configuration.

    - `overview`: more facts for the beginning, such as the NLL.
    """
    name, data = type(network).__name__, _data_of(run)
    known = [
        ("run", run.folder),
        ("model", f"{name}, {network.num_parameters:,} parameters"),
        ("data", data),
        *overview,
        *_of_training(run),
    ]
    return Page(
        f"{name} on {data.rstrip('/').rpartition('/')[2]}",
        [
            Section("Overview", facts(known)),
            # Bits per dimension mean nothing of densities.
            *curve_section(run, None if network.conditional.support() is None else network.num_variables),
            *sections,
            _configuration(run),
        ],
        "A run of chainrule. This page stands alone: it makes no requests.",
    )


def _data_of(run: Run) -> str:
    """The data's name or file: tables, texts, series and sounds note it in their plan."""
    notes = run.config.get("notes")
    for note in notes.values() if isinstance(notes, dict) else ():
        spec = (note.get("spec") or note.get("data")) if isinstance(note, dict) else None
        if isinstance(spec, str):
            return spec
    return run.data_name


def _of_training(run: Run) -> list[tuple[str, object]]:
    metrics = run.metrics()
    if not metrics:
        return [("training", "no epoch was finished")]
    validated = [record for record in metrics if "validation_nll" in record]
    lines: list[tuple[str, object]] = []
    if validated:
        best = min(validated, key=lambda record: record["validation_nll"])
        lines.append(
            ("validation", f"{best['validation_nll']:.3f} nats in the model's units, epoch {best['epoch']}")
        )
    ended = "" if run.is_finished else "; not finished"
    lines.append(("training", f"{metrics[-1]['epoch']} epochs in {metrics[-1]['seconds']:.1f} s{ended}"))
    return lines


def curve_section(run: Run, num_variables: int | None) -> list[Section]:
    """Loss over epochs, as a picture and in numbers; none where there was a single epoch."""
    metrics = run.metrics()
    validated = [record for record in metrics if "validation_nll" in record]
    if len(metrics) < 2 or not validated:
        return []
    best = min(validated, key=lambda record: record["validation_nll"])
    shown = drawn(
        lambda path: save_learning_curve(metrics, path, num_variables=num_variables),
        f"Training loss and validation NLL over {metrics[-1]['epoch']} epochs; the lowest validation is "
        f"{best['validation_nll']:.2f} nats at epoch {best['epoch']}",
        caption="In the model's units. The marked epoch is the one that was kept.",
    )
    step = math.ceil(len(metrics) / _ROWS)
    rows = [
        (
            record["epoch"],
            _number(record.get("train_loss")),
            _number(record.get("validation_nll")),
            f"{record.get('learning_rate', math.nan):.2g}" if "learning_rate" in record else "-",
            f"{record['seconds']:.1f}",
        )
        for record in metrics[::step]
    ]
    columns = ("epoch", ">training loss", ">validation NLL", ">learning rate", ">seconds")
    every = f", every {step} epochs" if step > 1 else ""
    return [Section("Learning curve", shown + details(f"In numbers{every}", table(columns, rows)))]


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"


def _configuration(run: Run) -> Section:
    parts = []
    for title, name in (("Model", "settings"), ("Training", "training")):
        values = run.config.get(name)
        if isinstance(values, dict):
            rows = [(key, _short(value)) for key, value in values.items()]
            parts.append(f"<h3>{title}</h3>{table(('setting', 'value'), rows, caption=f'{title} settings')}")
    whole = json.dumps(run.config, indent=2, ensure_ascii=False)
    whole = whole if len(whole) < 50_000 else f"{whole[:50_000]}\n... (cut; see config.json)"
    parts.append(details("All of config.json", f"<pre>{text(whole)}</pre>"))
    return Section("Configuration", "".join(parts))


def _short(value: object) -> str:
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= 300 else f"{words[:300]} ..."


def likelihood_section(
    groups: Mapping[str, Any], unit: str, words: str, rows: Sequence[tuple[str, Any]] = ()
) -> Section:
    """Histograms of log p of parts of the data, and their means.

    - `groups`: name -> log p, nats; `unit`: of what, such as "example"; `words`: what there is to see.
    """
    lines = []
    for name, values in groups.items():
        known = np.asarray(values, dtype=np.float64)
        error = known.std(ddof=1) / math.sqrt(len(known)) if len(known) > 1 else math.nan
        lines.append((name, f"{len(known):,}", f"{-known.mean():.3f}", f"{error:.3f}"))
    listed = table(("part", ">number", f">NLL, nats per {unit}", ">± standard error"), lines)
    return Section("Likelihood", histogram(groups, unit) + listed + paragraph(words))


def histogram(groups: Mapping[str, Any], unit: str) -> str:
    """Distributions of log p; what is impossible to the model is left out of the picture."""
    finite = {name: _finite(values) for name, values in groups.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    if not finite:
        raise ChainruleError("every example is impossible to the model; there is nothing to draw.")
    means = ", ".join(f"{name} {values.mean():.1f}" for name, values in finite.items())
    return drawn(
        lambda path: save_histograms(finite, path, title=f"log p of each {unit}"),
        f"Histogram of log p of each {unit} in nats; means: {means}",
    )


def _finite(values: Any) -> Any:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]
