"""Evaluate a finished run on the test split, once, and keep what shows how it was reached.

    chainrule train nade --data binarized-mnist --preset paper --out runs/nade-paper
    python benchmarks/likelihood.py runs/nade-paper [--members 16] [--limit 1000]
    python benchmarks/likelihood.py --table

Writes `benchmarks/results/likelihood/NAME/` with `result.json`, the run's `config.json` and its
`metrics.jsonl`; weights stay out of the repository. `--table` writes `likelihood.md` from all of them.
With `--members`, the model's own mixture (MADE: its masks; DeepNADE: random orderings) is evaluated after
the model alone, in the same pass over its members, so that the gain is seen member by member.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
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
def member_log_probs(model: LikelihoodModel, members: int, x: torch.Tensor, name: str) -> torch.Tensor:
    """log p_k(x) of each member, nats, `(N, K)`, with a line of progress for each."""
    ensemble = model.ensemble(members)
    columns = []
    start = time.perf_counter()
    for k, member in enumerate(ensemble.members):
        columns.append(torch.cat([member.log_prob(part).double() for part in x.split(500)]))
        so_far = mixture(torch.stack(columns, dim=1))
        seconds = time.perf_counter() - start
        print(
            f"{name}: {k + 1} of {members} members, mixture NLL {-so_far.mean():.3f} nats, {seconds:.0f} s",
            flush=True,
        )
    return torch.stack(columns, dim=1)


def mixture(log_probs: torch.Tensor) -> torch.Tensor:
    """Log-mean-exp over members: whole examples' probabilities are averaged, never logits."""
    return torch.logsumexp(log_probs, dim=1) - math.log(log_probs.shape[1])


def summary(log_prob: torch.Tensor) -> dict[str, float]:
    """Mean NLL in nats and its standard error."""
    nll = -log_prob
    return {"nll": nll.mean().item(), "standard_error": (nll.std() / math.sqrt(len(nll))).item()}


def measure(folder: Path, members: int | None, limit: int | None, threads: int) -> dict[str, Any]:
    """Evaluate one run."""
    torch.set_num_threads(threads)
    run = Run(folder)
    model, data = cr.load(folder), cr.data.load(run.data_name)
    x = torch.cat(
        [batch.values for batch in evaluation_batches(model, data, "test", batch_size=None, limit=limit)]
    )
    start = time.perf_counter()
    result: dict[str, Any] = {"name": folder.name, "data": run.data_name, "split": "test", "examples": len(x)}
    if members:
        log_probs = member_log_probs(model, members, x, folder.name)
        result["mixtures"] = [
            {"members": k, **summary(mixture(log_probs[:, :k]))}
            for k in sorted({1, 2, 4, 8, 16, 32, 64, 128, members})
            if k <= members
        ]
        result["mean_member_nll"] = -log_probs.mean().item()
        result |= summary(mixture(log_probs)) | {"members": members}
    else:
        evaluation = cr.evaluate(model, data, "test", limit=limit)
        result |= {"nll": evaluation.nll, "standard_error": evaluation.standard_error, "members": 1}
    metrics = run.metrics()
    result |= {
        "parameters": model.num_parameters,
        "evaluation_seconds": time.perf_counter() - start,
        "training_seconds": metrics[-1]["seconds"],
        "epochs": metrics[-1]["epoch"],
        "best_validation": min(m["validation_nll"] for m in metrics if "validation_nll" in m),
    }
    return {**header(), **result}


def keep(folder: Path, result: dict[str, Any]) -> Path:
    """Copy what documents the run, not its weights."""
    target = FOLDER / result["name"]
    target.mkdir(parents=True, exist_ok=True)
    (target / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(folder / name, target / name)
    return target


def table() -> str:
    """All results as Markdown."""
    lines = [
        "| run | parameters | epochs | training, min | validation | test NLL, nats | members | examples |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for path in sorted(FOLDER.glob("*/result.json")):
        r = json.loads(path.read_text(encoding="utf-8"))
        test = f"**{r['nll']:.2f}** ± {r['standard_error']:.2f}"
        lines.append(
            f"| {r['name']} | {r['parameters']:,} | {r['epochs']} | {r['training_seconds'] / 60:.0f} "
            f"| {r['best_validation']:.2f} | {test} | {r['members']} | {r['examples']:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--members", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.run is not None:
        print(
            "kept in",
            keep(options.run, measure(options.run, options.members, options.limit, options.threads)),
        )
    if options.table:
        (FOLDER / "likelihood.md").write_text(table() + "\n", encoding="utf-8")
        print(table())


if __name__ == "__main__":
    main()
