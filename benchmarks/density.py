"""Densities of UCI tables by the protocol of the RNADE paper, beside what it published.

    python benchmarks/density.py [--sets winequality-red ...] [--models made rnade] [--threads 2]
    python benchmarks/density.py --pages        # only write the pages again, from the results there are

Uria et al. 2013, section 5: ten folds, each in turn the test part; columns normalised by the training part's mean
and standard deviation, and densities are in those units; columns of discrete values, and one of each pair with a
correlation above 0.98, removed (`TableDataset.for_density`). The fold after the test part is validation: it
selects the weights, and with them how long to train. One recipe for all tables.

Each fold is kept in a file of JSON lines as soon as it is there, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import RESULTS, write

from chainrule.conditionals import Conditional
from chainrule.data import CATALOGUE, Dataset, fold, load_table
from chainrule.model import AutoregressiveModel
from chainrule.models import MADE, NADE
from chainrule.tables import infer_schema
from chainrule.training import Run, fit

SETS = ("winequality-red", "winequality-white", "housing", "parkinsons")
FOLDS = 10
FAMILY = {"name": "gaussian_mixture", "components": 10, "min_scale": 1e-3}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "densities.md"

#: Model, its settings, and those of training. `updates` says how many, whatever the number of rows.
RECIPES: dict[str, tuple[type[AutoregressiveModel], dict[str, Any], dict[str, Any]]] = {
    "made": (
        MADE,
        {"hidden": [256, 256], "residual": True, "direct": True, "dropout": 0.2},
        {"updates": 10_000, "learning_rate": 3e-3, "weight_decay": 0.1, "ema_decay": 0.998},
    ),
    "rnade": (
        NADE,
        {"hidden": 100},
        {"updates": 10_000, "learning_rate": 1e-2, "weight_decay": 0.05, "ema_decay": 0.998},
    ),
}
NAMES = {"made": "MADE-MoG, here", "rnade": "RNADE-MoG, here"}
_VALIDATIONS = 60


# ---------------------------------------------------------------- one fold


def prepared(name: str, index: int) -> Dataset:
    """A fold, normalised by the rows that are not test."""
    table = fold(load_table(name).for_density(), index, FOLDS)
    rest = pd.concat([table.train, table.validation], ignore_index=True)
    numeric = dict.fromkeys(table.columns, "numeric")
    schema = infer_schema(rest, grids=False, numeric_transform="standard", kinds=numeric)
    parts = {
        split: torch.from_numpy(schema.encode(table.split(split), dtype=np.float32))
        for split in ("train", "validation", "test")
    }
    return Dataset(name=name, event_shape=schema.event_shape, kind="table", levels=None, **parts)


def measure(name: str, index: int, kind: str, share: float = 1.0) -> dict[str, Any]:
    """Train on one fold, and look at its test part once."""
    data = prepared(name, index)
    build, settings, training = RECIPES[kind]
    training = dict(training)
    updates = max(1, round(share * training.pop("updates")))
    epochs = max(1, updates // math.ceil(len(data.split("train")) / 100))
    torch.manual_seed(index)
    model = build(data.event_shape, conditional=_family(), **settings)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            data,
            folder,
            overwrite=True,
            progress=False,
            seed=index,
            epochs=epochs,
            validate_every=max(1, epochs // _VALIDATIONS),
            **training,
        )
        records = [record for record in Run(folder).metrics() if "validation_nll" in record]
    seconds = time.perf_counter() - start
    with torch.no_grad():
        log_prob = model.double().log_prob(data.split("test").double())
    best = min(records, key=lambda record: record["validation_nll"])
    return {
        "log_prob": log_prob.mean().item(),
        "validation_log_prob": -best["validation_nll"],
        "best_epoch": best["epoch"],
        "epochs": epochs,
        "test_rows": len(log_prob),
        "parameters": model.num_parameters,
        "seconds": seconds,
    }


def _family() -> Conditional:
    from chainrule.conditionals import resolve_conditional

    return resolve_conditional(FAMILY)


class Cache:
    """Results of folds as JSON lines; the last line of a key counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._known = {self._key(entry): entry for entry in map(json.loads, lines)}

    def result(self, share: float, **job: Any) -> dict[str, Any]:
        """The fold that is there, or a new one, which is kept."""
        _, settings, training = RECIPES[job["model"]]
        job = {**job, "recipe": [settings, training, FAMILY, share]}
        known = self._known.get(self._key(job))
        if known is None:
            known = {**job, **measure(job["set"], job["fold"], job["model"], share)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known) + "\n")
        return known

    @staticmethod
    def _key(entry: dict[str, Any]) -> str:
        return json.dumps([entry[name] for name in ("set", "fold", "model", "recipe")], sort_keys=True)


