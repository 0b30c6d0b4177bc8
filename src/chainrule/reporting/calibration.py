"""Whether predicted probabilities come true: reliability where values are few, PIT where they are real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import Conditional, Missing
from chainrule.model import AutoregressiveModel
from chainrule.report.page import Section, drawn, paragraph
from chainrule.report.page_pictures import Reliability, reliability, save_pit, save_reliability

__all__ = ["calibration_section", "pit_values", "predictions", "reliability_figure"]

#: Probabilities that are compared with outcomes, at most; the values they are of are chosen at random.
_MOST = 400_000
_MOST_PANELS = 12


@torch.no_grad()
def predictions(family: Conditional, params: Tensor, values: Tensor, seed: int = 0) -> tuple[Any, Any] | None:
    """Probabilities of single values, and whether those came: flat arrays; None for families of real values.

    Of each variable every value that it could take is a prediction; of 0 and 1, that it is 1.

    - `params`: `(..., num_params)`; `values`: `(...)`.
    """
    support = family.support()
    if support is None:
        return None
    params, values = params.reshape(-1, params.shape[-1]), values.reshape(-1)
    support = support[~support.isnan()].to(values)
    asked = support[1:] if len(support) == 2 and not family.has_missing else support
    count = max(1, _MOST // len(asked))
    if len(values) > count:
        chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:count]
        params, values = params[chosen], values[chosen]
    told = [family.log_prob(params, torch.full_like(values, float(value))).exp() for value in asked]
    came = [values == value for value in asked]
    return (
        torch.stack(told).double().clamp(0, 1).cpu().numpy().ravel(),
        torch.stack(came).cpu().numpy().ravel(),
    )


@torch.no_grad()
def pit_values(family: Conditional, params: Tensor, values: Tensor) -> Any | None:
    """F(x) of the values that are there, uniform where the model is calibrated; None without a cdf.

    Only for families with a density: where values are few, F(x) is no uniform.
    """
    if isinstance(family, Missing):
        family, params = family.inner, params[..., 1:]
    if not family.has_cdf or family.support() is not None:
        return None
    there = ~values.isnan()
    params, values = params[there], values[there]
    if not len(values):
        return None
    return family.cdf(params, values).double().clamp(0, 1).cpu().numpy()


def reliability_figure(told: Any, came: Any, what: str) -> str:
    """The picture of predicted against observed, and the mean distance of the two in words."""
    found: Reliability = reliability(told, came)
    return drawn(
        lambda path: save_reliability(found, path, what=what),
        f"Observed frequency over predicted probability of {what}, in {len(found.count)} bins; they differ "
        f"by {found.error:.4f} on average",
        caption=f"Expected calibration error {found.error:.4f}, over {found.count.sum():,} predictions.",
    )


@torch.no_grad()
def calibration_section(
    network: AutoregressiveModel, x: Tensor, context: Tensor | None, *, names: Mapping[int, str] | None = None
) -> list[Section]:
    """Reliability and PIT of the conditionals of examples `(N, *event_shape)`; none where there is neither.

    - `names`: of variables with a family of their own (columns), for the panels.
    """
    x = x.to(network._reference)
    params = network(x, context).to(x.dtype)
    params, values = params.flatten(1, -2), x.flatten(1)
    told, came = [], []
    pits: dict[str, Any] = {}
    columns = names is not None
    for place in range(values.shape[1]) if columns else [slice(None)]:
        family = network.conditional.at(place) if columns else network.conditional  # type: ignore[arg-type]
        pair = predictions(family, params[:, place], values[:, place])
        if pair is not None:
            told.append(pair[0])
            came.append(pair[1])
            continue
        pit = pit_values(family, params[:, place], values[:, place])
        if pit is not None:
            pits[names[place] if names else "all values"] = pit  # type: ignore[index]
    parts = []
    if told:
        what = (
            "a value"
            if columns or (network.conditional.support() is not None and not _is_binary(network))
            else "1"
        )
        parts.append(reliability_figure(np.concatenate(told), np.concatenate(came), what))
        parts.append(
            paragraph("On the dashed line, what is said to have a probability of 70 % comes in 70 %.")
        )
    if pits:
        parts.append(_pit_figure(pits))
    return [Section("Calibration", "".join(parts))] if parts else []


def _is_binary(network: AutoregressiveModel) -> bool:
    support = network.conditional.support()
    return support is not None and len(support) == 2


def _pit_figure(pits: Mapping[str, Any]) -> str:
    shown = dict(list(pits.items())[:_MOST_PANELS])
    more = f" The first {_MOST_PANELS} of {len(pits)} columns." if len(pits) > _MOST_PANELS else ""
    return drawn(
        lambda path: save_pit(shown, path, title="Where values fell in their predicted distributions (PIT)"),
        f"Histograms of the probability integral transform of {', '.join(shown)}; flat is calibrated",
        caption="Flat is calibrated; high at both ends: too narrow a spread was predicted; high in the "
        f"middle: too wide. The grey band holds about 95 % of the bars of a calibrated model.{more}",
    )
