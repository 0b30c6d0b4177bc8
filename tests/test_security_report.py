"""The report on a guarded classifier: its measurement, its pictures, its page, its command."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from browser_helpers import BROWSER, look
from cli_helpers import call, refused, succeed
from security_helpers import grey_digits, trained
from test_report_page import check_page
from torch import nn
from victim_helpers import victim

import chainrule as cr
from chainrule.contrasts.accuracy import accuracy
from chainrule.detection import Rule, auroc, false_alarms_at_recall
from chainrule.errors import ChainruleError
from chainrule.report.defences import roc_band, roc_curve, save_densities
from chainrule.reporting import security_page
from chainrule.reporting.security import what_it_does_not_withstand
from chainrule.security import PixelDefend, Victim, attack, measure_defence

QUICK = {"joint_steps": 4, "bpda_steps": 3, "adaptive_images": 8}


@pytest.fixture(scope="module")
def guard():
    return PixelDefend.fit(trained(), grey_digits().validation, rule=Rule("conformal", 0.05), eps=2)


@pytest.fixture(scope="module")
def found(guard):
    data = grey_digits()
    images, labels = data.test[:40], data.labels["test"][:40]
    return measure_defence(guard, victim(), images, labels, eps=2, attacks=["rand", "bim", "cw"], **QUICK)


# ---------------------------------------------------------------- the measurement


def test_figures_are_those_of_attack_guard_and_victim(found, guard):
    data = grey_digits()
    images, labels = data.test[:40], data.labels["test"][:40]
    attacked = attack("bim", victim(), images, labels, eps=2)
    bim = found.under("bim")
    assert torch.equal(bim.images, attacked)
    assert bim.right.mean() == accuracy(victim(), attacked, labels).accuracy
    purified = guard.purify(attacked)
    assert bim.right_purified.mean() == accuracy(victim(), purified, labels).accuracy
    adaptively = guard.purify(attacked, adaptive=True)
    assert bim.right_adaptive.mean() == accuracy(victim(), adaptively, labels).accuracy
    assert np.array_equal(bim.alarms, guard.alarms(attacked))
    unnoticed = ~accuracy(victim(), attacked, labels).correct.numpy() & ~guard.alarms(attacked)
    assert bim.unnoticed.value == unnoticed.mean()
    both = np.r_[guard.scores(images), guard.scores(attacked)]
    assert found.auroc("bim").value == auroc(both, np.repeat([0, 1], 40))
    bits = guard.density.bits_per_dim(images).detach().double().numpy()
    np.testing.assert_allclose(found.clean.bits_per_dim, bits, rtol=1e-5)


def test_attacks_that_know_the_guard_start_from_what_is_read_rightly(found):
    assert found.joint.images == found.through.images == 8
    assert 0 <= found.joint.unnoticed.value <= found.joint.fooled.value
    assert found.through.unnoticed.value <= 1 - found.through.after.value
    rows = np.flatnonzero(found.clean.right)[:8]
    missed = [(~seen.right & ~seen.alarms)[rows] for seen in found.attacked]
    least = max(found.joint.unnoticed.value, np.any(missed, axis=0).mean())
    assert least <= found.joint.unnoticed_by_any.value
    held = np.all([seen.right_purified[rows] for seen in found.seen], axis=0).mean()
    assert found.through.right_under_all.value <= min(held, found.through.after.value)


def test_json_holds_every_figure_with_its_interval(found):
    numbers = json.loads(json.dumps(found.as_dict()))
    assert [row["name"] for row in numbers["attacks"]] == ["rand", "bim", "cw"]
    for row in numbers["attacks"]:
        for name in ("auroc", "accuracy", "accuracy_purified", "alarms", "misread_and_unnoticed"):
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
    assert numbers["joint"]["images"] == numbers["bpda"]["images"] == 8


def test_wrong_questions_are_answered_in_a_line(guard, found):
    data = grey_digits()
    images, labels = data.test[:4], data.labels["test"][:4]
    with pytest.raises(ChainruleError, match="unknown attack 'bin'"):
        measure_defence(guard, victim(), images, labels, attacks=["bin"])
    with pytest.raises(ChainruleError, match="no attack"):
        measure_defence(guard, victim(), images, labels, attacks=[])
    with pytest.raises(ChainruleError, match="shape"):
        measure_defence(guard, victim(), images[:, :, :7], labels)
    with pytest.raises(ChainruleError, match="unknown attack of this measurement 'fgsm'"):
        found.under("fgsm")


def test_where_nothing_is_read_rightly_no_protection_is_claimed(guard):
    images = grey_digits().test[:6]
    wrong = (victim().predict(images.float()) + 1) % 10
    found = measure_defence(guard, victim(), images, wrong, eps=2, attacks=["rand"], **QUICK)
    assert found.joint is None
    assert found.through is None
    page = security_page(found, guard).html()
    assert "nothing on this page is evidence of protection" in page
    check_page(page)


# ---------------------------------------------------------------- pictures


def test_the_area_under_the_curve_is_the_auroc():
    rng = np.random.default_rng(0)
    clean, odd = rng.normal(0, 1, 60).round(1), rng.normal(-1, 1, 50).round(1)  # with ties
    clean[:2], odd[:3] = -np.inf, -np.inf
    false, caught = roc_curve(clean, odd)
    area = np.trapezoid(caught, false)
    labels = np.repeat([0, 1], [60, 50])
    assert area == pytest.approx(auroc(np.r_[clean, odd], labels), abs=1e-12)
    assert false[np.argmax(caught >= 0.95)] == false_alarms_at_recall(np.r_[clean, odd], labels)


def test_the_band_holds_the_curve_and_is_wider_for_fewer():
    rng = np.random.default_rng(1)
    clean, odd = rng.normal(0, 1, 400), rng.normal(-1, 1, 400)
    widths = {}
    for count in (400, 25):
        grid, low, high = roc_band(clean[:count], odd[:count], generator=np.random.default_rng(0))
        curve = np.interp(grid, *roc_curve(clean[:count], odd[:count]))
        assert ((low <= curve) & (curve <= high)).mean() > 0.95
        widths[count] = (high - low).mean()
    assert widths[25] > 2 * widths[400]


def test_densities_of_nothing_are_refused_and_equal_values_are_drawn(tmp_path):
    save_densities({"clean": [1.0, 1.0, np.inf], "odd": [2.0]}, tmp_path / "one.png")
    with pytest.raises(ChainruleError, match="odd"):
        save_densities({"clean": [1.0], "odd": [np.inf]}, tmp_path / "two.png")
    assert not (tmp_path / "two.png").exists()


# ---------------------------------------------------------------- the page


def test_the_page_stands_alone_and_says_what_gets_through(found, guard):
    page = security_page(found, guard, [("victim", "<b>mine</b>")], label_names=list("abcdefghij")).html()
    structure = check_page(page)
    assert len(structure.alts) == 3
    assert "&lt;b&gt;mine" in page
    for figure in (found.joint.unnoticed, found.through.after, found.under("cw").unnoticed):
        assert f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]" in page
    assert all(str(found.auroc(name)) in page for name in ("rand", "bim", "cw"))


def test_words_follow_the_figures(found):
    titles = [title for title, _ in what_it_does_not_withstand(found)]
    assert len(titles) == 4
    without = dataclasses.replace(found, seen=found.seen[:3], eps=5.0)
    words = dict(what_it_does_not_withstand(without))
    assert "Attacks that move little" not in words
    assert "cannot even undo" in words["What was not tried"]
    knows = "An attacker who knows the density"
    assert "another score" not in words[knows]
    ratio = dataclasses.replace(found, score="likelihood-ratio")
    assert (
        "another score, likelihood-ratio, at which no attack"
        in dict(what_it_does_not_withstand(ratio))[knows]
    )


def test_what_cannot_be_measured_is_said_before_any_attack(guard):
    images, labels = grey_digits().test[:6], grey_digits().labels["test"][:6]
    blind = Victim.wrap(lambda x: victim()(x).detach(), (1, 8, 8), 10)
    seen = []

    def refuse(model, shown, *words):
        with pytest.raises(ChainruleError) as caught:
            measure_defence(guard, model, shown, labels, attacks=["rand"], on_stage=lambda *s: seen.append(s))
        assert all(word in str(caught.value) for word in words), caught.value
        assert not seen

    refuse(blind, images, "no gradients")
    refuse(
        nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), images, "cannot read images of shape (1, 1, 8, 8)"
    )
    refuse(victim(), images[:0], "at least one")


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run of a density without a guard, a run of a victim, and the file of the data."""
    folder = tmp_path_factory.mktemp("security-report")
    data = grey_digits()
    arrays = {f"{split}_images": data.split(split).numpy() for split in ("train", "validation", "test")}
    labels = {f"{split}_labels": data.labels[split].numpy() for split in ("train", "validation", "test")}
    np.savez(folder / "digits.npz", **arrays, **labels)
    notes = {"data": {"spec": str(folder / "digits.npz"), "options": {"levels": 17}}}
    density = copy.deepcopy(trained())
    settings = {"epochs": 1, "batch_size": 100, "progress": False, "notes": notes, "learning_rate": 1e-5}
    cr.fit(density, data, folder / "density", **settings)
    run = succeed(
        *("train", "cnn", "--data", folder / "digits.npz", "--levels", 17, "--out", folder / "victim", "-q"),
        *("--set", "epochs=6", "--set", "features=8,16", "--set", "hidden=32", "--set", "learning_rate=0.01"),
        "--json",
    )
    assert run.json["validation_accuracy"] > 0.5
    return folder


