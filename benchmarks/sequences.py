"""Generation and training speed of sequence models, side by side with plain ways and with x-transformers.

    python benchmarks/sequences.py [--threads 2] [--only generate train wavenet lengths]

- generate: a character Transformer of 6 layers, 384 wide, samples 1,000 characters after one, at batch 1 and 16:
  cached (the default), recomputing all of the text for each character (what nanoGPT does; projected from passes
  at spread lengths), and x-transformers' cached `generate` at the same size, where that is installed. Also with a
  context of 256 characters (nanoGPT's), of which half is forgotten whenever it is full.
- lengths: time per character at the beginning and at the end of such a text. Without a limit, keys and values of
  all characters are read at each step, which at batch 16 are 18 MB a row towards the end: memory bounds it.
- train: steps of a Transformer at nanoGPT's own settings for a CPU (4 layers, 4 heads, 128 wide, windows of 64,
  batch 12) and of a plain restatement of its network, in turns.
- wavenet: the ring-buffer sampler against a pass over the receptive field for each sample.

Both sides of a comparison take turns in one process and the shortest time of each counts. Weights are random.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from machine import write
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from chainrule.conditionals import Categorical
from chainrule.models import Transformer, WaveNet
from chainrule.text.generating import Cuts, tokens_from

SYMBOLS, WIDTH, LAYERS, HEADS = 65, 384, 6, 6


def shortest(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The shortest time of each side, which take turns; seconds."""
    best = dict.fromkeys(sides, math.inf)
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


# ---------------------------------------------------------------- generation


def recomputed(model: Transformer, batch: int, count: int) -> float:
    """Seconds that `count` characters take where all of the text is read again for each, as nanoGPT does.

    Projected from passes over 16 lengths that are spread evenly: all of them would take minutes.
    """
    most, total = model.num_variables, 0.0
    lengths = [round((number + 0.5) * count / 16) for number in range(16)]
    for length in lengths:
        text = torch.zeros(batch, min(length, most))
        part = model.with_length(text.shape[1])
        start = time.perf_counter()
        model.conditional.sample(part(text)[:, -1], torch.rand(batch, 1))
        total += time.perf_counter() - start
    return total / len(lengths) * count


def cached(model: Transformer, batch: int, count: int) -> None:
    """As the library generates."""
    _, state = model.read(model.init_state(batch), torch.zeros(batch, 0), begin=True)
    drawn = torch.zeros(batch)
    for _ in range(count):
        params, state = model.read(state, drawn[:, None])
        drawn = model.conditional.sample(params[:, -1], torch.rand(batch, 1))


def x_transformers_model() -> Any:
    """The same size in x-transformers, or None where it is not installed."""
    try:
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper
    except ImportError:
        return None
    network = TransformerWrapper(
        num_tokens=SYMBOLS,
        max_seq_len=1024,
        attn_layers=Decoder(
            dim=WIDTH, depth=LAYERS, heads=HEADS, attn_dim_head=WIDTH // HEADS, attn_flash=True
        ),
    )
    return AutoregressiveWrapper(network).eval()


def in_windows(model: Transformer, batch: int, count: int) -> None:
    """As text is generated: what is further back than the model's length is forgotten by halves."""
    for _ in tokens_from(model, torch.zeros(batch, 1), count, Cuts(), torch.Generator()):
        pass


def character_model(length: int) -> Transformer:
    """The Transformer that is measured."""
    torch.manual_seed(0)
    return Transformer(
        (length,), width=WIDTH, num_layers=LAYERS, num_heads=HEADS, conditional=Categorical(SYMBOLS)
    ).eval()


def generate(count: int = 1000, repeats: int = 3) -> list[dict[str, Any]]:
    """Characters a second of each way, over the whole of a text of `count` characters."""
    model, short, other, rows = character_model(1024), character_model(256), x_transformers_model(), []
    for batch in (1, 16):
        sides: dict[str, Callable[[], Any]] = {
            "cached": partial(cached, model, batch, count),
            "context of 256, cached": partial(in_windows, short, batch, count),
        }
        if other is not None:
            prompt = torch.zeros(batch, 1, dtype=torch.long)
            sides["x-transformers, cached"] = partial(other.generate, prompt, count, cache_kv=True)
        seconds = shortest(sides, repeats)
        for name, of_length in (("recomputed", model), ("context of 256, recomputed", short)):
            seconds[name] = min(recomputed(of_length, batch, count) for _ in range(repeats))
        for name, taken in seconds.items():
            row = {"what": f"generate, {name}", "batch": batch, "tokens_per_second": batch * count / taken}
            rows.append(row | ({"projected": "~"} if "recomputed" in name else {}))
    return rows


