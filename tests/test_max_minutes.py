"""`max_minutes`: a run that takes at most so long."""

from __future__ import annotations

import pytest
import torch

from chainrule import data, models
from chainrule.errors import ChainruleError
from chainrule.training import Run, fit, training_settings
from chainrule.training.trainer import learning_rate_factor


def digits():
    return data.load("digits")


def test_a_run_stops_when_its_time_is_up_with_the_last_epoch_validated(tmp_path) -> None:
    torch.manual_seed(0)
    model = models.NADE((1, 8, 8), hidden=16)
    run = fit(
        model,
        digits(),
        tmp_path / "run",
        epochs=100_000,
        validate_every=1000,
        max_minutes=0.01,
        progress=False,
    )
    metrics = run.metrics()
    assert run.is_finished
    assert 1 <= metrics[-1]["epoch"] < 100_000
    assert "validation_nll" in metrics[-1]
    # The rate has fallen although most of the epochs were not done.
    assert metrics[-1]["learning_rate"] < 0.5 * run.config["training"]["learning_rate"]
    # Resuming finds nothing left to do.
    again = fit(
        models.NADE((1, 8, 8), hidden=16),
        digits(),
        tmp_path / "run",
        resume=True,
        epochs=100_000,
        validate_every=1000,
        max_minutes=0.01,
        progress=False,
    )
    assert again.metrics() == metrics


def test_too_little_time_for_one_epoch_is_one_line_that_says_how_much_it_takes(tmp_path) -> None:
    with pytest.raises(ChainruleError, match=r"too few for one epoch, which takes about .* minutes here"):
        fit(models.FVSBN((1, 8, 8)), digits(), tmp_path / "run", max_minutes=1e-7, progress=False)
    assert not Run(tmp_path / "run").is_finished


def test_enough_time_changes_nothing(tmp_path) -> None:
    found = []
    for name, more in (("a", {}), ("b", {"max_minutes": 600.0})):
        torch.manual_seed(0)
        model = models.FVSBN((1, 8, 8))
        fit(model, digits(), tmp_path / name, epochs=2, progress=False, **more)
        found.append(model.log_prob(digits().test.float()))
    assert torch.allclose(found[0], found[1], atol=1e-3)


def test_the_rate_falls_with_whichever_comes_to_its_end_first() -> None:
    settings = training_settings({"epochs": 10, "warmup_steps": 100})
    assert learning_rate_factor(10, 1000, settings, 0.0) == pytest.approx(0.11)
    assert learning_rate_factor(10, 1000, settings, 0.5) == pytest.approx(0.505)
    assert learning_rate_factor(900, 1000, settings, 0.1) == learning_rate_factor(900, 1000, settings)
    assert learning_rate_factor(10, 1000, settings, 2.0) == pytest.approx(settings.final_fraction)
