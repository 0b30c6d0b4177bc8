"""What a small one of each model costs on the embedded digits: a training step, a likelihood, a sample.

    python benchmarks/model_costs.py [--threads 1]

One configuration of each model of the catalogue, on 8 x 8 binary pixels, for the tables of `docs/models/`.
A step is forward, backward and Adam on 100 images; models that are fitted by counting have the seconds of
their whole fit instead. All of a model take turns, and the least time of each counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from machine import write
from timing import least_seconds
from torch import Tensor

from chainrule import data
from chainrule.likelihood import LikelihoodModel
from chainrule.models import MADE, MODELS, Ensemble

EVENT = (1, 8, 8)
BATCH = 64
TRAINING_BATCH = 100

#: Sizes that a laptop trains in seconds; PixelCNN++ has one resolution, for three need a larger image.
SETTINGS: dict[str, dict[str, Any]] = {
    "independent": {},
    "bayes-net": {"parents": [[], *([i - 1] for i in range(1, 64))]},
    "chow-liu": {},
    "fvsbn": {},
    "nade": {"hidden": 50},
    "deep-nade": {"hidden": (100, 100)},
    "made": {"hidden": (100, 100)},
    "pixelcnn": {"features": 16, "num_blocks": 3, "head": (32,)},
    "gated-pixelcnn": {"features": 16, "num_layers": 4, "kernel_size": 3, "head": (32,)},
    "pixelcnn-pp": {"features": 8, "num_blocks": 2, "levels": 1, "conditional": "bernoulli"},
    "row-lstm": {"num_layers": 2},
    "diagonal-bilstm": {"num_layers": 2},
    "rnn": {"hidden": 64, "layers": 1},
    "attention-rnn": {"hidden": 64},
    "transformer": {"width": 32, "num_layers": 2, "num_heads": 2},
    "wavenet": {"channels": 16, "skip_channels": 32, "layers_per_stack": 6, "num_stacks": 1},
    "ensemble": {},
}


def build(name: str) -> LikelihoodModel:
    """The model of this benchmark called `name`, with random weights."""
    if name == "ensemble":
        return Ensemble([MADE(EVENT, hidden=(100, 100), ordering=f"random:{k}") for k in range(8)])
    return MODELS[name](EVENT, **SETTINGS[name])


def training_step(model: LikelihoodModel, images: Tensor) -> Callable[[], None]:
    """One step, to be called again and again; each of them changes `model`."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        model.training_loss(images, None, generator).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(name: str, images: Tensor) -> dict[str, Any]:
    """The times of one model, in seconds."""
    model = build(name)
    row: dict[str, Any] = {"model": name, "settings": SETTINGS[name]}
    if getattr(model, "closed_form", False):
        row |= least_seconds({"fit_s": lambda: model.fit_counts(images)}, rounds=3)
    elif name != "ensemble":
        row |= least_seconds({"step_s": training_step(model.train(), images[:TRAINING_BATCH])}, budget=4)
    row["parameters"] = model.eval().num_parameters  # of what is fitted: counting decides the tables

    def likelihood() -> None:
        with torch.no_grad():
            model.log_prob(images[:BATCH])

    sides: dict[str, Callable[[], Any]] = {
        "likelihood_s": likelihood,
        "sample_s": lambda: model.sample(BATCH, seed=0),
        "naive_sample_s": lambda: model.sample(BATCH, seed=0, method="naive"),
    }
    return row | least_seconds(sides, budget=4)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a small one of each model costs on 8 x 8 digits.")
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    images = data.load("digits").split("train").float()
    rows = []
    for name in MODELS:
        rows.append(measure(name, images))
        print({key: value for key, value in rows[-1].items() if key != "settings"}, flush=True)
    write("model-costs", rows)


if __name__ == "__main__":
    main()
