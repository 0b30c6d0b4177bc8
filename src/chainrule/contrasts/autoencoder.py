"""Autoencoders: x to a code h and back, with no p(x) anywhere (topic 8).

    h = s(W_2 s(W_1 x + b_1) + b_2),     xhat = s(V h + c)

(Hinton & Salakhutdinov 2006), trained to reproduce x. The loss is a cross-entropy or a squared error *given
a code that was made from x itself*; it is not the log-likelihood of anything, so there is no `log_prob`. And
nothing says how codes are distributed, so there is no `sample`: decoding random codes gives no digits
(`decode` does it for whoever wants to look; docs/contrasts.md shows the picture).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from chainrule.arguments import layer_sizes, real_number, whole_number
from chainrule.contrasts.networks import ACTIVATIONS, Activation, feed_forward
from chainrule.contrasts.no_density import NoDensity
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["Autoencoder", "DenoisingAutoencoder", "SparseAutoencoder"]

Loss = Literal["cross-entropy", "squared-error"]
LOSSES = ("cross-entropy", "squared-error")

CodeActivation = Literal["sigmoid", "tanh", "relu", "linear"]
CODE_ACTIVATIONS: dict[str, type[nn.Module]] = {**ACTIVATIONS, "linear": nn.Identity}

_NO_LIKELIHOOD = (
    "an autoencoder learns to copy x through a code and defines no p(x), so no likelihood exists; "
    "reconstruction_loss(x) says how well it copies, chainrule.contrasts.VAE bounds a likelihood, and every "
    "model of chainrule.models has an exact one."
)
_NO_SAMPLES = (
    "nothing says how its codes are distributed, so it has no distribution to sample from; decode(codes) "
    "shows what codes of your own become, and every model of chainrule.models samples exactly."
)


class Autoencoder(NoDensity):
    """Encoder, code, decoder.

    - `event_shape`: shape of one example.
    - `code`: numbers in the code; `hidden`: units of the encoder's hidden layers before it;
      `decoder_hidden`: of the decoder's behind it (the lecture has one layer and none).
    - `activation`: of the hidden layers, `sigmoid` (the lecture's), `tanh` or `relu`; `code_activation`: of
      the code, one of these or `linear`.
    - `levels`: values are whole numbers 0..levels-1 and read as 0..1; None for real values, read as they are.
    - `loss`: `cross-entropy` of values in 0..1 (outputs are sigmoids), or `squared-error`.

    Parameters: the sum of (in + 1) out over the layers. It has no `log_prob` and no `sample`.

    >>> model = Autoencoder((784,), code=128, hidden=(256,))
    >>> model.encode(torch.zeros(1, 784)).shape, hasattr(model, "log_prob")
    (torch.Size([1, 128]), False)
    """

    default_learning_rate: ClassVar[float] = 1e-2
    no_such: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("log_prob", "log_prob_per_variable", "nll", "bits_per_dim", "elbo", "importance_bound"),
            _NO_LIKELIHOOD,
        ),
        **dict.fromkeys(("sample", "fill"), _NO_SAMPLES),
    }

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        code: int = 64,
        hidden: Sequence[int] = (256,),
        decoder_hidden: Sequence[int] = (),
        activation: Activation = "relu",
        code_activation: CodeActivation = "sigmoid",
        levels: int | None = 2,
        loss: Loss = "cross-entropy",
    ) -> None:
        super().__init__(event_shape)
        self.code = whole_number("code", code, minimum=1)
        self.hidden = layer_sizes("hidden", hidden)
        self.decoder_hidden = layer_sizes("decoder_hidden", decoder_hidden)
        self.levels = None if levels is None else whole_number("levels", levels, minimum=2)
        if loss not in LOSSES:
            raise unknown_name("loss of an autoencoder", loss, LOSSES)
        if loss == "cross-entropy" and self.levels is None:
            raise ChainruleError(
                'cross-entropy needs values in 0..1; use loss="squared-error" for real values.'
            )
        self.loss, self.activation = loss, activation
        if code_activation not in CODE_ACTIVATIONS:
            raise unknown_name("activation of the code", code_activation, CODE_ACTIVATIONS)
        self.code_activation = code_activation
        into_code = feed_forward((self.num_variables, *self.hidden, self.code), activation)
        self.encoder = nn.Sequential(*into_code, CODE_ACTIVATIONS[code_activation]())
        self.decoder = feed_forward((self.code, *self.decoder_hidden, self.num_variables), activation)

    # ---------------------------------------------------------------- there and back

    def encode(self, x: Tensor) -> Tensor:
        """The codes `(batch, code)` of examples `(batch, *event_shape)` in the units of the data.

        Raises `ChainruleError` for another shape.
        """
        codes: Tensor = self.encoder(self._scaled(self._shaped(x)).flatten(1))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """What codes `(batch, code)` stand for, `(batch, *event_shape)` in the units of the data.

        Of a code that no example has, the answer means nothing: this is not sampling.
        """
        if codes.ndim != 2 or codes.shape[1] != self.code:
            raise ChainruleError(f"expected codes of shape (batch, {self.code}), not {tuple(codes.shape)}.")
        outputs = self.decoder(codes.to(self._reference))
        if self.loss == "cross-entropy":
            outputs = outputs.sigmoid()
        scale = 1 if self.levels is None else self.levels - 1
        images: Tensor = scale * outputs.view(-1, *self.event_shape)
        return images

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`."""
        return self.decode(self.encode(x))

    def forward(self, x: Tensor) -> Tensor:
        """The same as `reconstruct`."""
        return self.reconstruct(x)

    @torch.no_grad()
    def reconstruction_loss(self, x: Tensor) -> Tensor:
        """Cross-entropy (nats) or squared error of the copy, summed over the variables, `(batch,)`.

        Not a negative log-likelihood: the code that is decoded was made from x.
        """
        x = self._scaled(self._shaped(x)).flatten(1)
        return self._copying_loss(self.encoder(x), x)

    # ---------------------------------------------------------------- training

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """The loss of copying, `(batch,)`."""
        scaled = self._scaled(x).flatten(1)
        return self._copying_loss(self.encoder(scaled), scaled)

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What it is trained on, with random choices that are always the same."""
        return self.training_loss(x, context, torch.Generator().manual_seed(0))

    def validation_words(self, loss: float) -> str:
        """The loss by its own name."""
        return f"reconstruction loss {loss:.3f}"

    def check_levels(self, levels: int | None, name: str) -> None:
        """Raise `ChainruleError` where the data has other values than the network was made to read."""
        if levels != self.levels:
            found, expected = (
                "real values" if count is None else f"values 0..{count - 1}"
                for count in (levels, self.levels)
            )
            raise ChainruleError(
                f"{name} has {found}, but the autoencoder reads {expected}; make it with levels={levels}."
            )

    def check_values(self, x: Tensor) -> None:
        """Raise `ChainruleError` for values that are no finite numbers."""
        if not bool(x.isfinite().all()):
            raise ChainruleError("an autoencoder takes finite numbers only; fill in what is missing first.")

    def _copying_loss(self, codes: Tensor, target: Tensor) -> Tensor:
        outputs = self.decoder(codes)
        if self.loss == "cross-entropy":
            return binary_cross_entropy_with_logits(outputs, target, reduction="none").sum(1)
        error: Tensor = (outputs - target).square().sum(1)
        return error

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.levels is None else x / (self.levels - 1)

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        return f"event_shape={self.event_shape}, code={self.code}, parameters={self.num_parameters:,}"


class DenoisingAutoencoder(Autoencoder):
    """Trained to restore x from a damaged x (Vincent et al. 2008): `reconstruct` takes noise away.

    - `corruption`: of data with `levels`, the share of values that are replaced by a random one of 0 and the
      largest; of real values, the standard deviation of the normal noise that is added.
    - the rest: as in `Autoencoder`.
    """

    def __init__(self, event_shape: Sequence[int], *, corruption: float = 0.3, **settings: Any) -> None:
        super().__init__(event_shape, **settings)
        most = math.inf if self.levels is None else 1.0  # a standard deviation, or a share
        self.corruption = real_number("corruption", corruption, 0.0, most)

    def settings(self) -> dict[str, Any]:
        """Those of an autoencoder, and the corruption."""
        return {**_settings_of(self), "corruption": self.corruption}

    def corrupted(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`x` in the units of the data, damaged as in training; noise comes from `generator`."""
        if self.levels is None:
            noise: Tensor = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x)
            return x + self.corruption * noise
        draws = torch.rand(2, *x.shape, generator=generator, dtype=x.dtype).to(x)
        spots = (draws[1] < 0.5) * float(self.levels - 1)
        return torch.where(draws[0] < self.corruption, spots.to(x), x)

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """The loss of restoring x from a damaged one, `(batch,)`."""
        damaged = self._scaled(self.corrupted(x, generator)).flatten(1)
        return self._copying_loss(self.encoder(damaged), self._scaled(x).flatten(1))


