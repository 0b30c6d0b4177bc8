"""The gradient loop behind `fit`: steps, validation, selection, checkpoints.

Everything random in a run is a function of the seed and of the place in the run (epoch, step), never
of what happened before, and the rest of its state is in the checkpoint. What is written between two
checkpoints (best weights, metrics) is written again, the same, by a run resumed from the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.data import Dataset
from chainrule.errors import ChainruleError, NonFiniteLossError
from chainrule.trainable import Trainable
from chainrule.training.batches import Batch, batches, evaluation_batches, step_generator, step_seed
from chainrule.training.carried import CarriedLoss, validate_carried
from chainrule.training.checkpoint import Checkpoint, latest_checkpoint, remove_checkpoints, write_checkpoint
from chainrule.training.devices import interrupt_between_steps, reseed, seeded
from chainrule.training.progress import Bar, Progress
from chainrule.training.run import Run
from chainrule.training.settings import TrainingSettings

__all__ = ["Trainer", "learning_rate_factor", "validate"]

#: Examples that are validated together: at most so many, and so many numbers that the network writes.
_MOST_ROWS, _MOST_NUMBERS = 500, 1 << 26
#: Warm-up is over after this share of the time that a run may take, however slow the machine is.
_WARM_UP_SHARE = 0.05


@torch.no_grad()
def validate(model: Trainable, data: Dataset) -> float:
    """Mean of `validation_loss` over the validation split, nats per example, summed in float64."""
    device = model._reference.device
    total, count = 0.0, 0
    rows = max(1, min(_MOST_ROWS, _MOST_NUMBERS // model.numbers_per_example))
    for batch in evaluation_batches(model, data, "validation", batch_size=rows):
        batch = batch.to(device)
        total += model.validation_loss(batch.values, batch.context).cpu().double().sum().item()
        count += len(batch.values)
    return total / count


@dataclass
class _Place:
    """Where a run stands; what a checkpoint holds beside tensors."""

    step: int = 0
    best_nll: float = math.inf
    validations_since_best: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    metrics_lines: int = 0


class _Loss(nn.Module):
    """`training_loss` as a forward pass, which is what mixed-precision and data-parallel wrappers see."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, generator: torch.Generator) -> Tensor:
        loss = self.model.training_loss(batch.values, batch.context, generator).mean()
        return loss if batch.weight == 1 else loss * batch.weight


