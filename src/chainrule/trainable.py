"""What `fit` needs of a model: a loss per example, and a folder to come back from.

Models of p(x) are trainable (`LikelihoodModel`), and so are the networks that the lecture sets beside them
and that have no p(x): classifiers and autoencoders (`chainrule.contrasts`). All train with the same loop,
resume, checkpoints and metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.errors import ChainruleError
from chainrule.inputs import check_shape, checked_context, checked_event_shape
from chainrule.pretrained import Pretrained

if TYPE_CHECKING:
    from chainrule.data import Dataset

__all__ = ["Trainable"]


class Trainable(Pretrained):
    """A module that `fit` can train on examples of shape `event_shape`.

    - `event_shape`: shape of one example without the batch, such as `(784,)` or `(1, 28, 28)`.
    - `context_size`: length of the vector that comes with each example; 0 for none. It is given as floats
      `(batch, context_size)` or as class labels `(batch,)` in 0..context_size-1, which are one-hot encoded.

    A subclass writes `training_loss`. Its constructor arguments must be readable as attributes of the same
    names; that is how `save_pretrained` records them.
    """

    #: Whether the parameters come from `fit_counts` (closed form) and not from gradients.
    closed_form: bool = False
    #: Peak learning rate of `fit` where none is asked for.
    default_learning_rate: ClassVar[float] = 5e-3

    def __init__(self, event_shape: Sequence[int], *, context_size: int = 0) -> None:
        super().__init__()
        self.event_shape = checked_event_shape(event_shape)
        self.num_variables = math.prod(self.event_shape)
        self.context_size = whole_number("context_size", context_size)

    # ---------------------------------------------------------------- what a subclass writes

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """What training minimises, nats per example, `(batch,)`; random choices come from `generator`."""
        raise NotImplementedError

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What model selection uses, nats per example, `(batch,)`; deterministic."""
        raise NotImplementedError

    def fit_counts(self, x: Tensor) -> None:
        """Set the parameters in closed form from data `(N, *event_shape)`; only if `closed_form`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed-form fit; use chainrule.fit.")

    def check_levels(self, levels: int | None, name: str) -> None:
        """Raise `ChainruleError` if data of values 0..levels - 1 (None: real ones) do not fit."""

    def check_values(self, x: Tensor) -> None:
        """Raise `ChainruleError` for values that the model cannot take; called for real-valued data."""

    def validation_record(self, loss: float) -> dict[str, float]:
        """What `metrics.jsonl` says of a validation with this mean loss, beside the loss itself."""
        return {}

    def validation_measures(self, data: Dataset) -> dict[str, float]:
        """What `metrics.jsonl` also says of the validation split, such as a share that is right."""
        return {}

    def validation_words(self, loss: float) -> str:
        """The same for people who watch, in a few words."""
        return f"{loss:.4f} nats"

    @property
    def numbers_per_example(self) -> int:
        """About how many numbers the network writes for an example: what limits how many go together."""
        return self.num_variables

    # ---------------------------------------------------------------- odds and ends

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters())

    @property
    def _reference(self) -> Tensor:
        """Any floating tensor of the model: it knows the dtype and the device."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.zeros(())

    def _shaped(self, x: Tensor) -> Tensor:
        """`x` on the model's device and dtype, or a `ChainruleError` for another shape."""
        check_shape(x, self.event_shape)
        return x.to(self._reference)

    def _checked_context(self, context: Tensor | None, batch_size: int) -> Tensor | None:
        """The context as `(batch, context_size)` floats, or a `ChainruleError`."""
        context = checked_context(context, batch_size, self.context_size)
        return None if context is None else context.to(self._reference)

    def _missing_labels(self, name: str, split: str) -> ChainruleError:
        """The error where a split of a data set has no labels to go with the examples."""
        return ChainruleError(
            f"the model needs labels as context, but {name} has none for {split}; "
            "use labelled data, or a model with context_size=0."
        )