def test_accuracy_is_recorded_while_training(home):
    records = [json.loads(line) for line in (home / "victim" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < record["validation_accuracy"] <= 1 for record in records)
    assert records[-1]["validation_accuracy"] > records[0]["validation_accuracy"]


def test_the_command_writes_a_page_and_says_the_numbers(home):
    options = ("--victim", home / "victim", "--eps", 2, "--attack", "rand", "--attack", "bim", "--limit", 30)
    out = home / "security.html"
    called = succeed("report", home / "density", *options, "--adaptive-images", 4, "--out", out, "--json")
    said = called.json
    assert "4 of 5: joint" not in called.out
    assert "4 of 5: joint" in called.err
    page = out.read_text(encoding="utf-8")
    check_page(page)
    assert "made for this page" in page
    assert said["images"] == 30
    assert [row["name"] for row in said["attacks"]] == ["rand", "bim"]
    assert said["attacks"][1]["accuracy"]["value"] < said["clean"]["accuracy"]["value"]
    assert not (home / "density" / "guard.json").exists()
    refused(call("report", home / "density", *options, "--out", out, "-q"), "already exists")


OWN = """
import torch
from chainrule.contrasts import load_classifier
from chainrule.security import Victim

def make():
    trained = load_classifier({run!r}).requires_grad_(True)
    return Victim.wrap(lambda x: trained(x * 16), (1, 8, 8), 10, scale=16)

wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(100, 10))
seven = 7

def broken():
    raise OSError("no weights" + chr(10) + "here")
"""


def test_a_classifier_of_ones_own_is_attacked_guarded_and_reported(home):
    (home / "own.py").write_text(OWN.format(run=str(home / "victim")))
    own, data, out = f"{home / 'own.py'}:make", home / "digits.npz", home / "own.npz"
    common = ("--data", data, "--attack", "bim", "--eps", 2, "--limit", 30, "--json", "-q")
    ours = succeed("attack", home / "victim", *common).json
    found = succeed("attack", own, *common, "--levels", 17, "--out", out).json
    assert (found["accuracy"], found["largest"]) == (ours["accuracy"], ours["largest"])
    purified = ("--eps", 2, "--out", home / "own-purified.npz", "--victim", own, "-q", "--json")
    read = succeed("purify", home / "density", out, *purified).json["classification"]
    assert read["accuracy_before"] == found["accuracy"]
    page = home / "own.html"
    options = ("--attack", "rand", "--limit", 8, "--adaptive-images", 2, "--out", page, "--json", "-q")
    said = succeed("report", home / "density", "--victim", own, "--data", data, "--eps", 2, *options).json
    assert said["victim"] == own
    assert "own.py:make on digits" in page.read_text(encoding="utf-8")
    refused(call("attack", own), "--data is missing")
    refused(call("attack", home / "own.py"), "own.py:make")
    refused(call("attack", home / "own.py:nothing", *common), "has no 'nothing'")
    refused(call("attack", home / "none.py:make", *common), "does not exist")
    refused(call("attack", home / "own.py:seven", *common), "torch.nn.Module")
    refused(
        call("attack", home / "own.py:broken", *common), "broken() could not be run (OSError: no weights)"
    )
    refused(call("attack", home / "own.py:wide", *common), "cannot read images")
    refused(call("attack", home / "victim", *common, "--levels", 17), "knows its own (17)")


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser_nothing_sticks_out(found, guard, tmp_path, width):
    page = tmp_path / "security.html"
    page.write_text(security_page(found, guard).html(), encoding="utf-8")
    looked = look(page, tmp_path, width)
    assert looked.console == []
    assert looked.sticks_out == ""
    assert looked.broken == looked.sideways == 0


def test_bad_input_is_one_line(home):
    density, cnn = home / "density", home / "victim"
    refused(call("report", density, "--eps", 2), "--eps", "--victim")
    refused(call("report", density, "--victim", cnn, "--attack", "bin"), "unknown attack 'bin'")
    refused(call("report", density, "--victim", density), "no classifier")
    refused(call("report", density, "--victim", home / "nothing"), "does not exist")
    refused(call("report", cnn, "--victim", cnn), "SmallCNN")


def test_purification_says_how_a_classifier_reads_before_and_after(home):
    attacked, out = home / "attacked.npz", home / "purified.npz"
    made = succeed(
        "attack", home / "victim", "--eps", 2, "--limit", 40, "--out", attacked, "-q", "--json"
    ).json
    arguments = ("purify", home / "density", attacked, "--eps", 2, "--victim", home / "victim", "--out", out)
    said = succeed(*arguments, "-q", "--json").json["classification"]
    assert said["accuracy_before"] == pytest.approx(made["accuracy"])
    with np.load(out) as arrays:
        after = torch.from_numpy(arrays["images"])
        labels = torch.from_numpy(arrays["labels"])
    right = accuracy(cr.contrasts.load_classifier(home / "victim"), after, labels)
    assert said["accuracy_after"] == pytest.approx(right.accuracy)
    plain = succeed(*arguments[:-1], home / "again.npz", "-q").out
    assert f"{said['accuracy_after']:.1%}" in plain
    with np.load(attacked) as arrays:
        np.save(home / "unlabelled.npy", arrays["images"])
    bare = ("purify", home / "density", home / "unlabelled.npy", *arguments[3:-1], home / "bare.npy")
    unlabelled = succeed(*bare, "-q", "--json").json["classification"]
    assert unlabelled["accuracy_before"] is None
    assert unlabelled["labels_changed"] == said["labels_changed"]


def test_models_lists_classifiers_apart():
    listed = succeed("models", "--json").json
    assert listed["classifiers"] == ["logistic-regression", "mlp", "cnn"]
    assert not {model["name"] for model in listed["models"]} & set(listed["classifiers"])
    assert "model no p(x)" in succeed("models").out
    one = succeed("models", "cnn", "--json").json
    assert one["class_name"] == "SmallCNN"
    assert "features" in one["settings"]
    assert "chainrule train cnn" in succeed("models", "cnn").out
    refused(call("models", "cmn"), "cnn")