class Trainer:
    """One gradient run. Its whole state is `model`, `average`, `optimizer`, `carried` and `at`.

    With several processes (`accelerate launch`) each computes its share of every batch and the whole
    validation, so all take the same decisions; the main one alone writes.
    """

    def __init__(
        self,
        model: Trainable,
        data: Dataset,
        run: Run,
        settings: TrainingSettings,
        progress: Progress,
        accelerator: Any,
    ) -> None:
        self.model, self.data, self.run = model, data, run
        self.settings, self.progress, self.accelerator = settings, progress, accelerator
        self.device: torch.device = accelerator.device
        model.train().to(self.device)
        # `fit` has filled it in; a trainer made by hand takes the model's default too.
        self.peak_rate = settings.learning_rate or model.default_learning_rate
        self.parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.peak_rate,
            eps=settings.adam_epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        # The optimizer needs no wrapper: nothing is accumulated or scaled, and Accelerate's looks for
        # another optimizer library on the import path twice a step.
        self.carried = CarriedLoss(model) if settings.carry_state else None
        self.loss = accelerator.prepare(_Loss(model) if self.carried is None else self.carried)
        # After `prepare`, which gives every process the main one's weights.
        self.average = deepcopy(model).eval().requires_grad_(False)
        pairs = zip(self.average.parameters(), model.parameters(), strict=True)
        self.averaged: list[Tensor] = [mean for mean, p in pairs if p.requires_grad]
        self.steps_per_epoch = math.ceil(len(data.split("train")) / settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.at = _Place()
        self.checkpointed = time.monotonic()
        self.interrupted: Callable[[], bool] = lambda: False

    # ---------------------------------------------------------------- the loop

    def train(self) -> None:
        """Go on to the end. However it ends, the model is left on the CPU, in evaluation mode."""
        try:
            with seeded(self.settings.seed):
                if self.accelerator.num_processes > 1:  # they could not stop at the same step
                    self._loop()
                else:
                    with interrupt_between_steps() as self.interrupted:
                        self._loop()
            self._finish()
        finally:
            self.optimizer.zero_grad()
            self.model.cpu().eval()

    def _loop(self) -> None:
        started = time.monotonic() - self.at.seconds
        if self.at.step == 0:  # from here on, the weights handed in are no longer needed to resume
            self._checkpoint()
        with self.progress.over(self.total_steps, self.at.step, self.model.validation_words) as bar:
            while not self._is_over():
                epoch, first_batch = divmod(self.at.step, self.steps_per_epoch)
                if self.carried is not None and first_batch == 0:
                    self.carried.begin()
                for batch in self._batches(epoch, first_batch):
                    loss = self._update(batch)
                    self.at.step += 1
                    self.at.epoch_loss += loss
                    self.at.seconds = time.monotonic() - started
                    bar.advance(loss, epoch + 1, self.settings.epochs)
                    self._check_first_epoch(epoch)
                    if self.at.step % self.steps_per_epoch:  # else the epoch is to be closed first
                        self._checkpoint_if_due()
                self._end_epoch(epoch + 1, bar)
                self._checkpoint_if_due()

    def _batches(self, epoch: int, first_batch: int) -> Any:
        share = self.accelerator.process_index, self.accelerator.num_processes
        return batches(self.model, self.data, self.settings, epoch, first_batch, *share)

    def _update(self, batch: Batch) -> float:
        """One step of AdamW; returns the loss, nats. Everything random in it depends on the step alone."""
        seed, step, process = self.settings.seed, self.at.step, self.accelerator.process_index
        factor = learning_rate_factor(step, self.total_steps, self.settings, self._share_of_time())
        learning_rate = self.peak_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        reseed(step_seed(seed, step, process))
        with torch.enable_grad():  # whatever the caller's mode
            loss = self.loss(batch.to(self.device), step_generator(seed, step, process))
            self.accelerator.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        value = self._checked(loss.detach(), norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._average_weights()
        return value

    def _checked(self, loss: Tensor, norm: Tensor) -> float:
        """The loss over all processes, if it and the gradient are finite: before any weight is touched."""
        if self.accelerator.num_processes > 1:
            loss = self.accelerator.reduce(loss, "mean")
        value, size = torch.stack([loss, norm.to(loss)]).tolist()  # one wait for the device
        if not math.isfinite(value):
            raise self._non_finite(f"the loss became {value}", self.at.step + 1)
        if not math.isfinite(size):
            raise self._non_finite(f"the norm of the gradient became {size}", self.at.step + 1)
        return float(value)

    def _non_finite(self, what: str, step: int) -> NonFiniteLossError:
        settings = self.settings
        epoch = (step - 1) // self.steps_per_epoch + 1
        return NonFiniteLossError(
            f"{what} at step {step} (epoch {epoch}); the best weights so far are kept. Start a new run "
            f"with a learning_rate below {self.peak_rate:g}, more warmup_steps than "
            f"{settings.warm_up(self.total_steps)}, or a clip_norm below {settings.clip_norm:g}."
        )

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Exponential moving average whose memory grows with the run, up to `ema_decay`."""
        decay = min(self.settings.ema_decay, (1 + self.at.step) / (10 + self.at.step))
        torch._foreach_lerp_(self.averaged, self.parameters, 1 - decay)

    # ---------------------------------------------------------------- the end of an epoch

    def _end_epoch(self, epoch: int, bar: Bar) -> None:
        record: dict[str, Any] = {
            "epoch": epoch,
            "step": self.at.step,
            "train_loss": self.at.epoch_loss / self.steps_per_epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if epoch % self.settings.validate_every == 0 or self._ends_with(epoch):
            record["validation_nll"] = nll = self._validate()
            record |= self.model.validation_record(nll) | self.average.validation_measures(self.data)
            self._note_validation(nll)
            bar.validated(epoch, nll)
        record["seconds"] = round(self.at.seconds, 3)
        self.at.epoch_loss = 0.0
        self.at.metrics_lines += 1
        if self.accelerator.is_main_process:
            self.run.log(record)

    @torch.no_grad()
    def _validate(self) -> float:
        # Running statistics and the like are not averaged but taken as they are.
        saved = self.average.state_dict(keep_vars=True)
        for name, value in self.model.state_dict(keep_vars=True).items():
            if not isinstance(value, nn.Parameter):
                saved[name].copy_(value)
        nll = (validate if self.carried is None else validate_carried)(self.average, self.data)
        if not math.isfinite(nll):
            raise self._non_finite(f"the validation loss became {nll}", self.at.step)
        return nll

    def _note_validation(self, nll: float) -> None:
        if nll < self.at.best_nll:
            self.at.best_nll, self.at.validations_since_best = nll, 0
            if self.accelerator.is_main_process:
                self.run.save_model(self.average)
        else:
            self.at.validations_since_best += 1

    def _is_over(self) -> bool:
        """Whether no epoch is to follow: they are done, patience is over, or time is up."""
        epochs_done = self.at.step // self.steps_per_epoch
        whole = self.at.step % self.steps_per_epoch == 0 and math.isfinite(self.at.best_nll)
        return (
            self._patience_is_over()
            or self.at.step >= self.total_steps
            or (whole and self._ends_with(epochs_done))
        )

    def _ends_with(self, epoch: int) -> bool:
        """Whether this epoch is the last: of those asked for, or since most of the next would be too late."""
        if epoch >= self.settings.epochs or self.settings.max_minutes is None:
            return epoch >= self.settings.epochs
        return self._share_of_time() * (1 + 0.5 / epoch) >= 1

    def _share_of_time(self) -> float:
        """How much of `max_minutes` is used up; 0 without such a limit."""
        minutes = self.settings.max_minutes
        return 0.0 if minutes is None else self.at.seconds / (60 * minutes)

    def _check_first_epoch(self, epoch: int) -> None:
        """Raise `ChainruleError` when the time is up before one epoch: there is no model to select yet."""
        if epoch > 0 or self._share_of_time() < 1 or self.at.step >= self.steps_per_epoch:
            return
        needed = self.at.seconds / 60 * self.steps_per_epoch / self.at.step
        raise ChainruleError(
            f"{self.settings.max_minutes:g} minutes (max_minutes) are too few for one epoch, which takes "
            f"about {needed:.2g} minutes here; give more time, or train a smaller model."
        )

    def _patience_is_over(self) -> bool:
        return self.settings.patience is not None and self.at.validations_since_best >= self.settings.patience

    def _finish(self) -> None:
        if self.accelerator.is_main_process:
            self.run.finish()
            remove_checkpoints(self.run.checkpoints)
        self.accelerator.wait_for_everyone()
        self.model.load_state_dict(self.run.model_tensors())

    # ---------------------------------------------------------------- checkpoints

    def _checkpoint_if_due(self) -> None:
        if self.interrupted():
            self._checkpoint()
            self.progress.say(f"stopped after step {self.at.step}; resume to go on from there.")
            raise KeyboardInterrupt
        if time.monotonic() - self.checkpointed >= 60 * self.settings.checkpoint_minutes:
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self.accelerator.is_main_process:
            tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
            for index, parameter in enumerate(self.parameters):
                for key, value in self.optimizer.state[parameter].items():
                    tensors[f"optimizer.{index}.{key}"] = value
            if self.carried is not None:
                tensors |= self.carried.tensors()
            self.run.secure_metrics()  # the checkpoint says how many lines there are
            checkpoint = Checkpoint(self.at.step, asdict(self.at), tensors, self.run.identity)
            write_checkpoint(self.run.checkpoints, checkpoint)
        self.checkpointed = time.monotonic()

    def restore(self) -> None:
        """Take up the newest intact checkpoint, if there is one; forget what was logged after it.

        Raises `ChainruleError` if it was made with other settings than `config.json` now says.
        """
        checkpoint, damaged = latest_checkpoint(self.run.checkpoints)
        for line in damaged:
            self.progress.say(line)
        if checkpoint is not None:
            self.run.check_identity(checkpoint.identity)
            self.at = _Place(**checkpoint.state)
            self.model.load_state_dict(_under("model.", checkpoint.tensors))
            self.average.load_state_dict(_under("average.", checkpoint.tensors))
            for index, parameter in enumerate(self.parameters):
                saved = _under(f"optimizer.{index}.", checkpoint.tensors)
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device, copy=True) for key, value in saved.items()
                }
            if self.carried is not None:
                self.carried.restore(checkpoint.tensors)
        if self.accelerator.is_main_process:
            self.run.forget_metrics_after(self.at.metrics_lines)


def learning_rate_factor(
    step: int, total_steps: int, settings: TrainingSettings, share_of_time: float = 0.0
) -> float:
    """Learning rate over its peak at a step (from 0): a linear rise, then cosine, linear or no decay.

    - `share_of_time`: how much of the time that the run may take is used up; the rate falls with whichever
      comes to its end first.
    """
    warm_up = settings.warm_up(total_steps)
    if step < warm_up and share_of_time < _WARM_UP_SHARE:
        return (step + 1) / warm_up
    if settings.schedule == "constant":
        return 1.0
    done = max((step - warm_up) / max(total_steps - warm_up, 1), min(share_of_time, 1.0))
    falling = 1 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return settings.final_fraction + (1 - settings.final_fraction) * falling


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
