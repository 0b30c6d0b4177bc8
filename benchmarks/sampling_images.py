"""Sampling images from convolutional models: incremental against a full parallel pass per variable.

    python benchmarks/sampling_images.py [--batch 64] [--repeats 3] [--threads 2] [--naive-passes 784]
        [--processes 1] [--run LABEL=FOLDER ...] [NAME ...]

One run, float32. For each model the time of one parallel likelihood pass over the batch, of an incremental
sample of the batch (the two take turns), and of the plain sampler that makes a full pass for every
variable. `--naive-passes K` stops the plain sampler after K variables and projects its time, marked ~. All times
are the quickest of several, that of a naive pass too: what else a machine does only ever adds to them. How
long the same pass takes still differs from process to process, with where its numbers come to lie in memory:
`--processes K` measures in K of them, one after another, and each is a row.

Whether the samples are the same is decided by one pass: a sample is what the plain sampler gives for its
noise exactly if drawing every variable from the conditionals at the sample gives the sample again. "differ"
counts the variables where that is not so. "calls" counts steps and looks of one incremental sample: few
images are sampled by looking ahead, and how many looks that takes depends on what the network has learned.
Networks have random weights, those of `--run`, run folders, the ones they learned.

A sample is thousands of small products. On a machine that others use too, threads that wait for each other
by spinning lose far more time over them than over one pass: set OMP_WAIT_POLICY=passive there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from machine import write
from torch import Tensor

import chainrule as cr
from chainrule.conditionals import Categorical
from chainrule.model import AutoregressiveModel
from chainrule.models import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelCNNPP, RowLSTM, Transformer

BINARY, COLOUR = (1, 28, 28), (3, 32, 32)

#: Every row of the table: what makes the model.
MODELS: dict[str, Callable[[], AutoregressiveModel]] = {
    "gated-pixelcnn": lambda: GatedPixelCNN(BINARY, features=128, num_layers=10, kernel_size=3, head=(128,)),
    "gated-pixelcnn-small": lambda: GatedPixelCNN(
        BINARY, features=32, num_layers=5, kernel_size=3, head=(32,)
    ),
    # PixelSNAIL's block, after every fifth layer.
    "gated-pixelcnn-attention": lambda: GatedPixelCNN(
        BINARY, features=128, num_layers=10, kernel_size=3, head=(128,), attention_every=5
    ),
    # Image-GPT's way: a Transformer over the pixels; its heads share keys and values.
    "transformer": lambda: Transformer(BINARY, width=128, num_layers=8, num_heads=4, num_kv_heads=1),
    # As many weights as the Gated PixelCNN, so that products and not the reading of caches take the time.
    "transformer-large": lambda: Transformer(BINARY, width=256, num_layers=5, num_heads=8, num_kv_heads=1),
    "pixelcnn": lambda: PixelCNN(BINARY, features=128, head=(32, 32)),
    # The paper's network for MNIST, and one of fifteen times as many weights.
    "row-lstm": lambda: RowLSTM(BINARY),
    "row-lstm-large": lambda: RowLSTM(BINARY, features=64, head=(64, 64)),
    "diagonal-bilstm": lambda: DiagonalBiLSTM(BINARY),
    "diagonal-bilstm-large": lambda: DiagonalBiLSTM(BINARY, features=64, head=(64, 64)),
    "gated-pixelcnn-colour": lambda: GatedPixelCNN(
        COLOUR, features=126, num_layers=10, kernel_size=3, head=(126,), conditional=Categorical(256)
    ),
    "pixelcnn-colour": lambda: PixelCNN(COLOUR, conditional=Categorical(256)),
    # The paper's network for CIFAR-10, and one of a tenth of its weights.
    "pixelcnn-pp": lambda: PixelCNNPP(COLOUR),
    "pixelcnn-pp-small": lambda: PixelCNNPP(COLOUR, features=80, num_blocks=2),
}


def naive_seconds(model: AutoregressiveModel, noise: Tensor, passes: int) -> float:
    """Time of the plain sampler, from the quickest of its first `passes` variables."""
    sequence, seconds = noise.new_zeros(noise.shape[:2]), []
    for position in range(passes):
        start = time.perf_counter()
        params = model.to_sequence(model(model.from_sequence(sequence)))[:, position]
        sequence[:, position] = model.conditional_at(position).sample(params, noise[:, position])
        seconds.append(time.perf_counter() - start)
    return min(seconds) * model.num_variables


def variables_that_differ(model: AutoregressiveModel, x: Tensor, noise: Tensor) -> int:
    """Variables that the plain sampler would have drawn differently at some point."""
    params = model.to_sequence(model(x))
    again = model.conditional_over(0, model.num_variables).sample(params, noise)
    return int((again != model.to_sequence(x)).sum())


def count_calls(model: AutoregressiveModel, noise: Tensor) -> int:
    """Steps and looks of one incremental sample."""
    calls = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return method(*arguments)

        return call

    def begin_counted(*arguments: Any) -> Any:
        looks = type(model).looks(model, *arguments)
        looks.look = counted(looks.look)
        return looks

    for name in ("step", "look_ahead"):
        if hasattr(model, name):
            setattr(model, name, counted(getattr(model, name)))
    if hasattr(model, "looks"):
        model.looks = begin_counted
    model.sample(noise=noise)
    for name in {"step", "look_ahead", "looks"} & set(vars(model)):
        delattr(model, name)
    return calls


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def measure_again(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table, measured in a process of its own."""
    alone = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=alone) as pool:
        return pool.submit(measured, name, options).result()


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return measure(name, MODELS[name](), options)


