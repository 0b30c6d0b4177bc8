"""An ordering chosen by validation likelihood."""

from __future__ import annotations

import json
import math

import pytest
import torch
from cli_helpers import succeed

from chainrule import data
from chainrule.models import NADE
from chainrule.orderings import Ordering
from chainrule.training import default_candidates, learn_ordering


def exclusive_or_first() -> data.Dataset:
    """x0 = a XOR b, a, b, a AND b: in linear conditionals 3 bits in raster order, 2 bits with x0 last."""
    a, b = torch.randint(2, (2, 900), generator=torch.Generator().manual_seed(0))
    x = torch.stack([a ^ b, a, b, a & b], dim=1).to(torch.uint8)
    splits = {"train": x[:600], "validation": x[600:750], "test": x[750:]}
    return data.Dataset(name="pairs", event_shape=(4,), kind="table", levels=2, **splits)


def test_the_chosen_ordering_is_the_best_candidate_and_never_worse_than_raster():
    dataset = exclusive_or_first()
    xor_last = Ordering((1, 2, 3, 0))
    learned = learn_ordering(
        dataset,
        {"xor last": xor_last},
        epochs=400,
        learning_rate=0.3,
        batch_size=600,
        warmup_steps=10,
        validate_every=400,
    )
    assert set(learned.validation_nll) == {"xor last", "raster"}
    assert learned.validation_nll["xor last"] == pytest.approx(2 * math.log(2), abs=0.1)
    assert learned.validation_nll["raster"] == pytest.approx(3 * math.log(2), abs=0.1)
    assert learned.ordering == xor_last


def test_any_model_can_judge_and_the_candidates_fit_the_kind_of_data():
    digits = data.load("digits")
    assert {"raster", "hilbert", "spiral", "greedy"} <= set(default_candidates(digits))
    assert "hilbert" not in default_candidates(exclusive_or_first())
    seen = []
    learned = learn_ordering(
        digits,
        {name: default_candidates(digits)[name] for name in ("spiral", "raster")},
        judge=lambda ordering: NADE(digits.event_shape, hidden=4, ordering=ordering),
        on_candidate=lambda name, nll: seen.append((name, nll)),
        epochs=1,
    )
    assert dict(seen) == learned.validation_nll


def test_the_command_line_learns_an_ordering_and_saves_it(tmp_path):
    for way in ("learned", "greedy"):
        out = tmp_path / way
        settings = ["--set", f"ordering={way}", "--set", "hidden=4", "--set", "epochs=1"]
        succeed("train", "nade", "--data", "digits", "--out", out, "--quiet", *settings)
        ordering = json.loads((out / "config.json").read_text())["settings"]["ordering"]
        assert ordering != way
        succeed("evaluate", out)
