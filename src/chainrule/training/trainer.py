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
from chainrule.errors import NonFiniteLossError
from chainrule.likelihood import LikelihoodModel
from chainrule.training.batches import Batch, batches, evaluation_batches, step_generator, step_seed
from chainrule.training.carried import CarriedLoss, validate_carried
from chainrule.training.checkpoint import Checkpoint, latest_checkpoint, remove_checkpoints, write_checkpoint
from chainrule.training.devices import interrupt_between_steps, reseed, seeded
from chainrule.training.progress import Bar, Progress
from chainrule.training.run import Run
from chainrule.training.settings import TrainingSettings

__all__ = ["Trainer", "learning_rate_factor", "validate"]

#: Examples that are validated together: at most so many, and so many parameters of conditionals.
_MOST_ROWS, _MOST_PARAMS = 500, 1 << 26


@torch.no_grad()
def validate(model: LikelihoodModel, data: Dataset) -> float:
    """Mean of `validation_loss` over the validation split, nats per example, summed in float64."""
    device = model._reference.device
    total, count = 0.0, 0
    params = model.num_variables * model.conditional.num_params
    rows = max(1, min(_MOST_ROWS, _MOST_PARAMS // params))
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

    def __init__(self, model: LikelihoodModel) -> None:
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
        model: LikelihoodModel,
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
        with self.progress.over(self.total_steps, self.at.step, self.model.num_variables) as bar:
            while self.at.step < self.total_steps and not self._patience_is_over():
                epoch, first_batch = divmod(self.at.step, self.steps_per_epoch)
                if self.carried is not None and first_batch == 0:
                    self.carried.begin()
                for batch in self._batches(epoch, first_batch):
                    loss = self._update(batch)
                    self.at.step += 1
                    self.at.epoch_loss += loss
                    self.at.seconds = time.monotonic() - started
                    bar.advance(loss, epoch + 1, self.settings.epochs)
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
        learning_rate = self.peak_rate * learning_rate_factor(step, self.total_steps, self.settings)
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
        if epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs:
            record["validation_nll"] = nll = self._validate()
            record["validation_bits_per_dim"] = nll / (self.model.num_variables * math.log(2))
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


def learning_rate_factor(step: int, total_steps: int, settings: TrainingSettings) -> float:
    """Learning rate over its peak at a step (from 0): a linear rise, then cosine, linear or no decay."""
    warm_up = settings.warm_up(total_steps)
    if step < warm_up:
        return (step + 1) / warm_up
    if settings.schedule == "constant":
        return 1.0
    done = (step - warm_up) / max(total_steps - warm_up, 1)
    falling = 1 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return settings.final_fraction + (1 - settings.final_fraction) * falling


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
