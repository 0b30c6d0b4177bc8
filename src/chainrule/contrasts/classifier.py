"""Classifiers: logistic regression, a multilayer perceptron, a small convolutional network (topic 3).

They model p(label | x) and no p(x): the contrast to everything else in this library, and the victims that an
exact likelihood is to protect (topic 13). They train with `chainrule.fit` on labelled data, like all models.

Log-probabilities come from the logits, never from the probabilities: in floats a sigmoid reaches 0 and 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.contrasts.accuracy import accuracy
from chainrule.contrasts.adversarial import PERTURBATIONS, perturbed
from chainrule.errors import ChainruleError, unknown_name
from chainrule.saving import locate, read_config
from chainrule.trainable import Trainable

if TYPE_CHECKING:
    from chainrule.data import Dataset

__all__ = [
    "ACTIVATIONS",
    "CLASSIFIERS",
    "MLP",
    "Classifier",
    "LogisticRegression",
    "SmallCNN",
    "load_classifier",
]

Adversarial = Literal["fgsm", "bim", "pgd"]

#: The nonlinearities of hidden layers by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Classifier(Trainable):
    """p(label | x) = softmax(logits): what all classifiers here share.

    - `event_shape`: shape of one example.
    - `num_classes`: how many labels there are.
    - `levels`: values are whole numbers 0..levels-1 and read as 0..1; None for real values, read as they are.
    - `adversarial`: train on examples that this attack (`fgsm`, `bim`, `pgd`) made of the batch against the
      network of that moment (Madry et al. 2018); None for the batch itself.
    - `adversarial_eps`: how far it may move a value, in the units of the data.
    - `adversarial_share`: the weight of its loss; the rest is that of the clean batch.

    With two classes the network has one output z, the log-odds of class 1; `logits` then are (0, z).
    """

    default_learning_rate: ClassVar[float] = 2e-3

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_classes: int = 10,
        levels: int | None = 256,
        adversarial: Adversarial | None = None,
        adversarial_eps: float = 8.0,
        adversarial_share: float = 1.0,
    ) -> None:
        labels = whole_number("num_classes", num_classes, minimum=2)
        super().__init__(event_shape, context_size=labels)
        self.num_classes = labels
        self.num_outputs = 1 if self.num_classes == 2 else self.num_classes
        self.levels = None if levels is None else whole_number("levels", levels, minimum=2)
        if adversarial is not None and adversarial not in PERTURBATIONS:
            raise unknown_name("attack to train against", adversarial, PERTURBATIONS)
        self.adversarial = adversarial
        self.adversarial_eps = real_number("adversarial_eps", adversarial_eps, above=0.0)
        self.adversarial_share = real_number("adversarial_share", adversarial_share, 0.0, 1.0)

    # ---------------------------------------------------------------- what a subclass writes

    def outputs(self, x: Tensor) -> Tensor:
        """The network's outputs `(batch, num_outputs)` for x `(batch, *event_shape)`, scaled to 0..1."""
        raise NotImplementedError

    # ---------------------------------------------------------------- answers

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, num_classes)` of x `(batch, *event_shape)` in the units of the data.

        Raises `ChainruleError` for another shape.
        """
        x = self._shaped(x)
        outputs = self.outputs(x if self.levels is None else x / (self.levels - 1))
        return torch.cat([torch.zeros_like(outputs), outputs], dim=1) if self.num_classes == 2 else outputs

    def log_probabilities(self, x: Tensor) -> Tensor:
        """log p(label | x) of all labels, nats, `(batch, num_classes)`."""
        return torch.log_softmax(self(x), dim=1)

    def probabilities(self, x: Tensor) -> Tensor:
        """p(label | x) of all labels, `(batch, num_classes)`."""
        return torch.softmax(self(x), dim=1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable label, `(batch,)`."""
        return self.log_probabilities(x).argmax(1)

    # ---------------------------------------------------------------- training

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """-log p(label | x), nats, `(batch,)`; where `adversarial`, of examples made to be misread."""
        assert context is not None  # `fit` has looked for labels
        share = 0.0 if self.adversarial is None else self.adversarial_share
        if share == 0.0:
            return self._loss(x, context)
        assert self.adversarial is not None
        low, high = (-torch.inf, torch.inf) if self.levels is None else (0.0, self.levels - 1.0)
        moved = perturbed(
            self,
            x,
            context,
            name=self.adversarial,
            eps=self.adversarial_eps,
            low=low,
            high=high,
            generator=generator,
        )
        attacked = self._loss(moved, context)
        return attacked if share == 1.0 else share * attacked + (1 - share) * self._loss(x, context)

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """-log p(label | x) of clean examples, or of attacked ones where the network is trained on them."""
        assert context is not None
        return self.training_loss(x, context, torch.Generator().manual_seed(0))

    def validation_measures(self, data: Dataset) -> dict[str, float]:
        """The share of clean validation examples that is read rightly."""
        found = accuracy(self, data.evaluation_split("validation"), data.labels["validation"])
        return {"validation_accuracy": found.accuracy}

    def check_levels(self, levels: int | None, name: str) -> None:
        """Raise `ChainruleError` where the data has other values than the network was made to read."""
        if levels != self.levels:
            found, expected = (
                "real values" if count is None else f"values 0..{count - 1}"
                for count in (levels, self.levels)
            )
            raise ChainruleError(
                f"{name} has {found}, but the classifier reads {expected}; make it with levels={levels}."
            )

    def check_values(self, x: Tensor) -> None:
        """Raise `ChainruleError` for values that are no finite numbers."""
        if not bool(x.isfinite().all()):
            raise ChainruleError("a classifier takes finite numbers only; fill in what is missing first.")

    def _loss(self, x: Tensor, target: Tensor) -> Tensor:
        return -(target * self.log_probabilities(x)).sum(1)

    def _missing_labels(self, name: str, split: str) -> ChainruleError:
        return ChainruleError(f"a classifier learns from labels, but {name} has none for {split}.")

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        return f"event_shape={self.event_shape}, num_classes={self.num_classes}, levels={self.levels}"


class LogisticRegression(Classifier):
    """z = a_0 + sum_i a_i x_i, p(label 1 | x) = sigmoid(z); a softmax for more than two labels.

    - all settings: as in `Classifier`.

    n + 1 parameters for two labels, (n + 1) K for K. The objective is convex: the linear baseline beside
    every network.

    >>> LogisticRegression((3,), num_classes=2, levels=None).num_parameters
    4
    """

    default_learning_rate = 1e-2

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_classes: int = 10,
        levels: int | None = 256,
        adversarial: Adversarial | None = None,
        adversarial_eps: float = 8.0,
        adversarial_share: float = 1.0,
    ) -> None:
        super().__init__(
            event_shape,
            num_classes=num_classes,
            levels=levels,
            adversarial=adversarial,
            adversarial_eps=adversarial_eps,
            adversarial_share=adversarial_share,
        )
        self.linear = nn.Linear(self.num_variables, self.num_outputs)

    def outputs(self, x: Tensor) -> Tensor:
        """a_0 + a . x."""
        outputs: Tensor = self.linear(x.flatten(1))
        return outputs


class MLP(Classifier):
    """h^l = f(A^l h^(l-1) + b^l), z = a_0 + a . h^L: a deep network of full layers.

    - `hidden`: units of the hidden layers.
    - `activation`: f, one of `relu`, `tanh`, `sigmoid`.
    - the rest: as in `Classifier`.

    Parameters: the sum of (in + 1) out over the layers.

    >>> MLP((10,), num_classes=2, hidden=(5,), levels=None).num_parameters
    61
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_classes: int = 10,
        levels: int | None = 256,
        hidden: Sequence[int] = (256, 128),
        activation: Literal["relu", "tanh", "sigmoid"] = "relu",
        adversarial: Adversarial | None = None,
        adversarial_eps: float = 8.0,
        adversarial_share: float = 1.0,
    ) -> None:
        super().__init__(
            event_shape,
            num_classes=num_classes,
            levels=levels,
            adversarial=adversarial,
            adversarial_eps=adversarial_eps,
            adversarial_share=adversarial_share,
        )
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        self.hidden, self.activation = layer_sizes("hidden", hidden), activation
        sizes = (self.num_variables, *self.hidden)
        self.layers = nn.ModuleList(nn.Linear(below, above) for below, above in itertools.pairwise(sizes))
        self.nonlinearity = ACTIVATIONS[activation]()
        self.last = nn.Linear(sizes[-1], self.num_outputs)

    def hidden_units(self, x: Tensor) -> list[Tensor]:
        """h^1 ... h^L of x scaled to 0..1, `(batch, units)` each."""
        found, h = [], x.flatten(1)
        for layer in self.layers:
            h = self.nonlinearity(layer(h))
            found.append(h)
        return found

    def outputs(self, x: Tensor) -> Tensor:
        """a_0 + a . h^L."""
        outputs: Tensor = self.last([x.flatten(1), *self.hidden_units(x)][-1])
        return outputs


class SmallCNN(Classifier):
    """Convolutions of 3 x 3, each followed by ReLU and the maximum over 2 x 2, then a hidden layer.

    - `features`: channels of the convolutions; an image must be 2^len(features) pixels wide and high or more.
    - `hidden`: units of the full layer behind them.
    - the rest: as in `Classifier`; `event_shape` is (C, H, W).

    About 99 % of MNIST's digits with the default sizes; minutes to train on two cores.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        num_classes: int = 10,
        levels: int | None = 256,
        features: Sequence[int] = (32, 64),
        hidden: int = 128,
        adversarial: Adversarial | None = None,
        adversarial_eps: float = 8.0,
        adversarial_share: float = 1.0,
    ) -> None:
        super().__init__(
            event_shape,
            num_classes=num_classes,
            levels=levels,
            adversarial=adversarial,
            adversarial_eps=adversarial_eps,
            adversarial_share=adversarial_share,
        )
        self.features = layer_sizes("features", features)
        self.hidden = whole_number("hidden", hidden, minimum=1)
        smallest = 2 ** len(self.features)
        if len(self.event_shape) != 3 or min(self.event_shape[1:]) < smallest:
            raise ChainruleError(
                f"a SmallCNN of {len(self.features)} convolutions takes images (C, H, W) of at least "
                f"{smallest} x {smallest} pixels, not {self.event_shape}; MLP takes any shape."
            )
        colours, height, width = self.event_shape
        sizes = (colours, *self.features)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(below, above, 3, padding=1) for below, above in itertools.pairwise(sizes)
        )
        left = (height // smallest) * (width // smallest) * sizes[-1]
        self.full = nn.Linear(left, self.hidden)
        self.last = nn.Linear(self.hidden, self.num_outputs)

    def outputs(self, x: Tensor) -> Tensor:
        """Of the hidden layer over what the last maximum leaves."""
        for convolution in self.convolutions:
            x = torch.max_pool2d(torch.relu(convolution(x)), 2)
        outputs: Tensor = self.last(torch.relu(self.full(x.flatten(1))))
        return outputs


#: Every classifier by the name that the command line uses.
CLASSIFIERS: dict[str, type[Classifier]] = {
    "logistic-regression": LogisticRegression,
    "mlp": MLP,
    "cnn": SmallCNN,
}


def load_classifier(source: str | Path, **hub_options: Any) -> Classifier:
    """The classifier in a folder that `fit` or `save_pretrained` made, or on the hub; in evaluation mode.

    Raises `ChainruleError` where there is none, and where it is of another kind.
    """
    name = read_config(locate(source, **hub_options))["model"]
    classes = {cls.__name__: cls for cls in CLASSIFIERS.values()}
    if name not in classes:
        raise ChainruleError(
            f"{source} holds a {name}, which is no classifier; expected one of {', '.join(classes)}, as "
            "`chainrule train cnn --data mnist --out RUN` makes."
        )
    return classes[name].from_pretrained(str(source), **hub_options)
