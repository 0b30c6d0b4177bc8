"""Training throughput of PixelCNN and Gated PixelCNN against the plainest PyTorch of the same size.

    python benchmarks/training_images.py [--rounds 5] [--threads 2] [--updates 200] [NAME ...]

The plain networks are what public implementations do, in float32: each layer is a dense convolution over a
whole kernel, times a mask in every pass. They hold the same weights as ours and say the same of an image,
which is checked first. A step is a forward pass, a backward pass and Adam on the same images of binarized
MNIST (noise with as much ink, where the data is not at hand); sides take turns, and the least time counts
(`timing.py`).

Then both are trained from the same weights on the same batches, and the test NLL (float32, 1,000 images) says
whether the quicker arithmetic, `precision="bf16"` as the presets have it, costs anything.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch
from machine import write
from timing import least_seconds
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import conv2d

from chainrule import data
from chainrule.errors import ChainruleError
from chainrule.models import GatedPixelCNN, PixelCNN

SHAPE = (1, 28, 28)
BATCH = 50


class PlainConv(nn.Conv2d):
    """A dense convolution, its weight times a mask in every pass."""

    mask: Tensor

    def __init__(
        self, below: int, above: int, size: tuple[int, int], last: int, *, rows_only: bool = False
    ) -> None:
        """Open up to place `last` of the kernel in reading order, or up to row `last` if `rows_only`."""
        super().__init__(below, above, size, padding=(size[0] // 2, size[1] // 2))
        count = (last + 1) * size[1] if rows_only else last + 1
        mask = torch.arange(size[0] * size[1]).view(size) < count
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


def pixel_conv(below: int, above: int, size: int, kind: str) -> PlainConv:
    """A kernel under mask A or B."""
    return PlainConv(below, above, (size, size), size * size // 2 - (kind == "A"))


class PlainPixelCNN(nn.Module):
    """PixelCNN of binary images of one channel."""

    def __init__(self, ours: PixelCNN) -> None:
        super().__init__()
        h, sizes = ours.features, [2 * ours.features, *ours.head, 1]
        self.first = pixel_conv(1, 2 * h, ours.first_kernel_size, "A")
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    pixel_conv(2 * h, h, 1, "B"),
                    pixel_conv(h, h, ours.kernel_size, "B"),
                    pixel_conv(h, 2 * h, 1, "B"),
                ]
            )
            for _ in range(ours.num_blocks)
        )
        self.head = nn.ModuleList(pixel_conv(a, b, 1, "B") for a, b in itertools.pairwise(sizes))
        self.first.load_state_dict(ours.first.state_dict(), strict=False)
        for block, of_ours in zip(self.blocks, ours.blocks, strict=True):
            for layer, source in zip(block, (of_ours.narrow, of_ours.conv, of_ours.widen), strict=True):
                take(layer, source)
        for layer, source in zip(self.head, ours.pixel_head.layers, strict=True):
            take(layer, source)

    def forward(self, x: Tensor) -> Tensor:
        u = self.first(x)
        for narrow, conv, widen in self.blocks:
            u = u + widen(conv(narrow(u.relu()).relu()).relu())
        for layer in self.head:
            u = layer(u.relu())
        return u


class PlainGatedPixelCNN(nn.Module):
    """Gated PixelCNN of binary images of one channel."""

    def __init__(self, ours: GatedPixelCNN) -> None:
        super().__init__()
        f, sizes = ours.features, [ours.features, *ours.head, 1]
        self.layers = nn.ModuleList()
        for number, of_ours in enumerate(ours.layers):
            k = ours.kernel_size if number else ours.first_kernel_size
            below, middle, is_first = (f if number else 1), k // 2, number == 0
            layer = nn.ModuleDict(
                {
                    "vertical": PlainConv(below, 2 * f, (k, k), middle - is_first, rows_only=True),
                    "down": pixel_conv(2 * f, 2 * f, 1, "B"),
                    "horizontal": PlainConv(below, 2 * f, (1, k), middle - is_first),
                    "out": pixel_conv(f, f, 1, "B"),
                }
            )
            for name, plain in layer.items():
                take(plain, getattr(of_ours, name))
            self.layers.append(layer)
        self.head = nn.ModuleList(pixel_conv(a, b, 1, "B") for a, b in itertools.pairwise(sizes))
        for layer, source in zip(self.head, ours.pixel_head.layers, strict=True):
            take(layer, source)

    def forward(self, x: Tensor) -> Tensor:
        above = along = x
        for number, layer in enumerate(self.layers):
            z = layer["vertical"](above)
            y = layer["out"](gate(layer["horizontal"](along) + layer["down"](z)))
            along = y + along if number else y
            if number + 1 < len(self.layers):
                above = gate(z)
        for layer in self.head:
            along = layer(along.relu())
        return along


def gate(z: Tensor) -> Tensor:
    """tanh of one half of the features times the sigmoid of the other."""
    a, b = z.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


@torch.no_grad()
def take(plain: PlainConv, source: nn.Module) -> None:
    """Our weights, in the corner of the whole kernel where they stand; no bias where we have none."""
    rows, columns = source.weight.shape[2:]
    plain.weight[:, :, :rows, :columns] = source.weight
    if source.bias is None:
        plain.bias = None
    else:
        plain.bias.copy_(source.bias)


#: Ours, and the plain one of the same weights.
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], nn.Module]]] = {
    "pixelcnn, 16 x 7 blocks": (
        lambda: PixelCNN(SHAPE, features=16, num_blocks=7, head=(32, 32)),
        PlainPixelCNN,
    ),
    "gated-pixelcnn, 32 x 5 layers": (
        lambda: GatedPixelCNN(
            SHAPE, features=32, num_layers=5, kernel_size=3, first_kernel_size=5, head=(32,)
        ),
        PlainGatedPixelCNN,
    ),
    "pixelcnn, 64 x 7 blocks": (
        lambda: PixelCNN(SHAPE, features=64, num_blocks=7, head=(64,)),
        PlainPixelCNN,
    ),
    "gated-pixelcnn, 64 x 5 layers": (
        lambda: GatedPixelCNN(SHAPE, features=64, num_layers=5, kernel_size=3, head=(64,)),
        PlainGatedPixelCNN,
    ),
}


def images(split: str, count: int) -> Tensor:
    """Images of binarized MNIST, or noise with as much ink where the data is not at hand."""
    try:
        return data.load("binarized-mnist").split(split)[:count].float()
    except ChainruleError:
        return (torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(count)) < 0.13).float()


def loss_of(model: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Mean nats of a batch; likelihoods in float32 whatever the precision of the network."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = model(x)
    return cross_entropy(logits.float().view(x.shape), x, reduction="sum") / len(x)


def stepper(model: nn.Module, precision: str, learning_rate: float = 1e-3) -> Callable[[Tensor], None]:
    """One update, to be called again and again."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)

    def step(x: Tensor) -> None:
        loss_of(model, x, precision).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def both_sides(name: str) -> dict[str, tuple[nn.Module, str]]:
    """The networks of a case, of the same weights, with their precision."""
    build, plain = CASES[name]
    torch.manual_seed(0)
    ours, again = build(), build()
    again.load_state_dict(ours.state_dict())
    sides = {"bf16": (ours, "bf16"), "float32": (again, "float32"), "plain": (plain(ours), "float32")}
    x = images("train", 4)
    with torch.no_grad():
        torch.testing.assert_close(sides["plain"][0](x).view_as(x), ours(x).view_as(x), rtol=1e-3, atol=1e-3)
    return sides


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of all sides, and their NLL after so many updates."""
    x = images("train", BATCH)
    steps = {side: stepper(*of_side) for side, of_side in both_sides(name).items()}
    seconds = least_seconds(
        {side: (lambda step=step: step(x)) for side, step in steps.items()},
        rounds=options.rounds,
        turn=0.2,
        budget=60,
    )
    return {
        "case": name,
        "batch": BATCH,
        "parameters": sum(p.numel() for p in both_sides(name)["bf16"][0].parameters()),
        "seconds_a_step": seconds,
        "times_plain": {side: seconds["plain"] / of_side for side, of_side in seconds.items()},
        "updates": options.updates,
        "test_nll": trained(name, options.updates) if options.updates else None,
    }


def trained(name: str, updates: int) -> dict[str, float]:
    """Test NLL in nats of the two sides people would choose between, after the same batches."""
    x, test = images("train", 50_000), images("test", 1000)
    nll = {}
    for side, (model, precision) in both_sides(name).items():
        if side == "float32":
            continue
        step, generator = stepper(model, precision, 3e-3), torch.Generator().manual_seed(1)
        for _ in range(updates):
            step(x[torch.randint(len(x), (BATCH,), generator=generator)])
        with torch.no_grad():
            total = sum(float(loss_of(model, part, "float32")) * len(part) for part in test.split(BATCH))
        nll[side] = total / len(test)
    return nll


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        f"Steps of batches of {BATCH} images of 28 x 28.",
        "",
        "| network | parameters | plain | ours, float32 | ours, bf16 | times faster: float32, bf16 | test NLL "
        "plain, ours bf16 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ms = {side: f"{seconds * 1e3:.0f} ms" for side, seconds in row["seconds_a_step"].items()}
        times, nll = row["times_plain"], row["test_nll"]
        quality = "-" if nll is None else f"{nll['plain']:.2f}, {nll['bf16']:.2f} ({row['updates']} updates)"
        lines.append(
            f"| {row['case']} | {row['parameters']:,} | {ms['plain']} | {ms['float32']} | {ms['bf16']} "
            f"| {times['float32']:.2f}, **{times['bf16']:.2f}** | {quality} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--updates", type=int, default=200, help="for the NLL; 0 leaves it out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.names or CASES:
        rows.append(measure(name, options))
        print(rows[-1], flush=True)
    path = write("training-images", rows)
    path.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
