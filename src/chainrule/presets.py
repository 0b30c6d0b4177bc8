"""Presets: published configurations and small ones, what was published with them, and what was measured.

A plain dictionary, read without importing torch: `PRESETS[model][name]`. `chainrule train MODEL
--preset NAME` uses one; every setting can still be changed with `--set`. The papers trained with
plain gradient ascent or Adagrad; the training settings here are this library's own (AdamW, averaged
weights), chosen on validation data. The published numbers are test NLL in nats per image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.errors import ChainruleError, unknown_name

__all__ = ["PRESETS", "Measured", "Preset", "preset"]


_BUSY = "2 cores of an AMD EPYC, shared with other work"


@dataclass(frozen=True)
class Measured:
    """What this project reached with a preset, on the test split, looked at once.

    - `nll` and `standard_error`: nats per example; `minutes`: training, on the machine that `note` names.
    - `of`: what exactly was measured, where that is not the preset's one run on the whole test split.
    """

    nll: float
    standard_error: float
    minutes: float
    note: str = ""
    of: str = ""


@dataclass(frozen=True)
class Cost:
    """What a preset costs on a CPU: weights on `data`, and seconds of an epoch of training there."""

    data: str
    parameters: int
    seconds_per_epoch: float
    note: str


@dataclass(frozen=True)
class Preset:
    """A configuration to train, and the results that belong to it.

    - `settings`: arguments of the model; `training`: fields of `TrainingSettings`.
    - `data`: the data set that the published number is about.
    - `members`: orderings or masks to mix when evaluating; 1 for the model alone.
    - `published`: test NLL in nats of this very configuration, None if nobody published it; and `source`,
      where it stands.
    - `measured`: this project's own result; None until there is one.
    - `costs`: what it takes on a CPU, for the data sets where that was measured.
    """

    data: str
    published: float | None
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    note: str = ""
    measured: Measured | None = None
    costs: tuple[Cost, ...] = ()

    @property
    def costs_text(self) -> str:
        """What an epoch takes as people read it; empty where it was not measured."""
        if not self.costs:
            return ""
        seconds = ", ".join(f"{cost.seconds_per_epoch:g} s on {cost.data}" for cost in self.costs)
        return f"{self.costs[0].parameters:,} parameters; an epoch takes {seconds} ({self.costs[0].note})"

    @property
    def measured_text(self) -> str:
        """The measured result as people read it."""
        if self.measured is None:
            return "not measured yet"
        m = self.measured
        of = f" ({m.of})" if m.of else ""
        return f"{m.nll:.2f} ± {m.standard_error:.2f} nats after {m.minutes:.0f} min{of}"

    def summary(self) -> dict[str, Any]:
        """Everything in it, as plain values that `json.dumps` accepts."""
        content = {**vars(self), "settings": dict(self.settings), "training": dict(self.training)}
        content["costs"] = [vars(cost) for cost in self.costs]
        return {**content, "measured": None if self.measured is None else vars(self.measured)}


_MNIST = "binarized-mnist"
_LM2011 = "Larochelle & Murray 2011"
_MADE = "Germain et al. 2015, table of binarized MNIST"
_MADE_RECIPE = (
    "the paper: Adagrad, rate 0.01, batches of 300, patience 30; here: AdamW, averaged weights, few epochs, "
    "and direct connections, without which a masked network learns several times more slowly"
)

_MADE_TRAINING = {
    "epochs": 5,
    "batch_size": 100,
    "learning_rate": 5e-3,
    "weight_decay": 0.05,
    "precision": "bf16",
}


def _made(
    hidden: list[int], masks: int, published: float, *, epochs: int = 5, measured: Measured | None = None
) -> Preset:
    return Preset(
        data=_MNIST,
        settings={"hidden": hidden, "activation": "relu", "direct": True, "num_masks": masks},
        training={**_MADE_TRAINING, "epochs": epochs},
        members=masks,
        published=published,
        source=_MADE,
        note=_MADE_RECIPE,
        measured=measured,
    )


#: By model, then by name.
PRESETS: dict[str, dict[str, Preset]] = {
    "fvsbn": {
        "paper": Preset(
            data=_MNIST,
            # As published, the pixels come in a random order: late ones know all their neighbours.
            settings={"ordering": "random:1"},
            # Adam's usual epsilon fits rare pixels as eagerly as common ones, and overfits by 3 nats.
            training={"epochs": 16, "batch_size": 100, "learning_rate": 1e-2, "adam_epsilon": 1e-2},
            published=97.45,
            source=_LM2011,
            measured=Measured(97.55, 0.23, 4, _BUSY),
        ),
    },
    "nade": {
        "paper": Preset(
            data=_MNIST,
            settings={"hidden": 500},
            training={"epochs": 40, "batch_size": 100, "learning_rate": 2e-3},
            published=88.33,
            source="the later papers' tables; 88.86 in Larochelle & Murray 2011",
            measured=Measured(87.94, 0.23, 40, _BUSY),
        ),
    },
    "made": {
        "paper": _made([8000, 8000], masks=32, published=86.64),
        "paper-1x8000-1mask": _made(
            [8000],
            masks=1,
            published=88.40,
            epochs=4,
            measured=Measured(88.90, 0.24, 5, _BUSY),
        ),
        "paper-1x8000-32masks": _made([8000], masks=32, published=88.04),
        "paper-2x8000-1mask": _made([8000, 8000], masks=1, published=89.59),
        # Not a published configuration: small enough to train eight orderings of it within an hour and
        # `chainrule mix` them, which is this project's own way to the published 86.64.
        "compact": Preset(
            data=_MNIST,
            settings={"hidden": [2000, 2000], "residual": True, "direct": True},
            training=_MADE_TRAINING,
            published=None,
            source="this project; to be mixed",
            measured=Measured(
                86.30,
                0.22,
                29,
                _BUSY,
                of="the mixture of eight orderings, each trained so",
            ),
            note="not published: one ordering of a mixture, to stand beside the published 86.64",
        ),
    },
    "deep-nade": {
        "paper": Preset(
            data=_MNIST,
            settings={"hidden": [500, 500], "activation": "relu"},
            training={
                "epochs": 300,
                "batch_size": 200,
                "learning_rate": 3e-3,
                "ema_decay": 0.9995,
                "precision": "bf16",
            },
            members=128,
            published=85.10,
            source="Uria et al. 2014",
            measured=Measured(89.15, 0.75, 55, _BUSY, of="on 1,000 test images"),
            note="EoNADE: one network trained for every ordering, evaluated as a mixture of 128 of them",
        ),
    },
}


# ---------------------------------------------------------------- images

_TWO_CORES = "updates alone, the quickest of several, 2 cores of an AMD EPYC"


def _small(
    settings: Mapping[str, Any], parameters: int, digits: float, mnist: float, *, precision: str = "bf16"
) -> Preset:
    """A network for a laptop; with the seconds of an epoch of the digits and of binarized MNIST."""
    return Preset(
        data="digits",
        settings=settings,
        training={"epochs": 20, "batch_size": 50, "learning_rate": 3e-3, "precision": precision},
        published=None,
        source="this project; for a laptop",
        note="small enough to train on a laptop",
        costs=(
            Cost("digits", parameters, digits, _TWO_CORES),
            Cost(_MNIST, parameters, mnist, _TWO_CORES),
        ),
    )


def _paper(data: str, settings: Mapping[str, Any], published: float | None, source: str, note: str) -> Preset:
    """A network of a paper's size, under this project's training settings."""
    return Preset(
        data=data,
        settings=settings,
        training={"epochs": 100, "batch_size": 16, "learning_rate": 1e-3, "precision": "bf16"},
        published=published,
        source=source,
        note=note,
    )


_PIXEL = "van den Oord et al. 2016"
_ON_CIFAR = "days on a GPU, out of reach of a CPU; bits/dim are nats / (3072 ln 2)"
_ON_MNIST = "the paper: RMSProp, batches of 16; here: AdamW, averaged weights"

PRESETS |= {
    "pixelcnn": {
        "small": _small({"features": 16, "num_blocks": 7, "head": [32, 32]}, 27_265, 0.1, 22),
        "paper": _paper(
            "cifar10",
            {"features": 128, "num_blocks": 15, "head": [1024, 1024]},
            6686.2,
            f"{_PIXEL}: 3.14 bits/dim",
            _ON_CIFAR,
        ),
    },
    "gated-pixelcnn": {
        "small": _small(
            {"features": 32, "num_layers": 5, "kernel_size": 3, "first_kernel_size": 5, "head": [32]},
            93_633,
            0.3,
            74,
        ),
        "mnist": Preset(
            data="dynamic-mnist",
            settings={
                "features": 32,
                "num_layers": 6,
                "kernel_size": 5,
                "first_kernel_size": 7,
                "head": [32],
            },
            training={"epochs": 5, "batch_size": 50, "learning_rate": 3e-3, "precision": "bf16"},
            published=None,
            source="this project",
            note=(
                "sees 15 rows up, more than half of an image; small sees 7, and its digits fall apart "
                "(87.0 against 80.9 nats of validation, class by class)"
            ),
        ),
        "paper": _paper(
            "cifar10",
            {"features": 384, "num_layers": 20, "kernel_size": 5, "head": [1024, 1024]},
            None,
            "van den Oord et al. 2016b, the network of 32 x 32 ImageNet",
            f"3.03 bits/dim on CIFAR-10 are of a network whose size is not published; {_ON_CIFAR}",
        ),
    },
    "pixelcnn-pp": {
        "small": _small(
            {"features": 12, "num_blocks": 1, "levels": 2, "dropout": 0.0},
            49_957,
            0.4,
            91,
            precision="float32",
        ),
        "paper": _paper(
            "cifar10",
            {"features": 160, "num_blocks": 5, "levels": 3, "dropout": 0.5},
            6217.7,
            "Salimans et al. 2017: 2.92 bits/dim",
            _ON_CIFAR,
        ),
    },
    "row-lstm": {
        "small": _small({"features": 16, "num_layers": 3, "head": [32]}, 25_921, 0.2, 64),
        "paper": _paper(
            _MNIST, {"features": 16, "num_layers": 7, "head": [32, 32]}, 80.54, _PIXEL, _ON_MNIST
        ),
    },
    "diagonal-bilstm": {
        "small": _small({"features": 16, "num_layers": 2, "head": [32]}, 20_417, 0.3, 86),
        "paper": _paper(
            _MNIST, {"features": 16, "num_layers": 7, "head": [32, 32]}, 79.20, _PIXEL, _ON_MNIST
        ),
    },
}


def preset(model: str, name: str) -> Preset:
    """The preset `name` of `model`; `ChainruleError` with the nearest names if there is none."""
    known = PRESETS.get(model, {})
    if not known:
        with_presets = ", ".join(PRESETS)
        raise ChainruleError(f"model {model!r} has no presets; these have: {with_presets}")
    if name not in known:
        raise unknown_name(f"preset of {model}", name, known)
    return known[name]
