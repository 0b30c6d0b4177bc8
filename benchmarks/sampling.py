"""Sampling 64 images of 784 binary variables: incremental against a full parallel pass per variable.

    python benchmarks/sampling.py [--batch 64] [--rounds 5] [--threads 2]

Every model is sampled three ways with the same noise, in one run, float32: incrementally (the default),
with one full parallel pass per variable (what public implementations do; here the passes are the library's
own `forward`), and by fixed-point iteration. The table says how many times faster the first is than the
second, its time over that of one parallel pass, and whether all three gave the same images. Networks have
random weights, with the output biases set so that 13 % of the variables are on, as in binarized MNIST.

The samplers and the parallel pass take turns, and the least time of each is reported: what else the machine
does only adds to a time, and adds most to the sides of many small products (see `timing.py`). Where the
plain sampler would take longer than 8 seconds, 8 of its passes, at places spread evenly over the variables,
stand for all, marked ~; a single pass over the sample then tells whether the plain sampler would have
drawn any variable differently.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch
from machine import write
from sampling_images import variables_that_differ
from timing import least_seconds
from torch import Tensor
from torch.nn.functional import linear

from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, DeepNADE

SHAPE = (1, 28, 28)

#: A plain sampler that takes longer than this many seconds is projected from so many of its passes.
LONG, SAMPLED_PASSES = 8.0, 8

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


def some_naive_passes(model: AutoregressiveModel, x: Tensor, noise: Tensor) -> Callable[[], None]:
    """`SAMPLED_PASSES` of the passes by which the plain sampler would draw `x`."""
    sequence, n = model.to_sequence(x), model.num_variables

    def run() -> None:
        for position in range(n // SAMPLED_PASSES // 2, n, n // SAMPLED_PASSES):
            known = torch.zeros_like(sequence)
            known[:, :position] = sequence[:, :position]
            params = model.to_sequence(model(model.from_sequence(known)))[:, position]
            known[:, position] = model.conditional_at(position).sample(params, noise[:, position])

    return run


def plain_nade_loop(model: NADE, uniform: Tensor) -> Tensor:
    """A NADE sampled variable by variable, the plain way: `(batch, n)` for uniforms of that shape."""
    x = torch.empty_like(uniform)
    a = model.hidden_bias.expand(len(uniform), -1)
    for i in range(model.num_variables):
        logit = linear(torch.sigmoid(a), model.output_weight[i : i + 1], model.output_bias[i : i + 1])
        x[:, i] = uniform[:, i] < torch.sigmoid(logit)[:, 0]
        a = a + linear(x[:, i : i + 1], model.weight[i : i + 1].T)
    return x


@torch.no_grad()
def measure(name: str, model: AutoregressiveModel, batch: int, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    model.eval()
    n = model.num_variables
    noise = torch.rand(batch, n, 1, generator=torch.Generator().manual_seed(0))
    x = model.sample(batch, seed=0)
    sides: dict[str, Callable[[], Any]] = {
        "one_pass": lambda: model(x),
        "incremental": lambda: model.sample(batch, seed=0),
        "fixed_point": lambda: model.sample(batch, seed=0, method="fixed-point"),
    }
    projected = least_seconds({"pass": sides["one_pass"]}, rounds=2)["pass"] * n > LONG
    if projected:
        sides["naive"] = some_naive_passes(model, x, noise)
    else:
        sides["naive"] = lambda: model.sample(batch, seed=0, method="naive")
    if isinstance(model, NADE):
        sides["plain_loop"] = lambda: plain_nade_loop(model, noise[..., 0])
    seconds = least_seconds(sides, rounds=rounds)
    same = torch.equal(x, sides["fixed_point"]()) and (
        variables_that_differ(model, x, noise) == 0 if projected else torch.equal(x, sides["naive"]())
    )
    naive = seconds["naive"] * (n / SAMPLED_PASSES if projected else 1)
    library, public = PUBLIC.get(name, (None, None))
    return {
        "model": name,
        "parameters": model.num_parameters,
        "one_pass_s": seconds["one_pass"],
        "incremental_s": seconds["incremental"],
        "naive_s": naive,
        "naive_is_projected": projected,
        "fixed_point_s": seconds["fixed_point"],
        "plain_loop_s": seconds.get("plain_loop"),
        "times_faster_than_naive": naive / seconds["incremental"],
        "over_one_pass": seconds["incremental"] / seconds["one_pass"],
        "same_sample": same,
        "public_library": library,
        "public_s": public,
    }


def line(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    public = f"{row['public_s']:.3g} s ({row['public_library']})" if row["public_s"] else ""
    naive = f"{'~' if row['naive_is_projected'] else ''}{row['naive_s']:.3g} s"
    return (
        f"| {row['model']} | {row['parameters']:,} | {row['incremental_s'] * 1e3:.2f} ms | {naive} "
        f"| **{row['times_faster_than_naive']:,.0f}** | {row['fixed_point_s'] * 1e3:.0f} ms "
        f"| {row['one_pass_s'] * 1e3:.2f} ms | {row['over_one_pass']:.2f} "
        f"| {'yes' if row['same_sample'] else 'NO'} | {public} |"
    )


def table(rows: list[dict[str, Any]], batch: int) -> str:
    """The rows as Markdown."""
    lines = [
        f"Time to sample {batch} images of 784 binary variables.",
        "",
        "| model | parameters | incremental | naive (a pass per variable) | times faster | fixed point "
        "| one pass | over one pass | same sample | public, on a like machine |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|---|",
        *map(line, rows),
    ]
    for row in rows:
        if row.get("plain_loop_s"):
            plain = f"{row['plain_loop_s'] * 1e3:.1f} ms"
            lines += [
                "",
                f"{row['model']}: the plain loop over the variables, in the same run, takes {plain}.",
            ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    for name, model in models().items():
        make_realistic(model)
        rows.append(measure(name, model, options.batch, options.rounds))
        print(line(rows[-1]), flush=True)
    path = write(f"sampling-batch{options.batch}", rows)
    path.with_suffix(".md").write_text(table(rows, options.batch) + "\n", encoding="utf-8")
    print(f"\n{table(rows, options.batch)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
