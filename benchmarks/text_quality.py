"""Likelihood of published texts under recipes that a processor trains in minutes.

    python benchmarks/text_quality.py nanogpt-cpu [--runs FOLDER] [--threads 1]

- nanogpt-cpu: Tiny Shakespeare at the settings that nanoGPT gives for a CPU: 4 layers, 4 heads, 128 wide,
  learned positions, windows of 64 at random places, 12 of them in each of 2,000 updates, no dropout.
- transformer-cpu: the same budget with this library's rotary positions, rate and averaged weights.
- lstm-characters: two layers of 256, a state carried along the text (truncated back-propagation).
- lstm-words: PTB words, two layers, tied weights (Press & Wolf 2017), dropout, a carried state.

Writes `benchmarks/results/text/NAME/`: `config.json`, `metrics.jsonl` and `result.json`. Three figures are of
the same weights, in nats a token:

- `windows`: nanoGPT's protocol, windows at random places read without what is before them, 200 batches of 12;
- `cut`: the part cut into windows, each read without what is before it: what selects in training;
- `nll`: every token of the part, each given a full context: deterministic, and the distribution that is sampled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, header
from torch import Tensor

from chainrule.data import load_text
from chainrule.text import Corpus, LanguageModel, corpus_of, measure
from chainrule.text.fitting import fit_text, text_network
from chainrule.training import Run, fit

FOLDER = RESULTS / "text"

#: nanoGPT's settings for a CPU (its README and config/train_shakespeare_char.py).
_LENGTH, _BATCH, _UPDATES = 64, 12, 2000
_NANOGPT = {"width": 128, "num_layers": 4, "num_heads": 4}


def random_windows(tokens: Tensor, count: int, length: int, seed: int) -> Tensor:
    """Windows at places drawn independently, `(count, length)`."""
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - length + 1, (count, 1), generator=generator)
    return tokens[starts + torch.arange(length)]


def nanogpt(folder: Path, corpus: Corpus, model: dict[str, Any], training: dict[str, Any]) -> LanguageModel:
    """2,000 updates of 12 windows at random places; one validation, at the end."""
    windows = dataclasses.replace(
        corpus.windows(_LENGTH), train=random_windows(corpus.train, _BATCH * _UPDATES, _LENGTH, seed=1)
    )
    network = text_network("transformer", corpus.tokenizer, _LENGTH, {**_NANOGPT, **model}, seed=0)
    common = {"epochs": 1, "batch_size": _BATCH, "weight_decay": 0.1, "clip_norm": 1.0, "seed": 0}
    fit(network, windows, folder, overwrite=True, progress=False, **common, **training)
    return LanguageModel(network, corpus.tokenizer)


def nanogpt_cpu(folder: Path, corpus: Corpus) -> LanguageModel:
    """As nanoGPT: rate 1e-3 after 100 updates, falling to 1e-4; the last weights as they are."""
    rates = {"learning_rate": 1e-3, "warmup_steps": 100, "final_fraction": 0.1, "ema_decay": 0.0}
    return nanogpt(folder, corpus, {"positions": "learned"}, rates)


def transformer_cpu(folder: Path, corpus: Corpus) -> LanguageModel:
    """The same budget as this library would spend it."""
    return nanogpt(folder, corpus, {}, {"learning_rate": 3e-3, "warmup_steps": 100, "ema_decay": 0.99})


def lstm_characters(folder: Path, corpus: Corpus) -> LanguageModel:
    """Two layers of 256, eight passes over the text with the state carried along 32 streams."""
    return fit_text(
        corpus,
        folder,
        model="rnn",
        length=64,
        model_settings={"hidden": 256, "layers": 2, "dropout": 0.2},
        overwrite=True,
        progress=False,
        carry_state=True,
        batch_size=32,
        epochs=8,
        learning_rate=4e-3,
        clip_norm=1.0,
        precision="bf16",
    )


def lstm_words(folder: Path, corpus: Corpus) -> LanguageModel:
    """Two tied layers of 256 with dropout, for as many passes as 40 minutes of one busy thread allow."""
    return fit_text(
        corpus,
        folder,
        model="rnn",
        length=35,
        model_settings={"hidden": 256, "embedding": 256, "layers": 2, "tied": True, "dropout": 0.25},
        overwrite=True,
        progress=False,
        carry_state=True,
        batch_size=20,
        epochs=10,
        max_minutes=40.0,
        learning_rate=3e-3,
        clip_norm=1.0,
        ema_decay=0.999,
        precision="bf16",
    )


#: The text, its part that is reported, what trains, and the published figure, nats a token.
RECIPES: dict[str, tuple[str, str, Callable[[Path, Corpus], LanguageModel], str]] = {
    "nanogpt-cpu": ("tinyshakespeare", "validation", nanogpt_cpu, "1.88 nats (nanoGPT's README)"),
    "transformer-cpu": ("tinyshakespeare", "validation", transformer_cpu, "1.88 nats (nanoGPT's README)"),
    "lstm-characters": ("tinyshakespeare", "validation", lstm_characters, ""),
    "lstm-words": ("ptb", "test", lstm_words, "perplexity 78.4 (Zaremba et al. 2014, large: 66M parameters)"),
}


@torch.no_grad()
def mean_over(model: LanguageModel, windows: Tensor) -> float:
    """The mean NLL of windows that are read without what is before them, nats a token."""
    parts = [model._log_prob(part) for part in windows.split(200)]
    return -torch.cat(parts).mean().item()


def result(name: str, folder: Path, model: LanguageModel, corpus: Corpus, part: str) -> dict[str, Any]:
    """Every figure of a trained model."""
    figures = measure(model, corpus, part)
    length, run = model.model.num_variables, Run(folder)
    windows = random_windows(corpus.split(part), 200 * _BATCH, length, seed=2)
    last = run.metrics()[-1]
    validation = measure(model, corpus, "validation") if part == "test" else figures
    return {
        **header(),
        "command": f"python benchmarks/text_quality.py {name}",
        "name": name,
        "data": corpus.name,
        "part": part,
        "recipe": " ".join((RECIPES[name][2].__doc__ or "").split()),
        "published": RECIPES[name][3],
        "parameters": model.model.num_parameters,
        "nll": figures.nll,
        "standard_error": figures.standard_error,
        "perplexity": figures.perplexity,
        "bits_per_character": figures.bits_per_character,
        "tokens": figures.tokens,
        "windows": mean_over(model, windows),
        "cut": mean_over(model, corpus.windows(length).split(part)),
        "validation_nll": validation.nll,
        "updates": last["step"],
        "epochs": last["epoch"],
        "training_seconds": last["seconds"],
    }


def table() -> str:
    """What is in `benchmarks/results/text`, as Markdown."""
    lines = [
        "| recipe | text | parameters | every token, nats | windows, nats | perplexity | published | updates | min |",
        "|---|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for path in sorted(FOLDER.glob("*/result.json")):
        r = json.loads(path.read_text(encoding="utf-8"))
        lines.append(
            f"| {r['name']} | {r['data']}, {r['part']} | {r['parameters']:,} "
            f"| **{r['nll']:.4f}** ± {r['standard_error']:.4f} | {r['windows']:.4f} | {r['perplexity']:.2f} "
            f"| {r['published']} | {r['updates']:,} | {r['training_seconds'] / 60:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=RECIPES)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        text, part, train, _ = RECIPES[name]
        corpus, folder = corpus_of(load_text(text)), options.runs / name
        found = result(name, folder, train(folder, corpus), corpus, part)
        target = FOLDER / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "result.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        for file in ("config.json", "metrics.jsonl"):
            shutil.copy(folder / file, target / file)
        print(json.dumps(found, indent=2), flush=True)


if __name__ == "__main__":
    main()
