"""`fit`: train any model of the library by gradient, or in closed form where it has one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from chainrule.arguments import some_path
from chainrule.conditionals import Bernoulli
from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.models.sequence import SequenceModel
from chainrule.trainable import Trainable
from chainrule.training.batches import check_fits, check_is_dataset, evaluation_batches
from chainrule.training.carried import check_carries_state
from chainrule.training.checkpoint import remove_checkpoints
from chainrule.training.devices import own_accelerator
from chainrule.training.lock import locked
from chainrule.training.progress import Progress
from chainrule.training.run import Run
from chainrule.training.settings import training_settings
from chainrule.training.trainer import Trainer, validate

__all__ = ["fit"]


def fit(
    model: Trainable,
    data: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    notes: dict[str, Any] | None = None,
    on_begin: Callable[[Path], None] | None = None,
    **settings: Any,
) -> Run:
    """Train `model` on `data.train`, select on `data.validation`, and leave everything in `out`.

    - `out`: the run folder: `config.json`, `model.safetensors` (the best validation so far, of the
      averaged weights), `metrics.jsonl`, and checkpoints while training.
    - `resume`: go on from the last checkpoint in `out`, or start if there is no run yet. On the same
      machine the finished model is bit-equal to that of an unbroken run, wherever that was killed;
      only a run killed before its first step starts from the weights handed in now.
    - `overwrite`: delete an earlier run in `out` first; files that are not of a run stay.
    - `progress`: show a bar with the time left and the current bits/dim on stderr.
    - `notes`: JSON-ready facts to keep in `config.json`, such as the preset.
    - `on_begin`: called with the folder as soon as the run is there, before it trains: for files that belong
      to the model, so that what is saved while it trains can be used already.
    - `settings`: fields of `TrainingSettings`.

    The test split is never looked at. Returns the `Run`; `model` itself then holds the selected
    weights, on the CPU and in evaluation mode. Ctrl-C stops after the step under way, with a
    checkpoint. Global random state, thread settings and an `accelerate.Accelerator` of the caller's
    are left as they were.

    Raises `ChainruleError` for settings or data that do not fit, a folder that is taken or that another
    process is training in, a run with other settings or on data that changed since, or a full disk
    (what was written before is then intact), and `NonFiniteLossError` if the loss diverges.
    """
    folder, chosen = some_path("out", out), training_settings(settings)
    if resume and overwrite:
        raise ChainruleError("resume goes on with a run and overwrite deletes it; choose one of them.")
    _check_trainable(model, data)
    if chosen.carry_state:
        check_carries_state(model)
    if not model.closed_form:
        steps = chosen.epochs * math.ceil(len(data.split("train")) / chosen.batch_size)
        chosen = chosen.completed(_default_learning_rate(model), steps)
    begin = partial(
        Run.begin, folder, model, data, chosen, resume=resume, overwrite=overwrite, notes=notes or {}
    )
    if model.closed_form:
        with locked(folder):
            return _fit_by_counting(model, data, _begun(begin, on_begin))
    with own_accelerator(chosen) as accelerator, ExitStack() as held:
        if chosen.carry_state and accelerator.num_processes > 1:
            raise ChainruleError("carry_state=True trains in one process; launch it without others.")
        with accelerator.main_process_first():
            if accelerator.is_main_process:  # the others only read
                held.enter_context(locked(folder))
            run = _begun(begin, on_begin) if accelerator.is_main_process else Run(folder)
        if run.is_finished:
            return _take_up_finished(model, run)
        shown = Progress(enabled=progress and accelerator.is_main_process)
        trainer = Trainer(model, data, run, chosen, shown, accelerator)
        if resume:
            trainer.restore()
        trainer.train()
    return run


def _begun(begin: Callable[[], Run], on_begin: Callable[[Path], None] | None) -> Run:
    run = begin()
    if on_begin is not None:
        on_begin(run.folder)
    return run


def _default_learning_rate(model: Trainable) -> float:
    """The model's own; of a p(x), if it was chosen on such data: binary, or sequences of any."""
    if not isinstance(model, LikelihoodModel):
        return model.default_learning_rate
    own = isinstance(model.conditional, Bernoulli) or isinstance(model, SequenceModel)
    return model.default_learning_rate if own else LikelihoodModel.default_learning_rate


def _check_trainable(model: Trainable, data: Dataset) -> None:
    """Raise `ChainruleError` before anything is made where there is nothing to train, or not on this."""
    check_is_dataset(data)
    if data.validation is None:
        raise ChainruleError(f"{data.name} has no validation split to select on; give one.")
    check_fits(model, data, ("train", "validation"))
    if not model.closed_form and not any(p.requires_grad for p in model.parameters()):
        raise ChainruleError(
            f"there is nothing to train: no parameter of this {type(model).__name__} has requires_grad=True."
        )


def _take_up_finished(model: Trainable, run: Run) -> Run:
    remove_checkpoints(run.checkpoints)  # a run may be killed between its last mark and this
    model.cpu().load_state_dict(run.model_tensors())
    model.eval()
    return run


def _fit_by_counting(model: Trainable, data: Dataset, run: Run) -> Run:
    """Fit in one go; a run that was finished before is counted again, which gives the same model."""
    start = time.perf_counter()
    model.fit_counts(next(evaluation_batches(model, data, "train", batch_size=None)).values)
    model.eval()
    if run.is_finished:
        return run
    nll = validate(model, data)
    run.forget_metrics_after(0)
    seconds = round(time.perf_counter() - start, 3)
    run.log({"epoch": 1, "step": 1, "validation_nll": nll, "seconds": seconds})
    run.save_model(model)
    run.finish()
    return run
