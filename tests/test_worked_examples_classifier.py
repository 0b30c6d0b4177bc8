"""The lecture's worked examples on classifiers, topic 3, through the library's own classes."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from worked_examples import agrees

from chainrule.contrasts import MLP, LogisticRegression

DATA = Path(__file__).resolve().parent / "data" / "worked_examples_classifier.json"
EXAMPLES = {example["id"]: example for example in json.loads(DATA.read_text(encoding="utf-8"))}


def vector(values):
    return torch.tensor(values, dtype=torch.float64)


@torch.no_grad()
def logistic(weights, bias):
    model = LogisticRegression((len(weights),), num_classes=2, levels=None).double()
    model.linear.weight.copy_(vector(weights)[None])
    model.linear.bias.fill_(bias)
    return model


def of_logit(z):
    """The regression whose log-odds are z at x = 1."""
    return logistic([z], 0.0)


@torch.no_grad()
def network(inputs):
    """The 2-2-1 network of the notes."""
    weights = vector(inputs["A"])
    model = MLP(
        (weights.shape[1],), num_classes=2, levels=None, hidden=(len(weights),), activation="sigmoid"
    ).double()
    model.layers[0].weight.copy_(weights)
    model.layers[0].bias.copy_(vector(inputs["b"]))
    model.last.weight.copy_(vector(inputs["alpha"])[None])
    model.last.bias.fill_(inputs["alpha0"])
    return model


def log_odds(model, rows):
    return model(vector(rows))[:, 1].tolist()


def chances(model, rows):
    return model.probabilities(vector(rows))[:, 1].tolist()


def decision(chance):
    return "Borderline" if chance == 0.5 else ("Pass" if chance > 0.5 else "Fail")


def decisions(inputs):
    """Of regressions that give the chances of the table; to the digits that are printed there."""
    found = [chances(of_logit(torch.logit(vector(p)).item()), [[1.0]])[0] for p in inputs["p"]]
    return [decision(round(chance, 6)) for chance in found]


def hidden_preactivation(inputs):
    """The last column of M is the bias, and the last entry of v is 1."""
    matrix = inputs["M"]
    model = network(
        {
            "A": [row[:-1] for row in matrix],
            "b": [row[-1] for row in matrix],
            "alpha": [0.0] * len(matrix),
            "alpha0": 0.0,
        }
    )
    return model.layers[0](vector([inputs["v"][:-1]]))[0].tolist()


def hidden(inputs):
    with_output = {"alpha": [0.0] * len(inputs["b"]), "alpha0": 0.0, **inputs}
    return network(with_output).hidden_units(vector([inputs["x"]]))[0][0].tolist()


def mlp_logit(inputs):
    return log_odds(network(inputs), [inputs["x"]])[0]


def mlp_chance(inputs):
    return chances(network(inputs), [inputs["x"]])[0]


def mlp_row(inputs):
    return [*hidden(inputs), mlp_logit(inputs), mlp_chance(inputs)]


def mlp_parameters(inputs):
    below, *middle, above = inputs["layers"]
    assert above == 1
    return MLP((below,), num_classes=2, levels=None, hidden=middle).num_parameters


def odds_of_failing(inputs):
    """e^a, as p(0) / p(1) at the log-odds -a."""
    log_p = of_logit(-inputs["a"]).log_probabilities(vector([[1.0]]))[0]
    return (log_p[0] - log_p[1]).exp().item()


def denominator(inputs):
    """1 + e^a, as 1 / p(1)."""
    zero, a = inputs["a"]
    assert zero == 0
    return 1 / chances(of_logit(-a), [[1.0]])[0]


#: By the id of the example: what computes it, and how.
LIBRARY = {
    "3.1-sigmoid-key-points": (
        "`LogisticRegression.probabilities`",
        lambda i: [chances(of_logit(z), [[1.0]])[0] for z in i["z"]],
    ),
    "3.2-logistic-logit": (
        "`LogisticRegression.forward`",
        lambda i: log_odds(logistic(i["w"], i["b"]), [i["x"]])[0],
    ),
    "3.3-logistic-exp": ("`LogisticRegression.log_probabilities`", odds_of_failing),
    "3.4-logistic-denominator": ("`LogisticRegression.probabilities`", denominator),
    "3.5-logistic-pass": (
        "`LogisticRegression.probabilities`",
        lambda i: chances(of_logit(i["z"]), [[1.0]])[0],
    ),
    "3.6-logistic-table-logits": (
        "`LogisticRegression.forward`",
        lambda i: log_odds(logistic(i["w"], i["b"]), i["xs"]),
    ),
    "3.7-logistic-table": (
        "`LogisticRegression.probabilities`",
        lambda i: chances(logistic(i["w"], i["b"]), i["xs"]),
    ),
    "3.8-logistic-table-decisions": ("`LogisticRegression.probabilities`", decisions),
    "3.9-mlp-hidden-preactivation": ("`MLP.layers`", hidden_preactivation),
    "3.10-mlp-hidden": ("`MLP.hidden_units`", hidden),
    "3.11-mlp-logit": ("`MLP.forward`", mlp_logit),
    "3.12-mlp-prob": ("`MLP.probabilities`", mlp_chance),
    "3.13-mlp-table-8-2": ("`MLP`", mlp_row),
    "3.14-mlp-table-8-2-outcome": ("`MLP.probabilities`", lambda i: decision(mlp_chance(i))),
    "3.15-mlp-table-8-6": ("`MLP`", mlp_row),
    "3.16-mlp-table-4-8": ("`MLP`", mlp_row),
    "3.17-mlp-table-4-8-outcome": ("`MLP.probabilities`", lambda i: decision(mlp_chance(i))),
    "3.18-mlp-table-10-8": ("`MLP`", mlp_row),
    "3.19-mlp-table-10-8-outcome": ("`MLP.probabilities`", lambda i: decision(mlp_chance(i))),
    "3.20-mlp-parameters": ("`MLP.num_parameters`", mlp_parameters),
    "3.21-mlp-2-2-1-parameters": ("`MLP.num_parameters`", mlp_parameters),
    "3.22-sigmoid-saturates": (
        "`LogisticRegression.probabilities`",
        lambda i: chances(of_logit(i["z"]), [[1.0]])[0] == 1.0,
    ),
    "3.23-log-one-minus-sigmoid": (
        "`LogisticRegression.log_probabilities`",
        lambda i: of_logit(i["z"]).log_probabilities(vector([[1.0]]))[0, 0].item(),
    ),
}

#: Numbers of the notes that are about no model: none in this topic.
ARITHMETIC = {}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_computes(name):
    example = EXAMPLES[name]
    _, compute = LIBRARY[name]
    found = compute(example["inputs"])
    assert agrees(found, example["exact"]), f"{found} instead of {example['exact']}"


def test_every_example_is_computed():
    assert set(LIBRARY) == set(EXAMPLES)
    numbers = sorted(int(name.split("-")[0].split(".")[1]) for name in EXAMPLES)
    assert numbers == list(range(1, 23 + 1))


def test_what_the_notes_state_wrongly_would_not_agree():
    wrong = [example for example in EXAMPLES.values() if example["verdict"].startswith("wrong")]
    assert len(wrong) == 6
    for example in wrong:
        assert not agrees(example["stated"], example["exact"]), example["id"]


def test_more_study_never_hurts_in_this_network():
    """The moral "overworking" falls with the row of (10, 8), mistake 1: the log-odds rise with study."""
    model = network(EXAMPLES["3.12-mlp-prob"]["inputs"])
    for sleep in (2.0, 6.0, 8.0):
        by_study = log_odds(model, [[hours, sleep] for hours in range(2, 13)])
        assert all(a < b for a, b in itertools.pairwise(by_study))
