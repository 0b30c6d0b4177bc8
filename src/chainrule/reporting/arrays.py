"""The page of a run on images and vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.data import Dataset
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.report import save_conditionals, save_grid, save_surprise_overlays
from chainrule.report.page import Section, drawn, paragraph
from chainrule.reporting.calibration import calibration_section
from chainrule.reporting.common import likelihood_section
from chainrule.training.batches import evaluation_batches

__all__ = ["array_sections"]

#: Examples of each part, unless told otherwise; pictures that are shown; those that calibration looks at.
_EXAMPLES, _SAMPLES, _MAPS, _CALIBRATED = 1000, 64, 8, 200
_BATCH = 100


@torch.no_grad()
def array_sections(
    network: LikelihoodModel, data: Dataset, *, examples: int = _EXAMPLES, seed: int = 0
) -> tuple[list[Section], list[tuple[str, object]]]:
    """Likelihood, samples, surprise and calibration; and facts for the overview.

    - `examples`: of each part at most, spread evenly.
    """
    split = "validation" if data.test is None else "test"
    groups = {part: _log_prob(network, data, part, examples) for part in ("train", split)}
    held = groups[split]
    error = held.std().item() / math.sqrt(len(held)) if len(held) > 1 else math.nan
    bits = -held.mean().item() / (network.num_variables * math.log(2))
    of_all = f"{len(held):,} of {len(data.split(split)):,} examples, {split}"
    overview: list[tuple[str, object]] = [
        ("NLL", f"{-held.mean().item():.3f} ± {error:.3f} nats an example ({of_all})"),
        ("", f"{bits:.4f} bits/dim"),
    ]
    sections = [
        likelihood_section(
            groups, "example", "Where the training part lies far to the right, the model knows it by heart."
        )
    ]
    if _is_image(data):
        sections += [_samples(network, data, seed)]
    rest = _examples(network, data, split, _CALIBRATED)
    if isinstance(network, AutoregressiveModel):
        if _is_image(data):
            sections += [_surprise(network, data, *_first(rest))]
        sections += calibration_section(network, *rest)
    return sections, overview


def _log_prob(network: LikelihoodModel, data: Dataset, split: str, limit: int) -> Tensor:
    parts = evaluation_batches(network, data, split, batch_size=_BATCH, limit=limit)
    return torch.cat([network.log_prob(batch.values, batch.context) for batch in parts]).double().cpu()


def _examples(
    network: LikelihoodModel, data: Dataset, split: str, count: int
) -> tuple[Tensor, Tensor | None]:
    batch = next(evaluation_batches(network, data, split, batch_size=None, limit=count))
    return batch.values, batch.context


def _first(rest: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    places = torch.linspace(0, len(rest[0]) - 1, min(_MAPS, len(rest[0]))).long()
    return rest[0][places], None if rest[1] is None else rest[1][places]


def _is_image(data: Dataset) -> bool:
    return len(data.event_shape) == 3 and data.event_shape[0] in (1, 3) and data.levels is not None


def _shown(data: Dataset, values: Tensor) -> Tensor:
    return (values.float() / (max(data.levels or 2, 2) - 1)).clamp(0, 1)


def _samples(network: LikelihoodModel, data: Dataset, seed: int) -> Section:
    context, rows = None, ""
    if network.context_size:
        context = (torch.arange(_SAMPLES) // 8) % network.context_size
        rows = " A row for each class."
    drawn_ones = _shown(data, network.sample(_SAMPLES, context, seed=seed))
    real = _shown(data, data.evaluation_split("train")[: _SAMPLES // 2])
    return Section(
        "Samples",
        drawn(
            lambda path: save_grid(drawn_ones, path, columns=8),
            f"{_SAMPLES} samples of the model in a grid",
            caption=f"{_SAMPLES} samples, not chosen, seed {seed}.{rows}",
        )
        + drawn(
            lambda path: save_grid(real, path, columns=8),
            f"{len(real)} real examples in a grid",
            caption="Real examples, for comparison.",
        ),
    )


def _surprise(network: AutoregressiveModel, data: Dataset, x: Tensor, context: Tensor | None) -> Section:
    log_prob = network.log_prob_per_variable(x, context)
    words = paragraph("Surprise is -log p of a pixel given those before it; it adds up to that of the image.")
    alt = f"Maps of surprise of {len(x)} held-out images, pixel by pixel"
    if data.levels == 2 and x.shape[1] == 1:
        probability = network.conditional.mean(network(x, context).to(x.dtype))
        return Section(
            "Surprise", words + drawn(lambda p: save_conditionals(x, probability, log_prob, p), alt)
        )
    bits = -log_prob.sum(1) / math.log(2)
    shown = _shown(data, x)
    return Section("Surprise", words + drawn(lambda p: save_surprise_overlays(shown, bits, p), alt))