class SparseAutoencoder(Autoencoder):
    """Few units of the code are active at a time: a penalty on their mean activity (Ng 2011).

    - `sparsity`: the mean activity wanted of each unit of the code, in (0, 1); `penalty`: the weight of the
      KL divergence from it, sum over units of KL(sparsity || mean activity over the batch).
    - the rest: as in `Autoencoder`; the code is of sigmoids, whose values are shares.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        sparsity: float = 0.05,
        penalty: float = 3.0,
        **settings: Any,
    ) -> None:
        super().__init__(event_shape, **settings)
        if self.code_activation != "sigmoid":
            raise ChainruleError(
                f"the code of a sparse autoencoder is made of sigmoids, not of {self.code_activation}; "
                "leave code_activation out."
            )
        self.sparsity = real_number("sparsity", sparsity, above=0.0, below=1.0)
        self.penalty = real_number("penalty", penalty, minimum=0.0)

    def settings(self) -> dict[str, Any]:
        """Those of an autoencoder, and the two of sparsity."""
        return {**_settings_of(self), "sparsity": self.sparsity, "penalty": self.penalty}

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """The loss of copying, and the penalty, `(batch,)`."""
        scaled = self._scaled(x).flatten(1)
        # log h and log(1 - h) from the logits: in floats a sigmoid reaches 0 and 1.
        logits = self.encoder[:-1](scaled)
        on, off = -softplus(-logits), -softplus(logits)
        count = torch.tensor(float(len(x)), dtype=x.dtype, device=x.device).log()
        log_active, log_idle = on.logsumexp(0) - count, off.logsumexp(0) - count
        rho = torch.tensor(self.sparsity, dtype=x.dtype, device=x.device)
        divergence = rho * (rho.log() - log_active) + (1 - rho) * ((1 - rho).log() - log_idle)
        return self._copying_loss(logits.sigmoid(), scaled) + self.penalty * divergence.sum()


def _settings_of(model: Autoencoder) -> dict[str, Any]:
    names = (
        "event_shape",
        "code",
        "hidden",
        "decoder_hidden",
        "activation",
        "code_activation",
        "levels",
        "loss",
    )
    values = ((name, getattr(model, name)) for name in names)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}
