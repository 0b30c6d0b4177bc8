"""Sampling 64 images of 784 binary variables: incremental against a full parallel pass per variable.

    python benchmarks/sampling.py [--batch 64] [--repeats 5] [--threads 2]

Every model is sampled three ways with the same noise, in one run, float32: incrementally (the default),
with one full parallel pass per variable (what public implementations do), and by fixed-point iteration.
The table says how many times faster the first is than the second, its time over that of one parallel
pass, and whether all three gave the same images. Networks have random weights, with the output biases
set so that 13 % of the variables are on, as in binarized MNIST.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import write

from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, DeepNADE

SHAPE = (1, 28, 28)

#: Seconds that public implementations took for 64 such images on a like machine (two cores of an AMD EPYC).
PUBLIC = {
    "FVSBN": ("pytorch-generative", 9.81),
    "NADE, 500 hidden": ("pytorch-generative", 0.0774),
    "MADE, 8000 hidden": ("pytorch-generative", 17.2),
    "MADE, 500 hidden": ("pytorch-made", 1.38),
    "MADE, 2 x 500 hidden": ("pytorch-made", 1.79),
}


def models() -> dict[str, AutoregressiveModel]:
    """The models of the table, at the published sizes and two small ones."""
    return {
        "FVSBN": FVSBN(SHAPE),
        "NADE, 500 hidden": NADE(SHAPE, hidden=500),
        "MADE, 500 hidden": MADE(SHAPE, hidden=(500,)),
        "MADE, 8000 hidden": MADE(SHAPE, hidden=(8000,)),
        "MADE, 2 x 500 hidden": MADE(SHAPE, hidden=(500, 500)),
        "MADE, 2 x 8000 hidden": MADE(SHAPE, hidden=(8000, 8000)),
        "DeepNADE, 2 x 500 hidden": DeepNADE(SHAPE, hidden=(500, 500)),
    }


@torch.no_grad()
def make_realistic(model: AutoregressiveModel) -> None:
    """Random weights that matter, and about 13 % of ones."""
    bias = {FVSBN: "bias", NADE: "output_bias"}.get(type(model), "output.bias")
    for name, parameter in model.named_parameters():
        if name == bias:
            parameter.fill_(math.log(0.13 / 0.87))
        elif isinstance(model, FVSBN):
            parameter.normal_(std=0.1)


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median wall-clock time of `repeats` runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(name: str, model: AutoregressiveModel, batch: int, repeats: int) -> dict[str, Any]:
    """One row of the table."""
    model.eval()
    x = model.sample(batch, seed=0)
    with torch.no_grad():
        one_pass = seconds(lambda: model(x), repeats)
    incremental = seconds(lambda: model.sample(batch, seed=0), repeats)
    fixed = seconds(lambda: model.sample(batch, seed=0, method="fixed-point"), 1)
    # A pass of DeepNADE in one ordering is itself n runs of the network: one naive run takes minutes.
    naive_start = time.perf_counter()
    naive_x = model.sample(batch, seed=0, method="naive") if not isinstance(model, DeepNADE) else None
    naive = time.perf_counter() - naive_start if naive_x is not None else one_pass * model.num_variables
    same = torch.equal(x, model.sample(batch, seed=0, method="fixed-point"))
    if naive_x is not None:
        same = same and torch.equal(x, naive_x)
    library, public = PUBLIC.get(name, (None, None))
    return {
        "model": name,
        "parameters": model.num_parameters,
        "one_pass_s": one_pass,
        "incremental_s": incremental,
        "naive_s": naive,
        "naive_is_projected": naive_x is None,
        "fixed_point_s": fixed,
        "times_faster_than_naive": naive / incremental,
        "over_one_pass": incremental / one_pass,
        "same_sample": same,
        "public_library": library,
        "public_s": public,
    }


def table(rows: list[dict[str, Any]], batch: int) -> str:
    """The rows as Markdown."""
    lines = [
        f"Time to sample {batch} images of 784 binary variables.",
        "",
        "| model | parameters | incremental | naive (a pass per variable) | times faster | fixed point "
        "| over one pass | same sample | public, on a like machine |",
        "|---|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        public = f"{row['public_s']:.3g} s ({row['public_library']})" if row["public_s"] else ""
        naive = f"{'~' if row['naive_is_projected'] else ''}{row['naive_s']:.3g} s"
        lines.append(
            f"| {row['model']} | {row['parameters']:,} | {row['incremental_s'] * 1e3:.1f} ms | {naive} "
            f"| **{row['times_faster_than_naive']:,.0f}** | {row['fixed_point_s'] * 1e3:.0f} ms "
            f"| {row['over_one_pass']:.2f} | {'yes' if row['same_sample'] else 'NO'} | {public} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    for name, model in models().items():
        make_realistic(model)
        rows.append(measure(name, model, options.batch, options.repeats))
        print(table(rows[-1:], options.batch).splitlines()[-1], flush=True)
    path = write(f"sampling-batch{options.batch}", rows)
    path.with_suffix(".md").write_text(table(rows, options.batch) + "\n", encoding="utf-8")
    print(f"\n{table(rows, options.batch)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
