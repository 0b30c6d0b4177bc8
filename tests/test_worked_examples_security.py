"""The lecture's worked examples on PixelDefend, topic 13, through the library's own detectors."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from worked_examples import agrees

from chainrule.conditionals import finite_logit
from chainrule.detection import Detector, Rule, alarm_report, mean_sd_threshold
from chainrule.models import Independent
from chainrule.security import Passed, Typicality

DATA = Path(__file__).resolve().parent / "data" / "worked_examples_security.json"
EXAMPLES = {example["id"]: example for example in json.loads(DATA.read_text(encoding="utf-8"))}


def mean(inputs):
    """H of clean images: their mean log-likelihood."""
    log_prob = np.array(inputs["values"])
    blank = torch.zeros(len(log_prob), 1, 1, 1)
    return Typicality().fit(Passed(blank, 2, log_prob, blank)).learned()["usual"].item()


def deviation(inputs):
    """How far a threshold falls for each standard deviation that it is asked to."""
    return mean_sd_threshold(inputs["values"], 1) - mean_sd_threshold(inputs["values"], 2)


def three_values(inputs):
    """Log-likelihoods of this mean and sample standard deviation."""
    return [inputs["mu"] + by * inputs["sd"] for by in (-1, 0, 1)]


def decisions(inputs):
    detector = Detector.fit(three_values(EXAMPLES["13.4-threshold"]["inputs"]), rule=Rule("mean-sd", 3))
    assert agrees(detector.threshold, inputs["tau"])
    return ["Reject" if alarm else "Accept" for alarm in detector.alarms(inputs["log_p"])]


def accuracy(inputs):
    alarms, odd = ([word == "Reject" for word in inputs[key]] for key in ("decisions", "truth"))
    report = alarm_report(alarms, odd)
    right = report.detection_rate.value * sum(odd) + (1 - report.false_alarm_rate.value) * odd.count(False)
    return right / len(odd)


def bits_per_dim(inputs):
    """Of models whose pixels share the nats evenly."""
    found = []
    for nats in inputs["nats"]:
        model = Independent((inputs["dims"],)).double()
        share = torch.tensor(math.exp(-nats / inputs["dims"]), dtype=torch.double)
        model.params.data.fill_(finite_logit(share).item())
        found.append(model.bits_per_dim(torch.ones(1, inputs["dims"])).item())
    return found


#: By the id of the example: what computes it, and how.
LIBRARY = {
    "13.1-clean-mean": ("`Typicality.fit`", mean),
    "13.2-clean-sd": ("`mean_sd_threshold`", deviation),
    "13.3-adversarial-mean": ("`Typicality.fit`", mean),
    "13.4-threshold": ("`mean_sd_threshold`", lambda i: mean_sd_threshold(three_values(i), i["k"])),
    "13.5-threshold-from-data": ("`mean_sd_threshold`", lambda i: mean_sd_threshold(i["values"], i["k"])),
    "13.6-decisions": ("`Detector.alarms`", decisions),
    "13.7-accuracy": ("`alarm_report`", accuracy),
    "13.9-clean-bits-per-dim": ("`Independent.bits_per_dim`", bits_per_dim),
}

#: Numbers of the notes that are about no model.
ARITHMETIC = {
    "13.8-false-positives-3-sigma": lambda i: NormalDist().cdf(-i["k"]),
    "13.10-overhead": lambda i: i["a"] / i["b"],
    "13.11-overhead-high": lambda i: i["a"] / i["b"],
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_computes(name):
    example = EXAMPLES[name]
    _, compute = LIBRARY[name]
    found = compute(example["inputs"])
    assert agrees(found, example["exact"]), f"{found} instead of {example['exact']}"


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_examples(name):
    """Trivial by nature."""
    assert agrees(ARITHMETIC[name](EXAMPLES[name]["inputs"]), EXAMPLES[name]["exact"])


def test_every_example_is_computed():
    assert {*LIBRARY, *ARITHMETIC} == set(EXAMPLES)
    assert len(LIBRARY) + len(ARITHMETIC) == len(EXAMPLES)
    numbers = sorted(int(name.split("-")[0].split(".")[1]) for name in EXAMPLES)
    assert numbers == list(range(1, 11 + 1))


def test_what_the_notes_state_wrongly_would_not_agree():
    (wrong,) = [example for example in EXAMPLES.values() if example["verdict"].startswith("wrong")]
    assert wrong["id"] == "13.2-clean-sd"
    assert not agrees(wrong["stated"], wrong["exact"])


def test_the_decisions_are_the_same_under_the_threshold_of_the_data():
    """Example 13.5: with the right standard deviation the threshold is -97.05, and nothing changes."""
    example = EXAMPLES["13.6-decisions"]
    detector = Detector.fit(EXAMPLES["13.5-threshold-from-data"]["inputs"]["values"], rule=Rule("mean-sd", 3))
    alarms = detector.alarms(example["inputs"]["log_p"])
    assert ["Reject" if alarm else "Accept" for alarm in alarms] == example["exact"]
