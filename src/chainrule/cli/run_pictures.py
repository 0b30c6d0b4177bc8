"""The pictures that a finished training run gets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel
    from chainrule.training import Run

__all__ = ["as_shown", "draw_conditionals", "draw_run", "draw_samples", "is_image"]

_SHOWN = 8
_MOST_CLASSES = 10


def draw_run(run: Run, model: LikelihoodModel, data: Dataset, *, title: str) -> list[str]:
    """Draw what there is to see into the run folder; returns the names of the files."""
    from chainrule import report

    drawn = []
    title = f"{title} on {data.name}"
    if len(run.metrics()) > 1:
        path = run.folder / "learning_curve.png"
        drawn.append(
            report.save_learning_curve(
                run.metrics(), path, title=title, num_variables=model.num_variables, overwrite=True
            )
        )
    if is_image(model):
        drawn.append(
            draw_samples(model, run.folder / "samples.png", title=title, seed=run.config["training"]["seed"])
        )
        drawn.append(draw_conditionals(model, data, run.folder / "conditionals.png", title=title))
    return [path.name for path in drawn]


def is_image(model: LikelihoodModel) -> bool:
    """Whether an example of the model can be shown as a grey or colour picture."""
    return len(model.event_shape) == 3 and model.event_shape[0] in (1, 3)


def as_shown(model: LikelihoodModel, values: Tensor) -> Tensor:
    """Examples `(N, C, H, W)` as intensities in [0, 1], the highest level white."""
    support = model.conditional.support()
    top = 1 if support is None else max(len(support) - 1, 1)
    return (values.float() / top).clamp(0, 1)


def draw_samples(model: LikelihoodModel, path: Path, *, title: str, seed: int) -> Path:
    """A grid of 64 samples; with a context, a row for each class label."""
    import torch

    from chainrule import report

    context, number = None, _SHOWN * _SHOWN
    if model.context_size:
        classes = min(model.context_size, _MOST_CLASSES)
        context = torch.arange(classes).repeat_interleave(_SHOWN)
        number = len(context)
    images = as_shown(model, model.sample(number, context, seed=seed))
    rows = ", a row for each label" if model.context_size else ""
    return report.save_grid(
        images, path, columns=_SHOWN, caption=f"{title}: {number} samples{rows}, seed {seed}", overwrite=True
    )


def draw_conditionals(model: Any, data: Dataset, path: Path, *, title: str) -> Path:
    """The lecture's heat map (topic 7) of some test images (validation without a test split).

    Where values are more than 0 and 1 there is no one probability to show, and only the surprise is.
    """
    import torch

    from chainrule import report

    split = "test" if data.test is not None else "validation"
    from chainrule.training.batches import spread_rows

    rows = spread_rows(len(data.split(split)), _SHOWN)
    x = data.evaluation_split(split)[rows].float()
    context = data.labels[split][rows] if model.context_size else None
    title = f"{title}: some {split} images, pixel by pixel"
    with torch.no_grad():
        log_prob = model.log_prob_per_variable(x, context)
        if data.levels != 2 or x.shape[1] != 1:
            bits = -log_prob.sum(1) / math.log(2)
            return report.save_surprise_overlays(as_shown(model, x), bits, path, title=title, overwrite=True)
        params = model(x, model._checked_context(context, len(x)))
        probability = model.conditional.mean(params)
    return report.save_conditionals(
        x,
        probability,
        log_prob,
        path,
        title=title,
        overwrite=True,
    )
