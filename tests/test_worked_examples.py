"""The lecture's 217 worked examples, recomputed by the library's classes; and the page that lists them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from cli_helpers import call, refused, succeed

from chainrule.contrasts import MLP
from chainrule.detection import Detector, Rule
from chainrule.errors import ChainruleError
from chainrule.examples import (
    EXAMPLES,
    agrees,
    coverage,
    find_example,
    program_of,
    recompute,
    shown,
    verdict_of,
)
from chainrule.examples.answers.building import fair_coins, row
from chainrule.examples.answers.classifiers import network
from chainrule.examples.answers.pixelcnn import conv_multiply_adds
from chainrule.examples.answers.rnn import plain_rnn
from chainrule.examples.registry import answer_of
from chainrule.layers import MaskedConv2d

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

import make_worked_examples

#: How many examples each topic of the lecture has.
COUNTS = {1: 5, 2: 8, 3: 23, 4: 20, 5: 13, 6: 18, 7: 32, 8: 7, 9: 21, 10: 23, 11: 13, 12: 18, 13: 11, 14: 5}


@pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if e.by_library])
def test_the_library_computes(name):
    found, exact = recompute(EXAMPLES[name]), EXAMPLES[name].exact
    assert agrees(found, exact), f"{found} instead of {exact}"


@pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if not e.by_library])
def test_arithmetic_examples(name):
    """Numbers of the notes that are about no model: trivial by nature."""
    assert agrees(recompute(EXAMPLES[name]), EXAMPLES[name].exact)


def test_all_217_are_there_and_counted():
    numbers = {topic: [] for topic in COUNTS}
    for example in EXAMPLES.values():
        topic, place = example.number.split(".")
        numbers[int(topic)].append(int(place))
        assert example.topic.split(" ")[0] == topic
    assert numbers == {topic: list(range(1, count + 1)) for topic, count in COUNTS.items()}
    counts = coverage()
    assert counts.examples == 217
    assert counts.verdicts == {"right": 126, "rounded": 15, "wrong": 25, "open": 51}
    assert counts.by_library == 195
    assert counts.by_library + counts.by_arithmetic == 217
    print(counts.sentence())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_verdict_follows_from_the_numbers(name):
    """Nothing is called wrong that is only rounded, nor right that is not."""
    example = EXAMPLES[name]
    if example.stated is None or example.judgement == "open":
        assert example.judgement == "open"
        assert example.reason
        return
    found = verdict_of(example.exact, example.stated, example.decimals)
    # Some are off by little more than a half, where no rounding explains it.
    assert found == example.judgement or (example.judgement, found) == ("wrong", "rounded")
    assert bool(example.reason) == (example.judgement == "wrong")


def test_a_wrong_value_would_not_agree():
    """The comparison itself: six digits of a float, every digit of a count."""
    assert agrees(1.017460001, 1.01746)
    assert not agrees(1.01747, 1.01746)
    assert not agrees(785285, 785284)
    assert not agrees([1.0, 2.0], [1.0])
    assert not agrees(1, True)
    for example in EXAMPLES.values():
        if example.judgement == "wrong":
            assert not agrees(example.stated, example.exact), example.id


#: What `by` names: classes, and the few functions.
CLASSES = set(re.findall(r"\b[A-Z]\w+", " ".join(e.by for e in EXAMPLES.values()))) | {
    "resolve_ordering",
    "pixel_mask",
    "all_examples",
    "mean_sd_threshold",
    "alarm_report",
}

#: One of every function that answers; the others run the same source on other numbers.
PROGRAMS = list({answer_of(e): name for name, e in EXAMPLES.items()}.values())


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_shown_runs_by_itself_and_names_what_computes(name):
    """It is executed with no names but its own, prints the value, and uses the class that `by` names."""
    example, out = EXAMPLES[name], io.StringIO()
    program = program_of(example)
    with contextlib.redirect_stdout(out):
        exec(compile(program, name, "exec"), {"__name__": "__main__"})
    printed = out.getvalue().strip()
    assert printed == str(recompute(example))
    if example.by_library:
        word = next(word for word in re.findall(r"\w+", example.by) if word in CLASSES)
        assert re.search(rf"^from chainrule\S* import {word}$", program, flags=re.MULTILINE), example.by


# ------------------------------------------------------------------------------ what goes with them


def test_uniform_images_cost_one_bit_a_pixel():
    """Example 4.9 in the other unit: -543.427 nats an image are exactly 1 bit per dimension."""
    model = fair_coins(784)
    assert model.bits_per_dim(torch.zeros(1, 784)).item() == pytest.approx(1.0, rel=1e-12)
    assert model.nll(torch.zeros(1, 784)).item() == pytest.approx(784 * math.log(2), rel=1e-12)


def test_more_study_never_hurts_in_this_network():
    """The moral "overworking" falls with the row of (10, 8), mistake 1: the log-odds rise with study."""
    inputs = {k: v for k, v in EXAMPLES["3.12-mlp-prob"].inputs.items() if k != "x"}
    model = network(**inputs)
    assert isinstance(model, MLP)
    for sleep in (2.0, 6.0, 8.0):
        by_study = [model(row([hours, sleep]))[0, 1].item() for hours in range(2, 13)]
        assert all(a < b for a, b in itertools.pairwise(by_study))


def test_rnn_parameters_do_not_depend_on_the_length():
    """The notes, line 4679: 36 for 5 characters and for 1000."""
    assert plain_rnn(3, 4, length=5).num_parameters == plain_rnn(3, 4, length=1000).num_parameters == 36


def test_masked_layers_compute_two_thirds_of_it():
    """Example 12.10: of 3 rows the lowest is not computed, so 2/3 of the 2.12 billion multiply-adds."""
    inputs = EXAMPLES["12.10-cifar-operations"].inputs
    computed = sum(
        MaskedConv2d(below, above, 3, "B").multiply_adds
        for below, above in itertools.pairwise(inputs["channels"])
    )
    assert 3 * computed * inputs["height"] * inputs["width"] == 2 * conv_multiply_adds(**inputs)


def test_the_decisions_are_the_same_under_the_threshold_of_the_data():
    """Example 13.5: with the right standard deviation the threshold is -97.05, and nothing changes."""
    example = EXAMPLES["13.6-decisions"]
    values = EXAMPLES["13.5-threshold-from-data"].inputs["values"]
    alarms = Detector.fit(values, rule=Rule("mean-sd", 3)).alarms(example.inputs["log_p"])
    assert ["Reject" if alarm else "Accept" for alarm in alarms] == example.exact


# ------------------------------------------------------------------------------ the command and the page


def test_the_list_is_by_topic_and_prints_the_coverage():
    called = succeed("examples")
    titles = [line for line in called.out.splitlines() if line.startswith("Topic ")]
    assert len(titles) == 14
    for name in EXAMPLES:
        assert name in called.out
    assert coverage().sentence() in called.out


def test_the_list_as_json():
    listed = succeed("examples", "--json").json
    assert len(listed["examples"]) == listed["coverage"]["examples"] == 217
    assert listed["coverage"]["by_library"] == 195


def test_one_example_shows_everything():
    called = succeed("examples", "6.6-fvsbn-likelihood")
    for word in (
        "prod_i p(x_i | x_<i)",
        "alphas",
        "0.0144",
        "0.0144344",
        "FVSBN.log_prob",
        "right",
        "import FVSBN",
    ):
        assert word in called.out, word
    program = called.out.partition("stands:\n")[2]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec("\n".join(line.removeprefix("    ") for line in program.splitlines()), {})
    assert float(out.getvalue()) == pytest.approx(0.0144344, rel=1e-5)


def test_one_example_as_json_and_by_its_number():
    shown_as_json = succeed("examples", "3.13", "--json").json
    assert shown_as_json["id"] == "3.13-mlp-table-8-2"
    assert shown_as_json["agrees"] is True
    assert shown_as_json["library"] == pytest.approx(shown_as_json["exact"], rel=1e-5)
    assert shown_as_json["verdict"].startswith("wrong")


def test_an_unknown_example_is_refused_with_the_nearest_ones():
    refused(call("examples", "6.6-fvsbn-likelihod"), "did you mean", "6.6-fvsbn-likelihood")
    refused(call("examples", "9.1x"), "did you mean", "9.1")
    refused(call("examples", "weather"), "part of the names of these", "2.4-weather-bayes-net-tables")
    with pytest.raises(ChainruleError, match="chainrule examples"):
        find_example("")


def test_values_are_shown_to_six_digits():
    assert shown([-0.0, 1 / 3, 7, "x"]) == "[0, 0.333333, 7, x]"
    assert shown(1.0174639282309965e236) == "1.01746e+236"
    assert json.loads(succeed("examples", "4.2", "--json").out)["library"] == pytest.approx(
        1.01746e236, rel=1e-5
    )


def test_the_page_is_up_to_date():
    assert make_worked_examples.PAGE.read_text(encoding="utf-8") == make_worked_examples.page(), (
        "run: python docs/make_worked_examples.py"
    )
