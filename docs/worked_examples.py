"""The lecture's worked examples, put to the library's own classes.

Each entry of `LIBRARY` builds the very model that an example is about and asks it; `ARITHMETIC` holds
the few examples that are about no model. Inputs and exact values are those of
tests/data/worked_examples.json; `make_worked_examples.py` writes the page, and
tests/test_worked_examples.py compares every value.
"""

# ruff: noqa: D103  (one-line helpers whose names say what they return)

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.conditionals import Bernoulli, Categorical, GaussianMixture, finite_logit
from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, BayesNet, Independent
from chainrule.orderings import resolve_ordering
from chainrule.testing import all_examples

EXAMPLES = Path(__file__).resolve().parent.parent / "tests" / "data" / "worked_examples.json"

Compute = Callable[[dict[str, Any]], Any]

# ------------------------------------------------------------------------------ building the models


def vector(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@torch.no_grad()
def independent(probabilities: list[float]) -> Independent:
    model = Independent((len(probabilities),)).double()
    model.params.copy_(finite_logit(vector(probabilities)))
    return model


def coin_images(size: int) -> Independent:
    """The untrained independent model: every pixel a fair coin."""
    return Independent((size,)).double()


def chain_rule_net(factors: list[float], x: list[int], parents: list[list[int]] | None = None) -> BayesNet:
    """A Bayes net in which the i-th conditional gives the value x_i the probability `factors[i]`.

    With all earlier variables as parents unless `parents` says less: the chain rule itself.
    """
    parents = parents or [list(range(i)) for i in range(len(x))]
    net = BayesNet((len(x),), parents).double()
    for i, factor in enumerate(factors):
        table = net.table(i)
        table[tuple(x[p] for p in parents[i])] = factor if x[i] else 1 - factor
        net.set_table(i, table)
    return net


@torch.no_grad()
def fvsbn(inputs: dict[str, Any]) -> FVSBN:
    """`alphas[i]` is [bias, weights of x_1 .. x_{i-1}]; `first`, if given, is P(X_1 = 1)."""
    alphas = inputs["alphas"]
    model = FVSBN((len(alphas),)).double()
    model.bias.copy_(vector([a[0] for a in alphas]))
    model.weight.copy_(vector([w for a in alphas for w in a[1:]]))
    if "first" in inputs:
        model.bias[0] = finite_logit(vector(inputs["first"]))
    return model


@torch.no_grad()
def nade(inputs: dict[str, Any]) -> NADE:
    """W is (d, n) and c (d,); where V and b have no entry for pixel 1, P(X_1 = 1) is `first`."""
    weight, n = vector(inputs["W"]), len(inputs["W"][0])
    model = NADE((n,), hidden=len(weight)).double()
    model.weight.copy_(weight.T)
    model.hidden_bias.copy_(vector(inputs["c"]))
    model.output_weight.zero_()
    if "V" in inputs:
        model.output_weight[1:] = vector(inputs["V"][1:])
        model.output_bias[1:] = vector(inputs["b"][1:])
        model.output_bias[0] = finite_logit(vector(inputs["first"]))
    return model


def made(inputs: dict[str, Any]) -> MADE:
    """Three variables whose numbers, in the layout given, are `inputs` or `outputs`."""
    numbers = inputs.get("inputs") or inputs["outputs"]
    ordering = sorted(range(len(numbers)), key=lambda i: numbers[i])
    return MADE(
        (len(numbers),), hidden=(len(inputs["hidden"]),), ordering=ordering, degrees=[inputs["hidden"]]
    )


def rnade_mixture(inputs: dict[str, Any]) -> tuple[GaussianMixture, Tensor]:
    """The family with the lecture's equal weights, and the parameters of the means and deviations given."""
    mixture = GaussianMixture(components=len(inputs["mu"]), equal_weights=True)
    locations = vector(inputs["mu"]) - mixture.offsets
    log_scales = torch.log(vector(inputs["sd"]) - mixture.min_scale)
    return mixture, torch.cat([locations, log_scales])


def of_log_prob(log_p: float, size: int) -> Independent:
    """A model whose image of ones has this log p, evenly over the pixels."""
    return independent([math.exp(log_p / size)] * size)


def without_memory(build: Callable[[], AutoregressiveModel]) -> AutoregressiveModel:
    """A model too large to hold, built on PyTorch's meta device: sizes without storage."""
    with torch.device("meta"):
        return build()


# ------------------------------------------------------------------------------ asking them


def row(x: list[int]) -> Tensor:
    return vector(x)[None]


def probabilities_of_one(model: AutoregressiveModel, x: list[int]) -> list[float]:
    return torch.sigmoid(model(row(x))[0, :, 0]).tolist()


def probabilities_of_x(model: AutoregressiveModel, x: list[int]) -> list[float]:
    return model.log_prob_per_variable(row(x))[0].exp().tolist()


def log_prob(model: AutoregressiveModel, x: list[int]) -> float:
    return model.log_prob(row(x)).item()


def joint(model: AutoregressiveModel, x: list[int]) -> float:
    return math.exp(log_prob(model, x))


def total(model: AutoregressiveModel) -> float:
    return model.log_prob(all_examples(model).double()).exp().sum().item()


def ones(inputs: dict[str, Any]) -> list[int]:
    return [1] * len(inputs.get("p") or inputs["factors"])


def log_image_space(size: int) -> float:
    """Nats of one image when all are equally likely: the log of their number."""
    return coin_images(size).nll(torch.zeros(1, size)).item()


def sample(inputs: dict[str, Any]) -> list[int]:
    drawn = fvsbn(inputs).sample(noise=row(inputs["u"]))
    return [int(v) for v in drawn[0]]


def gradient_of_conditional(inputs: dict[str, Any]) -> list[float]:
    """d log p(x) / d [bias, weights] of conditional i, by autograd."""
    model, i = fvsbn(inputs), inputs["i"] - 1
    model.log_prob(row(inputs["x"])).backward()
    start = i * (i - 1) // 2
    return [model.bias.grad[i].item(), *model.weight.grad[start : start + i].tolist()]


def softmax_odds(logits: list[float]) -> list[float]:
    """e^a, as the odds of each level against one more level of logit 0."""
    probabilities = Categorical(levels=len(logits) + 1).probabilities(vector([*logits, 0.0]))
    return (probabilities[:-1] / probabilities[-1]).tolist()


def rnade_log_density(inputs: dict[str, Any]) -> list[float]:
    mixture, params = rnade_mixture(inputs)
    return mixture.log_prob(params, vector(inputs["x"])).tolist()


def rnade_moments(inputs: dict[str, Any]) -> list[float]:
    """The mean, and the variance by integrating (x - mean)^2 against the density."""
    mixture, params = rnade_mixture(inputs)
    mean = mixture.mean(params)
    x = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    density = mixture.log_prob(params, x).exp()
    return [mean.item(), torch.trapezoid((x - mean) ** 2 * density, x).item()]


def bits_per_dim(log_p: float, size: int) -> float:
    return of_log_prob(log_p, size).bits_per_dim(torch.ones(1, size)).item()


def raster_positions(width: int, height: int = 28) -> Tensor:
    return resolve_ordering("raster", (height, width)).positions().view(height, width)


def raster_index(inputs: dict[str, Any]) -> int:
    return int(raster_positions(inputs["width"])[inputs["row"] - 1, inputs["col"] - 1]) + 1


def raster_row_col(inputs: dict[str, Any]) -> list[int]:
    where = (raster_positions(inputs["width"]) == inputs["index"] - 1).nonzero()[0]
    return (where + 1).tolist()


def raster_neighbours(inputs: dict[str, Any]) -> list[int]:
    across, down = raster_row_col(inputs)[::-1]
    positions = raster_positions(inputs["width"])
    return [int(positions[down - 2, across - 1]) + 1, int(positions[down - 1, across - 2]) + 1]


def preactivation(inputs: dict[str, Any]) -> list[float]:
    """Of the hidden layer that has heard len(v) - 1 pixels; the last column of M is c."""
    columns = [[*r[:-1], 0.0] for r in inputs["M"]]  # a last pixel that nothing has heard yet
    model = nade({"W": columns, "c": [r[-1] for r in inputs["M"]]})
    x = [*inputs["v"][:-1], 0]
    return torch.logit(model.hidden_activations(row(x))[0, len(x) - 1]).tolist()


def nade_hidden(inputs: dict[str, Any]) -> list[float]:
    return nade(inputs).hidden_activations(row(inputs["x"]))[0, inputs["i"] - 1].tolist()


def nade_logit(inputs: dict[str, Any]) -> float:
    return nade(inputs)(row(inputs["x"]))[0, inputs["i"] - 1, 0].item()


def nade_forms(inputs: dict[str, Any]) -> list[int]:
    """The three ways of writing the count, as sums over the tensors of one model."""
    model = NADE((inputs["n"],), hidden=inputs["d"])
    w, v = model.weight.numel(), model.output_weight.numel()
    c, b = model.hidden_bias.numel(), model.output_bias.numel()
    return [w + c + (v + b), (w + c) + (v + b), c + b + (w + v)]


def connectivity(inputs: dict[str, Any]) -> list[list[int]]:
    hidden, output = made(inputs).masks()
    return (output.int() @ hidden.int()).tolist()


def made_order(inputs: dict[str, Any]) -> list[str]:
    return [inputs["names"][i] for i in made(inputs).ordering.permutation]


# ------------------------------------------------------------------------------ the examples

WEATHER = [[], [0], [1], [0, 1]]

#: What answers an example, and how; by the example's id.
LIBRARY: dict[str, tuple[str, Compute]] = {
    "1.1-log-terms-before": (
        "`Independent.log_prob`",
        lambda i: [log_prob(independent([p]), [1]) for p in i["a"]],
    ),
    "1.2-log-likelihood-before": ("`Independent.log_prob`", lambda i: log_prob(independent(i["p"]), ones(i))),
    "1.3-log-terms-after": (
        "`Independent.log_prob`",
        lambda i: [log_prob(independent([p]), [1]) for p in i["a"]],
    ),
    "1.4-log-likelihood-after": ("`Independent.log_prob`", lambda i: log_prob(independent(i["p"]), ones(i))),
    "1.5-higher-is-better": (
        "`Independent.log_prob`",
        lambda i: log_prob(independent(i["after"]), [1] * 3) > log_prob(independent(i["before"]), [1] * 3),
    ),
    "2.1-configurations-4": (
        "`testing.all_examples`",
        lambda i: len(all_examples(coin_images(i["exponent"]))),
    ),
    "2.2-image-space-exponent": (
        "`Independent.nll`",
        lambda i: log_image_space(i["exponent"]) / math.log(10),
    ),
    "2.3-first-bayes-net-parameters": (
        "`BayesNet.num_parameters`",
        lambda i: BayesNet((4,), [[], [0], [1], [0, 2]]).num_parameters,
    ),
    "2.4-weather-bayes-net-tables": (
        "`BayesNet.table`",
        lambda i: [BayesNet((4,), WEATHER).table(v).numel() for v in range(4)],
    ),
    "2.5-weather-bayes-net-parameters": (
        "`BayesNet.num_parameters`",
        lambda i: BayesNet((4,), WEATHER).num_parameters,
    ),
    "2.6-weather-bayes-net-joint": (
        "`BayesNet.log_prob`",
        lambda i: joint(chain_rule_net(i["factors"], ones(i), WEATHER), ones(i)),
    ),
    "2.8-full-table-4": (
        "`BayesNet.num_parameters`",
        lambda i: BayesNet((i["n"],), [list(range(v)) for v in range(i["n"])]).num_parameters,
    ),
    "4.1-pixels": ("`Independent.num_variables`", lambda i: Independent(i["factors"]).num_variables),
    "4.2-image-space": ("`Independent.nll`", lambda i: math.exp(log_image_space(i["exponent"]))),
    "4.3-image-space-again": ("`Independent.nll`", lambda i: log_image_space(i["exponent"]) / math.log(10)),
    "4.5-independent-joint": (
        "`Independent.log_prob`",
        lambda i: joint(independent([0.7, 0.3, 0.6, 0.8]), [1, 0, 1, 1]),
    ),
    "4.6-independent-log": (
        "`Independent.log_prob`",
        lambda i: log_prob(independent([0.7, 0.3, 0.6, 0.8]), [1, 0, 1, 1]),
    ),
    "4.7-autoregressive-joint": (
        "`BayesNet.log_prob`",
        lambda i: joint(chain_rule_net(i["factors"], [1, 0, 1, 1]), [1, 0, 1, 1]),
    ),
    "4.8-autoregressive-log": (
        "`BayesNet.log_prob`",
        lambda i: log_prob(chain_rule_net(i["p"], [1, 0, 1, 1]), [1, 0, 1, 1]),
    ),
    "4.9-untrained-log-likelihood": ("`Independent.log_prob`", lambda i: -log_image_space(i["dims"])),
    "4.10-raster-row2-first": ("`resolve_ordering`", raster_index),
    "4.11-raster-row3-first": ("`resolve_ordering`", raster_index),
    "4.12-raster-row28-first": ("`resolve_ordering`", raster_index),
    "4.13-raster-last": ("`resolve_ordering`", raster_index),
    "4.14-raster-x100-context": (
        "`resolve_ordering`",
        lambda i: int((raster_positions(28) < raster_positions(28).flatten()[99]).sum()),
    ),
    "4.15-xray-pixels": ("`Independent.num_variables`", lambda i: Independent(i["factors"]).num_variables),
    "4.16-independent-parameters": (
        "`Independent.num_parameters`",
        lambda i: Independent(i["factors"]).num_parameters,
    ),
    "4.17-fvsbn-parameters": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "4.18-nade-parameters": (
        "`NADE.num_parameters`",
        lambda i: NADE((i["n"],), hidden=i["d"]).num_parameters,
    ),
    "4.19-nade-shared-weights": ("`NADE.weight`", lambda i: NADE((784,), hidden=500).weight.numel()),
    "4.20-fvsbn-4x4": ("`FVSBN.num_parameters`", lambda i: FVSBN((4, 4)).num_parameters),
    "5.1-weather-sunny": (
        "`BayesNet.log_prob`",
        lambda i: joint(chain_rule_net(i["factors"], ones(i)), ones(i)),
    ),
    "5.2-weather-rainy-first": (
        "`BayesNet.log_prob`",
        lambda i: joint(chain_rule_net(i["factors"], [0, 1, 1]), [0, 1, 1]),
    ),
    "5.12-logistic-parameters-3": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "6.1-fvsbn-parameters-784": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "6.2-fvsbn-parameters-4": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "6.3-fvsbn-denominator": (
        "`Bernoulli.mean`",
        lambda i: 1 / Bernoulli().mean(vector([-i["a"][1]])).item(),
    ),
    "6.8-fvsbn-sampling-probabilities": (
        "`FVSBN.sample`",
        lambda i: probabilities_of_one(fvsbn(i), sample(i)),
    ),
    "6.9-fvsbn-sample": ("`FVSBN.sample`", sample),
    "6.12-fvsbn-gradient": ("autograd of `FVSBN.log_prob`", gradient_of_conditional),
    "6.13-raster-neighbours-400": ("`resolve_ordering`", raster_neighbours),
    "6.14-raster-pixel-400": ("`resolve_ordering`", raster_row_col),
    "6.15-fvsbn-square": ("`FVSBN.matrix`", lambda i: FVSBN((784,)).matrix().numel()),
    "6.16-fvsbn-multiply-adds": ("`FVSBN.multiply_adds`", lambda i: FVSBN((i["n"],)).multiply_adds),
    "6.17-fvsbn-parameters-256": (
        "`FVSBN.num_parameters`",
        lambda i: without_memory(lambda: FVSBN((256, 256))).num_parameters,
    ),
    "6.18-fvsbn-parameters-10": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "7.1-nade-boxed-formula": ("`NADE`, tensor by tensor", nade_forms),
    "7.2-nade-parts": ("`NADE.num_parameters`", lambda i: NADE((784,), hidden=500).num_parameters),
    "7.3-fvsbn-parameters-compare": ("`FVSBN.num_parameters`", lambda i: FVSBN((i["n"],)).num_parameters),
    "7.4-nade-preactivation2": ("`NADE.hidden_activations`", preactivation),
    "7.5-nade-preactivation4": ("`NADE.hidden_activations`", preactivation),
    "7.18-nade-joint": ("`NADE.log_prob`", lambda i: joint(nade(i), i["x"])),
    "7.19-nade-log": ("`NADE.log_prob`", lambda i: log_prob(nade(i), i["x"])),
    "7.20-nade-normalised": ("`NADE.log_prob`", lambda i: total(nade(i))),
    "7.21-nade-example-parameters": (
        "`NADE.num_parameters`, less pixel 1's weights",
        lambda i: (m := NADE((i["n"],), hidden=i["d"])).num_parameters - m.output_weight[0].numel(),
    ),
    "7.23-nade-multiply-adds": (
        "`NADE.multiply_adds`",
        lambda i: NADE((i["n"],), hidden=i["d"]).multiply_adds,
    ),
    "7.24-softmax-exp": ("`Categorical.probabilities`", lambda i: softmax_odds(i["a"])),
    "7.25-softmax-sum": ("`Categorical.probabilities`", lambda i: sum(softmax_odds(i["a"]))),
    "7.26-softmax": (
        "`Categorical.log_prob`",
        lambda i: [
            Categorical(levels=len(i["a"])).log_prob(vector(i["a"]), torch.tensor(k)).exp().item()
            for k in range(len(i["a"]))
        ],
    ),
    "7.28-rnade-density": (
        "`GaussianMixture.log_prob`",
        lambda i: [math.exp(log_density) for log_density in rnade_log_density(i)],
    ),
    "7.29-rnade-log-density": ("`GaussianMixture.log_prob`", rnade_log_density),
    "7.30-rnade-moments": ("`GaussianMixture.mean`, and `log_prob` integrated", rnade_moments),
    "7.31-nade-large-W": (
        "`NADE.weight`",
        lambda i: without_memory(lambda: NADE((256, 256), hidden=1000)).weight.numel(),
    ),
    "7.32-nade-parameters-quiz": (
        "`NADE.num_parameters`",
        lambda i: NADE((i["n"],), hidden=i["d"]).num_parameters,
    ),
    "9.3-made-notes-ordering-labels": ("`MADE.ordering`", made_order),
    "9.4-made-notes-ordering-natural": ("`MADE.ordering`", made_order),
    "9.5-made-positions": ("`MADE.ordering`", made_order),
    "9.8-made-connectivity-ordered": ("`MADE.masks`", connectivity),
    "9.11-made-connectivity-natural": ("`MADE.masks`", connectivity),
    "9.12-made-nade-operations": (
        "`NADE.multiply_adds`",
        lambda i: NADE((i["n"],), hidden=i["d"]).multiply_adds,
    ),
    "9.14-made-operations": (
        "`MADE.multiply_adds`",
        lambda i: MADE((i["n"],), hidden=i["hidden"]).multiply_adds,
    ),
    "9.15-made-operations-two-layers": (
        "`MADE.multiply_adds`",
        lambda i: MADE((i["n"],), hidden=i["hidden"]).multiply_adds,
    ),
    "14.1-mnist-bits-per-dim": (
        "`Independent.bits_per_dim`",
        lambda i: [bits_per_dim(-nats, i["dims"]) for nats in i["nats"]],
    ),
    "14.2-perplexity-nats": (
        "`Independent.nll`",
        lambda i: [-log_prob(independent([1 / p]), [1]) for p in i["perplexity"]],
    ),
    "14.3-perplexity-bits": (
        "`Independent.bits_per_dim`",
        lambda i: [bits_per_dim(-math.log(p), 1) for p in i["perplexity"]],
    ),
    "14.4-code-length": (
        "`Independent.bits_per_dim`",
        lambda i: [784 * bits_per_dim(log_p, 784) for log_p in i["log_p"]],
    ),
    "14.5-uniform-cifar": (
        "`Categorical.log_prob`",
        lambda i: -Categorical(i["perplexity"]).log_prob(vector([0.0] * 256), vector(7)).item() / math.log(2),
    ),
}
for example in ("5.3-ar4-1", "5.7-ar4-2", "6.4-fvsbn"):
    LIBRARY[f"{example}-probabilities"] = (
        "`FVSBN.forward`",
        lambda i: probabilities_of_one(fvsbn(i), i["x"]),
    )
for example in ("5.4-ar4-1", "5.8-ar4-2", "6.5-fvsbn"):
    LIBRARY[f"{example}-conditionals"] = (
        "`FVSBN.log_prob_per_variable`",
        lambda i: probabilities_of_x(fvsbn(i), i["x"]),
    )
for example in ("5.5-ar4-1-joint", "5.9-ar4-2-joint", "6.6-fvsbn-likelihood"):
    LIBRARY[example] = ("`FVSBN.log_prob`", lambda i: joint(fvsbn(i), i["x"]))
for example in (
    "5.6-ar4-1-log",
    "5.10-ar4-2-log",
    "6.7-fvsbn-log-likelihood",
    "6.10-fvsbn-sample-likelihood",
):
    LIBRARY[example] = ("`FVSBN.log_prob`", lambda i: log_prob(fvsbn(i), i["x"]))
for example in ("5.11-ar4-normalised", "6.11-fvsbn-normalised"):
    LIBRARY[example] = ("`FVSBN.log_prob`", lambda i: total(fvsbn(i)))
for number, pixel in ((6, 2), (10, 3), (14, 4)):
    LIBRARY[f"7.{number}-nade-h{pixel}"] = ("`NADE.hidden_activations`", nade_hidden)
    LIBRARY[f"7.{number + 1}-nade-logit{pixel}"] = ("`NADE.forward`", nade_logit)
    LIBRARY[f"7.{number + 2}-nade-p{pixel}"] = (
        "`NADE.forward`",
        lambda i: probabilities_of_one(nade(i), i["x"])[i["i"] - 1],
    )
    LIBRARY[f"7.{number + 3}-nade-conditional{pixel}"] = (
        "`NADE.log_prob_per_variable`",
        lambda i: probabilities_of_x(nade(i), i["x"])[i["i"] - 1],
    )
for example in ("9.1-made-notes-mask-hidden", "9.6-made-mask-hidden-ordered", "9.9-made-mask-hidden-natural"):
    LIBRARY[example] = ("`MADE.masks`", lambda i: made(i).masks()[0].int().tolist())
for example in (
    "9.2-made-notes-mask-output",
    "9.7-made-mask-output-ordered",
    "9.10-made-mask-output-natural",
):
    LIBRARY[example] = ("`MADE.masks`", lambda i: made(i).masks()[1].int().tolist())

#: Examples about no model of the library: sums and products of numbers in the notes, or counts of
#: networks that nobody should build (a separate one for every variable).
ARITHMETIC: dict[str, Compute] = {
    "2.7-neural-weather-parameters": lambda i: (
        1 + sum(v * i["hidden"] + 2 * i["hidden"] + 1 for v in range(1, i["n"]))
    ),
    "4.4-seconds-since-big-bang": lambda i: i["years"] * i["seconds_per_year"],
    "5.13-next-word-mass": lambda i: math.fsum(i["terms"]),
    "7.27-next-word-mass": lambda i: math.fsum(i["terms"]),
    "7.22-nade-untied-parameters": lambda i: sum(i["d"] * v + 2 * i["d"] + 1 for v in range(i["n"])),
    "9.13-made-nade-operations-naive": lambda i: math.prod(i["factors"]),
    "9.16-made-operations-arithmetic": lambda i: sum(i["terms"]),
    "9.17-made-batch-nade": lambda i: math.prod(i["factors"]),
    "9.18-made-batch-made": lambda i: math.prod(i["factors"]),
    "9.19-made-speedup": lambda i: i["a"] / i["b"],
    "9.20-made-texture-speedup": lambda i: i["a"] / i["b"],
    "9.21-audio-rate": lambda i: math.prod(i["factors"]),
}


def read_examples() -> list[dict[str, Any]]:
    """The examples of topics 1, 2, 4, 5, 6, 7, 9 and 14."""
    return json.loads(EXAMPLES.read_text(encoding="utf-8"))


def recompute(example: dict[str, Any]) -> tuple[str, Any]:
    """What computes an example, and its value."""
    if example["id"] in ARITHMETIC:
        return "arithmetic", ARITHMETIC[example["id"]](example["inputs"])
    by, compute = LIBRARY[example["id"]]
    return by, compute(example["inputs"])


def agrees(found: Any, exact: Any) -> bool:
    """Equal where exact is a count, a truth or a name; to the 6 digits it is given in where a float."""
    if isinstance(exact, list):
        return len(found) == len(exact) and all(agrees(f, e) for f, e in zip(found, exact, strict=True))
    if isinstance(exact, float):
        return math.isclose(found, exact, rel_tol=5.1e-6, abs_tol=1e-12)
    return type(found) is type(exact) and found == exact
