"""Truncated back-propagation through time: one long sequence in pieces, its state carried along.

Williams & Peng 1990. The rows of a split are taken for consecutive pieces of one sequence, cut into as many
streams as a batch has rows. A step goes on with every stream where the last one stopped, from the state it
left behind, but gradients reach no further back than the piece: cost and memory of a step are those of a
piece, while what a model remembers may be much older.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.models.sequence import Passage, SequenceModel
from chainrule.trainable import Trainable
from chainrule.training.batches import Batch, consecutive_rows

__all__ = ["CarriedLoss", "check_carries_state", "validate_carried"]

#: Streams of a validation split: each begins without a past, so there are few, but not one value at a time.
_VALIDATION_STREAMS = 8


def check_carries_state(model: Trainable) -> None:
    """Raise `ChainruleError` where the model cannot go on from one row to the next."""
    if not isinstance(model, SequenceModel) or not model.constant_memory:
        raise ChainruleError(
            f"carry_state=True goes on from the state of the row before, but {type(model).__name__} has none "
            "that keeps its size; a recurrent network such as RNN has."
        )
    if model.context_size:
        raise ChainruleError("carry_state=True takes no context: that belongs to an example of its own.")
    if model.end is not None:
        raise ChainruleError(
            f"carry_state=True goes on past every row, but end={model.end} ends a sequence for good; "
            "make the model without end."
        )
    model.with_length(2 * model.num_variables)  # raises where there is no going on from the last variable


class CarriedLoss(nn.Module):
    """The mean NLL of pieces given all that came before them in their streams, nats per row."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = cast(SequenceModel, model)
        self.passage: Passage | None = None

    def begin(self) -> None:
        """The next pieces are the first ones of their streams."""
        self.passage = None

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """The loss of the next pieces; streams that have ended are the last ones of the batch before."""
        values = self.model.to_sequence(batch.values)
        log_prob, passage = self.model.go_on(values, self._of_rows(len(values)))
        self.passage = Passage(passage.state.mapped(Tensor.detach), passage.last, passage.length)
        return -log_prob.sum(1).mean()

    def _of_rows(self, count: int) -> Passage | None:
        passage = self.passage
        if passage is None or len(passage.last) == count:
            return passage
        rows = torch.arange(count, device=passage.last.device)
        return Passage(passage.state.select_rows(rows), passage.last[rows], passage.length)

    # ---------------------------------------------------------------- checkpoints

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the streams; nothing at their beginning."""
        if self.passage is None:
            return {}
        numbers = torch.tensor([self.passage.state.position, self.passage.length])
        of_state = enumerate(self.passage.state.tensors())
        states = {f"carried.state.{index}": tensor for index, tensor in of_state}
        return {"carried.last": self.passage.last, "carried.numbers": numbers, **states}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` returned, from among those of a checkpoint."""
        self.passage = None
        if "carried.last" not in tensors:
            return
        last = tensors["carried.last"].to(self.model._reference.device)
        place = iter(range(len(tensors)))

        def saved(fresh: Tensor) -> Tensor:
            return tensors[f"carried.state.{next(place)}"].to(fresh.device)

        state = self.model.init_state(len(last)).mapped(saved)
        state.position, length = tensors["carried.numbers"].tolist()
        self.passage = Passage(state, last, length)


@torch.no_grad()
def validate_carried(model: Trainable, data: Dataset) -> float:
    """Mean NLL of the validation rows, each given those before it in a few streams; nats per row."""
    loss, values = CarriedLoss(model), data.evaluation_split("validation")
    reference, total = model._reference, 0.0
    for rows in consecutive_rows(len(values), _VALIDATION_STREAMS):
        batch = Batch(values[rows].to(reference), None)
        total += loss(batch).item() * len(rows)
    return total / len(values)