def lengths(repeats: int = 3) -> list[dict[str, Any]]:
    """Mean time per character early and late in a text of 1,000 characters."""
    rows = []
    for name, model in (("", character_model(1024)), (", context of 256", character_model(256))):
        for batch in (1, 16):
            best = [math.inf] * 1000
            for _ in range(repeats):
                tokens = tokens_from(model, torch.zeros(batch, 1), 1000, Cuts(), torch.Generator())
                start = time.perf_counter()
                for at, _ in enumerate(tokens):
                    now = time.perf_counter()
                    best[at], start = min(best[at], now - start), now
            for first, last in ((100, 228), (872, 1000)):  # 128: so often a context of 256 is halved
                mean = sum(best[first:last]) / (last - first)
                what = f"characters {first}-{last}{name}"
                rows.append({"what": what, "batch": batch, "ms_per_character": 1e3 * mean})
    return rows


# ---------------------------------------------------------------- training


class PlainBlock(nn.Module):
    """nanoGPT's block, restated plainly."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.into, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = (
            nn.Linear(width, 4 * width, bias=False),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.into(self.norm1(x)).split(width, dim=2)
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for part in (q, k, v)
        )
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    """nanoGPT's network at its settings for a CPU."""

    def __init__(self, symbols: int, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(PlainBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, symbols, bias=False)
        self.tokens.weight = self.head.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def train(steps: int = 60) -> list[dict[str, Any]]:
    """Tokens a second of a training step, in turns."""
    torch.manual_seed(0)
    batch, length, width, layers, heads = 12, 64, 128, 4, 4
    plain = PlainGPT(SYMBOLS, width, layers, heads, length)
    settings = {"width": width, "num_layers": layers, "num_heads": heads, "conditional": Categorical(SYMBOLS)}
    ours = {
        "chainrule, learned positions": Transformer((length,), positions="learned", **settings),
        "chainrule, rotary positions": Transformer((length,), **settings),
    }
    tokens = torch.randint(SYMBOLS, (batch, length + 1))

    def plain_step(optimizer: torch.optim.Optimizer) -> None:
        logits = plain(tokens[:, :-1])
        cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        finish(plain, optimizer)

    def our_step(model: Transformer, optimizer: torch.optim.Optimizer) -> None:
        model.training_loss(tokens[:, 1:].float(), None, torch.Generator()).mean().backward()
        finish(model, optimizer)

    def finish(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def adam(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)

    sides: dict[str, Callable[[], Any]] = {
        "nanoGPT restated": partial(plain_step, adam(plain)),
        **{name: partial(our_step, model, adam(model)) for name, model in ours.items()},
    }
    best = shortest(sides, steps)
    return [
        {"what": f"train, {name}", "batch": batch, "tokens_per_second": batch * length / seconds}
        for name, seconds in best.items()
    ]


# ---------------------------------------------------------------- WaveNet


def wavenet(count: int = 16_000) -> list[dict[str, Any]]:
    """A second of audio at 16 kHz, with rings, against a pass over the receptive field for each sample."""
    torch.manual_seed(0)
    model = WaveNet((count,), conditional=Categorical(256)).eval()
    field = model.with_length(model.receptive_field)
    window = torch.zeros(1, model.receptive_field)
    rings = shortest({"rings": lambda: model.sample(1, seed=0)}, 1)["rings"] / count
    passes = shortest({"pass": lambda: field(window)}, 10)["pass"]
    return [
        {
            "what": "wavenet, rings",
            "samples": count,
            "parameters": model.num_parameters,
            "receptive_field": model.receptive_field,
            "samples_per_second": 1 / rings,
        },
        {
            "what": "wavenet, a pass over the receptive field",
            "samples_per_second": 1 / passes,
            "times_slower": passes / rings,
        },
    ]


PARTS = {"generate": generate, "lengths": lengths, "train": train, "wavenet": wavenet}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| what | batch | a second | other |", "|---|---:|---:|---|"]
    for row in rows:
        rate = row.get("tokens_per_second") or row.get("samples_per_second")
        rest = {
            key: value
            for key, value in row.items()
            if key not in ("what", "batch", "tokens_per_second", "samples_per_second")
        }
        other = ", ".join(
            f"{key.replace('_', ' ')} {format(value, ',.4g') if isinstance(value, float) else value}"
            for key, value in rest.items()
        )
        lines.append(
            f"| {row['what']} | {row.get('batch', 1)} | {f'{rate:,.0f}' if rate else ''} | {other} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for part in options.only:
        with torch.set_grad_enabled(part == "train"):
            found = PARTS[part]()
        rows += found
        print(table(found), flush=True)
    path = write("sequences", rows)
    path.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
    print(f"\nwritten to {path} and .md")


if __name__ == "__main__":
    main()
