"""Sentences of the lecture on sequences: recognising sounds, translating, and writing code, by p(x) alone."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch

from chainrule.data import Dataset, load_text
from chainrule.models import WaveNet
from chainrule.text import LanguageModel, corpus_of, fit_text
from chainrule.training import fit, seeded

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

# ------------------------------------------------------------------------------ speech recognition

#: Two notes each, in cycles a sample: low, rising, falling, high.
WORDS = torch.tensor([[0.06, 0.06], [0.06, 0.12], [0.12, 0.06], [0.12, 0.12]])
LENGTH = 48


def spoken(count, seed):
    """Noisy waves of these words and which they are; pitch, phase, loudness and the turn differ each time."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low, high):
        return low + (high - low) * torch.rand(count, 1, generator=generator)

    labels = torch.randint(len(WORDS), (count,), generator=generator)
    first, second = (2 * math.pi * WORDS[labels]).split(1, dim=1)
    notes = torch.where(torch.arange(LENGTH) < uniform(LENGTH / 3, 2 * LENGTH / 3), first, second)
    phases = (uniform(0.9, 1.1) * notes).cumsum(1) + uniform(0, 2 * math.pi)
    noise = 0.3 * torch.randn(count, LENGTH, generator=generator)
    return uniform(0.5, 1.5) * phases.sin() + noise, labels


def test_words_of_tones_are_recognised_by_bayes_rule(tmp_path):
    """p(label | wave) from p(wave | label), with all labels alike before: under 5 errors in 100."""
    parts = {name: spoken(*size) for name, size in {"train": (2000, 1), "validation": (300, 2)}.items()}
    data = Dataset(
        "tones",
        train=parts["train"][0],
        validation=parts["validation"][0],
        test=None,
        event_shape=(LENGTH,),
        kind="audio",
        levels=None,
        labels={name: labels for name, (_, labels) in parts.items()},
    )
    with seeded(0):
        model = WaveNet(
            (LENGTH,),
            channels=12,
            skip_channels=24,
            layers_per_stack=5,
            num_stacks=1,
            context_size=len(WORDS),
            conditional="gaussian",
        )
    fit(
        model,
        data,
        tmp_path / "run",
        epochs=5,
        batch_size=50,
        learning_rate=1e-2,
        warmup_steps=10,
        ema_decay=0.99,
        progress=False,
    )
    waves, labels = spoken(1000, 3)
    with torch.no_grad():
        by_step = torch.stack(
            [model.log_prob_per_variable(waves, labels.new_full((1000,), k)).double() for k in range(4)],
            dim=1,
        )  # (waves, labels, steps)
    log_joint = by_step.sum(2)
    errors = (log_joint.argmax(1) != labels).double().mean().item()
    assert errors < 0.05
    # What the label is said to be worth is what it is worth: the mean of p(label | wave) of the best label.
    assert log_joint.softmax(1).amax(1).mean().item() == pytest.approx(1 - errors, abs=0.04)
    # The mean wave of each word tells little, since phases differ: the model has learned more than averages.
    means = torch.stack([parts["train"][0][parts["train"][1] == k].mean(0) for k in range(4)])
    assert (torch.cdist(waves, means).argmin(1) != labels).double().mean() > 0.5
    # Not told the word, it finds the rest of a wave more probable than a linear model of the same reach does.
    of_the_rest = log_joint.logsumexp(1) - by_step[..., :LINEAR_REACH].sum(2).logsumexp(1)
    nll = -of_the_rest.mean().item() / (LENGTH - LINEAR_REACH)
    assert nll < linear_nll(parts["train"][0], waves) - 0.05


#: Steps that the linear model looks back; the WaveNet looks back 32.
LINEAR_REACH = 16


def linear_nll(train, test):
    """Nats a step of a linear Gaussian model of order `LINEAR_REACH`, fitted by least squares."""
    (inputs, outputs), (new_inputs, new_outputs) = (
        (windows[:, :-1], windows[:, -1])
        for windows in (x.double().unfold(1, LINEAR_REACH + 1, 1).flatten(0, 1) for x in (train, test))
    )
    weights = torch.linalg.lstsq(inputs, outputs).solution
    variance = (outputs - inputs @ weights).square().mean()
    error = (new_outputs - new_inputs @ weights).square().mean()
    return 0.5 * (math.log(2 * math.pi * variance) + error / variance).item()


# ------------------------------------------------------------------------------ translation


