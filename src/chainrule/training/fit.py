"""`fit`: train any model of the library by gradient, or in closed form where it has one."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from chainrule.data import Dataset
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.training.batches import check_fits, evaluation_batches
from chainrule.training.checkpoint import remove_checkpoints
from chainrule.training.devices import own_accelerator
from chainrule.training.progress import Progress
from chainrule.training.run import Run
from chainrule.training.settings import training_settings
from chainrule.training.trainer import Trainer, validate

__all__ = ["fit"]


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
    - `resume`: go on from the last checkpoint in `out`, or start if there is no run yet. On the same
      machine the finished model is bit-equal to that of an unbroken run, wherever that was killed;
      only a run killed before its first step starts from the weights handed in now.
    - `overwrite`: delete an earlier run in `out` first; files that are not of a run stay.
    - `progress`: show a bar with the time left and the current bits/dim on stderr.
    - `notes`: JSON-ready facts to keep in `config.json`, such as the preset.
    - `settings`: fields of `TrainingSettings`.

    The test split is never looked at. Returns the `Run`; `model` itself then holds the selected
    weights, on the CPU and in evaluation mode. Ctrl-C stops after the step under way, with a
    checkpoint. Global random state, thread settings and an `accelerate.Accelerator` of the caller's
    are left as they were.

    Raises `ChainruleError` for settings or data that do not fit, a folder that is taken, a run with
    other settings, or a full disk (what was written before is then intact), and `NonFiniteLossError`
    if the loss diverges.
    """
    chosen = training_settings(settings)
    if resume and overwrite:
        raise ChainruleError("resume goes on with a run and overwrite deletes it; choose one of them.")
    if data.validation is None:
        raise ChainruleError(f"{data.name} has no validation split to select on; give one.")
    check_fits(model, data, ("train", "validation"))

    begin = partial(
        Run.begin, out, model, data, chosen, resume=resume, overwrite=overwrite, notes=notes or {}
    )
    if model.closed_form:
        return _fit_by_counting(model, data, begin())
    with own_accelerator(chosen) as accelerator:
        with accelerator.main_process_first():
            run = begin() if accelerator.is_main_process else Run(out)
        if run.is_finished:
            return _take_up_finished(model, run)
        shown = Progress(enabled=progress and accelerator.is_main_process)
        trainer = Trainer(model, data, run, chosen, shown, accelerator)
        if resume:
            trainer.restore()
        trainer.train()
    return run


def _take_up_finished(model: LikelihoodModel, run: Run) -> Run:
    remove_checkpoints(run.checkpoints)  # a run may be killed between its last mark and this
    model.cpu().load_state_dict(run.model_tensors())
    model.eval()
    return run


def _fit_by_counting(model: LikelihoodModel, data: Dataset, run: Run) -> Run:
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
