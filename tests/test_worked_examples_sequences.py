"""The lecture's worked examples of topics 10 and 11: a recurrent net that spells "hello", and attention.

Examples 10.20 and 10.21 are of images, 11.8 and 11.9 of the Transformer; they are tested with those.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from worked_examples import agrees

from chainrule.conditionals import Bernoulli, Categorical
from chainrule.models import FVSBN, RNN, AttentionRNN

DATA = Path(__file__).resolve().parent / "data" / "worked_examples_sequences.json"
EXAMPLES = {example["id"]: example for example in json.loads(DATA.read_text(encoding="utf-8"))}


def vector(values):
    return torch.tensor(values, dtype=torch.float64)


# ---------------------------------------------------------------------------- the lecture's network


def plain_rnn(d, k, length=5):
    """Without biases: h_0 = b_0, W_hh, W_xh and W_hy alone."""
    family = Categorical(k)
    return RNN((length,), cell="tanh", hidden=d, layers=1, bias=False, conditional=family).double()


def parts(model):
    return [
        model.initial_hidden,
        model.recurrence.weight_hh_l0,
        model.recurrence.weight_ih_l0,
        model.head.weight,
    ]


def lecture_rnn(inputs):
    """The network with the matrices that are given; what is not given is 0."""
    d = len(inputs["h0"])
    k = len(inputs["Wxh"][0]) if "Wxh" in inputs else len(inputs["Why"])
    model = plain_rnn(d, k, length=len(inputs.get("text", "hello")))
    with torch.no_grad():
        for name, part in zip(("h0", "Whh", "Wxh", "Why"), parts(model), strict=True):
            part.copy_(vector(inputs[name]) if name in inputs else torch.zeros_like(part))
    return model


def numbers(text, inputs):
    return vector([[inputs["vocab"].index(letter) for letter in text]])


def scores_after(inputs):
    """o after the prefix, by single steps: the scores of the next character."""
    model = lecture_rnn(inputs)
    scores, state = model.step(model.init_state(1), None)
    for value in numbers(inputs["prefix"], inputs)[0]:
        scores, state = model.step(state, value[None])
    return scores[0].tolist()


def state_after(inputs):
    """h_1, after a first character that is given by its one-hot code."""
    model = lecture_rnn(inputs)
    first = vector([[inputs["x"].index(1)]])
    return model.read(model.init_state(1), first)[1].hidden[0][0]


def conditionals(inputs):
    model = lecture_rnn(inputs)
    return model.log_prob_per_variable(numbers(inputs["text"], inputs))[0].exp().tolist()


def first_scores(inputs):
    model = lecture_rnn({"Why": inputs["M"], "h0": inputs["v"]})
    return model(torch.zeros(1, 5).double())[0, 0].tolist()


def recurrent_term(inputs):
    """W_hh h_0, as the pre-activation where the input has no weight."""
    given = {"Whh": inputs["M"], "h0": inputs["v"], "Wxh": [[0.0]] * len(inputs["v"]), "x": [1]}
    return torch.atanh(state_after(given)).tolist()


def input_term(inputs):
    given = {"Wxh": inputs["M"], "h0": [0.0] * len(inputs["M"]), "x": inputs["v"]}
    return torch.atanh(state_after(given)).tolist()


def steepest_tanh():
    """d h_1 / d h_0 of one unit that reads nothing, with W_hh = 1, where h_0 = 0."""
    model = lecture_rnn({"h0": [0.0], "Whh": [[1.0]], "Wxh": [[0.0]], "Why": [[0.0]]})
    state = model.init_state(1)
    before = state.hidden[0]
    (slope,) = torch.autograd.grad(model.read(state, torch.zeros(1, 1).double())[1].hidden[0], before)
    return slope.item()


def steepest_sigmoid():
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Bernoulli().mean(logit), logit)
    return slope.item()


# ---------------------------------------------------------------------------- softmax and attention


def sum_of_exp(scores):
    """From a score and its log-probability, whose difference is the logarithm of the sum."""
    scores = vector(scores)
    return (scores[0] - Categorical(len(scores)).log_prob(scores, vector(0))).exp().item()


def exps(scores):
    shares = Categorical(len(scores)).probabilities(vector(scores))
    return (shares * sum_of_exp(scores)).tolist()


def attention(hidden, similarity="dot"):
    family = Categorical(2)
    return AttentionRNN((4,), hidden=hidden, similarity=similarity, conditional=family).double()


def similarities(inputs):
    model = attention(len(inputs["q"]))
    return model.scores(vector([[inputs["q"]]]), vector([inputs["keys"]]))[0, 0].tolist()


def weights_of_scores(scores):
    """Of keys that are the scores themselves, to a query of 1."""
    return attention(1).weights(vector([[[1.0]]]), vector([[[score] for score in scores]]))[0, 0]


def summary(inputs):
    """The states weighted by attention: the query is one that has these similarities with them."""
    states = vector(inputs["values"])
    query = torch.linalg.lstsq(states, vector(inputs["scores"])[:, None]).solution.T
    model = attention(states.shape[1])
    assert model.scores(query[None], states[None]).flatten().tolist() == pytest.approx(inputs["scores"])
    return (model.weights(query[None], states[None]) @ states)[0, 0].tolist()


def scaled(inputs, similarity):
    """Dot products of states of 100 units that are ten times the logarithms of p."""
    scores = 10 * vector(inputs["p"]).log()
    query = torch.zeros(1, 1, 100, dtype=torch.float64)
    keys = torch.zeros(1, len(scores), 100, dtype=torch.float64)
    query[0, 0, 7], keys[0, :, 7] = 2.0, scores / 2
    return attention(100, similarity).weights(query, keys)[0, 0].tolist()


#: By the id of the example: what computes it, and how.
LIBRARY = {
    "10.1-fvsbn-sum": ("`FVSBN.weight`", lambda i: FVSBN((i["last"] + 1,)).weight.numel()),
    "10.2-rnn-parts": (
        "parameters of `RNN`",
        lambda i: [part.numel() for part in parts(plain_rnn(i["d"], i["k"]))],
    ),
    "10.3-rnn-parameters-3-4": (
        "`RNN.num_parameters`",
        lambda i: plain_rnn(i["d"], i["k"]).num_parameters,
    ),
    "10.4-rnn-parameters-100-50": (
        "`RNN.num_parameters`",
        lambda i: plain_rnn(i["d"], i["k"]).num_parameters,
    ),
    "10.5-rnn-o1": ("`RNN.forward`", first_scores),
    "10.6-rnn-exp-o1": ("`Categorical.probabilities`", lambda i: exps(i["a"])),
    "10.7-rnn-sum-o1": ("`Categorical.log_prob`", lambda i: sum_of_exp(i["a"])),
    "10.8-rnn-p1": (
        "`RNN.step`",
        lambda i: torch.softmax(vector(scores_after(i)), 0).tolist(),
    ),
    "10.9-rnn-whh-h0": ("`RNN.read`", recurrent_term),
    "10.10-rnn-wxh-x1": ("`RNN.read`", input_term),
    "10.11-rnn-preactivation": ("`RNN.read`", lambda i: torch.atanh(state_after(i)).tolist()),
    "10.12-rnn-h1": ("`RNN.read`", lambda i: state_after(i).tolist()),
    "10.13-rnn-o2": ("`RNN.step`", scores_after),
    "10.14-rnn-o2-exp": ("`Categorical.probabilities`", lambda i: exps(i["a"])),
    "10.15-rnn-o2-sum": ("`Categorical.log_prob`", lambda i: sum_of_exp(i["a"])),
    "10.16-rnn-p2-printed": (
        "`Categorical.probabilities`",
        lambda i: Categorical(4).probabilities(vector(i["a"])).tolist(),
    ),
    "10.17-rnn-p2-e": ("`RNN.log_prob_per_variable`", conditionals),
    "10.18-rnn-hello-conditionals": ("`RNN.log_prob_per_variable`", conditionals),
    "10.19-rnn-hello-log": (
        "`RNN.log_prob`",
        lambda i: lecture_rnn(i).log_prob(numbers(i["text"], i)).item(),
    ),
    "10.22-tanh-derivative": ("autograd of `RNN`", lambda i: steepest_tanh()),
    "10.23-sigmoid-derivative": ("autograd of `Bernoulli`", lambda i: steepest_sigmoid()),
    "11.1-attention-similarities": ("`AttentionRNN.scores`", similarities),
    "11.2-attention-exp": ("`Categorical.probabilities`", lambda i: exps(i["a"])),
    "11.3-attention-sum": ("`Categorical.log_prob`", lambda i: sum_of_exp(i["a"])),
    "11.4-attention-weights": ("`AttentionRNN.weights`", lambda i: weights_of_scores(i["a"]).tolist()),
    "11.5-attention-context": ("`AttentionRNN.weights`", summary),
    "11.10-scaling-unscaled": ('`AttentionRNN(similarity="dot")`', lambda i: scaled(i, "dot")),
    "11.11-scaling-scaled": (
        '`AttentionRNN(similarity="scaled-dot")`',
        lambda i: scaled(i, "scaled-dot"),
    ),
}

#: Numbers of the notes that are about no model.
ARITHMETIC = {
    "11.6-attention-predictions": lambda i: math.fsum(i["terms"]),
    "11.7-attention-pronoun": lambda i: math.fsum(i["terms"]),
    "11.12-rnn-transformer-speedup": lambda i: i["a"] / i["b"],
    "11.13-bptt-products": lambda i: sum(i["terms"]),
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
    found = {topic: [] for topic in ("10", "11")}
    for name in EXAMPLES:
        topic, number = name.split("-")[0].split(".")
        found[topic].append(int(number))
    assert found["10"] == [*range(1, 20), 22, 23]
    assert found["11"] == [*range(1, 8), 10, 11, 12, 13]


def test_what_the_notes_state_wrongly_would_not_agree():
    wrong = [example for example in EXAMPLES.values() if example["verdict"].startswith("wrong")]
    assert len(wrong) == 4
    for example in wrong:
        assert not agrees(example["stated"], example["exact"]), example["id"]


def test_the_parameters_do_not_depend_on_the_length():
    """The notes, line 4679: 36 for 5 characters and for 1000."""
    assert plain_rnn(3, 4, length=5).num_parameters == plain_rnn(3, 4, length=1000).num_parameters == 36
