"""`fit`: train any model of the library by gradient, or in closed form where it has one.

Everything random in a run is a function of the seed and of the place in the run (epoch, step), never
of what happened before. So a run that was killed and resumed computes exactly what an unbroken one
would have, and the finished weights are bit-equal on the same machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.data import Dataset
from chainrule.errors import ChainruleError, NonFiniteLossError
from chainrule.likelihood import LikelihoodModel
from chainrule.training.batches import Batch, batches, check_fits, evaluation_batches, step_generator
from chainrule.training.checkpoint import Checkpoint, latest_checkpoint, remove_checkpoints, write_checkpoint
from chainrule.training.progress import Progress
from chainrule.training.run import Run
from chainrule.training.settings import TrainingSettings, training_settings

__all__ = ["fit", "seeded"]


def fit(
    model: LikelihoodModel,
    data: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    notes: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Train `model` on `data.train`, select on `data.validation`, and leave everything in `out`.

    - `out`: the run folder: `config.json`, `model.safetensors` (the best validation so far, of the
      averaged weights), `metrics.jsonl`, and checkpoints while training.
    - `resume`: go on from the last checkpoint in `out`; the finished model is the one an unbroken
      run gives. Starts anew if the run had not come to its first checkpoint.
    - `overwrite`: delete an earlier run in `out` first.
    - `progress`: show a bar with the time left and the current bits/dim on stderr.
    - `notes`: JSON-ready facts to keep in `config.json`, such as the preset.
    - `settings`: fields of `TrainingSettings`.

    The test split is never looked at. Returns the `Run`; `model` itself then holds the selected
    weights, on the CPU and in evaluation mode. Raises `ChainruleError` for settings or data that do
    not fit and `NonFiniteLossError` if the loss diverges (the last checkpoint stays).
    """
    chosen = training_settings(settings)
    check_fits(model, data)
    if data.validation is None:
        raise ChainruleError(f"{data.name} has no validation split to select on; give one.")
    run = Run.begin(out, model, data, chosen, resume=resume, overwrite=overwrite, notes=notes or {})
    if model.closed_form:
        return _fit_by_counting(model, data, run)
    if resume and run.is_finished:
        model.load_state_dict(run.model_tensors())
        model.eval()
        return run
    trainer = _Trainer(model, data, run, chosen, Progress(enabled=progress))
    if resume:
        trainer.restore()
    trainer.train()
    return run


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block under a torch seed of its own; the global generators are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _fit_by_counting(model: LikelihoodModel, data: Dataset, run: Run) -> Run:
    start = time.perf_counter()
    model.fit_counts(next(evaluation_batches(model, data, "train", batch_size=None)).values)
    model.eval()
    run.log(
        {
            "epoch": 1,
            "step": 1,
            "validation_nll": _validate(model, data),
            "seconds": time.perf_counter() - start,
        }
    )
    run.save_model(model)
    run.finish()
    return run


@torch.no_grad()
def _validate(model: LikelihoodModel, data: Dataset) -> float:
    """Mean of `validation_loss` over the validation split, nats per example, summed in float64."""
    device = model._reference.device
    total, count = 0.0, 0
    for batch in evaluation_batches(model, data, "validation", batch_size=500):
        batch = batch.to(device)
        total += model.validation_loss(batch.values, batch.context).double().sum().item()
        count += len(batch.values)
    return total / count


@dataclass
class _Progressed:
    """Where a run stands; what a checkpoint holds beside tensors."""

    step: int = 0
    best_nll: float = math.inf
    validations_since_best: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    metrics_lines: int = 0

    def as_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


