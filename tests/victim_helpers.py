"""Grey digits of 17 levels and small victims of them, trained in a second or two."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from chainrule.contrasts import MLP, Classifier, SmallCNN
from chainrule.data import Dataset
from chainrule.training import fit, seeded

LEVELS = 17


@functools.cache
def grey_digits() -> Dataset:
    bundle = load_digits()
    order = torch.randperm(len(bundle.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(bundle.images).to(torch.uint8)[order, None]
    labels = torch.tensor(bundle.target)[order]
    rows = {"train": slice(0, 1200), "validation": slice(1200, 1500), "test": slice(1500, None)}
    return Dataset(
        "grey-digits",
        **{split: images[where] for split, where in rows.items()},
        event_shape=(1, 8, 8),
        kind="image",
        levels=LEVELS,
        labels={split: labels[where] for split, where in rows.items()},
    )


@functools.cache
def victim(name: str = "cnn", adversarial: str | None = None) -> Classifier:
    """A trained victim; nobody may change it."""
    options = {"levels": LEVELS, "adversarial": adversarial, "adversarial_eps": 2.0}
    with seeded(0):
        if name == "cnn":
            model = SmallCNN((1, 8, 8), features=(8, 16), hidden=32, **options)
        else:
            model = MLP((1, 8, 8), hidden=(64,), **options)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, grey_digits(), Path(folder) / "run", epochs=12, learning_rate=0.01, progress=False)
    return model


def some_digits(count: int = 40):
    data = grey_digits()
    return data.test[:count], data.labels["test"][:count]
