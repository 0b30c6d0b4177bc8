"""Training throughput and memory: NADE against the plain loop, MADE against the plain masked network.

    python benchmarks/training.py [--rounds 20] [--threads 2]

`PlainNADE` is what public implementations do: a Python loop over the variables that slices W[:, i] under
autograd, whose backward pass fills a whole gradient of W for every slice. `PlainMADE` restates
pytorch-made's network: weight times float mask in every layer, ReLU, dense products. Each step is a forward
pass, a backward pass and Adam, on the same images of binarized MNIST.

The two sides of a pair take turns in one process, and the least time of a step is reported: the same code
in two processes differs by a fifth, and what else the machine does only adds to a time (see `timing.py`).
Memory is what a few steps add to a process of their own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import write
from timing import least_seconds
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from chainrule import data
from chainrule.errors import ChainruleError
from chainrule.models import MADE, NADE

#: Steps after which the memory of a process has seen its peak.
MEMORY_STEPS = 4

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


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    """Mean nats of a batch."""
    if isinstance(model, NADE | MADE):
        return model.training_loss(x, None, torch.Generator()).mean()
    return cross_entropy(model(x), x, reduction="sum") / len(x)


#: Batch and what makes the model of every case; pairs of ours and the plain one stand together.
CASES: dict[str, tuple[int, Callable[[], nn.Module]]] = {}


def case(name: str, batch: int) -> Callable[[Callable[[], nn.Module]], None]:
    """Register a case; its function builds the model."""

    def register(build: Callable[[], nn.Module]) -> None:
        CASES[name] = (batch, build)

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


def training_step(name: str, x: Tensor) -> Callable[[], None]:
    """One step of a case, to be called again and again."""
    torch.manual_seed(0)
    model = CASES[name][1]()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        loss_of(model, x).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def report_memory(name: str, x: Tensor, threads: int, queue: Any) -> None:
    """Run a few steps of one case in this process and report the peak memory, added and in all."""
    torch.set_num_threads(threads)
    before = peak_mib()
    step = training_step(name, x)
    for _ in range(MEMORY_STEPS):
        step()
    peak = peak_mib()
    queue.put((peak - before, peak))


def memory_alone(name: str, x: Tensor, threads: int) -> tuple[float, float]:
    """Peak memory of one case in a fresh process, so that it is its own: added and in all, MiB."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    # The images are handed over: reading a whole data set would be the child's peak of memory.
    process = context.Process(target=report_memory, args=(name, x, threads, queue))
    process.start()
    added, peak = queue.get()
    process.join()
    return added, peak


def measure_pair(names: tuple[str, str], rounds: int, threads: int) -> list[dict[str, Any]]:
    """The rows of ours and the plain one."""
    batch = CASES[names[0]][0]
    x = images(batch)
    seconds = least_seconds({name: training_step(name, x) for name in names}, rounds=rounds, turn=0.1)
    rows = []
    for name in names:
        added, peak = memory_alone(name, x, threads)
        rows.append(
            {
                "case": name,
                "batch": batch,
                "seconds_a_step": seconds[name],
                "images_per_second": batch / seconds[name],
                "added_peak_mib": added,
                "peak_rss_mib": peak,
            }
        )
    return rows


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
    parser.add_argument("--rounds", type=int, default=20, help="turns of a tenth of a second for each side")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = list(CASES)
    rows = []
    for pair in zip(names[::2], names[1::2], strict=True):
        rows += measure_pair(pair, options.rounds, options.threads)
    path = write("training-throughput", rows)
    path.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
    print(f"{table(rows)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
