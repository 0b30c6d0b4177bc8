"""The settings of a training run: checked when given, saved with the run."""

from __future__ import annotations

import reprlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chainrule.arguments import LARGEST_SEED
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["TrainingSettings", "training_settings"]

#: Warm-up where none is asked for: so many updates, but at most this part of the run.
_WARM_UP_STEPS, _WARM_UP_SHARE = 100, 0.05


class TrainingSettings(BaseModel):
    """How `fit` trains; every field is a `--set NAME=VALUE` of the command line.

    `learning_rate` and `warmup_steps` have no default of their own: `fit` fills them in (`completed`)
    before it records the settings, so that a run folder always says which ones were used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(50, ge=1, description="passes over the training data")
    batch_size: int = Field(100, ge=1, description="examples per update, over all devices together")
    carry_state: bool = Field(
        False,
        description="take the rows for consecutive pieces of one sequence and go on from the state after the "
        "row before (truncated back-propagation through time); for models that can",
    )
    learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of AdamW; none for the model's own default"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay of AdamW")
    adam_epsilon: float = Field(
        1e-8, gt=0, description="epsilon of AdamW; larger ones (1e-2) come near plain gradient descent"
    )
    warmup_steps: int | None = Field(
        None,
        ge=0,
        description="updates over which the learning rate rises linearly; none for 100, or a twentieth "
        "of a run too short for that",
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how the learning rate falls after warm-up, to final_fraction of its peak"
    )
    final_fraction: float = Field(0.01, ge=0, le=1, description="last learning rate over the peak one")
    clip_norm: float = Field(5.0, gt=0, description="gradients of greater norm are scaled down to this")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; 0 for none")
    patience: int | None = Field(
        None, ge=1, description="stop after this many validations without improvement"
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="arithmetic of training; likelihoods are always computed in float32"
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="train for about so many minutes at most; the learning rate has fallen by then, and the "
        "result depends on the machine's speed",
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto takes an accelerator if there is one")
    checkpoint_minutes: float = Field(5.0, ge=0, description="minutes between checkpoints to resume from")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of everything random in the run")

    def completed(self, default_learning_rate: float, total_steps: int) -> TrainingSettings:
        """The same, with a learning rate and a warm-up for a run of so many updates."""
        rate = default_learning_rate if self.learning_rate is None else self.learning_rate
        return self.model_copy(update={"learning_rate": rate, "warmup_steps": self.warm_up(total_steps)})

    def warm_up(self, total_steps: int) -> int:
        """Updates of warm-up in a run of `total_steps`: those asked for, else few enough for it."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        return min(_WARM_UP_STEPS, int(_WARM_UP_SHARE * total_steps))


def training_settings(values: dict[str, Any]) -> TrainingSettings:
    """Checked settings, or a `ChainruleError` that names the setting and what it must be."""
    known = TrainingSettings.model_fields
    for name in values:
        if name not in known:
            raise unknown_name("training setting", name, known)
    try:
        return TrainingSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        meaning = known[name].description if name in known else None
        raise ChainruleError(
            f"training setting {name}={reprlib.repr(first['input'])}: {first['msg'].lower()}"
            f"{f' ({meaning})' if meaning else ''}."
        ) from None