@pytest.mark.slow
def test_words_are_translated_into_their_reverse(tmp_path):
    """p(target | source) of lines "abcd>dcba", decoded greedily; no word of the test was trained on."""
    generator, words = random.Random(0), set()
    while len(words) < 4000:
        words.add("".join(generator.choices("abcdef", k=generator.randint(2, 5))))
    ordered = sorted(words)
    generator.shuffle(ordered)
    unseen, seen = ordered[:300], ordered[300:]
    corpus = tmp_path / "pairs.txt"
    corpus.write_text("".join(f"{word}>{word[::-1]}\n" for word in seen), encoding="utf-8")
    model = fit_text(
        corpus,
        tmp_path / "run",
        lines=True,
        model_settings={"width": 48, "num_layers": 2, "num_heads": 2, "dropout": 0.0},
        epochs=40,
        batch_size=100,
        learning_rate=5e-3,
        progress=False,
    )
    found = [model.generate(f"{word}>", max_tokens=10, top_k=1)[0] for word in unseen]
    right = sum(text == word[::-1] for word, text in zip(unseen, found, strict=True))
    assert right > 0.99 * len(unseen)


# ------------------------------------------------------------------------------ code


def balanced(text):
    """Whether round and square brackets close in the order that they need; an empty text is none."""
    waiting = []
    for sign in text:
        if sign in "([":
            waiting.append(")" if sign == "(" else "]")
        elif not waiting or waiting.pop() != sign:
            return False
    return bool(text) and not waiting


def nested(generator, pairs):
    """A balanced text of so many pairs."""
    text, waiting = "", []
    while pairs or waiting:
        if pairs and (not waiting or generator.random() < 0.5):
            opening, closing = generator.choice(["()", "[]"])
            text, pairs = text + opening, pairs - 1
            waiting.append(closing)
        else:
            text += waiting.pop()
    return text


@pytest.mark.parametrize(
    ("text", "is_balanced"),
    [("([])[]", True), ("([)]", False), ("(()", False), ("())", False), ("", False)],
)
def test_what_is_balanced(text, is_balanced):
    assert balanced(text) == is_balanced


@pytest.mark.slow
def test_samples_balance_brackets_after_training_on_balanced_ones(tmp_path):
    """Exact samples, none cut or cooled; those that are no line of the training text balance as well."""
    generator = random.Random(0)
    lines = [nested(generator, generator.randint(1, 8)) for _ in range(4000)]
    corpus = tmp_path / "code.txt"
    corpus.write_text("\n".join(lines), encoding="utf-8")
    settings = {"width": 48, "num_layers": 3, "num_heads": 3, "dropout": 0.0}

    def samples(epochs):
        model: LanguageModel = fit_text(
            corpus,
            tmp_path / str(epochs),
            lines=True,
            model_settings=settings,
            epochs=epochs,
            batch_size=100,
            learning_rate=4e-3 if epochs > 1 else 1e-9,
            progress=False,
        )
        return model.generate(max_tokens=30, num_samples=1000, seed=0)

    def share(texts):
        return sum(map(balanced, texts)) / len(texts)

    trained = samples(60)
    new = set(trained) - set(lines)
    shuffled = ["".join(generator.sample(line, len(line))) for line in lines]
    assert share(trained) > 0.95
    assert len(new) > 300
    assert share(new) > 0.9
    # The same signs in another order, and a network that has learned nothing.
    assert share(shuffled) < 0.2
    assert share(samples(1)) < 0.1


# ------------------------------------------------------------------------------ characters


@pytest.mark.data
def test_a_character_rnn_is_below_a_trigram_model():
    """On Tiny Shakespeare's validation part; the trigram model mixes three orders as held-out text asks."""
    corpus = corpus_of(load_text("tinyshakespeare"))
    levels = corpus.levels
    text, held_out = corpus.train[:-50_000].long(), corpus.train[-50_000:].long()
    counts = {
        order: torch.bincount(codes(text, order, levels), minlength=levels**order).double()
        for order in (1, 2, 3)
    }

    def likelihoods(tokens):
        """p of each token from the third on given the last two, one and none: `(3, tokens - 2)`."""
        found = [counts[1][tokens[2:]] / counts[1].sum()]
        for order in (2, 3):
            seen = counts[order][codes(tokens, order, levels)[3 - order :]]
            before = counts[order - 1][codes(tokens, order - 1, levels)[3 - order : -1]]
            found.append(seen / before.clamp_min(1))
        return torch.stack(found)

    shares = torch.full((3, 1), 1 / 3, dtype=torch.float64)
    for _ in range(30):  # expectation and maximisation of the mixture's weights
        weighed = shares * likelihoods(held_out)
        shares = (weighed / weighed.sum(0)).mean(1, keepdim=True)
    nll = -(shares * likelihoods(corpus.split("validation").long())).sum(0).log().mean().item()
    measured = json.loads((RESULTS / "text" / "lstm-characters" / "result.json").read_text())
    assert measured["data"] == "tinyshakespeare"
    assert measured["nll"] < nll - 0.3
    assert 1.8 < nll < 2.3  # it is no straw man


def codes(tokens, order, levels):
    """Each run of `order` tokens as one number."""
    runs = tokens.unfold(0, order, 1)
    return (runs * levels ** torch.arange(order - 1, -1, -1)).sum(1)
