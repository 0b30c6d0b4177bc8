"""A learned ordering: the one that a quick model of the data likes best on validation data.

Every ordering is a valid chain rule, but a fitted model depends on it (lecture, topic 5). The judge is an
FVSBN, which trains in seconds; on binary images its ranking is a guide for the larger models, not a proof.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.data import Dataset
from chainrule.likelihood import LikelihoodModel
from chainrule.models import FVSBN
from chainrule.orderings import Ordering, greedy_entropy_ordering, resolve_ordering
from chainrule.training.batches import check_is_dataset
from chainrule.training.devices import seeded
from chainrule.training.fit import fit

__all__ = ["LearnedOrdering", "default_candidates", "learn_ordering"]

#: Enough for a ranking, at a few seconds per candidate and ten thousand images.
_QUICK = {"epochs": 5, "batch_size": 100, "learning_rate": 1e-2}


@dataclass(frozen=True)
class LearnedOrdering:
    """The chosen ordering, and the validation NLL of every candidate, nats per example, by name."""

    ordering: Ordering
    validation_nll: dict[str, float]


def default_candidates(data: Dataset) -> dict[str, Ordering]:
    """Raster, reversed, greedy by entropy, one random; for images also column, spiral, Hilbert."""
    names = ["raster", "reversed", "random:0"]
    if data.kind == "image":
        names += ["column", "spiral", "hilbert"]
    candidates = {name: resolve_ordering(name, data.event_shape) for name in names}
    return {**candidates, "greedy": greedy_entropy_ordering(data.split("train"))}


def learn_ordering(
    data: Dataset,
    candidates: dict[str, Ordering] | None = None,
    *,
    judge: Callable[[Ordering], LikelihoodModel] | None = None,
    on_candidate: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> LearnedOrdering:
    """Train a model in every candidate ordering and take the one of least validation NLL.

    - `candidates`: orderings by name; `default_candidates(data)` if not given. Raster is always among
      them, so the choice is never worse than raster on the validation data.
    - `judge`: makes the untrained model for an ordering; an FVSBN if not given.
    - `on_candidate`: called with the name and the NLL of each candidate when it is done.
    - `settings`: fields of `TrainingSettings`; a few epochs at a high rate if not given.

    Raises `ChainruleError` if the data has no validation split. The test split is not looked at.
    """
    check_is_dataset(data)
    candidates = dict(candidates or default_candidates(data))
    candidates.setdefault("raster", resolve_ordering("raster", data.event_shape))
    judge = judge or (lambda ordering: FVSBN(data.event_shape, ordering=ordering))
    chosen = {**_QUICK, **settings}
    scores: dict[str, float] = {}
    for name, ordering in candidates.items():
        with seeded(int(chosen.get("seed", 0))):
            model = judge(ordering)
        scores[name] = _best_validation_nll(model, data, chosen)
        if on_candidate is not None:
            on_candidate(name, scores[name])
    best = min(scores, key=scores.__getitem__)
    return LearnedOrdering(candidates[best], scores)


def _best_validation_nll(model: LikelihoodModel, data: Dataset, settings: dict[str, Any]) -> float:
    """Train in a folder that is thrown away; nats per example."""
    with tempfile.TemporaryDirectory() as folder:
        run = fit(model, data, Path(folder) / "run", progress=False, **settings)
        return min(float(r["validation_nll"]) for r in run.metrics() if "validation_nll" in r)
