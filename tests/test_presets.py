"""The presets: everything in them exists, and the numbers are those of the catalogue."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from cli_helpers import succeed
from data_helpers import one_line_error

from chainrule.cli.names import complete_preset
from chainrule.cli.setting_values import build_model, split_settings
from chainrule.data import CATALOGUE
from chainrule.models import MODELS
from chainrule.presets import PRESETS, Measured, Preset, preset
from chainrule.training import training_settings

ALL = [(model, name) for model, presets in PRESETS.items() for name in presets]


@pytest.mark.parametrize(("model", "name"), ALL)
def test_a_preset_can_be_trained(model, name):
    chosen = preset(model, name)
    of_model, of_training = split_settings(MODELS[model], {**chosen.settings, **chosen.training})
    assert of_model == chosen.settings
    assert training_settings(of_training).epochs == chosen.training["epochs"]
    # The real ones take hundreds of megabytes.
    tiny = {"hidden": [4, 4], "head": [6], "features": 6, "num_blocks": 1, "num_layers": 1}
    smaller = {name: value for name, value in tiny.items() if isinstance(of_model.get(name), type(value))}
    built = build_model(MODELS[model], (1, 2, 3), of_model | smaller, seed=0)
    assert chosen.members == 1 or len(built.ensemble(chosen.members).members) == chosen.members


@pytest.mark.parametrize(("model", "name"), ALL)
def test_the_published_number_is_in_the_catalogue_of_data(model, name):
    chosen = preset(model, name)
    if chosen.published is None:
        pytest.skip("not a published configuration")
    assert chosen.published in [result.nll for result in CATALOGUE[chosen.data].published]


def test_the_published_configurations_are_there():
    published = {(m, n): preset(m, n).published for m, n in ALL}
    assert published[("fvsbn", "paper")] == 97.45
    assert published[("nade", "paper")] == 88.33
    assert published[("made", "paper")] == 86.64
    assert published[("deep-nade", "paper")] == 85.10
    assert preset("nade", "paper").settings["hidden"] == 500
    made = preset("made", "paper")
    assert (made.settings["hidden"], made.settings["num_masks"], made.members) == ([8000, 8000], 32, 32)


def test_what_was_measured_is_said():
    bare = Preset(data="digits", published=1.0, source="nowhere")
    assert bare.measured_text == "not measured yet"
    measured = Preset(data="digits", published=1.0, source="nowhere", measured=Measured(1.234, 0.05, 61.7))
    assert measured.measured_text == "1.23 ± 0.05 nats after 62 min"
    assert json.loads(json.dumps(measured.summary()))["measured"]["nll"] == 1.234


def test_a_configuration_of_our_own_has_no_published_number():
    compact = preset("made", "compact")
    assert compact.published is None
    assert "86.30 ± 0.22 nats after 29 min (the mixture of eight orderings" in compact.measured_text
    assert json.loads(json.dumps(compact.summary()))["published"] is None
    page = succeed("models", "made").out
    (row,) = [line for line in page.splitlines() if line.split()[:1] == ["compact"]]
    assert row.split()[2] == "-"
    assert complete_preset(SimpleNamespace(params={"model": "made"}), "comp")[0][0] == "compact"


@pytest.mark.parametrize(("model", "name"), [pair for pair in ALL if preset(*pair).costs])
def test_what_an_epoch_takes_is_said_of_this_very_network(model, name):
    chosen = preset(model, name)
    of_model, _ = split_settings(MODELS[model], dict(chosen.settings))
    for cost in chosen.costs:
        shape = CATALOGUE[cost.data].event_shape
        assert build_model(MODELS[model], shape, of_model, seed=0).num_parameters == cost.parameters
    page = succeed("models", model).out
    assert f"--preset {name}: {chosen.costs[0].parameters:,} parameters; an epoch takes" in page
    json.dumps(chosen.summary())


def test_unknown_presets():
    one_line_error(lambda: preset("nade", "papre"), "preset of nade", "'paper'")
    one_line_error(lambda: preset("independent", "paper"), "no presets", "nade")
