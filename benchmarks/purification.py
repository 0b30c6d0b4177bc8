"""What purification costs: of 64 images, beside one likelihood pass and beside a pass for each pixel.

    python benchmarks/purification.py [--batch 64] [--eps 16] [--repeats 3] [--threads 1] [NAME ...]

Random weights, float32, random images. The pass and the purification take turns, and the least time of each
counts (benchmarks/timing.py). The pass-per-pixel search is timed from its first `--naive-passes` pixels and
projected, marked ~; 0 runs it to its end.

Whether the result is the same is decided by one pass: an image is what the pass-per-pixel search gives exactly
if choosing each pixel anew from the conditionals *at the purified image* gives that image again. "differ"
counts the pixels where that is not so, which can only be rounding between two nearly equal values.

Written to benchmarks/results/purification.json and .md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import write
from timing import least_seconds
from torch import Tensor

from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.model import AutoregressiveModel
from chainrule.models import GatedPixelCNN, PixelCNN, PixelCNNPP
from chainrule.security import purify
from chainrule.security.purification import Box

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
SMALL = {"features": 32, "num_layers": 5, "kernel_size": 3, "first_kernel_size": 5, "head": (32,)}

#: Every row of the table: what makes the model. The first two are the densities of benchmarks/security.py.
MODELS: dict[str, Callable[[], AutoregressiveModel]] = {
    "gated-pixelcnn-small, logistics": lambda: GatedPixelCNN(
        GREY, **SMALL, conditional=DiscretizedLogisticMixture(256)
    ),
    "gated-pixelcnn-small, softmax": lambda: GatedPixelCNN(GREY, **SMALL, conditional=Categorical(256)),
    "pixelcnn, softmax": lambda: PixelCNN(GREY, features=64, head=(32, 32), conditional=Categorical(256)),
    "gated-pixelcnn, softmax": lambda: GatedPixelCNN(
        GREY, features=128, num_layers=10, kernel_size=3, head=(128,), conditional=Categorical(256)
    ),
    "pixelcnn-pp-small, colour": lambda: PixelCNNPP(COLOUR, features=40, num_blocks=2),
}


@torch.no_grad()
def naive_seconds(model: AutoregressiveModel, images: Tensor, eps: int, passes: int) -> float:
    """Time of the pass-per-pixel search, from its first `passes` pixels."""
    box = Box(model.to_sequence(images), images.new_full((len(images),), float(eps)), None)
    sequence = box.given.clone()
    start = time.perf_counter()
    for t in range(passes):
        params = model.to_sequence(model(model.from_sequence(sequence)))[:, t]
        sequence[:, t] = box.best(t, params, model.conditional_at(t))
    return (time.perf_counter() - start) * model.num_variables / passes


@torch.no_grad()
def pixels_that_differ(model: AutoregressiveModel, images: Tensor, purified: Tensor, eps: int) -> int:
    box = Box(model.to_sequence(images), images.new_full((len(images),), float(eps)), None)
    params, found = model.to_sequence(model(purified)), model.to_sequence(purified)
    return sum(
        int((box.best(t, params[:, t], model.conditional_at(t)) != found[:, t]).sum())
        for t in range(model.num_variables)
    )


@torch.no_grad()
def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    source = torch.Generator().manual_seed(0)
    images = torch.randint(256, (options.batch, *model.event_shape), generator=source).float()
    seconds = least_seconds(
        {
            "pass": lambda: model.log_prob(images),
            "purify": lambda: purify(model, images, options.eps, batch_size=options.batch),
        },
        rounds=options.repeats,
        budget=120.0,
    )
    passes = options.naive_passes or model.num_variables
    naive = naive_seconds(model, images, options.eps, min(passes, model.num_variables))
    purified = purify(model, images, options.eps, batch_size=options.batch)
    return {
        "model": name,
        "event_shape": list(model.event_shape),
        "parameters": model.num_parameters,
        "batch": options.batch,
        "eps": options.eps,
        "pass_seconds": seconds["pass"],
        "purify_seconds": seconds["purify"],
        "passes_per_purification": seconds["purify"] / seconds["pass"],
        "pass_per_pixel_seconds": naive,
        "projected": passes < model.num_variables,
        "times_faster": naive / seconds["purify"],
        "pixels": images.numel(),
        "differ": pixels_that_differ(model, images, purified, options.eps),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | image | parameters | one pass | purification | a pass per pixel | passes | times faster | differ |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {' x '.join(map(str, row['event_shape']))} | {row['parameters']:,} "
            f"| {row['pass_seconds']:.2f} s | {row['purify_seconds']:.2f} s "
            f"| {'~' if row['projected'] else ''}{row['pass_per_pixel_seconds']:.0f} s "
            f"| **{row['passes_per_purification']:.1f}** | {row['times_faster']:.0f} "
            f"| {row['differ']} of {row['pixels']:,} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all if not said")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--eps", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--naive-passes", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = []
    for name in options.names or MODELS:
        row = measured(name, options)
        results.append(row)
        print(
            f"{name}: pass {row['pass_seconds']:.2f} s, purification {row['purify_seconds']:.2f} s = "
            f"{row['passes_per_purification']:.1f} passes, {row['times_faster']:.0f} times faster than a pass "
            f"per pixel; {row['differ']} of {row['pixels']:,} pixels differ",
            flush=True,
        )
    path = write("purification", results)
    path.with_suffix(".md").write_text(table(results) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
