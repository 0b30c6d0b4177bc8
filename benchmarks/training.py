"""Training throughput and memory: NADE against the plain loop, MADE against the plain masked network.

    python benchmarks/training.py [--steps 10] [--threads 2]

`PlainNADE` is what public implementations do: a Python loop over the variables that slices W[:, i] under
autograd, whose backward pass fills a whole gradient of W for every slice. `PlainMADE` restates
pytorch-made's network: weight times float mask in every layer, ReLU, dense products. Each is a forward
pass, a backward pass and Adam, timed in one run on the same images of
binarized MNIST; memory is what it adds to its own process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import write
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from chainrule import data
from chainrule.errors import ChainruleError
from chainrule.models import MADE, NADE

N = 784


class PlainNADE(nn.Module):
    """The per-variable loop of public implementations."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.in_W = nn.Parameter(torch.randn(hidden, N) * 0.03)
        self.in_b = nn.Parameter(torch.zeros(hidden))
        self.h_W = nn.Parameter(torch.randn(N, hidden) * 0.03)
        self.h_b = nn.Parameter(torch.zeros(N))

    def forward(self, x: Tensor) -> Tensor:
        a = self.in_b.expand(len(x), -1)
        logits = []
        for i in range(N):
            h = torch.sigmoid(a)
            logits.append(h @ self.h_W[i : i + 1, :].T + self.h_b[i : i + 1])
            a = a + x[:, i : i + 1] @ self.in_W[:, i : i + 1].T
        return torch.cat(logits, dim=1)


class PlainMaskedLinear(nn.Linear):
    """Weight times a float mask, in every pass."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.mask * self.weight, self.bias)


def plain_made(hidden: tuple[int, ...]) -> nn.Module:
    """pytorch-made's network, restated plainly."""
    layers: list[nn.Module] = []
    for mask in MADE((N,), hidden=hidden).masks():
        layers += [PlainMaskedLinear(mask), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def library_loss(model: NADE | MADE) -> Callable[[Tensor], Tensor]:
    return lambda x: model.training_loss(x, None, torch.Generator()).mean()


def plain_loss(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: cross_entropy(model(x), x, reduction="sum") / len(x)


CASES: dict[str, tuple[int, Callable[[], tuple[nn.Module, Callable[[Tensor], Tensor]]]]] = {}


def case(name: str, batch: int) -> Callable[[Callable[[], nn.Module]], None]:
    """Register a case; its function builds the model."""

    def register(build: Callable[[], nn.Module]) -> None:
        def with_loss() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
            model = build()
            return model, library_loss(model) if isinstance(model, NADE | MADE) else plain_loss(model)

        CASES[name] = (batch, with_loss)

    return register


case("NADE-500, chainrule", 100)(lambda: NADE((N,), hidden=500))
case("NADE-500, plain loop", 100)(lambda: PlainNADE(500))
for size in ((500,), (500, 500)):
    label = "x".join(map(str, size))
    case(f"MADE-{label}, chainrule", 64)(lambda size=size: MADE((N,), hidden=size))
    case(f"MADE-{label}, plain", 64)(lambda size=size: plain_made(size))


def images(count: int) -> Tensor:
    """Training images of binarized MNIST, or noise with as much ink where the data is not at hand."""
    try:
        return data.load("binarized-mnist").split("train")[:count].flatten(1).float()
    except ChainruleError:
        return (torch.rand(count, N) < 0.13).float()


def peak_mib() -> float:
    """Peak resident memory of this process, from Linux; getrusage would inherit the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def measure(name: str, x: Tensor, steps: int, threads: int, queue: Any) -> None:
    """Run one case in this process and report seconds a step and peak memory."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    _, build = CASES[name]
    before = peak_mib()
    model, loss_of = build()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    times = []
    for step in range(steps + 2):
        start = time.perf_counter()
        loss_of(x).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= 2:
            times.append(time.perf_counter() - start)
    peak = peak_mib()
    queue.put((statistics.median(times), peak - before, peak))


def run_alone(name: str, steps: int, threads: int) -> dict[str, Any]:
    """One case in a fresh process, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    # The images are read here: reading a whole data set would be the child's peak of memory.
    process = context.Process(target=measure, args=(name, images(CASES[name][0]), steps, threads, queue))
    process.start()
    seconds, added, peak = queue.get()
    process.join()
    batch = CASES[name][0]
    return {
        "case": name,
        "batch": batch,
        "seconds_a_step": seconds,
        "images_per_second": batch / seconds,
        "added_peak_mib": added,
        "peak_rss_mib": peak,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Pairs of rows, chainrule then plain, as Markdown."""
    lines = [
        "| case | batch | ms a step | images/s | memory added, MiB | times the plain throughput |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for ours, plain in zip(rows[::2], rows[1::2], strict=True):
        ratio = plain["seconds_a_step"] / ours["seconds_a_step"]
        for row, factor in ((ours, f"**{ratio:.2f}**"), (plain, "1")):
            lines.append(
                f"| {row['case']} | {row['batch']} | {row['seconds_a_step'] * 1e3:.1f} "
                f"| {row['images_per_second']:,.0f} | {row['added_peak_mib']:,.0f} | {factor} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [run_alone(name, options.steps, options.threads) for name in CASES]
    path = write("training-throughput", rows)
    path.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
    print(f"{table(rows)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
