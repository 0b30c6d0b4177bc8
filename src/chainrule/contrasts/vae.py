"""The variational autoencoder: an autoencoder whose codes have a distribution, and bounds on log p(x).

Kingma & Welling 2014. Codes z come from a prior p(z), examples from a decoder p(x | z); so there *is* a
p(x) = integral p(z) p(x | z) dz, and it can be sampled from, but the integral has no closed form. An encoder
q(z | x) gives lower bounds:

    elbo               E_q [log w],                      w = p(z) p(x | z) / q(z | x)
    importance_bound   E_q [log (w_1 + ... + w_k) / k]   (Burda et al. 2016; equal to elbo at k = 1)

elbo <= importance_bound(k) <= importance_bound(k + 1) <= log p(x), with equality in the limit. They are
bounds and are called so: there is no `log_prob`. The prior may be an autoregressive model of codes and the
decoder one of examples (Chen et al. 2017); every factor is then exact, and only the integral is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from chainrule.arguments import checked_seed, layer_sizes, whole_number
from chainrule.conditionals import Conditional, Gaussian, resolve_conditional
from chainrule.contrasts.networks import Activation, feed_forward
from chainrule.contrasts.no_density import NoDensity
from chainrule.errors import ChainruleError, unknown_name
from chainrule.layers import Columns
from chainrule.models import MADE

__all__ = ["VAE"]

Prior = Literal["normal", "made"]
Decoder = Literal["independent", "made"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
#: Codes are decoded at most so many numbers of the output at a time when bounds are computed.
_MOST_NUMBERS = 1 << 24

_ONLY_BOUNDS = (
    "p(x) is an integral over its codes that nobody can compute exactly; elbo(x) and importance_bound(x, k) "
    "are lower bounds on log p(x), and every model of chainrule.models has the exact value."
)


class VAE(NoDensity):
    """Prior, decoder and encoder.

    - `event_shape`: shape of one example; `conditional`: the family of p(x_i | z).
    - `code`: numbers in z; `hidden`: hidden layers of the encoder, and of an independent decoder in reverse;
      `activation`: of those layers, `sigmoid`, `tanh` or `relu`.
    - `prior`: `normal`, N(0, I), or `made`, a MADE of real values over codes with one hidden layer of
      `prior_hidden`, which learns how the codes are distributed.
    - `decoder`: `independent`, p(x | z) = prod_i p(x_i | z), or `made`, a MADE of x that has z as context,
      with one hidden layer of `decoder_hidden`.

    q(z | x) is normal with a diagonal covariance. Nothing here takes a context.

    >>> model = VAE((64,), code=8, hidden=(100,))
    >>> model.sample(5, seed=0).shape, hasattr(model, "log_prob")
    (torch.Size([5, 64]), False)
    """

    default_learning_rate: ClassVar[float] = 2e-3
    no_such: ClassVar[dict[str, str]] = dict.fromkeys(
        ("log_prob", "log_prob_per_variable", "nll", "bits_per_dim"), _ONLY_BOUNDS
    )

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        code: int = 32,
        hidden: Sequence[int] = (256,),
        activation: Activation = "tanh",
        prior: Prior = "normal",
        prior_hidden: int = 64,
        decoder: Decoder = "independent",
        decoder_hidden: int = 256,
        conditional: str | Conditional = "bernoulli",
    ) -> None:
        super().__init__(event_shape)
        for what, name, known in (
            ("prior", prior, ("normal", "made")),
            ("decoder", decoder, ("independent", "made")),
        ):
            if name not in known:
                raise unknown_name(f"{what} of a VAE", name, known)
        self.conditional = resolve_conditional(conditional)
        self.code = whole_number("code", code, minimum=1)
        self.hidden, self.activation = layer_sizes("hidden", hidden), activation
        self.prior, self.decoder = prior, decoder
        self.prior_hidden = whole_number("prior_hidden", prior_hidden, minimum=1)
        self.decoder_hidden = whole_number("decoder_hidden", decoder_hidden, minimum=1)
        self.inputs = Columns(self.conditional.input_sizes(self.num_variables))
        self.outputs = Columns(self.conditional.param_sizes(self.num_variables))
        self.to_posterior = feed_forward((self.inputs.total, *self.hidden, 2 * self.code), activation)
        self.prior_model = (
            MADE((self.code,), hidden=(self.prior_hidden,), conditional=Gaussian())
            if prior == "made"
            else None
        )
        if decoder == "made":
            self.of_examples: MADE | None = MADE(
                self.event_shape,
                hidden=(self.decoder_hidden,),
                context_size=self.code,
                conditional=self.conditional,
            )
        else:
            self.of_examples = None
            self.to_params = feed_forward((self.code, *self.hidden[::-1], self.outputs.total), activation)

    # ---------------------------------------------------------------- its three distributions

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x), `(batch, code)` each."""
        return self._posterior(self._checked(x))

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z | x), `(batch, code)`."""
        return self.posterior(x)[0]

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) of codes `(batch, code)`, nats, `(batch,)`; exact."""
        if self.prior_model is not None:
            return self.prior_model.log_prob(z)
        return -(0.5 * z.square() + _HALF_LOG_TWO_PI).sum(1)

    def log_decoder(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) of examples and codes, a pair a row, nats, `(batch,)`; exact."""
        return self._log_decoder(self._checked(x), self._checked_codes(z, len(x)))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x | z), `(batch, *event_shape)`; of a MADE as decoder, its sample of noise 1/2."""
        z = self._checked_codes(z)
        if self.of_examples is not None:
            noise = z.new_full((len(z), self.num_variables, self.conditional.num_noise), 0.5)
            halfway: Tensor = self.of_examples.sample(context=z, noise=noise)
            return halfway
        return self.conditional.mean(self._params(z))

    @torch.no_grad()
    def sample(self, num_samples: int = 1, *, seed: int | None = None) -> Tensor:
        """Exact samples of p(x), `(num_samples, *event_shape)`: a code from the prior, then an example."""
        count = whole_number("num_samples", num_samples)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(checked_seed(seed))
        dtype = self._reference.dtype
        if self.prior_model is not None:
            z = self.prior_model.sample(count, generator=generator)
        else:
            z = torch.randn(count, self.code, generator=generator, dtype=dtype).to(self._reference)
        if self.of_examples is not None:
            drawn: Tensor = self.of_examples.sample(count, context=z, generator=generator)
            return drawn
        width = self.conditional.num_noise
        noise = torch.rand(count, *self.event_shape, width, generator=generator, dtype=dtype)
        return self.conditional.sample(self._params(z), noise.to(self._reference))

    # ---------------------------------------------------------------- bounds

    @torch.no_grad()
    def elbo(self, x: Tensor, *, num_draws: int = 1, seed: int = 0) -> Tensor:
        """The evidence lower bound E_q[log w] <= log p(x), nats, `(batch,)`.

        The mean over `num_draws` codes of each example: an unbiased estimate of the bound, the same for the
        same seed. For log p(x) it is biased, downwards.
        """
        return self._log_weights(x, whole_number("num_draws", num_draws, minimum=1), seed).mean(0)

    @torch.no_grad()
    def importance_bound(self, x: Tensor, k: int = 50, *, seed: int = 0) -> Tensor:
        """log of the mean of k weights: in expectation a lower bound on log p(x) that rises with k.

        Nats, `(batch,)`; the same for the same seed. With that of `elbo` and as many draws it is no less, for
        every example.
        """
        log_weights = self._log_weights(x, whole_number("k", k, minimum=1), seed)
        return log_weights.logsumexp(0) - math.log(len(log_weights))

    def _log_weights(self, x: Tensor, draws: int, seed: int) -> Tensor:
        """log w of `draws` codes for each example, `(draws, batch)`."""
        x = self._checked(x)
        generator = torch.Generator().manual_seed(checked_seed(seed))
        mean, scale = self._posterior(x)
        together = max(1, min(draws, _MOST_NUMBERS // max(1, len(x) * self.outputs.total)))
        parts = []
        for first in range(0, draws, together):
            count = min(together, draws - first)
            noise = torch.randn(count, *mean.shape, generator=generator, dtype=mean.dtype).to(mean)
            z = (mean + scale * noise).flatten(0, 1)
            log_posterior = -(0.5 * noise.square() + _HALF_LOG_TWO_PI + scale.log()).sum(2)
            rows = x.repeat(count, *[1] * len(self.event_shape))
            log_joint = self.log_prior(z) + self._log_decoder(rows, z)
            parts.append(log_joint.view(count, -1) - log_posterior)
        return torch.cat(parts)

    # ---------------------------------------------------------------- training

    def training_loss(self, x: Tensor, context: Tensor | None, generator: torch.Generator) -> Tensor:
        """-elbo with one draw, `(batch,)`; KL(q || prior) in closed form where the prior is normal."""
        mean, scale = self._posterior(x)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean)
        z = mean + scale * noise
        if self.prior_model is None:
            divergence = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum(1)
        else:
            log_posterior = -(0.5 * noise.square() + _HALF_LOG_TWO_PI + scale.log()).sum(1)
            divergence = log_posterior - self.log_prior(z)
        return divergence - self._log_decoder(x, z)

    def validation_loss(self, x: Tensor, context: Tensor | None) -> Tensor:
        """-elbo with one draw that is always the same, nats, `(batch,)`."""
        return self.training_loss(x, context, torch.Generator().manual_seed(0))

    def validation_record(self, loss: float) -> dict[str, float]:
        """The bound by its name."""
        return {"validation_elbo": -loss}

    def validation_words(self, loss: float) -> str:
        """The bound, as one."""
        return f"ELBO {-loss:.3f} nats (a lower bound)"

    def check_levels(self, levels: int | None, name: str) -> None:
        """Raise `ChainruleError` if the conditional has fewer values than the data."""
        support = self.conditional.support()
        if support is not None and levels is not None and levels > len(support):
            raise ChainruleError(
                f"{name} has values 0..{levels - 1}, but the {self.conditional.name} conditional "
                f"takes {self.conditional.value_range}; use a binary data set (dynamic-mnist for MNIST)."
            )

    def check_values(self, x: Tensor) -> None:
        """Raise `ChainruleError` for a value outside the support."""
        self.conditional.check(x)

    @property
    def numbers_per_example(self) -> int:
        """Parameters of the decoder's conditionals."""
        return self.outputs.total

    # ---------------------------------------------------------------- within

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.to_posterior(self.conditional.encode_packed(x.flatten(1))).chunk(2, dim=1)
        # Between e^-7 and e^7: an encoder that is far off at first must not overflow.
        return mean, (7 * torch.tanh(raw / 7)).exp()

    def _params(self, z: Tensor) -> Tensor:
        return self.outputs.unpack(self.to_params(z)).view(len(z), *self.event_shape, self.outputs.width)

    def _log_decoder(self, x: Tensor, z: Tensor) -> Tensor:
        if self.of_examples is not None:
            return self.of_examples.log_prob(x, z)
        return self.conditional.log_prob(self._params(z), x).flatten(1).sum(1)

    def _checked(self, x: Tensor) -> Tensor:
        x = self._shaped(x)
        self.conditional.check(x)
        return x

    def _checked_codes(self, z: Tensor, rows: int | None = None) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.code or (rows is not None and len(z) != rows):
            wanted = "batch" if rows is None else rows
            raise ChainruleError(f"expected codes of shape ({wanted}, {self.code}), not {tuple(z.shape)}.")
        return z.to(self._reference)

    def extra_repr(self) -> str:
        """Structure first: what `print(model)` shows above its layers."""
        return (
            f"event_shape={self.event_shape}, code={self.code}, prior={self.prior}, decoder={self.decoder}, "
            f"parameters={self.num_parameters:,}"
        )