@torch.no_grad()
def measure(name: str, model: AutoregressiveModel, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    model = model.eval()
    generator = torch.Generator().manual_seed(0)
    n = model.num_variables
    noise = torch.rand(options.batch, n, model.conditional.num_noise, generator=generator)
    x = model.sample(noise=noise)
    passes, samples = [], []
    for _ in range(options.repeats):
        passes.append(timed(lambda: model.log_prob(x))[1])
        samples.append(timed(lambda: model.sample(noise=noise))[1])
    one_pass, incremental = min(passes), min(samples)
    naive_passes = min(options.naive_passes or n, n)
    naive = naive_seconds(model, noise, naive_passes)
    return {
        "model": name,
        "parameters": model.num_parameters,
        "multiply_adds": model.multiply_adds,
        "event_shape": list(model.event_shape),
        "batch": options.batch,
        "one_pass_s": one_pass,
        "incremental_s": incremental,
        "naive_s": naive,
        "naive_passes_run": naive_passes,
        "times_faster_than_naive": naive / incremental,
        "over_one_pass": incremental / one_pass,
        "calls": count_calls(model, noise),
        "variables_that_differ": variables_that_differ(model, x, noise),
        "cache_mebibytes": cache_mebibytes(model, options.batch),
    }


def cache_mebibytes(model: AutoregressiveModel, batch: int) -> float:
    """What incremental sampling keeps before the last variable, when caches that grow are at their greatest."""
    if getattr(model, "looks_by_row", False):
        kept = model.looks(1).tensors()
    else:
        state, value = model.init_state(1), None
        for _ in range(model.num_variables):
            _, state = model.step(state, value)
            value = torch.zeros(1)
        kept = state.tensors()
    return batch * sum(tensor.numel() * tensor.element_size() for tensor in kept) / 2**20


def line(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    shape = " x ".join(map(str, row["event_shape"]))
    projected = "~" if row["naive_passes_run"] < torch.Size(row["event_shape"]).numel() else ""
    return (
        f"| {row['model']} | {shape} | {row['parameters']:,} | {row['one_pass_s']:.2f} s "
        f"| {row['incremental_s']:.2f} s | {projected}{row['naive_s']:.0f} s "
        f"| **{row['times_faster_than_naive']:,.0f}** | {row['over_one_pass']:.2f} "
        f"| {row['calls']:,} | {row['variables_that_differ']} | {row['cache_mebibytes']:.1f} MiB |"
    )


def table(rows: list[dict[str, Any]], batch: int) -> str:
    """The rows as Markdown."""
    head = [
        f"Time to sample {batch} images.",
        "",
        "| model | image | parameters | one pass | incremental | naive | times faster | over one pass "
        "| calls | differ | caches |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *map(line, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all by default")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--run", action="append", default=[], metavar="LABEL=FOLDER", help="a run")
    parser.add_argument("--naive-passes", type=int, default=0, help="0: all of them, which takes long")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.names or (MODELS if not options.run else ()):
        for _ in range(options.processes):
            again = options.processes > 1
            rows.append((measure_again if again else measured)(name, options))
            print(line(rows[-1]), flush=True)
    for label, folder in (run.rsplit("=", 1) for run in options.run):
        rows.append(measure(label, cr.load(folder), options))
        print(line(rows[-1]), flush=True)
    kind = "-one-thread" if options.threads == 1 else ""
    kind += "-processes" if options.processes > 1 else ""
    path = write(f"sampling-images-batch{options.batch}{kind}", rows)
    path.with_suffix(".md").write_text(table(rows, options.batch) + "\n", encoding="utf-8")
    print(f"\n{table(rows, options.batch)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
