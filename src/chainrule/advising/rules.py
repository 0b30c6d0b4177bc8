"""The lecture's decision framework (topic 14) as a table: where it applies, whom it favours, and why.

`branch` quotes the lecture's question and answer, so that a reader finds the rule there; rules of our own and
corrections say so. Points are added up; the reasons of those that applied are shown. Costs are measured ones
(`costs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chainrule.advising.situation import Situation

__all__ = ["ALTERNATIVES", "CANDIDATES", "RULES", "Alternative", "Rule"]

#: Who can take which kind of data at all, the usual choice first, with points to begin with.
CANDIDATES: Mapping[str, Mapping[str, int]] = {
    "image": {
        "gated-pixelcnn": 2,
        "pixelcnn-pp": 2,
        "made": 1,
        "nade": 1,
        "pixelcnn": 1,
        "diagonal-bilstm": 1,
        "row-lstm": 0,
        "deep-nade": 0,
        "fvsbn": 0,
        "chow-liu": 0,
        "transformer": -1,
    },
    "vector": {
        "made": 2,
        "nade": 2,
        "deep-nade": 1,
        "fvsbn": 1,
        "chow-liu": 1,
        "transformer": 0,
        "rnn": 0,
        "attention-rnn": 0,
    },
    "table": {"made": 2, "nade": 1, "deep-nade": 0, "fvsbn": 0},
    "text": {"transformer": 2, "rnn": 1, "wavenet": 0},
    "series": {"rnn": 2, "transformer": 1},
    "audio": {"wavenet": 2, "rnn": 1},
}

#: A length above which attention over everything is out of reach, and below which it costs little.
_SHORT, _LONG = 512, 10_000
#: Variables of small, medium and large examples.
_SMALL, _LARGE = 1_000, 10_000


@dataclass(frozen=True)
class Rule:
    """If `when`, these models gain points because of `reason`, or lose some because of `against`."""

    branch: str
    when: Callable[[Situation], bool]
    points: Mapping[str, int]
    reason: str
    against: str = ""


@dataclass(frozen=True)
class Alternative:
    """If `when`, `instead` deserves a look; `wrong_tool` where a model of this kind is none for it."""

    branch: str
    when: Callable[[Situation], bool]
    instead: str
    reason: str
    wrong_tool: bool = False


def _length(s: Situation, least: int, most: float) -> bool:
    return s.length is not None and least <= s.length < most


RULES: tuple[Rule, ...] = (
    # ------------------------------------------------ Question 1: the kind of data
    Rule(
        "Question 1: text, short (< 512 tokens): Transformer",
        lambda s: s.kind == "text" and (s.length is None or s.length < _SHORT),
        {"transformer": 3},
        "short texts: attention sees all of the context",
    ),
    Rule(
        "Question 1: text, between (the lecture leaves it out)",
        lambda s: s.kind == "text" and _length(s, _SHORT, _LONG),
        {"transformer": 2, "rnn": 1},
        "longer texts: attention within a window, or a state of fixed size",
    ),
    Rule(
        "Question 1: text, very long (> 10k tokens): hierarchical models or sparse attention",
        lambda s: s.kind == "text" and _length(s, _LONG, float("inf")),
        {"transformer": 2, "rnn": 1, "wavenet": 1},
        "very long texts: a window (sparse attention), a state or dilated layers cost no n^2",
    ),
    Rule(
        "Question 1: images: PixelCNN++",
        lambda s: s.kind == "image" and not s.binary,
        {"pixelcnn-pp": 3, "gated-pixelcnn": 2, "pixelcnn": 1},
        "pixels of many levels: neighbours matter, and convolutions share what they learn",
    ),
    Rule(
        "Question 1: images of 0 and 1 (PixelCNN++'s mixture of logistics is for levels)",
        lambda s: s.kind == "image" and s.binary,
        {"gated-pixelcnn": 2, "diagonal-bilstm": 1, "made": 1, "nade": 1, "pixelcnn-pp": -2},
        "black and white pixels: a probability for each",
        "its mixture of logistics is meant for many levels",
    ),
    Rule(
        "Images of many levels (ours)",
        lambda s: s.kind in ("image", "vector") and s.levels is not None and s.levels > 32,
        {"made": -2, "nade": -2, "deep-nade": -2, "fvsbn": -3, "chow-liu": -3},
        "",
        "many levels: a weight for every pair of pixels learns slowly",
    ),
    Rule(
        "Applications: anomalies in tables: MADE",
        lambda s: s.kind == "table",
        {"made": 1},
        "columns of different kinds: all conditionals in one pass",
    ),
    Rule(
        "Applications: speech: WaveNet",
        lambda s: s.kind == "audio",
        {"wavenet": 2},
        "sound: dilated convolutions reach thousands of samples back",
    ),
    Rule(
        "Applications: time series: RNN / LSTM, Transformer",
        lambda s: s.kind == "series",
        {"rnn": 1},
        "steps in time: a state goes on for any length, and forecasts are sampled from it",
    ),
    # ------------------------------------------------ Question 2: the priority
    Rule(
        "Question 2: training speed: MADE, Transformer, PixelCNN",
        lambda s: s.wants("fast-training"),
        {"made": 4, "transformer": 3, "pixelcnn": 3, "fvsbn": 2, "chow-liu": 2, "wavenet": 1},
        "trains in parallel over all variables (a Chow-Liu tree by counting)",
    ),
    Rule(
        "Question 2: generation speed (corrected: one pass in all, not one per variable)",
        lambda s: s.wants("fast-sampling"),
        {"fvsbn": 3, "made": 4, "chow-liu": 2, "nade": 2, "rnn": 2, "wavenet": 1, "pixelcnn-pp": -1},
        "a whole sample costs about one parallel pass, and here a pass is cheap",
        "a whole sample costs about one parallel pass, and here a pass is dear",
    ),
    Rule(
        "Question 2: sample quality: Transformer for text",
        lambda s: s.kind == "text" and s.wants("quality"),
        {"transformer": 3},
        "the best likelihoods of text",
    ),
    Rule(
        "Question 2: sample quality: PixelCNN++ for images",
        lambda s: s.kind == "image" and s.wants("quality") and not s.binary,
        {"pixelcnn-pp": 3, "gated-pixelcnn": 1},
        "published with 2.92 bits/dim on CIFAR-10, ahead of the other convolutional models here",
    ),
    Rule(
        "Question 2: sample quality, images of 0 and 1 (ours)",
        lambda s: s.kind == "image" and s.wants("quality") and s.binary,
        {"diagonal-bilstm": 5, "gated-pixelcnn": 4, "nade": 1},
        "the best published likelihoods on binarized MNIST: 79.20 nats for Diagonal BiLSTM",
    ),
    Rule(
        "Question 2: sample quality: attention RNN for sequences",
        lambda s: s.kind == "vector" and s.wants("quality"),
        {"attention-rnn": 2, "transformer": 2, "made": 1},
        "sequences of a few levels: attention looks back at every earlier value",
    ),
    Rule(
        "Question 2: interpretability: FVSBN, NADE, MADE",
        lambda s: s.wants("readable"),
        {"fvsbn": 12, "chow-liu": 5, "nade": 4, "made": 2},
        "readable: FVSBN is a logistic regression per variable, a tree is a picture, NADE's features show",
    ),
    Rule(
        "Question 2: memory efficiency: RNN, NADE, MADE",
        lambda s: s.wants("memory"),
        {"rnn": 4, "nade": 3, "made": 3, "pixelcnn": 2, "row-lstm": 2, "chow-liu": 3, "transformer": -1},
        "few parameters: an RNN's do not grow with the length, a convolution's not with the image",
        "keys and values of everything read so far take memory",
    ),
    Rule(
        "Question 2: exact likelihood: all autoregressive models",
        lambda s: s.wants("likelihood"),
        {},
        "every model here gives exact probabilities",
    ),
    Rule(
        "Applications: anomaly detection: PixelCNN for images, MADE for tables",
        lambda s: s.wants("anomalies"),
        {"made": 2, "pixelcnn": 2, "gated-pixelcnn": 2},
        "odd is what has a low probability, and the map of surprise says where",
    ),
    Rule(
        "Filling in any part (ours)",
        lambda s: s.wants("filling"),
        {"deep-nade": 7, "chow-liu": 1},
        "trained for every ordering: whatever is known can come first, and filling in is exact",
    ),
    # ------------------------------------------------ Question 3: constraints
    Rule(
        "Question 3: limited compute: FVSBN, NADE or a small MADE; avoid deep Transformers, PixelRNN",
        lambda s: s.compute == "little",
        {
            **{"fvsbn": 4, "nade": 4, "made": 4, "chow-liu": 3, "rnn": 2, "pixelcnn": 1},
            **{"transformer": -2, "row-lstm": -4, "diagonal-bilstm": -4, "pixelcnn-pp": -4},
        },
        "little compute: small networks train in seconds to minutes",
        "little compute: deep or sequential networks take hours",
    ),
    Rule(
        "Question 3: limited data: FVSBN, NADE; avoid over-parameterized Transformers",
        lambda s: s.little_data,
        {
            **{"fvsbn": 4, "nade": 4, "chow-liu": 2, "rnn": 2},
            **{"transformer": -3, "pixelcnn-pp": -2, "attention-rnn": -1},
        },
        "little data: few weights, or weights that all variables share",
        "little data: a large network would learn the examples by heart",
    ),
    Rule(
        "Question 3: deployment at scale: MADE; compression, distillation",
        lambda s: s.wants("scale"),
        {"made": 5, "transformer": 1, "wavenet": 1, "pixelcnn": 1},
        "many requests: one parallel pass scores a batch",
    ),
    Rule(
        "Question 3: research / state of the art: Transformer for text, PixelCNN++ for images",
        lambda s: s.wants("research"),
        {"transformer": 3, "pixelcnn-pp": 4, "wavenet": 1},
        "the strongest published results of autoregressive models",
    ),
    # ------------------------------------------------ scale changes everything
    Rule(
        "Scale: small (MNIST, < 1K variables): NADE and MADE suffice",
        lambda s: s.kind in ("image", "vector") and s.variables < _SMALL and (s.levels or 2) <= 32,
        {"nade": 3, "made": 3},
        "few variables: simple models work well",
    ),
    Rule(
        "Scale: medium (CIFAR, about 3K variables): depth, PixelCNN",
        lambda s: s.kind == "image" and _SMALL <= s.variables < _LARGE,
        {"pixelcnn-pp": 1, "gated-pixelcnn": 1, "pixelcnn": 1, "fvsbn": -2, "nade": -1, "made": -1},
        "thousands of pixels: depth, and weights that all places share",
        "thousands of pixels: a weight for every pair of them",
    ),
    Rule(
        "Scale: large (ImageNet, text): only deep models",
        lambda s: s.kind == "image" and s.variables >= _LARGE,
        {"pixelcnn-pp": 2, "gated-pixelcnn": 2, "fvsbn": -4, "nade": -3, "made": -3, "diagonal-bilstm": -2},
        "large images: convolutions, whose weights do not grow with the image",
        "large images: the weights or the time grow out of reach",
    ),
)


ALTERNATIVES: tuple[Alternative, ...] = (
    Alternative(
        "No explicit representation: VAEs have a latent code",
        lambda s: s.wants("features"),
        "an autoencoder or a VAE (topic 8), or a pretrained encoder",
        "a model of the chain rule has no single vector that stands for an example",
        wrong_tool=True,
    ),
    Alternative(
        "Classifiers (topic 3)",
        lambda s: s.wants("labels"),
        "a classifier: logistic regression or gradient boosting (scikit-learn)",
        "a model of p(x) spends itself on all columns; one known label is predicted better directly",
        wrong_tool=True,
    ),
    Alternative(
        "Question 2: generation speed: VAE, flow, diffusion",
        lambda s: s.kind in ("image", "audio") and s.wants("fast-sampling") and s.variables >= _SMALL,
        "a VAE, a normalizing flow, a GAN, or a distilled diffusion model",
        "variables are drawn one after another: at this size, in real time, that is the wrong tool",
        wrong_tool=True,
    ),
    Alternative(
        "Question 2: generation speed: consider non-autoregressive alternatives",
        lambda s: s.wants("fast-sampling"),
        "a VAE, a flow or a diffusion model, if what is measured here is too slow",
        "sampling stays sequential, though it costs one pass in all",
    ),
    Alternative(
        "Applications: image generation is mostly superseded by diffusion models",
        lambda s: s.kind == "image" and s.wants("quality", "research") and s.variables >= _SMALL,
        "a diffusion model, where pictures matter and probabilities do not",
        "at this size diffusion models draw better pictures",
        wrong_tool=False,
    ),
    Alternative(
        "Scale: large (ImageNet): massive compute",
        lambda s: s.kind == "image" and s.variables >= _LARGE,
        "smaller pictures or patches of them here; else a diffusion or latent model on accelerators",
        "a network for pictures of this size is out of reach of a CPU",
        wrong_tool=True,
    ),
    Alternative(
        "Scale: large (text): Transformers with massive compute",
        lambda s: s.kind == "text" and s.wants("quality", "research"),
        "a pretrained language model, fine-tuned",
        "what a model of this library learns from your text alone is its style and not the language",
    ),
    Alternative(
        "Question 1: text, very long: hierarchical models",
        lambda s: s.kind == "text" and _length(s, _LONG, float("inf")),
        "hierarchical or state-space models",
        "dependences over more than ten thousand tokens are beyond a window",
    ),
    Alternative(
        "Question 3: deployment at scale: model compression, distillation",
        lambda s: s.wants("scale"),
        "quantising or distilling the trained model",
        "a smaller network with nearly the same likelihood serves more requests",
    ),
    Alternative(
        "Question 3: limited data (ours)",
        lambda s: s.kind != "audio" and s.rows is not None and s.rows < (2_000 if s.kind == "text" else 30),
        "more data, or a model by hand: a histogram, a Gaussian",
        "so few examples teach no network anything",
        wrong_tool=True,
    ),
    Alternative(
        "Time series (ours)",
        lambda s: s.kind == "series" and s.rows is not None and s.rows < 200,
        "exponential smoothing or ARIMA",
        "for a short series a model with a handful of parameters forecasts as well",
    ),
)
