"""Evaluate a finished run on the test split, once, and keep what shows how it was reached.

    chainrule train nade --data binarized-mnist --preset paper --out runs/nade-paper
    python benchmarks/likelihood.py runs/nade-paper
    python benchmarks/likelihood.py runs/deep-nade-paper --members 128
    python benchmarks/likelihood.py runs/made-* --name made-mixture

Writes `benchmarks/results/likelihood/NAME/` with `result.json`, and each run's `config.json` and
`metrics.jsonl`; weights stay out of the repository. `--members` evaluates the model's own mixture (MADE:
its masks; DeepNADE: random orderings), several runs the mixture of all.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, header

import chainrule as cr
from chainrule.likelihood import LikelihoodModel
from chainrule.training import Run
from chainrule.training.batches import evaluation_batches

FOLDER = RESULTS / "likelihood"


@torch.no_grad()
def member_log_probs(members: Sequence[LikelihoodModel], x: torch.Tensor, name: str) -> torch.Tensor:
    """log p_k(x) of each member, nats, `(N, K)`, with a line of progress for each."""
    columns = []
    start = time.perf_counter()
    for k, member in enumerate(members):
        columns.append(torch.cat([member.log_prob(part).double() for part in x.split(500)]))
        so_far = -mixture(torch.stack(columns, dim=1)).mean()
        seconds = time.perf_counter() - start
        print(
            f"{name}: {k + 1} of {len(members)} members, NLL {so_far:.3f} nats, {seconds:.0f} s", flush=True
        )
    return torch.stack(columns, dim=1)


def mixture(log_probs: torch.Tensor) -> torch.Tensor:
    """Log-mean-exp over members: whole examples' probabilities are averaged, never logits."""
    return torch.logsumexp(log_probs, dim=1) - math.log(log_probs.shape[1])


def summary(log_prob: torch.Tensor) -> dict[str, float]:
    """Mean NLL in nats and its standard error."""
    nll = -log_prob
    return {"nll": nll.mean().item(), "standard_error": (nll.std() / math.sqrt(len(nll))).item()}


def measure(name: str, folders: Sequence[Path], members: int | None, limit: int | None) -> dict[str, Any]:
    """Evaluate one run, its own mixture, or the mixture of several runs."""
    runs = [Run(folder) for folder in folders]
    models = [cr.load(folder) for folder in folders]
    data = cr.data.load(runs[0].data_name)
    x = next(evaluation_batches(models[0], data, "test", batch_size=None, limit=limit)).values
    start = time.perf_counter()
    of_mixture = models[0].ensemble(members).members if members else models
    log_probs = member_log_probs(of_mixture, x, name)
    counts = sorted({k for k in (1, 2, 4, 8, 16, 32, 64, 128) if k < len(of_mixture)} | {len(of_mixture)})
    last = [run.metrics()[-1] for run in runs]
    validation = [m["validation_nll"] for m in runs[0].metrics() if "validation_nll" in m]
    return {
        **header(),
        "name": name,
        "model": next(known for known, kind in cr.models.MODELS.items() if kind is type(models[0])),
        "data": runs[0].data_name,
        "split": "test",
        "examples": len(x),
        "members": len(of_mixture),
        **summary(mixture(log_probs)),
        "mixtures": [{"members": k, **summary(mixture(log_probs[:, :k]))} for k in counts],
        "mean_member_nll": -log_probs.mean().item(),
        "parameters": sum(model.num_parameters for model in models),
        "evaluation_seconds": time.perf_counter() - start,
        "training_seconds": sum(record["seconds"] for record in last),
        "epochs": last[0]["epoch"],
        "best_validation": min(validation) if len(runs) == 1 else None,
    }


def keep(name: str, folders: Sequence[Path], result: dict[str, Any]) -> Path:
    """Copy what documents the runs, not their weights; each of several runs into a folder of its own."""
    target = FOLDER / name
    target.mkdir(parents=True, exist_ok=True)
    (target / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for folder in folders:
        own = target if len(folders) == 1 else target / folder.name
        own.mkdir(exist_ok=True)
        for file in ("config.json", "metrics.jsonl"):
            shutil.copy(folder / file, own / file)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--name", help="default: the run folder's")
    parser.add_argument("--members", type=int)
    parser.add_argument("--limit", type=int, help="only so many examples, spread evenly over the split")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name = options.name or options.runs[0].name
    print("kept in", keep(name, options.runs, measure(name, options.runs, options.members, options.limit)))


if __name__ == "__main__":
    main()
