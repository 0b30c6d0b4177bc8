"""Presets: the published configurations, what was published with them, and what was measured here.

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
class Preset:
    """A configuration to train, and the results that belong to it.

    - `settings`: arguments of the model; `training`: fields of `TrainingSettings`.
    - `data`: the data set that the published number is about.
    - `members`: orderings or masks to mix when evaluating; 1 for the model alone.
    - `published`: test NLL in nats of this very configuration, None if nobody published it; and `source`,
      where it stands.
    - `measured`: this project's own result; None until there is one.
    """

    data: str
    published: float | None
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    note: str = ""
    measured: Measured | None = None

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
            measured=Measured(97.55, 0.23, 4, "2 cores of an AMD EPYC, shared with other work"),
        ),
    },
    "nade": {
        "paper": Preset(
            data=_MNIST,
            settings={"hidden": 500},
            training={"epochs": 40, "batch_size": 100, "learning_rate": 2e-3},
            published=88.33,
            source="the later papers' tables; 88.86 in Larochelle & Murray 2011",
            measured=Measured(87.94, 0.23, 40, "2 cores of an AMD EPYC, shared with other work"),
        ),
    },
    "made": {
        "paper": _made([8000, 8000], masks=32, published=86.64),
        "paper-1x8000-1mask": _made(
            [8000],
            masks=1,
            published=88.40,
            epochs=4,
            measured=Measured(88.90, 0.24, 5, "2 cores of an AMD EPYC, shared with other work"),
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
                "2 cores of an AMD EPYC, shared with other work",
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
            measured=Measured(
                89.15, 0.75, 55, "2 cores of an AMD EPYC, shared with other work", of="on 1,000 test images"
            ),
            note="EoNADE: one network trained for every ordering, evaluated as a mixture of 128 of them",
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