class _Loss(nn.Module):
    """`training_loss` as a forward pass, which is what data-parallel wrappers can see."""

    def __init__(self, model: LikelihoodModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        return self.model.training_loss(values, context, generator).mean()


class _Trainer:
    """One gradient run. Its whole state is `model`, `average`, `optimizer` and `at`."""

    def __init__(
        self, model: LikelihoodModel, data: Dataset, run: Run, settings: TrainingSettings, progress: Progress
    ) -> None:
        from accelerate import Accelerator

        _forget_accelerate_state()
        self.accelerator = Accelerator(
            cpu=settings.device == "cpu", mixed_precision="bf16" if settings.precision == "bf16" else "no"
        )
        self.model, self.data, self.run, self.settings, self.progress = model, data, run, settings, progress
        model.train().to(self.accelerator.device)
        self.average = deepcopy(model).eval().requires_grad_(False)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.loss, self.prepared_optimizer = self.accelerator.prepare(_Loss(model), self.optimizer)
        self.steps_per_epoch = math.ceil(len(data.split("train")) / settings.batch_size)
        self.at = _Progressed()

    # ---------------------------------------------------------------- the loop

    def train(self) -> None:
        total_steps = self.settings.epochs * self.steps_per_epoch
        started, saved = time.monotonic() - self.at.seconds, time.monotonic()
        with self.progress.over(total_steps, self.at.step, self.model.num_variables) as bar:
            while self.at.step < total_steps and not self._patience_is_over():
                epoch, first_batch = divmod(self.at.step, self.steps_per_epoch)
                for batch in batches(
                    self.model, self.data, self.settings, epoch, first_batch, self.accelerator
                ):
                    loss = self._update(batch, total_steps)
                    self.at.step += 1
                    self.at.epoch_loss += loss
                    self.at.seconds = time.monotonic() - started
                    bar.advance(loss, epoch + 1, self.settings.epochs)
                    if self.at.step % self.steps_per_epoch and self._checkpoint_is_due(saved):
                        self._checkpoint()
                        saved = time.monotonic()
                self._end_epoch(epoch + 1, bar)
                if self._checkpoint_is_due(saved):
                    self._checkpoint()
                    saved = time.monotonic()
        self._finish()

    def _update(self, batch: Batch, total_steps: int) -> float:
        """One step of AdamW; returns the loss. Everything random in it depends on the step alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * _schedule(self.at.step, total_steps, self.settings)
        batch = batch.to(self.accelerator.device)
        generator = step_generator(self.settings.seed, self.at.step)
        with seeded(generator.initial_seed()):  # dropout knows the global generator only
            loss = self.loss(batch.values, batch.context, generator)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss became {value} at step {self.at.step + 1} (epoch {self.at.step // self.steps_per_epoch + 1}); "
                f"try a smaller learning_rate than {self.settings.learning_rate:g}, more warmup_steps, or a smaller clip_norm."
            )
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.prepared_optimizer.step()
        self.prepared_optimizer.zero_grad()
        self._average_weights()
        return value

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Exponential moving average whose memory grows with the run, up to `ema_decay`."""
        decay = min(self.settings.ema_decay, (1 + self.at.step) / (10 + self.at.step))
        if self.settings.ema_decay == 0:
            decay = 0.0
        averaged = [
            p
            for p, q in zip(self.average.parameters(), self.model.parameters(), strict=True)
            if q.requires_grad
        ]
        torch._foreach_lerp_(averaged, [p.detach() for p in self.parameters], 1 - decay)

    def _end_epoch(self, epoch: int, bar: Any) -> None:
        record: dict[str, Any] = {
            "epoch": epoch,
            "step": self.at.step,
            "train_loss": self.at.epoch_loss / self.steps_per_epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs:
            record["validation_nll"] = nll = _validate(self.average, self.data)
            record["validation_bits_per_dim"] = nll / (self.model.num_variables * math.log(2))
            self._note_validation(nll)
            bar.validated(epoch, nll)
        record["seconds"] = round(self.at.seconds, 3)
        self.at.epoch_loss = 0.0
        self.at.metrics_lines += 1
        if self.accelerator.is_main_process:
            self.run.log(record)

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
        self.model.cpu()
        self.model.load_state_dict(self.run.model_tensors())
        self.model.eval()

    # ---------------------------------------------------------------- checkpoints

    def _checkpoint_is_due(self, saved: float) -> bool:
        return time.monotonic() - saved >= 60 * self.settings.checkpoint_minutes

    def _checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, parameter in enumerate(self.parameters):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{key}"] = value
        write_checkpoint(self.run.checkpoints, Checkpoint(self.at.step, self.at.as_json(), tensors))

    def restore(self) -> None:
        """Take up the newest intact checkpoint, if there is one."""
        checkpoint, damaged = latest_checkpoint(self.run.checkpoints)
        for line in damaged:
            self.progress.say(line)
        if checkpoint is None:
            self.run.forget_metrics_after(0)
            return
        self.at = _Progressed(**checkpoint.state)
        self.run.forget_metrics_after(self.at.metrics_lines)
        self.model.load_state_dict(_under("model.", checkpoint.tensors))
        self.average.load_state_dict(_under("average.", checkpoint.tensors))
        for index, parameter in enumerate(self.parameters):
            saved = _under(f"optimizer.{index}.", checkpoint.tensors)
            self.optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in saved.items()
            }


def _schedule(step: int, total_steps: int, settings: TrainingSettings) -> float:
    """Learning rate over its peak: a linear rise, then cosine, linear or no decay."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(total_steps - settings.warmup_steps, 1)
    falling = 1 - done if settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return settings.final_fraction + (1 - settings.final_fraction) * falling


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _forget_accelerate_state() -> None:
    # Accelerate keeps the precision of the first Accelerator of a process for good; two fits in one
    # process may want different ones.
    from accelerate.state import AcceleratorState

    if AcceleratorState().initialized if AcceleratorState._shared_state else False:
        AcceleratorState._reset_state()