# ---------------------------------------------------------------- pages


def summary(folds: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean of the folds' mean log-likelihoods, and its standard error over the folds."""
    values = [entry["log_prob"] for entry in folds]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def table(entries: list[dict[str, Any]]) -> str:
    """A line for each model, a column for each table; the best of a column in bold."""
    sets = list(dict.fromkeys(entry["set"] for entry in entries))
    published = list(dict.fromkeys(result.model for name in sets for result in CATALOGUE[name].published))
    lines: dict[str, list[tuple[float, str]]] = {}
    for model in published:
        found = [[r for r in CATALOGUE[name].published if r.model == model] for name in sets]
        lines[f"{model}, published"] = [
            (-own[0].nll, f"{-own[0].nll:.2f}") if own else (-math.inf, "") for own in found
        ]
    for kind, name in NAMES.items():
        row = []
        for of_set in sets:
            folds = [e for e in entries if (e["set"], e["model"]) == (of_set, kind)]
            mean, error = summary(folds) if folds else (-math.inf, math.nan)
            shown = f"{mean:.2f} (1 fold)" if len(folds) == 1 else f"{mean:.2f} ± {error:.2f}"
            row.append((mean, shown if folds else ""))
        lines[name] = row
    best = [max(row[i][0] for row in lines.values()) for i in range(len(sets))]
    text = [f"| model | {' | '.join(sets)} |", f"|---|{'---:|' * len(sets)}"]
    for name, row in lines.items():
        cells = [f"**{cell}**" if value == best[i] else cell for i, (value, cell) in enumerate(row)]
        text.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(text)


def sizes(entries: list[dict[str, Any]]) -> str:
    """Columns, rows and parameters of each table."""
    lines = [
        "| table | rows | columns | parameters: MADE | RNADE | minutes, folds run |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(entry["set"] for entry in entries):
        own = [entry for entry in entries if entry["set"] == name]
        parameters = {entry["model"]: f"{entry['parameters']:,}" for entry in own}
        known = CATALOGUE[name]
        lines.append(
            f"| {name} | {known.splits['train']:,} | {len(known.density_columns)} "
            f"| {parameters.get('made', '')} | {parameters.get('rnade', '')} "
            f"| {sum(entry['seconds'] for entry in own) / 60:.0f} |"
        )
    return "\n".join(lines)


DOCUMENT = """# Densities of real tables

Mean test log-likelihood of a row in nats (higher is better), by the protocol of the RNADE paper (Uria, Murray and
Larochelle 2013, "RNADE: the real-valued neural autoregressive density-estimator", table 1), beside what it
published. ± is the standard error over the folds, which mostly says how folds differ. Where it says *(1 fold)*, only the
first of ten was run, and the number is no more than a first look: folds of these small tables differ by a nat.

{table}

{measured}

## The protocol

- Ten folds of the shuffled rows, each in turn the test part (`chainrule.data.fold`); means over the folds. Which rows
  made up which fold of the paper is not published, so folds differ: compare with the standard errors in mind.
- Columns of discrete values are left out, and one of each pair with a correlation above 0.98
  (`TableDataset.for_density`; `chainrule datasets NAME` lists them and says what was a guess: for *housing* and
  *parkinsons* the paper prints how many columns were left, not which, so **those two tables may be of other columns
  than the paper's**).
- Every column is normalised by the mean and standard deviation of the rows that are not test, and densities are in
  those units: `numeric_transform="standard"`, without the Jacobian. log p in a table's own units, as `chainrule
  score` gives it, is lower by the sum of the logs of the standard deviations.
- The fold after the test part is validation: it selects the weights and so how long to train. The test part is looked
  at once.

The published values are quoted from memory with high confidence, marked *memory (high)* in the catalogue; the paper
itself was not at hand when they were written down.

## The recipe

One for all tables. A mixture of 10 Gaussians for every conditional, with learned weights and scales of at least 0.001
of a column's standard deviation.

| model | settings | training |
|---|---|---|
{recipes}

Batches of 100 rows, cosine decay of the learning rate, averaged weights. Dropout matters most: these are tables of
500 to 6,000 rows, and without it the likelihood of the training rows runs away from that of the test rows.

{sizes}

```bash
python benchmarks/density.py                      # all folds; goes on where it was stopped
```

In code, the normalised columns and what they are worth in nats; for a fold the table is
`fold(load_table("winequality-red").for_density(), 0)`:

```python
from chainrule.data import load_table
from chainrule.tables import infer_schema

table = load_table("wine")
schema = infer_schema(
    table.train, grids=False, numeric_transform="standard", kinds=dict.fromkeys(table.columns, "numeric")
)
conditional = schema.conditional(numeric={{"name": "gaussian_mixture", "components": 10}})
print(f"{{len(schema.columns)}} columns, {{conditional.num_params}} parameters each")
shift = schema.log_jacobian(table.test)[0].sum()
print(f"log p in the table's own units: {{shift:+.2f}} nats")
```

```output
13 columns, 30 parameters each
log p in the table's own units: -3.95 nats
```

`grids=False` gives every column a density even where its values lie on a grid such as 0.00, 0.01, ...: without it
such columns get a probability for each point, which no published density could be compared with. It is also why
these numbers flatter every model a little: wine is measured to a digit or two, and a density may rise over each digit.
"""


def document(entries: list[dict[str, Any]], header: dict[str, Any]) -> str:
    """The page of docs."""
    recipes = []
    for kind, (build, settings, training) in RECIPES.items():
        recipes.append(
            f"| {NAMES[kind].split(',')[0]} (`{build.__name__}`) | {_listed(settings)} | {_listed(training)} |"
        )
    measured = (
        f"Measured {header['date']} on {header['cores']} cores of {header['cpu']}, torch {header['torch']}: "
        f"`{header['command']}`."
    )
    return DOCUMENT.format(
        table=table(entries), measured=measured, recipes="\n".join(recipes), sizes=sizes(entries)
    )


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def write_pages(name: str) -> None:
    """`results/NAME.md`, and the docs' page if these are the full results."""
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    (RESULTS / f"{name}.md").write_text(table(content["results"]) + "\n", encoding="utf-8")
    if name == "density":
        PAGE.write_text(document(content["results"], content), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--models", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(FOLDS)))
    parser.add_argument("--share", type=float, default=1.0, help="of the updates, to try things out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=RESULTS / "density-parts.jsonl")
    parser.add_argument("--name", default="density", help="of the result files")
    parser.add_argument("--pages", action="store_true", help="only write the pages again")
    options = parser.parse_args()
    if options.pages:
        write_pages(options.name)
        return
    torch.set_num_threads(options.threads)
    options.cache.parent.mkdir(parents=True, exist_ok=True)
    cache, entries = Cache(options.cache), []
    for name in options.sets:
        for kind in options.models:
            for index in options.folds:
                entry = cache.result(options.share, set=name, fold=index, model=kind)
                entries.append(entry)
                print(
                    f"{name}, {kind}, fold {index}: {entry['log_prob']:.3f} nats "
                    f"(validation {entry['validation_log_prob']:.3f}, {entry['seconds']:.0f} s)",
                    flush=True,
                )
    write(options.name, entries)
    write_pages(options.name)
    print(f"\n{table(entries)}")


if __name__ == "__main__":
    main()
