"""Grey digits of 17 levels, a small density trained on them, and small models with a mind of their own."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from chainrule.conditionals import Categorical
from chainrule.data import Dataset
from chainrule.model import AutoregressiveModel
from chainrule.models import GatedPixelCNN

LEVELS = 17


@functools.cache
def grey_digits() -> Dataset:
    """scikit-learn's digits with their grey levels: 900 to train on, 450 to calibrate on, 447 to judge."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(found.target).long()
    mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    rows = dict(zip(("train", "validation", "test"), torch.split(mixed, [900, 450, 447]), strict=True))
    return Dataset(
        "grey-digits",
        *(images[at] for at in rows.values()),
        (1, 8, 8),
        "image",
        LEVELS,
        labels={split: labels[at] for split, at in rows.items()},
    )


@functools.cache
def trained(conditional: str = "categorical", epochs: int = 6) -> GatedPixelCNN:
    """A few seconds of training: far from good, but it knows digits from noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spec = {"name": conditional, "levels": LEVELS}
        model = GatedPixelCNN(
            (1, 8, 8), features=12, num_layers=2, kernel_size=3, first_kernel_size=5, head=(24,),
            conditional=spec,
        )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    images, order = grey_digits().train.float(), torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(images), generator=order), 50):
            optimiser.zero_grad()
            model.nll(images[rows]).mean().backward()
            optimiser.step()
    return model.eval()


def noisy(images: Tensor, reach: int = 1, seed: int = 0) -> Tensor:
    """RAND: uniform whole numbers in -reach..reach on every pixel."""
    source = torch.Generator().manual_seed(seed)
    moved = images.int() + torch.randint(-reach, reach + 1, images.shape, generator=source)
    return moved.clamp(0, LEVELS - 1).to(images.dtype)


class Copycat(AutoregressiveModel):
    """Pixel 1 is most probably `favourite`; every later pixel copies the one before it."""

    def __init__(self, event_shape=(2,), *, favourite: int = 4, conditional=None, ordering="raster") -> None:
        super().__init__(event_shape, conditional=conditional or Categorical(10), ordering=ordering)
        self.favourite = favourite

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        sequence = self.to_sequence(x)
        before = torch.cat([torch.full_like(sequence[:, :1], self.favourite), sequence[:, :-1]], dim=1)
        levels = torch.arange(10).to(x)
        return self.from_sequence(-(before[..., None] - levels).abs())
