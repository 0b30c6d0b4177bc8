"""The pictures that a finished training run gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel
    from chainrule.training import Run

__all__ = ["draw_conditionals", "draw_run", "draw_samples", "is_image"]

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
    """Whether an example of the model can be shown as a grey picture."""
    return len(model.event_shape) == 3 and model.event_shape[0] == 1


def draw_samples(model: LikelihoodModel, path: Path, *, title: str, seed: int) -> Path:
    """A grid of 64 samples; with a context, a row for each class label."""
    import torch

    from chainrule import report

    context, number = None, _SHOWN * _SHOWN
    if model.context_size:
        classes = min(model.context_size, _MOST_CLASSES)
        context = torch.arange(classes).repeat_interleave(_SHOWN)
        number = len(context)
    images = model.sample(number, context, seed=seed)
    rows = ", a row for each label" if model.context_size else ""
    return report.save_grid(
        images, path, columns=_SHOWN, caption=f"{title}: {number} samples{rows}, seed {seed}", overwrite=True
    )


def draw_conditionals(model: Any, data: Dataset, path: Path, *, title: str) -> Path:
    """The lecture's heat map (topic 7) of some test images (validation without a test split)."""
    import torch

    from chainrule import report

    split = "test" if data.test is not None else "validation"
    from chainrule.training.batches import spread_rows

    rows = spread_rows(len(data.split(split)), _SHOWN)
    x = data.evaluation_split(split)[rows].float()
    context = data.labels[split][rows] if model.context_size else None
    with torch.no_grad():
        params = model(x, model._checked_context(context, len(x)))
        probability = model.conditional.mean(params)
        log_prob = model.log_prob_per_variable(x, context)
    return report.save_conditionals(
        x,
        probability,
        log_prob,
        path,
        title=f"{title}: some {split} images, pixel by pixel",
        overwrite=True,
    )
